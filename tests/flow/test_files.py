"""Which files the processes open while they serve, as strace sees it: a proxy worker none at all, whatever
goes wrong in its sessions; an embedded worker none outside the mail store, but for the time zone."""
import contextlib
import re
import shutil
import signal
import ssl
import subprocess

import pytest

import gatepost as library
import messages
import proc
from backend import Backend, pop3_script, smtp_script
from certificates import client_context
from wire import Wire, pop3_session, smtp_session

ENVELOPE = (("MAIL FROM:<bert@example.org>", "250"), (f"RCPT TO:<{library.USER}>", "250"))
# A look at whose a socket is (stat) opens nothing.
OPENS = re.compile(r"\b(open|openat|openat2|creat|execve|execveat|access|faccessat2?|"
                   r"readlink|readlinkat|unlink|unlinkat|rename|renameat2?|link|linkat|mkdir|mkdirat|chmod|truncate)\(")
pytestmark = pytest.mark.skipif(not library.AS_ROOT or not shutil.which("strace"), reason="needs root and strace")


@contextlib.contextmanager
def traced(gate, pid, what):
    """Yields a function that gives the lines of the trace, once strace has let go of the process."""
    trace = gate.folder / f"trace-{pid}"
    with open(gate.folder / "strace", "wb") as said:
        tracer = subprocess.Popen(["strace", "-f", "-y", "-q", "-q", "-s", "256", "-e", f"trace={what}",
                                   "-e", "signal=none", "-o", trace, "-p", str(pid)], stderr=said)

    def detach():
        if tracer.poll() is None:
            tracer.send_signal(signal.SIGINT)
            tracer.wait(30)
        return trace.read_text(errors="replace").splitlines()

    def attached():
        assert tracer.poll() is None, (gate.folder / "strace").read_text()
        return proc.status(pid)["TracerPid"] != "0"

    try:
        proc.wait_until(attached, 30, "strace sees the process")
        yield detach
    finally:
        detach()


def failing_handshakes(gate, port):
    """Garbage, an old version, a certificate that the client does not want, and a client that vanishes."""
    with Wire(port) as wire:
        wire.send_raw(b"\x16\x03\x01\x00\x05hello")
        wire.read_all()
    with Wire(port) as wire:
        wire.send_raw(bytes.fromhex("160301002f0100002b0301" + "00" * 32 + "00" + "0004002f00ff" + "0100"))
        wire.read_all()
    with Wire(port) as wire, pytest.raises(ssl.SSLError):
        wire.start_tls(ssl.create_default_context())
    with Wire(port) as wire:
        wire.send_raw(wire.begin_tls(client_context()))
        wire.reset()
    gate.wait_for_log("TLS handshake failed", count=4)


def test_a_worker_opens_no_file_whatever_goes_wrong(folder):
    with Backend(folder / "smtp.sock", smtp_script()) as smtp, Backend(folder / "pop3.sock", pop3_script()):
        over = {"gatepost": {"workers": 1}, "limits": {"line_timeout": "300ms", "tls_rate": 30},
                "backend smtp": {"address": f"unix:{folder}/smtp.sock"},
                "backend pop3": {"address": f"unix:{folder}/pop3.sock"}}
        with library.Gatepost(over) as gate, traced(gate, gate.workers()[0], "%file,connect,accept4") as detach:
            failing_handshakes(gate, gate.port("pop3s"))
            for kind in ("plain", "starttls", "implicit"):
                wire = smtp_session(Wire(gate.port("smtp-alt")), client_context(), kind)
                wire.commands(*ENVELOPE, ("DATA", "354"), ("Subject: traced\r\n\r\nbody\r\n.", "250"))
                wire.quit()
                wire = pop3_session(Wire(gate.port("pop3")), client_context(), kind, "anna", "secret")
                wire.command("RETR 1", "+OK")
                wire.multiline()
                wire.quit()
            with Wire(gate.port("smtp")) as wire:
                wire.expect("220")
                wire.send(b"EHL")
                wire.expect("421")  # line_timeout
            smtp.close()
            with Wire(gate.port("smtp")) as wire:
                smtp_session(wire)
                wire.command(ENVELOPE[0][0], "421")
            lines = detach()
            assert any("connect(" in line for line in lines) and any("accept4(" in line for line in lines)
            assert [line for line in lines if OPENS.search(line)] == []


@pytest.mark.parametrize("daemon", ["smtpd", "pop3d"])
def test_an_embedded_worker_opens_files_of_the_mail_store_only(daemon):
    with library.Gatepost() as gate:
        (pid,) = getattr(gate, daemon)()
        with traced(gate, pid, "%file") as detach:
            wire = smtp_session(Wire(gate.port("submission"), 40), client_context(), "starttls")
            wire.send(b"AUTH PLAIN\r\n")
            wire.expect("334")
            wire.send(b"*\r\n")
            wire.expect("501")
            wire.commands(("RCPT TO:<nobody@gatepost.test>", "503"), *ENVELOPE, ("DATA", "354"))
            wire.send(messages.stuffed(messages.trap_message(8192)))
            wire.expect("250")
            wire.quit()
            with Wire(gate.port("pop3s"), 40) as wire:
                wire.start_tls(client_context())
                wire.expect("+OK")
                wire.command("USER ../../etc/passwd", "+OK")
                wire.command("PASS root", "-ERR")
                wire.command(f"USER {library.USER}", "+OK")
                wire.command(f"PASS {gate.password}", "+OK")
                wire.command("RETR 1", "+OK")
                wire.multiline()
                wire.command("DELE 1", "+OK")
                wire.quit()
            proc.wait_until(lambda: not proc.children(pid), 15, "the end of the sessions")
            lines = [line for line in detach() if OPENS.search(line)]
        assert any(str(gate.mail) in line for line in lines)
        fine = re.compile(rf"\(AT_FDCWD<[^>]*>, \"{gate.mail}|\(\"{gate.mail}|\(\d+<{gate.mail}"
                          r"|/etc/localtime|/zoneinfo/")  # for the date in Received
        assert [line for line in lines if not fine.search(line)] == []
        assert gate.messages() == []
