"""A full disk: senders are told to try again, nothing half is visible, mail can still be read and deleted (P4).

As root the mail store is a small file system of its own; without root the size of files is limited instead."""
import contextlib
import subprocess

import pytest

import fetch
import gatepost as library
import messages
import proc
import remote
from certificates import client_context
from wire import Wire, pop3_session, smtp_session

KIB = 1024
ENVELOPE = (("MAIL FROM:<bert@example.org>", "250"), (f"RCPT TO:<{library.USER}>", "250"))


@contextlib.contextmanager
def small_store(size_kib, inodes=1000, over=None):
    """A Gatepost whose mail store is a tmpfs of that size."""
    gate = library.Gatepost(over, users=())
    owner = gate.mail.stat()
    options = f"size={size_kib}k,nr_inodes={inodes},mode=700,uid={owner.st_uid},gid={owner.st_gid}"
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "gatepost-test", gate.mail], capture_output=True)
    if mounted.returncode:
        gate.remove()
        pytest.skip(f"no file system can be mounted here: {mounted.stderr.decode()}")
    try:
        gate.add_user(library.USER)
        with gate:
            yield gate
            subprocess.run(["umount", "--lazy", gate.mail], check=True)
    finally:
        subprocess.run(["umount", "--lazy", gate.mail], capture_output=True)


def send(gate, message, kind="plain", bdat=False):
    """Sends one message in a session of its own; the last line of the answer, which must leave the session usable."""
    with Wire(gate.port("smtp"), 30) as wire:
        smtp_session(wire, client_context(), kind).commands(*ENVELOPE)
        if bdat:
            wire.send(b"BDAT %d LAST\r\n" % len(message) + message)
        else:
            wire.command("DATA", "354")
            wire.send(messages.stuffed(message))
        answer = wire.reply()[-1]
        wire.command("NOOP", "250")
        wire.quit()
    return answer


def send_early(gate):
    """The answer to DATA, where nothing can even be begun."""
    with Wire(gate.port("smtp"), 30) as wire:
        smtp_session(wire).commands(*ENVELOPE)
        wire.send(b"DATA\r\n")
        answer = wire.line()
        wire.quit()
    return answer


def files(gate, folder):
    return sorted(path.name for path in (gate.maildir() / folder).glob("*"))


def trap(number, size=200 * KIB):
    return messages.trap_message(size, token=b"disk-%d" % number)


def fill(gate, **how):
    """Messages until one is refused; how many were taken."""
    for number in range(100):
        answer = send(gate, trap(number), **how)
        if not answer.startswith(b"250"):
            assert answer.startswith(b"452 4.3.1"), answer
            return number
    raise AssertionError("the disk is never full")


def own_parts(gate):
    return sorted(messages.own_part(octets) for octets in gate.messages())


@contextlib.contextmanager
def no_room(folder, left_kib=0):
    """Meanwhile so much of the file system is free, and no more."""
    filler = folder / "filler"
    with contextlib.suppress(OSError), open(filler, "wb", 0) as file:
        while True:  # to the last block
            file.write(b"f" * 4096)
    with open(filler, "r+b") as file:
        file.truncate(filler.stat().st_size - left_kib * KIB)
    try:
        yield
    finally:
        filler.unlink()


needs_root = pytest.mark.skipif(not library.AS_ROOT, reason="mount needs root")


@needs_root
@pytest.mark.parametrize("how", [{}, {"kind": "starttls"}, {"bdat": True}], ids=["DATA", "DATA under TLS", "BDAT"])
def test_p4_a_full_disk_is_452_and_shows_no_partial_message(how):
    with small_store(1200) as gate:
        taken = fill(gate, **how)
        assert taken > 0
        assert own_parts(gate) == sorted(trap(number) for number in range(taken)), "what was answered 250, whole"
        assert files(gate, "tmp") == []
        gate.wait_for_log("No space left on device")
        assert send(gate, trap(0), **how).startswith(b"452 4.3.1"), "and again"
        assert files(gate, "tmp") == []


@needs_root
def test_mail_on_a_full_disk_can_be_read_and_deleted_and_then_there_is_room_again():
    with small_store(1200) as gate:
        taken = fill(gate)
        (gate.maildir() / "filler").write_bytes(b"")
        with contextlib.suppress(OSError), open(gate.maildir() / "filler", "wb", 0) as filler:
            while True:  # to the last block
                filler.write(b"f" * 512)
        with Wire(gate.port("pop3s"), 30) as wire:
            pop3_session(wire, client_context(), "implicit")
            wire.command(f"USER {library.USER}", "+OK")
            wire.send(f"PASS {gate.password}\r\n")
            answer = wire.line()
            assert answer.startswith((b"+OK", b"-ERR [SYS/TEMP]"))
            if answer.startswith(b"+OK"):
                got = []
                for number in range(1, taken + 1):
                    wire.command(f"RETR {number}", "+OK")
                    got.append(messages.own_part(b"".join(line + b"\r\n" for line in wire.multiline())))
                    wire.command(f"DELE {number}", "+OK")
                assert sorted(got) == sorted(trap(number) for number in range(taken))
                wire.quit()
        assert answer.startswith(b"-ERR") or gate.messages() == []
        (gate.maildir() / "filler").unlink()
        gate.clear()
        assert send(gate, trap(0)).startswith(b"250")
        assert own_parts(gate) == [trap(0)]


@needs_root
def test_p4_a_disk_without_room_for_a_name_is_452_too():
    """Not an octet is left, nor an inode: no folder and no file can be made."""
    with small_store(400, inodes=40) as gate:
        with contextlib.suppress(OSError):
            for number in range(100):
                (gate.mail / f"inode-{number}").touch()
        assert send_early(gate).startswith(b"452 4.3.1")
        assert gate.messages() == []
        for used in gate.mail.glob("inode-*"):
            used.unlink()
        assert send(gate, trap(0, 9000)).startswith(b"250")


def test_p4_a_message_larger_than_files_may_be_is_refused_for_now_and_not_there():
    """RLIMIT_FSIZE, which needs no root; the log and the sanitizers' reports stay below it."""
    with library.Gatepost(prefix=("prlimit", f"--fsize={1024 * KIB}:{1024 * KIB}")) as gate:
        assert send(gate, trap(0, 1500 * KIB)).startswith(b"452 4.3.1")
        assert gate.messages() == [] and files(gate, "tmp") == []
        assert send(gate, trap(1)).startswith(b"250")
        assert own_parts(gate) == [trap(1)]
        assert proc.alive(gate.smtpd()[0])


def upload_of(size):
    line = b"0123456789abcdef" * 4 + b"\r\n"
    return b"Subject: up\r\n\r\n" + line * (size // len(line))


def go_on(gate, id, text):
    """What is kept of an upload, then the answer to the rest of it, in a session of its own."""
    with remote.Remote(gate) as session:
        session.login()
        state = session.ask("HAVE", id).split()[-1]
        offset = len(text) if state == "DONE" else int(state)
        session.wire.send(remote.push_octets(id, text, [library.USER], offset=offset))
        return offset, session.line()


# (octets, KiB that are free): nothing of it, some of it, all but its delivery, all but the record of its delivery
@needs_root
@pytest.mark.parametrize("size, room", [(100 * KIB, 0), (100 * KIB, 4), (900 * KIB, 300), (900 * KIB, 908),
                                        (900 * KIB, 1000), (100 * KIB, 108), (100 * KIB, 112), (100 * KIB, 116)])
def test_an_upload_to_a_full_disk_is_to_be_tried_again_and_goes_on_where_it_was(size, room):
    text, id = upload_of(size), remote.upload_id()
    with small_store(4000, over=remote.sections()) as gate:
        assert go_on(gate, remote.upload_id(), upload_of(1000))[1].endswith(" DONE")
        gate.clear()
        with no_room(gate.mail, room):
            for attempt in range(2):
                before, answer = go_on(gate, id, text)
                assert answer.startswith(f"- [TEMP] PUSH {id} "), answer
                assert before == 0 or attempt == 1
            with remote.Remote(gate) as session:
                session.login()
                have = int(session.ask("HAVE", id).split()[-1])
            assert have <= len(text) and have >= min(len(text), max(0, room - 24) * KIB) and files(gate, "tmp") == []
            part = gate.maildir() / "gatepost-uploads" / f"{id}.part"
            assert part.read_bytes() == text[:have] if have else not part.exists() or part.stat().st_size == 0
            assert gate.messages() == []
        gate.wait_for_log("No space left on device")
        before, answer = go_on(gate, id, text)
        assert (before, answer) == (have, f"+ PUSH {id} DONE")
        assert [message[message.index(b"Subject:"):] for message in gate.messages()] == [text]
        kept = (gate.maildir() / "gatepost-uploads").iterdir()
        assert {path.suffix for path in kept} == {".done"}, "and nothing else takes room"


@contextlib.contextmanager
def small_folder(folder, size_kib):
    """A tmpfs of that size at `folder`."""
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size_kib}k,mode=700", "gatepost-test", folder], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


@needs_root
def test_a_message_is_handed_to_no_command_where_its_line_in_the_journal_may_have_no_room():
    """The message itself has room, and so has the beginning of the journal: what is missing is the next page of it."""
    with library.Gatepost(remote.sections()) as gate, fetch.Site() as site, small_folder(site.maildir, 400):
        command = f"cat >> {site.folder}/taken"
        assert site.run(gate, gate.port("remote"), "--mda", command).returncode == fetch.OK
        remote.deliver(gate, upload_of(1000))
        with no_room(site.maildir, 4):
            for _ in range(2):
                result = site.run(gate, gate.port("remote"), "--mda", command)
                assert result.returncode in (73, 74) and "No space left on device" in result.stderr, result.words
                assert not (site.folder / "taken").exists()
                assert len(gate.messages()) == 1
        for _ in range(2):
            result = site.run(gate, gate.port("remote"), "--mda", command)
            assert result.returncode == fetch.OK, result.words
            assert (site.folder / "taken").read_bytes().replace(b"\n", b"\r\n") == upload_of(1000)
        assert gate.messages() == [] and site.paths("tmp") == []
