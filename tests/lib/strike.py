"""kill -9 at a chosen system call of a process, with strace.

    for place in strikes(("fsync", "renameat"), start, talk):
        ...                                              # place: "fsync 2", where it was killed

`start()` gives a pid and anything else; talk(anything) has that process do something, and raises EOFError or
ConnectionError where it broke off. Both are called again and again: each call is struck at its first, second, ... time,
until one round has passed without a kill. So every place where such a call is made is struck once, also when the program
changes. A process that was killed has not made the call. What should end in order must outlive talk(): a process that is
traced cannot look for its leaks."""
import contextlib
import pathlib
import subprocess
import tempfile

import proc

ROUNDS_MAX = 100


@contextlib.contextmanager
def traced(pid, *options):
    """strace, attached to the process; gives the file that it writes."""
    with tempfile.NamedTemporaryFile(prefix="gatepost-strace-") as out:
        strace = subprocess.Popen(["strace", "-p", str(pid), "-o", out.name, *options], stdin=subprocess.DEVNULL,
                                  stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)

        def attached():
            assert strace.poll() is None, strace.stderr.read()
            return proc.status(pid)["TracerPid"] == str(strace.pid)

        try:
            proc.wait_until(attached, 20, f"strace at {pid}")
            yield pathlib.Path(out.name)
        finally:
            strace.terminate()  # which lets the process go
            strace.communicate(timeout=20)


def strike(pid, call, number, talk):
    """Was it killed before its call of that number?"""
    with traced(pid, "-e", f"trace={call}", "-e", f"inject={call}:signal=KILL:when={number}") as out:
        try:
            talk()
            return False
        except (EOFError, ConnectionError):
            proc.wait_until(lambda: "+++ killed by SIGKILL +++" in out.read_text(), 10, "the kill that broke it off")
            return True


def strikes(calls, start, talk):
    for call in calls:
        for number in range(1, ROUNDS_MAX):
            pid, thing = start()
            if not strike(pid, call, number, lambda: talk(thing)):
                break
            yield f"{call} {number}"
        else:
            raise AssertionError(f"{call} never ends")
