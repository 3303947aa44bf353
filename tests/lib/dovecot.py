"""Dovecot's POP3 server (see servers.py)."""
import shutil
import subprocess

import certificates
from gatepost import make_folder
from server import Server

DOVECOT = """
base_dir = {folder}/base
state_dir = {folder}/state
log_path = {folder}/log
protocols = pop3
listen = 127.0.0.1
ssl = {ssl}
{tls}
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
{listener}
"""

LISTENER = """
disable_plaintext_auth = no
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



class Dovecot(Server):
    """POP3 on `socket`. `mail`: {user: [messages with CRLF]}. `more`: further lines of its configuration.
    `recipe` (recipes.py): its lines take the place of those about listeners."""

    def __init__(self, mail=None, more="", tls=False, recipe=None):
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
        self.places = {"group = gatepost": "group = nogroup", **self.take_ports()}
        self.places_outside = {"/run/dovecot/": f"{self.folder}/base/"}
        listener = LISTENER.format(folder=self.folder)
        if recipe:
            listener = self.place(recipe["/etc/dovecot/conf.d/99-gatepost.conf"])
        config = self.folder / "dovecot.conf"
        config.write_text(DOVECOT.format(folder=self.folder, more=more, listener=listener, tls=lines,
                                         ssl="yes" if tls else "no"))
        for name in ("base", "state"):
            (self.folder / name).mkdir()
        with open(self.folder / "out", "wb") as out:
            self.process = subprocess.Popen(["/usr/sbin/dovecot", "-F", "-c", config], stdin=subprocess.DEVNULL,
                                            stdout=out, stderr=out)
        if recipe:
            self.wait_greeting(b"+OK", *recipe.endpoint(self))
        else:
            self.wait_greeting(b"+OK", self.socket)

    def messages(self, user):
        box = self.folder / "mail" / user / "Maildir"
        paths = [path for name in ("new", "cur") for path in sorted((box / name).glob("*"))]
        return [path.read_bytes().replace(b"\n", b"\r\n") for path in paths]
