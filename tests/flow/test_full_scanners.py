"""The TLS scanners of Debian find nothing to complain about on the default configuration. Only with --full."""
import re
import subprocess

import pytest

import gatepost as library
from ports import PORTS

WAYS = [(port, "starttls") for port in ("pop3", "smtp", "smtp-alt", "submission")]
WAYS += [(port, "implicit") for port in PORTS]
COMPLAINTS = re.compile(r"NOT ok|VULNERABLE|deprecated|WARN|Fatal|doesn't seem|Oops", re.I)
WEAK = re.compile(r"^ .*(NULL ciphers|Anonymous|Export|LOW|Triple DES|Obsolete CBC).*(?<!not )offered", re.M)


@pytest.fixture(scope="module")
def gate():
    with library.Gatepost({"listen remote": {"backend": "pop3", "protocol": "opaque"}}) as gate:
        yield gate


def scan(command, seconds=900):
    return subprocess.run(command, capture_output=True, text=True, timeout=seconds, stdin=subprocess.DEVNULL).stdout


@pytest.mark.seconds(1000)
@pytest.mark.parametrize("port, kind", WAYS)
def test_testssl_names_no_weakness(gate, port, kind):
    protocol = "pop3" if port == "pop3" else "smtp"
    said = scan(["testssl", "-p", "-P", "-s", "-f", "-U", "--add-ca", gate.folder / "ca.pem", "--color", "0", "--quiet",
                 "--warnings", "batch", *(["--starttls", protocol] if kind == "starttls" else []),
                 f"localhost:{gate.port(port)}"])
    for words in (r"TLS 1\.2 +offered \(OK\)", r"TLS 1\.3 +offered \(OK\)", r"TLS 1\.1 +not offered",
                  r"Has server cipher order\? +yes \(OK\)", r"Strong encryption .* +offered \(OK\)", r"Done "):
        assert re.search(words, said), said
    complaints = [line for line in said.splitlines() if COMPLAINTS.search(line.replace("not vulnerable", ""))]
    assert complaints == []
    assert not WEAK.search(said), said


@pytest.mark.seconds(300)
@pytest.mark.parametrize("port, kind", WAYS)
def test_sslscan_sees_tls_1_2_and_1_3_with_aead_and_forward_secrecy_only(gate, port, kind):
    protocol = "pop3" if port == "pop3" else "smtp"
    said = scan(["sslscan", "--no-colour", *([f"--starttls-{protocol}"] if kind == "starttls" else []),
                 f"localhost:{gate.port(port)}"], 250)
    enabled = re.findall(r"^((?:SSL|TLS)v\S+) +enabled", said, re.M)
    assert enabled == ["TLSv1.2", "TLSv1.3"], said
    ciphers = re.findall(r"^(?:Preferred|Accepted) +\S+ +\d+ bits +(\S+)", said, re.M)
    assert len(ciphers) >= 6, said
    assert [name for name in ciphers if not re.match(r"TLS_|ECDHE-", name)] == []
    assert [name for name in ciphers if not re.search(r"GCM|CHACHA20|CCM", name)] == []
