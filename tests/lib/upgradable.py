"""A Gatepost that can be upgraded: it runs from a copy of the programs of its own, so that they can be replaced as a package
manager does it. The tests need the fixture heir_of_orphans.

    with Upgradable() as gate:
        gate.install("proxy/gatepost", b"...")      what is started next
        before = gate.upgrade()                     gate.process is the new one; before.wait(30) its predecessor's end
        words = gate.failed_upgrade()"""
import os
import re
import shutil
import signal

import gatepost as library
import proc


class Orphan:
    """A supervisor that was not started by us, in the place of a subprocess.Popen. Its exit code is ours to take, once the
    process that started it is gone; before, that one takes it, and tells it in the log."""

    def __init__(self, pid, log):
        self.pid, self.log = pid, log
        self.returncode = None

    def poll(self):
        if self.returncode is not None:
            return self.returncode
        try:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
        except ChildProcessError:
            told = re.search(rf"process {self.pid} exited with code (\d+)", self.log())
            self.returncode = int(told[1]) if told else None
            return self.returncode
        if pid:
            self.returncode = os.waitstatus_to_exitcode(status)
        return self.returncode

    def wait(self, timeout):
        proc.wait_until(lambda: self.poll() is not None, timeout,
                        lambda: f"the end of process {self.pid}:\n{self.log()[-3000:]}")
        return self.returncode

    def send_signal(self, number):
        os.kill(self.pid, number)

    def kill(self):
        os.kill(self.pid, signal.SIGKILL)


class Upgradable(library.Gatepost):
    """Runs from folder/programs."""

    def __init__(self, sections=None, **more):
        super().__init__(library.overlay({"gatepost": {"drain_timeout": "60s"}}, sections), users=(), **more)
        self.build = self.folder / "programs"
        for name in library.PROGRAMS:
            self.install(name)
        self.add_user(library.USER)

    @property
    def program(self):
        return self.build / "proxy" / "gatepost"

    def install(self, name, content=None, mode=0o755):
        """Beside the old one, then over it."""
        path = self.build / name
        path.parent.mkdir(parents=True, exist_ok=True)
        beside = path.with_suffix(".new")
        if content is None:
            shutil.copy(library.BUILD / name, beside)
        else:
            beside.write_bytes(content)
        beside.chmod(mode)
        beside.rename(path)

    def usr2(self):
        self.process.send_signal(signal.SIGUSR2)

    def begin_upgrade(self):
        """Until the new process starts; returns its pid."""
        count = self.log().count("upgrade: process")
        self.usr2()
        proc.wait_until(lambda: self.log().count("upgrade: process") > count, 20, "the start of another process")
        return int(re.findall(r"upgrade: process (\d+) starts", self.log())[-1])

    def upgrade(self):
        """To the moment at which the new process serves alone; returns the one before, which drains."""
        before, ready = self.process, self.log().count("ready:")
        pid = self.begin_upgrade()
        self.wait_for_log(rf"process {pid} has taken over", 40)
        self.wait_for_log("ready:", 20, count=ready + 1)
        self.adopt(pid)
        return before

    def adopt(self, pid):
        """From now on this process is the supervisor."""
        self.process = Orphan(pid, self.log)

    def failed_upgrade(self):
        """Returns the words."""
        count = self.log().count("upgrade failed")
        self.usr2()
        proc.wait_until(lambda: self.log().count("upgrade failed") > count, 60,
                        lambda: f"the failure of an upgrade:\n{self.log()[-3000:]}")
        return re.findall(r"upgrade failed: (.*): nothing was changed", self.log())[-1]

    def family(self):
        return [self.process.pid, *self.workers(), *self.smtpd(), *self.pop3d()]

    def descriptors(self):
        return [sorted(re.sub(r"\d+| \(deleted\)$", "", what) for what in proc.descriptors(pid).values()) for pid in self.family()]
