"""The recipes of README.md, each with the server of Debian that it is for: mail goes through every port in every kind
of TLS, the server hears who the client is, or our log knows it, and no limit for one client meets all (rules 18, 25,
26).

Those that cannot run twice on one machine run in a machine of their own (lib/machine.py), which needs root."""
import contextlib
import re
import socket

import pytest

import clients
import gatepost as library
import machine
import messages
import recipes
from ports import POP3_PORTS, SMTP_PORTS
from wire import Wire, pop3_session

ADDRESS = "127.0.0.5"  # of the client, so that it is told from whoever else is on this machine
WHERE = {"host": "127.0.0.1", "source": ADDRESS}
HEARS = {"Postfix, told by PROXY": r"client=unknown\[127\.0\.0\.5\]",
         "Postfix, told by XCLIENT": r"client=unknown\[127\.0\.0\.5\]",
         "Postfix, told nothing": None,
         "Exim, told by PROXY": r"<= bert@example\.org H=\(client\.example\) \[127\.0\.0\.5\]",
         "Exim, from inetd": None,
         "Dovecot, told by PROXY": r"Login: user=<[^>]*>, method=\w+, rip=127\.0\.0\.5,",
         "Dovecot, told nothing": None,
         "Courier": None,
         "popa3d, from inetd": None}
SMTP = [title for title in HEARS if title.startswith(("Postfix", "Exim"))]
POP3 = [title for title in HEARS if title not in SMTP]
MESSAGE = recipes.MESSAGE
# One client may have three sessions, as an operator may have set before (Courier's limit is four as installed, and
# Exim's of all clients 20). A server that finds the client's address in 127.0.0.0/8 shall make no exception for it.
POSTFIX = "smtpd_client_connection_count_limit = 3"
LIMITS = {"Postfix, told by XCLIENT": POSTFIX, "Postfix, told nothing": POSTFIX,
          "Postfix, told by PROXY": f"{POSTFIX}\nsmtpd_client_event_limit_exceptions =",
          "Dovecot, told by PROXY": "mail_max_userip_connections = 3",
          "Dovecot, told nothing": "mail_max_userip_connections = 3"}


@pytest.fixture(scope="module")
def running(request):
    more = {"more": LIMITS[request.param]} if request.param in LIMITS else {}
    with recipes.run(request.param, **more) as running:
        yield running


def each(titles):
    return pytest.mark.parametrize("running", titles, indirect=True, scope="module")


def who_it_was(running, port, kind):
    """The server's log tells the client's address, or ours alone does."""
    hears = HEARS[running.title]
    how = {"plain": "plain,", "starttls": "(STARTTLS|STLS), tls=TLSv1", "implicit": "TLS first, tls=TLSv1"}[kind]
    running.gate.wait_for_log(rf"\d{{4}}-\d\d-\d\d \d\d:\d\d:\d\d\.\d+ info +worker \d+: session \w{{16}}: "
                              rf"client {re.escape(ADDRESS)}:\d+, port {port} \d+, {how}")
    if hears:
        assert re.search(hears, running.server.log()), running.server.log()[-3000:]
    else:
        assert ADDRESS not in running.server.log(), "it hears more than README says"


def send_at_once(running, stack, sources):
    """A session for each of the sources, all open until `stack` ends, each with its sender taken by the server."""
    for source in sources:
        client = clients.smtp(running.gate, "smtp", "plain", host="127.0.0.1", source=source)
        stack.callback(client.close)
        code, words = client.mail("bert@example.org")
        assert code == 250, words


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


@each([title for title in SMTP if HEARS[title]])
def test_a_client_of_ipv6_is_told_too(running):
    before = len(running.server.messages())
    clients.send(running.gate, "smtp", "starttls", MESSAGE, host="::1" if library.has_ipv6() else "127.0.0.1")
    stored = running.server.wait_messages(before + 1)[-1]
    assert (b"::1]" in stored[:-len(MESSAGE)]) == library.has_ipv6(), stored[:600]


@each(SMTP)
@pytest.mark.seconds(300)
def test_a_large_message_arrives_as_it_was_sent(running, full):
    large = messages.large_message(*(() if full else (2 << 20,)))
    before = len(running.server.messages())
    clients.send(running.gate, "smtp-alt", "implicit", large)
    assert not messages.difference(large, messages.own_part(running.server.wait_messages(before + 1)[-1]))


@each(SMTP)
def test_a_limit_for_one_client_is_none_for_all_that_send(running):
    with contextlib.ExitStack() as stack:
        send_at_once(running, stack, ["127.0.0.11", "127.0.0.12"] * (11 if running.title.startswith("Exim") else 3))


@each(["Postfix, told by PROXY"])
def test_a_client_beyond_its_limit_is_refused_in_the_servers_words_and_others_are_served(running):
    with contextlib.ExitStack() as stack:
        send_at_once(running, stack, ["127.0.0.21"] * 3)
        for _ in range(6):
            with clients.smtp(running.gate, "smtp", "plain", host="127.0.0.1", source="127.0.0.21") as client:
                code, words = client.mail("bert@example.org")
            assert code == 421 and b"too many connections from 127.0.0.21" in words, words
        send_at_once(running, stack, ["127.0.0.22"] * 3)


@each(POP3)
@pytest.mark.parametrize("port, kind", [(port, kind) for port in POP3_PORTS for kind in clients.KINDS]
                         + [("remote", "plain"), ("remote", "implicit")])
def test_a_message_is_fetched_through_every_port_and_the_client_is_known(running, port, kind):
    def fetch():
        return clients.fetch_all(running.gate, port, kind, delete=False, **running.login, **WHERE)

    if (port, kind) == ("pop3s", "plain"):
        with pytest.raises(clients.poplib.error_proto, match="TLS"):
            fetch()
    else:
        expected = MESSAGE
        if running.title.startswith("popa3d"):
            expected = messages.own_part(machine.quoted(MESSAGE))
        fetched = fetch()
        assert len(fetched) == 1 and not messages.difference(expected, messages.own_part(fetched[0]))
        who_it_was(running, port, kind)


def connect(running, source, timeout):
    return Wire.over(socket.create_connection(("127.0.0.1", running.gate.port("pop3")), timeout, (source, 0)), timeout)


@each([title for title in POP3 if title.startswith("Dovecot")])
def test_the_wrong_passwords_of_one_client_delay_no_other(running):
    wrong = [connect(running, "127.0.0.31", 60) for _ in range(6)]
    for number, wire in enumerate(wrong):
        wire.expect("+OK")
        wire.command(f"USER {library.USER}", "+OK")
        wire.send(f"PASS wrong{number}\r\n")  # the same again would not count
    for wire in wrong:
        wire.expect("-ERR")
        wire.vanish()
    with connect(running, "127.0.0.32", 7) as wire:  # as installed the delay would be 8 seconds by now
        pop3_session(wire, user=library.USER, password="secret")
        wire.quit()


@each(POP3)
def test_a_limit_for_one_client_is_none_for_all_that_fetch(running):
    with contextlib.ExitStack() as stack:
        for i in range(6):
            where = {"host": "127.0.0.1", "source": f"127.0.0.{11 + i % 2}"}
            client = stack.enter_context(clients.pop3(running.gate, "pop3", "plain", **running.login, **where))
            client.stat()
            if running.title.startswith("popa3d"):  # it locks the maildrop: one after the other
                stack.close()
