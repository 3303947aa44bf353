"""Remote Mail against clients that are wrong, that lie, or whose link dies: what they are told, and what is on disk then."""
import base64
import hashlib
import signal

import gatepost as library
import proc
import pytest
from link import Link
from remote import Remote, deliver, push_octets, sections, upload_id
from wire import Wire

OTHER = "bert@gatepost.test"
TEXT = b"Subject: up\r\n\r\nHello\r\n.\r\n..\r\n"
TEXTS = [b"Subject: one\r\n\r\n", b"Subject: two\r\n\r\nHello\r\n"]
LARGE = b"Subject: large\r\n\r\n" + b"0123456789abcdef0123456789abcdef\r\n" * 27000
MIB = 2**20
ID, DIGEST = "0123456789abcdef" * 2, "0123456789abcdef" * 4
DIGEST_OF_TEXT = hashlib.sha256(TEXT).hexdigest().encode()


@pytest.fixture(scope="module")
def gate():
    with library.Gatepost(sections(), users=(library.USER, OTHER)) as running:
        yield running


@pytest.fixture(autouse=True)
def clean(gate):
    for user in (library.USER, OTHER):
        gate.clear(user)
        for path in kept(gate, user).values():
            path.unlink()


def kept(gate, user=library.USER):
    return {path.name: path for path in (gate.maildir(user) / "gatepost-uploads").glob("*")}


def bodies(gate, user=OTHER):
    return [message[message.index(b"Subject:"):] for message in gate.messages(user)]


def logged_in(gate, user=library.USER, **more):
    remote = Remote(gate, **more)
    remote.login(user)
    return remote


def push(remote, id, text, to=(OTHER,), **more):
    remote.wire.send(push_octets(id, text, to, **more))
    return remote.line()


def wait_for_part(gate, id, size):
    part = gate.maildir() / "gatepost-uploads" / f"{id}.part"
    proc.wait_until(lambda: part.exists() and part.stat().st_size == size, 30, f"{size} octets on the disk")


def tree(gate):
    """All that lies in the test's folder, but for the log and the locks that a login makes."""
    return {path for path in gate.folder.rglob("*") if not path.name.endswith(".lock") and path.parent.name != "sanitizer"}


# words that are no numbers, no ids, no uids

NUMBERS = ["-1", "+5", "5x", "0x10", "1e3", "5,", str(2**63), str(2**64 - 1), str(2**64), "9" * 40, "%35", "٥"]
PATHS = ["..", "../../../../etc/passwd", "/etc/passwd", "%2e%2e%2f", "%00", "~", "*", "$(id)"]
UIDS = ["01234567", "01234567.", ".1", "01234567.0", "01234567.01", "01234567.-1", "01234567.1e3", "0123456.1",
        "012345678.1", "ABCDEF01.1", "01234567.1/../2", "01234567.%31", f"01234567.{2**63 + 1}", f"01234567.{2**64}",
        "00", *PATHS]
IDS = [ID[:-1], ID + "0", ID.upper(), "/" * 32, "." * 32, "../" * 10 + "ab", "%2e%2e%2f" * 3 + "abcde", "g" * 32, *PATHS]


@pytest.mark.parametrize("uid", UIDS)
def test_what_is_no_uid_is_refused_and_touches_nothing(gate, uid):
    for text in TEXTS:
        deliver(gate, text)
    with logged_in(gate) as remote:
        listed, before = remote.list(), tree(gate)
        for request in (f"LIST {uid}", f"PULL {uid}", f"PULL {uid} 0"):
            assert remote.ask(request).startswith("- [SYNTAX] "), request
        assert remote.list() == listed and tree(gate) == before
        assert remote.ask(f"ACK {uid}").startswith("- [SYNTAX] ")
        assert remote.ended()
    assert gate.messages() == TEXTS and tree(gate) == before


@pytest.mark.parametrize("number", NUMBERS)
def test_what_is_no_offset_of_a_message_is_refused(gate, number):
    deliver(gate, TEXTS[0])
    with logged_in(gate) as remote:
        ((uid, _),) = remote.list()
        reply = remote.ask(f"PULL {uid} {number}")
        assert reply.startswith(("- [SYNTAX] ", "- [NOSUCH] offset")), reply
        assert [text for _, text in remote.pull()] == TEXTS[:1]


@pytest.mark.parametrize("id", IDS)
def test_what_is_no_id_is_refused_and_makes_no_file(gate, id):
    with logged_in(gate) as remote:
        before = tree(gate)
        assert remote.ask(f"HAVE {id}").startswith("- [SYNTAX] ")
        assert remote.ask("NOOP") == "+ NOOP"
        assert push(remote, id, TEXT).startswith("- [SYNTAX] ")
        assert remote.ended(), "nobody knows what follows such a line"
    assert tree(gate) == before


@pytest.mark.parametrize("words", [
    *(f"{ID} {number} {DIGEST}" for number in NUMBERS),
    *(f"{ID} 5 {DIGEST} {number}" for number in (*NUMBERS, "6")),
    *(f"{ID} 5 {digest}" for digest in (DIGEST[:-1], DIGEST + "0", DIGEST.upper(), "g" * 64, "-")),
    ID, f"{ID} 5", f"{ID} 5 {DIGEST} 0 0", ""])
def test_a_push_that_lies_in_its_first_line_ends_the_session(gate, words):
    with logged_in(gate) as remote:
        remote.wire.send(f"PUSH {words}\r\nFROM:<{library.USER}>\r\nTO:<{OTHER}>\r\n\r\nabcde")
        assert remote.line().startswith("- [SYNTAX] ")
        assert remote.ended()
    assert kept(gate) == {} and gate.messages(OTHER) == []


@pytest.mark.parametrize("octets", [50 * MIB + 1, 100 * MIB, 2**63 - 1])
def test_what_is_too_big_is_refused_before_it_is_sent_and_not_read_for_ever(gate, octets):
    line = b"it goes on and on and on and on and on and on and on and on and..\r\n" * 1000
    with logged_in(gate, tls=False) as remote:
        remote.wire.send(push_octets(ID, b"", [OTHER], octets=octets, digest=DIGEST))
        assert remote.line() == f"- [LIMIT] PUSH {ID} message too big"
        sent = 0
        with pytest.raises((BrokenPipeError, ConnectionResetError)):
            while sent < octets:
                remote.wire.send_raw(line)
                sent += len(line)
        assert sent < 32 * MIB, "what the sockets on the way hold, beside the one MiB"
    assert kept(gate) == {} and gate.messages(OTHER) == []


# lies about the octets themselves

def test_octets_beyond_those_that_were_announced_are_no_part_of_the_message(gate):
    with logged_in(gate) as remote:
        assert push(remote, ID, TEXT, octets=len(TEXT) - 4) == f"- [CONFLICT] PUSH {ID} the octets have another digest"
        assert remote.line() == "- [SYNTAX] unknown request", "they are the next request"
        assert remote.ask("HAVE", ID) == f"+ HAVE {ID} 0"
    assert kept(gate) == {} and gate.messages(OTHER) == []


def test_an_upload_waits_for_the_octets_that_were_announced_and_takes_requests_for_them(gate):
    with logged_in(gate) as remote:
        remote.wire.send(push_octets(ID, TEXT, [OTHER], octets=len(TEXT) + 100))
        remote.say("NOOP")
        remote.say("QUIT")
        wait_for_part(gate, ID, len(TEXT) + 12)
        assert remote.wire.silent(0.2)
    assert gate.messages(OTHER) == []
    with logged_in(gate) as remote:
        assert remote.ask("HAVE", ID) == f"+ HAVE {ID} {len(TEXT) + 12}"
        assert push(remote, ID, TEXT) == f"- [CONFLICT] PUSH {ID} it was another message"
        remote.wire.send(push_octets(ID, TEXT, [OTHER], octets=len(TEXT) + 100)[:-len(TEXT)].replace(
            DIGEST_OF_TEXT, DIGEST_OF_TEXT + b" %d" % (len(TEXT) + 12)) + b"x" * 88)
        assert remote.line() == f"- [CONFLICT] PUSH {ID} the octets have another digest"
        assert remote.ask("HAVE", ID) == f"+ HAVE {ID} 0"
    assert gate.messages(OTHER) == [] and kept(gate) == {}


@pytest.mark.parametrize("done", [False, True], ids=["unfinished", "delivered"])
@pytest.mark.parametrize("other", [
    {"text": TEXT + b"more\r\n"}, {"text": TEXT.replace(b"Hello", b"Olleh")}, {"digest": DIGEST}, {"to": [library.USER]},
    {"to": [OTHER, OTHER]}, {"to": [OTHER, library.USER]}, {"sender": ""}, {"sender": OTHER},
], ids=str)
def test_an_id_is_one_message_for_ever(gate, done, other):
    other = {"text": TEXT, "to": [OTHER], **other}
    size = len(TEXT) if done else 7
    with logged_in(gate) as remote:
        remote.wire.send(push_octets(ID, TEXT, [OTHER])[:None if done else size - len(TEXT)])
        if done:
            assert remote.line() == f"+ PUSH {ID} DONE"
        else:
            wait_for_part(gate, ID, size)
    with logged_in(gate) as remote:
        assert push(remote, ID, offset=size, **other) == f"- [CONFLICT] PUSH {ID} it was another message"
        assert remote.ask("HAVE", ID) == f"+ HAVE {ID} {'DONE' if done else size}", "and it is kept"
        assert push(remote, ID, TEXT, offset=size) == f"+ PUSH {ID} DONE"
    assert bodies(gate) == [TEXT] and gate.messages() == []


def test_an_id_of_another_user_is_another_upload(gate):
    with logged_in(gate) as anna, logged_in(gate, OTHER) as bert:
        anna.wire.send(push_octets(ID, LARGE, [OTHER])[:-10])
        wait_for_part(gate, ID, len(LARGE) - 10)
        assert bert.ask("HAVE", ID) == f"+ HAVE {ID} 0"
        assert push(bert, ID, TEXT, [library.USER], sender=OTHER) == f"+ PUSH {ID} DONE"
        anna.wire.send(LARGE[-10:])
        assert anna.line() == f"+ PUSH {ID} DONE"
    assert bodies(gate) == [LARGE] and bodies(gate, library.USER) == [TEXT]


@pytest.mark.parametrize("name", ["../../etc/passwd", "../anna@gatepost.test", f"{library.USER}/../x", "anna@../..",
                                  ".@gatepost.test", "..", "/", library.USER + "%00", "a\nb@gatepost.test", "x" * 300])
def test_a_name_with_characters_of_paths_is_nobody(gate, name):
    before = tree(gate)
    with Remote(gate) as remote:
        plain = base64.b64encode(f"\0{name}\0{library.PASSWORD}".encode()).decode()
        assert remote.ask("AUTH PLAIN", plain).startswith(("- [AUTH] ", "- [SYNTAX] "))
        assert remote.ask("LIST").startswith("- [STATE] ")
    assert tree(gate) == before


# slow ones, several at once, and dead links

def test_a_trickle_is_taken_whole_and_holds_up_nobody(gate):
    with logged_in(gate, mirror="a" * 16) as slow, logged_in(gate, mirror="b" * 16) as quick:
        octets = push_octets(ID, TEXT, [OTHER])
        slow.wire.send_bytewise(octets[:-5])
        id = upload_id()
        assert push(quick, id, LARGE) == f"+ PUSH {id} DONE"
        slow.wire.send_bytewise(octets[-5:])
        assert slow.line() == f"+ PUSH {ID} DONE"
    assert sorted(bodies(gate)) == sorted([TEXT, LARGE])


@pytest.mark.parametrize("size", [0, 1, 262144, len(LARGE) - 1])
def test_an_upload_that_stops_ends_by_itself_and_is_gone_on_with(size):
    over = sections({"mailstore": {"command_timeout": "1s"}})
    with library.Gatepost(over, users=(library.USER, OTHER)) as gate, Remote(gate) as dead:
        dead.login()
        dead.wire.send(push_octets(ID, LARGE, [OTHER])[:size - len(LARGE)])
        gate.wait_for_log("remote session .* user anna@gatepost.test, .*(timed out|ETIMEDOUT)", timeout=30)
        assert dead.ended()
        with logged_in(gate) as remote:
            assert remote.ask("HAVE", ID) == f"+ HAVE {ID} {size}"
            assert push(remote, ID, LARGE, offset=size) == f"+ PUSH {ID} DONE"
        assert bodies(gate) == [LARGE]


@pytest.mark.parametrize("size", [1, 262144, len(LARGE) - 1])
def test_a_link_that_dies_without_a_word_in_an_upload_delays_its_owner_by_nothing(gate, size):
    """Its connection stays as it is, as to the server it does where a link dies."""
    with logged_in(gate) as dead:
        dead.wire.send(push_octets(ID, LARGE, [OTHER])[:size - len(LARGE)])
        wait_for_part(gate, ID, size)
        with logged_in(gate) as remote:
            assert remote.ask("HAVE", ID) == f"+ HAVE {ID} {size}"
            assert push(remote, ID, LARGE, offset=size) == f"+ PUSH {ID} DONE"
        proc.wait_until(dead.ended, 15, "the end of the older connection")
    assert bodies(gate) == [LARGE]


@pytest.mark.skipif(not library.AS_ROOT, reason="a network namespace needs root")
@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
@pytest.mark.parametrize("way", ["up", "down", "reload"])
def test_a_dead_link_is_noticed_and_ends_the_session_behind_it(tls, way):
    """What the client sent or acknowledged until then is safe, without anybody who reconnects."""
    limits = {"remote_link_timeout": "1h" if way == "reload" else "1s"}
    with Link() as link:
        over = sections({"gatepost": {"bind": f"127.0.0.1, {link.ours}"}, "limits": limits})
        with library.Gatepost(over, users=(library.USER, OTHER)) as gate:
            if way == "reload":
                gate.sections["limits"]["remote_link_timeout"] = "1s"
                gate.write_ini()
                gate.process.send_signal(signal.SIGHUP)
                gate.wait_for_log(r"reload 1: in use", timeout=40)
            for text in (TEXTS[0], LARGE * 4, LARGE * 4):
                deliver(gate, text)
            dead = logged_in(gate, tls=tls, wire=Wire.over(link.connect(gate.port("remote")), 30))
            (uid, *_) = (uid for uid, _ in dead.list())
            dead.say("ACK", uid)
            if way == "up":
                dead.wire.send(push_octets(ID, LARGE, [OTHER])[:-10])
                wait_for_part(gate, ID, len(LARGE) - 10)
            else:
                dead.say("PULL", uid)
                dead.line()
            link.cut()
            gate.wait_for_log("the link to the client is dead", timeout=40)
            gate.wait_for_log("remote session .* user anna@gatepost.test, .* 1 deleted, ")
            assert gate.messages() == [LARGE * 4] * 2
            with logged_in(gate) as remote:
                assert remote.ask("HAVE", ID) == f"+ HAVE {ID} {len(LARGE) - 10 if way == 'up' else 0}"


def test_a_link_that_dies_between_the_last_octet_and_the_yes_doubles_nothing(gate):
    for _ in range(3):
        with logged_in(gate, tls=False) as dead:
            dead.wire.send(push_octets(ID, LARGE, [OTHER]))
            with logged_in(gate) as remote:
                state = remote.ask("HAVE", ID).split()[-1]
                offset = len(LARGE) if state == "DONE" else int(state)
                assert push(remote, ID, LARGE, offset=offset) == f"+ PUSH {ID} DONE"
    assert bodies(gate) == [LARGE]


def test_a_mailbox_that_pop3_has_open_takes_uploads_and_gives_them(gate):
    deliver(gate, TEXTS[0])
    with Wire(gate.port("pop3")) as wire, logged_in(gate) as remote:
        wire.expect("+OK")
        wire.command(f"USER {library.USER}", "+OK")
        wire.command(f"PASS {library.PASSWORD}", "+OK")
        assert push(remote, ID, TEXT, [library.USER]) == f"+ PUSH {ID} DONE"
        frames = remote.pull()
        assert frames[0][1] == TEXTS[0] and frames[1][1].endswith(TEXT) and len(frames) == 2
        wire.command("STAT", "+OK 1 ")
        remote.say("ACK", frames[0][0])
        assert remote.ask("SYNC") == "+ SYNC 1"
        wire.send("RETR 1\r\n")
        assert b"".join(line + b"\r\n" for line in wire.multiline()[1:]) == TEXTS[0]
        wire.command("QUIT", "+OK")
        assert [uid for uid, _ in remote.list()] == [frames[1][0]]
        assert remote.ask("QUIT") == "+ BYE"
    assert bodies(gate, library.USER) == [TEXT]
