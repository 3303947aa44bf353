"""max_connections over all workers: a worker that is killed gives back the places that it had."""
import signal

import gatepost as library
from backend import Backend, pop3_script
from wire import Wire


def log_in(gate, answer):
    wire = Wire(gate.port("pop3"))
    wire.expect("+OK")
    wire.command("USER anna", "+OK")
    wire.command("PASS secret", answer)
    return wire


def test_a_worker_that_is_killed_holds_no_place_at_the_server():
    path = library.make_folder() / "pop3.sock"
    limited = {"backend pop3": {"address": f"unix:{path}", "max_connections": "1", "connect_timeout": "2s"}}
    with Backend(path, pop3_script()), library.Gatepost(limited) as gate:
        holder = log_in(gate, "+OK")
        log_in(gate, "-ERR [SYS/TEMP]")  # the only place is taken
        for pid in gate.workers():
            gate.kill(pid, signal.SIGKILL)
        gate.wait_for_log("worker . serves again", count=2)
        log_in(gate, "+OK").quit()
        assert holder.at_eof()
