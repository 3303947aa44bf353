"""What the real servers of Debian have in common: a folder of their own, a log, a greeting that is awaited, an end."""
import os
import re
import shutil
import signal
import socket
import subprocess

import proc
from ports import PortOffset


def _answers(endpoint, beginning, header):
    tcp = isinstance(endpoint, int)
    try:
        with socket.socket(socket.AF_INET if tcp else socket.AF_UNIX) as probe:
            probe.settimeout(5)
            probe.connect(("127.0.0.1", endpoint) if tcp else str(endpoint))
            probe.sendall(header)
            return probe.recv(256).startswith(beginning)
    except OSError:
        return False


class Server:
    """`endpoint`: path of a UNIX socket, or port of 127.0.0.1. `places`: {what a recipe of README.md says: what it is
    here}, in the server's own files; `places_outside`: in Gatepost's."""
    places = {}
    places_outside = {}
    _offset = None

    def place(self, text, outside=False):
        for word, here in {**self.places, **(self.places_outside if outside else {})}.items():
            text = text.replace(word, str(here))
        return text

    def take_ports(self):
        """Ports of our own in the place of those that recipes use. None can be an ephemeral port of somebody else."""
        self._offset = PortOffset()
        return {"10110": self._offset.value + 110, "10025": self._offset.value + 25}

    def log(self):
        try:
            return (self.folder / "log").read_text(errors="replace")
        except FileNotFoundError:
            return ""

    def wait_for_log(self, pattern, timeout=15, count=1):
        """As of Gatepost."""
        proc.wait_until(lambda: len(re.findall(pattern, self.log())) >= count, timeout,
                        lambda: f"{count} x {pattern!r} in the server's log:\n{self.log()[-3000:]}")

    def wait_greeting(self, beginning, endpoint, header=b""):
        """`header`: octets to send first, where the server expects a PROXY header."""
        def greets():
            assert self.process.poll() is None, (self.folder / "out").read_text() + self.log()
            return _answers(endpoint, beginning, header)

        def what():
            return f"the server's greeting:\n{(self.folder / 'out').read_text()}{self.log()[-3000:]}"

        try:
            proc.wait_until(greets, 20, what)
        except AssertionError:
            self.stop()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()

    def stop(self):
        family = [self.process.pid] + proc.children(self.process.pid)
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            pass
        for pid in family:
            if proc.alive(pid):
                os.kill(pid, signal.SIGKILL)
        self.process.wait()
        if self._offset:
            self._offset.release()
        if not os.environ.get("GATEPOST_KEEP"):
            shutil.rmtree(self.folder, ignore_errors=True)


def by_age(paths):
    """Files of a Maildir, the oldest first; the names that delivery gives them do not sort so within a second."""
    return sorted(paths, key=lambda path: path.stat().st_mtime_ns)
