"""Writes what a run found into the project: results/GROUP.md and .svg, and the part of README.md that shows them.

    python3 tools/bench/report.py RESULTS [FOLDER]    again, from a file that --results wrote; FOLDER instead of tools/bench
"""
import datetime
import json
import pathlib
import platform
import re
import subprocess
import sys

import goals
import plots
import tables

HERE = pathlib.Path(__file__).resolve().parent
BEGIN, END = "<!-- results: written by tools/bench/run --write -->", "<!-- end of the results -->"
PACKAGES = ("nginx", "haproxy", "hitch", "stunnel4", "dovecot-core", "openssl")
FIRST_TABLE = "\n### "  # what is above it in a group's file goes into README.md too
TITLES = {"sessions": "Sessions", "messages": "Messages and commands", "lone": "One client alone",
          "memory": "Memory of connections that stay", "workers": "Two workers", "scale": "Many sessions",
          "burst": "Many connections at once", "machine": "The machine itself"}


def output(*command):
    return subprocess.run(command, capture_output=True, text=True, cwd=HERE).stdout.strip()


def machine():
    cpu_info = pathlib.Path("/proc/cpuinfo").read_text()
    cpu = re.search(r"model name\s*: (.*)", cpu_info)
    cores = len(re.findall(r"^processor", cpu_info, re.M))
    memory = int(re.search(r"MemTotal: *(\d+)", pathlib.Path("/proc/meminfo").read_text())[1]) // 2**20
    versions = output("dpkg-query", "-W", "-f", "${Package} ${Version}, ", *PACKAGES).rstrip(", ")
    return (f"{cpu[1] if cpu else platform.machine()}, {cores} cores, {memory} GiB, Linux {platform.release()}; {versions}; "
            f"Gatepost {output('git', 'describe', '--always', '--dirty')}")


def about(arguments):
    """One line: the command with these arguments, the date, the machine, and what ran on it."""
    command = re.sub(r" --build \S+", "", " ".join(["tools/bench/run", *arguments]))
    return f"`{command}`, {datetime.date.today()}: {machine()}"


def group_head(group, results, origin, folder):
    picture = f"![{group}]({group}.svg)\n" if (folder / f"{group}.svg").exists() else ""
    summary = tables.summary([result for result in results if tables.group_of(result) == group])
    return "\n".join(part for part in [f"# {TITLES[group]}\n", f"{origin}\n", picture, summary,
                                       goals.goal_table(group, results)] if part)


def write_group(group, results, origin, folder):
    plots.plot(group, results, folder / f"{group}.svg")
    text = f"{group_head(group, results, origin, folder)}\n{tables.group_text(group, results)}"
    (folder / f"{group}.md").write_text(text.rstrip() + "\n")


def readme_part(group, folder):
    """The head of the group's file; its origin apart, for it is often that of all."""
    head = (folder / f"{group}.md").read_text().split(FIRST_TABLE)[0].splitlines()
    origin, body = head[2], "\n".join([f"##{head[0]}", *head[3:]])
    body = body.replace(f"]({group}.svg)", f"](results/{group}.svg)")
    return origin, f"{body.rstrip()}\n\n[All tables](results/{group}.md)\n"


def write_readme(home):
    groups = [group for group in TITLES if (home / "results" / f"{group}.md").exists()]
    parts = [readme_part(group, home / "results") for group in groups]
    shown = []
    for at, (origin, body) in enumerate(parts):
        if at == 0 or origin != parts[at - 1][0]:
            shown.append(f"{origin}\n")
        shown.append(body)
    before, rest = (home / "README.md").read_text().split(BEGIN)
    text = "\n".join(shown)
    (home / "README.md").write_text(f"{before}{BEGIN}\n\n{text}\n{END}{rest.split(END)[1]}")


def write(results, origin, home=HERE):
    """The groups of these results; those that were not run stay as they are."""
    (home / "results").mkdir(exist_ok=True)
    for group in tables.groups_of(results):
        write_group(group, results, origin, home / "results")
    write_readme(home)


def main():
    if len(sys.argv) not in (2, 3):
        sys.exit(__doc__)
    first, *lines = pathlib.Path(sys.argv[1]).read_text().splitlines()
    write(list(map(json.loads, lines)), json.loads(first)["about"], pathlib.Path(sys.argv[2]) if sys.argv[2:] else HERE)


if __name__ == "__main__":
    main()
