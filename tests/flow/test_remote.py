"""Remote Mail on port 109, from the client's socket to the files: login, lists, pulls, acknowledgements, waiting."""
import base64
import hashlib
import os
import signal
import socket
import threading

import gatepost as library
import proc
import pytest
from remote import MIRROR, Remote, deliver, sections
from wire import Wire

OTHER = "bert@gatepost.test"
TEXTS = [b"Subject: one\r\n\r\nHello\r\n", b"Subject: two\r\n\r\n.\r\n..\r\nM 0 0 0\r\n+ PULL 9\r\n",
         b"Subject: three\r\n\r\n" + b"a line of the third message\r\n" * 3000]


@pytest.fixture(scope="module")
def gate():
    with library.Gatepost(sections(), users=(library.USER, OTHER)) as running:
        yield running


@pytest.fixture(autouse=True)
def clean(gate):
    for user in (library.USER, OTHER):
        gate.clear(user)


def deliver_all(gate, texts=TEXTS):
    for text in texts:
        deliver(gate, text)


@pytest.mark.parametrize("tls", [False, True])
def test_pull_ack_sync_quit(gate, tls):
    deliver_all(gate)
    with Remote(gate, tls) as remote:
        assert remote.login() == f"+ 3 messages {sum(map(len, TEXTS))} octets"
        listed = remote.list()
        frames = remote.pull()
        assert [text for _, text in frames] == TEXTS
        assert listed == [(uid, len(text)) for uid, text in frames]
        numbers = [int(uid.split(".")[1]) for uid, _ in frames]
        assert numbers == sorted(set(numbers))
        assert remote.list(frames[0][0]) == listed[1:] and remote.list(frames[2][0]) == []
        assert len(gate.messages()) == 3, "nothing is deleted before it is acknowledged"
        for uid, _ in frames[:2]:
            remote.say("ACK", uid)
        assert remote.ask("SYNC") == "+ SYNC 2"
        assert gate.messages() == TEXTS[2:]
        assert [uid for uid, _ in remote.list()] == [frames[2][0]]
        remote.say("ACK", frames[2][0])
        assert remote.ask("QUIT") == "+ BYE"
        assert remote.ended()
    assert gate.messages() == []


def test_one_flight(gate):
    deliver_all(gate)
    with Remote(gate, greet=False) as remote:
        plain = base64.b64encode(f"\0{library.USER}\0{library.PASSWORD}".encode()).decode()
        remote.wire.send(f"RM/1 test/1 id={MIRROR}\r\nAUTH PLAIN {plain}\r\nPULL\r\n")
        assert remote.line().startswith("+ RM/1 mail.gatepost.test SIZE=52428800 WAIT=1740")
        assert remote.line().startswith("+ 3 messages ")
        assert [remote.frame(remote.line())[2] for _ in TEXTS] == TEXTS
        assert remote.line() == "+ PULL 3"


def test_acks_and_syncs_are_heard_while_a_pull_streams(gate):
    deliver_all(gate, [b"Subject: x\r\n\r\n" + b"0123456789abcdef\r\n" * 20000] * 12)  # more than the socket's buffers
    with Remote(gate, tls=False) as remote:
        remote.login()
        uids = [uid for uid, _ in remote.list()]

        def acknowledge(remote, uid):
            remote.say("ACK", uid)
            remote.say("SYNC")

        frames = remote.pull(between=acknowledge)
        assert [uid for uid, _ in frames] == uids
        assert remote.beside, "a SYNC was answered between two frames"
        left = 12 - len(remote.beside)
        assert [remote.line() for _ in range(left)][-1:] in ([], ["+ SYNC 12"])
        assert gate.messages() == []


def test_quit_ends_a_pull_after_the_frame(gate):
    deliver_all(gate, [b"Subject: x\r\n\r\n" + b"0123456789abcdef\r\n" * 60000] * 8)
    with Remote(gate, tls=False) as remote:
        remote.login()
        remote.say("PULL")
        first = remote.line()
        remote.say("QUIT")
        count = 0
        line = first
        while line.startswith("M "):
            remote.frame(line)
            count += 1
            line = remote.line()
        assert count < 8 and line == f"+ PULL {count}"
        assert remote.line() == "+ BYE" and remote.ended()


def test_a_pull_goes_on_inside_a_message(gate):
    deliver_all(gate)
    digest = hashlib.sha256(TEXTS[2]).hexdigest()
    with Remote(gate) as remote:
        remote.login()
        uid = remote.list()[2][0]
        for offset in (1, 17, 40000, len(TEXTS[2]) - 1, len(TEXTS[2])):
            remote.say("PULL", uid, offset)
            assert remote.frame(remote.line()) == (uid, offset, TEXTS[2][offset:], digest)
            assert remote.line() == "+ PULL 1"
        assert remote.ask("PULL", uid, len(TEXTS[2]) + 1).startswith("- [NOSUCH]")
        assert remote.ask("PULL", uid, 2**63).startswith("- [NOSUCH]")
        epoch = uid.split(".")[0]
        assert remote.ask("PULL", f"{epoch}.{2**62}", 0).startswith("- [NOSUCH]")
        assert remote.pull(f"{epoch}.{2**62}") == []
        other = f"{(int(epoch, 16) ^ 1):08x}"
        assert remote.ask("PULL", f"{other}.1") == f"- [NOSUCH] epoch {epoch}"
        assert remote.ask("LIST", f"{other}.1") == f"- [NOSUCH] epoch {epoch}"


def test_uids_stay_and_are_those_of_pop3(gate):
    deliver_all(gate)
    with Remote(gate) as remote:
        remote.login()
        first = remote.list()
    path = next((gate.maildir() / "new").iterdir())
    path.rename(gate.maildir() / "cur" / f"{path.name}:2,S")
    deliver(gate, b"Subject: four\r\n\r\n")
    with Remote(gate) as remote:
        remote.login()
        assert remote.list()[:3] == first and len(remote.list()) == 4
        remote.say("ACK", remote.list()[3][0])
        remote.ask("SYNC")
        last = first[2][0].split(".")
        deliver(gate, b"Subject: five\r\n\r\n")
        assert remote.list()[3][0] == f"{last[0]}.{int(last[1]) + 2}", "the number of a deleted message is not given again"
        uids = [uid for uid, _ in remote.list()]
    with Wire(gate.port("pop3s")) as wire:
        from certificates import client_context
        wire.start_tls(client_context())
        wire.expect("+OK")
        wire.command(f"USER {library.USER}", "+OK")
        wire.command(f"PASS {library.PASSWORD}", "+OK")
        wire.send("UIDL\r\n")
        assert [line.split()[1].decode() for line in wire.multiline()[1:]] == uids


def test_a_damaged_index_begins_a_new_epoch(gate):
    deliver_all(gate)
    with Remote(gate) as remote:
        remote.login()
        first = remote.list()
    index = gate.maildir() / "gatepost-uids"
    index.write_bytes(index.read_bytes().replace(b" + ", b" ? ", 1))
    with Remote(gate) as remote:
        remote.login()
        assert remote.ask("PULL", first[1][0]).startswith("- [NOSUCH] epoch ")
        again = remote.list()
        assert [octets for _, octets in again] == [octets for _, octets in first]
        assert not {uid for uid, _ in again} & {uid for uid, _ in first}


def pop3_session(gate):
    wire = Wire(gate.port("pop3"))
    wire.expect("+OK")
    wire.command(f"USER {library.USER}", "+OK")
    wire.command(f"PASS {library.PASSWORD}", "+OK")
    return wire


def test_a_pop3_session_delays_deletion_and_nothing_else(gate):
    deliver_all(gate)
    with pop3_session(gate) as wire, Remote(gate) as remote:
        remote.login()
        frames = remote.pull()
        assert [text for _, text in frames] == TEXTS
        remote.say("ACK", frames[1][0])
        assert remote.ask("SYNC") == "+ SYNC 1"
        assert remote.ask("SYNC") == "+ SYNC 1"
        assert [uid for uid, _ in remote.list()] == [frames[0][0], frames[2][0]], "deleted for Remote Mail"
        assert len(gate.messages()) == 3
        wire.send("RETR 2\r\n")
        assert wire.multiline()[0].startswith(b"+OK"), "and there for the session that has it open"
        assert remote.ask("QUIT") == "+ BYE"
        wire.command("QUIT", "+OK")
        assert wire.at_eof()
    assert len(gate.messages()) == 3
    with pop3_session(gate) as wire:
        wire.command("STAT", "+OK 2 ")
        assert len(gate.messages()) == 2
        wire.command("QUIT", "+OK")


def test_acks_count_without_sync_or_quit(gate):
    deliver_all(gate)
    with Remote(gate) as remote:
        remote.login()
        uid = remote.list()[0][0]
        remote.say("ACK", uid)
        remote.wire.close()
    proc.wait_until(lambda: len(gate.messages()) == 2, 15, "the deletion of what was acknowledged")


def test_two_mirrors_side_by_side(gate):
    deliver_all(gate)
    with Remote(gate, mirror="a" * 16) as one, Remote(gate, mirror="b" * 16) as two:
        one.login()
        two.login()
        frames = one.pull()
        assert two.pull() == frames
        one.say("ACK", frames[0][0])
        two.say("ACK", frames[0][0])
        two.say("ACK", frames[1][0])
        assert one.ask("SYNC") == "+ SYNC 1"
        assert two.ask("SYNC").startswith("+ SYNC ")
        assert [uid for uid, _ in one.list()] == [uid for uid, _ in two.list()] == [frames[2][0]]


def test_a_newer_session_of_a_mirror_ends_the_older(gate):
    deliver_all(gate)
    with Remote(gate) as old:
        old.login()
        frames = old.pull()
        old.say("ACK", frames[0][0])
        assert old.ask("NOOP") == "+ NOOP"
        with Remote(gate) as new:
            assert new.login().startswith("+ "), "its owner is not locked out"
            proc.wait_until(old.ended, 15, "the end of the older session")
            assert [uid for uid, _ in new.list()] == [uid for uid, _ in frames[1:]]


def test_a_link_that_dies_without_a_word_locks_nobody_out(gate):
    deliver_all(gate, [b"Subject: x\r\n\r\n" + b"0123456789abcdef\r\n" * 200000] * 3)
    with Remote(gate, tls=False) as dead:
        dead.login()
        dead.say("PULL")
        dead.line()  # and nothing more is ever read
        with Remote(gate) as remote:
            remote.login()
            assert len(remote.pull()) == 3


def test_wait_tells_of_new_mail(gate):
    with Remote(gate) as remote:
        remote.login()
        remote.say("WAIT 60")
        timer = threading.Timer(0.3, deliver, (gate, TEXTS[0]))
        timer.start()
        assert remote.line() == "+ NEW"
        timer.join()
        assert [text for _, text in remote.pull()] == TEXTS[:1]
        assert remote.ask("WAIT 0") == "+ NONE"
        remote.say("WAIT 1")
        assert remote.line() == "+ NONE"
        remote.say("WAIT 60")
        assert remote.ask("NOOP") == "+ NONE" and remote.line() == "+ NOOP", "any octet ends it"
        deliver(gate, TEXTS[1])
        assert remote.ask("WAIT 60") == "+ NEW", "what came before the request counts"


@pytest.mark.parametrize("first", ["RM/2 test id=" + MIRROR, "EHLO me", "RM/1 test", "RM/1 test id=xyz", "RM/1 test id=" + "A" * 16,
                                   f"RM/1 test id={MIRROR} more", "", "RM/1  id=" + MIRROR, "x" * 600])
def test_another_first_line_is_refused(gate, first):
    with Remote(gate, tls=False, greet=False) as remote:
        assert remote.ask(first).startswith("- [SYNTAX] ")
        assert remote.ended()


@pytest.mark.parametrize("octets", [b"LIST\n", b"LI\0ST\r\n", b"LI\rST\r\n", b"x" * 600 + b"\r\n", b"ACK ../../etc\r\n",
                                    b"ACK\r\n", b"ACK 0\r\n", b"ACK 01234567.0\r\n", b"ACK 01234567.01\r\n"])
def test_what_breaks_the_dialogue_ends_it(gate, octets):
    with Remote(gate) as remote:
        remote.login()
        remote.wire.send(octets)
        assert remote.line().startswith("- [SYNTAX] ")
        assert remote.ended()


def test_refusals_have_codes_and_a_limit(gate):
    with Remote(gate) as remote:
        assert remote.ask("LIST").startswith("- [STATE] ")
        remote.login()
        for words in ("AUTH PLAIN AAAA", "XYZZY", "LIST ../x", "LIST 0 0", "PULL 0 5", "PULL 01234567.1 x",
                      "WAIT", "WAIT -1"):
            assert remote.ask(words).startswith("- ["), words
        assert remote.ask("LIST /etc/passwd").startswith("- [SYNTAX] ")
        assert remote.ended(), "the tenth"


def test_wrong_passwords(gate):
    with Remote(gate) as remote:
        for pair in ((library.USER, "wrong"), ("nobody@gatepost.test", library.PASSWORD)):
            plain = base64.b64encode(f"\0{pair[0]}\0{pair[1]}".encode()).decode()
            assert remote.ask("AUTH PLAIN", plain) == "- [AUTH] wrong name or password"
        assert remote.ask("AUTH PLAIN !!!").startswith("- [SYNTAX]")
        assert remote.ask("AUTH LOGIN AAAA").startswith("- [SYNTAX]")
        remote.login()
    for user in (library.USER, "nobody@gatepost.test"):
        gate.wait_for_log(rf"notice  dovecot: pop3-login: Aborted login \(auth failed, .*: user=<{user}>, .*, TLS, session=")
    assert library.PASSWORD not in gate.log()


def test_one_user_s_mail_is_not_another_s(gate):
    deliver_all(gate)
    deliver(gate, b"Subject: bert\r\n\r\n", OTHER)
    with Remote(gate) as anna, Remote(gate) as bert:
        anna.login()
        bert.login(OTHER)
        assert [text for _, text in bert.pull()] == [b"Subject: bert\r\n\r\n"]
        uid = anna.list()[0][0]
        bert.say("ACK", uid)
        bert.say("ACK", uid.split(".")[0] + ".999")
        assert bert.ask("SYNC") == "+ SYNC 0"
    assert len(gate.messages()) == 3


def test_a_session_killed_in_a_pull_deletes_nothing(gate):
    deliver_all(gate, [b"Subject: x\r\n\r\n" + b"0123456789abcdef\r\n" * 200000] * 3)
    before = set(gate.processes())
    with Remote(gate, tls=False) as remote:
        remote.login()
        remote.say("PULL")
        remote.line()
        (session,) = [pid for pid in set(gate.processes()) - before]
        os.kill(session, signal.SIGKILL)
        with pytest.raises(EOFError):
            remote.read_exactly(2**30)
    assert len(gate.messages()) == 3


def test_plain_logins_are_refused_where_the_operator_says_so():
    with library.Gatepost(sections({"mailstore": {"auth_without_tls": "no"}})) as gate:
        with Remote(gate, tls=False) as remote:
            assert remote.ask("AUTH PLAIN AAAA").startswith("- [TLS] ")
        with Remote(gate) as remote:
            remote.login()


def test_the_name_of_the_protocol_in_tls(gate):
    import ssl

    import certificates
    for names, selected in ((["remote-mail/1"], "remote-mail/1"), (["x", "remote-mail/1"], "remote-mail/1")):
        context = ssl.create_default_context(cafile=str(gate.folder / "ca.pem"))
        context.set_alpn_protocols(names)
        with socket.create_connection(("127.0.0.1", gate.port("remote"))) as plain:
            with context.wrap_socket(plain, server_hostname=certificates.HOSTNAME) as wrapped:
                assert wrapped.selected_alpn_protocol() == selected
    context = ssl.create_default_context(cafile=str(gate.folder / "ca.pem"))
    context.set_alpn_protocols(["pop3"])
    with socket.create_connection(("127.0.0.1", gate.port("remote"))) as plain, pytest.raises(ssl.SSLError):
        context.wrap_socket(plain, server_hostname=certificates.HOSTNAME)
