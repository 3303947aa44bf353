"""gatepost-fetch and a message of 100 MiB, each way: its memory stays what it is, and a terminal is told how far it is."""
import os
import pty
import re

import gatepost as library
import pytest
from fetch import OK, SMALL_QUARANTINE, Site, peak_kib
from remote import deliver, sections

OTHER = "bert@gatepost.test"
LINE = b"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcd\r\n"
LARGE = b"Subject: large\r\n\r\n" + LINE * ((100 << 20) // len(LINE))
SMALL = b"Subject: small\r\n\r\n"
MEMORY_KIB = 8 << 10
LIMITS = {"mailstore": {"message_size_limit": "128MiB", "push_quota": "256MiB"}}
PROGRESS = r"\d+ [MK]iB, \d+(?:\.\d)? [MK]iB/s, (?:\d+ (?:min|h|s) ?)+left"
pytestmark = pytest.mark.seconds(600)


@pytest.fixture(scope="module")
def gate():
    with library.Gatepost(sections(LIMITS), users=(library.USER, OTHER)) as running:
        yield running


def run_for_peak(gate, text):
    """`text` down and up: the most memory that the program had, in KiB."""
    gate.clear()
    gate.clear(OTHER)
    deliver(gate, text)
    with Site() as site:
        sent = site.put(text, to=[OTHER])
        process = site.start(gate, gate.port("remote"), environment=SMALL_QUARANTINE)
        peak = peak_kib(process)
        said = "".join(process.communicate())
        assert process.returncode == OK, said
        assert site.received() == [text.replace(b"\r\n", b"\n")] and site.unsent() == {}
        assert [message.endswith(sent) for message in gate.messages(OTHER)] == [True]
        return peak


def test_r4_memory_does_not_grow_with_a_message(gate):
    usual, peak = run_for_peak(gate, SMALL), run_for_peak(gate, LARGE)
    print(f"{peak} KiB at most with 100 MiB down and up, {usual} with next to nothing")
    assert peak <= usual + MEMORY_KIB


@pytest.mark.parametrize("terminal", [True, False])
def test_r4_a_terminal_is_told_how_far_it_is(gate, terminal):
    """Where standard error is one; else, as from cron, nothing is said."""
    gate.clear()
    deliver(gate, LARGE)
    with Site() as site:
        said, code = run_at_terminal(gate, site) if terminal else run_elsewhere(gate, site)
        assert code == OK, said
        assert site.received() == [LARGE.replace(b"\r\n", b"\n")]
    assert (re.search(PROGRESS, said) is not None) == terminal, said[-2000:]
    assert terminal or said == ""


def run_elsewhere(gate, site):
    result = site.run(gate, gate.port("remote"))
    return result.stdout + result.stderr, result.returncode


def run_at_terminal(gate, site):
    master, slave = pty.openpty()
    process = site.start(gate, gate.port("remote"), stderr=slave, environment={"TERM": "xterm"})
    os.close(slave)
    said = b""
    try:
        while piece := os.read(master, 65536):
            said += piece
    except OSError:  # the other end is closed
        pass
    os.close(master)
    process.communicate()
    return said.decode(), process.returncode
