"""Turns a report of meson or pytest into lines "passed NAME" and "failed NAME" of tools/check.

    results.py meson TESTLOG.json RESULTS        results.py junit REPORT.xml RESULTS

Exit code 1 when there is no report, or nothing ran. A skipped test has failed, with its reason. The cases of a cmocka
program count one by one; their failures are printed."""
import json
import re
import sys
import xml.etree.ElementTree as xml


def from_meson(path):
    """testlog.json has one JSON object a line, one for each program."""
    with open(path, errors="replace") as lines:
        for test in map(json.loads, lines):
            name = test["name"].split("/ ")[-1]
            output = test.get("stdout", "") + test.get("stderr", "")
            cases = re.findall(r"^(ok|not ok) \d+ - (.*)$", output, re.M)
            good = test["result"] == "OK"
            for state, case in cases:
                fine = state == "ok" and "# SKIP" not in case.upper()
                good = good and (fine or state == "ok")
                yield f"{name}: {case}", fine, ""
            if not cases or not good:
                yield name, good, "" if good else f'{test["result"]}\n{output[-4000:]}'


def from_junit(path):
    for case in xml.parse(path).getroot().iter("testcase"):
        name = f'{case.get("classname", "").replace(".", "/")}.py: {case.get("name")}'
        skipped = case.find("skipped")
        bad = [child for child in case if child.tag in ("failure", "error")]
        if skipped is not None:
            yield f'{name} (skipped: {skipped.get("message")})', False, ""
        else:
            yield name, not bad, ""  # pytest has printed the failure


def main():
    kind, report, results = sys.argv[1:]
    try:
        rows = list({"meson": from_meson, "junit": from_junit}[kind](report))
    except (OSError, ValueError, xml.ParseError) as error:
        print(f"{report}: {error}")
        return 1
    with open(results, "a") as out:
        for name, good, words in rows:
            out.write(f'{"passed" if good else "failed"} {" ".join(name.split())}\n')
            if not good and words:
                print(f"FAILED: {name}: {words}")
    print(f"{sum(good for _, good, _ in rows)} passed, {sum(not good for _, good, _ in rows)} failed", flush=True)
    return 0 if rows else 1


sys.exit(main())
