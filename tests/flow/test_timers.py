"""Every timer that is a setting, with a small value: it ends the session, in the right words, and never
delivers or deletes.

Nothing here measures time: a test waits until the timer has done its work."""
import threading

import pytest

import gatepost as library
from backend import Backend, pop3_script, smtp_script
from certificates import client_context
from wire import Wire, pop3_session, smtp_session

ENVELOPE = (("MAIL FROM:<bert@example.org>", "250"), (f"RCPT TO:<{library.USER}>", "250"))


@pytest.fixture()
def folder():
    return library.make_folder("gatepost-b-")


def impatient(*timers, **over):
    """Gatepost whose `timers` run for half a second; `over`: further sections."""
    over["limits"] = {**{timer: "500ms" for timer in timers}, **over.get("limits", {})}
    return library.Gatepost(over)


def in_front_of(path, *timers, **over):
    address = {"address": f"unix:{path}"}
    return impatient(*timers, **{"backend smtp": address, "backend pop3": address, **over})


def ours(backend):
    """Connections that carry a client, not the proxy's own learning."""
    return [one for one in backend.connections if b"me.example" in one.received or b"USER anna" in one.received]


def test_rule_1_a_handshake_that_does_not_go_on_is_given_up():
    with impatient("handshake_timeout") as gate:
        with Wire(gate.port("pop3s")) as wire:
            hello = wire.begin_tls(client_context())
            wire.send_raw(hello[:40])
            assert wire.at_eof()
        with Wire(gate.port("smtp")) as wire:
            wire.expect("220")
            wire.command("EHLO me.example", "250")
            wire.command("STARTTLS", "220")
            assert wire.at_eof(), "and nothing in clear behind 220"
        gate.wait_for_log("longer than handshake_timeout", count=2)


@pytest.mark.parametrize("port, words", [("smtp", b"421 4.4.2"), ("pop3", b"")])
def test_rule_1_one_line_may_not_take_longer_than_line_timeout(port, words):
    with impatient("line_timeout") as gate, Wire(gate.port(port)) as wire:
        wire.read_until(b"\r\n")
        wire.send(b"NO")
        assert wire.read_all().startswith(words)
        assert wire.eof == "fin"
        gate.wait_for_log("a line took longer than line_timeout")


def test_rule_1_octets_that_trickle_do_not_make_a_line_younger():
    with impatient("line_timeout") as gate, Wire(gate.port("smtp")) as wire:
        wire.expect("220")
        while not wire.eof and wire.silent(0.1):
            wire.send(b"N")
        assert wire.read_all().startswith(b"421 4.4.2")


@pytest.mark.parametrize("kind", ["plain", "starttls", "implicit"])
def test_rule_1_smtp_without_a_command_is_421_before_a_server_is_needed(kind):
    with impatient("smtp_command_timeout") as gate, Wire(gate.port("submission")) as wire:
        smtp_session(wire, client_context(), kind)
        assert wire.line().startswith(b"421 4.4.2")
        assert wire.at_eof()
        assert wire.eof == ("fin" if kind == "plain" else "close_notify")
        gate.wait_for_log("no command in time")


def test_rule_1_smtp_without_a_command_is_421_while_relaying_and_no_quit_is_made_up(folder):
    with Backend(folder / "s.sock", smtp_script()) as server:
        with in_front_of(folder / "s.sock", "smtp_command_timeout") as gate, Wire(gate.port("smtp")) as wire:
            smtp_session(wire).commands(*ENVELOPE)
            assert wire.line().startswith(b"421 4.4.2")
            assert wire.at_eof()
            assert ours(server)[0].wait_done().lines[-1].startswith(b"RCPT"), "closed without QUIT"


def test_rule_1_half_a_message_and_silence_delivers_nothing(folder):
    with Backend(folder / "s.sock", smtp_script()) as server:
        with in_front_of(folder / "s.sock", "smtp_command_timeout") as gate, Wire(gate.port("smtp")) as wire:
            smtp_session(wire).commands(*ENVELOPE, ("DATA", "354"))
            wire.send(b"Subject: half\r\n\r\nhalf a message\r\n")
            wire.read_all()
            assert wire.eof
            connection = ours(server)[0].wait_done()
            assert connection.messages == []
            assert not connection.received.endswith(b"\r\n.\r\n"), "no final dot is made up"
            gate.wait_for_log("nothing came in time")


def test_rule_1_a_server_that_never_answers_the_final_dot_is_421_and_closed(folder):
    def swallow(wire, connection, _):
        wire.send(b"354 Go on\r\n")
        wire.read_until(b"\r\n.\r\n")
        wire.read_all()
        raise ConnectionResetError

    with Backend(folder / "s.sock", smtp_script(answers={b"DATA": swallow})) as server:
        with in_front_of(folder / "s.sock", "smtp_reply_timeout") as gate, Wire(gate.port("smtp")) as wire:
            smtp_session(wire).commands(*ENVELOPE, ("DATA", "354"))
            wire.command("Subject: lost\r\n\r\nbody\r\n.", "421 4.4")
            assert wire.at_eof()
            ours(server)[0].wait_done()
            gate.wait_for_log("the server owed a reply for too long")


def test_rule_1_pop3_without_a_command_before_login_is_closed():
    with impatient("pop3_command_timeout") as gate:
        for kind, end in (("plain", "fin"), ("starttls", "close_notify"), ("implicit", "close_notify")):
            with Wire(gate.port("pop3")) as wire:
                pop3_session(wire, client_context(), kind)
                assert wire.at_eof()
                assert wire.eof == end
        gate.wait_for_log("no command in time", count=3)


def test_rule_23_pop3_after_login_is_closed_without_update():
    with impatient("pop3_idle_timeout") as gate:
        with Wire(gate.port("smtp")) as wire:
            smtp_session(wire).commands(*ENVELOPE, ("DATA", "354"), ("Subject: kept\r\n\r\nbody\r\n.", "250"))
            wire.quit()
        with Wire(gate.port("pop3")) as wire:
            pop3_session(wire, user=library.USER, password=gate.password)
            wire.command("DELE 1", "+OK")
            assert wire.at_eof(), "nothing that looks like an answer (RFC 1939 section 3)"
        gate.wait_for_log("no command in time")
        gate.wait_idle()
        assert len(gate.messages()) == 1


def test_rule_23_the_server_hears_no_quit_when_the_idle_timer_ends_a_session(folder):
    updates = []
    with Backend(folder / "p.sock", pop3_script(on_update=updates.append)) as server:
        with in_front_of(folder / "p.sock", "pop3_idle_timeout") as gate, Wire(gate.port("pop3")) as wire:
            pop3_session(wire, user="anna", password="secret")
            wire.command("DELE 1", "+OK")
            assert wire.at_eof()
            assert ours(server)[0].wait_done().lines[-1] == b"DELE 1"
    assert {1} not in updates


def test_rule_1_a_pop3_server_that_owes_a_reply_too_long_is_sys_temp(folder):
    def silent(wire, connection, _):
        wire.read_all()
        raise ConnectionResetError

    with Backend(folder / "p.sock", pop3_script(answers={b"STAT": silent})):
        with in_front_of(folder / "p.sock", "pop3_idle_timeout") as gate, Wire(gate.port("pop3")) as wire:
            pop3_session(wire, user="anna", password="secret")
            wire.command("STAT", "-ERR [SYS/TEMP]")
            assert wire.at_eof()


def test_rule_1_silence_on_an_opaque_port_ends_both_sides(folder):
    def listen(wire, connection):
        wire.read_all()

    with Backend(folder / "o.sock", listen) as server:
        over = {"backend other": {"address": f"unix:{folder}/o.sock"},
                "listen other": {"port": "1234", "protocol": "opaque", "backend": "other", "detect_wait": "10ms"}}
        with impatient("opaque_idle_timeout", **over) as gate, Wire(gate.port("other")) as wire:
            wire.send(b"hello")
            assert wire.at_eof()
            assert server.wait_accepted(1).wait_done().received == b"hello"
            gate.wait_for_log("silence on both sides")


LARGE = b"Subject: large\r\n\r\n" + (b"x" * 70 + b"\r\n") * 250_000


@pytest.mark.parametrize("kind", ["plain", "implicit"])
def test_rule_1_p8_a_client_that_does_not_read_is_cut_off(folder, kind):
    with Backend(folder / "p.sock", pop3_script(messages=(LARGE,))) as server:
        with in_front_of(folder / "p.sock", "write_timeout") as gate, Wire(gate.port("pop3")) as wire:
            pop3_session(wire, client_context(), kind, "anna", "secret")
            wire.send(b"RETR 1\r\n")
            gate.wait_for_log("the client does not read")
            ours(server)[0].wait_done()


def test_rule_1_a_peer_that_read_slowly_may_idle_as_long_as_others(folder):
    """The write timer is over when the octets have gone: what follows is idleness, not a stalled write. Of these
    messages, each of another size, some leave their last octets waiting in the gate until the server reads on."""
    go_on = threading.Event()

    def slow(wire, connection, _):
        wire.send(b"354 Go on\r\n")
        go_on.wait(30)
        wire.read_all()
        raise ConnectionResetError

    def script(wire, connection):
        smtp_script(answers={b"DATA": slow})(wire, connection)

    limits = {"write_timeout": "3s", "smtp_command_timeout": "1h"}
    with Backend(folder / "s.sock", script):
        with in_front_of(folder / "s.sock", limits=limits, **{"listen smtp": {"detect_wait": "1ms"}}) as gate:
            wires = [smtp_session(Wire(gate.port("smtp"))).commands(*ENVELOPE, ("DATA", "354")) for _ in range(24)]
            for number, wire in enumerate(wires):
                wire.send(LARGE[:120_000 + 8_000 * number])
            assert wires[0].silent(0.5)
            go_on.set()
            assert wires[0].silent(4) and all(wire.silent(0) for wire in wires), "all still there"
            for wire in wires:
                wire.reset()


def test_rule_1_an_opaque_client_that_does_not_read_is_cut_off(folder):
    def flood(wire, connection):
        wire.send(LARGE)

    with Backend(folder / "o.sock", flood) as server:
        over = {"backend other": {"address": f"unix:{folder}/o.sock"},
                "listen other": {"port": "1234", "protocol": "opaque", "backend": "other", "detect_wait": "10ms"}}
        with impatient("write_timeout", **over) as gate, Wire(gate.port("other")):
            gate.wait_for_log("the client does not read")
            server.wait_accepted(1).wait_done()


def test_rule_1_a_server_that_does_not_read_a_message_is_given_up(folder):
    def stuck(wire, connection, _):
        wire.send(b"354 Go on\r\n")
        connection.stop.wait(60)
        raise ConnectionResetError

    stop = threading.Event()

    def script(wire, connection):
        connection.stop = stop
        smtp_script(answers={b"DATA": stuck})(wire, connection)

    with Backend(folder / "s.sock", script):
        with in_front_of(folder / "s.sock", "write_timeout") as gate, Wire(gate.port("smtp")) as wire:
            smtp_session(wire).commands(*ENVELOPE, ("DATA", "354"))
            try:
                wire.send(LARGE)
            except OSError:
                pass  # the gate has closed by now, or will
            gate.wait_for_log("the server does not read")
            stop.set()
