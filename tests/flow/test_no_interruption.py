"""Reloads, changes of certificates and binary upgrades, while many sessions are in the middle of something and new clients
come all the time: no session is broken, no message is lost or doubled, nobody is refused, and nothing is left of it all.

Half of the sessions are in DATA or RETR of a large message, of which each event lets a part go on; the others say NOOP
again and again, or nothing. The event and that part run side by side."""
import collections
import ctypes
import itertools
import os
import random
import re
import shutil
import signal
import socket
import threading

import pytest

import gatepost as library
import messages
import proc
from certificates import client_context
from changes import FAILED, IN_USE, new_certificate, replace, serial, serial_of
from upgradable import Upgradable
from wire import Wire, pop3_session, smtp_session

pytestmark = [pytest.mark.skipif(not library.AS_ROOT, reason="looks into processes of other users"),
              pytest.mark.usefixtures("heir_of_orphans")]
ENVELOPE = (("MAIL FROM:<bert@example.org>", "250"), (f"RCPT TO:<{library.USER}>", "250"), ("DATA", "354"))
SIZE = 5 * 1024 * 1024
CREWS = 8
PATIENCE_S = 180
READER, TALKER = "reader", "talker"
TOKEN = re.compile(re.escape(messages.BEGIN) + rb"(\S+)\r\n")
PATIENT = {
    "gatepost": {"drain_timeout": "1h"},
    "limits": {"handshake_timeout": "2min", "line_timeout": "10min", "smtp_command_timeout": "1h",
               "smtp_reply_timeout": "1h", "pop3_command_timeout": "1h", "pop3_idle_timeout": "2h", "write_timeout": "1h"},
    "mailstore": {"command_timeout": "1h", "max_sessions": 20000},
    "listen smtp": {"detect_wait": "20ms"}, "listen smtp-alt": {"detect_wait": "20ms"},
    "listen submission": {"detect_wait": "20ms"}, "listen pop3": {"detect_wait": "20ms"},
}
MARGIN_KIB = 8 * 1024  # of each process; the sanitizers' allocator keeps what it once had in part


# the messages


def large(token):
    return messages.large_message(SIZE, token)


def small(token):
    return messages.trap_message(8192, token)


# sessions: each is opened, goes on in steps, and is brought to its end


class Session:
    """`kind`: plain, starttls or implicit. `share`: how much of the large message may have gone, 0 to 1."""

    def __init__(self, gate, number):
        self.gate, self.number = gate, number
        self.kind = ("plain", "starttls", "implicit")[number % 3]

    def smtp(self):
        port = ("smtp", "smtp-alt", "submission")[self.number % 3]
        kind = "starttls" if self.kind == "implicit" else self.kind  # they may be late for a port that speaks first
        return smtp_session(Wire(self.gate.port(port), PATIENCE_S), client_context(), kind)

    def pop3(self, user=None):
        port = "pop3s" if self.kind == "implicit" else "pop3"
        return pop3_session(Wire(self.gate.port(port), PATIENCE_S), client_context(), self.kind, user, self.gate.password)

    def step(self, share):
        pass

    def finish(self):
        self.wire.quit()


class Sender(Session):
    text = messages.stuffed(large(b"0")).partition(b"\r\n\r\n")[2]  # behind the header, which has the token

    def open(self):
        self.token = b"large-%d" % self.number
        self.sent = 0
        self.wire = self.smtp().commands(*ENVELOPE)
        self.wire.send(large(self.token).partition(b"\r\n\r\n")[0] + b"\r\n\r\n")

    def step(self, share):
        goal = int((len(self.text) - 3) * share)  # without the final dot
        self.wire.send(self.text[self.sent:goal])
        self.sent = goal
        self.wire.dialogue.clear()

    def finish(self):
        self.wire.send(self.text[self.sent:])
        self.wire.dialogue.clear()
        self.wire.expect("250")
        self.wire.quit()


class Reader(Session):
    def open(self):
        self.text = self.gate.stored
        self.received = 0
        self.wire = self.pop3(user(READER, self.number))
        self.wire.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 * 1024)
        self.wire.command("RETR 1", "+OK")

    def step(self, share):
        goal = int(len(self.text) * share)
        octets = self.wire.read_exactly(goal - self.received)
        assert octets == self.text[self.received:goal], messages.difference(self.text[self.received:goal], octets)
        self.received = goal
        self.wire.dialogue.clear()

    def finish(self):
        self.step(1)
        self.wire.command("NOOP", "+OK")
        self.wire.quit()


class SmtpTalker(Session):
    def open(self):
        self.wire = self.smtp()

    def step(self, share):
        self.wire.command("NOOP", "250")


class Pop3Talker(Session):
    def open(self):
        self.wire = self.pop3(user(TALKER, self.number))

    def step(self, share):
        self.wire.command("NOOP", "+OK")


class Idle(Session):
    """Says nothing, and hears nothing."""

    def step(self, share):
        try:
            octets = self.wire.read(timeout=0)  # tickets of TLS may come
        except BlockingIOError:
            return
        raise AssertionError(f"heard {octets!r}, {self.wire.eof}")


class SmtpIdle(Idle):
    def open(self):
        self.wire = self.smtp()

    def finish(self):
        self.wire.commands(*ENVELOPE[:2])
        self.wire.quit()


class Pop3Idle(Idle):
    """Has not logged in yet: no server is behind it."""

    def open(self):
        self.wire = self.pop3()

    def finish(self):
        self.wire.command("CAPA", "+OK")
        self.wire.multiline()
        self.wire.quit()


IN_TRANSFER = (Sender, Reader)
OTHERS = (SmtpTalker, Pop3Talker, SmtpIdle, Pop3Idle)


def user(role, number):
    return f"{role}{number}@{library.DOMAIN}"


class Crew(threading.Thread):
    """Some of the sessions, one after the other, again and again."""

    def __init__(self, crowd, sessions):
        super().__init__(daemon=True)
        self.crowd, self.sessions = crowd, sessions
        self.reached, self.error = -1, None

    def run(self):
        try:
            for session in self.sessions:
                session.open()
            self.reached = 0
            while not self.crowd.over.wait(0.05):
                share = self.crowd.share
                for session in self.sessions:
                    session.step(share)
                self.reached = share
            for session in self.sessions:
                session.finish()
        except Exception as error:  # shown by the test, which waits
            error.args = (f"{type(session).__name__} {session.number} ({session.kind}): {error}",)
            self.error = error


class Crowd:
    def __init__(self, gate, classes, count):
        self.gate, self.share, self.over = gate, 0, threading.Event()
        self.sessions = [kind(gate, number) for number, kind in zip(range(count), itertools.cycle(classes))]
        random.Random(count).shuffle(self.sessions)
        self.crews = [Crew(self, self.sessions[number::CREWS]) for number in range(CREWS)]

    def __enter__(self):
        for crew in self.crews:
            crew.start()
        self.wait()
        return self

    def __exit__(self, *_):
        self.over.set()

    def examine(self):
        for crew in self.crews:
            if crew.error:
                raise crew.error

    def wait(self):
        def arrived():
            self.examine()
            return all(crew.reached >= self.share for crew in self.crews)

        proc.wait_until(arrived, PATIENCE_S, f"every session at {self.share:.0%}")

    def finish(self):
        self.over.set()
        for crew in self.crews:
            crew.join(PATIENCE_S)
            assert not crew.is_alive(), "a session hangs at its end"
        self.examine()


class Stream(threading.Thread):
    """New clients, one after the other, each of which has to be served. `done`: what each returned."""

    def __init__(self, gate):
        super().__init__(daemon=True)
        self.gate, self.over, self.done, self.error = gate, threading.Event(), [], None

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        self.join(PATIENCE_S)

    def run(self):
        try:
            while not self.over.wait(0.02):
                self.done.append(self.once(len(self.done)))
        except Exception as error:  # shown by the test
            self.error = error

    def examine(self):
        if self.error:
            raise self.error


class Prober(Stream):
    """Is greeted, on all ports in turn."""

    def once(self, number):
        name = ("pop3", "smtp", "submission", "smtp-alt")[number % 4]
        host = "::1" if number // 4 % 2 and library.has_ipv6() else "127.0.0.1"
        with Wire(self.gate.port(name), PATIENCE_S, host) as wire:
            wire.expect("+OK" if name == "pop3" else "220")
            wire.quit()


class Courier(Stream):
    """Brings a small message; its token is returned."""

    def once(self, number):
        token = b"small-%d" % number
        with smtp_session(Wire(self.gate.port("smtp"), PATIENCE_S)) as wire:
            wire.commands(*ENVELOPE)
            wire.send(messages.stuffed(small(token)))
            wire.expect("250")
            wire.quit()
        return token


# what happens


class Machine(Upgradable):
    def __init__(self):
        super().__init__(PATIENT)
        self.environment["ASAN_OPTIONS"] += (":quarantine_size_mb=1:thread_local_quarantine_size_kb=64"
                                             ":allocator_release_to_os_interval_ms=500")
        self.left = []  # processes that were taken over from
        self.changes = 0

    def wait_new(self, position, pattern):
        """Waits for the pattern in what is logged from this position on; a reload that ends otherwise fails the test."""
        def found():
            with open(self.folder / "log", errors="replace") as log:
                log.seek(position)
                end = re.search(r"reload \d+(?: failed)?: (?:in use|nothing)[^\n]*", log.read())
            assert not end or re.search(pattern, end[0]), f"{end[0]}, not {pattern}\n{self.log()[-3000:]}"
            return end

        proc.wait_until(found, PATIENCE_S, lambda: f"{pattern}\n{self.log()[-3000:]}")

    def log_size(self):
        return (self.folder / "log").stat().st_size

    def reload(self, octets, outcome):
        position = self.log_size()
        replace(self.ini, octets)
        self.process.send_signal(signal.SIGHUP)
        self.wait_new(position, outcome)

    def reload_broken_then_good(self):
        self.changes += 1
        self.sections["limits"]["max_errors"] = 10 + self.changes
        good = library.ini_text(self.sections).encode()
        self.reload(BROKEN[self.changes % len(BROKEN)](self, good), FAILED)
        self.reload(good, IN_USE)

    def change_certificate(self):
        position = self.log_size()
        chain, key = new_certificate()
        replace(self.folder / "key.pem", key)
        replace(self.folder / "cert.pem", chain)
        self.wait_new(position, r"in use \(certificates default\)")
        assert {serial(self) for _ in range(4)} == {serial_of(chain)}

    def change_certificate_broken_then_good(self):
        shown, position = serial(self), self.log_size()
        replace(self.folder / "cert.pem", (self.folder / "cert.pem").read_bytes()[:200])
        self.wait_new(position, FAILED)
        assert serial(self) == shown
        self.change_certificate()

    def replace_programs(self):
        for name in library.PROGRAMS:
            self.install(name)
        self.left.append(self.upgrade())

    def state(self):
        """What there is without a session: processes, descriptors, and memory of the proxy's and the mail workers'."""
        proc.wait_until(lambda: sorted(proc.children(os.getpid())) == sorted(self.family()), PATIENCE_S,
                        lambda: f"only {self.family()}, not {proc.children(os.getpid())}")
        return self.descriptors(), [proc.memory_kib(pid, "Pss") for pid in self.family()]


def sections_with(over):
    return lambda gate, good: library.ini_text(library.overlay(gate.sections, over)).encode()


BROKEN = (
    sections_with({"limits": {"no_such": 1}}),
    sections_with({"listen smtp": {"port": 99999999}, "listen pop3": {"enabled": "no"}}),
    sections_with({"tls default": {"key": "/no/such/key.pem"}, "mailstore": {"max_sessions": 10}}),
    sections_with({"gatepost": {"config_version": 999999}}),
    lambda gate, good: good[:good.index(b"runtime_dir") + 5],
    lambda gate, good: b"\x7fELF\x00\x01 no INI \xff\xfe\n" * 20,
)


def spread(**counts):
    """Names, each so many times, evenly mixed."""
    return [name for _, name in sorted(((number + 0.5) / count, name) for name, count in counts.items()
                                       for number in range(count))]


# the mail


def prepare_mail(gate, sessions):
    """Users with a cheap hash; each of the readers finds the large message."""
    crypt = ctypes.CDLL("libcrypt.so.1").crypt
    crypt.restype = ctypes.c_char_p
    hashed = crypt(gate.password.encode(), b"$y$j75$abcdefghijklmnop").decode()
    readers = [one.number for one in sessions if isinstance(one, Reader)]
    names = [user(READER, number) for number in readers]
    names += [user(TALKER, one.number) for one in sessions if isinstance(one, Pop3Talker)]
    with open(gate.mail / "users", "a") as file:
        file.writelines(f"{name}:{hashed}\n" for name in names)
    model = deliver_model(gate)
    gate.stored = messages.stuffed(model.read_bytes().replace(b"\n", b"\r\n"))
    for number in readers:
        maildir = gate.maildir(user(READER, number))
        for path in (maildir.parent.parent, maildir.parent, maildir, *(maildir / name for name in ("new", "cur", "tmp"))):
            if not path.exists():
                path.mkdir(mode=0o700)
                shutil.chown(path, "mail", "mail")
        os.link(model, maildir / "new" / model.name)
    model.unlink()


def deliver_model(gate):
    with smtp_session(Wire(gate.port("smtp"), PATIENCE_S)) as wire:
        wire.commands(*ENVELOPE)
        wire.send(messages.stuffed(large(b"model")))
        wire.expect("250")
        wire.quit()
    return next((gate.maildir() / "new").iterdir())


def examine_mail(gate, tokens):
    """Each of them once, and as it was sent."""
    found = collections.Counter()
    for path in itertools.chain(*((gate.maildir() / name).iterdir() for name in ("new", "cur"))):
        message = messages.own_part(path.read_bytes().replace(b"\n", b"\r\n"))
        token = TOKEN.match(message)[1]
        found[token] += 1
        sent = (large if token.startswith(b"large") else small)(token)
        assert message == sent, f"{token}: {messages.difference(sent, message)}"
    assert found == collections.Counter(tokens)
    assert not any((gate.maildir() / "tmp").iterdir())


@pytest.mark.seconds(3600)
def test_p5_many_sessions_go_on_over_reloads_certificates_and_upgrades(full):
    count, pairs, rounds, upgrades = (2000, 25, 5, 2) if full else (200, 5, 1, 1)
    events = spread(reload_broken_then_good=pairs, change_certificate=2 * rounds,
                    change_certificate_broken_then_good=rounds, replace_programs=upgrades)
    with Machine() as gate:
        crowd = Crowd(gate, IN_TRANSFER, count // 2)
        others = Crowd(gate, OTHERS, count - count // 2)
        prepare_mail(gate, crowd.sessions + others.sessions)
        descriptors, memory = gate.state()
        with Prober(gate) as prober, Courier(gate) as courier, crowd, others:
            for number, event in enumerate(events):
                crowd.share = others.share = (number + 1) / (len(events) + 1)
                getattr(gate, event)()
                for one in (crowd, others, prober, courier):
                    one.examine()
                crowd.wait()
                others.wait()
            crowd.finish()
            others.finish()
        prober.examine()
        courier.examine()
        assert min(len(prober.done), len(courier.done)) > len(events)
        assert len(gate.left) == upgrades
        for before in gate.left:
            assert before.wait(PATIENCE_S) == 0
        examine_mail(gate, [one.token for one in crowd.sessions if isinstance(one, Sender)] + courier.done)
        now, memory_now = gate.state()
        assert now == descriptors
        grown = [after - before for after, before in zip(memory_now, memory)]
        assert max(grown) < MARGIN_KIB, f"memory grew by {grown} KiB, from {memory}"
        assert "started again" not in gate.log() and "was ended by" not in gate.log()
