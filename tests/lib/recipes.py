"""The recipes of README.md, so that what its readers are told is what is tested.

    recipe = recipes.read("Dovecot on 127.0.0.1")        a heading below "In front of your server"
    recipe["/etc/dovecot/conf.d/99-gatepost.conf"]       the code block that begins with `# ` and this name
    recipe.sections(server)                              the block of gatepost.ini, with the sockets of `server`

    with recipes.run("Dovecot on 127.0.0.1") as running:
        running.gate  running.server  running.user  ...      the server, its maildrop with MESSAGE in it, and a gate"""
import configparser
import contextlib
import re

import gatepost
import messages
import servers

INI = "/etc/gatepost/gatepost.ini"


class Recipe:
    def __init__(self, title, text):
        self.title = title
        blocks = re.findall(r"^```\w*\n# (\S+)[^\n]*\n(.*?)^```$", text, re.M | re.S)
        self.files = dict(blocks)
        assert INI in self.files and len(self.files) == len(blocks) == text.count("```") // 2, f"blocks of {title}"

    def __getitem__(self, path):
        return self.files[path]

    def sections(self, server):
        parser = configparser.ConfigParser(delimiters="=", comment_prefixes="#", interpolation=None)
        parser.read_string(server.place(self[INI], outside=True))
        return {name: dict(parser[name]) for name in parser.sections()}

    def backend(self, server):
        """(section, keys) of the one server that the recipe is about."""
        return next((name, keys) for name, keys in self.sections(server).items() if name.startswith("backend "))

    def endpoint(self, server):
        """Where the server listens, for Server.wait_greeting: (path or port, the header it expects)."""
        _, keys = self.backend(server)
        kind, _, rest = keys["address"].rpartition(":")
        header = b"PROXY TCP4 127.0.0.1 127.0.0.1 1 1\r\n" if keys.get("identity", "").startswith("proxy") else b""
        return rest if kind == "unix" else int(rest), header


def read(title):
    text = (gatepost.ROOT / "README.md").read_text()
    found = re.search(rf"^### {re.escape(title)}\n(.*?)(?=^##)", text, re.M | re.S)
    assert found, f"README.md has no recipe {title!r}"
    return Recipe(title, found[1])


MESSAGE = messages.trap_message()


def start(recipe, **more):
    """The server of a recipe. `more`: for its constructor."""
    kind, _, how = recipe.title.partition(", ")
    if kind == "Postfix":
        return servers.Postfix(recipe=recipe, **more)
    if kind == "Dovecot":
        return servers.Dovecot({gatepost.USER: [MESSAGE]}, recipe=recipe, **more)
    server = {"Courier": servers.Courier, "Exim, told by PROXY": servers.Exim}.get(recipe.title, servers.Inetd)
    server = server(recipe, **more)
    if kind == "Courier":
        server.put_maildir([MESSAGE])
    elif kind == "popa3d":
        server.put_mbox([MESSAGE])
    return server


class Running:
    """One recipe at work. `login`: the user, and the password, of the maildrop."""

    def __init__(self, title, server, gate):
        self.title, self.server, self.gate = title, server, gate
        user = gatepost.USER if title.startswith("Dovecot") else "anna"
        self.login = {"user": user, "password": "secret"}


@contextlib.contextmanager
def run(title, over=None, **more):
    """`over`: laid over the INI. `more`: for the server's constructor."""
    recipe = read(title)
    with start(recipe, **more) as server:
        name = recipe.backend(server)[0]
        sections = {"backend pop3" if name == "backend smtp" else "backend smtp": {"address": None},
                    "listen pop3s": {"detect_wait": "300ms"}}
        if name == "backend pop3":
            sections["listen remote"] = {"protocol": "opaque", "backend": "pop3", "detect_wait": "300ms"}
        sections = gatepost.overlay(gatepost.overlay(sections, recipe.sections(server)), over)
        with gatepost.Gatepost(sections, users=()) as gate:
            yield Running(title, server, gate)
