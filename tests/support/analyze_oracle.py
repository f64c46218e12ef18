"""What `analyze --json` has to say, told by somebody else: written from the rules in the documentation of `Analyzer`.

    analyze_oracle.py generate SEED LINES        writes a stream: out of order, of same times, nested, unpaired
    analyze_oracle.py judge STREAM PRINTED WINDOW_MS|auto GLOB...
                                                 compares what was printed, and tells what differs
    analyze_oracle.py xml FILE                   parses a picture, and tells its texts, a line each
"""

import datetime
import decimal
import fnmatch
import json
import math
import random
import re
import sys
import xml.etree.ElementTree

SERIES, ERRORS, KINDS, KEPT = 1024, 1024, 256, 100
OPEN, ENDS, ALIKE = 16384, 4096, 1024
LENGTHS_MS = [1, 5, 10, 50, 100, 500, 1000, 5000, 10000, 30000, 60000, 300000, 600000, 1800000, 3600000, 21600000, 43200000, 86400000]


def rfc3339(ns):
    whole, fraction = divmod(ns, 10**9)
    text = (datetime.datetime(1970, 1, 1) + datetime.timedelta(seconds=whole)).strftime("%Y-%m-%dT%H:%M:%S")
    return text + (f".{fraction:09}".rstrip("0") if fraction else "") + "Z"


def nanos(event):
    return int((decimal.Decimal(event["timestamp"]) * 10**9).to_integral_value())


# Rates.

def window_length(times, asked):
    length, most = (10**6, 60) if asked == "auto" else (int(asked) * 10**6, 256)
    while len({at // length for at in times}) > most:
        ms = length // 10**6
        at = LENGTHS_MS.index(ms) if length % 10**6 == 0 and ms in LENGTHS_MS else len(LENGTHS_MS)
        length = LENGTHS_MS[at + 1] * 10**6 if at + 1 < len(LENGTHS_MS) else length * 2
    return length


def rates(events, fields, length, windows):
    kept, others = {}, [0, {}]
    for event in events:
        key = tuple(event[field] for field in fields)
        series = kept[key] if key in kept else kept.setdefault(key, [0, {}]) if len(kept) < SERIES else others
        series[0] += 1
        window = event["at"] // length
        series[1][window] = series[1].get(window, 0) + 1
    row = lambda key, series: {**dict(zip(fields, key)), "events": series[0], "counts": [series[1].get(w, 0) for w in windows]}
    rows = [row(key, series) for key, series in sorted(kept.items(), key=lambda item: (-item[1][0], item[0]))]
    return {"kept": rows, "others": row((), others)}


def jumps(tables, length, windows):
    found = []
    for row in (row for table in tables for row in table["kept"]):
        counts = dict(zip(windows, row["counts"]))
        for window in sorted({w for at in windows for w in (at, at + 1)}):
            if not windows[0] < window <= windows[-1]:
                continue
            before, after = counts.get(window - 1, 0), counts.get(window, 0)
            is_cut = (after > before and window == windows[0] + 1) or (after < before and window == windows[-1])
            if not is_cut and max(before, after) >= 20 and max(before, after) >= 3 * min(before, after):
                name = {key: row[key] for key in ("event_type", "source") if key in row}
                found.append({**name, "window": window * length, "before": before, "after": after})
    found.sort(key=lambda j: (-abs(j["before"] - j["after"]), j["window"], j.get("event_type", ""), j.get("source", "")))
    return {"total": len(found), "kept": [{**jump, "window": rfc3339(jump["window"])} for jump in found[:KEPT]]}


# Errors.

def text(value, most=512):
    return value.encode()[:most].decode(errors="ignore")


def template(message):
    uuid = r"[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}(?![0-9A-Za-z])"
    hexadecimal = r"(?=[0-9a-fA-F]*[0-9])[0-9a-fA-F]{8,}(?![0-9A-Za-z])"
    number = r"[0-9]+(?![0-9A-Za-z])"
    return re.sub(rf"(?<![0-9A-Za-z])(?:{uuid}|{hexadecimal}|0x[0-9a-fA-F]+(?![0-9A-Za-z])|{number})", "#", message)


def is_error(event):
    last = event["event_type"].rsplit(".", 1)[-1]
    if event["event_type"] == "custom":
        return event["fields"].get("phase") in ("start", "end") and event["fields"].get("success") is False
    ended_badly = last in ("complete", "completed") and event["fields"].get("success") is False
    return last in ("error", "failed", "retrying") or ended_badly


def errors(events):
    kept, total, others = {}, 0, 0
    for event in filter(is_error, events):
        total += 1
        fields, message = event["fields"], ""
        for name in ("error_message", "error", "message", "reason"):
            value = fields.get(name)
            value = value.get("message") if isinstance(value, dict) else value
            if isinstance(value, str):
                message = text(value)
                break
        kind = fields.get("error_type")
        key = (event["event_type"], text(kind) if isinstance(kind, str) else "", template(message))
        if key not in kept and len(kept) == ERRORS:
            others += 1
            continue
        seen = kept.setdefault(key, {"example": message, "events": 0, "first": event["at"], "last": event["at"]})
        seen["events"] += 1
        seen["first"], seen["last"] = min(seen["first"], event["at"]), max(seen["last"], event["at"])
    rows = [
        {"event_type": key[0], "error_type": key[1], "message": key[2], "example": seen["example"], "events": seen["events"],
         "first": rfc3339(seen["first"]), "last": rfc3339(seen["last"])}
        for key, seen in sorted(kept.items(), key=lambda item: (-item[1]["events"], item[0]))
    ]
    return {"total": total, "kept": rows, "others": others}


# Operations.

def phase(event):
    """(is it a start, what its end has in common with it, what it is called, whether it failed)"""
    fields = event["fields"]
    if event["event_type"] == "custom":
        name = fields.get("operation")
        name = text(name) if isinstance(name, str) else "custom"
        told = fields.get("phase")
        return (told == "start", "custom", name, fields.get("success") is False) if told in ("start", "end") else None
    stem, _, last = event["event_type"].rpartition(".")
    if not stem or last not in ("start", "started", "complete", "completed", "error", "failed"):
        return None
    return last in ("start", "started"), stem, stem, last in ("error", "failed") or fields.get("success") is False


def names(event):
    is_name = lambda field: field in ("id", "name", "target", "operation") or field.endswith(("_id", "_name"))
    is_plain = lambda value: isinstance(value, (str, int, decimal.Decimal)) and not isinstance(value, bool)
    found = sorted((field, value) for field, value in event["fields"].items() if is_name(field) and is_plain(value))
    return dict(found[:8])


def closeness(start, end):
    if end.get("causation_id") == start["event_id"]:
        return 1
    ours, theirs = names(start), names(end)
    return None if any(field in theirs and theirs[field] != ours[field] for field in ours) else 0


def operations(events):
    kinds, other_starts, lone, other_ends = {}, 0, {}, 0
    starts, ends = [], []  # Those that wait, in order of arrival: (key, arrival, event, ...)

    def is_alone(stem):
        nonlocal other_ends
        if stem in lone or len(lone) < KINDS:
            lone[stem] = lone.get(stem, 0) + 1
        else:
            other_ends += 1

    def pair(start, end, failed):
        kinds[start[3]]["failed"] += failed
        kinds[start[3]]["times"].append(end["at"] - start[2]["at"])

    def wait(waiting, item, most):
        waiting.append(item)
        alike = [other for other in waiting if other[0] == item[0]]
        gone = alike[0] if len(alike) > ALIKE else waiting[0] if len(waiting) > most else None
        if gone:
            waiting.remove(gone)
        return gone

    for arrival, event in enumerate(events):
        told = phase(event)
        if told is None:
            continue
        is_start, stem, name, failed = told
        key = (stem, event["correlation_id"]) if event.get("correlation_id") is not None else None
        if is_start:
            if name not in kinds and len(kinds) == KINDS:
                other_starts += 1
                continue
            kind = kinds.setdefault(name, {"starts": 0, "failed": 0, "let_go": 0, "uncorrelated": 0, "times": []})
            kind["starts"] += 1
            if key is None:
                kind["uncorrelated"] += 1
                continue
            start = (key, arrival, event, name)
            fits = [end for end in ends if end[0] == key and event["at"] < end[2]["at"] and closeness(event, end[2]) is not None]
            if fits:
                end = max(fits, key=lambda end: (closeness(event, end[2]), -end[2]["at"], -end[1]))
                ends.remove(end)
                pair(start, end[2], end[3])
            elif gone := wait(starts, start, OPEN):
                kinds[gone[3]]["let_go"] += 1
        elif key is None:
            is_alone(stem)
        else:
            fits = [s for s in starts if s[0] == key and s[2]["at"] <= event["at"] and closeness(s[2], event) is not None]
            if fits:
                start = max(fits, key=lambda s: (closeness(s[2], event), s[2]["at"], s[1]))
                starts.remove(start)
                pair(start, event, failed)
            elif gone := wait(ends, (key, arrival, event, failed), ENDS):
                is_alone(gone[0][0])
    for end in ends:
        is_alone(end[0][0])
    other_ends += sum(count for stem, count in lone.items() if stem not in kinds)

    rows = []
    for name, kind in sorted(kinds.items(), key=lambda item: (-item[1]["starts"], item[0])):
        times = sorted(kind["times"])
        rank = lambda percent: times[math.ceil(len(times) * percent / 100) - 1] if times else 0
        rows.append({
            "operation": name, "starts": kind["starts"], "completed": len(times), "failed": kind["failed"],
            "open": sum(start[3] == name for start in starts), "let_go": kind["let_go"],
            "uncorrelated": kind["uncorrelated"], "ends_alone": lone.get(name, 0), "p50_ns": rank(50), "p99_ns": rank(99),
            "mean_ns": sum(times) // len(times) if times else 0, "max_ns": times[-1] if times else 0,
            "is_exact": len(times) <= 1024,
        })
    latest = max((event["at"] for event in events), default=0)
    starts.sort(key=lambda start: (start[2]["at"], start[1]))
    never = [
        {"operation": start[3], "correlation_id": start[0][1], "event_id": start[2]["event_id"], "source": start[2]["source"],
         "since": rfc3339(start[2]["at"]), "age_ns": latest - start[2]["at"]}
        for start in starts[:KEPT]
    ]
    let_go = sum(kind["let_go"] for kind in kinds.values())
    others = {"starts": other_starts, "ends": other_ends}
    return {"kept": rows, "others": others}, {"total": len(starts), "let_go": let_go, "kept": never}


def analyzed(stream, asked, globs):
    events = []
    for line in open(stream, "rb"):
        event = json.loads(line, parse_float=decimal.Decimal)
        if not globs or any(fnmatch.fnmatchcase(event["event_type"], glob) for glob in globs):
            event["at"] = nanos(event)
            event["fields"] = event["data"] if isinstance(event.get("data"), dict) else {}
            events.append(event)
    times = [event["at"] for event in events]
    length = window_length(times, asked)
    windows = sorted({at // length for at in times})
    by_type, by_source = (rates(events, [field], length, windows) for field in ("event_type", "source"))
    kinds, never = operations(events)
    return {
        "events": len(events),
        "first": rfc3339(min(times)) if times else None,
        "last": rfc3339(max(times)) if times else None,
        "window_ns": length,
        "windows": [rfc3339(window * length) for window in windows],
        "types": by_type,
        "sources": by_source,
        "pairs": rates(events, ["event_type", "source"], length, windows),
        "errors": errors(events),
        "operations": kinds,
        "never_completed": never,
        "jumps": jumps([by_type, by_source], length, windows) if windows else {"total": 0, "kept": []},
    }


def differences(expected, told, path=""):
    if path.endswith(("/p50_ns", "/p99_ns")):
        # With is_exact this is checked once more, without tolerance.
        return [] if abs(expected - told) * 100 <= expected else [f"{path}: {told} for {expected}"]
    if isinstance(expected, dict) and isinstance(told, dict) and expected.keys() == told.keys():
        exact = [f"{path}: {told} for {expected}"] if expected.get("is_exact") and expected != told else []
        return exact + [d for key in expected for d in differences(expected[key], told[key], f"{path}/{key}")]
    if isinstance(expected, list) and isinstance(told, list) and len(expected) == len(told):
        return [d for at, pair in enumerate(zip(expected, told)) for d in differences(*pair, f"{path}/{at}")]
    return [] if expected == told else [f"{path}: {told} for {expected}"]


# A stream.

MESSAGES = ["no disk", "timeout after {} ms", "host 10.0.0.{} is gone", "error[E0308] at {}", "id 550e8400-e29b-41d4-a716-44665544{:04}",
            "at 0x{:x}f", "order-{}, deadbee{}", "日本 {} 語", "x86_64 v2", ""]


def fields(rng, last):
    told = {}
    if rng.random() < 0.4:
        told["task_name"] = rng.choice("ab")
    if rng.random() < 0.2:
        told[rng.choice(["id", "target", "build_id", "operation", "worker"])] = rng.choice(["a", "b", 1, 1.5, None, True])
    if last in ("complete", "completed", "end") and rng.random() < 0.4:
        told["success"] = rng.choice([True, False, "false", 0])
    if last in ("error", "failed", "retrying") or told.get("success") is False:
        number = rng.randrange(100)
        message = rng.choice(MESSAGES).format(*[number] * 2)
        told[rng.choice(["error_message", "error", "message", "reason", "elsewhere"])] = rng.choice([message, message, {"message": message}, 7])
        if rng.random() < 0.3:
            told["error_type"] = rng.choice(["Io", "日本", 5])
    return rng.choice([None, 3, "text", [1]]) if rng.random() < 0.05 else told


def generate(seed, lines):
    rng = random.Random(seed)
    lasts = ["start", "started", "complete", "completed", "error", "failed", "retrying", "progress"]
    now, ids = 1763810000, []
    for number in range(lines):
        now += rng.choice([0, 0, 0.001, 0.5, 3]) if rng.random() < 0.999 else rng.choice([7200, 10**6])
        last = rng.choice(lasts)
        name = rng.choice(["build", "task", "my.own", "a b"]) + "." + last
        name = rng.choice([name] * 8 + ["custom", "error", "started", "metric.update"])
        told = fields(rng, last)
        if name == "custom" and isinstance(told, dict):
            told["phase"] = rng.choice(["start", "start", "end", "end", "progress", 1])
            if rng.random() < 0.7:
                told["operation"] = rng.choice(["deploy", "copy", 3])
        late = rng.choice([0] * 6 + [0.5, 2, 60, -1.25])
        event = {"event_type": name, "source": rng.choice(["ci", "日本"]), "event_id": f"id-{number}", "timestamp": round(now - late, 3), "data": told}
        if rng.random() < 0.9:
            event["correlation_id"] = f"c-{rng.randrange(6)}"
        if ids and rng.random() < 0.2:
            event["causation_id"] = rng.choice(ids[-20:])
        ids.append(event["event_id"])
        print(json.dumps(event))


def main():
    command, *args = sys.argv[1:]
    if command == "generate":
        generate(int(args[0]), int(args[1]))
    elif command == "xml":
        root = xml.etree.ElementTree.parse(args[0]).getroot()
        assert root.tag == "{http://www.w3.org/2000/svg}svg", root.tag
        allowed = {"svg", "title", "style", "rect", "line", "circle", "polygon", "text"}
        for element in root.iter():
            assert element.tag.split("}")[1] in allowed, element.tag
            if element.tag.endswith("}text"):
                print(element[-1].tail if len(element) else element.text)
    else:
        stream, printed, asked, *globs = args
        told = json.load(open(printed), parse_float=decimal.Decimal)
        found = differences(analyzed(stream, asked, globs), told)
        print("\n".join(found[:20]))


decimal.getcontext().prec = 60
sys.stdout.reconfigure(encoding="utf-8")
main()
