"""Runs one case against one proxy once, and returns what came out as a dictionary.

Every result has: case, label (the proxy), errors, first_error; and what bench-load printed."""
import json
import subprocess

from cases import SUITE_13, TLS_FIRST
from lab import Load, Trace, run_load


def service_of(case, peer):
    """The service of the proxy that the case uses, or None."""
    for service in case.services:
        words = peer.get(service)
        if words is not None and (case.tls or "tlsonly" not in words):
            return service
    return None


def arguments(case, service, words, options):
    """Of bench-load, for a case at a proxy's service."""
    given = case.load.split()
    if case.tls:
        given += ["--tls", "first" if service in TLS_FIRST else "starttls"]
    if "login" in words:
        given += ["--login"]
    if case.tls and "--mode session" not in case.load:
        given += ["--ciphers", SUITE_13]
    return [*given, "--seconds", str(options.seconds), "--warmup", str(options.warmup), "--operations",
            str(options.operations), "--processes", str(options.processes)]


def command_of(case, lab, peer, *more):
    """The words that start bench-load for a case, against a running proxy."""
    service = service_of(case, peer.capabilities)
    given = arguments(case, service, peer.capabilities[service], lab.options)
    return lab.load_command(peer, service, [*given, *map(str, more)])


def operations(case, lab, name):
    """One round of a case that counts operations."""
    return run_load(command_of(case, lab, lab.peer(name)))


def with_workers(case, lab, name, workers):
    """The same for a proxy with one or two workers, both on all CPUs, so that only their number differs."""
    result = run_load(command_of(case, lab, lab.peer(name, workers, everywhere=True)))
    return {**result, "workers": workers}


def least_counted(case):
    """Operations to count the calls of: enough that those on the way at both ends do not show."""
    return {"session": 300, "MiB": 4}.get(case.unit, 1000)


def calls(case, lab, name):
    """One round with the system calls counted: {"calls": {name: for each operation or MiB, "total": ...}}."""
    peer = lab.peer(name)
    with Load(command_of(case, lab, peer, "--operations", least_counted(case), "--gated")) as load:
        load.await_word("ready")
        with Trace(peer, lab.folder) as trace:
            load.go_on()
            load.await_word("done")
        load.go_on()
    result = load.result
    whole = result.get("mib" if case.unit == "MiB" else "operations") or 1
    result["calls"] = {name: round(count / whole, 2) for name, count in sorted(trace.counted.items(), key=lambda x: -x[1])
                       if count >= 0.05 * whole}
    result["calls"]["total"] = round(sum(trace.counted.values()) / whole, 2)
    return result


def floor(lab):
    """What the parts of a session cost on this machine without any proxy: a list of {"what", "cost", "unit"}."""
    at = lab.environment
    said = subprocess.run([lab.programs / "bench-floor", at["BENCH_CERT"], at["BENCH_KEY"], str(lab.options.seconds / 2)],
                          capture_output=True, text=True, check=True).stdout
    return [{**json.loads(line), "errors": 0} for line in said.splitlines()]


def warm_up(case, lab, peer):
    """A few sessions, so that what a proxy sets up once is set up."""
    service = service_of(case, peer.capabilities)
    tls = "first" if service in TLS_FIRST else "none"
    run_load(lab.load_command(peer, service, ["--tls", tls, "--sessions", "2", "--seconds", "0.3", "--warmup", "0.1"]))


def idle(case, lab, name, connections):
    """Connections that stay, at a proxy that was started for them, after a short warm-up."""
    lab.stop_peers()
    peer = lab.peer(name)
    warm_up(case, lab, peer)
    result = run_load(command_of(case, lab, peer, "--sessions", connections))
    lab.stop_peers()
    return {**result, "connections": connections}
