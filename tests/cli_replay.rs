//! `replay`, as its users meet it: the real program.
#![cfg(feature = "cli")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "in a test a panic is the report")]

#[path = "support/command.rs"]
#[allow(dead_code, reason = "each test binary uses its part")]
mod command;

use command::{Ran, Running, Scratch, command, data, event_of, run, run_command};
use serde_json::{Value, json};
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::process::Command;

/// An event at a time in seconds.
fn at(name: &str, seconds: &str) -> String {
    format!(r#"{{"event_type":"{name}","source":"s","event_id":"{name} {seconds}","timestamp":{seconds}}}"#)
}

fn events(text: &str) -> Vec<Value> {
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .filter(|event: &Value| event.get("read").is_none())
        .collect()
}

#[track_caller]
fn counts(ran: &Ran) -> [u64; 4] {
    let summary = ran.last_json();
    ["read", "published", "skipped", "rejected"].map(|key| summary[key].as_u64().unwrap())
}

#[test]
fn a_real_stream_comes_back_as_it_was_but_for_the_mark() {
    let file = data("packages.ndjson");
    for queued in [&[][..], &["--queued"]] {
        let ran = run(&[&["replay", &file, "--on", "*", "--summary", "json"], queued].concat(), b"");
        assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""), "quiet in a pipe");
        let recorded = fs::read_to_string(&file).unwrap();
        let mut replayed = events(ran.text());
        assert_eq!(counts(&ran), [5_097, 5_097, 0, 0]);
        for event in &mut replayed {
            assert_eq!(event["metadata"]["replayed"], true);
            event["metadata"].as_object_mut().unwrap().remove("replayed");
        }
        let mut expected = events(&recorded);
        for event in &mut expected {
            event.as_object_mut().unwrap().entry("metadata").or_insert(json!({}));
            event.as_object_mut().unwrap().entry("priority").or_insert(json!("normal"));
        }
        if !queued.is_empty() {
            let id = |event: &Value| event["event_id"].as_str().unwrap().to_owned();
            replayed.sort_by_key(id);
            expected.sort_by_key(id);
        }
        assert_eq!(replayed, expected);
    }
    // Unmarked, what dispatch prints is printed again.
    let dispatched = run(&["dispatch", &file, "--on", "*"], b"");
    let replayed = run(&["replay", "--on", "*", "--unmarked"], &dispatched.stdout);
    assert!(replayed.stdout == dispatched.stdout);
}

#[test]
fn files_are_one_stream_and_parts_of_it_can_be_chosen() {
    let scratch = Scratch::new();
    let line = |name: &str, seconds: &str, sequence: u64| {
        at(name, seconds).replace("\"source\"", &format!("\"sequence\":{sequence},\"source\""))
    };
    let one = scratch.write("one", [line("build.a", "10.5", 1), line("my.b", "11", 2)].join("\n"));
    let two = scratch.write("two", [line("build.c", "12", 3), at("my.d", "13")].join("\n"));
    for (args, heard) in [
        (&[][..], &["build.a", "my.b", "build.c", "my.d"][..]),
        (&["--event-type", "build.*"], &["build.a", "build.c"]),
        (&["--event-type", "*.a", "--event-type", "*.d"], &["build.a", "my.d"]),
        (&["--since", "11"], &["my.b", "build.c", "my.d"]),
        (&["--since", "1970-01-01T00:00:10.5Z", "--until", "1970-01-01T00:00:12Z"], &["build.a", "my.b"]),
        (&["--since", "-1"], &["build.a", "my.b", "build.c", "my.d"]),
        (&["--from-sequence", "2"], &["my.b", "build.c"]),
        (&["--from-sequence", "2", "--to-sequence", "2"], &["my.b"]),
        (&["--to-sequence", "1", "--event-type", "my.*"], &[]),
    ] {
        let ran = run(&[&["replay", &one, &two, "--on", "*", "--summary", "json"], args].concat(), b"");
        let names: Vec<_> =
            events(ran.text()).iter().map(|event| event["event_type"].as_str().unwrap().to_owned()).collect();
        assert_eq!(
            (ran.code, names.as_slice()),
            (Some(0), &heard.iter().map(ToString::to_string).collect::<Vec<_>>()[..]),
            "{args:?}"
        );
        assert_eq!(counts(&ran), [4, heard.len() as u64, 4 - heard.len() as u64, 0]);
    }
    // Standard input among them.
    let ran = run(&["replay", &two, "-", "--on", "*"], at("last", "1").as_bytes());
    assert_eq!(events(ran.text()).last().unwrap()["event_type"], "last");
    assert_eq!(events(ran.text())[0]["metadata"], json!({"replayed": true, "replayed_sequence": 3}));
    assert!(
        ran.stderr.contains("published                3\nskipped                  0\n"),
        "{}",
        ran.stderr
    );
}

#[test]
fn torn_and_other_lines_that_are_no_events_are_told_with_their_number_and_the_rest_is_replayed() {
    let scratch = Scratch::new();
    let text =
        format!("{}\n\nnope\n{}\n{}\n{}", at("a", "1"), event_of((1 << 20) + 1), at("b", "1"), at("ü", "1"));
    let cut = text.rfind('ü').unwrap() + 1;
    let file = scratch.write("torn", &text.as_bytes()[..cut]);
    let ran = run(&["replay", &file, "--on", "*", "--summary", "json"], b"");
    assert_eq!((ran.code, counts(&ran)), (Some(1), [5, 2, 0, 3]));
    let told: Vec<_> = ran.stderr.lines().collect();
    assert!(told[0].starts_with(&format!("{file}:3: column 1: ")), "{}", told[0]);
    assert_eq!(told[1], format!("{file}:4: the line is over 1048576 bytes"));
    assert_eq!(told[2], format!("{file}:6: column 45: not UTF-8"));
    assert_eq!(told.len(), 3);
}

#[test]
fn gaps_are_waited_for_scaled_and_capped() {
    let stream = [at("a", "100"), at("b", "100.05"), at("c", "50"), at("d", "1000000050.0")].join("\n");
    for (args, at_least_ms) in [
        (&["--speed", "original", "--max-gap", "0.1"][..], 150),
        (&["--speed", "0.5", "--max-gap", "0.1"], 200),
    ] {
        let began = std::time::Instant::now();
        let ran = run(&[&["replay", "--on", "*", "--summary", "json"], args].concat(), stream.as_bytes());
        assert!(began.elapsed().as_millis() >= at_least_ms, "{args:?}");
        assert_eq!((ran.code, counts(&ran)), (Some(0), [4, 4, 0, 0]));
    }
}

#[test]
fn a_signal_ends_a_wait_and_what_came_before_is_seen_and_counted() {
    let inline: &[&str] = &["replay", "--on", "*", "--summary", "json", "--speed", "original"];
    let queued = [inline, &["--queued", "--workers", "2"]].concat();
    for (signal, code, args) in [("INT", 130, inline), ("TERM", 143, inline), ("INT", 130, &queued)] {
        let scratch = Scratch::new();
        let file = scratch.write("first", format!("{}\nnope\n", at("a", "1")));
        let mut running = Running::start(command(&[args, &[&file, "-", "-"]].concat()));
        let mut stdin = running.stdin.take().unwrap();
        write!(stdin, "{}\n{}\n{}\n", at("b", "1"), at("c", "1000000"), at("d", "1000001")).unwrap();
        drop(stdin);
        let mut stdout = BufReader::new(running.stdout.take().unwrap());
        // Both are seen while the third waits.
        for name in ["a", "b"] {
            let mut line = String::new();
            stdout.read_line(&mut line).unwrap();
            assert!(line.starts_with(&format!(r#"{{"event_type":"{name}""#)), "{line}");
        }
        running.signal(signal);
        let mut rest = String::new();
        stdout.read_to_string(&mut rest).unwrap();
        assert_eq!(running.wait().code(), Some(code), "{signal}");
        let summary: Value = serde_json::from_str(&rest).unwrap();
        let counts = ["read", "published", "skipped", "rejected"].map(|key| summary[key].as_u64().unwrap());
        assert_eq!(counts, [3, 2, 0, 1]);
    }
}

#[test]
fn a_signal_ends_an_endless_stream_and_a_closed_pipe_too() {
    for closes in [false, true] {
        let mut running = Running::start(command(&["replay", "--on", "*"]));
        let mut stdin = running.stdin.take().unwrap();
        let lines = format!("{}\n", at("a", "1")).repeat(1_000);
        let feeding = std::thread::spawn(move || while stdin.write_all(lines.as_bytes()).is_ok() {});
        let mut stdout = BufReader::new(running.stdout.take().unwrap());
        stdout.read_line(&mut String::new()).unwrap();
        if closes {
            drop(stdout);
            assert_eq!(running.wait().code(), Some(0));
        } else {
            running.signal("TERM");
            let printed = 1 + stdout.lines().map(Result::unwrap).count();
            assert_eq!(running.wait().code(), Some(143));
            let summary = running.into_stderr();
            let published = summary.lines().find_map(|line| line.strip_prefix("published")).unwrap();
            assert_eq!(published.trim().parse::<usize>().unwrap(), printed);
        }
        feeding.join().unwrap();
    }
}

#[test]
fn the_events_of_letters_are_replayed() {
    let scratch = Scratch::new();
    let misfit = r#"{"event_type":"build.start","source":"s","event_id":"e-1","data":{}}"#;
    let rejected = scratch.path("rejected");
    let ran = run(&["dispatch", "--dead-letters", &rejected], format!("{misfit}\nnope\n").as_bytes());
    assert_eq!(ran.code, Some(1));
    let ran = run(&["replay", "--letters", &rejected, "--on", "*", "--summary", "json"], b"");
    assert_eq!((ran.code, counts(&ran)), (Some(1), [2, 1, 0, 1]));
    assert_eq!(events(ran.text())[0]["event_id"], "e-1");
    assert!(ran.stderr.starts_with(&format!("{rejected}:2: event: ")), "{}", ran.stderr);
    // It is as wrong as it was.
    let ran = run(&["replay", "--letters", &rejected, "--validate", "typed", "--summary", "json"], b"");
    assert_eq!(counts(&ran), [2, 0, 0, 2]);
    // One that a bus exported.
    let letter =
        format!(r#"{{"kind":"handler","sequence":7,"subscriber_id":"w","error":"no","event":{misfit}}}"#);
    let ran = run(&["replay", "--letters", "--on", "*", "--from-sequence", "7"], letter.as_bytes());
    assert_eq!(events(ran.text())[0]["metadata"]["replayed_sequence"], 7);
}

#[test]
fn what_cannot_be_done_is_said_before_anything_is_replayed() {
    let scratch = Scratch::new();
    let (file, missing) = (scratch.write("in", at("a", "1")), scratch.path("missing"));
    let long = "x".repeat(1_025);
    for (args, said) in [
        (&["replay", &file, &missing, "--on", "*"][..], "No such file"),
        (&["replay", &file, &scratch.path(""), "--on", "*"], "is a directory"),
        (&["replay", &file, "--speed", "0"], "a speed is `full`, `original`, or a factor greater than 0"),
        (&["replay", &file, "--speed", "fast"], "a speed is"),
        (&["replay", &file, "--max-gap", "-1"], "--max-gap"),
        (&["replay", &file, "--max-gap", "soon"], "not a number of seconds"),
        (&["replay", &file, "--since", "yesterday"], "a time is RFC 3339"),
        (&["replay", &file, "--from-sequence", "x"], "--from-sequence"),
        (&["replay", &file, "--event-type", &long], "at most 1024 bytes"),
        (&["replay", &file, "--on", &long], "at most 1024 bytes"),
    ] {
        let ran = run(args, b"");
        assert_eq!(ran.code, Some(2), "{args:?}: {}", ran.stderr);
        assert!(ran.stderr.contains(said), "{args:?}: {}", ran.stderr);
        assert!(ran.stdout.is_empty(), "{args:?}");
    }
}

#[test]
fn on_a_terminal_json_is_escaped_further_and_elsewhere_events_come_as_they_were() {
    let scratch = Scratch::new();
    let text = "\u{9b}31m \u{202e}";
    let event = format!(r#"{{"event_type":"a","source":"s","correlation_id":"c","data":"{text}"}}"#);
    let file = scratch.write("in", event);
    // Python has a terminal for it.
    let terminal = "import pty, sys; sys.exit(pty.spawn(sys.argv[1:]))";
    for args in [&["replay", &file, "--on", "*"][..], &["trace", "--json", "c", &file]] {
        assert!(run(args, b"").text().contains(text));
        let mut command = Command::new("python3");
        command.args(["-c", terminal, env!("CARGO_BIN_EXE_codomyrmex-events")]).args(args);
        let ran = run_command(command, b"");
        assert!(ran.text().contains(r#""\u009b31m \u202e""#), "{ran:?}");
        assert!(!ran.text().contains(['\u{9b}', '\u{202e}']), "{ran:?}");
    }
}
