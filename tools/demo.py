"""The second half of tools/up: certificates, gatepost.ini, a demo user, gatepost itself, and the proof that it works.

Only Python's standard library. Fails, with words and exit code 1, where gatepost does not start (its own log tells
why) or where any of the tried ways through the six ports does not work."""
import argparse
import collections
import concurrent.futures
import ctypes
import os
import pathlib
import poplib
import re
import secrets
import signal
import smtplib
import socket
import ssl
import subprocess
import sys
import threading
import time

DOMAIN = "demo.gatepost.test"
USER = f"demo@{DOMAIN}"
KINDS = ("plain", "starttls", "implicit")
Port = collections.namedtuple("Port", "number name speaks")
PORTS = (
    Port(110, "pop3", "POP3: fetch mail"),
    Port(995, "pop3s", "POP3: fetch mail, TLS first"),
    Port(109, "remote", "Remote Mail: send and fetch"),
    Port(25, "smtp", "SMTP: other servers"),
    Port(26, "smtp-alt", "SMTP: where 25 is blocked"),
    Port(587, "submission", "SMTP: send mail"),
)
HOST = "127.0.0.1"  # a name would need somebody who resolves it
TIMEOUT_S = 30
AS_ROOT = os.geteuid() == 0


class Failure(Exception):
    """Ends the program with its words and exit code 1."""


def host_name():
    name = socket.gethostname()
    return name if re.fullmatch(r"[A-Za-z0-9.-]+", name) else "localhost"


# What is made once in the state folder

OPENSSL_INI = """
[req]
distinguished_name = name
prompt = no
[name]
CN = {common_name}
[ca]
basicConstraints = critical, CA:TRUE
keyUsage = critical, keyCertSign, cRLSign
subjectKeyIdentifier = hash
[server]
basicConstraints = critical, CA:FALSE
keyUsage = critical, digitalSignature
extendedKeyUsage = serverAuth
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
subjectAltName = {names}
"""


def openssl(*arguments):
    result = subprocess.run(["openssl", *arguments], capture_output=True, text=True)
    if result.returncode:
        raise Failure(f"openssl {' '.join(map(str, arguments))}: {result.stderr}")


def make_certificate(folder, name, extensions, common_name, days, *issuer):
    config = folder / "openssl.ini"
    names = dict.fromkeys(["DNS:localhost", f"DNS:{host_name()}", "IP:127.0.0.1", "IP:::1"])
    config.write_text(OPENSSL_INI.format(common_name=common_name, names=", ".join(names)))
    key = folder / f"{name}.key"
    key.touch(mode=0o600)
    openssl("req", "-x509", "-config", config, "-extensions", extensions, "-days", days, "-newkey", "ec",
            "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", key, "-out", folder / f"{name}.pem", *issuer)
    config.unlink()


def still_good(certificate):
    """Is it there, and good for another day?"""
    return certificate.exists() and subprocess.run(
        ["openssl", "x509", "-checkend", "86400", "-noout", "-in", certificate], capture_output=True).returncode == 0


def make_certificates(folder):
    """A local authority and, signed by it, the server's certificate; both ECDSA P-256."""
    folder.mkdir(exist_ok=True)
    if not still_good(folder / "ca.pem"):
        make_certificate(folder, "ca", "ca", f"Gatepost demo authority on {host_name()}"[:64], "3650")
        (folder / "server.pem").unlink(missing_ok=True)
    if not still_good(folder / "server.pem"):
        make_certificate(folder, "server", "server", "localhost", "820", "-CA", folder / "ca.pem",
                         "-CAkey", folder / "ca.key")


def reachable(folder):
    """May every user come to this folder? (The workers are nobody and mail.)"""
    return all(part.stat().st_mode & 0o001 for part in (folder, *folder.parents))


INI = """# Made by tools/up. `gatepost explain` tells about every key.{remark}
[gatepost]
hostname = {hostname}
{users}port_offset = {offset}
runtime_dir = {base}/run
state_dir = {base}/lib

[tls default]
certificate = {state}/tls/server.pem
key = {state}/tls/server.key

[backend smtp]
address = embedded
[backend pop3]
address = embedded
[backend remote]
address = embedded

[mailstore]
path = {base}/mail
domains = {domain}
"""

UNREACHABLE = """
# Other users may not enter a folder above this one, so the workers find their files from the folder that gatepost
# was started in: start it from here."""


def make_ini(state, offset):
    base = state if not AS_ROOT or (reachable(state) and len(str(state)) < 80) else pathlib.Path("/proc/self/cwd")
    (state / "gatepost.ini").write_text(INI.format(
        remark="" if base == state else UNREACHABLE, hostname=host_name(), offset=offset, base=base, state=state,
        domain=DOMAIN, users="user = nobody\nmail_user = mail\n" if AS_ROOT else ""))


def make_user(state, build):
    """Adds the demo user; its name and password are kept, one line each."""
    user, password = state / "demo.user", state / "demo.password"
    tool = [build / "tools" / "gatepost-user", "-c", state / "gatepost.ini"]
    if not password.exists() or not user.exists():
        user.write_text(USER + "\n")
        password.touch(mode=0o600)
        password.write_text(secrets.token_hex(8) + "\n")
    listed = subprocess.run([*tool, "list"], capture_output=True, text=True, cwd=state)
    action = "passwd" if USER in listed.stdout.split() else "add"
    result = subprocess.run([*tool, action, USER], input=password.read_text(), capture_output=True, text=True,
                            cwd=state)
    if result.returncode:
        raise Failure(f"gatepost-user: {result.stdout}{result.stderr}")
    return password.read_text().strip()


# The program

class Program:
    """gatepost, with its log passed on line by line."""

    def __init__(self, build, state):
        self.ready = threading.Event()
        self.process = subprocess.Popen([build / "proxy" / "gatepost", "-c", state / "gatepost.ini"], cwd=state,
                                        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                        start_new_session=True, preexec_fn=self.end_with_us)
        self.reader = threading.Thread(target=self.pass_on_log, daemon=True)
        self.reader.start()

    @staticmethod
    def end_with_us():
        ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG

    def pass_on_log(self):
        for line in self.process.stdout:
            sys.stdout.buffer.write(line)
            sys.stdout.buffer.flush()
            if b"gatepost: ready" in line:
                self.ready.set()

    def wait_ready(self):
        end = time.monotonic() + TIMEOUT_S
        while not self.ready.wait(0.05):
            if self.process.poll() is not None:
                self.reader.join()
                raise Failure(f"gatepost ended with exit code {self.process.returncode}")
            if time.monotonic() > end:
                raise Failure(f"gatepost was not ready within {TIMEOUT_S} s")

    def stop(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            code = self.process.wait(60)
        except subprocess.TimeoutExpired:
            self.process.kill()
            code = "none: killed after a minute"
        self.reader.join(5)
        if code:
            raise Failure(f"gatepost ended with exit code {code}")


# The proof

class Proof:
    """Every way through the six ports. Sends first, then fetches what was sent, then removes it."""

    def __init__(self, state, build, offset, password):
        self.state, self.build, self.offset, self.password = state, build, offset, password
        self.context = ssl.create_default_context(cafile=state / "tls" / "ca.pem")
        self.run = secrets.token_hex(6)
        self.sent = []
        self.maildrop = threading.Lock()  # POP3 lets one session at a time into a mailbox
        self.results = {}

    def smtp(self, port, kind):
        number = port.number + self.offset
        if kind == "implicit":
            return smtplib.SMTP_SSL(HOST, number, timeout=TIMEOUT_S, context=self.context)
        client = smtplib.SMTP(HOST, number, timeout=TIMEOUT_S)
        if kind == "starttls":
            client.starttls(context=self.context)
        return client

    def message(self, port, kind):
        token = f"{self.run}.{port.number}.{kind}"
        return token, (f"From: <{USER}>\r\nTo: <{USER}>\r\nSubject: Gatepost proof, port {port.number}, {kind}\r\n"
                       f"X-Gatepost-Proof: {token}\r\n\r\n.A line that begins with a dot.\r\n")

    def send(self, port, kind):
        token, message = self.message(port, kind)
        with self.smtp(port, kind) as client:
            words = self.tls_words(client.sock)
            if port.name != "smtp":
                client.login(USER, self.password)
            client.sendmail(USER, [USER], message)
        self.sent.append(token)
        return "sent" + words

    @staticmethod
    def tls_words(sock):
        return f", {sock.version()}" if isinstance(sock, ssl.SSLSocket) else ""

    def pop3(self, port, kind):
        number = port.number + self.offset
        if kind == "implicit":
            return poplib.POP3_SSL(HOST, number, timeout=TIMEOUT_S, context=self.context)
        client = poplib.POP3(HOST, number, timeout=TIMEOUT_S)
        if kind == "starttls":
            client.stls(context=self.context)
        return client

    def token_of(self, lines):
        """The token of a message of this run, whose text is looked at; "" of others."""
        token = next((line.split()[1].decode() for line in lines if line.startswith(b"X-Gatepost-Proof:")), "")
        return token if token.startswith(self.run) and lines[-1] == b".A line that begins with a dot." else ""

    def proofs_there(self, client):
        """{number in the maildrop: token} of this run's messages."""
        tokens = {number: self.token_of(client.retr(number)[1]) for number in range(1, client.stat()[0] + 1)}
        return {number: token for number, token in tokens.items() if token}

    def require_sent(self, found, sent):
        missing = set(sent) - set(found)
        if missing or not found:
            raise Failure(f"{len(found)} of {len(sent)} messages found")

    def fetch(self, port, kind, remove=False):
        client = self.pop3(port, kind)
        try:
            words = self.tls_words(client.sock)
            with self.maildrop:
                client.user(USER)
                client.pass_(self.password)
                found = self.proofs_there(client)
                if remove:
                    for number in found:
                        client.dele(number)
                client.quit()
        finally:
            client.close()
        self.require_sent(found.values(), self.sent)
        return "fetched" + words

    def remote(self, port, kind):
        """gatepost-fetch, as at a remote site: a message of its outbox goes up, all that were sent come down."""
        token, message = self.message(port, kind)
        expected = list(self.sent)
        site = self.state / "site" / kind
        for folder in ("Maildir", "outbox/new", "outbox/cur", "outbox/tmp"):
            (site / folder).mkdir(parents=True, exist_ok=True)
        (site / "outbox" / "new" / token).write_text(message.replace("\r\n", "\n"), newline="")
        trust = ["--plain"] if kind == "plain" else ["--ca", self.state / "tls" / "ca.pem"]
        done = subprocess.run([self.build / "tools" / "gatepost-fetch", "-u", USER, "-m", site / "Maildir",
                               "-o", site / "outbox", *trust, "--keep", "--password-fd", "0", "--retries", "0",
                               f"{HOST}:{port.number + self.offset}"],
                              input=f"{self.password}\n", capture_output=True, text=True, timeout=TIMEOUT_S)
        if done.returncode:
            raise Failure(done.stderr.strip())
        self.sent.append(token)
        files = [path for folder in ("new", "cur") for path in (site / "Maildir" / folder).glob("*")]
        self.require_sent([self.token_of(path.read_bytes().splitlines()) for path in files], expected)
        return f"sent and fetched{'' if kind == 'plain' else ', TLS'}"

    def refused(self, port, kind):
        """A port where TLS comes first tells a client without TLS what to set."""
        client = self.pop3(port, kind)
        try:
            client.user(USER)
            client.pass_(self.password)
        except poplib.error_proto as error:
            if b"TLS" in error.args[0]:
                return "told: use TLS"
            raise
        finally:
            client.close()
        raise Failure("a password was taken without TLS")

    def attempt(self, way, port, kind):
        try:
            self.results[port.name, kind] = True, way(port, kind)
        except (Failure, OSError, smtplib.SMTPException, poplib.error_proto) as error:
            self.results[port.name, kind] = False, f"FAILED: {error}"

    def ways(self):
        """(what to do, port, kind): sending, then what does both, then fetching."""
        sends = [(self.send, port, kind) for port in PORTS if port.speaks.startswith("SMTP") for kind in KINDS]
        both = [(self.remote, port, kind)
                for port in PORTS if port.name == "remote" for kind in ("plain", "implicit")]
        fetches = [(self.fetch, port, kind) for port in PORTS if port.name == "pop3" for kind in KINDS]
        fetches += [(self.fetch if kind != "plain" else self.refused, port, kind)
                    for port in PORTS if port.name == "pop3s" for kind in KINDS]
        return sends, both, fetches

    def perform(self):
        """All ways, several at a time: a port where TLS comes first waits five seconds before it greets in plain."""
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            for part in self.ways():
                list(pool.map(lambda way: self.attempt(*way), part))
        self.attempt(lambda port, kind: self.fetch(port, kind, remove=True), PORTS[0], "starttls")
        return all(good for good, _ in self.results.values())

    def table(self):
        head = ("port", "name", "speaks", "plain", "STARTTLS/STLS", "TLS first")
        rows = [head, tuple("-" * len(word) for word in head)]
        for port in PORTS:
            rows.append((str(port.number + self.offset), port.name, port.speaks,
                         *(self.results.get((port.name, kind), (True, "-"))[1] for kind in KINDS)))
        widths = [max(len(row[i]) for row in rows) for i in range(len(head))]
        return "\n".join("  ".join(word.ljust(width) for word, width in zip(row, widths)).rstrip() for row in rows)


def mail_program(state, build, offset, password):
    return f"""In a mail program (the authority to trust: {state}/tls/ca.pem):
  user name        {USER}
  password         {password}
  incoming POP3    {host_name()}, port {110 + offset} with STARTTLS, or port {995 + offset} with SSL/TLS
  outgoing SMTP    {host_name()}, port {587 + offset} or {26 + offset}, with STARTTLS or SSL/TLS: the port takes both
Or, at a remote site:
  {build}/tools/gatepost-fetch -u {USER} -m FOLDER --ca {state}/tls/ca.pem {host_name()}:{109 + offset}"""


def arguments():
    parser = argparse.ArgumentParser()
    parser.add_argument("--once", action="store_true")
    parser.add_argument("--port-offset", type=int, default=0)
    parser.add_argument("--state", type=pathlib.Path, required=True)
    parser.add_argument("--build", type=pathlib.Path, required=True)
    return parser.parse_args()


def check_privileges(offset):
    first = int(pathlib.Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").read_text())
    if not AS_ROOT and 25 + offset < first:
        raise Failure(f"only root may use ports below {first}: run as root, or try --port-offset 20000")


def interrupted(*_):
    raise KeyboardInterrupt


def run(options):
    state, offset = options.state.resolve(), options.port_offset
    check_privileges(offset)
    state.mkdir(parents=True, exist_ok=True)
    if AS_ROOT:
        state.chmod(0o755)  # the workers, who are nobody and mail, must get to their sockets and mail in it
    make_certificates(state / "tls")
    make_ini(state, offset)
    program = Program(options.build, state)
    try:
        program.wait_ready()
        password = make_user(state, options.build)
        proof = Proof(state, options.build, offset, password)
        good = proof.perform()
        print(f"\n{proof.table()}\n\n{mail_program(state, options.build, offset, password)}\n", flush=True)
        if not good:
            raise Failure("not every way through the ports works")
        if not options.once:
            print("gatepost is running; Ctrl-C ends it", flush=True)
            program.process.wait()
    except KeyboardInterrupt:
        print("ending", flush=True)
    finally:
        program.stop()


def main():
    signal.signal(signal.SIGTERM, interrupted)
    signal.signal(signal.SIGINT, interrupted)  # also where a shell in the background had it ignored
    try:
        run(arguments())
    except (Failure, OSError) as error:
        print(f"tools/up: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
