"""What a pull costs on a link of 300 ms: round trips, counted without a clock, against one RETR of the same octets; and,
printed only, the seconds that it, RETR, mpop and fetchmail take on such a link."""
import os
import subprocess
import time

import certificates
import gatepost as library
import proc
import pytest
from delay import FarLink, RoundTrips
from fetch import OK, Site
from remote import deliver, own, sections

MESSAGES, OCTETS = 10000, 2048
FEW = {"mpop": 500, "fetchmail": 10}  # messages for the others, which take long; with --full mpop gets all
RETR_USER = "bert@gatepost.test"
LINE = b"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abc\n"


def message(number):
    text = b"Subject: %05d\n\n" % number
    return (text + LINE * (OCTETS // len(LINE)))[:OCTETS - 40] + b"\n"


def fill(gate, count):
    """anna's mailbox has `count` messages and nothing else."""
    gate.clear()
    folder = gate.maildir()
    deliver(gate, b"Subject: x\r\n\r\n").unlink()
    for number in range(count):
        (folder / "new" / f"{1700000000 + number}.R{time.time_ns()}.test").write_bytes(message(number))
    own(gate, folder)


def one_large(gate):
    """bert's has the same octets in one."""
    gate.clear(RETR_USER)
    deliver(gate, b"".join(map(message, range(MESSAGES))).replace(b"\n", b"\r\n"), RETR_USER)


class Fetcher:
    """One program that empties the mailbox: `words` from (gate, host, port, folder)."""

    def __init__(self, name, port_name, words, say=""):
        self.name, self.port_name, self.words, self.say = name, port_name, words, say

    def start(self, gate, host, port, site, prefix=()):
        process = subprocess.Popen([*map(str, [*prefix, *self.words(gate, host, port, site)])], stdin=subprocess.PIPE,
                                   stdout=open(site.folder / "said", "wb"), stderr=subprocess.STDOUT, cwd=site.folder,
                                   env={**site.environment, "HOME": str(site.folder), "FETCHMAILHOME": str(site.folder)})
        process.stdin.write(self.say.encode())
        process.stdin.close()
        return process


def fetch_words(gate, host, port, site):
    return site.command(gate, port, host=host)


def retr_words(gate, host, port, site):
    """All in one flight, which no mail program dares."""
    return ["openssl", "s_client", "-quiet", "-CAfile", gate.folder / "ca.pem", "-connect", f"{host}:{port}"]


def mpop_words(gate, host, port, site):
    for part in ("new", "cur", "tmp"):
        (site.maildir / part).mkdir(parents=True)
    return ["mpop", f"--host={host}", f"--port={port}", "--tls=on", "--tls-starttls=off", "--quiet", "--keep=off",
            f"--tls-trust-file={gate.folder}/ca.pem", f"--user={library.USER}", "--auth=user", "--received-header=off",
            f"--passwordeval=echo '{library.PASSWORD}'", f"--uidls-file={site.folder}/uidls",
            f"--delivery=maildir,{site.maildir}"]


def fetchmail_words(gate, host, port, site):
    script = site.folder / "fetchmailrc"
    script.touch(mode=0o600)
    script.write_text(f'poll {host} service {port} protocol POP3 timeout 60\n'
                      f'  username "{library.USER}" password "{library.PASSWORD}" ssl no sslcertck\n'
                      f'  fetchall nokeep no rewrite pass8bits no mimedecode mda "cat >>{site.folder}/fetched"\n')
    return ["fetchmail", "--silent", "--fetchmailrc", script, "--nosyslog", "--idfile", site.folder / "ids", "--pidfile",
            site.folder / "pid"]


FETCH = Fetcher("gatepost-fetch", "remote", fetch_words, f"{library.PASSWORD}\n")
RETR = Fetcher("one RETR", "pop3s", retr_words, f"USER {RETR_USER}\r\nPASS {library.PASSWORD}\r\nRETR 1\r\nQUIT\r\n")
OTHERS = [Fetcher("mpop", "pop3s", mpop_words), Fetcher("fetchmail", "pop3s", fetchmail_words)]


def all_arrived(gate, fetcher, site, count):
    if fetcher is RETR:
        assert (site.folder / "said").stat().st_size > MESSAGES * OCTETS * 0.9
    elif fetcher.name == "fetchmail":
        assert (site.folder / "fetched").read_bytes().count(b"Subject: ") == count
    else:
        got = [text[text.index(b"Subject: "):] for text in site.received()]
        assert sorted(got) == [message(number) for number in range(count)]
    if fetcher is not RETR:
        assert gate.messages() == [], "and the server has deleted them"


def seconds_and_trips(gate, fetcher, count, link=None):
    """What emptying a mailbox of `count` takes; trips only without a link."""
    with Site() as site:
        if fetcher is not RETR:
            fill(gate, count)
        port, begun, running = gate.port(fetcher.port_name), time.monotonic(), []
        if link:
            process = fetcher.start(gate, FarLink.SERVER, port, site, link.client)
            code, trips = process.wait(), None
        else:
            with RoundTrips(port, lambda: [*gate.processes(), *(pid for one in running for pid in (
                    one, *proc.children(one)))]) as relay:
                process = fetcher.start(gate, "localhost", relay.port, site)
                running.append(process.pid)
                code, trips = process.wait(), relay.trips
        taken = time.monotonic() - begun
        assert code == OK, (site.folder / "said").read_text(errors="replace")[-2000:]
        all_arrived(gate, fetcher, site, count)
        return taken, trips


def tell_of_others(gate, full, unit, which, link=None):
    """Prints what they take: for all messages, or what a few of them, and half as many, make likely for all."""
    for other in OTHERS:
        count = MESSAGES if full and other.name == "mpop" else FEW[other.name]
        taken = seconds_and_trips(gate, other, count, link)[which]
        words = f"{other.name}: {taken:.0f} {unit} for {count} messages"
        if count < MESSAGES:
            each = (taken - seconds_and_trips(gate, other, count // 2, link)[which]) / (count - count // 2)
            words += f"; extrapolated {taken + each * (MESSAGES - count):.0f} for {MESSAGES}"
        print(words)


@pytest.mark.seconds(600)
def test_r3_a_pull_takes_at_most_six_round_trips_more_than_one_retr(full):
    with library.Gatepost(sections(), users=(library.USER, RETR_USER)) as gate:
        one_large(gate)
        retr = seconds_and_trips(gate, RETR, 1)[1]
        fetch = seconds_and_trips(gate, FETCH, MESSAGES)[1]
        print(f"round trips for {MESSAGES} messages of {OCTETS} octets: gatepost-fetch {fetch}, one RETR {retr}")
        tell_of_others(gate, full, "round trips", 1)
        assert fetch <= retr + 6


@pytest.mark.seconds(1200)
def test_seconds_on_a_link_of_300_ms(full):
    with FarLink(150) as link:
        gate = library.Gatepost(sections({"gatepost": {"bind": FarLink.SERVER}}), users=(library.USER, RETR_USER),
                                prefix=link.server)
        certificates.write(gate.folder, (*certificates.NAMES, FarLink.SERVER))
        with gate:
            one_large(gate)
            retr = seconds_and_trips(gate, RETR, 1, link)[0]
            fetch = seconds_and_trips(gate, FETCH, MESSAGES, link)[0]
            print(f"{MESSAGES} messages of {OCTETS} octets over a link of 300 ms: gatepost-fetch {fetch:.1f} s, the same "
                  f"octets in one RETR {retr:.1f} s: {(fetch - retr) / 0.3:.1f} round trips more")
            tell_of_others(gate, full, "seconds", 0, link)
