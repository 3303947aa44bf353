"""Runs the cases against the proxies in interleaved rounds and prints the tables. Started by tools/bench/run."""
import argparse
import json
import os
import pathlib
import resource
import shutil
import sys
import tempfile
import time

import cases
import goals
import measure
import measure_scale
import report
import tables
from lab import PEERS, Failure, Lab, bring_loopback_up, capabilities

ALONE_GROUPS = ("memory", "workers", "scale", "burst")  # where "no proxy" says nothing


def words(text):
    return [word for word in text.split(",") if word]


def numbers(text):
    return [int(word) for word in words(text)]


def read_arguments():
    parser = argparse.ArgumentParser(prog="tools/bench/run", description=__doc__)
    add = parser.add_argument
    add("--peers", type=words, default=sorted(path.name for path in PEERS.iterdir()), help="proxies (all)")
    add("--cases", type=words, default=["*"], help="names or patterns, such as hs13,data-* (all)")
    add("--list", action="store_true", help="name the cases and proxies, and end")
    add("--rounds", type=int, default=5, help="of each case (5); 0 with --strace: only count calls")
    add("--seconds", type=float, default=2, help="of a round (2)")
    add("--warmup", type=float, default=0.6, help="before each (0.6)")
    add("--operations", type=int, default=1, help="at least so many in a round (1)")
    add("--processes", type=int, default=1, help="of the load generator (1)")
    add("--idle", type=numbers, default=[1000, 5000, 9000], help="connections of the memory cases (1000,5000,9000)")
    add("--stalled", type=int, default=1000, help="connections of the case stalled (1000)")
    add("--neighbours", type=numbers, default=[1000, 5000, 9000, 18000],
        help="idle connections beside the case scale-ping; two workers above 9000 (1000,5000,9000,18000)")
    add("--burst", type=int, default=10000, help="connections of the case burst-plain (10000)")
    add("--burst-tls", type=int, default=3000, help="connections of the case burst-tls (3000)")
    add("--strace", action="store_true", help="one more round of each case with system calls counted")
    add("--key", choices=["ec", "rsa"], default="ec", help="of the certificate (ec)")
    add("--proxy-cpus", default="0", help="where a proxy with one worker runs (0)")
    add("--load-cpus", default="1", help="where load and server run (1)")
    add("--all-cpus", default="0,1", help="where a proxy with two workers runs (0,1)")
    add("--write", action="store_true", help="put tables and plots into tools/bench/results and README.md")
    add("--build", help="folder with the programs")
    add("--results", type=pathlib.Path,
        help="a file that gets every result as a line of JSON, behind one that tells of the run")
    return parser.parse_args()


class Bench:
    def __init__(self, options, chosen, lab):
        self.options, self.chosen, self.lab = options, chosen, lab
        self.results = []
        self.about = report.about(sys.argv[1:])
        self.out = open(options.results or os.devnull, "w", buffering=1)
        self.out.write(json.dumps({"about": self.about}) + "\n")

    def note(self, case, name, result):
        result = {**result, "case": case.name, "label": name}
        self.results.append(result)
        self.out.write(json.dumps(result) + "\n")
        cost = result.get(case.cost, result.get("kib_per_connection", result.get("cost", 0)))
        counted = f" calls {result['calls']['total']}" if "calls" in result else ""
        print(f"{case.name:14} {name:14} {cost:10.2f}{counted} errors {result.get('errors')} "
              f"{result.get('first_error', '')}", flush=True)

    def peers_of(self, case):
        able = measure_scale.possible if case.kind in ("burst", "bulk") else measure.service_of
        names = [name for name in self.options.peers if able(case, capabilities(name))]
        return [name for name in names if case.group not in ALONE_GROUPS or name != tables.NO_PROXY]

    def round(self, case, measured, name, *more):
        """One result, or several, of `measured`. A proxy that does not start is an error of this round alone."""
        try:
            results = measured(case, self.lab, name, *more)
        except Failure as failure:
            results = {"errors": 1, "first_error": " ".join(str(failure).split())[:200]}
            if case.kind in ("idle", "neighbours", "burst"):
                results["connections"] = more[0]
        for result in results if isinstance(results, list) else [results]:
            self.note(case, name, result)

    def rounds(self, case, measured, *more):
        """Rounds go through all proxies in turn, so that what disturbs one disturbs all."""
        for _ in range(self.options.rounds):
            for name in self.peers_of(case):
                self.round(case, measured, name, *more)

    def operations(self, case):
        self.rounds(case, measure.operations)
        for name in self.peers_of(case) if self.options.strace else ():
            self.round(case, measure.calls, name)

    def workers(self, case):
        for _ in range(self.options.rounds):
            for name in self.peers_of(case):
                for workers in (1, 2):
                    self.round(case, measure.with_workers, name, workers)
        self.lab.stop_peers()

    def idle(self, case):
        for connections in [self.options.stalled] if case.name == "stalled" else self.options.idle:
            for name in self.peers_of(case) if self.options.rounds else ():
                self.round(case, measure.idle, name, connections)

    def neighbours(self, case):
        for connections in self.options.neighbours:
            for name in self.peers_of(case):
                self.round(case, measure_scale.neighbours, name, connections, self.options.rounds)

    def burst(self, case):
        count = self.options.burst if case.name == "burst-plain" else self.options.burst_tls
        self.rounds(case, measure_scale.burst, count)

    def bulk(self, case):
        self.rounds(case, measure_scale.bulk)

    def floor(self, case):
        for result in measure.floor(self.lab) if self.options.rounds else ():
            self.note(case, "machine", result)

    def run(self):
        for case in self.chosen:
            getattr(self, "operations" if case.kind == "lone" else case.kind)(case)


def print_tables(results):
    for group in tables.groups_of(results):
        print(f"\n## {group}\n\n{tables.group_text(group, results)}\n{goals.goal_table(group, results)}")
    summary = tables.summary(results)
    if summary:
        print(f"\n## Gatepost and the best other\n\n{summary}")


def main():
    options = read_arguments()
    if options.list:
        for case in cases.CASES:
            print(f"{case.name:16} {case.group:10} {case.title}")
        print("proxies:", *sorted(path.name for path in PEERS.iterdir()))
        return 0
    try:
        chosen = cases.select(options.cases)
    except KeyError as error:
        sys.exit(f"tools/bench/run: no case {error} (see --list)")
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    options.descriptors = hard
    bring_loopback_up()
    folder = pathlib.Path(tempfile.mkdtemp(prefix="gatepost-bench-"))
    folder.chmod(0o755)  # some proxies become other users
    begin = time.monotonic()
    lab = None
    try:
        lab = Lab(options, folder)
        bench = Bench(options, chosen, lab)
        bench.run()
    finally:
        if lab:
            lab.close()
        shutil.rmtree(folder)
    print_tables(bench.results)
    if options.write:
        report.write(bench.results, bench.about)
    print(f"\n{time.monotonic() - begin:.0f} s")
    return 1 if any(result.get("errors") for result in bench.results if result["label"] == tables.OURS) else 0


if __name__ == "__main__":
    sys.exit(main())
