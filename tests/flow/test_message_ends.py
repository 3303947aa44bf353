"""Where a message ends, and what a client's disappearance means (P3, rules 6 and 16)."""
import pytest

import clients
import gatepost as library
import messages
import proc
from backend import Backend, pop3_script, smtp_script
from certificates import client_context
from servers import Postfix
from wire import Wire, pop3_session, smtp_session

FALSE_ENDS = [b"\n.\n", b"\n.\r\n", b"\r\n.\n", b"\r.\r", b"\r.\r\n", b"\r\n.\r", b"\n.\r", b"\r.\n",
              b"\r\n\r\r\n.\r\r\n", b"\r\r\n.\r\r\n", b"\r\n.\r\r\n", b"\n\n.\r\n", b"\r\n\0.\r\n", b"\r\n.\0\r\n"]
SMUGGLED = b"MAIL FROM:<smuggled@example.org>\r\nRCPT TO:<anna@gatepost.test>\r\nDATA\r\nsmuggled\r\n"


def deliver(gate, port, body):
    """Sends one message whose text is `body`; returns the code of its reply."""
    with Wire(gate.port(port)) as wire:
        smtp_session(wire)
        wire.command("MAIL FROM:<bert@example.org>", "250")
        wire.command("RCPT TO:<anna@gatepost.test>", "250")
        wire.command("DATA", "354")
        wire.send(b"Subject: x\r\n\r\n" + body + b"\r\n.\r\n")
        code = wire.line()[:3]
        wire.send(b"QUIT\r\n")
        wire.read_all()
        return code


@pytest.fixture(scope="module")
def strict():
    folder = library.make_folder("gatepost-b-")
    with Backend(folder / "smtp.sock", smtp_script()) as smtp, Backend(folder / "pop3.sock", pop3_script()) as pop3:
        over = {"backend smtp": {"address": f"unix:{folder}/smtp.sock"},
                "backend pop3": {"address": f"unix:{folder}/pop3.sock"}}
        with library.Gatepost(over) as gate:
            gate.smtp_backend, gate.pop3_backend = smtp, pop3
            yield gate


def delivered(backend):
    return [message for one in backend.connections for message in one.messages]


@pytest.mark.parametrize("end", FALSE_ENDS, ids=[repr(end) for end in FALSE_ENDS])
def test_rule_16_a_false_end_of_data_ends_nothing_and_the_server_gets_one_message(strict, end):
    before = len(delivered(strict.smtp_backend))
    assert deliver(strict, "smtp-alt", b"one" + end + SMUGGLED) == b"250"
    ours = delivered(strict.smtp_backend)[before:]
    assert len(ours) == 1
    envelope, text = ours[0]
    assert envelope[0] == b"MAIL FROM:<bert@example.org>"
    assert b"smuggled" in text, "it stayed text of the one message"


def test_rule_16_in_front_of_postfix_that_takes_false_ends_none_is_smuggled():
    with Postfix() as postfix:
        over = {"backend smtp": {"address": f"unix:{postfix.socket}", "trusts_us": "yes"}}
        with library.Gatepost(over) as gate:
            for end in FALSE_ENDS:
                assert deliver(gate, "smtp", b"one" + end + SMUGGLED) in (b"250", b"550", b"554")
            postfix.wait_messages(1)
            smuggled = [one for one in postfix.messages() if b"smuggled@example.org" in one.split(b"\r\n\r\n")[0]]
            assert not smuggled


@pytest.mark.parametrize("kind", clients.KINDS)
@pytest.mark.parametrize("how", ["vanish", "reset"])
def test_p3_half_a_message_and_then_nothing_delivers_nothing(strict, kind, how):
    before, since = len(delivered(strict.smtp_backend)), strict.smtp_backend.accepted
    wire = Wire(strict.port("submission"))
    smtp_session(wire, client_context(), kind)
    wire.command("MAIL FROM:<bert@example.org>", "250")
    wire.command("RCPT TO:<anna@gatepost.test>", "250")
    wire.command("DATA", "354")
    wire.send(b"Subject: half\r\n\r\nhalf a mess")
    getattr(wire, how)()
    strict.smtp_backend.connections[since].wait_done()
    received = strict.smtp_backend.connections[since].received
    assert not received.endswith(b".\r\n") and b"QUIT" not in received
    assert len(delivered(strict.smtp_backend)) == before


@pytest.mark.parametrize("kind", clients.KINDS)
def test_p3_an_orderly_end_inside_a_message_is_no_end_of_data(strict, kind):
    """FIN in plain, close_notify under TLS, in the middle of DATA."""
    before, since = len(delivered(strict.smtp_backend)), strict.smtp_backend.accepted
    wire = Wire(strict.port("smtp"))
    smtp_session(wire, client_context(), kind)
    wire.command("MAIL FROM:<bert@example.org>", "250")
    wire.command("RCPT TO:<anna@gatepost.test>", "250")
    wire.command("DATA", "354")
    wire.send(b"Subject: half\r\n\r\nhalf a message\r\n")
    wire.close_notify() if kind != "plain" else wire.shut_write()
    strict.smtp_backend.connections[since].wait_done()
    assert not strict.smtp_backend.connections[since].received.endswith(b".\r\n")
    assert len(delivered(strict.smtp_backend)) == before


def test_p3_a_chunk_that_ends_too_soon_is_no_message(strict):
    before, since = len(delivered(strict.smtp_backend)), strict.smtp_backend.accepted
    wire = Wire(strict.port("smtp"))
    smtp_session(wire)
    wire.command("MAIL FROM:<bert@example.org>", "250")
    wire.command("RCPT TO:<anna@gatepost.test>", "250")
    wire.send(b"BDAT 1000 LAST\r\nonly this")
    wire.vanish()
    strict.smtp_backend.connections[since].wait_done()
    assert len(delivered(strict.smtp_backend)) == before


def test_rule_16_bdat_relays_exactly_the_octets_whatever_they_are(strict):
    before = len(delivered(strict.smtp_backend))
    octets = bytes(range(256)) * 16 + b"\r\n.\r\nMAIL FROM:<x@y>\r\n.\n"
    with Wire(strict.port("smtp")) as wire:
        smtp_session(wire)
        wire.command("MAIL FROM:<bert@example.org>", "250")
        wire.command("RCPT TO:<anna@gatepost.test>", "250")
        wire.send(b"BDAT %d\r\n" % len(octets) + octets + b"BDAT 0 LAST\r\n")
        wire.expect("250")
        wire.expect("250")
        wire.command("QUIT", "221")
    assert delivered(strict.smtp_backend)[before:][0][1] == octets


def test_rule_6_a_message_that_was_sent_whole_is_delivered_though_its_sender_is_gone(strict):
    before, since = len(delivered(strict.smtp_backend)), strict.smtp_backend.accepted
    wire = Wire(strict.port("smtp"))
    smtp_session(wire)
    wire.command("MAIL FROM:<bert@example.org>", "250")
    wire.command("RCPT TO:<anna@gatepost.test>", "250")
    wire.command("DATA", "354")
    wire.send(b"Subject: whole\r\n\r\nwhole\r\n.\r\n")
    wire.vanish()
    strict.smtp_backend.connections[since].wait_done()
    assert len(delivered(strict.smtp_backend)) == before + 1


@pytest.mark.parametrize("kind", clients.KINDS)
@pytest.mark.parametrize("how", ["vanish", "reset", "close"])
def test_p3_a_client_that_deletes_and_is_gone_deletes_nothing(kind, how):
    with library.Gatepost() as gate:
        clients.send(gate, "smtp", "plain", messages.trap_message(2048))
        wire = Wire(gate.port("pop3"))
        pop3_session(wire, client_context(), kind, library.USER, gate.password)
        wire.command("DELE 1", "+OK")
        getattr(wire, how)()
        gate.wait_idle()
        proc.wait_until(lambda: not proc.children(gate.pop3d()[0]), what="the end of the POP3 session")
        assert len(gate.messages()) == 1


def test_rule_6_commands_that_came_before_a_fin_are_answered(strict):
    with Wire(strict.port("pop3")) as wire:
        pop3_session(wire, user="anna", password="x")
        wire.send(b"STAT\r\nLIST\r\n")
        wire.shut_write()
        answers = wire.read_all()
    assert answers.startswith(b"+OK 1") and answers.endswith(b".\r\n")
