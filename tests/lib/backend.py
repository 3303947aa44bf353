"""Scripted servers on UNIX sockets (or TCP) that record every octet they are sent.

    with Backend(folder / "smtp.sock", smtp_script()) as backend:      # a small SMTP server
        ...
        backend.connections[0].received      all octets, as bytes
        backend.connections[0].lines         command lines without CRLF
        backend.connections[0].messages      [(envelope lines, message octets as they came)] of the SMTP script
        backend.accepted                     how many connections there were
    with Backend(path, scripted=lambda wire, connection: wire.send(b"421 no\\r\\n")) as backend:    # anything else

A script is a function (wire, connection): `wire` is a wire.Wire of the server's side (it sends with send(), reads with
line(), read_exactly(), ...). When the script returns the connection is closed; connection.reset() resets it instead.
connection.ended tells how the peer ended: "fin", "reset" or None. An exception other than the peer's going away is kept
and fails the test when the `with` block ends."""
import os
import re
import socket
import struct
import threading

import proc
from wire import Wire


class Connection:
    """One accepted connection. Its `wire` records; the test's thread may look at any time."""

    def __init__(self, number, sock):
        self.number = number
        self.socket = sock
        self.received = b""
        self.lines = []
        self.messages = []
        self.proxy = None  # the raw PROXY v2 header, where the script reads one
        self.clear, self.secure, self.tls_error = b"", False, None  # of a script that speaks TLS: what came before it
        self.ended = None
        self.done = threading.Event()

    def reset(self):
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()

    def wait_done(self, timeout=15):
        assert self.done.wait(timeout), f"the connection still lives; received {self.received[-500:]!r}"
        return self


class RecordingWire(Wire):
    """The server's side of a connection: what arrives is recorded before the script sees it."""

    def __init__(self, sock, connection, timeout):
        super().__init__(None, timeout, connect=False)
        self.socket = sock
        self.connection = connection
        sock.settimeout(timeout)

    def _receive(self, timeout=None):
        before = len(self._plain)
        more = super()._receive(timeout)
        self.connection.received += self._plain[before:]
        self.connection.ended = self.eof
        return more

    def line(self):
        line = super().line()
        self.connection.lines.append(line)
        return line


class Gone(Exception):
    """The peer has ended the connection."""


class Backend:
    def __init__(self, address, scripted, timeout=60, backlog=128):
        """`address`: path of a UNIX socket, 0 for a free TCP port of 127.0.0.1, or (host, port or 0); backend.port tells
        which."""
        self.script = scripted
        self.timeout = timeout
        self.connections = []
        self.errors = []
        self.address = address
        if address == 0 or isinstance(address, tuple):
            where = address or ("127.0.0.1", 0)
            self.listener = socket.create_server(where, backlog=backlog,
                                                 family=socket.AF_INET6 if ":" in where[0] else socket.AF_INET)
            self.port = self.listener.getsockname()[1]
        else:
            self.listener = socket.socket(socket.AF_UNIX)
            self.listener.bind(str(address))
            os.chmod(address, 0o666)
            self.listener.listen(backlog)
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    @property
    def accepted(self):
        return len(self.connections)

    @property
    def received(self):
        """All octets of all connections, in order of connections."""
        return b"".join(connection.received for connection in self.connections)

    def wait_accepted(self, count, timeout=15):
        proc.wait_until(lambda: self.accepted >= count, timeout, f"{count} connections at the backend")
        return self.connections[count - 1]

    def wait_received(self, octets, timeout=15):
        proc.wait_until(lambda: octets in self.received, timeout, f"{octets!r} at the backend")

    def _accept(self):
        while True:
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            connection = Connection(self.accepted + 1, sock)
            self.connections.append(connection)
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection):
        wire = RecordingWire(connection.socket, connection, self.timeout)
        try:
            self.script(wire, connection)
        except (Gone, BrokenPipeError, ConnectionResetError):
            connection.ended = connection.ended or "reset"
        except AssertionError as error:  # Wire: the stream ended inside something
            if not connection.ended:
                self.errors.append(error)
        except OSError as error:
            if connection.socket.fileno() >= 0:
                self.errors.append(error)
        finally:
            connection.socket.close()
            connection.done.set()

    def close(self):
        try:
            self.listener.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.listener.close()
        if self.address and not isinstance(self.address, tuple):
            try:
                os.unlink(self.address)
            except FileNotFoundError:
                pass

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        self.close()
        if kind is None and self.errors:
            raise self.errors[0]


def read_proxy_v2(wire, connection):
    """Reads a PROXY v2 header; returns (local, source, port, {type: value of TLV})."""
    head = wire.read_exactly(16)
    assert head.startswith(b"\r\n\r\n\0\r\nQUIT\n"), f"no PROXY v2 header: {head!r}"
    rest = wire.read_exactly(int.from_bytes(head[14:16], "big"))
    connection.proxy = head + rest
    family, skip = head[13] >> 4, {1: 12, 2: 36}.get(head[13] >> 4, 0)
    source = port = None
    if family == 1:
        source, port = socket.inet_ntop(socket.AF_INET, rest[:4]), int.from_bytes(rest[8:10], "big")
    elif family == 2:
        source, port = socket.inet_ntop(socket.AF_INET6, rest[:16]), int.from_bytes(rest[32:34], "big")
    tlvs, rest = {}, rest[skip:]
    while rest:
        size = int.from_bytes(rest[1:3], "big")
        tlvs[rest[0]], rest = rest[3:3 + size], rest[3 + size:]
    return head[12] & 15 == 0, source, port, tlvs


EHLO_WORDS = ("PIPELINING", "SIZE 52428800", "8BITMIME", "SMTPUTF8", "ENHANCEDSTATUSCODES", "CHUNKING",
              "AUTH PLAIN LOGIN")
CAPA_WORDS = ("TOP", "UIDL", "USER", "RESP-CODES", "PIPELINING", "SASL PLAIN")


def smtp_script(ehlo=EHLO_WORDS, answers=None, relay=False, proxy=False, before_greeting=None,
                banner="220 backend.test ESMTP"):
    """A small SMTP server. `ehlo`: its capabilities. `answers`: {b"VERB": reply, or function(wire, connection, line) ->
    reply or None (None: the built-in answer)}; a reply is bytes without the last CRLF. Without `relay` it refuses
    recipients outside gatepost.test, as a server that is no open relay does. `proxy`: a PROXY v2 header comes first.
    It takes message octets up to CRLF.CRLF and nothing else; BDAT by count. Without a `banner` it begins to listen at once."""
    answers = answers or {}

    def built_in(wire, connection, verb, line, state):
        if verb == b"EHLO":
            state["envelope"] = []
            lines = [b"backend.test"] + [word.encode() for word in ehlo]
            return b"\r\n".join(b"250" + (b"-" if i + 1 < len(lines) else b" ") + text for i, text in enumerate(lines))
        if verb == b"HELO":
            return b"250 backend.test"
        if verb == b"MAIL":
            state["envelope"] = [line]
            return b"250 2.1.0 Ok"
        if verb == b"RCPT":
            if not relay and not re.search(rb"@gatepost\.test>", line, re.I):
                return b"550 5.7.1 Relaying denied"
            state["envelope"].append(line)
            return b"250 2.1.5 Ok"
        if verb == b"DATA":
            if len(state["envelope"]) < 2:
                return b"503 5.5.1 No recipients"
            wire.send(b"354 Go on\r\n")
            message = b"\r\n" + wire.read_until(b"\r\n")
            while not message.endswith(b"\r\n.\r\n"):
                message += wire.read_until(b"\r\n")
            connection.messages.append((state["envelope"], message[2:-3]))
            state["envelope"] = []
            return b"250 2.0.0 Queued"
        if verb == b"BDAT":
            words = line.split()
            state["chunks"] = state.get("chunks", b"") + wire.read_exactly(int(words[1]))
            if words[-1].upper() == b"LAST":
                connection.messages.append((state["envelope"], state.pop("chunks")))
                state["envelope"] = []
            return b"250 2.0.0 Taken"
        if verb == b"AUTH":
            words = line.split()
            if len(words) < 3:
                wire.send(b"334 \r\n")
                wire.line()
                if words[1].upper() == b"LOGIN":
                    wire.send(b"334 UGFzc3dvcmQ6\r\n")
                    wire.line()
            return b"235 2.7.0 Welcome"
        if verb in (b"RSET", b"NOOP"):
            state["envelope"] = [] if verb == b"RSET" else state["envelope"]
            return b"250 2.0.0 Ok"
        if verb == b"VRFY":
            return b"252 2.0.0 Try it"
        return b"500 5.5.2 Unknown command"

    def script(wire, connection):
        if proxy:
            connection.identity = read_proxy_v2(wire, connection)
        if before_greeting:
            before_greeting(wire, connection)
        if banner:
            wire.send(banner.encode() + b"\r\n")
        state = {"envelope": []}
        while True:
            line = wire.line()
            verb = line.split(b" ")[0].upper()
            answer = answers.get(verb)
            if callable(answer):
                answer = answer(wire, connection, line)
            if answer is None:
                answer = b"221 2.0.0 Bye" if verb == b"QUIT" else built_in(wire, connection, verb, line, state)
            wire.send(answer + b"\r\n")
            if verb == b"QUIT":
                return

    return script


def pop3_script(messages=(b"Subject: one\r\n\r\nbody\r\n",), capabilities=CAPA_WORDS, answers=None, proxy=False,
                banner="+OK backend ready", on_update=None):
    """A small POP3 server that takes any password. `answers` as in smtp_script. At QUIT `on_update(deleted numbers)` is
    called; connection.deleted holds the marks until then."""
    answers = answers or {}

    def body(octets):
        octets = octets if octets.endswith(b"\r\n") else octets + b"\r\n"
        return (b"\r\n" + octets).replace(b"\r\n.", b"\r\n..")[2:] + b"."

    def built_in(connection, verb, line):
        words = line.split()
        kept = [n for n in range(1, len(messages) + 1) if n not in connection.deleted]
        if verb == b"CAPA":
            return b"+OK\r\n" + b"".join(word.encode() + b"\r\n" for word in capabilities) + b"."
        if verb in (b"USER", b"PASS", b"NOOP", b"RSET", b"AUTH", b"APOP"):
            if verb == b"RSET":
                connection.deleted.clear()
            return b"+OK"
        if verb == b"STAT":
            return b"+OK %d %d" % (len(kept), sum(len(messages[n - 1]) for n in kept))
        if verb == b"LIST" and len(words) == 1:
            return b"+OK\r\n" + b"".join(b"%d %d\r\n" % (n, len(messages[n - 1])) for n in kept) + b"."
        if verb == b"UIDL" and len(words) == 1:
            return b"+OK\r\n" + b"".join(b"%d uid%d\r\n" % (n, n) for n in kept) + b"."
        number = int(words[1]) if len(words) > 1 and words[1].isdigit() else 0
        if number not in kept:
            return b"-ERR no such message"
        if verb == b"LIST":
            return b"+OK %d %d" % (number, len(messages[number - 1]))
        if verb == b"UIDL":
            return b"+OK %d uid%d" % (number, number)
        if verb == b"RETR":
            return b"+OK\r\n" + body(messages[number - 1])
        if verb == b"TOP":
            head, _, rest = messages[number - 1].partition(b"\r\n\r\n")
            return b"+OK\r\n" + body(head + b"\r\n\r\n" + b"".join(rest.splitlines(True)[:int(words[2])]))
        if verb == b"DELE":
            connection.deleted.add(number)
            return b"+OK"
        return b"-ERR unknown command"

    def script(wire, connection):
        connection.deleted = set()
        if proxy:
            connection.identity = read_proxy_v2(wire, connection)
        if banner:
            wire.send(banner.encode() + b"\r\n")
        while True:
            line = wire.line()
            verb = line.split(b" ")[0].upper()
            answer = answers.get(verb)
            if callable(answer):
                answer = answer(wire, connection, line)
            if answer is None:
                answer = b"+OK bye" if verb == b"QUIT" else built_in(connection, verb, line)
            if verb == b"QUIT" and on_update:
                on_update(set(connection.deleted))
            wire.send(answer + b"\r\n")
            if verb == b"QUIT":
                return

    return script


def echo_script(wire, _):
    """Waits for octets and sends them back; at the peer's end of stream it says so, and ends."""
    while True:
        octets = wire.read()
        if not octets:
            wire.send(b"<end>")
            return
        wire.send(octets)
