"""Descriptors: accepting pauses where they end, and goes on when one is free; what is dropped leaves nothing (P8)."""
import itertools
import re
import select
import subprocess

import pytest

import gatepost as library
import messages
import proc
from backend import Backend, smtp_script
from certificates import client_context
from wire import Wire, smtp_session

ENVELOPE = (("MAIL FROM:<bert@example.org>", "250"), (f"RCPT TO:<{library.USER}>", "250"))


def session_limit(gate):
    return int(gate.wait_for_log(r"worker 0: .*serves at most (\d+) sessions")[1])


def greeted(wires):
    """Those of the connections that have something to read."""
    return [wire for wire in wires if select.select([wire.socket], [], [], 0)[0]]


def connect(gate, port, count):
    return [Wire(gate.port(port), 60) for _ in range(count)]


LIMITS = [(("prlimit", "--nofile=200:200"), None), (("prlimit", "--nofile=100:100"), None), ((), "5")]


@pytest.mark.parametrize("prefix, max_sessions", LIMITS, ids=["200 descriptors", "100 descriptors", "5 sessions"])
def test_at_the_limit_accepting_pauses_and_everybody_is_served_in_the_end(folder, prefix, max_sessions):
    """Every session holds two descriptors, as it does while mail is relayed: even so none runs out."""
    with Backend(folder / "s.sock", smtp_script(), backlog=512):
        over = {"gatepost": {"workers": 1}, "limits": {"max_sessions": max_sessions, "session_wait": "1h"},
                "backend smtp": {"address": f"unix:{folder}/s.sock"}}
        with library.Gatepost(over, prefix=prefix) as gate:
            worker, limit = gate.workers()[0], session_limit(gate)
            wires = connect(gate, "smtp", limit + 20) + connect(gate, "submission", 10)
            served = 0
            while wires:
                proc.wait_until(lambda: len(greeted(wires)) >= min(limit, len(wires)), 30, "the greetings")
                now = greeted(wires)
                assert len(now) <= limit, "no more sessions than the limit"
                for wire in now:
                    smtp_session(wire).commands(*ENVELOPE)
                assert proc.descriptor_count(worker) <= 200
                assert len(greeted(wires)) == 0, "nobody is let in, or turned away, while all places are taken"
                for wire in now:
                    wire.quit()
                wires = [wire for wire in wires if wire not in now]
                served += len(now)
            assert served == limit + 30, "nobody was dropped"
            gate.wait_idle()
            assert not re.search("Too many open files|was ended by", gate.log())


def set_limit(pid, count=None):
    """The soft limit of descriptors; None: the first number that is free, so that there is no other. The program of util-linux
    as the worker's own user: root may lack the right."""
    taken, status = proc.descriptors(pid), proc.status(pid)
    count = count or next(number for number in itertools.count() if number not in taken)
    user, group = (status[key].split()[0] for key in ("Uid", "Gid"))
    subprocess.run(["setpriv", "--reuid", user, "--regid", group, "--clear-groups", "prlimit", "--pid", str(pid),
                    f"--nofile={count}:"], check=True)


@pytest.mark.skipif(not library.AS_ROOT, reason="changes the limit of a process of another user")
@pytest.mark.parametrize("kind", ["unix", "tcp"])
def test_a_worker_without_a_descriptor_for_the_server_says_so_once_and_blames_no_server(folder, kind):
    with Backend(folder / "s.sock" if kind == "unix" else 0, smtp_script()) as backend:
        address = f"unix:{backend.address}" if kind == "unix" else f"127.0.0.1:{backend.port}"
        over = {"gatepost": {"workers": 1}, "backend smtp": {"address": address}}
        with library.Gatepost(over, users=()) as gate:
            wires = [smtp_session(wire) for wire in connect(gate, "smtp", 4)]
            for connection in backend.connections:  # what it can do has been learned
                connection.wait_done()
            (worker,) = gate.workers()
            set_limit(worker)
            for wire in wires[:3]:
                wire.command("MAIL FROM:<bert@example.org>", "421 4.3.2")
            set_limit(worker, 1024)
            wires[3].commands(*ENVELOPE).quit()
            gate.wait_for_log("session .*: gatepost lacks descriptors or memory", count=3)
            assert len(re.findall("warning worker 0: backend smtp .* cannot be .*: Too many open files; the fault is ours",
                                  gate.log())) == 1
            assert "out of service" not in gate.log() and "does not answer" not in gate.log()


@pytest.mark.skipif(not library.AS_ROOT, reason="changes the limit of a process of another user")
def test_without_a_descriptor_for_clients_they_wait_which_is_told_once_and_go_on_when_there_is_one():
    with library.Gatepost({"gatepost": {"workers": 1}, "limits": {"session_wait": "100ms"}}, users=()) as gate:
        (worker,) = gate.workers()
        with connect(gate, "smtp", 1)[0] as first:
            smtp_session(first)
            set_limit(worker)
            wires = connect(gate, "smtp", 2) + connect(gate, "submission", 2)
            gate.wait_for_log("warning worker 0: clients wait: none can be accepted: Too many open files")
            assert wires[0].silent(0.5), "it is not turned away: there are sessions enough"
            first.command("NOOP", "250")
            set_limit(worker, 1024)
            for wire in wires:
                smtp_session(wire)
            assert gate.log().count("Too many open files") == 1


def test_a_client_that_goes_away_while_it_waits_does_no_harm():
    with library.Gatepost({"gatepost": {"workers": 1}, "limits": {"max_sessions": 3, "session_wait": "1h"}}) as gate:
        first = connect(gate, "pop3", 3)
        for wire in first:
            wire.expect("+OK")
        for wire in connect(gate, "pop3", 40):
            wire.reset()
        last = connect(gate, "pop3", 1)[0]
        for wire in first:
            wire.quit()
        last.expect("+OK")
        last.quit()
        gate.wait_idle()


def test_sessions_beyond_those_of_the_mail_store_are_told_so_and_the_next_is_served():
    with library.Gatepost({"mailstore": {"max_sessions": 3}}) as gate:
        wires = []
        for _ in range(3):
            wires.append(Wire(gate.port("smtp")))
            smtp_session(wires[-1]).commands(*ENVELOPE)
        with Wire(gate.port("smtp")) as wire:
            smtp_session(wire)
            wire.command("MAIL FROM:<bert@example.org>", "421")
            assert wire.at_eof()
        wires.pop().quit()
        smtpd = gate.smtpd()[0]
        proc.wait_until(lambda: len(proc.children(smtpd)) < 3, 15, "the end of a session process")
        smtp_session(Wire(gate.port("smtp"))).commands(*ENVELOPE).quit()
        for wire in wires:
            wire.quit()
        gate.wait_idle()


# opened and dropped


def drop_at_once(wire, context):
    wire.close()


def drop_by_reset(wire, context):
    wire.reset()


def drop_in_a_line(wire, context):
    wire.send(b"EHL")
    wire.vanish()


def drop_in_half_a_hello(wire, context):
    wire.send_raw(wire.begin_tls(context)[:100])
    wire.vanish()


def reset_in_half_a_hello(wire, context):
    wire.send_raw(wire.begin_tls(context)[:100])
    wire.reset()


def reset_in_the_handshake(wire, context):
    wire.send_raw(wire.begin_tls(context))
    wire.reset()


def vanish_in_the_handshake(wire, context):
    wire.send_raw(wire.begin_tls(context))
    wire.vanish()


def reset_behind_starttls(wire, context):
    wire.send(b"EHLO me.example\r\nSTARTTLS\r\n")
    wire.reset()


def reset_in_data(wire, context):
    wire.send(b"EHLO me.example\r\nMAIL FROM:<bert@example.org>\r\nRCPT TO:<%s>\r\nDATA\r\nSubject: half\r\n"
              % library.USER.encode())
    wire.reset()


def vanish_under_tls(wire, context):
    wire.start_tls(context)
    wire.vanish()


PORTS = ("smtp", "smtp-alt", "submission")
WAYS = [drop_at_once, drop_by_reset, drop_in_a_line, drop_in_half_a_hello, reset_in_half_a_hello,
        reset_in_the_handshake, vanish_in_the_handshake, reset_behind_starttls, reset_in_data, vanish_under_tls]


def storm(gate, context, count):
    """So many connections, a hundred at a time, each dropped in one of the ways."""
    ports = [gate.port(name) for name in PORTS]
    for start in range(0, count, 100):
        wires = [Wire(ports[(start + n) % len(ports)], 60) for n in range(100)]
        for number, wire in enumerate(wires):
            WAYS[number % len(WAYS)](wire, context)


def private_kib(gate):
    return sum(proc.memory_kib(pid, "Private_Dirty") for pid in gate.workers())


def test_p8_5000_connections_that_are_dropped_leave_nothing_behind():
    patient = {"detect_wait": "5s", "hints": "no"}  # a client that is slow to begin its handshake is not greeted in clear
    gate = library.Gatepost({"limits": {"handshake_timeout": "5s"}, **{f"listen {port}": patient for port in PORTS}})
    gate.environment["ASAN_OPTIONS"] += ":quarantine_size_mb=1:thread_local_quarantine_size_kb=64"
    with gate:
        context = client_context()
        everyone = gate.workers() + gate.smtpd() + gate.pop3d()
        held = {pid: proc.descriptor_count(pid) for pid in everyone}
        storm(gate, context, 2000)
        gate.wait_idle(30)
        before = private_kib(gate)
        storm(gate, context, 3000)
        gate.wait_idle(30)
        grown = private_kib(gate) - before
        assert grown < 3000, f"{grown} KiB: a session, or its TLS engine, is larger than 1 KiB"
        for daemon in gate.smtpd() + gate.pop3d():
            proc.wait_until(lambda: not proc.children(daemon), 30, "the end of all session processes")
        assert gate.workers() + gate.smtpd() + gate.pop3d() == everyone, "nobody had to be started again"
        now = {pid: proc.descriptor_count(pid) for pid in everyone}
        assert all(now[pid] <= held[pid] for pid in everyone), "fewer where a dialogue of learning was under way at first"
        assert "was ended by" not in gate.log()
        assert gate.messages() == [], "half a message is none"
        assert not list((gate.maildir() / "tmp").glob("*"))
        wire = smtp_session(Wire(gate.port("smtp")), context, "starttls")
        wire.commands(*ENVELOPE, ("DATA", "354"))
        wire.send(messages.stuffed(messages.trap_message(8192)))
        wire.expect("250")
        wire.quit()
        assert len(gate.messages()) == 1
