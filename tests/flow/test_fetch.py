"""gatepost-fetch against the real server: what is in its Maildir, and what is left on the server."""
import json
import subprocess

import gatepost as library
import pytest
from remote import deliver, sections

OTHER = "bert@gatepost.test"
PROGRAM = library.BUILD / "tools" / "gatepost-fetch"
TEXTS = [b"Subject: one\r\n\r\nHello\r\n", b"Subject: two\r\n\r\n.\r\n..\r\nM 0 0 0\r\n+ PULL 9\r\n",
         b"Subject: three\r\n\r\n" + b"a line of the third message\r\n" * 3000]
OK, TEMPFAIL, PROTOCOL, NOPERM, CONFIG = 0, 75, 76, 77, 78


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
