"""TERM, from every state that a session can be in: nobody is cut off inside a message, everybody hears why
(rules 8, 17; P3, P4)."""
import os
import re
import signal
import subprocess

import pytest

import gatepost as library
import proc
from backend import Backend, pop3_script, smtp_script
from certificates import client_context
from wire import Wire, pop3_session, smtp_session

ENVELOPE = (("MAIL FROM:<bert@example.org>", "250"), (f"RCPT TO:<{library.USER}>", "250"))
LONG = {"gatepost": {"drain_timeout": "60s"}}


def term(gate):
    gate.process.send_signal(signal.SIGTERM)


def ended(gate):
    """The exit code; no process and no socket file is left (stop() looks again, and asks the sanitizers)."""
    family = proc.children(gate.process.pid)
    code = gate.process.wait(30)
    proc.wait_until(lambda: not any(map(proc.alive, family)), 10, "the end of all processes")
    assert not [path for path in gate.run.rglob("*") if path.is_socket()]
    return code


@pytest.mark.parametrize("port, words", [("smtp", b"421 4.3.2"), ("submission", b"421 4.3.2"),
                                         ("pop3", b"-ERR [SYS/TEMP]")])
@pytest.mark.parametrize("kind", ["plain", "starttls", "implicit"])
def test_rule_8_who_negotiates_hears_that_the_gate_closes(port, words, kind):
    session = pop3_session if port == "pop3" else smtp_session
    with library.Gatepost(LONG) as gate, Wire(gate.port(port)) as wire:
        session(wire, client_context(), kind)
        term(gate)
        assert wire.line().startswith(words)
        assert wire.at_eof()
        assert wire.eof == ("fin" if kind == "plain" else "close_notify")
        assert ended(gate) == 0


@pytest.mark.parametrize("kind", ["plain", "implicit"])
def test_p4_rule_17_a_session_inside_data_finishes_and_its_message_is_on_disk(kind):
    with library.Gatepost(LONG) as gate, Wire(gate.port("smtp")) as wire:
        smtp_session(wire, client_context(), kind).commands(*ENVELOPE, ("DATA", "354"))
        wire.send(b"Subject: last\r\n")
        term(gate)
        gate.wait_for_log("gatepost: ending")
        assert wire.silent(0.3), "nothing is said inside a message"
        wire.command("\r\nbody\r\n.", "250")
        assert wire.line().startswith(b"421 4.3.2"), "but behind its end"
        assert wire.at_eof()
        assert ended(gate) == 0
        (message,) = gate.messages()
        assert message.endswith(b"\r\n\r\nbody\r\n")


def test_rule_17_a_transaction_between_commands_is_told_421_and_delivers_nothing():
    with library.Gatepost(LONG) as gate, Wire(gate.port("smtp")) as wire:
        smtp_session(wire).commands(*ENVELOPE)
        term(gate)
        assert wire.line().startswith(b"421 4.3.2")
        assert wire.at_eof()
        assert ended(gate) == 0
        assert gate.messages() == []


def test_p3_a_pop3_session_that_has_deleted_is_told_and_nothing_is_deleted():
    with library.Gatepost(LONG) as gate:
        with Wire(gate.port("smtp")) as wire:
            smtp_session(wire).commands(*ENVELOPE, ("DATA", "354"), ("Subject: kept\r\n\r\nbody\r\n.", "250"))
            wire.quit()
        with Wire(gate.port("pop3")) as wire:
            pop3_session(wire, user=library.USER, password=gate.password)
            wire.command("DELE 1", "+OK")
            term(gate)
            assert wire.line().startswith(b"-ERR [SYS/TEMP]")
            assert wire.at_eof()
        assert ended(gate) == 0
        assert len(gate.messages()) == 1


def test_who_is_awaited_in_silence_or_in_a_handshake_or_for_a_server_is_answered_and_let_go():
    folder = library.make_folder("gatepost-b-")
    go_on = []

    def slow(wire, connection):
        if connection.number > gate_learned[0]:
            proc.wait_until(lambda: go_on, 20, "the test's word")

    gate_learned = [10 ** 9]
    with Backend(folder / "s.sock", smtp_script(before_greeting=slow)) as server:
        over = {"backend smtp": {"address": f"unix:{folder}/s.sock"}, "listen smtp": {"detect_wait": "30s"}, **LONG}
        with library.Gatepost(over) as gate:
            with Wire(gate.port("submission")) as wire:
                smtp_session(wire).quit()
            proc.wait_until(lambda: server.accepted >= 4 and all(one.done.is_set() for one in server.connections), 15,
                            "the end of all learning")
            gate_learned[0] = server.accepted
            with Wire(gate.port("smtp")) as silent, Wire(gate.port("submission")) as shaking, \
                    Wire(gate.port("submission")) as waiting:
                smtp_session(waiting).send(b"MAIL FROM:<bert@example.org>\r\n")
                smtp_session(shaking).command("STARTTLS", "220")
                server.wait_accepted(gate_learned[0] + 1)
                term(gate)
                assert silent.line().startswith(b"421 4.3.2")
                go_on.append(True)
                waiting.expect("250")
                waiting.expect("421 4.3.2")
                assert shaking.start_tls(client_context()).line().startswith(b"421 4.3.2")
                assert ended(gate) == 0


def test_p3_after_drain_timeout_even_a_message_is_cut_and_no_dot_is_made_up():
    folder = library.make_folder("gatepost-b-")
    with Backend(folder / "s.sock", smtp_script()) as server:
        over = {"backend smtp": {"address": f"unix:{folder}/s.sock"}, "gatepost": {"drain_timeout": "500ms"}}
        with library.Gatepost(over) as gate, Wire(gate.port("smtp")) as wire:
            smtp_session(wire).commands(*ENVELOPE, ("DATA", "354"))
            wire.send(b"Subject: cut\r\n\r\nbody\r\n")
            term(gate)
            wire.read_all()
            assert wire.eof
            assert ended(gate) == 0
            gate.wait_for_log("drain_timeout has passed")
        (connection,) = [one for one in server.connections if b"Subject: cut" in one.received]
        assert connection.wait_done().messages == []
        assert b"\r\n.\r\n" not in connection.received and b"QUIT" not in connection.received


def test_a_second_term_ends_at_once_whoever_is_in_the_middle_of_what():
    with library.Gatepost({"gatepost": {"drain_timeout": "1h"}}) as gate:
        with Wire(gate.port("smtp")) as wire:
            smtp_session(wire).commands(*ENVELOPE, ("DATA", "354"))
            term(gate)
            gate.wait_for_log("a second signal ends at once")
            assert gate.process.poll() is None
            term(gate)
            assert ended(gate) == 0
            assert gate.messages() == []


def test_an_opaque_session_may_go_on_until_drain_timeout():
    folder = library.make_folder("gatepost-b-")

    def echo(wire, connection):
        while True:
            octets = wire.read()
            if not octets:
                return
            wire.send(octets)

    with Backend(folder / "o.sock", echo):
        over = {"backend other": {"address": f"unix:{folder}/o.sock"}, **LONG,
                "listen other": {"port": "1234", "protocol": "opaque", "backend": "other", "detect_wait": "10ms"}}
        with library.Gatepost(over) as gate, Wire(gate.port("other")) as wire:
            wire.send(b"one")
            assert wire.read_exactly(3) == b"one"
            term(gate)
            gate.wait_for_log("gatepost: ending")
            wire.send(b"two")
            assert wire.read_exactly(3) == b"two"
            wire.close()
            assert ended(gate) == 0


def test_a_second_gatepost_names_the_port_and_its_owner_and_the_first_lives_on():
    with library.Gatepost() as gate:
        second = gate.folder / "second.ini"
        text = gate.ini.read_text().replace(f"runtime_dir = {gate.run}", f"runtime_dir = {gate.folder}/run2")
        assert "run2" in text
        second.write_text(text)
        result = subprocess.run([library.PROXY, "-c", second], capture_output=True, text=True, timeout=60,
                                cwd=gate.folder, env=gate.environment)
        words = result.stdout + result.stderr
        assert result.returncode != 0
        for port in ("pop3", "smtp", "submission"):
            assert re.search(rf"\b{gate.port(port)}\b.*(in use|gatepost)", words), words
        assert f"{gate.process.pid}" in words, words
        assert not [path for path in (gate.folder / "run2").rglob("*") if path.is_socket()]
        with Wire(gate.port("smtp")) as wire:
            smtp_session(wire).commands(*ENVELOPE, ("DATA", "354"), ("Subject: still\r\n\r\nhere\r\n.", "250"))
            wire.quit()
        assert len(gate.messages()) == 1


def test_a_second_gatepost_with_the_same_folders_disturbs_nothing():
    with library.Gatepost() as gate:
        result = subprocess.run([library.PROXY, "-c", gate.ini], capture_output=True, text=True, timeout=60,
                                cwd=gate.folder, env=gate.environment)
        assert result.returncode != 0
        with Wire(gate.port("pop3")) as wire:
            pop3_session(wire, user=library.USER, password=gate.password).quit()


@pytest.mark.skipif(not library.has_ipv6(), reason="this machine has no IPv6")
@pytest.mark.parametrize("port", ["smtp", "pop3", "pop3s"])
def test_the_listener_of_ipv6_serves_and_hears_the_end_too(port):
    with library.Gatepost(LONG) as gate, Wire(gate.port(port), host="::1") as wire:
        if port == "pop3s":
            pop3_session(wire, client_context(), "implicit", library.USER, gate.password)
        elif port == "pop3":
            pop3_session(wire, client_context(), "starttls", library.USER, gate.password)
        else:
            smtp_session(wire, client_context(), "starttls").commands(*ENVELOPE)
        term(gate)
        assert wire.line()[:4] in (b"421 ", b"-ERR")
        assert ended(gate) == 0
        assert re.search(r"client \[::1\]:\d+", gate.log())


def test_a_connection_in_the_queue_of_the_kernel_is_not_served_by_a_gate_that_ends():
    with library.Gatepost({"gatepost": {"drain_timeout": "60s", "workers": "1"}}) as gate:
        with Wire(gate.port("smtp")) as busy:
            smtp_session(busy).commands(*ENVELOPE, ("DATA", "354"))
            (worker,) = gate.workers()
            os.kill(worker, signal.SIGSTOP)
            try:
                queued = Wire(gate.port("smtp"))
                term(gate)
                gate.wait_for_log("gatepost: ending")
            finally:
                os.kill(worker, signal.SIGCONT)
            octets = queued.read_all()
            assert octets == b"" or octets.startswith(b"421 4.3.2"), octets
            queued.socket.close()
            busy.command("Subject: x\r\n\r\nbody\r\n.", "250")
            assert ended(gate) == 0
