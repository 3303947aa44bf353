"""What all Python tests share: a time limit each, --full, and the daemons' logs in the report of a failure."""
import ctypes
import os
import signal
import sys

import pytest

import gatepost as library

TIME_LIMIT_S = 120
PR_SET_CHILD_SUBREAPER = 36


def pytest_addoption(parser):
    parser.addoption("--full", action="store_true", default=bool(os.environ.get("GATEPOST_FULL")),
                     help="every port in the matrices, and the scanners")
    parser.addoption("--update", action="store_true", help="write flow/counters.json anew (flow/test_counters.py)")


def pytest_configure(config):
    sys.dont_write_bytecode = True


def pytest_ignore_collect(collection_path, config):
    """Files test_full_*.py are of --full alone (a test that is skipped would count as failed)."""
    if collection_path.name.startswith("test_full_") and not config.getoption("--full"):
        return True


@pytest.fixture(scope="session")
def full(request):
    """True under --full."""
    return request.config.getoption("--full")


class TooSlow(BaseException):
    """Not an Exception, so that no `except Exception` of a mail library swallows it."""


def limited(item, what):
    marker = item.get_closest_marker("seconds")
    seconds = marker.args[0] if marker else TIME_LIMIT_S

    def ring(*_):
        raise TooSlow(f"{item.nodeid}: {what} ran for more than {seconds} s")

    signal.signal(signal.SIGALRM, ring)
    signal.alarm(seconds)


def hook(what):
    @pytest.hookimpl(hookwrapper=True)
    def around(item):
        limited(item, what)
        yield
        signal.alarm(0)

    return around


pytest_runtest_setup = hook("its set-up")
pytest_runtest_call = hook("it")


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_teardown(item):
    limited(item, "its tear-down")
    yield
    signal.alarm(0)
    library.started[:] = [gate for gate in library.started if gate.process]  # those of a wider fixture live on


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    outcome = yield
    report = outcome.get_result()
    if report.failed:
        for gate in library.started:
            report.sections.append((f"log of {gate.folder}", gate.log()[-8000:]))


@pytest.fixture
def gatepost():
    """A function that starts a Gatepost (arguments as for the class); each is examined at the test's end."""
    gates = []

    def start(*args, **kwargs):
        gate = library.Gatepost(*args, **kwargs)
        gates.append(gate)
        return gate.start()

    yield start
    errors = []
    for gate in gates:
        try:
            gate.stop()
        except AssertionError as error:
            errors.append(error)
        finally:
            gate.remove()
    if errors:
        raise errors[0]


@pytest.fixture
def folder():
    """A folder that every user may enter, with a short path."""
    import shutil

    path = library.make_folder()
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture
def heir_of_orphans():
    """A process that takes over from another is an orphan in the end: it comes to us, and so does its exit code."""
    libc = ctypes.CDLL(None)
    libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    yield
    libc.prctl(PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)
