"""Several addresses behind one name: in which order they serve, what they can do together, how many connections each
may have."""
import pytest

import proc
from farm import KINDS, POP3, SMTP, SMTP_LOGIN, Server, behind, wait_served

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


@pytest.mark.parametrize("workers", WORKERS)
@pytest.mark.parametrize("kind", KINDS, ids=str)
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
        gate.wait_idle()


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
        gate.wait_idle()


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
