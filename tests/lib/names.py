"""Names of hosts as a test wants them: a private /etc/hosts, mounted where only the program under test sees it.

    names = Names()
    names.set("192.0.2.1 mail.gatepost.test")
    gate = library.Gatepost(sections, prefix=names.prefix)

one_localhost() is the prefix for tests in which a server by name has one address; on most machines localhost has two."""
import shlex

import gatepost as library


class Names:
    """A hosts file, and the words that start a program which sees it as /etc/hosts."""

    def __init__(self, nameserver="127.0.0.1"):
        self.folder = library.make_folder("gatepost-names-")
        self.hosts = self.folder / "hosts"
        self.resolv = self.folder / "resolv.conf"
        self.resolv.write_text(f"nameserver {nameserver}\noptions timeout:30 attempts:5\n")
        self.set()

    def set(self, *lines):
        """In place: another file would not be the one that is mounted."""
        self.hosts.write_text("".join(f"{line}\n" for line in ("127.0.0.1 localhost",) + lines))

    @property
    def prefix(self):
        mounts = [f"mount --bind {shlex.quote(str(mine))} {theirs}"
                  for mine, theirs in ((self.hosts, "/etc/hosts"), (self.resolv, "/etc/resolv.conf"))]
        return ("unshare", "-m", "sh", "-c", " && ".join([*mounts, 'exec "$@"']), "sh")


def one_localhost():
    return Names().prefix if library.AS_ROOT else ()
