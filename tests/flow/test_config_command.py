"""`gatepost config`, `gatepost explain`, their completion in bash; what `gatepost -t` says of accounts and sockets."""
import json
import os
import pwd
import re
import shutil
import socket
import subprocess

import pytest

import certificates
import gatepost as library

COMPLETION = library.BUILD / "conf" / "bash-completion" / "gatepost"
if not COMPLETION.exists():  # BUILD may be a copy of the programs alone
    COMPLETION = library.pathlib.Path(os.environ.get("GATEPOST_BUILD", library.ROOT / "build" / "check")).joinpath(
        "conf", "bash-completion", "gatepost").resolve()
TABLE = (library.ROOT / "conf" / "settings.def").read_text()
KEYS = re.findall(r"^([A-Z]+)_KEY\((\w+),", TABLE, re.M)


def run(*arguments, **options):
    return subprocess.run([library.PROXY, *arguments], capture_output=True, text=True, timeout=60, **options)


def write(folder, text, name="gatepost.ini"):
    path = folder / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    return path


def shown(*arguments, **options):
    """What is printed, where nothing is wrong."""
    result = run(*arguments, **options)
    assert result.returncode == 0, result.stderr
    assert result.stderr == ""
    return result.stdout


# gatepost config

TRIAL = """[gatepost]
hostname = mail.example.org
bind = 127.0.0.1,
  ::1
[limits]
line_timeout = 90s
[backend north]
address = unix:/run/north.sock
[listen smtps]
port = 465
protocol = smtp
tls = implicit
backend = north
require_tls = auth
[tls default]
certificate = /nowhere/cert.pem
key = /nowhere/key.pem
"""


def test_config_tells_the_file_and_line_that_won(folder):
    path = write(folder, TRIAL)
    write(folder, "[limits]\n# once more\nline_timeout = 2min\n", "conf.d/10-slow.ini")
    write(folder, "[limits]\nline_timeout = 120s\n[backend north]\nidentity = proxy-v2\n", "conf.d/20-slower.ini")
    text = shown("config", "-n", "-c", path)
    assert re.search(rf"^line_timeout = 2min +; {folder}/conf.d/20-slower.ini:2$", text, re.M)
    assert re.search(rf"^identity = proxy-v2 +; {folder}/conf.d/20-slower.ini:4$", text, re.M)
    assert re.search(rf"^address = unix:/run/north.sock +; {path}:8$", text, re.M)
    assert re.search(rf"^bind = 127.0.0.1, ::1 +; {path}:3$", text, re.M)
    assert "default" not in re.sub(r"\[tls default\]", "", text)
    assert "10-slow.ini:" not in text
    assert text.splitlines()[:3] == [f"; read: {path}", f"; read: {folder}/conf.d/10-slow.ini",
                                     f"; read: {folder}/conf.d/20-slower.ini"]


def test_config_needs_neither_the_certificates_nor_the_accounts_nor_rights(folder):
    path = write(folder, TRIAL + "[mailstore]\npath = /nowhere\n")
    folder.chmod(0o755)
    options = {"user": "nobody", "group": pwd.getpwnam("nobody").pw_gid, "extra_groups": []} if library.AS_ROOT else {}
    assert "user = gatepost " in shown("config", "-c", path, **options)


@pytest.mark.parametrize("how", [(), ("-n",)], ids=["all", "changed"])
def test_what_config_shows_is_a_file_with_the_same_settings(folder, how):
    path = write(folder, TRIAL)
    again = write(folder, shown("config", *how, "-c", path), "again.ini")

    def values(text):
        return [line.split(" ; ")[0].rstrip() for line in text.splitlines() if not line.startswith(";")]

    assert values(shown("config", "-c", again)) == values(shown("config", "-c", path))
    assert values(shown("config", "-n", "-c", again)) == values(shown("config", "-n", "-c", path))


def test_config_shows_every_key_of_every_section_once(folder):
    text = shown("config", "-c", write(folder, TRIAL))
    sections = dict(re.findall(r"^\[([^\]\n]+)\]\n((?:[^\[\n].*\n|\n)*)", text, re.M))
    assert {"gatepost", "limits", "mailstore", "tls default", "backend smtp", "backend north", "listen pop3s",
            "listen smtps"} <= set(sections)
    for name, body in sections.items():
        kind = name.split()[0].upper()
        assert re.findall(r"^(\w+) =", body, re.M) == [key for section, key in KEYS if section == kind], name


def test_config_as_json_has_values_units_and_origins(folder):
    path = write(folder, TRIAL)
    tree = json.loads(shown("config", "--json", "-c", path))
    assert tree["files"] == [str(path)]
    assert tree["limits"]["line_timeout"] == {"value": 90000, "unit": "ms", "text": "90s", "default": False,
                                              "file": str(path), "line": 6}
    assert tree["gatepost"]["bind"]["value"] == ["127.0.0.1", "::1"]
    assert tree["listen"]["pop3s"]["port"] == {"value": 995, "default": True}
    assert tree["listen"]["smtps"]["enabled"] == {"value": True, "default": True}
    assert {key for section, key in KEYS if section == "BACKEND"} == set(tree["backend"]["north"])
    changed = json.loads(shown("config", "-n", "--json", "-c", path))
    assert set(changed["listen"]) == {"smtps"}
    assert "mailstore" not in changed
    assert all(not key["default"] for key in changed["listen"]["smtps"].values())


def test_config_of_a_bad_file_tells_what_is_wrong_and_shows_nothing(folder):
    for how in ((), ("-n",), ("--json",)):
        result = run("config", *how, "-c", write(folder, "[gatepost]\nhostnam = a\n"))
        assert result.returncode == 78
        assert result.stdout == ""
        assert 'gatepost.ini:2: error: there is no key "hostnam"' in result.stderr


@pytest.mark.parametrize("arguments, words", [
    (("config", "listen"), "unknown argument: listen"),
    (("-n",), "go with config"),
    (("--json",), "go with config"),
    (("-t", "--json"), "go with config"),
    (("explain", "-n", "bind"), "go with config"),
    (("-t", "config"), "-t stands alone"),
    (("config", "--probe"), "--probe goes with -t"),
    (("explain",), "explain what?"),
    (("explain", "bind", "port"), "unknown argument: port"),
    (("settings",), "unknown argument: settings"),
], ids=lambda value: "_".join(value) if isinstance(value, tuple) else "")
def test_wrong_use_is_told_in_words_with_exit_code_64(arguments, words):
    result = run(*arguments)
    assert result.returncode == 64, result.stdout
    assert words in result.stderr


def test_config_to_a_full_disk_is_an_error(folder):
    with open("/dev/full", "w") as full:
        result = subprocess.run([library.PROXY, "config", "-c", write(folder, TRIAL)], stdout=full,
                                stderr=subprocess.PIPE, text=True, timeout=60)
    assert result.returncode == 74
    assert "cannot be written" in result.stderr


def test_a_file_for_a_later_program_is_refused_by_all_who_read_it(folder):
    path = write(folder, "[gatepost]\nconfig_version = 2\n")
    for arguments in (("-t",), ("config",), ()):
        result = run(*arguments, "-c", path)
        assert result.returncode == 78
        assert "gatepost.ini:2: error: this program is too old for the file" in result.stderr


# gatepost explain

@pytest.mark.parametrize("section, key", KEYS, ids=[f"{section.lower()}.{key}" for section, key in KEYS])
def test_every_key_is_explained_and_has_a_paragraph_in_the_manual_page(section, key):
    page = (COMPLETION.parents[1] / "gatepost.ini.5").read_text()
    heading = re.search(rf"^\.Ss \[{section.lower()}( NAME)?\]$", page, re.M)
    part = page[heading.end():].split("\n.Ss ")[0]
    assert f"\n.It Ic {key}\n" in part


def test_explain_tells_each_key_of_a_section():
    for section in sorted({section for section, _ in KEYS}):
        text = shown("explain", section.lower())
        told = re.findall(r"^\[(\w+)[^\]]*\] (\w+)$", text, re.M)
        assert [key for other, key in told if other == section.lower()] == [key for other, key in KEYS if other == section]


def test_explain_of_a_name_that_is_section_and_key_tells_both():
    told = re.findall(r"^\[(\w+)[^\]]*\] (\w+)$", shown("explain", "tls"), re.M)
    assert {("tls", "min_version"), ("listen", "tls"), ("backend", "tls")} <= set(told)


# manual pages

def test_no_manual_page_has_a_fault():
    tree = [path for folder in ("proxy", "backends", "tools") for path in (library.ROOT / folder).rglob("*.[1578]")]
    pages = [*tree, COMPLETION.parents[1] / "gatepost.ini.5"]
    assert {"gatepost.8", "gatepostctl.8", "gatepost-user.8", "remote-mail.7"} < {path.name for path in pages}
    result = subprocess.run(["mandoc", "-T", "lint", "-W", "warning", *pages], capture_output=True, text=True, timeout=60)
    assert (result.returncode, result.stdout) == (0, "")


def manual():
    """gatepost(8) as text, with plain hyphens."""
    return (library.ROOT / "proxy" / "gatepost.8").read_text().replace("\\-", "-").replace('"', "")


def test_every_option_and_command_and_exit_code_stands_in_the_manual():
    page = manual()
    options = set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", run("--help").stdout)) - {"--help", "--usage"}  # argp's own
    assert len(options) >= 5
    for option in options:
        assert re.search(rf"^\.BR? .*{option}\b", page, re.M), option
    for command in ("config", "explain"):
        assert re.search(rf"^\.BI? {command}\b", page.split(".SH COMMANDS")[1], re.M), command
    codes = re.findall(r"^    SUPERVISOR_\w+ = (\d+)", (library.ROOT / "proxy" / "supervisor.h").read_text(), re.M)
    listed = re.findall(r"^(\d+);", page.split(".SH EXIT STATUS")[1].split(".SH")[0], re.M)
    assert len(codes) >= 6 and set(codes) <= set(listed)


# completion

def complete(*words, folder=None):
    """What bash offers for these words, of which the last one is being typed."""
    script = f"""source {COMPLETION}
COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _gatepost
[ ${{#COMPREPLY[@]}} -eq 0 ] || printf '%s\\n' "${{COMPREPLY[@]}}" """
    result = subprocess.run(["bash", "--norc", "--noprofile", "-c", script, "bash", *words], capture_output=True,
                            text=True, timeout=30, cwd=folder)
    assert result.stderr == "", result.stderr
    return sorted(result.stdout.splitlines())


@pytest.mark.parametrize("words, offered", [
    (("gatepost", ""), ["config", "explain"]),
    (("gatepost", "c"), ["config"]),
    (("gatepost", "exp"), ["explain"]),
    (("gatepost", "-t", ""), ["--config", "--probe", "-c"]),
    (("gatepost", "--pro"), []),
    (("gatepost", "-t", "--pro"), ["--probe"]),
    (("gatepost", "--test", "--pro"), ["--probe"]),
    (("gatepost", "--t"), ["--test"]),
    (("gatepost", "--js"), []),
    (("gatepost", "config", "--js"), ["--json"]),
    (("gatepost", "config", ""), ["--config", "--json", "-c", "-n"]),
    (("gatepost", "-c", "x.ini", "con"), ["config"]),
    (("gatepost", "--config", "=", "x.ini", "con"), ["config"]),
    (("gatepost", "explain", "detect_"), ["detect_wait"]),
    (("gatepost", "explain", "lis"), ["listen"]),
    (("gatepost", "explain", "listen.detect"), ["listen.detect", "listen.detect_wait"]),
    (("gatepost", "explain", "elephant"), []),
    (("gatepost", "explain", "limits.detect"), []),
    (("gatepost", "explain", "bind", "po"), []),
    (("gatepost", "--worke"), []),
], ids=lambda value: "_".join(value) if isinstance(value, tuple) else "")
def test_bash_is_offered_what_may_follow(words, offered):
    assert complete(*words) == offered


def test_every_key_is_offered_and_can_be_explained():
    offered = complete("gatepost", "explain", "")
    assert set(offered) == {key for _, key in KEYS} | {section.lower() for section, _ in KEYS}
    assert len(offered) == len(set(offered)), "nothing twice"
    for section in {section.lower() for section, _ in KEYS}:
        qualified = complete("gatepost", "explain", f"{section}.")
        assert qualified == sorted(f"{section}.{key}" for other, key in KEYS if other == section.upper())
    assert run("explain", offered[0]).returncode == run("explain", qualified[0]).returncode == 0


def test_every_option_of_the_program_is_offered():
    told = set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", run("--help").stdout))
    offered = {word for words in (("-",), ("-t", "-"), ("config", "-")) for word in complete("gatepost", *words)}
    assert told <= offered, told - offered
    assert {word for word in offered if word.startswith("--")} <= told


@pytest.mark.parametrize("before, prefix", [(("-c",), ""), (("--config",), ""), (("--config", "="), ""), ((), "--config=")],
                         ids=["short", "long", "with_sign", "one_word"])
def test_files_are_offered_behind_the_option(folder, before, prefix):
    for name in ("gate one.ini", "gate two.ini", "other.ini"):
        (folder / name).touch()
    words = ("gatepost", *before, f"{prefix}gate")
    assert complete(*words, folder=folder) == [f"{prefix}gate one.ini", f"{prefix}gate two.ini"]


def test_files_are_offered_right_behind_the_sign(folder):
    (folder / "gate.ini").touch()
    assert complete("gatepost", "--config", "=", folder=folder) == ["gate.ini"]


def test_bash_completion_finds_it_by_the_name_of_the_program(folder):
    completions = folder / "completions"
    completions.mkdir()
    shutil.copy(COMPLETION, completions / "gatepost")
    script = "source /usr/share/bash-completion/bash_completion; _completion_loader gatepost; complete -p gatepost"
    result = subprocess.run(["bash", "--norc", "-c", script], capture_output=True, text=True, timeout=30,
                            env={**os.environ, "BASH_COMPLETION_USER_DIR": str(folder)})
    assert result.stdout == "complete -F _gatepost gatepost\n", result.stderr


# gatepost -t as root: accounts and sockets

def check(folder, *lines):
    """(exit code, what is said) about these lines behind a [gatepost] with accounts."""
    certificates.write(folder)
    text = "\n".join((f"[tls default]\ncertificate = {folder}/cert.pem\nkey = {folder}/key.pem\n[listen remote]\ntls = off",
                      f"[gatepost]\nhostname = {certificates.HOSTNAME}", *lines))
    result = run("-t", "-c", write(folder, text))
    return result.returncode, result.stderr


ACCOUNTS = [
    ("unknown_user", ("user = nobody-here", "mail_user = mail"),
     ":8: error: [gatepost] user = nobody-here: there is no such user (create it with: useradd --system nobody-here)"),
    ("unknown_mail_user", ("user = nobody", "mail_user = nobody-here"), ":9: error: [gatepost] mail_user = nobody-here: "),
    ("unknown_group", ("user = nobody", "mail_user = mail", "groups = mail,", "  nobody-here"),
     ":11: error: [gatepost] groups: nobody-here: there is no such group\n      nobody-here\n      ^\n"
     "    see gatepost.ini(5), [gatepost] groups\n"),
    ("root", ("user = root", "mail_user = mail"), ":8: warning: user = root lets the workers"),
]


@pytest.mark.parametrize("lines, words", [row[1:] for row in ACCOUNTS], ids=[row[0] for row in ACCOUNTS])
def test_accounts_are_told_at_their_line(folder, lines, words):
    code, said = check(folder, *lines, "[backend remote]", "address = unix:/nowhere/s")
    assert code == (0 if "warning" in words else 78), said
    assert words in said
    assert len(re.findall(r"(error|warning): ", said)) == 1, said


def test_a_mistake_in_the_user_is_told_once(folder):
    code, said = check(folder, 'user = "nobody"', "mail_user = mail", "[backend remote]", "address = unix:/nowhere/s")
    assert code == 78
    assert re.findall(r"error: .*", said) == ["error: values are written without quotes"]


def make_socket(path, mode, group=None, folder_mode=0o755):
    path.parent.mkdir(exist_ok=True)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
    path.chmod(mode)
    if group:
        shutil.chown(path, group=group)
        shutil.chown(path.parent, group=group)
    path.parent.chmod(folder_mode)


SOCKETS = [
    # mode of socket and folder, lines of [gatepost], what is said
    ("everybody_may", 0o777, 0o755, (), None),
    ("the_group_is_given", 0o660, 0o750, ("groups = daemon",), None),
    ("the_group_would_do", 0o660, 0o755, (),
     "user = nobody may not open unix:{path}: it belongs to root:daemon, mode 0660; [gatepost] groups = daemon would do"),
    ("no_group_would_do", 0o600, 0o755, (),
     "user = nobody may not open unix:{path}: it belongs to root:daemon, mode 0600; let a group write to it"),
    ("the_group_is_given_and_may_not", 0o640, 0o755, ("groups = daemon",),
     "user = nobody may not open unix:{path}: it belongs to root:daemon, mode 0640; let a group write to it"),
    ("the_folder_is_closed", 0o777, 0o750, (),
     "user = nobody may not open unix:{path}: the folder {folder} belongs to root:daemon, mode 0750; "
     "[gatepost] groups = daemon would do"),
]


@pytest.mark.parametrize("mode, folder_mode, lines, words", [row[1:] for row in SOCKETS], ids=[row[0] for row in SOCKETS])
def test_a_socket_that_the_workers_may_not_open_is_told_with_the_remedy(folder, mode, folder_mode, lines, words):
    path = folder / "server" / "s"
    make_socket(path, mode, "daemon", folder_mode)
    code, said = check(folder, "user = nobody", "mail_user = mail", *lines, "[backend remote]",
                       f"address = unix:/nowhere/s, unix:{path}")
    assert code == 0, said
    if words is None:
        assert "warning" not in said
        return
    column = len("address = unix:/nowhere/s, ")
    assert (f"warning: address: {words.format(path=path, folder=path.parent)}\n"
            f"    address = unix:/nowhere/s, unix:{path}\n    {' ' * column}^\n"
            "    see gatepost.ini(5), [backend NAME] address\n") in said


def test_the_relay_is_opened_by_the_mail_user(folder):
    path = folder / "server" / "s"
    make_socket(path, 0o660, "daemon")
    code, said = check(folder, "user = nobody", "mail_user = mail", "[backend pop3]", "address = embedded", "[listen pop3]",
                       "require_tls = auth", "[mailstore]", f"relay = unix:{path}")
    assert code == 0, said
    assert f"warning: relay: mail_user = mail may not open unix:{path}: it belongs to root:daemon, mode 0660; " \
           "the group daemon would do\n" in said


def test_what_the_workers_may_open_they_do_open(folder):
    """The warning and the kernel agree: with the group that was told, mail goes through to the socket's server."""
    path = folder / "server" / "s"
    make_socket(path, 0o660, "daemon")
    path.unlink()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        path.chmod(0o660)
        shutil.chown(path, group="daemon")
        listener.listen()
        listener.settimeout(60)
        with library.Gatepost({"gatepost": {"groups": "daemon"}, "backend remote": {"address": f"unix:{path}"},
                               "listen remote": {"tls": "off", "detect_wait": "0ms"}}) as gate:
            with socket.create_connection(("127.0.0.1", gate.port("remote")), timeout=60) as client:
                connection, _ = listener.accept()
                connection.settimeout(60)
                connection.sendall(b"hello\r\n")
                assert client.recv(100) == b"hello\r\n"
                connection.close()
