"""A remote site: a local Maildir, an outbox, and gatepost-fetch between them and a server.

    with Site() as site:                                          # folders in memory
        site.put(b"Subject: up\\r\\n\\r\\nHello\\r\\n", to=["bert@gatepost.test"])
        result = site.run(gate, relay.port, tls=False)            # result.returncode, .stdout, .stderr (text), .words
        site.received() == [octets of the messages as the Maildir has them, with LF]
        site.unsent()

site.start() gives the Popen object of a program that runs. The password goes through a descriptor. tls=None: no option
of TLS."""
import os
import pathlib
import shutil
import subprocess
import tempfile

import gatepost as library
import proc

PROGRAM = library.BUILD / "tools" / "gatepost-fetch"
MEMORY = "/dev/shm" if os.access("/dev/shm", os.W_OK) else "/tmp"
OK, USAGE, DATA, UNAVAILABLE, TEMPFAIL, PROTOCOL, NOPERM = 0, 64, 65, 69, 75, 76, 77  # sysexits.h
SMALL_QUARANTINE = {"ASAN_OPTIONS": "quarantine_size_mb=1:detect_leaks=0"}  # what is freed is no memory


def peak_kib(process):
    """Waits for its end; the most memory that it had (VmHWM)."""
    peak = 0
    while process.poll() is None:
        peak = max(peak, int(proc.status(process.pid).get("VmHWM", "0 kB").split()[0]))
        try:
            process.wait(0.01)
        except subprocess.TimeoutExpired:
            pass
    return peak


class Site:
    def __init__(self, where=MEMORY):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="gatepost-site-", dir=where))
        self.maildir, self.outbox = self.folder / "Maildir", self.folder / "outbox"
        self.environment = {**os.environ, **library.sanitizer_environment(self.folder)}
        self._count = 0

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        try:
            if kind is None:
                self.check_sanitizers()
        finally:
            if not os.environ.get("GATEPOST_KEEP"):
                shutil.rmtree(self.folder, ignore_errors=True)

    def check_sanitizers(self):
        said = "\n".join(path.read_text(errors="replace") for path in sorted((self.folder / "sanitizer").iterdir()))
        assert not said, f"a sanitizer has spoken:\n{said[:8000]}"

    def put(self, text, to, sender=library.USER):
        """A message for the outbox, as a mail program leaves it there."""
        for part in ("new", "cur", "tmp"):
            (self.outbox / part).mkdir(parents=True, exist_ok=True)
        self._count += 1
        name = f"{1700000000 + self._count}.P{self._count}.site"
        head = f"From: <{sender}>\r\nTo: {', '.join(to)}\r\n".encode()
        (self.outbox / "tmp" / name).write_bytes((head + text).replace(b"\r\n", b"\n"))
        (self.outbox / "tmp" / name).rename(self.outbox / "new" / name)
        return head + text

    def command(self, gate, port, *more, tls=True, host="localhost", retries=0, password_fd=0):
        words = [PROGRAM, f"{host}:{port}", "-u", library.USER, "-m", self.maildir, "--password-fd", password_fd,
                 "--retries", retries]
        if self.outbox.exists():
            words += ["-o", self.outbox]
        words += {True: ["--ca", gate and gate.folder / "ca.pem"], False: ["--plain"], None: []}[tls]
        return [str(word) for word in [*words, *more]]

    def start(self, gate, port, *more, prefix=(), password=library.PASSWORD, environment=None, stderr=subprocess.PIPE, **how):
        """The program, with the password on its standard input."""
        process = subprocess.Popen([*prefix, *self.command(gate, port, *more, **how)], stdin=subprocess.PIPE,
                                   stdout=subprocess.PIPE, stderr=stderr, text=True,
                                   env={**self.environment, **(environment or {})}, cwd=self.folder)
        try:
            process.stdin.write(password + "\n")
            process.stdin.close()
        except BrokenPipeError:
            pass
        process.stdin = None
        return process

    def run(self, gate, port, *more, timeout=100, **how):
        process = self.start(gate, port, *more, **how)
        try:
            stdout, stderr = process.communicate(timeout=timeout)
        except BaseException:
            process.kill()
            process.wait()
            raise
        result = subprocess.CompletedProcess(process.args, process.returncode, stdout, stderr)
        result.words = f"exit code {result.returncode}\n{stdout}{stderr}"
        return result

    def paths(self, *parts):
        return [path for part in parts for path in sorted((self.maildir / part).glob("*"))]

    def received(self):
        """The messages, as they are in the Maildir, in order of their octets."""
        return sorted(path.read_bytes() for path in self.paths("new", "cur"))

    def unsent(self):
        """{name: octets} of what the outbox has."""
        found = {}
        for part in ("new", "cur"):
            for path in (self.outbox / part).glob("*"):
                try:
                    found[path.name] = path.read_bytes()
                except FileNotFoundError:
                    pass
        return found
