"""Exim as Debian configures it, in a machine of its own (see servers.py)."""
from machine import Machine

# As the package asks and answers; `internet site` takes mail for the world.
ANSWERS = """
dc_eximconfig_configtype='internet'
dc_other_hostnames='gatepost.test'
dc_local_interfaces='127.0.0.1.10025'
dc_readhost=''
dc_relay_domains=''
dc_minimaldns='true'
dc_relay_nets=''
dc_smarthost=''
CFILEMODE='644'
dc_use_split_config='false'
dc_hide_mailname=''
dc_mailname_in_oh='true'
dc_localdelivery='maildir_home'
"""
CONFIGURE = "update-exim4.conf"


class Exim(Machine):
    """The daemon. Mail for anna@gatepost.test lands in a Maildir: messages(). `more`: lines of its configuration that
    an operator had before the recipe."""

    def __init__(self, recipe, more=""):
        self.places = self.take_ports()
        files = {path: self.place(text) for path, text in recipe.files.items() if path.startswith("/etc/exim4/")}
        files["/etc/exim4/update-exim4.conf.conf"] = self.place(ANSWERS) + files["/etc/exim4/update-exim4.conf.conf"]
        files["/etc/exim4/exim4.conf.localmacros"] = more + files.get("/etc/exim4/exim4.conf.localmacros", "")
        super().__init__("exim-", files, [["/usr/sbin/exim4", "-bdf"]], CONFIGURE)
        self.wait_greeting(b"220", *recipe.endpoint(self))
