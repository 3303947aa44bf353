"""Remote Mail with kill -9 at every step: a session's process is killed before each call that changes the disk and before
each reply, and what was promised holds: an upload is delivered once, nothing is lost that was not acknowledged, and no
uid changes. What a power failure would leave, which no kill can show, is seen by the order of the calls."""
import base64
import shutil
import threading

import gatepost as library
import proc
import pytest
from backend import Backend, smtp_script
from remote import Remote, deliver, push_octets, sections, upload_id
from strike import strikes, traced
from wire import Wire

OTHER = "bert@gatepost.test"
TEXT = b"Subject: up\r\n\r\n" + b"0123456789abcdef0123456789abcdef\r\n" * 10000  # more than goes up between two fsyncs
CALLS = ("fsync", "pwrite64", "write", "renameat", "linkat", "unlinkat", "sendto")

pytestmark = [pytest.mark.seconds(300), pytest.mark.skipif(not library.AS_ROOT, reason="strace needs root here")]


@pytest.fixture(scope="module")
def gate():
    with library.Gatepost(sections(), users=(library.USER, OTHER)) as running:
        yield running


def clean_all(gate):
    for user in (library.USER, OTHER):
        gate.clear(user)


@pytest.fixture(autouse=True)
def clean(gate):
    clean_all(gate)


def start(gate):
    """A session that has said its first line, and its process."""
    before = set(gate.processes())
    remote = Remote(gate, tls=False)
    (session,) = set(gate.processes()) - before
    return session, remote


def bodies(gate, user=OTHER):
    return [message[message.index(b"Subject:"):] for message in gate.messages(user)]


def send_up(remote, id, to):
    """From wherever it has got to, until it is done."""
    remote.login()
    state = remote.ask("HAVE", id).split()[-1]
    if state != "DONE":
        remote.wire.send(push_octets(id, TEXT, to, offset=int(state)))
        assert remote.line() == f"+ PUSH {id} DONE"


def strike_uploads(gate, to, begin, when_killed, when_done):
    """`begin()` is called before each upload. After a kill, what had begun to be delivered is completed although its
    sender does not come back; then `when_killed(place, done)` is called, `done`: it is delivered. `when_done()` when the
    sender has come back and has the yes."""
    id, places = None, []

    def talk(remote):
        nonlocal id
        begin()
        id = upload_id()
        send_up(remote, id, to)

    folder = gate.maildir() / "gatepost-uploads"
    for place in strikes(CALLS, lambda: start(gate), talk):
        places.append(place)
        proc.wait_until(lambda: not (folder / f"{id}.deliver").exists(), 15, f"the end of a delivery cut off at {place}")
        when_killed(place, (folder / f"{id}.done").exists())
        for _ in range(2):
            with Remote(gate) as remote:
                send_up(remote, id, to)
                assert remote.ask("HAVE", id) == f"+ HAVE {id} DONE", place
        when_done()
        assert {path.suffix for path in folder.iterdir()} == {".done"}, place
    print(len(places), "places:", ", ".join(places))


@pytest.mark.parametrize("read", [False, True], ids=["left", "read and deleted"])
def test_r5_an_upload_is_delivered_once_wherever_its_session_is_killed(gate, read):
    """Its two recipients leave it where it is, or read and delete it before its sender comes back."""
    users, expected = (OTHER, library.USER), []

    def when_killed(place, done):
        there = [TEXT] if done else []
        assert [bodies(gate, user) for user in users] == [there, there], place
        expected[:] = [TEXT]
        if done and read:
            expected[:] = []
            clean_all(gate)

    def when_done():
        assert [bodies(gate, user) for user in users] == [expected, expected]

    strike_uploads(gate, [OTHER, library.USER, OTHER], lambda: clean_all(gate), when_killed, when_done)


def test_r5_an_upload_to_a_relay_is_never_lost_and_doubled_only_between_its_yes_and_our_record(gate):
    folder = library.make_folder()
    with Backend(folder / "relay.sock", smtp_script(relay=True)) as relay:
        (folder / "relay.sock").chmod(0o777)
        over = {"mailstore": {"relay": f"unix:{folder}/relay.sock"}}
        counted, doubled = {}, []

        def taken():
            return sum(len(connection.messages) for connection in relay.connections)

        def begin():
            counted["before"] = taken()

        def when_killed(place, done):
            count = taken() - counted["before"]
            assert count in (1, 2) if done else count == 0, place
            counted["expected"] = taken() + (0 if done else 1)
            if count == 2:
                doubled.append(place)

        def when_done():
            assert taken() == counted["expected"]

        with library.Gatepost(sections(over)) as gate:
            strike_uploads(gate, ["a@elsewhere.example"], begin, when_killed, when_done)
        print("doubled:", doubled)
        assert "renameat 3" in doubled, "before the record"
        assert {place.split()[0] for place in doubled} <= {"renameat", "sendto"}, "and before what is said until then: QUIT"


def test_a_relay_that_takes_long_is_not_asked_twice_because_the_link_was_cut_meanwhile():
    """The newer session of the mirror waits for the older one, which waits for the relay's yes."""
    folder, reached, go_on = library.make_folder(), threading.Event(), threading.Event()

    def slow(wire, connection, line):
        wire.send(b"354 Go on\r\n")
        while wire.read_until(b"\r\n") != b".\r\n":
            pass
        connection.messages.append(line)
        reached.set()
        assert go_on.wait(60)
        return b"250 2.0.0 Queued"

    with Backend(folder / "relay.sock", smtp_script(relay=True, answers={b"DATA": slow})) as relay:
        (folder / "relay.sock").chmod(0o777)
        with library.Gatepost(sections({"mailstore": {"relay": f"unix:{folder}/relay.sock"}})) as gate:
            id = upload_id()
            with Remote(gate) as first:
                first.login()
                first.wire.send(push_octets(id, b"Subject: once\r\n\r\nonce\r\n", ["a@elsewhere.example"]))
                assert reached.wait(30)
            with Remote(gate) as second:
                plain = base64.b64encode(f"\0{library.USER}\0{library.PASSWORD}".encode()).decode()
                assert second.ask("AUTH PLAIN", plain).startswith("- [TEMP] ")
            go_on.set()
            with Remote(gate) as third:
                third.login()
                assert third.ask("HAVE", id) == f"+ HAVE {id} DONE"
        assert sum(len(connection.messages) for connection in relay.connections) == 1


def shown(gate):
    """[uid] as a session of another mirror sees them."""
    with Remote(gate, mirror="c" * 16) as remote:
        remote.login()
        return [uid for uid, _ in remote.list()]


def open_by_pop3(gate):
    wire = Wire(gate.port("pop3"))
    wire.expect("+OK")
    wire.command(f"USER {library.USER}", "+OK")
    wire.command(f"PASS {library.PASSWORD}", "+OK")
    return wire


@pytest.mark.parametrize("pop3", [False, True], ids=["alone", "opened by POP3 meanwhile"])
def test_r5_nothing_is_lost_and_no_uid_changes_wherever_a_session_is_killed(gate, pop3):
    """Three messages come, and one more while the first and the third are acknowledged."""
    texts = [b"Subject: %d\r\n\r\n" % number for number in range(4)]
    seen, synced, wire, places = [], False, None, []

    def prepare():
        nonlocal wire
        if wire:
            wire.command("QUIT", "+OK")
        with Remote(gate, mirror="d" * 16) as remote:  # of what the round before left
            remote.login()
            for uid, _ in remote.list():
                remote.say("ACK", uid)
            assert remote.ask("QUIT") == "+ BYE"
        for text in texts[:3]:
            deliver(gate, text)
        wire = open_by_pop3(gate) if pop3 else None
        seen.clear()
        return start(gate)

    def talk(remote):
        nonlocal synced
        synced = False
        remote.login()
        frames = remote.pull()
        assert [text for _, text in frames] == texts[:3]
        seen.extend(uid for uid, _ in frames)
        deliver(gate, texts[3])
        remote.say("ACK", seen[0])
        remote.say("ACK", seen[2])
        synced = remote.ask("SYNC") == "+ SYNC 2"
        seen.append(remote.list(seen[2])[0][0])

    for place in strikes(CALLS, prepare, talk):
        places.append(place)
        there = shown(gate)
        assert there == shown(gate), "what is shown once stays"
        numbers = [int(uid.split(".")[1]) for uid in there]
        assert numbers == sorted(set(numbers)), place
        if seen:
            assert seen[1] in there, "it was not acknowledged"
            assert set(there[:-1]) <= set(seen), "no message has got a second uid"
            assert not synced or not {seen[0], seen[2]} & set(there), place
        for text in gate.messages():
            assert text in texts
        with Remote(gate) as remote:
            remote.login()
            for uid in (seen[0], seen[2]) if seen else ():
                remote.say("ACK", uid)
            assert remote.ask("SYNC").startswith("+ SYNC ")
            frames = remote.pull()
        expected = [texts[1], texts[3]] if seen else texts[:3]
        assert [text for _, text in frames] == expected, place
    print(len(places), "places:", ", ".join(places))
    if wire:
        wire.command("QUIT", "+OK")


# What must come in this order: a call, and what its line in the trace holds. The last call of each row is the first of its
# kind in the whole trace: nothing is said, linked or renamed earlier.
DELIVERY = [
    [("mkdir", '/gatepost-uploads"'), ("fsync", "/Maildir>"), ("sendto", " messages ")],
    [("fsync", ".part>"), ("write", ".new>"), ("fsync", ".new>"), ("renameat", '.deliver"')],
    [("renameat", '.deliver"'), ("fsync", "/gatepost-uploads>"), ("linkat", "/new>")],
    [("fsync", "/tmp/"), ("linkat", "/new>"), ("fsync", "/new>"), ("renameat", '.done"')],
    [("renameat", '.done"'), ("fsync", "/gatepost-uploads>"), ("sendto", "+ PUSH ")],
]
DELETION = [
    [("write", "/gatepost-uids>"), ("fsync", "/gatepost-uids>"), ("sendto", " messages ")],
    [("unlinkat", "new/"), ("fsync", "/Maildir/new>"), ("sendto", "+ SYNC ")],
]


def trace(gate, talk):
    session, remote = start(gate)
    with traced(session, "-y", "-s", "300", "-e", "trace=" + ",".join((*CALLS, "mkdir"))) as out:
        talk(remote)
        assert remote.ask("NOOP") == "+ NOOP"
        proc.wait_until(lambda: "+ NOOP" in out.read_text(), 15, "the end of the trace")
        return out.read_text().splitlines()


def require_order(lines, row):
    at = -1
    for call, words in row:
        found = [i for i, line in enumerate(lines) if line.startswith(call + "(") and words in line]
        later = [i for i in found if i > at]
        assert later, f"no {call} of {words} behind line {at} of\n" + "\n".join(lines)
        at = later[0]
    assert at == found[0], f"{call} of {words} comes too early in\n" + "\n".join(lines)


def test_r1_each_step_of_a_delivery_is_on_the_disk_before_the_next(gate):
    shutil.rmtree(gate.maildir() / "gatepost-uploads", ignore_errors=True)
    lines = trace(gate, lambda remote: send_up(remote, upload_id(), [OTHER]))
    for row in DELIVERY:
        require_order(lines, row)


def test_r2_of_what_comes_up_all_but_256_kib_is_on_the_disk(gate):
    lines = trace(gate, lambda remote: send_up(remote, upload_id(), [OTHER]))
    at_risk = most = 0
    for line in lines:
        if line.startswith("pwrite64(") and ".part>" in line:
            at_risk += int(line.rsplit("= ", 1)[1])
            most = max(most, at_risk)
        elif line.startswith("fsync(") and ".part>" in line:
            at_risk = 0
    assert at_risk == 0 and most < 256 * 1024 + 65536, "and one read"


def test_r1_a_uid_and_a_deletion_are_on_the_disk_before_they_are_told(gate):
    def talk(remote):
        remote.login()
        remote.say("ACK", remote.list()[0][0])
        assert remote.ask("SYNC") == "+ SYNC 1"

    deliver(gate, b"Subject: one\r\n\r\n")
    lines = trace(gate, talk)
    for row in DELETION:
        require_order(lines, row)
