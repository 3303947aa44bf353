"""Every mail program x port x kind of TLS, as rows for pytest, and the table that shows how each went.

A cell of a fetcher on a port whose rule is TLS first, without TLS, expects that the password is refused in words."""
import messages
import programs
from ports import POP3_PORTS, SMTP_PORTS

KINDS = ("plain", "starttls", "implicit")


def cells(full):
    """(direction, program, port name, kind). Without `full`: one port for each rule."""
    for program in programs.SENDERS:
        for port in SMTP_PORTS if full else ("smtp-alt",):
            for kind in KINDS:
                if (program, kind) != ("openssl", "plain"):  # s_client speaks nothing but TLS
                    yield "send", program, port, kind
    for program in programs.FETCHERS:
        for port in POP3_PORTS + (("remote",) if full else ()):
            for kind in KINDS:
                if (program, kind) != ("openssl", "plain") and (port, kind) != ("remote", "starttls"):
                    yield "fetch", program, port, kind


class Matrix:
    """Runs cells against one gate, whose maildrop of USER it uses, and remembers how each went."""

    def __init__(self, gate, message):
        self.gate, self.message, self.results = gate, message, {}

    def run(self, direction, program, port, kind):
        self.results[direction, program, port, kind] = "FAILED"
        if direction == "send":
            self.send(program, port, kind)
        else:
            self.fetch(program, port, kind)

    def send(self, program, port, kind):
        self.gate.clear()
        programs.SENDERS[program](self.gate, port, kind, self.message)
        stored = self.gate.messages()
        assert len(stored) == 1, f"{len(stored)} messages on disk"
        self.compare(stored[0])
        self.results["send", program, port, kind] = "sent"

    def fetch(self, program, port, kind):
        if [messages.own_part(one) for one in self.gate.messages()] != [self.message]:
            self.gate.clear()
            programs.send_smtplib(self.gate, "smtp", "plain", self.message)
        if (port, kind) == ("pop3s", "plain"):
            self.fetch_refused(program, port, kind)
            return
        self.compare(programs.FETCHERS[program](self.gate, port, kind))
        self.results["fetch", program, port, kind] = "fetched"

    def fetch_refused(self, program, port, kind):
        try:
            programs.FETCHERS[program](self.gate, port, kind)
        except Exception:  # each program has its own way to say that
            self.results["fetch", program, port, kind] = "told: TLS"
        else:
            raise AssertionError("a password was taken in clear on a TLS-first port")

    def compare(self, received):
        words = messages.difference(self.message, messages.own_part(received))
        assert not words, words

    def table(self):
        ports = [name for name in (*SMTP_PORTS, *POP3_PORTS, "remote") if any(cell[2] == name for cell in self.results)]
        rows = [["", *(f"{port} {kind}" for port in ports for kind in KINDS)]]
        for direction, names in (("send", programs.SENDERS), ("fetch", programs.FETCHERS)):
            for program in names:
                row = [self.results.get((direction, program, port, kind), "") for port in ports for kind in KINDS]
                if any(row):
                    rows.append([program, *row])
        columns = [i for i in range(len(rows[0])) if any(row[i] for row in rows[1:])]
        widths = {i: max(len(row[i]) for row in rows) for i in columns}
        return "\n".join("  ".join(row[i].ljust(widths[i]) for i in columns).rstrip() for row in rows)
