"""What Gatepost is held against where the figure is no ratio to another proxy: lines of (what, figure, goal, verdict)."""
from markdown import milliseconds, table
from scale_tables import costs, parts, worst

OURS = "gatepost"
STALL_US = 40000
NOTICED_US = 250000
BULK_US = 5000


def verdict(met):
    return "met" if met else "missed"


def of(results, case, **more):
    return [result for result in results if result["case"] == case and result["label"] == OURS
            and all(result.get(key) == value for key, value in more.items())]


def memory(results):
    goal = {"idle-logged-in": 12.5, "stalled": 80}
    for case, most in goal.items():
        for result in of(results, case):
            kib = result.get("kib_per_connection", 0)
            yield [f"`{case}`, {result['connections']:,}: KiB each", f"{kib:.1f}", most,
                   verdict(kib <= most and result.get("held") == result["connections"])]
    for used in of(results, "idle-used"):
        for before in of(results, "idle-logged-in", connections=used["connections"]):
            growth = used["kib_per_connection"] / before["kib_per_connection"] - 1
            yield [f"growth by a message, {used['connections']:,}", f"{growth:.1%}", "5 %", verdict(growth <= 0.05)]


def workers(results):
    one, two = (costs(of(results, "workers-hs13", workers=count)) for count in (1, 2))
    if one and two:
        found = parts(two, one)
        yield ["sessions a CPU second, two workers of one: medians, best rounds", ", ".join(found), 0.97,
               verdict(min(map(float, found)) >= 0.97)]


def scale(results):
    base = costs(of(results, "scale-ping", connections=1000))
    for connections in (5000, 9000, 18000):
        beside = costs(of(results, "scale-ping", connections=connections))
        if base and beside:
            found = parts(base, beside)
            yield [f"NOOP beside {connections:,} of beside 1,000: medians, best rounds", ", ".join(found), 1.15,
                   verdict(max(map(float, found)) <= 1.15)]
    for result in of(results, "bulk-ping")[:1]:
        more = min(result["p99_us"] - result["p99_us_alone"] for result in of(results, "bulk-ping"))
        yield ["p99 of NOOP beside a large transfer: more by, ms (least)", milliseconds(more), 5, verdict(more <= BULK_US)]


def burst(results):
    for case in ("burst-plain", "burst-tls"):
        mine = of(results, case)
        if mine:
            lost = worst(mine, "silent"), worst(mine, "dropped")
            longest = min(result["ping_longest_us"] for result in mine)
            yield [f"`{case}`: without an answer, requests dropped (most)", "%d, %d" % lost, "0, 0", verdict(lost == (0, 0))]
            yield [f"`{case}`: longest NOOP meanwhile, ms (least)", milliseconds(longest), 250, verdict(longest <= NOTICED_US)]


def lone(results):
    for case in ("lone-session", "lone-retr", "lone-data"):
        if of(results, case):
            longest = min(result["longest_us"] for result in of(results, case))
            yield [f"`{case}`: longest, ms (least of the rounds)", milliseconds(longest), 40, verdict(longest < STALL_US)]


def goal_table(group, results):
    """Empty where the group has none, or none of its cases was run."""
    lines = {"memory": memory, "workers": workers, "scale": scale, "burst": burst, "lone": lone}.get(group)
    rows = list(lines(results)) if lines else []
    return table(["Gatepost", "figure", "goal", ""], rows) if rows else ""
