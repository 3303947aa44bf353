"""A certificate authority and certificates for one run of the tests (trustme)."""
import datetime
import functools
import ssl

import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

HOSTNAME = "mail.gatepost.test"
NAMES = ("localhost", "127.0.0.1", "::1", HOSTNAME)


@functools.lru_cache(maxsize=None)
def authority():
    return trustme.CA()


@functools.lru_cache(maxsize=None)
def issue(*names):
    """A trustme leaf certificate for these names; made once in a process."""
    return authority().issue_cert(*names, common_name=names[0])  # fetchmail insists on a common name


def write(folder, names=NAMES, prefix=""):
    """Writes PREFIXca.pem, PREFIXcert.pem and PREFIXkey.pem into `folder` (a pathlib.Path)."""
    leaf = issue(*names)
    authority().cert_pem.write_to_path(folder / f"{prefix}ca.pem")
    (folder / f"{prefix}cert.pem").write_bytes(b"".join(b.bytes() for b in leaf.cert_chain_pems))
    key = folder / f"{prefix}key.pem"
    key.touch(mode=0o600)
    leaf.private_key_pem.write_to_path(key)


def client_context(minimum=None, maximum=None, alpn=None, ciphers=None, verify=True):
    """An SSLContext that trusts our authority. `minimum`, `maximum`: ssl.TLSVersion values."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    authority().configure_trust(context)
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if minimum:
        context.minimum_version = minimum
    if maximum:
        context.maximum_version = maximum
    if alpn:
        context.set_alpn_protocols(alpn)
    if ciphers:
        context.set_ciphers(ciphers)
    return context


def self_signed(names, key="ecdsa", days=90, since=-100):
    """(certificate, key) as PEM octets, by a P-256 or an RSA ("rsa") key of its own, without our authority. It is valid from
    the day `since` to the day `days`, counted from now."""
    now = datetime.datetime.utcnow()
    private = ec.generate_private_key(ec.SECP256R1()) if key == "ecdsa" else rsa.generate_private_key(65537, 2048)
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, names[0])])
    builder = x509.CertificateBuilder(subject, subject, private.public_key(), x509.random_serial_number(),
                                      now + datetime.timedelta(days=since), now + datetime.timedelta(days=days))
    builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(name) for name in names]), critical=False)
    return (builder.sign(private, hashes.SHA256()).public_bytes(serialization.Encoding.PEM),
            private.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
                                  serialization.NoEncryption()))
