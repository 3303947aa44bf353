"""What the log says of sessions and failed logins, in every place where it may go, and that nothing waits for it (P7, P9)."""
import base64
import os
import pty
import re
import signal
import ssl
import subprocess
import termios

import pytest

import cdb
import gatepost as library
import logs
import proc
from backend import Backend, echo_script, pop3_script, smtp_script
from certificates import HOSTNAME, client_context
from ctl import Ctl
from remote import MIRROR, Remote
from wire import Wire, pop3_session, smtp_session

# As in gatepost(8), LOG LINES.
KEYS = ["tls", "cipher", "resumed", "sni", "user", "logins_failed", "backend", "server", "through", "in", "out", "ms"]
LINE = re.compile(r"session (?P<id>\w{16}): client (?P<client>\S+), port (?P<listen>\S+) (?P<port>\d+), "
                  r"(?P<began>plain|STARTTLS|STLS|TLS first),(?P<values>(?: [a-z_]+=[!#-&(-+\--;?-~]+)+): (?P<result>.*)")
EVERY = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3} (?:error  |warning|notice |info   |debug  ) [ -~]+")

# What a user may call himself, and how that is shown.
NAMES = {"anna": "anna", "x>, rip=203.0.113.1": r"x\x3e\x2c\x20rip\x3d203.0.113.1",
         "x in=1 out=1 ms=1: ended": r"x\x20in\x3d1\x20out\x3d1\x20ms\x3d1:\x20ended",
         "x\nsession 1: client 203.0.113.1:1": r"x\x0asession\x201:\x20client\x20203.0.113.1:1",
         "x\r\nPRIORITY=0\r\n": r"x\x0d\x0aPRIORITY\x3d0\x0d\x0a", "jörg": r"j\xc3\xb6rg", '"\'': r"\x22\x27",
         "DOMAIN\\anna": r"DOMAIN\x5canna", "a" * 200: "a" * 63, "": "", "\033[31m": r"\x1b[31m", "%s%n": "%s%n"}


def plain(user, password="secret"):
    return base64.b64encode(f"\0{user}\0{password}".encode()).decode()


def parsed(text):
    """The lines of all sessions that have ended: dictionaries of their parts."""
    found = []
    for match in LINE.finditer(text):
        values = [value.split("=", 1) for value in match["values"].split()]
        assert [key for key in KEYS if key in dict(values)] == [key for key, _ in values], match[0]
        found.append({**match.groupdict(), **dict(values)})
    return found


def strange(text):
    """Lines that are none of the log, behind what was said of the settings."""
    return [line for line in text[text.index(" starts\n"):].splitlines()[1:] if not EVERY.fullmatch(line)]


def sessions(gate, count):
    """Of `count` sessions that have ended, and no more."""
    proc.wait_until(lambda: len(parsed(gate.log())) >= count, 15, lambda: f"{count} sessions in\n{gate.log()}")
    assert len(parsed(gate.log())) == count == gate.log().count(": session "), gate.log()
    assert not strange(gate.log())
    return parsed(gate.log())


def no(verb):
    """A script's answers: nobody is let in."""
    return {verb: b"-ERR no" if verb == b"PASS" else b"535 5.7.8 no"}


# the line of a session


def test_each_session_is_one_line_with_everything():
    folder = library.make_folder()
    scripts = {"smtp": smtp_script(answers={b"AUTH": b"235 ok"}), "pop3": pop3_script(), "remote": echo_script}
    over = {f"backend {name}": {"address": f"unix:{folder / name}"} for name in scripts}
    over |= {"listen remote": {"detect_wait": "50ms"}}
    servers = [Backend(folder / name, script) for name, script in scripts.items()]
    with servers[0], servers[1], servers[2], library.Gatepost(over, users=()) as gate:
        wanted, context = [], client_context()
        for kind in ("plain", "starttls", "implicit"):
            with Wire(gate.port("pop3")) as wire:
                pop3_session(wire, context, kind, "anna", "secret").quit()
            with Wire(gate.port("submission")) as wire:
                smtp_session(wire, context, kind).commands((f"AUTH PLAIN {plain('bert')}", "235"))
                wire.quit()
            tls = {"tls": "TLSv1.3", "resumed": "no", "sni": "localhost"} if kind != "plain" else {}
            began = {"plain": ("plain", "plain"), "starttls": ("STLS", "STARTTLS"), "implicit": ("TLS first", "TLS first")}
            wanted += [{"listen": "pop3", "port": str(gate.port("pop3")), "began": began[kind][0], "user": "anna",
                        "backend": "pop3", "server": f"unix:{folder / 'pop3'}", "result": "ended", **tls},
                       {"listen": "submission", "port": str(gate.port("submission")), "began": began[kind][1],
                        "user": "bert", "backend": "smtp", "server": f"unix:{folder / 'smtp'}", "result": "ended", **tls}]
        with Wire(gate.port("remote")) as wire:
            wire.command("hello", "hello")
        wanted.append({"listen": "remote", "began": "plain", "backend": "remote", "in": "7", "result": "ended"})
        with Wire(gate.port("smtp")) as wire:
            wire.expect("220")
            wire.quit()
        wanted.append({"listen": "smtp", "began": "plain", "backend": "smtp", "in": "6"})
        found = sessions(gate, len(wanted))
        for row in wanted:
            (line,) = [line for line in found if row.items() <= line.items()]
            assert ("cipher" in line) == (line["began"] != "plain") and re.fullmatch(r"127\.0\.0\.1:\d+", line["client"])
            assert ("server" in line) == (line["listen"] != "smtp"), "one is asked only where it is needed"
        assert len({line["id"] for line in found}) == len(found)
        (bare,) = [line for line in found if line["listen"] == "pop3" and line["began"] == "plain"]
        assert int(bare["in"]) == len("USER anna\r\nPASS secret\r\nQUIT\r\n")


def test_a_resumed_session_and_its_balancer_are_told():
    over = {"listen mine": {"port": 2000, "protocol": "pop3", "backend": "pop3", "trusted": "127.0.0.1"}}
    with library.Gatepost(over) as gate:
        context = client_context(maximum=ssl.TLSVersion.TLSv1_2)
        session = None
        for _ in range(2):
            with Wire(gate.port("mine")) as wire:
                wire.send_raw(b"PROXY TCP6 2001:db8::66 2001:db8::1 4711 995\r\n")
                with context.wrap_socket(wire.socket, server_hostname=HOSTNAME, session=session) as secured:
                    assert secured.recv(100).startswith(b"+OK")
                    session = secured.session
                    secured.sendall(b"QUIT\r\n")
                    assert secured.recv(100).startswith(b"+OK")
        first, second = sessions(gate, 2)
        assert (first["resumed"], second["resumed"]) == ("no", "yes") and first["tls"] == second["tls"] == "TLSv1.2"
        assert first["in"] == second["in"] == "6", "neither the header nor what is of TLS"
        assert first["client"] == "[2001:db8::66]:4711" and re.fullmatch(r"127\.0\.0\.1:\d+", first["through"])


def distrusting(wire):
    with pytest.raises(ssl.SSLError):
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).wrap_socket(wire.socket, server_hostname=HOSTNAME)


def too_old(wire):
    wire.send_raw(bytes.fromhex("160301002f0100002b0301" + "00" * 32 + "00" + "0004002f00ff" + "0100"))
    wire.read_all()


def tls_behind_greeting(wire):
    wire.line()
    wire.send_raw(wire.begin_tls(client_context()))
    wire.read_all()


RESULTS = {  # what the client does: (port, began, what the log says of it)
    "TLS first, detect is off": ("pop3", tls_behind_greeting, "plain",
                                 r"client speaks TLS first on a STARTTLS port \(set it to STARTTLS; detect = yes serves it\)"),
    "TLS first, tls is off": ("off", lambda wire: (wire.send_raw(wire.begin_tls(client_context())), wire.read_all()), "plain",
                              r"client speaks TLS on a port where that is off \(set it to no encryption; tls = starttls .*\)"),
    "TLS 1.0": ("pop3s", too_old, "TLS first", r"TLS handshake failed: client offered at most TLS 1\.0, min_version is 1\.2 "
                r"\(tls_profile = legacy serves it from private networks\)"),
    "no trust": ("pop3s", distrusting, "TLS first", r'TLS handshake failed: the client sent the alert "unknown CA" '
                 r"\(it does not trust the certificate's issuer: is the whole chain in the file\?\)"),
    "plain on 995": ("pop3s", lambda wire: wire.command("USER anna", "+OK"), "plain",
                     r"client speaks no TLS on a TLS-first port \(set it to SSL/TLS, or to another port\)"),
    "a login in clear": ("strict", lambda wire: wire.commands(("NOOP", "+OK"), ("USER anna", "-ERR"), ("QUIT", "+OK")),
                         "plain", r"a login without TLS was refused \(set the client to STLS; require_tls = no takes it\)"),
    "AUTH in clear": ("submission", lambda wire: (smtp_session(wire), wire.command(f"AUTH PLAIN {plain('a')}", "538"),
                                                  wire.quit()),
                      "plain", r"a login without TLS was refused \(set the client to STARTTLS; require_tls = no takes it\)"),
    "mail in clear": ("smtp", lambda wire: (smtp_session(wire), wire.command("MAIL FROM:<a@b.example>", "530"), wire.quit()),
                      "plain", r"commands without TLS were refused \(set the client to STARTTLS; require_tls = no .*\)"),
}


def test_p9_of_a_client_that_could_not_be_served_the_line_says_what_to_change():
    over = {"listen pop3": {"detect": "no"}, "listen pop3s": {"detect_wait": "300ms"},
            "listen submission": {"require_tls": "auth"}, "listen smtp": {"require_tls": "yes"},
            "listen off": {"port": 2001, "protocol": "pop3", "backend": "pop3", "tls": "off"},
            "listen strict": {"port": 2002, "protocol": "pop3", "backend": "pop3", "require_tls": "auth"}}
    with library.Gatepost(over) as gate:
        for count, (name, (port, act, began, words)) in enumerate(RESULTS.items(), 1):
            with Wire(gate.port(port)) as wire:
                if name == "plain on 995":
                    wire.line()
                    wire.command("USER anna", "-ERR [AUTH] This port speaks TLS first")
                elif name == "a login in clear":
                    wire.line()
                    act(wire)
                else:
                    act(wire)
            line = sessions(gate, count)[-1]
            assert line["began"] == began and re.fullmatch(words, line["result"]), (name, line)
        in_clear = re.findall(r"dovecot: (\S+): Aborted login \(tried to use disallowed plaintext auth\): user=<>, "
                              r"rip=127\.0\.0\.1, lip=127\.0\.0\.1, session=<\w{16}>\n", gate.log())
        assert in_clear == ["pop3-login", "pop3-login", "submission-login"]


def test_every_part_of_the_line_stands_in_the_manual():
    page = (library.ROOT / "proxy" / "gatepost.8").read_text().split(".SS A session")[1].split(".SS")[0]
    listed = [name for line in re.findall(r"^([a-z_, ]+);", page, re.M) for name in line.split(", ")]
    assert listed == KEYS


# names, and other words of a client


def test_nothing_that_a_client_says_looks_like_a_line_or_a_part_of_one():
    folder = library.make_folder()
    scripts = {"smtp": smtp_script(answers={b"AUTH": b"235 ok"}), "pop3": pop3_script(answers=no(b"PASS"))}
    over = {f"backend {name}": {"address": f"unix:{folder / name}"} for name in scripts}
    over |= {"gatepost": {"log_level": "debug"}, "listen submission": {"detect": "no"}}
    with Backend(folder / "smtp", scripts["smtp"]), Backend(folder / "pop3", scripts["pop3"]), \
            library.Gatepost(over, users=()) as gate:
        for name in NAMES:
            with Wire(gate.port("submission")) as wire:  # who is let in stands in the session's line
                smtp_session(wire, name=f"[x]: ended, {name!a}")
                wire.command(f"AUTH PLAIN {plain(name)}", "235")
                wire.quit()
        shown = [line.get("user", "") for line in sessions(gate, len(NAMES))]
        assert sorted(shown) == sorted(NAMES.values())
        for sni in ("x.example>, rip=203.0.113.1", "a in=1 ms=1: ended"):
            with Wire(gate.port("pop3s")) as wire:
                context = client_context(verify=False)
                incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
                client = context.wrap_bio(incoming, outgoing, server_hostname="x" * len(sni))
                with pytest.raises(ssl.SSLWantReadError):
                    client.do_handshake()
                wire.send_raw(outgoing.read().replace(b"x" * len(sni), sni.encode()))
                assert wire.socket.recv(100)
                wire.close()
        ended = sessions(gate, len(NAMES) + 2)
        assert not {"203.0.113.1", "1"} & {line.get("in") for line in ended}
        assert all(re.fullmatch(r"127\.0\.0\.1:\d+", line["client"]) for line in ended)
        assert logs.failures(gate.folder / "log") == []


def test_a_sender_cannot_forge_the_end_of_an_embedded_workers_line():
    with library.Gatepost() as gate:
        with Wire(gate.port("smtp")) as wire:
            smtp_session(wire).commands(('MAIL FROM:<"a> to 1 local bytes 1: 250 x"@b.example>', "250"),
                                        (f"RCPT TO:<{library.USER}>", "250"), ("DATA", "354"), ("\r\n.", "250"))
            wire.quit()
        line = gate.wait_for_log(r"gatepost-smtpd: .* from <.*")[0]
        assert r' from <\x22a\x3e\x20to\x201\x20local\x20bytes\x201:\x20250\x20x\x22@b.example> to 1 local bytes ' in line


# failed logins, as fail2ban counts them


class Elsewhere(library.Gatepost):
    """The log goes where `text` reads it: log() has identifiers in the place of names."""
    text = None

    def log(self):
        text = self.text() if self.text and self._final_log is None else ""
        return re.sub(r"(gatepost|dovecot)(\[\d+\]: |\nMESSAGE=)", r"\1: ", text) + super().log()


class Place:
    """Where the log goes: `setting`, and what fail2ban reads."""

    def __init__(self, kind):
        self.kind = kind
        self.reader = {"syslog": logs.Rsyslog, "journald": logs.Journald}.get(kind, lambda: None)()
        self.setting = f"{kind}:{self.reader.socket}" if self.reader else "stderr"

    def text(self):
        if self.kind == "syslog":
            return self.reader.file.read_text() if self.reader.file.exists() else ""
        return "".join(f"{one['SYSLOG_IDENTIFIER']}: {one['MESSAGE']}\n" for one in self.reader.entries())

    def __enter__(self):
        if self.reader:
            self.reader.__enter__()
        return self

    def __exit__(self, *kind):
        if self.reader:
            self.reader.__exit__(*kind)

    def gate(self, over):
        gate = Elsewhere(library.overlay(over, {"gatepost": {"log": self.setting}}), users=())
        gate.text = self.text if self.reader else None
        return gate

    def failures(self, gate):
        if self.kind == "stderr":
            return logs.failures(gate.folder / "log")
        return logs.failures(self.reader.file if self.kind == "syslog" else self.reader)


def header(address):
    family, own = ("TCP6", "2001:db8::1") if ":" in address else ("TCP4", "198.51.100.1")
    return f"PROXY {family} {address} {own} 4711 110\r\n".encode()


ATTACKERS = ("203.0.113.66", "2001:db8::66")


def attack(gate, names):
    """Failed logins in every way, and what is none. Returns what fail2ban should find."""
    found = []
    for address in ATTACKERS:
        for kind in ("plain", "starttls"):
            with Wire(gate.port("fetch")) as wire:
                wire.send(header(address))
                pop3_session(wire, client_context(), kind)
                for _ in range(2):
                    wire.commands(("USER bert", "+OK"), ("PASS wrong", "-ERR"))
                    found.append((address, "bert"))
                wire.commands(("AUTH PLAIN", "+ "), ("*", "-ERR"), ("NOOP", "+OK"))
                wire.quit()
    for port in ("send", "routed"):
        with Wire(gate.port(port)) as wire:
            wire.send(header(ATTACKERS[0]))
            smtp_session(wire)
            for name, shown in names.items():
                judged = port == "send" or bool(name) and "\n" not in name  # a map is not asked for such a name, nor a server
                wire.command(f"AUTH PLAIN {plain(name)}", "535" if judged else "501")
                found += [(ATTACKERS[0], shown)] * judged
            wire.commands(("AUTH LOGIN", "334"), (base64.b64encode(b"carl").decode(), "334"), ("*", "501"))
            wire.quit()
    return found


def asking(before, last):
    """Answers of a script to AUTH with its response, or to the lines behind it."""
    def answer(wire, _, line):
        if len(line.split()) > 2:
            return last
        for challenge in (before,) * (2 if b"LOGIN" in line else 1):
            wire.send(challenge + b"\r\n")
            if wire.line() == b"*":
                return last.replace(b"535 5.7.8", b"501")
        return last
    return answer


@pytest.mark.parametrize("kind", ["stderr", "syslog", "journald"])
def test_fail2bans_filter_counts_each_failed_login_once_and_nothing_else(kind):
    folder = library.make_folder()
    (folder / "map").touch()
    cdb.replace(folder / "map", {"anna": "smtp"})
    scripts = {"smtp": smtp_script(answers={b"AUTH": asking(b"334 ", b"535 5.7.8 no")}),
               "pop3": pop3_script(answers={b"PASS": b"-ERR no", b"AUTH": asking(b"+ ", b"-ERR no")})}
    over = {f"backend {name}": {"address": f"unix:{folder / name}"} for name in scripts}
    over |= {"listen fetch": {"port": 2000, "protocol": "pop3", "backend": "pop3", "trusted": "127.0.0.1"},
             "listen send": {"port": 2001, "backend": "smtp", "trusted": "127.0.0.1"},
             "listen routed": {"port": 2002, "backend": "smtp", "trusted": "127.0.0.1", "route": f"user:cdb:{folder / 'map'}",
                               "route_backends": "smtp"},
             "limits": {"max_errors": 100}}
    with Backend(folder / "smtp", scripts["smtp"]), Backend(folder / "pop3", scripts["pop3"]), Place(kind) as place, \
            place.gate(over) as gate:
        wanted = attack(gate, NAMES)
        proc.wait_until(lambda: len(parsed(gate.log())) == 6, 15, lambda: f"6 sessions in\n{gate.log()}")
        assert sorted(place.failures(gate)) == sorted(wanted)
        told = {line["listen"] + line["client"]: line["logins_failed"] for line in parsed(gate.log())}
        assert told == {"fetch203.0.113.66:4711": "2", "fetch[2001:db8::66]:4711": "2", "send203.0.113.66:4711":
                        str(len(NAMES)), "routed203.0.113.66:4711": str(len(NAMES) - 3)}
        if kind == "journald":
            (entry,) = place.reader.entries(r"GATEPOST_USER=x\x0asession\x201:\x20client\x20203.0.113.1:1",
                                            "GATEPOST_LISTEN=send")
            assert entry["PRIORITY"] == "5" and entry["SYSLOG_FACILITY"] == "2" and entry["GATEPOST_METHOD"] == "PLAIN"
            assert entry["SYSLOG_IDENTIFIER"] == "dovecot" and entry["GATEPOST_CLIENT"] == "203.0.113.66:4711"
            ends = place.reader.entries("GATEPOST_RESULT=ended", "GATEPOST_BEGAN=STLS", "SYSLOG_IDENTIFIER=gatepost")
            assert len(ends) == 2 and ends[0]["GATEPOST_TLS"] == "TLSv1.3" and ends[0]["PRIORITY"] == "6"
            assert {"_PID"} <= ends[0].keys() and int(ends[0]["_PID"]) == gate.process.pid


class Mirror(Remote):
    """Port 109, through a balancer."""

    def __init__(self, gate, address, tls=True):
        super().__init__(gate, tls=False, greet=False, port=gate.port("mirror"))
        self.wire.send(header(address))
        if tls:
            self.wire.start_tls(client_context())
        assert self.ask(f"RM/1 test/1 id={MIRROR}").startswith("+ RM/1 ")


def test_fail2bans_filter_counts_failed_logins_of_remote_mail_too():
    """The proxy does not read that dialogue: the embedded worker tells, in the same words, of the same client."""
    over = {"backend remote": {"address": "embedded"}, "limits": {"max_errors": 100},
            "mailstore": {"auth_without_tls": "no"},
            "listen mirror": {"port": 2003, "protocol": "remote", "backend": "remote", "trusted": "127.0.0.1"}}
    names = {**NAMES, "a" * 200: "a" * 200}
    del names[""]  # PLAIN has to have one
    tries = [(ATTACKERS[number % 2], name) for number, name in enumerate(names)]
    with Place("journald") as place, place.gate(over) as gate:
        gate.add_user(library.USER)
        mirrors = [Mirror(gate, address) for address, _ in tries]  # one each: in one, they wait ever longer
        for mirror, (_, name) in zip(mirrors, tries):
            mirror.say("AUTH PLAIN", plain(name))
        for mirror in mirrors:
            assert mirror.line().startswith("- [AUTH] ")
            assert mirror.ask("AUTH PLAIN AAAA").startswith("- [SYNTAX] ") and mirror.ask("QUIT") == "+ BYE"
            mirror.wire.close()
        with Mirror(gate, "203.0.113.67", tls=False) as mirror:
            for _ in range(3):
                assert mirror.ask("AUTH PLAIN", plain("anna")).startswith("- [TLS] ")
            assert mirror.ask("QUIT") == "+ BYE"
        gate.wait_for_log("remote session .* of 203.0.113.67:4711: .*ended in order")
        wanted = [(address, names[name]) for address, name in tries] + [("203.0.113.67", "")]
        assert sorted(place.failures(gate)) == sorted(wanted)
        (entry,) = place.reader.entries("SYSLOG_IDENTIFIER=dovecot", "GATEPOST_CLIENT=203.0.113.67:4711")
        assert entry["MESSAGE"] == ("pop3-login: Aborted login (tried to use disallowed plaintext auth): user=<>, "
                                    f"rip=203.0.113.67, lip=198.51.100.1, session=<{entry['GATEPOST_SESSION']}>")
        assert f"session {entry['GATEPOST_SESSION']}: client 203.0.113.67:4711, port mirror " in gate.log()
        assert "secret" not in gate.log()


def readme_jail():
    text = (library.ROOT / "README.md").read_text()
    return re.search(r"^```ini\n# /etc/fail2ban/jail\.d/gatepost\.conf\n(.*?)^```$", text, re.M | re.S)[1]


def test_readmes_jail_bans_who_tries_passwords():
    folder = library.make_folder()
    over = {"backend pop3": {"address": f"unix:{folder / 'pop3'}"},
            "listen fetch": {"port": 2000, "protocol": "pop3", "backend": "pop3", "trusted": "127.0.0.1"}}
    with Backend(folder / "pop3", pop3_script(answers=no(b"PASS"))), Place("journald") as place, place.gate(over) as gate:
        gate.wait_for_log("ready")
        journal = f"backend = systemd[journalpath={place.reader.files()}, journalflags=0]\n"
        with logs.Fail2ban(readme_jail(), f"{journal}journalmatch = _PID={gate.process.pid}") as fail2ban:
            for address, tries in (("203.0.113.66", 5), ("203.0.113.7", 4)):
                with Wire(gate.port("fetch")) as wire:
                    wire.send(header(address))
                    wire.expect("+OK")
                    wire.commands(*(("USER x>, rip=203.0.113.1", "+OK"), ("PASS y", "-ERR")) * tries)
            proc.wait_until(fail2ban.banned, 30, lambda: fail2ban.ask("status", "gatepost"))
            proc.wait_until(lambda: re.search(r"Total failed:\s+9\b", fail2ban.ask("status", "gatepost")), 30, "all are seen")
            assert fail2ban.banned() == ["203.0.113.66"]


# where it goes, and what if nobody reads there


class Stuck(Elsewhere):
    """Standard error is a pipe or a terminal of the test, which it reads when it likes to."""

    def start(self, wait=True):
        self._stderr = open(self.folder / "log", "ab")
        self.own, theirs = pty.openpty() if self.terminal else os.pipe()
        self.process = subprocess.Popen([self.build / "proxy" / "gatepost", "-c", self.ini], cwd=self.folder,
                                        env=self.environment, stdin=subprocess.DEVNULL, stdout=self._stderr, stderr=theirs)
        if not self.terminal:
            os.close(theirs)
        self.theirs = theirs
        self.heard = b""
        self.wait_ready()
        return self

    def text(self):
        os.set_blocking(self.own, False)
        try:
            while more := os.read(self.own, 65536):
                self.heard += more.replace(b"\r\n", b"\n")
        except OSError:
            pass
        return self.heard.decode()


def failing(gate, count):
    """So many failed logins, a line of 420 octets each, through a few sessions."""
    for _ in range(4):
        with Wire(gate.port("pop3")) as wire:
            wire.expect("+OK")
            for _ in range(count // 100):
                wire.send((b"USER " + b"\xff" * 63 + b"\r\nPASS y\r\n") * 25)
                for _ in range(25):
                    wire.expect("+OK")
                    wire.expect("-ERR")
            wire.quit()


@pytest.mark.parametrize("kind", ["syslog", "pipe", "terminal"])
def test_p5_a_log_that_nobody_reads_stops_nothing_and_what_was_lost_is_told(kind):
    folder = library.make_folder()
    over = {"backend pop3": {"address": f"unix:{folder / 'pop3'}"}, "listen pop3": {"detect": "no"},
            "gatepost": {"workers": 1, "log": f"syslog:{folder / 'log'}" if kind == "syslog" else "stderr"}}
    capabilities = ("TOP", "UIDL", "USER", "PIPELINING")
    with Backend(folder / "pop3", pop3_script(answers=no(b"PASS"), capabilities=capabilities)), \
            logs.Daemon(folder / "log") as daemon:
        gate = (Elsewhere if kind == "syslog" else Stuck)(over, users=())
        if kind == "syslog":
            gate.text = lambda: "\n".join(daemon.read())
        gate.terminal = kind == "terminal"
        with gate:
            if gate.terminal:
                termios.tcflow(gate.theirs, termios.TCOOFF)  # as Ctrl-S does
            failing(gate, 3200)
            (worker,) = gate.workers()
            gate.kill(worker)
            proc.wait_until(lambda: gate.workers() not in ([], [worker]), 15, "the supervisor sees to its worker")
            with Wire(gate.port("pop3")) as wire:
                pop3_session(wire).quit()
            lost = Ctl(gate).json("status")["lost_log_lines"]
            assert 0 < lost < 3200 and f", {lost} lines of the log lost" in Ctl(gate).good("status")
            assert Ctl(gate).json("stats")["counters"]["lost_log_lines"] == lost
            if gate.terminal:
                termios.tcflow(gate.theirs, termios.TCOON)
            if kind == "syslog":
                daemon.wait("lost before this one")
            gate.wait_for_log(r"gatepost: \d+ log lines were lost before this one")
            text = gate.log()
            assert text.count("pop3-login: Aborted login") > 1000, "what found room in the backlog is there"
            lost = sum(map(int, re.findall(r"(\d+) log lines were lost", text)))
            assert 3200 - text.count("pop3-login: Aborted login") <= lost <= 3200 + 20
            if kind in ("pipe", "terminal"):
                assert not strange(text), "no line is in pieces"


def test_p5_lines_that_a_worker_cannot_send_are_counted_too():
    """Its supervisor is asleep; the sessions are not."""
    folder = library.make_folder()
    over = {"backend pop3": {"address": f"unix:{folder / 'pop3'}"}, "listen pop3": {"detect": "no"}, "gatepost": {"workers": 1}}
    with Backend(folder / "pop3", pop3_script(answers=no(b"PASS"), capabilities=("UIDL", "USER", "PIPELINING"))), \
            library.Gatepost(over, users=()) as gate:
        gate.process.send_signal(signal.SIGSTOP)
        try:
            failing(gate, 3200)
        finally:
            gate.process.send_signal(signal.SIGCONT)

        def counted():
            with Wire(gate.port("pop3")) as wire:  # only a line that comes through tells of those that did not before it
                pop3_session(wire).quit()
            told = sum(map(int, re.findall(r"worker 0: (\d+) log lines were lost before this one", gate.log())))
            stats = Ctl(gate).json("stats")
            (worker,) = stats["workers"]
            return told > 0 and {told} == {Ctl(gate).json("status")["lost_log_lines"],
                                           stats["counters"]["lost_log_lines"], worker["counters"]["lost_log_lines"]}

        proc.wait_until(counted, 30, lambda: f"{Ctl(gate).good('stats')}\n{gate.log()[-2000:]}")
        assert gate.log().count("pop3-login: Aborted login") < 3200


def test_a_service_of_systemd_needs_no_setting_to_have_fields_in_the_journal():
    """systemd connects standard error to the journal, and says so in JOURNAL_STREAM."""
    with logs.Journald() as journal:
        (journal.folder / "run/systemd/journal").mkdir()
        (journal.folder / "run/systemd/journal/socket").symlink_to(f"../journal.{journal.NAME}/socket")
        gate = Elsewhere(users=(), prefix=("unshare", "--mount", "--propagation", "private", "bash", "-c",
                                           'mount --bind "$0" /run; exec "$@"', journal.folder / "run"))
        gate.text = lambda: "".join(f"{one['SYSLOG_IDENTIFIER']}: {one['MESSAGE']}\n" for one in journal.entries())
        (gate.folder / "log").touch()
        stream = (gate.folder / "log").stat()
        gate.environment["JOURNAL_STREAM"] = f"{stream.st_dev}:{stream.st_ino}"
        with gate:
            with Wire(gate.port("pop3")) as wire:
                pop3_session(wire).quit()
            gate.wait_for_log("gatepost: worker .: session .*: ended")
            (entry,) = journal.entries("GATEPOST_RESULT=ended")
            assert (entry["GATEPOST_LISTEN"], entry["PRIORITY"], entry["SYSLOG_FACILITY"]) == ("pop3", "6", "2")
            assert "ready" not in (gate.folder / "log").read_text()


def test_a_reload_sends_the_log_elsewhere():
    folder = library.make_folder()
    with library.Gatepost() as gate, logs.Daemon(folder / "log") as daemon:
        gate.sections["gatepost"]["log"] = f"syslog:{folder / 'log'}"
        gate.write_ini()
        gate.process.send_signal(signal.SIGHUP)
        daemon.wait(r"<2\d>\w{3} [ \d]\d \d\d:\d\d:\d\d gatepost\[%d\]: reload 1: in use" % gate.process.pid)
        with Wire(gate.port("pop3")) as wire:
            pop3_session(wire).quit()
        daemon.wait(r"<22>.* gatepost\[\d+\]: worker \d: session \w{16}: client 127\.0\.0\.1:\d+, port pop3 \d+, plain,")
        daemon.socket.close()
        daemon.open()  # it was started again
        with Wire(gate.port("pop3")) as wire:
            pop3_session(wire).quit()
        daemon.wait("worker .: session .*: ended")
        assert ": session " not in gate.log()


# passwords


def test_p7_no_login_on_any_way_leaves_its_password_in_the_log():
    secret, folder = "correct horse 4711", library.make_folder()
    forms = (secret, base64.b64encode(secret.encode()).decode(), plain("anna", secret), plain("", secret), secret[3:12])
    (folder / "map").touch()
    cdb.replace(folder / "map", {"anna": "smtp"})
    ehlo = ("XCLIENT NAME ADDR PORT PROTO HELO LOGIN DESTADDR DESTPORT", "AUTH PLAIN LOGIN", "SIZE 1000")
    scripts = {"smtp": smtp_script(ehlo=ehlo, answers={b"AUTH": asking(b"334 ", b"535 5.7.8 no"), b"XCLIENT": b"220 hello"}),
               "pop3": pop3_script(answers={b"PASS": b"-ERR no", b"AUTH": asking(b"+ ", b"-ERR no")})}
    over = {f"backend {name}": {"address": f"unix:{folder / name}"} for name in scripts}
    over |= {f"listen {name}": {"detect": "no"} for name in ("submission", "pop3")}
    over["backend smtp"]["identity"] = "xclient"
    over |= {"gatepost": {"log_level": "debug"}, "limits": {"max_errors": 100},
             "listen routed": {"port": 2002, "backend": "smtp", "route": f"user:cdb:{folder / 'map'}", "route_backends": "smtp",
                               "detect": "no"},
             "listen strict": {"port": 2003, "backend": "smtp", "require_tls": "auth", "detect": "no"},
             "listen strict3": {"port": 2004, "protocol": "pop3", "backend": "pop3", "require_tls": "auth", "detect": "no"}}
    word = base64.b64encode(b"anna").decode()
    smtp = [f"AUTH PLAIN {forms[2]}", ("AUTH PLAIN", forms[2]), ("AUTH LOGIN", word, forms[1]), (f"AUTH LOGIN {word}", forms[1]),
            ("AUTH LOGIN", forms[1], forms[1]), f"AUTH PLAIN {forms[2]} surplus", f"AUTH PLAIN {secret}", f"AUTH PLAIN ={forms[2]}",
            ("AUTH PLAIN", f"{forms[2]}!"), ("AUTH PLAIN", "*"), f"AUTH {forms[2]}", f"PASS {secret}", forms[2], secret,
            f"AUTH PLAIN {forms[2]}\x00", f"MAIL FROM:<a@b> AUTH={secret}".replace(" 4711", "")]
    pop3 = [f"PASS {secret}", ("USER anna", f"PASS {secret}"), f"AUTH PLAIN {forms[2]}", ("AUTH PLAIN", forms[2]),
            ("AUTH PLAIN", "*"), f"APOP anna {secret}", f"PASS {secret}" * 20, secret, f"XPASS {secret}", f" PASS {secret}"]
    with Backend(folder / "smtp", scripts["smtp"]), Backend(folder / "pop3", scripts["pop3"]), \
            library.Gatepost(over, users=()) as gate:
        count = 0
        for port, dialogues in (("submission", smtp), ("routed", smtp), ("strict", smtp), ("pop3", pop3), ("strict3", pop3)):
            for dialogue in dialogues:
                with Wire(gate.port(port)) as wire:
                    wire.reply() if "3" in port else smtp_session(wire)
                    for line in (dialogue,) if isinstance(dialogue, str) else dialogue:
                        wire.send(f"{line}\r\n")
                        wire.reply()
                count += 1
        sessions(gate, count)
        assert not [form for form in forms if form in gate.log()]
        with Wire(gate.port("submission")) as wire:  # ... and so it would be seen
            smtp_session(wire).command(f"AUTH PLAIN {plain(secret)}", "535")
        gate.wait_for_log(re.escape(r"user=<correct\x20horse\x204711>"))
