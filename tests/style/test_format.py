"""Source files as .clang-format would write them, scripts that parse, words that any reader understands."""
import pathlib
import re
import subprocess

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
FOLDERS = ("conf", "proxy", "backends", "tools", "tests")


def files(*patterns):
    return sorted(path for folder in FOLDERS for pattern in patterns for path in (ROOT / folder).rglob(pattern))


def named(path):
    return str(path.relative_to(ROOT))


@pytest.fixture(scope="module")
def misformatted():
    """What clang-format says of all sources, in a few runs: its start costs more than a file."""
    sources = files("*.[ch]")
    runs = [subprocess.run(["clang-format", "--dry-run", "--Werror", *sources[at:at + 60]], capture_output=True,
                           text=True, cwd=ROOT) for at in range(0, len(sources), 60)]
    assert all(run.returncode in (0, 1) for run in runs), [run.stderr[-500:] for run in runs]
    return "".join(run.stderr for run in runs)


@pytest.mark.parametrize("path", files("*.[ch]"), ids=named)
def test_a_source_file_is_as_clang_format_writes_it(path, misformatted):
    faults = [line for line in misformatted.splitlines() if line.startswith(f"{path}:")]
    assert not faults, "\n".join(faults[:20])


@pytest.mark.parametrize("path", files("*.py"), ids=named)
def test_a_python_file_parses(path):
    compile(path.read_text(), str(path), "exec")


SCRIPTS = [path for path in (*sorted((ROOT / "tools").iterdir()), ROOT / "tools" / "bench" / "run")
           if path.is_file() and path.read_bytes().startswith(b"#!/usr/bin/env bash")]


@pytest.mark.parametrize("path", SCRIPTS, ids=named)
def test_a_shell_script_parses(path):
    assert subprocess.run(["bash", "-n", path]).returncode == 0


HOOKS = sorted(path for folder in ("conf/hooks", "tools/bench/peers") for path in (ROOT / folder).iterdir()
               if path.read_bytes().startswith(b"#!/bin/sh\n"))


@pytest.mark.parametrize("path", HOOKS, ids=named)
def test_a_hook_or_start_script_parses_in_the_plain_shell(path):
    assert subprocess.run(["sh", "-n", path]).returncode == 0


def test_a_c_file_opens_with_its_job():
    assert [named(path) for path in files("*.[ch]") if not path.read_text().startswith("/*")] == []


def test_no_file_speaks_of_how_it_was_made():
    marks = re.compile(r"\b(TODO|FIXME|XXX|HACK)\b|/work/(main|shared)\b|\bissue #?\d")
    texts = set(files("*.[ch]", "*.py", "*.md", "*.ini", "*.def", "meson.build")) - {pathlib.Path(__file__)}
    found = {named(path): marks.search(path.read_text(errors="replace")) for path in sorted(texts)}
    assert {name: match[0] for name, match in found.items() if match} == {}


def test_the_top_level_holds_nothing_new():
    known = {"proxy", "backends", "conf", "tests", "tools", "meson.build", "README.md", "LICENSE", "build", "state"}
    tracked = subprocess.run(["git", "-c", f"safe.directory={ROOT}", "ls-tree", "--name-only", "HEAD"], cwd=ROOT,
                             capture_output=True, text=True, check=True).stdout.split()
    assert {name for name in tracked if not name.startswith(".")} <= known
