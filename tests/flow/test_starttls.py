"""Nothing that came in clear lives on under TLS, in either direction (P1, rules 3, 4, 10, 11, 21)."""
import pytest

import gatepost as library
from backend import Backend, pop3_script, smtp_script
from certificates import client_context
from wire import Wire, smtp_session


@pytest.fixture(scope="module")
def legacy():
    """Gatepost in front of two scripted servers that record every octet."""
    folder = library.make_folder("gatepost-b-")
    with Backend(folder / "smtp.sock", smtp_script()) as smtp, Backend(folder / "pop3.sock", pop3_script()) as pop3:
        over = {"backend smtp": {"address": f"unix:{folder}/smtp.sock"},
                "backend pop3": {"address": f"unix:{folder}/pop3.sock"}}
        with library.Gatepost(over) as gate:
            gate.smtp_backend, gate.pop3_backend = smtp, pop3
            yield gate


def clients_only(backend, since):
    """The connections that were not our own learning dialogue."""
    return [one for one in backend.connections[since:] if b"relay-test@example.invalid" not in one.received
            and not one.received.startswith(b"CAPA\r\nQUIT")]


@pytest.mark.parametrize("port", ["smtp", "smtp-alt", "submission"])
def test_p1_rule_3_octets_in_the_segment_of_starttls_are_refused_and_reach_no_server(legacy, port):
    since = legacy.smtp_backend.accepted
    with Wire(legacy.port(port)) as wire:
        wire.expect("220")
        wire.command("EHLO me.example", "250")
        wire.send(b"STARTTLS\r\nRSET\r\nMAIL FROM:<injected@example.org>\r\n")
        assert wire.line()[:1] == b"5"
        wire.read_all()
        assert wire.eof
    assert not clients_only(legacy.smtp_backend, since), "no server was bothered"
    assert b"injected" not in b"".join(one.received for one in legacy.smtp_backend.connections)


def test_p1_rule_3_octets_in_a_later_segment_never_become_a_command(legacy):
    with Wire(legacy.port("smtp")) as wire:
        wire.expect("220")
        wire.command("EHLO me.example", "250")
        wire.send(b"STARTTLS\r\n")
        wire.send(b"MAIL FROM:<injected@example.org>\r\n")
        wire.read_all()  # 220 and a failed handshake, or a refusal: never an answer to MAIL
        assert wire.eof
    story = b"".join(one.received for one in legacy.smtp_backend.connections)
    assert b"injected" not in story


def test_p1_rule_3_octets_behind_stls_are_refused_and_reach_no_server(legacy):
    since = legacy.pop3_backend.accepted
    with Wire(legacy.port("pop3")) as wire:
        wire.expect("+OK")
        wire.send(b"STLS\r\nUSER injected\r\nPASS injected\r\n")
        assert wire.line().startswith(b"-ERR")
        wire.read_all()
        assert wire.eof
    assert not clients_only(legacy.pop3_backend, since)
    assert b"injected" not in b"".join(one.received for one in legacy.pop3_backend.connections)


def test_p1_rule_4_a_user_sent_in_clear_is_forgotten_after_stls(legacy):
    since = legacy.pop3_backend.accepted
    with Wire(legacy.port("pop3")) as wire:
        wire.expect("+OK")
        wire.command("USER clear", "+OK")
        wire.command("STLS", "+OK")
        wire.start_tls(client_context())
        wire.command("PASS secret", "-ERR")
    assert not clients_only(legacy.pop3_backend, since), "PASS without USER costs no server a connection"


def test_p1_rule_11_the_server_sees_only_the_ehlo_after_tls_and_mail_needs_a_fresh_one(legacy):
    since = legacy.smtp_backend.accepted
    with Wire(legacy.port("smtp")) as wire:
        wire.expect("220")
        wire.command("EHLO clear.example", "250")
        wire.command("STARTTLS", "220")
        wire.start_tls(client_context())
        wire.command("MAIL FROM:<a@example.org>", "503")
        wire.command("EHLO tls.example", "250")
        wire.command("MAIL FROM:<a@example.org>", "250")
        wire.command("QUIT", "221")
    ours = clients_only(legacy.smtp_backend, since)
    assert len(ours) == 1
    assert ours[0].wait_done().lines[:2] == [b"EHLO tls.example", b"MAIL FROM:<a@example.org>"]


def test_p1_a_transaction_begun_in_clear_ends_with_starttls(legacy):
    """After RSET STARTTLS is allowed again: the old connection to the server goes, without QUIT."""
    since = legacy.smtp_backend.accepted
    with Wire(legacy.port("smtp")) as wire:
        wire.expect("220")
        wire.command("EHLO clear.example", "250")
        wire.command("MAIL FROM:<a@example.org>", "250")
        wire.command("STARTTLS", "503")
        wire.command("RSET", "250")
        wire.command("STARTTLS", "220")
        wire.start_tls(client_context())
        wire.command("RCPT TO:<anna@gatepost.test>", "503")
        wire.command("EHLO tls.example", "250")
        wire.command("MAIL FROM:<b@example.org>", "250")
        wire.command("QUIT", "221")
    first, second = clients_only(legacy.smtp_backend, since)
    assert b"QUIT" not in first.wait_done().lines
    assert second.wait_done().lines[0] == b"EHLO tls.example"


@pytest.mark.parametrize("command, code", [("STARTTLS now", "501"), ("STARTTLS", "503")])
def test_rule_10_starttls_with_an_argument_or_before_ehlo_is_refused(legacy, command, code):
    with Wire(legacy.port("smtp")) as wire:
        wire.expect("220")
        wire.command(command, code)


def test_rule_4_starttls_is_neither_offered_nor_accepted_under_tls(legacy):
    with Wire(legacy.port("smtp")) as wire:
        smtp_session(wire, client_context(), "starttls")
        wire.send(b"EHLO again.example\r\n")
        assert not [line for line in wire.reply() if b"STARTTLS" in line]
        wire.command("STARTTLS", "503")


def test_the_first_command_in_the_segment_of_the_finished_message_is_answered(legacy):
    with Wire(legacy.port("smtp")) as wire:
        wire.expect("220")
        wire.command("EHLO me.example", "250")
        wire.command("STARTTLS", "220")
        wire.start_tls(client_context(), behind=b"EHLO me.example\r\n")
        wire.expect("250")


def test_a_handshake_of_one_octet_a_segment_succeeds(legacy):
    with Wire(legacy.port("pop3s")) as wire:
        wire.start_tls(client_context(), bytewise=True)
        wire.expect("+OK")


def test_rule_10_a_failed_handshake_closes_the_connection_and_its_alert_arrives(legacy):
    with Wire(legacy.port("smtp")) as wire:
        wire.expect("220")
        wire.command("EHLO me.example", "250")
        wire.command("STARTTLS", "220")
        wire.send_raw(b"\x16\x03\x01\x00\x05hello")
        data = wire.read_all()
    assert data[:1] == b"\x15", f"an alert record, not {data!r}"
    legacy.wait_for_log("TLS handshake failed")


def test_p9_a_client_that_offers_only_old_versions_is_named_in_the_log(legacy):
    hello = bytes.fromhex("160301002f0100002b0301" + "00" * 32 + "00" + "0004002f00ff" + "0100")
    with Wire(legacy.port("pop3s")) as wire:
        wire.send_raw(hello)
        assert wire.read_all()[:1] == b"\x15"
    legacy.wait_for_log(r"TLS handshake failed: client offered at most TLS 1\.0, min_version is 1\.2 \(")
