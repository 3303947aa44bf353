"""TLS to the server ([backend] tls = starttls | implicit, verify, ca, sni): nothing of a client in clear, no server that is
not the one that is meant, nothing that came before TLS counts after it, and every octet both ways.

What is asserted is what the server's socket saw (lib/tls_backend.py)."""
import contextlib
import re
import ssl

import pytest

import certificates
import gatepost as library
import messages
import proc
import servers
from backend import CAPA_WORDS, EHLO_WORDS, Backend, Gone, echo_script, pop3_script, smtp_script
from certificates import client_context
from names import one_localhost
from tls_backend import SelfMade, over_tls, pop3_over_tls, server_context, smtp_over_tls
from wire import Wire, pop3_session, smtp_session

needs_root = pytest.mark.skipif(not library.AS_ROOT, reason="the servers change their user")
PASSWORD = b"open sesame 42"


@contextlib.contextmanager
def started(sections, detect=False):
    """A gate of one worker, with nothing behind it but these sections. Its `ca.pem` is our authority. `detect`: it waits for
    clients that begin by TLS."""
    gate = library.Gatepost(users=(), prefix=one_localhost())
    nothing = {"backend smtp": {"address": None}, "backend pop3": {"address": None}, "gatepost": {"workers": 1}}
    if not detect:
        nothing.update({f"listen {name}": {"detect": "no"} for name in ("smtp", "pop3")})
    gate.sections = library.overlay(library.overlay(gate.sections, nothing), sections)
    for name, keys in gate.sections.items():
        if name.startswith("backend ") and keys.get("tls", "off") != "off":
            gate.sections[name] = {"ca": gate.folder / "ca.pem" if keys.get("verify") != "no" else None, "connect_timeout": "5s", **keys}
    gate.write_ini()
    with gate:
        yield gate


def smtp(address, tls, **more):
    return {"backend smtp": {"address": address, "tls": tls, **more}}


def pop3(address, tls, **more):
    return {"backend pop3": {"address": address, "tls": tls, **more}}


def localhost(backend):
    return f"localhost:{backend.port}"


def client(gate, port, kind="plain"):
    wire = Wire(gate.port(port))
    return wire if port == "remote" else (
        pop3_session if port.startswith("pop3") else smtp_session)(wire, client_context(), kind)


def mail(gate, port, kind="plain", message=b"Subject: hi\r\n\r\nhello\r\n"):
    with client(gate, port, kind) as wire:
        wire.commands(("MAIL FROM:<bert@example.org>", "250"), ("RCPT TO:<anna@gatepost.test>", "250"), ("DATA", "354"))
        wire.send(message + b".\r\n")
        wire.expect("250")
        wire.quit()


def fetch(gate, port, kind="plain"):
    with client(gate, port, kind) as wire:
        wire.commands(("USER anna", "+OK"), (b"PASS " + PASSWORD, "+OK"), ("RETR 1", "+OK"))
        lines = wire.multiline()
        wire.quit()
        return lines


def refusal(gate, port):
    """What a client hears that wants something of the server: all of it, to the end."""
    with Wire(gate.port(port)) as wire:
        wire.expect("+OK" if port.startswith("pop3") else "220")
        if port.startswith("pop3"):
            wire.command("USER anna", "+OK")
            wire.send(b"PASS " + PASSWORD + b"\r\n")
        else:
            wire.send(b"EHLO me.example\r\nMAIL FROM:<bert@example.org>\r\n")
        return wire.read_all()


def is_refusal(answer):
    """In words, and nothing else: one line about a server that cannot be reached, or understood."""
    return re.fullmatch(rb"(421 4\.4\.[12]|-ERR \[SYS/TEMP\]) [^\r\n]+\r\n", answer)


def assert_nothing_in_clear(backend):
    """Before TLS the server heard no more than what asks for it, and of the client nothing at all."""
    for connection in backend.connections:
        assert connection.clear in (b"", b"EHLO mail.gatepost.test\r\n", b"EHLO mail.gatepost.test\r\nSTARTTLS\r\n",
                                    b"STLS\r\n"), connection.clear


def assert_never_told(backend):
    """Neither in clear nor otherwise did the server hear of the client."""
    for words in (b"me.example", b"bert", b"anna", b"PASS", PASSWORD):
        assert words not in backend.received


def outages(gate, name):
    """The causes in the log, of which there must be one at least."""
    line = rf"backend {name} \([^)]*\) is out of service: (.*)\n"
    gate.wait_for_log(line)
    return re.findall(line, gate.log())


# it works: protocols, kinds of TLS to the server and of clients to us, TCP and UNIX sockets

class Five:
    """Five servers behind one gate: {port: Backend}."""

    ROWS = [("smtp", "smtp", "starttls"), ("submission", "submit", "implicit"), ("pop3", "pop3", "starttls"),
            ("pop3s", "fetch", "implicit"), ("remote", "remote", "implicit")]

    def __init__(self, stack, folder, transport):
        context = server_context()
        self.servers = {}
        sections = {"listen remote": {"protocol": "opaque", "detect_wait": "300ms"}, "listen smtp-alt": {"enabled": "no"}}
        for port, name, kind in self.ROWS:
            script = (smtp_over_tls(kind, context) if name in ("smtp", "submit") else
                      over_tls(kind, context, echo_script) if name == "remote" else pop3_over_tls(kind, context))
            path = folder / f"{name}.sock"
            self.servers[port] = stack.enter_context(Backend(path if transport == "unix" else 0, script))
            address = f"unix:{path}" if transport == "unix" else localhost(self.servers[port])
            sections[f"backend {name}"] = {"address": address, "tls": kind,
                                           "sni": certificates.HOSTNAME if transport == "unix" else None}
            sections.setdefault(f"listen {port}", {})["backend"] = name
        self.name = certificates.HOSTNAME if transport == "unix" else "localhost"
        self.gate = stack.enter_context(started(sections, detect=True))


@pytest.fixture(scope="module", params=["tcp", "unix"])
def five(request):
    with contextlib.ExitStack() as stack:
        yield Five(stack, library.make_folder(), request.param)


def assert_all_under_tls(server, name):
    assert_nothing_in_clear(server)
    assert all(connection.secure and connection.sni == name for connection in server.connections)


@pytest.mark.parametrize("port, kind", [("smtp", "plain"), ("smtp", "starttls"), ("submission", "implicit")])
def test_mail_is_sent_to_a_server_under_tls(five, port, kind):
    mail(five.gate, port, kind)
    server = five.servers[port]
    assert [one.messages for one in server.connections if one.messages][-1] == [
        ([b"MAIL FROM:<bert@example.org>", b"RCPT TO:<anna@gatepost.test>"], b"Subject: hi\r\n\r\nhello\r\n")]
    assert_all_under_tls(server, five.name)


@pytest.mark.parametrize("port, kind", [("pop3", "plain"), ("pop3", "starttls"), ("pop3s", "implicit")])
def test_mail_is_fetched_from_a_server_under_tls(five, port, kind):
    assert fetch(five.gate, port, kind) == [b"Subject: one", b"", b"body"]
    server = five.servers[port]
    assert any(b"PASS " + PASSWORD in one.lines for one in server.connections)
    assert_all_under_tls(server, five.name)


@pytest.mark.parametrize("kind", ["plain", "implicit"])
def test_an_opaque_server_under_tls_gets_every_octet_and_the_end_in_order(five, kind):
    octets = bytes(range(256)) * 40
    with Wire(five.gate.port("remote")) as wire:
        if kind == "implicit":
            wire.start_tls(client_context())
        wire.send(b"x" + octets)
        assert wire.read_exactly(len(octets) + 1) == b"x" + octets
        wire.shut_write()
        assert wire.read_all() == b"<end>"
        assert wire.eof == ("fin" if kind == "plain" else "close_notify")
    server = five.servers["remote"]
    assert server.connections[-1].wait_done().ended == "close_notify"
    assert_all_under_tls(server, five.name)


# who is the server?

GOOD = [
    ("its name", "localhost", lambda: certificates.issue("localhost"), {}),
    ("its address", "127.0.0.1", lambda: certificates.issue("127.0.0.1"), {}),
    ("the name of sni in the place of its address", "127.0.0.1", lambda: certificates.issue("mail.example"),
     {"sni": "mail.example"}),
    ("a wildcard", "127.0.0.1", lambda: certificates.issue("*.mail.example"), {"sni": "a.mail.example"}),
    ("itself in ca", "localhost", lambda: SelfMade("localhost"), {"ca": "itself"}),
    ("nobody asks, another name", "localhost", lambda: certificates.issue("other.example"), {"verify": "no"}),
    ("nobody asks, signed by itself and expired", "127.0.0.1", lambda: SelfMade("other.example", days=-9), {"verify": "no"}),
    ("TLSv1.2", "localhost", lambda: certificates.issue("localhost"), {"maximum": ssl.TLSVersion.TLSv1_2}),
    ("TLSv1.3", "localhost", lambda: certificates.issue("localhost"), {"minimum": ssl.TLSVersion.TLSv1_3}),
]


@pytest.mark.parametrize("host, leaf, keys", [row[1:] for row in GOOD], ids=[row[0] for row in GOOD])
def test_a_server_that_is_who_it_is_said_to_be_is_served(folder, host, leaf, keys):
    leaf, keys = leaf(), dict(keys)
    if keys.get("ca") == "itself":
        (folder / "itself.pem").write_bytes(leaf.cert)
        keys["ca"] = folder / "itself.pem"
    context = server_context(leaf, keys.pop("minimum", None), keys.pop("maximum", None))
    with Backend(0, smtp_over_tls("implicit", context)) as server:
        with started(smtp(f"{host}:{server.port}", "implicit", **keys)) as gate:
            mail(gate, "smtp")
        asked_for = keys.get("sni", None if host == "127.0.0.1" else host)
        assert all(one.secure and one.sni == asked_for for one in server.connections), "an address is no SNI (RFC 6066)"


OTHER_AUTHORITY = certificates.trustme.CA(organization_name="others", organization_unit_name="who knows them")
BAD = [
    ("another name", "localhost", lambda: certificates.issue("other.example"), {},
     r"certificate is for other\.example, not for localhost"),
    ("another name than that of sni", "localhost", lambda: certificates.issue("localhost"), {"sni": "mail.example"},
     r"certificate is for localhost, not for mail\.example"),
    ("another address", "127.0.0.1", lambda: certificates.issue("127.0.0.2"), {},
     r"certificate is for 127\.0\.0\.2, not for 127\.0\.0\.1"),
    ("a name where an address is asked for", "127.0.0.1", lambda: certificates.issue("localhost"), {},
     r"certificate is for localhost, not for 127\.0\.0\.1"),
    ("a wildcard of another depth", "127.0.0.1", lambda: certificates.issue("*.example.org"), {"sni": "a.mail.example.org"},
     r"certificate is for \*\.example\.org, not for a\.mail\.example\.org"),
    ("an authority that nobody named", "localhost", lambda: OTHER_AUTHORITY.issue_cert("localhost"), {},
     r'certificate is signed by nobody in ca, but by "'),
    ("expired", "localhost", lambda: SelfMade("localhost", days=-1, by_authority=True), {}, "certificate has expired"),
    ("itself", "localhost", lambda: SelfMade("localhost"), {}, "certificate is signed by nobody in ca, but by itself"),
    ("the system's authorities do not know it", "localhost", lambda: certificates.issue("localhost"), {"ca": None},
     "certificate is signed by nobody in ca"),
]


@pytest.mark.parametrize("host, leaf, keys, words", [row[1:] for row in BAD], ids=[row[0] for row in BAD])
def test_a_server_that_is_somebody_else_hears_nothing_and_is_named_once(host, leaf, keys, words):
    context = server_context(leaf())
    with Backend(0, smtp_over_tls("implicit", context)) as server, Backend(0, pop3_over_tls("starttls", context)) as other:
        with started({**smtp(f"{host}:{server.port}", "implicit", **keys),
                      **pop3(f"{host}:{other.port}", "starttls", **keys)}) as gate:
            for _ in range(2):
                assert is_refusal(refusal(gate, "smtp")) and is_refusal(refusal(gate, "pop3"))
            for name in ("smtp", "pop3"):
                assert len(outages(gate, name)) == 1, "once in an outage"
                assert re.match(words, outages(gate, name)[0])
            assert "answers again" not in gate.log()
        for one in server.connections + other.connections:
            assert one.tls_error, "it gets an alert"
        assert_nothing_in_clear(server)
        assert_nothing_in_clear(other)
        assert_never_told(server)
        assert_never_told(other)


class Turncoat:
    """A script that is `good` until told otherwise, then `bad`."""

    def __init__(self, good, bad):
        self.good, self.bad, self.turned = good, bad, False

    def __call__(self, wire, connection):
        connection.bad = self.turned
        (self.bad if self.turned else self.good)(wire, connection)


def learned(server):
    """Waits until the server was asked in clear and as under TLS, to the end."""
    server.wait_accepted(2)
    for one in server.connections[:2]:
        one.wait_done()


def turned(server, gate, port, turncoat):
    """Everything that a client hears whose server turned after we had learned it."""
    learned(server)
    turncoat.turned = True
    return refusal(gate, port)


def assert_turned(answer, server, gate, name, words):
    """SMTP: EHLO was answered from what had been learned; POP3: all there is, is the refusal."""
    ehlo, _, last = answer.rpartition(b"421 ") if name == "smtp" else (b"", b"", answer)
    assert is_refusal(b"421 " + last if name == "smtp" else last), answer
    assert b"injected" not in answer
    assert re.match(words, outages(gate, name)[0]), outages(gate, name)
    assert any(one.bad for one in server.connections)
    assert_nothing_in_clear(server)
    for one in server.connections:
        if one.bad:
            for told in (b"me.example", b"bert", b"anna", PASSWORD):
                assert told not in one.received


def test_a_certificate_that_changes_while_we_serve_ends_service_before_the_client_is_named():
    turncoat = Turncoat(*(smtp_over_tls("implicit", server_context(certificates.issue(name)))
                          for name in ("localhost", "other.example")))
    with Backend(0, turncoat) as server, started(smtp(localhost(server), "implicit")) as gate:
        answer = turned(server, gate, "smtp", turncoat)
        assert_turned(answer, server, gate, "smtp", r"certificate is for other\.example, not for localhost$")


# STARTTLS that is not there, and octets that come before TLS

NO_TLS = [
    ("smtp", "is not offered", {"offers": False}, "offers no STARTTLS"),
    ("smtp", "is refused", {"consent": b"454 4.7.0 not now"}, "refuses STARTTLS"),
    ("smtp", "is refused for good", {"consent": b"502 5.5.1 what?"}, "refuses STARTTLS"),
    ("pop3", "is unknown", {"offers": False}, "refuses STLS"),
    ("pop3", "is refused", {"consent": b"-ERR [SYS/TEMP] not now"}, "refuses STLS"),
]
PROTOCOLS = {"smtp": (smtp, smtp_over_tls), "pop3": (pop3, pop3_over_tls)}


@pytest.mark.parametrize("when", ["from the beginning", "later"])
@pytest.mark.parametrize("name, server_does, words", [(row[0], *row[2:]) for row in NO_TLS],
                         ids=[f"{row[0]} {row[1]}" for row in NO_TLS])
def test_without_the_tls_that_is_configured_nothing_goes_to_the_server(name, server_does, words, when):
    section, script = PROTOCOLS[name]
    turncoat = Turncoat(script("starttls", server_context()), script("starttls", server_context(), **server_does))
    turncoat.turned = when == "from the beginning"
    with Backend(0, turncoat) as server, started(section(localhost(server), "starttls")) as gate:
        answer = refusal(gate, name) if turncoat.turned else turned(server, gate, name, turncoat)
        assert_turned(answer, server, gate, name, words)
        if when == "from the beginning":
            assert is_refusal(answer)


def injecting(script, kind, octets):
    """Server octets in clear, behind its consent: in the same segment, or when the ClientHello has come."""
    consent = b"+OK Begin TLS" if script is pop3_over_tls else b"220 2.0.0 Ready"
    if kind == "same segment":
        return script("starttls", server_context(), consent=consent + b"\r\n" + octets)

    def late(wire, connection):
        first = wire.read_exactly(1)
        wire.send(octets + b"\r\n")
        wire._plain = first + wire._plain

    return script("starttls", server_context(), before_handshake=late)


INJECTED = {"smtp": [b"250 2.0.0 injected", b"250-injected\r\n250 AUTH PLAIN", b"220 2.0.0 injected"],
            "pop3": [b"+OK injected", b"+OK\r\nSASL PLAIN\r\n.\r\n+OK injected"]}


@pytest.mark.parametrize("kind", ["same segment", "second segment"])
@pytest.mark.parametrize("name, octets", [(name, octets) for name in INJECTED for octets in INJECTED[name]])
def test_p1_octets_of_a_server_behind_its_consent_to_tls_end_the_connection_and_are_shown_to_nobody(name, octets, kind):
    section, script = PROTOCOLS[name]
    turncoat = Turncoat(script("starttls", server_context()), injecting(script, kind, octets))
    with Backend(0, turncoat) as server, started(section(localhost(server), "starttls")) as gate:
        answer = turned(server, gate, name, turncoat)
        words = ("sends more than its reply to STARTTLS or STLS$" if kind == "same segment" else
                 r"the server speaks no TLS \(it sent \"")
        assert_turned(answer, server, gate, name, words)
        assert not any(one.secure for one in server.connections if one.bad)


def test_p1_a_consent_that_comes_before_starttls_was_said_leads_nowhere():
    def early(wire, connection):
        wire.send(b"220 backend.test ESMTP\r\n")
        wire.line()
        wire.send(b"250-backend.test\r\n250 STARTTLS\r\n220 2.0.0 injected\r\n")
        wire.line()
        wire.send(b"220 2.0.0 Ready\r\n")
        wire.read_all()

    turncoat = Turncoat(smtp_over_tls("starttls", server_context()), early)
    with Backend(0, turncoat) as server, started(smtp(localhost(server), "starttls")) as gate:
        assert_turned(turned(server, gate, "smtp", turncoat), server, gate, "smtp", "the server speaks no TLS")


@pytest.mark.parametrize("name", ["smtp", "pop3"])
def test_a_server_that_injects_from_the_beginning_is_never_learned(name):
    section, script = PROTOCOLS[name]
    with Backend(0, injecting(script, "same segment", INJECTED[name][0])) as server:
        with started(section(localhost(server), "starttls")) as gate:
            assert is_refusal(refusal(gate, name))
            assert outages(gate, name) == ["sends more than its reply to STARTTLS or STLS"]
        assert not any(one.secure for one in server.connections)


def test_what_a_server_offers_in_clear_does_not_count_under_tls():
    with Backend(0, smtp_over_tls("starttls", server_context(), ehlo=("8BITMIME",))) as server:
        with started(smtp(localhost(server), "starttls")) as gate, Wire(gate.port("smtp")) as wire:
            wire.expect("220")
            lines = wire.command("EHLO me.example", "250")
            assert sorted(line[4:] for line in lines[1:]) == [b"8BITMIME", b"STARTTLS"], "in clear it said SIZE"
            assert b"TLS" not in b"".join(one.received.partition(b"STARTTLS\r\n")[2] for one in server.connections)


# another address, a stall

def test_an_address_whose_certificate_is_refused_is_out_and_the_other_serves():
    with Backend(0, smtp_over_tls("implicit", server_context(certificates.issue("other.example")))) as bad, \
            Backend(0, smtp_over_tls("implicit", server_context())) as good:
        with started(smtp(f"{localhost(bad)}, {localhost(good)}", "implicit")) as gate:
            for _ in range(5):
                mail(gate, "smtp")
            assert outages(gate, "smtp") == ["certificate is for other.example, not for localhost"]
        assert sum(len(one.messages) for one in good.connections) == 5
        assert_never_told(bad)


def stall(wire, connection):
    wire.read_all()


def test_a_server_that_stalls_in_the_handshake_costs_connect_timeout_and_another_address_serves():
    turncoat = Turncoat(smtp_over_tls("implicit", server_context()), stall)
    with Backend(0, turncoat) as server, Backend(0, smtp_over_tls("implicit", server_context())) as other:
        keys = {"connect_timeout": "700ms"}
        with started(smtp(f"{localhost(server)}, {localhost(other)}", "implicit", **keys)) as gate:
            learned(server)
            learned(other)
            turncoat.turned = True
            mail(gate, "smtp")
            assert outages(gate, "smtp") == ["does not answer: Connection timed out"]
        assert sum(len(one.messages) for one in other.connections) == 1


@pytest.mark.parametrize("name", ["smtp", "pop3"])
def test_a_server_that_stalls_in_the_handshake_with_no_other_is_a_refusal_in_words(name):
    section, script = PROTOCOLS[name]
    turncoat = Turncoat(script("implicit", server_context()), stall)
    with Backend(0, turncoat) as server, started(section(localhost(server), "implicit", connect_timeout="700ms")) as gate:
        answer = turned(server, gate, name, turncoat)
        assert is_refusal(answer[answer.rfind(b"421 "):] if name == "smtp" else answer)
        assert outages(gate, name) == ["does not answer: Connection timed out"]


def test_a_server_that_closes_in_the_handshake_is_named():
    def close(wire, connection):
        wire.read_exactly(5)

    with Backend(0, close) as server, started(smtp(localhost(server), "implicit")) as gate:
        assert is_refusal(refusal(gate, "smtp"))
        assert re.match("the server closed the connection in the handshake|the connection broke", outages(gate, "smtp")[0])


# who the client is

@pytest.mark.parametrize("kind", ["implicit", "starttls"])
def test_the_proxy_header_comes_in_clear_before_tls(kind):
    with Backend(0, smtp_over_tls(kind, server_context(), proxy=True)) as server:
        with started(smtp(localhost(server), kind, identity="proxy-v2")) as gate:
            mail(gate, "submission", "starttls")
        ours = [one for one in server.connections if one.messages][0]
        local, source, port, tlvs = ours.identity
        assert (local, source) == (False, "127.0.0.1") and port > 0
        assert 0x20 in tlvs, "the client's TLS"
        assert ours.secure and ours.clear == ours.proxy + (b"EHLO mail.gatepost.test\r\nSTARTTLS\r\n" if kind == "starttls" else b"")


def test_xclient_comes_under_tls_and_not_before():
    script = smtp_over_tls("starttls", server_context(), ehlo=("XCLIENT ADDR PORT", "8BITMIME"),
                           answers={b"XCLIENT": b"220 backend.test ESMTP"})
    with Backend(0, script) as server:
        with started(smtp(localhost(server), "starttls", identity="xclient")) as gate:
            mail(gate, "smtp")
        assert_nothing_in_clear(server)
        ours = [one for one in server.connections if one.messages][0]
        under_tls = ours.lines[ours.lines.index(b"STARTTLS") + 1:]
        assert under_tls[0] == b"EHLO mail.gatepost.test"
        assert re.fullmatch(rb"XCLIENT PORT=\d+ ADDR=127\.0\.0\.1", under_tls[1])
        assert under_tls[2:4] == [b"EHLO me.example", b"MAIL FROM:<bert@example.org>"]


# octets, many of them

BIG = b"Subject: big\r\n\r\n" + b"".join(
    b"..%07d " % number + bytes(32 + (number + i) % 94 for i in range(57)) + b"\r\n" for number in range(78000))


def take_big(wire, connection, line):
    wire.send(b"354 Go on\r\n")
    parts, tail = [], b""
    while not tail.endswith(b"\r\n.\r\n"):
        parts.append(wire.read())
        if not parts[-1]:
            raise Gone("in the middle")
        tail = (tail + parts[-1])[-5:]
    connection.big = b"".join(parts)
    return b"250 2.0.0 Queued"


def give_big(wire, connection, line):
    wire.send(b"+OK\r\n" + BIG)
    return b"."


def read_to(wire, end):
    parts, tail = [], b""
    while not tail.endswith(end):
        parts.append(wire.read())
        assert parts[-1], "it ends in the middle"
        tail = (tail + parts[-1])[-len(end):]
    return b"".join(parts)


@pytest.fixture(scope="module")
def big():
    context = server_context()
    with Backend(0, smtp_over_tls("starttls", context, answers={b"DATA": take_big})) as up, \
            Backend(0, pop3_over_tls("implicit", context, answers={b"RETR": give_big})) as down:
        with started({**smtp(localhost(up), "starttls"), **pop3(localhost(down), "implicit")}, detect=True) as gate:
            yield gate, up


@pytest.mark.parametrize("kind", ["plain", "implicit"])
def test_five_mebibytes_go_up_octet_for_octet(big, kind):
    gate, up = big
    assert len(BIG) > 5 << 20
    with client(gate, "smtp", kind) as wire:
        wire.commands(("MAIL FROM:<bert@example.org>", "250"), ("RCPT TO:<anna@gatepost.test>", "250"), ("DATA", "354"))
        wire.send(BIG + b".\r\n")
        wire.expect("250")
        wire.quit()
    arrived = [one.big for one in up.connections if hasattr(one, "big")][-1]
    assert not messages.difference(BIG + b".\r\n", arrived)


@pytest.mark.parametrize("kind", ["plain", "implicit"])
def test_five_mebibytes_come_down_octet_for_octet(big, kind):
    gate, _ = big
    with client(gate, "pop3", kind) as wire:
        wire.commands(("USER anna", "+OK"), ("PASS secret", "+OK"))
        wire.send(b"RETR 1\r\n")
        fetched = read_to(wire, b"\r\n.\r\n")
        assert not messages.difference(b"+OK\r\n" + BIG + b".\r\n", fetched)
        wire.quit()


# ends

def half(wire, connection, line):
    wire.send(b"+OK\r\nSubject: half\r\n\r\nhalf of it\r\n")
    connection.socket.close()  # FIN, and no close_notify
    raise Gone("without close_notify")


@pytest.mark.parametrize("kind", ["plain", "implicit"])
def test_a_server_that_ends_without_close_notify_in_the_middle_of_a_retr_has_not_ended_in_order(kind):
    with Backend(0, pop3_over_tls("implicit", server_context(), answers={b"RETR": half})) as server:
        with started(pop3(localhost(server), "implicit"), detect=True) as gate, client(gate, "pop3", kind) as wire:
            wire.commands(("USER anna", "+OK"), ("PASS secret", "+OK"))
            wire.send(b"RETR 1\r\n")
            text = wire.read_all()
            assert b"\r\n.\r\n" not in text
            assert wire.eof in (("reset", "fin") if kind == "implicit" else ("reset",)), "nothing that looks like an end"
            gate.wait_for_log("the server closed the connection in the middle of a reply")


@pytest.mark.parametrize("polite", [True, False])
@pytest.mark.parametrize("kind", ["plain", "implicit"])
def test_an_opaque_server_that_ends_without_close_notify_is_no_end_in_order_for_a_client_under_tls(kind, polite):
    def part(wire, connection):
        wire.read_exactly(1)
        wire.send(b"a part of it")
        if not polite:
            connection.socket.close()
            raise Gone("without close_notify")

    sections = {"listen remote": {"protocol": "opaque", "backend": "behind", "detect_wait": "300ms"}}
    with Backend(0, over_tls("implicit", server_context(), part)) as server:
        with started({**sections, "backend behind": {"address": localhost(server), "tls": "implicit"}}) as gate:
            with Wire(gate.port("remote")) as wire:
                if kind == "implicit":
                    wire.start_tls(client_context())
                wire.send(b"x")
                assert wire.read_all() == b"a part of it"
                assert wire.eof == ("close_notify" if polite and kind == "implicit" else "fin")


def test_a_server_that_ends_without_close_notify_behind_quit_costs_nothing():
    def bye(wire, connection, line):
        wire.send(b"+OK bye\r\n")
        connection.socket.close()
        raise Gone("without close_notify")

    with Backend(0, pop3_over_tls("implicit", server_context(), answers={b"QUIT": bye})) as server:
        with started(pop3(localhost(server), "implicit"), detect=True) as gate:
            for _ in range(3):
                with client(gate, "pop3", "implicit") as wire:
                    wire.commands(("USER anna", "+OK"), ("PASS secret", "+OK"), ("STAT", "+OK"), ("QUIT", "+OK"))
                    assert wire.at_eof() and wire.eof == "close_notify"
            assert "is out of service" not in gate.log()


def test_an_opaque_server_whose_certificate_is_refused_is_checked_by_its_tls_and_stays_out():
    sections = {"listen remote": {"protocol": "opaque", "backend": "behind", "detect_wait": "300ms"}}
    with Backend(0, over_tls("implicit", server_context(certificates.issue("other.example")), echo_script)) as server:
        with started({**sections, "backend behind": {"address": localhost(server), "tls": "implicit"}}) as gate:
            with Wire(gate.port("remote")) as wire:
                wire.send(b"octets of the client")
                assert wire.read_all() == b""
            server.wait_accepted(3).wait_done()  # two checks
            assert outages(gate, "behind") == ["certificate is for other.example, not for localhost"]
            assert "answers again" not in gate.log(), "a connection alone is no answer"
        assert server.received == b""


# the settings

def test_a_ca_that_is_missing_is_a_fault_of_the_settings():
    gate = library.Gatepost({"backend smtp": {"address": "localhost:25", "tls": "starttls", "ca": "/nonexistent/ca.pem"}})
    try:
        gate.start(wait=False)
        assert gate.process.wait(30) == 78
        assert "error: [backend smtp] ca = /nonexistent/ca.pem: No such file" in gate.log()
    finally:
        gate.process = None
        gate.remove()


# servers that others wrote

@needs_root
def test_dovecot_and_postfix_under_starttls(folder):
    certificates.write(folder)
    lines = (f"smtpd_tls_security_level = encrypt\nsmtpd_tls_cert_file = {folder}/cert.pem\n"
             f"smtpd_tls_key_file = {folder}/key.pem\nsmtpd_tls_loglevel = 1")
    with servers.Dovecot({library.USER: [b"Subject: one\r\n\r\nbody\r\n"]}, tls=True) as dovecot, \
            servers.Postfix(mynetworks="", more=lines) as postfix:
        sections = {**smtp(f"unix:{postfix.socket}", "starttls", sni=certificates.HOSTNAME, connect_timeout="20s"),
                    **pop3(f"unix:{dovecot.socket}", "starttls", sni=certificates.HOSTNAME, connect_timeout="20s")}
        with started(sections) as gate:
            with pop3_session(Wire(gate.port("pop3")), client_context(), "starttls", library.USER, dovecot.password) as wire:
                wire.command("RETR 1", "+OK")
                assert wire.multiline() == [b"Subject: one", b"", b"body"]
                wire.quit()
            mail(gate, "smtp", "plain")
            assert postfix.wait_messages(1)[0].endswith(b"\r\nSubject: hi\r\n\r\nhello\r\n")
            assert "TLS connection established" in postfix.log()
            proc.wait_until(lambda: "TLS" in dovecot.log(), 10, dovecot.log)
