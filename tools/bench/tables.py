"""Results as tables in Markdown."""
import statistics

import scale_tables
from cases import BY_NAME, CASES
from markdown import error_words, number, table

OURS = "gatepost"
NO_PROXY = "direct"


class Row:
    """All rounds of one case at one proxy."""

    def __init__(self, case, label, results):
        self.case, self.label = case, label
        self.errors = sum(result.get("errors", 0) for result in results)
        self.first_error = next((result["first_error"] for result in results if result.get("first_error")), "")
        self.timed = [result for result in results if result.get("operations") and "calls" not in result]
        self.costs = [result[case.cost] for result in self.timed]
        counted = [result["calls"] for result in results if result.get("operations") and "calls" in result]
        self.calls = counted[-1] if counted else None

    def median(self, key):
        return statistics.median(result[key] for result in self.timed)

    @property
    def cost(self):
        return statistics.median(self.costs)


def rows_of(case, results):
    mine = [result for result in results if result["case"] == case.name]
    labels = dict.fromkeys(result["label"] for result in mine)
    return [Row(case, label, [result for result in mine if result["label"] == label]) for label in labels]


def ratios(row, rows):
    """What the row costs as a part of the best other proxy, by medians and by best rounds; None where there is none."""
    others = [other for other in rows if other.label not in (NO_PROXY, OURS, row.label) and other.costs]
    if not others or not row.costs:
        return None
    return row.cost / min(other.cost for other in others), min(row.costs) / min(min(o.costs) for o in others)


def ratio_words(row, rows):
    found = ratios(row, rows) if row.label != NO_PROXY else None
    return [f"{value:.2f}" for value in found] if found else ["", ""]


def operations_table(case, results):
    rows = rows_of(case, results)
    heads = ["proxy", f"{'p50' if case.kind == 'lone' else 'CPU'}, µs a {case.unit}", "least to most",
             "to the best other: medians", "best rounds", "system calls", f"{case.unit}s a second", "p99, µs",
             "longest, µs", "errors"]
    lines = []
    for row in sorted(rows, key=lambda row: row.cost if row.costs else float("inf")):
        total = f"{row.calls['total']:.1f}" if row.calls else ""
        if not row.costs:
            lines.append([row.label, "", "", "", "", total, "", "", "", f"{row.errors} {row.first_error}"])
            continue
        rate = row.median("mib_per_s" if case.unit == "MiB" else "rate")
        lines.append([row.label, number(row.cost), f"{number(min(row.costs))} to {number(max(row.costs))}",
                      *ratio_words(row, rows), total, number(rate), number(row.median("p99_us")),
                      number(row.median("longest_us")), f"{row.errors} {row.first_error}".strip()])
    return table(heads, lines)


def calls_table(case, results):
    counted = sorted((row for row in rows_of(case, results) if row.calls), key=lambda row: row.calls["total"])
    return table(["proxy", "calls", "by name"],
                 [[row.label, row.calls["total"],
                   ", ".join(f"{name} {count}" for name, count in row.calls.items() if name != "total")]
                  for row in counted]) if counted else ""


def idle_table(case, results):
    mine = sorted(results, key=lambda result: (result["connections"], result.get("kib_per_connection", float("inf"))))
    return table(["proxy", "connections", "held", "KiB each (PSS)", "KiB each in the kernel's TCP", "CPU, µs each",
                  "errors"],
                 [[result["label"], result["connections"], result.get("held", 0),
                   f"{result.get('kib_per_connection', 0):.1f}", f"{result.get('tcp_kib_per_connection', 0):.1f}",
                   number(result.get("cpu_us_per_connection", 0)), error_words(result)] for result in mine])


def floor_table(case, results):
    return table(["what", "CPU", ""], [[result["what"], number(result["cost"]), result["unit"]] for result in results])


TEXTS = {"idle": idle_table, "floor": floor_table, "workers": scale_tables.workers, "neighbours": scale_tables.neighbours,
         "burst": scale_tables.burst, "bulk": scale_tables.bulk}


def case_text(case, results):
    parts = [f"### {case.name}: {case.title}\n"]
    if case.kind in TEXTS:
        parts.append(TEXTS[case.kind](case, [result for result in results if result["case"] == case.name]))
    else:
        parts += [operations_table(case, results), calls_table(case, results)]
    return "\n".join(part for part in parts if part)


def group_text(group, results):
    """The tables of all cases of a group that were run."""
    run = {result["case"] for result in results}
    return "\n".join(case_text(case, results) for case in CASES if case.group == group and case.name in run)


def verdict(found, case):
    """In words: a goal counts as met or missed only where medians and best rounds say so."""
    if max(found) <= case.goal:
        return "met"
    return "missed" if min(found) > case.goal * (1 + case.close) else "not decidable here"


def calls_verdict(row, case):
    if not row.calls or not case.calls:
        return f"{row.calls['total']:.1f}" if row.calls else ""
    words = "met" if row.calls["total"] <= case.calls else "missed"
    return f"{row.calls['total']:.1f} of {case.calls:g}: {words}"


def summary_line(case, results):
    rows = rows_of(case, results)
    ours = next((row for row in rows if row.label == OURS), None)
    found = ratios(ours, rows) if ours else None
    if not found:
        return None
    best = min((row for row in rows if row.label not in (OURS, NO_PROXY) and row.costs), key=lambda row: row.cost)
    return [f"{case.title} (`{case.name}`)", number(ours.cost), f"{number(best.cost)} {best.label}",
            f"{found[0]:.2f}", f"{found[1]:.2f}", f"{case.goal:g}" if case.goal else "",
            verdict(found, case) if case.goal else "", calls_verdict(ours, case)]


def summary(results):
    """One line for each case where Gatepost and another proxy were run; empty where there is none."""
    run = {result["case"] for result in results}
    lines = [summary_line(case, results) for case in CASES
             if case.name in run and case.kind in ("operations", "lone")]
    lines = list(filter(None, lines))
    heads = ["case", "Gatepost, µs", "best other, µs", "ratio of medians", "of best rounds", "goal", "", "system calls"]
    return table(heads, lines) if lines else ""


def group_of(result):
    return BY_NAME[result["case"]].group


def groups_of(results):
    return dict.fromkeys(map(group_of, results))
