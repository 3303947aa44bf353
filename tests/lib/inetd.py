"""The servers that inetd starts, popa3d and `exim -bs`, in a machine of their own (see servers.py)."""
import exim
from machine import Machine


class Inetd(Machine):
    """`lines`: of inetd.conf, in the place of the recipe's. A service that does not say how often it may be started has
    reached the limit after ten times in a minute (256 as installed)."""

    def __init__(self, recipe, lines=None):
        self.places = self.take_ports()
        files = {"/etc/inetd.conf": self.place(lines or recipe["/etc/inetd.conf"]),
                 "/etc/exim4/update-exim4.conf.conf": self.place(exim.ANSWERS)}
        super().__init__("inetd-", files, [["/usr/sbin/inetd", "-i", "-R", "10"]], exim.CONFIGURE)
        smtp = recipe.backend(self)[0] == "backend smtp"
        self.wait_greeting(b"220" if smtp else b"+OK", *recipe.endpoint(self))
