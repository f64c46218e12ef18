//! `dispatch`, as its users meet it: the real program, with an oracle in Python that knows nothing of this crate.
#![cfg(feature = "cli")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "in a test a panic is the report")]

#[path = "support/command.rs"]
#[allow(dead_code, reason = "each test binary uses its part")]
mod command;

use command::{Running, Scratch, command, data, event_of, run};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fs;
use std::hash::{BuildHasher, RandomState};
use std::io::{Read, Write};
use std::process::Command;

const LINE_BYTES_MAX: usize = 1 << 20;
const GOOD: &str = r#"{"event_type":"my.own","source":"s"}"#;
/// Its type has a schema, which asks for two properties.
const MISFIT: &str = r#"{"event_type":"build.start","source":"s","data":{}}"#;

fn python(args: &[&str]) -> Vec<u8> {
    let oracle = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/dispatch_oracle.py");
    let ran = Command::new("python3").arg(oracle).args(args).output().expect("python3 is on the machine");
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    ran.stdout
}

/// Runs a stream and has the oracle count it and compare every printed event.
#[track_caller]
fn agrees_with_the_oracle(file: &str, globs: &[&str], more: &[&str]) {
    let scratch = Scratch::new();
    let mut args = vec!["dispatch", file, "--summary", "json"];
    args.extend(globs.iter().flat_map(|glob| ["--on", glob]));
    args.extend(more);
    let ran = run(&args, b"");
    let printed = scratch.write("printed", &ran.stdout);
    let expected: Value =
        serde_json::from_slice(&python(&[&["judge", file, &printed], globs].concat())).unwrap();
    let summary = ran.last_json();
    for key in ["read", "published", "rejected", "deliveries"] {
        assert_eq!(summary[key], expected[key], "{key}");
    }
    let reported: Vec<u64> = ran.stderr.lines().map(|line| line_number(line, file)).collect();
    assert_eq!(json!(reported), expected["rejected_lines"]);
    assert_eq!(ran.code, Some(i32::from(summary["rejected"] != 0)));
}

#[track_caller]
fn line_number(report: &str, file: &str) -> u64 {
    let rest = report.strip_prefix(file).and_then(|rest| rest.strip_prefix(':'));
    let number = rest.and_then(|rest| rest.split_once(": ")).map(|(number, _)| number);
    number.unwrap_or_else(|| panic!("not FILE:LINE: reason: {report}")).parse().unwrap()
}

#[test]
fn real_streams_are_counted_and_printed_as_python_does() {
    agrees_with_the_oracle(&data("build.ndjson"), &["build.*", "*.complete"], &[]);
    agrees_with_the_oracle(
        &data("packages.ndjson"),
        &["package.status.*", "*", "*.upgrade", "[!a-p]*", "package.?????", "p*e*-*d", ""],
        &[],
    );
}

#[test]
fn queued_or_not_the_counts_are_the_same_and_each_key_keeps_its_order() {
    let file = data("packages.ndjson");
    let args =
        |more: &[&'static str]| [&["dispatch", &file, "--on", "*", "--summary", "json"], more].concat();
    let inline = run(&args(&[]), b"");
    let key_of = |event: &Value, key: &str| event[key].as_str().unwrap_or("").to_owned();
    let by_key = |ran: &command::Ran, key: &str| {
        let mut heard: std::collections::BTreeMap<String, Vec<String>> = Default::default();
        for line in ran.stdout.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            let event: Value = serde_json::from_slice(line).unwrap();
            if event.get("read").is_none() {
                heard.entry(key_of(&event, key)).or_default().push(event.to_string());
            }
        }
        heard
    };
    let keys = [("source", "source"), ("correlation", "correlation_id"), ("type", "event_type")];
    for (key, field) in keys {
        let queued = run(&args(&["--queued", "--workers", "3", "--order-key", key]), b"");
        assert_eq!(queued.code, Some(0));
        for count in ["read", "published", "rejected", "deliveries", "failures", "dead_letters"] {
            assert_eq!(queued.last_json()[count], inline.last_json()[count], "{count}");
        }
        assert_eq!(by_key(&queued, field), by_key(&inline, field), "in the order of each {key}");
    }
}

#[test]
fn hostile_streams_are_counted_and_printed_as_python_does() {
    let scratch = Scratch::new();
    for seed in [1, 2, RandomState::new().hash_one(0)] {
        println!("seed {seed}");
        let stream = scratch.write("stream", python(&["generate", &seed.to_string(), "2000"]));
        let globs = ["*", "x[[]1]*", "*.start", "日本語*", "?", "*ü*", "[!a-c]*", "**", "it's*", "🦀.*"];
        agrees_with_the_oracle(&stream, &globs, &["--validate", "off"]);
    }
}

#[test]
fn the_summary_is_one_object_whose_keys_are_in_order() {
    let input = format!("{GOOD}\nnope\n\n{MISFIT}\n");
    let args =
        ["dispatch", "--on", "z*", "--on", "my.*", "--on", "z*", "--on", "*", "--summary", "json", "--quiet"];
    let ran = run(&args, input.as_bytes());
    let expected = r#"{"read":3,"published":1,"rejected":2,"deliveries":{"z*":0,"my.*":1,"*":1},"failures":0,"dead_letters":1,"elapsed_s":"#;
    assert!(ran.text().starts_with(expected), "{}", ran.text());
    assert_eq!(ran.text().lines().count(), 1);
    let summary = ran.last_json();
    assert!(summary["elapsed_s"].is_f64() && summary["events_per_s"].is_f64());
    assert_eq!(ran.code, Some(1));

    let ran = run(&["dispatch", "--on", "my.*"], input.as_bytes());
    assert_eq!(ran.text().lines().count(), 1);
    assert!(ran.stderr.contains("dead letters             1"), "{}", ran.stderr);
}

#[test]
fn validation_is_as_strict_as_asked() {
    let input = format!("{GOOD}\n{MISFIT}\n{}", fs::read_to_string(data("build.ndjson")).unwrap());
    for (mode, rejected, letters) in [("typed", 1, 1), ("off", 0, 0)] {
        let args = ["dispatch", "-", "--validate", mode, "--summary", "json"];
        let summary = run(&args, input.as_bytes()).last_json();
        let counts =
            [&summary["rejected"], &summary["dead_letters"], &summary["published"]].map(Value::as_u64);
        assert_eq!(counts, [Some(rejected), Some(letters), Some(153 - rejected)], "{mode}");
    }
    let types = run(&["types", "--json"], b"").last_json();
    let with_schema: BTreeSet<&str> = types
        .as_object()
        .unwrap()
        .values()
        .flat_map(|types| types.as_array().unwrap())
        .filter(|listed| listed["has_schema"] == true)
        .map(|listed| listed["event_type"].as_str().unwrap())
        .collect();
    let published = input.lines().skip(2).filter(|line| {
        let event: Value = serde_json::from_str(line).unwrap();
        with_schema.contains(event["event_type"].as_str().unwrap())
    });
    let args = ["dispatch", "--validate", "all", "--summary", "json", "--quiet"];
    assert_eq!(run(&args, input.as_bytes()).last_json()["published"], published.count());
}

#[test]
fn endings_marks_and_blank_lines_change_nothing() {
    let lines = [GOOD, "", " \t ", GOOD, "nope"];
    for (mark, ending, last) in
        [("", "\n", "\n"), ("\u{feff}", "\r\n", ""), ("", "\n", "\r"), ("\u{feff}", "\n", "")]
    {
        let input = format!("{mark}{}{last}", lines.join(ending));
        let ran = run(&["dispatch", "--summary", "json"], input.as_bytes());
        let summary = ran.last_json();
        assert_eq!([&summary["read"], &summary["rejected"]], [3, 1], "{input:?}");
        assert!(ran.stderr.starts_with("-:5: "), "{}", ran.stderr);
    }
    let ran = run(&["dispatch", "--summary", "json"], b"");
    assert_eq!((ran.code, &ran.last_json()["read"]), (Some(0), &json!(0)));
    assert_eq!(ran.stderr, "");
}

#[test]
fn rejected_lines_are_kept_whole() {
    let scratch = Scratch::new();
    let letters =
        scratch.write("letters", "what was there before, and is long enough to be seen\n".repeat(9));
    let mut input = format!("\n{MISFIT}\r\nnope \"é\"\n").into_bytes();
    input.extend_from_slice(b"{\"a\":\"\xff\"}\n");
    input.extend_from_slice(GOOD.as_bytes());
    let ran = run(&["dispatch", "--dead-letters", &letters], &input);
    assert_eq!(ran.code, Some(1));
    let kept = fs::read_to_string(&letters).unwrap();
    let kept: Vec<&str> = kept.lines().collect();
    assert_eq!(kept.len(), 3);
    assert!(kept[0].starts_with(r#"{"line":2,"error":"build.start: "#), "{}", kept[0]);
    let letter: Value = serde_json::from_str(kept[0]).unwrap();
    assert_eq!((&letter["raw"], letter["pointers"].as_array().unwrap().len()), (&json!(MISFIT), 2));
    assert!(
        kept[0].find("pointers") < kept[0].find("raw") && kept[0].find("error") < kept[0].find("pointers")
    );
    let letter: Value = serde_json::from_str(kept[1]).unwrap();
    assert_eq!(
        (&letter["line"], &letter["raw"], &letter["pointers"]),
        (&json!(3), &json!("nope \"é\""), &json!([]))
    );
    let letter: Value = serde_json::from_str(kept[2]).unwrap();
    assert_eq!((&letter["raw_base64"], letter.get("raw")), (&json!("eyJhIjoi/yJ9"), None));
    assert_eq!(letter.get("truncated"), None);
}

#[test]
fn a_line_may_have_a_mebibyte() {
    let scratch = Scratch::new();
    let letters = scratch.path("letters");
    for (bytes, ending, rejected) in [
        (LINE_BYTES_MAX - 1, "\n", 0),
        (LINE_BYTES_MAX, "\n", 0),
        (LINE_BYTES_MAX, "\r\n", 0),
        (LINE_BYTES_MAX, "", 0),
        (LINE_BYTES_MAX + 1, "\n", 1),
        (LINE_BYTES_MAX + 1, "\r\n", 1),
        (3 * LINE_BYTES_MAX, "", 1),
    ] {
        let input = format!("{GOOD}\n{}{ending}", event_of(bytes));
        let args = ["dispatch", "--summary", "json", "--on", "*", "--dead-letters", &letters];
        let ran = run(&args, input.as_bytes());
        assert_eq!(ran.last_json()["rejected"], rejected, "{bytes} {ending:?}");
        assert_eq!(ran.text().lines().count(), 3 - rejected);
        let kept = fs::read_to_string(&letters).unwrap();
        assert_eq!(kept.lines().count(), rejected);
        for line in kept.lines() {
            let letter: Value = serde_json::from_str(line).unwrap();
            assert_eq!((&letter["line"], &letter["truncated"]), (&json!(2), &json!(true)));
            assert_eq!(letter["raw"].as_str().unwrap(), &event_of(bytes)[..LINE_BYTES_MAX]);
        }
    }
}

#[test]
fn a_cut_line_is_cut_between_characters_if_it_is_text() {
    let scratch = Scratch::new();
    let letters = scratch.path("letters");
    let text = format!("x{}", "é".repeat(LINE_BYTES_MAX));
    run(&["dispatch", "--dead-letters", &letters], text.as_bytes());
    let letter: Value = serde_json::from_slice(&fs::read(&letters).unwrap()).unwrap();
    assert_eq!(letter["raw"].as_str().unwrap().len(), LINE_BYTES_MAX - 1);

    run(&["dispatch", "--dead-letters", &letters], &vec![0xff; 2 * LINE_BYTES_MAX]);
    let letter: Value = serde_json::from_slice(&fs::read(&letters).unwrap()).unwrap();
    assert_eq!(letter["raw_base64"].as_str().unwrap().len(), LINE_BYTES_MAX.div_ceil(3) * 4);
    assert_eq!((letter.get("raw"), &letter["truncated"]), (None, &json!(true)));
}

#[test]
fn memory_is_flat_whatever_comes() {
    let mut running = Running::start(command(&["dispatch", "--quiet", "--summary", "json", "--on", "*"]));
    let mut stdin = running.stdin.take().unwrap();
    let mut stdout = running.stdout.take().unwrap();
    let mebibyte = vec![b'x'; 1 << 20];
    for _ in 0..120 {
        stdin.write_all(&mebibyte).unwrap();
    }
    for _ in 0..80 {
        stdin.write_all(format!("\n{}", event_of(LINE_BYTES_MAX)).as_bytes()).unwrap();
    }
    stdin.write_all(b"\n").unwrap();
    // All but what is in the pipe and the buffers has been worked on, and the high-water mark is of all of it.
    let status = fs::read_to_string(format!("/proc/{}/status", running.pid())).unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    let peak_kib: u64 = peak.trim().trim_end_matches(" kB").parse().unwrap();
    drop(stdin);
    let mut summary = String::new();
    stdout.read_to_string(&mut summary).unwrap();
    assert_eq!(running.wait().code(), Some(1));
    let summary: Value = serde_json::from_str(&summary).unwrap();
    assert_eq!([&summary["read"], &summary["rejected"]], [81, 1]);
    assert!(peak_kib < 48 << 10, "{peak_kib} KiB");
}

#[test]
fn reports_cannot_write_on_the_terminal() {
    let scratch = Scratch::new();
    let wrong = r#"{"event_type":"build.start","source":"s","data":{"build_type":["\u009b31m\u202e\u007f\u001b[2J"],"target":"t"}}"#;
    let file =
        scratch.write("a\n\u{1b}[2Jb", format!("{wrong}\n{}", wrong.replace("31m", &"31m".repeat(9_999))));
    let ran = run(&["dispatch", &file, "--summary", "json", "--validate", "typed"], b"");
    assert_eq!(ran.last_json()["rejected"], 2);
    let lines: Vec<&str> = ran.stderr.lines().collect();
    assert_eq!(lines.len(), 2, "{lines:?}");
    for line in lines {
        assert!(line.contains("a\\n\\u{1b}[2Jb:") && line.len() < 9_000);
        assert!(!line.contains(|c: char| c.is_control() || c == '\u{202e}'), "{line:?}");
    }
}

#[test]
fn help_teaches() {
    for (args, taught) in [
        (&["--help"][..], "validate events.ndjson --schema"),
        (&["dispatch", "--help"], "tail -f events.ndjson | codomyrmex-events dispatch"),
        (&["validate", "--help"], "order.placed=order.schema.json"),
        (&["match", "--help"], "codomyrmex-events match --on 'build.*'"),
        (&["types", "--help"], "jq"),
    ] {
        let ran = run(args, b"");
        assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""), "{args:?}");
        assert!(ran.text().contains(taught), "{args:?}: {}", ran.text());
    }
}
