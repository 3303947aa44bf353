"""gatepost-user: what it does to the users file, whose the files are, and that a password shows nowhere."""
import os
import pty
import pwd
import subprocess

import pytest

import gatepost as library

ANNA = "anna@example.org"


def run(store, *arguments, password="", **options):
    return subprocess.run([library.USER_TOOL, "--store", store, *arguments], input=password, text=True,
                          capture_output=True, timeout=60, **options)


def users(store):
    return {name: rest for name, _, rest in
            (line.partition(":") for line in (store / "users").read_text().splitlines())}


def test_a_user_is_added_changed_listed_and_removed(tmp_path):
    store = tmp_path / "mail"
    assert run(store, "add", "Anna@Example.org", password="one\n").returncode == 0
    assert run(store, "add", "bert@example.org", password="one\n").returncode == 0
    first = users(store)
    assert list(first) == [ANNA, "bert@example.org"] and first[ANNA].startswith("$y$")
    assert first[ANNA] != first["bert@example.org"], "the same password twice, with different salt"
    assert (store / "example.org/anna/Maildir/new").is_dir()
    assert run(store, "passwd", ANNA, password="two\n").returncode == 0
    assert users(store)[ANNA] != first[ANNA]
    assert run(store, "list").stdout.splitlines() == [ANNA, "bert@example.org"]
    assert run(store, "del", ANNA).returncode == 0
    assert run(store, "list").stdout.splitlines() == ["bert@example.org"]
    assert (store / "example.org/anna/Maildir").is_dir(), "the mail stays"


@pytest.mark.parametrize("arguments, password, code, words", [
    (["add", ANNA], "x\n", 1, "exists already"),
    (["passwd", "bert@example.org"], "x\n", 1, "no such user"),
    (["del", "bert@example.org"], "", 1, "no such user"),
    (["add", "bert"], "x\n", 1, "local@domain"),
    (["add", "../bert@example.org"], "x\n", 1, "local@domain"),
    (["add", "bert@example.org"], "", 1, "1 to 511 octets"),
    (["add", "bert@example.org"], "\n", 1, "1 to 511 octets"),
    (["add", "bert@example.org"], "x" * 512, 1, "1 to 511 octets"),
    (["add", "bert@example.org"], "x" * 5000, 1, "no password"),
    (["add", "bert@example.org", "--password-fd", "99"], "x\n", 1, "no password"),
    (["add", "bert@example.org", "--password-fd", "x"], "x\n", 64, "descriptor"),
    (["add"], "x\n", 64, "whose name"),
    (["remove", ANNA], "", 64, "not add, passwd, del or list"),
    ([], "", 64, "sage"),
])
def test_what_cannot_be_done_is_told_and_changes_nothing(tmp_path, arguments, password, code, words):
    assert run(tmp_path, "add", ANNA, password="one\n").returncode == 0
    before = (tmp_path / "users").read_bytes()
    result = run(tmp_path, *arguments, password=password)
    assert result.returncode == code and words in result.stderr
    assert (tmp_path / "users").read_bytes() == before


def test_p7_a_password_on_the_command_line_is_refused_and_not_repeated(tmp_path):
    result = run(tmp_path, "add", ANNA, "sesame")
    assert result.returncode == 64
    assert "sesame" not in result.stdout + result.stderr
    assert run(tmp_path, "list").stdout == ""


def test_the_password_comes_from_a_descriptor(tmp_path):
    ours, theirs = os.pipe()
    os.write(theirs, b"one\nnot this line\n")
    os.close(theirs)
    result = run(tmp_path, "add", ANNA, "--password-fd", str(ours), password="two\n", pass_fds=[ours])
    os.close(ours)
    assert result.returncode == 0 and list(users(tmp_path)) == [ANNA]


def on_terminal(store, *lines):
    """Runs add on a terminal and types each line when it is asked for. What the terminal showed, and the exit code."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.execv(library.USER_TOOL, ["gatepost-user", "--store", str(store), "add", ANNA])
    shown = b""
    for line in lines:
        while not shown.endswith(b": "):
            shown += os.read(terminal, 1)
        os.write(terminal, line)
        shown += b"|"
    try:
        while more := os.read(terminal, 4096):
            shown += more
    except OSError:  # the other end is closed
        pass
    os.close(terminal)
    return shown, os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def test_p7_a_terminal_asks_twice_and_shows_nothing(tmp_path):
    shown, code = on_terminal(tmp_path, b"sesame\n", b"sesame\n")
    assert code == 0 and list(users(tmp_path)) == [ANNA]
    assert b"Password: " in shown and b"Again: " in shown and b"sesame" not in shown


def test_two_different_passwords_are_not_taken(tmp_path):
    shown, code = on_terminal(tmp_path, b"sesame\n", b"sesam\n")
    assert code == 1 and b"differ" in shown
    assert not (tmp_path / "users").exists()


def test_an_interrupt_at_the_terminal_changes_nothing(tmp_path):
    _, code = on_terminal(tmp_path, b"\x03")
    assert code == 1 and not (tmp_path / "users").exists()


def test_a_wrong_configuration_is_told_with_its_line(tmp_path):
    ini = tmp_path / "gatepost.ini"
    ini.write_text("[mailstore]\npahh = /nowhere\n")
    result = subprocess.run([library.USER_TOOL, "-c", ini, "list"], text=True, capture_output=True, timeout=60)
    assert result.returncode == 78 and f"{ini}:2" in result.stderr


def test_the_configuration_names_the_store_and_the_first_domain(tmp_path):
    ini = tmp_path / "gatepost.ini"
    ini.write_text(f"[mailstore]\npath = {tmp_path}/mail\ndomains = example.org, example.net\n")
    if library.AS_ROOT:
        ini.write_text(ini.read_text() + "[gatepost]\nmail_user = nobody\n")
    result = subprocess.run([library.USER_TOOL, "-c", ini, "add", "anna"], input="one\n", text=True,
                            capture_output=True, timeout=60)
    assert result.returncode == 0, result.stderr
    assert list(users(tmp_path / "mail")) == [ANNA]
    if library.AS_ROOT:
        assert (tmp_path / "mail").owner() == (tmp_path / "mail/users").owner() == "nobody"


@pytest.fixture
def nobodys_store(tmp_path):
    """A store of another user, below a folder that only root may enter. Where the test is not root, its own store."""
    store = tmp_path / "closed" / "mail"
    store.mkdir(parents=True)
    (tmp_path / "closed").chmod(0o700)
    if library.AS_ROOT:
        nobody = pwd.getpwnam("nobody")
        os.chown(store, nobody.pw_uid, nobody.pw_gid)
    return store


def test_all_that_is_made_belongs_to_the_owner_of_the_store(nobodys_store):
    owner = nobodys_store.owner()
    assert run(nobodys_store, "add", ANNA, password="one\n").returncode == 0
    assert {path.owner() for path in nobodys_store.rglob("*")} == {owner}
    assert (nobodys_store / "users").stat().st_mode & 0o777 == 0o600


def test_a_link_in_the_store_leads_nowhere(nobodys_store, tmp_path):
    target = tmp_path / "target"
    for name in ("users", "users.new", "users.lock"):
        link = nobodys_store / name
        link.unlink(missing_ok=True)
        link.symlink_to(target)
        assert run(nobodys_store, "add", ANNA, password="one\n").returncode == 1
        assert not target.exists()
        link.unlink(missing_ok=True)
