"""What a worker took for many sessions goes back to the system when they have ended (P8).

With the sanitizers' own malloc() nothing could be seen of it: the build that people run is looked at."""
import shutil
import subprocess

import pytest

import gatepost as library
import proc
from certificates import client_context
from wire import Wire

SESSIONS = 400
RELEASE = library.ROOT / "build" / "release"


@pytest.fixture
def release(folder):
    """A copy of the release's programs, which every user may run, as library.BUILD is."""
    script = '. "$tools/install.sh"; build_release'
    subprocess.run(["bash", "-c", script], env={**library.os.environ, "tools": library.ROOT / "tools", "root": library.ROOT},
                   check=True, timeout=500)
    for name in library.PROGRAMS:
        (folder / name).parent.mkdir(exist_ok=True)
        shutil.copy(RELEASE / name, folder / name)
    return folder


@pytest.mark.seconds(600)
def test_p8_memory_of_sessions_that_have_ended_goes_back_to_the_system(release):
    with library.Gatepost({"gatepost": {"workers": 1}, "limits": {"pop3_command_timeout": "10min"}}, build=release) as gate:
        (worker,) = gate.workers()

        def sessions(count):
            context = client_context()
            wires = [Wire(gate.port("pop3s"), 60).start_tls(context) for _ in range(count)]
            for wire in wires:
                wire.expect("+OK")
            return wires

        def end(wires):
            for wire in wires:
                wire.quit()
            gate.wait_idle(60)

        end(sessions(5))  # what is taken once
        before = proc.memory_kib(worker, "Anonymous")
        wires = sessions(SESSIONS)
        taken = proc.memory_kib(worker, "Anonymous") - before
        assert taken > 10 * SESSIONS, "each has its own memory"
        end(wires)
        proc.wait_until(lambda: proc.memory_kib(worker, "Anonymous") - before < taken / 2, 60,
                        lambda: f"less than half of {taken} KiB, not {proc.memory_kib(worker, 'Anonymous') - before}")
        end(sessions(5))  # and it goes on
