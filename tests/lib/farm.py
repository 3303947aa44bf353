"""Scripted servers that go down, hang, fill up and come back at the same address; clients hear which one serves them.

    with Server(folder / "a.sock", SMTP.script("a")) as a, Server(("127.0.0.1", 0), SMTP.script("b")) as b:
        with behind(SMTP, [a, b], policy="round-robin") as gate:
            assert SMTP.served_by(gate) == "a"
            a.down()
            assert SMTP.served_by(gate) == "b"
            a.up()

A server is listed by `item` ("unix:/path", "127.0.0.1:2000", "[::1]:2000"). `connections` grows over all its lives;
`dialogues` are those by which it was learned or checked, `sessions` those of clients. `most` is how many there were at
once. pause() accepts nobody until resume(); fill() takes all places of its backlog."""
import base64
import contextlib
import os
import select
import signal
import socket
import threading
import time

import gatepost as library
import proc
from backend import CAPA_WORDS, EHLO_WORDS, Backend, Connection, pop3_script, smtp_script
from wire import Wire

CLIENT = b"me.example"  # no dialogue of the proxy's own says EHLO with this name, or USER


class Server(Backend):
    def __init__(self, address, act, backlog=128, timeout=60):
        """`address`: path of a UNIX socket, or (host, port), port 0 for a free one. `act`: its script."""
        self.address = address
        self.act = act
        self.backlog = backlog
        self.mode, self.owner = 0o666, (os.getuid(), os.getgid())  # of a UNIX socket
        self.timeout = timeout
        self.connections = []
        self.errors = []
        self.most = 0
        self.listener = None
        self._lock = threading.Lock()
        self._living = set()
        self._accept_lock = threading.Lock()
        self._paused = False
        self.up()

    @property
    def item(self):
        if not isinstance(self.address, tuple):
            return f"unix:{self.address}"
        host, port = self.address
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

    @property
    def sessions(self):
        return [one for one in self.connections if CLIENT in one.received or b"USER " in one.received]

    @property
    def dialogues(self):
        return [one for one in self.connections if one not in self.sessions]

    # life

    def up(self, act=None):
        """Listens (again), with another script where one is given."""
        self.act = act or self.act
        if isinstance(self.address, tuple):
            family = socket.AF_INET6 if ":" in self.address[0] else socket.AF_INET
            listener = socket.create_server(self.address, family=family, backlog=self.backlog)
            self.address = listener.getsockname()[:2]
        else:
            listener = socket.socket(socket.AF_UNIX)
            listener.bind(str(self.address))
            os.chmod(self.address, self.mode)
            os.chown(self.address, *self.owner)
            listener.listen(self.backlog)
        self.listener = listener
        self._thread = threading.Thread(target=self._accept_from, args=(listener,), daemon=True)
        self._thread.start()

    def down(self):
        """As if it had been killed: nobody listens, and all its connections end."""
        listener, self.listener = self.listener, None
        if not listener:
            return
        self._thread.join()
        listener.close()
        if not isinstance(self.address, tuple):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self.address)
        for connection in self.connections:
            if not connection.done.is_set():
                connection.ended = connection.ended or "down"
                with contextlib.suppress(OSError):
                    connection.socket.shutdown(socket.SHUT_RDWR)

    close = down

    def wait_quiet(self, seconds=0.4):
        """Until nobody has come for so long, and all have gone: no dialogue is under way."""
        def quiet():
            before = self.accepted
            time.sleep(seconds)
            return self.accepted == before and all(one.done.is_set() for one in self.connections)

        proc.wait_until(quiet, 30, "all connections have ended")

    def pause(self):
        with self._accept_lock:
            self._paused = True

    def resume(self):
        self._paused = False

    def fill(self):
        """Takes what is left of the backlog: the connections, to be closed. Only while it is paused."""
        taken = []
        while True:
            sock = socket.socket(self.listener.family)
            sock.setblocking(False)
            taken.append(sock)
            try:
                sock.connect(self.listener.getsockname())
            except BlockingIOError:
                if self.listener.family == socket.AF_UNIX or not select.select([], [sock], [], 1)[1]:
                    return taken  # EAGAIN; of TCP, the SYN is dropped

    def _accept_from(self, listener):
        while self.listener is listener:
            if not select.select([] if self._paused else [listener], [], [], 0.02)[0]:
                continue
            with self._accept_lock:
                if not self._paused:
                    self._take(listener.accept()[0])

    def _take(self, sock):
        connection = Connection(self.accepted + 1, sock)
        with self._lock:
            self._living.add(connection)
            self.most = max(self.most, sum(not self._left(one) for one in self._living))
            self.connections.append(connection)
        threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _left(self, connection):
        """A closed UNIX socket is gone at both ends; a TCP connection stands until its server closes it too."""
        if isinstance(self.address, tuple) or connection.socket.fileno() < 0:
            return False
        watch = select.poll()
        watch.register(connection.socket, 0)
        return bool(watch.poll(0))  # POLLHUP

    def over(self, connection):
        """It does not count any more: to be called before its last word is sent, which the proxy may act upon."""
        with self._lock:
            self._living.discard(connection)

    def script(self, wire, connection):
        connection.server = self
        try:
            self.act(wire, connection)
        finally:
            self.over(connection)


def goodbye(words):
    def answer(wire, connection, line):
        connection.server.over(connection)
        return words

    return answer


def mute(wire, connection):
    """A server that hangs: it accepts, and says nothing."""
    wire.read_all()


class Kind:
    """What the tests need to know of a protocol. `section`: of its backend; `port`: a listener's name."""

    def __repr__(self):
        return self.section

    def enter(self, gate, host="127.0.0.1", source=None, user="anna", timeout=30):
        """A client up to the reply for which a server is needed: (wire, its last line)."""
        bind = source and (source, 0)
        wire = Wire.over(socket.create_connection((host, gate.port(self.port)), timeout, bind), timeout)
        self.ask(wire, user)
        return wire, wire.reply()[-1]

    def served_by(self, gate, **client):
        """The name of the server that a client has come to."""
        wire, reply = self.enter(gate, **client)
        with wire:
            assert reply.startswith(self.good), f"{reply}\n{wire.story()}"
            wire.quit()
            return reply.split()[-1].decode()

    def refused(self, gate, **client):
        """The line by which a client is sent away; what comes behind it is the end."""
        wire, reply = self.enter(gate, **client)
        with wire:
            assert not reply.startswith(self.good), f"served\n{wire.story()}"
            assert wire.at_eof(), wire.story()
            return reply


class Smtp(Kind):
    section, port, good = "smtp", "smtp", b"250"
    temporary = b"421 4.4.1"
    busy = b"421 4.3.2"
    whole = [b"EHLO", b"MAIL", b"RCPT", b"RSET", b"QUIT"]  # a dialogue of learning

    def script(self, name, words=EHLO_WORDS, answers=None, **more):
        """A server that says its name to MAIL."""
        own = {b"MAIL": f"250 2.1.0 {name}".encode(), b"QUIT": goodbye(b"221 2.0.0 Bye"), **(answers or {})}
        return smtp_script(ehlo=words, answers=own, **more)

    def ask(self, wire, user):
        wire.expect("220")
        wire.send(b"EHLO %s\r\n" % CLIENT)
        lines = wire.reply()
        if lines[-1].startswith(b"250"):
            wire.send(b"MAIL FROM:<bert@example.org>\r\n")
        else:
            wire.unread(lines[-1] + b"\r\n")

    def offer(self, gate, context=None):
        """The words of the reply to EHLO, sorted."""
        with Wire(gate.port(self.port)) as wire:
            wire.expect("220")
            wire.send(b"EHLO %s\r\n" % CLIENT)
            lines = wire.reply()
            assert lines[-1].startswith(b"250"), lines
            wire.quit()
            return sorted(line[4:].decode() for line in lines[1:] if line[4:] != b"STARTTLS")


class SmtpLogin(Smtp):
    """As Smtp, for policies that go by who logs in."""
    port, good = "submission", b"235"

    def __repr__(self):
        return "smtp-login"

    def script(self, name, **more):
        def login(wire, connection, line):
            connection.user = base64.b64decode(line.split()[2]).split(b"\0")[1].decode()
            return f"235 2.7.0 {name}".encode()

        return super().script(name, answers={b"AUTH": login}, **more)

    def ask(self, wire, user):
        wire.expect("220")
        wire.send(b"EHLO %s\r\n" % CLIENT)
        wire.expect("250")
        wire.send(b"AUTH PLAIN " + base64.b64encode(b"\0%s\0pw" % user.encode()) + b"\r\n")


class Pop3(Kind):
    section, port, good = "pop3", "pop3", b"+OK"
    temporary = busy = b"-ERR [SYS/TEMP]"
    whole = [b"CAPA", b"QUIT"]

    def script(self, name, words=CAPA_WORDS, answers=None, **more):
        """A server that says its name to PASS."""
        own = {b"PASS": f"+OK {name}".encode(), b"QUIT": goodbye(b"+OK bye"), **(answers or {})}
        return pop3_script(capabilities=words, answers=own, **more)

    def ask(self, wire, user):
        wire.expect("+OK")
        wire.command(f"USER {user}", "+OK")
        wire.send(b"PASS pw\r\n")

    def offer(self, gate):
        """The lines of the reply to CAPA, sorted."""
        with Wire(gate.port(self.port)) as wire:
            wire.expect("+OK")
            wire.command("CAPA", "+OK")
            words = wire.multiline()
            wire.quit()
            return sorted(word.decode() for word in words if word != b"STLS")


SMTP, SMTP_LOGIN, POP3 = Smtp(), SmtpLogin(), Pop3()
KINDS = [SMTP, POP3]


class Gate(library.Gatepost):
    """At the end of its `with` block all descriptors must be as they were at the start."""

    def __exit__(self, kind, *rest):
        try:
            if kind is None and self.process:
                self.wait_idle(30)
        finally:
            super().__exit__(kind, *rest)


def behind(kind, servers, workers=1, over=None, **keys):
    """A Gate in front of these servers (or items), not started; `keys` are of its [backend] section."""
    items = [server if isinstance(server, str) else server.item for server in servers]
    backend = {"address": ", ".join(items), "connect_timeout": "1500ms", **keys}
    other = "pop3" if kind.section == "smtp" else "smtp"
    sections = {"gatepost": {"workers": workers}, f"backend {kind.section}": backend,
                f"listen {kind.port}": {"detect": "no"}}  # or each client waits for its greeting
    return Gate({f"backend {other}": None, **library.overlay(sections, over)}, users=())


@contextlib.contextmanager
def alone(gate, worker):
    """The other workers stand still, so that this one gets the client."""
    others = [pid for pid in gate.workers() if pid != worker]
    for pid in others:
        gate.kill(pid, signal.SIGSTOP)
    yield
    for pid in others:
        gate.kill(pid, signal.SIGCONT)


def outages(gate, item=""):
    """The log lines of outages, and of their ends."""
    lines = [line for line in gate.log().splitlines() if item in line]
    return ([line for line in lines if "is out of service" in line],
            [line for line in lines if "answers again" in line])


def wait_outages(gate, down, back, item=""):
    """Until so many outages and ends of them have been logged (the log is a moment behind), and not one more."""
    def counts():
        return tuple(map(len, outages(gate, item)))

    proc.wait_until(lambda: counts()[0] >= down and counts()[1] >= back, 15,
                    lambda: f"{down} outages, {back} ends\n{gate.log()[-4000:]}")
    assert counts() == (down, back), gate.log()[-6000:]


def wait_served(gate, kind, names, in_a_row=8, timeout=30, **client):
    """Until so many clients one after the other have come to servers of these names only."""
    def so_many():
        return all(kind.served_by(gate, **client) in names for _ in range(in_a_row))

    proc.wait_until(so_many, timeout, lambda: f"all clients at {names}\n{gate.log()[-4000:]}")
