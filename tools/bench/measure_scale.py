"""Many connections, and many at once: cases where one load runs beside another. As in measure.py, a function measures one
case at one proxy, and returns what came out."""
import contextlib
import pathlib

import cases
from lab import Load, run_load
from measure import command_of, service_of, warm_up

PER_WORKER = 9000  # connections; each needs two descriptors of the worker, which may have 20,000 here
IDLE = cases.Case("idle", "sessions", "", ("pop3s",), "--mode idle --stage logged-in", "connection")
BULK = cases.Case("bulk", "messages", "", ("pop3s",), "--mode retr --octets 26214400 --sessions 1", "MiB")
PING = cases.Case("ping", "messages", "", ("pop3s",), "--mode ping --sessions 8 --pause 5", "request")
DROPS = ("ListenOverflows", "ListenDrops", "TCPReqQFullDrop", "TCPReqQFullDoCookies")
SETTLED_S = 0.5


def possible(case, words):
    """Can a proxy with these capabilities run what belongs to the case?"""
    beside = case.kind == "burst"
    return service_of(case, words) and (not beside or service_of(PING, words))


@contextlib.contextmanager
def beside(command):
    """Another load, from its own settling on until the end of the block; yields it."""
    with Load(command) as load:
        load.await_result()
        yield load


def neighbours(case, lab, name, connections, rounds):
    """Rounds of the case beside connections that stay, at a proxy that was started for them: a list of results."""
    workers = -(-connections // PER_WORKER)
    lab.stop_peers()
    peer = lab.peer(name, workers, everywhere=workers > 1)
    warm_up(case, lab, peer)
    results = []
    with beside(command_of(IDLE, lab, peer, "--sessions", connections, "--processes", workers, "--hold")) as idle:
        for _ in range(rounds):
            result = run_load(command_of(case, lab, peer))
            result["errors"] = result.get("errors", 0) + idle.result.get("errors", 0)
            result["first_error"] = result.get("first_error") or idle.result.get("first_error", "")
            results.append({**result, "connections": connections, "workers": workers, "held": idle.result.get("held", 0),
                            "kib_per_connection": idle.result.get("kib_per_connection", 0)})
    lab.stop_peers()
    return results


def drops():
    """How many connection requests the kernel has thrown away in this network namespace."""
    lines = pathlib.Path("/proc/net/netstat").read_text().splitlines()
    heads, values = next((lines[at].split(), lines[at + 1].split()) for at in range(0, len(lines), 2)
                         if lines[at].startswith("TcpExt:"))
    counters = dict(zip(heads, values))
    return sum(int(counters.get(name, 0)) for name in DROPS)


def burst(case, lab, name, connections):
    """All connections in a second, and what eight sessions that say NOOP every few milliseconds notice of it."""
    peer = lab.peer(name)
    warm_up(PING, lab, peer)
    alone = run_load(command_of(PING, lab, peer, "--seconds", 1))
    before = drops()
    with Load(command_of(PING, lab, peer, "--seconds", 3, "--gated")) as pinging:
        pinging.await_word("ready")
        pinging.go_on()
        result = run_load(command_of(case, lab, peer, "--sessions", connections, "--settle", SETTLED_S, "--processes", 2))
        pinging.await_word("done")
        pinging.go_on()
    errors = [part for part in (alone, pinging.result) if part.get("errors")]
    answered = sum(result.get(outcome, 0) for outcome in ("served", "refused", "closed"))
    return {**result, "connections": connections, "silent": connections - answered, "dropped": drops() - before,
            "ping_longest_us_before": alone.get("longest_us", 0),
            "ping_longest_us": pinging.result.get("longest_us", 0),
            "errors": result.get("errors", 0) + sum(part["errors"] for part in errors),
            "first_error": next((part["first_error"] for part in [*errors, result] if part.get("first_error")), "")}


def bulk(case, lab, name):
    """The case alone, and beside another session in which one large message follows the other."""
    peer = lab.peer(name)
    alone = run_load(command_of(case, lab, peer))
    with Load(command_of(BULK, lab, peer, "--gated")) as moving:
        moving.await_word("ready")
        moving.go_on()
        result = run_load(command_of(case, lab, peer))
        moving.await_word("done")
        moving.go_on()
    parts = (alone, result, moving.result)
    return {**result, "p99_us_alone": alone.get("p99_us", 0), "bulk_mib_per_s": moving.result.get("mib_per_s", 0),
            "errors": sum(part.get("errors", 0) for part in parts),
            "first_error": next((part["first_error"] for part in parts if part.get("first_error")), "")}
