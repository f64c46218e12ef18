//! `trace`, as its users meet it.
#![cfg(feature = "cli")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "in a test a panic is the report")]

#[path = "support/command.rs"]
#[allow(dead_code, reason = "each test binary uses its part")]
mod command;

use command::{Scratch, run, run_command};
use serde_json::{Value, json};
use std::process::Command;

/// A line: id, cause (none if empty), correlation id (none if empty).
fn line(id: &str, cause: &str, correlation: &str) -> String {
    let mut event = json!({
        "event_type": "order.placed", "source": "shop", "event_id": id, "timestamp": 0, "data": {"n": 1},
    });
    for (field, value) in [("causation_id", cause), ("correlation_id", correlation)] {
        if !value.is_empty() {
            event[field] = value.into();
        }
    }
    format!("{event}\n")
}

fn exchange() -> String {
    [
        line("a", "", "one"),
        line("x", "", "other"),
        line("b", "a", "one"),
        line("c", "b", "one"),
        line("y", "", ""),
        line("d", "a", "one"),
        line("e", "lost", "one"),
    ]
    .concat()
}

const DRAWN: &str = "\
1 order.placed from shop at 1970-01-01T00:00:00Z, a
├─ 3 order.placed from shop at 1970-01-01T00:00:00Z, b
│  └─ 4 order.placed from shop at 1970-01-01T00:00:00Z, c
└─ 6 order.placed from shop at 1970-01-01T00:00:00Z, d
7 order.placed from shop at 1970-01-01T00:00:00Z, e (its cause lost is unknown)
";

#[test]
fn an_exchange_is_drawn_from_standard_input_and_from_files_in_turn() {
    let text = exchange();
    for args in [&["trace", "one"][..], &["trace", "one", "-"]] {
        let ran = run(args, text.as_bytes());
        assert_eq!((ran.text(), ran.code), (DRAWN, Some(0)), "{}", ran.stderr);
        assert_eq!(ran.stderr, "");
    }
    let scratch = Scratch::new();
    let (first, rest) = text.split_at(text.find("\n").unwrap() + 1);
    let (first, rest) = (scratch.write("first", first), scratch.write("rest", rest));
    let ran = run(&["trace", "one", &first, &rest], b"");
    assert_eq!((ran.text(), ran.code), (DRAWN, Some(0)), "{}", ran.stderr);
}

#[test]
fn a_stream_that_was_read_takes_nothing_any_more() {
    let scratch = Scratch::new();
    let file = scratch.write("events", line("a", "", "one"));
    let mut command = Command::new("sh");
    command.args(["-c", "ulimit -n 128; exec \"$@\"", "sh", env!("CARGO_BIN_EXE_codomyrmex-events")]);
    command.args(["trace", "one"]).args([file.as_str()].repeat(100));
    let ran = run_command(command, b"");
    assert_eq!((ran.text().lines().count(), ran.code), (100, Some(0)), "{}", ran.stderr);
}

#[test]
fn json_is_one_object_without_nesting() {
    let ran = run(&["trace", "--json", "one"], exchange().as_bytes());
    assert_eq!((ran.text().lines().count(), ran.code), (1, Some(0)));
    let tree = ran.last_json();
    assert_eq!((&tree["events"], &tree["roots"]), (&json!(5), &json!(2)));
    let nodes = tree["nodes"].as_array().unwrap();
    let shape: Vec<_> = nodes.iter().map(|node| (&node["sequence"], &node["parent"])).collect();
    let expected = [(1, Value::Null), (3, json!(0)), (4, json!(1)), (6, json!(0)), (7, Value::Null)];
    assert!(
        shape
            .iter()
            .zip(&expected)
            .all(|(shape, (sequence, parent))| *shape.0 == *sequence && shape.1 == parent)
    );
    assert_eq!(
        (nodes.len(), &nodes[2]["event"]["event_id"], &nodes[4]["cause"]),
        (5, &json!("c"), &json!("unknown"))
    );
}

#[test]
fn ids_are_listed_with_their_counts() {
    let ran = run(&["trace", "--list"], exchange().as_bytes());
    assert_eq!((ran.text(), ran.code), ("one\t5\nother\t1\n", Some(0)));
    assert_eq!(ran.stderr, "2 correlation ids, 1 events without one\n");
    let scratch = Scratch::new();
    let file = scratch.write("events", exchange());
    let ran = run(&["trace", "--list", "--json", &file, &file], b"");
    let ids = json!([{"correlation_id": "one", "events": 10}, {"correlation_id": "other", "events": 2}]);
    let expected = json!({"correlation_ids": ids, "events_without": 2, "events_unlisted": 0});
    assert_eq!((ran.last_json(), ran.code), (expected, Some(0)));
}

#[test]
fn the_list_is_bounded_and_says_what_it_left_out() {
    let mut input = String::new();
    for id in 0..65_536 + 3 {
        input.push_str(&line("a", "", &format!("id-{id}")));
    }
    input.push_str(&line("a", "", "id-7"));
    let ran = run(&["trace", "--list"], input.as_bytes());
    assert_eq!((ran.text().lines().count(), ran.text().lines().next()), (65_536, Some("id-7\t2")));
    assert!(ran.stderr.contains(", 3 events of other ids"), "{}", ran.stderr);
}

#[test]
fn what_is_not_found_or_rejected_is_said_and_the_rest_is_drawn() {
    let ran = run(&["trace", "nobody\u{1b}"], exchange().as_bytes());
    assert_eq!((ran.text(), ran.code), ("", Some(1)));
    assert_eq!(ran.stderr, "no event has the correlation id nobody\\u{1b}\n");
    assert_eq!(run(&["trace", "one"], b"").code, Some(1));

    let torn = format!("{}{{\"event_type\":\"a\n", line("a", "", "one"));
    let ran = run(&["trace", "one"], torn.as_bytes());
    assert_eq!((ran.text().lines().count(), ran.code), (1, Some(1)));
    assert!(ran.stderr.starts_with("-:2: "), "{}", ran.stderr);

    let scratch = Scratch::new();
    let file = scratch.write("events", exchange());
    let gone = scratch.path("gone");
    let ran = run(&["trace", "one", &file, &gone], b"");
    assert_eq!((ran.text(), ran.code), ("", Some(2)), "told before anything is read");
    assert!(ran.stderr.contains("gone"), "{}", ran.stderr);
    assert_eq!(run(&["trace"], b"").code, Some(2), "neither an id nor --list");
}

#[test]
fn nothing_in_an_event_can_act_on_the_terminal() {
    let event = json!({
        "event_type": "a\u{202e}b", "source": "s\u{2028}", "event_id": "i\u{feff}d", "correlation_id": "one\u{202e}",
        "causation_id": "c\u{2066}", "data": {"x": "\u{1b}[2J"},
    });
    for args in [&["trace", "one\u{202e}"][..], &["trace", "--list"]] {
        let ran = run(args, format!("{event}\n").as_bytes());
        assert_eq!(ran.code, Some(0));
        let active = |c: char| {
            (c.is_control() && !"\n\t".contains(c)) || "\u{202e}\u{2028}\u{feff}\u{2066}".contains(c)
        };
        assert!(!ran.text().contains(active) && !ran.stderr.contains(active), "{:?}", ran.text());
        assert_eq!(ran.text().lines().count(), 1);
    }
}

#[test]
fn hostile_causes_and_a_long_chain_are_drawn() {
    let mut input = [line("a", "b", "one"), line("b", "a", "one"), line("s", "s", "one")].concat();
    let many = 20_000;
    for at in 0..many {
        input.push_str(&line(
            &format!("n{at}"),
            &if at == 0 { String::new() } else { format!("n{}", at - 1) },
            "one",
        ));
    }
    let ran = run(&["trace", "one"], input.as_bytes());
    assert_eq!((ran.text().lines().count(), ran.code), (many + 3, Some(0)));
    assert_eq!(ran.text().matches("leads back to it").count(), 2);
}

#[test]
fn an_exchange_that_is_too_large_is_an_error_and_others_do_not_count() {
    let scratch = Scratch::new();
    let padded = format!("\"n\":\"{}\"", "x".repeat(1_000_000));
    let large = scratch.write("large", line("a", "", "one").replace("\"n\":1", &padded).repeat(10));
    let small = scratch.write("small", line("b", "", "small"));
    let with = |id| {
        let mut args = vec!["trace", id];
        args.extend([large.as_str()].repeat(27));
        args.push(&small);
        run(&args, b"")
    };
    let ran = with("one");
    assert_eq!((ran.text(), ran.code), ("", Some(2)));
    assert_eq!(ran.stderr, "error: the exchange takes over 268435456 bytes\n");
    let ran = with("small");
    assert_eq!((ran.text().lines().count(), ran.code), (1, Some(0)));
}
