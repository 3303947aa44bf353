"""gatepost-fetch over links that are cut behind every octet, and with itself or the server killed at any moment: each
message is there once, octet for octet, at both ends; looked at on disk, also at the moment of the cut."""
import contextlib
import os
import pathlib
import queue
import random
import re
import signal
import subprocess

import gatepost as library
import proc
import pytest
from cut import Cut, Relay
from fetch import OK, TEMPFAIL, UNAVAILABLE, Site
from remote import deliver, sections

OTHER = "bert@gatepost.test"
DOWN = [b"Subject: one\r\n\r\nHello\r\n", b"Subject: two\r\n\r\n.\r\nM 0 0 0\r\n+ PULL 9\r\n", b"Subject: three\r\n\r\n\r\n"]
UP = [b"Subject: up\r\n\r\nHello\r\n", b"Subject: dots\r\n\r\n.\r\n..\r\n", b"Subject: no body\r\n\r\n"]


def large_text(name, size):
    line = (name * 8)[:62] + b"\r\n"
    return b"Subject: " + name + b"\r\n\r\n" + line * (size // len(line))


LARGE_DOWN = [large_text(b"down %d" % size, size) for size in (1 << 20, 3 << 20, 5000, 1 << 21)]
LARGE_UP = [large_text(b"up %d" % size, size) for size in (1 << 20, 3 << 20, 5000)]


class World:
    """A Gatepost, a relay before its port 109, and what goes up and down."""

    def __init__(self, gate, relay):
        self.gate, self.relay = gate, relay

    def fresh(self, site, down, up):
        """A mailbox with `down`, an outbox with `up`, and nothing else known on either side; so that a session has the same
        octets in the same places as that of another site."""
        for user in (library.USER, OTHER):
            self.gate.clear(user)
            folder = self.gate.maildir(user)
            for path in [*folder.glob("gatepost-*")]:
                for file in path.glob("*") if path.is_dir() else [path]:
                    file.unlink(missing_ok=True)  # by a session that ends
        self.down = {deliver(self.gate, text).name: text.replace(b"\r\n", b"\n") for text in down}
        self.up = [site.put(text, to=[OTHER]) for text in up]
        self.site = site
        self.relay.forget()
        self.relay.at_cut = lambda link: self.nothing_lost()

    def delivered(self):
        """What has come up, without what the delivery puts before it."""
        messages = self.gate.messages(OTHER)
        return sorted(message[message.index(f"From: <{library.USER}>".encode()):] for message in messages)

    def nothing_lost(self):
        """At any moment. Where something goes away is looked at before the place where it must be by then."""
        left = {path.name.partition(":")[0] for part in ("new", "cur") for path in (self.gate.maildir() / part).glob("*")}
        received = self.site.received()
        for name, text in self.down.items():
            assert name in left or text in received, f"neither here nor there: {text[:60]!r}"
        unsent = [text.replace(b"\n", b"\r\n") for text in self.site.unsent().values()]
        delivered = self.delivered()
        for text in self.up:
            assert text in unsent or text in delivered, f"neither sent nor unsent: {text[:60]!r}"

    def all_done(self):
        assert self.site.received() == sorted(self.down.values())
        assert self.delivered() == sorted(self.up)
        assert self.gate.messages() == [] and self.site.unsent() == {}
        assert self.site.paths("tmp") == [] and self.site.check_sanitizers() is None

    def cut_and_finish(self, cut, down=DOWN, up=UP, tls=False, **how):
        """One run over a link that is cut, one that finishes. Returns the links of both."""
        with Site() as site:
            self.fresh(site, down, up)
            self.relay.plan(cut)
            first = site.run(self.gate, self.relay.port, tls=tls, **how)
            cut_link = self.relay.links[0]
            assert first.returncode in (OK, TEMPFAIL, UNAVAILABLE), first.words
            self.nothing_lost()
            if first.returncode == OK:
                self.all_done()
            second = site.run(self.gate, self.relay.port, tls=tls)
            assert second.returncode == OK, second.words
            self.all_done()
            self.relay.check()
            return cut_link, self.relay.links[-1]


@pytest.fixture(scope="module")
def world():
    with library.Gatepost(sections({"mailstore": {"push_quota": "64MiB"}}), users=(library.USER, OTHER)) as gate:
        with Relay(gate.port("remote"), record=True) as relay:
            yield World(gate, relay)


def whole_session(world, down=DOWN, up=UP, tls=False):
    """The octets of both directions where nothing is cut."""
    with Site() as site:
        world.fresh(site, down, up)
        result = site.run(world.gate, world.relay.port, tls=tls)
        assert result.returncode == OK, result.words
        world.all_done()
        (link,) = world.relay.links
        return {"up": bytes(link.up.octets), "down": bytes(link.down.octets)}


def cut_points(octets, step):
    """Ends of lines and the octets beside them, and every `step`th: with 1, all."""
    ends = {match.end() + beside for match in re.finditer(b"\r\n", octets) for beside in (-1, 0, 1)}
    return sorted(point for point in ends | set(range(0, len(octets), step)) if point <= len(octets))


@pytest.mark.seconds(3600)
@pytest.mark.parametrize("direction", ["up", "down"])
def test_r1_cut_behind_every_octet(world, full, direction):
    octets = whole_session(world)[direction]
    points = cut_points(octets, 1 if full else 41)
    cut = 0
    for number, point in enumerate(points):
        how = ("reset", "fin")[number % 2]
        try:
            link, _ = world.cut_and_finish(Cut(direction, point, how))
        except AssertionError as error:
            raise AssertionError(f"cut {direction} at octet {point} of {len(octets)} ({how}), behind "
                                 f"{octets[max(0, point - 60):point]!r}") from error
        cut += link.was_cut.is_set()
    print(f"{cut} cuts of {len(points)} planned, in {len(octets)} octets")
    assert cut >= len(points) * 0.9  # a session may be some octets shorter than another


@pytest.mark.seconds(3600)
def test_r1_large_messages_cut_anywhere(world, full):
    """Under TLS, at random octets; the seed is printed, and SEED=... repeats it."""
    seed = int(os.environ.get("SEED", random.SystemRandom().randrange(2**32)))
    order = random.Random(seed)
    whole = whole_session(world, LARGE_DOWN, LARGE_UP, tls=True)
    for number in range(500 if full else 25):
        direction = order.choice(("up", "down"))
        cut = Cut(direction, order.randrange(len(whole[direction])), order.choice(("reset", "fin")))
        print(f"seed {seed}, number {number}: {cut}")
        world.cut_and_finish(cut, LARGE_DOWN, LARGE_UP, tls=True)


@pytest.mark.seconds(600)
def test_r1_one_cut_after_another(world):
    """Parts of parts: each connection is cut within 400 KB, until all is done. No octet comes down twice."""
    seed = int(os.environ.get("SEED", random.SystemRandom().randrange(2**32)))
    print(f"seed {seed}")
    order = random.Random(seed)
    runs = 0
    with Site() as site:
        world.fresh(site, LARGE_DOWN, LARGE_UP)
        while runs == 0 or result.returncode != OK:
            runs += 1
            direction = "up" if site.unsent() else "down"
            world.relay.plan(Cut(direction, order.randrange(400000), order.choice(("reset", "fin"))))
            result = site.run(world.gate, world.relay.port, tls=False)
            assert result.returncode in (OK, TEMPFAIL, UNAVAILABLE), result.words
            world.nothing_lost()
            assert runs < 300, result.words
        world.all_done()
        world.relay.check()
        more = {direction: sum(getattr(link, direction).passed for link in world.relay.links) - sum(map(len, texts))
                for direction, texts in (("up", world.up), ("down", LARGE_DOWN))}
        print(f"{runs} connections; octets that are no message for the first time: {more}")
        assert more["down"] < runs * 2000


def finish_by(world, site, *more):
    """One run over a link that is cut, one that finishes, both with these options."""
    first = site.run(world.gate, world.relay.port, *more, tls=False)
    assert first.returncode in (OK, TEMPFAIL, UNAVAILABLE), first.words
    world.nothing_lost()
    second = site.run(world.gate, world.relay.port, *more, tls=False)
    assert second.returncode == OK, second.words
    assert site.received() == sorted(world.down.values())


@pytest.mark.seconds(600)
@pytest.mark.parametrize("direction", ["up", "down"])
def test_r1_mail_that_stays_on_the_server_comes_once(world, direction):
    for point in cut_points(whole_session(world)[direction], 10000)[::7]:
        with Site() as site:
            world.fresh(site, DOWN, UP)
            world.relay.plan(Cut(direction, point, "reset"))
            finish_by(world, site, "--keep")
            assert sorted(world.gate.messages()) == sorted(DOWN)
            assert site.run(world.gate, world.relay.port, tls=False).returncode == OK
            world.all_done()
            world.relay.check()


@pytest.mark.seconds(600)
@pytest.mark.parametrize("direction", ["up", "down"])
def test_r1_a_command_is_handed_each_message_once(world, direction):
    for point in cut_points(whole_session(world)[direction], 10000)[::7]:
        with Site() as site:
            world.fresh(site, DOWN, UP)
            world.relay.plan(Cut(direction, point, "fin"))
            finish_by(world, site, "--mda", f"cat >{site.maildir}/cur/$$")
            world.all_done()
            world.relay.check()


@pytest.mark.parametrize("how", ["reset", "fin"])
@pytest.mark.parametrize("direction, octet", [("up", 1), ("up", 200), ("up", 550), ("down", 1), ("down", 100), ("down", 900)])
def test_r1_a_handshake_that_is_cut_is_no_more_than_a_cut(world, direction, octet, how):
    world.cut_and_finish(Cut(direction, octet, how), tls=True)


@pytest.mark.parametrize("direction, octet", [("up", 0), ("up", 60), ("down", 60), ("down", 500)])
def test_r1_the_program_itself_tries_again(world, direction, octet):
    with Site() as site:
        world.fresh(site, DOWN, UP)
        world.relay.plan(Cut(direction, octet, "reset"), Cut(direction, octet, "fin"))
        result = site.run(world.gate, world.relay.port, tls=False, retries=5)
        assert result.returncode == OK, result.words
        assert len(world.relay.links) >= 2 and world.relay.links[0].was_cut.is_set()
        world.all_done()
        world.relay.check()


# octets that are sent twice

def frame_start(octets):
    """Where the octets of the frame begin that `octets` ends in, and its uid; told by the lengths before it."""
    at = re.search(rb"^M ", octets, re.M).start()
    while True:
        uid, size, offset = octets[at + 2:octets.index(b"\r\n", at)].split()
        start = octets.index(b"\r\n", at) + 2
        tail = start + int(size) - int(offset)
        if len(octets) < tail:
            return start, uid.decode()
        at = octets.index(b"\r\n", tail + 2) + 2


def unread_by(sock):
    """Octets in the receive buffer of the other end of `sock`."""
    port = sock.getpeername()[1]
    ours = sock.getsockname()[1]
    with open("/proc/net/tcp") as table:
        for row in table.read().splitlines()[1:]:
            words = row.split()
            if [int(words[place].rpartition(":")[2], 16) for place in (1, 2)] == [port, ours]:
                return int(words[4].split(":")[1], 16)
    return 0


def run_and_note(world, relay, cut, unread_of, down=(), up=(), kill=lambda: None):
    """As cut_and_finish(), by another relay; returns the links and what sat in the peer's buffer when the link was cut."""
    def at_cut(link):
        sat.append(unread_by(getattr(link, unread_of)))
        kill()

    sat = []
    world.relay, usual = relay, world.relay
    try:
        with Site() as site:
            world.fresh(site, down, up)
            relay.at_cut = at_cut
            relay.plan(cut)
            assert site.run(world.gate, relay.port, tls=False).returncode == TEMPFAIL
            result = site.run(world.gate, relay.port, tls=False)
            assert result.returncode == OK, result.words
            world.all_done()
            relay.check()
            return relay.links[0], relay.links[-1], sat[0]
    finally:
        world.relay = usual


@pytest.mark.parametrize("how", ["fin", "reset"])
@pytest.mark.parametrize("octet", [20000, 700000, 2500001])
def test_r2_what_has_come_down_does_not_come_again(world, octet, how):
    with Relay(world.gate.port("remote"), buffers=131072, record=True) as relay:
        first, second, sat = run_and_note(world, relay, Cut("down", octet, how), "client", down=LARGE_DOWN)
    start, uid = frame_start(bytes(first.down.octets))
    asked = re.search(rf"^PULL {uid} (\d+)\r\n".encode(), bytes(second.up.octets), re.M)
    assert asked, bytes(second.up.octets)[:400]
    twice = first.down.passed - start - int(asked[1])
    print(f"{twice} octets twice; {sat} were unread when the link was cut")
    assert 0 <= twice <= sat


def children_of(pids):
    """At once: a walk through /proc takes longer than a session needs for what is on its way."""
    return {int(child) for pid in pids for child in pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()}


@contextlib.contextmanager
def session_killer(gate):
    """A function that kills the sessions of the mail worker that were not there yet."""
    def kill(*_):
        for pid in children_of(workers) - lasting:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    gate.wait_idle()
    workers = gate.pop3d()
    lasting = children_of(workers)
    yield kill


@pytest.mark.parametrize("how", ["fin", "reset", "killed"])
@pytest.mark.parametrize("octet", [20000, 700000, 2500001])
def test_r2_of_what_has_gone_up_at_most_256_kib_go_again(world, octet, how):
    """Also where the server's session is killed, with what sat in the socket between it and the proxy."""
    between = int(pathlib.Path("/proc/sys/net/core/wmem_default").read_text())
    with Relay(world.gate.port("remote"), buffers=131072, record=True) as relay, session_killer(world.gate) as kill:
        cut = Cut("up", octet, "pass" if how == "killed" else how)
        first, second, sat = run_and_note(world, relay, cut, "server", up=LARGE_UP,
                                          kill=kill if how == "killed" else lambda: None)
    octets = bytes(first.up.octets)
    head = list(re.finditer(rb"^PUSH ([0-9a-f]{32}) \d+ .*?\r\n\r\n", octets[:octet], re.M | re.S))[-1]
    again = re.search(rb"^PUSH %s \d+ [0-9a-f]{64}(?: (\d+))?\r\n" % head[1], bytes(second.up.octets), re.M)
    twice = octet - head.end() - int(again[1] or 0)
    print(f"{twice} octets twice; {sat} were unread when the link was cut")
    assert twice <= sat + (256 << 10) + (between if how == "killed" else 0)
    assert twice >= 0 or how == "killed"  # more may have come up before the kill was felt


# kill -9

KILL_SHARE = 40  # of the points of a session, by default


def kill_and_finish(world, cut, at_cut, down=DOWN, up=UP):
    """As cut_and_finish(); at_cut(link, the client's Popen) kills."""
    with Site() as site:
        world.fresh(site, down, up)
        running = queue.Queue()
        world.relay.at_cut = lambda link: at_cut(running.get(timeout=30))
        world.relay.plan(cut)
        client = site.start(world.gate, world.relay.port, tls=False)
        running.put(client)
        client.communicate(timeout=60)
        code = client.returncode
        world.nothing_lost()
        result = site.run(world.gate, world.relay.port, tls=False)
        if result.returncode == TEMPFAIL:  # the session of the killed one was slower to log in, and ended this one
            result = site.run(world.gate, world.relay.port, tls=False)
        assert result.returncode == OK, result.words
        world.all_done()
        world.relay.check()
        return code


def kill_points(world, full):
    whole = whole_session(world)
    points = [(direction, point) for direction in ("up", "down") for point in cut_points(whole[direction], 11)]
    return points if full else points[::len(points) // KILL_SHARE]


@pytest.mark.seconds(3600)
@pytest.mark.parametrize("how", ["pass", "drop"])
def test_r5_the_client_killed(world, full, how):
    """The server is told ("pass"), or is not, and does not keep the owner from coming back ("drop")."""
    for direction, point in kill_points(world, full):
        code = kill_and_finish(world, Cut(direction, point, how), lambda client: os.kill(client.pid, signal.SIGKILL))
        assert code in (-signal.SIGKILL, OK), (direction, point)


@pytest.mark.seconds(3600)
def test_r5_the_server_s_session_killed(world, full):
    with session_killer(world.gate) as kill:
        for direction, point in kill_points(world, full):
            code = kill_and_finish(world, Cut(direction, point, "pass"), kill)
            assert code in (TEMPFAIL, OK), (direction, point, code)


WITHOUT_LEAKS = {"ASAN_OPTIONS": "detect_leaks=0", "LSAN_OPTIONS": "detect_leaks=0"}


RENAMES = "rename,renameat,renameat2,link,linkat"


def read_and_clean(site):
    """What a reader does with the first new message, and programs that clean do to tmp/."""
    for path in site.paths("new")[:1]:
        path.rename(site.maildir / "cur" / f"{path.name}:2,S")
    for path in site.paths("tmp"):
        path.unlink()


@pytest.mark.seconds(3600)
@pytest.mark.parametrize("call, meanwhile", [("fsync,fdatasync", None), (RENAMES, None), ("unlink,unlinkat", None),
                                             ("write,pwrite64,writev", None), (RENAMES, read_and_clean)])
def test_r5_the_client_killed_at_a_step(world, full, call, meanwhile):
    """Before its first such call, its second, and so on, until it is not reached any more."""
    step, reached = 0, True
    while reached:
        step += 1
        with Site() as site:
            world.fresh(site, DOWN, UP)
            first = site.run(world.gate, world.relay.port, tls=False, environment=WITHOUT_LEAKS,
                             prefix=["strace", "-f", "-qq", "-o", "/dev/null", "-e", f"trace={call}", "-e",
                                     f"inject={call}:signal=SIGKILL:when={step}"])
            reached = first.returncode != OK
            assert not reached or first.returncode == -signal.SIGKILL, first.words
            if meanwhile:
                meanwhile(site)
            world.nothing_lost()
            result = site.run(world.gate, world.relay.port, tls=False)
            assert result.returncode == OK, f"after step {step} of {call}: {result.words}"
            world.all_done()
    print(f"{step - 1} steps")
    assert step > 1


@pytest.fixture(scope="module")
def traced_world():
    """Its sessions may end under strace, where LeakSanitizer cannot work."""
    with library.Gatepost(sections(), users=(library.USER, OTHER), environment=WITHOUT_LEAKS) as gate:
        with Relay(gate.port("remote")) as relay:
            yield World(gate, relay)


@contextlib.contextmanager
def sessions_killed_at(gate, call, step):
    """Each session of the mail worker, before its `step`th such call."""
    pids = gate.pop3d()
    with open(gate.folder / "strace", "wb") as said:
        tracer = subprocess.Popen(["strace", "-f", "-qq", "-o", "/dev/null", "-e", f"trace={call}", "-e",
                                   f"inject={call}:signal=SIGKILL:when={step}",
                                   *(word for pid in pids for word in ("-p", str(pid)))], stderr=said)
    try:
        proc.wait_until(lambda: all(proc.status(pid)["TracerPid"] != "0" for pid in pids), 30, "strace sees the worker")
        yield
    finally:
        tracer.send_signal(signal.SIGINT)
        tracer.wait(30)


@pytest.mark.seconds(3600)
@pytest.mark.parametrize("call", ["fsync,fdatasync", "rename,renameat,renameat2,link,linkat", "unlink,unlinkat",
                                  "write,pwrite64,writev"])
def test_r5_the_server_s_session_killed_at_a_step(traced_world, call):
    step, reached = 0, True
    while reached:
        step += 1
        with Site() as site:
            traced_world.fresh(site, DOWN, UP)
            workers = traced_world.gate.pop3d()
            with sessions_killed_at(traced_world.gate, call, step):
                first = site.run(traced_world.gate, traced_world.relay.port, tls=False)
            reached = first.returncode != OK
            assert first.returncode in (OK, TEMPFAIL), first.words
            assert traced_world.gate.pop3d() == workers
            traced_world.nothing_lost()
            result = site.run(traced_world.gate, traced_world.relay.port, tls=False)
            assert result.returncode == OK, f"after step {step} of {call}: {result.words}"
            traced_world.all_done()
    print(f"{step - 1} steps")
    assert step > 1


# what a power failure would leave: a kill cannot show it, the order of system calls does

DURABLE = "fsync,fdatasync,rename,renameat,renameat2,link,linkat,unlink,unlinkat,sendto,recvfrom"


class Trace:
    """The system calls of one run, and a look that goes forward in them."""

    def __init__(self, path):
        self.text = path.read_text(errors="replace")
        self.at = 0

    def then(self, pattern):
        found = re.compile(pattern, re.M).search(self.text, self.at)
        assert found, f"no {pattern!r} behind\n{self.text[max(0, self.at - 1000):self.at]}"
        self.at = found.end()
        return found

    def before(self, pattern, *others):
        """`others` in this order, and all of them before the first `pattern`."""
        end = re.search(pattern, self.text, re.M).start()
        self.at = 0
        for other in others:
            self.then(other)
        assert self.at <= end, f"{others[-1]!r} is behind {pattern!r}"


def test_r1_what_is_acknowledged_and_what_is_sent_up_is_on_the_disk_before(world):
    with Site() as site:
        world.fresh(site, DOWN, UP)
        result = site.run(world.gate, world.gate.port("remote"), tls=False, environment=WITHOUT_LEAKS,
                          prefix=["strace", "-f", "-y", "-qq", "-s", "65536", "-o", site.folder / "trace", "-e",
                                  f"trace={DURABLE}"])
        assert result.returncode == OK, result.words
        trace = Trace(site.folder / "trace")
    uids = re.findall(r"ACK ([0-9a-f]{8}\.\d+)\\r\\n", trace.text)
    assert len(uids) == len(DOWN)
    for uid in map(re.escape, uids):
        trace.before(rf"sendto.*ACK {uid}\\r", rf"fsync\(.*/tmp/gatepost-fetch\.{uid}>\) += 0", r"fsync\(.*Maildir/tmp>\) += 0",
                     r"sync\(.*/journal>\) += 0", rf'renameat.*"gatepost-fetch\.{uid}", .*Maildir/new>', r"fsync\(.*Maildir/new>\) += 0")
    names = [f"{1700000001 + number}.P{1 + number}.site" for number in range(len(UP))]
    for name, id in zip(names, re.findall(r"PUSH ([0-9a-f]{32}) \d+ [0-9a-f]{64}", trace.text), strict=True):
        record = rf'renameat.*outbox/gatepost-fetch>, "{re.escape(name)}"'
        trace.before(rf"sendto.*PUSH {id}", r"fsync\(.*outbox/gatepost-fetch/.*>\) += 0", record, r"fsync\(.*outbox/gatepost-fetch>\) += 0")
        trace.before(rf'unlinkat\(.*outbox/gatepost-fetch>, "{re.escape(name)}"', rf"recvfrom.*PUSH {id} DONE",
                     rf'unlinkat\(.*"new/{re.escape(name)}"', r"fsync\(.*outbox/new>\) += 0")
