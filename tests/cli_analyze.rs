//! `analyze`, as its users meet it; and against an oracle that was written from its documentation.
#![cfg(feature = "cli")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "in a test a panic is the report")]

#[path = "support/command.rs"]
#[allow(dead_code, reason = "each test binary uses its part")]
mod command;

use command::{Running, Scratch, command, data, run};
use serde_json::{Value, json};
use std::fs;
use std::hash::{BuildHasher, RandomState};
use std::io::{Read, Write};
use std::path::Path;
use std::process::Command;

#[track_caller]
fn python(args: &[&str]) -> Vec<u8> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support/analyze_oracle.py");
    let ran = Command::new("python3").arg(script).args(args).output().expect("Python 3 is installed");
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    ran.stdout
}

/// Analyzes a file, with a window in milliseconds or an automatic one, as the oracle does.
#[track_caller]
fn agrees_with_the_oracle(file: &str, window: &str, globs: &[&str]) -> Value {
    let scratch = Scratch::new();
    let length = format!("{window}ms");
    let mut args = vec!["analyze", file, "--json"];
    if window != "auto" {
        args.extend(["--window", &length]);
    }
    args.extend(globs.iter().flat_map(|glob| ["--on", glob]));
    let ran = run(&args, b"");
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""), "quiet in a pipe");
    let printed = scratch.write("printed", &ran.stdout);
    let differences = python(&[&["judge", file, &printed, window], globs].concat());
    assert_eq!(String::from_utf8_lossy(&differences).trim(), "", "{file} {window}");
    ran.last_json()
}

#[test]
fn real_streams_are_analyzed_as_python_does() {
    for window in ["auto", "1", "700", "60000"] {
        let build = agrees_with_the_oracle(&data("build.ndjson"), window, &[]);
        assert_eq!(build["operations"]["kept"][0]["p50_ns"], 20_550_000_000_u64);
        agrees_with_the_oracle(&data("packages.ndjson"), window, &[]);
    }
    agrees_with_the_oracle(&data("packages.ndjson"), "auto", &["package.status.*", "*.upgrade"]);
    let jumps = agrees_with_the_oracle(&data("packages.ndjson"), "5000", &["*"]);
    assert!(jumps["jumps"]["total"].as_u64() > Some(100));
}

#[test]
fn streams_out_of_order_nested_and_torn_are_analyzed_as_python_does() {
    let scratch = Scratch::new();
    let mut paired = 0;
    for seed in [1, 2, RandomState::new().hash_one(0)] {
        println!("seed {seed}");
        let stream = scratch.write("stream", python(&["generate", &seed.to_string(), "3000"]));
        let told = agrees_with_the_oracle(&stream, "auto", &[]);
        let kinds = told["operations"]["kept"].as_array().unwrap();
        paired += kinds.iter().filter_map(|kind| kind["completed"].as_u64()).sum::<u64>();
        agrees_with_the_oracle(&stream, "1500", &["*.start*", "*.compl*", "cust*"]);
    }
    assert!(paired > 100, "{paired}");
}

#[test]
fn many_operations_are_told_to_within_a_percent() {
    let scratch = Scratch::new();
    let mut stream = String::new();
    for n in 0..2_000_u64 {
        for (name, ms) in [("job.started", 0), ("job.completed", n * n % 100_003 + 1)] {
            let event = json!({
                "event_type": name, "source": "s", "event_id": format!("{name} {n}"), "correlation_id": format!("c-{n}"),
                "timestamp": (1_000_000 + n * 10 + ms) as f64 / 1e3,
            });
            stream += &format!("{event}\n");
        }
    }
    let told = agrees_with_the_oracle(&scratch.write("stream", stream), "auto", &[]);
    assert_eq!(told["operations"]["kept"][0]["is_exact"], false);
}

const SMALL: &str = r#"{"event_type":"build.start","source":"ci","timestamp":0,"correlation_id":"b-1"}
{"event_type":"build.start","source":"ci","timestamp":1,"correlation_id":"b-2"}
{"event_type":"build.error","source":"lap","timestamp":3.5,"correlation_id":"b-2","data":{"error_message":"no disk 7"}}
"#;

const SMALL_TABLE: &str = "\
3 events in 3.5 s, 1970-01-01 00:00:00 to 1970-01-01 00:00:03 UTC

Rates by type, in windows of 1 s
    events  most in one  over time  type
         2            1  ██         build.start
         1            1     █       build.error

Rates by source, in windows of 1 s
    events  most in one  over time  source
         2            1  ██         ci
         1            1     █       lap

1 error, by type and message
    events  last at              type: message
         1  1970-01-01 00:00:03  build.error: no disk 7

Operations, from start to end
     ended  failed    open       p50        p99        max  operation
         1       1       1      2.5 s      2.5 s      2.5 s  build

1 never completed, the oldest first
         age  since                operation, correlation id, source
       3.5 s  1970-01-01 00:00:00  build, b-1, ci
";

#[test]
fn a_table_is_for_people_and_plain_in_a_pipe() {
    let ran = run(&["analyze", "--window", "1s"], SMALL.as_bytes());
    assert_eq!((ran.text(), ran.stderr.as_str(), ran.code), (SMALL_TABLE, "", Some(0)));
    let scratch = Scratch::new();
    let (first, rest) = SMALL.split_at(SMALL.find('\n').unwrap() + 1);
    let (first, rest) = (scratch.write("first", first), scratch.write("rest", rest));
    let ran = run(&["analyze", &first, &rest, "--window", "1s"], b"");
    assert_eq!(ran.text(), SMALL_TABLE, "several files are one stream");
    assert_eq!(run(&["analyze"], b"").text(), "no events\n");
}

#[test]
fn types_and_times_choose_what_is_analyzed() {
    let events = |more: &[&str]| {
        run(&[&["analyze", "--json"], more].concat(), SMALL.as_bytes()).last_json()["events"].as_u64()
    };
    assert_eq!(events(&["--on", "*.start"]), Some(2));
    assert_eq!(events(&["--on", "*.error", "--on", "build.*"]), Some(3));
    assert_eq!(events(&["--since", "1", "--until", "1970-01-01T00:00:03.5Z"]), Some(1));
    assert_eq!(events(&["--on", "x"]), Some(0));
}

#[test]
fn a_rejected_line_is_told_and_the_others_are_analyzed() {
    let ran = run(&["analyze", "--window", "1s"], format!("nope\n{SMALL}\n{{\"event_type\":").as_bytes());
    assert_eq!((ran.text(), ran.code), (SMALL_TABLE, Some(1)));
    let lines: Vec<&str> = ran.stderr.lines().collect();
    assert!(lines.len() == 2 && lines[0].starts_with("-:1: ") && lines[1].starts_with("-:6: "), "{lines:?}");
}

#[test]
fn what_cannot_be_done_is_told_before_anything_is_read() {
    let scratch = Scratch::new();
    let file = scratch.write("events", SMALL);
    let gone = scratch.path("gone/file");
    for (args, reason) in [
        (&["analyze", &gone][..], "gone"),
        (&["analyze", &file, "--svg", &gone], "gone"),
        (&["analyze", &file, "--svg", &file], "the picture would overwrite the input"),
        (&["analyze", &file, "--on", &"x".repeat(1_025)], "--on"),
        (&["analyze", &file, "--window", "0s"], "a length is a whole number"),
        (&["analyze", &file, "--window", "-1s"], "--window"),
        (&["analyze", &file, "--since", "soon"], "a time is"),
    ] {
        let ran = run(args, b"");
        assert_eq!((ran.code, ran.text()), (Some(2), ""), "{args:?}");
        assert!(ran.stderr.contains(reason), "{}", ran.stderr);
    }
    assert_eq!(fs::read_to_string(&file).unwrap(), SMALL);
}

#[test]
fn a_picture_is_xml_and_holds_what_the_stream_says_as_text() {
    let scratch = Scratch::new();
    let evil = "</text><script>alert('1')</script>]]>&\u{1b}\r\n\u{ffff}\u{202e}";
    let odd = json!({
        "event_type": "<b>.failed&\u{ffff}.failed", "source": "\"s'<", "timestamp": 4, "correlation_id": "<c>",
        "data": {"error_message": evil, "error_type": evil},
    });
    let operation = json!({
        "event_type": "custom", "source": "\u{202e}", "timestamp": 0, "correlation_id": "&c",
        "data": {"phase": "start", "operation": evil},
    });
    let stream = format!("{SMALL}{odd}\n{operation}\n");
    let svg = scratch.write("svg", "x".repeat(1 << 20));
    for (file, input, expected) in [
        ("-".to_owned(), stream.as_str(), "no disk 7"),
        (data("build.ndjson"), "", "build.progress"),
        (data("packages.ndjson"), "", "package.upgrade"),
        ("-".to_owned(), "", "no events"),
    ] {
        assert_eq!(run(&["analyze", &file, "--svg", &svg], input.as_bytes()).code, Some(0));
        let texts = String::from_utf8(python(&["xml", &svg])).unwrap();
        assert!(texts.lines().any(|text| text == expected), "{texts}");
        let is_active = |c: char| (c.is_control() && c != '\n') || "\u{202e}\u{ffff}".contains(c);
        assert!(!fs::read_to_string(&svg).unwrap().contains(is_active));
        if input.contains("script") {
            assert!(texts.contains(r"</text><script>alert('1')</script>]]>&\u{1b}\r\n"), "{texts}");
            assert!(texts.lines().any(|text| text == "&c, from \\u{202e}"), "{texts}");
        }
    }
}

#[test]
fn a_signal_ends_the_stream_and_what_was_read_is_told() {
    const LINES: u64 = 40_000;
    let mut running = Running::start(command(&["analyze", "--json"]));
    let mut stdin = running.stdin.take().unwrap();
    // The pipe and what is read ahead hold less than all of it, so events have been analyzed when the last byte is in.
    let line = SMALL.lines().next().unwrap();
    for _ in 0..LINES {
        writeln!(stdin, "{line}").unwrap();
    }
    running.signal("INT");
    let mut printed = String::new();
    running.stdout.take().unwrap().read_to_string(&mut printed).unwrap();
    assert_eq!(running.wait().code(), Some(130));
    let told: Value = serde_json::from_str(&printed).unwrap();
    let events = told["events"].as_u64().unwrap();
    assert!(events > 0 && events <= LINES, "{events}");
}

#[test]
fn help_teaches() {
    let ran = run(&["analyze", "--help"], b"");
    for taught in ["jq '.operations", "tail -f", "500ms", "--svg tasks.svg", "X.started"] {
        assert!(ran.text().contains(taught), "{taught}: {}", ran.text());
    }
}
