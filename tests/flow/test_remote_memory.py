"""Remote Mail: what a PULL needs in memory does not grow with the mailbox, also where the client stops reading in it."""
import os
import socket

import gatepost as library
import proc
import pytest
from remote import Remote, deliver, own, sections
from wire import Wire

KIB, MIB = 1024, 2**20
HEAD = b"Subject: large\r\n\r\n"
ROOM_KIB = 512  # of mailboxes that have 100 MiB and 200 MiB; what malloc keeps varies


@pytest.fixture(scope="module")
def gate():
    gate = library.Gatepost(sections({"gatepost": {"workers": 1}}))
    gate.environment["ASAN_OPTIONS"] += ":quarantine_size_mb=0:thread_local_quarantine_size_kb=0"  # freed is free
    with gate:
        yield gate


def fill(gate, count, size):
    """`count` messages of `size` octets, all of them one sparse file."""
    first = deliver(gate, HEAD, name="1700000000.R0.test")
    os.truncate(first, size - HEAD.count(b"\r\n"))
    for number in range(1, count):
        os.link(first, first.with_name(f"1700000000.R{number}.test"))
    own(gate, gate.maildir())


def connect(gate):
    """A client with small buffers of its own."""
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 * KIB)
    sock.connect(("127.0.0.1", gate.port("remote")))
    return Wire.over(sock, 60)


def stands_still(pid):
    """Has the process used no time for a while, waiting for the client?"""
    before = proc.cpu_seconds(pid)
    os.sched_yield()
    return proc.cpu_seconds(pid) == before and proc.status(pid)["State"].startswith("S")


def pulled(gate, count, size, reads):
    """(KiB of the session's process, KiB of the proxy's) while a client that has read so many octets reads no more;
    then it reads the rest."""
    gate.clear()
    fill(gate, count, size)
    before = set(gate.processes())
    remote = Remote(gate, tls=False, wire=connect(gate))
    (session,) = set(gate.processes()) - before
    (worker,) = gate.workers()
    remote.login()
    remote.say("PULL")
    octets = 0
    while octets < reads:
        octets += len(remote.wire.read())
    proc.wait_until(lambda: all(stands_still(session) for _ in range(20)), 30, "a session that waits for its client")
    found = tuple(proc.memory_kib(pid, "Anonymous") for pid in (session, worker))  # what others do changes Pss
    last = b""
    while not last.endswith(f"\r\n+ PULL {count}\r\n".encode()):
        last = (last + remote.wire.read())[-100:]
        assert not remote.wire.eof
    remote.wire.close()
    gate.wait_idle()
    print(f"{count} x {size} octets: {found[0]} KiB, the proxy {found[1]} KiB")
    return found


def test_r4_memory_of_a_pull_does_not_grow_with_the_mailbox(gate):
    small = pulled(gate, 1, MIB, MIB // 4)
    for row in ((200, MIB, 70 * MIB), (1, 100 * MIB, 50 * MIB)):
        large = pulled(gate, *row)
        assert large[0] < small[0] + ROOM_KIB and large[1] < small[1] + ROOM_KIB, row
