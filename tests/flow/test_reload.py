"""A reload and a change of certificates: what is new is served to new clients, nobody else notices, and what is not good
changes nothing.

Looked at from outside: sockets, /proc, the servers behind, mail on disk, and clients in the middle of something."""
import os
import re
import shutil
import signal
import socket
import time

import pytest

import cdb
import certificates
import gatepost as library
import messages
import proc
from backend import Backend, pop3_script
from certificates import client_context
from changes import (FAILED, UNCHANGED, ends, hup, lay, new_certificate, refused, reload, replace, serial, serial_of,
                     wait_serial)
from wire import Wire, pop3_session, smtp_session

needs_root = pytest.mark.skipif(not library.AS_ROOT, reason="looks into processes of other users")
ENVELOPE = (("MAIL FROM:<bert@example.org>", "250"), (f"RCPT TO:<{library.USER}>", "250"), ("DATA", "354"))


# what the tests do again and again


def login(gate, port="pop3", user="anna"):
    with Wire(gate.port(port)) as wire:
        wire.expect("+OK")
        wire.command(f"USER {user}", "+OK")
        wire.command("PASS secret", "+OK")
        wire.quit()


def programs(gate):
    """Pids of the workers of each kind, without sessions of the embedded ones."""
    return set(gate.workers()), set(gate.smtpd()), set(gate.pop3d())


@pytest.fixture
def two_servers(folder):
    """Two POP3 servers, and the gate before the first."""
    with Backend(folder / "old.sock", pop3_script()) as old, Backend(folder / "new.sock", pop3_script()) as new:
        yield old, new


def before(backend, **more):
    return library.Gatepost(library.overlay({"backend pop3": {"address": f"unix:{backend.address}"},
                                             "backend smtp": {"address": None}}, more), users=())


# listeners


def test_listeners_are_added_and_removed_while_others_serve(gatepost):
    gate = gatepost()
    with Wire(gate.port("pop3")) as witness:
        witness.expect("+OK")
        line = reload(gate, {"listen extra": {"port": 2525, "protocol": "smtp", "backend": "smtp"},
                             "listen smtp-alt": {"enabled": "no"}})
        assert f"+extra 127.0.0.1:{gate.port('extra')}" in line
        assert f"-smtp-alt 127.0.0.1:{gate.offset + 26}" in line
        with Wire(gate.port("extra")) as wire:
            smtp_session(wire).quit()
        assert refused(gate.port("smtp-alt"))
        line = reload(gate, {"listen extra": None, "listen smtp-alt": None})
        assert "+smtp-alt" in line and "-extra" in line
        assert refused(gate.offset + 2525)
        with Wire(gate.port("smtp-alt")) as wire:
            smtp_session(wire).quit()
        witness.command(f"USER {library.USER}", "+OK")
        witness.command(f"PASS {gate.password}", "+OK")
        witness.quit()


def test_a_listener_that_moves_to_another_name_stays_the_same_socket(gatepost):
    gate = gatepost()

    def inode():
        number = f":{gate.offset + 26:04X} "
        return [line.split()[9] for line in open("/proc/net/tcp") if number in line[:22] and " 0A " in line]

    first = inode()
    reload(gate, {"listen smtp-alt": {"enabled": "no"},
                  "listen other": {"port": 26, "protocol": "smtp", "backend": "smtp"}})
    assert inode() == first and len(first) == 1
    with Wire(gate.offset + 26) as wire:
        smtp_session(wire).quit()


def test_a_bind_of_all_addresses_becomes_one_of_single_ones_and_back(gatepost):
    gate = gatepost({"gatepost": {"bind": "127.0.0.1"}})
    assert refused(gate.port("pop3"), "127.0.0.2")
    for _ in range(2):
        reload(gate, {"gatepost": {"bind": "0.0.0.0"}})
        assert not refused(gate.port("pop3"), "127.0.0.2")
        reload(gate, {"gatepost": {"bind": "127.0.0.1"}})
        proc.wait_until(lambda: refused(gate.port("pop3"), "127.0.0.2"), 10, "127.0.0.2 closed")
        with Wire(gate.port("pop3")) as wire:
            wire.expect("+OK")
            wire.quit()
    with socket.socket() as rival:
        rival.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        with pytest.raises(OSError):
            rival.bind(("127.0.0.1", gate.port("pop3")))


# servers behind


def test_p5_old_sessions_keep_their_server_and_new_ones_get_the_new(two_servers):
    old, new = two_servers
    with before(old) as gate:
        with Wire(gate.port("pop3")) as in_session, Wire(gate.port("pop3")) as undecided:
            pop3_session(in_session, user="anna", password="secret")
            undecided.expect("+OK")
            logins = old.received.count(b"PASS")
            reload(gate, {"backend pop3": {"address": f"unix:{new.address}"}})
            login(gate)
            assert new.received.count(b"PASS") == 1 and old.received.count(b"PASS") == logins
            in_session.command("STAT", "+OK")
            in_session.quit()
            undecided.command("USER bert", "+OK")  # it began with the settings of before, and ends with them
            undecided.command("PASS secret", "+OK")
            undecided.quit()
            assert b"USER bert" in old.received and b"USER bert" not in new.received


def test_host_names_that_both_have_are_known_at_once_and_new_ones_are_looked_up_first(two_servers):
    with Backend(("127.0.0.1", 0), pop3_script()) as first, Backend(("127.0.0.1", 0), pop3_script()) as second:
        with before(two_servers[0]) as gate:
            for server in (first, second, first):
                for address in (f"localhost:{server.port}", f"localhost:{server.port}, unix:/nowhere"):
                    logins = server.received.count(b"PASS")
                    reload(gate, {"backend pop3": {"address": address}})
                    for _ in range(4):
                        login(gate)
                    assert server.received.count(b"PASS") == logins + 4


def test_an_outage_is_remembered_over_a_reload(two_servers):
    up, down = two_servers
    down.close()
    with before(up, **{"backend pop3": {"address": f"unix:{down.address}, unix:{up.address}"}}) as gate:
        login(gate)
        outages = r"new\.sock[^\n]*(cannot|refused|No such)"
        gate.wait_for_log(outages)
        count = len(re.findall(outages, gate.log()))
        for size in ("1KiB", "2KiB", "3KiB"):
            reload(gate, {"limits": {"read_size": size}})
            login(gate)
        assert len(re.findall(outages, gate.log())) == count, "one outage is one line"


def test_maps_of_routes_go_on_and_may_be_changed(two_servers, folder):
    first, second = two_servers
    for name, target in (("a", "first"), ("b", "second")):
        cdb.replace(folder / f"{name}.cdb", {"anna": target})
    sections = {"backend first": {"address": f"unix:{first.address}"},
                "backend second": {"address": f"unix:{second.address}"},
                "listen pop3": {"route": f"user:cdb:{folder / 'a.cdb'}", "route_backends": "first, second",
                                "backend": "second"}}
    with before(first, **sections) as gate:
        login(gate)
        reload(gate, {"limits": {"read_size": "1KiB"}})
        for _ in range(4):
            login(gate)
        assert first.received.count(b"USER anna") == 5 and b"USER anna" not in second.received
        reload(gate, {"listen pop3": {"route": f"user:cdb:{folder / 'b.cdb'}"}})
        proc.wait_until(lambda: login(gate) or b"USER anna" in second.received, 10, "anna at the second server")


# what is not good


@pytest.mark.parametrize("sections, words", [
    ({"gatepost": {"no_such_key": "1"}}, ["no_such_key", "gatepost.ini:"]),
    ({"listen pop3": {"port": "99999999"}, "limits": {"read_size": "a lot"}}, ["port", "read_size"]),
    ({"backend pop3": {"address": None}, "backend smtp": {"address": None}}, ["no port is opened"]),
    ({"gatepost": {"user": "no-such-user"}}, ["no-such-user"]),
    ({"tls default": {"key": "/no/such/key.pem"}}, ["[tls default] key", "/no/such/key.pem"]),
    ({"listen pop3": {"route": "user:cdb:/no/such.cdb", "route_backends": "pop3"}}, ["/no/such.cdb"]),
    ({"mailstore": {"path": "/dev/null/mail"}}, ["/dev/null/mail"]),
], ids=lambda value: None if isinstance(value, dict) else value[0])
def test_p6_bad_settings_change_nothing_and_each_diagnostic_is_in_the_log(gatepost, sections, words):
    gate = gatepost()
    family = programs(gate)
    good, smtp, pop3 = gate.sections, gate.port("smtp"), gate.port("pop3")
    reload(gate, {**sections, "listen smtp": {"enabled": "no"}}, FAILED)
    log = gate.log()
    assert all(word in log for word in words), log[-3000:]
    with Wire(smtp) as wire:
        smtp_session(wire).quit()
    with Wire(pop3) as wire:
        pop3_session(wire, user=library.USER, password=gate.password).quit()
    assert programs(gate) == family
    gate.sections = good
    gate.write_ini()
    reload(gate, outcome=UNCHANGED)


def test_p6_a_file_that_is_gone_changes_nothing(gatepost):
    gate = gatepost()
    gate.ini.rename(gate.folder / "elsewhere")
    reload(gate, outcome=FAILED)
    assert str(gate.ini) in gate.log()
    (gate.folder / "elsewhere").rename(gate.ini)
    reload(gate, outcome=UNCHANGED)


def test_p6_a_port_in_use_changes_nothing_and_its_owner_is_named(gatepost):
    gate = gatepost()
    port = gate.offset + 2525
    with socket.create_server(("127.0.0.1", port)):
        reload(gate, {"listen extra": {"port": 2525, "protocol": "smtp", "backend": "smtp"},
                      "listen another": {"port": 465, "protocol": "smtp", "backend": "smtp"},
                      "listen smtp-alt": {"enabled": "no"}}, FAILED)
        assert re.search(rf"port {port} \(extra, 127\.0\.0\.1\) is in use by .*process {os.getpid()}", gate.log())
        assert refused(gate.offset + 465), "what was bound before it is closed again"
        assert "listening on 127.0.0.1:%d" % (gate.offset + 465) not in gate.log()
        assert not refused(gate.offset + 26)
    assert "+extra" in reload(gate)


def test_p6_a_bad_certificate_changes_nothing_also_of_the_settings(gatepost):
    gate = gatepost()
    shown = serial(gate)
    certificates.write(gate.folder, names=("other.example",), prefix="other-")
    reload(gate, {"tls default": {"key": gate.folder / "other-key.pem"}, "listen smtp": {"enabled": "no"}}, FAILED)
    assert "[tls default]" in gate.log()
    assert serial(gate) == shown
    assert not refused(gate.port("smtp"))
    reload(gate, {"tls default": {"certificate": gate.folder / "other-cert.pem"}})
    assert serial(gate) != shown


def test_p6_an_embedded_worker_that_does_not_start_changes_nothing(folder):
    build = folder / "build"
    for name in library.PROGRAMS:
        (build / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(library.BUILD / name, build / name)
    shutil.copy2("/bin/true", build / "backends" / "gatepost-smtpd")
    with library.Gatepost({"backend smtp": {"address": None}}, build=build) as gate:
        family = programs(gate)
        reload(gate, {"backend smtp": {"address": "embedded"}}, FAILED)
        assert "gatepost-smtpd exited with code 0" in gate.log()
        assert refused(gate.port("smtp")) and not (gate.run / "smtp.sock").exists()
        proc.wait_until(lambda: programs(gate) == family, 10, "the processes as they were")
        with Wire(gate.port("pop3")) as wire:
            pop3_session(wire, user=library.USER, password=gate.password).quit()


@needs_root
def test_what_needs_a_restart_is_told_and_stays(gatepost):
    gate = gatepost()
    run = gate.run
    reload(gate, {"gatepost": {"user": "mail", "groups": "adm", "runtime_dir": gate.folder / "other-run",
                               "state_dir": gate.folder / "other-state"},
                  "listen smtp": {"enabled": "no"}})
    for key in ("user", "groups", "runtime_dir", "state_dir"):
        assert re.search(rf"\[gatepost\] {key}: a change needs a restart", gate.log())
    assert not (gate.folder / "other-run").exists() and not (gate.folder / "other-state").exists()
    assert (run / "pop3.sock").exists()
    for pid in gate.workers():
        assert proc.status(pid)["Uid"].split()[0] == str(shutil.os.stat(gate.run / "pop3.sock").st_uid)


# certificates


def test_a_certificate_that_is_replaced_by_rename_is_served_to_new_clients(gatepost):
    gate = gatepost()
    chain, key = new_certificate()
    with Wire(gate.port("pop3s")) as witness:
        witness.start_tls(client_context())
        witness.expect("+OK")
        replace(gate.folder / "key.pem", key)
        replace(gate.folder / "cert.pem", chain)
        wait_serial(gate, chain)
        witness.command("CAPA", "+OK")
        witness.multiline()
        witness.quit()
    assert re.search(r"reload \d+: in use \(certificates default\)", gate.log())
    assert " error " not in gate.log()


def test_a_certificate_behind_links_is_picked_up_when_the_link_moves(gatepost):
    """As certbot has it: live/NAME/*.pem lead to ../../archive/NAME/*N.pem."""
    gate = library.Gatepost()
    archive, live = gate.folder / "archive" / "name", gate.folder / "live" / "name"
    archive.mkdir(parents=True)
    live.mkdir(parents=True)

    def issue(number):
        chain, key = new_certificate()
        for name, octets in (("fullchain", chain), ("privkey", key)):
            path = archive / f"{name}{number}.pem"
            path.touch(mode=0o600)
            path.write_bytes(octets)
            link = live / f".{name}.new"
            link.symlink_to(f"../../archive/name/{name}{number}.pem")
            link.rename(live / f"{name}.pem")
        return chain

    issue(1)
    gate.sections["tls default"] = {"certificate": live / "fullchain.pem", "key": live / "privkey.pem"}
    gate.write_ini()
    with gate:
        wait_serial(gate, issue(2))
        chain, key = new_certificate()  # in place, where the links lead to
        replace(archive / "privkey2.pem", key)
        replace(archive / "fullchain2.pem", chain)
        wait_serial(gate, chain)


def test_p6_a_broken_certificate_is_not_served_and_told_once(gatepost):
    gate = gatepost()
    shown = serial(gate)
    good = (gate.folder / "cert.pem").read_bytes()
    replace(gate.folder / "cert.pem", good[:200])
    gate.wait_for_log(r"reload \d+ failed: nothing was changed", timeout=40)
    assert re.search(r"error.*\[tls default\] certificate", gate.log())
    assert serial(gate) == shown
    for pid in gate.workers()[:1]:
        gate.kill(pid)
    gate.wait_for_log("worker . serves again")
    assert serial(gate) == shown, "one that starts gets what is in use, not what is on disk"
    replace(gate.folder / "cert.pem", good)
    gate.wait_for_log("certificates and keys are as they were again", timeout=40)
    assert len(re.findall("failed: nothing was changed", gate.log())) == 1


def test_a_key_and_a_certificate_one_after_the_other_give_no_line_of_error(gatepost):
    gate = gatepost()
    chain, key = new_certificate()
    shown = serial(gate)
    replace(gate.folder / "key.pem", key)
    end = time.monotonic() + 3  # it is looked at meanwhile, more than once
    while time.monotonic() < end:
        assert serial(gate) == shown
        time.sleep(0.2)
    replace(gate.folder / "cert.pem", chain[:len(chain) // 2])
    with open(gate.folder / "cert.pem", "wb") as file:  # not by rename, and in two parts
        file.write(chain[:100])
        file.flush()
        time.sleep(1.5)
        file.write(chain[100:])
    wait_serial(gate, chain)
    assert "error" not in gate.log() and "failed" not in gate.log(), gate.log()[-3000:]


def folder_of_customers(folder, *names):
    """A folder with a certificate for each; returns it and the chains."""
    folder = folder / "customers"
    folder.mkdir()
    chains = {}
    for name in names:
        chains[name], key = new_certificate((name,))
        replace(folder / f"{name}.pem", chains[name] + key)
    return folder, chains


def test_p6_a_broken_certificate_in_a_folder_leaves_what_it_was_in_use_and_others_change(gatepost, folder):
    customers, chains = folder_of_customers(folder, "a.example", "b.example")
    gate = gatepost({"tls customers": {"directory": customers}})

    def shown():
        return {name: serial(gate, name=name) for name in chains}

    def wanted():
        return {name: serial_of(chain) for name, chain in chains.items()}

    assert shown() == wanted()
    chains["b.example"], key = new_certificate(("b.example",))
    replace(customers / "a.example.pem", b"nothing of use")
    replace(customers / "b.example.pem", chains["b.example"] + key)
    proc.wait_until(lambda: shown() == wanted(), 40, "the new b.example beside the old a.example")
    assert re.search(r"warning .*a\.example\.pem: what was there before stays in use", gate.log())
    assert "error" not in gate.log()
    reload(gate, {"listen smtp-alt": {"enabled": "no"}})
    assert shown() == wanted()
    chains["a.example"], key = new_certificate(("a.example",))
    replace(customers / "a.example.pem", chains["a.example"] + key)
    proc.wait_until(lambda: shown() == wanted(), 40, "the new a.example")
    chains["c.example"], key = new_certificate(("c.example",))
    replace(customers / "c.example.pem", chains["c.example"] + key)
    proc.wait_until(lambda: shown() == wanted(), 40, "c.example")


def test_a_half_written_key_fails_a_reload_that_is_asked_for(gatepost):
    gate = gatepost()
    shown = serial(gate)
    chain, key = new_certificate()
    replace(gate.folder / "key.pem", key[:50])
    reload(gate, {"listen smtp": {"enabled": "no"}}, FAILED)
    assert serial(gate) == shown and not refused(gate.port("smtp"))
    replace(gate.folder / "key.pem", key)
    replace(gate.folder / "cert.pem", chain)
    reload(gate)
    assert serial(gate) == serial_of(chain) and refused(gate.port("smtp"))


# workers


def into_data(gate, port="smtp"):
    """A session in the middle of a message."""
    return smtp_session(Wire(gate.port(port))).commands(*ENVELOPE)


def into_retr(gate, user):
    """A session that has asked for a large message, and reads it when the test does."""
    wire = pop3_session(Wire(gate.port("pop3")), user=user, password=gate.password)
    wire.command("RETR 1", "+OK")
    return wire


def deliver(gate, message, user=library.USER):
    with smtp_session(Wire(gate.port("smtp"))) as wire:
        wire.commands(ENVELOPE[0], (f"RCPT TO:<{user}>", "250"), ENVELOPE[2])
        wire.send(messages.stuffed(message))
        wire.expect("250")
        wire.quit()


def test_the_number_of_workers_follows_the_settings(gatepost):
    gate = gatepost({"gatepost": {"workers": "2", "drain_timeout": "1s"}})
    first = set(gate.workers())
    witnesses = [into_data(gate) for _ in range(8)]
    reload(gate, {"gatepost": {"workers": "4"}})
    proc.wait_until(lambda: len(gate.workers()) == 4, 20, "four workers")
    assert first < set(gate.workers())
    reload(gate, {"gatepost": {"workers": "1"}})
    for number, wire in enumerate(witnesses):
        wire.send(messages.stuffed(messages.trap_message(8192, token=b"%d" % number)))
        wire.expect("250")
        wire.quit()
    proc.wait_until(lambda: len(gate.workers()) == 1, 20, "one worker, once the sessions of the others have ended")
    assert len(gate.messages()) == 8
    one = gate.workers()
    reload(gate, {"gatepost": {"workers": "3"}})
    proc.wait_until(lambda: len(gate.workers()) == 3, 20, "three workers")
    assert set(one) < set(gate.workers())
    assert "started again" not in gate.log() and "was ended by" not in gate.log()


def test_embedded_workers_are_replaced_only_where_their_settings_change(gatepost):
    gate = gatepost({"gatepost": {"drain_timeout": "1s"}})
    smtpd, pop3d = gate.smtpd(), gate.pop3d()
    with into_data(gate) as witness:
        reload(gate, {"backend pop3": {"connect_timeout": "7s"}, "listen smtp-alt": {"detect": "no"}})
        assert (gate.smtpd(), gate.pop3d()) == (smtpd, pop3d)
        with Wire(gate.port("smtp-alt")) as wire:
            assert b"250-SIZE 52428800" in smtp_session(wire).command("EHLO me", "250")
        reload(gate, {"mailstore": {"message_size_limit": "4096"}})
        with Wire(gate.port("smtp-alt")) as wire:
            assert b"250-SIZE 4096" in smtp_session(wire).command("EHLO me", "250")
            wire.command("MAIL FROM:<a@example.org> SIZE=8000", "552")
        assert len(gate.smtpd()) == 2 and smtpd[0] in gate.smtpd(), "the one before lives for its session"
        proc.wait_until(lambda: len(gate.pop3d()) == 1 and gate.pop3d() != pop3d, 20, "another gatepost-pop3d")
        time.sleep(1.2)  # longer than drain_timeout
        witness.send(messages.stuffed(messages.trap_message(8192)))
        witness.expect("250")
        witness.quit()
    proc.wait_until(lambda: len(gate.smtpd()) == 1 and gate.smtpd() != smtpd, 20, "the one before has ended")
    assert len(gate.messages()) == 1


def test_an_embedded_worker_that_nobody_names_any_more_lives_for_the_sessions_of_before(two_servers, gatepost):
    gate = gatepost({"gatepost": {"drain_timeout": "1s"}})
    deliver(gate, messages.trap_message(8192))
    pop3d = gate.pop3d()
    with Wire(gate.port("pop3")) as undecided:
        undecided.expect("+OK")
        reload(gate, {"backend pop3": {"address": f"unix:{two_servers[0].address}"}})
        login(gate)
        assert gate.pop3d() == pop3d and (gate.run / "pop3.sock").exists()
        undecided.command(f"USER {library.USER}", "+OK")
        undecided.command(f"PASS {gate.password}", "+OK")
        undecided.command("STAT", "+OK 1")
        undecided.quit()
    proc.wait_until(lambda: not gate.pop3d() and not (gate.run / "pop3.sock").exists(), 20, "its end")
    reload(gate, {"backend pop3": {"address": "embedded"}})
    with Wire(gate.port("pop3")) as wire:
        pop3_session(wire, user=library.USER, password=gate.password).command("STAT", "+OK 1")
        wire.quit()


def test_an_embedded_worker_that_is_leaving_may_be_wanted_again(two_servers, gatepost):
    gate = gatepost()
    pop3d = gate.pop3d()
    with Wire(gate.port("pop3")) as undecided:
        undecided.expect("+OK")
        for address in (f"unix:{two_servers[0].address}", "embedded", f"unix:{two_servers[1].address}", "embedded"):
            reload(gate, {"backend pop3": {"address": address}})
        assert gate.pop3d() == pop3d and (gate.run / "pop3.sock").exists()
    with Wire(gate.port("pop3")) as wire:
        pop3_session(wire, user=library.USER, password=gate.password).quit()


# P5: nobody else notices


@needs_root
def test_p5_sessions_in_data_and_retr_go_on_over_many_reloads_and_nothing_is_left_of_them():
    users = [f"reader{number}@{library.DOMAIN}" for number in range(4)]
    gate = library.Gatepost({"gatepost": {"workers": 2, "drain_timeout": "1s"}}, users=(library.USER, *users))
    gate.environment["ASAN_OPTIONS"] += ":quarantine_size_mb=1"  # what is freed is free
    with gate:
        large = messages.large_message(3 * 1024 * 1024)
        for user in users:
            deliver(gate, large, user)
        p5_many_reloads(gate, users, large)
        assert "started again" not in gate.log()


def p5_many_reloads(gate, users, large):
    def reload_all(times):
        for number in range(times):
            reload(gate, {"gatepost": {"no_such": "1"}}, FAILED)
            reload(gate, {"gatepost": {"no_such": None}, "limits": {"max_errors": 5 + number % 2}})

    def state():
        gate.wait_idle()
        proc.wait_until(lambda: len(gate.smtpd()) == len(gate.pop3d()) == 1, 20, "no embedded worker of before")
        family = [gate.process.pid, *gate.workers(), *gate.smtpd(), *gate.pop3d()]
        return len(family), [proc.descriptor_count(pid) for pid in family], [proc.memory_kib(pid, "Rss") for pid in family]

    reload_all(6)
    count, descriptors, memory = state()
    senders = [into_data(gate, port) for port in ("smtp", "smtp-alt", "submission", "smtp")]
    readers = [into_retr(gate, user) for user in users]
    parts = [messages.stuffed(messages.trap_message(64 * 1024, token=b"s%d" % number)) for number in range(len(senders))]
    received = [b""] * len(readers)
    for step in range(4):
        for wire, part in zip(senders, parts):
            wire.send(part[step * 16384:(step + 1) * 16384])
        for number, wire in enumerate(readers):
            received[number] += wire.read_exactly(len(large) // 8)
        reload_all(2)
    for wire, part in zip(senders, parts):
        wire.send(part[4 * 16384:])
        wire.expect("250")
        wire.quit()
    for number, wire in enumerate(readers):
        received[number] += wire.read_until(b"\r\n.\r\n")
        whole = messages.BEGIN + received[number].partition(messages.BEGIN)[2]
        assert messages.difference(messages.stuffed(large), whole) == ""
        wire.quit()
    assert len(gate.messages()) == len(senders)
    count_now, descriptors_now, memory_now = state()
    assert (count_now, descriptors_now) == (count, descriptors)
    grown = [now - before for now, before in zip(memory_now, memory)]
    assert max(grown) < 6 * 1024, f"memory grew by {grown} KiB, from {memory}"


def test_p5_a_worker_that_is_killed_during_a_reload_comes_back_with_the_new_settings(two_servers):
    old, new = two_servers
    with before(old, gatepost={"workers": 3}) as gate:
        for round_, server in enumerate((new, old, new, old)):
            workers = gate.workers()
            lay(gate, {"backend pop3": {"address": f"unix:{server.address}"}})
            hup(gate)
            gate.kill(workers[0])
            gate.wait_for_log(r"reload \d+: in use", count=round_ + 1)
            gate.wait_for_log(r"worker \d serves again", count=round_ + 1)
            logins = server.received.count(b"PASS")
            for _ in range(6):
                login(gate)
            assert server.received.count(b"PASS") == logins + 6


def test_p5_a_worker_that_hangs_during_a_reload_takes_the_newest_settings_when_it_wakes(two_servers):
    old, new = two_servers
    with before(old, gatepost={"workers": 2}) as gate:
        hung = gate.workers()[0]
        with Wire(gate.port("pop3")) as witness:
            pop3_session(witness, user="anna", password="secret")
            os.kill(hung, signal.SIGSTOP)
            try:
                reload(gate, {"backend pop3": {"address": f"unix:{new.address}"}})
                assert re.search("worker . has not taken the new configuration yet", gate.log())
                lay(gate, {"backend pop3": {"connect_timeout": "9s"}})
                hup(gate)
            finally:
                os.kill(hung, signal.SIGCONT)
            gate.wait_for_log(r"reload 2: in use")
            witness.command("STAT", "+OK")
            witness.quit()
        logins = old.received.count(b"PASS")
        for _ in range(8):
            login(gate)
        assert old.received.count(b"PASS") == logins
        assert hung in gate.workers()


def test_a_storm_of_hups_is_a_few_reloads(gatepost):
    gate = gatepost()
    for number in range(50):
        lay(gate, {"limits": {"max_errors": 5 + number}})
        hup(gate)
        time.sleep(0.01)
    gate.wait_for_log(r"reload \d+: in use")
    reload(gate, {"limits": {"max_errors": 99}})
    count = len(ends(gate))
    assert 2 <= count <= 20, f"{count} reloads for 51 signals"
    assert len(gate.workers()) == 2


@pytest.mark.parametrize("delay", [0, 0.01, 0.03, 0.1])
def test_term_during_a_reload_ends_all(gatepost, delay):
    gate = gatepost()
    lay(gate, {"mailstore": {"message_size_limit": "4096"}, "backend other": {"address": "name.invalid:25"},
               "listen smtp-alt": {"backend": "other"}})
    hup(gate)
    time.sleep(delay)
    gate.process.send_signal(signal.SIGTERM)
    assert gate.process.wait(30) == 0
    assert list(gate.run.iterdir()) == []


def test_a_hup_during_the_start_is_done_behind_it():
    with library.Gatepost() as gate:
        gate.stop()
    gate = library.Gatepost()
    gate.start(wait=False)
    proc.wait_until(lambda: "starts" in gate.log(), 30, "the start")
    hup(gate)
    gate.wait_ready()
    gate.wait_for_log("reload 1: nothing has changed")
    gate.stop()
    gate.remove()


def test_p5_a_worker_without_descriptors_for_the_new_listeners_keeps_its_sessions_and_another_serves(two_servers):
    old, new = two_servers
    gate = library.Gatepost({"backend pop3": {"address": f"unix:{old.address}"}, "backend smtp": {"address": None},
                             "gatepost": {"workers": 1, "drain_timeout": "1s"}}, users=(),
                            prefix=("prlimit", "--nofile=220:220"))
    with gate:
        full = gate.workers()
        limit = int(re.search(r"serves at most (\d+) sessions", gate.log())[1])
        wires = [pop3_session(Wire(gate.port("pop3")), user="anna", password="secret") for _ in range(limit - 1)]
        many = ",\n  ".join(f"127.0.0.{number}" for number in range(1, 61))
        reload(gate, {"listen pop3": {"bind": many}, "backend pop3": {"address": f"unix:{new.address}"}})
        gate.wait_for_log("worker 0 cannot take the new configuration: another takes its place")
        proc.wait_until(lambda: not refused(gate.port("pop3"), "127.0.0.60"), 20, "the new listeners")
        proc.wait_until(lambda: login(gate) or b"PASS" in new.received, 20, "the new server")
        for wire in wires:
            wire.command("STAT", "+OK")
            wire.quit()
        proc.wait_until(lambda: len(gate.workers()) == 1 and gate.workers() != full, 20, "the end of the worker of before")
