"""Python's own mail clients (smtplib, poplib) against one port, by the kind of TLS.

    with smtp(gate, "smtp-alt", "starttls") as client:
        client.sendmail(...)
    with pop3(gate, "pop3s", "implicit") as client:    # logged in
        client.retr(1)

`source`: address of ours, such as "127.0.0.5" (with host="127.0.0.1"), that the connection comes from.
KINDS are "plain", "starttls" (STARTTLS or STLS after the greeting) and "implicit" (TLS first)."""
import contextlib
import poplib
import smtplib
import socket

from certificates import client_context

KINDS = ("plain", "starttls", "implicit")
TIMEOUT = 40

poplib._MAXLINE = 4096  # 2048 by default; our lines hold 1000 octets, but errors should show whole


class POP3(poplib.POP3):
    def __init__(self, *args, source=None, **more):
        self.source = source and (source, 0)
        super().__init__(*args, **more)

    def _create_socket(self, timeout):
        return socket.create_connection((self.host, self.port), timeout, self.source)


class POP3_SSL(POP3):
    def __init__(self, *args, context, **more):
        self.context = context
        super().__init__(*args, **more)

    def _create_socket(self, timeout):
        return self.context.wrap_socket(super()._create_socket(timeout), server_hostname=self.host)


def smtp(gate, port_name, kind, context=None, host="localhost", source=None):
    """A smtplib client that has said EHLO."""
    context = context or client_context()
    more = {"timeout": TIMEOUT, "local_hostname": "client.example", "source_address": source and (source, 0)}
    if kind == "implicit":
        client = smtplib.SMTP_SSL(host, gate.port(port_name), context=context, **more)
    else:
        client = smtplib.SMTP(host, gate.port(port_name), **more)
    client.ehlo_or_helo_if_needed()
    if kind == "starttls":
        client.starttls(context=context)
        client.ehlo_or_helo_if_needed()
    return client


@contextlib.contextmanager
def pop3(gate, port_name, kind, user="anna@gatepost.test", password=None, context=None, host="localhost",
         source=None):
    """A poplib client that is logged in; QUIT at the end, which makes its deletions real."""
    context = context or client_context()
    port = gate.port(port_name)
    if kind == "implicit":
        client = POP3_SSL(host, port, timeout=TIMEOUT, context=context, source=source)
    else:
        client = POP3(host, port, timeout=TIMEOUT, source=source)
    try:
        if kind == "starttls":
            client.stls(context=context)
        client.user(user)
        client.pass_(password or gate.password)
        yield client
        client.quit()
    finally:
        client.close()


def send(gate, port_name, kind, message, sender="bert@example.org", to="anna@gatepost.test", login=None, **where):
    """Sends one message; fails unless it was answered 250. `login`: (user, password)."""
    with smtp(gate, port_name, kind, **where) as client:
        if login:
            client.login(*login)
        refused = client.sendmail(sender, [to], message, ["BODY=8BITMIME"] if client.has_extn("8bitmime") else [])
        assert not refused, refused


def fetch_all(gate, port_name, kind, delete=True, **login):
    """All messages of the maildrop, as octets with CRLF line ends."""
    with pop3(gate, port_name, kind, **login) as client:
        found = []
        for number in range(1, client.stat()[0] + 1):
            found.append(b"".join(line + b"\r\n" for line in client.retr(number)[1]))
            if delete:
                client.dele(number)
        return found
