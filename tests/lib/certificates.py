"""A certificate authority and certificates for one run of the tests (trustme)."""
import functools
import ssl

import trustme

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
