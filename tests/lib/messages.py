"""Messages that hold every trap a mail program or a proxy has fallen into. All are bytes with CRLF line ends.

A message begins with `X-Trap-Begin:`; mail programs may add headers above it, so compare with `own_part()`."""
import random

BEGIN = b"X-Trap-Begin: "

TRAPS = [
    b".", b"..", b"...", b". ", b".QUIT", b".\t", b" .", b".hidden", b"..two",
    b"QUIT", b"RSET", b"DATA", b"STARTTLS", b"STLS", b"MAIL FROM:<evil@example.org>", b"RCPT TO:<evil@example.org>",
    b"BDAT 0 LAST", b"EHLO evil", b"DELE 1", b"AUTH PLAIN AGEAYg==", b"PASS secret", b"NOOP", b"+OK", b"-ERR no", b"+ ",
    b"220 ready", b"221 2.0.0 Bye", b"250 ok", b"250-ok", b"354 go", b"421 4.3.2 closing", b"* BYE",
    b"From here on, mbox programs are tempted", b">From quoted", b"GET / HTTP/1.1", b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2",
    b"\xff\xfe\x80 eight bits \xc3\xbc\xe4\xf6\xfc", b"\x16\x03\x01 looks like TLS", b"\x1b[31mescape\x07bell",
    b"", b"", b"trailing blanks   \t ", b"\ttab first", b"--boundary--", b"=3D=20=", b"%s%n%00", b"end.",
]


def _long_lines():
    yield b"x" * 998  # with CRLF 1000 octets, the longest line RFC 5321 promises
    yield b"." + b"y" * 997
    yield b"." * 998
    yield bytes(range(0x21, 0x7f)) * 10 + b"z" * 58


def headers(subject=b"traps", sender=b"anna@gatepost.test", to=b"anna@gatepost.test", token=b"0"):
    return [BEGIN + token, b"From: <" + sender + b">", b"To: <" + to + b">", b"Subject: " + subject,
            b"Date: Mon, 02 Jan 2023 03:04:05 +0000", b"Message-ID: <" + token + b"@trap.gatepost.test>",
            b"MIME-Version: 1.0", b"Content-Type: text/plain; charset=iso-8859-1", b"Content-Transfer-Encoding: 8bit",
            b"X-Folded: one", b"\ttwo", b" three"]


def trap_message(size=40 * 1024, token=b"0", seed=1, **fields):
    """A message of exactly `size` octets (at least 8 KiB) that holds all traps, in an order that `seed` decides."""
    lines = headers(token=token, **fields) + [b""]
    order = random.Random(seed)
    traps = TRAPS + list(_long_lines())
    tail = [b".", b"the last line"]  # swaks takes a dot at the very end for the end of data
    total = sum(len(line) + 2 for line in lines + tail)
    while True:
        for trap in order.sample(traps, len(traps)):
            if total + len(trap) + 2 + 102 > size:
                while size - total > 102:  # room for whole lines of filler
                    lines.append(b"f" * 98)
                    total += 100
                if size - total:
                    lines.append(b"f" * (size - total - 2))
                return b"".join(line + b"\r\n" for line in lines + tail)
            lines.append(trap)
            total += len(trap) + 2


def empty_body(token=b"0"):
    """Headers and nothing else."""
    return b"".join(line + b"\r\n" for line in headers(token=token)) + b"\r\n"


def large_message(size=25 * 1024 * 1024, token=b"0"):
    """About `size` octets of numbered lines, some of which begin with a dot."""
    head = b"".join(line + b"\r\n" for line in headers(token=token)) + b"\r\n"
    block = b"".join(b"%s%03d %s\r\n" % (b"." if n % 16 == 0 else b"", n, b"m" * 70) for n in range(512))
    return head + block * (max(size - len(head), 0) // len(block) + 1)


def own_part(message):
    """The octets from our first header on, with CRLF line ends (programs that store a message use LF)."""
    if b"\r\n" not in message:
        message = message.replace(b"\n", b"\r\n")
    start = message.find(BEGIN)
    if start < 0:
        raise AssertionError(f"not one of our messages: {message[:300]!r}")
    return message[start:]


def difference(sent, received):
    """Words about the first octet that differs; empty where they are equal."""
    if sent == received:
        return ""
    place = next((i for i, (a, b) in enumerate(zip(sent, received)) if a != b), min(len(sent), len(received)))
    return (f"{len(sent)} octets sent, {len(received)} received, first difference at {place}: "
            f"sent {sent[max(place - 40, 0):place + 40]!r}, received {received[max(place - 40, 0):place + 40]!r}")


def stuffed(message):
    """As the octets behind DATA or a RETR reply: dots doubled, final dot added."""
    if message.startswith(b"."):
        message = b"." + message
    return message.replace(b"\r\n.", b"\r\n..") + b".\r\n"
