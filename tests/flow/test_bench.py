"""tools/bench: it counts what it says, and sees when octets are not those that were sent.

No figure is judged here: only that there are some. The bench's programs are not part of the default build:
ninja -C build/check bench (tools/check does it)."""
import json
import os
import pathlib
import re
import shutil
import socket
import subprocess
import threading

import pytest

import gatepost as library
import proc

BENCH = library.ROOT / "tools" / "bench"
RUN = BENCH / "run"
PROGRAMS = pathlib.Path(os.environ.get("GATEPOST_BUILD", library.ROOT / "build" / "check")) / "tools" / "bench"
KIB = 1024


BOTH = {"gatepost", "hitch"}
CASES = {  # name: the proxies that can run it
    "hs13": BOTH, "starttls-auth": {"gatepost"}, "ping": BOTH, "retr-4k": BOTH, "data-4k": BOTH, "bdat-4k": BOTH,
    "retr-1m": BOTH, "lone-data": BOTH, "workers-hs13": BOTH, "scale-ping": BOTH, "bulk-ping": BOTH, "idle-used": BOTH,
    "stalled": BOTH, "burst-plain": {"gatepost"}, "burst-tls": BOTH,
    "floor": {"machine"},
}
CONNECTIONS = ("--idle", "20", "--stalled", "5", "--neighbours", "20", "--burst", "50", "--burst-tls", "30")


@pytest.mark.seconds(600)
def test_the_command_measures_gatepost_beside_another_proxy(folder):
    out = folder / "results.jsonl"
    done = subprocess.run([RUN, "--peers", "gatepost,hitch", "--cases", ",".join(CASES), "--rounds", "1", "--seconds", "0.1",
                           "--warmup", "0.1", "--operations", "10", "--processes", "2", "--results", out, *CONNECTIONS],
                          capture_output=True, text=True, timeout=590)
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    about, *results = map(json.loads, out.read_text().splitlines())
    assert "--operations 10" in about["about"]
    assert [result for result in results if result["errors"]] == []
    for case, labels in CASES.items():
        rounds = [result for result in results if result["case"] == case]
        assert {result["label"] for result in rounds} == labels
        assert all(result.get("operations", 10) >= 10 and result.get("cpu_us_per_operation", 1) > 0 for result in rounds)
        assert re.search(rf"^### {case}: .*\n\n\| (proxy|what) \|.*\n.*\n\| (gatepost|hitch|server's half) ", said, re.M)
    held = {"idle-used": 20, "stalled": 5, "scale-ping": 20, "burst-tls": 30}
    assert all(result["held"] == held[result["case"]] for result in results if result["case"] in held)
    assert all(result["served"] + result["refused"] == result["connections"] for result in results if "served" in result
               and result["case"].startswith("burst"))
    check_report(out, folder)


def check_report(results, folder):
    """Tables and plots of a run, written beside a copy of the README; a second time nothing changes."""
    readme = folder / "README.md"
    shutil.copy(BENCH / "README.md", readme)
    for _ in range(2):
        subprocess.run(["/usr/bin/python3", "-B", BENCH / "report.py", results, folder], check=True, timeout=100)
        text = readme.read_text()
        assert text.count("tools/bench/run --peers gatepost,hitch") == 1 and text.count("## Files") == 1
        for group in ("sessions", "messages", "lone", "memory", "workers", "scale", "burst"):
            assert (folder / "results" / f"{group}.svg").read_text().rstrip().endswith("</svg>")
            assert f"![{group}](results/{group}.svg)" in text and (folder / "results" / f"{group}.md").exists()
        for words in ("(`retr-4k`) |", "`stalled`, 5: KiB each", "two workers of one", "`burst-tls`: without an answer"):
            assert words in text


@pytest.mark.seconds(300)
def test_system_calls_are_counted(folder):
    out = folder / "results.jsonl"
    done = subprocess.run([RUN, "--peers", "gatepost", "--cases", "ping", "--rounds", "0", "--strace", "--seconds", "0.1",
                           "--results", out], capture_output=True, text=True, timeout=290)
    assert done.returncode == 0, done.stdout + done.stderr
    calls = json.loads(out.read_text().splitlines()[1])["calls"]
    assert 1 < calls["total"] < 40 and calls["write"] > 1.5  # a command to the server, its reply to the client


class Relay:
    """Passes octets between its port and a UNIX socket; one direction of the first connection may be spoilt."""

    def __init__(self, path, direction=None, spoil=None):
        self.path, self.direction, self.spoil = path, direction, spoil
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        first = True
        while True:
            try:
                front = self.listener.accept()[0]
            except OSError:
                return
            back = socket.socket(socket.AF_UNIX)
            back.connect(self.path)
            for direction, source, sink in (("up", front, back), ("down", back, front)):
                spoil = self.spoil if first and direction == self.direction else None
                threading.Thread(target=self._pass, args=(source, sink, spoil), daemon=True).start()
            first = False

    @staticmethod
    def _pass(source, sink, spoil):
        position = 0
        try:
            while octets := source.recv(65536):
                sink.sendall(spoil(position, octets) if spoil else octets)
                position += len(octets)
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            pass

    def close(self):
        self.listener.close()


def changed(at, change):
    """A spoiler: octet number `at` of a direction becomes what `change` makes of it."""
    def spoil(position, octets):
        here = at - position
        if not 0 <= here < len(octets):
            return octets
        return octets[:here] + change(octets[here:here + 1]) + octets[here + 1:]

    return spoil


def flip(octet):
    return bytes([octet[0] ^ 1])


@pytest.fixture
def sink(folder):
    """The canned server's sockets: {protocol: path}."""
    paths = {protocol: str(folder / f"{protocol}.sock") for protocol in ("pop3", "smtp")}
    program = PROGRAMS / "bench-sink"
    assert program.exists(), f"{program} is missing: ninja -C {PROGRAMS.parents[1]} bench"
    process = subprocess.Popen([program, "--pop3", paths["pop3"], "--smtp", paths["smtp"]])
    proc.wait_until(lambda: (folder / "smtp.sock").exists(), 30, "the canned server is there")
    yield paths
    process.kill()
    process.wait()


def load(port, mode, **more):
    """What bench-load says of one session, without TLS, after at least two operations."""
    options = {"mode": mode, "protocol": "pop3" if mode == "retr" else "smtp", "tls": "none", "sessions": 1, "octets": 8 * KIB,
               "warmup": 0, "seconds": 0, "operations": 2, "patience": 60, "port": port, **more}
    command = [PROGRAMS / "bench-load", *(f"--{name}={value}" for name, value in options.items())]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100)
    assert done.stderr == ""
    return json.loads(done.stdout)


@pytest.mark.parametrize("mode", ["retr", "data", "bdat"])
def test_what_arrives_as_it_was_sent_is_no_error(sink, mode):
    relay = Relay(sink["pop3" if mode == "retr" else "smtp"])
    result = load(relay.port, mode, octets=2048 * KIB)
    relay.close()
    assert result["errors"] == 0 and result["first_error"] == ""
    assert result["operations"] >= 2 and result["mib"] >= 4


# The message of 8 KiB begins within the first 256 octets of its direction.
SPOILT = {
    "retr-flipped": ("retr", "down", changed(4000, flip), "message: octet [0-9]+ of 8192 is wrong"),
    "retr-lost": ("retr", "down", changed(4000, lambda octet: b""), "message: octet [0-9]+ of 8192 is wrong"),
    "retr-doubled": ("retr", "down", changed(4000, lambda octet: octet * 2), "message: octet [0-9]+ of 8192 is wrong"),
    "retr-surplus": ("retr", "down", lambda at, octets: octets + b"+OK\r\n" if octets.endswith(b"\r\n.\r\n") else octets,
                     "octets that nobody asked for|message: octet 0 of"),
    "data-flipped": ("data", "up", changed(4000, flip), "refused: 554"),
    "data-lost": ("data", "up", changed(4000, lambda octet: b""), "refused: 554"),
    "data-doubled": ("data", "up", changed(4000, lambda octet: octet * 2), "refused: 554"),
    "bdat-flipped": ("bdat", "up", changed(4000, flip), "refused: 554"),
}


@pytest.mark.parametrize("row", SPOILT)
def test_wrong_octets_are_an_error(sink, row):
    mode, direction, spoil, words = SPOILT[row]
    relay = Relay(sink["pop3" if mode == "retr" else "smtp"], direction, spoil)
    result = load(relay.port, mode)
    relay.close()
    assert result["errors"] == 1, result
    assert re.match(words, result["first_error"])
    assert result["operations"] >= 2  # the connections after the spoilt one are good
