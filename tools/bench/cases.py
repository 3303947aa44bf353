"""What is measured: each case as a row, with the goal that it is held against.

A case names the services of a proxy that it may use, the best first (a proxy without any of them is left out), and what
the load generator does there. Sessions take the suite that proxy and client agree on; all others take one suite for
all proxies, so that proxies are compared and not ciphers."""
import dataclasses
import fnmatch

SERVICES = ("pop3s", "smtps", "pop3", "smtp", "plain-pop3", "plain-smtp")
TLS_FIRST = ("pop3s", "smtps")
SUITE_13 = "TLS_AES_256_GCM_SHA384"
CLOSE_SESSIONS = 0.10  # within this share of a goal this kind of machine cannot decide
CLOSE_OCTETS = 0.25


@dataclasses.dataclass(frozen=True)
class Case:
    name: str
    group: str
    title: str
    services: tuple
    load: str  # arguments of bench-load
    unit: str  # of an operation; MiB: costs are for each of them
    kind: str = "operations"  # what measure.py and measure_scale.py do: lone, idle, workers, neighbours, burst, bulk,
    # floor
    goal: float = 0  # most that Gatepost may cost, as a part of the best other proxy; 0: none
    calls: float = 0  # most system calls for an operation; 0: no goal
    close: float = CLOSE_SESSIONS

    @property
    def tls(self):
        return "--tls none" not in self.load

    @property
    def cost(self):
        """The key of the figure that counts, in what bench-load prints."""
        if self.kind == "lone":
            return "p50_us"
        return "cpu_us_per_mib" if self.unit == "MiB" else "cpu_us_per_operation"


def sessions(name, title, services, load, **more):
    return Case(name, "sessions", title, services, f"--mode session --sessions 48 {load}", "session", **more)


def octets(name, title, services, load, unit, group="messages", **more):
    return Case(name, group, title, services, load, unit, close=CLOSE_OCTETS, **more)


POP3S, SMTPS = ("pop3s",), ("smtps", "smtp")
KIB4, MIB1, MIB25 = "--octets 4096 --sessions 16", "--octets 1048576 --sessions 4", "--octets 26214400 --sessions 4"
SMTP = "--protocol smtp"

CASES = (
    sessions("hs13", "TLS 1.3 handshake, greeting, QUIT", POP3S, "", goal=0.75, calls=33),
    sessions("hs13-login", "the same with POP3 login", POP3S, "--login", goal=0.85),
    sessions("starttls-auth", "STARTTLS, SMTP with AUTH", ("smtp",), f"{SMTP} --login", goal=0.85),
    sessions("stls-login", "STLS, POP3 with login", ("pop3",), "--login", goal=0.85),
    sessions("starttls", "STARTTLS, SMTP, QUIT", ("smtp",), SMTP),
    sessions("stls", "STLS, POP3, QUIT", ("pop3",), ""),
    sessions("hs12", "TLS 1.2 handshake, greeting, QUIT", POP3S, "--version 1.2"),
    sessions("hs13-resume", "TLS 1.3 resumed, greeting, QUIT", POP3S, "--resume", goal=0.80),
    sessions("hs12-resume", "TLS 1.2 resumed, greeting, QUIT", POP3S, "--version 1.2 --resume", goal=0.95),
    sessions("plain-smtp", "SMTP without TLS, QUIT", ("plain-smtp", "smtp"), f"{SMTP} --tls none", goal=1.0),
    sessions("plain-pop3", "POP3 without TLS, QUIT", ("plain-pop3", "pop3"), "--tls none", goal=1.0),
    octets("ping", "NOOP over 64 sessions", POP3S, "--mode ping --sessions 64", "request", goal=0.80, calls=4.3),
    octets("retr-4k", "RETR of 4 KiB", POP3S, f"--mode retr {KIB4}", "message", goal=0.95, calls=4.5),
    octets("data-4k", "DATA of 4 KiB", SMTPS, f"--mode data {SMTP} {KIB4}", "message", goal=0.95, calls=9),
    octets("bdat-4k", "BDAT of 4 KiB", SMTPS, f"--mode bdat {SMTP} {KIB4}", "message"),
    octets("retr-1m", "RETR of 1 MiB", POP3S, f"--mode retr {MIB1}", "MiB", goal=0.75, calls=38),
    octets("retr-25m", "RETR of 25 MiB", POP3S, f"--mode retr {MIB25}", "MiB", goal=0.75, calls=38),
    octets("data-1m", "DATA of 1 MiB", SMTPS, f"--mode data {SMTP} {MIB1}", "MiB", goal=0.75, calls=62),
    octets("data-25m", "DATA of 25 MiB", SMTPS, f"--mode data {SMTP} {MIB25}", "MiB", goal=0.75, calls=62),
    octets("bdat-1m", "BDAT of 1 MiB", SMTPS, f"--mode bdat {SMTP} {MIB1}", "MiB"),
    octets("ping-plain", "NOOP without TLS", ("plain-pop3", "pop3"), "--mode ping --sessions 64 --tls none", "request",
           goal=0.95),
    octets("retr-1m-plain", "RETR of 1 MiB without TLS", ("plain-pop3", "pop3"), f"--mode retr {MIB1} --tls none", "MiB",
           goal=0.95),
    Case("lone-session", "lone", "a session alone", POP3S, "--mode session --sessions 1", "session", "lone", goal=1.0),
    Case("lone-retr", "lone", "RETR of 4 KiB alone", POP3S, "--mode retr --octets 4096 --sessions 1", "message", "lone",
         goal=1.0),
    Case("lone-data", "lone", "DATA of 4 KiB alone", SMTPS, f"--mode data {SMTP} --octets 4096 --sessions 1", "message",
         "lone", goal=1.0),
    Case("idle-greeted", "memory", "after the greeting", POP3S, "--mode idle --stage greeted", "connection", "idle"),
    Case("idle-logged-in", "memory", "after the login", POP3S, "--mode idle --stage logged-in", "connection", "idle",
         goal=12.5),
    Case("idle-used", "memory", "after a message of 256 KiB", POP3S, "--mode idle --stage used --octets 262144",
         "connection", "idle"),
    Case("stalled", "memory", "stopped reading in a message of 25 MiB", POP3S,
         "--mode idle --stage stalled --octets 26214400", "connection", "idle", goal=80),
    Case("workers-hs13", "workers", "TLS 1.3 handshakes of two workers and of one", POP3S,
         "--mode session --sessions 48", "session", "workers", goal=0.97),
    Case("scale-ping", "scale", "NOOP over 64 sessions beside idle ones", POP3S, "--mode ping --sessions 64", "request",
         "neighbours", goal=1.15),
    Case("bulk-ping", "scale", "NOOP beside one RETR after the other of 25 MiB", POP3S,
         "--mode ping --sessions 4 --pause 5", "request", "bulk"),
    Case("burst-plain", "burst", "connections without TLS, all in a second", ("smtp", "plain-smtp"),
         f"--mode burst {SMTP} --tls none --sessions 10000", "connection", "burst"),
    Case("burst-tls", "burst", "connections with TLS first, all in a second", POP3S, "--mode burst --sessions 3000",
         "connection", "burst"),
    Case("floor", "machine", "what its parts cost without any proxy", (), "", "", "floor"),
)
BY_NAME = {case.name: case for case in CASES}


def select(patterns):
    """The cases that any of the patterns (hs13, data-*) names, in the order of the table. Raises KeyError."""
    found = set()
    for pattern in patterns:
        names = fnmatch.filter(BY_NAME, pattern)
        if not names:
            raise KeyError(pattern)
        found.update(names)
    return [case for case in CASES if case.name in found]
