"""What `dispatch --validate off` has to count and print, told by somebody else.

    dispatch_oracle.py generate SEED LINES     writes a stream of good, odd and bad lines
    dispatch_oracle.py judge STREAM PRINTED GLOB...
                                               compares what was printed, and tells the counts as JSON
"""

import fnmatch
import json
import math
import random
import sys

LINE_BYTES_MAX = 1 << 20
WORDS = ["build", "deploy", "complete", "start", "order", "日本語", "ünï", "a", "", "x[1]", "*", "it's", "🦀"]
STANDARD = ["build.start", "build.complete", "system.error", "custom", "task.retrying", "security.scan_complete"]
PRIORITIES = ["debug", "info", "normal", "warning", "error", "critical", "monitoring", 0, 1, 2, None]


def text(rng, most=12):
    return "".join(rng.choice("abc é日🦀\\\"/\n\t\u0001\u2028%{}") for _ in range(rng.randrange(most)))


def value(rng, depth=0):
    kind = rng.randrange(8 if depth < 4 else 6)
    if kind == 6:
        return [value(rng, depth + 1) for _ in range(rng.randrange(4))]
    if kind == 7:
        return {text(rng, 6): value(rng, depth + 1) for _ in range(rng.randrange(4))}
    return [None, True, rng.randrange(-(10**15), 10**15), rng.uniform(-1e6, 1e6), text(rng), "x" * rng.randrange(99)][kind]


def name(rng):
    if rng.random() < 0.3:
        return rng.choice(STANDARD)
    return ".".join(rng.choice(WORDS) for _ in range(rng.randrange(1, 4))) or "empty"


def native(rng, number):
    event = {"event_type": name(rng), "source": rng.choice(["ci", "日本", "a b"]), "event_id": f"id-{number}"}
    optional = {
        "timestamp": rng.choice([None, 0, 1763810000, 1763810000.25, -2.5e9]),
        "correlation_id": rng.choice([None, "corr", "ü"]),
        "causation_id": rng.choice([None, "cause"]),
        "data": value(rng),
        "metadata": rng.choice([None, {}, {"k": value(rng)}]),
        "priority": rng.choice(PRIORITIES),
        "sequence": number,
        "unknown": value(rng),
    }
    event.update({key: optional[key] for key in optional if rng.random() < 0.6})
    items = list(event.items())
    rng.shuffle(items)
    return dict(items)


def cloud(rng, number):
    event = {"specversion": "1.0", "type": name(rng), "source": "/cloud", "id": f"id-{number}", "data": value(rng)}
    if rng.random() < 0.5:
        event["time"] = "2026-01-02T03:04:05.678Z"
    if rng.random() < 0.5:
        event["priority"] = "critical"
    return event


def bad(rng, number):
    good = json.dumps(native(rng, number))
    event = '{"event_type":"%s","source":"s","event_id":"bad","data":%s}'
    return rng.choice([
        good[: rng.randrange(1, len(good))].encode(),
        good.encode() + b" x",
        b"\xff\xfe" + good.encode(),
        b'{"event_type":"caf\xe9","source":"s"}',
        b"[]", b"null", b'"text"', b"{}", b"\x0c", "\u00a0".encode(),
        b'{"source":"s"}', b'{"event_type":"a"}', b'{"event_type":7,"source":"s"}',
        b'{"event_type":"a","source":"s","event_type":"b"}',
        b'{"event_type":"a","source":"s","priority":"urgent"}',
        b'{"event_type":"a","source":"s","metadata":[]}',
        b'{"event_type":"a","source":"s","timestamp":"soon"}',
        b'{"event_type":"a","source":"s","timestamp":"1763810000.125"}',
        (event % ("", "1")).encode(), (event % ("x" * 257, "1")).encode(), (event % ("a\\u0000", "1")).encode(),
        (event % ("a", "NaN")).encode(), (event % ("a", "1e999")).encode(), (event % ("a", '"\\ud800"')).encode(),
        (event % ("a", "[" * 128 + "]" * 128)).encode(), (event % ("a", "01")).encode(),
        b'{"specversion":"0.3","type":"a","source":"s","id":"1"}',
        b'{"specversion":"1.0","type":"a","source":"s","id":"1","data_base64":"aGk="}',
        (event % ("a", '"%s"' % ("x" * LINE_BYTES_MAX))).encode() if rng.random() < 0.05 else b"{",
    ])


def generate(seed, lines):
    rng = random.Random(seed)
    out = sys.stdout.buffer
    out.write(rng.choice([b"", b"\xef\xbb\xbf"]))
    for number in range(lines):
        kind = rng.random()
        if kind < 0.15:
            line = bad(rng, number)
        elif kind < 0.2:
            line = rng.choice([b"", b" ", b"\t \t", b"  " * 700])
        else:
            event = cloud(rng, number) if kind < 0.3 else native(rng, number)
            separators = rng.choice([(",", ":"), (", ", ": "), (" ,\t", " : ")])
            line = json.dumps(event, ensure_ascii=rng.random() < 0.5, separators=separators).encode()
            line = rng.choice([b"", b" \t"]) + line + rng.choice([b"", b" "])
        out.write(line + rng.choice([b"\n", b"\r\n"]))
    out.write(json.dumps(native(rng, lines)).encode())


class Bad(Exception):
    pass


def check(condition):
    if not condition:
        raise Bad


def no_constant(_):
    raise Bad


def finite(digits):
    check(math.isfinite(float(digits)))
    return float(digits)


def depth(tree):
    levels, level = 0, [tree]
    while level:
        levels += any(isinstance(item, (dict, list)) for item in level)
        level = [child for item in level if isinstance(item, (dict, list))
                 for child in (item.values() if isinstance(item, dict) else item)]
    return levels


def named(item):
    check(isinstance(item, str) and 1 <= len(item.encode()) <= 256)
    check(not any(ord(c) < 32 or 127 <= ord(c) < 160 for c in item))
    return item


def read(line):
    """The event as it has to be printed, or Bad. Printed ids and times of its own making are not told."""
    try:
        decoded = line.decode()
        pairs = json.loads(decoded, parse_constant=no_constant, parse_float=finite, object_pairs_hook=lambda p: p)
        check(decoded.strip(" \t\r").startswith("{"))
        fields = json.loads(decoded, parse_float=finite)
        json.dumps(fields, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as error:
        raise Bad from error
    check(depth(fields) <= 128)
    cloud = fields.get("specversion") is not None
    known = ["event_type", "source", "event_id", "timestamp", "correlation_id", "causation_id", "data", "metadata", "priority"]
    names = [key for key, _ in pairs if cloud or key in known]
    check(len(names) == len(set(names)))
    if cloud:
        check(fields["specversion"] == "1.0" and fields.get("data_base64") is None)
        fields = {"event_type": fields.get("type"), "source": fields.get("source"), "event_id": fields.get("id"),
                  "data": fields.get("data"), "priority": fields.get("priority"),
                  "timestamp": 1767323045.678 if "time" in fields else None}
        check(fields["event_id"] is not None)
    event = {key: fields[key] for key in known if fields.get(key) is not None}
    named(event.get("event_type"))
    named(event.get("source"))
    for key in ["event_id", "correlation_id", "causation_id"]:
        if key in event:
            named(event[key])
    if "timestamp" in event:
        check(type(event["timestamp"]) in (int, float))
        event["timestamp"] = float(event["timestamp"])
    if "metadata" in event:
        check(isinstance(event["metadata"], dict))
        if not event["metadata"]:
            del event["metadata"]
    priority = event.get("priority", "normal")
    check(priority in PRIORITIES)
    event["priority"] = priority if isinstance(priority, str) else ["normal", "warning", "critical"][priority]
    return event


def judge(stream, printed, globs):
    sys.setrecursionlimit(10_000)
    with open(stream, "rb") as file:
        lines = file.read().removeprefix(b"\xef\xbb\xbf").split(b"\n")
    with open(printed, "rb") as file:
        printed = iter(file.read().decode().removesuffix("\n").split("\n"))
    counts = {"read": 0, "published": 0, "rejected": 0, "deliveries": {glob: 0 for glob in globs}, "rejected_lines": []}
    for number, line in enumerate(lines, 1):
        if not line.strip(b" \t\r"):
            continue
        counts["read"] += 1
        try:
            line = line.removesuffix(b"\r")
            check(len(line) <= LINE_BYTES_MAX)
            event = read(line)
        except Bad:
            counts["rejected"] += 1
            counts["rejected_lines"].append(number)
            continue
        counts["published"] += 1
        for glob in globs:
            if fnmatch.fnmatchcase(event["event_type"], glob):
                counts["deliveries"][glob] += 1
                found = json.loads(next(printed))
                for made in ["event_id", "timestamp"]:
                    if made not in event:
                        assert found.pop(made), (number, made)
                assert found == event, (number, glob, found, event)
    rest = list(printed)
    assert len(rest) == 1 and rest[0].startswith('{"read":'), rest[:3]
    print(json.dumps(counts))


if sys.argv[1] == "generate":
    generate(int(sys.argv[2]), int(sys.argv[3]))
else:
    judge(sys.argv[2], sys.argv[3], sys.argv[4:])
