"""Port 109 as `protocol = opaque`: a server that speaks first and one that waits, by TLS and in plain."""
import contextlib
import os
import signal
import socket

import pytest

import backend
import gatepost as library
import messages
import servers
from certificates import client_context
from wire import Wire, pop3_session

TLS = pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
EVERYTHING = bytes(range(256)) * 400


def opaque_before(path):
    """The INI of a gate whose port 109 has the server at `path` behind it."""
    listen = {"protocol": "opaque", "backend": "behind", "detect_wait": "300ms"}
    return {"listen remote": listen, "backend behind": {"address": f"unix:{path}"}}


def connect(gate, tls):
    wire = Wire(gate.port("remote"))
    return wire.start_tls(client_context()) if tls else wire


@pytest.fixture(scope="module")
def dovecot():
    with servers.Dovecot({library.USER: [messages.trap_message()]}) as dovecot:
        with library.Gatepost(opaque_before(dovecot.socket)) as gate:
            yield gate, dovecot


@pytest.fixture
def echo(folder):
    with backend.Backend(folder / "echo.sock", backend.echo_script) as echo:
        with library.Gatepost(opaque_before(folder / "echo.sock")) as gate:
            yield gate, echo


@TLS
def test_a_server_that_speaks_first_is_heard_and_its_mail_comes_through_whole(dovecot, tls):
    gate, server = dovecot
    with connect(gate, tls) as wire:
        assert pop3_session(wire, user=library.USER, password=server.password)
        wire.command("RETR 1", "+OK")
        fetched = b"".join(line + b"\r\n" for line in wire.multiline())
        assert not messages.difference(messages.trap_message(), fetched)
        wire.quit()


@TLS
def test_a_server_that_waits_gets_the_first_octets_of_the_client(echo, tls):
    gate, server = echo
    with connect(gate, tls) as wire:
        wire.send(b"first octets, no line end")
        assert wire.read_exactly(25) == b"first octets, no line end"
    assert server.accepted == 1


@TLS
def test_every_octet_value_passes_both_ways(echo, tls):
    gate, server = echo
    with connect(gate, tls) as wire:
        wire.send(b"x")  # a plain stream that begins with 0x16 would be TLS
        assert wire.read_exactly(1) == b"x"
        wire.send(EVERYTHING)
        assert wire.read_exactly(len(EVERYTHING)) == EVERYTHING
    assert server.connections[0].wait_done().received == b"x" + EVERYTHING


@TLS
def test_the_clients_half_close_passes_and_the_server_goes_on_speaking(echo, tls):
    gate, server = echo
    with connect(gate, tls) as wire:
        wire.send(b"before the end")
        wire.shut_write()
        assert wire.read_all() == b"before the end<end>"
        assert wire.eof == ("close_notify" if tls else "fin")
    assert server.connections[0].wait_done().ended == "fin"


@TLS
def test_the_servers_half_close_passes_and_the_client_goes_on_speaking(folder, tls):
    def script(wire, connection):
        wire.send(b"that is all from me")
        wire.shut_write()
        connection.rest = wire.read_all()

    with backend.Backend(folder / "s.sock", script) as server:
        with library.Gatepost(opaque_before(folder / "s.sock")) as gate, connect(gate, tls) as wire:
            assert wire.read_all() == b"that is all from me"
            wire.eof = None  # what follows is for our direction
            wire.send(b"but not from me")
            wire.shut_write()
            assert server.connections[0].wait_done().rest == b"but not from me"


@TLS
def test_a_client_that_speaks_on_to_a_server_that_is_gone_is_ended(folder, tls):
    with backend.Backend(folder / "s.sock", lambda wire, _: wire.read_exactly(5)) as server:
        with library.Gatepost(opaque_before(folder / "s.sock")) as gate, connect(gate, tls) as wire:
            wire.send(b"hello")
            assert wire.at_eof()
            server.connections[0].wait_done()
            with pytest.raises((BrokenPipeError, ConnectionResetError)):
                for _ in range(1000):
                    wire.send(b"and so on " * 6000)


def test_a_client_that_resets_right_behind_its_octets_leaves_no_connection_to_the_server():
    with socket.create_server(("127.0.0.1", 0)) as listening:
        over = opaque_before("") | {"gatepost": {"workers": 1}}
        over["backend behind"] = {"address": "127.0.0.1:%d" % listening.getsockname()[1]}
        with library.Gatepost(over) as gate:
            wire, worker = Wire(gate.port("remote")), gate.workers()[0]
            os.kill(worker, signal.SIGSTOP)  # octets and reset are one event for it
            wire.send(b"octets")
            wire.reset()
            os.kill(worker, signal.SIGCONT)
            listening.settimeout(30)
            connection, _ = listening.accept()
            connection.settimeout(30)
            with connection, contextlib.suppress(ConnectionResetError):
                while connection.recv(100):
                    pass
            gate.wait_idle()


def test_a_silent_client_is_plain_after_detect_wait(folder):
    with backend.Backend(folder / "s.sock", lambda wire, _: (wire.send(b"hello"), wire.read_all())) as server:
        with library.Gatepost(opaque_before(folder / "s.sock")) as gate, Wire(gate.port("remote")) as wire:
            assert wire.read_exactly(5) == b"hello"
        assert server.accepted == 1


@TLS
def test_an_absent_server_ends_the_connection_and_is_named_in_the_log(folder, tls):
    with library.Gatepost(opaque_before(folder / "nobody.sock")) as gate:
        with connect(gate, tls) as wire:
            wire.send(b"x")
            assert wire.at_eof()
        gate.wait_for_log("nobody.sock|behind")
