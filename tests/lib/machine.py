"""A machine of its own for servers with compiled-in paths, from packages that conflict: Exim, Courier, popa3d, inetd.

    with Machine("courier-", {"/etc/courier/pop3d": more}, [["/usr/sbin/couriertcpd", ...]]) as machine:
        machine.path("/run/pop3.sock")      where that file is seen from outside

The programs run as root in a mount namespace: what tools/packages names under `unpacked` (downloaded once, to
build/servers) lies over /usr, and /etc, /var and /run are folders of the test. Its one user is anna, password "secret".
They run in a process namespace too, whose end ends them all. Without root it fails."""
import os
import shutil
import signal
import subprocess

import proc
from gatepost import ROOT, make_folder
from server import Server, by_age

UNPACKED = ROOT / "build" / "servers"
USER, PASSWORD = "anna", "secret"
HOME = f"/var/home/{USER}"
ACCOUNTS = {"root": 0, "mail": 8, "uucp": 10, "nobody": 65534, "Debian-exim": 901, "courier": 902, "popa3d": 903,
            USER: 1000}
OWNED = {  # folders that the packages' own scripts make
    "/run/exim4": "Debian-exim", "/var/spool/exim4": "Debian-exim", "/var/spool/exim4/db": "Debian-exim",
    "/var/log/exim4": "Debian-exim", "/run/courier": "courier", "/run/courier/authdaemon": "courier", HOME: USER}
FILES = {
    "/etc/nsswitch.conf": "passwd: files\ngroup: files\nshadow: files\nhosts: files\nservices: files\n",
    "/etc/hosts": "127.0.0.1 localhost\n::1 localhost\n127.0.1.1 legacy.gatepost.test legacy\n",
    "/etc/resolv.conf": "nameserver 127.0.0.1\noptions timeout:1 attempts:1\n",
    "/etc/aliases": "",
    "/etc/mailname": "gatepost.test\n",
    "/etc/services": "smtp 25/tcp\npop3 110/tcp\n",
    "/etc/protocols": "ip 0 IP\ntcp 6 TCP\nudp 17 UDP\n",
    "/etc/pam.d/common-auth": "auth required pam_unix.so\n",
    "/etc/pam.d/common-account": "account required pam_unix.so\n",
    "/etc/pam.d/common-password": "password required pam_deny.so\n",
    "/etc/pam.d/common-session": "session required pam_permit.so\n",
}
# It ends with the test, also where that is killed.
NAMESPACE = ["setpriv", "--pdeathsig", "KILL", "unshare", "--mount", "--uts", "--pid", "--fork",
             "--kill-child", "--propagation", "private"]
ENTER = """
mount -t overlay overlay -o lowerdir="$0/usr:/usr" /usr
for place in etc var run; do mount --bind "$1/$place" "/$place"; done
mount -t proc proc /proc
[ ! -e /dev/log ] || mount --bind /dev/null /dev/log
hostname legacy.gatepost.test
"""


def unpacked():
    """The folder with the files of the packages under `unpacked`; downloads them the first time."""
    done = subprocess.run(["bash", "-c", 'tools=$0/tools; . "$tools/install.sh"; unpack_packages "$1"', ROOT, UNPACKED],
                          capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return UNPACKED / "root"


class Machine(Server):
    def __init__(self, name, files, programs, prepare=":"):
        """`files`: {path: text}, added to a file of a package. `programs`: command lines, each in the foreground.
        `prepare`: shell commands that run before them."""
        assert os.geteuid() == 0, "a mount namespace needs root"
        self.folder = make_folder(name)
        self.places_outside = {place: f"{self.folder}{place}" for place in ("/run/", "/var/")}
        self.password = PASSWORD
        packages = unpacked()
        for place in ("etc", "var", "run"):
            if (packages / place).exists():
                shutil.copytree(packages / place, self.folder / place)
            (self.folder / place).mkdir(exist_ok=True)
        self._write_accounts()
        for path, text in {**FILES, **files}.items():
            self.path(path).parent.mkdir(parents=True, exist_ok=True)
            with open(self.path(path), "a") as file:
                file.write(text)
        for path, owner in OWNED.items():
            self.path(path).mkdir(parents=True, exist_ok=True)
            shutil.chown(self.path(path), ACCOUNTS[owner], ACCOUNTS[owner])
        self.path("/var/mail").mkdir()
        os.chown(self.path("/var/mail"), 0, 8)
        self.path("/var/mail").chmod(0o2775)
        self._start(packages, programs, prepare)

    def _write_accounts(self):
        hashed = subprocess.check_output(["openssl", "passwd", "-6", PASSWORD], text=True)
        etc = self.folder / "etc"
        (etc / "passwd").write_text("".join(f"{name}:x:{number}:{number}::{HOME if name == USER else '/'}:/bin/sh\n"
                                            for name, number in ACCOUNTS.items()))
        (etc / "group").write_text("adm:x:4:\n" + "".join(f"{name}:x:{n}:\n" for name, n in ACCOUNTS.items()))
        (etc / "shadow").write_text("".join(f"{name}:{hashed.strip() if name == USER else '*'}:19000:0:99999:7:::\n"
                                            for name in ACCOUNTS))
        (etc / "shadow").chmod(0o600)

    def _start(self, packages, programs, prepare):
        lines = [ENTER, prepare] + [" ".join(map(str, words)) + " &" for words in programs] + ["wait"]
        with open(self.folder / "out", "wb") as out:
            self.process = subprocess.Popen([*NAMESPACE, "sh", "-ec", "\n".join(lines), packages, self.folder],
                                            stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True)

    def stop(self):
        for pid in proc.children(self.process.pid):
            try:
                os.kill(pid, signal.SIGTERM)
            except ProcessLookupError:
                pass
        self.process.kill()  # and with it the first process of the namespace, and with that all others
        super().stop()

    def path(self, inside):
        return self.folder / str(inside).lstrip("/")

    def log(self):
        logs = [self.folder / "out", *sorted(self.path("/var/log/exim4").glob("*log"))]
        return "".join(path.read_text(errors="replace") for path in logs)

    # mail of anna, in the Maildir of her home or in the mbox /var/mail/anna

    def put_maildir(self, messages):
        box = self.path(HOME) / "Maildir"
        for folder in ("new", "cur", "tmp"):
            (box / folder).mkdir(parents=True, exist_ok=True)
        for number, message in enumerate(messages):
            (box / "new" / f"{1700000000 + number}.M1P{number}.test").write_bytes(message.replace(b"\r\n", b"\n"))
        self._own(self.path(HOME))

    def put_mbox(self, messages):
        box = self.path("/var/mail") / USER
        box.write_bytes(b"".join(b"From bert@example.org Mon Jan  2 03:04:05 2023\n" + quoted(message) + b"\n"
                                 for message in messages))
        os.chown(box, ACCOUNTS[USER], 8)
        box.chmod(0o660)

    @staticmethod
    def _own(folder):
        for path in (folder, *folder.rglob("*")):
            os.chown(path, ACCOUNTS[USER], ACCOUNTS[USER])

    def messages(self):
        """What was delivered to the Maildir, with CRLF line ends."""
        paths = by_age((self.path(HOME) / "Maildir" / "new").glob("*"))
        return [path.read_bytes().replace(b"\n", b"\r\n") for path in paths]

    def wait_messages(self, count, timeout=30):
        proc.wait_until(lambda: len(self.messages()) >= count, timeout, lambda: f"{count} messages:\n{self.log()}")
        return self.messages()


def quoted(message):
    """As an mbox keeps it: LF line ends, and lines that look like the beginning of a message quoted."""
    return message.replace(b"\r\n", b"\n").replace(b"\nFrom ", b"\n>From ")
