"""The proxies, the canned server behind them and the load before them: started, stopped, run.

Everything lies in one folder that is gone afterwards; every port is at 127.0.0.1."""
import contextlib
import fcntl
import json
import os
import pathlib
import signal
import socket
import struct
import subprocess
import time

from cases import SERVICES

HERE = pathlib.Path(__file__).resolve().parent
PEERS = HERE / "peers"
FIRST_PORT = 21000
LOAD_TIMEOUT_S = 300


class Failure(Exception):
    """A proxy does not start, or a program of the bench says something else than figures."""


def bring_loopback_up():
    """In a network namespace of one's own it is down."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asker:
        fcntl.ioctl(asker, 0x8914, struct.pack("16sh14x", b"lo", 0x49))  # SIOCSIFFLAGS: UP, LOOPBACK, RUNNING


def running(pid):
    try:
        stat = pathlib.Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return stat.rsplit(")", 1)[1].split()[0] not in "ZX"


def with_descendants(pids):
    """The pids and all that descend from them, parents first."""
    children = {}
    for name in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError, IndexError):
            stat = pathlib.Path(f"/proc/{name}/stat").read_text()
            children.setdefault(int(stat.rsplit(")", 1)[1].split()[1]), []).append(int(name))
    found = list(pids)
    for pid in found:
        found += children.get(pid, [])
    return found


def make_certificate(folder, kind):
    """`kind`.crt, .key and .pem (both) in the folder."""
    keys = {"ec": ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"], "rsa": ["-newkey", "rsa:2048"]}
    crt, key = folder / f"{kind}.crt", folder / f"{kind}.key"
    subprocess.run(["openssl", "req", "-x509", "-nodes", "-days", "30", "-subj", "/CN=bench.example", "-addext",
                    "subjectAltName=DNS:bench.example", *keys[kind], "-keyout", key, "-out", crt], check=True,
                   stderr=subprocess.DEVNULL)
    (folder / f"{kind}.pem").write_text(crt.read_text() + key.read_text())


def capabilities(peer):
    """{service: the words that follow it}, such as {"smtp": ["login"]}; see README.md."""
    said = subprocess.run([PEERS / peer, "caps"], capture_output=True, text=True, check=True).stdout
    return {word.split("+")[0]: word.split("+")[1:] for word in said.split()}


class Peer:
    """One proxy with a number of workers, running until stop()."""

    def __init__(self, name, workers, cpus, first_port, lab):
        self.name = name
        self.capabilities = capabilities(name)
        self.ports = {service: first_port + at for at, service in enumerate(SERVICES)}
        self.folder = lab.folder / f"{name}-{first_port}"
        self.folder.mkdir()
        environment = {**lab.environment, "BENCH_RUN": str(self.folder), "BENCH_WORKERS": str(workers)}
        for service, port in self.ports.items():
            environment["BENCH_" + service.upper().replace("-", "_")] = str(port)
        self.pids = []
        self._start(environment, cpus)

    def _start(self, environment, cpus):
        with open(self.folder / "pids", "w+") as pids:
            subprocess.run(["taskset", "-c", cpus, PEERS / self.name, "start"], env=environment, stdout=pids,
                           stderr=subprocess.DEVNULL, check=True, timeout=30)
            pids.seek(0)
            self.pids = [int(word) for word in pids.read().split()]
        for service in self.capabilities:
            self._await_port(self.ports[service])
        time.sleep(0.3)

    def _await_port(self, port):
        end = time.monotonic() + 30
        while time.monotonic() < end and all(map(running, self.pids)):
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", port), 1).close()
                return
            time.sleep(0.1)
        logs = "\n".join(path.read_text(errors="replace")[-1000:] for path in self.folder.glob("*.log"))
        self.stop()
        raise Failure(f"{self.name} does not start:\n{logs}")

    def stop(self):
        pids = with_descendants(self.pids)
        for number in (signal.SIGTERM, signal.SIGKILL):
            for pid in filter(running, pids):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, number)
            for _ in range(50):
                if not any(map(running, pids)):
                    return
                time.sleep(0.1)


class Lab:
    """The folder, the canned server and the proxies that run now."""

    def __init__(self, options, folder):
        self.options = options
        self.folder = folder
        self.programs = pathlib.Path(options.build) / "tools" / "bench"
        self.peers = {}  # (name, workers, cpus) -> Peer
        self.next_port = FIRST_PORT + 10
        self.sink = None
        make_certificate(folder, options.key)
        self.environment = self._environment()
        self._start_sink()

    def _environment(self):
        kind, descriptors = self.options.key, self.options.descriptors
        return {
            **os.environ, "BENCH_BIN": str(self.programs), "BENCH_CERT": f"{self.folder}/{kind}.crt",
            "BENCH_GATEPOST": str(pathlib.Path(self.options.build) / "proxy" / "gatepost"),
            "BENCH_KEY": f"{self.folder}/{kind}.key", "BENCH_PEM": f"{self.folder}/{kind}.pem",
            "BENCH_NOFILE": str(descriptors), "BENCH_MAXCONN": str((descriptors - 300) // 2),
            "BENCH_BK_POP3_UNIX": f"{self.folder}/pop3.sock", "BENCH_BK_SMTP_UNIX": f"{self.folder}/smtp.sock",
            "BENCH_BK_POP3": str(FIRST_PORT), "BENCH_BK_SMTP": str(FIRST_PORT + 1),
            "BENCH_BK_AUTH": str(FIRST_PORT + 2),
        }

    def _start_sink(self):
        at = self.environment
        self.sink = subprocess.Popen(
            ["taskset", "-c", self.options.load_cpus, self.programs / "bench-sink",
             "--pop3", at["BENCH_BK_POP3_UNIX"], "--smtp", at["BENCH_BK_SMTP_UNIX"], "--pop3", at["BENCH_BK_POP3"],
             "--smtp", at["BENCH_BK_SMTP"], "--nginx-auth", at["BENCH_BK_AUTH"], "--nginx-pop3", at["BENCH_BK_POP3"],
             "--nginx-smtp", at["BENCH_BK_SMTP"]])

    def peer(self, name, workers=1, everywhere=False):
        """The running proxy; started where it does not run (any more). `everywhere`: on all CPUs, beside the load."""
        key = name, workers, self.options.all_cpus if everywhere else self.options.proxy_cpus
        if key in self.peers and not all(map(running, self.peers[key].pids)):
            self.peers.pop(key).stop()
        if key not in self.peers:
            first_port, self.next_port = self.next_port, self.next_port + 10
            self.peers[key] = Peer(*key, first_port, self)
        return self.peers[key]

    def stop_peers(self):
        while self.peers:
            self.peers.popitem()[1].stop()

    def close(self):
        self.stop_peers()
        self.sink.terminate()
        self.sink.wait()

    def load_command(self, peer, service, arguments):
        return ["taskset", "-c", self.options.load_cpus, self.programs / "bench-load", "--label", peer.name, "--port",
                str(peer.ports[service]), "--proxy", ",".join(map(str, peer.pids)), *arguments]


class Load:
    """A run of bench-load that is told when to go on; `result` is there after the `with` block."""

    def __init__(self, command):
        self.command = [str(word) for word in command]
        self.result = {}

    def __enter__(self):
        self.process = subprocess.Popen(self.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=subprocess.PIPE, text=True)
        return self

    def await_word(self, word):
        """Until it says the word; or ends, then `result` says why."""
        for line in self.process.stdout:
            if line.strip() == word:
                return
            self._take(line)

    def await_result(self):
        """Until its figures are there, while it goes on (--hold)."""
        self._take(self.process.stdout.readline())

    def go_on(self):
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.write("\n")
            self.process.stdin.flush()

    def _take(self, line):
        with contextlib.suppress(json.JSONDecodeError):
            self.result = json.loads(line)

    def __exit__(self, *_):
        try:
            out, err = self.process.communicate(timeout=LOAD_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            out, err = "", f"no end within {LOAD_TIMEOUT_S} s"
        for line in out.splitlines():
            self._take(line)
        if not self.result:
            why = err.strip()[-200:] or f"exit code {self.process.returncode}"
            self.result = {"errors": 1, "first_error": why}


def run_load(command):
    """What bench-load prints, as a dictionary; of a run that failed only why."""
    with Load(command) as load:
        pass
    return load.result


class Trace:
    """Counts the system calls of a proxy's processes: {name: calls} in `counted`, after the `with` block. What is timed
    meanwhile means nothing."""

    def __init__(self, peer, folder):
        self.out = folder / "strace.out"
        self.pids = with_descendants(peer.pids)
        self.counted = {}

    def __enter__(self):
        command = ["strace", "-f", "-c", "-U", "calls,name", "-o", self.out]
        for pid in self.pids:
            command += ["-p", str(pid)]
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        for _ in self.pids:
            self.process.stderr.readline()  # "strace: Process 4711 attached", of each
        return self

    def __exit__(self, *_):
        self.process.send_signal(signal.SIGINT)
        self.process.communicate(timeout=60)
        lines = (line.split() for line in self.out.read_text().splitlines())
        self.counted = {words[1]: int(words[0]) for words in lines
                        if len(words) == 2 and words[0].isdigit() and words[1] != "total"}
