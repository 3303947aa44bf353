"""The recipes of README.md, so that what its readers are told is what is tested.

    recipe = recipes.read("Dovecot on 127.0.0.1")        a heading below "In front of your server"
    recipe["/etc/dovecot/conf.d/99-gatepost.conf"]       the code block that begins with `# ` and this name
    recipe.sections(server)                              the block of gatepost.ini, with the sockets and ports of `server`"""
import configparser
import re

from gatepost import ROOT

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
    text = (ROOT / "README.md").read_text()
    found = re.search(rf"^### {re.escape(title)}\n(.*?)(?=^##)", text, re.M | re.S)
    assert found, f"README.md has no recipe {title!r}"
    return Recipe(title, found[1])
