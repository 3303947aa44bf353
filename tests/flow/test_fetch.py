"""gatepost-fetch against the real server: what is in its Maildir, and what is left on the server."""
import contextlib
import hashlib
import json
import os
import pty
import re
import signal
import socket
import ssl
import subprocess
import threading

import gatepost as library
import proc
import pytest
from backend import Backend, smtp_script
from remote import deliver, sections

OTHER = "bert@gatepost.test"
PROGRAM = library.BUILD / "tools" / "gatepost-fetch"
TEXTS = [b"Subject: one\r\n\r\nHello\r\n", b"Subject: two\r\n\r\n.\r\n..\r\nM 0 0 0\r\n+ PULL 9\r\n",
         b"Subject: three\r\n\r\n" + b"a line of the third message\r\n" * 3000]
OK, USAGE, DATAERR, NOHOST, UNAVAILABLE, TEMPFAIL, PROTOCOL, NOPERM, CONFIG = 0, 64, 65, 68, 69, 75, 76, 77, 78


@pytest.fixture(scope="module")
def gate():
    with library.Gatepost(sections(), users=(library.USER, OTHER)) as running:
        yield running


@pytest.fixture(autouse=True)
def clean(gate):
    for user in (library.USER, OTHER):
        gate.clear(user)


class Local:
    """A local Maildir and the program that fills it."""

    def __init__(self, gate, folder):
        folder.mkdir(exist_ok=True)
        self.gate, self.folder, self.maildir = gate, folder, folder / "Maildir"
        self.environment = {**gate.environment, **library.sanitizer_environment(folder)}

    def command(self, *more, tls=True, user=library.USER, host="localhost"):
        words = [PROGRAM, f"{host}:{self.gate.port('remote')}", "-u", user, "-m", self.maildir, "--password-fd", 0,
                 "--retries", 0]
        words += ["--ca", self.gate.folder / "ca.pem"] if tls else ["--plain"]
        return [str(word) for word in [*words, *more]]

    def run(self, *more, code=OK, password=library.PASSWORD, **how):
        result = subprocess.run(self.command(*more, **how), input=password + "\n", capture_output=True, text=True,
                                timeout=60, env=self.environment, cwd=self.folder)
        assert result.returncode == code, f"{result.returncode}\n{result.stdout}{result.stderr}"
        reports = "\n".join(path.read_text() for path in (self.folder / "sanitizer").iterdir())
        assert not reports, reports
        return result

    def messages(self):
        """With CRLF line ends, in the order in which they came."""
        paths = [path for part in ("new", "cur") for path in (self.maildir / part).glob("*")]
        paths.sort(key=lambda path: int(path.name.split(".")[1].split("_")[2]))
        return [path.read_bytes().replace(b"\n", b"\r\n") for path in paths]


@pytest.fixture
def local(gate, tmp_path):
    return Local(gate, tmp_path)


@pytest.mark.parametrize("tls", [True, False])
def test_all_mail_comes_and_is_gone_from_the_server(gate, local, tls):
    for text in TEXTS:
        deliver(gate, text)
    local.run(tls=tls)
    assert local.messages() == TEXTS
    assert gate.messages() == []
    assert list((local.maildir / "tmp").iterdir()) == []
    deliver(gate, TEXTS[0])
    local.run(tls=tls)
    assert local.messages() == TEXTS + TEXTS[:1]


def test_keep_leaves_it_there_and_fetches_nothing_twice(gate, local):
    for text in TEXTS[:2]:
        deliver(gate, text)
    local.run("--keep")
    local.run("--keep")
    assert local.messages() == TEXTS[:2] and len(gate.messages()) == 2
    deliver(gate, TEXTS[2])
    local.run("--keep")
    assert local.messages() == TEXTS and len(gate.messages()) == 3
    local.run()
    assert local.messages() == TEXTS and gate.messages() == []


def test_numbers_that_begin_anew_store_nothing_twice(gate, local):
    for text in [*TEXTS, TEXTS[0]]:
        deliver(gate, text)
    local.run("--keep")
    (gate.maildir() / "gatepost-uids").unlink()
    deliver(gate, TEXTS[0])
    local.run("--keep")
    assert local.messages().count(TEXTS[0]) == 3 and len(local.messages()) == 5
    local.run()
    assert len(local.messages()) == 5 and gate.messages() == []


def test_a_wrong_password(gate, local):
    deliver(gate, TEXTS[0])
    result = local.run(code=NOPERM, password="wrong")
    assert "refuses the login of anna@gatepost.test" in result.stderr
    assert gate.messages() == TEXTS[:1] and local.messages() == []


def test_another_mailbox_is_refused_before_anything_is_sent(gate, local):
    local.run()
    deliver(gate, TEXTS[0], OTHER)
    result = local.run(code=CONFIG, user=OTHER)
    assert "mirrors the mailbox of anna@gatepost.test at localhost" in result.stderr
    assert gate.messages(OTHER) == TEXTS[:1]


@pytest.mark.parametrize("more", [[], ["--fingerprint", "00" * 32]])
def test_a_certificate_that_is_not_trusted_gets_no_password(gate, local, more):
    before = gate.log().count("auth failed")
    words = [word for word in local.command(*more) if word not in ("--ca", str(gate.folder / "ca.pem"))]
    result = subprocess.run(words, input="secret\n", capture_output=True, text=True, timeout=60, env=local.environment)
    assert result.returncode == PROTOCOL and "certificate" in result.stderr
    assert gate.log().count("auth failed") == before, "the password was wrong, and nobody has seen it"


@pytest.mark.parametrize("port", ["pop3s", "smtp"])
def test_another_port_of_the_server(gate, local, port):
    command = [word.replace(str(gate.port("remote")), str(gate.port(port))) for word in local.command()]
    result = subprocess.run(command, input="secret\n", capture_output=True, text=True, timeout=60, env=local.environment)
    assert result.returncode == PROTOCOL, result.stderr
    assert "what it speaks on this port is not Remote Mail; another port is given as HOST:PORT" in result.stderr


# sending

def put(local, text, to, sender=library.USER, name=None):
    """A message in the outbox, as a mail program leaves it."""
    folder = local.folder / "outbox"
    for part in ("new", "cur", "tmp"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    head = f"From: <{sender}>\r\nTo: {', '.join(to)}\r\n".encode()
    name = name or f"{len(list((folder / 'new').iterdir())) + 1}.put.test"
    (folder / "tmp" / name).write_bytes((head + text).replace(b"\r\n", b"\n"))
    (folder / "tmp" / name).rename(folder / "new" / name)
    return head + text


def bodies(gate, user):
    """What was delivered, without the lines that the server has put in front."""
    return [text[text.index(b"From: <"):] for text in gate.messages(user)]


@pytest.mark.parametrize("tls", [True, False])
def test_mail_goes_up_and_down_on_one_connection(gate, local, tls):
    deliver(gate, TEXTS[0])
    sent = [put(local, b"Subject: up\r\nDate: Mon, 1 Jan 2024 00:00:00 +0000\r\nMessage-ID: <%d@x>\r\n\r\n" % i + b"Hello\r\n" * i,
                [OTHER]) for i in (1, 2, 100000)]
    result = local.run("-o", local.folder / "outbox", "--json", tls=tls)
    said = json.loads(result.stdout)
    assert said["sent"]["messages"] == 3 and said["received"] == {"messages": 1, "octets": len(TEXTS[0])}
    assert (said["connections"], said["exit"], said["refused"], said["error"]) == (1, OK, [], None)
    assert sorted(bodies(gate, OTHER)) == sorted(sent)
    assert local.messages() == TEXTS[:1]
    assert list((local.folder / "outbox" / "new").iterdir()) == []


def outbox_names(local, *parts):
    return sorted(path.name for part in parts or ("new", "cur") for path in (local.folder / "outbox" / part).glob("*"))


BODY = b"Subject: up\r\nDate: Mon, 1 Jan 2024 00:00:00 +0000\r\nMessage-ID: <1@x>\r\n\r\nHello\r\n"


def test_what_is_refused_for_good_leaves_the_outbox_with_the_reason(gate, local):
    deliver(gate, TEXTS[0])
    good = put(local, BODY, [OTHER])
    put(local, BODY, [OTHER, "nobody@gatepost.test"], name="bad.put.test")
    put(local, BODY, ["somebody@elsewhere.example"], name="far.put.test")
    result = local.run("-o", local.folder / "outbox", "--json", code=DATAERR)
    said = json.loads(result.stdout)
    assert sorted(one["file"] for one in said["refused"]) == ["bad.put.test", "far.put.test"]
    reasons = {one["file"]: one["reason"] for one in said["refused"]}
    assert reasons["bad.put.test"] == "no such user here: <nobody@gatepost.test>"
    assert "other domains" in reasons["far.put.test"]
    assert "2 messages will not be sent" in said["error"]
    assert bodies(gate, OTHER) == [good], "neither held up by the others"
    assert local.messages() == TEXTS[:1]
    assert outbox_names(local) == []
    assert len(list((local.folder / "outbox" / ".Failed" / "new").iterdir())) == 2
    local.run("-o", local.folder / "outbox")


def test_sent_messages_are_kept_where_that_is_asked_for(gate, local):
    sent = put(local, BODY, [OTHER])
    local.run("-o", local.folder / "outbox", "--sent", local.folder / "Sent")
    (path,) = [path for part in ("new", "cur") for path in (local.folder / "Sent" / part).iterdir()]
    assert path.read_bytes().replace(b"\n", b"\r\n") == sent
    assert bodies(gate, OTHER) == [sent]


def test_recipients_here_and_elsewhere_are_sent_messages_of_their_own(tmp_path):
    folder = library.make_folder()
    with Backend(folder / "relay.sock", smtp_script(relay=True)) as relay:
        (folder / "relay.sock").chmod(0o777)
        over = {"mailstore": {"relay": f"unix:{folder}/relay.sock"}}
        with library.Gatepost(sections(over), users=(library.USER, OTHER)) as gate:
            local = Local(gate, tmp_path)
            text = put(local, BODY, ["a@elsewhere.example", OTHER, "b@elsewhere.example"])
            local.run("-o", local.folder / "outbox")
            assert bodies(gate, OTHER) == [text]
            assert sum(len(connection.messages) for connection in relay.connections) == 1
            assert outbox_names(local) == []


def test_a_large_message_that_the_server_does_not_take_costs_no_time(tmp_path):
    with library.Gatepost(sections({"mailstore": {"message_size_limit": "1MiB"}}), users=(library.USER, OTHER)) as gate:
        local = Local(gate, tmp_path)
        put(local, BODY + b"x" * 70 + b"\r\n" + (b"y" * 70 + b"\r\n") * 60000, [OTHER])
        good = put(local, BODY, [OTHER])
        result = local.run("-o", local.folder / "outbox", "--json", code=DATAERR)
        assert "larger than the server takes" in json.loads(result.stdout)["refused"][0]["reason"]
        assert json.loads(result.stdout)["sent"]["octets"] == len(good)
        assert bodies(gate, OTHER) == [good]


def test_a_large_message_that_has_to_wait_holds_up_nothing_else(tmp_path):
    with library.Gatepost(sections({"mailstore": {"push_quota": "2MiB"}}), users=(library.USER, OTHER)) as gate:
        local = Local(gate, tmp_path)
        deliver(gate, TEXTS[0])
        put(local, BODY + (b"y" * 70 + b"\r\n") * 60000, [OTHER], name="1.large.test")
        good = put(local, BODY, [OTHER])
        for connections in (2, 2):
            result = local.run("-o", local.folder / "outbox", "--json", code=TEMPFAIL)
            said = json.loads(result.stdout)
            assert said["error"] == "not sent yet: 1.large.test: unfinished uploads take too much room"
            assert said["connections"] == connections, "it is not sent to its end, and not a second time"
        assert bodies(gate, OTHER) == [good] and local.messages() == TEXTS[:1]
        assert outbox_names(local) == ["1.large.test"]


def test_a_message_that_another_account_must_finish_waits_and_nothing_is_wrong(tmp_path):
    with library.Gatepost(sections({"mailstore": {"push_quota": "2MiB"}}), users=(library.USER, OTHER)) as gate:
        local, other = Local(gate, tmp_path), Local(gate, tmp_path / "other")
        put(local, BODY + (b"y" * 70 + b"\r\n") * 60000, [OTHER], name="1.large.test")
        local.run("-o", local.folder / "outbox", code=TEMPFAIL)
        good = put(local, BODY, [library.USER], sender=OTHER)
        result = other.run("-o", local.folder / "outbox", "--json", user=OTHER, code=OK)
        said = json.loads(result.stdout)
        words = f"it was begun for {library.USER}@localhost, who must finish it"
        assert said["waiting"] == [{"file": "1.large.test", "reason": words}] and said["refused"] == []
        assert f"1.large.test waits: {words}" in result.stderr
        assert bodies(gate, library.USER) == [good], "held up by nothing"
        assert outbox_names(local) == ["1.large.test"]
        with watching(other, "-v", "-o", local.folder / "outbox", user=OTHER) as process:
            for number in (1, 2):
                put(local, BODY, [library.USER], sender=OTHER)
                proc.wait_until(lambda: len(bodies(gate, library.USER)) == 1 + number, 30, "what goes up")
            process.send_signal(signal.SIGTERM)
            assert process.communicate(timeout=60)[1].count(" waits: ") == 1, "told once"


# waiting

@contextlib.contextmanager
def watching(local, *more, **how):
    process = subprocess.Popen(local.command("--watch", *more, **how), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE, text=True, env=local.environment, cwd=local.folder)
    process.stdin.write(library.PASSWORD + "\n")
    process.stdin.flush()
    try:
        yield process
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            process.communicate(timeout=60)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == OK


def test_watching_brings_new_mail_and_sends_what_is_put_in(gate, local):
    (local.folder / "outbox" / "new").mkdir(parents=True)
    with watching(local, "-o", local.folder / "outbox"):
        deliver(gate, TEXTS[0])
        proc.wait_until(lambda: local.messages() == TEXTS[:1] and gate.messages() == [], 30, "the first message")
        deliver(gate, TEXTS[1])
        proc.wait_until(lambda: local.messages() == TEXTS[:2] and gate.messages() == [], 30, "the second one")
        sent = put(local, BODY, [OTHER])
        proc.wait_until(lambda: bodies(gate, OTHER) == [sent] and outbox_names(local) == [], 30, "the one that goes up")
        deliver(gate, TEXTS[2])
        proc.wait_until(lambda: local.messages() == TEXTS and gate.messages() == [], 30, "the third one")
    assert gate.log().count(f"user {library.USER}, TLSv1.3, 1 pushed, 3 pulled, 3 deleted") == 1, "all on one connection"


def test_watching_outlives_a_server_that_is_away(tmp_path):
    with library.Gatepost(sections(), users=(library.USER, OTHER)) as gate:
        local = Local(gate, tmp_path)
        with watching(local):
            deliver(gate, TEXTS[0])
            proc.wait_until(lambda: local.messages() == TEXTS[:1], 30, "the first message")
            gate.stop()
            deliver(gate, TEXTS[1])
            gate.start()
            proc.wait_until(lambda: local.messages() == TEXTS[:2], 60, "what came meanwhile")


def test_a_second_run_on_one_maildir_leaves_it_alone(gate, local):
    with watching(local):
        proc.wait_until(lambda: (local.maildir / "gatepost-fetch" / "journal").exists(), 30, "a run that works")
        result = local.run(code=TEMPFAIL)
        assert "another gatepost-fetch works on this Maildir" in result.stderr
        deliver(gate, TEXTS[0])
        proc.wait_until(lambda: local.messages() == TEXTS[:1], 30, "the first run's message")


# a command instead of the Maildir

def test_each_message_is_handed_to_a_command(gate, local):
    for text in TEXTS:
        deliver(gate, text)
    local.run("--mda", "cat >> taken; echo noise")
    assert (local.folder / "taken").read_bytes().replace(b"\n", b"\r\n") == b"".join(TEXTS)
    assert gate.messages() == [] and local.messages() == []


def test_what_a_command_does_not_take_waits(gate, local):
    for text in TEXTS:
        deliver(gate, text)
    result = local.run("--mda", "test -e ready && cat >> taken || exit 75; touch last", code=TEMPFAIL)
    assert "did not take a message" in result.stderr
    assert len(gate.messages()) == 3 and not (local.folder / "taken").exists()
    (local.folder / "ready").touch()
    local.run("--mda", "cat >> taken")
    assert (local.folder / "taken").read_bytes().replace(b"\n", b"\r\n") == b"".join(TEXTS)
    assert gate.messages() == [] and list((local.maildir / "tmp").iterdir()) == []


# what is wrong

@pytest.mark.parametrize("words, said", [
    ([], "which host"), (["a", "b"], "one host only"), (["a:b"], "not a host"), (["a:0"], "not a host"), (["[::1"], "not a host"),
    ([":109"], "not a host"), (["a", "--plain", "--ca", "x"], "no certificate"), (["a", "--fingerprint", "12"], "not a SHA-256"),
    (["a", "--ca", "x", "--fingerprint", "0" * 64], "which of them"), (["a", "--retries", "-1"], "not a number"),
    (["a", "--sent", "x", "-m", "y"], "--sent needs an outbox"),
    (["a", "--sender", "a@b", "-m", "y"], "--sender needs an outbox"),
    (["a", "--password-fd", "3", "--password-command", "x"], "which of them")])
def test_a_command_line_that_is_wrong(words, said):
    result = subprocess.run([PROGRAM, *words], capture_output=True, text=True, timeout=60)
    assert result.returncode == USAGE and said in result.stderr


def complete(folder, *words):
    """What bash offers for these words, of which the last one is being typed."""
    script = f"""source {library.ROOT}/tools/fetch/gatepost-fetch.bash
COMP_WORDS=(gatepost-fetch "$@"); COMP_CWORD=$#; _gatepost_fetch
[ ${{#COMPREPLY[@]}} -eq 0 ] || printf '%s\\n' "${{COMPREPLY[@]}}" """
    result = subprocess.run(["bash", "--norc", "--noprofile", "-c", script, "bash", *words], capture_output=True, text=True,
                            timeout=30, cwd=folder)
    assert result.stderr == "", result.stderr
    return sorted(set(result.stdout.splitlines()))


@pytest.mark.parametrize("words, offered", [
    (("--pa",), ["--password-command", "--password-fd"]), (("mail.example.org", "--w"), ["--watch"]),
    (("-m", ""), ["Mail", "Other"]), (("--sent", "=", "M"), ["Mail"]), (("--sent", "="), ["Mail", "Other"]),
    (("--ca", "c"), ["ca.pem"]), (("--mda", "sha256su"), ["sha256sum"]), (("--retries", ""), []), (("-u", "-"), [])])
def test_bash_is_offered_what_may_follow(tmp_path, words, offered):
    for name in ("Mail", "Other"):
        (tmp_path / name).mkdir()
    (tmp_path / "ca.pem").touch()
    assert complete(tmp_path, *words) == offered


def test_every_option_is_offered_and_stands_in_the_manual(tmp_path):
    told = subprocess.run([PROGRAM, "--help"], capture_output=True, text=True, timeout=60).stdout
    options = set(re.findall(r"(?<![\w-])--?[a-zA-Z?][a-z-]*", told[told.index("--ca"):told.index("Mandatory")]))
    assert set(complete(tmp_path, "-")) == options and len(options) > 20
    manual = (library.ROOT / "tools" / "fetch" / "gatepost-fetch.1").read_text().replace("\\-", "-")
    for option in options - {"-?", "--help", "--usage", "-V", "--version"}:
        assert re.search(rf"^\.It Fl (\w , )?{re.escape(option[1:])}\b", manual, re.M), option


def test_servers_that_are_not_there(gate, local):
    words = local.command()
    for host, code, said in (("localhost:1", UNAVAILABLE, "does not answer on port 1: "),
                             ("no-such-host.invalid", NOHOST, "no-such-host.invalid is not known")):
        words[1] = host
        result = subprocess.run([*words, "-m", str(local.folder / host.partition(":")[0])], input="x\n", capture_output=True,
                                text=True, timeout=60, env=local.environment)
        assert (result.returncode, said in result.stderr) in ((code, True), (UNAVAILABLE, "failure in name" in result.stderr)), \
            result.stderr


def test_the_right_fingerprint(gate, local):
    deliver(gate, TEXTS[0])
    text = (gate.folder / "cert.pem").read_text()
    digest = hashlib.sha256(ssl.PEM_cert_to_DER_cert(text[:text.index("-----END CERTIFICATE-----") + 26])).hexdigest()
    words = [word for word in local.command("--fingerprint", ":".join(digest[i:i + 2] for i in range(0, 64, 2)).upper())
             if word not in ("--ca", str(gate.folder / "ca.pem"))]
    result = subprocess.run(words, input=library.PASSWORD + "\n", capture_output=True, text=True, timeout=60,
                            env=local.environment)
    assert (result.returncode, local.messages()) == (OK, TEXTS[:1]), result.stderr


def test_the_password_is_in_no_argument_no_environment_and_no_output(gate, local):
    with watching(local, "-v") as process:
        proc.wait_until(lambda: (local.maildir / "gatepost-fetch" / "journal").exists(), 30, "a run that works")
        for name in ("cmdline", "environ"):
            assert library.PASSWORD.encode() not in open(f"/proc/{process.pid}/{name}", "rb").read()
    for path in local.folder.rglob("*"):
        assert not path.is_file() or library.PASSWORD.encode() not in path.read_bytes()


def test_a_password_from_a_command(gate, local):
    deliver(gate, TEXTS[0])
    words = local.command("--password-command", f"echo '{library.PASSWORD}'; echo more")
    at = words.index("--password-fd")
    del words[at:at + 2]
    result = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, env=local.environment)
    assert (result.returncode, local.messages()) == (OK, TEXTS[:1]), result.stderr


def test_progress_and_summary_at_a_terminal(gate, local):
    for _ in range(5):
        deliver(gate, TEXTS[2])
    words = local.command()
    ours, theirs = pty.openpty()
    process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=theirs,
                               env={**local.environment, "TERM": "xterm"})
    os.close(theirs)
    process.stdin.write(library.PASSWORD.encode() + b"\n")
    process.stdin.close()
    seen = b""
    with contextlib.suppress(OSError):
        while more := os.read(ours, 65536):
            seen += more
    os.close(ours)
    assert process.wait(60) == OK and process.stdout.read() == b""
    process.stdout.close()
    assert b"receiving 1 of 5" in seen and b"received 5 messages" in seen, seen


def test_the_maildir_s_disk_is_full(gate, local):
    for text in TEXTS:
        deliver(gate, text)
    words = ["prlimit", "--fsize=2000", *local.command()]
    result = subprocess.run(words, input=library.PASSWORD + "\n", capture_output=True, text=True, timeout=60,
                            env=local.environment)
    assert result.returncode == 74 and "File too large" in result.stderr, result.stderr
    assert local.messages() == TEXTS[:2]
    local.run()
    assert local.messages() == TEXTS and gate.messages() == []


def test_a_signal_ends_a_run_and_what_has_come_is_kept(gate, local):
    """The link is one that the server's side has stopped to read and write."""
    for text in [*TEXTS, b"Subject: large\r\n\r\n" + b"0123456789abcdef\r\n" * 200000]:
        deliver(gate, text)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        words = [word.replace(str(gate.port("remote")), str(listener.getsockname()[1])) for word in local.command(tls=False)]
        process = subprocess.Popen(words, stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=local.environment)
        process.stdin.write(library.PASSWORD + "\n")
        process.stdin.flush()
        client, _ = listener.accept()
        with client, socket.create_connection(("127.0.0.1", gate.port("remote"))) as server:
            threading.Thread(target=pump, args=(client, server), daemon=True).start()
            left = 200000
            while left > 0:
                more = server.recv(min(left, 65536))
                client.sendall(more)
                left -= len(more)
            proc.wait_until(lambda: local.messages() == TEXTS, 30, "the whole ones")
            process.send_signal(signal.SIGTERM)
            said = process.communicate(timeout=60)[1]
    assert (process.returncode, "stopped by a signal" in said) == (TEMPFAIL, True), said
    (part,) = (local.maildir / "tmp").iterdir()
    assert part.stat().st_size > 50000
    result = local.run("--json")
    assert len(local.messages()) == 4 and gate.messages() == []
    assert json.loads(result.stdout)["connections"] == 1


def pump(source, sink):
    with contextlib.suppress(OSError):
        while more := source.recv(65536):
            sink.sendall(more)
