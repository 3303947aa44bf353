"""kill -9 of any process, in the middle of DATA and RETR: what that costs, and what it never costs (P3, P4, P5).

A message that was answered 250 is on disk; none is there more often than its final dot was sent; nothing is deleted
without a QUIT; sessions of other processes notice nothing; who died is named in the log and started again."""
import collections
import random
import re
import shutil
import threading

import pytest

import gatepost as library
import messages
import proc
from certificates import client_context
from wire import Wire, pop3_session, smtp_session

MIB = 1 << 20
ENVELOPE = (("MAIL FROM:<bert@example.org>", "250"), (f"RCPT TO:<{library.USER}>", "250"), ("DATA", "354"))
TOKEN = re.compile(re.escape(messages.BEGIN) + rb"(\S+)\r\n")
LOST = (AssertionError, OSError)  # what a client sees of a process that died under it


def put(gate, *octets):
    """Messages into the store, past the product. They are those of 2023, before all that is sent to it."""
    box = gate.maildir()
    for name in ("new", "cur", "tmp"):
        (box / name).mkdir(parents=True, exist_ok=True)
    for number, message in enumerate(octets):
        (box / "new" / f"17000000{number:02}.M1P{number}.test").write_bytes(message.replace(b"\r\n", b"\n"))
    if library.AS_ROOT:
        for path in [gate.mail / library.DOMAIN, *(gate.mail / library.DOMAIN).rglob("*")]:
            shutil.chown(path, "mail", "mail")


def tokens_of(octets):
    """How often each token is among these messages, all of which are whole."""
    found = collections.Counter()
    for message in octets:
        assert message.endswith(b"the last line\r\n"), f"half a message: {message[-200:]!r}"
        found[TOKEN.search(message)[1]] += 1
    return found


def session_of(daemon, before=()):
    """The process of the one session that was not there `before`."""
    def new():
        return set(proc.children(daemon)) - set(before)

    proc.wait_until(lambda: len(new()) == 1, 15, "one session process")
    return new().pop()


def into_data(gate, port="smtp", kind="plain"):
    wire = smtp_session(Wire(gate.port(port)), client_context(), kind)
    return wire.commands(*ENVELOPE)


def finish(wire):
    wire.send(messages.stuffed(messages.trap_message(8192, b"finish")))
    wire.expect("250")
    wire.quit()


# in the midst of many senders


class Sender(threading.Thread):
    """Sends one message after the other, each until its 250 is heard."""

    def __init__(self, gate, name, kind):
        super().__init__(daemon=True)
        self.gate, self.name, self.kind = gate, name, kind
        self.dots = collections.Counter()  # final dots sent, by token
        self.heard = set()
        self.stopping = threading.Event()
        self.error = None

    def send_once(self, token):
        with Wire(self.gate.port("smtp-alt"), 20) as wire:
            smtp_session(wire, client_context(), self.kind).commands(*ENVELOPE)
            text = messages.stuffed(messages.trap_message(8192 + 1000 * random.randrange(60), token))
            wire.send(text[:-3])
            self.dots[token] += 1
            wire.send(text[-3:])
            wire.expect("250")
            self.heard.add(token)

    def run(self):
        number = 0
        while not self.stopping.is_set():
            number += 1
            token = f"{self.name}-{number}".encode()
            while token not in self.heard and not self.stopping.is_set():
                try:
                    self.send_once(token)
                except LOST as error:
                    self.error = error
                    self.stopping.wait(0.02)


def reader(gate, stopping, taken):
    """Takes all mail out, again and again; `taken` gets what was received whole and then deleted."""
    while not stopping.is_set():
        try:
            with Wire(gate.port("pop3s"), 20) as wire:
                pop3_session(wire, client_context(), "implicit", library.USER, gate.password)
                for number in range(1, int(wire.command("STAT", "+OK")[0].split()[1]) + 1):
                    wire.command(f"RETR {number}", "+OK")
                    taken.append(b"".join(line + b"\r\n" for line in wire.multiline()))
                    wire.command(f"DELE {number}", "+OK")
                wire.quit()
        except LOST:
            pass
        stopping.wait(0.05)


def any_of(pids):
    return random.choice(pids) if pids else None


VICTIMS = {
    "a proxy worker": lambda gate: any_of(gate.workers()),
    "gatepost-smtpd": lambda gate: any_of(gate.smtpd()),
    "a session of gatepost-smtpd": lambda gate: any_of([pid for one in gate.smtpd() for pid in proc.children(one)]),
    "the supervisor": lambda gate: gate.process.pid,
}


def kill_now_and_then(gate, find_victim, senders):
    """Four times, each after some more final dots were sent."""
    def dots():
        return sum(sum(sender.dots.values()) for sender in senders)

    def kill_one():
        pid = find_victim(gate)
        try:
            if pid:
                gate.kill(pid)
            return pid
        except ProcessLookupError:
            return None

    for _ in range(1 if find_victim is VICTIMS["the supervisor"] else 4):
        enough = dots() + random.randrange(6, 14)
        proc.wait_until(lambda: dots() >= enough, 60, lambda: f"more messages; {[s.error for s in senders]}")
        proc.wait_until(kill_one, 30, "somebody to kill")


@pytest.mark.parametrize("victim", VICTIMS)
def test_p4_what_was_answered_250_is_on_disk_and_never_more_often_than_final_dots_were_sent(gatepost, victim):
    gate = gatepost({"gatepost": {"drain_timeout": "1s"}})
    senders = [Sender(gate, f"s{n}", kind) for n, kind in enumerate(("plain", "starttls", "implicit", "plain"))]
    for sender in senders:
        sender.start()
    kill_now_and_then(gate, VICTIMS[victim], senders)
    if victim != "the supervisor":
        alive = sum(len(sender.heard) for sender in senders) + 8
        proc.wait_until(lambda: sum(len(sender.heard) for sender in senders) >= alive, 60, "mail goes on")
        assert re.search(r"ended by signal 9", gate.log())
    family = proc.children(gate.process.pid)
    for sender in senders:
        sender.stopping.set()
    for sender in senders:
        sender.join(60)
        assert not sender.is_alive()
    if victim == "the supervisor":
        gate.process.wait()
        proc.wait_until(lambda: not any(map(proc.alive, family)), 30, "all processes are gone")
        gate.stop(check=False)
    else:  # what has no client any more ends by itself
        proc.wait_until(lambda: not proc.children(gate.smtpd()[0]), 30, "the end of all sessions")
    copies = tokens_of(gate.messages())
    for sender in senders:
        for token, dots in sender.dots.items():
            assert copies[token] <= dots, f"{token}: {copies[token]} copies of {dots}"
            assert copies[token] >= (token in sender.heard), f"{token} was answered 250 and is not there"
    assert set(copies) <= {token for sender in senders for token in sender.dots}


@pytest.mark.parametrize("victim", ["gatepost-pop3d", "a session of gatepost-pop3d", "a proxy worker"])
def test_p3_no_message_is_lost_between_its_sender_and_its_reader(gatepost, victim):
    """Mail comes in and is taken out while a process dies again and again: it is on disk, or was received whole."""
    gate = gatepost()
    find = {"gatepost-pop3d": lambda gate: any_of(gate.pop3d()), "a proxy worker": VICTIMS["a proxy worker"],
            "a session of gatepost-pop3d":
                lambda gate: any_of([pid for one in gate.pop3d() for pid in proc.children(one)])}[victim]
    sender, stopping, taken = Sender(gate, "s", "starttls"), threading.Event(), []
    threads = [sender, threading.Thread(target=reader, args=(gate, stopping, taken), daemon=True)]
    for thread in threads:
        thread.start()
    kill_now_and_then(gate, find, [sender])
    proc.wait_until(lambda: "ended by signal 9" in gate.log(), 15, "the death in the log")
    sender.stopping.set()
    stopping.set()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()
    present = set(tokens_of(gate.messages())) | set(tokens_of(taken))
    assert sender.heard <= present, f"lost: {sender.heard - present}"


# one at a time


@pytest.mark.parametrize("kind", ["plain", "starttls"])
def test_p4_a_message_whose_session_process_dies_is_not_there_and_other_sessions_go_on(gatepost, kind):
    gate = gatepost()
    (smtpd,) = gate.smtpd()
    other = into_data(gate, kind=kind)
    proc.wait_until(lambda: len(proc.children(smtpd)) == 1, 15, "only its session process")
    before = proc.children(smtpd)
    wire = into_data(gate, kind=kind)
    victim = session_of(smtpd, before)
    wire.send(messages.stuffed(messages.trap_message(20000))[:10000])
    gate.kill(victim)
    assert not wire.read_all().startswith(b"250")
    assert wire.eof
    gate.wait_for_log(rf"session process {victim} was ended by signal 9")
    assert gate.messages() == []
    finish(other)
    finish(into_data(gate))
    assert gate.smtpd() == [smtpd]
    assert sum(tokens_of(gate.messages()).values()) == 2


def test_p5_sessions_of_a_gatepost_smtpd_that_died_go_on(gatepost):
    """The parent only accepts; who is being served already does not need it."""
    gate = gatepost()
    wires = [into_data(gate, kind=kind) for kind in ("plain", "starttls", "implicit")]
    (old,) = gate.smtpd()
    gate.kill(old)
    gate.wait_for_log("gatepost-smtpd was ended by signal 9 .*started again")
    for wire in wires:
        finish(wire)
    gate.wait_for_log("gatepost-smtpd serves again")
    finish(into_data(gate))
    assert sum(tokens_of(gate.messages()).values()) == 4


def retrieving(gate, kind="implicit"):
    """A session that has deleted its first message, and is in the middle of the second, which is large."""
    port = "pop3s" if kind == "implicit" else "pop3"
    wire = pop3_session(Wire(gate.port(port), 30), client_context(), kind, library.USER, gate.password)
    wire.command("DELE 1", "+OK")
    wire.send(b"RETR 2\r\n")
    wire.expect("+OK")
    wire.read_exactly(MIB)
    return wire


SMALL, LARGE = messages.trap_message(8192, b"small"), messages.large_message(25 * MIB, b"large")


@pytest.mark.parametrize("kind", ["implicit", "plain"])
@pytest.mark.parametrize("victim", ["session", "worker"])
def test_p3_a_death_in_the_middle_of_retr_shows_no_end_and_deletes_nothing(gatepost, victim, kind):
    gate = gatepost({"gatepost": {"workers": 1}})
    put(gate, SMALL, LARGE)
    wire = retrieving(gate, kind)
    pid = session_of(gate.pop3d()[0]) if victim == "session" else gate.workers()[0]
    gate.kill(pid)
    rest = wire.read_all()
    assert len(rest) < len(LARGE) - MIB
    assert not rest.endswith(b"\r\n.\r\n")
    assert wire.eof != "close_notify"
    gate.wait_for_log(rf"session process {pid} was ended by signal 9" if victim == "session" else
                      r"worker 0 was ended by signal 9 .*started again")
    proc.wait_until(lambda: not proc.children(gate.pop3d()[0]), 15, "the end of the session process")
    assert gate.messages() == [SMALL, LARGE]
    with Wire(gate.port("pop3s")) as again:
        pop3_session(again, client_context(), "implicit", library.USER, gate.password)
        again.command("STAT", "+OK 2 ")
        again.quit()


def test_p5_a_session_of_a_gatepost_pop3d_that_died_goes_on(gatepost):
    gate = gatepost()
    put(gate, SMALL, LARGE)
    wire = retrieving(gate)
    (old,) = gate.pop3d()
    gate.kill(old)
    gate.wait_for_log("gatepost-pop3d was ended by signal 9 .*started again")
    wire.multiline()
    wire.quit()
    assert gate.messages() == [LARGE]
    gate.wait_for_log("gatepost-pop3d serves again")


# and who is left


@pytest.mark.parametrize("also", [(), ("smtpd", "pop3d"), ("workers", "smtpd", "pop3d")], ids=" and ".join)
def test_no_process_outlives_the_supervisor(gatepost, also):
    """Sessions in every state, one of which blocks in a write; those who could see to them die as well."""
    gate = gatepost({"gatepost": {"drain_timeout": "1s"}})
    put(gate, SMALL, LARGE)
    wires = [retrieving(gate), into_data(gate), into_data(gate, kind="starttls"), Wire(gate.port("pop3s")),
             smtp_session(Wire(gate.port("smtp")))]
    wires.append(Wire(gate.port("smtp")))
    wires[-1].send_raw(wires[-1].begin_tls(client_context())[:50])
    family = proc.children(gate.process.pid)
    assert len(family) >= 4 + 3
    victims = [gate.process.pid] + [pid for name in also for pid in getattr(gate, name)()]
    for pid in victims:
        gate.kill(pid)
    gate.process.wait()
    proc.wait_until(lambda: not [pid for pid in family if proc.alive(pid)], 30,
                    lambda: f"the end of {[pid for pid in family if proc.alive(pid)]}")
    assert gate.messages() == [SMALL, LARGE]
    for wire in wires:
        wire.socket.close()
    gate.stop(check=False)
