"""What a fixed script of sessions (lib/counted.py) costs a worker, by its own counters (gatepostctl stats) and by its system
calls (strace), compared exactly with counters.json: a change that reads, writes, copies, allocates or calls the kernel more
often than before fails here, in the commit that makes it.

Where that is meant, or something has become cheaper, write the table anew and commit it with the change:

    /usr/bin/python3 -m pytest flow/test_counters.py --update

The script runs once unmeasured, for what is taken once and kept. Not compared: octets copied in handshakes, as signatures
and tickets differ in size; epoll_wait, which depends on how often the worker falls asleep; recvmsg, the supervisor's word."""
import collections
import json
import pathlib
import re
import ssl
import subprocess
import warnings

import pytest

import counted
import proc
from ctl import Ctl

HOW = "run flow/test_counters.py with --update, look at what changed, and commit it with its cause"
TABLE = pathlib.Path(__file__).with_name("counters.json")
CALLS = "%network,read,readv,write,writev,close,epoll_ctl,ioctl,fcntl,getpid,getrandom"
COUNTERS = ("sessions", "connects", "reads", "writes", "octets_copied", "allocations", "allocations_openssl")


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


class Meter:
    def __init__(self, world):
        self.ctl, self.trace = Ctl(world.gate), Trace(world.worker, world.gate.folder / "strace")
        self.has_stopped, self.close = self.trace.stopped, self.trace.end

    def _counters(self):
        (worker,) = self.ctl.json("stats")["workers"]
        return {counter: worker["counters"][counter] for counter in COUNTERS}

    def begin(self):
        self.before = self._counters()
        self.trace.calls()

    def end(self, row):
        calls, after = self.trace.calls(), self._counters()
        shakes = any(word in row for word in ("TLS 1", "STARTTLS"))
        counts = {counter: after[counter] - self.before[counter] for counter in COUNTERS
                  if not (shakes and counter == "octets_copied")}
        return {**counts, "calls": calls}


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


@pytest.mark.seconds(600)
def test_a_fixed_script_costs_what_it_did(request):
    with counted.world(Meter) as world:
        counted.play(world)
        rows = counted.play(world)
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
