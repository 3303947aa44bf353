"""Real mail programs x ports x kinds of TLS: one 40 KiB message with all traps, compared octet for octet (P9).

Without --full: one port for each rule. The table of how each went is printed at the end."""
import pytest

import clients
import gatepost as library
import messages
import programs
from matrix import KINDS, Matrix, cells


def pytest_generate_tests(metafunc):
    if "cell" in metafunc.fixturenames:
        metafunc.parametrize("cell", cells(metafunc.config.getoption("--full")), ids="-".join)


@pytest.fixture(scope="module")
def matrix(request, full):
    sections = {"listen remote": {"backend": "pop3", "protocol": "opaque"}}
    if not full:  # the five seconds that a TLS-first port waits for a client to begin are of no use here
        sections["listen pop3s"] = {"detect_wait": "300ms"}
    with library.Gatepost(sections) as gate:
        matrix = Matrix(gate, messages.trap_message(40 * 1024))
        yield matrix
    with request.config.pluginmanager.getplugin("capturemanager").global_and_fixture_disabled():
        print("\n" + matrix.table())


def test_p9_the_message_arrives_as_it_was_sent(matrix, cell):
    matrix.run(*cell)


LARGE = messages.large_message()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("message", [LARGE, messages.empty_body()], ids=["25_MiB", "empty_body"])
def test_a_message_of_this_size_arrives_as_it_was_sent_and_is_fetched_as_it_arrived(matrix, message, kind):
    gate = matrix.gate
    gate.clear()
    programs.send_smtplib(gate, "smtp-alt", kind, message)
    stored = gate.messages()
    assert len(stored) == 1
    assert not messages.difference(message, messages.own_part(stored[0]))
    fetched = programs.fetch_curl(gate, "pop3", kind)
    assert not messages.difference(message, messages.own_part(fetched))
    gate.clear()


@pytest.mark.parametrize("kind", KINDS)
def test_a_message_goes_through_either_login_mechanism(matrix, kind):
    gate = matrix.gate
    for mechanism in ("PLAIN", "LOGIN"):
        with clients.smtp(gate, "submission", kind) as client:
            client.user, client.password = library.USER, gate.password
            assert client.auth(mechanism, getattr(client, f"auth_{mechanism.lower()}"))[0] == 235
