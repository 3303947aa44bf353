"""gatepostctl against a Gatepost under test, and the control socket below it.

    ctl = Ctl(gate)
    ctl("who", "--port", "pop3")          the finished process: returncode, stdout, stderr
    ctl.json("who")                       what --json printed, after exit code 0
    ctl.sessions("--user", "anna")        {id: session} of `who`
    ask(gate, command="status")           the supervisor's own answer to one request"""
import json
import socket
import subprocess

import gatepost as library

PROGRAM = library.BUILD / "tools" / "gatepostctl"


class Ctl:
    def __init__(self, gate, prefix=()):
        """`prefix`: words before the program, such as ("setpriv", ...)."""
        self.gate = gate
        self.prefix = prefix

    def __call__(self, *words, socket_path=None, environment=None):
        where = ("-s", socket_path) if socket_path else ("-c", self.gate.ini)
        return subprocess.run([*self.prefix, PROGRAM, *where, *words], capture_output=True, text=True, timeout=60,
                              env={**self.gate.environment, **(environment or {})}, cwd="/")

    def good(self, *words):
        result = self(*words)
        assert (result.returncode, result.stderr) == (0, ""), (words, result)
        return result.stdout

    def json(self, *words):
        return json.loads(self.good("--json", *words))

    def sessions(self, *words):
        return {session["id"]: session for session in self.json("who", *words)["sessions"]}

    def only(self, *words):
        """The one session that fits."""
        (session,) = self.sessions(*words).values()
        return session


def connect(gate, timeout=30):
    plug = socket.socket(socket.AF_UNIX)
    plug.settimeout(timeout)
    plug.connect(str(gate.run / "control.sock"))
    return plug


def read_all(plug):
    """All that comes; a reset behind it is no news (the supervisor has not read all that was sent)."""
    octets = b""
    try:
        while part := plug.recv(65536):
            octets += part
    except ConnectionResetError:
        if not octets:
            raise
    return octets


def ask(gate, octets=None, **request):
    """The answer to a request, or to these octets."""
    with connect(gate) as plug:
        plug.sendall(octets if octets is not None else json.dumps(request).encode() + b"\n")
        return json.loads(read_all(plug))
