//! `validate`, as its users meet it.
#![cfg(feature = "cli")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "in a test a panic is the report")]

#[path = "support/command.rs"]
#[allow(dead_code, reason = "each test binary uses its part")]
mod command;

use command::{Running, Scratch, command, data, event_of, run};
use std::io::Write;

const GOOD: &str = r#"{"event_type":"my.own","source":"s","data":{"n":1}}"#;
const MISFIT: &str = r#"{"event_type":"build.start","source":"s","data":{}}"#;

#[test]
fn real_streams_are_valid() {
    for file in ["build.ndjson", "packages.ndjson"] {
        let ran = run(&["validate", &data(file)], b"");
        assert_eq!((ran.code, ran.stdout.as_slice()), (Some(0), &b""[..]), "{}", ran.stderr);
        assert!(ran.stderr.contains(" 0 rejected"), "{}", ran.stderr);
    }
}

#[test]
fn each_bad_line_is_reported_with_its_number_and_the_rest_goes_on() {
    let huge = event_of((1 << 20) + 1);
    let input = format!("\u{feff}{GOOD}\r\n\n{MISFIT}\n[]\n{huge}\n{{\"source\":\n{GOOD}");
    let ran = run(&["validate", "-"], input.as_bytes());
    assert_eq!(ran.code, Some(1));
    assert!(ran.stdout.is_empty());
    let lines: Vec<&str> = ran.stderr.lines().collect();
    let [misfit, array, huge, cut, summary] = lines[..] else { panic!("{lines:?}") };
    assert_eq!(misfit, r#"-:3: build.start: "build_type" is a required property (and 1 more)"#);
    assert_eq!(array, "-:4: column 1: an event is a JSON object");
    assert_eq!(huge, "-:5: the line is over 1048576 bytes");
    assert!(cut.starts_with("-:6: column "), "{cut}");
    assert!(summary.starts_with("6 read, 2 valid, 4 rejected, "), "{summary}");
}

#[test]
fn schemas_of_ones_own_hold() {
    let scratch = Scratch::new();
    let text = scratch.write("text=1.json", r#"{"properties":{"n":{"type":"string"}}}"#);
    let number = scratch.write("number.json", r#"{"properties":{"n":{"type":"number"}}}"#);
    let anything = scratch.write("anything.json", "true");
    let input = format!("{GOOD}\n{MISFIT}\n");
    for (schemas, rejected) in [
        (vec![format!("my.own={number}")], vec!["-:2: "]),
        (vec![format!("my.own={text}")], vec!["-:1: my.own: /n: ", "-:2: "]),
        (vec![format!("my.own={number}"), format!("build.start={anything}")], vec![]),
    ] {
        let mut args = vec!["validate"];
        args.extend(schemas.iter().flat_map(|schema| ["--schema", schema]));
        let ran = run(&args, input.as_bytes());
        assert_eq!(ran.code, Some(i32::from(!rejected.is_empty())), "{schemas:?}");
        let lines: Vec<&str> = ran.stderr.lines().collect();
        assert_eq!(lines.len(), rejected.len() + 1, "{lines:?}");
        for (line, beginning) in lines.iter().zip(&rejected) {
            assert!(line.starts_with(beginning), "{line}");
        }
    }
}

#[test]
fn a_bad_schema_is_said_before_anything_is_read() {
    let scratch = Scratch::new();
    let file = |name: &str, text: &str| format!("my.own={}", scratch.write(name, text));
    let (fine, broken) = (file("fine", "{}"), file("broken", "{"));
    for (schemas, said) in [
        (vec![broken.as_str()], "not JSON"),
        (vec![&file("wrong", r#"{"type":"nothing"}"#)], "my.own"),
        (vec![&file("loop", r##"{"$ref":"#"}"##)], "refers to itself"),
        (vec![&format!("my.own={}", scratch.path("missing"))], "No such file"),
        (vec!["my.own"], "not TYPE=FILE"),
        (vec![fine.trim_start_matches("my.own")], "event_type must not be empty"),
        (vec![&fine, &fine], "has a schema already"),
        (vec!["my.own=/dev/zero"], "over 16777216 bytes"),
    ] {
        let mut args = vec!["validate"];
        args.extend(schemas.iter().flat_map(|schema| ["--schema", schema]));
        let ran = run(&args, GOOD.as_bytes());
        assert_eq!(ran.code, Some(2), "{schemas:?}");
        assert!(ran.stderr.contains(said), "{schemas:?}: {}", ran.stderr);
        assert_eq!(ran.stderr.lines().count(), 1, "{}", ran.stderr);
    }
    assert_eq!(run(&["validate", &scratch.path("missing")], b"").code, Some(2));
    assert_eq!(run(&["validate", "/proc/self/mem"], b"").code, Some(2));
}

#[test]
fn a_signal_ends_the_wait_for_input() {
    for (signal, code) in [("INT", 130), ("TERM", 143)] {
        let mut running = Running::start(command(&["validate"]));
        let mut stdin = running.stdin.take().unwrap();
        writeln!(stdin, "{GOOD}").unwrap();
        // A signal before the program listens would end it as signals do.
        while !listens(running.pid()) {
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
        running.signal(signal);
        assert_eq!(running.wait().code(), Some(code));
        // The signal may have come before the line was taken.
        let summary = running.into_stderr();
        let expected = ["0 read, 0 valid, 0 rejected", "1 read, 1 valid, 0 rejected"];
        assert!(expected.iter().any(|counts| summary.starts_with(counts)), "{summary}");
    }
}

/// Whether the process catches SIGINT and SIGTERM.
fn listens(pid: u32) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).unwrap();
    let caught = u64::from_str_radix(caught.trim(), 16).unwrap();
    let both = 1 << (2 - 1) | 1 << (15 - 1);
    caught & both == both
}
