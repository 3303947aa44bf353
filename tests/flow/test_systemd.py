"""Under systemd: the units, what they allow, what the service manager is told, the sockets that it passes.

systemd itself does not run here. The units go through its own tools; what gatepost.service takes away is taken away by
the kernel's means (setpriv, mounts, and strace in the place of seccomp); messages arrive at a socket of the test's."""
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys

import pytest

import clients
import gatepost as library
import messages
import proc
from backend import Backend
from ctl import Ctl
from ports import PORTS
from upgradable import Orphan
from wire import Wire

UNITS = library.ROOT / "conf" / "systemd"


# the units


@pytest.fixture
def units(folder):
    """The units with the programs of this build, where systemd's tools find them."""
    text = (UNITS / "gatepost.service.in").read_text().replace("@bindir@", str(library.PROXY.parent))
    text = text.replace("@sbindir@", str(library.BUILD / "tools"))
    (folder / "gatepost.service").write_text(text)
    (folder / "gatepost.socket").write_text((UNITS / "gatepost.socket").read_text())
    return folder


def systemd(units, *command, code=0):
    result = subprocess.run(["systemd-analyze", *command], capture_output=True, text=True, timeout=60,
                            env={**os.environ, "SYSTEMD_UNIT_PATH": f"{units}:", "SYSTEMD_COLORS": "0"})
    assert result.returncode == code, result.stdout + result.stderr
    return result.stdout + result.stderr


def exposure(units):
    said = systemd(units, "security", "--offline=true", "--no-pager", str(units / "gatepost.service"))
    return float(re.search(r"Overall exposure level for gatepost.service: ([\d.]+)", said)[1])


def test_systemd_finds_no_fault_in_the_units(units):
    assert systemd(units, "verify", "--man=no", str(units / "gatepost.service"), str(units / "gatepost.socket")) == ""


def test_the_service_is_exposed_at_2_0_or_better(units):
    assert exposure(units) <= 2.0


def test_the_drop_in_for_embedded_servers_is_understood_and_adds_little(units):
    (units / "gatepost.service.d").mkdir()
    (units / "gatepost.service.d" / "embedded.conf").write_text((UNITS / "embedded.conf").read_text())
    assert systemd(units, "verify", "--man=no", str(units / "gatepost.service")) == ""
    assert exposure(units) < 3.0


def test_the_socket_unit_has_the_six_ports():
    """109 as a comment: it is open only where [backend remote] has an address."""
    found = re.findall(r"^(#? ?)ListenStream=(0\.0\.0\.0|\[::\]):(\d+)$", (UNITS / "gatepost.socket").read_text(), re.M)
    expected = {("# " if number == PORTS["remote"] else "", host, str(number))
                for number in PORTS.values() for host in ("0.0.0.0", "[::]")}
    assert set(found) == expected and len(found) == len(expected)


def test_users_and_folders_are_made_by_systemds_own_tools(folder):
    (folder / "etc").mkdir()
    for tool, name, more in (("systemd-sysusers", "gatepost.sysusers", ()),
                             ("systemd-tmpfiles", "gatepost.tmpfiles", ("--create",))):
        subprocess.run([tool, f"--root={folder}", *more, UNITS / name], check=True, capture_output=True, timeout=60)
    users = dict(line.split(":")[0:3:2] for line in (folder / "etc/passwd").read_text().splitlines())
    assert set(users) == {"gatepost", "gatepost-mail"} and len(set(users.values())) == 2
    keys = (folder / "etc/gatepost/tls").stat()
    assert (keys.st_mode & 0o7777, keys.st_uid, keys.st_gid) == (0o750, 0, int(users["gatepost"]))


def test_what_is_installed_goes_where_systemd_looks_and_stays_below_the_prefix():
    installed = json.loads((library.BUILD / "meson-info" / "intro-installed.json").read_text())
    options = json.loads((library.BUILD / "meson-info" / "intro-buildoptions.json").read_text())
    prefix = next(option["value"] for option in options if option["name"] == "prefix")
    places = set(installed.values())
    assert {f"{prefix}/lib/{place}" for place in (
        "systemd/system/gatepost.service", "systemd/system/gatepost.socket", "sysusers.d/gatepost.conf",
        "tmpfiles.d/gatepost.conf")} <= places
    assert [place for place in places if not place.startswith(f"{prefix}/")] == []
    unit = next(source for source, place in installed.items() if place.endswith("/gatepost.service"))
    program = next(place for place in places if place.endswith("bin/gatepost"))
    assert f"ExecStart={program}\n" in pathlib.Path(unit).read_text()


# what gatepost.service allows


def settings_of_unit(text):
    """{key: [values in order]} of [Service]."""
    found = {}
    for key, value in re.findall(r"^(\w+)=(.*)$", text, re.M):
        found.setdefault(key, []).append(value)
    return found


def expand(names):
    """The system calls of sets such as @system-service, and of plain names."""
    calls = set()
    for name in names:
        if not name.startswith("@"):
            calls.add(name)
            continue
        said = subprocess.run(["systemd-analyze", "syscall-filter", name], capture_output=True, text=True, check=True)
        calls |= expand(line.strip() for line in said.stdout.splitlines()[1:] if line.strip()[:1] not in ("", "#"))
    return calls


def allowed_calls(unit):
    allowed = set()
    for value in unit["SystemCallFilter"]:
        calls = expand(value.lstrip("~").split())
        allowed = allowed - calls if value.startswith("~") else allowed | calls
    return allowed


# ProtectSystem, ProcSubset and ProtectProc; then User, the capabilities and SystemCallFilter. What the filter refuses is
# refused by strace, with the same error, and written down; so are the address families of sockets.
SANDBOX = """
mount -t proc -o hidepid=invisible,subset=pid proc /proc &&
mount --bind "$0" "$0" && mount -o remount,bind,ro / && exec "$@"
"""


def sandbox(gate, unit):
    calls = ",".join(f"?{call}" for call in sorted(allowed_calls(unit)))
    watched = ",".join(f"?{call}" for call in sorted(allowed_calls(unit) - {"socket"}))

    def capabilities(key):
        return "-all" + "".join(f",+{name.lower().removeprefix('cap_')}" for value in unit[key] for name in value.split())

    root = unit["User"][-1] == "root"
    return ("unshare", "--mount", "--propagation", "private", "sh", "-c", SANDBOX, gate.folder,
            "setpriv", *(() if root else ("--reuid=nobody", "--regid=nogroup")), "--clear-groups",
            f"--inh-caps={capabilities('AmbientCapabilities')}", f"--ambient-caps={capabilities('AmbientCapabilities')}",
            f"--bounding-set={capabilities('CapabilityBoundingSet')}", "--no-new-privs",
            "strace", "-D", "-f", "--seccomp-bpf", "-qq", "-e", "signal=none", "-o", gate.folder / "strace",
            "-e", f"trace=!{watched}", "-e", f"inject=!{calls}:error=EPERM")


def rights(pid, which="CapPrm"):
    return int(proc.status(pid)[which], 16)


@pytest.mark.parametrize("drop_in", ["", "embedded.conf"])
def test_mail_goes_through_with_no_more_than_the_unit_allows(drop_in, heir_of_orphans):
    unit = settings_of_unit((UNITS / "gatepost.service.in").read_text())
    if drop_in:
        for key, values in settings_of_unit((UNITS / drop_in).read_text()).items():
            unit[key] = values if "" in values else unit.get(key, []) + values
    gate = library.Gatepost({"gatepost": {} if drop_in else {"user": "nobody", "mail_user": "nobody"}})
    try:
        if not drop_in:
            subprocess.run(["chown", "-R", "nobody:nogroup", gate.folder], check=True)
        gate.prefix = sandbox(gate, unit)
        gate.environment["ASAN_OPTIONS"] += ":detect_leaks=0"  # it would trace, too
        gate.start()
        assert drop_in or rights(gate.process.pid) == 1 << 10, "CAP_NET_BIND_SERVICE"
        assert {rights(pid) for pid in gate.processes()} == {0}
        message = messages.trap_message(8192)
        clients.send(gate, "submission", "implicit", message)
        assert [messages.difference(message, messages.own_part(one))
                for one in clients.fetch_all(gate, "pop3s", "implicit")] == [""]
        gate.kill(gate.workers()[0])
        gate.wait_for_log("serves again")
        assert "has changed" in Ctl(gate).good("reload")
        before = gate.process
        gate.process = Orphan(Ctl(gate).json("upgrade")["pid"], gate.log)
        assert before.wait(30) == 0
        assert {rights(pid) for pid in gate.workers() + gate.smtpd() + gate.pop3d()} == {0}
        clients.send(gate, "smtp", "starttls", message)
        assert len(clients.fetch_all(gate, "pop3", "starttls")) == 1
        gate.stop()
        traced = (gate.folder / "strace").read_text()
    finally:
        gate.stop(check=False)
        gate.remove()
    assert set(re.findall(r"socket\((AF_\w+)", traced)) <= set(unit["RestrictAddressFamilies"][0].split())
    assert [line for line in traced.splitlines() if "socket" not in line] == []


def test_what_only_root_could_do_is_told_to_a_service_of_another_user():
    gate = library.Gatepost({"gatepost": {"groups": "adm, games"}}, users=())
    try:
        subprocess.run(["chown", "-R", "nobody:nogroup", gate.folder], check=True)
        result = subprocess.run(["setpriv", "--reuid=nobody", "--regid=nogroup", "--groups=adm", library.PROXY, "-t", "-c",
                                 gate.ini], capture_output=True, text=True, timeout=30)
    finally:
        gate.remove()
    assert result.returncode == 0
    assert "groups: games has no effect" in result.stderr and "SupplementaryGroups=" in result.stderr
    assert "groups: adm" not in result.stderr, "that one was given"
    assert "mail_user = mail has no effect" in result.stderr and "embedded.conf" in result.stderr


def check(gate, *prefix, ini=None):
    """gatepost -t, with what a restart or a reload would read, or with another file."""
    return subprocess.run([*prefix, library.PROXY, "-t", "-c", ini or gate.ini], env=gate.environment, capture_output=True, text=True,
                          timeout=60)


def test_root_checks_what_the_user_of_the_service_that_runs_can_read():
    as_nobody = ("setpriv", "--reuid=nobody", "--regid=nogroup", "--groups=adm,games")
    told = "gatepost: checked as user nobody (65534), as whom Gatepost runs\n"
    gate = library.Gatepost({"gatepost": {"mail_user": "nobody"}}, users=())
    try:
        subprocess.run(["chown", "-R", "nobody:nogroup", gate.folder], check=True)
        gate.prefix = as_nobody
        gate.start()
        good = check(gate)
        assert (good.returncode, good.stderr.count(told)) == (0, 1)
        key = gate.folder / "roots.key"
        key.write_bytes((gate.folder / "key.pem").read_bytes())
        key.chmod(0o640)
        gate.sections["tls default"]["key"] = key
        gate.write_ini()
        bad = check(gate)
        assert bad.returncode == 78 and told in bad.stderr
        assert "it belongs to root:root, mode 0640" in bad.stderr
        assert Ctl(gate)("reload").returncode == 78
        shutil.chown(key, "root", "games")
        assert check(gate).returncode == 0, "one of the groups of the service"
        theirs = check(gate, *as_nobody)
        assert theirs.returncode == 0 and told not in theirs.stderr
        shutil.chown(key, "root", "root")
        draft = gate.folder / "draft.ini"
        draft.write_text(gate.ini.read_text())
        draft.chmod(0o600)
        roots = check(gate, ini=draft)
        assert roots.returncode == 0 and "checked as root: the file cannot be read by user nobody" in roots.stderr
        gate.stop()
        alone = check(gate)
        assert alone.returncode == 0 and told not in alone.stderr, "nobody runs it, so it is root who would"
    finally:
        gate.stop(check=False)
        gate.remove()


def test_the_user_of_the_service_gets_nothing_of_roots_by_roots_check():
    def mute(wire, connection):
        wire.read_all()

    as_nobody = ("setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups")
    gate = library.Gatepost({"gatepost": {"mail_user": "nobody"}}, users=())
    try:
        subprocess.run(["chown", "-R", "nobody:nogroup", gate.folder], check=True)
        gate.prefix = as_nobody
        gate.start()
        with Backend(0, mute) as server:
            gate.sections["backend smtp"]["address"] = f"127.0.0.1:{server.port}"
            gate.write_ini()
            root = subprocess.Popen([library.PROXY, "-t", "--probe", "-c", gate.ini], env=gate.environment,
                                    stdout=subprocess.PIPE, stderr=subprocess.PIPE)
            server.wait_accepted(1)
            for look in (f"open('/proc/{root.pid}/mem', 'rb')", f"os.readlink('/proc/{root.pid}/fd/1')"):
                looked = subprocess.run([*as_nobody, sys.executable, "-c", f"import os; {look}"], capture_output=True,
                                        text=True, timeout=30)
                assert "PermissionError" in looked.stderr, (look, looked)
            _, said = root.communicate(timeout=60)
            assert b"checked as user nobody" in said and b"the servers cannot be asked" not in said
    finally:
        gate.stop(check=False)
        gate.remove()


def test_root_checks_as_root_where_gatepost_runs_as_root():
    with library.Gatepost(users=()) as gate:
        (gate.folder / "key.pem").chmod(0o600)
        result = check(gate)
        assert result.returncode == 0 and "checked as" not in result.stderr


# what the manager is told


class Manager:
    """The socket of a service manager. receive() gives the next message as {name: value}."""

    def __init__(self, folder):
        self.path = folder / "notify"
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(str(self.path))
        self.received = []

    def receive(self, timeout=30):
        self.socket.settimeout(timeout)
        message = dict(line.split("=", 1) for line in self.socket.recv(4096).decode().splitlines())
        self.received.append(message)
        return message

    def until(self, **fields):
        """Receives until a message has these fields, with values that begin so; returns it, and those before it."""
        before = []
        while True:
            message = self.receive()
            if all(message.get(name, "no").startswith(value) for name, value in fields.items()):
                return message, before
            before.append(message)


@pytest.fixture
def manager(folder):
    manager = Manager(folder)
    yield manager
    manager.socket.close()


def managed(gatepost, manager, watchdog_us=None, sections=None):
    more = {"NOTIFY_SOCKET": str(manager.path)}
    if watchdog_us:
        more |= {"WATCHDOG_USEC": str(watchdog_us)}
    prefix = ("sh", "-c", 'WATCHDOG_PID=$$ exec "$@"', "sh")
    return gatepost(sections, environment=more, prefix=prefix)


def test_the_manager_is_told_of_the_start_of_reloads_and_of_the_end(gatepost, manager):
    gate = managed(gatepost, manager)
    message, before = manager.until(READY="1")
    assert before == [] and message["STATUS"].startswith("5 ports, 2 workers")
    with Wire(gate.port("pop3")) as wire:
        wire.expect("+OK")
        good = gate.ini.read_text()

        gate.ini.write_text(good + "[limits]\nmax_errors = 7\n")
        gate.process.send_signal(signal.SIGHUP)
        message, before = manager.until(RELOADING="1")
        assert before == [] and int(message["MONOTONIC_USEC"]) > 0
        message, before = manager.until(READY="1")
        assert before == [] and "in use" in message["STATUS"]

        gate.ini.write_text(good + "[limits]\nmax_errros = 7\n")
        gate.process.send_signal(signal.SIGHUP)
        manager.until(RELOADING="1")
        message, before = manager.until(READY="1")
        assert before == [] and "failed" in message["STATUS"] and "gatepost.ini:" in message["STATUS"]
        wire.quit()
    gate.stop()
    message, before = manager.until(STOPPING="1")
    assert before == [] and int(message["EXTEND_TIMEOUT_USEC"]) > 2_000_000, "drain_timeout is 2s"


def test_no_child_inherits_the_managers_socket(gatepost, manager):
    gate = managed(gatepost, manager, watchdog_us=60_000_000)
    for pid in gate.workers() + gate.smtpd() + gate.pop3d():
        variables = pathlib.Path(f"/proc/{pid}/environ").read_text()
        assert "NOTIFY_SOCKET" not in variables and "WATCHDOG" not in variables
        assert "PATH=" in variables


@pytest.mark.parametrize("name", ["worker", "gatepost-pop3d"])
def test_p5_a_process_that_hangs_is_replaced_and_the_watchdog_waits_for_that(gatepost, manager, name):
    gate = managed(gatepost, manager, watchdog_us=2_000_000)
    manager.until(WATCHDOG="1")
    hung = (gate.workers() if name == "worker" else gate.pop3d())[0]
    gate.kill(hung, signal.SIGSTOP)
    with Wire(gate.port("smtp")) as wire:
        wire.expect("220")
        message, before = manager.until(STATUS=name)
        assert "hangs" in message["STATUS"]
        message, before = manager.until(WATCHDOG="1")
        assert before == []
        assert not proc.alive(hung) and re.search(f"{name}.* serves again", gate.log())
        message, before = manager.until(READY="1")
        assert "hangs" not in message["STATUS"]
        wire.commands(("NOOP", "250"))
    assert gate.log().count("hangs and is killed") == 1


def test_a_supervisor_that_was_asleep_blames_nobody(gatepost, manager):
    gate = managed(gatepost, manager, watchdog_us=2_000_000)
    before = gate.workers() + gate.smtpd() + gate.pop3d()
    manager.until(WATCHDOG="1")  # right behind it, everybody is asked
    gate.process.send_signal(signal.SIGSTOP)
    with pytest.raises(TimeoutError):
        while True:  # what was said before
            manager.receive(timeout=1.5)
    gate.process.send_signal(signal.SIGCONT)
    manager.until(WATCHDOG="1")
    manager.until(WATCHDOG="1")
    assert gate.workers() + gate.smtpd() + gate.pop3d() == before and "hangs" not in gate.log()


# sockets that the manager passes


def test_ports_that_systemd_holds_start_gatepost_and_are_served():
    """systemd-socket-activate, a part of systemd: it binds, waits for a connection, and runs the program."""
    gate = library.Gatepost({"gatepost": {"bind": "127.0.0.1"}})
    try:
        gate.prefix = ["systemd-socket-activate", "-E", "ASAN_OPTIONS", "-E", "UBSAN_OPTIONS"]
        for name in ("pop3", "smtp"):
            gate.prefix += ["-l", f"127.0.0.1:{gate.port(name)}"]
        gate.start(wait=False)
        gate.wait_for_log("Listening on 127.0.0.1", count=2)
        with Wire(gate.port("smtp")) as wire:
            wire.expect("220")
            gate.wait_ready()
            wire.quit()
        message = messages.trap_message(8192)
        clients.send(gate, "smtp", "starttls", message, host="127.0.0.1")
        assert [messages.difference(message, messages.own_part(one))
                for one in clients.fetch_all(gate, "pop3", "starttls", host="127.0.0.1")] == [""]
        assert "LISTEN_" not in "".join(pathlib.Path(f"/proc/{pid}/environ").read_text() for pid in gate.processes())
        gate.stop()
    finally:
        gate.stop(check=False)
        gate.remove()


PASS = """
import os, sys
high = [os.dup2(int(word), 200 + i) for i, word in enumerate(sys.argv[1].split(","))]
for i, fd in enumerate(high):
    os.dup2(fd, 3 + i)
names = ":".join(["test.socket"] * len(high))
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS=str(len(high)), LISTEN_FDNAMES=names)
os.closerange(3 + len(high), 300)
os.execv(sys.argv[2], sys.argv[2:])
"""


class Ports:
    """Sockets as systemd holds them, for a Gatepost to be passed."""

    def __init__(self, gate, *ports):
        self.sockets = [socket.create_server(("127.0.0.1", gate.port(port) if isinstance(port, str) else port))
                        for port in ports]
        gate.pass_fds = [one.fileno() for one in self.sockets]
        gate.prefix = [sys.executable, "-c", PASS, ",".join(map(str, gate.pass_fds))]

    def close(self):
        for one in self.sockets:
            one.close()


@pytest.fixture
def passed():
    """A function: a Gatepost that is not started, and is passed these ports."""
    made = []

    def make(*ports):
        gate = library.Gatepost({"gatepost": {"bind": "127.0.0.1"}}, users=())
        made.append((gate, Ports(gate, *ports)))
        return gate

    yield make
    for gate, ports in made:
        try:
            gate.stop()
        finally:
            gate.stop(check=False)
            ports.close()
            gate.remove()


def test_p5_with_sockets_of_the_manager_a_restart_refuses_nobody(passed):
    gate = passed("pop3", "pop3s", "smtp", "smtp-alt", "submission")
    gate.start()
    gate.stop()
    with Wire(gate.port("pop3")) as first, Wire(gate.port("smtp")) as second:
        gate.start()
        first.expect("+OK")
        second.expect("220")
        first.quit()
        second.quit()


def test_what_is_not_passed_is_bound_as_usual(passed):
    gate = passed("pop3")
    gate.start()
    for port, greeting in (("pop3", "+OK"), ("smtp", "220")):
        with Wire(gate.port(port)) as wire:
            wire.expect(greeting)
            wire.quit()


def test_a_socket_that_fits_no_listener_is_told_in_words_and_nothing_starts(passed):
    gate = passed("pop3", "remote")
    gate.start(wait=False)
    assert gate.process.wait(30) == 78
    assert re.search(rf"socket 127\.0\.0\.1:{gate.port('remote')} of test\.socket \(descriptor 4\) fits no listener: "
                     r"\[backend remote\], which is behind \[listen remote\], has no address", gate.log())
    gate.process = None
    assert "ready" not in gate.log()


def test_p6_a_reload_that_leaves_a_socket_of_the_manager_to_nobody_changes_nothing(passed):
    gate = passed("pop3", "smtp")
    gate.start()
    good = gate.ini.read_text()
    gate.ini.write_text(good + "[listen pop3]\nenabled = no\n")
    gate.process.send_signal(signal.SIGHUP)
    gate.wait_for_log("reload 1 failed: nothing was changed")
    assert "fits no listener: [listen pop3] has enabled = no" in gate.log()
    gate.ini.write_text(good + "[limits]\nmax_errors = 7\n")
    gate.process.send_signal(signal.SIGHUP)
    gate.wait_for_log("reload 2: in use")
    with Wire(gate.port("pop3")) as wire:
        wire.expect("+OK")
        wire.quit()
