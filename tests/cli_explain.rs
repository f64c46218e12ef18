//! `explain`, as its users meet it.
#![cfg(feature = "cli")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "in a test a panic is the report")]

#[path = "support/command.rs"]
#[allow(dead_code, reason = "each test binary uses its part")]
mod command;

use command::{Scratch, run};
use serde_json::json;
use std::fmt::Write;
use std::process::Command;

fn stream(types: &[&str]) -> String {
    types.iter().map(|name| format!("{}\n", json!({"event_type": name, "source": "test"}))).collect()
}

const EXPLAINED: &str = "           2  build.start  (schema)
                  10  *.start
                   0  build.*
                  -5  *
           1  deploy.done
                  -5  *
           1  order.start
                  10  *.start
                  -5  *
matched nothing: bild.*
";

#[test]
fn each_type_is_told_with_who_hears_it_in_their_turns() {
    let text = stream(&["build.start", "order.start", "build.start", "deploy.done"]);
    let on = ["--on", "build.*", "--on", "*.start@10", "--on", "*@-5", "--on", "bild.*", "--on", "build.*"];
    let scratch = Scratch::new();
    let (first, rest) = text.split_at(text.find('\n').unwrap() + 1);
    let (first, rest) = (scratch.write("first", first), scratch.write("rest", rest));
    for (args, input) in [(vec!["explain"], &text[..]), (vec!["explain", &first, &rest], "")] {
        let ran = run(&[&args[..], &on].concat(), input.as_bytes());
        assert_eq!((ran.text(), ran.code), (EXPLAINED, Some(1)), "{}", ran.stderr);
        assert_eq!(ran.stderr, "");
    }
    let ran = run(&[&["explain", "--json"], &on[..]].concat(), text.as_bytes());
    assert_eq!((ran.text().lines().count(), ran.code), (1, Some(1)));
    let told = ran.last_json();
    assert_eq!(told["unmatched"], json!(["bild.*"]));
    assert_eq!(told["events_untold"], 0);
    let start = json!({
        "event_type": "build.start", "events": 2, "is_standard": true, "has_schema": true,
        "subscriptions": [
            {"glob": "*.start", "priority": 10}, {"glob": "build.*", "priority": 0}, {"glob": "*", "priority": -5},
        ],
    });
    assert_eq!(told["types"][0], start);
    assert_eq!(told["types"].as_array().unwrap().len(), 3);
}

#[test]
fn types_can_be_explained_without_a_stream_and_globs_may_have_at_signs() {
    let ran = run(
        &["explain", "--type", "mail@7", "--type", "a", "--on", "mail[@]7", "--on", "*@x", "--on", "a"],
        b"",
    );
    let expected = "           0  a\n                   0  a\n           0  mail@7\n                   0  mail[@]7\n\
                    matched nothing: *@x\n";
    assert_eq!((ran.text(), ran.code), (expected, Some(1)), "{}", ran.stderr);
    let text = stream(&["a", "b", "a"]);
    let ran = run(&["explain", "-", "--type", "a", "--on", "a", "--json"], text.as_bytes());
    assert_eq!(
        (&ran.last_json()["types"][0]["events"], &ran.last_json()["events_untold"]),
        (&json!(2), &json!(1))
    );
    assert_eq!(ran.code, Some(0));
}

#[test]
fn exit_codes_say_how_it_went() {
    let good = stream(&["a"]);
    let bad = format!("{good}no event\n{good}");
    for (args, input, code, told) in [
        (&["explain", "--on", "a"][..], &good, 0, ""),
        (&["explain", "--on", "b"], &good, 1, ""),
        (&["explain", "--on", "a"], &bad, 1, "-:2: "),
        (&["explain", "--on", "a", "/nowhere"], &good, 2, "/nowhere"),
        (&["explain", "--type", "", "--on", "a"], &good, 2, "--type"),
        (&["explain"], &good, 2, "--on"),
    ] {
        let ran = run(args, input.as_bytes());
        assert_eq!(ran.code, Some(code), "{args:?}: {}", ran.stderr);
        assert!(ran.stderr.contains(told), "{args:?}: {}", ran.stderr);
    }
    let empty = run(&["explain", "--on", "a", "--json"], b"");
    assert_eq!(empty.last_json(), json!({"types": [], "unmatched": ["a"], "events_untold": 0}));
    let long = "x".repeat(1025);
    assert_eq!(run(&["explain", "--on", &long, "--type", "a"], b"").code, Some(2));
}

#[test]
fn what_a_type_may_contain_is_shown_and_not_acted_on() {
    let ran = run(&["explain", "--on", "*\u{202e}", "--on", "*"], stream(&["a\u{202e}b"]).as_bytes());
    assert_eq!(
        ran.text(),
        "           1  a\\u{202e}b\n                   0  *\nmatched nothing: *\\u{202e}\n"
    );
}

#[test]
fn so_many_types_are_told_apart() {
    let mut text = String::new();
    for n in 0..70_000 {
        writeln!(text, "{{\"event_type\":\"t{n}\",\"source\":\"s\"}}").unwrap();
    }
    let ran = run(&["explain", "--on", "t69999", "--on", "*", "--json"], text.as_bytes());
    let told = ran.last_json();
    assert_eq!(told["types"].as_array().unwrap().len(), 65_536);
    assert_eq!((&told["events_untold"], &told["unmatched"]), (&json!(4_464), &json!(["t69999"])));
}

/// Who hears what in real streams, told by Python's `fnmatch`.
#[test]
fn a_real_stream_is_explained_as_python_would() {
    const SCRIPT: &str = "
import collections, fnmatch, json, sys
globs = sys.argv[2:]
counts = collections.Counter(json.loads(line)['event_type'] for line in open(sys.argv[1], encoding='utf-8'))
hear = lambda name: [glob for glob in globs if fnmatch.fnmatchcase(name, glob)]
print(json.dumps({
    'types': [[name, counts[name], hear(name)] for name in sorted(counts)],
    'unmatched': [glob for glob in globs if not any(fnmatch.fnmatchcase(name, glob) for name in counts)],
}))
";
    let globs = ["package.*", "*.unpacked", "package.status.[!hu]*", "*?ig*", "build.*", "*"];
    for file in ["packages", "build"] {
        let path = format!("{}/examples/data/{file}.ndjson", env!("CARGO_MANIFEST_DIR"));
        let python =
            Command::new("python3").args(["-c", SCRIPT, &path]).args(globs).output().expect("Python 3");
        assert!(python.status.success(), "{}", String::from_utf8_lossy(&python.stderr));
        let python: serde_json::Value = serde_json::from_slice(&python.stdout).unwrap();
        let on: Vec<&str> = globs.iter().flat_map(|glob| ["--on", glob]).collect();
        let told = run(&[&["explain", &path, "--json"], &on[..]].concat(), b"").last_json();
        let types: Vec<_> = told["types"]
            .as_array()
            .unwrap()
            .iter()
            .map(|told| {
                let hearers: Vec<_> =
                    told["subscriptions"].as_array().unwrap().iter().map(|hearer| &hearer["glob"]).collect();
                json!([told["event_type"], told["events"], hearers])
            })
            .collect();
        assert_eq!(
            (json!(types), &told["unmatched"]),
            (python["types"].clone(), &python["unmatched"]),
            "{file}"
        );
    }
}
