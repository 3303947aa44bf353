"""A server that is absent, silent, closes, or answers garbage: the client hears it in words, the log says why
(rules 8, 9, 14, 24, 26)."""
import pytest

import gatepost as library
from backend import Backend, pop3_script, smtp_script
from certificates import client_context
from farm import POP3, SMTP, Server, behind, outages, wait_served
from strike import traced
from wire import Wire, smtp_session


def in_front_of(address, **over):
    sections = {"backend smtp": {"address": f"unix:{address}", "connect_timeout": "1500ms"},
                "backend pop3": {"address": f"unix:{address}", "connect_timeout": "1500ms"}}
    return library.Gatepost({**sections, **over})


@pytest.fixture()
def folder():
    return library.make_folder("gatepost-b-")


def refused_smtp(gate):
    with Wire(gate.port("smtp")) as wire:
        wire.expect("220")
        wire.send(b"EHLO me.example\r\n")
        answer = wire.line()
        wire.read_all()
        assert wire.eof
        return answer


def test_an_absent_server_is_421_and_sys_temp_and_a_reason_in_the_log(folder):
    with in_front_of(folder / "none.sock") as gate:
        assert refused_smtp(gate).startswith(b"421 4.4.1")
        with Wire(gate.port("pop3")) as wire:
            wire.expect("+OK")
            wire.command("USER anna", "+OK")
            wire.command("PASS x", "-ERR [SYS/TEMP]")
        gate.wait_for_log(r"backend smtp .*none\.sock.*No such file")


def test_a_server_that_accepts_and_says_nothing_is_421_within_connect_timeout(folder):
    def mute(wire, connection):
        wire.read_all()

    with Backend(folder / "s.sock", mute), in_front_of(folder / "s.sock") as gate:
        assert refused_smtp(gate).startswith(b"421 4.4.1")
        gate.wait_for_log("does not answer")


@pytest.mark.parametrize("kind, words", [(SMTP, b"421 4.3.2 busy"), (POP3, b"-ERR [SYS/TEMP] busy")], ids=str)
def test_rule_8_a_server_that_is_busy_and_gone_before_it_hears_who_comes_is_no_outage(folder, kind, words):
    def busy(wire, connection):
        wire.send(words + b"\r\n")

    with Server(folder / "a.sock", kind.script("a", proxy=True)) as a, behind(kind, [a], identity="proxy-v2") as gate:
        wait_served(gate, kind, "a")
        a.wait_quiet()
        a.act = busy
        for worker in gate.workers():
            with traced(worker, "-e", "trace=write,writev", "-e", "inject=write,writev:delay_enter=200000"):
                assert kind.refused(gate) == words
        a.act = kind.script("a", proxy=True)
        assert kind.served_by(gate) == "a"
        assert outages(gate) == ([], [])


@pytest.mark.parametrize("words", [b"GET / HTTP/1.0\r\n", b"\0\0\0\0\r\n", b"220-a\r\n" * 11, b"2" * 5000])
def test_rule_24_a_server_that_sends_garbage_is_421_and_named(folder, words):
    def garbage(wire, connection):
        wire.send(words)
        wire.read_all()

    with Backend(folder / "s.sock", garbage), in_front_of(folder / "s.sock") as gate:
        assert refused_smtp(gate).startswith(b"421 4.4")
        gate.wait_for_log("sends what is no reply|sends a line of more than|sends a banner|sends a reply")


def test_a_server_that_comes_back_is_used_again_and_each_outage_is_logged_once(folder):
    with in_front_of(folder / "s.sock") as gate:
        for _ in range(5):
            refused_smtp(gate)
        down = [line for line in gate.log().splitlines() if "backend smtp" in line and "warning" in line]
        assert len(down) <= len(gate.workers()), "once for each worker"
        with Backend(folder / "s.sock", smtp_script()):
            for _ in range(8):
                with Wire(gate.port("smtp")) as wire:
                    smtp_session(wire)
                    wire.command("QUIT", "221")
        gate.wait_for_log("answers again")


@pytest.mark.parametrize("verb", [b"MAIL", b"RCPT", b"DATA"])
def test_a_server_that_closes_at_a_step_ends_the_session_in_words(folder, verb):
    def close(wire, connection, line):
        if b"relay-test" in line or line == b"MAIL FROM:<>":
            return None
        connection.socket.close()
        raise ConnectionResetError

    with Backend(folder / "s.sock", smtp_script(answers={verb: close})), in_front_of(folder / "s.sock") as gate:
        with Wire(gate.port("smtp")) as wire:
            smtp_session(wire)
            for command in (b"MAIL FROM:<a@example.org>", b"RCPT TO:<anna@gatepost.test>", b"DATA"):
                wire.send(command + b"\r\n")
                answer = wire.line()
                if command.startswith(verb):
                    break
                assert answer[:1] == b"2"
            assert answer.startswith(b"421 4.4.2")
            wire.read_all()
            assert wire.eof


def test_a_server_that_dies_in_the_middle_of_a_retr_leaves_no_end_of_text_and_no_close_notify(folder):
    def half(wire, connection, line):
        wire.send(b"+OK\r\nSubject: half\r\n\r\nha")
        connection.socket.close()
        raise ConnectionResetError

    with Backend(folder / "p.sock", pop3_script(answers={b"RETR": half})), in_front_of(folder / "p.sock") as gate:
        with Wire(gate.port("pop3s")) as wire:
            wire.start_tls(client_context())
            wire.expect("+OK")
            wire.command("USER anna", "+OK")
            wire.command("PASS x", "+OK")
            wire.send(b"RETR 1\r\n")
            text = wire.read_all()
            assert b"\r\n.\r\n" not in text
            assert wire.eof != "close_notify"


def test_rule_9_what_is_offered_is_what_the_server_can_do_and_understands(folder):
    words = ("PIPELINING", "SIZE 1000", "STARTTLS", "XCLIENT NAME ADDR", "XFORWARD NAME", "X-NEW",
             "AUTH PLAIN GSSAPI NTLM")
    with Backend(folder / "s.sock", smtp_script(ehlo=words)), in_front_of(folder / "s.sock") as gate:
        with Wire(gate.port("submission")) as wire:
            wire.expect("220")
            wire.send(b"EHLO me.example\r\n")
            lines = [line[4:] for line in wire.reply()][1:]
        assert sorted(lines) == [b"AUTH PLAIN", b"PIPELINING", b"SIZE 1000", b"STARTTLS"]


def test_p2_a_server_that_offers_less_after_its_restart_is_not_promised_for_again(folder):
    with in_front_of(folder / "s.sock", gatepost={"workers": "1"}) as gate:
        with Backend(folder / "s.sock", smtp_script()):
            with Wire(gate.port("smtp")) as wire:
                smtp_session(wire)
        with Backend(folder / "s.sock", smtp_script(ehlo=("PIPELINING", "SIZE 1000"))) as less:
            with Wire(gate.port("smtp")) as wire:
                smtp_session(wire)
                wire.command("MAIL FROM:<a@example.org>", "421 4.3.2")
            ours = [one for one in less.connections if b"relay-test" not in one.received]
            assert all(not line.startswith(b"MAIL") for one in ours for line in one.lines)
            with Wire(gate.port("smtp")) as wire:
                wire.expect("220")
                wire.send(b"EHLO me.example\r\n")
                assert b"CHUNKING" not in b"".join(wire.reply())
                wire.command("MAIL FROM:<a@example.org>", "250")


def test_p10_rule_26_a_server_that_relays_for_a_stranger_gets_no_mail_until_it_is_said_to_be_meant(folder):
    with Backend(folder / "s.sock", smtp_script(relay=True)) as server:
        with in_front_of(folder / "s.sock") as gate:
            with Wire(gate.port("smtp")) as wire:
                smtp_session(wire)
                wire.command("MAIL FROM:<a@example.org>", "554 5.7.1")
            gate.wait_for_log("relays mail of strangers")
        assert not [line for one in server.connections for line in one.lines if b"a@example.org" in line]
        meant = {"address": f"unix:{folder}/s.sock", "trusts_us": "yes"}
        with in_front_of(folder / "s.sock", **{"backend smtp": meant}) as gate:
            with Wire(gate.port("smtp")) as wire:
                smtp_session(wire)
                wire.command("MAIL FROM:<a@example.org>", "250")


def test_p2_a_session_that_needs_no_server_costs_it_no_connection(folder):
    with Backend(folder / "s.sock", smtp_script()) as server, in_front_of(folder / "s.sock") as gate:
        with Wire(gate.port("smtp")) as wire:
            smtp_session(wire)
            wire.command("QUIT", "221")
    assert not [one for one in server.connections if b"me.example" in one.received], "only our own learning came"


def test_rule_14_a_port_that_requires_a_login_before_a_server_without_auth_takes_no_mail(folder):
    with Backend(folder / "s.sock", smtp_script(ehlo=("PIPELINING",))), in_front_of(
            folder / "s.sock", **{"listen submission": {"require_auth": "yes"}}) as gate:
        with Wire(gate.port("submission")) as wire:
            smtp_session(wire)
            wire.command("MAIL FROM:<a@example.org>", "454 4.7.0")
