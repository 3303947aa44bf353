"""The dialogue on the wire, looked at from both ends (rules 2, 5, 8, 9, 13, 15, 18 to 22, 24, 25; P2, P7)."""
import base64
import os
import re
import select
import ssl
import threading

import pytest

import gatepost as library
import proc
from backend import Backend, pop3_script, smtp_script
from certificates import HOSTNAME, client_context
from farm import SMTP, Server, behind
from wire import Wire, pop3_session, smtp_session

MAIL, RCPT = b"MAIL FROM:<bert@example.org>", f"RCPT TO:<{library.USER}>".encode()
MESSAGE = b"Subject: dialogue\r\n\r\nbody\r\n"


# All tests come from one address, plain and with TLS: what hints are for would get in their way.
QUICK = {"gatepost": {"log_level": "debug"},
         **{f"listen {port}": {"hints": "no", "detect_wait": wait} for port, wait in (
    ("smtp", "50ms"), ("submission", "50ms"), ("pop3", "50ms"), ("pop3s", "5s"))}}


@pytest.fixture(scope="module")
def embedded():
    with library.Gatepost(QUICK) as gate:
        yield gate


@pytest.fixture()
def folder():
    return library.make_folder("gatepost-b-")


def in_front_of(path, **over):
    address = {"address": f"unix:{path}"}
    return library.Gatepost(library.overlay({"backend smtp": address, "backend pop3": address, **QUICK}, over))


def ours(backend, mark=b"me.example"):
    """Connections that carry a client, not the proxy's own learning."""
    return [one for one in backend.connections if mark in one.received]


# lines


@pytest.mark.parametrize("kind", ["plain", "starttls", "implicit"])
@pytest.mark.parametrize("line", [b"NOOP\n", b"NO\rOP\r\n", b"NO\0OP\r\n", b"NOOP\nNOOP\r\n"])
def test_rule_2_a_line_of_smtp_with_a_bare_newline_or_nul_is_refused(embedded, kind, line):
    with Wire(embedded.port("smtp")) as wire:
        smtp_session(wire, client_context(), kind)
        wire.send(line if line.endswith(b"\r\n") else line + b"\r\n")
        wire.expect("500 5.5.2")
        wire.quit()


ONE_READ = 1024  # octets that are read at once before a server is involved
NOOPS = b"NOOP abc\r\n" + b"NOOP\r\n" * ((ONE_READ - 16) // 6)
QUITS = {"alone": b"QUIT\r\n", "and more": b"QUIT\r\nEHLO again.example\r\n", "and much more": b"QUIT\r\n" + b"x" * 20000,
         "at the end of a read": NOOPS + b"QUIT\r\n", "at the end of a read, and more": NOOPS + b"QUIT\r\nNOOP\r\n"}


@pytest.mark.parametrize("kind", ["plain", "starttls"])
@pytest.mark.parametrize("said", QUITS.values(), ids=QUITS)
def test_the_answer_to_quit_is_not_lost_to_octets_behind_it(embedded, said, kind):
    assert len(NOOPS) + len(b"QUIT\r\n") == ONE_READ
    with Wire(embedded.port("smtp")) as wire:
        smtp_session(wire, client_context(), kind)
        wire.send(said)
        heard = wire.read_all()
        assert heard.splitlines()[-1].startswith(b"221 ") and heard.count(b"250 ") == said[:ONE_READ].count(b"NOOP")
        assert wire.eof == ("close_notify" if kind == "starttls" else "fin")


@pytest.mark.parametrize("relaying", [False, True])
def test_rule_2_a_spoiled_line_reaches_no_server(folder, relaying):
    with Backend(folder / "s.sock", smtp_script()) as server, in_front_of(folder / "s.sock") as gate:
        with Wire(gate.port("smtp")) as wire:
            smtp_session(wire)
            if relaying:
                wire.command(MAIL, "250")
            for spoiled in (b"RCPT TO:<a@gatepost.test>\nRSET", b"VRFY a\0b", b"VRFY a\rb", b"VRFY " + b"a" * 600):
                wire.command(spoiled, "500 5.5.2")
            wire.quit()
        for connection in ours(server):
            assert not [line for line in connection.lines if line[:4] in (b"RCPT", b"VRFY")]


@pytest.mark.parametrize("relaying", [False, True])
def test_rule_2_too_many_bad_commands_end_the_session(embedded, relaying):
    with Wire(embedded.port("smtp")) as wire:
        smtp_session(wire)
        if relaying:
            wire.command(MAIL, "250")
        for _ in range(10):
            wire.command("VRFY " + "x" * 600, "500")
        wire.expect("421 4.7.0")
        assert wire.at_eof()


@pytest.mark.parametrize("port", ["smtp", "pop3"])
@pytest.mark.parametrize("request_line", ["GET / HTTP/1.1", "POST /x HTTP/1.1", "CONNECT a:25 HTTP/1.1"])
def test_rule_2_a_browser_is_closed_without_a_word(embedded, port, request_line):
    with Wire(embedded.port(port)) as wire:
        wire.line()
        wire.send(f"{request_line}\r\nHost: a\r\n\r\nMAIL FROM:<a@example.org>\r\n")
        assert wire.read_all() == b""


def test_rule_2_a_bare_lf_ends_a_line_of_pop3_and_is_forwarded_as_crlf(folder):
    with Backend(folder / "p.sock", pop3_script()) as server, in_front_of(folder / "p.sock") as gate:
        with Wire(gate.port("pop3")) as wire:
            wire.expect("+OK")
            for line in (b"USER anna\n", b"PASS secret\n", b"STAT\n", b"NOOP\r\n"):
                wire.send(line)
                wire.expect("+OK")
            wire.quit()
        assert ours(server, b"USER anna")[0].received == b"USER anna\r\nPASS secret\r\nSTAT\r\nNOOP\r\nQUIT\r\n"


# pipelining


@pytest.mark.parametrize("kind", ["plain", "implicit"])
def test_rule_15_pipelined_commands_are_answered_in_their_order_and_delivered(embedded, kind):
    embedded.clear()
    with Wire(embedded.port("smtp")) as wire:
        smtp_session(wire, client_context(), kind)
        wire.send(b"\r\n".join((MAIL, b"RCPT TO:<a@elsewhere.example>", RCPT, b"NOOP", b"XCLIENT NAME=x", RCPT,
                                b"DATA\r\n")))
        for code in ("250", "55", "250", "250", "550 5.7.0", "250", "354"):
            wire.expect(code)
        wire.send(MESSAGE + b".\r\n" + b"NOOP\r\nRSET\r\nQUIT\r\n")
        for code in ("250", "250", "250", "221"):
            wire.expect(code)
        assert wire.at_eof()
    (stored,) = embedded.messages()
    assert stored.endswith(MESSAGE)


def test_rule_15_many_more_commands_than_the_queue_holds_are_all_answered(embedded):
    with Wire(embedded.port("smtp")) as wire:
        smtp_session(wire).command(MAIL, "250")
        wire.send(b"NOOP\r\n" * 1000 + b"RSET\r\nQUIT\r\n")
        for _ in range(1001):
            wire.expect("250")
        wire.expect("221")
        assert wire.at_eof()


def one_at_a_time(early, **more):
    """A server that looks, before each answer, whether the next command has come already."""

    def script(wire, connection):
        def look(_wire, _connection, line):
            if wire._plain or select.select([wire.socket], [], [], 0.05)[0]:
                early.append(line)

        verbs = (b"EHLO", b"MAIL", b"RCPT", b"RSET", b"NOOP", b"QUIT", b"DATA", b"VRFY")
        smtp_script(answers={verb: look for verb in verbs}, **more)(wire, connection)

    return script


def test_rule_15_a_server_without_pipelining_gets_one_command_at_a_time(folder):
    early = []
    with Backend(folder / "s.sock", one_at_a_time(early, ehlo=("8BITMIME", "SIZE 100000"))) as server:
        with in_front_of(folder / "s.sock") as gate, Wire(gate.port("smtp")) as wire:
            smtp_session(wire)
            wire.send(MAIL + b"\r\nNOOP\r\n" + RCPT + b"\r\nVRFY anna\r\n" + RCPT + b"\r\nDATA\r\n")
            for code in ("250", "250", "250", "252", "250", "354"):
                wire.expect(code)
            wire.send(MESSAGE + b".\r\nNOOP\r\n" + MAIL + b"\r\nRSET\r\nQUIT\r\n")
            for code in ("250", "250", "250", "250", "221"):
                wire.expect(code)
            assert wire.at_eof()
        assert early == []
        assert [message for _, message in ours(server)[0].messages] == [MESSAGE]


def test_p2_rule_9_pipelining_that_was_lost_since_is_bridged(folder):
    early = []
    words = ("8BITMIME", "SIZE 100000")
    with in_front_of(folder / "s.sock", gatepost={"workers": "1"}) as gate, Wire(gate.port("smtp")) as wire:
        with Backend(folder / "s.sock", smtp_script(ehlo=("PIPELINING", *words))):
            smtp_session(wire)
        with Backend(folder / "s.sock", one_at_a_time(early, ehlo=words)) as server:
            wire.send(MAIL + b"\r\n" + RCPT + b"\r\nDATA\r\n")
            for code in ("250", "250", "354"):
                wire.expect(code)
            wire.send(MESSAGE + b".\r\nQUIT\r\n")
            wire.expect("250")
            wire.expect("221")
            assert ours(server)[0].messages
        assert early == []


def test_rule_15_octets_behind_a_refused_data_are_commands_again(folder):
    with Backend(folder / "s.sock", smtp_script()) as server, in_front_of(folder / "s.sock") as gate:
        with Wire(gate.port("smtp")) as wire:
            smtp_session(wire)
            wire.send(MAIL + b"\r\nRCPT TO:<a@elsewhere.example>\r\nDATA\r\nRSET\r\nNOOP\r\n")
            for code in ("250", "550", "503", "250", "250"):
                wire.expect(code)
            wire.quit()
        assert ours(server)[0].lines[-5:] == [b"RCPT TO:<a@elsewhere.example>", b"DATA", b"RSET", b"NOOP", b"QUIT"]


def test_rule_24_pipelined_pop3_is_answered_in_order_whatever_the_bodies_hold(folder):
    trap = b"Subject: trap\r\n\r\n+OK\r\n-ERR no\r\n..\r\n.x\r\nSTLS\r\n"
    with Backend(folder / "p.sock", pop3_script(messages=(trap, b"Subject: two\r\n\r\n2\r\n"))) as server:
        with in_front_of(folder / "p.sock") as gate, Wire(gate.port("pop3s")) as wire:
            pop3_session(wire, client_context(), "implicit", "anna", "secret")
            wire.send(b"STAT\r\nRETR 1\r\nLIST\r\nUIDL 1\r\nTOP 2 0\r\nRETR 9\r\nDELE 1\r\nCAPA\r\nQUIT\r\n")
            wire.expect("+OK 2 ")
            wire.expect("+OK")
            assert b"".join(line + b"\r\n" for line in wire.multiline()) == trap
            wire.expect("+OK")
            assert len(wire.multiline()) == 2
            wire.expect("+OK 1 uid1")
            wire.expect("+OK")
            assert wire.multiline()[0] == b"Subject: two"
            wire.expect("-ERR")
            wire.expect("+OK")
            wire.expect("+OK")
            assert b"STLS" not in wire.multiline()
            wire.expect("+OK")
            assert wire.at_eof()
        assert ours(server, b"USER anna")[0].lines[-1] == b"QUIT"


# logins


def base64_of(*parts):
    return base64.b64encode("\0".join(parts).encode()).decode()


SECRETS = ("correct horse battery", "wrong staple 4711")


def hidden(password):
    """The forms in which a password may be written."""
    return password, base64_of(password), base64_of("", library.USER, password)


@pytest.fixture(scope="module")
def vault():
    with library.Gatepost(QUICK, password=SECRETS[0]) as gate:
        yield gate
        for secret in SECRETS:
            for form in hidden(secret):
                assert form not in gate.log(), f"{form} is in the log (rule 5, P7)"


@pytest.mark.parametrize("kind", ["plain", "starttls", "implicit"])
@pytest.mark.parametrize("password, code", [(SECRETS[0], "235"), (SECRETS[1], "535")])
def test_p7_rule_13_smtp_logins_work_and_are_in_no_log(vault, kind, password, code):
    user = base64_of(library.USER)
    plain = base64_of("", library.USER, password)
    dialogues = [[(f"AUTH PLAIN {plain}", code)], [("AUTH PLAIN", "334"), (plain, code)],
                 [("AUTH LOGIN", "334"), (user, "334"), (base64_of(password), code)],
                 [(f"AUTH LOGIN {user}", "334"), (base64_of(password), code)],
                 [("AUTH PLAIN", "334"), ("*", "501"), (f"auth plain {plain}", code)],
                 [("NOOP", "250"), (f"AUTH PLAIN {plain} surplus", "50"), (f"AUTH PLAIN {plain}", code)]]
    for dialogue in dialogues if code == "235" else dialogues[:1] + dialogues[3:4]:  # each failure is answered late
        with Wire(vault.port("submission")) as wire:
            smtp_session(wire, client_context(), kind).commands(*dialogue)
            wire.command("NOOP", "250")
            wire.quit()


@pytest.mark.parametrize("kind", ["plain", "starttls", "implicit"])
@pytest.mark.parametrize("password, word", [(SECRETS[0], "+OK"), (SECRETS[1], "-ERR")])
def test_p7_rule_5_pop3_logins_work_and_are_in_no_log(vault, kind, password, word):
    plain = base64_of("", library.USER, password)
    dialogues = [[(f"USER {library.USER}", "+OK"), (f"PASS {password}", word)], [("AUTH PLAIN", "+ "), (plain, word)],
                 [(f"AUTH PLAIN {plain}", word)],
                 [("AUTH PLAIN", "+ "), ("*", "-ERR"), (f"AUTH PLAIN {plain}", word)],
                 [(f"PASS {password}", "-ERR"), (f"USER {library.USER}", "+OK"), (f"PASS {password}", word)]]
    for dialogue in dialogues if word == "+OK" else dialogues[:2]:  # each failure is answered late
        with Wire(vault.port("pop3")) as wire:
            pop3_session(wire, client_context(), kind).commands(*dialogue)
            wire.quit()


def test_p7_rule_5_a_password_sent_as_a_line_by_itself_or_too_long_is_in_no_log(vault):
    with Wire(vault.port("smtp")) as wire:
        smtp_session(wire)
        wire.command(base64_of("", library.USER, SECRETS[0]), "500")
        wire.command(f"PASS {SECRETS[0]}", "500")
        wire.command("AUTH PLAIN " + base64_of("", library.USER, SECRETS[0]) * 400, "500")
        wire.quit()
    with Wire(vault.port("pop3")) as wire:
        wire.expect("+OK")
        wire.command(f"LOGIN {library.USER} {SECRETS[0]}", "-ERR")
        wire.command(f"PASS {SECRETS[0]} {'x' * 300}", "-ERR")
        wire.quit()


def test_rule_13_an_empty_initial_response_passes_unchanged(folder):
    with Backend(folder / "s.sock", smtp_script(answers={b"AUTH": b"535 5.7.8 no"})) as server:
        with in_front_of(folder / "s.sock") as gate, Wire(gate.port("submission")) as wire:
            smtp_session(wire).command("AUTH PLAIN =", "535")
            wire.quit()
        assert b"AUTH PLAIN =" in ours(server)[0].lines


@pytest.mark.skipif(not library.AS_ROOT, reason="only root may read another process's memory")
def test_p7_after_a_session_its_password_is_nowhere_in_the_memory_of_a_worker():
    password = os.urandom(24).hex()
    control = "probe" + os.urandom(24).hex()
    with library.Gatepost(library.overlay(QUICK, {"gatepost": {"workers": "1"}}), password=password) as gate:
        (worker,) = gate.workers()
        plain = base64_of("", library.USER, password)
        for kind in ("plain", "starttls", "implicit"):
            with Wire(gate.port("pop3")) as wire:
                pop3_session(wire, client_context(), kind, library.USER, password)
                wire.quit()
            with Wire(gate.port("pop3")) as wire:
                pop3_session(wire, client_context(), kind)
                wire.command(f"PASS {password}", "-ERR")
                wire.quit()
            with Wire(gate.port("pop3")) as wire:  # a second try is relayed from its first octet on
                pop3_session(wire, client_context(), kind)
                wire.commands(("USER nobody", "+OK"), ("PASS x", "-ERR"), (f"USER {library.USER}", "+OK"))
                wire.command(f"PASS {password}", "+OK")
                wire.quit()
            for dialogue in ([(f"AUTH PLAIN {plain}", "235")], [("AUTH PLAIN", "334"), (plain, "235")],
                             [("VRFY anna", "2"), (f"AUTH PLAIN {plain}", "235")]):
                with Wire(gate.port("submission")) as wire:
                    smtp_session(wire, client_context(), kind).commands(*dialogue)
                    wire.quit()
        gate.wait_idle()
        with Wire(gate.port("smtp")) as wire:  # the search finds what is there: a name that the session keeps
            wire.expect("220")
            wire.command(f"EHLO {control}", "250")
            assert proc.memory_holds(worker, control.encode())
            wire.quit()
        for needle in (password, plain):
            assert not proc.memory_holds(worker, needle[16:-4].encode())  # what is freed begins anew


# identity


@pytest.mark.parametrize("command", ["XCLIENT NAME=trusted.example ADDR=127.0.0.1", "XFORWARD NAME=x",
                                     "xclient addr=1.2.3.4"])
def test_rule_18_xclient_is_refused_and_never_forwarded(folder, command):
    words = ("PIPELINING", "XCLIENT NAME ADDR PROTO HELO", "XFORWARD NAME ADDR")
    with Backend(folder / "s.sock", smtp_script(ehlo=words)) as server, in_front_of(folder / "s.sock") as gate:
        for kind in ("plain", "starttls"):
            with Wire(gate.port("smtp")) as wire:
                smtp_session(wire, client_context(), kind)
                wire.command(command, "550 5.7.0")
                wire.command(MAIL, "250")
                wire.command(command, "550 5.7.0")
                wire.command("RSET", "250")
                wire.command(command, "550 5.7.0")
                wire.quit()
        assert not re.search(rb"(?i)^x(client|forward)", server.received, re.M)


def test_rule_25_the_server_is_told_who_the_client_is_and_how_it_speaks(folder):
    with Backend(folder / "s.sock", smtp_script(proxy=True)) as server:
        with in_front_of(folder / "s.sock", **{"backend smtp": {"identity": "proxy-v2"},
                                               "backend pop3": {"address": "embedded"}}) as gate:
            with Wire(gate.port("smtp")) as wire:
                smtp_session(wire).command(MAIL, "250")
                plain_port = wire.socket.getsockname()[1]
                wire.quit()
            with Wire(gate.port("smtp")) as wire:
                wire.expect("220")
                wire.commands(("EHLO me.example", "250"), ("STARTTLS", "220"))
                wire.start_tls(client_context(alpn=["smtp"]), name=HOSTNAME)
                wire.commands(("EHLO me.example", "250"), (MAIL, "250"))
                version, cipher = wire.tls.version(), wire.tls.cipher()[0]
                wire.quit()
            plain, tls = ours(server)
            local, source, port, tlvs = plain.identity
            assert (local, source, port) == (False, "127.0.0.1", plain_port)
            assert set(tlvs) == {0x05}
            assert f"session {tlvs[0x05].decode()}:" in gate.wait_for_log(f"session {tlvs[0x05].decode()}:").group()
            local, source, port, tlvs = tls.identity
            assert (local, source) == (False, "127.0.0.1")
            assert tlvs[0x01] == b"smtp" and tlvs[0x02] == HOSTNAME.encode()
            assert tlvs[0x05] != plain.identity[3][0x05]
            assert tlvs[0x20][0] & 1, "PP2_CLIENT_SSL"
            assert b"\x21" + len(version).to_bytes(2, "big") + version.encode() in tlvs[0x20]
            assert b"\x23" + len(cipher).to_bytes(2, "big") + cipher.encode() in tlvs[0x20]
            learned = [one for one in server.connections if b"relay-test" in one.received]
            assert learned and {one.identity[1] for one in learned} == {"192.0.2.1"}, "a stranger's address (rule 26)"


@pytest.mark.skipif(not library.has_ipv6(), reason="this machine has no IPv6")
def test_rule_25_an_address_of_ipv6_is_told_too(folder):
    with Backend(folder / "p.sock", pop3_script(proxy=True)) as server:
        with in_front_of(folder / "p.sock", **{"backend pop3": {"identity": "proxy-v2"},
                                               "backend smtp": {"address": "embedded"}}) as gate:
            with Wire(gate.port("pop3s"), host="::1") as wire:
                pop3_session(wire, client_context(), "implicit", "anna", "secret").quit()
        local, source, _, tlvs = ours(server, b"USER anna")[0].identity
        assert (local, source) == (False, "::1")
        assert tlvs[0x20][0] & 1


# servers that are different


@pytest.mark.parametrize("surprise", [b"250 2.0.0 Surprise\r\n", b"354 Go on\r\n", b"garbage\r\n"])
@pytest.mark.parametrize("kind", ["plain", "implicit"])
def test_rule_15_a_reply_that_nobody_asked_for_closes_the_session(folder, surprise, kind):
    def twice(wire, connection, line):
        if line == MAIL:
            wire.send(b"250 2.1.0 Ok\r\n" + surprise)
            wire.read_all()
            raise ConnectionResetError

    script = smtp_script(answers={b"MAIL": twice})
    with Backend(folder / "s.sock", script) as server, in_front_of(folder / "s.sock") as gate:
        with Wire(gate.port("smtp")) as wire:
            smtp_session(wire, client_context(), kind).command(MAIL, "250")
            assert wire.line().startswith(b"421 4.4.2")
            assert wire.at_eof()
        ours(server)[0].wait_done()
        gate.wait_for_log("nobody asked for|no reply")


def test_rule_15_the_servers_own_421_is_passed_on(folder):
    def leave(wire, connection, line):
        if line == MAIL:
            wire.send(b"250 2.1.0 Ok\r\n421 4.3.2 backend leaves\r\n")
            raise ConnectionResetError

    with Backend(folder / "s.sock", smtp_script(answers={b"MAIL": leave})), in_front_of(folder / "s.sock") as gate:
        with Wire(gate.port("smtp")) as wire:
            smtp_session(wire).command(MAIL, "250")
            assert wire.line() == b"421 4.3.2 backend leaves"
            assert wire.at_eof()


@pytest.mark.parametrize("banner", ["421 4.3.2 too busy", "554 5.3.2 No service"])
def test_rule_8_a_server_that_refuses_the_session_is_the_answer_to_the_command(folder, banner):
    with Server(folder / "s.sock", smtp_script()) as server, behind(SMTP, [server]) as gate:
        with Wire(gate.port("smtp")) as wire:
            smtp_session(wire)
            server.wait_quiet()  # or a dialogue of learning is refused
            server.act = smtp_script(banner=banner)
            wire.command(MAIL, banner)
            assert wire.at_eof()


NO_EHLO = {b"EHLO": b"500 5.5.1 What?"}


@pytest.mark.parametrize("hello", ["EHLO", "HELO"])
@pytest.mark.parametrize("kind", ["plain", "starttls"])
def test_rule_9_a_server_that_knows_only_helo_takes_mail_of_every_client(folder, hello, kind):
    with Backend(folder / "s.sock", smtp_script(answers=NO_EHLO)) as server, in_front_of(folder / "s.sock") as gate:
        with Wire(gate.port("smtp")) as wire:
            if kind == "starttls":
                smtp_session(wire, client_context(), kind)
            else:
                wire.expect("220")
            wire.send(f"{hello} me.example\r\n".encode())
            offered = [line[4:] for line in wire.reply()][1:]
            assert offered == ([b"STARTTLS"] if (hello, kind) == ("EHLO", "plain") else [])
            wire.commands((MAIL, "250"), (RCPT, "250"), ("DATA", "354"), (MESSAGE + b".", "250"))
            wire.quit()
        (connection,) = ours(server)
        assert b"HELO me.example" in connection.lines
        assert [message for _, message in connection.messages] == [MESSAGE]


def test_rule_9_a_reply_to_ehlo_of_one_line_is_a_reply(folder):
    with Backend(folder / "s.sock", smtp_script(ehlo=())) as server, in_front_of(folder / "s.sock") as gate:
        with Wire(gate.port("smtp")) as wire:
            wire.expect("220")
            wire.send(b"EHLO me.example\r\n")
            assert [line[:4] for line in wire.reply()] == [b"250-", b"250 "]
            wire.commands((MAIL, "250"), (RCPT, "250"), ("DATA", "354"), (MESSAGE + b".", "250"))
            wire.quit()
        assert ours(server)[0].messages


def test_rule_9_ehlo_again_forgets_the_transaction(embedded):
    with Wire(embedded.port("smtp")) as wire:
        smtp_session(wire).commands((MAIL, "250"), (RCPT, "250"))
        wire.send(b"EHLO me.example\r\n")
        assert b"250 STARTTLS" in [line.replace(b"-", b" ") for line in wire.reply()]
        wire.commands((RCPT, "503"), (MAIL, "250"))
        wire.quit()


@pytest.mark.parametrize("verb, flood", [(b"NOOP", b"250-" + b"x" * 3000), (b"EHLO", b"250-word\r\n" * 101)],
                         ids=["a line", "a list"])
def test_rule_24_a_reply_beyond_every_limit_closes_and_is_named(folder, verb, flood):
    def endless(wire, connection, line):
        if MAIL in connection.lines:
            wire.send(flood)
            wire.read_all()
            raise ConnectionResetError

    with Backend(folder / "s.sock", smtp_script(answers={verb: endless})), in_front_of(folder / "s.sock") as gate:
        with Wire(gate.port("smtp")) as wire:
            smtp_session(wire).command(MAIL, "250")
            wire.send(verb + b" me.example\r\n")
            assert b"x" * 2048 not in wire.read_all()
            assert wire.eof
        gate.wait_for_log(r"session .*: the server")


@pytest.mark.parametrize("kind", ["plain", "starttls", "implicit"])
def test_rule_20_a_pop3_server_without_capa_gets_an_answer_and_a_login(folder, kind):
    with Backend(folder / "p.sock", pop3_script(answers={b"CAPA": b"-ERR what?"})) as server:
        with in_front_of(folder / "p.sock") as gate, Wire(gate.port("pop3")) as wire:
            pop3_session(wire, client_context(), kind)
            wire.command("CAPA", "+OK")
            words = wire.multiline()
            assert b"USER" in words and b"RESP-CODES" in words
            assert (b"STLS" in words) == (kind == "plain")
            wire.commands(("USER anna", "+OK"), ("PASS secret", "+OK"), ("STAT", "+OK"))
            wire.quit()
        assert ours(server, b"USER anna")[0].lines == [b"USER anna", b"PASS secret", b"STAT", b"QUIT"]


def test_rule_21_stls_is_refused_after_login_and_with_an_argument(folder):
    with Backend(folder / "p.sock", pop3_script()) as server, in_front_of(folder / "p.sock") as gate:
        with Wire(gate.port("pop3")) as wire:
            wire.expect("+OK")
            wire.commands(("STLS now", "-ERR"), ("USER anna", "+OK"), ("PASS secret", "+OK"), ("STLS", "-ERR"),
                          ("NOOP", "+OK"))
            wire.quit()
        assert not [line for line in ours(server, b"USER anna")[0].lines if line.startswith(b"STLS")]


def test_rule_22_a_wrong_password_may_be_tried_again_and_quit_before_login_costs_no_server(folder):
    answers = {b"PASS": lambda wire, connection, line: b"+OK" if line.endswith(b"right") else b"-ERR [AUTH] no"}
    with Backend(folder / "p.sock", pop3_script(answers=answers)) as server, in_front_of(folder / "p.sock") as gate:
        with Wire(gate.port("pop3")) as wire:
            wire.expect("+OK")
            wire.command("USER anna", "+OK")
            wire.quit()
        assert not ours(server, b"USER anna")
        with Wire(gate.port("pop3")) as wire:
            wire.expect("+OK")
            wire.commands(("USER anna", "+OK"), ("PASS wrong", "-ERR [AUTH] no"),
                          ("USER anna", "+OK"), ("PASS right", "+OK"))
            wire.quit()


# APOP


APOP_BANNER = "+OK legacy ready <1896.697170952@dbc.mtview.ca.us>"


def apop_gate(folder, **over):
    return in_front_of(folder / "p.sock", **{"backend pop3": {"apop": "yes"},
                                             "backend smtp": {"address": "embedded"}, **over})


@pytest.mark.parametrize("kind", ["plain", "starttls", "implicit"])
@pytest.mark.parametrize("login", [("APOP anna c4c9334bac560ecc979e58001b3e22fb",), ("USER anna", "PASS secret")])
def test_rule_19_the_banner_passes_unchanged_and_its_connection_takes_the_login(folder, kind, login):
    with Backend(folder / "p.sock", pop3_script(banner=APOP_BANNER)) as server, apop_gate(folder) as gate:
        with Wire(gate.port("pop3")) as wire:
            if kind == "implicit":
                wire.start_tls(client_context())
            assert wire.line().decode() == APOP_BANNER
            (connection,) = [one for one in server.connections if not one.lines and not one.done.is_set()]
            if kind == "starttls":
                wire.command("STLS", "+OK")
                wire.start_tls(client_context())
            wire.command("CAPA", "+OK")
            wire.multiline()
            wire.commands(*[(line, "+OK") for line in login], ("STAT", "+OK"))
            wire.quit()
        assert connection.wait_done().lines == [line.encode() for line in login] + [b"STAT", b"QUIT"]
        assert "user=anna" in gate.wait_for_log(r"session .*user=\S+").group()


def test_rule_19_without_the_setting_no_banner_passes_and_apop_is_no_command(folder):
    with Backend(folder / "p.sock", pop3_script(banner=APOP_BANNER)), in_front_of(folder / "p.sock") as gate:
        with Wire(gate.port("pop3")) as wire:
            assert b"<" not in wire.line()
            wire.command("APOP anna c4c9334bac560ecc979e58001b3e22fb", "-ERR")
            wire.quit()


def test_rule_19_an_apop_server_that_is_away_or_leaves_is_told(folder):
    with apop_gate(folder) as gate:
        with Wire(gate.port("pop3")) as wire:
            wire.expect("-ERR [SYS/TEMP]")
            assert wire.at_eof()
        leave = threading.Event()

        def script(wire, connection):
            wire.send(APOP_BANNER.encode() + b"\r\n")
            leave.wait(20)

        with Backend(folder / "p.sock", script):
            for kind in ("plain", "implicit"):
                with Wire(gate.port("pop3")) as wire:
                    pop3_session(wire, client_context(), kind)
                    leave.set()
                    assert wire.at_eof()
                leave.clear()
            with Wire(gate.port("pop3")) as wire:
                wire.expect("+OK")
                wire.command("STLS", "+OK")
                leave.set()
                assert wire.at_eof(), "also while a handshake is awaited"
        gate.wait_for_log("the server closed the connection", count=3)


def test_p1_rule_19_octets_of_an_apop_server_before_tls_are_never_shown_under_tls(folder):
    """They come just when the client asks for TLS, a little before or behind it."""
    go_on = threading.Event()

    def script(wire, connection):
        wire.send(APOP_BANNER.encode() + b"\r\n")
        go_on.wait(20)
        wire.send(b"+OK injected\r\n")
        wire.read_all()

    with Backend(folder / "p.sock", script), apop_gate(folder) as gate:
        for number in range(10):
            go_on.clear()
            with Wire(gate.port("pop3")) as wire:
                wire.expect("+OK")
                if number % 2:
                    go_on.set()
                wire.send(b"STLS\r\n")
                try:
                    if wire.line().startswith(b"+OK Begin"):
                        go_on.set()
                        wire.start_tls(client_context())
                        wire.send(b"NOOP\r\n")
                        wire.read_all()
                except (AssertionError, OSError, ssl.SSLError):
                    pass  # the gate has ended the session
                assert b"injected" not in b"".join(octets for who, octets in wire.dialogue if who == "S"), wire.story()
