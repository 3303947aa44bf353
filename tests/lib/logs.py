"""Readers of logs: a socket of the test's own, Debian's rsyslog and journald, and fail2ban.

    with Daemon(folder / "log") as daemon:          a socket in the place of /dev/log, or of the journal's
        daemon.read()  daemon.wait(pattern)         what has come: datagrams as str
    with Rsyslog() as syslog:                       syslog.socket, syslog.file
    with Journald() as journal:                     journal.socket, journal.entries()
    failures(path)                                  fail2ban-regex with Debian's filter for Dovecot: [(address, user)]
    with Fail2ban(jail) as fail2ban:                its server with one jail; fail2ban.banned()

rsyslog and fail2ban are never installed, for their packages would start services: tools/packages, `unpacked`."""
import json
import os
import re
import select
import shutil
import signal
import socket
import subprocess
import time

import proc
from gatepost import make_folder
from machine import unpacked


class Daemon:
    """What stands at `path` reads when it is told to, and not before."""

    def __init__(self, path):
        self.path = path
        self.datagrams = []
        self.open()

    def open(self):
        self.path.unlink(missing_ok=True)
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(str(self.path))
        self.socket.setblocking(False)

    def read(self):
        try:
            while True:
                self.datagrams.append(self.socket.recv(65536).decode())
        except OSError:  # no more, or closed
            return self.datagrams

    def wait(self, pattern, timeout=15, count=1):
        """As fast as it comes."""
        end, looked_at, found = time.monotonic() + timeout, 0, []
        while len(found) < count:
            left = end - time.monotonic()
            assert left > 0, f"{count} x {pattern!r} in\n" + "\n".join(self.datagrams[-20:])
            found += [one for one in self.read()[looked_at:] if re.search(pattern, one)]
            looked_at = len(self.datagrams)
            if len(found) < count:
                select.select([self.socket], [], [], left)
        return found[-1]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()


class Process:
    def __init__(self, command, **more):
        self.output = open(self.folder / "out", "ab")
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=self.output, stderr=self.output, **more)

    def wait_for(self, condition, what):
        def reached():
            assert self.process.poll() is None, (self.folder / "out").read_text()
            return condition()

        proc.wait_until(reached, 20, lambda: f"{what}: {(self.folder / 'out').read_text()}")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.output.close()
        if not os.environ.get("GATEPOST_KEEP"):
            shutil.rmtree(self.folder, ignore_errors=True)


class Rsyslog(Process):
    """Writes the facility mail to `file`, in the form of Debian's /var/log/mail.log."""

    def __init__(self):
        root = unpacked()
        libraries = root / "usr/lib/x86_64-linux-gnu"
        self.folder = make_folder("rsyslog-")
        self.socket = self.folder / "log"
        self.file = self.folder / "mail.log"
        (self.folder / "conf").write_text(f"""
module(load="imuxsock" SysSock.Use="off")
input(type="imuxsock" Socket="{self.socket}" CreatePath="on")
mail.* {self.file}
""")
        super().__init__([root / "usr/sbin/rsyslogd", "-n", "-f", self.folder / "conf", "-i", self.folder / "pid"],
                         env={**os.environ, "LD_LIBRARY_PATH": f"{libraries}:{root}/lib/x86_64-linux-gnu",
                              "RSYSLOG_MODDIR": f"{libraries}/rsyslog/"})
        self.wait_for(self.socket.exists, "rsyslog's socket")

    def wait(self, pattern, timeout=15, count=1):
        def lines():
            text = self.file.read_text() if self.file.exists() else ""
            return re.findall(f".*(?:{pattern}).*", text)

        proc.wait_until(lambda: len(lines()) >= count, timeout, lambda: f"{count} x {pattern!r} in {lines()}")
        return lines()[-1]


class Journald(Process):
    """A journal of its own, with /run and /var/log of its own; it reads neither the kernel's log nor that of audit."""

    NAME = "gatepost-test"

    def __init__(self):
        assert os.geteuid() == 0, "a mount namespace needs root"
        self.folder = make_folder("journal-")
        for name in ("run", "log/journal"):
            (self.folder / name).mkdir(parents=True)
        script = 'mount --bind "$0/run" /run; mount --bind "$0/log" /var/log; exec /lib/systemd/systemd-journald "$1"'
        super().__init__(["unshare", "--mount", "--propagation", "private", "bash", "-ec", script, self.folder, self.NAME])
        self.socket = self.folder / "run/systemd" / f"journal.{self.NAME}" / "socket"
        self.wait_for(lambda: self.socket.exists() and self.files(), "journald's socket")

    def files(self):
        """The folder of its files; None while there is none."""
        return next(iter((self.folder / "log/journal").glob("*")), None)

    def entries(self, *matches):
        """All fields of each entry."""
        done = subprocess.run(["journalctl", "-q", "-D", self.files(), "-o", "json", *matches], capture_output=True,
                              text=True, timeout=30, check=True)
        return [json.loads(line) for line in done.stdout.splitlines()]

    def wait(self, pattern, timeout=15, count=1):
        def found():
            return [entry for entry in self.entries() if re.search(pattern, entry.get("MESSAGE", ""))]

        proc.wait_until(lambda: len(found()) >= count, timeout, lambda: f"{count} x {pattern!r} in the journal")
        return found()[-1]


def _fail2ban(program, *arguments):
    root = unpacked()
    return (["/usr/bin/python3", root / "usr/bin" / program, *arguments],
            {**os.environ, "PYTHONPATH": f"{root}/usr/lib/python3/dist-packages"})


def _regex(*arguments):
    command, environment = _fail2ban("fail2ban-regex", "-c", unpacked() / "etc/fail2ban", *arguments)
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
    assert not done.stderr, done.stderr
    return done.stdout


def failures(log, *options):
    """What Debian's filter for Dovecot, as it is installed, finds in a file, or in a Journald: [(address, user)]."""
    if isinstance(log, Journald):
        log = f"systemd-journal[journalpath={log.files()}, journalflags=0]"
        options = ("-m", "SYSLOG_FACILITY=2", *options)
    out = _regex("-o", "<ip> <F-USER>", *options, log, "dovecot")
    return [tuple(line.split(" ", 1)) for line in out.splitlines()]


class Fail2ban(Process):
    """The server, with nothing but one jail, that bans nobody for real. `jail`: text of a file of jail.d; `over`: lines
    that are laid over it."""

    def __init__(self, jail, over=""):
        self.folder = make_folder("fail2ban-")
        self.name = re.search(r"^\[(\w+)\]", jail)[1]
        configuration = self.folder / "etc"
        shutil.copytree(unpacked() / "etc/fail2ban", configuration)
        shutil.rmtree(configuration / "jail.d")
        (configuration / "jail.d").mkdir()
        (configuration / "jail.d/jail.conf").write_text(jail)
        (configuration / "jail.d/jail.local").write_text(f"[{self.name}]\naction =\n{over}\n")
        self.socket = self.folder / "sock"
        files = ("-c", configuration, "-s", self.socket, "-p", self.folder / "pid")
        self.client = (*files,)
        command, environment = _fail2ban("fail2ban-server", *files, "-f", "-x", "--logtarget", self.folder / "log",
                                         "--syslogsocket", "auto", "start")
        (configuration / "fail2ban.local").write_text("[Definition]\ndbfile = None\n")
        super().__init__(command, env=environment)
        self.wait_for(lambda: "Banned" in self.ask("status", self.name), "fail2ban's jail")

    def ask(self, *words):
        command, environment = _fail2ban("fail2ban-client", *self.client, *words)
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=30).stdout

    def banned(self):
        return re.search(r"Banned IP list:[ \t]*(.*)", self.ask("status", self.name))[1].split()
