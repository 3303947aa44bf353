"""A client down to the octet: plain or TLS over one TCP (or UNIX) socket, with every way to begin and to end.

    with Wire(gate.port("smtp-alt")) as wire:
        wire.expect("220")
        wire.command("EHLO me", "250")
        wire.command("STARTTLS", "220")
        wire.start_tls(client_context())
        wire.command("EHLO me", "250")

Replies are bytes without CRLF. `expect` takes the beginning of the reply's last line ("220", "+OK") and shows the
dialogue when another comes. TLS runs through memory BIOs, so that a test decides which octets share a segment. Ends:
quit() politely; close() close_notify (TLS) and FIN; shut_write() half-close; vanish() FIN without close_notify;
reset() RST. What the peer did: at_eof() and `eof` ("close_notify", "fin", "reset")."""
import select
import socket
import ssl
import struct
import time


class Wire:
    def __init__(self, address, timeout=15, host="127.0.0.1", connect=True):
        """`address`: a port number of `host`, or the path of a UNIX socket."""
        self.timeout = timeout
        self.dialogue = []  # ("C" or "S", octets) as the application saw them
        self.eof = None
        self._plain = b""  # received and not yet read by the test
        self._tls = None
        self.session = None  # an ssl.SSLSession to be resumed
        self.socket = None
        if connect:
            if isinstance(address, int):
                self.socket = socket.create_connection((host, address), timeout)
                self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            else:
                self.socket = socket.socket(socket.AF_UNIX)
                self.socket.settimeout(timeout)
                self.socket.connect(str(address))

    @classmethod
    def over(cls, sock, timeout=15):
        """A Wire over a socket that is already connected (the server side of a scripted backend)."""
        wire = cls(None, timeout, connect=False)
        wire.socket = sock
        sock.settimeout(timeout)
        return wire

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    # sending

    def send(self, data):
        """Application octets (str is encoded as UTF-8), in one write."""
        data = data.encode() if isinstance(data, str) else data
        self.dialogue.append(("C", data))
        self.send_raw(self.seal(data) if self._tls else data)

    def send_raw(self, data):
        """Octets for the socket as they are, also under TLS."""
        self.socket.settimeout(self.timeout)
        self.socket.sendall(data)

    def send_bytewise(self, data, pause=0.0):
        """One octet a segment."""
        data = data.encode() if isinstance(data, str) else data
        for i in range(len(data)):
            self.send(data[i:i + 1])
            if pause:
                time.sleep(pause)

    def seal(self, data):
        """The TLS records of these application octets, unsent."""
        for start in range(0, len(data), 16384):
            self._tls.write(data[start:start + 16384])
        return self._outgoing.read()

    # receiving

    def _receive(self, timeout=None):
        """One recv. False at the end of the stream."""
        if self.eof:
            return False
        self.socket.settimeout(self.timeout if timeout is None else timeout)
        try:
            data = self.socket.recv(65536)
        except ConnectionResetError:
            self.eof = "reset"
            return False
        if not self._tls:
            if not data:
                self.eof = "fin"
            self._plain += data
        elif data:
            self._incoming.write(data)
            self._open_records()
        else:
            self._incoming.write_eof()
            self.eof = "fin"
        return not self.eof

    def _open_records(self):
        while True:
            try:
                data = self._tls.read(65536)
            except ssl.SSLWantReadError:
                break
            except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
                data = b""
            if not data:
                self.eof = "close_notify"
                break
            self._plain += data
        answer = self._outgoing.read()  # key updates
        if answer:
            self.send_raw(answer)

    def receive(self):
        """What comes next, for later: also TLS records that hold nothing for the application."""
        self._receive()

    def read(self, timeout=None):
        """What is there, or comes first; b"" at the end."""
        while not self._plain and self._receive(timeout):
            pass
        return self._take(len(self._plain))

    def _take(self, count):
        data, self._plain = self._plain[:count], self._plain[count:]
        if data:
            self.dialogue.append(("S", data))
        return data

    def read_exactly(self, count):
        while len(self._plain) < count:
            if not self._receive() and len(self._plain) < count:
                raise AssertionError(f"{self.eof} after {len(self._plain)} of {count} octets\n{self.story()}")
        return self._take(count)

    def read_until(self, end):
        """Up to and with `end`."""
        while end not in self._plain:
            if not self._receive() and end not in self._plain:
                raise AssertionError(f"{self.eof} before {end!r}; got {self._plain!r}\n{self.story()}")
        return self._take(self._plain.index(end) + len(end))

    def unread(self, octets):
        """Puts octets back before those that were not read yet."""
        self._plain = octets + self._plain

    def read_all(self):
        """Everything until the peer ends its direction."""
        while self._receive():
            pass
        return self._take(len(self._plain))

    def line(self):
        return self.read_until(b"\n").rstrip(b"\r\n")

    def reply(self):
        """Lines of one SMTP reply, or the one line of a POP3 reply."""
        lines = [self.line()]
        while lines[-1][:3].isdigit() and lines[-1][3:4] == b"-":
            lines.append(self.line())
        return lines

    def multiline(self):
        """The lines of a POP3 multi-line body, dots undone, behind its +OK."""
        lines = []
        while True:
            line = self.read_until(b"\r\n")[:-2]
            if line == b".":
                return lines
            lines.append(line[1:] if line.startswith(b".") else line)

    def expect(self, beginning):
        """Reads a reply whose last line begins so; returns its lines."""
        beginning = beginning.encode() if isinstance(beginning, str) else beginning
        lines = self.reply()
        if not lines[-1].startswith(beginning):
            raise AssertionError(f"expected {beginning!r}, got {lines!r}\n{self.story()}")
        return lines

    def command(self, line, beginning):
        """Sends one line and expects such a reply."""
        self.send((line.encode() if isinstance(line, str) else line) + b"\r\n")
        return self.expect(beginning)

    def commands(self, *rows):
        """command() for each (line, beginning)."""
        for line, beginning in rows:
            self.command(line, beginning)
        return self

    def silent(self, seconds):
        """Does nothing arrive for so long? (Ends at once when something does.)"""
        return not self._plain and not self.eof and not select.select([self.socket], [], [], seconds)[0]

    def at_eof(self):
        """Reads to the end; True when nothing but the end came."""
        return self.read_all() == b""

    def story(self):
        """The dialogue in words, for failures."""
        return "\n".join(f"{who}: {octets[:400]!r}" for who, octets in self.dialogue[-40:])

    # TLS

    def begin_tls(self, context, name="localhost"):
        """Makes the TLS engine and returns the octets of the ClientHello, unsent."""
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname=name, session=self.session)
        if self._plain:
            raise AssertionError(f"octets before the handshake: {self._plain!r}\n{self.story()}")
        self._step()
        return self._outgoing.read()

    def _step(self):
        try:
            self._tls.do_handshake()
            return True
        except ssl.SSLWantReadError:
            return False

    def start_tls(self, context, name="localhost", behind=b"", bytewise=False):
        """The whole handshake. `behind`: application octets in the same segment as our Finished. `bytewise`: one octet
        a segment for all that we send."""
        self.finish_tls(self.begin_tls(context, name), behind, bytewise)
        return self

    def finish_tls(self, first, behind=b"", bytewise=False):
        def send(data):
            if bytewise:
                for i in range(len(data)):
                    self.send_raw(data[i:i + 1])
            elif data:
                self.send_raw(data)

        send(first)
        done = False
        while not done:
            self.socket.settimeout(self.timeout)
            data = self.socket.recv(65536)
            if not data:
                self.eof = "fin"
                self._incoming.write_eof()
            else:
                self._incoming.write(data)
            try:
                done = self._step()
            finally:
                if not done:
                    send(self._outgoing.read())  # also the alert of a handshake that failed
        records = self._outgoing.read()
        if behind:
            self.dialogue.append(("C", behind))
            records += self.seal(behind)
        send(records)
        self._open_records()  # a greeting in the segment of the peer's Finished (TLS 1.2)

    @property
    def tls(self):
        """The ssl.SSLObject: version(), cipher(), selected_alpn_protocol(), getpeercert(), session_reused."""
        return self._tls

    # ends

    def quit(self):
        """QUIT, its answer, the peer's end of the stream."""
        self.send(b"QUIT\r\n")
        reply = self.line()
        if reply[:3] not in (b"221", b"+OK"):
            raise AssertionError(f"answer to QUIT: {reply!r}\n{self.story()}")
        if not self.at_eof():
            raise AssertionError(f"octets behind the answer to QUIT\n{self.story()}")
        self.socket.close()

    def close_notify(self):
        """Sends close_notify and nothing else."""
        try:
            self._tls.unwrap()
        except ssl.SSLError:
            pass
        self.send_raw(self._outgoing.read())

    def shut_write(self):
        """No more from us; the other direction stays open."""
        if self._tls:
            self.close_notify()
        self.socket.shutdown(socket.SHUT_WR)

    def close(self):
        if self._tls:
            try:
                self.close_notify()
            except OSError:
                pass
        self.socket.close()

    def vanish(self):
        """FIN, under TLS without close_notify."""
        self.socket.shutdown(socket.SHUT_WR)
        self.socket.close()

    def reset(self):
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()


def smtp_session(wire, context=None, kind="plain", name="me.example"):
    """From the connection to a session that has said EHLO. `kind`: "plain", "starttls" or "implicit"."""
    if kind == "implicit":
        wire.start_tls(context)
    wire.expect("220")
    wire.command(f"EHLO {name}", "250")
    if kind == "starttls":
        wire.command("STARTTLS", "220")
        wire.start_tls(context)
        wire.command(f"EHLO {name}", "250")
    return wire


def pop3_session(wire, context=None, kind="plain", user=None, password=None):
    """From the connection to a session that is logged in (when `user` is given)."""
    if kind == "implicit":
        wire.start_tls(context)
    wire.expect("+OK")
    if kind == "starttls":
        wire.command("STLS", "+OK")
        wire.start_tls(context)
    if user:
        wire.command(f"USER {user}", "+OK")
        wire.command(f"PASS {password}", "+OK")
    return wire
