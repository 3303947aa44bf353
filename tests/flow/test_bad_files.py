"""The table of bad files: bad_files/NAME.ini (or NAME/ with conf.d), beside it NAME.said: what `gatepost -t` says of it.

To add a row, write NAME.ini and run this file with GATEPOST_REGENERATE=1: it writes NAME.said, which then has to be read,
with the eyes of somebody who made the mistake. Names that begin with odd_ are not refused: their words are warnings.
@FOLDER@ is a folder with the files that prepare() makes; a date is written as DATE, this host's name as HOST."""
import datetime
import functools
import os
import pathlib
import pwd
import re
import shutil
import socket
import subprocess

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

import gatepost as library

FOLDER = pathlib.Path(__file__).parent / "bad_files"
NAMES = sorted({path.stem if path.suffix == ".ini" else path.name for path in FOLDER.iterdir()
                if path.suffix == ".ini" or path.is_dir()})
NOBODY = {"user": "nobody", "group": pwd.getpwnam("nobody").pw_gid, "extra_groups": []} if library.AS_ROOT else {}

# name of the pair: host name in it, days until it begins and ends
PAIRS = {
    "good": ("mail.example.org", -1, 400), "other": ("mail.example.org", -1, 400), "open": ("mail.example.org", -1, 400),
    "locked": ("mail.example.org", -1, 400), "shut": ("mail.example.org", -1, 400),
    "elsewhere": ("shop.example.org", -1, 400),
    "expired": ("mail.example.org", -100, -2), "soon": ("mail.example.org", -80, 13.9),
    "today": ("mail.example.org", -80, 0.5), "early": ("mail.example.org", 3.5, 400),
}


@functools.lru_cache(maxsize=None)
def pair(label):
    """PEM octets of a self-signed certificate and of its key."""
    host, begins, ends = PAIRS[label]
    now = datetime.datetime.utcnow()
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, host)])
    builder = x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number(),
                                      now + datetime.timedelta(days=begins), now + datetime.timedelta(days=ends))
    builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
    lock = serialization.BestAvailableEncryption(b"hush") if label == "locked" else serialization.NoEncryption()
    return (builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM),
            key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, lock))


def prepare(folder, text):
    """Makes what the text names in @FOLDER@."""
    for label in PAIRS:
        if f"@FOLDER@/{label}." in text:
            for suffix, octets in zip((".pem", ".key"), pair(label)):
                path = folder / f"{label}{suffix}"
                path.write_bytes(octets)
                path.chmod({"open": 0o644, "shut": 0}.get(label, 0o600))
    if "@FOLDER@/closed/s" in text:
        (folder / "closed").mkdir()
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(folder / "closed" / "s"))
        (folder / "closed" / "s").chmod(0o440)


def copy(name, folder):
    """Puts NAME.ini, or the files of NAME/, into the folder, as nobody's own."""
    source = FOLDER / f"{name}.ini"
    paths = [source] if source.exists() else sorted((FOLDER / name).rglob("*.ini"))
    for path in paths:
        target = folder / ("gatepost.ini" if path == source else path.relative_to(FOLDER / name))
        target.parent.mkdir(exist_ok=True)
        target.write_bytes(path.read_bytes().replace(b"@FOLDER@", bytes(folder)))
        prepare(folder, path.read_bytes().decode("latin-1"))
    for path in [folder, *folder.rglob("*")] if library.AS_ROOT else []:
        shutil.chown(path, "nobody", NOBODY["group"])


def said_of(name, folder):
    """(exit code, diagnostics) of `gatepost -t`, run by somebody without rights: accounts are looked up by root alone."""
    copy(name, folder)
    result = subprocess.run([library.PROXY, "-t", "-c", "gatepost.ini"], cwd=folder, capture_output=True, timeout=60,
                            **NOBODY)
    words = result.stderr.replace(bytes(folder), b"@FOLDER@").decode()
    words = re.sub(r"^20\d\d-.* gatepost: .*\n", "", words, flags=re.M)  # the log: which ports are not opened
    words = re.sub(r"this host's name [\w.-]+:", "this host's name HOST:", words)
    return result.returncode, re.sub(r"20\d\d-\d\d-\d\d", "DATE", words)


@pytest.mark.parametrize("name", NAMES)
def test_a_bad_file_is_told_in_exactly_these_words(folder, name):
    code, said = said_of(name, folder)
    expected = FOLDER / f"{name}.said"
    if os.environ.get("GATEPOST_REGENERATE"):
        expected.write_text(said)
    assert said == expected.read_text()
    assert code == (0 if name.startswith("odd_") else 78)
    assert "warning: " in said if code == 0 else "error: " in said


def test_every_row_is_complete_and_there_are_many():
    said = {path.stem for path in FOLDER.glob("*.said")}
    assert said == set(NAMES)
    assert len([name for name in NAMES if not name.startswith("odd_")]) >= 60


def test_every_diagnostic_names_what_to_read_and_the_page_has_it():
    page = (library.ROOT / "conf" / "gatepost.ini.5.in").read_text()
    keys = set(re.findall(r"^([A-Z]+)_KEY\((\w+),", (library.ROOT / "conf" / "settings.def").read_text(), re.M))
    for path in FOLDER.glob("*.said"):
        text = path.read_text()
        topics = re.findall(r"^    see gatepost\.ini\(5\), (.*)$", text, re.M)
        assert len(topics) == len(re.findall(r"(?:^|: )(?:error|warning): ", text, re.M)), path.name
        for topic in topics:
            heading, _, key = topic.partition("] ")
            heading += "]" if key else ""
            assert f"\n.Ss {heading}\n" in page, f"{path.name}: {topic}"
            assert not key or (re.findall(r"\w+", heading)[0].upper(), key) in keys, f"{path.name}: {topic}"


def test_whatever_is_said_names_a_line_or_no_file_at_all():
    for path in FOLDER.glob("*.said"):
        for line in path.read_text().splitlines():
            if re.search(r"(error|warning): ", line) and not line.startswith(" "):
                assert re.match(r"(gatepost\.ini:\d+|conf\.d/[\w-]+\.ini:\d+): (error|warning): |(error|warning): ", line)


def test_a_file_that_is_not_there_is_told(folder):
    result = subprocess.run([library.PROXY, "-t", "-c", folder / "no.ini"], capture_output=True, text=True, timeout=60)
    assert result.returncode == 78
    assert f"{folder}/no.ini: error: cannot open the file: No such file or directory\n" in result.stderr


@pytest.mark.parametrize("name", ["gatepost.ini", "conf.d/more.ini"])
def test_a_pipe_that_nobody_writes_to_is_not_waited_for(folder, name):
    copy("odd_no_certificate", folder)
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).unlink(missing_ok=True)
    os.mkfifo(folder / name)
    result = subprocess.run([library.PROXY, "-t", "-c", folder / "gatepost.ini"], capture_output=True, text=True, timeout=60)
    assert result.returncode == 78
    assert f"{folder}/{name}: error: the file is a pipe that nobody writes to\n" in result.stderr


def test_nothing_is_bound_and_nothing_is_made(folder):
    """-t of a good file, with every system call looked at."""
    copy("odd_no_certificate", folder)
    trace = folder / "trace"
    calls = "bind,listen,mkdir,mkdirat,unlink,unlinkat,rename,chown,fchown,fchownat"
    result = subprocess.run(["strace", "-f", "-e", f"trace={calls}", "-o", trace, library.PROXY, "-t",
                             "-c", folder / "gatepost.ini"], capture_output=True, timeout=120, **NOBODY,
                            env={**os.environ, "ASAN_OPTIONS": "detect_leaks=0"})
    assert result.returncode == 0, result.stderr
    assert [line for line in trace.read_text().splitlines() if "(" in line] == []
