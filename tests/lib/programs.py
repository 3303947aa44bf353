"""Mail programs that people use, against one port of a Gatepost, by the kind of TLS.

    SENDERS["swaks"](gate, "smtp-alt", "starttls", message)           sends, from bert@example.org to anna
    FETCHERS["mpop"](gate, "pop3s", "implicit")  -> octets            the first message of anna's maildrop, which stays

Each raises ProgramFailed, with all that the program said, when it does not succeed. Certificates are verified."""
import base64
import contextlib
import os
import pathlib
import shutil
import socket
import subprocess
import tempfile

import clients
import messages
from gatepost import USER
from wire import Wire, pop3_session, smtp_session

SENDER = "bert@example.org"
TIMEOUT = 90


class ProgramFailed(AssertionError):
    pass


@contextlib.contextmanager
def scratch(gate):
    folder = pathlib.Path(tempfile.mkdtemp(dir=gate.folder))
    yield folder
    shutil.rmtree(folder)


def run(command, **more):
    result = subprocess.run([str(word) for word in command], capture_output=True, timeout=TIMEOUT, **more)
    if result.returncode:
        raise ProgramFailed(f"{' '.join(map(str, command))}\nexit code {result.returncode}\n"
                            f"{(result.stdout + result.stderr)[-3000:].decode(errors='replace')}")
    return result.stdout


def needs_login(port_name):
    return port_name == "submission"


def login(gate):
    return USER, gate.password


# sending

def send_curl(gate, port_name, kind, message):
    scheme = "smtps" if kind == "implicit" else "smtp"
    command = ["curl", "-sS", "--cacert", gate.folder / "ca.pem", "--mail-from", SENDER, "--mail-rcpt", USER,
               "--upload-file", "-", f"{scheme}://localhost:{gate.port(port_name)}/client.example"]
    command += ["--ssl-reqd"] * (kind == "starttls")
    if needs_login(port_name):
        command += ["--user", ":".join(login(gate))]
    run(command, input=message)


def send_swaks(gate, port_name, kind, message):
    with scratch(gate) as folder:
        (folder / "message").write_bytes(message.removesuffix(b"\r\n"))  # it adds the last line end with the dot
        command = ["swaks", "--server", "localhost", "--port", gate.port(port_name), "--ehlo", "client.example",
                   "--from", SENDER, "--to", USER, "--data", f"@{folder}/message", "--suppress-data"]
        command += {"plain": [], "starttls": ["--tls"], "implicit": ["--tls-on-connect"]}[kind]
        if kind != "plain":
            command += ["--tls-verify", "--tls-ca-path", gate.folder / "ca.pem"]
        if needs_login(port_name):
            user, password = login(gate)
            command += ["--auth", "LOGIN", "--auth-user", user, "--auth-password", password]
        run(command)


def tls_options(gate, kind):
    """Of msmtp and mpop, which share them."""
    if kind == "plain":
        return ["--tls=off"]
    return ["--tls=on", f"--tls-starttls={'on' if kind == 'starttls' else 'off'}",
            f"--tls-trust-file={gate.folder}/ca.pem"]


def send_msmtp(gate, port_name, kind, message):
    command = ["msmtp", "--host=localhost", f"--port={gate.port(port_name)}", f"--from={SENDER}",
               "--domain=client.example", "--timeout=60", "--set-from-header=off", "--set-date-header=off",
               *tls_options(gate, kind)]
    if needs_login(port_name):
        user, password = login(gate)
        command += ["--auth=plain", f"--user={user}", f"--passwordeval=echo '{password}'"]
    run([*command, USER], input=message.replace(b"\r\n", b"\n"))


def send_smtplib(gate, port_name, kind, message):
    clients.send(gate, port_name, kind, message, SENDER, USER, login(gate) if needs_login(port_name) else None)


@contextlib.contextmanager
def s_client(gate, port_name, kind, protocol):
    """A Wire whose other end is the plain side of `openssl s_client -quiet`."""
    ours, its = socket.socketpair()
    command = ["openssl", "s_client", "-quiet", "-verify_return_error", "-verify_hostname", "localhost",
               "-CAfile", gate.folder / "ca.pem", "-connect", f"localhost:{gate.port(port_name)}"]
    command += ["-starttls", protocol] * (kind == "starttls")
    with its:
        process = subprocess.Popen([str(word) for word in command], stdin=its, stdout=its, stderr=subprocess.PIPE)
    try:
        with Wire.over(ours, TIMEOUT) as wire:
            yield wire
        process.wait(TIMEOUT)
    except (AssertionError, OSError) as error:
        process.kill()
        raise ProgramFailed(f"{error}\n{process.stderr.read()[-2000:].decode(errors='replace')}") from error
    finally:
        process.kill()
        process.wait()
        process.stderr.close()


def send_openssl(gate, port_name, kind, message):
    with s_client(gate, port_name, kind, "smtp") as wire:
        if kind == "starttls":  # it has read the greeting itself
            wire.command("EHLO client.example", "250")
        else:
            smtp_session(wire, name="client.example")
        if needs_login(port_name):
            secret = base64.b64encode("\0{}\0{}".format(*login(gate)).encode()).decode()
            wire.command(f"AUTH PLAIN {secret}", "235")
        wire.commands((f"MAIL FROM:<{SENDER}>", "250"), (f"RCPT TO:<{USER}>", "250"), ("DATA", "354"))
        wire.send(messages.stuffed(message))
        wire.expect("250")
        wire.command("QUIT", "221")


SENDERS = {"curl": send_curl, "swaks": send_swaks, "msmtp": send_msmtp, "openssl": send_openssl,
           "smtplib": send_smtplib}


# fetching

def fetch_curl(gate, port_name, kind):
    scheme = "pop3s" if kind == "implicit" else "pop3"
    return run(["curl", "-sS", "--cacert", gate.folder / "ca.pem", "--user", ":".join(login(gate)),
                *["--ssl-reqd"] * (kind == "starttls"), f"{scheme}://localhost:{gate.port(port_name)}/1"])


def fetch_mpop(gate, port_name, kind):
    user, password = login(gate)
    with scratch(gate) as folder:
        for name in ("new", "cur", "tmp"):
            (folder / "Maildir" / name).mkdir(parents=True)
        run(["mpop", "--host=localhost", f"--port={gate.port(port_name)}", *tls_options(gate, kind), f"--user={user}",
             f"--passwordeval=echo '{password}'", "--auth=user", "--keep=on", "--received-header=off", "--timeout=60",
             f"--uidls-file={folder}/uidls", f"--delivery=maildir,{folder}/Maildir"])
        return next((folder / "Maildir" / "new").iterdir()).read_bytes()


def fetch_fetchmail(gate, port_name, kind):
    user, password = login(gate)
    tls = {"plain": 'sslproto ""', "starttls": 'sslproto "TLS1.2+"', "implicit": "ssl"}[kind]
    with scratch(gate) as folder:
        script = folder / "fetchmailrc"
        script.touch(mode=0o600)
        script.write_text(
            f'poll localhost service {gate.port(port_name)} protocol POP3 timeout 60\n'
            f'  username "{user}" password "{password}" {tls} sslcertck sslcertfile "{gate.folder}/ca.pem"\n'
            f'  fetchall keep no rewrite pass8bits no mimedecode mda "cat >>{folder}/fetched"\n')
        environment = {**os.environ, "FETCHMAILHOME": str(folder), "HOME": str(folder)}
        run(["fetchmail", "--fetchmailrc", script, "--nosyslog", "--idfile", folder / "ids", "--pidfile", folder / "pid"],
            env=environment)
        return (folder / "fetched").read_bytes()


def fetch_poplib(gate, port_name, kind):
    with clients.pop3(gate, port_name, kind) as client:
        return b"".join(line + b"\r\n" for line in client.retr(1)[1])


def fetch_openssl(gate, port_name, kind):
    user, password = login(gate)
    with s_client(gate, port_name, kind, "pop3") as wire:
        if kind == "starttls":  # it has read the greeting itself
            wire.commands((f"USER {user}", "+OK"), (f"PASS {password}", "+OK"))
        else:
            pop3_session(wire, user=user, password=password)
        wire.command("RETR 1", "+OK")
        message = b"".join(line + b"\r\n" for line in wire.multiline())
        wire.command("QUIT", "+OK")
        return message


FETCHERS = {"curl": fetch_curl, "mpop": fetch_mpop, "fetchmail": fetch_fetchmail, "openssl": fetch_openssl,
            "poplib": fetch_poplib}
