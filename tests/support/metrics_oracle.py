"""What an aggregator has to fold out of a stream, told by somebody else.

    metrics_oracle.py STREAM      prints families by name, their series in order of labels
"""

import bisect
import collections
import json
import math
import sys

BOUNDS = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10]


def histogram(values):
    ordered = sorted(values)
    buckets = [{"le": float(bound), "count": bisect.bisect_right(ordered, bound)} for bound in BOUNDS]
    return {"buckets": buckets, "count": len(values), "sum": total(values)}


def summary(values):
    ordered = sorted(values)
    told = {f"p{q}": ordered[math.ceil(len(ordered) * q / 100) - 1] for q in (50, 90, 99)}
    return {"count": len(values), "sum": total(values), "min": ordered[0], "max": ordered[-1], **told}


def total(values):
    # In order, and rounded each time, as whoever adds them one by one; newer Pythons' sum() rounds once.
    result = 0.0
    for value in values:
        result += value
    return result


with open(sys.argv[1], encoding="utf-8") as stream:
    events = [json.loads(line) for line in stream]
counts, last, gaps, all_gaps = collections.Counter(), {}, collections.defaultdict(list), []
for before, event in zip([None] + events, events):
    name = event["event_type"]
    counts[name] += 1
    last[name] = event["timestamp"]
    if before:
        gap = event["timestamp"] - before["timestamp"]
        gaps[name].append(gap)
        all_gaps.append(gap)


def labelled(by_type):
    return [{"labels": {"type": name}, "value": value} for name, value in sorted(by_type.items())]


families = {
    "events": labelled({name: float(count) for name, count in counts.items()}),
    "last_seen": labelled(last),
    "gap_seconds": labelled({name: histogram(values) for name, values in gaps.items()}),
    "gap": [{"labels": {}, "value": summary(all_gaps)}],
}
print(json.dumps({"families": families, "updates": 2 * len(events) + 2 * len(all_gaps)}))
