"""The processes: who they are, what they hold, how they are started again, and how it all ends.

Everything is looked at from outside: /proc, strace, the file system, and clients in the middle of something."""
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess

import pytest

import gatepost as library
import messages
import proc
from certificates import client_context
from wire import Wire, pop3_session, smtp_session

MESSAGE = messages.trap_message(8192)
ENVELOPE = (("MAIL FROM:<bert@example.org>", "250"), (f"RCPT TO:<{library.USER}>", "250"), ("DATA", "354"))
PROGRAMS = ("proxy/gatepost", "backends/gatepost-smtpd", "backends/gatepost-pop3d", "tools/gatepost-user")


@pytest.fixture(scope="module")
def gate():
    with library.Gatepost() as gate:
        yield gate


def identity(name):
    import pwd

    entry = pwd.getpwnam(name)
    return entry.pw_uid, entry.pw_gid


def into_data(gate, port="smtp"):
    """A session in the middle of a message."""
    wire = smtp_session(Wire(gate.port(port)))
    return wire.commands(*ENVELOPE)


def refused(port):
    try:
        socket.create_connection(("127.0.0.1", port), 5).close()
    except ConnectionRefusedError:
        return True
    except ConnectionResetError:  # it was queued when the port was closed
        pass
    return False


def one_greeting(gate, port="pop3"):
    with Wire(gate.port(port)) as wire:
        wire.expect("+OK")
        wire.quit()


def copy_of_the_programs(folder):
    """A build of one's own, whose files may be replaced."""
    build = folder / "build"
    for name in PROGRAMS:
        (build / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(library.BUILD / name, build / name)
    return build


def everyone(gate):
    return [gate.process.pid, *proc.children(gate.process.pid)]


# who they are, and what they hold


def test_workers_have_given_up_every_right(gate):
    for pids, name in ((gate.workers(), "nobody"), (gate.smtpd() + gate.pop3d(), "mail")):
        assert pids
        uid, gid = identity(name)
        for pid in pids:
            status = proc.status(pid)
            assert set(status["Uid"].split()) == {str(uid)}
            assert set(status["Gid"].split()) == {str(gid)}
            assert status["Groups"].split() == [str(gid)]
            assert status["NoNewPrivs"] == "1"
            assert {int(status[key], 16) for key in ("CapInh", "CapPrm", "CapEff", "CapAmb")} == {0}


def test_workers_keep_the_groups_of_the_settings_and_no_others(gatepost):
    import grp

    gate = gatepost({"gatepost": {"groups": "adm, games"}})
    wanted = {identity("nobody")[1], grp.getgrnam("adm").gr_gid, grp.getgrnam("games").gr_gid}
    for pid in gate.workers():
        assert {int(gid) for gid in proc.status(pid)["Groups"].split()} == wanted
    for pid in gate.pop3d():
        assert {int(gid) for gid in proc.status(pid)["Groups"].split()} == {identity("mail")[1]}


def test_workers_are_named_after_what_they_do(gate):
    for pids, name in ((gate.workers(), "worker"), (gate.smtpd(), "gatepost-smtpd"), (gate.pop3d(), "gatepost-pop3d")):
        assert {pathlib.Path(f"/proc/{pid}/comm").read_text().strip() for pid in pids} == {name}


def test_workers_hold_no_file_but_null_and_the_log(gate):
    harmless = re.compile(r"socket:|pipe:|anon_inode:|/memfd:gatepost-|/dev/null$")
    for pid in gate.workers() + gate.smtpd() + gate.pop3d():
        held = proc.descriptors(pid)
        assert [held[0], held[1]] == ["/dev/null", "/dev/null"]
        assert held[3].startswith("socket:")
        files = {number: what for number, what in held.items() if not harmless.match(what)}
        assert files == {2: str(gate.folder / "log")}


def test_an_embedded_worker_is_given_no_key(gate):
    """Of the bundles that the supervisor holds, only that of the proxy workers has keys."""
    key = (gate.folder / "key.pem").read_bytes().splitlines()[1]

    def bundles(pid):
        return [pathlib.Path(f"/proc/{pid}/fd/{number}").read_bytes() for number, what in proc.descriptors(pid).items()
                if what.startswith("/memfd:gatepost-bundle")]

    def memory_has(pid, octets):
        with open(f"/proc/{pid}/maps") as maps, open(f"/proc/{pid}/mem", "rb", 0) as memory:
            for line in maps:
                start, end = (int(number, 16) for number in line.split()[0].split("-"))
                if "rw-p" not in line or end - start > 64 << 20:
                    continue
                try:
                    memory.seek(start)
                    if octets in memory.read(end - start):
                        return True
                except OSError:
                    pass
        return False

    assert sorted(key in bundle for bundle in bundles(gate.process.pid)) == [False, False, True]
    assert not memory_has(gate.process.pid, key), "the supervisor itself has wiped it"
    for pid in gate.pop3d() + gate.smtpd():
        assert not memory_has(pid, key)
        assert not any(key in bundle for bundle in bundles(pid))


def test_ports_are_bound_once_and_shared_by_all_workers(gate):
    """No SO_REUSEPORT: one socket for each address and port, and nobody else can bind there."""
    sockets = [set(proc.descriptors(pid).values()) for pid in gate.workers()]
    for port in ("pop3", "pop3s", "smtp", "smtp-alt", "submission"):
        number = f":{gate.port(port):04X} "
        lines = [line.split() for line in open("/proc/net/tcp") if number in line[:22] and " 0A " in line]
        assert len(lines) == 1
        assert all(f"socket:[{lines[0][9]}]" in held for held in sockets)
        with socket.socket() as rival:
            rival.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            rival.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            with pytest.raises(OSError):
                rival.bind(("127.0.0.1", gate.port(port)))


def test_the_sockets_of_embedded_workers_are_for_the_proxy_alone(gate):
    for name in ("smtp", "pop3"):
        status = (gate.run / f"{name}.sock").stat()
        assert status.st_mode & 0o777 == 0o600
        assert status.st_uid == identity("nobody")[0]


def test_a_worker_opens_no_file_after_it_is_ready(gatepost):
    gate = gatepost({"gatepost": {"workers": 1}})
    trace = gate.folder / "trace"
    with open(gate.folder / "strace", "wb") as said:
        tracer = subprocess.Popen(["strace", "-f", "-q", "-q", "-e", "trace=%file,%desc", "-e", "signal=none",
                                   "-o", trace, "-p", str(gate.workers()[0])], stderr=said)
    try:
        def traced():
            assert tracer.poll() is None, (gate.folder / "strace").read_text()
            one_greeting(gate)
            return trace.exists() and trace.stat().st_size > 0

        proc.wait_until(traced, 30, "strace sees the worker")
        for kind in ("plain", "starttls", "implicit"):
            wire = smtp_session(Wire(gate.port("smtp-alt")), client_context(), kind)
            wire.commands(*ENVELOPE)
            wire.command("Subject: traced\r\n\r\nbody\r\n.", "250")
            wire.quit()
            pop3_session(Wire(gate.port("pop3")), client_context(), kind, library.USER, gate.password).quit()
        Wire(gate.port("pop3s")).close()
    finally:
        tracer.send_signal(signal.SIGINT)
        tracer.wait(20)
    lines = trace.read_text().splitlines()
    assert any("read" in line or "write" in line for line in lines)
    opening = r"\b(open|openat|openat2|creat|execve|stat|lstat|access|faccessat2?|readlink|unlink|rename|mkdir|chmod)\("
    assert [line for line in lines if re.search(opening, line)] == []


# at the start


def test_folders_are_made_with_the_right_owner_and_mode(folder):
    state, run, mail = folder / "a" / "state", folder / "b" / "run", folder / "a" / "state" / "mail"
    gate = library.Gatepost({"gatepost": {"state_dir": state, "runtime_dir": run},
                             "mailstore": {"path": mail}}, users=())
    with gate:
        assert (state.stat().st_mode & 0o7777, state.stat().st_uid) == (0o711, 0)
        assert (run.stat().st_mode & 0o7777, run.stat().st_uid) == (0o755, 0)
        assert (mail.stat().st_mode & 0o7777, mail.stat().st_uid) == (0o700, identity("mail")[0])
        assert [path.name for path in run.iterdir()] != []
        for path in state.iterdir():
            assert path.is_dir() or path.stat().st_mode & 0o077 == 0, f"{path} can be read by others"
    assert list(run.iterdir()) == []


def test_the_check_makes_nothing_and_binds_nothing(folder, gate):
    ini = folder / "gatepost.ini"
    ini.write_text(gate.ini.read_text().replace(str(gate.run), str(folder / "run")))
    result = subprocess.run([library.PROXY, "-t", "-c", ini], capture_output=True, text=True, timeout=30)
    assert result.returncode == 0, "its ports are in use, and that is no fault of the settings: " + result.stderr
    assert [path.name for path in folder.iterdir()] == ["gatepost.ini"]


@pytest.mark.parametrize("keys, words", [
    ({"user": "no-such-user"}, ("user", "no-such-user")),
    ({"mail_user": "no-such-user"}, ("mail_user", "no-such-user")),
    ({"groups": "no-such-group"}, ("groups", "no-such-group")),
])
def test_a_missing_account_is_told_by_check_and_start(keys, words):
    gate = library.Gatepost(users=())
    gate.sections["gatepost"].update(keys)
    gate.write_ini()
    for mode in (["-t"], []):
        result = subprocess.run([library.PROXY, *mode, "-c", gate.ini], capture_output=True, text=True, timeout=30)
        assert result.returncode == 78
        assert all(word in result.stderr for word in words), result.stderr
    gate.remove()


def test_a_key_of_another_certificate_is_told_by_check_and_start():
    import certificates

    gate = library.Gatepost(users=())
    certificates.write(gate.folder, names=("other.example",), prefix="other-")
    gate.sections["tls default"]["key"] = gate.folder / "other-key.pem"
    gate.write_ini()
    for mode in (["-t"], []):
        result = subprocess.run([library.PROXY, *mode, "-c", gate.ini], capture_output=True, text=True, timeout=30)
        assert result.returncode == 78
        assert "[tls default]" in result.stderr and "other-key.pem" in result.stderr, result.stderr
    gate.remove()


def start_that_fails(gate, code, *words):
    gate.start(wait=False)
    assert gate.process.wait(30) == code, gate.log()
    assert all(word in gate.log() for word in words), gate.log()
    gate.stop(check=False)


def test_a_socket_that_another_process_serves_is_left_alone():
    gate = library.Gatepost()
    path = gate.run / "pop3.sock"
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(path))
        other.listen()
        start_that_fails(gate, 69, str(path), "another process")
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(path))
    assert [name.name for name in gate.run.iterdir()] == ["pop3.sock"], "what the failed start had made is gone"
    gate.remove()


def test_a_file_in_the_place_of_a_socket_is_left_alone():
    gate = library.Gatepost()
    (gate.run / "pop3.sock").write_text("precious")
    start_that_fails(gate, 69, "pop3.sock")
    assert (gate.run / "pop3.sock").read_text() == "precious"
    assert not (gate.run / "smtp.sock").exists()
    gate.remove()


def test_every_port_that_is_in_use_is_named_in_one_run():
    gate = library.Gatepost()
    with socket.create_server(("127.0.0.1", gate.port("pop3"))), socket.create_server(("127.0.0.1", gate.port("smtp"))):
        start_that_fails(gate, 69, f"port {gate.port('pop3')}", f"port {gate.port('smtp')}", f"process {os.getpid()}")
        assert "listening on" not in gate.log() and refused(gate.port("pop3s"))
    gate.remove()


def test_a_worker_that_never_gets_ready_ends_the_start(folder):
    build = copy_of_the_programs(folder)
    shutil.copy2("/bin/true", build / "backends" / "gatepost-pop3d")
    gate = library.Gatepost(build=build)
    start_that_fails(gate, 70, "gatepost-pop3d", "given up")
    assert list(gate.run.iterdir()) == []
    gate.remove()


def test_a_worker_that_is_no_program_ends_the_start(folder):
    build = copy_of_the_programs(folder)
    (build / "backends" / "gatepost-pop3d").write_text("#!/bin/sh\n")
    gate = library.Gatepost(build=build)
    start_that_fails(gate, 70, "gatepost-pop3d could not be executed")
    gate.remove()


def test_a_worker_program_that_is_missing_is_named(folder):
    build = copy_of_the_programs(folder)
    (build / "backends" / "gatepost-pop3d").unlink()
    gate = library.Gatepost(build=build)
    start_that_fails(gate, 71, "gatepost-pop3d")
    gate.remove()


def test_without_root_everything_runs_as_who_started_it():
    gate = library.Gatepost()
    user = identity("nobody")
    for root, names, files in os.walk(gate.folder):
        for name in [".", *names, *files]:
            os.chown(os.path.join(root, name), *user)
    os.makedirs(gate.folder / "home", exist_ok=True)
    process = subprocess.Popen([library.PROXY, "-c", gate.ini], cwd=gate.folder, env=gate.environment,
                               stderr=open(gate.folder / "log", "ab"), user="nobody", group=user[1], extra_groups=[])
    try:
        gate.process = process
        proc.wait_until(lambda: process.poll() is not None or "ready:" in gate.log(), 60, "ready")
        assert process.poll() is None, gate.log()
        for pid in everyone(gate):
            assert set(proc.status(pid)["Uid"].split()) == {str(user[0])}
        pop3_session(Wire(gate.port("pop3")), user=library.USER, password=gate.password).quit()
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
        assert list(gate.run.iterdir()) == []
    finally:
        process.kill()
        process.wait()
        gate.process = None
    gate.check_sanitizers()
    gate.remove()


# a process dies


def test_p5_a_dead_worker_costs_the_sessions_of_another_nothing(gatepost):
    gate = gatepost()
    wires = []
    first, second = gate.workers()
    before = {pid: proc.descriptor_count(pid) for pid in (first, second)}
    while not all(proc.descriptor_count(pid) > before[pid] for pid in (first, second)):
        assert len(wires) < 400, "all connections went to one worker"
        wires.append(Wire(gate.port("pop3")))
        wires[-1].expect("+OK")
    gate.kill(first)
    gate.wait_for_log(r"worker \d serves again")
    alive = 0
    for wire in wires:
        try:
            wire.command("NOOP", "+OK")
            alive += 1
            wire.quit()
        except (AssertionError, OSError):
            wire.socket.close()
    assert 0 < alive < len(wires)
    assert proc.alive(second)
    assert re.search(r"worker \d was ended by signal 9", gate.log())
    one_greeting(gate)


def test_connections_wait_while_no_worker_lives(gatepost):
    gate = gatepost({"gatepost": {"workers": 1}})
    gate.kill(gate.workers()[0], signal.SIGSTOP)
    waiting = [Wire(gate.port("pop3")) for _ in range(20)]
    gate.kill(gate.workers()[0])
    for wire in waiting:
        wire.expect("+OK")
        wire.quit()


@pytest.mark.parametrize("kind", ["smtpd", "pop3d"])
def test_a_dead_embedded_worker_is_started_again(gatepost, kind):
    gate = gatepost()
    (old,) = getattr(gate, kind)()
    gate.kill(old)
    gate.wait_for_log(rf"gatepost-{kind} was ended by signal 9 .*started again")
    gate.wait_for_log(rf"gatepost-{kind} serves again")
    assert getattr(gate, kind)() != [old]
    with into_data(gate) as wire:
        wire.command("Subject: again\r\n\r\nbody\r\n.", "250")
        wire.quit()
    pop3_session(Wire(gate.port("pop3")), user=library.USER, password=gate.password).quit()


def test_the_wait_before_a_restart_doubles(gatepost):
    gate = gatepost()
    for deaths, delay in ((1, 100), (2, 200), (3, 400)):
        gate.kill(gate.pop3d()[0])
        gate.wait_for_log(rf"gatepost-pop3d .* started again in {delay} ms")
        gate.wait_for_log("gatepost-pop3d serves again", count=deaths)
    assert gate.process.poll() is None


def test_a_replaced_package_changes_nothing_until_a_restart(folder):
    build = copy_of_the_programs(folder)
    with library.Gatepost(build=build) as gate:
        for name in PROGRAMS:
            shutil.copy2("/bin/true", build / f"{name}.new")
            (build / f"{name}.new").rename(build / name)
        gate.kill(gate.workers()[0])
        gate.kill(gate.pop3d()[0])
        gate.wait_for_log(r"worker \d serves again")
        gate.wait_for_log("gatepost-pop3d serves again")
        pop3_session(Wire(gate.port("pop3")), user=library.USER, password=gate.password).quit()


# the end


def test_p5_a_message_under_way_is_taken_after_term_and_nobody_new_is_let_in(gatepost):
    gate = gatepost({"gatepost": {"drain_timeout": "60s"}})
    with into_data(gate) as wire:
        gate.process.send_signal(signal.SIGTERM)
        proc.wait_until(lambda: refused(gate.port("smtp")) and refused(gate.port("pop3")), 15, "the ports are closed")
        wire.send(messages.stuffed(MESSAGE) + b".\r\n")
        wire.expect("250")
    assert gate.process.wait(30) == 0
    stored = gate.messages()
    assert [messages.difference(MESSAGE, messages.own_part(one)) for one in stored] == [""]


def test_rule_17_an_idle_session_is_told_421_when_term_comes(gatepost):
    gate = gatepost({"gatepost": {"drain_timeout": "60s"}})
    with smtp_session(Wire(gate.port("smtp"))) as idle, into_data(gate) as busy:
        gate.process.send_signal(signal.SIGTERM)
        assert idle.read_all().startswith(b"421")
        assert busy.silent(0.2), "inside DATA nothing is said"
        busy.send(b"Subject: last\r\n\r\nbody\r\n.\r\n")
        busy.expect("250")
    assert gate.process.wait(30) == 0


def test_a_session_that_never_ends_is_ended_at_drain_timeout(gatepost):
    gate = gatepost({"gatepost": {"drain_timeout": "1s"}})
    with into_data(gate) as wire:
        family = everyone(gate)
        gate.process.send_signal(signal.SIGTERM)
        assert gate.process.wait(30) == 0
        assert not [pid for pid in family if proc.alive(pid)]
        wire.read_all()
    assert gate.messages() == [], "no final dot was sent (P3)"


def test_a_second_term_ends_at_once(gatepost):
    gate = gatepost({"gatepost": {"drain_timeout": "1h"}})
    with into_data(gate):
        family = everyone(gate)
        gate.process.send_signal(signal.SIGTERM)
        gate.wait_for_log("a second signal ends at once")
        gate.process.send_signal(signal.SIGTERM)
        assert gate.process.wait(30) == 0
        assert not [pid for pid in family if proc.alive(pid)]
        assert list(gate.run.iterdir()) == []
    assert gate.messages() == []


def test_term_to_every_process_at_once_drains_like_term_to_one(gatepost):
    """As a service manager that signals the whole group does it."""
    gate = gatepost({"gatepost": {"drain_timeout": "60s"}})
    with into_data(gate) as wire:
        for pid in reversed(everyone(gate)):
            os.kill(pid, signal.SIGTERM)
        gate.wait_for_log("ending")
        wire.send(messages.stuffed(MESSAGE) + b".\r\n")
        wire.expect("250")
    assert gate.process.wait(30) == 0
    assert len(gate.messages()) == 1


def test_int_and_hup_mean_what_they_mean(gatepost):
    gate = gatepost()
    gate.process.send_signal(signal.SIGHUP)
    gate.wait_for_log("reload 1: nothing has changed")
    one_greeting(gate)
    gate.process.send_signal(signal.SIGINT)
    assert gate.process.wait(30) == 0


@pytest.mark.parametrize("lines", [1, 2, 4])
def test_term_during_the_start_leaves_nothing(lines):
    gate = library.Gatepost()
    gate.start(wait=False)
    proc.wait_until(lambda: gate.log().count("\n") >= lines, 30, "the start is under way")
    gate.process.send_signal(signal.SIGTERM)
    assert gate.process.wait(30) in (0, -signal.SIGTERM)
    assert list(gate.run.iterdir()) == []
    gate.stop()
    gate.remove()


def test_when_the_supervisor_is_killed_nobody_is_left_and_the_next_start_works(gatepost):
    gate = gatepost({"gatepost": {"drain_timeout": "1s"}})
    with into_data(gate) as wire:
        family = everyone(gate)
        gate.process.kill()
        gate.process.wait()
        proc.wait_until(lambda: not [pid for pid in family if proc.alive(pid)], 30, "all processes are gone")
        wire.read_all()
    stale = {"smtp.sock", "pop3.sock", "control.sock"}
    assert {path.name for path in gate.run.iterdir()} == stale, "the stale files that are met next"
    gate.stop(check=False)
    gate.start(wait=False)
    gate.wait_for_log("ready:", count=2)
    one_greeting(gate)
    assert gate.messages() == []


def test_a_stopped_worker_does_not_stop_the_end(gatepost):
    gate = gatepost({"gatepost": {"drain_timeout": "1s"}})
    family = everyone(gate)
    gate.kill(gate.workers()[0], signal.SIGSTOP)
    gate.kill(gate.pop3d()[0], signal.SIGSTOP)
    gate.process.send_signal(signal.SIGTERM)
    assert gate.process.wait(30) == 0
    assert not [pid for pid in family if proc.alive(pid)]


def test_a_flood_of_log_lines_that_nobody_reads_stops_no_session(gatepost):
    """The supervisor is stopped, as by a terminal that is stuck: lines are lost, sessions are not."""
    gate = gatepost()
    gate.process.send_signal(signal.SIGSTOP)
    try:
        for _ in range(300):
            with Wire(gate.port("smtp")) as wire:
                wire.expect("220")
                wire.quit()
        with into_data(gate) as wire:
            wire.command("Subject: quiet\r\n\r\nbody\r\n.", "250")
            wire.quit()
    finally:
        gate.process.send_signal(signal.SIGCONT)
    assert len(gate.messages()) == 1


# session tickets


def test_a_ticket_is_good_in_every_worker_and_after_a_restart(gatepost):
    gate = gatepost()
    context = client_context()

    def visit(session=None):
        with socket.create_connection(("127.0.0.1", gate.port("pop3s"))) as plain:
            with context.wrap_socket(plain, server_hostname="localhost", session=session) as tls:
                assert tls.recv(4096).startswith(b"+OK")
                tls.sendall(b"QUIT\r\n")
                tls.recv(4096)
                return tls.session, tls.session_reused

    session, reused = visit()
    assert not reused
    for _ in range(30):  # whichever worker is free
        fresh, reused = visit(session)
        assert reused
        session = fresh
    gate.stop()
    gate.start(wait=False)
    gate.wait_for_log("ready:", count=2)
    assert visit(session)[1]
    assert (gate.folder / "state" / "tickets").stat().st_mode & 0o777 == 0o600


def test_a_state_folder_that_cannot_be_written_costs_only_old_tickets(gatepost, folder):
    state = folder / "state"
    state.mkdir()
    (state / "tickets").mkdir()  # not even root replaces it by rename
    gate = gatepost({"gatepost": {"state_dir": state}})
    assert "tickets will not outlive this process" in gate.log()
    with Wire(gate.port("pop3s")) as wire:
        pop3_session(wire, client_context(), "implicit").quit()
