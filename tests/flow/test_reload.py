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
from backend import Backend, pop3_script, smtp_script
from certificates import client_context
from wire import Wire, pop3_session, smtp_session

needs_root = pytest.mark.skipif(not library.AS_ROOT, reason="looks into processes of other users")
ENVELOPE = (("MAIL FROM:<bert@example.org>", "250"), (f"RCPT TO:<{library.USER}>", "250"), ("DATA", "354"))
IN_USE, FAILED, UNCHANGED = "in use", "failed: nothing was changed", "nothing has changed"


# what the tests do again and again


def lay(gate, sections):
    """Writes these sections over the settings; None removes one, or a key."""
    gate.sections = library.overlay(gate.sections, sections)
    gate.write_ini()


def ends(gate):
    return re.findall(r"reload \d+(?: failed)?: (?:in use|nothing was changed|nothing has changed)", gate.log())


def hup(gate):
    gate.process.send_signal(signal.SIGHUP)


def reload(gate, sections=None, outcome=IN_USE):
    """Over new settings, to the end; returns the words of the line that tells it."""
    if sections is not None:
        lay(gate, sections)
    before = len(ends(gate))
    hup(gate)
    proc.wait_until(lambda: len(ends(gate)) > before, 30, lambda: f"the end of a reload:\n{gate.log()[-3000:]}")
    line = [line for line in gate.log().splitlines() if re.search(r"reload \d+( failed)?: (in|nothing)", line)][-1]
    assert outcome in line, gate.log()[-3000:]
    return line


def refused(port, host="127.0.0.1"):
    try:
        socket.create_connection((host, port), 5).close()
    except (ConnectionRefusedError, ConnectionResetError):
        return True
    return False


def serial(gate, port="pop3s", name="localhost"):
    """The serial number of the certificate that a new client is shown."""
    context = client_context(verify=False)
    with Wire(gate.port(port)) as wire:
        wire.start_tls(context, name)
        certificate = wire.tls.getpeercert(binary_form=True)
        wire.expect("+OK")
        wire.quit()
    return serial_of(certificate)


def serial_of(certificate):
    from cryptography import x509

    load = x509.load_pem_x509_certificate if certificate.startswith(b"-----") else x509.load_der_x509_certificate
    return load(certificate).serial_number


def new_certificate(names=certificates.NAMES):
    """(chain, key) as PEM, of our authority, another one each time."""
    leaf = certificates.authority().issue_cert(*names, common_name=names[0])
    return b"".join(blob.bytes() for blob in leaf.cert_chain_pems), leaf.private_key_pem.bytes()


def replace(path, octets):
    """Written beside it, then renamed."""
    beside = path.with_name(f".{path.name}.new")
    beside.touch(mode=0o600)
    beside.write_bytes(octets)
    os.rename(beside, path)


def login(gate, port="pop3", user="anna"):
    with Wire(gate.port(port)) as wire:
        wire.expect("+OK")
        wire.command(f"USER {user}", "+OK")
        wire.command("PASS secret", "+OK")
        wire.quit()


def wait_serial(gate, chain, timeout=30):
    wanted = serial_of(chain)
    proc.wait_until(lambda: all(serial(gate) == wanted for _ in range(4)), timeout, "the new certificate for new clients")


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
