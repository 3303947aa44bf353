"""All sessions are taken: who comes then waits for one that ends, and hears that there is none (P9) after session_wait."""
import os
import re
import signal
import time

import pytest

import gatepost as library
import proc
from certificates import client_context
from ctl import Ctl
from wire import Wire

WORDS = {"smtp": b"421 4.3.2 Too many sessions, please try again later\r\n",
         "pop3": b"-ERR [SYS/TEMP] Too many sessions, please try again later\r\n",
         "remote": b"- [TEMP] too many sessions, please try again later\r\n"}
EMBEDDED = {"backend remote": {"address": "embedded"}}
KEPT = 32 + 1  # refused clients whose own end is waited for, and the next one


def gatepost(places, wait, workers=1, **over):
    return library.Gatepost({"gatepost": {"workers": workers}, "limits": {"max_sessions": places, "session_wait": wait},
                             **EMBEDDED, **over}, users=())


def connect(gate, port, count):
    return [Wire(gate.port(port), 60) for _ in range(count)]


def greeted(gate, port, count):
    """So many sessions that stay."""
    wires = connect(gate, port, count)
    for wire in wires:
        wire.expect("220" if port != "pop3" else "+OK")
    return wires


def settle(gate, count=2):
    """The workers have seen what came before."""
    for _ in range(count):
        Ctl(gate).json("status")  # which asks them


def counters(gate):
    return Ctl(gate).json("stats")["counters"]


# what the client begins with, if it does not wait; what it hears
FULL = [("smtp", b"", WORDS["smtp"]), ("submission", b"", WORDS["smtp"]), ("pop3", b"", WORDS["pop3"]),
        ("smtp", b"EHLO me.example\r\nMAIL FROM:<a@b.example>\r\n", WORDS["smtp"]),
        ("pop3", b"CAPA\r\n" * 1000, WORDS["pop3"]),
        ("remote", b"RM/1 test/1 id=0123456789abcdef\r\n", WORDS["remote"]),
        ("remote", b"", b""), ("pop3s", b"", b""), ("pop3s", b"hello", b""),
        ("pop3s", "TLS", b""), ("smtp", "TLS", b""), ("remote", "TLS", b""), ("other", b"hello", b"")]


@pytest.fixture(scope="module")
def full():
    """A worker whose sessions are all taken."""
    gate = gatepost(3, "100ms", **{"listen other": {"port": 7, "protocol": "opaque", "backend": "remote"}})
    with gate:
        gate.wires = greeted(gate, "smtp", 3)
        yield gate


@pytest.mark.parametrize("port, early, words", FULL)
def test_p9_beyond_the_limit_a_client_is_refused_in_words_and_sees_an_end_that_is_no_reset(full, port, early, words):
    (worker,) = full.workers()
    os.kill(worker, signal.SIGSTOP)  # it finds them with all that they say
    wires = connect(full, port, 5)
    for wire in wires:
        wire.send_raw(wire.begin_tls(client_context()) if early == "TLS" else early)
        wire._tls = None  # what comes is no TLS
    os.kill(worker, signal.SIGCONT)
    for wire in wires:
        assert (wire.read_all(), wire.eof) == (words, "fin")
        wire.socket.close()
    for wire in full.wires:
        wire.command("NOOP", "250")


def test_the_refused_are_counted_and_told_in_one_line_of_the_log_and_a_place_that_is_freed_is_taken():
    with gatepost(3, "100ms") as gate:
        wires = greeted(gate, "smtp", 3)
        for _ in range(3):
            for wire in connect(gate, "smtp", 5):
                assert wire.read_all() == WORDS["smtp"]
        counted = counters(gate)
        assert (counted["sessions"], counted["sessions_refused"], counted["accept_waits"]) == (3, 15, 15)
        assert len(re.findall(r"warning worker 0: all 3 sessions are taken, .* \d+ clients were refused", gate.log())) == 1
        wires.pop().quit()
        gate.wait_for_log("session .*: ended")
        greeted(gate, "smtp", 1)
        gate.stop()
        assert sum(map(int, re.findall(r"(\d+) clients were refused", gate.log()))) == 15, "the rest is told at the end"


def test_a_session_that_ends_in_time_goes_to_one_who_waits():
    with gatepost(2, "1h") as gate:
        held, waiting = greeted(gate, "smtp", 2), connect(gate, "smtp", 2)
        for wire, next_one in zip(held, waiting):
            settle(gate)
            assert wire.silent(0) and next_one.silent(0)
            wire.quit()
            next_one.expect("220")
        counted = counters(gate)
        assert (counted["sessions"], counted["sessions_refused"], counted["accept_waits"]) == (4, 0, 2)


def test_no_port_gets_all_the_sessions_that_end():
    with gatepost(1, "1h") as gate:
        (held,) = greeted(gate, "smtp", 1)
        waiting = {port: connect(gate, port, 3) for port in ("smtp", "submission")}
        settle(gate)
        for _ in range(3):
            for port in waiting:
                held.quit()
                proc.wait_until(lambda: any(not wires[0].silent(0) for wires in waiting.values() if wires), 30, "a greeting")
                served = {name for name, wires in waiting.items() if wires and not wires[0].silent(0)}
                assert len(served) == 1
                held = waiting[served.pop()].pop(0)
                held.expect("220")
            assert len({len(wires) for wires in waiting.values()}) == 1, "one of each"


def test_a_higher_limit_lets_in_who_waits():
    with gatepost(1, "1h") as gate:
        held, waiting = greeted(gate, "smtp", 1), connect(gate, "smtp", 2)
        settle(gate)
        gate.sections["limits"]["max_sessions"] = 2
        gate.write_ini()
        Ctl(gate).good("reload")
        waiting[0].expect("220")
        held[0].quit()
        waiting[1].expect("220")


def test_nobody_is_refused_while_another_worker_takes_clients():
    with gatepost(2, "100ms", workers=2) as gate:
        busy, idle = gate.workers()
        os.kill(idle, signal.SIGSTOP)  # it takes clients, if not now
        held, waiting = greeted(gate, "smtp", 2), connect(gate, "smtp", 2)
        assert waiting[0].silent(1) and waiting[1].silent(0)
        os.kill(idle, signal.SIGCONT)
        for wire in waiting:
            wire.expect("220")
        counted = counters(gate)
        assert (counted["sessions"], counted["sessions_refused"], counted["accept_waits"]) == (4, 0, 0)
        late = connect(gate, "smtp", 5)
        for wire in late:
            assert wire.read_all() == WORDS["smtp"]
        assert counters(gate)["sessions_refused"] == 5
        for wire in held + waiting:
            wire.quit()


def test_a_worker_that_was_killed_and_is_not_started_again_is_not_waited_for():
    with gatepost(1, "100ms", workers=2) as gate:
        started = r"worker (\d): serves at most"
        for killed in range(1, 6):  # and is started later each time
            gate.kill(gate.workers()[-1])
            gate.wait_for_log("was ended by signal 9", count=killed)
            if killed < 5:
                gate.wait_for_log(started, count=2 + killed)
        gate.sections["gatepost"]["workers"] = 1
        gate.write_ini()
        Ctl(gate).good("reload")
        assert len(gate.workers()) == 1
        (held,) = greeted(gate, "smtp", 1)
        for wire in connect(gate, "smtp", 3):
            assert wire.read_all() == WORDS["smtp"]
        held.command("NOOP", "250")


def test_full_workers_refuse_also_after_clients_that_waited_have_filled_them():
    with gatepost(1, "4s", workers=2) as gate:
        held, waiting = greeted(gate, "smtp", 2), connect(gate, "smtp", 5)
        settle(gate)
        for wire in held:
            wire.quit()
        heard = sorted(wire.line()[:3] for wire in waiting)
        assert heard == [b"220"] * 2 + [b"421"] * 3


def test_nobody_is_refused_while_one_after_the_other_gets_a_session():
    with gatepost(1, "6s", workers=2) as gate:
        stays, held = greeted(gate, "smtp", 2)  # one worker is held by a long session
        waiting = connect(gate, "smtp", 40)
        begun = time.monotonic()
        while waiting:
            if time.monotonic() - begun < 8:
                time.sleep(0.5)
            held.quit()
            proc.wait_until(lambda: any(not wire.silent(0) for wire in waiting), 30, "a greeting")
            held = next(wire for wire in waiting if not wire.silent(0))
            waiting.remove(held)
            held.expect("220")
        assert counters(gate)["sessions_refused"] == 0
        stays.command("NOOP", "250")


def test_whom_from_does_not_name_hears_nothing_also_where_all_sessions_are_taken():
    with gatepost(1, "100ms", **{"listen submission": {"from": "192.0.2.0/24"}}) as gate:
        (held,) = greeted(gate, "smtp", 1)
        for port, words in (("submission", b""), ("smtp", WORDS["smtp"])):
            (wire,) = connect(gate, port, 1)
            assert (wire.read_all(), wire.eof) == (words, "fin")
        held.command("NOOP", "250")


def test_p8_many_who_do_not_go_away_take_few_descriptors_for_a_short_time():
    with gatepost(1, "100ms") as gate:
        (worker,), (held,) = gate.workers(), greeted(gate, "smtp", 1)
        Ctl(gate).json("status")  # which asks them
        before = proc.descriptor_count(worker)
        wires = connect(gate, "smtp", 300)
        for wire in wires:
            assert wire.read_all() == WORDS["smtp"]
            assert proc.descriptor_count(worker) <= before + KEPT
        proc.wait_until(lambda: proc.descriptor_count(worker) <= before, 30, "all refused clients are closed")
        held.command("NOOP", "250")
        assert counters(gate)["sessions_refused"] == 300
