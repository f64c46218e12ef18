//! `emit`, as scripts meet it.
#![cfg(feature = "cli")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "in a test a panic is the report")]

#[path = "support/command.rs"]
#[allow(dead_code, reason = "each test binary uses its part")]
mod command;

use codomyrmex_events::{Event, EventPriority, Timestamp};
use command::{Ran, Scratch, run};
use serde_json::json;
use std::fs;
use std::thread;

fn emitted(args: &[&str], input: &str) -> Event {
    let ran = run(&[&["emit"], args].concat(), input.as_bytes());
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""), "{args:?}");
    let line = ran.text().strip_suffix('\n').unwrap();
    Event::from_json(line).unwrap()
}

fn refused(args: &[&str]) -> Ran {
    let ran = run(&[&["emit"], args].concat(), b"");
    assert!(ran.stdout.is_empty(), "{args:?}");
    ran
}

#[test]
fn an_event_says_what_it_was_told() {
    let before = Timestamp::now();
    let event = emitted(
        &[
            "git.commit",
            r#"{"branch":"main","files":[1e2,"é"]}"#,
            "--source=git",
            "--priority=critical",
            "--correlation-id=release-7",
            "--causation-id=why",
            "--metadata=host=a=b",
            "--metadata=empty=",
        ],
        "",
    );
    assert_eq!((event.event_type().as_str(), event.source().as_str()), ("git.commit", "git"));
    assert_eq!(event.data().json().unwrap(), r#"{"branch":"main","files":[1e2,"é"]}"#, "kept as written");
    assert_eq!(event.priority(), EventPriority::Critical);
    assert_eq!(event.correlation_id().unwrap().as_str(), "release-7");
    assert_eq!(event.causation_id().unwrap().to_string(), "why");
    assert_eq!(serde_json::to_value(event.metadata()).unwrap(), json!({"host": "a=b", "empty": ""}));
    assert!(before <= event.timestamp() && event.timestamp() <= Timestamp::now());
    let other = emitted(&["git.commit"], "");
    assert!(other.event_id() != event.event_id() && other.data().is_absent());
    assert_eq!((other.source().as_str(), other.priority()), ("command-line", EventPriority::Normal));
}

#[test]
fn fields_are_text_whatever_is_in_them() {
    let hostile = "a \"quoted\" line\nand another\u{1b}[31m, \\ and = and '";
    let field = format!("subject={hostile}");
    let event = emitted(&["my.own", "--field", &field, "--field=number=1"], "");
    assert_eq!(event.data().value().unwrap(), &json!({"subject": hostile, "number": "1"}));
    let event = emitted(&["my.own", "-"], " [1, 2]\n");
    assert_eq!(event.data().value().unwrap(), &json!([1, 2]));
}

#[test]
fn what_is_not_an_event_or_does_not_fit_its_schema_is_not_written() {
    let scratch = Scratch::new();
    let schema = format!("my.own={}", scratch.write("schema.json", r#"{"required":["n"]}"#));
    for (args, code, reason) in [
        (&["build.start", "{}"][..], 1, "rejected: build.start: \"build_type\" is a required property"),
        (&["my.own", "{}", "--schema", &schema], 1, "rejected: my.own: \"n\" is a required property"),
        (&["", "{}"], 1, "rejected: event_type must not be empty"),
        (&["a\nb"], 1, "rejected: event_type "),
        (&["my.own", "--source="], 1, "rejected: source must not be empty"),
        (&["my.own", "{"], 2, "error: the data: payload: line 1 column 2"),
        (&["my.own", "-"], 2, "error: the data: payload: line 1 column 1"),
        (&["my.own", "--priority=high"], 2, "error: --priority high: priority must be one of debug, info"),
        (&["my.own", "--field=x"], 2, "error: --field x: not NAME=TEXT"),
        (&["my.own", "--field=x=1", "--field=x=2"], 2, "error: --field x=2: the name is there already"),
        (&["my.own", "{}", "--field=x=1"], 2, "error: the argument '[JSON]' cannot be used with"),
        (&["my.own", "--append=/nowhere/at/all"], 2, "error: /nowhere/at/all: "),
    ] {
        let ran = refused(args);
        assert_eq!(ran.code, Some(code), "{args:?}: {}", ran.stderr);
        assert!(ran.stderr.starts_with(reason), "{args:?}: {}", ran.stderr);
    }
}

#[test]
fn many_append_to_one_file_at_once_and_every_line_is_whole() {
    let scratch = Scratch::new();
    let file = scratch.write("events.ndjson", "{\"event_type\":\"torn");
    // Longer than what a pipe or a file takes in one piece of its own accord.
    let padding = format!("padding={}", "x".repeat(20_000));
    thread::scope(|threads| {
        for thread in 0..4 {
            let (file, padding) = (&file, &padding);
            threads.spawn(move || {
                for n in 0..10 {
                    let (by, number) = (format!("by={thread}"), format!("n={n}"));
                    let args = [
                        "emit", "my.own", "--field", &by, "--field", &number, "--field", padding, "--append",
                        file,
                    ];
                    let ran = run(&args, b"");
                    assert_eq!((ran.code, ran.stdout.len()), (Some(0), 0), "{}", ran.stderr);
                }
            });
        }
    });
    let text = fs::read_to_string(&file).unwrap();
    let mut lines = text.lines();
    assert_eq!(lines.next(), Some("{\"event_type\":\"torn"), "what was torn is left alone");
    let mut seen: Vec<(String, String)> = lines
        .map(|line| {
            let event = Event::from_json(line).unwrap();
            let field = |name| event.data().get(name).unwrap().as_str().unwrap().to_owned();
            (field("by"), field("n"))
        })
        .collect();
    // Of one process after the other the order is kept.
    seen.sort_by(|(by, _), (other, _)| by.cmp(other));
    let expected = (0..4).flat_map(|by| (0..10).map(move |n| (by.to_string(), n.to_string())));
    assert_eq!(seen, expected.collect::<Vec<_>>());
}
