"""A fixed script of sessions through one worker, for what counts exactly: flow/test_counters.py, tools/bench/callgrind.

    with counted.world(make_meter) as world:
        rows = counted.play(world)           {row: what the meter said of it}

A meter, make_meter(world), has begin(), end(row), close(), and has_stopped(), which is asked again and again after SIGSTOP.

The same happens each time. There is one worker; each step waits until all of it has arrived, and until the worker sleeps.
What is larger than a segment is put into the socket while the worker is stopped (SIGSTOP), so that it finds it there in one
piece, and it is never so much that the kernel would refuse a write."""
import contextlib
import os
import queue
import shutil
import signal
import ssl

import certificates
import gatepost as library
import proc
from backend import Backend, Gone, pop3_script, smtp_script
from wire import Wire

LINE = b"x" * 62 + b"\r\n"
SMALL = b"Subject: small\r\n\r\n" + LINE * 64
PIECE = LINE * 960  # 60 KiB: fits into one read, and into what TCP takes at once
PIECES = 16
ENVELOPE = (("MAIL FROM:<bert@example.org>", "250"), (f"RCPT TO:<{library.USER}>", "250"), ("DATA", "354"))


class Pieces:
    """The server's side of a large RETR: sends what the test hands it, when it does."""

    def __init__(self):
        self.wanted, self.sent = queue.Queue(), queue.Queue()

    def __call__(self, wire, _, line):
        if line != b"RETR 2":
            return None
        while (octets := self.wanted.get(timeout=60)) is not None:
            wire.send(octets)
            self.sent.put(len(octets))
        return b"."

    def send(self, octets):
        self.wanted.put(octets)
        self.sent.get(timeout=60)


class Farewell:
    """A server's answer to QUIT; it closes when it is told to."""

    def __init__(self, answer):
        self.answer, self.go = answer, queue.Queue()

    def __call__(self, wire, *_):
        wire.send(self.answer)
        self.go.get(timeout=60)
        raise Gone


class World:
    """One worker, its servers, and a meter."""

    def __init__(self, gate, pop3, smtp, trusted):
        self.gate, self.pop3, self.smtp = gate, pop3, smtp
        self.context, self.context_12 = (ssl.create_default_context(cadata=trusted) for _ in range(2))
        self.context_12.maximum_version = ssl.TLSVersion.TLSv1_2
        (self.worker,) = [pid for pid, words in gate.processes().items() if words.endswith(" --worker")]
        for server in (pop3, smtp):
            for number in (1, 2):
                server.wait_accepted(number, 60).wait_done()
        self.settle()
        self.descriptors = proc.descriptor_count(self.worker)

    def _state(self):
        with open(f"/proc/{self.worker}/stat") as stat:
            return stat.read().rsplit(")", 1)[1].split()[0]

    def settle(self):
        """Until the worker waits for the next event."""
        proc.wait_until(lambda: self._state() == "S", 30, "the worker sleeps")

    @contextlib.contextmanager
    def stopped(self):
        self.settle()
        os.kill(self.worker, signal.SIGSTOP)
        try:
            proc.wait_until(lambda: self._state() in "Tt" and self.meter.has_stopped(), 30, "the worker has stopped")
            yield
        finally:
            os.kill(self.worker, signal.SIGCONT)

    @contextlib.contextmanager
    def row(self, name, ends=False):
        """What happens inside is measured. `ends`: all connections end there."""
        self.settle()
        self.meter.begin()
        yield
        if ends:
            proc.wait_until(lambda: proc.descriptor_count(self.worker) == self.descriptors, 30, "all is closed")
        self.settle()
        self.rows[name] = self.meter.end(name)


def tls_sessions(world):
    with world.row("TLS 1.3, greeting, QUIT", ends=True), Wire(world.gate.port("pop3s")) as wire:
        wire.start_tls(world.context).expect("+OK")
        ticket = wire.tls.session
        wire.quit()
    with world.row("TLS 1.3 resumed, greeting, QUIT", ends=True), Wire(world.gate.port("pop3s")) as wire:
        wire.session = ticket
        wire.start_tls(world.context).expect("+OK")
        assert wire.tls.session_reused
        wire.quit()
    with world.row("TLS 1.2, greeting, QUIT", ends=True), Wire(world.gate.port("pop3s")) as wire:
        wire.start_tls(world.context_12).expect("+OK")
        wire.quit()


def plain_session(world):
    with world.row("plain POP3, CAPA, QUIT", ends=True), Wire(world.gate.port("pop3")) as wire:
        wire.expect("+OK")
        wire.command("CAPA", "+OK")
        wire.multiline()
        wire.quit()


def pop3_session(world):
    with contextlib.ExitStack() as stack:
        with world.row("POP3: TLS 1.3, greeting, login"):
            wire = stack.enter_context(Wire(world.gate.port("pop3s")))
            wire.start_tls(world.context).expect("+OK")
            wire.commands(("USER anna", "+OK"), ("PASS secret", "+OK"))
        with world.row("POP3: 64 NOOP"):
            wire.commands(*[("NOOP", "+OK")] * 64)
        with world.row("POP3: RETR of 4 KiB"):
            wire.command("RETR 1", "+OK")
            wire.multiline()
        with world.row("POP3: RETR of 16 x 60 KiB"):
            retrieve_pieces(world, wire)
        with world.row("POP3: QUIT", ends=True):
            quit_both(world, wire, "+OK")


def retrieve_pieces(world, wire):
    wire.send(b"RETR 2\r\n")
    for octets in [b"+OK\r\n"] + [PIECE] * PIECES:
        with world.stopped():
            world.pieces.send(octets)
        assert wire.read_exactly(len(octets)) == octets
    world.pieces.wanted.put(None)
    assert wire.read_exactly(3) == b".\r\n"


def smtp_session(world):
    with contextlib.ExitStack() as stack:
        with world.row("SMTP: STARTTLS, AUTH"):
            wire = stack.enter_context(Wire(world.gate.port("submission")))
            wire.expect("220")
            wire.commands(("EHLO me.example", "250"), ("STARTTLS", "220"))
            wire.start_tls(world.context)
            while not wire.tls.session.has_ticket:  # it answers our Finished
                wire.receive()
            wire.commands(("EHLO me.example", "250"), ("AUTH PLAIN AGFubmEAc2VjcmV0", "235"))
        with world.row("SMTP: DATA of 4 KiB"):
            wire.commands(*ENVELOPE)
            wire.command(SMALL + b".", "250")
        with world.row("SMTP: DATA of 16 x 60 KiB"):
            wire.commands(*ENVELOPE)
            send_pieces(world, wire)
        with world.row("SMTP: QUIT", ends=True):
            quit_both(world, wire, "221")


def quit_both(world, wire, answer):
    wire.command("QUIT", answer)
    world.settle()
    world.farewell[answer].go.put(True)
    assert wire.at_eof()
    wire.vanish()


def send_pieces(world, wire):
    server = world.smtp.connections[-1]
    for octets in [PIECE] * PIECES:
        expected = len(server.received) + len(octets)
        with world.stopped():
            wire.send(octets)
        proc.wait_until(lambda: len(server.received) == expected, 30, "the piece is at the server")
    wire.command(".", "250")


def play(world):
    world.rows = {}
    tls_sessions(world)
    plain_session(world)
    pop3_session(world)
    smtp_session(world)
    return world.rows


def certificate(folder):
    """An ECDSA certificate, as most have today: its settings, and what a client trusts."""
    pair = certificates.self_signed(certificates.NAMES)
    for name, pem in zip(("ec.pem", "ec-key.pem"), pair):
        (folder / name).write_bytes(pem)
    (folder / "ec-key.pem").chmod(0o600)
    return {"certificate": folder / "ec.pem", "key": folder / "ec-key.pem"}, pair[0].decode()


@contextlib.contextmanager
def world(make_meter, sections=None, **gatepost):
    """`sections`: laid over ours. `gatepost`: more arguments for Gatepost."""
    folder = library.make_folder()
    pieces, farewell = Pieces(), {"+OK": Farewell(b"+OK bye\r\n"), "221": Farewell(b"221 bye\r\n")}
    pair, trusted = certificate(folder)
    pop3 = pop3_script(messages=(SMALL, b"in pieces"), answers={b"RETR": pieces, b"QUIT": farewell["+OK"]})
    smtp = smtp_script(proxy=True, answers={b"QUIT": farewell["221"]})
    ours = {
        "gatepost": {"workers": 1},
        "tls default": pair,
        "backend pop3": {"address": f"unix:{folder}/pop3.sock"},
        "backend smtp": {"address": f"unix:{folder}/smtp.sock", "identity": "proxy-v2"},
    }
    with Backend(folder / "pop3.sock", pop3) as pop3, Backend(folder / "smtp.sock", smtp) as smtp:
        with library.Gatepost(library.overlay(ours, sections), users=(), **gatepost) as gate:
            for answer in farewell.values():  # what the servers can do is learned, in clear and under TLS
                answer.go.put(True)
                answer.go.put(True)
            world = World(gate, pop3, smtp, trusted)
            world.pieces, world.farewell = pieces, farewell
            world.meter = make_meter(world)
            yield world
            world.meter.close()
    shutil.rmtree(folder, ignore_errors=True)
