"""Round trips, counted without a clock; and a link of 300 ms to watch programs on.

    with RoundTrips(gate.port("remote"), processes) as relay:        # a relay, as in cut.py
        ... a client connects to relay.port and ends ...
        relay.trips

The relay keeps what the client says until the server cannot go on without it: all `processes()` (pids of the client and of
the server's programs) sleep, and nothing is on its way. Each time it then lets all of it through is one round trip, on a
link so slow that no computing counts. (The connection itself, one more for every client, is not in it.)

    with FarLink(150) as link:                                       # 150 ms each way, needs root and /dev/net/tun
        gate = Gatepost({"gatepost": {"bind": FarLink.SERVER}}, prefix=link.server)
        subprocess.run([*link.client, "mpop", "--host=" + FarLink.SERVER, ...])

Two network namespaces and a process between them that carries packets of 1,500 octets, each after its time; the rate is
not bounded. Both vanish with that process."""
import collections
import ctypes
import fcntl
import os
import select
import struct
import subprocess
import sys
import threading
import time

LINK_OCTETS = 1500
SAMPLES, SAMPLE_S = 8, 0.005  # so often in a row all must sleep


def threads_asleep(pid):
    """Does every thread wait for something that is not the disk? (True of a process that is no more.)"""
    try:
        for task in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{task}/stat", "rb") as stat:
                if stat.read().rsplit(b")", 1)[1].split()[0] not in (b"S", b"Z", b"X"):
                    return False
    except (FileNotFoundError, ProcessLookupError):
        pass
    return True


class RoundTrips:
    def __init__(self, port, processes):
        from cut import Relay
        self.relay = Relay(port)
        self.relay.hold_up = True
        self.processes = processes
        self.trips = 0
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._judge, daemon=True)

    @property
    def port(self):
        return self.relay.port

    def __enter__(self):
        self.relay.__enter__()
        self._thread.start()
        return self

    def __exit__(self, *how):
        self._end.set()
        self._thread.join()
        self.relay.__exit__(*how)

    def _state(self):
        return [(link.up.passed, len(link.up.waiting), link.down.passed) for link in self.relay.links]

    def _quiet(self):
        return all(link.quiet() for link in self.relay.links) and all(map(threads_asleep, self.processes()))

    def _judge(self):
        before, calm = None, 0
        while not self._end.wait(SAMPLE_S):
            state = self._state()
            calm = calm + 1 if state == before and self._quiet() else 0
            before = state
            if calm >= SAMPLES:
                calm = 0
                self._let_through()

    def _let_through(self):
        held = [link.up for link in self.relay.links if link.up.held and (link.up.waiting or link.up.ended)]
        self.trips += any(up.waiting for up in held)
        for up in held:
            up.release(len(up.waiting))
        self.relay.wake()


class FarLink:
    SERVER, CLIENT = "198.18.0.1", "198.18.0.2"  # RFC 2544: for measurements

    def __init__(self, delay_ms):
        self._process = subprocess.Popen([sys.executable, __file__, str(delay_ms)], stdin=subprocess.PIPE,
                                         stdout=subprocess.PIPE, text=True)
        ready = self._process.stdout.readline().split()
        assert ready, "no link: it needs root, network namespaces and /dev/net/tun"
        self.server, self.client = (["nsenter", f"--net=/proc/{self._process.pid}/fd/{fd}"] for fd in ready)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._process.stdin.close()
        self._process.wait()


# the process between the namespaces

CLONE_NEWNET = 0x40000000
TUNSETIFF, IFF_TUN, IFF_NO_PI = 0x400454CA, 1, 0x1000


def end_of_link(address, peer):
    """Enters a new namespace and makes a device there: (descriptor of the namespace, of the device)."""
    assert ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWNET) == 0, os.strerror(ctypes.get_errno())
    namespace = os.open("/proc/self/ns/net", os.O_RDONLY)
    device = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(device, TUNSETIFF, struct.pack("16sH22x", b"far0", IFF_TUN | IFF_NO_PI))
    for words in (f"link set far0 mtu {LINK_OCTETS} txqueuelen 50000 up", f"address add {address} peer {peer} dev far0",
                  "link set lo up"):
        subprocess.run(["ip", *words.split()], check=True)
    return namespace, device


class Carrier:
    """Packets of one device, to be written to the other when their time has come."""

    def __init__(self, source, sink, delay):
        self.source, self.sink, self.delay = source, sink, delay
        self.queue = collections.deque()

    def read(self):
        try:
            for _ in range(200):
                self.queue.append((time.monotonic() + self.delay, os.read(self.source, 65536)))
        except BlockingIOError:
            pass

    def write(self):
        """Milliseconds until the next is due, or None."""
        now = time.monotonic()
        while self.queue and self.queue[0][0] <= now:
            os.write(self.sink, self.queue.popleft()[1])
        return max(0, self.queue[0][0] - now) * 1000 if self.queue else None


def carry(delay_ms):
    (server, near), (client, far) = end_of_link(FarLink.SERVER, FarLink.CLIENT), end_of_link(FarLink.CLIENT, FarLink.SERVER)
    carriers = [Carrier(near, far, delay_ms / 1000), Carrier(far, near, delay_ms / 1000)]
    print(server, client, flush=True)
    poll = select.poll()
    for one in (near, far, 0):
        poll.register(one, select.POLLIN)
    while True:
        due = [ms for ms in (carrier.write() for carrier in carriers) if ms is not None]
        ready = dict(poll.poll(min(due) if due else None))
        if 0 in ready:  # the test has ended, or was killed
            return
        for carrier in carriers:
            if carrier.source in ready:
                carrier.read()


if __name__ == "__main__":
    carry(float(sys.argv[1]))
