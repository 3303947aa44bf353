"""[backend] ca: read at the start and by `gatepost -t`, which say in words what is wrong with it."""
import datetime
import subprocess

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

import certificates
import gatepost as library

NOW = datetime.datetime.utcnow()


def authority(name, days):
    """PEM text of an authority that is valid until that many days from now."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    builder = x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number(),
                                      NOW - datetime.timedelta(days=30), NOW + datetime.timedelta(days=days))
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()


def check(folder, tls, mode=("-t",)):
    """(exit code, what was said) about a file whose [backend smtp] has these keys of TLS."""
    certificates.write(folder)
    lines = ["[gatepost]", "hostname = mail.gatepost.test", "port_offset = 29000", "bind = 127.0.0.1",
             "user = nobody", "mail_user = mail", "[tls default]", f"certificate = {folder}/cert.pem",
             f"key = {folder}/key.pem", "[backend smtp]", "address = localhost:25", *tls]
    path = folder / "gatepost.ini"
    path.write_text("\n".join(lines) + "\n")
    result = subprocess.run([library.PROXY, *mode, "-c", path], capture_output=True, text=True, timeout=30)
    return result.returncode, result.stdout + result.stderr


BAD = [
    ("missing", None, "No such file"),
    ("a_folder", "", "Is a directory"),
    ("empty", [], "there is no certificate in it"),
    ("other_text", ["hello\n"], "there is no certificate in it"),
    ("cut", [authority("good", 9)[:200]], "there is no certificate in it"),
    ("expired", [authority("long gone", -2)], 'the certificate of "long gone" has expired'),
    ("all_expired", [authority("gone", -3), authority("long gone", -2)], "has expired, and 1 more"),
    ("the_second_is_spoiled", [authority("good", 9), authority("bad", 9).replace("MII", "AAA")],
     "the certificate behind the first 1 does not parse"),
]


@pytest.mark.parametrize("mode", [("-t",), ()], ids=["check", "start"])
@pytest.mark.parametrize("content, words", [row[1:] for row in BAD], ids=[row[0] for row in BAD])
def test_a_ca_that_is_of_no_use_is_refused_in_words(folder, content, words, mode):
    path = folder / "authorities.pem"
    if content == "":
        path.mkdir()
    elif content is not None:
        path.write_text("".join(content))
    code, said = check(folder, ["tls = starttls", f"ca = {path}"], mode)
    assert code == 78, said
    assert f"error: [backend smtp] ca = {path}: " in said
    assert words in said


def test_one_expired_among_others_is_a_warning(folder):
    path = folder / "authorities.pem"
    path.write_text(authority("good", 9) + authority("long gone", -2))
    code, said = check(folder, ["tls = implicit", f"ca = {path}"])
    assert code == 0, said
    assert f'warning: [backend smtp] ca = {path}: the certificate of "long gone" has expired' in said


GOOD = [
    ("one", ["tls = starttls", "ca = {ca}"]),
    ("the_systems", ["tls = implicit"]),
    ("none_is_looked_at_unverified", ["tls = starttls", "verify = no", "ca = /nonexistent"]),
]


@pytest.mark.parametrize("tls", [row[1] for row in GOOD], ids=[row[0] for row in GOOD])
def test_a_good_ca_passes_in_silence(folder, tls):
    path = folder / "authorities.pem"
    path.write_text(authority("good", 9))
    code, said = check(folder, [line.format(ca=path) for line in tls])
    assert code == 0, said
    assert "certificate of" not in said and "ca = /etc" not in said, said
