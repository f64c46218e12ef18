"""Reads a text exposition as OpenMetrics 1.0 has it, and refuses what is none.

    openmetrics.py < TEXT      prints the families: name, type, and samples as [name, labels, value]

Written from the specification, so that it shares no line with what writes the text. If Prometheus' own client for Python is
installed, it has to read the text as well.
"""

import json
import re
import sys

NAME = r"[a-zA-Z_:][a-zA-Z0-9_:]*"
LABEL = r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\["\\n])*)"'
SAMPLE = re.compile(rf"({NAME})(?:\{{({LABEL}(?:,{LABEL})*)\}})? (\S+)")
META = re.compile(rf"# (TYPE|HELP) ({NAME}) ((?:[^\\\n]|\\[\\n\"])*)")
NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?")
SUFFIXES = {
    "counter": ["_total"],
    "gauge": [""],
    "histogram": ["_bucket", "_count", "_sum"],
}
ESCAPES = {"\\\\": "\\", '\\"': '"', "\\n": "\n"}


def check(condition, what):
    if not condition:
        raise ValueError(what)


def number(text):
    check(NUMBER.fullmatch(text), f"no number: {text}")
    return float(text)


def labels_of(text):
    pairs = re.findall(LABEL, text or "")
    labels = {name: re.sub(r"\\.", lambda found: ESCAPES[found[0]], value) for name, value in pairs}
    check(len(labels) == len(pairs), f"a label twice: {text}")
    check(not any(name.startswith("__") for name in labels), f"a reserved label: {text}")
    return labels


def check_histogram(family):
    series = {}
    for name, labels, value in family["samples"]:
        others = tuple(sorted((label, text) for label, text in labels.items() if label != "le"))
        told = series.setdefault(others, {"buckets": []})
        if name.endswith("_bucket"):
            bound = float("inf") if labels["le"] == "+Inf" else number(labels["le"])
            told["buckets"].append((bound, value))
        else:
            told[name[len(family["name"]):]] = value
    for told in series.values():
        buckets = told["buckets"]
        check(buckets == sorted(buckets) and len({bound for bound, _ in buckets}) == len(buckets), "bounds")
        check(all(lower[1] <= upper[1] for lower, upper in zip(buckets, buckets[1:])), "not cumulative")
        check(buckets[-1] == (float("inf"), told["_count"]) and "_sum" in told, "no +Inf, or not the count")


def read(text):
    check(text.endswith("# EOF\n"), "no # EOF at the end")
    families, family, names, seen = [], None, set(), set()
    for line in text[:-len("# EOF\n")].split("\n")[:-1]:
        if line.startswith("#"):
            meta = META.fullmatch(line)
            check(meta, f"no metadata: {line}")
            kind, name, rest = meta.groups()
            if family is None or family["name"] != name:
                family = {"name": name, "samples": []}
                families.append(family)
            check(kind not in family and not family["samples"], f"out of place: {line}")
            family[kind] = rest
            if kind == "TYPE":
                own = {name, *(name + suffix for suffix in SUFFIXES[rest])}
                check(not own & names, f"two families have samples of one name: {own & names}")
                names |= own
            continue
        sample = SAMPLE.fullmatch(line)
        check(sample, f"no sample: {line}")
        name, labels, value = sample[1], labels_of(sample[2]), number(sample[sample.re.groups])
        check(name[len(family["name"]):] in SUFFIXES[family["TYPE"]], f"a foreign sample: {line}")
        check(name.startswith(family["name"]), f"a foreign sample: {line}")
        identity = (name, tuple(sorted(labels.items())))
        check(identity not in seen, f"a series twice: {line}")
        seen.add(identity)
        family["samples"].append([name, labels, value])
    for family in families:
        if family["TYPE"] == "histogram":
            check_histogram(family)
    return families


text = sys.stdin.buffer.read().decode()
families = read(text)
try:
    from prometheus_client.openmetrics.parser import text_string_to_metric_families
except ImportError:
    pass
else:
    theirs = [
        [family.name, family.type, [[sample.name, sample.labels, sample.value] for sample in family.samples]]
        for family in text_string_to_metric_families(text)
    ]
    assert theirs == [[family["name"], family["TYPE"], family["samples"]] for family in families]
print(json.dumps(families))
