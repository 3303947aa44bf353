"""tools/up as a newcomer runs it: twice with --once, in the foreground until Ctrl-C, and without privileges."""
import os
import re
import shutil
import signal
import socket
import subprocess
import time

import pytest

import gatepost as library
import proc
from ports import PORTS, PortOffset

UP = library.ROOT / "tools" / "up"


@pytest.fixture
def offset():
    offset = PortOffset()
    yield offset.value
    offset.release()


def run_up(state, offset, *arguments, up=UP, **more):
    command = [*more.pop("before", ()), up, "--once", "--port-offset", str(offset), "--state", state, *arguments]
    result = subprocess.run(command, capture_output=True, text=True, timeout=300, **more)
    return result.returncode, result.stdout + result.stderr


def rows_of(said, offset):
    """{port name: the row of the table}."""
    found = {}
    for name, port in PORTS.items():
        row = re.search(rf"^{port + offset} +{name} .*$", said, re.M)
        assert row, said
        found[name] = row[0]
    return found


def test_p9_every_way_through_the_six_ports_works_and_a_second_run_keeps_what_the_first_made(folder, offset):
    state = folder / "state"
    code, said = run_up(state, offset)
    assert code == 0, said
    rows = rows_of(said, offset)
    for name in ("smtp", "smtp-alt", "submission"):
        assert rows[name].count("sent") == 3
    assert rows["pop3"].count("fetched") == 3 and rows["pop3s"].count("fetched") == 2
    assert rows["remote"].count("sent and fetched") == 2
    made = ("demo.user", "demo.password", "tls/ca.pem", "tls/server.pem")
    kept = {name: (state / name).read_bytes() for name in made}
    assert all(kept[name].count(b"\n") == 1 for name in ("demo.user", "demo.password"))
    assert kept["demo.user"].decode().strip() in said

    begin = time.monotonic()
    code, said = run_up(state, offset)
    assert code == 0, said
    print(f"second run: {time.monotonic() - begin:.1f} s")
    assert kept == {name: (state / name).read_bytes() for name in kept}
    assert not [path for path in state.rglob("*") if path.is_socket()]


def test_nothing_is_written_beside_the_state_folder(folder, offset):
    state = folder / "state"
    before = {path for path in library.ROOT.iterdir()}
    code, said = run_up(state, offset, cwd=folder)
    assert code == 0, said
    assert [path.name for path in folder.iterdir()] == ["state"]
    assert {path for path in library.ROOT.iterdir()} - before <= {library.ROOT / "build"}
    assert {"gatepost.ini", "tls", "mail", "demo.user", "demo.password"} <= {path.name for path in state.iterdir()}


def test_a_state_folder_that_other_users_cannot_reach_works_too(folder, offset):
    closed = folder / "closed"
    closed.mkdir(mode=0o700)
    code, said = run_up(closed / "state", offset)
    assert code == 0, said


def test_p7_the_demo_password_is_not_in_the_log_but_in_what_to_type(folder, offset):
    _, said = run_up(folder / "state", offset)
    password = (folder / "state" / "demo.password").read_text().strip()
    assert said.count(password) == 1


def test_a_port_in_use_is_reported_by_number_and_owner(folder, offset):
    with socket.create_server(("127.0.0.1", offset + 110)):
        code, said = run_up(folder / "state", offset)
    assert code == 1
    assert str(offset + 110) in said and str(os.getpid()) in said, said


def test_in_the_foreground_it_stays_until_ctrl_c_and_leaves_no_process(folder, offset):
    process = subprocess.Popen([UP, "--port-offset", str(offset), "--state", folder / "state"],
                               stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    said = ""
    for line in process.stdout:
        said += line
        if "Ctrl-C" in line:
            break
    family = proc.children(process.pid)
    assert len(family) >= 4, said
    process.send_signal(signal.SIGINT)
    said += process.stdout.read()
    assert process.wait(60) == 0, said
    proc.wait_until(lambda: not any(map(proc.alive, family)), 10, "the end of all processes")


@pytest.mark.seconds(400)
def test_a_user_without_privileges_can_run_it(folder, offset):
    """A copy of the sources, for a build of that user's own."""
    command = ["git", "-c", f"safe.directory={library.ROOT}", "ls-files", "-z"]
    listed = subprocess.run(command, cwd=library.ROOT, check=True, capture_output=True, text=True)
    names = listed.stdout.split("\0")
    for name in filter(None, names):
        if (library.ROOT / name).exists():
            (folder / "copy" / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(library.ROOT / name, folder / "copy" / name)
    before = []
    if library.AS_ROOT:
        subprocess.run(["chown", "-R", "nobody", folder / "copy"], check=True)
        before = ["setpriv", "--reuid=nobody", "--clear-groups", "--no-new-privs"]
    code, said = run_up(folder / "copy" / "state", offset, up=folder / "copy" / "tools" / "up", before=before,
                        cwd=folder / "copy", env={**os.environ, "HOME": str(folder / "copy")})
    assert code == 0, said
    assert rows_of(said, offset)["pop3s"].count("fetched") == 2


WRONG = [["--port-offset", "many"], ["--port-offset", "70000"], ["--bogus"], ["--state", ""]]


@pytest.mark.parametrize("arguments", WRONG, ids=" ".join)
def test_a_wrong_argument_is_refused_before_anything_is_made(arguments):
    result = subprocess.run([UP, *arguments], capture_output=True, text=True, timeout=20)
    assert result.returncode == 64
    assert "--help" in result.stderr


def test_help_tells_the_options():
    result = subprocess.run([UP, "--help"], capture_output=True, text=True, timeout=20)
    assert result.returncode == 0
    assert all(option in result.stdout for option in ("--once", "--port-offset", "--state"))
