"""The tables of many connections and many at once. Each function gets the results of one case."""
import statistics

from markdown import error_words, milliseconds, number, table


def by(results, *keys):
    """{values of the keys: results}, in the order of their first appearance."""
    found = {}
    for result in results:
        found.setdefault(tuple(result.get(key) for key in keys), []).append(result)
    return found


def costs(results):
    return [result["cpu_us_per_operation"] for result in results if result.get("operations")]


def median(results, key):
    return statistics.median(result.get(key, 0) for result in results)


def worst(results, key):
    return max(result.get(key, 0) for result in results)


def all_errors(results):
    bad = [result for result in results if result.get("errors")]
    return error_words(bad[0]) if bad else "0"


def parts(whole, part):
    """Ratios of medians and of best rounds as words; blank where one side has no figures."""
    if not whole or not part:
        return ["", ""]
    return [f"{statistics.median(part) / statistics.median(whole):.2f}", f"{min(part) / min(whole):.2f}"]


def workers(case, results):
    """Sessions for each second of CPU that two workers spend, as a part of one worker's."""
    lines = []
    for (label,), mine in by(results, "label").items():
        one, two = (costs([result for result in mine if result.get("workers") == count]) for count in (1, 2))
        lines.append([label, *(number(statistics.median(side)) if side else "" for side in (one, two)), *parts(two, one),
                      f"{case.goal:g}" if label == "gatepost" else "", all_errors(mine)])
    return table(["proxy", "one worker: CPU, µs a session", "two workers", "sessions a CPU second, two of one: medians",
                  "best rounds", "goal", "errors"], lines)


def neighbours(case, results):
    lines = []
    for (label,), mine in by(results, "label").items():
        fewest = min(result["connections"] for result in mine)
        base = costs([result for result in mine if result["connections"] == fewest])
        for (connections, count), beside in by(mine, "connections", "workers").items():
            figures = costs(beside)
            held = int(median(beside, "held"))
            lines.append([label, f"{connections:,}" + (f" ({held:,} held)" if held < connections else ""), count or "", number(statistics.median(figures)) if figures else "",
                          *parts(base, figures), f"{median(beside, 'kib_per_connection'):.1f}",
                          milliseconds(median(beside, "p99_us")), all_errors(beside)])
    return table(["proxy", "idle beside", "workers", "CPU, µs a NOOP", "of that beside the fewest: medians", "best rounds",
                  "KiB each (PSS)", "p99, ms", "errors"], lines)


def burst(case, results):
    lines = []
    for (label, connections), mine in by(results, "label", "connections").items():
        lines.append([label, f"{connections:,}", *(f"{median(mine, key):,.0f}" for key in ("served", "refused", "closed", "silent")),
                      f"{worst(mine, 'dropped'):,}", milliseconds(median(mine, "p50_us")),
                      milliseconds(worst(mine, "longest_us")), milliseconds(worst(mine, "ping_longest_us_before")),
                      milliseconds(worst(mine, "ping_longest_us")), all_errors(mine)])
    return table(["proxy", "connections", "greeted", "refused in words", "closed", "no answer", "requests dropped (most)",
                  "greeted after, ms: p50", "longest", "longest NOOP of others, ms: before", "meanwhile", "errors"], lines)


def bulk(case, results):
    lines = []
    for (label,), mine in by(results, "label").items():
        alone, beside = median(mine, "p99_us_alone"), median(mine, "p99_us")
        lines.append([label, milliseconds(alone), milliseconds(beside), milliseconds(beside - alone),
                      milliseconds(worst(mine, "longest_us")), number(median(mine, "bulk_mib_per_s")), all_errors(mine)])
    return table(["proxy", "NOOP alone: p99, ms", "beside the message", "more by", "longest", "MiB a second of the message",
                  "errors"], lines)
