"""A relay between a client and its server that cuts the link exactly behind an octet, and counts.

    with Relay(gate.port("remote")) as relay:
        relay.plan(Cut("down", 117, "reset"))      # for the next connection; those after the plan pass whole
        ...                                        # a client connects to relay.port
        link = relay.links[0]
        link.down.passed == 117                    # octets that the client was given; link.up: the server
        link.was_cut.wait(15)

Directions are "up" (client to server) and "down". Ways to cut, both directions at once: "reset" (RST), "fin" (the stream
ends), "drop" (nothing passes any more and nobody is told), "pass" (it goes on). relay.at_cut(link) runs first, in the
relay's thread: both sides live on meanwhile, but nothing passes; relay.check() raises what it raised, and so does the end
of the `with`. Relay(..., buffers=131072) keeps the relay's own socket buffers small, record=True keeps what passed
(link.up.octets)."""
import array
import collections
import fcntl
import select
import socket
import struct
import termios
import threading

Cut = collections.namedtuple("Cut", "direction octet how")
PIECE = 65536


class Direction:
    """What passes one way. `limit`: how many octets in all, or None."""

    def __init__(self, name, source, sink):
        self.name, self.source, self.sink = name, source, sink
        self.passed = 0
        self.limit = None
        self.octets = None
        self.held = False  # read on; of it only what is released is passed on
        self.released = 0
        self.ended = self.told = False  # the source has ended; the sink was told
        self.waiting = b""

    def ready(self):
        """How much may be passed on now."""
        return self.released if self.held else len(self.waiting)

    def release(self, count):
        self.released = count

    def room(self):
        """How much may be read now."""
        if self.ended or (self.waiting and not self.held):
            return 0
        return PIECE if self.limit is None else self.limit - self.passed - len(self.waiting)

    def at_limit(self):
        return self.limit is not None and self.passed == self.limit and not unsent(self.sink)

    def read(self):
        piece = self.source.recv(min(PIECE, self.room()))
        self.ended = not piece
        self.waiting += piece

    def write(self):
        count = self.sink.send(self.waiting[:self.ready()])
        self.released -= count if self.held else 0
        if self.octets is not None:
            self.octets += self.waiting[:count]
        self.passed += count
        self.waiting = self.waiting[count:]


class Link:
    """One connection of a client, and the relay's own to the server."""

    def __init__(self, client, server, cut, record):
        self.client, self.server, self.cut = client, server, cut
        self.up = Direction("up", client, server)
        self.down = Direction("down", server, client)
        self.directions = (self.up, self.down)
        self.was_cut = threading.Event()
        self.over = False
        if cut:
            getattr(self, cut.direction).limit = cut.octet
        for direction in self.directions:
            direction.octets = bytearray() if record else None

    def sockets(self):
        return (self.client, self.server)

    def dropped(self):
        return self.was_cut.is_set() and self.cut is not None and not self.over

    def quiet(self):
        """Is there nothing to read, and nothing on its way but what is held?"""
        if self.over:
            return True
        sources = [one.source for one in self.directions if not one.ended]
        return not select.select(sources, [], [], 0)[0] and not any(one.ready() for one in self.directions)

    def reset(self):
        for one in self.sockets():
            one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            one.close()
        self.over = True


def unsent(sock):
    """Octets that the peer's kernel has not taken yet."""
    count = array.array("i", [0])
    fcntl.ioctl(sock.fileno(), termios.TIOCOUTQ, count)
    return count[0]


class Relay:
    def __init__(self, port, host="127.0.0.1", buffers=None, record=False):
        self.target = (host, port)
        self.buffers, self.record = buffers, record
        self.links = []  # of the test
        self._all = []
        self.at_cut = lambda link: None
        self.hold_up = False  # new links begin with their way up held
        self.errors = []
        self._plan = collections.deque()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port = self._listener.getsockname()[1]
        self._wake, self._waker = socket.socketpair()
        self._end = False
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def plan(self, *cuts):
        self._plan.extend(cuts)

    def forget(self):
        """Nothing planned, and no links of before; those that live go on unseen, those that were dropped end."""
        self._plan.clear()
        for link in self.links:
            if link.dropped():
                link.reset()
        self.links = []

    def wake(self):
        """After a release."""
        self._waker.send(b"x")

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        self._end = True
        self.wake()
        self._thread.join()
        for link in self._all:
            for one in link.sockets():
                one.close()
        self._listener.close()
        if not kind:
            self.check()

    def check(self):
        if self.errors:
            raise self.errors[0]

    # the relay's thread

    def _run(self):
        while not self._end:
            try:
                self._turn()
            except Exception as error:  # shown by the test's thread
                self.errors.append(error)
                return

    def _turn(self):
        poll, wanted = select.poll(), {}
        for one in (self._listener, self._wake):
            poll.register(one, select.POLLIN)
        live = [link for link in self._all if not link.over and not link.dropped()]
        for link in live:
            for direction in link.directions:
                if direction.room() > 0:
                    wanted[direction.source] = wanted.get(direction.source, 0) | select.POLLIN
                if direction.ready():
                    wanted[direction.sink] = wanted.get(direction.sink, 0) | select.POLLOUT
        for one, events in wanted.items():
            poll.register(one, events)
        soon = any(self._cut_waits(link) for link in live)  # for the peer's kernel to take the last octets
        ready = dict(poll.poll(1 if soon else None))
        if self._listener.fileno() in ready:
            self._accept()
        if self._wake.fileno() in ready:
            self._wake.recv(4096)
        for link in live:
            self._serve(link, ready)

    def _cut_waits(self, link):
        if not link.cut or link.was_cut.is_set():
            return False
        direction = getattr(link, link.cut.direction)
        return direction.passed == direction.limit

    def _accept(self):
        client, _ = self._listener.accept()
        server = socket.create_connection(self.target)
        for one in (client, server):
            one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self.buffers:
                one.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, self.buffers)
                one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, self.buffers)
            one.setblocking(False)
        link = Link(client, server, self._plan.popleft() if self._plan else None, self.record)
        link.up.held = self.hold_up
        self.links.append(link)
        self._all = [one for one in self._all if not one.over] + [link]
        if link.cut and link.cut.octet == 0:
            self._cut(link)

    def _serve(self, link, ready):
        try:
            for direction in link.directions:
                if direction.room() > 0 and ready.get(direction.source.fileno(), 0) & ~select.POLLOUT:
                    direction.read()
            for direction in link.directions:
                if direction.ready():
                    direction.write()
                if self._cut_waits(link) and direction.name == link.cut.direction and direction.at_limit():
                    self._cut(link)
                    return
                if direction.ended and not direction.waiting and not direction.told:
                    direction.told = True
                    direction.sink.shutdown(socket.SHUT_WR)
        except BlockingIOError:
            return
        except OSError:  # a peer has reset its side: so do we
            link.reset()
            return
        if all(direction.told for direction in link.directions):
            self._close(link)

    def _close(self, link):
        for one in link.sockets():
            one.close()
        link.over = True

    def _cut(self, link):
        try:
            self.at_cut(link)
        except Exception as error:
            self.errors.append(error)
        if link.cut.how == "pass":
            getattr(link, link.cut.direction).limit = None
            link.cut = None
        elif link.cut.how == "reset":
            link.reset()
        elif link.cut.how == "fin":
            for one in link.sockets():
                self._end_stream(one)
            self._close(link)
        link.was_cut.set()

    def _end_stream(self, sock):
        """FIN, and what came meanwhile is taken, for it would make an RST of it."""
        try:
            sock.shutdown(socket.SHUT_WR)
            while sock.recv(PIECE):
                pass
        except OSError:
            pass
