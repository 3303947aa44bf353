"""Scripted servers that speak TLS (backend.py), with the octets that came in clear kept apart.

    with Backend(0, smtp_over_tls("starttls", server_context())) as backend:
        ...
        backend.connections[0].clear      what came before the handshake (all, where there was none)
        backend.connections[0].sni        the name that was asked for; None: none was
        backend.connections[0].secure     the handshake was done
        backend.connections[0].tls_error  why it was not, in OpenSSL's words

`received`, `lines` and `messages` hold what came in clear and under TLS, in order."""
import datetime
import ssl

import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

import certificates
from backend import CAPA_WORDS, EHLO_WORDS, Gone, pop3_script, read_proxy_v2, smtp_script


def server_context(leaf=None, minimum=None, maximum=None):
    """The TLS of a server. `leaf`: its certificate, of trustme or SelfMade; by default the one that certificates.write()
    writes."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    (leaf or certificates.issue(*certificates.NAMES)).configure_cert(context)
    if minimum:
        context.minimum_version = minimum
    if maximum:
        context.maximum_version = maximum
    context.sni_callback = lambda engine, name, _: setattr(engine, "asked", name)
    return context


class SelfMade:
    """A certificate with what trustme cannot do, signed by itself or by our authority. `days`: until it expires."""

    def __init__(self, *names, days=30, by_authority=False):
        now = datetime.datetime.utcnow()
        key = ec.generate_private_key(ec.SECP256R1())
        subject = issuer = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, names[0])])
        signer = key
        if by_authority:
            pem = certificates.authority()
            issuer = x509.load_pem_x509_certificate(pem.cert_pem.bytes()).subject
            signer = serialization.load_pem_private_key(pem.private_key_pem.bytes(), None)
        builder = x509.CertificateBuilder(issuer, subject, key.public_key(), x509.random_serial_number(),
                                          now - datetime.timedelta(days=60), now + datetime.timedelta(days=days))
        builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(name) for name in names]), False)
        self.cert = builder.sign(signer, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
        self.key = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
                                     serialization.NoEncryption())

    def configure_cert(self, context):
        with trustme.Blob(self.key + self.cert).tempfile() as path:
            context.load_cert_chain(path)


def accept_tls(wire, connection, context):
    """The handshake, as server. What the client sends from now on is read through TLS."""
    first, wire._plain = wire._plain, b""
    connection.received = connection.clear = connection.received[:len(connection.received) - len(first)]
    connection.secure, connection.sni, connection.tls_error = False, None, None
    wire._incoming, wire._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    wire._incoming.write(first)
    engine = context.wrap_bio(wire._incoming, wire._outgoing, server_side=True)
    engine.asked = None
    while not connection.secure:
        try:
            engine.do_handshake()
            connection.secure = True
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLError as error:
            connection.tls_error = str(error)
        connection.sni = engine.asked
        wire.send_raw(wire._outgoing.read())
        if connection.secure:
            break
        octets = b"" if connection.tls_error else wire.socket.recv(65536)
        if not octets:
            raise Gone("no handshake")
        wire._incoming.write(octets)
    wire._tls = engine
    wire._open_records()
    connection.received += wire._plain


def _say_goodbye(wire):
    """close_notify, as a server in order sends before FIN."""
    if wire._tls:
        wire.close_notify()


def over_tls(kind, context, script, proxy=False, before=None, before_handshake=None):
    """A script for any protocol: the handshake at once ("implicit", a PROXY v2 header before it with `proxy`), then
    `script`. For kind "starttls", `before` is the clear part: (wire, connection) -> True when TLS is wanted.
    `before_handshake` may spoil it: (wire, connection)."""

    def whole(wire, connection):
        if proxy:
            connection.identity = read_proxy_v2(wire, connection)
        if kind == "starttls" and not before(wire, connection):
            return
        if before_handshake:
            before_handshake(wire, connection)
        accept_tls(wire, connection, context)
        script(wire, connection)
        _say_goodbye(wire)

    def recorded(wire, connection):
        try:
            whole(wire, connection)
        finally:
            if not connection.secure:
                connection.clear = connection.clear or connection.received

    return recorded


def _commands(first, answers):
    """The clear part of a dialogue. `answers`: {b"VERB": reply}; the reply to STARTTLS and STLS begins TLS."""

    def before(wire, connection):
        wire.send(first + b"\r\n")
        while True:
            verb = wire.line().split(b" ")[0].upper()
            wire.send(answers.get(verb, b"500 5.5.1 -ERR" if b"EHLO" in answers else b"-ERR") + b"\r\n")
            if verb in (b"STARTTLS", b"STLS") and answers.get(verb, b"-")[:1] in b"2+":
                return True
            if verb == b"QUIT":
                return False

    return before


def smtp_over_tls(kind, context, proxy=False, ehlo=EHLO_WORDS, offers=True, consent=b"220 2.0.0 Ready",
                  before_handshake=None, **script):
    """A small SMTP server (smtp_script). `offers`: says STARTTLS in clear. `consent`: its reply to STARTTLS."""
    clear = {b"EHLO": b"250-backend.test\r\n250-SIZE 1000\r\n250 STARTTLS" if offers else b"250-backend.test\r\n250 SIZE 1000",
             b"QUIT": b"221 2.0.0 Bye"}
    if offers:
        clear[b"STARTTLS"] = consent
    if kind == "starttls":
        script["banner"] = None
    return over_tls(kind, context, smtp_script(ehlo=ehlo, **script), proxy, _commands(b"220 backend.test ESMTP", clear),
                    before_handshake)


def pop3_over_tls(kind, context, proxy=False, capabilities=CAPA_WORDS, offers=True, consent=b"+OK Begin TLS",
                  before_handshake=None, **script):
    """A small POP3 server (pop3_script), likewise with STLS."""
    clear = {b"QUIT": b"+OK bye", b"CAPA": b"+OK\r\nSTLS\r\n."}
    if offers:
        clear[b"STLS"] = consent
    if kind == "starttls":
        script["banner"] = None
    return over_tls(kind, context, pop3_script(capabilities=capabilities, **script), proxy, _commands(b"+OK ready", clear),
                    before_handshake)
