"""A server of Remote Mail that says what a test wants it to say, for clients that must not believe it.

    with Backend(0, Liar(PULL=frame("00000001.1", b"Hello\\r\\n", digest="0" * 64))) as server: ... server.port

Words for each request by its verb: octets, or a function (wire, words of the request) that sends them itself. What is not
given is answered as a server does that has no mail and takes all. GREETING stands for RM/1."""
import hashlib


def frame(uid, text, octets=None, offset=0, digest=None, tail_uid=None):
    """`uid` may be anything."""
    head = f"M {uid} {len(text) if octets is None else octets} {offset}\r\n".encode()
    tail = f"\r\nS {tail_uid or uid} {digest or hashlib.sha256(text).hexdigest()}\r\n".encode()
    return head + text[offset:] + tail


class Liar:
    def __init__(self, **answers):
        self.answers = answers
        self.requests = []

    def __call__(self, wire, connection):
        while True:
            line = wire.line()
            if wire.eof or not line:
                return
            words = line.decode(errors="replace").split()
            self.requests.append(line)
            verb = words[0].upper()
            answer = self.answers.get("GREETING" if verb == "RM/1" else verb)
            if answer is None:
                answer = getattr(self, f"answer_{verb.partition('/')[0].lower()}")
            if callable(answer):
                answer = answer(wire, words)
            wire.send(answer or b"")

    def answer_rm(self, wire, words):
        return b"+ RM/1 liar.example SIZE=52428800 WAIT=1740 PUSH\r\n"

    def answer_auth(self, wire, words):
        return b"+ 1 messages 7 octets\r\n"

    def answer_list(self, wire, words):
        return b"+ LIST 0\r\n"

    def answer_pull(self, wire, words):
        return b"+ PULL 0\r\n"

    def answer_ack(self, wire, words):
        return b""

    def answer_sync(self, wire, words):
        return b"+ SYNC 0\r\n"

    def answer_have(self, wire, words):
        return f"+ HAVE {words[1]} 0\r\n".encode()

    def answer_push(self, wire, words):
        while wire.line():
            pass
        wire.read_exactly(int(words[2]) - int(words[4] if len(words) > 4 else 0))
        return f"+ PUSH {words[1]} DONE\r\n".encode()

    def answer_wait(self, wire, words):
        return b"+ NONE\r\n"

    def answer_noop(self, wire, words):
        return b"+ NOOP\r\n"

    def answer_quit(self, wire, words):
        return b"+ BYE\r\n"
