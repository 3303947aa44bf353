"""The maps of routes: read at the start, swapped when their file is another, and never for one that is no map."""
import re
import signal
import subprocess

import pytest

import cdb
import gatepost as library
import proc
from backend import Backend, pop3_script
from wire import Wire


class Farm:
    """Three servers: `first` and `second` are in the map, `other` is for users whom it does not know."""

    def __init__(self):
        self.folder = library.make_folder("gatepost-route-")
        self.map = self.folder / "users.cdb"
        self.servers = {name: Backend(self.folder / f"{name}.sock", pop3_script()) for name in ("first", "second", "other")}

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for server in self.servers.values():
            server.close()

    def gate(self, **more):
        sections = {f"backend {name}": {"address": f"unix:{self.folder / name}.sock"} for name in self.servers}
        sections["listen pop3"] = {"backend": "other", "default_backend": "other", "route": f"user:cdb:{self.map}",
                                   "route_backends": "first, second"}
        return library.Gatepost(library.overlay(sections, more))

    def server_of(self, gate, user):
        """Where a login of this user ends."""
        before = {name: server.received.count(b"PASS") for name, server in self.servers.items()}
        with Wire(gate.port("pop3")) as wire:
            wire.expect("+OK")
            wire.command(f"USER {user}", "+OK")
            wire.command("PASS secret", "+OK")
            wire.quit()
        return [name for name, server in self.servers.items() if server.received.count(b"PASS") > before[name]]

    def wait_server(self, gate, user, name):
        """Of every worker: as many logins in a row as it takes."""
        def settled():
            return all(self.server_of(gate, user) == [name] for _ in range(4))
        proc.wait_until(settled, 20, f"{user} at {name}")


@pytest.fixture
def farm():
    with Farm() as farm:
        yield farm


def test_users_go_where_the_map_says(farm):
    cdb.replace(farm.map, {"anna@one.test": "first", "bert": "second", "@two.test": "second\n"})
    with farm.gate() as gate:
        gate.wait_for_log(rf"route {re.escape(str(farm.map))}: a map of 3 entries")
        assert farm.server_of(gate, "anna@one.test") == ["first"]
        assert farm.server_of(gate, "Anna@ONE.test") == ["first"]
        assert farm.server_of(gate, "bert") == ["second"]
        assert farm.server_of(gate, "carl@two.test") == ["second"]
        assert farm.server_of(gate, "dora@three.test") == ["other"]


def test_a_map_is_replaced_by_rename_also_for_a_worker_that_is_started_anew(farm):
    cdb.replace(farm.map, {"anna": "first"})
    with farm.gate() as gate:
        assert farm.server_of(gate, "anna") == ["first"]
        cdb.replace(farm.map, {"anna": "second", "bert": "first"})
        gate.wait_for_log("a new map of 2 entries")
        farm.wait_server(gate, "anna", "second")
        for pid in gate.workers():
            gate.kill(pid, signal.SIGKILL)
        gate.wait_for_log("worker . serves again", count=2)
        farm.wait_server(gate, "anna", "second")
        assert farm.server_of(gate, "bert") == ["first"]


def test_a_session_that_is_logged_in_stays_where_it_is(farm):
    cdb.replace(farm.map, {"anna": "first"})
    with farm.gate() as gate, Wire(gate.port("pop3")) as wire:
        wire.expect("+OK")
        wire.command("USER anna", "+OK")
        wire.command("PASS secret", "+OK")
        cdb.replace(farm.map, {"anna": "second"})
        gate.wait_for_log("a new map of 1 entries")
        farm.wait_server(gate, "anna", "second")
        wire.command("STAT", "+OK 1")
        wire.quit()
        assert b"STAT" in farm.servers["first"].received


BAD = {
    "half": lambda good: good[:len(good) // 2],
    "no end": lambda good: good[:-8],
    "no header yet": lambda good: bytes(2048) + good[2048:],
    "empty": lambda good: b"",
    "text": lambda good: b"anna: second\n",
}


@pytest.mark.parametrize("kind", BAD)
def test_a_file_that_is_no_sound_map_keeps_the_old_one(farm, kind):
    cdb.replace(farm.map, {"anna": "first"})
    with farm.gate() as gate:
        good = cdb.octets({"anna": "second"})
        farm.map.write_bytes(BAD[kind](good))  # in place, as a writer that does not know better
        gate.wait_for_log("is no sound cdb map; the map from before stays")
        assert farm.server_of(gate, "anna") == ["first"]
        for pid in gate.workers():
            gate.kill(pid, signal.SIGKILL)
        gate.wait_for_log("worker . serves again", count=2)
        farm.wait_server(gate, "anna", "first")
        farm.map.write_bytes(good)
        gate.wait_for_log("a new map of 1 entries")
        farm.wait_server(gate, "anna", "second")
        assert len(re.findall("is no sound cdb map", gate.log())) == 1


def test_a_file_that_is_gone_keeps_the_old_map(farm):
    cdb.replace(farm.map, {"anna": "first"})
    away = farm.map.with_suffix(".away")
    with farm.gate() as gate:
        farm.map.rename(away)
        gate.wait_for_log("[Nn]o such file.*; the map from before stays")
        assert farm.server_of(gate, "anna") == ["first"]
        away.rename(farm.map)
        gate.wait_for_log("the map is as it was again")
        assert farm.server_of(gate, "anna") == ["first"]
        assert len(re.findall("the map from before stays", gate.log())) == 1


def test_one_file_serves_several_ports(farm):
    cdb.replace(farm.map, {"anna": "first"})
    more = {"listen pop3b": {"port": "111", "protocol": "pop3", "backend": "other", "default_backend": "other",
                             "route": f"user:cdb:{farm.map}", "route_backends": "first, second"}}
    with farm.gate(**more) as gate:
        cdb.replace(farm.map, {"anna": "second"})
        gate.wait_for_log("a new map of 1 entries")
        farm.wait_server(gate, "anna", "second")
        with Wire(gate.port("pop3b")) as wire:
            wire.expect("+OK")
            wire.command("USER anna", "+OK")
            wire.command("PASS secret", "+OK")
            wire.quit()
        assert farm.servers["second"].received.count(b"PASS") == 5
        assert len(re.findall("a new map", gate.log())) == 1


@pytest.mark.parametrize("content, words", [
    (None, "[Nn]o such file"),
    (b"", "is no sound cdb map"),
    (b"anna: first\n", "is no sound cdb map"),
])
def test_without_a_sound_map_there_is_no_start(farm, content, words):
    if content is not None:
        farm.map.write_bytes(content)
    gate = farm.gate()
    checked = subprocess.run([gate.build / "proxy" / "gatepost", "-t", "-c", gate.ini], capture_output=True, text=True,
                             timeout=60)
    started = subprocess.run([gate.build / "proxy" / "gatepost", "-c", gate.ini], capture_output=True, text=True,
                             timeout=60)
    gate.remove()
    for run in (checked, started):
        assert run.returncode == 78
        assert re.search(rf"\[listen pop3\] route = user:cdb:{re.escape(str(farm.map))}.*{words}", run.stdout + run.stderr)
