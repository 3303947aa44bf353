"""What a fixed script of sessions costs a worker, by its own counters (gatepostctl stats) and by its system calls (strace),
compared exactly with counters.json: a change that reads, writes, copies, allocates or calls the kernel more often than
before fails here, in the commit that makes it.

Where that is meant, or something has become cheaper, write the table anew and commit it with the change:

    /usr/bin/python3 -m pytest flow/test_counters.py --update

Exact numbers need that the same happens each time. There is one worker; each step waits until all of it has arrived, and
until the worker sleeps. What is larger than a segment is put into the socket while the worker is stopped (SIGSTOP), so that
it finds it there in one piece, and it is never so much that the kernel would refuse a write. The script runs once
unmeasured, for what is taken once and kept. Not compared: octets copied in handshakes, as signatures and tickets differ in
size; epoll_wait, which depends on how often the worker falls asleep; recvmsg, the supervisor's word."""
import collections
import contextlib
import json
import os
import pathlib
import queue
import re
import signal
import ssl
import subprocess
import warnings

import pytest

import certificates
import gatepost as library
import proc
from backend import Backend, Gone, pop3_script, smtp_script
from ctl import Ctl
from wire import Wire

HOW = "run flow/test_counters.py with --update, look at what changed, and commit it with its cause"
TABLE = pathlib.Path(__file__).with_name("counters.json")
CALLS = "%network,read,readv,write,writev,close,epoll_ctl,ioctl,fcntl,getpid,getrandom"
COUNTERS = ("sessions", "connects", "reads", "writes", "octets_copied", "allocations", "allocations_openssl")
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


class Trace:
    """The worker's system calls, as strace sees them; it writes each line when the call is done."""

    def __init__(self, pid, path):
        self.path, self.offset, self.stops = path, 0, 0
        with open(path.with_suffix(".said"), "wb") as said:
            self.tracer = subprocess.Popen(["strace", "-p", str(pid), "-e", f"trace={CALLS}", "-o", path], stderr=said)
        proc.wait_until(lambda: b"attached" in path.with_suffix(".said").read_bytes(), 30, "strace sees the worker")

    def calls(self):
        """{name: how many}, since the last call of this."""
        octets = self.path.read_bytes()
        part, self.offset = octets[self.offset:].decode(), len(octets)
        return dict(sorted(collections.Counter(re.findall(r"^(?!recvmsg)(\w+)\(", part, re.M)).items()))

    def stopped(self):
        """Has it seen one more stop than when it was asked last?"""
        stops = self.path.read_text(errors="replace").count("--- stopped by SIGSTOP ---")
        more, self.stops = stops > self.stops, stops
        return more

    def end(self):
        self.tracer.terminate()  # it lets the worker go
        self.tracer.wait(30)


class World:
    """One worker, its servers, and the look at its counters."""

    def __init__(self, gate, pop3, smtp, trusted):
        self.gate, self.pop3, self.smtp = gate, pop3, smtp
        self.context, self.context_12 = (ssl.create_default_context(cadata=trusted) for _ in range(2))
        self.context_12.maximum_version = ssl.TLSVersion.TLSv1_2
        self.ctl, self.rows = Ctl(gate), {}
        (self.worker,) = gate.workers()
        for server in (pop3, smtp):
            for number in (1, 2):
                server.wait_accepted(number, 30).wait_done()
        self.settle()
        self.descriptors = proc.descriptor_count(self.worker)
        self.trace = Trace(self.worker, gate.folder / "strace")

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
            proc.wait_until(lambda: self._state() in "Tt" and self.trace.stopped(), 30, "the worker has stopped")
            yield
        finally:
            os.kill(self.worker, signal.SIGCONT)

    def _counters(self):
        self.settle()
        (worker,) = self.ctl.json("stats")["workers"]
        return {counter: worker["counters"][counter] for counter in COUNTERS}

    @contextlib.contextmanager
    def row(self, name, ends=False, shakes=False):
        """What happens inside is counted. `ends`: all connections end there. `shakes`: there is a handshake in it."""
        before = self._counters()
        self.trace.calls()
        yield
        if ends:
            proc.wait_until(lambda: proc.descriptor_count(self.worker) == self.descriptors, 30, "all is closed")
        after = self._counters()
        self.rows[name] = {counter: after[counter] - before[counter] for counter in COUNTERS
                           if not (shakes and counter == "octets_copied")}
        self.rows[name]["calls"] = self.trace.calls()


def tls_sessions(world):
    with world.row("TLS 1.3, greeting, QUIT", ends=True, shakes=True), Wire(world.gate.port("pop3s")) as wire:
        wire.start_tls(world.context).expect("+OK")
        ticket = wire.tls.session
        wire.quit()
    with world.row("TLS 1.3 resumed, greeting, QUIT", ends=True, shakes=True), Wire(world.gate.port("pop3s")) as wire:
        wire.session = ticket
        wire.start_tls(world.context).expect("+OK")
        assert wire.tls.session_reused
        wire.quit()
    with world.row("TLS 1.2, greeting, QUIT", ends=True, shakes=True), Wire(world.gate.port("pop3s")) as wire:
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
        with world.row("POP3: TLS 1.3, greeting, login", shakes=True):
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
        with world.row("SMTP: STARTTLS, AUTH", shakes=True):
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


@pytest.fixture
def world(folder):
    pieces, farewell = Pieces(), {"+OK": Farewell(b"+OK bye\r\n"), "221": Farewell(b"221 bye\r\n")}
    pair, trusted = certificate(folder)
    pop3 = pop3_script(messages=(SMALL, b"in pieces"), answers={b"RETR": pieces, b"QUIT": farewell["+OK"]})
    smtp = smtp_script(proxy=True, answers={b"QUIT": farewell["221"]})
    with Backend(folder / "pop3.sock", pop3) as pop3, Backend(folder / "smtp.sock", smtp) as smtp:
        with library.Gatepost({
            "gatepost": {"workers": 1},
            "tls default": pair,
            "backend pop3": {"address": f"unix:{folder}/pop3.sock"},
            "backend smtp": {"address": f"unix:{folder}/smtp.sock", "identity": "proxy-v2"},
        }, users=()) as gate:
            for answer in farewell.values():  # what the servers can do is learned, in clear and under TLS
                answer.go.put(True)
                answer.go.put(True)
            world = World(gate, pop3, smtp, trusted)
            world.pieces, world.farewell = pieces, farewell
            yield world
            world.trace.end()


def write_table(rows):
    lines = [f"  {json.dumps(name)}: {json.dumps(row)}" for name, row in rows.items()]
    head = f'{{"how": {json.dumps(HOW)},\n "openssl": {json.dumps(ssl.OPENSSL_VERSION)},\n "rows": {{\n'
    TABLE.write_text(head + ",\n".join(lines) + "\n}}\n")


def cells(rows):
    """{(row, counter or call): number}"""
    return {(name, key): number for name, row in rows.items()
            for key, number in {**row, **row["calls"]}.items() if key != "calls"}


def differences(wanted, found):
    """Words for each number that is not the same."""
    wanted, found = cells(wanted), cells(found)
    return [f"{row}: {key} {wanted.get((row, key), 'none')} in the table, {found.get((row, key), 'none')} now"
            for row, key in dict.fromkeys([*wanted, *found]) if wanted.get((row, key)) != found.get((row, key))]


def test_a_fixed_script_costs_what_it_did(world, request):
    play(world)
    rows = play(world)
    if request.config.getoption("--update"):
        write_table(rows)
    table = json.loads(TABLE.read_text())
    if table["openssl"] != ssl.OPENSSL_VERSION:  # the system's, for the daemon as for this client
        warnings.warn(f"allocations inside OpenSSL are not compared: this is {ssl.OPENSSL_VERSION}, "
                      f"the table was made with {table['openssl']}")
        for row in [*rows.values(), *table["rows"].values()]:
            row.pop("allocations_openssl")
    changed = differences(table["rows"], rows)
    if changed:
        pytest.fail("\n".join([*changed, f"Where that is meant: {HOW}."]), pytrace=False)
