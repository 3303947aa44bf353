"""A port offset of one's own, while others on the same machine run the same tests.

Offsets are 13 apart: the differences between the six port numbers, and extra ports such as 465 or 2525, are no multiple
of 13, so blocks interleave without meeting. All lie below 32768, where the kernel takes no ephemeral port. An offset is
held by a bound abstract UNIX socket, which vanishes with the process; a block that another program uses is skipped."""
import random
import socket

PORTS = {"pop3": 110, "pop3s": 995, "remote": 109, "smtp": 25, "smtp-alt": 26, "submission": 587}
SMTP_PORTS = ("smtp", "smtp-alt", "submission")
POP3_PORTS = ("pop3", "pop3s")

FIRST, LAST, STEP = 2002, 29900, 13


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


class PortOffset:
    """`value` is the offset; keep the object as long as the ports are in use, then release() it."""

    def __init__(self):
        offsets = list(range(FIRST, LAST, STEP))
        random.shuffle(offsets)
        for value in offsets:
            lock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            try:
                lock.bind(f"\0gatepost-test-ports-{value}")
            except OSError:
                lock.close()
                continue
            if all(_free(value + port) for port in PORTS.values()):
                self.value, self._lock = value, lock
                return
            lock.close()
        raise RuntimeError("no free block of ports below 32768")

    def release(self):
        self._lock.close()
