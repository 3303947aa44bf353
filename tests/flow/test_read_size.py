"""The matrix again while proxy and mail workers read one octet at a time: no parser leans on segments."""
import pytest

import gatepost as library
import messages
from matrix import Matrix, cells


def pytest_generate_tests(metafunc):
    if "cell" in metafunc.fixturenames:
        metafunc.parametrize("cell", cells(metafunc.config.getoption("--full")), ids="-".join)


@pytest.fixture(scope="module")
def matrix():
    sections = {"limits": {"read_size": "1"}, "listen pop3s": {"detect_wait": "300ms"},
                "listen remote": {"backend": "pop3", "protocol": "opaque"}}
    with library.Gatepost(sections) as gate:
        yield Matrix(gate, messages.trap_message(8 * 1024))


def test_the_message_arrives_as_it_was_sent_when_every_read_takes_one_octet(matrix, cell):
    matrix.run(*cell)
