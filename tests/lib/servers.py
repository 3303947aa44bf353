"""Real servers of Debian, each in a folder of its own, on UNIX sockets or ports of 127.0.0.1, without TLS of their own.

    with Dovecot({"anna@gatepost.test": [message, ...]}) as dovecot:   # dovecot.socket, password "secret" for everybody
    with Postfix(domains=("gatepost.test",)) as postfix:               # postfix.socket, or postfix.port
    with Dovecot(mail, recipe=recipes.read("Dovecot")) as dovecot:     # listening as README.md tells its readers
    with Exim(recipe) ...  Inetd(recipe) ...  Courier(recipe) ...      # in a machine of their own (machine.py)

All need root and skip nothing: without the program the test fails. folder, log() as in gatepost.Gatepost."""
from courier import Courier  # noqa: F401
from dovecot import Dovecot  # noqa: F401
from exim import Exim  # noqa: F401
from inetd import Inetd  # noqa: F401
from postfix import Postfix  # noqa: F401
