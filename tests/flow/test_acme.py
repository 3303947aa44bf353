"""Certificates of ACME clients: what the deploy hooks in conf/hooks do to the files, and real clients and a real ACME
server (Pebble) with a Gatepost that runs meanwhile."""
import grp
import itertools
import os
import re
import shutil
import stat
import subprocess

import pytest

import acme
import certificates
import gatepost as library
import messages
from certificates import client_context
from wire import Wire, pop3_session, smtp_session

HOOKS = library.ROOT / "conf" / "hooks"
ENVELOPE = (("MAIL FROM:<bert@example.org>", "250"), (f"RCPT TO:<{library.USER}>", "250"), ("DATA", "354"))


def environment(ini, **more):
    path = f"{library.PROXY.parent}:{os.environ['PATH']}"
    return {"PATH": path, "GATEPOST_CONFIG": str(ini), "GATEPOST_GROUP": "adm", **more}


# real clients, a real server


@pytest.fixture(scope="module")
def pebble():
    with acme.Pebble() as pebble:
        yield pebble


def shown(gate, port, kind, context):
    """The serial number that a new client is shown, which trusts `context` alone."""
    from cryptography import x509

    with Wire(gate.port(port)) as wire:
        if kind == "starttls":
            wire.expect("+OK")
            wire.command("STLS", "+OK")
        wire.start_tls(context, certificates.HOSTNAME)
        serial = x509.load_der_x509_certificate(wire.tls.getpeercert(binary_form=True)).serial_number
        if kind == "implicit":
            wire.expect("+OK")
        wire.quit()
    return serial


@pytest.mark.parametrize("client", [acme.dehydrated, acme.uacme], ids=lambda client: client.__name__)
def test_p5_a_certificate_that_is_issued_is_served_without_a_signal_and_sessions_go_on(pebble, folder, client):
    with library.Gatepost() as gate:
        before = gate.workers() + gate.smtpd() + gate.pop3d()
        message = messages.trap_message(32 * 1024)
        octets = messages.stuffed(message)
        with Wire(gate.port("smtp")) as sending, Wire(gate.port("pop3s")) as fetching:
            smtp_session(sending, client_context(), "starttls").commands(*ENVELOPE)
            sending.send(octets[:10000])
            pop3_session(fetching, client_context(), "implicit", library.USER, gate.password)

            said = client(pebble, folder, HOOKS / client.__name__, environment(gate.ini))
            assert f"gatepost: {gate.folder}/cert.pem is in place" in said
            gate.wait_for_log(r"reload \d+: in use \(certificates default\)", timeout=30)
            context = pebble.client_context()
            serials = {shown(gate, port, kind, context) for port, kind in
                       (("pop3", "starttls"), ("pop3s", "implicit"), ("pop3", "implicit"), ("pop3s", "implicit"))}
            assert len(serials) == 1

            sending.send(octets[10000:])
            sending.expect("250")
            fetching.commands(("STAT", "+OK 0"), ("NOOP", "+OK"))
            sending.quit()
            fetching.quit()
        assert gate.workers() + gate.smtpd() + gate.pop3d() == before, "nobody was restarted"
        assert [messages.difference(message, messages.own_part(one)) for one in gate.messages()] == [""]

        if client is acme.uacme:  # a renewal, with the key that it has
            key = (gate.folder / "key.pem").stat()
            client(pebble, folder, HOOKS / "uacme", environment(gate.ini))
            gate.wait_for_log(r"reload \d+: in use \(certificates default\)", timeout=30, count=2)
            assert shown(gate, "pop3s", "implicit", context) not in serials
            assert (gate.folder / "key.pem").stat().st_ino == key.st_ino, "a key that is the same is not touched"
        assert " error " not in gate.log(), "no state between was told of"


# what the hooks do to the files


def test_every_hook_is_a_script_that_each_shell_of_debian_understands():
    scripts = sorted(path.name for path in HOOKS.iterdir() if path.name != "meson.build")
    assert scripts == ["certbot", "dehydrated", "deploy", "lego", "uacme"]
    for name, shell in itertools.product(scripts, (["dash"], ["bash"], ["bash", "--posix"])):
        result = subprocess.run([*shell, "-n", HOOKS / name], capture_output=True, text=True, timeout=30)
        assert (result.returncode, result.stderr) == (0, ""), (shell, name)
        assert os.access(HOOKS / name, os.X_OK)


def make_pair(folder, *names, kind="rsa:2048"):
    """(chain, key): paths of a new certificate that signs itself."""
    folder.mkdir(exist_ok=True)
    chain, key = folder / "fullchain.pem", folder / "privkey.pem"
    kind = ["ec", "-pkeyopt", "ec_paramgen_curve:P-256"] if kind == "ec" else [kind]
    subprocess.run(["openssl", "req", "-x509", "-nodes", "-newkey", *kind, "-keyout", key, "-out", chain, "-days", "30",
                    "-subj", f"/CN={names[0]}", "-addext", "subjectAltName=" + ",".join(f"DNS:{name}" for name in names)],
                   check=True, capture_output=True)
    return chain, key


class Host:
    """A folder with settings, and what a hook says there."""

    def __init__(self, folder, tls):
        self.folder = folder
        self.ini = folder / "gatepost.ini"
        self.ini.write_text("[gatepost]\nhostname = mail.example.org\n" + tls.replace("HERE", str(folder)))
        self.new = folder / "new"

    def deploy(self, *words, code=0, hook="deploy", **more):
        result = subprocess.run([HOOKS / hook, *words], env=environment(self.ini, **more), capture_output=True, text=True,
                                timeout=30)
        assert result.returncode == code, result.stdout + result.stderr
        return result.stdout + result.stderr

    def files(self):
        """{name: octets} of all but the settings and the new files."""
        return {str(path.relative_to(self.folder)): path.read_bytes() for path in self.folder.rglob("*")
                if path.is_file() and path != self.ini and self.new not in path.parents}


TWO_FILES = "[tls default]\ncertificate = HERE/c.pem\nkey = HERE/k.pem\n"


def place(path):
    status = path.stat()
    return stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid


def test_new_files_may_be_read_by_those_who_need_them(folder):
    host = Host(folder, TWO_FILES)
    chain, key = make_pair(host.new, "mail.example.org")
    host.deploy(chain, key)
    assert host.files() == {"c.pem": chain.read_bytes(), "k.pem": key.read_bytes()}
    assert place(folder / "c.pem") == (0o644, os.geteuid(), os.getegid())
    assert place(folder / "k.pem") == (0o640, os.geteuid(), grp.getgrnam("adm").gr_gid)


def test_without_that_group_a_new_key_is_its_owners_alone(folder):
    host = Host(folder, TWO_FILES)
    host.deploy(*make_pair(host.new, "mail.example.org"), GATEPOST_GROUP="no-such-group")
    assert place(folder / "k.pem")[0] == 0o600


def test_files_keep_their_owner_and_mode(folder):
    host = Host(folder, TWO_FILES)
    for name, mode in (("c.pem", 0o640), ("k.pem", 0o400)):
        (folder / name).write_text("old\n")
        os.chown(folder / name, 12345, 12346)
        (folder / name).chmod(mode)
    chain, key = make_pair(host.new, "mail.example.org")
    host.deploy(chain, key)
    assert host.files() == {"c.pem": chain.read_bytes(), "k.pem": key.read_bytes()}
    assert place(folder / "c.pem") == (0o640, 12345, 12346)
    assert place(folder / "k.pem") == (0o400, 12345, 12346)


def test_both_are_on_disk_before_either_is_in_place(folder):
    host = Host(folder, TWO_FILES)
    chain, key = make_pair(host.new, "mail.example.org")
    subprocess.run(["strace", "-f", "-y", "-qq", "-e", "trace=fsync,rename,renameat,renameat2", "-e", "signal=none", "-o",
                    folder / "new" / "trace", HOOKS / "deploy", chain, key], check=True, capture_output=True,
                   env={**environment(host.ini), "ASAN_OPTIONS": "detect_leaks=0"}, timeout=60)
    calls = re.findall(r"(fsync|rename)\w*\((.*)\) += 0$", (folder / "new" / "trace").read_text(), re.M)
    order = [(call, re.findall(rf"{folder}(/[.\w]+|(?=>))", words)) for call, words in calls]
    assert [call for call, _ in order[:4]] == ["fsync", "fsync", "rename", "rename"]
    assert [words[-1] for _, words in order[2:4]] == ["/k.pem", "/c.pem"]
    assert sorted(words[0] for _, words in order[:2]) == sorted(words[0] for _, words in order[2:4])
    assert {call for call, _ in order[4:]} == {"fsync"}, "of the folder"


def test_one_file_of_both_is_replaced_in_one_step_and_gatepost_takes_it(folder):
    with library.Gatepost() as gate:
        both = gate.folder / "both.pem"
        host = Host(folder, f"[tls default]\ncertificate = {both}\nkey = {both}\n")
        chain, key = make_pair(host.new, "mail.example.org")
        host.deploy(chain, key)
        assert both.read_bytes() == chain.read_bytes() + key.read_bytes()
        assert place(both)[0] == 0o640
        gate.sections["tls default"] = {"certificate": both, "key": both}
        gate.write_ini()
        result = subprocess.run([library.PROXY, "-t", "-c", gate.ini], capture_output=True, text=True, timeout=30)
        assert result.returncode == 0, result.stderr


def test_what_does_not_belong_together_is_refused_and_nothing_touched(folder):
    host = Host(folder, TWO_FILES)
    host.deploy(*make_pair(host.new, "mail.example.org"))
    before = host.files()
    chain, _ = make_pair(folder / "new" / "other", "mail.example.org")
    said = host.deploy(chain, host.new / "privkey.pem", code=1)
    assert "do not belong together" in said
    for broken in (host.new / "missing", host.ini):
        host.deploy(broken, host.new / "privkey.pem", code=1)
    host.ini.write_text("[gatepost]\nhostnam = mail.example.org\n")
    assert "the settings are at fault" in host.deploy(*make_pair(host.new, "mail.example.org"), code=1)
    assert host.files() == before


def test_what_is_in_place_already_is_left_as_it_is(folder):
    host = Host(folder, TWO_FILES)
    pair = make_pair(host.new, "mail.example.org")
    host.deploy(*pair)
    before = [(folder / name).stat().st_ino for name in ("c.pem", "k.pem")]
    host.deploy(*pair)
    assert [(folder / name).stat().st_ino for name in ("c.pem", "k.pem")] == before
    host = Host(folder, f"[tls default]\ncertificate = {pair[0]}\nkey = {pair[1]}\n")
    assert "is where it belongs already" in host.deploy(*pair)
    assert pair[1].read_bytes().startswith(b"-----BEGIN PRIVATE KEY")


SECTIONS = """[tls default]
certificate = HERE/default.pem
key = HERE/default.pem
[tls shop.example.net]
certificate = HERE/shop.pem
key = HERE/shop.pem
[tls many]
certificate = HERE/many.pem
key = HERE/many.pem
names = pop.example.com, smtp.example.com
[tls sites]
directory = HERE/sites
"""


@pytest.mark.parametrize("names, expected", [
    (("mail.example.org",), {"default.pem"}),
    (("MAIL.Example.ORG",), {"default.pem"}),
    (("*.example.org",), {"default.pem"}),
    (("www.example.org", "mail.example.org"), {"default.pem"}),
    (("shop.example.net",), {"shop.pem"}),
    (("example.com", "smtp.example.com"), {"many.pem"}),
    (("*.example.com",), {"many.pem"}),
    (("mail.example.org", "shop.example.net"), {"default.pem", "shop.pem"}),
    (("www.example.org",), set()),
    (("example.org",), set()),
    (("*.mail.example.org",), set()),
    (("*.org",), set()),
    (("many.example.com",), set()),
], ids=lambda value: "+".join(value) if isinstance(value, tuple) else "")
def test_a_certificate_goes_where_its_names_are_served_and_nowhere_else(folder, names, expected):
    host = Host(folder, SECTIONS)
    (folder / "sites").mkdir()
    chain, key = make_pair(host.new, *names, kind="ec")
    said = host.deploy(chain, key)
    assert host.files() == {name: chain.read_bytes() + key.read_bytes() for name in expected}
    assert expected or "no section is for" in said


def test_the_operator_may_say_which_section_it_is_for(folder):
    host = Host(folder, SECTIONS)
    (folder / "sites").mkdir()
    pair = make_pair(host.new, "*.elsewhere.example", kind="ec")
    host.deploy(*pair, GATEPOST_TLS="many")
    assert set(host.files()) == {"many.pem"}
    host.deploy(*pair, GATEPOST_TLS="sites")
    assert set(host.files()) == {"many.pem", "sites/elsewhere.example.pem"}
    assert "[tls none]" in host.deploy(*pair, GATEPOST_TLS="none", code=1)
    host.deploy(*pair, GATEPOST_CERTIFICATE=str(folder / "a"), GATEPOST_KEY=str(folder / "b"))
    assert set(host.files()) == {"many.pem", "sites/elsewhere.example.pem", "a", "b"}


def test_a_renewal_goes_to_the_file_whose_names_it_has(folder):
    host = Host(folder, TWO_FILES + "[tls other]\ncertificate = HERE/o.pem\nkey = HERE/o.pem\n")
    host.deploy(*make_pair(host.new, "pop.example.net"), GATEPOST_TLS="other")
    before = host.files()
    host.deploy(*make_pair(host.new, "pop.example.net", "smtp.example.net"))
    assert set(host.files()) == {"o.pem"} and host.files() != before


def test_of_two_kinds_of_key_the_same_kind_is_replaced(folder):
    host = Host(folder, "[tls default]\ncertificate = HERE/rsa.pem, HERE/ec.pem\nkey = HERE/rsa.key, HERE/ec.key\n")
    new_ec = make_pair(host.new, "mail.example.org", kind="ec")
    assert "GATEPOST_CERTIFICATE" in host.deploy(*new_ec, code=1), "nothing is there yet"
    for kind in ("rsa", "ec"):
        make_pair(folder / "old", "mail.example.org", kind=kind if kind == "ec" else "rsa:2048")
        shutil.copy(folder / "old" / "fullchain.pem", folder / f"{kind}.pem")
        shutil.copy(folder / "old" / "privkey.pem", folder / f"{kind}.key")
    before = host.files()
    host.deploy(*new_ec)
    changed = {name: octets for name, octets in host.files().items() if octets != before[name]}
    assert changed == {"ec.pem": new_ec[0].read_bytes(), "ec.key": new_ec[1].read_bytes()}


def test_each_clients_hook_finds_the_files_as_that_client_names_them(folder):
    host = Host(folder, TWO_FILES)
    live = folder / "new" / "live"
    live.parent.mkdir()

    def deployed(hook, *words, pair=None, **more):
        chain, key = pair or make_pair(live, "mail.example.org", kind="ec")
        assert "is in place" in host.deploy(*words, hook=hook, **more)
        assert host.files() == {"c.pem": chain.read_bytes(), "k.pem": key.read_bytes()}

    deployed("certbot", RENEWED_LINEAGE=str(live), RENEWED_DOMAINS="mail.example.org")
    deployed("lego", LEGO_CERT_PATH=str(live / "fullchain.pem"), LEGO_CERT_KEY_PATH=str(live / "privkey.pem"),
             LEGO_CERT_DOMAIN="mail.example.org", LEGO_ACCOUNT_EMAIL="")
    deployed("dehydrated", "deploy_cert", "mail.example.org", live / "privkey.pem", live / "cert.pem",
             live / "fullchain.pem", live / "chain.pem", "1700000000")
    (live / "private" / "mail.example.org").mkdir(parents=True)
    (live / "mail.example.org").mkdir()
    pair = make_pair(live, "mail.example.org", kind="ec")
    shutil.copy(pair[0], live / "mail.example.org" / "cert.pem")
    shutil.copy(pair[1], live / "private" / "mail.example.org" / "key.pem")
    deployed("uacme", live, "mail.example.org", pair=pair)

    link = folder / "new" / "hook-of-certbot"  # as /etc/letsencrypt/renewal-hooks/deploy/gatepost
    link.symlink_to(HOOKS / "certbot")
    deployed(link, RENEWED_LINEAGE=str(live), RENEWED_DOMAINS="mail.example.org")
    for words in (["deploy_challenge", "mail.example.org", "token", "value"], ["startup_hook"], ["exit_hook"],
                  ["this_hookscript_is_broken__dehydrated_is_working_fine__please_ignore_unknown_hooks_in_your_script"]):
        assert host.deploy(*words, hook="dehydrated") == ""
    for hook, code in (("certbot", 2), ("lego", 2), ("uacme", 64)):
        host.deploy(hook=hook, code=code)
