"""Corners of a session: octets that wait in a buffer, clients and servers that go at the wrong moment."""
import os

import signal
import threading

import pytest

import gatepost as library
import proc
from backend import EHLO_WORDS, Backend, pop3_script, read_proxy_v2, smtp_script
from wire import Wire

CHUNK = 16320  # CHUNK_BYTES of proxy/base/chunk.h: what is held is looked at in such pieces


@pytest.fixture
def folder():
    return library.make_folder("gatepost-b-")


def in_front_of(folder, **over):
    return library.Gatepost({"gatepost": {"workers": 1},
                             "backend smtp": {"address": f"unix:{folder}/smtp.sock", **over},
                             "backend pop3": {"address": f"unix:{folder}/pop3.sock"},
                             "listen smtp": {"detect": "no"}, "listen pop3": {"detect": "no"}})


def sessions_of_clients(backend):
    return [one for one in backend.connections if b"relay-test@example.invalid" not in one.received
            and not one.received.startswith(b"CAPA\r\nQUIT")]


class Stopped:
    """The workers stand still, so that what happens meanwhile meets them at once."""

    def __init__(self, gate):
        self.pids = gate.workers()

    def __enter__(self):
        for pid in self.pids:
            os.kill(pid, signal.SIGSTOP)

    def __exit__(self, *_):
        for pid in self.pids:
            os.kill(pid, signal.SIGCONT)


def test_p1_rule_3_starttls_at_the_end_of_a_held_piece_sees_the_surplus_in_the_next_one(folder):
    with Backend(folder / "smtp.sock", smtp_script()) as smtp, Backend(folder / "pop3.sock", pop3_script()), \
            in_front_of(folder) as gate:
        with Wire(gate.port("smtp")) as wire:
            wire.expect("220")
            wire.command("EHLO me.example", "250")
            wire.command("MAIL FROM:<a@example.org>", "250")
            wire.command("RSET", "250")
            start = b"STARTTLS\r\n"
            wire.send(b"NOOP\r\n" + b"x" * (CHUNK - len(start) - 2) + b"\r\n" + start
                      + b"MAIL FROM:<injected@example.org>\r\n")
            wire.expect("250")
            wire.expect("500")
            wire.expect("554")
            wire.read_all()
            assert wire.eof
        assert b"injected" not in smtp.received


def test_p2_rule_9_a_list_learned_anew_does_not_replace_what_this_session_was_shown(folder):
    less = [word for word in EHLO_WORDS if word != "CHUNKING"]
    with Backend(folder / "pop3.sock", pop3_script()) as _:
        with Backend(folder / "smtp.sock", smtp_script()) as smtp:
            gate = in_front_of(folder)
            gate.start()
            old = Wire(gate.port("smtp"))
            old.expect("220")
            old.command("EHLO old.example", "250")
        del smtp
        with Wire(gate.port("smtp")) as other:  # it finds the server gone, and what was learned is forgotten
            other.expect("220")
            other.command("EHLO other.example", "250")
            other.command("MAIL FROM:<a@example.org>", "421")
        with Backend(folder / "smtp.sock", smtp_script(ehlo=less)) as smtp:
            old.command("MAIL FROM:<a@example.org>", "421")
            old.close()
            assert b"MAIL FROM:<a@example.org>" not in smtp.received
            gate.stop()
        gate.remove()


def test_p3_rule_6_a_client_that_ends_before_the_354_has_vanished(folder):
    go_on = threading.Event()

    def late(wire, connection, line):
        assert go_on.wait(30)
        return b"354 go on"

    with Backend(folder / "smtp.sock", smtp_script(answers={b"DATA": late})) as smtp, \
            Backend(folder / "pop3.sock", pop3_script()), in_front_of(folder) as gate:
        with Wire(gate.port("smtp"), timeout=30) as wire:
            wire.expect("220")
            wire.command("EHLO me.example", "250")
            wire.commands(("MAIL FROM:<a@example.org>", "250"), (f"RCPT TO:<{library.USER}>", "250"))
            wire.send(b"DATA\r\n")
            smtp.wait_received(b"DATA\r\n")
            wire.shut_write()
            go_on.set()
            wire.read_all()
            assert wire.eof
        sessions_of_clients(smtp)[0].wait_done()
        assert not sessions_of_clients(smtp)[0].messages
        gate.wait_idle()


def test_p10_a_client_that_is_gone_is_no_client_without_an_address(folder):
    told = []

    def script(wire, connection):
        told.append(read_proxy_v2(wire, connection)[1])
        smtp_script()(wire, connection)

    with Backend(folder / "smtp.sock", script) as smtp, Backend(folder / "pop3.sock", pop3_script()), \
            in_front_of(folder, identity="proxy-v2") as gate:
        with Wire(gate.port("smtp")) as wire:
            wire.expect("220")
            wire.command("EHLO me.example", "250")
            with Stopped(gate):
                wire.send(b"MAIL FROM:<gone@example.org>\r\n")
                wire.reset()
        gate.wait_for_log("the client is gone|reset")
        gate.wait_idle()
        assert None not in told
        assert b"gone@example.org" not in smtp.received


def test_a_server_that_closes_while_a_large_piece_is_written_ends_the_session_in_words(folder):
    closed, close = threading.Event(), threading.Event()

    def half(wire, connection, line):
        wire.send(b"354 go on\r\n")
        assert close.wait(30)
        connection.socket.close()
        closed.set()
        raise ConnectionResetError

    with Backend(folder / "smtp.sock", smtp_script(answers={b"DATA": half})), \
            Backend(folder / "pop3.sock", pop3_script()), in_front_of(folder) as gate:
        with Wire(gate.port("smtp"), timeout=30) as wire:
            wire.expect("220")
            wire.command("EHLO me.example", "250")
            wire.commands(("MAIL FROM:<a@example.org>", "250"), (f"RCPT TO:<{library.USER}>", "250"), ("DATA", "354"))
            with Stopped(gate):
                wire.send(b"0123456789abcdef\r\n" * 2000)
                close.set()
                assert closed.wait(15)
            wire.expect("421")
            wire.read_all()
            assert wire.eof
        gate.wait_idle()


def test_p8_a_client_that_resets_before_it_is_accepted_leaves_no_session(folder):
    with Backend(folder / "smtp.sock", smtp_script()), Backend(folder / "pop3.sock", pop3_script()), \
            in_front_of(folder) as gate:
        with Stopped(gate):
            for _ in range(5):
                Wire(gate.port("smtp")).reset()
        gate.wait_idle()


def test_a_server_that_closes_at_quit_without_a_goodbye_is_learned_all_the_same(folder):
    def close(wire, connection, line):
        raise ConnectionResetError

    with Backend(folder / "smtp.sock", smtp_script(answers={b"QUIT": close})), \
            Backend(folder / "pop3.sock", pop3_script(answers={b"QUIT": close})), in_front_of(folder) as gate:
        with Wire(gate.port("smtp")) as wire:
            wire.expect("220")
            wire.command("EHLO me.example", "250")
            wire.command("MAIL FROM:<a@example.org>", "250")
        with Wire(gate.port("pop3")) as wire:
            wire.expect("+OK")
            wire.commands(("USER a", "+OK"), ("PASS b", "+OK"))


def test_the_log_names_the_server_of_a_session_that_it_refused(folder):
    with Backend(folder / "smtp.sock", smtp_script(answers={b"HELO": b"421 busy"})), \
            Backend(folder / "pop3.sock", pop3_script()), in_front_of(folder) as gate:
        with Wire(gate.port("smtp")) as wire:
            wire.expect("220")
            wire.command("HELO me.example", "250")
            wire.command("MAIL FROM:<a@example.org>", "421")
        gate.wait_for_log(r"backend=smtp server=unix:\S+ in=.*: the server refused the session")
        with Wire(gate.port("smtp")) as wire:
            wire.expect("220")
            wire.command("QUIT", "221")
        gate.wait_for_log("backend=smtp in=")


def test_p5_a_half_closed_opaque_client_gets_all_and_its_last_octets_arrive(folder):
    size = 3 << 20
    got = []

    def script(wire, connection):
        got.append(len(wire.read_all() or b""))
        wire.send(b"y" * size)

    with Backend(folder / "smtp.sock", smtp_script()), Backend(folder / "pop3.sock", pop3_script()), \
            Backend(folder / "remote.sock", script) as _, in_front_of_remote(folder) as gate:
        with Wire(gate.port("remote"), timeout=30) as wire:
            sender = threading.Thread(target=lambda: (wire.send(b"x" * size), wire.shut_write()))
            sender.start()
            answer = wire.read_all()
            sender.join()
            assert wire.eof == "fin" and len(answer) == size
        assert got == [size]
        gate.wait_idle()


def in_front_of_remote(folder):
    gate = in_front_of(folder)
    gate.sections["backend remote"] = {"address": f"unix:{folder}/remote.sock"}
    gate.write_ini()
    return gate
