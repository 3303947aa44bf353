"""A port offset of one's own, while others on the same machine run the same tests.

All ports lie below 32768, where the kernel takes no ephemeral one. Each is held by a bound abstract UNIX socket, which
vanishes with the process; an offset that would need a port of another's, or one that another program uses, is skipped."""
import contextlib
import random
import socket

PORTS = {"pop3": 110, "pop3s": 995, "remote": 109, "smtp": 25, "smtp-alt": 26, "submission": 587}
SMTP_PORTS = ("smtp", "smtp-alt", "submission")
POP3_PORTS = ("pop3", "pop3s")
LATER = (465, 2525)  # what tests add to a Gatepost that runs, or use beside it

FIRST, END = 2002, 32768


def _free(port):
    for family, host in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
        try:
            with socket.socket(family, socket.SOCK_STREAM) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind((host, port))
        except OSError as error:
            if error.errno != 99 and error.errno != 97:  # no IPv6 here: EADDRNOTAVAIL, EAFNOSUPPORT
                return False
    return True


def _hold(ports):
    """What holds them all, to be closed; None where one is taken."""
    with contextlib.ExitStack() as held:
        for port in ports:
            lock = held.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM))
            try:
                lock.bind(f"\0gatepost-test-port-{port}")
            except OSError:
                return None
            if not _free(port):
                return None
        return held.pop_all()


class PortOffset:
    """`value` is the offset; keep the object as long as the ports are in use, then release() it. `more`: ports beside the
    six, before the offset."""

    def __init__(self, more=()):
        ports = {*PORTS.values(), *LATER, *more}
        for value in random.sample(range(FIRST, END - max(ports)), 1000):
            self._held = _hold(value + port for port in ports)
            if self._held:
                self.value = value
                return
        raise RuntimeError("no free ports below 32768")

    def release(self):
        self._held.close()
