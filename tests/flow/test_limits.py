"""Clients that flood, dawdle, or refuse to read: what they cost is bounded, and they hear why they go (P8, rules 1, 2,
10).

Memory is that of the proxy workers, as /proc tells it; what must not be forwarded is looked for in the octets that a
scripted server received."""
import hashlib
import pathlib
import select
import shutil
import socket
import time

import pytest

import gatepost as library
import messages
import proc
from backend import Backend, pop3_script, smtp_script
from certificates import client_context
from wire import Wire, pop3_session, smtp_session

MIB = 1 << 20
ENVELOPE = (("MAIL FROM:<bert@example.org>", "250"), (f"RCPT TO:<{library.USER}>", "250"))
ALLOCATOR_KIB = 2048  # arenas, a sanitizer's shadow and quarantine: for a whole worker, however many clients it has


def no_quarantine(gate):
    """Freed memory that a sanitizer keeps back would hide what we measure."""
    gate.environment["ASAN_OPTIONS"] += ":quarantine_size_mb=1:thread_local_quarantine_size_kb=64"
    return gate


def memory(gate):
    """KiB that the proxy workers have for themselves."""
    return sum(proc.memory_kib(pid, "Private_Dirty") for pid in gate.workers())


def wait_still(gate):
    """Until the workers have nothing more to do."""
    seen = [None]

    def still():
        time.sleep(0.25)
        before, seen[0] = seen[0], [proc.cpu_seconds(pid) for pid in gate.workers()]
        return before == seen[0]

    proc.wait_until(still, 60, "the workers are still")


def flood(wire, octets):
    """Sends so many octets without a line end; False when the other side has closed before."""
    block = b"x" * 65536
    try:
        for _ in range(octets // len(block)):
            wire.send_raw(block)
    except (BrokenPipeError, ConnectionResetError):
        return False
    return True


def ours(backend):
    """What clients made the server hear, without our own learning."""
    return b"".join(one.received for one in backend.connections if b"relay-test@example.invalid" not in one.received)


@pytest.fixture(scope="module")
def legacy():
    """One worker in front of two scripted servers, patient with slow lines."""
    folder = library.make_folder("gatepost-b-")
    with Backend(folder / "smtp.sock", smtp_script()) as smtp, Backend(folder / "pop3.sock", pop3_script()) as pop3:
        over = {"gatepost": {"workers": 1}, "limits": {"line_timeout": "10min", "max_errors": 3},
                "backend smtp": {"address": f"unix:{folder}/smtp.sock"},
                "backend pop3": {"address": f"unix:{folder}/pop3.sock"}}
        with no_quarantine(library.Gatepost(over)) as gate:
            gate.smtp_backend, gate.pop3_backend = smtp, pop3
            yield gate


# clients that refuse to read


def unsent(port):
    """Octets that the kernel holds for each connection of a port and that its client has not acknowledged."""
    lines = [line.split() for line in pathlib.Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return [int(fields[4].split(":")[0], 16) for fields in lines
            if int(fields[1].split(":")[1], 16) == port and fields[3] == "01"]


def test_p8_clients_that_never_read_a_large_message_cost_little_and_get_all_of_it_later(folder):
    """25 MiB for each of twenty clients over TLS: what waits does so in the server, not in the worker."""
    clients, size = 20, 25 * MIB
    body = b"".join(b"%06d %s\r\n" % (n, b"m" * 72) for n in range(size // 81 + 1))
    text = b"+OK\r\n" + body + b"."
    with Backend(folder / "p.sock", pop3_script(answers={b"RETR": lambda *_: text})):
        over = {"gatepost": {"workers": 1}, "backend pop3": {"address": f"unix:{folder}/p.sock"}}
        with no_quarantine(library.Gatepost(over)) as gate:
            wires = [pop3_session(Wire(gate.port("pop3s"), 60), client_context(), "implicit", "anna", "x")
                     for _ in range(clients)]
            wait_still(gate)
            before = memory(gate)
            for wire in wires:
                wire.send(b"RETR 1\r\n")
            for wire in wires:
                assert select.select([wire.socket], [], [], 60)[0]
            wait_still(gate)
            grown = memory(gate) - before
            assert grown < clients * 128 + ALLOCATOR_KIB, f"{grown} KiB for {clients} clients"
            in_kernel = unsent(gate.port("pop3s"))
            assert len(in_kernel) >= clients and max(in_kernel) < MIB, in_kernel
            wires[0].expect("+OK")
            digest, left = hashlib.sha256(), len(body)
            while left:
                part = wires[0].read_exactly(min(left, 65536))
                digest.update(part)
                left -= len(part)
            assert digest.digest() == hashlib.sha256(body).digest()
            assert wires[0].line() == b"."
            wires[0].quit()
            for wire in wires[1:]:
                wire.reset()
            gate.wait_idle()


def test_p8_a_client_of_the_embedded_worker_may_pause_in_the_middle_and_gets_every_octet():
    message = messages.large_message(25 * MIB)
    with no_quarantine(library.Gatepost({"gatepost": {"workers": 1}})) as gate:
        for name in ("new", "cur", "tmp"):
            (gate.maildir() / name).mkdir(parents=True, exist_ok=True)
        (gate.maildir() / "new" / "1700000000.M1P1.test").write_bytes(message.replace(b"\r\n", b"\n"))
        if library.AS_ROOT:
            for path in [gate.maildir().parent.parent, *gate.maildir().parent.parent.rglob("*")]:
                shutil.chown(path, "mail", "mail")
        with Wire(gate.port("pop3s"), 60) as wire:
            pop3_session(wire, client_context(), "implicit", library.USER, gate.password)
            wait_still(gate)
            before = memory(gate)
            wire.send(b"RETR 1\r\n")
            wire.expect("+OK")
            text = wire.read_exactly(MIB)
            wait_still(gate)
            assert memory(gate) - before < 128 + ALLOCATOR_KIB
            while not text.endswith(b"\r\n.\r\n"):
                text += wire.read()
            assert not messages.difference(messages.stuffed(message), text)
            wire.quit()


def test_p8_a_client_that_reads_no_reply_is_not_read_either(legacy):
    """NOOP without end, no answer taken: the kernel's buffers fill, not the worker's."""
    with Wire(legacy.port("smtp"), 3) as wire:
        smtp_session(wire)
        wire.commands(*ENVELOPE)
        before = memory(legacy)
        block = b"NOOP\r\n" * 10000
        with pytest.raises(TimeoutError):
            for _ in range(2000):
                wire.send_raw(block)
        assert memory(legacy) - before < 128 + ALLOCATOR_KIB
        wire.reset()
    legacy.wait_idle()


# lines without end


@pytest.mark.parametrize("state", ["negotiate", "relay"])
def test_p8_100_mib_without_a_line_end_are_one_bad_line_of_smtp(legacy, state):
    with Wire(legacy.port("smtp"), 90) as wire:
        smtp_session(wire)
        if state == "relay":
            wire.commands(*ENVELOPE)
        wait_still(legacy)
        before = memory(legacy)
        assert flood(wire, 100 * MIB)
        assert memory(legacy) - before < 64 + ALLOCATOR_KIB
        wire.send(b"\r\n")
        wire.expect("500 5.5.2 Line too long")
        wire.command("RSET" if state == "relay" else "NOOP", "250")
        wire.quit()
    assert b"xxxx" not in ours(legacy.smtp_backend)


@pytest.mark.parametrize("state", ["negotiate", "relay"])
def test_p8_many_octets_without_a_line_end_are_one_bad_line_of_pop3(legacy, state):
    with Wire(legacy.port("pop3"), 90) as wire:
        pop3_session(wire, user="anna" if state == "relay" else None, password="x")
        wait_still(legacy)
        before = memory(legacy)
        assert flood(wire, 10 * MIB)
        assert memory(legacy) - before < 64 + ALLOCATOR_KIB
        wire.send(b"\r\n")
        wire.expect("-ERR line too long" if state == "negotiate" else "-ERR")
        wire.command("NOOP", "+OK")
        wire.quit()
    assert b"xxxx" not in legacy.pop3_backend.received


@pytest.fixture(scope="module")
def hasty():
    """Embedded workers behind a proxy with little patience and few handshakes."""
    with library.Gatepost({"gatepost": {"workers": 1}, "limits": {"line_timeout": "400ms", "tls_rate": 1}}) as gate:
        yield gate


@pytest.mark.parametrize("what", ["one octet at a time", "a flood"])
@pytest.mark.parametrize("port, greeting", [("smtp", "220"), ("pop3", "+OK")])
def test_rule_1_a_line_that_does_not_end_is_ended_by_line_timeout(hasty, port, greeting, what):
    before = hasty.log().count("a line took longer than line_timeout")
    with Wire(hasty.port(port)) as wire:
        wire.expect(greeting)
        octets = b"N" * 4096 if what == "a flood" else b"N"
        try:
            while not select.select([wire.socket], [], [], 0.02)[0]:
                wire.send_raw(octets)
        except (BrokenPipeError, ConnectionResetError):
            pass
        said = wire.read_all()
        assert wire.eof
        if port == "smtp" and what != "a flood":  # octets that are on their way may undo what was said
            assert said.startswith(b"421 4.4.2")
    hasty.wait_for_log("a line took longer than line_timeout", count=before + 1)


def test_rule_10_more_handshakes_than_tls_rate_are_454_and_the_session_goes_on(hasty):
    wires = []
    for _ in range(20):
        wires.append(smtp_session(Wire(hasty.port("smtp"))))
    for wire in wires:
        wire.send(b"STARTTLS\r\n")
    answers = [wire.line()[:9] for wire in wires]
    assert set(answers) <= {b"220 2.0.0", b"454 4.7.0"}
    assert answers.count(b"454 4.7.0") >= 10
    wire = wires[answers.index(b"454 4.7.0")]
    wire.commands(*ENVELOPE)
    wire.command("RSET", "250")

    def accepted():
        wire.send(b"STARTTLS\r\n")
        return wire.line().startswith(b"220")

    proc.wait_until(accepted, 20, "a token for a handshake")
    wire.start_tls(client_context())
    wire.command("EHLO me.example", "250")
    wire.quit()
    for wire in wires:
        wire.socket.close()


def test_rule_21_more_handshakes_than_tls_rate_are_sys_temp(hasty):
    wires = [pop3_session(Wire(hasty.port("pop3"))) for _ in range(10)]
    for wire in wires:
        wire.send(b"STLS\r\n")
    answers = [wire.line() for wire in wires]
    assert sum(answer.startswith(b"-ERR [SYS/TEMP]") for answer in answers) >= 5
    for wire in wires:
        wire.socket.close()


def test_tls_first_beyond_tls_rate_is_ended_and_logged(hasty):
    """Nothing can be said in words before TLS."""
    wires = [Wire(hasty.port("pop3s")) for _ in range(10)]
    for wire in wires:
        wire.send_raw(wire.begin_tls(client_context()))
    hasty.wait_for_log("more new TLS handshakes than tls_rate allows", count=5)
    for wire in wires:
        wire.socket.close()


# bad commands


@pytest.mark.parametrize("state", ["negotiate", "relay"])
@pytest.mark.parametrize("port, last", [("smtp", "421 4.7.0"), ("pop3", "-ERR")])
def test_rule_2_after_max_errors_bad_commands_the_session_ends(legacy, port, last, state):
    backend = legacy.smtp_backend if port == "smtp" else legacy.pop3_backend
    with Wire(legacy.port(port)) as wire:
        if port == "smtp":
            smtp_session(wire)
            if state == "relay":
                wire.commands(*ENVELOPE)
        else:
            pop3_session(wire, user="anna" if state == "relay" else None, password="x")
        wire.command("XYZZY 1", "500" if port == "smtp" else "-ERR")
        wire.command("XYZZY 2", "500" if port == "smtp" else "-ERR")
        wire.send(b"XYZZY 3\r\n")
        said = wire.read_all()
        assert wire.eof == "fin"
        assert said.splitlines()[-1].startswith(last.encode()), said
    assert b"XYZZY" not in backend.received


@pytest.mark.parametrize("verb", ["GET", "POST", "PUT", "HEAD", "OPTIONS", "CONNECT", "get"])
@pytest.mark.parametrize("state", ["greeting", "relay"])
@pytest.mark.parametrize("port", ["smtp", "pop3"])
def test_rule_2_a_browser_that_was_led_here_is_closed_without_an_answer(legacy, port, state, verb):
    backend = legacy.smtp_backend if port == "smtp" else legacy.pop3_backend
    with Wire(legacy.port(port)) as wire:
        if state == "greeting":
            wire.expect("220" if port == "smtp" else "+OK")
        elif port == "smtp":
            smtp_session(wire).commands(*ENVELOPE)
        else:
            pop3_session(wire, user="anna", password="x")
        wire.send(f"{verb} /evil HTTP/1.1\r\n")
        assert wire.at_eof(), wire.story()
    assert b"evil" not in backend.received


SPOILED = [b"NOOP\x00evil\r\n", b"NOOP\0\r\n", b"NOOP\revil\r\n", b"\rNOOP evil\r\n", b"NOOP evil\nRSET evil\r\n",
           b"NOOP evil\n.\r\n", b"NO\nOP evil\r\n", b"NOOP evil\r\r\n"]
SPOILED_POP3 = [b"NOOP\x00evil\r\n", b"NOOP\revil\r\n", b"\rNOOP evil\r\n", b"LIST 1\r\r\n"]


@pytest.mark.parametrize("state", ["negotiate", "relay"])
@pytest.mark.parametrize("line", SPOILED, ids=repr)
def test_rule_2_a_line_of_smtp_with_nul_or_a_bare_newline_is_refused_and_never_forwarded(legacy, line, state):
    with Wire(legacy.port("smtp")) as wire:
        smtp_session(wire)
        if state == "relay":
            wire.commands(*ENVELOPE)
        wire.send(line)
        wire.expect("500 5.5.2")
        wire.command("NOOP", "250")
        wire.quit()
    assert b"evil" not in ours(legacy.smtp_backend)
    assert b"\0" not in ours(legacy.smtp_backend)


@pytest.mark.parametrize("state", ["negotiate", "relay"])
@pytest.mark.parametrize("line", SPOILED_POP3, ids=repr)
def test_rule_2_a_line_of_pop3_with_nul_or_a_bare_cr_is_refused_and_never_forwarded(legacy, line, state):
    with Wire(legacy.port("pop3")) as wire:
        pop3_session(wire, user="anna" if state == "relay" else None, password="x")
        wire.send(line)
        wire.expect("-ERR")
        wire.command("NOOP", "+OK")
        wire.quit()
    heard = legacy.pop3_backend.received
    assert b"evil" not in heard and b"\0" not in heard and b"\r\r" not in heard


def test_rule_2_a_bare_lf_ends_a_line_of_pop3_and_is_forwarded_as_crlf(legacy):
    with Wire(legacy.port("pop3")) as wire:
        pop3_session(wire, user="anna", password="x")
        wire.send(b"NOOP\nSTAT\nLIST 1\n")
        for _ in range(3):
            wire.expect("+OK")
        wire.quit()
    heard = legacy.pop3_backend.received
    assert b"NOOP\r\nSTAT\r\nLIST 1\r\n" in heard
    assert heard.count(b"\n") == heard.count(b"\r\n")


def test_p8_descriptors_and_sessions_are_given_back(legacy):
    legacy.wait_idle()
    with socket.create_connection(("127.0.0.1", legacy.port("smtp")), 15) as plain:
        assert plain.recv(3) == b"220"
    legacy.wait_idle()
