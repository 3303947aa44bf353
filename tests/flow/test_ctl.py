"""gatepostctl and the control socket: what it shows is what is there, what it does is done, and nobody can block or
mislead the supervisor by it."""
import base64
import json
import os
import pwd
import resource
import shutil
import signal
import socket
import subprocess
import threading

import pytest

import gatepost as library
import proc
from backend import Backend, echo_script, pop3_script, smtp_script
from certificates import client_context
from ctl import Ctl, ask, connect, read_all
from wire import Wire, pop3_session, smtp_session

ENVELOPE = (("MAIL FROM:<bert@example.org>", "250"), (f"RCPT TO:<{library.USER}>", "250"))
BODY = b"x" * 63 + b"\n"
NOBODY = pwd.getpwnam("nobody")
SEEN = "games"  # a group that may look


class Held:
    """An answer that a server keeps back until it is let go."""

    def __init__(self, answer):
        self.answer = answer
        self.asked, self.go = threading.Event(), threading.Event()

    def __call__(self, *_):
        self.asked.set()
        assert self.go.wait(30)
        return self.answer


@pytest.fixture(scope="module")
def scripted():
    """(a Gatepost before a scripted SMTP server, the server, its answers)"""
    answers = {b"VRFY": None}  # not empty: the script keeps this very dictionary
    folder = library.make_folder()
    with Backend(folder / "smtp.sock", smtp_script(answers=answers)) as backend:
        with library.Gatepost({"backend smtp": {"address": f"unix:{folder}/smtp.sock"}}, users=()) as gate:
            yield gate, backend, answers


@pytest.fixture
def smtp(scripted):
    yield scripted
    scripted[2].pop(b"DATA", None)
    proc.wait_until(lambda: Ctl(scripted[0]).sessions() == {}, 15, "no session is left")


@pytest.fixture
def many():
    """A function that opens so many connections; they are closed in the end."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 8192), hard))
    plugs = []

    def open_them(port, count):
        plugs.extend(socket.create_connection(("127.0.0.1", port), 15) for _ in range(count))
        return plugs

    yield open_them
    for plug in plugs:
        plug.close()
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.fixture(scope="module")
def gate():
    keys = {"gatepost": {"control_group": SEEN}, "listen pop3s": {"detect_wait": "60s"},
            **{f"listen {name}": {"hints": "no"} for name in ("pop3", "smtp", "submission")},
            "backend gone": {"address": "unix:/nonexistent/server.sock"}, "listen far": {
                "port": 2525, "protocol": "smtp", "backend": "gone"},
            "backend odd": {"address": "unix:/nonexistent/odd.sock"}, "listen odd": {
                "port": 7777, "protocol": "opaque", "backend": "odd", "tls": "off"}}
    with library.Gatepost(keys) as gate:
        yield gate


@pytest.fixture
def ctl(gate):
    return Ctl(gate)


def whose(wire):
    """The address of a client, as `who` names it."""
    host, port = wire.socket.getsockname()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def wait_gone(ctl, session):
    proc.wait_until(lambda: session["id"] not in ctl.sessions(), 10, "the end of the session")


def wait_state(ctl, wire, state):
    """The session of that client, once it is in that state."""
    def found():
        (session,) = [entry for entry in ctl.sessions().values() if entry["client"] == whose(wire)]
        return session if session["state"] == state else None

    return proc.wait_until(found, 15, lambda: f"{state!r} in {ctl.sessions()}")


def user(name, groups=None):
    """Words before a program that is run by somebody else."""
    more = ("--groups", str(groups)) if groups else ("--clear-groups",)
    entry = pwd.getpwnam(name)
    return ("setpriv", "--reuid", str(entry.pw_uid), "--regid", str(entry.pw_gid), *more)


# what it shows


def test_status_tells_what_runs(gate, ctl):
    status = ctl.json("status")
    assert status["phase"] == "serves" and status["pid"] == gate.process.pid
    assert {worker["pid"] for worker in status["workers"]} == set(gate.workers())
    assert {worker["pid"] for worker in status["embedded"]} == set(gate.smtpd() + gate.pop3d())
    assert all(worker["limit"] > 0 and worker["state"] == "serves" for worker in status["workers"])
    assert status["configuration"]["number"] == 0 and status["configuration"]["file"] == str(gate.ini)
    assert status["log_level"] == "info" and status["lost_log_lines"] == 0 and "reload" not in status and status["missing"] == []
    ports = {port["name"]: port for port in status["listeners"]}
    assert ports["smtp"]["open"] and f"127.0.0.1:{gate.port('smtp')}" in ports["smtp"]["addresses"]
    assert not ports["remote"]["open"] and ports["remote"]["why"] == "[backend remote] has no address"
    assert {name: (port["protocol"], port["tls"]) for name, port in ports.items()} == {
        "pop3": ("pop3", "STLS"), "pop3s": ("pop3", "TLS first"), "remote": ("remote", "as it comes"),
        "smtp": ("smtp", "STARTTLS"), "smtp-alt": ("smtp", "STARTTLS"), "submission": ("smtp", "STARTTLS"),
        "far": ("smtp", "STARTTLS"), "odd": ("opaque", "none")}
    assert status["backends"] == [{"name": "smtp", "addresses": 1, "in_service": 1},
                                  {"name": "pop3", "addresses": 1, "in_service": 1},
                                  {"name": "gone", "addresses": 1, "in_service": 0},
                                  {"name": "odd", "addresses": 1, "in_service": 1}]


def test_tables_say_the_same_in_words(gate, ctl):
    said = ctl.good("status")
    assert said.startswith("Gatepost 0.1.0 ") and f"process {gate.process.pid}" in said
    for words in ("not opened: [backend remote] has no address", "worker 1", "gatepost-pop3d", "0 of 1"):
        assert words in said
    assert "OUT for " in ctl.good("backends") and "PIPELINING" in ctl.good("backends")
    assert "connections that were accepted" in ctl.good("stats")
    assert ctl.good("who", "--user", "nobody@example.org") == "no session\n"


def test_backends_tell_who_is_out_and_why(gate, ctl):
    proc.wait_until(lambda: all("under_tls" in address for name in ("smtp", "pop3")
                                for address in backend(ctl, name)["addresses"]), 15, "both are learned")
    (out,) = backend(ctl, "gone")["addresses"]
    assert out["address"] == "unix:/nonexistent/server.sock" and not out["in_service"]
    assert "No such file" in out["why"] and out["since_s"] >= 0 and out["next_try_ms"] <= 30000
    (good,) = backend(ctl, "smtp")["addresses"]
    assert good["in_service"] and good["relay_test"] == "passed" and "AUTH PLAIN LOGIN" in good["under_tls"]
    assert "why" not in good and "since_s" not in good
    before = backend(ctl, "pop3")["addresses"][0]["connections"]
    with Wire(gate.port("pop3")) as wire:
        pop3_session(wire, user=library.USER, password=gate.password)
        assert backend(ctl, "pop3")["addresses"][0]["connections"] == before + 1


def backend(ctl, name):
    (found,) = [entry for entry in ctl.json("backends")["backends"] if entry["name"] == name]
    return found


def test_stats_count_what_happens(gate, ctl):
    def difference(names):
        after = ctl.json("stats")["counters"]
        return {name: after[name] - before[name] for name in names}

    proc.wait_until(lambda: ctl.sessions() == {}, 15, "none of before is left to be counted")
    before = ctl.json("stats")["counters"]
    with Wire(gate.port("pop3")) as wire:
        pop3_session(wire, client_context(), "starttls")
        wire.commands((f"USER {library.USER}", "+OK"), ("PASS wrong", "-ERR"), (f"USER {library.USER}", "+OK"),
                      (f"PASS {gate.password}", "+OK")).quit()
    with Wire(gate.port("smtp")) as wire:
        smtp_session(wire).commands(*ENVELOPE, ("DATA", "354"), ("Subject: x\r\n\r\n.", "250")).quit()
    wanted = {"sessions": 2, "handshakes": 1, "handshakes_failed": 0, "logins": 1, "logins_failed": 1, "messages": 1}
    proc.wait_until(lambda: difference(wanted) == wanted, 15, lambda: f"{wanted} in {difference(wanted)}")
    assert difference(["octets_in"])["octets_in"] > 100
    stats = ctl.json("stats")
    assert stats["counters"]["sessions"] == sum(worker["counters"]["sessions"] for worker in stats["workers"])
    assert set(stats["words"]) == set(stats["counters"])
    gate.clear()


# who


def test_who_tells_of_a_session_under_tls_all_that_there_is(gate, ctl):
    with Wire(gate.port("pop3")) as wire:
        pop3_session(wire, client_context(), "starttls", library.USER, gate.password)
        session = wait_state(ctl, wire, "awaits a command")
        assert session["user"] == library.USER and session["tls"] == "TLSv1.3" and session["begun_by"] == "STLS"
        assert (session["port"], session["number"]) == ("pop3", gate.port("pop3"))
        assert (session["backend"], session["server"]) == ("pop3", f"unix:{gate.run}/pop3.sock")
        assert session["octets_in"] > 20 and session["octets_out"] > 20 and session["configuration"] == 0
        assert session["worker"] in ("worker 0", "worker 1") and session["age_s"] >= 0
        table = ctl.good("who", "--from", "127.0.0.1")
        assert table.splitlines()[0].split() == ["SESSION", "USER", "CLIENT", "PORT", "TLS", "SERVER", "AGE", "IN", "OUT",
                                                 "CONF", "STATE"]
        (row,) = table.splitlines()[1:]
        for words in (session["id"], library.USER, session["client"], f"pop3 {gate.port('pop3')}", "TLSv1.3",
                      f"pop3 unix:{gate.run}/pop3.sock", " s ", " B ", " 0 awaits a command"):
            assert words in row, words
    wait_gone(ctl, session)


def test_who_chooses(gate, ctl):
    with Wire(gate.port("pop3")) as fetching, Wire(gate.port("smtp")) as sending, Wire(
            gate.port("smtp"), host="::1" if library.has_ipv6() else "127.0.0.1") as other:
        pop3_session(fetching, user=library.USER, password=gate.password)
        for wire in (sending, other):
            wait_state(ctl, smtp_session(wire), "awaits a command, no server yet")
        clients = lambda *words: {session["client"] for session in ctl.sessions(*words).values()}  # noqa: E731
        assert clients() == {whose(fetching), whose(sending), whose(other)}
        assert clients("--user", library.USER.upper()) == {whose(fetching)}
        assert clients("--port", "smtp") == clients("--port", str(gate.port("smtp"))) == {whose(sending), whose(other)}
        assert clients("--from", "127.0.0.0/8", "--port", "smtp") == {
            whose(wire) for wire in (sending, other) if "127." in whose(wire)}
        if library.has_ipv6():
            assert clients("--from", "::1") == {whose(other)}
        assert clients("--from", "192.0.2.1") == clients("--port", "110") == clients("--user", "anna") == set()
        result = ctl("who", "--from", "elsewhere")
        assert result.returncode == 64 and "192.0.2.0/24" in result.stderr


def test_who_tells_what_each_session_is_doing(folder):
    greeting, word, final = Held(None), Held(b"250 2.0.0 Ok"), Held(b"250 2.0.0 Queued")
    slow = threading.Event()

    def greet_late(*_):
        if slow.is_set():
            greeting()

    def message(wire, connection, line):
        wire.send(b"354 Go on\r\n")
        wire.read_until(b"\r\n.\r\n")
        return final()

    script = smtp_script(answers={b"VRFY": word, b"DATA": message}, before_greeting=greet_late)
    big = b"Subject: big\r\n\r\n" + BODY.replace(b"\n", b"\r\n") * 200000
    keys = {"backend smtp": {"address": f"unix:{folder}/smtp.sock"},
            "backend pop3": {"address": f"unix:{folder}/pop3.sock"},
            "backend remote": {"address": f"unix:{folder}/remote.sock"},
            "listen pop3s": {"detect_wait": "60s"}, "listen smtp-alt": {"trusted": "127.0.0.1"}}
    with Backend(folder / "smtp.sock", script), Backend(folder / "remote.sock", echo_script), \
            Backend(folder / "pop3.sock", pop3_script(messages=[big])), library.Gatepost(keys) as gate:
        ctl = Ctl(gate)
        wires = {name: Wire(gate.port(port)) for name, port in (
            ("header", "smtp-alt"), ("silent", "pop3s"), ("hello", "pop3s"), ("command", "smtp"), ("inside", "smtp"),
            ("final", "smtp"), ("reply", "smtp"), ("list", "pop3"), ("opaque", "remote"), ("login", "smtp"))}
        wait_state(ctl, wires["header"], "awaits the balancer's PROXY header")
        wait_state(ctl, wires["silent"], "awaits the first octet")
        wires["hello"].send_raw(wires["hello"].begin_tls(client_context())[:100])
        wait_state(ctl, wires["hello"], "TLS handshake")
        wait_state(ctl, smtp_session(wires["command"]), "awaits a command, no server yet")
        for name in ("inside", "final"):
            smtp_session(wires[name]).commands(*ENVELOPE, ("DATA", "354"))
        wires["inside"].send(b"Subject: x\r\n")
        assert wait_state(ctl, wires["inside"], "sends a message")["server"] == f"unix:{folder}/smtp.sock"
        wires["final"].send(b"\r\n.\r\n")
        wait_state(ctl, wires["final"], "awaits the server's word on its message")
        smtp_session(wires["reply"]).send(b"VRFY x\r\n")
        wait_state(ctl, wires["reply"], "awaits the server's reply")
        smtp_session(wires["login"]).commands(("MAIL FROM:<a@example.org>", "250"), ("RSET", "250"))
        wires["login"].command("AUTH LOGIN", "334")
        wait_state(ctl, wires["login"], "logs in")
        pop3_session(wires["list"], user="anna", password="x").send(b"RETR 1\r\n")
        wait_state(ctl, wires["list"], "the client is slow to read")
        wires["opaque"].send(b"hello")
        wait_state(ctl, wires["opaque"], "relayed as it is")
        slow.set()
        with Wire(gate.port("smtp")) as wire:
            smtp_session(wire).send(b"MAIL FROM:<a@example.org>\r\n")
            wait_state(ctl, wire, "connects to the server")
            for held in (greeting, word, final):
                held.go.set()
            wires["final"].expect("250")
        for wire in wires.values():
            wire.socket.close()


def test_two_thousand_sessions_are_listed(gatepost, many):
    gate = gatepost({"listen pop3s": {"detect_wait": "60s"}}, users=())
    ctl, plugs = Ctl(gate), many(gate.port("pop3s"), 2000)
    proc.wait_until(lambda: sum(worker["sessions"] for worker in ctl.json("status")["workers"]) == 2000, 30,
                    "all of them are accepted")
    sessions = ctl.sessions()
    clients = {session["client"] for session in sessions.values()}
    assert clients == {f"127.0.0.1:{plug.getsockname()[1]}" for plug in plugs}
    assert len(ctl.good("who").splitlines()) == 2001
    assert len(ctl.json("kick", "--port", "pop3s")["ended"]) == 2000
    assert plugs[0].recv(200).startswith(b"-ERR") and plugs[1999].recv(200).startswith(b"-ERR")
    proc.wait_until(lambda: ctl.sessions() == {}, 15, "none is left")


# hostile names

NAMES = ["anna", "two words", 'quo"te\\back', "\x1b[31mred\x07", "tab\tand\rreturn", "mülle\u0301r@例え.test",
         "\u202eevil\u2066", "'; drop table", "</script>", "%s%n%d", "x" * 60, '{"a":1}']


@pytest.mark.parametrize("name", NAMES, ids=range(len(NAMES)))
def test_a_user_may_have_any_name(smtp, name):
    gate, _, _ = smtp
    ctl = Ctl(gate)
    with Wire(gate.port("submission")) as wire:
        smtp_session(wire, client_context(), "starttls")
        wire.command(b"AUTH PLAIN " + base64.b64encode(b"\0" + name.encode() + b"\0secret"), "235")
        assert ctl.only("--user", name)["user"] == name
        table = ctl.good("who")
        assert not set(table) & set("\x1b\x07\r\t\u202e\u2066") and len(table.splitlines()) == 2
        assert "\u202e" not in ctl.good("--json", "who"), "nor is anything of it in the JSON as it is"
        assert ctl.json("kick", "--user", name)["ended"]
        assert wire.line().startswith(b"421") and wire.at_eof()


def test_a_name_that_is_no_utf8_is_shown_by_its_octets(smtp):
    gate, _, _ = smtp
    ctl = Ctl(gate)
    with Wire(gate.port("submission")) as wire:
        smtp_session(wire).command(b"AUTH PLAIN " + base64.b64encode(b"\0a\xff\xc3(\0secret"), "235")
        session = ctl.only()
        assert session["user"] == r"a\xff\xc3("
        assert ctl("who", "--user", b"a\xff\xc3(").returncode == 64, "no such octets in JSON"
        assert ctl.json("kick", session["id"])["ended"] == [session["id"]]


# kick


@pytest.mark.parametrize("port, words", [("smtp", b"421 4.3.2 This session was ended by the operator"),
                                         ("pop3", b"-ERR [SYS/TEMP] This session was ended by the operator")])
@pytest.mark.parametrize("kind", ["plain", "starttls", "implicit"])
@pytest.mark.parametrize("deep", [False, True], ids=["before_a_server", "with_a_server"])
def test_between_commands_the_client_is_told(gate, ctl, port, words, kind, deep):
    with Wire(gate.port(port)) as wire:
        if port == "pop3":
            pop3_session(wire, client_context(), kind, library.USER if deep else None, gate.password)
        else:
            smtp_session(wire, client_context(), kind).commands(*(ENVELOPE if deep else ()))
        state = "awaits a command" if deep else "awaits a command, no server yet"
        session = wait_state(ctl, wire, state)
        assert ctl.good("kick", session["id"]) == f"1 ended: {session['id']}\n"
        assert wire.line() == words and wire.at_eof()
        assert wire.eof == ("fin" if kind == "plain" else "close_notify")
    gate.wait_for_log(f"session {session['id']}.*ended by the operator")
    wait_gone(ctl, session)


def test_inside_a_message_both_sides_are_closed_at_once_and_the_server_drops_it(smtp):
    gate, backend, _ = smtp
    ctl = Ctl(gate)
    with Wire(gate.port("smtp")) as wire:
        smtp_session(wire).commands(*ENVELOPE, ("DATA", "354")).send(b"Subject: torn\r\n\r\nhalf")
        session = wait_state(ctl, wire, "sends a message")
        backend.wait_received(b"Subject: torn\r\n")
        assert ctl.json("kick", session["id"])["ended"] == [session["id"]]
        assert wire.at_eof()
        connection = backend.connections[-1].wait_done()
        assert connection.messages == [] and not connection.received.endswith(b".\r\n")


def test_a_message_that_was_received_whole_is_not_torn(smtp):
    gate, backend, answers = smtp
    ctl = Ctl(gate)
    final = Held(b"250 2.0.0 Queued")

    def data(wire, connection, line):
        wire.send(b"354 Go on\r\n")
        connection.messages.append(wire.read_until(b"\r\n.\r\n"))
        return final()

    answers[b"DATA"] = data
    before = ctl.json("stats")["counters"]["kicked"]
    with Wire(gate.port("smtp")) as wire:
        smtp_session(wire).commands(*ENVELOPE, ("DATA", "354")).send(b"Subject: whole\r\n\r\n.\r\n")
        assert final.asked.wait(15)
        session = wait_state(ctl, wire, "awaits the server's word on its message")
        wire.send(b"RSET\r\nMAIL FROM:<a@example.org>\r\n")  # what was pipelined behind it comes too late
        assert ctl.json("kick", session["id"])["later"] == [session["id"]]
        assert wait_state(ctl, wire, "ended by the operator, behind its message")
        assert "1 will end when" in ctl.good("kick", "--port", "smtp"), "and the second time is no worse"
        assert wire.silent(0.2)
        final.go.set()
        wire.expect("250 2.0.0 Queued")
        assert wire.read_all().endswith(b"421 4.3.2 This session was ended by the operator\r\n")
        assert len(backend.connections[-1].wait_done().messages) == 1
    assert ctl.json("stats")["counters"]["kicked"] == before + 1


def test_inside_a_reply_the_client_cannot_take_it_for_the_end(folder):
    big = b"Subject: big\r\n\r\n" + BODY.replace(b"\n", b"\r\n") * 100000
    with Backend(folder / "pop3.sock", pop3_script(messages=[big])) as backend, library.Gatepost(
            {"backend pop3": {"address": f"unix:{folder}/pop3.sock"}}) as gate, Wire(gate.port("pop3")) as wire:
        ctl = Ctl(gate)
        pop3_session(wire, user="anna", password="x").send(b"RETR 1\r\n")
        wait_state(ctl, wire, "the client is slow to read")
        assert ctl.json("kick", "--user", "anna")["ended"]
        try:
            assert not wire.read_all().endswith(b"\r\n.\r\n")
        except ConnectionResetError:
            pass
        assert wire.eof in (None, "reset")
        assert backend.connections[-1].wait_done().ended


def test_those_that_have_said_nothing_yet_are_ended_too(gate, ctl):
    with Wire(gate.port("pop3s")) as silent, Wire(gate.port("pop3s")) as hello:
        wait_state(ctl, silent, "awaits the first octet")
        hello.send_raw(hello.begin_tls(client_context())[:100])
        wait_state(ctl, hello, "TLS handshake")
        assert len(ctl.json("kick", "--port", "pop3s")["ended"]) == 2
        assert hello.socket.recv(100) == b""
        assert silent.read_all().startswith(b"-ERR")


def test_kick_says_whom_it_did_not_find(gate, ctl):
    for words in (("0123456789abcdef",), ("--user", "nobody@example.org"), ("--from", "192.0.2.0/24")):
        result = ctl("kick", *words)
        assert (result.returncode, result.stdout) == (1, "")
        assert "there is no such session" in result.stderr
    for words in ((), ("--json",)):
        assert ctl("kick", *words).returncode == 64
    assert ask(gate, command="kick")["error"] == "request", "nor does the supervisor kick everybody"
    assert ask(gate, command="kick", user="")["error"] == "request"


# who may


def test_the_socket_is_for_root_and_the_group(gate):
    status = (gate.run / "control.sock").stat()
    assert status.st_mode & 0o7777 == 0o660
    import grp

    assert (status.st_uid, status.st_gid) == (0, grp.getgrnam(SEEN).gr_gid)


def test_members_of_the_group_look_and_change_nothing(gate):
    import grp

    gid = grp.getgrnam(SEEN).gr_gid
    member = Ctl(gate, user("nobody", groups=gid))
    with Wire(gate.port("smtp")) as wire:
        smtp_session(wire)
        for word in ("status", "who", "backends", "stats", "log"):
            assert member(word, socket_path=gate.run / "control.sock").returncode == 0
        for words in (("kick", "--port", "smtp"), ("reload",), ("upgrade",), ("drain",), ("drain", "0"), ("log", "debug")):
            result = member(*words, socket_path=gate.run / "control.sock")
            assert result.returncode == 77 and "only root" in result.stderr, words
        wire.command("NOOP", "250")
    assert ask(gate, command="log")["level"] == "info"


def test_others_are_told_that_they_may_not(gate):
    other = Ctl(gate, user("nobody"))
    path = gate.run / "control.sock"
    result = other("status", socket_path=path)
    assert result.returncode == 77 and "permission denied" in result.stderr and str(path) in result.stderr
    path.chmod(0o666)  # somebody has opened it by mistake: the kernel's word on who asks is what counts
    try:
        result = other("status", socket_path=path)
        assert result.returncode == 77 and "control_group" in result.stderr
    finally:
        path.chmod(0o660)


def test_who_started_it_may_do_everything_without_root():
    own = library.Gatepost({"gatepost": {"user": None, "mail_user": None, "control_group": SEEN}}, users=())
    subprocess.run(["chown", "-R", "nobody", own.folder], check=True)
    own.prefix = user("nobody")
    with own as gate:
        gate.wait_for_log("control_group has no effect: not started by root")
        mine, other = Ctl(gate, user("nobody")), Ctl(gate, user("daemon"))
        assert mine("log", "debug").returncode == 0 and mine("reload").returncode == 0
        assert other("status", socket_path=gate.run / "control.sock").returncode == 77


# who misbehaves


@pytest.mark.parametrize("octets, words", [
    (b"\n", "no JSON object"), (b"who\n", "no JSON object"), (b"[]\n", "no JSON object"), (b"{}\n", "no command"),
    (b'{"command":"who"} {"command":"who"}\n', "no JSON object"), (b'{"command":7}\n', "no command"),
    (b'{"command":"who","command":"kick"}\n', "no JSON object"), (b'{"command":"WHO"}\n', "no such command"),
    (b'{"command":"who","usr":"a"}\n', 'takes no "usr"'), (b'{"command":"who","user":7}\n', "user must be a text"),
    (b'{"command":"status","user":"a"}\n', 'takes no "user"'), (b'{"command":"who","\\u001b":"a"}\n', r"\x1b"),
    (b'{"command":"kick","user":"a","level":"debug"}\n', 'takes no "level"'),
    (b'{"command":"drain","worker":-1}\n', "worker must be"), (b'{"command":"drain","worker":"0"}\n', "worker must be"),
    (b'{"command":"log","level":"loud"}\n', "level must be"), (b'{"command":"log","level":null}\n', "level must be"),
    (b'{"command":"who","user":"' + b"x" * 256 + b'"}\n', "1 to 255 octets"),
    (b'{"command":"who","user":"\xff"}\n', "no JSON object"),
    (b'{"command":"who","user":"\\u0000"}\n', "no JSON object"), (b"[" * 4000 + b"\n", "no JSON object"),
    (b"x" * 5000, "more than 4096 octets"),
], ids=range(22))
def test_what_is_no_request_is_refused_in_words(gate, octets, words):
    answer = ask(gate, octets)
    assert answer["error"] == "request" and words in answer["words"], answer


def test_a_request_may_come_in_pieces_or_end_without_a_line_end(gate):
    with connect(gate) as plug:
        for octet in b'{"command":"log"}\n':
            plug.send(bytes([octet]))
        assert json.loads(read_all(plug))["level"] == "info"
    with connect(gate) as plug:
        plug.send(b'{"command":"log"}')
        plug.shutdown(socket.SHUT_WR)
        assert json.loads(read_all(plug))["level"] == "info"


def try_connect(gate):
    try:
        return connect(gate)
    except BlockingIOError:  # the queue is full
        return None


def test_nobody_can_hold_the_supervisor_up(many):
    """Clients that say nothing, say too much, never read, come in crowds, or vanish: the others are answered all the
    time, and descriptors and memory are back in the end."""
    keys = {"listen pop3s": {"detect_wait": "60s"}}
    gate = library.Gatepost(keys, users=())
    gate.environment["ASAN_OPTIONS"] += ":quarantine_size_mb=1"  # else freed memory is kept
    with gate:
        ctl, pid = Ctl(gate), gate.process.pid
        many(gate.port("pop3s"), 1500)  # the answer is more than a socket's buffer takes
        proc.wait_until(lambda: len(ctl.sessions()) == 1500, 30, "all of them")
        for _ in range(10):
            ask(gate, command="who")
        descriptors, memory = proc.descriptor_count(pid), proc.memory_kib(pid, "Rss")

        silent = [connect(gate) for _ in range(8)]
        deaf = [connect(gate) for _ in range(4)]
        for plug in deaf:
            plug.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            plug.sendall(b'{"command":"who"}\n')
        half = connect(gate)
        half.sendall(b'{"command":')
        with connect(gate) as loud:
            try:
                loud.sendall(b"x" * (1 << 20))
            except (BrokenPipeError, ConnectionResetError):
                pass
            assert b"more than 4096" in read_all(loud)
        for _ in range(20):  # those that go away at once; too many are told so, and closed
            with connect(gate) as plug:
                try:
                    plug.sendall(b'{"command":"who"}\n')
                except BrokenPipeError:
                    pass
        proc.wait_until(lambda: ctl("log").returncode == 0, 15, "an answer beside them")
        crowd = [proc.wait_until(lambda: try_connect(gate), 15, "a place in the queue") for _ in range(30)]
        assert all(b'"busy"' in plug.recv(1000) for plug in crowd[16:]), "those that are too many are told so"
        result = ctl("status")
        assert result.returncode in (75, 76), result
        for plug in crowd:
            plug.close()
        proc.wait_until(lambda: ctl("status").returncode == 0, 15, "an answer behind the crowd")
        for plug in (*silent, half):
            assert plug.recv(1) == b"", "patience has an end"
        # What is in the socket's buffer comes; the rest of the answer does not.
        proc.wait_until(lambda: proc.descriptor_count(pid) <= descriptors, 30, "the deaf are cut off")
        for plug in deaf:
            assert not read_all(plug).endswith(b"}\n")
        for _ in range(30):
            ask(gate, command="who")
        for plug in (*silent, *deaf, half):
            plug.close()
        assert proc.descriptor_count(pid) <= descriptors
        assert proc.memory_kib(pid, "Rss") < memory + 8192


def accepted(gate, name):
    """How many sessions that worker has accepted, also where it does not answer."""
    (worker,) = [worker for worker in ask(gate, command="stats")["workers"] if worker["name"] == name]
    return worker["counters"]["sessions"]


def test_a_worker_that_hangs_is_named_and_not_waited_for(gatepost):
    gate = gatepost({"listen pop3s": {"detect_wait": "60s"}}, users=())
    ctl = Ctl(gate)
    workers = [worker["pid"] for worker in ctl.json("status")["workers"]]
    plugs = []
    for pid, name, count in ((workers[0], "worker 1", 10), (workers[1], "worker 0", 20)):
        gate.kill(pid, signal.SIGSTOP)  # the other one takes them all
        plugs += [socket.create_connection(("127.0.0.1", gate.port("pop3s")), 15) for _ in range(count)]
        proc.wait_until(lambda: accepted(gate, name) == count, 15, f"{count} sessions at {name}")
        gate.kill(pid, signal.SIGCONT)
    proc.wait_until(lambda: not ctl("who").stderr, 15, "both answer")
    before = ctl.sessions()
    first = [session for session in before.values() if session["worker"] == "worker 0"]
    hung = workers[0]
    gate.kill(hung, signal.SIGSTOP)
    try:
        result = ctl("--json", "who")
        assert result.returncode == 0 and "worker 0 does not answer" in result.stderr
        told = json.loads(result.stdout)
        assert told["missing"] == ["worker 0"] and len(told["sessions"]) == 10 == 30 - len(first)
        for _ in range(400):  # nothing is queued for it meanwhile
            assert ask(gate, command="status")["workers"][0]["state"] == "does not answer"
        result = ctl("kick", first[0]["id"])
        assert result.returncode == 75 and "worker 0 does not answer" in result.stderr
        assert ctl("stats").returncode == 0
    finally:
        gate.kill(hung, signal.SIGCONT)
    proc.wait_until(lambda: not ctl("who").stderr, 15, "it answers again")
    assert ctl.sessions().keys() == before.keys()
    for plug in plugs:
        plug.close()


def test_a_worker_that_dies_meanwhile_is_not_waited_for(gatepost):
    gate = gatepost(users=())
    pid = gate.workers()[0]
    gate.kill(pid, signal.SIGSTOP)
    with connect(gate) as plug:
        plug.sendall(b'{"command":"who"}\n')
        proc.wait_until(lambda: proc.descriptor_count(gate.process.pid) > 0, 5, "-")
        gate.kill(pid)
        states = [worker["state"] for worker in json.loads(read_all(plug))["workers"]]
    assert sorted(states) in (["has ended", "serves"], ["does not answer", "serves"], ["serves", "starts"])


# what it does


def test_reload_says_how_it_ended(gatepost):
    gate = gatepost()
    ctl = Ctl(gate)
    with Wire(gate.port("smtp")) as old:
        smtp_session(old)
        assert "nothing has changed" in ctl.good("reload")
        gate.sections["limits"] = {"max_errors": 7}
        gate.write_ini()
        assert "limits" in ctl.good("reload")
        with Wire(gate.port("smtp")) as new:
            smtp_session(new)
            assert {session["configuration"] for session in ctl.sessions().values()} == {0, 2}
        status = ctl.json("status")
        assert status["configuration"]["number"] == 2 and status["reload"]["outcome"] == "in use"
        gate.sections["limits"] = {"max_erors": 8}
        gate.write_ini()
        result = ctl("reload")
        assert result.returncode == 78 and "max_erors" in result.stderr and "max_errors" in result.stderr
        assert all(line.startswith("gatepostctl: ") for line in result.stderr.splitlines())
        said = ctl.good("status")
        assert "failed: nothing was changed" in said and "max_erors" in said
        assert ctl.json("status")["configuration"]["number"] == 2
        old.command("NOOP", "250")


def break_certificate(gate):
    (gate.folder / "key.pem").write_text("no key\n")
    return "key.pem"


def break_port(gate):
    """Somebody else has it."""
    gate.held = socket.create_server(("127.0.0.1", gate.port(2525)))
    gate.sections["listen extra"] = {"port": 2525, "protocol": "pop3", "backend": "pop3"}
    gate.write_ini()
    return f"{gate.port(2525)}"


@pytest.mark.parametrize("break_it", [break_certificate, break_port])
def test_p6_a_certificate_or_a_port_that_is_no_good_is_told_by_reload_status_and_log(gatepost, break_it):
    gate = gatepost()
    ctl = Ctl(gate)
    words = break_it(gate)
    result = ctl("reload")
    assert result.returncode == 78 and words in result.stderr
    told = ctl.json("status")
    assert told["reload"]["outcome"] == "failed: nothing was changed" and words in told["reload"]["words"]
    assert told["configuration"]["number"] == 0
    gate.wait_for_log(rf"(?s){words}.*reload 1 failed: nothing was changed")
    with Wire(gate.port("pop3")) as wire:
        pop3_session(wire, client_context(), "starttls").quit()


def test_reloads_that_are_asked_for_at_once_are_all_answered(gatepost):
    gate = gatepost(users=())
    plugs = [connect(gate) for _ in range(8)]
    for plug in plugs:
        plug.sendall(b'{"command":"reload"}\n')
    assert {json.loads(read_all(plug))["words"] for plug in plugs} == {"nothing has changed"}


def test_the_level_of_the_log_is_changed_at_once_and_for_those_that_are_started_later(gatepost):
    gate = gatepost()
    ctl = Ctl(gate)
    assert ctl.good("log") == "log_level = info\n"
    assert ctl.good("log", "error") == "log_level = error\n"
    quiet = len(gate.log())
    with Wire(gate.port("smtp")) as wire:
        smtp_session(wire).quit()
    victim = gate.workers()[0]
    gate.kill(victim)
    proc.wait_until(lambda: len(gate.workers()) == 2 and victim not in gate.workers(), 15, "another worker")
    proc.wait_until(lambda: all("report" in worker for worker in ask(gate, command="status")["workers"]), 15, "it serves")
    for _ in range(4):
        with Wire(gate.port("smtp")) as wire:
            smtp_session(wire).quit()
        with Wire(gate.port("pop3")) as wire:  # the embedded worker is told as well
            pop3_session(wire, user=library.USER, password=gate.password).quit()
    said = [line for line in gate.log()[quiet:].splitlines() if "serves at most" not in line]  # before it can be told
    assert not [line for line in said if " info " in line or " notice " in line]
    gate.sections["limits"] = {"max_errors": 7}
    gate.write_ini()
    ctl.good("reload")
    assert ctl.json("log")["level"] == "error", "a reload that does not concern it leaves it"
    gate.sections["gatepost"]["log_level"] = "notice"
    gate.write_ini()
    ctl.good("reload")
    assert ctl.json("log")["level"] == "notice", "one that does sets it"
    assert ctl.good("log", "debug") == "log_level = debug\n"
    with Wire(gate.port("smtp")) as wire:
        smtp_session(wire).quit()
    gate.wait_for_log(" info .*session .*port smtp")
    with Wire(gate.port("pop3")) as wire:
        pop3_session(wire, user=library.USER, password=gate.password).quit()
    gate.wait_for_log(" info +gatepost-pop3d: session .*0 retrieved")


def test_drain_of_one_worker_lets_another_take_its_place(gatepost):
    gate = gatepost({"gatepost": {"workers": 1}})
    ctl = Ctl(gate)
    with Wire(gate.port("pop3")) as old:
        pop3_session(old, user=library.USER, password=gate.password)
        (before,) = gate.workers()
        assert "another serves in its place" in ctl.good("drain", "0")
        proc.wait_until(lambda: sorted(worker["state"] for worker in ctl.json("status")["workers"])
                        == ["ends with its sessions", "serves"], 15, "two of them")
        with Wire(gate.port("pop3")) as new:
            new.expect("+OK")
            states = {session["client"]: session["worker"] for session in ctl.sessions().values()}
            assert states[whose(old)] == "worker 0" and states[whose(new)] != "worker 0"
        assert ctl("drain", "0").returncode == 70, "it leaves already"
        old.command("NOOP", "+OK")
        assert proc.alive(before)
        old.quit()
    proc.wait_until(lambda: not proc.alive(before), 15, "the end of the old worker")
    assert [worker["state"] for worker in ctl.json("status")["workers"]] == ["serves"]
    assert ctl("drain", "9").returncode == 70 and ctl("drain", "first").returncode == 64


def test_drain_ends_gatepost_when_its_sessions_have(gatepost):
    gate = gatepost({"gatepost": {"drain_timeout": "30s"}})
    ctl = Ctl(gate)
    with Wire(gate.port("smtp")) as wire:
        smtp_session(wire).commands(*ENVELOPE, ("DATA", "354"))
        assert "30 s at the latest" in ctl.good("drain")
        assert ctl.json("status")["phase"] == "ends"
        assert not any(port["open"] for port in ctl.json("status")["listeners"])
        assert ctl.only()["state"] == "sends a message"
        assert ctl("reload").returncode == 70 and ctl("drain").returncode == 70
        wire.command("Subject: x\r\n\r\n.", "250")
        assert wire.line().startswith(b"421")
    assert gate.process.wait(15) == 0
    assert not (gate.run / "control.sock").exists()


# the socket


def test_the_socket_is_gone_after_the_end_and_replaced_after_a_kill(gatepost):
    gate = gatepost(users=())
    ctl = Ctl(gate)
    gate.process.kill()
    gate.process.wait()
    assert (gate.run / "control.sock").exists()
    result = ctl("status")
    assert result.returncode == 69 and f"nobody listens on {gate.run}/control.sock" in result.stderr
    gate.stop(check=False)
    gate.start(wait=False)
    gate.wait_for_log("ready:", count=2)
    assert ctl.json("status")["pid"] == gate.process.pid
    gate.stop()
    result = ctl("status")
    assert result.returncode == 69 and "gatepost is not running" in result.stderr


def test_a_second_gatepost_with_the_same_socket_is_refused_and_the_first_goes_on(gate, ctl, folder):
    rival = library.Gatepost({"gatepost": {"control_socket": gate.run / "control.sock"}}, users=())
    result = subprocess.run([library.PROXY, "-c", rival.ini], capture_output=True, text=True, timeout=30)
    rival.remove()
    assert result.returncode == 69
    assert f"another gatepost is running: it listens on {gate.run}/control.sock" in result.stderr
    assert ctl.json("status")["pid"] == gate.process.pid


@pytest.mark.parametrize("setting, words", [("none", None), ("{folder}/file", "it is there and no socket"),
                                            ("/nonexistent/control.sock", "No such file")])
def test_mail_goes_on_where_there_is_no_socket(gatepost, folder, setting, words):
    (folder / "file").write_text("not ours")
    gate = gatepost({"gatepost": {"control_socket": setting.format(folder=folder)}}, users=())
    with Wire(gate.port("smtp")) as wire:
        smtp_session(wire).quit()
    if words:
        gate.wait_for_log(f"warning.*no control socket.*{words}")
        assert (folder / "file").read_text() == "not ours"
    else:
        result = Ctl(gate)("status")
        assert result.returncode == 78 and "control_socket" in result.stderr


def test_the_socket_is_found_while_somebody_edits_the_settings(gatepost):
    gate = gatepost({"gatepost": {"control_socket": "elsewhere.sock"}}, users=())
    gate.ini.write_text(gate.ini.read_text() + "\n[listen pop3]\nprot = 7\n")
    assert Ctl(gate).json("status")["pid"] == gate.process.pid
    assert Ctl(gate)("reload").returncode == 78


def test_a_group_that_is_not_there_is_told_by_the_check(folder):
    gate = library.Gatepost({"gatepost": {"control_group": "no-such-group"}}, users=())
    result = subprocess.run([library.PROXY, "-t", "-c", gate.ini], capture_output=True, text=True, timeout=30)
    gate.remove()
    assert result.returncode == 78 and "control_group = no-such-group: there is no such group" in result.stderr


# the command line


@pytest.mark.parametrize("words", [(), ("frobnicate",), ("status", "now"), ("log", "debug", "x"), ("kick",),
                                   ("--user", "a", "status"), ("--port", "smtp", "log"), ("--no-such-option", "who")],
                         ids=" ".join)
def test_a_wrong_command_line_is_told(ctl, words):
    result = ctl(*words)
    assert result.returncode == 64 and result.stdout == "" and "gatepostctl" in result.stderr


COMPLETION = library.ROOT / "tools" / "gatepostctl.bash"


@pytest.mark.parametrize("words, offered", [
    (("",), ["backends", "drain", "kick", "log", "reload", "stats", "status", "upgrade", "who"]),
    (("st",), ["stats", "status"]),
    (("-s", "/x", "wh"), ["who"]),
    (("--socket", "=", "/x", "wh"), ["who"]),
    (("who", "--"), ["--config", "--from", "--json", "--port", "--socket", "--user"]),
    (("kick", ""), ["--from", "--port", "--user"]),
    (("who", "--port", "smtp"), ["smtp", "smtp-alt"]),
    (("who", "--port", "="), ["pop3", "pop3s", "remote", "smtp", "smtp-alt", "submission"]),
    (("who", "--port", "=", "pop"), ["pop3", "pop3s"]),
    (("kick", "--user", "a"), []),
    (("log", ""), ["debug", "error", "info", "notice", "warning"]),
    (("log", "d"), ["debug"]),
    (("status", "-"), ["--config", "--json", "--socket", "-c", "-s"]),
    (("up",), ["upgrade"]),
    (("upgrade", ""), ["--config", "--json", "--socket", "-c", "-s"]),
    (("--us",), ["--usage"]),
], ids=" ".join)
def test_bash_is_offered_what_may_follow(words, offered):
    script = f"""source {COMPLETION}
COMP_WORDS=(gatepostctl "$@"); COMP_CWORD=$#; _gatepostctl
[ ${{#COMPREPLY[@]}} -eq 0 ] || printf '%s\\n' "${{COMPREPLY[@]}}" """
    result = subprocess.run(["bash", "--norc", "--noprofile", "-c", script, "bash", *words], capture_output=True,
                            text=True, timeout=30)
    assert (sorted(result.stdout.splitlines()), result.stderr) == (offered, "")


def test_every_option_and_command_stands_in_the_manual(ctl):
    manual = (library.ROOT / "tools" / "gatepostctl.8").read_text()
    told = ctl("--help").stdout
    for option in ("config", "socket", "json", "user", "port", "from"):
        assert f"--{option}" in told and f"Fl \\-{option}" in manual
    for command in ("status", "who", "kick", "backends", "stats", "reload", "upgrade", "drain", "log"):
        assert command in told and f".It Cm {command}" in manual
