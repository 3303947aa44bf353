"""What /proc tells about a process: children, descriptors, memory. Every function takes a pid."""
import os
import re
import time


def alive(pid):
    """Does the process run? (A zombie does not.)"""
    try:
        with open(f"/proc/{pid}/stat", "rb") as stat:
            return stat.read().rsplit(b")", 1)[1].split()[0] not in (b"Z", b"X")
    except (FileNotFoundError, ProcessLookupError):
        return False


def children(pid):
    """Pids of all living descendants, parents first."""
    parents = {}
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        try:
            with open(f"/proc/{name}/stat", "rb") as stat:
                fields = stat.read().rsplit(b")", 1)[1].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if fields[0] not in (b"Z", b"X"):
            parents.setdefault(int(fields[1]), []).append(int(name))
    found, queue = [], [pid]
    while queue:
        queue_of_one = parents.get(queue.pop(0), [])
        found += queue_of_one
        queue += queue_of_one
    return found


def command(pid):
    """The command line, as one text."""
    with open(f"/proc/{pid}/cmdline", "rb") as cmdline:
        return cmdline.read().rstrip(b"\0").replace(b"\0", b" ").decode(errors="replace")


def descriptors(pid):
    """{number: what it is}, for example {7: "socket:[1234]"}."""
    found = {}
    for name in os.listdir(f"/proc/{pid}/fd"):
        try:
            found[int(name)] = os.readlink(f"/proc/{pid}/fd/{name}")
        except FileNotFoundError:
            pass
    return found


def descriptor_count(pid):
    """Without those of /dev/null: libuv keeps one, from a worker's first stream on."""
    return sum(what != "/dev/null" for what in descriptors(pid).values())


def memory_kib(pid, what="Pss"):
    """Memory in KiB: Pss, Rss, Private_Dirty, Anonymous, ... as in smaps_rollup."""
    with open(f"/proc/{pid}/smaps_rollup") as rollup:
        for line in rollup:
            if line.startswith(what + ":"):
                return int(line.split()[1])
    raise KeyError(what)


def cpu_seconds(pid):
    """User and system time that the process itself has used."""
    with open(f"/proc/{pid}/stat", "rb") as stat:
        fields = stat.read().rsplit(b")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def status(pid):
    """/proc/PID/status as a dictionary of texts: Uid, Gid, Groups, NoNewPrivs, CapEff, ..."""
    with open(f"/proc/{pid}/status") as lines:
        return {key: value.strip() for key, _, value in (line.partition(":") for line in lines)}


def wait_until(condition, timeout=10, what="condition"):
    """Polls until `condition()` is true, and returns what it gave; fails after `timeout` seconds. `what`: words, or a
    function that makes them then."""
    end = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            words = what() if callable(what) else what
            raise AssertionError(f"not reached within {timeout} s: {words}")
        time.sleep(0.02)


def memory_holds(pid, needle):
    """Names of the mappings of a process whose octets hold `needle`."""
    found = []
    with open(f"/proc/{pid}/maps") as maps, open(f"/proc/{pid}/mem", "rb", 0) as memory:
        for line in maps:
            match = re.match(r"([0-9a-f]+)-([0-9a-f]+) r[w-]", line)
            if not match or "[v" in line:
                continue
            start, end = (int(number, 16) for number in match.groups())
            if end - start > 1 << 36:  # the sanitizer's shadow: its octets are no data
                continue
            try:
                memory.seek(start)
                octets = b""
                while start < end:
                    part = memory.read(min(1 << 20, end - start))
                    if not part:
                        break
                    if needle in octets[-len(needle):] + part:
                        found.append(line.rstrip())
                    octets, start = part, start + len(part)
            except OSError:
                continue
    return found
