"""gatepost-fetch and servers that lie, stumble or are somebody else: nothing wrong is stored, nothing outside of its
folders, no password is given away, memory stays bounded, and the exit code and words say what happened."""
import hashlib
import re
import ssl

import certificates
import gatepost as library
import pytest
from backend import Backend
from fetch import DATA, NOPERM, OK, PROTOCOL, SMALL_QUARANTINE, TEMPFAIL, Site, peak_kib
from liar import Liar, frame

E = "4f2a9c01"
TEXT = b"Subject: hello\r\n\r\nHello\r\n"
GOOD = frame(f"{E}.1", TEXT)
END = b"+ PULL 1\r\n"
MEMORY_KIB = 8 << 10


class Nobody:
    """In the place of a Gatepost: a folder with a CA."""

    def __init__(self, folder):
        self.folder = folder


def examine(site, expected=()):
    """Nothing but what is expected in the Maildir, and nothing beside our two folders."""
    assert site.received() == sorted(expected)
    assert {path.name for path in site.folder.iterdir()} <= {"Maildir", "outbox", "sanitizer"}
    assert not (site.folder.parent / "x").exists()
    site.check_sanitizers()
    for path in site.maildir.rglob("*"):
        assert re.fullmatch(r"[A-Za-z0-9_.,:=+-]+", path.name), path


def lie(code, words, stays=(), name=None, **answers):
    return pytest.param(code, words, stays, answers, id=name)


LIES = [
    lie(PROTOCOL, "digest", name="a wrong digest", PULL=frame(f"{E}.1", TEXT, digest="0" * 64) + END),
    lie(PROTOCOL, "", name="a digest in capitals",
        PULL=frame(f"{E}.1", TEXT, digest=hashlib.sha256(TEXT).hexdigest().upper()) + END),
    lie(PROTOCOL, "", name="a tail of another uid", PULL=frame(f"{E}.1", TEXT, tail_uid=f"{E}.2") + END),
    lie(PROTOCOL, "", name="a uid that is a path", PULL=frame("../../x", TEXT) + END),
    lie(PROTOCOL, "", name="an absolute path", PULL=frame("/tmp/x", TEXT) + END),
    lie(PROTOCOL, "", name="an epoch that is a path", PULL=frame("../../../.1", TEXT) + END),
    lie(PROTOCOL, "", name="a uid in capitals", PULL=frame("4F2A9C01.1", TEXT) + END),
    lie(PROTOCOL, "", name="uid 0", PULL=frame("0", TEXT) + END),
    lie(PROTOCOL, "", name="number 0", PULL=frame(f"{E}.0", TEXT) + END),
    lie(PROTOCOL, "", name="a number with a leading zero", PULL=frame(f"{E}.01", TEXT) + END),
    lie(PROTOCOL, "", name="a number too large", PULL=frame(f"{E}.{2**63 + 1}", TEXT) + END),
    lie(PROTOCOL, "", [TEXT], name="the same message twice", PULL=GOOD + GOOD + b"+ PULL 2\r\n"),
    lie(PROTOCOL, "", [TEXT], name="a number that is lower", PULL=frame(f"{E}.5", TEXT) + GOOD + b"+ PULL 2\r\n"),
    lie(PROTOCOL, "", [TEXT], name="two epochs", PULL=GOOD + frame("00000001.9", TEXT) + b"+ PULL 2\r\n"),
    lie(PROTOCOL, "", name="an offset nobody asked for", PULL=frame(f"{E}.1", TEXT, offset=3) + END),
    lie(PROTOCOL, "", name="an offset beyond the end", PULL=f"M {E}.1 5 9\r\nHello\r\nS {E}.1 {'0' * 64}\r\n".encode()),
    lie(PROTOCOL, "", name="octets below zero", PULL=f"M {E}.1 -5 0\r\n".encode()),
    lie(PROTOCOL, "", name="octets beyond 64 bits", PULL=f"M {E}.1 {2**64 + 5} 0\r\nHello\r\n".encode()),
    lie(PROTOCOL, "", name="fewer octets than there are", PULL=frame(f"{E}.1", TEXT, octets=len(TEXT) - 2) + END),
    lie(PROTOCOL, "", name="NUL in a line", PULL=b"+ PU\0LL 0\r\n"),
    lie(PROTOCOL, "", name="NUL in a frame's line", PULL=f"M {E}.1\0 5 0\r\n".encode()),
    lie(PROTOCOL, "", name="a bare LF", PULL=b"+ PULL 0\n"),
    lie(PROTOCOL, "", name="a line of 513 octets", PULL=b"+ PULL " + b"0" * 504 + b"\r\n"),
    lie(PROTOCOL, "", name="a line that is no reply", PULL=b"PULL 0\r\n"),
    lie(PROTOCOL, "", name="the reply to another request", PULL=b"+ LIST 0\r\n"),
    lie(PROTOCOL, "", name="a SYNC nobody asked for", PULL=b"+ SYNC 7\r\n+ SYNC 8\r\n+ PULL 0\r\n"),
    lie(PROTOCOL, "", name="items of a list", PULL=f"* {E}.1 5\r\n".encode() * 3),
    lie(PROTOCOL, "", name="more than was asked for", PULL=b"+ PULL 0\r\n+ PULL 0\r\n+ PULL 0\r\n"),
    lie(PROTOCOL, "", name="another epoch without end", PULL=b"- [NOSUCH] epoch deadbeef\r\n"),
    lie(PROTOCOL, "", name="no PULL at all", PULL=b"- [PERM] no\r\n"),
    lie(PROTOCOL, "", [TEXT], name="a number of frames that is wrong", PULL=GOOD + b"+ PULL 7\r\n"),
    lie(PROTOCOL, "", name="another protocol", GREETING=b"+OK POP3 ready\r\n"),
    lie(PROTOCOL, "", name="another version", GREETING=b"+ RM/2 liar.example\r\n"),
    lie(PROTOCOL, "", name="no such version", GREETING=b"- [SYNTAX] versions: RM/2\r\n"),
    lie(PROTOCOL, "", name="HTTP", GREETING=b"HTTP/1.1 400 Bad Request\r\n\r\n"),
    lie(PROTOCOL, "", name="TLS", GREETING=b"\x15\x03\x01\x00\x02\x02\x28\r\n"),
    lie(NOPERM, "wrong", name="a wrong password", AUTH=b"- [AUTH] wrong name or password\r\n"),
    lie(TEMPFAIL, "later", name="not now", AUTH=b"- [TEMP] come later\r\n"),
    lie(PROTOCOL, "TLS", name="no login without TLS", AUTH=b"- [TLS] not without TLS\r\n"),
    lie(TEMPFAIL, r"\\x1b", name="escapes for a terminal", AUTH=b"- [TEMP] \x1b[31mred\x07\r\n"),
]


@pytest.mark.parametrize("code, words, stays, answers", LIES)
def test_lies(code, words, stays, answers):
    liar = Liar(**answers)
    with Site() as site, Backend(0, liar) as server:
        result = site.run(None, server.port, tls=False, host="127.0.0.1", retries=1)
        examine(site, [text.replace(b"\r\n", b"\n") for text in stays])
        assert result.returncode == code, result.words
        assert result.stderr.count("\n") >= 1 and len(result.stderr) < 2000, result.words
        assert re.search(words, result.stderr), result.words
        assert library.PASSWORD not in result.words and "\x1b" not in result.words
        acknowledged = [request for request in liar.requests if request.startswith(b"ACK")]
        assert len(acknowledged) <= len(stays), "what is not stored is not acknowledged"


def test_an_end_in_a_message_leaves_a_part(folder):
    def half(wire, words):
        wire.send(f"M {E}.1 {len(TEXT)} 0\r\n".encode() + TEXT[:10])
        raise ConnectionResetError

    def rest(wire, words):
        asked.append(words)
        return frame(f"{E}.1", TEXT, offset=10) + END

    asked = []
    with Site() as site:
        for pull, code in ((half, TEMPFAIL), (rest, OK)):
            with Backend(0, Liar(PULL=pull)) as server:
                result = site.run(None, server.port, tls=False, host="127.0.0.1")
            assert result.returncode == code, result.words
        assert asked[0] == ["PULL", f"{E}.1", "10"]
        examine(site, [TEXT.replace(b"\r\n", b"\n")])


# uploads

def have(rest):
    return lambda wire, words: f"+ HAVE {words[1]} {rest}\r\n".encode()


def pushed(reply):
    """Takes the message, then says `reply` of its id."""
    def answer(wire, words):
        Liar().answer_push(wire, words)
        return reply.replace("ID", words[1]).encode() + b"\r\n"

    return answer


def push_lie(code, words, name, left="outbox", **answers):
    return pytest.param(code, words, left, answers, id=name)


UPLOAD_LIES = [
    push_lie(OK, "", "as it should be", left=None),
    push_lie(PROTOCOL, "", "DONE of another", PUSH=pushed(f"+ PUSH {'0' * 32} DONE")),
    push_lie(PROTOCOL, "", "DONE, and more", PUSH=pushed("+ PUSH ID DONE it")),
    push_lie(PROTOCOL, "", "no DONE", PUSH=pushed("+ PUSH ID")),
    push_lie(PROTOCOL, "", "the answer to another request", PUSH=pushed("+ HAVE ID DONE")),
    push_lie(PROTOCOL, "", "DONE before it was asked", AUTH=b"+ 0 messages 0 octets\r\n+ PUSH " + b"0" * 32 + b" DONE\r\n"),
    push_lie(TEMPFAIL, "later", "not now", PUSH=pushed("- [TEMP] PUSH ID later")),
    push_lie(DATA, "never", "never", left="failed", PUSH=pushed("- [PERM] PUSH ID never")),
    push_lie(DATA, r"\\x1b", "never, with an escape", left="failed", PUSH=pushed("- [PERM] PUSH ID \x1b[31mnever")),
    push_lie(PROTOCOL, "never", "never, of another", PUSH=pushed(f"- [PERM] PUSH {'0' * 32} never")),
    push_lie(DATA, "", "a conflict without end", left="failed", PUSH=pushed("- [CONFLICT] PUSH ID 7"), HAVE=have("3")),
    push_lie(DATA, "another message", "a conflict in words", left="failed", PUSH=pushed("- [CONFLICT] PUSH ID it was another message")),
]


@pytest.mark.parametrize("code, words, left, answers", UPLOAD_LIES)
def test_lies_about_uploads(code, words, left, answers):
    liar = Liar(**answers)
    with Site() as site, Backend(0, liar) as server:
        site.put(TEXT, to=["bert@gatepost.test"])
        result = site.run(None, server.port, tls=False, host="127.0.0.1", retries=1)
        assert result.returncode == code, result.words
        assert re.search(words, result.stderr) and "\x1b" not in result.words, result.words
        assert len(liar.requests) < 100
        failed = list((site.outbox / ".Failed" / "new").glob("*"))
        assert (len(site.unsent()), len(failed)) == {"outbox": (1, 0), "failed": (0, 1), None: (0, 0)}[left]


def begun(site):
    """An upload that the server has not answered: it was begun, and is asked for."""
    def gone(wire, words):
        raise ConnectionResetError

    site.put(TEXT, to=["bert@gatepost.test"])
    with Backend(0, Liar(PUSH=gone)) as server:
        assert site.run(None, server.port, tls=False, host="127.0.0.1").returncode == TEMPFAIL


@pytest.mark.parametrize("reply, code, left", [
    ("+ HAVE ID 0", OK, 0), ("+ HAVE ID 10", OK, 0), ("+ HAVE ID DONE", OK, 0), ("+ HAVE ID 999999", OK, 0),
    ("+ HAVE ID -1", PROTOCOL, 1), ("+ HAVE ID done", PROTOCOL, 1), ("+ HAVE ID", PROTOCOL, 1),
    (f"+ HAVE {'0' * 32} DONE", PROTOCOL, 1), ("+ HAVE ID DONE DONE", PROTOCOL, 1), ("- [TEMP] HAVE", TEMPFAIL, 1)])
def test_lies_about_what_the_server_has(reply, code, left):
    liar = Liar(HAVE=lambda wire, words: reply.replace("ID", words[1]).encode() + b"\r\n")
    with Site() as site:
        begun(site)
        with Backend(0, liar) as server:
            result = site.run(None, server.port, tls=False, host="127.0.0.1")
        assert any(request.startswith(b"HAVE") for request in liar.requests)
        assert result.returncode == code, result.words
        assert len(site.unsent()) == left


# bounded memory

def flood(octets, count):
    """Sends `octets` so often, if the client lets it."""
    def answer(wire, words):
        for _ in range(count):
            wire.send(octets)
        wire.close()

    return answer


def run_for_peak(site, port):
    process = site.start(None, port, tls=False, host="127.0.0.1", retries=1, environment=SMALL_QUARANTINE)
    peak = peak_kib(process)
    return peak, process.returncode, "".join(process.communicate())


FLOODS = [
    pytest.param({"PULL": flood(b"x" * (1 << 20), 100)}, {PROTOCOL}, id="100 MiB without a line's end"),
    pytest.param({"GREETING": flood(b"x" * (1 << 20), 100)}, {PROTOCOL}, id="the same before a greeting"),
    pytest.param({"PULL": flood(f"* {E}.1 5\r\n".encode() * 60000, 100)}, {PROTOCOL}, id="endless items"),
    pytest.param({"PULL": flood(b"+ SYNC 0\r\n" * 100000, 100)}, {PROTOCOL}, id="endless replies"),
    pytest.param({"GREETING": flood(b"- [TEMP] no\r\n" * 80000, 100)}, {PROTOCOL, TEMPFAIL}, id="endless refusals"),
    pytest.param({"PULL": flood(frame(f"{E}.1", b"x\r\n" * 300000, digest="0" * 64), 100)}, {PROTOCOL},
                 id="endless wrong digests"),
]


@pytest.mark.parametrize("answers, codes", FLOODS)
def test_floods(answers, codes):
    with Site() as site, Backend(0, Liar()) as server:
        usual, code, said = run_for_peak(site, server.port)
        assert code == OK, said
    with Site() as site, Backend(0, Liar(**answers)) as server:
        peak, code, said = run_for_peak(site, server.port)
        assert code in codes, said
        examine(site)
        assert len(said) < 4000
    assert peak <= usual + MEMORY_KIB, f"{peak} KiB, and usually {usual}"


# TLS

def tls_server(certificate, key, answers=None, newest=None, ciphers=None):
    """A script that speaks TLS with that certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    if newest:
        context.minimum_version, context.maximum_version = ssl.TLSVersion.TLSv1, newest
    if ciphers:
        context.set_ciphers(ciphers)

    def script(wire, connection):
        try:
            wire.socket = connection.socket = context.wrap_socket(connection.socket, server_side=True)
        except OSError:  # the client does not want us
            return
        Liar(**(answers or {}))(wire, connection)

    return script


def write_pair(folder, certificate, key):
    for name, octets in (("cert.pem", certificate), ("key.pem", key), ("ca.pem", certificate)):
        (folder / name).write_bytes(octets)
    return folder / "cert.pem", folder / "key.pem"


def expired(folder):
    return write_pair(folder, *certificates.self_signed(["localhost"], days=-1))


def other_name(folder):
    return write_pair(folder, *certificates.self_signed(["other.example"]))


def other_authority(folder):
    pair = write_pair(folder, *certificates.self_signed(["localhost"]))
    certificates.authority().cert_pem.write_to_path(folder / "ca.pem")
    return pair


def not_yet(folder):
    return write_pair(folder, *certificates.self_signed(["localhost"], since=10))


def unknown_authority(folder):
    pair = good(folder)
    (folder / "ca.pem").write_bytes(certificates.self_signed(["another authority"])[0])
    return pair


def good(folder):
    certificates.write(folder)
    return folder / "cert.pem", folder / "key.pem"


def fingerprint(path):
    return hashlib.sha256(ssl.PEM_cert_to_DER_cert(path.read_text().partition("-----END")[0] +
                                                   "-----END CERTIFICATE-----\n")).hexdigest()


@pytest.mark.parametrize("host, make, words", [
    ("localhost", expired, "its certificate has expired"),
    ("localhost", not_yet, "not valid yet, or the clock of this machine is wrong"),
    ("localhost", other_name, "its certificate is for other names than this one"),
    ("127.0.0.1", other_name, "its certificate is for names, or other addresses; use the name of the host"),
    ("localhost", other_authority, "it has signed its certificate itself; --fingerprint trusts this one"),
    ("localhost", unknown_authority, "of an authority that is not trusted here; --ca names others")])
def test_certificates_that_are_not_the_server_s(folder, host, make, words):
    with Site() as site, Backend(0, tls_server(*make(folder))) as server:
        result = site.run(Nobody(folder), server.port, host=host)
        assert result.returncode == PROTOCOL, result.words
        assert re.search(words, result.stderr, re.I), result.words
        assert server.received == b"", "nothing is said to it"
        examine(site)


def test_the_certificate_that_it_should_be(folder):
    with Site() as site, Backend(0, tls_server(*good(folder), {"PULL": GOOD + END})) as server:
        result = site.run(Nobody(folder), server.port)
        assert result.returncode == OK, result.words
        examine(site, [TEXT.replace(b"\r\n", b"\n")])


@pytest.mark.parametrize("right", [True, False])
def test_fingerprints(folder, right):
    pair = other_authority(folder)
    digits = fingerprint(pair[0]) if right else "0" * 64
    with Site() as site, Backend(0, tls_server(*pair, {"PULL": GOOD + END})) as server:
        result = site.run(None, server.port, f"--fingerprint={digits}", tls=None)
        assert (result.returncode == OK) == right, result.words
        assert right or (server.received == b"" and re.search("fingerprint", result.stderr)), result.words
        examine(site, [TEXT.replace(b"\r\n", b"\n")] if right else [])


@pytest.mark.parametrize("said", [b"- [SYNTAX] versions: RM/1\r\n", b"220 mail.example.org ESMTP\r\n", b"+OK ready\r\n",
                                  b"* OK IMAP4rev1\r\n", b"HTTP/1.1 400 Bad Request\r\n\r\n", b"SSH-2.0-OpenSSH\r\n"])
def test_a_plain_server_where_tls_is_asked_for(folder, said):
    good(folder)
    with Site() as site, Backend(0, lambda wire, connection: wire.send(said)) as server:
        result = site.run(Nobody(folder), server.port)
        assert result.returncode == PROTOCOL, result.words
        assert "does not begin with TLS on this port" in result.stderr and "--plain" in result.stderr, result.words
        assert library.PASSWORD.encode() not in server.received


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
@pytest.mark.parametrize("how, words", [
    ({"newest": ssl.TLSVersion.TLSv1_1, "ciphers": "ALL:@SECLEVEL=0"}, "it speaks no TLS 1.2 or later"),
    ({"newest": ssl.TLSVersion.TLSv1_2, "ciphers": "aNULL:@SECLEVEL=0"}, "it has no cipher that is used here")])
def test_a_server_with_another_tls(folder, how, words):
    with Site() as site, Backend(0, tls_server(*good(folder), **how)) as server:
        result = site.run(Nobody(folder), server.port)
        assert result.returncode == PROTOCOL and words in result.stderr, result.words
        assert server.received == b""
