"""Real servers of Debian on UNIX sockets, each in a folder of its own: Dovecot's POP3 and Postfix's smtpd.

    with Dovecot({"anna@gatepost.test": [message, ...]}) as dovecot:   # dovecot.socket, password "secret" for everybody
    with Postfix(domains=("gatepost.test",)) as postfix:               # postfix.socket, or postfix.port

Both need root and skip nothing: without the program the test fails. folder, log() as in gatepost.Gatepost."""
import os
import pathlib
import shutil
import signal
import socket
import subprocess

import certificates
import proc
from gatepost import make_folder

DOVECOT = """
base_dir = {folder}/base
state_dir = {folder}/state
log_path = {folder}/log
protocols = pop3
listen = 127.0.0.1
ssl = {ssl}
{tls}
disable_plaintext_auth = no
auth_mechanisms = plain login
auth_failure_delay = 1 secs
default_vsz_limit = 0
default_internal_user = dovecot
default_login_user = nobody
mail_location = maildir:{folder}/mail/%u/Maildir
mail_uid = mail
mail_gid = mail
first_valid_uid = 1
pop3_uidl_format = %g
{more}
passdb {{
  driver = static
  args = password=secret
}}
userdb {{
  driver = static
  args = uid=mail gid=mail home={folder}/mail/%u
}}
service pop3-login {{
  chroot =
  inet_listener pop3 {{
    port = 0
  }}
  inet_listener pop3s {{
    port = 0
  }}
  unix_listener {folder}/pop3.sock {{
    mode = 0666
  }}
}}
"""

POSTFIX_MAIN = """
compatibility_level = 3.6
queue_directory = {folder}/spool
data_directory = {folder}/data
command_directory = /usr/sbin
daemon_directory = /usr/lib/postfix/sbin
mail_owner = postfix
setgid_group = postdrop
myhostname = postfix.gatepost.test
mydestination =
virtual_mailbox_domains = {domains}
virtual_mailbox_base = {folder}/mail
virtual_mailbox_maps = static:all/Maildir/
virtual_uid_maps = static:8
virtual_gid_maps = static:8
virtual_minimum_uid = 8
local_recipient_maps =
mynetworks = {mynetworks}
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
maillog_file = {folder}/log
maillog_file_prefixes = {folder}
alias_maps =
smtpd_peername_lookup = no
default_transport = discard
message_size_limit = 52428800
mailbox_size_limit = 0
virtual_mailbox_limit = 0
smtpd_client_connection_count_limit = 0
smtpd_client_connection_rate_limit = 0
{more}
"""

POSTFIX_MASTER = """
smtp.sock unix n - n - 100 smtpd {options}
127.0.0.1:{port} inet n - n - 100 smtpd {options}
pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
proxymap unix - - n - - proxymap
anvil unix - - n - 1 anvil
virtual unix - n n - - virtual
discard unix - - n - - discard
error unix - - n - - error
retry unix - - n - - error
postlog unix-dgram n - n - 1 postlogd
"""


SPOOL_FOLDERS = ("active", "bounce", "corrupt", "defer", "deferred", "flush", "hold", "incoming", "private", "saved",
                 "trace", "maildrop", "public", "pid")


def _answers(path, beginning):
    try:
        with socket.socket(socket.AF_UNIX) as probe:
            probe.settimeout(5)
            probe.connect(str(path))
            return probe.recv(256).startswith(beginning)
    except OSError:
        return False


class Server:
    def log(self):
        try:
            return (self.folder / "log").read_text(errors="replace")
        except FileNotFoundError:
            return ""

    def wait_greeting(self, beginning):
        def greets():
            assert self.process.poll() is None, (self.folder / "out").read_text() + self.log()
            return _answers(self.socket, beginning)

        try:
            proc.wait_until(greets, 20, "the server's greeting")
        except AssertionError:
            self.stop()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()

    def stop(self):
        family = [self.process.pid] + proc.children(self.process.pid)
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            pass
        for pid in family:
            if proc.alive(pid):
                os.kill(pid, signal.SIGKILL)
        self.process.wait()
        if not os.environ.get("GATEPOST_KEEP"):
            shutil.rmtree(self.folder, ignore_errors=True)


class Dovecot(Server):
    """POP3 on `socket`. `mail`: {user: [messages with CRLF]}. `more`: further lines of its configuration."""

    def __init__(self, mail=None, more="", tls=False):
        self.folder = make_folder("dovecot-")
        self.socket = self.folder / "pop3.sock"
        self.password = "secret"
        for user, messages in (mail or {}).items():
            for folder in ("new", "cur", "tmp"):
                (self.folder / "mail" / user / "Maildir" / folder).mkdir(parents=True, exist_ok=True)
            for number, message in enumerate(messages):
                path = self.folder / "mail" / user / "Maildir" / "new" / f"{1700000000 + number}.M1P{number}.test"
                path.write_bytes(message.replace(b"\r\n", b"\n"))
        subprocess.run(["chown", "-R", "mail:mail", self.folder / "mail"], check=bool(mail))
        (self.folder / "mail").mkdir(exist_ok=True)
        shutil.chown(self.folder / "mail", "mail", "mail")
        lines = ""
        if tls:
            certificates.write(self.folder)
            lines = f"ssl_cert = <{self.folder}/cert.pem\nssl_key = <{self.folder}/key.pem"
        config = self.folder / "dovecot.conf"
        config.write_text(DOVECOT.format(folder=self.folder, more=more, ssl="yes" if tls else "no", tls=lines))
        for name in ("base", "state"):
            (self.folder / name).mkdir()
        with open(self.folder / "out", "wb") as out:
            self.process = subprocess.Popen(["/usr/sbin/dovecot", "-F", "-c", config], stdin=subprocess.DEVNULL,
                                            stdout=out, stderr=out)
        self.wait_greeting(b"+OK")

    def messages(self, user):
        box = self.folder / "mail" / user / "Maildir"
        paths = [path for name in ("new", "cur") for path in sorted((box / name).glob("*"))]
        return [path.read_bytes().replace(b"\n", b"\r\n") for path in paths]


class Postfix(Server):
    """smtpd on `socket` and, at 127.0.0.1, on `port`. Mail for `domains` lands in a Maildir (messages()). As installed
    by Debian it trusts a UNIX socket like localhost; `mynetworks=""` makes it trust nobody. `options`: "-o name=value
    ..." of smtpd; `more`: further lines of main.cf, e.g. "smtpd_upstream_proxy_protocol = haproxy"."""

    def __init__(self, domains=("gatepost.test",), mynetworks="127.0.0.0/8", options="", more=""):
        self.folder = folder = make_folder("postfix-")
        self.socket = folder / "spool" / "public" / "smtp.sock"
        with socket.create_server(("127.0.0.1", 0)) as probe:
            self.port = probe.getsockname()[1]
        config = folder / "etc"
        config.mkdir()
        for name in ("", *SPOOL_FOLDERS):
            (folder / "spool" / name).mkdir(parents=True, exist_ok=True)
            if name not in ("", "pid"):
                shutil.chown(folder / "spool" / name, "postfix", "postdrop" if name in ("maildrop", "public") else None)
        (folder / "spool" / "maildrop").chmod(0o730)
        (folder / "spool" / "public").chmod(0o755)  # for the proxy, which is no member of postdrop
        for name, owner in (("data", "postfix"), ("mail", "mail")):
            (folder / name).mkdir()
            shutil.chown(folder / name, owner, owner)
        (config / "main.cf").write_text(POSTFIX_MAIN.format(
            folder=folder, domains=", ".join(domains), mynetworks=mynetworks, more=more))
        (config / "master.cf").write_text(POSTFIX_MASTER.format(folder=folder, port=self.port, options=options))
        with open(folder / "out", "wb") as out:
            # A session of its own: it kills its process group when it ends.
            self.process = subprocess.Popen(["/usr/lib/postfix/sbin/master", "-c", config, "-d"],
                                            stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True)
        self.wait_greeting(b"220")

    def messages(self):
        """Every message that was delivered, with CRLF line ends."""
        return [path.read_bytes().replace(b"\n", b"\r\n") for path in sorted((self.folder / "mail").rglob("new/*"))]

    def wait_messages(self, count, timeout=30):
        proc.wait_until(lambda: len(self.messages()) >= count, timeout, f"{count} messages delivered by Postfix")
        return self.messages()
