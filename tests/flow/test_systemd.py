"""Under systemd: the units, what they allow, what the service manager is told, the sockets that it passes.

systemd itself does not run here. The units go through its own tools; what gatepost.service takes away is taken away by
the kernel's means (setpriv, mounts, and strace in the place of seccomp); messages arrive at a socket of the test's."""
import json
import os
import pathlib
import re
import subprocess

import pytest

import clients
import gatepost as library
import messages
import proc
from ports import PORTS

UNITS = library.ROOT / "conf" / "systemd"


# the units


@pytest.fixture
def units(folder):
    """The units with the programs of this build, where systemd's tools find them."""
    text = (UNITS / "gatepost.service.in").read_text().replace("@bindir@", str(library.PROXY.parent))
    (folder / "gatepost.service").write_text(text)
    (folder / "gatepost.socket").write_text((UNITS / "gatepost.socket").read_text())
    return folder


def systemd(units, *command, code=0):
    result = subprocess.run(["systemd-analyze", *command], capture_output=True, text=True, timeout=60,
                            env={**os.environ, "SYSTEMD_UNIT_PATH": f"{units}:", "SYSTEMD_COLORS": "0"})
    assert result.returncode == code, result.stdout + result.stderr
    return result.stdout + result.stderr


def exposure(units):
    said = systemd(units, "security", "--offline=true", "--no-pager", str(units / "gatepost.service"))
    return float(re.search(r"Overall exposure level for gatepost.service: ([\d.]+)", said)[1])


def test_systemd_finds_no_fault_in_the_units(units):
    assert systemd(units, "verify", "--man=no", str(units / "gatepost.service"), str(units / "gatepost.socket")) == ""


def test_the_service_is_exposed_at_2_0_or_better(units):
    assert exposure(units) <= 2.0


def test_the_drop_in_for_embedded_servers_is_understood_and_adds_little(units):
    (units / "gatepost.service.d").mkdir()
    (units / "gatepost.service.d" / "embedded.conf").write_text((UNITS / "embedded.conf").read_text())
    assert systemd(units, "verify", "--man=no", str(units / "gatepost.service")) == ""
    assert exposure(units) < 3.0


def test_the_socket_unit_has_the_six_ports():
    """109 as a comment: it is open only where [backend remote] has an address."""
    found = re.findall(r"^(#? ?)ListenStream=(0\.0\.0\.0|\[::\]):(\d+)$", (UNITS / "gatepost.socket").read_text(), re.M)
    expected = {("# " if number == PORTS["remote"] else "", host, str(number))
                for number in PORTS.values() for host in ("0.0.0.0", "[::]")}
    assert set(found) == expected and len(found) == len(expected)


def test_users_and_folders_are_made_by_systemds_own_tools(folder):
    (folder / "etc").mkdir()
    for tool, name, more in (("systemd-sysusers", "gatepost.sysusers", ()),
                             ("systemd-tmpfiles", "gatepost.tmpfiles", ("--create",))):
        subprocess.run([tool, f"--root={folder}", *more, UNITS / name], check=True, capture_output=True, timeout=60)
    users = dict(line.split(":")[0:3:2] for line in (folder / "etc/passwd").read_text().splitlines())
    assert set(users) == {"gatepost", "gatepost-mail"} and len(set(users.values())) == 2
    keys = (folder / "etc/gatepost/tls").stat()
    assert (keys.st_mode & 0o7777, keys.st_uid, keys.st_gid) == (0o750, 0, int(users["gatepost"]))


def test_what_is_installed_goes_where_systemd_looks_and_stays_below_the_prefix():
    installed = json.loads((library.BUILD / "meson-info" / "intro-installed.json").read_text())
    options = json.loads((library.BUILD / "meson-info" / "intro-buildoptions.json").read_text())
    prefix = next(option["value"] for option in options if option["name"] == "prefix")
    places = set(installed.values())
    assert {f"{prefix}/lib/{place}" for place in (
        "systemd/system/gatepost.service", "systemd/system/gatepost.socket", "sysusers.d/gatepost.conf",
        "tmpfiles.d/gatepost.conf")} <= places
    assert [place for place in places if not place.startswith(f"{prefix}/")] == []
    unit = next(source for source, place in installed.items() if place.endswith("/gatepost.service"))
    program = next(place for place in places if place.endswith("bin/gatepost"))
    assert f"ExecStart={program}\n" in pathlib.Path(unit).read_text()


# what gatepost.service allows


def settings_of_unit(text):
    """{key: [values in order]} of [Service]."""
    found = {}
    for key, value in re.findall(r"^(\w+)=(.*)$", text, re.M):
        found.setdefault(key, []).append(value)
    return found


def expand(names):
    """The system calls of sets such as @system-service, and of plain names."""
    calls = set()
    for name in names:
        if not name.startswith("@"):
            calls.add(name)
            continue
        said = subprocess.run(["systemd-analyze", "syscall-filter", name], capture_output=True, text=True, check=True)
        calls |= expand(line.strip() for line in said.stdout.splitlines()[1:] if line.strip()[:1] not in ("", "#"))
    return calls


def allowed_calls(unit):
    allowed = set()
    for value in unit["SystemCallFilter"]:
        calls = expand(value.lstrip("~").split())
        allowed = allowed - calls if value.startswith("~") else allowed | calls
    return allowed


# ProtectSystem, ProcSubset and ProtectProc; then User, the capabilities and SystemCallFilter. What the filter refuses is
# refused by strace, with the same error, and written down; so are the address families of sockets.
SANDBOX = """
mount -t proc -o hidepid=invisible,subset=pid proc /proc &&
mount --bind "$0" "$0" && mount -o remount,bind,ro / && exec "$@"
"""


def sandbox(gate, unit):
    calls = ",".join(f"?{call}" for call in sorted(allowed_calls(unit)))
    watched = ",".join(f"?{call}" for call in sorted(allowed_calls(unit) - {"socket"}))

    def capabilities(key):
        return "-all" + "".join(f",+{name.lower().removeprefix('cap_')}" for value in unit[key] for name in value.split())

    root = unit["User"][-1] == "root"
    return ("unshare", "--mount", "--propagation", "private", "sh", "-c", SANDBOX, gate.folder,
            "setpriv", *(() if root else ("--reuid=nobody", "--regid=nogroup")), "--clear-groups",
            f"--inh-caps={capabilities('AmbientCapabilities')}", f"--ambient-caps={capabilities('AmbientCapabilities')}",
            f"--bounding-set={capabilities('CapabilityBoundingSet')}", "--no-new-privs",
            "strace", "-D", "-f", "--seccomp-bpf", "-qq", "-e", "signal=none", "-o", gate.folder / "strace",
            "-e", f"trace=!{watched}", "-e", f"inject=!{calls}:error=EPERM")


def rights(pid, which="CapPrm"):
    return int(proc.status(pid)[which], 16)


@pytest.mark.parametrize("drop_in", ["", "embedded.conf"])
def test_mail_goes_through_with_no_more_than_the_unit_allows(drop_in):
    unit = settings_of_unit((UNITS / "gatepost.service.in").read_text())
    if drop_in:
        for key, values in settings_of_unit((UNITS / drop_in).read_text()).items():
            unit[key] = values if "" in values else unit[key] + values
    gate = library.Gatepost({"gatepost": {} if drop_in else {"user": "nobody", "mail_user": "nobody"}})
    try:
        if not drop_in:
            subprocess.run(["chown", "-R", "nobody:nogroup", gate.folder], check=True)
        gate.prefix = sandbox(gate, unit)
        gate.environment["ASAN_OPTIONS"] += ":detect_leaks=0"  # it would trace, too
        gate.start()
        assert drop_in or rights(gate.process.pid) == 1 << 10, "CAP_NET_BIND_SERVICE"
        assert {rights(pid) for pid in gate.processes()} == {0}
        message = messages.trap_message(8192)
        clients.send(gate, "submission", "implicit", message)
        assert [messages.difference(message, messages.own_part(one))
                for one in clients.fetch_all(gate, "pop3s", "implicit")] == [""]
        gate.kill(gate.workers()[0])
        gate.wait_for_log("serves again")
        gate.stop()
        traced = (gate.folder / "strace").read_text()
    finally:
        gate.stop(check=False)
        gate.remove()
    assert set(re.findall(r"socket\((AF_\w+)", traced)) <= set(unit["RestrictAddressFamilies"][0].split())
    assert [line for line in traced.splitlines() if "socket" not in line] == []


def test_what_only_root_could_do_is_told_to_a_service_of_another_user():
    gate = library.Gatepost({"gatepost": {"groups": "adm, games"}}, users=())
    try:
        subprocess.run(["chown", "-R", "nobody:nogroup", gate.folder], check=True)
        result = subprocess.run(["setpriv", "--reuid=nobody", "--regid=nogroup", "--groups=adm", library.PROXY, "-t", "-c",
                                 gate.ini], capture_output=True, text=True, timeout=30)
    finally:
        gate.remove()
    assert result.returncode == 0
    assert "groups: games has no effect" in result.stderr and "SupplementaryGroups=" in result.stderr
    assert "groups: adm" not in result.stderr, "that one was given"
    assert "mail_user = mail has no effect" in result.stderr and "embedded.conf" in result.stderr
