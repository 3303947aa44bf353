"""Courier's POP3 server, in a machine of its own (see servers.py)."""
from machine import Machine


class Courier(Machine):
    def __init__(self, recipe):
        self.places = self.take_ports()
        files = {"/etc/courier/pop3d": self.place(recipe["/etc/courier/pop3d"])}
        start = "/usr/sbin/authdaemond start; /usr/lib/courier/pop3d start"  # both go into the background
        super().__init__("courier-", files, [["sleep", "infinity"]], start)
        self.wait_greeting(b"+OK", *recipe.endpoint(self))
