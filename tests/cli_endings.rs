//! How `dispatch` ends: by a signal, by a closed pipe, by what cannot be done.
#![cfg(feature = "cli")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "in a test a panic is the report")]

#[path = "support/command.rs"]
#[allow(dead_code, reason = "each test binary uses its part")]
mod command;

use command::{Running, Scratch, command, data, run, run_command};
use serde_json::Value;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::process::Command;

const GOOD: &str = r#"{"event_type":"my.own","source":"s"}"#;

#[test]
fn dead_letters_never_overwrite_the_input() {
    let scratch = Scratch::new();
    let input = scratch.write("in.ndjson", "nope\n");
    let (hard, soft) = (scratch.path("hard"), scratch.path("soft"));
    fs::hard_link(&input, &hard).unwrap();
    std::os::unix::fs::symlink(&input, &soft).unwrap();
    for letters in [&input, &hard, &soft] {
        let ran = run(&["dispatch", &input, "--dead-letters", letters], b"");
        assert_eq!(ran.code, Some(2), "{letters}");
        assert!(ran.stderr.contains("overwrite the input"), "{}", ran.stderr);
    }
    let shell = format!("exec \"$0\" dispatch --dead-letters '{input}' <'{input}'");
    let binary = env!("CARGO_BIN_EXE_codomyrmex-events");
    let ran = Command::new("sh").args(["-c", &shell, binary]).output().unwrap();
    assert_eq!(ran.status.code(), Some(2));
    assert_eq!(fs::read_to_string(&input).unwrap(), "nope\n");
}

#[test]
fn a_signal_drains_sums_up_and_says_so() {
    let scratch = Scratch::new();
    let inline: &[&str] = &["dispatch", "--on", "*", "--summary", "json"];
    let queued = [inline, &["--queued", "--workers", "2"]].concat();
    for (signal, code, args) in
        [("INT", 130, inline), ("TERM", 143, inline), ("INT", 130, &queued), ("TERM", 143, &queued)]
    {
        let letters = scratch.path(signal);
        let mut running = Running::start(command(&[args, &["--dead-letters", &letters]].concat()));
        let mut stdin = running.stdin.take().unwrap();
        let mut stdout = BufReader::new(running.stdout.take().unwrap());
        write!(stdin, "nope\n{GOOD}\n{GOOD}\n{{\"half\":").unwrap();
        // What was heard is seen although no more comes: the program waits for input now.
        let mut line = String::new();
        for _ in 0..2 {
            line.clear();
            stdout.read_line(&mut line).unwrap();
            assert!(line.starts_with(r#"{"event_type":"my.own""#));
        }
        running.signal(signal);
        let mut rest = String::new();
        stdout.read_to_string(&mut rest).unwrap();
        assert_eq!(running.wait().code(), Some(code), "{signal}");
        let summary: Value = serde_json::from_str(&rest).unwrap();
        assert_eq!([&summary["read"], &summary["published"], &summary["rejected"]], [3, 2, 1]);
        assert_eq!(fs::read_to_string(&letters).unwrap().lines().count(), 1);
    }
}

#[test]
fn a_signal_ends_an_endless_stream_and_the_second_ends_a_stuck_one() {
    let endless = |mut stdin: std::process::ChildStdin| {
        let lines = format!("{GOOD}\n").repeat(1_000);
        std::thread::spawn(move || while stdin.write_all(lines.as_bytes()).is_ok() {})
    };
    for args in [&["dispatch", "--on", "*"][..], &["dispatch", "--on", "*", "--queued"]] {
        let mut running = Running::start(command(args));
        let feeding = endless(running.stdin.take().unwrap());
        let mut stdout = BufReader::new(running.stdout.take().unwrap());
        stdout.read_line(&mut String::new()).unwrap();
        running.signal("TERM");
        let printed = 1 + stdout.lines().map(Result::unwrap).count();
        assert_eq!(running.wait().code(), Some(143));
        feeding.join().unwrap();
        let summary = running.into_stderr();
        let published: usize =
            summary.lines().find_map(|line| line.strip_prefix("published")).unwrap().trim().parse().unwrap();
        assert_eq!(printed, published, "{args:?}");
    }

    // Nobody takes what is printed.
    let mut running = Running::start(command(&["dispatch", "--on", "*"]));
    let feeding = endless(running.stdin.take().unwrap());
    let mut stdout = BufReader::with_capacity(1, running.stdout.take().unwrap());
    stdout.read_line(&mut String::new()).unwrap();
    running.signal("INT");
    // The two may not become one.
    std::thread::sleep(std::time::Duration::from_millis(100));
    running.signal("TERM");
    assert_eq!(running.wait().code(), Some(143));
    feeding.join().unwrap();
}

/// Workers are ahead of what is printed, and nobody is to lose what they hold.
#[test]
fn a_slow_reader_of_the_output_is_waited_for_at_the_end() {
    let mut running =
        Running::start(command(&["dispatch", &data("packages.ndjson"), "--on", "*", "--queued"]));
    let mut stdout = BufReader::new(running.stdout.take().unwrap());
    stdout.read_line(&mut String::new()).unwrap();
    // Longer than a drain takes at most when a signal asks for it.
    std::thread::sleep(std::time::Duration::from_secs(6));
    let printed = 1 + stdout.lines().map(Result::unwrap).count();
    assert_eq!(running.wait().code(), Some(0));
    let events = fs::read_to_string(data("packages.ndjson")).unwrap();
    assert_eq!(printed, events.lines().count());
}

#[test]
fn a_closed_pipe_ends_quietly() {
    // In the middle of the events.
    let mut running = Running::start(command(&["dispatch", &data("packages.ndjson"), "--on", "*"]));
    let mut stdout = BufReader::new(running.stdout.take().unwrap());
    stdout.read_line(&mut String::new()).unwrap();
    drop(stdout);
    assert_eq!(running.wait().code(), Some(0));
    assert_eq!(running.into_stderr(), "");
    // Before the summary.
    let mut running = Running::start(command(&["dispatch", "--quiet", "--summary", "json"]));
    drop(running.stdout.take());
    running.stdin.take().unwrap().write_all(GOOD.as_bytes()).unwrap();
    assert_eq!(running.wait().code(), Some(0));
    assert_eq!(running.into_stderr(), "");
}

#[test]
fn a_full_device_is_a_failed_delivery_and_an_error() {
    let mut command = Command::new("sh");
    let shell = "exec \"$0\" dispatch \"$1\" --on '*' >/dev/full";
    command.args(["-c", shell, env!("CARGO_BIN_EXE_codomyrmex-events"), &data("packages.ndjson")]);
    let ran = run_command(command, b"");
    assert_eq!(ran.code, Some(2));
    assert!(ran.stderr.contains("failures                 1\n"), "{}", ran.stderr);
    assert!(ran.stderr.ends_with("(os error 28)\n"), "{}", ran.stderr);
}

#[test]
fn what_cannot_be_done_is_said() {
    let scratch = Scratch::new();
    let (file, missing) = (scratch.write("in", GOOD), scratch.path("missing"));
    let nowhere = scratch.path("no/where");
    let long = "x".repeat(1_025);
    for (args, said) in [
        (&["dispatch", &missing][..], "No such file"),
        (&["dispatch", &scratch.path("")], "is a directory"),
        (&["dispatch", "/proc/self/mem"], "Input/output error"),
        (&["dispatch", &file, "--dead-letters", &nowhere], "No such file"),
        (&["dispatch", &file, "--on", &long], "at most 1024 bytes"),
        (&["dispatch", &file, "--on"], "--on"),
        (&["dispatch", &file, "--on", "a", "b"], "unexpected argument 'b'"),
        (&["dispatch", &file, "--validate", "some"], "typed, all, off"),
        (&["dispatch", &file, "--log", "a=b=c"], "a=b=c"),
        (&["dispatch", &file, "--loud"], "--loud"),
        (&["dispatches"], "dispatch"),
        (&[], "Usage"),
    ] {
        let ran = run(args, b"");
        assert_eq!(ran.code, Some(2), "{args:?}");
        assert!(ran.stderr.contains(said), "{args:?}: {}", ran.stderr);
        assert!(ran.stdout.is_empty(), "{args:?}");
    }
    let mut command = command(&["dispatch"]);
    command.env("CODOMYRMEX_EVENT_WORKERS", "many");
    let ran = run_command(command, b"");
    assert_eq!(ran.code, Some(2));
    assert!(ran.stderr.contains("CODOMYRMEX_EVENT_WORKERS=\"many\""), "{}", ran.stderr);
}
