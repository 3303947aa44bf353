"""Several addresses behind one name: in which order they serve, what they can do together, how many connections each
may have."""
import threading
import time

import pytest

import proc
from backend import EHLO_WORDS
from farm import KINDS, POP3, SMTP, SMTP_LOGIN, Server, alone, behind, outages, wait_outages, wait_served
from wire import Wire

WORKERS = (1, 2)
CLIENTS = [f"127.0.0.{number}" for number in range(2, 32)]
USERS = [f"user{number}" for number in range(30)]


@pytest.fixture
def three(folder):
    """Starts servers a, b and c of one kind, at addresses of three forms."""
    servers = []

    def start(kind, **more):
        for name, address in (("a", ("127.0.0.1", 0)), ("b", ("::1", 0)), ("c", folder / "c.sock")):
            servers.append(Server(address, kind.script(name, **more)))
        return servers

    yield start
    for server in servers:
        server.close()
        assert not server.errors, server.errors


# the order


@pytest.mark.parametrize("kind, workers", [(SMTP, 2), (POP3, 1)], ids=str)
def test_addresses_of_every_form_serve_in_the_order_of_the_list_and_the_first_serves_again_when_it_is_back(
        three, kind, workers):
    a, b, c = three(kind)
    with behind(kind, [a, b, c], workers) as gate:
        wait_served(gate, kind, "a")
        a.down()
        assert [kind.served_by(gate) for _ in range(4)] == ["b"] * 4
        b.down()
        assert [kind.served_by(gate) for _ in range(4)] == ["c"] * 4
        b.up()
        gate.wait_for_log("answers again")
        wait_served(gate, kind, "b")
        a.up()
        gate.wait_for_log("answers again", count=2)
        wait_served(gate, kind, "a")


@pytest.mark.parametrize("workers", WORKERS)
@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_round_robin_gives_each_address_its_share_and_that_of_one_that_left_to_the_others(three, kind, workers):
    servers = three(kind)
    with behind(kind, servers, workers, policy="round-robin") as gate:
        proc.wait_until(lambda: len({kind.served_by(gate) for _ in range(6)}) == 3, 15, "all three are learned")
        served = [kind.served_by(gate) for _ in range(30)]
        for name in "abc":
            assert abs(served.count(name) - 10) < workers + 1, served
        servers[1].down()
        assert {kind.served_by(gate) for _ in range(8)} == {"a", "c"}


def placed(gate, kind, clients):
    return {name: kind.served_by(gate, **client) for name, client in clients.items()}


@pytest.mark.parametrize("workers", WORKERS)
@pytest.mark.parametrize("kind, policy", [(SMTP, "hash-client"), (POP3, "hash-client"), (POP3, "hash-user"),
                                          (SMTP_LOGIN, "hash-user")], ids=str)
def test_a_hash_gives_each_the_same_address_each_time_and_moves_only_those_of_the_one_that_left(
        three, kind, policy, workers):
    servers = three(kind)
    if policy == "hash-client":
        clients = {source: {"source": source} for source in CLIENTS}
    else:
        clients = {user: {"user": user} for user in USERS}
    with behind(kind, servers, workers, policy=policy) as gate:
        proc.wait_until(lambda: set(placed(gate, kind, clients).values()) == set("abc"), 15, "all three are learned")
        before = placed(gate, kind, clients)
        assert placed(gate, kind, clients) == before
        assert all(list(before.values()).count(name) > 3 for name in "abc"), "no address has nearly nobody"
        servers[2].down()
        without = placed(gate, kind, clients)
        assert {name: at for name, at in before.items() if at != "c"} == {
            name: at for name, at in without.items() if before[name] != "c"}
        assert "c" not in without.values()
        servers[2].up()
        gate.wait_for_log("answers again")
        proc.wait_until(lambda: placed(gate, kind, clients) == before, 30, "everybody is where they were")


def test_hash_user_takes_letters_of_either_case_for_the_same_user(three):
    servers = three(POP3)
    with behind(POP3, servers, 2, policy="hash-user") as gate:
        proc.wait_until(lambda: len({POP3.served_by(gate, user=user) for user in USERS}) == 3, 15, "all are learned")
        for user in USERS[:6]:
            assert POP3.served_by(gate, user=user.upper()) == POP3.served_by(gate, user=user)


# what is offered


LESS = {SMTP: ("PIPELINING", "SIZE 1000000", "8BITMIME", "AUTH LOGIN CRAM-MD5"),
        POP3: ("TOP", "UIDL", "USER", "SASL LOGIN")}
MORE = {SMTP: ("PIPELINING", "SIZE 2000000", "8BITMIME", "CHUNKING", "SMTPUTF8", "AUTH PLAIN LOGIN"),
        POP3: ("TOP", "UIDL", "USER", "PIPELINING", "EXPIRE 30", "SASL PLAIN LOGIN")}
OURS = {"RESP-CODES", "AUTH-RESP-CODE"}  # the proxy uses them itself
BOTH = {SMTP: ["8BITMIME", "AUTH LOGIN", "PIPELINING", "SIZE 1000000"], POP3: ["SASL LOGIN", "TOP", "UIDL", "USER"]}


def offer(kind, gate):
    return [word for word in kind.offer(gate) if word not in OURS]


def wait_offer(kind, gate, words, in_a_row=6):
    words = sorted(words)
    proc.wait_until(lambda: all(offer(kind, gate) == words for _ in range(in_a_row)), 30,
                    lambda: f"{words}, not {offer(kind, gate)}\n{gate.log()[-3000:]}")


@pytest.mark.parametrize("workers", WORKERS)
@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_p2_what_is_offered_is_what_all_addresses_in_service_can_do(folder, kind, workers):
    with Server(folder / "a.sock", kind.script("a", words=LESS[kind])) as a, \
            Server(folder / "b.sock", kind.script("b", words=MORE[kind])) as b, \
            behind(kind, [a, b], workers) as gate:
        wait_offer(kind, gate, BOTH[kind])
        a.down()
        assert kind.served_by(gate) == "b"  # who finds it out
        wait_offer(kind, gate, MORE[kind])
        a.up()
        wait_offer(kind, gate, BOTH[kind])


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_p2_what_is_hidden_is_offered_by_nobody_however_it_was_learned(folder, kind):
    hide = "chunking, SIZE, auth" if kind is SMTP else "pipelining, EXPIRE, sasl"
    seen = ["8BITMIME", "PIPELINING", "SMTPUTF8"] if kind is SMTP else ["TOP", "UIDL", "USER"]
    with Server(folder / "a.sock", kind.script("a", words=MORE[kind])) as a, behind(kind, [a], hide=hide) as gate:
        wait_offer(kind, gate, seen)
        assert kind.served_by(gate) == "a"  # its own EHLO says all again
        assert offer(kind, gate) == seen
        a.down()
        assert kind.refused(gate).startswith(kind.temporary)
        a.up()
        gate.wait_for_log("answers again")
        wait_offer(kind, gate, seen)


@pytest.mark.parametrize("workers", WORKERS)
def test_p2_sessions_that_were_offered_more_than_a_restarted_server_has_hear_421_before_any_command_reaches_it(
        folder, workers):
    with Server(folder / "a.sock", SMTP.script("a")) as a, behind(SMTP, [a], workers) as gate:
        wait_offer(SMTP, gate, EHLO_WORDS)
        before = [Wire(gate.port("smtp")) for _ in range(6)]
        for wire in before:
            wire.expect("220")
            wire.send(b"EHLO me.example\r\n")
            assert b"250-CHUNKING" in wire.reply()
        less = SMTP.script("a", words=("PIPELINING", "SIZE 1000"))
        a.act = less  # as fast as nobody notices
        for wire in before:
            wire.command("MAIL FROM:<bert@example.org>", "421 4.3.2")
            assert wire.at_eof()
        assert len(a.sessions) == 6
        assert not [line for one in a.sessions for line in one.lines if not line.startswith(b"EHLO")]
        for worker in gate.workers():
            with alone(gate, worker):
                SMTP.enter(gate)[0].close()  # who finds it out, if those before came to the other worker
                wait_offer(SMTP, gate, ["PIPELINING", "SIZE 1000"])
                assert SMTP.served_by(gate) == "a"
        assert not outages(gate)[0]


def test_p2_a_session_that_was_offered_more_goes_to_an_address_that_has_it(folder):
    with Server(folder / "a.sock", SMTP.script("a", words=LESS[SMTP])) as a, \
            Server(folder / "b.sock", SMTP.script("b", words=MORE[SMTP])) as b, behind(SMTP, [a, b]) as gate:
        wait_offer(SMTP, gate, BOTH[SMTP])
        a.down()
        assert SMTP.served_by(gate) == "b"
        with Wire(gate.port("smtp")) as wire:
            wire.expect("220")
            wire.send(b"EHLO me.example\r\n")
            assert b"250-CHUNKING" in wire.reply()
            a.up()
            gate.wait_for_log("answers again")
            wait_offer(SMTP, gate, BOTH[SMTP])
            assert wire.command("MAIL FROM:<bert@example.org>", "250")[0].endswith(b"b")
            wire.quit()
        assert SMTP.served_by(gate) == "a"


def test_p2_a_server_that_offers_more_since_its_restart_is_noticed_by_the_ehlo_of_a_session(folder):
    with Server(folder / "a.sock", SMTP.script("a", words=("SIZE 1000",))) as a, behind(SMTP, [a]) as gate:
        wait_offer(SMTP, gate, ["SIZE 1000"])
        dialogues = len(a.dialogues)
        a.act = SMTP.script("a", words=MORE[SMTP])
        assert offer(SMTP, gate) == ["SIZE 1000"], "nobody has asked it again"
        assert SMTP.served_by(gate) == "a"
        assert offer(SMTP, gate) == sorted(MORE[SMTP])
        assert len(a.dialogues) == dialogues, "the session was enough"


# how many connections


@pytest.mark.parametrize("kind, form, workers", [(SMTP, "tcp", 2), (SMTP, "unix", 1), (POP3, "unix", 2),
                                                 (POP3, "tcp", 1)], ids=str)
def test_max_connections_is_never_passed_and_those_that_wait_are_served_as_places_come_free(
        folder, kind, form, workers):
    address = ("127.0.0.1", 0) if form == "tcp" else folder / "a.sock"
    with Server(address, kind.script("a")) as a, \
            behind(kind, [a], workers, max_connections="2", connect_timeout="30s") as gate:
        wait_served(gate, kind, "a", in_a_row=4)
        clients = [threading.Thread(target=come_and_go, args=(kind, gate, 3), daemon=True) for _ in range(6)]
        for client in clients:
            client.start()
        for client in clients:
            client.join()
        proc.wait_until(lambda: len(a.sessions) == 4 + 6 * 3, 10, lambda: f"all were served: {gate.log()[-3000:]}")
        assert a.most == 2, "the learning dialogues too"


def come_and_go(kind, gate, times):
    for _ in range(times):
        wire, reply = kind.enter(gate, timeout=60)
        assert reply.startswith(kind.good)
        wire.command("NOOP", kind.good)
        wire.quit()


def taken_up(wire):
    """Waits until a worker has read all that the client sent."""
    ours = "%s:%04X" % ("0100007F", wire.socket.getsockname()[1])

    def read():
        with open("/proc/net/tcp") as table:
            rows = [line.split() for line in table]
        return any(row[2] == ours and row[3] == "01" and row[4].endswith(":00000000") for row in rows)

    proc.wait_until(read, 15, "the client's octets are read")


def queue(kind, gate, count):
    """So many clients, each waiting for a place, in this order, and at the workers in turn."""
    wires, workers = [], gate.workers()
    for number in range(count):
        with alone(gate, workers[number % len(workers)]):
            wire = Wire(gate.port(kind.port), 60)
            kind.ask(wire, "anna")
            taken_up(wire)
            wires.append(wire)
    return wires


@pytest.mark.parametrize("workers", WORKERS)
@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_clients_that_wait_for_a_place_are_served_in_the_order_in_which_they_came(folder, kind, workers):
    with Server(folder / "a.sock", kind.script("a")) as a, \
            behind(kind, [a], workers, max_connections="1", connect_timeout="60s") as gate:
        wait_served(gate, kind, "a", in_a_row=4)
        first, reply = kind.enter(gate)
        assert reply.startswith(kind.good)
        waiting = queue(kind, gate, 8)
        first.quit()
        for number, wire in enumerate(waiting):
            wire.expect(kind.good)
            assert not [n for n, other in enumerate(waiting[number + 1:]) if not other.silent(0)], "one overtook"
            wire.quit()
        assert a.most == 1


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_a_client_that_waits_for_a_place_longer_than_connect_timeout_is_told_that_the_server_is_busy(folder, kind):
    with Server(folder / "a.sock", kind.script("a")) as a, behind(kind, [a], 2, max_connections="1") as gate:
        wait_served(gate, kind, "a", in_a_row=4)
        first, _ = kind.enter(gate)
        assert kind.refused(gate).startswith(kind.busy)
        gate.wait_for_log("the server is busy")
        assert len(a.sessions) == 5 and not outages(gate)[0], "it was not asked, and is not down"
        first.quit()
        assert kind.served_by(gate) == "a"


def test_a_full_address_leaves_a_session_to_the_next_one_after_connect_timeout(folder):
    with Server(folder / "a.sock", SMTP.script("a")) as a, Server(folder / "b.sock", SMTP.script("b")) as b, \
            behind(SMTP, [a, b], max_connections="1") as gate:
        wait_served(gate, SMTP, "a", in_a_row=4)
        first, _ = SMTP.enter(gate)
        assert SMTP.served_by(gate) == "b"
        first.quit()
        assert not outages(gate)[0]


@pytest.mark.parametrize("kind, workers", [(SMTP, 1), (POP3, 2)], ids=str)
def test_clients_that_wait_for_a_place_at_an_address_that_goes_out_of_service_go_to_the_next(folder, kind, workers):
    with Server(folder / "a.sock", kind.script("a")) as a, Server(folder / "b.sock", kind.script("b")) as b, \
            behind(kind, [a, b], workers, max_connections="1", connect_timeout="3s") as gate:
        wait_served(gate, kind, "a")
        def welcome_and_hang(wire, connection):
            wire.send(b"220 hello\r\n" if kind is SMTP else b"+OK hello\r\n")
            wire.read_all()

        before = len(a.sessions)
        a.act = welcome_and_hang
        waiting = queue(kind, gate, 1)
        time.sleep(0.7)  # so that their own time is not over when that of the first is
        waiting += queue(kind, gate, 3)
        servers = []

        def leave_when_served(wire):
            servers.append(wire.reply()[-1].split()[-1])
            wire.quit()

        clients = [threading.Thread(target=leave_when_served, args=(wire,), daemon=True) for wire in waiting]
        for client in clients:
            client.start()
        for client in clients:
            client.join()
        assert servers == [b"b"] * 4
        assert len(a.sessions) == before + 1, "one was enough"
        wait_outages(gate, 1, 0)


@pytest.mark.parametrize("kind, end", [(SMTP, "reset"), (SMTP, "vanish"), (POP3, "reset")], ids=str)
def test_p3_clients_that_vanish_while_they_wait_for_a_place_leave_no_trace(folder, kind, end):
    with Server(folder / "a.sock", kind.script("a")) as a, \
            behind(kind, [a], max_connections="1", connect_timeout="60s") as gate:
        wait_served(gate, kind, "a", in_a_row=4)
        first, _ = kind.enter(gate)
        for wire in queue(kind, gate, 8):
            getattr(wire, end)()
        last = queue(kind, gate, 1)[0]
        first.quit()
        last.expect(kind.good)
        last.quit()
        assert a.most == 1
        assert kind.served_by(gate) == "a", "all places are back"


@pytest.mark.parametrize("form", ["tcp", "unix"])
def test_a_place_is_free_when_the_server_has_lost_its_client_and_not_before(folder, form):
    """A server over TCP that takes its time to close: until then it still has the connection."""
    def stubborn(wire, connection):
        try:
            SMTP.script("a")(wire, connection)
        finally:
            time.sleep(0.2)

    address = ("127.0.0.1", 0) if form == "tcp" else folder / "a.sock"
    with Server(address, SMTP.script("a")) as a, behind(SMTP, [a], max_connections="1", connect_timeout="30s") as gate:
        wait_served(gate, SMTP, "a", in_a_row=2)
        a.act = stubborn
        for _ in range(5):
            wire, _ = SMTP.enter(gate)
            wire.reset()
        a.act = SMTP.script("a")
        assert SMTP.served_by(gate) == "a"
        assert a.most == 1


def test_kill_9_of_a_worker_gives_its_places_back(folder):
    with Server(folder / "a.sock", SMTP.script("a")) as a, \
            behind(SMTP, [a], max_connections="2", connect_timeout="30s") as gate:
        wait_served(gate, SMTP, "a", in_a_row=4)
        held = [SMTP.enter(gate)[0] for _ in range(2)]
        for _ in range(3):
            waiting = queue(SMTP, gate, 2)
            gate.kill(gate.workers()[0])
            for wire in held + waiting:
                wire.read_all()
                assert wire.eof
            gate.wait_for_log("serves again", count=1)
            held = [SMTP.enter(gate)[0] for _ in range(2)]
        assert a.most == 2
        for wire in held:
            wire.quit()
