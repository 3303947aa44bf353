"""Postfix's smtpd, and what delivers its mail (see servers.py)."""
import shutil
import subprocess

import proc
from gatepost import make_folder
from server import Server, by_age

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
{more}
"""

SERVICES = """
smtp.sock unix n - n - 100 smtpd {options}
127.0.0.1:{port} inet n - n - 100 smtpd {options}
"""

POSTFIX_MASTER = """
{services}
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


class Postfix(Server):
    """smtpd on `socket` and, at 127.0.0.1, on `port`. Mail for `domains` lands in a Maildir (messages()). As installed
    by Debian it trusts a UNIX socket like localhost; `mynetworks=""` makes it trust nobody. `options`: "-o name=value
    ..." of smtpd; `more`: further lines of main.cf, e.g. "smtpd_upstream_proxy_protocol = haproxy". `recipe` (recipes.py):
    its lines of master.cf take the place of both."""

    def __init__(self, domains=("gatepost.test",), mynetworks="127.0.0.0/8", options="", more="", recipe=None):
        self.folder = folder = make_folder("postfix-")
        self.socket = folder / "spool" / "public" / "smtp.sock"
        self.places = self.take_ports()
        self.places_outside = {"/var/spool/postfix/": f"{folder}/spool/"}
        self.port = self.places["10025"]
        config = folder / "etc"
        config.mkdir()
        for name in ("", *SPOOL_FOLDERS):
            (folder / "spool" / name).mkdir(parents=True, exist_ok=True)
            if name not in ("", "pid"):
                shutil.chown(folder / "spool" / name, "postfix", "postdrop" if name in ("maildrop", "public") else None)
        (folder / "spool" / "maildrop").chmod(0o730)
        # As Debian has it; or for the proxy, where it is no member of postdrop.
        (folder / "spool" / "public").chmod(0o2710 if recipe else 0o755)
        for name, owner in (("data", "postfix"), ("mail", "mail")):
            (folder / name).mkdir()
            shutil.chown(folder / name, owner, owner)
        (config / "main.cf").write_text(POSTFIX_MAIN.format(
            folder=folder, domains=", ".join(domains), mynetworks=mynetworks, more=more))
        services = SERVICES.format(port=self.port, options=options)
        if recipe:
            services = self.place(recipe["/etc/postfix/master.cf"])
        (config / "master.cf").write_text(POSTFIX_MASTER.format(services=services))
        with open(folder / "out", "wb") as out:
            # A session of its own: it kills its process group when it ends.
            self.process = subprocess.Popen(["/usr/lib/postfix/sbin/master", "-c", config, "-d"],
                                            stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True)
        if recipe:
            self.wait_greeting(b"220", *recipe.endpoint(self))
        else:
            self.wait_greeting(b"220", self.socket)

    def messages(self):
        """Every message that was delivered, with CRLF line ends."""
        return [path.read_bytes().replace(b"\n", b"\r\n") for path in by_age((self.folder / "mail").rglob("new/*"))]

    def wait_messages(self, count, timeout=30):
        proc.wait_until(lambda: len(self.messages()) >= count, timeout, f"{count} messages delivered by Postfix")
        return self.messages()
