"""Plain, STARTTLS or TLS first, told apart by the first octets; who cannot be served is told what to set
(rules 7, 12, 22; P9)."""
import ssl

import pytest

import certificates
import gatepost as library
from certificates import client_context
from ports import POP3_PORTS, SMTP_PORTS
from wire import Wire, pop3_session, smtp_session

PROTOCOL_VERSION, NO_APPLICATION_PROTOCOL = 70, 120


@pytest.fixture(scope="module")
def gate():
    with library.Gatepost({"listen pop3s": {"detect_wait": "300ms"}}) as gate:
        yield gate


def greeted_under_tls(gate, port, **arguments):
    """A session that begins with TLS, up to the greeting."""
    wire = Wire(gate.port(port)).start_tls(client_context(), **arguments)
    wire.expect("+OK" if port in POP3_PORTS else "220")
    return wire


@pytest.mark.parametrize("port", SMTP_PORTS + POP3_PORTS)
def test_p9_rule_7_tls_first_is_served_on_every_port(gate, port):
    greeted_under_tls(gate, port).quit()


@pytest.mark.parametrize("port", ["smtp", "pop3"])
def test_rule_7_a_hello_of_one_octet_a_segment_is_still_a_hello(gate, port):
    greeted_under_tls(gate, port, bytewise=True).quit()


def test_p9_rule_7_a_hello_that_comes_only_after_the_greeting_is_named_and_the_next_is_awaited_longer():
    with library.Gatepost({"listen smtp": {"detect_wait": "2s"}}) as gate:
        with Wire(gate.port("smtp")) as wire:
            wire.expect("220")
            wire.send_raw(wire.begin_tls(client_context()))
            assert wire.socket.recv(100) == b"", "not a word"
        gate.wait_for_log("TLS first, but only after our greeting; its next try is awaited longer")
        with Wire(gate.port("smtp")) as wire:
            assert wire.silent(3), "no greeting when it would have come before"
            wire.start_tls(client_context())
            wire.expect("220")
            wire.quit()


def test_p9_rule_7_tls_first_where_detect_is_off_is_named_in_the_log_and_starttls_works():
    over = {f"listen {port}": {"detect": "no"} for port in ("smtp", "pop3", "pop3s")}
    with library.Gatepost(over) as gate:
        for port, count in (("smtp", 1), ("pop3", 2)):
            with Wire(gate.port(port)) as wire:
                wire.line()  # at once
                wire.send_raw(wire.begin_tls(client_context()))
                assert wire.socket.recv(100) == b""
            gate.wait_for_log(r"TLS first on a STARTTLS port \(set it to STARTTLS; detect = yes", count=count)
        with Wire(gate.port("smtp")) as wire:
            smtp_session(wire, client_context(), "starttls").quit()
        greeted_under_tls(gate, "pop3s").quit()
        assert "awaited longer" not in gate.log()


def test_rule_7_a_port_without_detect_that_is_tls_first_serves_nothing_else():
    with library.Gatepost({"listen pop3s": {"detect": "no"}}) as gate:
        with Wire(gate.port("pop3s")) as wire:
            wire.send(b"CAPA\r\n")
            assert wire.read_all()[:1] == b"\x15", "an alert, and no text"


# a silent client on the port that speaks TLS first


def test_p9_rule_7_a_silent_client_on_the_tls_port_reads_what_to_set(gate):
    with Wire(gate.port("pop3s")) as wire:
        (banner,) = wire.expect("+OK")
        assert b"SSL/TLS" in banner and b"%d" % gate.port("pop3s") in banner and b"%d" % gate.port("pop3") in banner
        for command in ("USER anna", "PASS x", "AUTH PLAIN", "STAT", "XYZZY"):
            (answer,) = wire.command(command, "-ERR [AUTH]")
            assert b"%d" % gate.port("pop3s") in answer
        wire.command("NOOP", "+OK")
        wire.command("CAPA", "+OK")
        words = wire.multiline()
        assert b"STLS" in words and b"USER" not in words and not [word for word in words if word.startswith(b"SASL")]
        wire.quit()


def test_p9_rule_7_stls_on_the_tls_port_leads_to_a_login(gate):
    with Wire(gate.port("pop3s")) as wire:
        pop3_session(wire, client_context(), "starttls", library.USER, gate.password)
        wire.command("STAT", "+OK")
        wire.quit()


def test_p9_rule_7_a_tls_first_smtp_port_tells_a_plain_client_what_to_set():
    over = {"listen smtps": {"port": "465", "protocol": "smtp", "tls": "implicit", "backend": "smtp",
                             "detect_wait": "100ms"}}
    with library.Gatepost(over) as gate:
        with Wire(gate.port("smtps")) as wire:
            (banner,) = wire.expect("220")
            assert b"%d" % gate.port("smtps") in banner
            wire.send(b"EHLO me.example\r\n")
            assert [line[4:] for line in wire.reply()][1:] == [b"STARTTLS"]
            (answer,) = wire.command("MAIL FROM:<a@example.org>", "530 5.7.0")
            assert b"%d" % gate.port("smtps") in answer
            wire.command("AUTH PLAIN AGEAYg==", "530 5.7.0")
            wire.command("NOOP", "250")
            wire.command("STARTTLS", "220")
            wire.start_tls(client_context())
            wire.command("EHLO me.example", "250")
            wire.command("MAIL FROM:<a@example.org>", "250")
            wire.quit()
        with Wire(gate.port("smtps")) as wire:
            smtp_session(wire, client_context(), "implicit").quit()


# text before the greeting


@pytest.mark.parametrize("port, text, answers", [
    ("smtp", b"EHLO me.example\r\nNOOP\r\n", ("220", "250", "250")), ("pop3", b"NOOP\r\nNOOP\r\n", ("+OK",) * 3)])
def test_rule_7_who_talks_before_the_greeting_is_served(gate, port, text, answers):
    with Wire(gate.port(port)) as wire:
        wire.send(text)
        for answer in answers:
            wire.expect(answer)
        wire.quit()


@pytest.mark.parametrize("port, words", [("smtp", b"554 5.5.1"), ("pop3", b"-ERR")])
def test_rule_8_who_talks_before_the_greeting_is_refused_where_that_is_set(port, words):
    with library.Gatepost({f"listen {port}": {"early_talker": "refuse", "detect_wait": "30s"}}) as gate:
        with Wire(gate.port(port)) as wire:
            wire.send(b"EHLO me.example\r\nNOOP\r\n")
            assert wire.line().startswith(words)
            assert wire.at_eof()
        greeted_under_tls(gate, port).quit()  # TLS is no text
        gate.wait_for_log("talks before the greeting")


# Length, CLIENT-HELLO, version, sizes of three fields, two cipher kinds, a challenge of 16 octets.
SSLV2_HELLO = b"\x80\x1f\x01\x00\x02" + b"\0\x06" + b"\0\0" + b"\0\x10" + b"\x01\0\x80\x07\0\xc0" + b"c" * 16


@pytest.mark.parametrize("port", ["pop3s", "smtp"])
@pytest.mark.parametrize("bytewise", [False, True])
def test_p9_rule_7_a_hello_of_ssl_2_gets_an_alert_and_a_line_in_the_log(gate, port, bytewise):
    count = gate.log().count("SSL 2.0 hello")
    with Wire(gate.port(port)) as wire:
        (wire.send_bytewise if bytewise else wire.send)(SSLV2_HELLO)
        assert wire.read_all() == bytes([0x15, 3, 1, 0, 2, 2, PROTOCOL_VERSION])
    gate.wait_for_log("SSL 2.0 hello", count=count + 1)


@pytest.mark.parametrize("port, word", [("smtp", "220"), ("pop3", "+OK")])
def test_rule_7_after_five_plain_sessions_the_sixth_is_greeted_without_the_wait(port, word):
    """detect_wait is longer than a test waits for a line: only early talkers get through at first."""
    with library.Gatepost({f"listen {port}": {"detect_wait": "30s"}}) as gate:
        for _ in range(5):
            with Wire(gate.port(port)) as wire:
                wire.send(b"NOOP\r\n")
                wire.expect(word)
                wire.line()
                wire.quit()
        with Wire(gate.port(port)) as wire:
            wire.expect(word)
            wire.quit()
        with Wire(gate.port(port)) as wire:  # the one connection that meets the greeting too early
            wire.expect(word)
            wire.send_raw(wire.begin_tls(client_context()))
            wire.read_all()
        gate.wait_for_log("its next try is awaited longer")
        with Wire(gate.port(port)) as wire:
            assert wire.silent(1), "one session with TLS first brings the wait back"
            wire.start_tls(client_context())
            wire.expect(word)
            wire.quit()


# what is refused without TLS


def test_rule_12_require_tls_yes_refuses_all_but_what_leads_to_tls():
    with library.Gatepost({"listen submission": {"require_tls": "yes"}}) as gate:
        with Wire(gate.port("submission")) as wire:
            wire.expect("220")
            wire.command("HELO me.example", "250")
            wire.send(b"EHLO me.example\r\n")
            words = [line[4:] for line in wire.reply()][1:]
            assert b"STARTTLS" in words and not [word for word in words if word.startswith(b"AUTH")]
            for command in ("MAIL FROM:<a@example.org>", "AUTH PLAIN AGEAYg==", "VRFY anna", "XYZZY", "RSET", "DATA"):
                wire.command(command, "530 5.7.0 Must issue a STARTTLS command first")
            wire.commands(("NOOP", "250"), ("HELP", "214"), ("STARTTLS", "220"))
            wire.start_tls(client_context())
            wire.send(b"EHLO me.example\r\n")
            assert [line for line in wire.reply() if line[4:].startswith(b"AUTH")]
            wire.command("MAIL FROM:<a@example.org>", "250")
            wire.quit()


def test_rule_12_require_tls_auth_refuses_the_login_and_not_the_mail():
    with library.Gatepost({"listen smtp": {"require_tls": "auth"}}) as gate:
        with Wire(gate.port("smtp")) as wire:
            wire.expect("220")
            wire.send(b"EHLO me.example\r\n")
            assert not [line for line in wire.reply() if line[4:].startswith(b"AUTH")]
            wire.command("AUTH PLAIN AGEAYg==", "538 5.7.11")
            wire.command("MAIL FROM:<a@example.org>", "250")
            wire.command("AUTH PLAIN AGEAYg==", "5")
            wire.quit()


@pytest.mark.parametrize("required", ["yes", "auth"])
def test_rule_22_a_pop3_login_without_tls_is_refused_with_the_ports_to_use(required):
    with library.Gatepost({"listen pop3": {"require_tls": required}}) as gate:
        with Wire(gate.port("pop3")) as wire:
            wire.expect("+OK")
            words = f"-ERR [AUTH] Turn on TLS: use port {gate.port('pop3s')}, or STLS on port {gate.port('pop3')}"
            for command in ("USER anna", "PASS x", "AUTH PLAIN"):
                wire.command(command, words)
            wire.command("CAPA", "+OK")
            capabilities = wire.multiline()
            assert b"STLS" in capabilities and b"USER" not in capabilities
            wire.commands(("NOOP", "+OK"), ("STLS", "+OK"))
            wire.start_tls(client_context())
            wire.command(f"USER {library.USER}", "+OK")
            wire.command(f"PASS {gate.password}", "+OK")
            wire.quit()


# the handshake


@pytest.mark.parametrize("port, right, wrong",
                         [("pop3s", "pop3", "smtp"), ("smtp", "smtp", "pop3"), ("pop3", "pop3", "h2")])
def test_p9_a_client_of_another_protocol_is_refused_by_an_alert(gate, port, right, wrong):
    with Wire(gate.port(port)) as wire:
        wire.start_tls(client_context(alpn=[wrong, right]))
        assert wire.tls.selected_alpn_protocol() == right
    with Wire(gate.port(port)) as wire:
        with pytest.raises(ssl.SSLError, match="(?i)no.application.protocol"):
            wire.start_tls(client_context(alpn=[wrong]))
    gate.wait_for_log(r"TLS handshake failed: .*(?i:alpn|application protocol)")


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize("kind", ["starttls", "implicit"])
def test_p9_the_server_name_picks_the_certificate(version, kind):
    folder = library.make_folder("gatepost-c-")
    certificates.write(folder, ("other.gatepost.test", "*.wild.gatepost.test"), "other-")
    other = {"certificate": folder / "other-cert.pem", "key": folder / "other-key.pem"}
    with library.Gatepost({"tls other": other}) as gate:
        for name, common in (("other.gatepost.test", "other"), ("OTHER.gatepost.test", "other"),
                             ("one.wild.gatepost.test", "other"), ("mail.gatepost.test", "mail"),
                             ("localhost", "mail")):
            with Wire(gate.port("smtp")) as wire:
                if kind == "starttls":
                    wire.expect("220")
                    wire.commands(("EHLO me.example", "250"), ("STARTTLS", "220"))
                wire.start_tls(client_context(minimum=version, maximum=version), name=name)
                names = [value for _, value in wire.tls.getpeercert()["subjectAltName"]]
                assert ("other.gatepost.test" in names) == (common == "other"), names
        with Wire(gate.port("pop3s")) as wire:  # a name that nobody has: the default, the client judges
            wire.start_tls(client_context(verify=False), name="stranger.example")


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_ticket_resumes_in_any_worker_over_starttls_and_after_a_restart_with_the_same_state(version):
    context = client_context(minimum=version, maximum=version)

    class Resuming(Wire):
        session = None

        def begin_tls(self, context, name="localhost"):
            self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
            self._tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname=name, session=self.session)
            self._step()
            return self._outgoing.read()

    def visit(gate, kind, session):
        wire = Resuming(gate.port("smtp"))
        wire.session = session
        smtp_session(wire, context, kind)
        resumed, ticket = wire.tls.session_reused, wire.tls.session
        wire.quit()
        return resumed, ticket

    with library.Gatepost() as gate:
        first, ticket = visit(gate, "implicit", None)
        assert not first
        for number in range(10):
            resumed, ticket = visit(gate, ("starttls", "implicit")[number % 2], ticket)
            assert resumed
        gate.stop()
        gate.start(wait=False)
        gate.wait_for_log("gatepost: ready", count=2, timeout=60)
        assert visit(gate, "starttls", ticket)[0]
