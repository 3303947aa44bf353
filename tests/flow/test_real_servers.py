"""The recipes of README.md, each with the server of Debian that it is for: mail goes through every port in every kind of
TLS, and the server hears who the client is, or our log knows it (rules 18, 25, 26).

Those that cannot run twice on one machine run in a machine of their own (lib/machine.py), which needs root."""
import contextlib
import re

import pytest

import clients
import gatepost as library
import messages
import recipes
import servers
from ports import POP3_PORTS, SMTP_PORTS

ADDRESS = "127.0.0.5"  # of the client, so that it is told from whoever else is on this machine
WHERE = {"host": "127.0.0.1", "source": ADDRESS}
HEARS = {"Postfix, told by XCLIENT": r"client=unknown\[127\.0\.0\.5\]",
         "Postfix, told by PROXY": r"client=unknown\[127\.0\.0\.5\]",
         "Postfix, told nothing": None,
         "Exim, told by PROXY": r"<= bert@example\.org H=\(client\.example\) \[127\.0\.0\.5\]",
         "Exim, from inetd": None,
         "Dovecot, told by PROXY": r"Login: user=<[^>]*>, method=\w+, rip=127\.0\.0\.5,",
         "Dovecot, told nothing": None,
         "Courier": None,
         "popa3d, from inetd": None}
SMTP = [title for title in HEARS if title.startswith(("Postfix", "Exim"))]
POP3 = [title for title in HEARS if title not in SMTP]
MESSAGE = messages.trap_message()


def start_server(recipe):
    kind, _, rest = recipe.title.partition(",")
    if kind == "Postfix":
        return servers.Postfix(recipe=recipe)
    if kind == "Dovecot":
        return servers.Dovecot({library.USER: [MESSAGE]}, recipe=recipe)
    machine = {"Courier": servers.Courier, "popa3d": servers.Inetd}.get(kind) or (
        servers.Inetd if "inetd" in rest else servers.Exim)
    server = machine(recipe)
    server.put_maildir([MESSAGE] if kind == "Courier" else [])
    if kind == "popa3d":
        server.put_mbox([MESSAGE])
    return server


class Running:
    """One recipe at work: `server`, `gate`, and what a client needs."""

    def __init__(self, title, server, gate):
        self.title, self.server, self.gate = title, server, gate
        self.user = library.USER if title.startswith("Dovecot") else "anna"
        self.sent = 0

    def login(self):
        return {"user": self.user, "password": "secret"}


@contextlib.contextmanager
def run(title, over=None, **more):
    recipe = recipes.read(title)
    with start_server(recipe) as server:
        protocol = recipe.backend(server)[0].split()[1]
        sections = {f"backend {'smtp' if protocol == 'pop3' else 'pop3'}": {"address": None},
                    "listen pop3s": {"detect_wait": "300ms"}}
        if protocol == "pop3":
            sections["listen remote"] = {"protocol": "opaque", "backend": "pop3", "detect_wait": "300ms"}
        sections = library.overlay(library.overlay(sections, recipe.sections(server)), over)
        with library.Gatepost(sections, users=()) as gate:
            yield Running(title, server, gate)


@pytest.fixture(scope="module")
def running(request):
    with run(request.param) as running:
        yield running


def each(titles):
    return pytest.mark.parametrize("running", titles, indirect=True, scope="module")


def who_it_was(running, port, kind):
    """The server's log tells the client's address, or ours alone does."""
    hears = HEARS[running.title]
    how = {"plain": "plain", "starttls": "(STARTTLS|STLS) TLSv1", "implicit": "TLS first TLSv1"}[kind]
    running.gate.wait_for_log(rf"\d{{4}}-\d\d-\d\d \d\d:\d\d:\d\d\.\d+ info +worker \d+: session \w{{16}}: "
                              rf"client {re.escape(ADDRESS)}:\d+, port {port} \d+, {how}")
    if hears:
        assert re.search(hears, running.server.log()), running.server.log()[-3000:]
    else:
        assert ADDRESS not in running.server.log(), "it hears more than README says"


@each(SMTP)
@pytest.mark.parametrize("kind", clients.KINDS)
@pytest.mark.parametrize("port", SMTP_PORTS)
def test_a_message_is_sent_through_every_port_and_the_client_is_known(running, port, kind):
    before = len(running.server.messages())
    clients.send(running.gate, port, kind, MESSAGE, **WHERE)
    stored = running.server.wait_messages(before + 1)
    assert not messages.difference(MESSAGE, messages.own_part(stored[-1]))
    head = stored[-1][:-len(MESSAGE)].decode()
    assert bool(HEARS[running.title]) == (ADDRESS in head), head
    assert "client.example" in head, "the client's own EHLO name reaches the server"
    who_it_was(running, port, kind)


@each(POP3)
@pytest.mark.parametrize("port, kind", [(port, kind) for port in POP3_PORTS for kind in clients.KINDS]
                         + [("remote", "plain"), ("remote", "implicit")])
def test_a_message_is_fetched_through_every_port_and_the_client_is_known(running, port, kind):
    def fetch():
        return clients.fetch_all(running.gate, port, kind, delete=False, **running.login(), **WHERE)

    if (port, kind) == ("pop3s", "plain"):
        with pytest.raises(clients.poplib.error_proto, match="TLS"):
            fetch()
    else:
        expected = MESSAGE
        if running.title.startswith("popa3d"):
            expected = messages.own_part(servers.quoted(MESSAGE))
        fetched = fetch()
        assert len(fetched) == 1 and not messages.difference(expected, messages.own_part(fetched[0]))
        who_it_was(running, port, kind)
