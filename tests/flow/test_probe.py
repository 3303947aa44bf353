"""`gatepost -t --probe`: every server is asked as the workers ask it, and a report says what clients are offered, what is
hidden and why, and what is wrong with a server that cannot be used. Exit code 0, 69 (some address is of no use), 78 (the
settings are at fault: nobody is asked). Nothing is bound, nothing is left behind."""
import contextlib
import os
import re
import socket
import subprocess
import threading

import pytest

import gatepost as library
import servers
import tls_backend
from backend import CAPA_WORDS, EHLO_WORDS, Backend, pop3_script, smtp_script
from names import one_localhost
from tls_backend import pop3_over_tls, server_context, smtp_over_tls

needs_root = pytest.mark.skipif(not library.AS_ROOT, reason="asks as another user")
OUT_OF_USE = 69
ALL_OFFERED = "PIPELINING, SIZE 52428800, 8BITMIME, SMTPUTF8, ENHANCEDSTATUSCODES, CHUNKING, AUTH PLAIN LOGIN"


class Report:
    """What was said: `text`; parts[address] is a list of (label, words), of an address and of what follows it."""

    def __init__(self, result):
        self.code = result.returncode
        self.text = result.stdout
        self.errors = result.stderr
        self.parts = {}
        part = None
        for line in self.text.splitlines():
            if re.match(r"  \S", line):
                part = self.parts.setdefault(line.strip(), [])
            elif re.match(r"    \S", line):
                part.append((line[4:15].strip(), line[15:].strip()) if line[15:16] == " " else (line.strip(), ""))
            elif re.match(r" {16}\S", line):
                part[-1] = (part[-1][0], f"{part[-1][1]}\n{line.strip()}")
            assert len(line) < 80 or not line.startswith("    "), f"a line of {len(line)} columns: {line}"

    def words(self, address, label, nth=0):
        found = [words for name, words in self.parts[str(address)] if name == label]
        return found[nth].replace("\n", " ") if len(found) > nth else None

    def hidden(self, address):
        """{keyword or "AUTH GSSAPI": why}"""
        why = {}
        for row in (dict(self.parts[str(address)]).get("hidden") or "").split("\n"):
            words, _, reason = row.rpartition(": ")
            for word in words.split(", ") if words else ():
                why[word] = reason
        return why


def run(gate, *arguments):
    """One run, which leaves no process and no file behind."""
    before = sorted(path for folder in (gate.run, gate.folder / "state") for path in folder.rglob("*"))
    with subprocess.Popen([*gate.prefix, library.PROXY, "-c", gate.ini, *(arguments or ("-t", "--probe"))], stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=gate.environment,
                          start_new_session=True) as process:
        out, errors = process.communicate(timeout=60)
    with pytest.raises(ProcessLookupError):
        os.killpg(process.pid, 0)
    assert sorted(path for folder in (gate.run, gate.folder / "state") for path in folder.rglob("*")) == before
    gate.check_sanitizers()
    return Report(subprocess.CompletedProcess(process.args, process.returncode, out, errors))


def probe(sections, *arguments):
    """The report about these sections; of SMTP and POP3 alone where nothing else is said."""
    gate = library.Gatepost(users=(), prefix=one_localhost())
    try:
        gate.sections = library.overlay(gate.sections, {"backend pop3": {"address": None}, **sections})
        if "backend smtp" not in sections:
            gate.sections["backend smtp"]["address"] = None
        certificates = library.certificates
        certificates.write(gate.folder)
        for name, keys in gate.sections.items():
            gate.sections[name] = {key: str(value).replace("{folder}", str(gate.folder)) if value is not None else None
                                   for key, value in keys.items()}
        gate.write_ini()
        return run(gate, *arguments)
    finally:
        gate.remove()


def smtp(address, **more):
    return {"backend smtp": {"address": address, "connect_timeout": "5s", **more}}


def pop3(address, **more):
    return {"backend pop3": {"address": address, "connect_timeout": "5s", **more}}


# what is offered, and what is not

SMTP_LISTS = [
    ("all that passes", EHLO_WORDS, "", ALL_OFFERED, {}),
    ("TLS of its own", ("STARTTLS", "8BITMIME"), "", "8BITMIME", {"STARTTLS": "TLS with clients is made here"}),
    ("for proxies", ("XCLIENT NAME ADDR", "XFORWARD NAME", "SIZE"), "", "SIZE",
     {"XCLIENT": "for proxies alone", "XFORWARD": "for proxies alone"}),
    ("unknown ones", ("X-EXPS GSSAPI", "FUTURERELEASE 9 9", "DSN"), "", "DSN",
     {"X-EXPS": "not known to work through a proxy", "FUTURERELEASE": "not known to work through a proxy"}),
    ("some mechanisms", ("AUTH GSSAPI PLAIN CRAM-MD5 EXTERNAL X-PLUS",), "", "AUTH PLAIN CRAM-MD5",
     {"AUTH GSSAPI EXTERNAL X-PLUS": "logins that pass no proxy"}),
    ("no mechanism that passes", ("AUTH GSSAPI NTLM", "HELP"), "", "HELP", {"AUTH GSSAPI NTLM": "logins that pass no proxy"}),
    ("the old form of AUTH beside the new", ("AUTH LOGIN", "AUTH=LOGIN"), "", "AUTH LOGIN", {"AUTH=": "the old form of AUTH"}),
    ("the old form of AUTH alone", ("AUTH=LOGIN",), "", "AUTH LOGIN", {}),
    ("said twice", ("SIZE 10", "SIZE 20"), "", "SIZE 10", {"SIZE": "said twice"}),
    ("hidden by the settings", EHLO_WORDS, "chunking, AUTH, DSN", ALL_OFFERED.replace(", CHUNKING, AUTH PLAIN LOGIN", ""),
     {"CHUNKING": "hide = in the settings", "AUTH": "hide = in the settings"}),
    ("hidden for two reasons", ("STARTTLS", "XCLIENT"), "STARTTLS", "nothing",
     {"STARTTLS": "TLS with clients is made here", "XCLIENT": "for proxies alone"}),
    ("nothing at all", (), "", "nothing", {}),
    ("escape sequences", ("DELIVERBY \x1b[2J", "X\x07Y"), "", r"DELIVERBY \x1b[2J", {r"X\x07Y": "not known to work through a proxy"}),
]


@pytest.mark.parametrize("ehlo, hide, offered, hidden", [row[1:] for row in SMTP_LISTS], ids=[row[0] for row in SMTP_LISTS])
def test_what_an_smtp_server_offers_and_what_is_hidden_and_why(ehlo, hide, offered, hidden):
    with Backend(0, smtp_script(ehlo=ehlo)) as backend:
        report = probe(smtp(f"127.0.0.1:{backend.port}", hide=hide or None))
    where = f"127.0.0.1:{backend.port}"
    assert report.code == 0, report.text
    assert report.words(where, "offered") == offered, report.text
    assert report.hidden(where) == hidden, report.text
    assert report.words(where, "relay test").startswith("passed")
    assert report.text.endswith("\nall addresses can be used\n")
    assert report.text.isascii() and "\x1b" not in report.text
    assert [one.lines[-1] for one in backend.connections] == [b"QUIT"] * 2, "in clear, and as under TLS, each to its end"


POP3_OURS = "RESP-CODES, AUTH-RESP-CODE"
POP3_LISTS = [
    ("all that passes", CAPA_WORDS, "", f"TOP, UIDL, USER, PIPELINING, SASL PLAIN, {POP3_OURS}", {}),
    ("TLS of its own", ("STLS", "UIDL"), "", f"UIDL, {POP3_OURS}", {"STLS": "TLS with clients is made here"}),
    ("some mechanisms", ("SASL GSSAPI LOGIN",), "", f"SASL LOGIN, {POP3_OURS}", {"SASL GSSAPI": "logins that pass no proxy"}),
    ("unknown ones", ("XTND", "TOP"), "", f"TOP, {POP3_OURS}", {"XTND": "not known to work through a proxy"}),
    ("hidden by the settings", ("UIDL", "SASL PLAIN"), "sasl", f"UIDL, {POP3_OURS}", {"SASL": "hide = in the settings"}),
]


@pytest.mark.parametrize("capa, hide, offered, hidden", [row[1:] for row in POP3_LISTS], ids=[row[0] for row in POP3_LISTS])
def test_what_a_pop3_server_offers_and_what_is_hidden_and_why(folder, capa, hide, offered, hidden):
    with Backend(folder / "p.sock", pop3_script(capabilities=capa)):
        report = probe(pop3(f"unix:{folder}/p.sock", hide=hide or None))
    assert report.code == 0, report.text
    assert report.words(f"unix:{folder}/p.sock", "offered") == offered
    assert report.hidden(f"unix:{folder}/p.sock") == hidden
    assert "relay test" not in report.text


def test_a_server_that_knows_helo_alone_and_one_without_capa_can_be_used():
    old = smtp_script(answers={b"EHLO": b"500 what?"})
    none = pop3_script(answers={b"CAPA": b"-ERR what?"})
    with Backend(0, old) as one, Backend(0, none) as other:
        report = probe({**smtp(f"127.0.0.1:{one.port}"), **pop3(f"127.0.0.1:{other.port}")})
    assert report.code == 0, report.text
    assert report.words(f"127.0.0.1:{one.port}", "offered") == "nothing (the server knows HELO, no EHLO)"
    assert report.words(f"127.0.0.1:{one.port}", "relay test").startswith("passed")
    assert report.words(f"127.0.0.1:{other.port}", "offered") == f"USER, {POP3_OURS} (the server knows no CAPA)"


def test_lists_that_differ_in_clear_and_under_tls_are_told_apart():
    def by_tls(wire, connection, line):
        tls = 0x20 in connection.identity[3]
        return b"250-backend.test\r\n" + (b"250-AUTH PLAIN\r\n250-X-TLS\r\n" if tls else b"") + b"250 8BITMIME"

    with Backend(0, smtp_script(proxy=True, answers={b"EHLO": by_tls})) as backend:
        report = probe(smtp(f"127.0.0.1:{backend.port}", identity="proxy-v2"))
    where = f"127.0.0.1:{backend.port}"
    assert report.code == 0, report.text
    assert "identity = proxy-v2" in report.text
    assert [label for label, _ in report.parts[where]] == [
        "to clients without TLS", "offered", "to clients under TLS", "offered", "hidden", "relay test"]
    assert report.words(where, "offered") == "8BITMIME"
    assert report.words(where, "offered", 1) == "AUTH PLAIN, 8BITMIME"


def test_of_several_addresses_it_tells_what_all_of_them_can_do():
    with Backend(0, smtp_script(ehlo=("SIZE 100", "8BITMIME", "DSN"))) as one, \
            Backend(0, smtp_script(ehlo=("SIZE 50", "8BITMIME", "STARTTLS"))) as other, Backend(0, smtp_script()) as gone:
        gone.close()
        report = probe(smtp(f"127.0.0.1:{one.port}, 127.0.0.1:{other.port}, 127.0.0.1:{gone.port}"))
    assert report.code == OUT_OF_USE
    assert report.words("what all of these can do", "offered") == "SIZE 50, 8BITMIME"
    assert report.words("what all of these can do", "hidden") is None
    assert report.text.endswith("\n1 of 3 addresses cannot be used\n")


def test_of_addresses_that_can_do_the_same_it_is_not_said_again():
    with Backend(0, smtp_script()) as one, Backend(0, smtp_script()) as other:
        report = probe(smtp(f"127.0.0.1:{one.port}, 127.0.0.1:{other.port}"))
    assert report.code == 0
    assert "all of these" not in report.text


def test_ports_that_show_less_than_the_server_offers_are_named():
    with Backend(0, smtp_script()) as backend:
        report = probe({**smtp(f"127.0.0.1:{backend.port}"), "listen submission": {"require_tls": "auth"}})
    assert "  on port submission logins are hidden until TLS is on (require_tls = auth)\n" in report.text
    assert "on port smtp" not in report.text


# the relay test

def test_p10_rule_26_a_server_that_relays_for_anybody_fails_and_the_setting_to_change_is_named():
    with Backend(0, smtp_script(relay=True)) as backend:
        report = probe(smtp(f"127.0.0.1:{backend.port}"))
        meant = probe(smtp(f"127.0.0.1:{backend.port}", trusts_us="yes"))
    where = f"127.0.0.1:{backend.port}"
    assert (report.code, meant.code) == (OUT_OF_USE, 0)
    assert re.match("FAILED: .*it gets no mail", report.words(where, "relay test"))
    for words in ("identity = proxy-v2", "-o mynetworks= ", "Exim ", "OpenSMTPD ", "trusts_us = yes"):
        assert words in report.words(where, "to cure it")
    assert re.match("FAILED: .*trusts_us = yes keeps the gate open", meant.words(where, "relay test"))
    assert report.errors.count("relays") == 0, "the report tells it, and no log line beside it"


def test_p10_a_server_that_relays_only_for_clients_under_tls_fails_too():
    def rcpt(wire, connection, line):
        return b"250 2.1.5 Ok" if 0x20 in connection.identity[3] else b"550 5.7.1 Relaying denied"

    with Backend(0, smtp_script(proxy=True, answers={b"RCPT": rcpt})) as backend:
        report = probe(smtp(f"127.0.0.1:{backend.port}", identity="proxy-v2"))
    assert report.code == OUT_OF_USE
    assert report.words(f"127.0.0.1:{backend.port}", "relay test").startswith("FAILED")


# servers that are of no use

def silent(wire, connection):
    wire.read_all()


def say(octets):
    def script(wire, connection):
        wire.send(octets)
        wire.read_all()

    return script


def close(wire, connection):
    pass


def reset(wire, connection):
    connection.reset()


def reset_behind_the_banner(wire, connection):
    wire.send(b"220 hello\r\n")
    connection.reset()


def silent_behind_ehlo(wire, connection):
    wire.send(b"220 hello\r\n")
    wire.read_all()


TLS = {"ca": "{folder}/ca.pem"}
NO_USE = [
    ("silent", silent, {"connect_timeout": "300ms"}, "does not answer: Connection timed out"),
    ("silent behind EHLO", silent_behind_ehlo, {"connect_timeout": "300ms"}, "does not answer: Connection timed out"),
    ("closes", close, {}, "closes the connection while we learn what it can do: Connection reset by peer"),
    ("resets", reset, {}, None),  # before or behind the news that we are connected
    ("resets behind its banner", reset_behind_the_banner, {}, None),
    ("another protocol", say(b"SSH-2.0-OpenSSH\r\n"), {}, "sends what is no reply: Protocol error"),
    ("no octet of text", say(b"\0\1\2\n"), {}, "sends what is no reply: Protocol error"),
    ("an endless line", say(b"2" * 5000), {}, "sends a line of more than 2,048 octets"),
    ("an endless banner", say(b"220-a\r\n" * 50), {}, "sends a reply of too many lines"),
    ("refuses", say(b"554 5.7.1 not \x1byou\r\n"), {}, r"refuses us: 554 5.7.1 not \x1byou"),
    ("is overloaded", say(b"421 4.3.2 later\r\n"), {}, "refuses us: 421 4.3.2 later"),
    ("no STARTTLS", smtp_over_tls("starttls", server_context(), offers=False), {"tls": "starttls", **TLS},
     "offers no STARTTLS"),
    ("refuses STARTTLS", smtp_script(ehlo=("STARTTLS",)), {"tls": "starttls", **TLS}, "refuses STARTTLS"),
    ("no TLS", smtp_script(), {"tls": "implicit", **TLS}, 'the server speaks no TLS (it sent "220 backend.test ESMTP")'),
    ("a handshake that stalls", silent, {"tls": "implicit", "connect_timeout": "300ms", **TLS},
     "does not answer: Connection timed out"),
    ("a certificate for another name", smtp_over_tls("starttls", server_context(library.certificates.issue("a.example"))),
     {"tls": "starttls", **TLS}, "certificate is for a.example, not for 127.0.0.1"),
    ("an expired certificate",
     smtp_over_tls("implicit", server_context(tls_backend.SelfMade("mail.example", days=-1, by_authority=True))),
     {"tls": "implicit", "sni": "mail.example", **TLS}, "certificate has expired"),
    ("a certificate of its own", smtp_over_tls("implicit", server_context(tls_backend.SelfMade("mail.example"))),
     {"tls": "implicit", "sni": "mail.example", **TLS}, "certificate is signed by nobody in ca, but by itself"),
    ("no XCLIENT", smtp_script(), {"identity": "xclient"}, "offers us no XCLIENT (Postfix: smtpd_authorized_xclient_hosts)"),
    ("refuses XCLIENT", smtp_script(ehlo=("XCLIENT NAME ADDR",), answers={b"XCLIENT": b"550 5.7.0 no"}),
     {"identity": "xclient"}, "refuses XCLIENT"),
]


@pytest.mark.parametrize("script, settings, words", [row[1:] for row in NO_USE], ids=[row[0] for row in NO_USE])
def test_a_server_that_is_of_no_use_is_told_in_words_and_by_exit_code_69(script, settings, words):
    with Backend(0, script) as backend:
        report = probe(smtp(f"127.0.0.1:{backend.port}", **settings))
    where = f"127.0.0.1:{backend.port}"
    assert report.code == OUT_OF_USE, report.text
    assert [label for label, _ in report.parts[where]] == ["FAILED"], "of what it offers nothing is said"
    assert report.words(where, "FAILED") == (words or report.words(where, "FAILED"))
    assert report.text.endswith("\n1 of 1 addresses cannot be used\n")


POP3_NO_USE = [
    ("refuses", say(b"-ERR [SYS/TEMP] later\r\n"), {}, "refuses us: -ERR [SYS/TEMP] later"),
    ("speaks SMTP", smtp_script(), {}, "sends what is no reply: Protocol error"),
    ("no STLS", pop3_over_tls("starttls", server_context(), offers=False), {"tls": "starttls", **TLS}, "refuses STLS"),
]


@pytest.mark.parametrize("script, settings, words", [row[1:] for row in POP3_NO_USE], ids=[row[0] for row in POP3_NO_USE])
def test_a_pop3_server_that_is_of_no_use_is_told_in_words(script, settings, words):
    with Backend(0, script) as backend:
        report = probe(pop3(f"127.0.0.1:{backend.port}", **settings))
    assert report.code == OUT_OF_USE
    assert report.words(f"127.0.0.1:{backend.port}", "FAILED") == words


@contextlib.contextmanager
def nobody_there():
    """A port of ours where nobody listens."""
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        yield f"127.0.0.1:{holder.getsockname()[1]}"


def test_an_address_where_nobody_listens_and_a_name_that_is_none(folder):
    left = socket.socket(socket.AF_UNIX)
    left.bind(str(folder / "left.sock"))
    left.close()
    os.chmod(folder / "left.sock", 0o666)
    with nobody_there() as closed:
        report = probe(smtp(f"{closed}, unix:{folder}/none.sock, unix:{folder}/left.sock, no-such-name.invalid:25"))
    assert report.code == OUT_OF_USE
    assert report.words(closed, "FAILED") == "cannot be reached: Connection refused"
    assert report.words(f"unix:{folder}/none.sock", "FAILED") == "cannot be reached: No such file or directory"
    assert re.match(r"cannot be reached: Connection refused \(owner \d+, group \d+, mode 0666\)",
                    report.words(f"unix:{folder}/left.sock", "FAILED"))
    assert report.words("no-such-name.invalid:25", "FAILED").startswith("the name stands for no address: ")
    assert report.text.endswith("\n4 of 4 addresses cannot be used\n")


@needs_root
def test_a_socket_that_only_root_may_use_is_of_no_use_to_the_workers(folder):
    with Backend(folder / "root.sock", smtp_script()) as backend:
        os.chmod(folder / "root.sock", 0o600)
        report = probe(smtp(f"unix:{folder}/root.sock"))
    assert report.code == OUT_OF_USE
    assert report.words(f"unix:{folder}/root.sock", "FAILED") == (
        "cannot be reached: Permission denied (owner 0, group 0, mode 0600)")
    assert backend.accepted == 0


# TLS to the server

@pytest.mark.parametrize("kind", ["starttls", "implicit"])
def test_what_a_server_offers_behind_tls_is_what_counts(kind):
    with Backend(0, smtp_over_tls(kind, server_context())) as one, \
            Backend(0, pop3_over_tls(kind, server_context())) as other:
        report = probe({**smtp(f"localhost:{one.port}", tls=kind, **TLS),
                        **pop3(f"localhost:{other.port}", tls=kind, verify="no")})
    assert report.code == 0, report.text
    assert report.words(f"127.0.0.1:{one.port} (localhost)", "offered") == ALL_OFFERED
    assert f"backend smtp: smtp, tls = {kind} (certificate checked), identity = none" in report.text
    assert f"backend pop3: pop3, tls = {kind} (certificate NOT checked), identity = none" in report.text
    assert all(connection.secure for connection in one.connections + other.connections)


def test_an_opaque_server_is_asked_for_no_more_than_its_tls():
    listen = {"listen remote": {"protocol": "opaque", "backend": "behind"}}
    with Backend(0, pop3_over_tls("implicit", server_context())) as good, Backend(0, say(b"+OK\r\n")) as plain:
        def report(port):
            return probe({**listen, "backend behind": {"address": f"localhost:{port}", "tls": "implicit",
                                                       "connect_timeout": "5s", **TLS}})

        served, refused = report(good.port), report(plain.port)
    assert served.code == 0, served.text
    assert served.words(f"127.0.0.1:{good.port} (localhost)", "answers") == "and is passed on as it is"
    assert [one.lines for one in good.connections] == [[]]
    assert refused.code == OUT_OF_USE
    assert 'speaks no TLS (it sent "+OK")' in refused.words(f"127.0.0.1:{plain.port} (localhost)", "FAILED")


# the run itself

def test_all_servers_are_asked_at_once_so_that_one_that_hangs_costs_its_time_once():
    meeting = threading.Barrier(6)
    meet = smtp_script(before_greeting=lambda wire, connection: meeting.wait(20))
    with contextlib.ExitStack() as stack:
        ports = [stack.enter_context(Backend(0, meet)).port for _ in range(6)]
        report = probe({**smtp(", ".join(f"127.0.0.1:{port}" for port in ports[:3]), connect_timeout="20s"),
                        "backend more": {"address": ", ".join(f"127.0.0.1:{port}" for port in ports[3:]),
                                         "connect_timeout": "20s"}, "listen submission": {"backend": "more"}})
    assert report.code == 0, report.text


def test_a_server_that_serves_one_connection_at_a_time_is_asked_one_by_one():
    busy, busiest = [0], [0]

    def count(wire, connection):
        busy[0] += 1
        busiest[0] = max(busy)
        if busy[0] > 1:
            wire.send(b"421 4.3.2 one at a time\r\n")

    def end(wire, connection, line):
        busy[0] -= 1
        return b"221 2.0.0 Bye"

    with Backend(0, smtp_script(before_greeting=count, answers={b"QUIT": end})) as backend:
        report = probe(smtp(f"127.0.0.1:{backend.port}"))
    assert report.code == 0, report.text
    assert busiest == [1] and backend.accepted == 2


def test_it_binds_nothing_and_says_of_embedded_workers_that_they_are(gatepost):
    gate = gatepost(users=())
    before = gate.log()
    report = run(gate)
    assert report.code == 0, report.text + report.errors
    assert "\nbackend smtp: embedded, started by gatepost itself\n" in report.text
    assert "\nbackend pop3: embedded, started by gatepost itself\n" in report.text
    assert "addresses" not in report.text
    assert gate.log() == before, "the one that runs has heard nothing of it"


def test_it_runs_beside_a_gatepost_that_serves_the_same_ports_and_server(gatepost, folder):
    with Backend(folder / "s.sock", smtp_script()) as backend:
        gate = gatepost({**smtp(f"unix:{folder}/s.sock"), "gatepost": {"workers": 1}}, users=())
        backend.wait_accepted(2)
        report = run(gate)
        assert report.code == 0, report.text + report.errors
        assert report.words(f"unix:{folder}/s.sock", "offered") == ALL_OFFERED
        assert backend.accepted == 4


@pytest.mark.parametrize("bad, words", [
    ({"address": "{address}", "conect_timeout": "1s"}, "connect_timeout"),
    ({"address": "{address}", "tls": "starttls", "ca": "/nonexistent/ca.pem"}, "No such file"),
    ({"address": "{address}, embedded"}, "embedded stands alone"),
])
def test_of_settings_at_fault_all_is_told_and_nobody_is_asked(bad, words):
    with Backend(0, smtp_script()) as backend:
        keys = {key: value.format(address=f"127.0.0.1:{backend.port}") for key, value in bad.items()}
        report = probe({"backend smtp": keys})
    assert report.code == 78
    assert words in report.errors
    assert report.text == "" and backend.accepted == 0


def test_it_goes_with_the_check_alone():
    report = probe({}, "--probe")
    assert report.code == 64
    assert "gatepost -t --probe" in report.errors


# servers that others wrote

@needs_root
def test_p10_postfix_as_debian_installs_it_fails_the_relay_test_and_the_cure_that_is_named_cures_it():
    with servers.Postfix() as installed:
        failed = probe(smtp(f"unix:{installed.socket}", connect_timeout="10s"))
    with servers.Postfix(options="-o mynetworks=") as cured:
        passed = probe(smtp(f"unix:{cured.socket}", connect_timeout="10s"))
    assert failed.code == OUT_OF_USE and passed.code == 0, failed.text + passed.text
    assert failed.words(f"unix:{installed.socket}", "relay test").startswith("FAILED")
    assert "-o mynetworks= " in failed.words(f"unix:{installed.socket}", "to cure it")
    assert passed.words(f"unix:{cured.socket}", "relay test").startswith("passed")
    assert "SIZE 52428800" in passed.words(f"unix:{cured.socket}", "offered")


@needs_root
def test_dovecot_is_asked_for_its_capabilities():
    with servers.Dovecot() as dovecot:
        report = probe(pop3(f"unix:{dovecot.socket}"))
    assert report.code == 0, report.text
    assert re.match(r"TOP, UIDL, .*PIPELINING, .*USER, .*SASL PLAIN LOGIN", report.words(f"unix:{dovecot.socket}", "offered"))
