"""A binary upgrade: another process takes over, no connection is refused, no session is broken; and where the new one
cannot serve, nothing has changed."""
import os
import pathlib
import re
import signal
import socket
import subprocess
import threading

import pytest

import clients
import gatepost as library
import messages
import proc
from ctl import PROGRAM as CTL
from ctl import Ctl
from upgradable import Upgradable
from wire import Wire, pop3_session, smtp_session

needs_root = pytest.mark.skipif(not library.AS_ROOT, reason="looks into processes of other users")
pytestmark = pytest.mark.usefixtures("heir_of_orphans")
ENVELOPE = (("MAIL FROM:<bert@example.org>", "250"), (f"RCPT TO:<{library.USER}>", "250"), ("DATA", "354"))


def into_data(gate, port):
    return smtp_session(Wire(gate.port(port))).commands(*ENVELOPE)


def into_retr(gate, port):
    wire = pop3_session(Wire(gate.port(port), timeout=60), user=library.USER, password=gate.password)
    wire.command("RETR 1", "+OK")
    return wire


def deliver(gate, message):
    with smtp_session(Wire(gate.port("smtp"), timeout=60)) as wire:
        wire.commands(*ENVELOPE)
        wire.send(messages.stuffed(message))
        wire.expect("250")
        wire.quit()


class Storm:
    """Connections one after the other, on all ports, each of which has to be greeted."""

    def __init__(self, gate, threads=4):
        self.gate, self.count, self.faults, self.over = gate, 0, [], threading.Event()
        self.threads = [threading.Thread(target=self.run, args=(number,)) for number in range(threads)]

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        for thread in self.threads:
            thread.join()

    def run(self, number):
        names = ("pop3", "smtp", "submission", "smtp-alt")
        host = "::1" if number % 2 and library.has_ipv6() else "127.0.0.1"
        while not self.over.is_set():
            name = names[(number + self.count) % len(names)]
            try:
                with Wire(self.gate.port(name), timeout=30, host=host) as wire:
                    wire.expect("+OK" if name == "pop3" else "220")
                    wire.quit()
                self.count += 1
            except (OSError, AssertionError) as error:
                self.faults.append(f"{name}: {error!r}")
                return


# it succeeds


@needs_root
def test_p5_sessions_and_a_storm_of_connections_go_on_over_two_upgrades():
    large = messages.large_message(5 * 1024 * 1024)
    trap = messages.trap_message(64 * 1024)
    part = messages.stuffed(trap)
    with Upgradable() as gate:
        deliver(gate, large)
        first, descriptors = gate.process, gate.descriptors()
        senders = [into_data(gate, port) for port in ("smtp", "submission")]
        reader = into_retr(gate, "pop3")
        received = reader.read_exactly(len(large) // 8)
        with Storm(gate) as storm:
            for step in range(2):
                for wire in senders:
                    wire.send(part[step * 8192:(step + 1) * 8192])
                for name in library.PROGRAMS:
                    gate.install(name)
                gate.upgrade()
                senders.append(into_data(gate, "smtp"))
                senders[-1].send(part[:(step + 1) * 8192])
                received += reader.read_exactly(len(large) // 8)
                proc.wait_until(lambda count=storm.count: storm.faults or storm.count > count + 40, 60, "more connections")
        assert storm.faults == []
        assert {os.readlink(f"/proc/{pid}/exe") for pid in gate.family()} == {
            str(gate.build / name) for name in library.PROGRAMS if not name.startswith("tools/")}
        for wire in senders:
            wire.send(part[2 * 8192:])
            wire.expect("250")
            wire.quit()
        received += reader.read_until(b"\r\n.\r\n")
        whole = messages.BEGIN + received.partition(messages.BEGIN)[2]
        assert messages.difference(messages.stuffed(large), whole) == ""
        reader.quit()
        assert first.wait(30) == 0
        proc.wait_until(lambda: len(proc.children(os.getpid())) == len(gate.family()), 30, "only the last family")
        proc.wait_until(lambda: gate.descriptors() == descriptors, 30,
                        lambda: f"descriptors {descriptors}, not {gate.descriptors()}")
        assert sorted(path.name for path in gate.run.iterdir() if path.is_socket()) == [
            "control.sock", "pop3.sock", "smtp.sock"]
        stored = [messages.own_part(one) for one in gate.messages()]
        assert len(stored) == 1 + len(senders) and stored.count(trap) == len(senders)
        assert "started again" not in gate.log() and " error " not in gate.log()


def test_the_new_process_reads_the_settings_and_leaves_what_they_do_not_name():
    with Upgradable() as gate:
        undecided = Wire(gate.port("smtp"))
        undecided.expect("220")
        gate.sections = library.overlay(gate.sections, {
            "backend smtp": {"address": None}, "listen extra": {"port": 2110, "protocol": "pop3", "backend": "pop3"}})
        gate.write_ini()
        before = gate.upgrade()
        clients.fetch_all(gate, "extra", "plain")
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", gate.port("submission")), 10)
        assert (gate.run / "smtp.sock").exists(), "sessions of before may need it"
        undecided.command("EHLO me.example", "250")
        undecided.commands(*ENVELOPE)
        undecided.send(messages.stuffed(messages.trap_message(8192)))
        undecided.expect("250")
        undecided.quit()
        assert before.wait(30) == 0
        assert not (gate.run / "smtp.sock").exists() and (gate.run / "pop3.sock").exists()
        assert len(clients.fetch_all(gate, "pop3", "plain")) == 1


def test_the_service_manager_hears_of_the_new_process(folder):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        path = folder / "notify"
        manager.bind(str(path))
        path.chmod(0o777)
        manager.settimeout(30)
        with Upgradable(environment={"NOTIFY_SOCKET": str(path)}) as gate:
            gate.upgrade().wait(30)
            told = [manager.recv(4096).decode() for _ in range(3)]
            gate.process.send_signal(signal.SIGHUP)
            told.append(manager.recv(4096).decode())
    assert [one.split("\n")[0].split("=")[0] for one in told] == ["READY", "MAINPID", "READY", "RELOADING"]
    assert told[1].split("\n")[0] == f"MAINPID={gate_pid(gate)}"


def gate_pid(gate):
    return int(re.findall(r"process (\d+) has taken over", gate.log())[-1])


# it fails


def other_build(gate):
    """Another version than that of the workers beside it: HELLO tells."""
    content = library.PROXY.read_bytes()
    build = re.search(r"gatepost (\S+ \S+) starts", gate.log())[1].encode()
    assert content.count(build) > 0
    gate.install("proxy/gatepost", content.replace(build, build[:-1] + b"#"))


FAULTS = {
    "it exits": (lambda gate: gate.install("proxy/gatepost", b"#!/bin/sh\nexit 1\n"), r"process \d+ exited with code 1"),
    "it is another program": (lambda gate: gate.install("proxy/gatepost", pathlib.Path("/bin/true").read_bytes()),
                              r"process \d+ exited with code 0"),
    "it is no program": (lambda gate: gate.install("proxy/gatepost", b"\x7fELF, but not quite"), "cannot be executed: "),
    "it may not be executed": (lambda gate: gate.install("proxy/gatepost", mode=0o644), "cannot be executed: "),
    "it is gone": (lambda gate: gate.program.unlink(), "cannot be executed: no such file"),
    "it is killed": (lambda gate: gate.install("proxy/gatepost", b"#!/bin/sh\nkill -9 $$\n"), r"process \d+ was ended by signal 9"),
    "its workers are of another build": (other_build, r"process \d+ exited with code 70"),
}


@needs_root
def test_p6_a_new_program_that_cannot_serve_changes_nothing():
    with Upgradable() as gate:
        witness = into_data(gate, "smtp")
        reader = pop3_session(Wire(gate.port("pop3")), user=library.USER, password=gate.password)
        family = gate.family()
        descriptors = gate.descriptors()
        for name, (break_it, words) in FAULTS.items():
            break_it(gate)
            assert re.search(words, gate.failed_upgrade(), re.I), f"{name}: {gate.log()[-2000:]}"
            assert gate.family() == family
            proc.wait_until(lambda: gate.descriptors() == descriptors, 20,
                                lambda: f"descriptors {descriptors}, not {gate.descriptors()}: {name}")
            gate.install("proxy/gatepost")
        with Wire(gate.port("pop3s")) as wire:
            wire.expect("+OK")
        witness.send(messages.stuffed(messages.trap_message(8192)))
        witness.expect("250")
        witness.quit()
        reader.command("STAT", "+OK")
        reader.quit()
        gate.upgrade().wait(30)
        deliver(gate, messages.trap_message(8192))
        assert len(gate.messages()) == 2


def test_p6_settings_that_are_broken_at_the_time_of_an_upgrade_change_nothing():
    with Upgradable() as gate:
        family = gate.family()
        gate.ini.write_text(library.ini_text(gate.sections) + "\n[limits]\nno_such = 1\n")
        assert re.fullmatch(r"process \d+ exited with code 78", gate.failed_upgrade())
        assert gate.family() == family
        gate.write_ini()
        gate.upgrade()
        deliver(gate, messages.trap_message(8192))


SILENT = b"#!/bin/sh\necho $$ > pid\nexec sleep 600\n"


def test_one_upgrade_at_a_time_and_no_reload_meanwhile_and_term_ends_both():
    gate = Upgradable()
    try:
        gate.start()
        gate.install("proxy/gatepost", SILENT)
        pid = gate.begin_upgrade()
        gate.usr2()
        gate.wait_for_log("no upgrade is begun: an upgrade is under way")
        gate.process.send_signal(signal.SIGHUP)
        gate.wait_for_log("no reload is begun: an upgrade is under way")
        deliver(gate, messages.trap_message(8192))
        assert proc.alive(pid)
        gate.stop()
        assert not proc.alive(pid)
    finally:
        gate.stop(check=False)
        gate.remove()


def test_a_second_term_ends_a_new_process_that_does_not_listen_to_the_first():
    gate = Upgradable()
    try:
        gate.start()
        gate.install("proxy/gatepost", b"#!/bin/sh\ntrap '' TERM\necho deaf >> deaf\nwhile :; do sleep 0.2; done\n")
        pid = gate.begin_upgrade()
        proc.wait_until((gate.folder / "deaf").exists, 20, "the trap")
        gate.process.send_signal(signal.SIGTERM)
        gate.wait_for_log("ending: sessions have")
        gate.process.send_signal(signal.SIGTERM)
        assert gate.process.wait(20) == 0
        assert not proc.alive(pid)
    finally:
        gate.stop(check=False)
        gate.remove()


def test_term_while_the_new_process_starts_ends_both_and_leaves_no_file():
    gate = Upgradable()
    try:
        gate.start()
        pid = gate.begin_upgrade()
        gate.stop()
        assert not proc.alive(pid) and "has taken over" not in gate.log()
    finally:
        gate.stop(check=False)
        gate.remove()


def test_a_new_process_whose_predecessor_is_killed_serves_alone():
    gate = Upgradable()
    gate.start()
    old = gate.process
    try:
        pid = gate.begin_upgrade()
        old.kill()
        old.wait()
        gate.adopt(pid)
        gate.wait_for_log("ended without a word", 30)
        gate.wait_for_log("ready:", 30, count=2)
        deliver(gate, messages.trap_message(8192))
        gate.stop()
    finally:
        gate.stop(check=False)
        gate.remove()


# Becomes gatepost when it is no longer the child of that process.
LATE = """#!/bin/sh
parent() { read -r _ _ _ number _ < /proc/$$/stat; echo "$number"; }
while [ "$(parent)" = %d ]; do sleep 0.1; done
exec %s "$@"
"""


def test_a_new_process_whose_predecessor_was_killed_before_it_could_look_takes_nobody_for_it():
    gate = Upgradable()
    gate.start()
    old = gate.process
    try:
        gate.install("proxy/gatepost", (LATE % (old.pid, library.PROXY)).encode())
        pid = gate.begin_upgrade()
        old.kill()
        old.wait()
        gate.adopt(pid)
        gate.wait_for_log("ready:", 60, count=2)
        status = Ctl(gate).json("status")
        assert status["pid"] == pid and "former_pid" not in status
        gate.stop()
    finally:
        gate.stop(check=False)
        gate.remove()


# asked for by gatepostctl


def test_gatepostctl_upgrade_ends_when_the_new_process_can_be_asked_and_status_names_the_one_before_it():
    with Upgradable() as gate:
        ctl, witness = Ctl(gate), into_data(gate, "smtp")
        assert "former_pid" not in ctl.json("status")
        for _ in range(2):
            before = gate.process
            answer = ctl.json("upgrade")
            assert answer["words"] == f"process {answer['pid']} has taken over" and answer["pid"] != before.pid
            assert ctl.json("status")["pid"] == answer["pid"]
            gate.adopt(answer["pid"])
            if witness:
                assert ctl.json("status")["former_pid"] == before.pid
                assert f"\nprocess {before.pid}, of before the upgrade, ends with its sessions\n" in ctl.good("status")
                assert ctl.sessions() == {}
                witness.send(messages.stuffed(messages.trap_message(8192)))
                witness.expect("250")
                witness = witness.quit()
            assert before.wait(30) == 0
            proc.wait_until(lambda: "former_pid" not in ctl.json("status"), 20, "nobody of before is named any more")


@pytest.mark.parametrize("name", ["it exits", "it is gone"])
def test_p6_gatepostctl_upgrade_says_why_there_was_none(name):
    break_it, words = FAULTS[name]
    with Upgradable() as gate:
        break_it(gate)
        result = Ctl(gate)("upgrade")
        assert (result.returncode, result.stdout) == (70, "")
        assert re.fullmatch(rf"gatepostctl: .*{words}.*: nothing was changed\n", result.stderr, re.I)
        assert Ctl(gate).json("status")["pid"] == gate.process.pid
        gate.install("proxy/gatepost")
        gate.ini.write_text(library.ini_text(gate.sections) + "\n[limits]\nno_such = 1\n")
        result = Ctl(gate)("upgrade")
        assert result.returncode == 78 and "exited with code 78: nothing was changed" in result.stderr
        gate.write_ini()
        assert Ctl(gate)("upgrade").returncode == 0
        gate.adopt(gate_pid(gate))


def test_gatepostctl_is_told_of_an_upgrade_that_is_under_way_and_of_the_end_of_all():
    gate = Upgradable()
    try:
        gate.start()
        gate.install("proxy/gatepost", SILENT)
        first = subprocess.Popen([CTL, "-c", gate.ini, "upgrade"], stderr=subprocess.PIPE, text=True)
        gate.wait_for_log("upgrade: process .* starts")
        for command in ("upgrade", "reload"):
            result = Ctl(gate)(command)
            assert result.returncode == 70 and "an upgrade is under way" in result.stderr
        gate.stop()
        assert first.communicate(timeout=30)[1] == "gatepostctl: gatepost ends: nothing was changed\n"
        assert first.returncode == 70
    finally:
        gate.stop(check=False)
        gate.remove()
