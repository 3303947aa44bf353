"""What changes under a Gatepost that runs: its settings and its certificates.

    reload(gate, {"limits": {"max_errors": 7}})                 to the end, which has to be IN_USE
    reload(gate, {"limits": {"no_such": 1}}, FAILED)            returns the line that tells it
    replace(gate.folder / "cert.pem", chain)                    as an ACME client does it
    wait_serial(gate, chain)                                    new clients are shown it"""
import os
import re
import signal
import socket

import certificates
import gatepost as library
import proc
from certificates import client_context
from wire import Wire

IN_USE, FAILED, UNCHANGED = "in use", "failed: nothing was changed", "nothing has changed"


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


def wait_serial(gate, chain, timeout=30):
    wanted = serial_of(chain)
    proc.wait_until(lambda: all(serial(gate) == wanted for _ in range(4)), timeout, "the new certificate for new clients")
