"""A link to another machine, which may die without a word: a network namespace and a pair of interfaces.

    with Link() as link, Gatepost({"gatepost": {"bind": f"127.0.0.1, {link.ours}"}}) as gate:
        sock = link.connect(gate.port("remote"))     # of the other machine, to link.ours
        link.cut()                                   # nothing arrives any more, in neither direction

Needs root and ip (iproute2)."""
import ctypes
import os
import socket
import subprocess
import threading

CLONE_NEWNET = 0x40000000


def ip(*words):
    done = subprocess.run(["ip", *words], capture_output=True, text=True)
    assert done.returncode == 0, f"ip {' '.join(words)}: {done.stderr}"


class Link:
    def __init__(self):
        """The number of the process keeps links of tests apart that run side by side: 198.18.0.0/15 is for tests (RFC 2544)."""
        number = os.getpid() % 0x7fff * 4
        self.ours, self.theirs = (f"198.{18 + number // 0x10000}.{number // 0x100 % 0x100}.{number % 0x100 + end}"
                                  for end in (1, 2))
        self.name = f"gp{os.getpid()}"

    def __enter__(self):
        ip("netns", "add", self.name)
        try:
            ip("link", "add", f"{self.name}a", "type", "veth", "peer", "name", f"{self.name}b", "netns", self.name)
            ip("address", "add", f"{self.ours}/30", "dev", f"{self.name}a")
            ip("link", "set", f"{self.name}a", "up")
            ip("-n", self.name, "address", "add", f"{self.theirs}/30", "dev", f"{self.name}b")
            ip("-n", self.name, "link", "set", f"{self.name}b", "up")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        """Whatever still has sockets there."""
        subprocess.run(["ip", "link", "del", f"{self.name}a"], capture_output=True)
        ip("netns", "del", self.name)

    def connect(self, port, timeout=30):
        """A socket there, connected to `ours`."""
        made = []

        def there():  # a namespace is a thread's
            with open(f"/run/netns/{self.name}") as namespace:
                assert ctypes.CDLL(None).setns(namespace.fileno(), CLONE_NEWNET) == 0
            made.append(socket.create_connection((self.ours, port), timeout))

        thread = threading.Thread(target=there)
        thread.start()
        thread.join()
        return made[0]

    def cut(self):
        ip("-n", self.name, "link", "set", f"{self.name}b", "down")
