"""One picture a group, drawn by gnuplot."""
import statistics
import subprocess

from cases import CASES
from tables import OURS, rows_of

COLOURS = {"gatepost": "#c0392b", "nginx-stream": "#1f77b4", "nginx-mail": "#7fb3d5", "haproxy": "#2ca02c", "hitch": "#e6a817",
           "stunnel": "#8e7cc3", "dovecot": "#7f7f7f"}
HEAD = """set terminal svg size 960,400 dynamic background "#ffffff" font "sans-serif,12"
set key outside right top
set grid ytics
set border 3
set tics nomirror
set title "{title}"
set ylabel "{axis}"
"""


def draw(path, title, axis, lines):
    script = "\n".join([f'set output "{path}"' if line is None else line
                        for line in [HEAD.format(title=title, axis=axis), None, *lines]])
    subprocess.run(["gnuplot"], input=script, text=True, check=True)


def data_block(columns, names):
    """Rows of a name and one value for each column."""
    rows = [" ".join([f'"{name}"', *(str(values.get(name, "NaN")) for values in columns.values())]) for name in names]
    return ["$data << END", *rows, "END"]


def order(labels):
    return sorted(labels, key=lambda label: (label != OURS, list(COLOURS).index(label)))


def bars(path, title, axis, figures, names, logarithm=None):
    """`figures`: {proxy: {name: value}}; bars stand in groups, one for each name. `logarithm`: (its base, the least)."""
    figures = {label: figures[label] for label in order(figures)}
    plots = [f'$data using {at}:xtic(1) title "{label}" linecolor rgb "{COLOURS[label]}"'
             for at, label in enumerate(figures, 2)]
    draw(path, title, axis, ["set style data histograms", "set style histogram clustered gap 1", "set style fill solid",
                             "set xtics rotate by 30 right", "set yrange [0:*]",
                             *(["set logscale y %g" % logarithm[0], "set yrange [%g:*]" % logarithm[1]]
                               if logarithm else []),
                             *data_block(figures, names), "plot " + ", ".join(plots)])


def curves(path, title, axis, ground, figures, numbers):
    """`figures`: {proxy: {number: value}}."""
    figures = {label: figures[label] for label in order(figures)}
    plots = [f'$data using 1:{at} title "{label}" linewidth 2 linecolor rgb "{COLOURS[label]}"'
             for at, label in enumerate(figures, 2)]
    rows = [" ".join(str(value) for value in (number, *(values.get(number, "NaN") for values in figures.values())))
            for number in numbers]
    draw(path, title, axis, ["set style data linespoints", "set logscale y 2", f'set xlabel "{ground}"', "$data << END",
                             *rows, "END", "plot " + ", ".join(plots)])


def costs(group, results, path):
    """What a group's operations cost, as a multiple of what they cost at Gatepost."""
    figures, names = {}, []
    for case in CASES:
        rows = {row.label: row.cost for row in rows_of(case, results) if row.costs and row.label in COLOURS}
        if case.group != group or not rows.get(OURS):
            continue
        names.append(case.name)
        for label, cost in rows.items():
            figures.setdefault(label, {})[case.name] = round(cost / rows[OURS], 3)
    if figures:
        what = "p50" if group == "lone" else "CPU an operation"
        bars(path, f"{group}: {what}, Gatepost = 1", "times Gatepost's", figures, names, logarithm=(2, 0.5))


def medians(results, names, key):
    """{proxy: {name: median of the key}}, a result's name being `names(result)`."""
    found = {}
    for result in results:
        if key in result and result["label"] in COLOURS:
            found.setdefault(result["label"], {}).setdefault(names(result), []).append(result[key])
    return {label: {name: statistics.median(values) for name, values in each.items()} for label, each in found.items()}


def named(results, names):
    return list(dict.fromkeys(map(names, results)))


def memory(group, results, path):
    def name(result):
        return f"{result['case']} {result['connections']:,}"

    mine = [result for result in results if result.get("stage") and result["case"] in ("idle-greeted", "idle-logged-in",
                                                                                       "idle-used", "stalled")]
    bars(path, "memory of an idle TLS session with its server connected", "KiB each (PSS)",
         medians(mine, name, "kib_per_connection"), named(mine, name))


def scale(group, results, path):
    mine = [result for result in results if result["case"] == "scale-ping"]
    if mine:
        curves(path, "NOOP beside idle sessions", "CPU, µs a NOOP", "idle sessions beside",
               medians(mine, lambda result: result["connections"], "cpu_us_per_operation"),
               sorted({result["connections"] for result in mine}))


def burst(group, results, path):
    mine = [result for result in results if result["case"].startswith("burst-") and "ping_longest_us" in result]
    shown = [{**result, "case": f"{result['case']}: {words}", "ms": result[key] / 1000} for words, key in
             (("greeted after, p50", "p50_us"), ("longest", "longest_us"), ("longest NOOP of others", "ping_longest_us"))
             for result in mine]
    if shown:
        bars(path, "many connections in one second", "ms", medians(shown, lambda result: result["case"], "ms"),
             named(shown, lambda result: result["case"]), logarithm=(10, 0.1))


def workers(group, results, path):
    def name(result):
        return "two workers" if result["workers"] == 2 else "one worker"

    mine = [result for result in results if result["case"] == "workers-hs13" and "workers" in result]
    bars(path, "TLS 1.3 handshake, greeting, QUIT", "CPU, µs a session", medians(mine, name, "cpu_us_per_operation"),
         named(mine, name))


def plot(group, results, path):
    """Writes the group's picture, where there is something to draw."""
    {"memory": memory, "scale": scale, "burst": burst, "workers": workers}.get(group, costs)(group, results, path)
