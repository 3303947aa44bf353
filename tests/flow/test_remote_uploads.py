"""Remote Mail: messages sent up are delivered once and whole, over cut connections and killed processes, or refused in
words; looked at on disk."""
import contextlib
import os
import signal
import time

import gatepost as library
import proc
import pytest
from backend import Backend, smtp_script
from remote import Remote, push_octets, sections, upload_id

OTHER = "bert@gatepost.test"
TEXT = b"Subject: up\r\n\r\nHello\r\n.\r\n..\r\n"
LARGE = b"Subject: large\r\n\r\n" + b"0123456789abcdef0123456789abcdef\r\n" * 27000
HUGE = b"Subject: huge\r\n\r\n" + b"0123456789abcdef0123456789abcdef\r\n" * 40000  # more than is read for nothing


@pytest.fixture(scope="module")
def gate():
    limits = {"mailstore": {"message_size_limit": "2MiB", "push_quota": "3MiB"}}
    with library.Gatepost(sections(limits), users=(library.USER, OTHER)) as running:
        yield running


@pytest.fixture(autouse=True)
def clean(gate):
    for user in (library.USER, OTHER):
        gate.clear(user)
        for path in kept(gate, user):
            path.unlink()


def kept(gate, user=library.USER):
    return sorted((gate.maildir(user) / "gatepost-uploads").glob("*"))


def bodies(gate, user=OTHER):
    """The messages without the fields that delivery puts before them."""
    return [message[message.index(b"Subject:"):] for message in gate.messages(user)]


def logged_in(gate, **more):
    remote = Remote(gate, **more)
    remote.login()
    return remote


def push(remote, id, text, to=(OTHER,), **more):
    remote.wire.send(push_octets(id, text, to, **more))
    return remote.line()


def test_a_message_is_delivered_once(gate):
    id = upload_id()
    with logged_in(gate) as remote:
        assert "PUSH" in remote.greeting.split()
        assert remote.ask("HAVE", id) == f"+ HAVE {id} 0"
        assert push(remote, id, TEXT, [OTHER, library.USER, OTHER]) == f"+ PUSH {id} DONE"
        assert remote.ask("HAVE", id) == f"+ HAVE {id} DONE"
        assert push(remote, id, TEXT, [OTHER, library.USER, OTHER]) == f"+ PUSH {id} DONE", "and not again"
        assert remote.ask("NOOP") == "+ NOOP"
    assert bodies(gate, OTHER) == bodies(gate, library.USER) == [TEXT]
    head = gate.messages(OTHER)[0]
    assert head.startswith(f"Return-Path: <{library.USER}>\r\nReceived: from remote-mail ".encode())
    assert b" with ESMTPSA (TLSv1.3 " in head and id.encode() in head
    assert [path.suffix for path in kept(gate)] == [".done"]
    with logged_in(gate, mirror="b" * 16) as remote:
        assert remote.ask("HAVE", id) == f"+ HAVE {id} DONE", "for every mirror of the user"
    with Remote(gate) as remote:
        remote.login(OTHER)
        assert remote.ask("HAVE", id) == f"+ HAVE {id} 0", "and of no other user"


def test_many_in_one_flight(gate):
    ids = [upload_id() for _ in range(20)]
    texts = [b"Subject: %d\r\n\r\n" % number for number in range(20)]
    with logged_in(gate) as remote:
        remote.wire.send(b"".join(push_octets(id, text, [OTHER]) for id, text in zip(ids, texts)))
        assert [remote.line() for _ in ids] == [f"+ PUSH {id} DONE" for id in ids]
    assert sorted(bodies(gate)) == sorted(texts)


@pytest.mark.parametrize("cut", [1, 262144, len(LARGE) - 1])
def test_an_upload_goes_on_where_it_was_cut(gate, cut):
    id = upload_id()
    with logged_in(gate) as remote:
        whole = push_octets(id, LARGE, [OTHER])
        remote.wire.send(whole[:len(whole) - len(LARGE) + cut])
        part = gate.maildir() / "gatepost-uploads" / f"{id}.part"
        proc.wait_until(lambda: part.exists() and part.stat().st_size == cut, 15, "the octets on the disk")
        remote.wire.reset()
    assert bodies(gate) == []
    with logged_in(gate) as remote:
        assert remote.ask("HAVE", id) == f"+ HAVE {id} {cut}"
        assert push(remote, id, LARGE, offset=cut - 1) == f"- [CONFLICT] PUSH {id} {cut}"
        assert push(remote, id, LARGE, [library.USER], offset=cut) == f"- [CONFLICT] PUSH {id} it was another message"
        assert push(remote, id, LARGE, offset=cut) == f"+ PUSH {id} DONE"
    assert bodies(gate) == [LARGE]


def test_a_session_killed_while_uploading_loses_nothing(gate):
    id, before = upload_id(), set(gate.processes())
    with logged_in(gate) as remote:
        (session,) = set(gate.processes()) - before
        whole = push_octets(id, LARGE, [OTHER])
        remote.wire.send(whole[:-1000])
        part = gate.maildir() / "gatepost-uploads" / f"{id}.part"
        proc.wait_until(lambda: part.exists() and part.stat().st_size == len(LARGE) - 1000, 15, "the octets on the disk")
        os.kill(session, signal.SIGKILL)
    with logged_in(gate) as remote:
        assert remote.ask("HAVE", id) == f"+ HAVE {id} {len(LARGE) - 1000}"
        assert push(remote, id, LARGE, offset=len(LARGE) - 1000) == f"+ PUSH {id} DONE"
    assert bodies(gate) == [LARGE]


def put_back(gate, id, text, *kinds):
    """What a crash leaves between two steps of a delivery that has been done: record, part, and no `done`."""
    folder = gate.maildir() / "gatepost-uploads"
    meta = (folder / f"{id}.done").read_bytes()
    name = next((gate.maildir(OTHER) / "new").glob(f"*.R{id}.*")).name.split(",")[0]
    (folder / f"{id}.done").rename(folder / f"{id}.meta")
    (folder / f"{id}.part").write_bytes(text)
    (folder / f"{id}.deliver").write_bytes(meta + b"\n" + name.encode() + b"\nReceived: again\r\n")
    if library.AS_ROOT:
        import shutil
        for path in folder.iterdir():
            shutil.chown(path, "mail", "mail")


@pytest.mark.parametrize("moved", [False, True])
def test_a_delivery_cut_off_behind_its_link_is_not_done_twice(gate, moved):
    id = upload_id()
    with logged_in(gate) as remote:
        push(remote, id, TEXT)
    put_back(gate, id, TEXT)
    if moved:
        path = next((gate.maildir(OTHER) / "new").iterdir())
        path.rename(gate.maildir(OTHER) / "cur" / f"{path.name}:2,S")
    with logged_in(gate) as remote:
        assert remote.ask("HAVE", id) == f"+ HAVE {id} DONE"
    assert bodies(gate) == [TEXT]
    assert [path.suffix for path in kept(gate)] == [".done"]


def test_a_delivery_cut_off_before_its_link_is_done_before_anybody_comes():
    with library.Gatepost(sections(), users=(library.USER, OTHER)) as gate:
        id = upload_id()
        with logged_in(gate) as remote:
            push(remote, id, TEXT)
        put_back(gate, id, TEXT)
        gate.clear(OTHER)
        gate.stop()
        gate.start()
        gate.wait_for_log("gatepost: ready", count=2, timeout=60)
        assert [message[-len(TEXT):] for message in gate.messages(OTHER)] == [TEXT]
        with logged_in(gate) as remote:
            assert remote.ask("HAVE", id) == f"+ HAVE {id} DONE"


def test_a_wrong_digest_is_refused_and_forgotten(gate):
    id = upload_id()
    with logged_in(gate) as remote:
        assert push(remote, id, TEXT, digest="0" * 64) == f"- [CONFLICT] PUSH {id} the octets have another digest"
        assert remote.ask("HAVE", id) == f"+ HAVE {id} 0"
        assert kept(gate) == [] and bodies(gate) == []
        assert push(remote, id, TEXT) == f"+ PUSH {id} DONE"
        assert push(remote, id, TEXT + b"x\r\n") == f"- [CONFLICT] PUSH {id} it was another message"
    assert bodies(gate) == [TEXT]


@pytest.mark.parametrize("text", [b"Subject: x\n\n", b"Subject: x\r\n\r\na\rb\r\n", b"Subject: x\r\n\r\na\nb\r\n"])
def test_bare_line_ends_are_refused_as_in_smtp(gate, text):
    id = upload_id()
    with logged_in(gate) as remote:
        assert push(remote, id, text) == f"- [PERM] PUSH {id} lines of a message must end in CR LF"
    assert kept(gate) == [] and bodies(gate) == []


@pytest.mark.parametrize("to, words", [
    ([OTHER, "nobody@gatepost.test"], "[PERM] PUSH {} no such user here: <nobody@gatepost.test>"),
    ([OTHER, "a@elsewhere.example", "nobody@gatepost.test"],
     "[PERM] PUSH {} mail to other domains is not taken here: <a@elsewhere.example>"),
    ([], "[SYNTAX] PUSH {} no recipients"),
    (["bert"], "[SYNTAX] PUSH {} write recipients as TO:<name@domain>, in ASCII"),
    (["../../x@../.."], "[SYNTAX] PUSH {} write recipients as TO:<name@domain>, in ASCII"),
    ([OTHER] * 101, "[LIMIT] PUSH {} too many recipients"),
    ([OTHER] * 4000, "[LIMIT] PUSH {} the envelope is too long"),
])
def test_all_recipients_or_none(gate, to, words):
    id = upload_id()
    with logged_in(gate) as remote:
        assert push(remote, id, TEXT, to) == "- " + words.format(id)
        assert remote.ask("NOOP") == "+ NOOP", "what was announced has been read"
    assert bodies(gate) == [] and kept(gate) == []


def test_limits(gate):
    with logged_in(gate) as remote:
        id = upload_id()
        assert push(remote, id, TEXT, octets=2 * 2**20 + 1).startswith(f"- [LIMIT] PUSH {id} message too big")
    ids = [upload_id() for _ in range(3)]
    for id in ids[:2]:
        with logged_in(gate) as remote:
            remote.wire.send(push_octets(id, HUGE, [OTHER])[:-1])
            part = gate.maildir() / "gatepost-uploads" / f"{id}.part"
            proc.wait_until(lambda: part.exists() and part.stat().st_size == len(HUGE) - 1, 15, "the octets")
    with logged_in(gate) as remote:
        assert push(remote, ids[2], HUGE) == f"- [LIMIT] PUSH {ids[2]} unfinished uploads take too much room"
        assert remote.ended(), "more than 1 MiB of it is not read for nothing"
    with logged_in(gate) as remote:
        for id in ids[:2]:
            assert push(remote, id, HUGE, offset=len(HUGE) - 1) == f"+ PUSH {id} DONE"
        assert push(remote, ids[2], HUGE) == f"+ PUSH {ids[2]} DONE"
    assert bodies(gate) == [HUGE] * 3


def test_too_many_unfinished_uploads_and_old_ones_go(gate):
    folder = gate.maildir() / "gatepost-uploads"
    with logged_in(gate) as remote:
        push(remote, upload_id(), TEXT)
    done = kept(gate)[0]
    for number in range(64):
        for kind in ("part", "meta"):
            (folder / f"{number:032x}.{kind}").write_bytes(b"x")
    if library.AS_ROOT:
        import shutil
        for path in folder.iterdir():
            shutil.chown(path, "mail", "mail")
    id = upload_id()
    with logged_in(gate) as remote:
        assert push(remote, id, TEXT) == f"- [LIMIT] PUSH {id} too many unfinished uploads"
    for path in folder.iterdir():
        age = 15 * 86400
        os.utime(path, (time.time() - age, time.time() - age))
    with logged_in(gate) as remote:
        assert push(remote, id, TEXT) == f"+ PUSH {id} DONE"
    assert len(kept(gate)) == 2 and done in kept(gate), "what is done is remembered longer"
    os.utime(done, (time.time() - 401 * 86400, ) * 2)
    logged_in(gate).wire.socket.close()
    proc.wait_until(lambda: not done.exists(), 15, "the end of what was done long ago")


def test_two_connections_with_one_upload(gate):
    id = upload_id()
    with logged_in(gate, mirror="a" * 16) as one, logged_in(gate, mirror="b" * 16) as two:
        whole = push_octets(id, TEXT, [OTHER])
        one.wire.send(whole[:-5])
        part = gate.maildir() / "gatepost-uploads" / f"{id}.part"
        proc.wait_until(lambda: part.exists() and part.stat().st_size == len(TEXT) - 5, 15, "the octets")
        assert push(two, id, TEXT, offset=len(TEXT) - 5) == f"- [TEMP] PUSH {id} another connection sends it"
        one.wire.send(whole[-5:])
        assert one.line() == f"+ PUSH {id} DONE"
        assert push(two, id, TEXT) == f"+ PUSH {id} DONE"
    assert bodies(gate) == [TEXT]


def test_uploads_by_way_of_a_relay():
    folder = library.make_folder()
    with Backend(folder / "relay.sock", smtp_script(relay=True)) as relay:
        (folder / "relay.sock").chmod(0o777)
        over = {"mailstore": {"relay": f"unix:{folder}/relay.sock"}}
        with library.Gatepost(sections(over), users=(library.USER, OTHER)) as gate:
            id = upload_id()
            with logged_in(gate) as remote:
                assert push(remote, id, TEXT, ["a@elsewhere.example"]) == f"+ PUSH {id} DONE"
                assert push(remote, id, TEXT, ["a@elsewhere.example"]) == f"+ PUSH {id} DONE"
                mixed = upload_id()
                assert push(remote, mixed, TEXT, ["a@elsewhere.example", OTHER]) == \
                    f"- [PERM] PUSH {mixed} this domain and others need messages of their own: <{OTHER}>"
            (connection,) = relay.connections
            ((envelope, message),) = connection.messages
            assert b"RCPT TO:<a@elsewhere.example>" in b" ".join(
                line if isinstance(line, bytes) else line.encode() for line in envelope)
            assert message.startswith(b"Received: from remote-mail ")
            assert gate.messages(OTHER) == []


def leave_delivery(gate, id):
    """What a crash leaves of an upload that is whole, before its relay was asked."""
    folder = gate.maildir() / "gatepost-uploads"
    record = folder / f"{id}.deliver"
    record.write_bytes((folder / f"{id}.meta").read_bytes() + b"\n1.R%s.gatepost\nReceived: again\r\n" % id.encode())
    if library.AS_ROOT:
        import shutil
        shutil.chown(record, "mail", "mail")


def break_off(wire, connection, line):
    connection.reset()


@pytest.mark.parametrize("answers, words", [
    (None, "the relay cannot be reached now"), ({b"EHLO": break_off}, "the relay cannot be reached now"),
    ({b"MAIL": break_off}, "the relay has broken off"), ({b"DATA": break_off}, "the relay has broken off"),
    ({b"RCPT": b"451 4.3.0 Not now"}, "451 4.3.0 Not now")])
def test_a_relay_that_is_away_refuses_for_now_and_holds_up_no_login(answers, words):
    folder, id = library.make_folder(), upload_id()
    address = folder / "relay.sock"
    away = Backend(address, smtp_script(relay=True, answers=answers)) if answers else contextlib.nullcontext()
    with library.Gatepost(sections({"mailstore": {"relay": f"unix:{address}"}})) as gate:
        with away:
            if answers:
                address.chmod(0o777)
            with logged_in(gate) as remote:
                assert push(remote, id, TEXT, ["a@elsewhere.example"]) == f"- [TEMP] PUSH {id} {words}"
                assert remote.ask("NOOP") == "+ NOOP"
            assert [path.suffix for path in kept(gate)] == [".meta", ".part"], "it is tried when the client asks for it"
            leave_delivery(gate, id)
            with logged_in(gate) as remote:
                assert remote.ask("HAVE", id) == f"+ HAVE {id} {len(TEXT)}"
                assert gate.log().count("is not delivered: [TEMP]") == 1, "tried at the login, and not again"
        with Backend(address, smtp_script(relay=True)) as relay:
            address.chmod(0o777)
            with logged_in(gate) as remote:
                assert push(remote, id, TEXT, ["a@elsewhere.example"], offset=len(TEXT)) == f"+ PUSH {id} DONE"
                assert remote.ask("HAVE", id) == f"+ HAVE {id} DONE"
        assert sum(len(connection.messages) for connection in relay.connections) == 1
