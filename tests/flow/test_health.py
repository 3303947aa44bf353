"""Servers that are down, hang, are busy or refuse: who notices, what the log says, what clients hear, and how they come
back (rules 8, 9, 24)."""
import contextlib
import os
import re
import socket
import threading
import time

import pytest

import gatepost as library
import proc
from farm import CLIENT, KINDS, POP3, SMTP, Server, alone, behind, mute, outages, wait_outages, wait_served
from wire import Wire

WORKERS = (1, 2)


def together(kind, gate, count):
    """So many clients at once; what they were answered."""
    answers = []

    def ask():
        wire, answer = kind.enter(gate, timeout=60)
        answers.append(answer)
        wire.socket.close()

    clients = [threading.Thread(target=ask, daemon=True) for _ in range(count)]
    for client in clients:
        client.start()
    for client in clients:
        client.join()
    assert len(answers) == count
    return answers


# one of two


@pytest.mark.parametrize("kind, workers", [(SMTP, 1), (SMTP, 2), (POP3, 2)], ids=str)
def test_clients_of_a_server_that_hangs_are_served_by_the_next_and_later_ones_do_not_even_ask_it(
        folder, kind, workers):
    with Server(folder / "a.sock", kind.script("a")) as a, Server(folder / "b.sock", kind.script("b")) as b, \
            behind(kind, [a, b], workers) as gate:
        wait_served(gate, kind, "a")
        before = len(a.sessions)
        a.act = mute
        accepted = a.accepted
        assert all(answer.endswith(b"b") for answer in together(kind, gate, 5)), "each waits for it once"
        gate.wait_for_log("does not answer")
        assert [kind.served_by(gate) for _ in range(10)] == ["b"] * 10
        assert len(a.sessions) == before
        tries = [one for one in a.connections[accepted:] if not one.received]
        assert len(tries) <= 5 + 4, "five clients, and a check from time to time"
        wait_outages(gate, 1, 0)
        a.act = kind.script("a")
        for one in tries:
            one.wait_done()
        wait_served(gate, kind, "a")
        wait_outages(gate, 1, 1)


@pytest.mark.parametrize("kind", [SMTP], ids=str)
def test_a_connection_attempt_that_is_given_up_says_nothing_of_the_address_that_is_tried_next(folder, kind):
    """Over TCP, to a server whose backlog is full: SYN gets no answer."""
    with Server(("127.0.0.1", 0), kind.script("a"), backlog=0) as a, \
            Server(("127.0.0.1", 0), kind.script("b")) as b, behind(kind, [a, b]) as gate:
        wait_served(gate, kind, "a")
        a.pause()
        taken = a.fill()
        assert kind.served_by(gate) == "b"
        wait_outages(gate, 1, 0, a.item)
        assert not outages(gate, b.item)[0], outages(gate)
        assert kind.served_by(gate) == "b"
        for sock in taken:
            sock.close()
        a.resume()
        wait_served(gate, kind, "a")


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_a_server_that_hangs_from_the_start_delays_nobody_who_can_be_served_by_another(folder, kind):
    with Server(folder / "a.sock", mute) as a, Server(folder / "b.sock", kind.script("b")) as b, \
            behind(kind, [a, b], 2, connect_timeout="60s") as gate:
        assert [kind.served_by(gate) for _ in range(8)] == ["b"] * 8
        assert not a.sessions and not outages(gate)[0]


# each in words


def refuse_tcp(folder, server):
    return r"Connection refused"


def absent(folder, server):
    return r"No such file or directory"


def forbidden(folder, server):
    server.mode, server.owner = 0o600, (1, 2)
    server.up()
    server.mode = 0o666
    return r"Permission denied.*owner 1, group 2, mode 0600"


def stale(folder, server):
    with contextlib.closing(socket.socket(socket.AF_UNIX)) as left:
        left.bind(str(server.address))
    os.chmod(server.address, 0o666)
    return r"Connection refused.*owner \d+, group \d+, mode 0666"


WAYS = [(refuse_tcp, ("127.0.0.1", 0)), (refuse_tcp, ("::1", 0)), (absent, "a.sock"), (stale, "a.sock")]
if library.AS_ROOT:
    WAYS.append((forbidden, "a.sock"))
CASES = [(SMTP, *way) for way in WAYS] + [(POP3, *way) for way in WAYS[1:3]]


@pytest.mark.parametrize("kind, way, address", CASES, ids=lambda value: getattr(value, "__name__", str(value)))
def test_an_outage_is_logged_once_with_address_and_cause_and_its_end_once(folder, kind, way, address):
    address = address if isinstance(address, tuple) else folder / address
    with Server(address, kind.script("a")) as a, Server(folder / "b.sock", kind.script("b")) as b, \
            behind(kind, [a, b], 2) as gate:
        wait_served(gate, kind, "a")
        for number in (1, 2) if way is absent else (1,):
            a.wait_quiet()
            a.down()
            words = way(folder, a)
            assert [kind.served_by(gate) for _ in range(8)] == ["b"] * 8
            wait_outages(gate, number, number - 1)
            down = outages(gate)[0]
            assert re.search(re.escape(a.item) + r".*is out of service: .*" + words, down[-1]), down[-1]
            a.down()
            with contextlib.suppress(OSError, TypeError):
                os.unlink(a.address)
            a.up()
            wait_served(gate, kind, "a")
            wait_outages(gate, number, number)
            assert a.item in outages(gate)[1][-1]


# busy


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_a_full_backlog_is_busy_and_not_down_and_clients_are_served_when_it_accepts_again(folder, kind):
    with Server(folder / "a.sock", kind.script("a"), backlog=0) as a, \
            behind(kind, [a], 2, connect_timeout="60s") as gate:
        wait_served(gate, kind, "a")
        a.pause()
        taken = a.fill()
        wires = []
        for _ in range(4):
            wires.append(Wire(gate.port(kind.port), 60))
            kind.ask(wires[-1], "anna")
        assert all(wire.silent(0.3) for wire in wires), "they are tried again"
        for sock in taken:
            sock.close()
        a.resume()
        for wire in wires:
            assert wire.expect(kind.good)[-1].endswith(b"a")
            wire.quit()
        assert not outages(gate)[0]


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_a_backlog_that_stays_full_is_told_the_client_as_busy_and_leaves_the_server_in_service(folder, kind):
    with Server(folder / "a.sock", kind.script("a"), backlog=0) as a, behind(kind, [a]) as gate:
        wait_served(gate, kind, "a")
        a.pause()
        taken = a.fill()
        assert kind.refused(gate).startswith(kind.busy)
        assert not outages(gate)[0]
        for sock in taken:
            sock.close()
        a.resume()
        assert kind.served_by(gate) == "a"


def test_a_full_backlog_leaves_a_session_to_the_next_address(folder):
    with Server(folder / "a.sock", SMTP.script("a"), backlog=0) as a, \
            Server(folder / "b.sock", SMTP.script("b")) as b, behind(SMTP, [a, b]) as gate:
        wait_served(gate, SMTP, "a")
        a.pause()
        for sock in a.fill():
            sock.close()  # a closed one keeps its place until it is accepted
        assert SMTP.served_by(gate) == "b"
        assert not outages(gate)[0]
        a.resume()
        wait_served(gate, SMTP, "a")


# all of them


@pytest.mark.parametrize("kind, workers", [(SMTP, 2), (POP3, 1)], ids=str)
def test_while_all_are_down_clients_are_told_so_in_the_words_of_the_protocol(folder, kind, workers):
    with Server(folder / "a.sock", kind.script("a")) as a, Server(("127.0.0.1", 0), kind.script("b")) as b, \
            behind(kind, [a, b], workers) as gate:
        wait_served(gate, kind, "a")
        before, _ = greeted(kind, gate)
        a.down()
        b.down()
        finish_asking(kind, before)
        assert before.reply()[-1].startswith(kind.temporary), "who has been greeted before"
        assert before.at_eof()
        for _ in range(6):
            assert kind.refused(gate).startswith(kind.temporary)
        wait_outages(gate, 2, 0)
        b.up()
        wait_served(gate, kind, "b")


def greeted(kind, gate):
    """A client that has been told what the servers can do."""
    wire = Wire(gate.port(kind.port), 60)
    if kind is SMTP:
        wire.expect("220")
        wire.send(b"EHLO %s\r\n" % CLIENT)
        return wire, wire.reply()
    wire.expect("+OK")
    wire.command("CAPA", "+OK")
    return wire, wire.multiline()


def finish_asking(kind, wire):
    if kind is POP3:
        wire.command("USER anna", "+OK")
    wire.send(b"MAIL FROM:<bert@example.org>\r\n" if kind is SMTP else b"PASS pw\r\n")


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_while_all_hang_clients_are_told_so_too(folder, kind):
    with Server(folder / "a.sock", mute) as a, Server(("127.0.0.1", 0), mute) as b, \
            behind(kind, [a, b], 2, connect_timeout="1s") as gate:
        for _ in range(2):
            assert all(answer.startswith(kind.temporary) for answer in together(kind, gate, 4))
        wait_outages(gate, 2, 0)
        assert not a.sessions and not b.sessions


# servers that say no


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_a_banner_of_421_takes_the_address_out_with_its_words_in_the_log(folder, kind):
    words = b"421 4.3.2 closed for stock-taking" if kind is SMTP else b"-ERR closed for stock-taking"

    def closed(wire, connection):
        wire.send(words + b"\r\n")

    with Server(folder / "a.sock", kind.script("a")) as a, Server(folder / "b.sock", kind.script("b")) as b, \
            behind(kind, [a, b], 2) as gate:
        wait_served(gate, kind, "a")
        a.act = closed
        assert [kind.served_by(gate) for _ in range(6)] == ["b"] * 6, "and the session goes to another"
        wait_outages(gate, 1, 0)
        assert "closed for stock-taking" in outages(gate)[0][0], outages(gate)
        b.act = closed
        assert kind.refused(gate).startswith(words), "the last one's own words"
        wait_outages(gate, 2, 0)
        a.act = kind.script("a")
        wait_served(gate, kind, "a")


def test_a_banner_of_554_is_passed_as_it_is_and_takes_nothing_out(folder):
    with Server(folder / "a.sock", SMTP.script("a")) as a, Server(folder / "b.sock", SMTP.script("b")) as b, \
            behind(SMTP, [a, b], 2) as gate:
        wait_served(gate, SMTP, "a")
        a.act = lambda wire, connection: wire.send(b"554-5.7.1 not you\r\n554 5.7.1 go away\r\n")
        for _ in range(3):
            assert SMTP.refused(gate) == b"554 5.7.1 go away"
        a.act = SMTP.script("a")
        assert SMTP.served_by(gate) == "a"
        assert not outages(gate)[0] and not b.sessions


@pytest.mark.parametrize("after", ["EHLO", "MAIL", "RCPT"])
def test_a_server_that_leaves_between_commands_is_told_the_client_in_words(folder, after):
    with Server(folder / "a.sock", SMTP.script("a")) as a, behind(SMTP, [a]) as gate:
        with Wire(gate.port("smtp")) as wire:
            SMTP.ask(wire, "anna")
            wire.expect("250")
            if after == "RCPT":
                wire.command("RCPT TO:<anna@gatepost.test>", "250")
            if after == "EHLO":
                wire.command("RSET", "250")
            a.down()
            assert wire.read_all().startswith(b"421 4.4.2 ") and wire.eof == "fin"


# checks


def whole(kind, one):
    """Is this a dialogue from the banner to the goodbye, which was read?"""
    return one.ended == "fin" and [line.split()[0] for line in one.lines] == kind.whole


def waiting_for_the_end(act):
    """The script, and after the goodbye to a dialogue the peer's end, so that the record shows how it came."""
    def script(wire, connection):
        act(wire, connection)
        if connection in connection.server.dialogues:
            wire.read_all()

    return script


@pytest.mark.parametrize("kind, workers, form", [(SMTP, 1, "tcp"), (SMTP, 2, "unix"), (POP3, 1, "unix"),
                                                 (POP3, 2, "tcp")], ids=str)
def test_a_server_that_comes_back_is_in_service_without_a_client_after_whole_dialogues_only(
        folder, kind, workers, form):
    address = ("127.0.0.1", 0) if form == "tcp" else folder / "a.sock"
    with Server(address, waiting_for_the_end(kind.script("a"))) as a, behind(kind, [a], workers) as gate:
        assert kind.served_by(gate) == "a"
        for number in (1, 2):
            a.down()
            for worker in gate.workers():
                with alone(gate, worker):
                    assert kind.refused(gate).startswith(kind.temporary)
            sessions, accepted, a.most = len(a.sessions), a.accepted, 0
            a.up()
            gate.wait_for_log("answers again", count=number)
            proc.wait_until(lambda: len(a.connections) - accepted == 2 * workers, 15, "it is learned by every worker")
            assert len(a.sessions) == sessions, "no client came"
            for one in a.connections[accepted:]:
                one.wait_done()
                assert whole(kind, one), (one.ended, one.lines)
            assert a.most <= workers, "one dialogue at a time of each worker"
        assert kind.served_by(gate) == "a"


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_a_server_that_is_absent_at_the_start_is_found_without_a_client(folder, kind):
    with Server(folder / "a.sock", kind.script("a")) as a:
        a.down()
        with behind(kind, [a], 2) as gate:
            wait_outages(gate, 1, 0)
            a.up()
            gate.wait_for_log("answers again")
            assert not a.sessions
            assert kind.served_by(gate) == "a"
            wait_outages(gate, 1, 1)


@pytest.mark.parametrize("kind", [SMTP], ids=str)
def test_checks_of_a_server_that_refuses_become_rarer_and_wait_for_its_goodbye(folder, kind):
    words = b"421 4.3.2 not yet\r\n" if kind is SMTP else b"-ERR not yet\r\n"

    def not_yet(wire, connection):
        connection.at = time.monotonic()
        wire.send(words)
        wire.read_all()

    with Server(folder / "a.sock", kind.script("a")) as a, Server(folder / "b.sock", kind.script("b")) as b, \
            behind(kind, [a, b], 2) as gate:
        wait_served(gate, kind, "a")
        proc.wait_until(lambda: len(a.dialogues) == 4 and all(one.done.is_set() for one in a.dialogues), 20, "all is learned")
        a.act = not_yet
        a.most = 0
        began = time.monotonic()
        first = a.accepted
        assert kind.served_by(gate) == "b"
        proc.wait_until(lambda: a.accepted >= first + 4, 30, "a session, and three checks")
        checks = a.connections[first + 1:first + 4]
        assert time.monotonic() - began >= 0.5 + 1 + 2 - 0.1, "0.5, 1, 2 s: less often each time"
        assert all(one.received == b"" for one in checks)
        assert a.most == 1
        wait_outages(gate, 1, 0)


def test_a_server_that_says_no_goodbye_is_in_service_all_the_same(folder):
    def no_goodbye(wire, connection):
        SMTP.script("a", answers={b"QUIT": lambda *_: wire.read_all() and b""})(wire, connection)

    with Server(folder / "a.sock", no_goodbye) as a, behind(SMTP, [a]) as gate:
        wire, reply = SMTP.enter(gate)
        assert reply.endswith(b"a")
        wire.reset()
        assert not outages(gate)[0]


def test_a_server_that_takes_its_time_for_each_answer_to_the_relay_test_is_in_service(folder):
    """Each of them within connect_timeout, all together beyond it."""
    def slowly(wire, connection, line):
        time.sleep(0.7)

    answers = {verb: slowly for verb in (b"EHLO", b"RCPT", b"RSET")}
    with Server(folder / "a.sock", SMTP.script("a", answers=answers)) as a, behind(SMTP, [a]) as gate:
        proc.wait_until(lambda: [one for one in a.dialogues if one.done.is_set()], 20, "a whole dialogue")
        assert SMTP.served_by(gate) == "a"
        assert not outages(gate)[0], outages(gate)


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_a_new_worker_takes_over_the_checks_of_one_that_died(folder, kind):
    with Server(folder / "a.sock", kind.script("a")) as a, Server(folder / "b.sock", kind.script("b")) as b, \
            behind(kind, [a, b]) as gate:
        wait_served(gate, kind, "a")
        a.down()
        assert kind.served_by(gate) == "b"
        gate.kill(gate.workers()[0])
        gate.wait_for_log("serves again")
        a.up()
        gate.wait_for_log("answers again")
        wait_outages(gate, 1, 1)
        wait_served(gate, kind, "a")


def test_what_began_before_an_outage_does_not_end_it(folder):
    """A server with room for few: those whom it has welcomed already say nothing of those whom it refuses now."""
    def slow_welcome(wire, connection):
        wire.send(b"220 backend.test ESMTP\r\n")
        wire.line()
        gone.append(connection)
        proc.wait_until(lambda: released, 30, "the test lets it go on")
        wire.send(b"250 backend.test\r\n")
        wire.read_all()

    gone, released = [], []
    with Server(folder / "a.sock", SMTP.script("a", words=())) as a, \
            Server(folder / "b.sock", SMTP.script("b", words=())) as b, \
            behind(SMTP, [a, b], connect_timeout="30s") as gate:
        wait_served(gate, SMTP, "a")
        a.act = slow_welcome
        early = Wire(gate.port("smtp"), 60)
        SMTP.ask(early, "anna")
        proc.wait_until(lambda: gone, 15, "it is being welcomed")
        a.act = lambda wire, connection: wire.send(b"421 4.3.2 too many\r\n")
        assert SMTP.served_by(gate) == "b"
        wait_outages(gate, 1, 0)
        released.append(True)
        proc.wait_until(lambda: b"MAIL" in gone[0].received, 15, "it goes on")
        assert not outages(gate)[1], "it is out of service still"
        assert SMTP.served_by(gate) == "b"
        early.reset()
