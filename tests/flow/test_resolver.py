"""Servers by name: looked up by the supervisor, again and again, and never waited for.

Names that change are those of a private /etc/hosts, and a silent name server that of a private /etc/resolv.conf, both
mounted where only the gatepost under test sees them."""
import re
import signal
import socket

import pytest

import gatepost as library
import proc
from backend import Backend, pop3_script
from names import Names
from wire import Wire

needs_root = pytest.mark.skipif(not library.AS_ROOT, reason="mounts a private /etc/hosts")
NAME = "mail.gatepost.test"


def started(address, names=None, **more):
    sections = {"backend pop3": {"address": address, "connect_timeout": "2s"},
                "gatepost": {"resolve_interval": "1s"}}
    return library.Gatepost(library.overlay(sections, more), prefix=names.prefix if names else ())


def log_in(gate):
    """The reply to PASS; the session is over then."""
    with Wire(gate.port("pop3")) as wire:
        wire.expect("+OK")
        wire.command("USER anna", "+OK")
        wire.send("PASS secret\r\n")
        reply = wire.line()
        if reply.startswith(b"+OK"):
            wire.quit()
        return reply


def served(gate, backend):
    before = backend.received.count(b"PASS")
    return log_in(gate).startswith(b"+OK") and backend.received.count(b"PASS") == before + 1


def wait_served(gate, backend):
    proc.wait_until(lambda: served(gate, backend), 20, "a login at the backend")


@needs_root
@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_localhost_is_found_in_the_family_that_the_server_listens_on(host):
    if ":" in host and not library.has_ipv6():
        pytest.skip("no IPv6")
    names = Names()
    names.set("::1 localhost")
    with Backend((host, 0), pop3_script()) as backend:
        with started(f"localhost:{backend.port}", names) as gate:
            wait_served(gate, backend)
            gate.wait_for_log(r"backend pop3: localhost is (127\.0\.0\.1, ::1|::1, 127\.0\.0\.1)")


@needs_root
def test_a_name_that_is_unknown_at_the_start_is_served_when_it_is_known():
    names = Names()
    with Backend(0, pop3_script()) as backend, started(f"{NAME}:{backend.port}", names) as gate:
        gate.wait_for_log(rf"backend pop3: {NAME} cannot be looked up: \w+")
        assert log_in(gate).startswith(b"-ERR [SYS/TEMP]")
        assert backend.accepted == 0
        names.set(f"127.0.0.1 {NAME}")
        wait_served(gate, backend)
        gate.wait_for_log(rf"backend pop3: {NAME} can be looked up")
        assert len(re.findall("cannot be looked up", gate.log())) == 1


@needs_root
def test_a_server_that_moves_is_followed_also_by_a_worker_that_is_started_anew():
    names = Names()
    names.set(f"127.0.0.5 {NAME}")
    with Backend(("127.0.0.5", 0), pop3_script()) as old:
        with Backend(("127.0.0.6", old.port), pop3_script()) as new, started(f"{NAME}:{old.port}", names) as gate:
            wait_served(gate, old)
            names.set(f"127.0.0.6 {NAME}")
            gate.wait_for_log(rf"backend pop3: {NAME} is now 127\.0\.0\.6 \(was 127\.0\.0\.5\)")
            wait_served(gate, new)
            before = old.received.count(b"PASS")
            for pid in gate.workers():
                gate.kill(pid, signal.SIGKILL)
            gate.wait_for_log("worker . serves again", count=2)
            wait_served(gate, new)
            assert old.received.count(b"PASS") == before
            assert len(re.findall(f"{NAME} is", gate.log())) == 2


@needs_root
def test_an_address_that_stays_keeps_its_service_when_another_leaves():
    names = Names()
    names.set(f"127.0.0.5 {NAME}", f"127.0.0.6 {NAME}")
    with Backend(("127.0.0.6", 0), pop3_script()) as backend, started(f"{NAME}:{backend.port}", names) as gate:
        wait_served(gate, backend)
        names.set(f"127.0.0.6 {NAME}", f"127.0.0.7 {NAME}")
        gate.wait_for_log(rf"{NAME} is now 127\.0\.0\.7, 127\.0\.0\.6 \(was 127\.0\.0\.5, 127\.0\.0\.6\)")
        wait_served(gate, backend)


@needs_root
def test_what_was_known_stays_when_a_name_can_no_longer_be_looked_up():
    names = Names()
    names.set(f"127.0.0.1 {NAME}")
    with Backend(0, pop3_script()) as backend, started(f"{NAME}:{backend.port}", names) as gate:
        wait_served(gate, backend)
        names.set()
        gate.wait_for_log(rf"{NAME} cannot be looked up: .*; it stays 127\.0\.0\.1")
        assert served(gate, backend)
        names.set(f"127.0.0.1 {NAME}")
        gate.wait_for_log(rf"backend pop3: {NAME} can be looked up")
        assert served(gate, backend)
        assert len(re.findall("cannot be looked up", gate.log())) == 1


@needs_root
def test_a_silent_name_server_delays_neither_the_start_nor_another_name_nor_the_end():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent, Backend(0, pop3_script()) as backend:
        silent.bind(("127.0.0.77", 53))
        silent.settimeout(15)
        names = Names("127.0.0.77")
        names.set("127.0.0.1 quick.gatepost.test")
        slow = {f"backend slow{i}": {"address": f"slow{i}.gatepost.test:25"} for i in range(8)}
        slow |= {f"listen slow{i}": {"port": 40 + i, "backend": f"slow{i}", "protocol": "smtp"} for i in range(8)}
        with started(f"quick.gatepost.test:{backend.port}", names, **slow) as gate:
            assert silent.recv(512)  # it is asked
            wait_served(gate, backend)
            gate.wait_for_log("backend slow3: slow3.gatepost.test cannot be looked up: no answer yet")
            with Wire(gate.port("slow3")) as wire:
                wire.expect("220")
                wire.send("EHLO me\r\n")
                assert wire.reply()[0].startswith(b"421")
            gate.stop()


def test_numbers_need_no_name_server():
    with Backend(0, pop3_script()) as backend, started(f"127.0.0.1:{backend.port}") as gate:
        assert served(gate, backend)
        assert "looked up" not in gate.log()
