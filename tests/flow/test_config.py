"""`gatepost -t` and the start: every error in one run, with file, line and a caret; exit code 78; nothing is opened."""
import re
import subprocess

import pytest

import gatepost as library

SAMPLE = library.ROOT / "conf" / "gatepost.ini"


def check(text, folder, mode=("-t",)):
    """(exit code, all that was said) of `gatepost -t`, or of a start, on this text."""
    path = folder / "gatepost.ini"
    path.write_text(text)
    result = subprocess.run([library.PROXY, *mode, "-c", path], capture_output=True, text=True, timeout=30)
    return result.returncode, result.stdout + result.stderr


def good_ini(folder):
    gate = library.Gatepost()
    text = gate.ini.read_text()
    gate.remove()
    certificates = folder / "tls"
    certificates.mkdir()
    library.certificates.write(certificates)
    return text.replace(str(gate.folder / "cert.pem"), str(certificates / "cert.pem")).replace(
        str(gate.folder / "key.pem"), str(certificates / "key.pem"))


def test_a_pipe_that_a_shell_makes_is_read_to_its_end(folder):
    path = folder / "gatepost.ini"
    path.write_text(good_ini(folder))
    result = subprocess.run(["bash", "-c", f"{library.PROXY} -t -c <(sleep 1; cat {path})"], capture_output=True, text=True,
                            timeout=60)
    assert result.returncode == 0 and re.match(r"/dev/fd/\d+: good", result.stdout), result.stderr


BAD = [
    ("an unknown key", "[listen pop3]\ndetect_wiat = 1s\n", ("gatepost.ini:2", "detect_wait", "^")),
    ("an unknown section", "[lissten pop3]\nport = 1110\n", ("gatepost.ini:1", "listen")),
    ("a number out of range", "[listen pop3]\nport = 70000\n", ("gatepost.ini:2", "65535")),
    ("a duration without sense", "[limits]\nline_timeout = soon\n", ("gatepost.ini:2", "line_timeout")),
    ("a key given twice", "[gatepost]\nhostname = a.example\nhostname = b.example\n", ("gatepost.ini:3", "hostname")),
    ("a listener before an unknown backend", "[listen pop3]\nbackend = pop33\n", ("pop33",)),
    ("a certificate that is not there", "[tls default]\ncertificate = /nonexistent/c.pem\nkey = /nonexistent/k.pem\n",
     ("/nonexistent/c.pem",)),
    ("a line that is no setting", "[gatepost]\nnonsense\n", ("gatepost.ini:2",)),
    ("a read_size beyond the limit", "[limits]\nread_size = 1MiB\n", ("gatepost.ini:2", "read_size")),
    ("an address without a port", "[backend smtp]\naddress = unix:/s, mail.example.org\n",
     ("gatepost.ini:2", "mail.example.org", "has no port", "^")),
    ("a name to check where there is none", "[backend smtp]\naddress = unix:/s\ntls = starttls\n",
     ("gatepost.ini:3", "unix:/s has no name", "set sni")),
    ("a route to an unknown backend", "[listen pop3]\nroute = user:cdb:/m\nroute_backends = smtp, pop33\n",
     ("gatepost.ini:3", "[backend pop33]", "pop3", "[backend smtp] has no address")),
    ("a balancer's network with host bits", "[listen pop3]\ntrusted = 192.0.2.1/24\n",
     ("gatepost.ini:2", "the network is 192.0.2.0/24")),
    ("a value that is none of the words", "[listen smtp]\nrequire_tls = maybe\n", ("gatepost.ini:2", "auth")),
]


@pytest.mark.parametrize("text, expected", [row[1:] for row in BAD], ids=[row[0].replace(" ", "_") for row in BAD])
def test_a_bad_file_is_refused_with_exit_code_78_and_words_that_name_the_place(folder, text, expected):
    code, said = check(text, folder)
    assert code == 78, said
    for words in expected:
        assert words in said


def test_all_errors_are_told_in_one_run(folder):
    code, said = check("[gatepost]\nhostnam = a\n[limits]\nread_size = 0\nmax_errors = many\n", folder)
    assert code == 78
    assert all(place in said for place in ("gatepost.ini:2", "gatepost.ini:4", "gatepost.ini:5")), said


def test_a_comment_longer_than_inih_reads_becomes_no_setting(folder):
    code, said = check("# " + "x" * 198 + "hostnam = evil\n" + good_ini(folder), folder)
    assert code == 0, said


def test_a_good_file_passes(folder):
    code, said = check(good_ini(folder), folder)
    assert code == 0, said


def test_a_bad_file_starts_nothing(folder):
    code, said = check("[gatepost]\nhostnam = a\n", folder, mode=())
    assert code == 78, said


def test_a_listener_whose_backend_has_no_address_is_told_and_not_opened(folder):
    code, said = check(good_ini(folder), folder)
    assert code == 0
    assert "remote" in said, "port 109 has no backend in this file, and the check says so"


def test_the_shipped_sample_names_every_key(folder):
    table = (library.ROOT / "conf" / "settings.def").read_text()
    keys = re.findall(r"^[A-Z]+_KEY\((\w+),", table, re.M)
    sample = SAMPLE.read_text()
    assert len(keys) > 40
    assert [key for key in keys if f"{key} =" not in sample] == []


def test_explain_tells_section_default_and_range(folder):
    result = subprocess.run([library.PROXY, "explain", "read_size"], capture_output=True, text=True, timeout=30)
    assert result.returncode == 0, result.stderr
    assert "limits" in result.stdout and "64KiB" in result.stdout


def test_a_port_in_use_is_reported_by_number_and_owner():
    first = library.Gatepost()
    with first:
        second = library.Gatepost({"gatepost": {"port_offset": first.offset}})
        second.start(wait=False)
        assert second.process.wait(30) != 0
        assert str(first.port("pop3")) in second.log() and str(first.process.pid) in second.log(), second.log()
        second.stop(check=False)
        second.remove()
