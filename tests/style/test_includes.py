"""Who may include whom, and each header compiles alone."""
import pathlib
import re
import subprocess
import tempfile

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
FOLDERS = ("conf", "proxy", "backends", "tools", "tests")
SOURCES = sorted(path.relative_to(ROOT) for folder in FOLDERS for path in (ROOT / folder).rglob("*.[ch]"))
HEADERS = [path for path in SOURCES if path.suffix == ".h"]

# Bytes in, bytes out: neither libuv nor OpenSSL. proxy/meson.build lists the proxy's (they are linked without either).
PROXY_PURE = re.search(r"pure_sources = \[(.*?)\]", (ROOT / "proxy" / "meson.build").read_text(), re.S)[1]
PURE = {f"proxy/{name}" for name in re.findall(r"'([^']+)\.c'", PROXY_PURE)}
PURE |= {"proxy/" + name for name in ("dialect", "dialogue", "inspect")}
FETCH_PURE = re.search(r"fetch_pure_sources = \[(.*?)\]", (ROOT / "tools" / "fetch" / "meson.build").read_text(), re.S)[1]
PURE |= {f"tools/fetch/{name}" for name in re.findall(r"'([^']+)\.c'", FETCH_PURE)}
PURE |= {path for folder, start in (("backends", "smtp_"), ("backends", "pop3_"), ("backends", "newline"),
                                           ("backends", "remote_session"))
         for path in (f"{folder}/{found.stem}" for found in (ROOT / folder).glob(f"{start}*.c")) if "_main" not in path}
MUST_BE_PURE = {"detect", "hints", "negotiate", "dialect_smtp", "dialect_pop3", "inspect_smtp", "inspect_pop3",
                "limits"}
OPENSSL = re.compile(r"proxy/(allocations|tls|tls_(certificate|client|context|hooks|pem|private|profile|store|words)|tickets)\.[ch]|backends/digest\.c|tools/(bench|fetch)/link\.c|tools/bench/floor_tls\.c")
UV = re.compile(r"proxy/[^/]+\.[ch]")
GENERATED = {"gatepost_build.h", "build_tag.h"}


def includes(path):
    """(name, is it our own) of every #include."""
    text = (ROOT / path).read_text(errors="replace")
    return [(name, mark == '"') for mark, name in re.findall(r'^\s*#\s*include\s+(["<])([^">]+)[">]', text, re.M)]


def stem(path):
    return str(path.with_suffix(""))


def allowed(path, name):
    """May this file include our own header `name`?"""
    top, base = path.parts[0], str(path).startswith("proxy/base/")
    leaf = name.startswith("proxy/base/") or name.startswith("conf/")
    if pathlib.Path(name).name in GENERATED or top == "tests":
        return True
    if top == "conf":
        return name.startswith("conf/")
    if base:
        return name.startswith("proxy/base/")
    if top == "proxy":
        return leaf or name.startswith("proxy/")
    if top == "backends":
        return leaf or name.startswith("backends/")
    return leaf or name.startswith(("backends/users", "backends/maildir", "backends/digest", "backends/disk", "backends/newline", "tools/"))


def test_there_is_something_to_look_at():
    assert len(SOURCES) > 60
    assert {f"proxy/{name}" for name in MUST_BE_PURE} <= PURE


def test_own_headers_are_included_only_along_the_allowed_ways():
    wrong = [f"{path}: {name}" for path in SOURCES for name, own in includes(path) if own and not allowed(path, name)]
    assert wrong == []


def test_own_headers_are_named_from_the_root():
    wrong = [f"{path}: {name}" for path in SOURCES for name, own in includes(path)
             if own and pathlib.Path(name).name not in GENERATED and not (ROOT / name).exists()]
    assert wrong == []


def test_openssl_is_included_only_where_tls_is_made():
    wrong = [f"{path}: {name}" for path in SOURCES for name, _ in includes(path)
             if name.startswith("openssl/") and path.parts[0] != "tests" and not OPENSSL.fullmatch(str(path))]
    assert wrong == []


def test_libuv_is_included_only_in_the_proxy():
    wrong = [f"{path}: {name}" for path in SOURCES for name, _ in includes(path)
             if name.startswith("uv") and path.parts[0] != "tests" and not UV.fullmatch(str(path))]
    assert wrong == []


def closure(path, seen=None):
    """Every header that this file gets to see, of ours and of others."""
    seen = set() if seen is None else seen
    for name, own in includes(path):
        if name not in seen:
            seen.add(name)
            if own and (ROOT / name).exists():
                closure(pathlib.Path(name), seen)
    return seen


@pytest.mark.parametrize("module", sorted(PURE & {stem(path) for path in SOURCES}))
def test_a_pure_module_sees_neither_libuv_nor_openssl(module):
    for path in SOURCES:
        if stem(path) == module:
            seen = closure(path)
            assert not [name for name in seen if name.startswith(("uv", "openssl/"))], path


def test_inih_is_included_only_in_conf():
    assert {path.parts[0] for path in SOURCES for name, _ in includes(path) if name == "ini.h"} == {"conf"}


@pytest.mark.parametrize("header", [header for header in HEADERS if "_internal" not in header.name], ids=str)
def test_a_header_compiles_alone(header):
    with tempfile.TemporaryDirectory() as folder:
        source = pathlib.Path(folder) / "alone.c"
        source.write_text(f'#include "{header}"\n#include "{header}"\nint alone;\n')
        command = ["gcc", "-std=c11", "-D_GNU_SOURCE", "-Wall", "-Wextra", "-Werror", "-fsyntax-only"]
        result = subprocess.run([*command, "-I", ROOT, source], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
