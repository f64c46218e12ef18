//! `match` and `types`, as their users meet them.
#![cfg(feature = "cli")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "in a test a panic is the report")]

#[path = "support/command.rs"]
#[allow(dead_code, reason = "each test binary uses its part")]
mod command;
#[path = "support/pattern_table.rs"]
#[allow(dead_code, reason = "each test binary uses its part")]
mod pattern_table;

use codomyrmex_events::{Domain, EventSchema, EventType};
use command::{Running, command, run};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};

#[test]
fn each_row_of_the_table_of_patterns_holds() {
    let rows = pattern_table::rows();
    let mut by_pattern: BTreeMap<&str, Vec<_>> = BTreeMap::new();
    // A process cannot be handed a NUL, and `-` means standard input.
    let fit =
        |row: &pattern_table::Row| !row.pattern.contains('\0') && !row.name.contains('\0') && row.name != "-";
    for row in rows.iter().filter(|row| fit(row)) {
        by_pattern.entry(&row.pattern).or_default().push(row);
    }
    assert!(by_pattern.len() > 100);
    for (pattern, rows) in by_pattern {
        let on = format!("--on={pattern}");
        let mut args = vec!["match", &on, "--"];
        args.extend(rows.iter().map(|row| row.name.as_str()));
        let ran = run(&args, b"");
        let heard = rows.iter().filter(|row| row.matches);
        let expected: String = heard.map(|row| format!("{}\t{pattern}\n", row.name)).collect();
        assert_eq!(ran.text(), expected, "{pattern:?}");
        assert_eq!(ran.code, Some(i32::from(expected.is_empty())));
    }
}

#[test]
fn names_and_globs_keep_their_order() {
    let globs = ["--on", "*", "--on", "build.*", "--on", "*.start", "--on", "*", "--on", "deploy.*"];
    let args = [&["match"], &globs[..], &["build.start", "-", "x"]].concat();
    let ran = run(&args, "\u{feff}deploy.end\r\n\n  \nbuild.日本".as_bytes());
    let expected = "build.start\t*\nbuild.start\tbuild.*\nbuild.start\t*.start\n\
                    deploy.end\t*\ndeploy.end\tdeploy.*\nbuild.日本\t*\nbuild.日本\tbuild.*\nx\t*\n";
    assert_eq!((ran.text(), ran.stderr.as_str(), ran.code), (expected, "", Some(0)));
}

#[test]
fn the_exit_code_tells() {
    let long = "x".repeat(1_025);
    for (args, code) in [
        (&["match", "--on", "a", "a"][..], 0),
        (&["match", "--on", "a", "b", "a"], 0),
        (&["match", "--on", "a", "b"], 1),
        (&["match", "--on", "a", "-"], 1),
        (&["match", "--on", "a"], 2),
        (&["match", "a"], 2),
        (&["match"], 2),
        (&["match", "--on", &long, "a"], 2),
    ] {
        let ran = run(args, b"");
        assert_eq!(ran.code, Some(code), "{args:?}");
        assert_eq!(ran.stderr.is_empty(), code < 2, "{args:?}: {}", ran.stderr);
    }
}

#[test]
fn names_that_no_event_can_have_are_tried_and_pointed_out() {
    let long = "x".repeat(257);
    let ran = run(&["match", "--on", "*", "", "a\u{1b}b", &long, "fine"], b"");
    assert_eq!(ran.text(), format!("\t*\na\u{1b}b\t*\n{long}\t*\nfine\t*\n"));
    let lines: Vec<&str> = ran.stderr.lines().collect();
    assert_eq!(lines.len(), 3);
    assert!(lines.iter().all(|line| line.contains("no event can have this name")), "{lines:?}");
    assert!(lines[1].starts_with("a\\u{1b}b: "), "{lines:?}");

    let mut input = b"\xff\n".to_vec();
    input.extend(vec![b'x'; (1 << 20) + 1]);
    input.extend(b"\nfine");
    let ran = run(&["match", "--on", "*", "-"], &input);
    assert_eq!((ran.text(), ran.code), ("fine\t*\n", Some(0)));
    assert_eq!(ran.stderr, "-:1: not UTF-8\n-:2: the line is over 1048576 bytes\n");
}

#[test]
fn what_was_found_before_a_failure_is_printed() {
    let mut shell = std::process::Command::new("sh");
    let binary = env!("CARGO_BIN_EXE_codomyrmex-events");
    shell.args(["-c", "exec \"$0\" match --on 'a*' abc - </", binary]);
    let ran = command::run_command(shell, b"");
    assert_eq!((ran.text(), ran.code), ("abc\ta*\n", Some(2)));
    assert!(ran.stderr.contains("is a directory"), "{}", ran.stderr);
}

#[test]
fn names_are_answered_as_they_come_until_a_signal_or_a_closed_pipe() {
    let mut running = Running::start(command(&["match", "--on", "*", "-"]));
    let mut stdin = running.stdin.take().unwrap();
    let mut stdout = BufReader::new(running.stdout.take().unwrap());
    for name in ["one", "two"] {
        writeln!(stdin, "{name}").unwrap();
        let mut row = String::new();
        stdout.read_line(&mut row).unwrap();
        assert_eq!(row, format!("{name}\t*\n"));
    }
    running.signal("TERM");
    assert_eq!(running.wait().code(), Some(143));

    let mut running = Running::start(command(&["match", "--on", "*", "-"]));
    drop(running.stdout.take());
    running.stdin.take().unwrap().write_all(b"one\n").unwrap();
    assert_eq!(running.wait().code(), Some(0));
    assert_eq!(running.into_stderr(), "");
}

#[test]
fn all_standard_types_are_listed_by_domain() {
    let ran = run(&["types", "--json"], b"");
    assert_eq!((ran.code, ran.text().lines().count()), (Some(0), 1));
    let listed = ran.last_json();
    let schemas = EventSchema::new();
    let mut count = 0;
    for (domain, types) in listed.as_object().unwrap() {
        for listed in types.as_array().unwrap() {
            let event_type = EventType::parse(listed["event_type"].as_str().unwrap()).unwrap();
            assert!(event_type.is_standard());
            assert_eq!(event_type.domain().as_str(), domain);
            assert_eq!(listed["has_schema"], schemas.has_schema(&event_type));
            count += 1;
        }
    }
    assert_eq!(count, 53);
    assert_eq!(listed.as_object().unwrap().len(), Domain::ALL.len());

    let table = run(&["types"], b"");
    let (domains, types): (Vec<&str>, Vec<&str>) =
        table.text().lines().partition(|line| !line.starts_with(' '));
    assert_eq!(domains, Domain::ALL.map(Domain::as_str));
    assert_eq!(types.len(), 53);
    assert!(types.iter().any(|line| line.trim_end().ends_with(" schema")));
}
