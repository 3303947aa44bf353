"""Programs that cannot do the TLS of today: served where a port is for them, told what would help where it is not (P9).

The clients are Python's ssl and openssl s_client, held to old versions, to ECDHE with CBC, to signatures of one kind.
The host certificate has an RSA and an ECDSA key; other names have theirs in a directory."""
import re
import socket
import ssl
import subprocess

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

import certificates
import clients
import gatepost as library
from wire import Wire, pop3_session, smtp_session

pytestmark = pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
HOST = certificates.HOSTNAME
PORTS = {"smtp": (2497, "starttls"), "pop3": (1109, "starttls"), "pop3s": (1997, "implicit")}  # see tests/lib/ports.py
REFUSED = r"TLS handshake failed: {}"
PRIVATE = "tls_profile = legacy serves it from private networks"
TLS_1_0 = rf"client offered at most TLS 1\.0, min_version is 1\.2 \({PRIVATE}\)"


def listeners(profile, shift, **more):
    """One listener of each kind for this profile: "legacy-smtp", ..."""
    found = {}
    for name, (port, tls) in PORTS.items():
        protocol = "smtp" if name == "smtp" else "pop3"
        found[f"listen {profile}-{name}"] = {"port": port + 13 * shift, "protocol": protocol, "tls": tls,
                                             "backend": protocol, "tls_profile": profile, **more}
    return found


def write_pair(path, names, key="ecdsa", key_path=None, **more):
    """One PEM file, or certificate and key in a file each."""
    certificate, private = certificates.self_signed(names, key, **more)
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(certificate + (b"" if key_path else private))
    if key_path:
        key_path.write_bytes(private)
    for file in (path, key_path or path):
        file.chmod(0o600)


@pytest.fixture(scope="module")
def gate():
    folder = library.make_folder("gatepost-p-")
    sites = folder / "sites"
    write_pair(folder / "rsa.pem", [HOST, "localhost"], "rsa", folder / "rsa.key")
    write_pair(folder / "ecdsa.pem", [HOST, "localhost"], "ecdsa", folder / "ecdsa.key")
    write_pair(sites / "one-file.pem", ["one.example"])
    write_pair(sites / "two.pem", ["two.example", "*.two.example"], "ecdsa", sites / "two.key")
    write_pair(sites / "lego.crt", ["three.example"], "ecdsa", sites / "lego.key")
    write_pair(sites / "certbot" / "fullchain.pem", ["four.example"], "rsa", sites / "certbot" / "privkey.pem")
    write_pair(sites / "both" / "fullchain.pem", ["four.example"], "ecdsa", sites / "both" / "privkey.pem")
    write_pair(sites / "rsa-only.pem", ["rsa.example"], "rsa")
    write_pair(sites / "expired.pem", ["expired.example"], days=-1)
    (sites / "garbage.pem").write_text("no PEM\n")
    (sites / "README").write_text("Nothing of interest.\n")
    (sites / "one-file.pem~").write_text("An editor's copy.\n")
    sections = {
        "tls default": {"certificate": f"{folder}/rsa.pem, {folder}/ecdsa.pem",
                        "key": f"{folder}/rsa.key, {folder}/ecdsa.key"},
        "tls sites": {"directory": sites},
        **listeners("legacy", 0, **{"from": "127.0.0.1, ::1"}),
        **listeners("compatible", 1),
        **{name.replace("legacy", "balanced"): keys for name, keys in
           listeners("legacy", 2, trusted="127.0.0.3", **{"from": "10.0.0.0/8, 127.0.0.1, fd00::/8"}).items()},
    }
    with library.Gatepost(sections) as gate:
        gate.sites = sites
        yield gate


def context(version=None, ciphers="ALL", first=None):
    """A client that is held to `version`, or to versions from `first` to it, and to ciphers of TLS 1.2 and older."""
    held = certificates.client_context(verify=False, ciphers=f"{ciphers}:@SECLEVEL=0")
    if version:
        held.minimum_version, held.maximum_version = first or version, version
    return held


def s_client(gate, port, *options, name=HOST):
    """What openssl s_client says of one connection."""
    protocol = "smtp" if "smtp" in port or port == "submission" else "pop3"
    starttls = () if port.endswith("pop3s") else ("-starttls", protocol)
    command = ["openssl", "s_client", "-connect", f"127.0.0.1:{gate.port(port)}", "-servername", name, *starttls]
    command += options
    return subprocess.run(command, input="Q\n", capture_output=True, text=True, timeout=60)


def kind_of(wire):
    certificate = x509.load_der_x509_certificate(wire.tls.getpeercert(binary_form=True))
    return "ecdsa" if isinstance(certificate.public_key(), ec.EllipticCurvePublicKey) else "rsa"


def names_of(wire):
    certificate = x509.load_der_x509_certificate(wire.tls.getpeercert(binary_form=True))
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    return names.value.get_values_for_type(x509.DNSName)


def begin(gate, port, source="127.0.0.1"):
    return Wire.over(socket.create_connection(("127.0.0.1", gate.port(port)), 15, (source, 0)))


def session(wire, port, held, name="localhost"):
    """To the state where a login would come."""
    if port.endswith("pop3s"):
        wire.start_tls(held, name=name)
    elif port.endswith("pop3"):
        wire.expect("+OK")
        wire.command("STLS", "+OK")
        wire.start_tls(held, name=name)
        return wire
    else:
        return smtp_session(wire, held, "starttls")
    wire.expect("+OK")
    return wire


def refused(gate, port, held, words):
    """The handshake fails, the server's alert arrives, and a new line of the log has the words."""
    pattern = f"port {port} .*{REFUSED.format(words)}"
    before = len(re.findall(pattern, gate.log()))
    with begin(gate, port) as wire, pytest.raises((ssl.SSLError, AssertionError)) as failure:
        session(wire, port, held)
    assert re.search("(?i)alert|protocol.version|handshake.failure", str(failure.value)), failure.value
    gate.wait_for_log(pattern, count=before + 1)


# versions

@pytest.mark.parametrize("kind", ["starttls", "implicit"])
def test_p9_a_printer_of_tls_1_0_sends_mail_and_fetches_it_on_legacy_ports(gate, kind):
    where = {"host": "127.0.0.1", "context": context(ssl.TLSVersion.TLSv1)}
    gate.clear()
    clients.send(gate, "legacy-smtp", kind, b"Subject: scan\r\n\r\npage 1\r\n", **where)
    for port, way in (("legacy-pop3", kind), ("legacy-pop3s", "implicit")):
        with clients.pop3(gate, port, way, **where) as client:
            assert client.stat()[0] == 1
            assert client.sock.version() == "TLSv1"
    gate.wait_for_log(r"port legacy-smtp \d+, (STARTTLS|TLS first), tls=TLSv1 ")
    gate.clear()


@pytest.mark.parametrize("port", ["legacy-smtp", "legacy-pop3", "legacy-pop3s"])
@pytest.mark.parametrize("option, version", [("-tls1", "TLSv1"), ("-tls1_1", "TLSv1.1"), ("-tls1_2", "TLSv1.2"),
                                             ("-tls1_3", "TLSv1.3")])
def test_p9_openssl_of_any_version_is_served_on_a_legacy_port(gate, port, option, version):
    said = s_client(gate, port, option, "-cipher", "ALL:@SECLEVEL=0").stdout
    assert re.search(rf"New, \S+, Cipher is (?!\(NONE\))", said), said
    assert f"Protocol  : {version}\n" in said or f"New, {version}," in said, said


@pytest.mark.parametrize("port", ["submission", "pop3", "pop3s", "compatible-smtp", "compatible-pop3s"])
@pytest.mark.parametrize("client", ["python", "openssl"])
def test_p9_tls_1_0_is_refused_elsewhere_and_the_log_says_what_would_serve_it(gate, port, client):
    if client == "python":
        refused(gate, port, context(ssl.TLSVersion.TLSv1), TLS_1_0)
        return
    before = len(re.findall(f"port {port} .*{TLS_1_0}", gate.log()))
    said = s_client(gate, port, "-tls1", "-cipher", "ALL:@SECLEVEL=0")
    assert "alert protocol version" in said.stderr, said.stderr
    gate.wait_for_log(f"port {port} .*{TLS_1_0}", count=before + 1)


def test_p9_tls_1_1_is_named_as_such(gate):
    refused(gate, "pop3s", context(ssl.TLSVersion.TLSv1_1), TLS_1_0.replace(r"TLS 1\.0", r"TLS 1\.1"))


@pytest.mark.parametrize("port", ["legacy-smtp", "legacy-pop3s"])
def test_a_client_of_today_gets_tls_1_3_on_a_legacy_port(gate, port):
    with begin(gate, port) as wire:
        session(wire, port, context(ssl.TLSVersion.TLSv1_3, first=ssl.TLSVersion.TLSv1))
        assert wire.tls.version() == "TLSv1.3"


SSLV2 = bytes.fromhex("802c0103010003000000200000" + "2f") + b"0123456789abcdef0123456789abcdef"  # TLS 1.0, AES128-SHA


def test_p9_tls_1_0_in_a_hello_of_ssl_2_0_is_answered_on_a_legacy_port_alone(gate):
    for port in ("legacy-pop3s", "legacy-pop3", "legacy-smtp"):
        with begin(gate, port) as wire:
            wire.send_raw(SSLV2)
            record = wire.read_exactly(6)
            assert (record[:3], record[5:]) == (b"\x16\x03\x01", b"\x02"), "a ServerHello of TLS 1.0"
    for port in ("pop3s", "submission"):
        with begin(gate, port) as wire:
            wire.send_raw(SSLV2)
            assert wire.read_all() == b"\x15\x03\x01\x00\x02\x02\x46"
    gate.wait_for_log(r"client offers SSL 2\.0 or an SSL 2\.0 hello; .*tls_profile = legacy")


# ciphers

@pytest.mark.parametrize("port", ["compatible-smtp", "compatible-pop3", "compatible-pop3s", "legacy-smtp"])
@pytest.mark.parametrize("cipher", ["ECDHE-RSA-AES128-SHA", "ECDHE-ECDSA-AES256-SHA384"])
def test_p9_ecdhe_with_cbc_is_served_on_compatible_and_legacy_ports(gate, port, cipher):
    with begin(gate, port) as wire:
        session(wire, port, context(ssl.TLSVersion.TLSv1_2, cipher))
        assert wire.tls.cipher()[0] == cipher
        assert kind_of(wire) == ("ecdsa" if "ECDSA" in cipher else "rsa")


@pytest.mark.parametrize("port, cipher, words", [
    ("submission", "ECDHE-RSA-AES128-SHA", "tls_profile = compatible serves it"),
    ("pop3", "ECDHE-ECDSA-AES128-SHA256", "tls_profile = compatible serves it"),
    ("pop3s", "AES128-SHA", PRIVATE),
    ("compatible-smtp", "AES256-GCM-SHA384", PRIVATE),
    ("pop3s", "DHE-RSA-AES128-SHA", "no tls_profile serves that"),
    ("legacy-pop3s", "DHE-RSA-AES128-SHA", "no tls_profile serves that"),
])
def test_p9_a_cipher_that_is_refused_is_named_with_the_profile_that_would_do(gate, port, cipher, words):
    words = rf"no cipher in common: client offered at most TLS 1\.2 with {cipher} \({words}\)"
    refused(gate, port, context(ssl.TLSVersion.TLSv1_2, cipher), words)


def test_no_session_of_a_legacy_port_is_resumed_elsewhere(gate):
    """OpenSSL would go on with the cipher of the session, which is not served there."""
    held = context(ssl.TLSVersion.TLSv1_2, "AES128-SHA")

    def visit(port, held, session=None):
        with begin(gate, port) as wire:
            wire._incoming, wire._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
            wire._tls = held.wrap_bio(wire._incoming, wire._outgoing, server_hostname="localhost", session=session)
            wire._step()
            wire.finish_tls(wire._outgoing.read())
            wire.expect("+OK")
            return wire.tls.cipher()[0], wire.tls.session_reused, wire.tls.session

    cipher, resumed, ticket = visit("legacy-pop3s", held)
    assert (cipher, resumed) == ("AES128-SHA", False)
    held.set_ciphers("AES128-SHA:ECDHE-RSA-AES128-GCM-SHA256:@SECLEVEL=0")
    assert visit("legacy-pop3s", held, ticket)[:2] == ("AES128-SHA", True)
    assert visit("pop3s", held, ticket)[:2] == ("ECDHE-RSA-AES128-GCM-SHA256", False)


# kinds of keys

@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
@pytest.mark.parametrize("signatures, kind", [("RSA-PSS+SHA256:RSA+SHA256", "RSA"), ("ECDSA+SHA256", "ECDSA")])
@pytest.mark.parametrize("port", ["submission", "pop3s"])
def test_p9_a_client_gets_the_certificate_whose_signature_it_takes(gate, port, signatures, kind, version):
    for name in (HOST, "four.example"):
        said = s_client(gate, port, version, "-sigalgs", signatures, name=name).stdout
        assert re.search(rf"Peer signature type: {kind}\b", said), said
        assert f"CN = {name}" in said, said


@pytest.mark.parametrize("version, words", [
    ("-tls1_2", r"no cipher in common: client offered at most TLS 1\.2 with ECDHE-ECDSA-.*"
                r"\(a certificate with an ECDSA key serves it\)"),
    ("-tls1_3", r"no signature algorithm in common: client takes none of the certificate's kind of key "
                r"\(a certificate with an ECDSA key serves it\)"),
])
def test_p9_a_client_that_takes_no_signature_of_ours_is_told_apart(gate, version, words):
    before = len(re.findall(words, gate.log()))
    said = s_client(gate, "pop3s", version, "-sigalgs", "ECDSA+SHA256", name="rsa.example")
    assert "handshake failure" in said.stderr, said.stderr
    gate.wait_for_log(words, count=before + 1)


# names from a directory

@pytest.mark.parametrize("port", ["smtp", "pop3s", "legacy-pop3"])
@pytest.mark.parametrize("name, expected", [
    ("one.example", ["one.example"]), ("TWO.example", ["two.example", "*.two.example"]),
    ("www.two.example", ["two.example", "*.two.example"]), ("three.example", ["three.example"]),
    ("four.example", ["four.example"]), ("a.www.two.example", [HOST, "localhost"]),
    ("expired.example", [HOST, "localhost"]), ("stranger.example", [HOST, "localhost"]),
])
def test_p9_the_server_name_picks_a_certificate_of_the_directory(gate, port, name, expected):
    with begin(gate, port) as wire:
        if port == "smtp":
            wire.expect("220")
            wire.commands(("EHLO me.example", "250"), ("STARTTLS", "220"))
            wire.start_tls(context(), name=name)
        else:
            session(wire, port, context(), name=name)
        assert names_of(wire) == expected


def test_p6_what_is_bad_in_a_directory_is_left_out_and_told_at_the_start_and_by_t(gate):
    result = subprocess.run([library.PROXY, "-t", "-c", gate.ini], capture_output=True, text=True, timeout=60,
                            env=gate.environment)
    assert result.returncode == 0, result.stderr
    for said in (gate.log(), result.stdout + result.stderr):
        assert f"[tls sites] directory: {gate.sites}/expired.pem: the certificate has expired on" in said, said
        assert f"[tls sites] directory: {gate.sites}/garbage.pem: there is no private key in it" in said, said
        assert len(re.findall(r"\[tls sites\] directory: ", said)) == 2, said


# from

def closed_at_once(gate, wire, port, client):
    number = wire.socket.getsockname()[1]
    assert wire.read_all() == b"", "not an octet"
    gate.wait_for_log(rf"client {re.escape(client)}(:{number})?\D.*port {port} .*closed at once: `from` does not name")


@pytest.mark.parametrize("port", ["legacy-smtp", "legacy-pop3", "legacy-pop3s"])
def test_from_closes_strangers_at_once_and_serves_its_own(gate, port):
    with begin(gate, port, source="127.0.0.2") as wire:
        closed_at_once(gate, wire, port, "127.0.0.2")
    with begin(gate, port) as wire:
        session(wire, port, context(ssl.TLSVersion.TLSv1))
    if library.has_ipv6():
        with Wire(gate.port(port), host="::1") as wire:
            session(wire, port, context(ssl.TLSVersion.TLSv1))


@pytest.mark.parametrize("header, client", [
    (b"PROXY TCP4 10.1.2.3 127.0.0.1 4711 25\r\n", None), (b"PROXY TCP4 127.0.0.1 127.0.0.1 4711 25\r\n", None),
    (b"PROXY TCP6 fd00::7 fd00::1 4711 25\r\n", None), (b"PROXY TCP6 ::ffff:10.1.2.3 ::1 4711 25\r\n", None),
    (b"PROXY TCP4 198.51.100.7 127.0.0.1 4711 25\r\n", "198.51.100.7:4711"),
    (b"PROXY TCP4 127.0.0.3 127.0.0.1 4711 25\r\n", "127.0.0.3:4711"),
    (b"PROXY TCP6 ::ffff:198.51.100.7 ::1 4711 25\r\n", "198.51.100.7"),
    (b"PROXY UNKNOWN\r\n", "127.0.0.3"),
])
def test_from_is_about_the_client_that_a_balancer_names(gate, header, client):
    with begin(gate, "balanced-smtp", source="127.0.0.3") as wire:
        wire.send_raw(header)
        if client is None:
            smtp_session(wire, context(ssl.TLSVersion.TLSv1), "starttls")
        else:
            assert wire.read_all() == b""
            gate.wait_for_log(r"client \S*" + re.escape(client) + r".*port balanced-smtp .*`from` does not name")


def test_from_knows_the_peer_itself_where_it_is_no_balancer(gate):
    with begin(gate, "balanced-smtp", source="127.0.0.2") as wire:
        closed_at_once(gate, wire, "balanced-smtp", "127.0.0.2")
    with begin(gate, "balanced-smtp") as wire:
        smtp_session(wire, context(ssl.TLSVersion.TLSv1), "starttls")
