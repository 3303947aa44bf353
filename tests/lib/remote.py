"""A client of Remote Mail (remote-mail(7)), down to the octet.

    with Remote(gate) as remote:                       # TLS; Remote(gate, tls=False) in plain
        remote.login()
        frames = remote.pull()                         # [(uid, octets of the message)], digests checked
        remote.say("ACK", frames[0][0])
        assert remote.ask("SYNC") == "+ SYNC 1"
        assert remote.ask("QUIT") == "+ BYE"

deliver() puts a message into a user's Maildir as another program would."""
import base64
import contextlib
import hashlib
import os
import shutil
import time

import gatepost as library
from certificates import client_context
from wire import Wire

MIRROR = "0123456789abcdef"


class Remote:
    def __init__(self, gate, tls=True, mirror=MIRROR, timeout=30, greet=True, port=None, wire=None):
        """`wire`: over a connection that there is."""
        self.gate = gate
        self.wire = wire or Wire(port or gate.port("remote"), timeout)
        if tls:
            self.wire.start_tls(client_context())
        self.buffer = b""
        if greet:
            self.greeting = self.ask(f"RM/1 test/1 id={mirror}")
            assert self.greeting.startswith("+ RM/1 "), self.greeting

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.wire.socket.close()

    def say(self, *words):
        self.wire.send(" ".join(str(word) for word in words) + "\r\n")

    def read_exactly(self, size):
        while len(self.buffer) < size:
            more = self.wire.read()
            if not more:
                raise EOFError(f"{self.wire.eof} after {self.buffer[:200]!r}")
            self.buffer += more
        data, self.buffer = self.buffer[:size], self.buffer[size:]
        return data

    def line(self):
        while b"\r\n" not in self.buffer:
            more = self.wire.read()
            if not more:
                raise EOFError(f"{self.wire.eof} after {self.buffer[:200]!r}")
            self.buffer += more
        line, _, self.buffer = self.buffer.partition(b"\r\n")
        return line.decode()

    def ask(self, *words):
        self.say(*words)
        return self.line()

    def ended(self):
        """Has the server closed, with nothing more to read?"""
        return self.buffer == b"" and self.wire.at_eof()

    def login(self, user=library.USER, password=library.PASSWORD):
        reply = self.ask("AUTH PLAIN", base64.b64encode(f"\0{user}\0{password}".encode()).decode())
        assert reply.startswith("+ "), reply
        return reply

    def list(self, *after):
        """[(uid, octets)]"""
        self.say("LIST", *after)
        found = []
        while (line := self.line()).startswith("* "):
            found.append((line.split()[1], int(line.split()[2])))
        assert line == f"+ LIST {len(found)}", line
        return found

    def frame(self, head):
        """The rest of a frame: (uid, offset, octets from there on, digest)."""
        letter, uid, octets, offset = head.split()
        assert letter == "M"
        text = self.read_exactly(int(octets) - int(offset))
        assert self.line() == ""
        letter, again, digest = self.line().split()
        assert (letter, again) == ("S", uid)
        return uid, int(offset), text, digest

    def pull(self, *words, between=None):
        """[(uid, message)] of whole frames; `between(self, uid)` is called behind each. Other lines go to self.beside."""
        self.say("PULL", *words)
        self.beside, frames = [], []
        while not (line := self.line()).startswith("+ PULL"):
            if not line.startswith("M "):
                self.beside.append(line)
                assert line.startswith("+ SYNC"), line
                continue
            uid, offset, text, digest = self.frame(line)
            if offset == 0:
                assert hashlib.sha256(text).hexdigest() == digest
            frames.append((uid, text))
            if between:
                between(self, uid)
        assert line == f"+ PULL {len(frames)}", line
        return frames


def deliver(gate, text, user=library.USER, name=None, place="new"):
    """`text` has CRLF line ends; returns the path."""
    folder = gate.maildir(user)
    for part in ("tmp", "new", "cur"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    name = name or f"{time.time_ns() // 1000}.R{os.urandom(4).hex()}.test"
    path = folder / "tmp" / name
    path.write_bytes(text.replace(b"\r\n", b"\n"))
    final = folder / place / name
    if library.AS_ROOT:
        own(gate, folder)
    path.rename(final)
    return final


def own(gate, folder):
    """The mail user's, up to the store; what a session that runs removes meanwhile does not matter."""
    for path in [folder, *folder.rglob("*")]:
        with contextlib.suppress(FileNotFoundError):
            shutil.chown(path, "mail", "mail")
    while folder != gate.mail:
        folder = folder.parent
        shutil.chown(folder, "mail", "mail")


def sections(over=None):
    """Sections that serve port 109 from the embedded worker."""
    return library.overlay({"backend remote": {"address": "embedded"}}, over)


def upload_id():
    return os.urandom(16).hex()


def push_octets(id, text, to, sender=library.USER, offset=0, digest=None, octets=None):
    """What a client sends to upload `text`."""
    lines = [f"PUSH {id} {len(text) if octets is None else octets} {digest or hashlib.sha256(text).hexdigest()}"
             + (f" {offset}" if offset else ""), f"FROM:<{sender}>", *(f"TO:<{address}>" for address in to), "", ""]
    return "\r\n".join(lines).encode() + text[offset:]
