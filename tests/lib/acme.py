"""Pebble, the test server of Let's Encrypt, on loopback, and ACME clients of Debian that get certificates from it.

    with Pebble() as pebble:
        dehydrated(pebble, folder, hook, environment)       issues for certificates.HOSTNAME
        pebble.authority                                    PEM of the authority that issues

It takes every challenge for answered (PEBBLE_VA_ALWAYS_VALID)."""
import json
import os
import ssl
import subprocess
import urllib.request

import certificates
import proc
from gatepost import make_folder
from ports import PortOffset


class Pebble:
    def __init__(self):
        self.folder = make_folder()
        certificates.write(self.folder, names=("localhost", "127.0.0.1"))
        self._offset = PortOffset()
        self.url, self.management = (f"https://localhost:{self._offset.value + port}" for port in (110, 995))
        (self.folder / "pebble.json").write_text(json.dumps({"pebble": {
            "listenAddress": self.url.removeprefix("https://"),
            "managementListenAddress": self.management.removeprefix("https://"),
            "certificate": str(self.folder / "cert.pem"), "privateKey": str(self.folder / "key.pem"),
            "httpPort": self._offset.value + 25, "tlsPort": self._offset.value + 26}}))
        self.trust = self.folder / "ca.pem"  # of the server itself

    def __enter__(self):
        settings = {"PEBBLE_VA_ALWAYS_VALID": "1", "PEBBLE_VA_NOSLEEP": "1", "PEBBLE_WFE_NONCEREJECT": "0"}
        with open(self.folder / "log", "wb") as log:
            self.process = subprocess.Popen(["pebble", "-config", self.folder / "pebble.json"], stdout=log,
                                            stderr=log, stdin=subprocess.DEVNULL, env={**os.environ, **settings})
        proc.wait_until(self._answers, 30, lambda: f"pebble:\n{(self.folder / 'log').read_text()}")
        return self

    def _answers(self):
        assert self.process.poll() is None, (self.folder / "log").read_text()
        try:
            context = ssl.create_default_context(cafile=self.trust)
            with urllib.request.urlopen(f"{self.management}/roots/0", timeout=5, context=context) as answer:
                self.authority = answer.read().decode()
            return True
        except OSError:
            return False

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait(10)
        self._offset.release()

    def client_context(self):
        """Of a TLS client that trusts what is issued here, and nothing else."""
        return ssl.create_default_context(cadata=self.authority)


def run(command, environment):
    result = subprocess.run(command, env={**os.environ, **environment}, capture_output=True, text=True, timeout=60,
                            stdin=subprocess.DEVNULL)
    assert result.returncode == 0, f"{command}:\n{result.stdout}{result.stderr}"
    return result.stdout


def dehydrated(pebble, folder, hook, environment):
    """Issues, or renews, and lets the hook deploy."""
    place = folder / "dehydrated"
    if not place.exists():
        (place / "challenges").mkdir(parents=True)
        (place / "domains.txt").write_text(f"{certificates.HOSTNAME}\n")
        (place / "config").write_text(f"ACCOUNT_KEYSIZE=2048\nBASEDIR={place}\nWELLKNOWN={place}/challenges\nHOOK={hook}\n"
                                      f"CA={pebble.url}/dir\nCURL_OPTS='--cacert {pebble.trust}'\n")
        run(["dehydrated", "-f", place / "config", "--register", "--accept-terms"], environment)
    return run(["dehydrated", "-f", place / "config", "--cron", "--force"], environment)


# uacme asks the system whom to trust: in a mount namespace that is Pebble's authority.
TRUSTING = 'mount --bind "$0" /etc/ssl/certs/ca-certificates.crt && exec "$@"'


def uacme(pebble, folder, hook, environment):
    """The same. It keeps its key over renewals."""
    place, challenges = folder / "uacme", folder / "challenges"
    command = ["unshare", "--mount", "--propagation", "private", "sh", "-c", TRUSTING, pebble.trust,
               "uacme", "-a", f"{pebble.url}/dir", "-c", place]
    environment = {**environment, "UACME_CHALLENGE_PATH": str(challenges)}
    if not place.exists():
        challenges.mkdir()
        run([*command, "-y", "new"], environment)
    run([*command, "-h", "/usr/share/uacme/uacme.sh", "--force", "--no-ocsp", "issue", certificates.HOSTNAME],
        environment)
    return run([hook, place, certificates.HOSTNAME], environment)
