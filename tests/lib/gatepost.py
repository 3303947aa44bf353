"""Gatepost under test: writes an INI, starts the programs, stops them, and looks at what they left behind.

    with Gatepost() as gate:                          # embedded mail workers, user anna@gatepost.test
        clients.send(gate, "smtp-alt", "starttls", message)
        ...
    with Gatepost({"limits": {"read_size": "1"}, "backend pop3": {"address": f"unix:{path}"}}) as gate:

The dictionary is laid over the INI that default_sections() makes: section -> {key: value}; None removes a
section, or a key. Every instance has its own folder (gate.folder, mode 0755, below /tmp), its own six ports
(gate.port("pop3")), and as root its workers run as nobody and mail. Programs come from $GATEPOST_BUILD
(default: build/check).

At the end of the `with` block stop() sends TERM and fails the test unless the exit code is 0, all processes
are gone, no socket file is left, and no sanitizer has spoken. stop(check=False) for tests that kill on
purpose. In a test:

    gate.log()  gate.wait_for_log("regular expression")      the log so far
    gate.workers()  gate.smtpd()  gate.pop3d()  gate.processes()      pids, now
    gate.maildir("anna@gatepost.test")  gate.messages(user)  gate.clear(user)      the mail on disk
    gate.wait_idle()      until no session is left: descriptor counts are as they were after the start

Beside this module: wire.py (octet by octet client), clients.py (smtplib, poplib), programs.py (curl, swaks, ...),
messages.py (traps), backend.py (scripted servers that record), servers.py (real ones of Debian), recipes.py (README's, for
those), changes.py (reloads, new certificates), upgradable.py, ctl.py, proc.py (/proc), certificates.py, ports.py."""
import atexit
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time

import certificates
import proc
from ports import PORTS, PortOffset

ROOT = pathlib.Path(__file__).resolve().parents[2]
DOMAIN = "gatepost.test"
USER = f"anna@{DOMAIN}"
PASSWORD = "open sesame 42"
AS_ROOT = os.geteuid() == 0
PROGRAMS = ("proxy/gatepost", "backends/gatepost-smtpd", "backends/gatepost-pop3d", "tools/gatepost-user",
            "tools/gatepostctl", "tools/gatepost-fetch")


def find_build():
    """The build; or a copy of its programs that every user may run, where a folder above it is closed to others."""
    build = pathlib.Path(os.environ.get("GATEPOST_BUILD", ROOT / "build" / "check")).resolve()
    if not AS_ROOT or all(part.stat().st_mode & 0o001 for part in build.parents if part.exists()):
        return build
    copy = pathlib.Path(tempfile.mkdtemp(prefix="gatepost-build-", dir="/tmp"))
    atexit.register(shutil.rmtree, copy)
    copy.chmod(0o755)
    for name in PROGRAMS:
        (copy / name).parent.mkdir(exist_ok=True)
        shutil.copy(build / name, copy / name)
    return copy


BUILD = find_build()
PROXY = BUILD / "proxy" / "gatepost"
USER_TOOL = BUILD / "tools" / "gatepost-user"

started = []  # instances of the running test, for the report of a failure (tests/flow/conftest.py empties it)


def has_ipv6():
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
        return True
    except OSError:
        return False


def make_folder(prefix="gatepost-"):
    """A folder that every user may enter, with a path short enough for socket names; removed at the latest at exit."""
    folder = pathlib.Path(tempfile.mkdtemp(prefix=prefix, dir="/tmp"))
    if not os.environ.get("GATEPOST_KEEP"):
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
    folder.chmod(0o755)
    return folder


def ini_text(sections):
    """{section: {key: value}} as INI text; None values are left out."""
    lines = []
    for section, keys in sections.items():
        if keys is not None:
            lines.append(f"[{section}]")
            lines += [f"{key} = {value}" for key, value in keys.items() if value is not None]
            lines.append("")
    return "\n".join(lines)


def overlay(sections, over):
    """`over` laid upon `sections`, key by key."""
    result = {name: dict(keys) for name, keys in sections.items()}
    for name, keys in (over or {}).items():
        result[name] = None if keys is None else {**(result.get(name) or {}), **keys}
    return result


def ports_of(sections):
    """The ports, without the offset, of the listeners that name one which can be listened on."""
    ports = [int((keys or {}).get("port", 0)) for name, keys in (sections or {}).items() if name.startswith("listen ")]
    return [port for port in ports if 0 < port < 10000]


def sanitizer_environment(folder):
    """Reports of the sanitizers go to files in folder/sanitizer, from every process, whatever its user."""
    reports = folder / "sanitizer"
    reports.mkdir(exist_ok=True)
    reports.chmod(0o1777)
    return {
        "ASAN_OPTIONS": f"log_path={reports}/asan:detect_leaks=1:exitcode=99:allocator_may_return_null=1",
        "UBSAN_OPTIONS": f"log_path={reports}/ubsan:print_stacktrace=1:halt_on_error=1:exitcode=99",
    }


class Gatepost:
    def __init__(self, sections=None, users=(USER,), password=PASSWORD, ready_timeout=60, environment=None, build=None,
                 prefix=()):
        """`prefix`: words before the program, such as ("prlimit", "--nofile=200:200"). A descriptor in `pass_fds` is
        inherited."""
        self.build = pathlib.Path(build) if build else BUILD
        self.folder = make_folder()
        self.password = password
        self.prefix = prefix
        self.pass_fds = ()
        self.process = None
        self.ready_timeout = ready_timeout
        self.environment = {**os.environ, **sanitizer_environment(self.folder), **(environment or {})}
        self._offset = PortOffset(ports_of(sections))
        self.offset = self._offset.value
        self._final_log = None
        self.mail = self.folder / "mail"
        self.run = self.folder / "run"
        self.ini = self.folder / "gatepost.ini"
        certificates.write(self.folder)
        for folder, owner in ((self.mail, "mail"), (self.run, None), (self.folder / "state", None)):
            folder.mkdir()
            if AS_ROOT and owner:
                shutil.chown(folder, owner, owner)
        self.sections = overlay(self.default_sections(), sections)
        self.write_ini()
        started.append(self)
        for user in users:
            self.add_user(user)

    def default_sections(self):
        return {
            "gatepost": {
                "hostname": certificates.HOSTNAME,
                "user": "nobody" if AS_ROOT else None,
                "mail_user": "mail" if AS_ROOT else None,
                "workers": 2,
                "bind": "127.0.0.1, ::1" if has_ipv6() else "127.0.0.1",
                "port_offset": self.offset,
                "runtime_dir": self.run,
                "state_dir": self.folder / "state",
                "drain_timeout": "2s",
            },
            "tls default": {"certificate": self.folder / "cert.pem", "key": self.folder / "key.pem"},
            "backend smtp": {"address": "embedded"},
            "backend pop3": {"address": "embedded"},
            "mailstore": {"path": self.mail, "domains": DOMAIN},
        }

    def write_ini(self):
        self.ini.write_text(ini_text(self.sections))

    def port(self, name):
        """The number of the listener `name` ("pop3", ..., or of a [listen] section), or of a port before offset."""
        if isinstance(name, int):
            return self.offset + name
        keys = self.sections.get(f"listen {name}") or {}
        return self.offset + int(keys.get("port", PORTS.get(name, 0)))

    # life

    def __enter__(self):
        if not self.process:
            self.start()
        return self

    def __exit__(self, kind, *_):
        try:
            self.stop(check=kind is None)
        finally:
            self.remove()

    def start(self, wait=True):
        self._stderr = open(self.folder / "log", "ab")
        self.process = subprocess.Popen([*self.prefix, self.build / "proxy" / "gatepost", "-c", self.ini],
                                        cwd=self.folder, env=self.environment, stdin=subprocess.DEVNULL,
                                        stdout=self._stderr, stderr=self._stderr, pass_fds=self.pass_fds)
        if wait:
            self.wait_ready()
        return self

    def wait_ready(self):
        def ready():
            if self.process.poll() is not None:
                raise AssertionError(f"gatepost ended with {self.process.returncode}:\n{self.log()}")
            return re.search(r"gatepost: ready", self.log())

        proc.wait_until(ready, self.ready_timeout, "the `ready` log line")
        self._idle = {pid: proc.descriptor_count(pid) for pid in self.workers()} if AS_ROOT else {}

    def stop(self, check=True, timeout=20):
        """TERM, then the examination. Fine to call twice, and after the process was killed."""
        if not self.process:
            return
        family = proc.children(self.process.pid)
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            code = self.process.wait(timeout)
            left = self._outlived(family)
        except subprocess.TimeoutExpired:
            code, left = f"none within {timeout} s of TERM", family
            self.process.kill()
            self.process.wait()
        for pid in left:
            if proc.alive(pid):
                os.kill(pid, signal.SIGKILL)
        self._stderr.close()
        self.process = None
        if check:
            sockets = [str(path) for path in self.run.rglob("*") if path.is_socket()]
            assert code == 0, f"exit code {code}\n{self.log()[-6000:]}"
            assert not left, f"processes left: {left}\n{self.log()[-6000:]}"
            assert not sockets, f"socket files left: {sockets}"
        self.check_sanitizers()

    def _outlived(self, family):
        end = time.monotonic() + 5
        left = family
        while left and time.monotonic() < end:
            left = [pid for pid in left if proc.alive(pid)]
            time.sleep(0.02)
        return left

    def check_sanitizers(self):
        reports = "\n".join(path.read_text(errors="replace") for path in sorted((self.folder / "sanitizer").iterdir()))
        # What LeakSanitizer says of a process that is killed while it looks for leaks: of itself, not of the process.
        reports = re.sub(r"^==\d+==Unable to get registers from thread \d+\.\n?", "", reports, flags=re.MULTILINE).strip()
        assert not reports, f"a sanitizer has spoken:\n{reports[:8000]}"
        assert "runtime error:" not in self.log(), self.log()[-6000:]

    def remove(self):
        self._final_log = self.log()
        self._offset.release()
        if not os.environ.get("GATEPOST_KEEP"):
            shutil.rmtree(self.folder, ignore_errors=True)

    # log

    def log(self):
        if self._final_log is not None:
            return self._final_log
        try:
            return (self.folder / "log").read_text(errors="replace")
        except FileNotFoundError:
            return ""

    def wait_for_log(self, pattern, timeout=15, count=1):
        """Waits until the pattern has been logged `count` times; returns the last match."""
        proc.wait_until(lambda: len(re.findall(pattern, self.log())) >= count, timeout,
                        lambda: f"{count} x {pattern!r} in the log:\n{self.log()[-3000:]}")
        return list(re.finditer(pattern, self.log()))[-1]

    # processes

    def processes(self):
        """{pid: command line} of all descendants of the supervisor."""
        found = {}
        for pid in proc.children(self.process.pid):
            try:
                found[pid] = proc.command(pid)
            except (FileNotFoundError, ProcessLookupError):
                pass
        return found

    def _named(self, name):
        """Direct children of the supervisor whose program has that name."""
        with open(f"/proc/{self.process.pid}/task/{self.process.pid}/children") as listing:
            direct = [int(pid) for pid in listing.read().split()]
        return [pid for pid in direct if pathlib.Path((self.processes().get(pid) or "?").split()[0]).name == name]

    def workers(self):
        """Pids of the proxy workers."""
        return self._named("gatepost")

    def smtpd(self):
        return self._named("gatepost-smtpd")

    def pop3d(self):
        return self._named("gatepost-pop3d")

    def kill(self, pid, number=signal.SIGKILL):
        os.kill(pid, number)

    def wait_idle(self, timeout=15):
        """Waits until every proxy worker has no more descriptors than after the start (needs root)."""
        def busy():
            return [pid for pid, count in self._idle.items() if proc.alive(pid) and proc.descriptor_count(pid) > count]

        proc.wait_until(lambda: not busy(), timeout, lambda: f"{self._idle}, not " +
                        "".join(f"{pid}: {proc.descriptors(pid)}\n" for pid in busy()))

    # mail

    def add_user(self, user, password=None):
        """By gatepost-user, with the password on its standard input."""
        result = self.user_tool("add", user, password=password or self.password)
        assert result.returncode == 0, f"gatepost-user add: {result.stdout}{result.stderr}"

    def user_tool(self, *arguments, password=None):
        return subprocess.run([self.build / "tools" / "gatepost-user", "-c", self.ini, *arguments],
                              input=f"{password}\n" if password is not None else "", capture_output=True, text=True,
                              timeout=60, cwd=self.folder, env=self.environment)

    def maildir(self, user=USER):
        local, _, domain = user.partition("@")
        return self.mail / domain / local / "Maildir"

    def messages(self, user=USER):
        """The messages on disk (new and cur), as octets with CRLF line ends, by name of file."""
        paths = [path for folder in ("new", "cur") for path in sorted((self.maildir(user) / folder).glob("*"))]
        return [path.read_bytes().replace(b"\n", b"\r\n") for path in paths]

    def clear(self, user=USER):
        for folder in ("new", "cur", "tmp"):
            for path in (self.maildir(user) / folder).glob("*"):
                path.unlink()
