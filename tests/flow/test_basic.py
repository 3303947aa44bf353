"""Each public port, by plain, STARTTLS or STLS, and TLS first: mail goes in and comes out (P9)."""
import poplib

import pytest

import clients
import gatepost as library
import messages
from ports import SMTP_PORTS

MESSAGE = messages.trap_message(8192)


@pytest.fixture(scope="module")
def gate():
    with library.Gatepost({"listen remote": {"backend": "pop3", "protocol": "opaque"}}) as gate:
        yield gate


@pytest.mark.parametrize("kind", clients.KINDS)
@pytest.mark.parametrize("port", SMTP_PORTS)
def test_p9_a_message_sent_through_this_port_is_on_disk(gate, port, kind):
    gate.clear()
    clients.send(gate, port, kind, MESSAGE)
    stored = gate.messages()
    assert len(stored) == 1
    assert not messages.difference(MESSAGE, messages.own_part(stored[0]))


@pytest.mark.parametrize("port, kind", [("pop3", "plain"), ("pop3", "starttls"), ("pop3", "implicit"),
                                        ("pop3s", "starttls"), ("pop3s", "implicit"),
                                        ("remote", "plain"), ("remote", "implicit")])
def test_p9_a_message_fetched_through_this_port_is_the_one_that_was_sent(gate, port, kind):
    gate.clear()
    clients.send(gate, "smtp", "plain", MESSAGE)
    fetched = clients.fetch_all(gate, port, kind, delete=True)
    assert [messages.difference(MESSAGE, messages.own_part(one)) for one in fetched] == [""]
    assert gate.messages() == [], "what was deleted before QUIT is gone from the disk"


def test_p9_a_password_in_clear_on_the_tls_first_port_is_refused_with_the_port_and_setting_to_use(gate):
    with pytest.raises(poplib.error_proto) as refusal:
        with clients.pop3(gate, "pop3s", "plain"):
            pass
    words = refusal.value.args[0].decode()
    assert words.startswith("-ERR") and "TLS" in words
    assert str(gate.port("pop3s")) in words


@pytest.mark.parametrize("kind", clients.KINDS)
def test_a_login_on_the_submission_port_succeeds_and_a_wrong_password_does_not(gate, kind):
    with clients.smtp(gate, "submission", kind) as client:
        assert client.login(library.USER, gate.password)[0] == 235
    with clients.smtp(gate, "submission", kind) as client:
        with pytest.raises(clients.smtplib.SMTPAuthenticationError):
            client.login(library.USER, "wrong")


@pytest.mark.parametrize("port", SMTP_PORTS)
def test_p10_mail_of_a_stranger_to_another_domain_is_refused(gate, port):
    with clients.smtp(gate, port, "starttls") as client:
        client.mail("bert@example.org")
        code, words = client.rcpt("someone@example.net")
        assert code >= 500, words


def test_p7_no_password_is_in_the_log(gate):
    with clients.pop3(gate, "pop3", "plain"):
        pass
    with clients.smtp(gate, "submission", "plain") as client:
        client.login(library.USER, gate.password)
    assert gate.password not in gate.log()
