"""What stands in an outbox is delivered exactly once, whole, to whom it names, and nobody learns of the blind copies: over
kills between any two system calls, two runs at once, and the odd things that mail programs write."""
import collections
import json
import queue
import re
import signal
import threading

import gatepost as library
import proc
import pytest
from backend import Backend, smtp_script
from fetch import DATA, OK, TEMPFAIL, USAGE, Site
from liar import Liar
from remote import sections

ANNA, BERT, CLEO, DORA = library.USER, *(f"{name}@gatepost.test" for name in ("bert", "cleo", "dora"))
USERS = (ANNA, BERT, CLEO, DORA)
BODY = b"Subject: up\r\n\r\nHello\r\n"
# Whatever changes a file, and whatever goes over the link or comes from it.
STEPS = "openat,write,sendto,read,recvfrom,fsync,renameat,renameat2,rename,unlink,unlinkat,linkat,mkdirat,flock"


@pytest.fixture(scope="module")
def gate():
    with library.Gatepost(sections(), users=USERS) as running:
        yield running


@pytest.fixture(autouse=True)
def clean(gate):
    for user in USERS:
        gate.clear(user)


@pytest.fixture
def site():
    with Site() as here:
        yield here


def run(site, gate, *more, code=OK, **how):
    result = site.run(gate, gate.port("remote"), "--json", *more, tls=False, **how)
    assert result.returncode == code, result.words
    return result


def place(site, text, name="1.site"):
    """A message as it is, without the fields that site.put() adds."""
    for part in ("new", "cur", "tmp"):
        (site.outbox / part).mkdir(parents=True, exist_ok=True)
    (site.outbox / "new" / name).write_bytes(text)


def received(gate, user):
    """What `user` has, without the lines that the server puts in front."""
    return [re.sub(rb"\A(Return-Path|Received): .*\r\n(\s.*\r\n)*(Received: .*\r\n(\s.*\r\n)*)?", b"", text)
            for text in gate.messages(user)]


def records(site):
    return sorted(path.name for path in (site.outbox / "gatepost-fetch").glob("*") if path.name[0] != ".")


def test_many_recipients_in_many_spellings_and_no_word_of_the_blind_ones(gate, site):
    place(site, b"From: =?utf-8?q?Anna_=C3=84?= <" + ANNA.encode() + b">\nTo: \"Bert, B.\"\n (the \\) first) <" + BERT.encode()
          + b">,\n Friends: " + BERT.replace("gatepost.test", "GatePost.TEST").encode() + b", , ;\nBcc : hidden <" + CLEO.encode()
          + b">\n ,\n\t" + DORA.encode() + b"\nSubject: many\nReturn-Path: <" + ANNA.encode()
          + b">\n\nBcc: of the body\nbare CR \r here, no end")
    run(site, gate)
    texts = [received(gate, user) for user in (BERT, CLEO, DORA)]
    assert texts[0] == texts[1] == texts[2] and len(texts[0]) == 1, texts
    head, _, body = texts[0][0].partition(b"\r\n\r\n")
    assert body == b"Bcc: of the body\r\nbare CR \r\n here, no end\r\n"
    assert b"hidden" not in head and CLEO.encode() not in head and DORA.encode() not in head and b"\nBcc" not in head and b"\nReturn-Path" not in head
    assert re.match(rb"Date: \w{3}, \d+ \w{3} \d{4} [\d:]{8} [+-]\d{4}\r\nMessage-ID: <[0-9a-f]{32}@gatepost.test>\r\nFrom: ", head)
    assert site.unsent() == {} and records(site) == []


def test_what_cannot_be_sent_is_put_aside_and_holds_up_nothing(gate, site):
    bad = {"1.none": b"From: " + ANNA.encode() + b"\n\nnobody\n", "2.empty": b"", "3.mbox": b"From a\nTo: x@y\n\n",
           "4.utf8": b"From: " + ANNA.encode() + b"\nTo: j\xc3\xb6rg@gatepost.test\n\n"}
    for name, text in bad.items():
        place(site, text, name)
    place(site, f"From: {ANNA}\nTo: nobody@gatepost.test\n\n".encode(), "5.nobody")
    site.put(BODY, [BERT])
    result = run(site, gate, code=DATA)
    failed = {path.name: path.read_bytes() for path in (site.outbox / ".Failed" / "new").iterdir()}
    assert failed.keys() == {*bad, "5.nobody"} and all(failed[name] == text for name, text in bad.items())
    log = (site.outbox / ".Failed" / "gatepost-fetch.log").read_text()
    for name, words in (("1.none", "no recipient in To, Cc or Bcc"), ("2.empty", "the file is empty"),
                        ("3.mbox", "line 1 of the header is no field"), ("4.utf8", r"To: not ASCII: j\xc3\xb6rg@"),
                        ("5.nobody", "no such user here: <nobody@gatepost.test>")):
        assert re.search(rf"^\S+ {name}: .*{re.escape(words)}", log, re.M), log
        assert words in result.stdout.replace("\\\\", "\\"), result.words
    assert len(gate.messages(BERT)) == 1
    assert site.unsent() == {}


def test_two_sites_with_one_outbox_send_each_message_once(gate, site):
    """Two mirrors of one mailbox, on one machine: the lock of the outbox keeps them apart."""
    for number in range(20):
        site.put(b"Subject: %d\r\n\r\n" % number + b"x" * 70 + b"\r\n", [BERT])
    with Site() as other:
        runs = [here.start(gate, gate.port("remote"), "-o", site.outbox, tls=False) for here in (site, other, site, other)]
        codes = [(process.communicate(timeout=100), process.returncode) for process in runs]
    assert {code for _, code in codes} <= {OK, TEMPFAIL} and OK in {code for _, code in codes}, codes
    run(site, gate)
    subjects = sorted(int(re.search(rb"^Subject: (\d+)\r$", text, re.M)[1]) for text in gate.messages(BERT))
    assert subjects == list(range(20))
    assert site.unsent() == {} and records(site) == []


def test_the_sender_that_is_given(gate, site):
    for sender, path in ((ANNA, ANNA), ("", "")):
        gate.clear(BERT)
        site.put(BODY, [BERT], sender="somebody@elsewhere.example")
        run(site, gate, "--sender", sender)
        (text,) = gate.messages(BERT)
        assert text.startswith(f"Return-Path: <{path}>\r\n".encode())
    site.put(BODY, [BERT])
    for wrong in ("anna", "a@b, c@d", "Anna"):
        result = site.run(gate, gate.port("remote"), "--sender", wrong, tls=False)
        assert result.returncode == USAGE and "--sender" in result.stderr, result.words
    assert len(site.unsent()) == 1, "and no message had to go for it"


@pytest.mark.parametrize("more", [["-o", "Maildir"], ["--sent", "outbox"]])
def test_what_has_come_is_never_sent(gate, site, more):
    site.put(BODY, [BERT])
    site.outbox.rename(site.maildir) if "-o" in more else None
    result = site.run(gate, gate.port("remote"), more[0], site.folder / more[1], tls=False)
    assert result.returncode == USAGE and "must be another folder" in result.stderr, result.words
    assert gate.messages(BERT) == []


class Slow(Liar):
    """A server that waits, and says its first DONE while the client is stopped and `meanwhile()` is done."""

    def __init__(self, meanwhile):
        super().__init__()
        self.pushed, self.waiting, self.waited = [], False, threading.Event()
        self.meanwhile, self.clients = meanwhile, queue.Queue()

    def answer_wait(self, wire, words):
        self.waiting = True
        self.waited.set()
        return b""

    def answer_push(self, wire, words):
        ended, self.waiting = b"+ NONE\r\n" if self.waiting else b"", False  # PUSH ends WAIT
        answer = ended + super().answer_push(wire, words)
        self.pushed.append(words[1])
        if len(self.pushed) > 1:
            return answer
        client = self.clients.get(timeout=30)
        for send, state in ((0, "S"), (signal.SIGSTOP, "T")):
            client.send_signal(send)
            proc.wait_until(lambda: proc.status(client.pid)["State"][0] == state, 30, f"a client in state {state}")
        self.meanwhile()
        wire.send(answer)
        client.send_signal(signal.SIGCONT)
        return b""


@pytest.mark.parametrize("first", ["before it runs", "while it waits"])
def test_what_is_put_in_while_uploads_run_goes_up_behind_them(site, first):
    for part in ("new", "cur", "tmp"):
        (site.outbox / part).mkdir(parents=True)
    server = Slow(lambda: site.put(BODY, [CLEO]))
    if first == "before it runs":
        site.put(BODY, [BERT])
    with Backend(0, server) as backend:
        client = site.start(None, backend.port, "--watch", "--json", tls=False, host="127.0.0.1")
        server.clients.put(client)
        if first == "while it waits":
            assert server.waited.wait(30)
            site.put(BODY, [BERT])
        proc.wait_until(lambda: len(server.pushed) == 2 and site.unsent() == {} and server.waiting, 30, "both")
        client.terminate()
        said = json.loads(client.communicate(timeout=60)[0])
    assert (client.returncode, said["connections"], said["sent"]["messages"]) == (OK, 1, 2), said
    assert len(set(server.pushed)) == 2, "and each once"


@pytest.mark.parametrize("ignored", ["HUP", "INT"])
def test_a_signal_that_it_is_started_with_ignored_does_not_end_it(site, gate, ignored):
    """As nohup(1) does, and a shell that starts it in the background."""
    shell = ["sh", "-c", f"trap '' {ignored}; exec \"$@\"", "sh"]
    site.put(BODY, [BERT])
    process = site.start(gate, gate.port("remote"), "--watch", prefix=shell, tls=False)
    proc.wait_until(lambda: len(gate.messages(BERT)) == 1, 30, "a run that works")
    process.send_signal(getattr(signal, f"SIG{ignored}"))
    site.put(BODY, [BERT])
    proc.wait_until(lambda: len(gate.messages(BERT)) == 2 and site.unsent() == {}, 30, "what goes up behind the signal")
    process.terminate()
    said = process.communicate(timeout=60)
    assert process.returncode == OK, said


def traced(site, gate, *more, kill_at=None, log="/dev/null"):
    """Runs it under strace, and kills it where its step `kill_at`, (system call, how many-th), would begin. Its exit code."""
    prefix = ["strace", "-f", "-qq", "-e", "signal=none", "-e", f"trace={STEPS}", "-o", log]
    if kill_at:
        prefix += ["-e", "inject={}:signal=SIGKILL:when={}".format(*kill_at)]
    process = site.start(gate, gate.port("remote"), *more, prefix=prefix, tls=False,
                         environment={"ASAN_OPTIONS": "detect_leaks=0"})
    process.communicate(timeout=100)
    return process.returncode


def steps_of(log):
    """[(system call, how many-th of its name)], from where the program opens the outbox."""
    counts, steps, begun = collections.Counter(), [], False
    for line in log.read_text().splitlines():
        if not (match := re.match(r"\d+ +(\w+)\(", line)):
            continue
        counts[match[1]] += 1
        begun = begun or "outbox" in line
        if begun:
            steps.append((match[1], counts[match[1]]))
    assert {"fsync", "unlinkat"} <= {name for name, _ in steps}, log.read_text()
    return steps


def kill_everywhere(site, gate, to, check, *more):
    """A message for each step of a run, that is killed there, and a run that goes on. check(step, subject)."""
    site.put(BODY, to)
    assert traced(site, gate, *more, log=site.folder / "trace") == OK
    killed, steps = 0, steps_of(site.folder / "trace")
    for number, step in enumerate(steps):
        gate.clear(BERT)
        gate.clear(CLEO)
        text = site.put(b"Subject: up %d\r\n\r\nHello\r\n" % number, to)
        killed += traced(site, gate, *more, kill_at=step) != OK
        run(site, gate, *more, retries=5)  # the login of the killed one may come late, and end the session of this one
        for user in (BERT, CLEO):
            got = received(gate, user)
            assert len(got) == 1 and got[0].endswith(text), f"killed at {step}: {got}"
        assert site.unsent() == {} and records(site) == [], f"killed at {step}"
        check(step, b"Subject: up %d" % number)
    assert killed > 0.8 * len(steps), f"{killed} of {len(steps)} were killed"


@pytest.mark.seconds(600)
@pytest.mark.parametrize("sent", [True, False])
def test_a_run_killed_before_any_of_its_steps_delivers_once(gate, site, sent):
    def check(step, subject):
        assert not sent or [path.name[-4:] for path in (site.folder / "Sent" / "cur").iterdir()
                            if subject + b"\n" in path.read_bytes()] == [":2,S"], f"killed at {step}"
    kill_everywhere(site, gate, [BERT, CLEO], check, *(["--sent", site.folder / "Sent"] if sent else []))


@pytest.mark.seconds(600)
def test_one_killed_while_it_sends_here_and_elsewhere_delivers_once(site):
    folder = library.make_folder()
    with Backend(folder / "relay.sock", smtp_script(relay=True)) as relay:
        (folder / "relay.sock").chmod(0o777)
        over = {"mailstore": {"relay": f"unix:{folder}/relay.sock"}}

        def check(step, subject):
            relayed = [text for connection in relay.connections for _, text in connection.messages]
            assert len([text for text in relayed if subject + b"\r\n" in text]) == 1, f"killed at {step}"
        with library.Gatepost(sections(over), users=USERS) as gate:
            kill_everywhere(site, gate, [BERT, "a@elsewhere.example", CLEO, "b@elsewhere.example"], check)
