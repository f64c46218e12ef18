//! What an analysis tells: small streams with known answers, and memory that stays flat whatever comes.

#![allow(clippy::unwrap_used, clippy::panic, reason = "in a test a panic is the report")]

#[path = "support/allocations.rs"]
mod allocations;

use codomyrmex_events::{Analysis, Analyzer, Event, EventBus, EventEmitter, Payload, Timestamp};
use serde_json::{Value, json};
use std::time::Duration;

const SECOND: i64 = 1_000_000_000;
const WINDOW: Duration = Duration::from_secs(10);

fn at(ms: i64) -> Timestamp {
    Timestamp::from_unix_nanos(ms * 1_000_000)
}

/// An event at a time in milliseconds, with a correlation id unless that is empty.
fn event(ms: i64, name: &str, correlation_id: &str, data: Value) -> Event {
    let builder = Event::builder(name, "s").timestamp(at(ms)).data(data);
    if correlation_id.is_empty() { builder } else { builder.correlation_id(correlation_id) }.build().unwrap()
}

fn analyzed(window: Duration, events: impl IntoIterator<Item = Event>) -> Analysis {
    let mut analyzer = Analyzer::new(window);
    events.into_iter().for_each(|event| analyzer.add(&event));
    analyzer.finish()
}

/// Of the one kind of operation: starts, completed, failed, open, ends alone, and the times in milliseconds.
fn operations(events: &[(i64, &str, &str, Value)]) -> ([u64; 5], [u64; 2]) {
    let events = events.iter().map(|(ms, name, id, data)| event(*ms, name, id, data.clone()));
    let analysis = analyzed(WINDOW, events);
    let stats = &analysis.operations.kept[0];
    assert_eq!(stats.starts, stats.completed + stats.open + stats.let_go + stats.uncorrelated);
    assert_eq!(analysis.never_completed.total, stats.open);
    let counts = [stats.starts, stats.completed, stats.failed, stats.open, stats.ends_alone];
    (counts, [stats.p50_ns / 1_000_000, stats.max_ns / 1_000_000])
}

#[test]
fn an_end_belongs_to_the_start_that_it_ends() {
    let none = || json!({});
    let named = |name: &str| json!({ "task_name": name });
    for (what, events, counts, times) in [
        (
            "a pair",
            vec![(1, "a.start", "c", none()), (8, "a.complete", "c", none())],
            [1, 1, 0, 0, 0],
            [7, 7],
        ),
        (
            "a failure",
            vec![(1, "a.started", "c", none()), (3, "a.failed", "c", none())],
            [1, 1, 1, 0, 0],
            [2, 2],
        ),
        (
            "told unsuccessful",
            vec![(1, "a.start", "c", none()), (3, "a.complete", "c", json!({"success": false}))],
            [1, 1, 1, 0, 0],
            [2, 2],
        ),
        (
            "of no time",
            vec![(1, "a.start", "c", none()), (1, "a.error", "c", none())],
            [1, 1, 1, 0, 0],
            [0, 0],
        ),
        (
            "other ids",
            vec![(1, "a.start", "c", none()), (3, "a.complete", "d", none())],
            [1, 0, 0, 1, 1],
            [0, 0],
        ),
        (
            "other kinds",
            vec![(1, "a.start", "c", none()), (3, "b.complete", "c", none())],
            [1, 0, 0, 1, 0],
            [0, 0],
        ),
        ("no id", vec![(1, "a.start", "", none()), (3, "a.complete", "", none())], [1, 0, 0, 0, 1], [0, 0]),
        (
            "nested: the inner ends first",
            vec![
                (0, "a.start", "c", none()),
                (10, "a.start", "c", none()),
                (11, "a.complete", "c", none()),
                (30, "a.complete", "c", none()),
            ],
            [2, 2, 0, 0, 0],
            [1, 30],
        ),
        (
            "side by side, told apart by name; an end without one ends the last",
            vec![
                (0, "a.start", "c", named("x")),
                (10, "a.start", "c", named("y")),
                (20, "a.start", "c", named("z")),
                (21, "a.complete", "c", named("x")),
                (22, "a.error", "c", none()),
                (23, "a.complete", "c", named("x")),
            ],
            [3, 2, 1, 1, 1],
            [2, 21],
        ),
        (
            "the end comes first and waits; an earlier one does not fit",
            vec![
                (3, "a.complete", "c", none()),
                (90, "a.complete", "c", none()),
                (60, "a.complete", "c", none()),
                (50, "a.start", "c", none()),
            ],
            [1, 1, 0, 0, 2],
            [10, 10],
        ),
        (
            "the same time, end first",
            vec![(5, "a.complete", "c", none()), (5, "a.start", "c", none())],
            [1, 0, 0, 1, 1],
            [0, 0],
        ),
        (
            "a start is no later",
            vec![(5, "a.start", "c", none()), (4, "a.complete", "c", none())],
            [1, 0, 0, 1, 1],
            [0, 0],
        ),
    ] {
        assert_eq!(operations(&events), (counts, times), "{what}");
    }
}

#[test]
fn an_end_that_names_its_cause_belongs_to_that() {
    let start = |ms, id: &str| {
        Event::builder("a.start", "s").timestamp(at(ms)).correlation_id("c").event_id(id).build().unwrap()
    };
    let end = Event::builder("a.complete", "s").timestamp(at(100)).correlation_id("c").causation_id("first");
    let analysis = analyzed(WINDOW, [start(0, "first"), start(50, "second"), end.build().unwrap()]);
    assert_eq!(analysis.operations.kept[0].max_ns, 100_000_000);
    let [open] = analysis.never_completed.kept.as_slice() else { panic!("{analysis:?}") };
    assert_eq!((&*open.event_id.to_string(), open.since, open.age_ns), ("second", at(50), 50_000_000));
}

#[test]
fn operations_of_an_emitter_are_called_by_their_name() {
    let bus = EventBus::new();
    let emitter = EventEmitter::on_bus("deployer", &bus).unwrap();
    let ids = ["copy", "copy", "check"].map(|name| emitter.start_operation(name, json!({})).unwrap());
    emitter.end_operation(&ids[1], false, None, Some("no disk")).unwrap();
    emitter.end_operation(&ids[2], true, None, None).unwrap();
    let analysis = bus.history().analyze("*", WINDOW).unwrap();
    let rows: Vec<_> = analysis
        .operations
        .kept
        .iter()
        .map(|row| (row.operation.as_str(), row.starts, row.completed, row.failed))
        .collect();
    assert_eq!(rows, [("copy", 2, 1, 1), ("check", 1, 1, 0)]);
    assert_eq!(analysis.never_completed.kept[0].correlation_id, ids[0]);
    assert_eq!(analysis.errors.kept[0].message, "no disk");
}

#[test]
fn a_history_is_asked_by_globs_and_no_larger_afterwards() {
    let bus = EventBus::new();
    let text = format!(r#"{{"error_message": "e", "more": [{}0]}}"#, "0,".repeat(10_000));
    for name in ["a.start", "a.failed", "b.failed", "c.start"] {
        bus.publish(
            Event::builder(name, "s")
                .correlation_id("x")
                .data(Payload::from_json(text.as_str()).unwrap())
                .build()
                .unwrap(),
        )
        .unwrap();
    }
    let analyze = || bus.history().analyze(["a.*", "b.failed"], WINDOW).unwrap();
    let (analysis, taken) = allocations::during(analyze);
    assert_eq!((analysis.events, analysis.errors.total, analysis.operations.kept[0].failed), (3, 2, 1));
    assert!(taken.peak_bytes > 100_000 && taken.kept_bytes < 20_000, "{taken:?}");
    assert!(bus.history().analyze("x".repeat(2_000), WINDOW).is_err());
}

#[test]
fn jumps_are_told_but_not_where_the_stream_is_cut() {
    let per_window = |counts: &[u64]| {
        let events = counts.iter().zip(0..).flat_map(|(count, window)| {
            (0..*count).map(move |_| event(window * 10_000, "a.b", "", json!({})))
        });
        // Something else goes on all the time.
        let others = (0..counts.len() as i64).map(|window| event(window * 10_000, "other", "", json!({})));
        let analysis = analyzed(WINDOW, events.chain(others));
        assert_eq!(analysis.jumps.total as usize, analysis.jumps.kept.len());
        let mut jumps: Vec<(i64, u64, u64)> = analysis
            .jumps
            .kept
            .iter()
            .filter(|jump| jump.event_type.is_some())
            .map(|jump| (jump.window.as_unix_nanos() / SECOND / 10, jump.before, jump.after))
            .collect();
        jumps.sort_unstable();
        jumps
    };
    for (counts, expected) in [
        (&[20, 60, 180][..], &[(2, 60, 180)][..]),
        (&[20, 0, 20, 0], &[(1, 20, 0), (2, 0, 20)]),
        (&[5, 5, 20, 7, 6, 20, 20, 0, 0, 0, 0, 0, 1], &[(2, 5, 20), (5, 6, 20), (7, 20, 0)]),
        (&[20, 59, 20], &[]),
        (&[0, 0, 19, 0], &[]),
    ] {
        assert_eq!(per_window(counts), expected, "{counts:?}");
    }
}

#[test]
fn windows_lengthen_until_they_fit_and_no_count_is_lost() {
    let times = |step: i64, count: i64| (0..count).map(move |n| event(n * step, "a.b", "", json!({})));
    for (window, step, count, expected_ms) in [
        (Duration::ZERO, 1, 256, 1),
        (Duration::ZERO, 1, 257, 5),
        (Duration::from_millis(7), 7, 257, 14),
        (Duration::from_secs(1), 60_000, 300, 300_000),
        (Duration::MAX, 60_000, 300, 3_155_760_000_000),
    ] {
        let analysis = analyzed(window, times(step, count));
        assert_eq!(analysis.window_ns, expected_ms * 1_000_000, "{window:?}");
        assert_eq!(analysis.types.kept[0].counts.iter().sum::<u64>(), count as u64);
        let reversed: Vec<Event> = times(step, count).collect();
        assert_eq!(analyzed(window, reversed.into_iter().rev()), analysis, "in any order");
    }
    let ends = [i64::MIN, 0, i64::MAX].map(|nanos| {
        Event::builder("a.start", "s")
            .timestamp(Timestamp::from_unix_nanos(nanos))
            .correlation_id("c")
            .build()
            .unwrap()
    });
    let analysis = analyzed(Duration::ZERO, ends);
    assert_eq!((analysis.windows.len(), analysis.never_completed.kept[0].age_ns), (3, u64::MAX));
    assert!(
        analysis.to_string().contains("3 events in 213,503 d") && analysis.to_svg().ends_with("</svg>\n")
    );
}

#[test]
fn no_events_are_told_as_such() {
    let analysis = Analyzer::default().finish();
    assert_eq!((analysis.to_string().as_str(), analysis.events), ("no events\n", 0));
    assert!(analysis.to_svg().contains("no events"));
    assert_eq!(serde_json::to_value(&analysis).unwrap()["first"], Value::Null);
    // What somebody changes is shown as far as it goes.
    let mut torn = analyzed(WINDOW, [event(0, "a.b", "", json!({})), event(99_999, "a.b", "", json!({}))]);
    torn.windows.clear();
    torn.window_ns = 0;
    torn.jumps.total = 3;
    assert!(torn.to_string().len() + torn.to_svg().len() > 100);
}

#[test]
fn tables_are_aligned_and_fit() {
    let events =
        (0..40).map(|n| event(n * 10_000, if n % 2 == 0 { "a.b" } else { "日本語.long" }, "", json!({})));
    let analysis = analyzed(WINDOW, events);
    for columns in [0, 60, 80, 300] {
        for line in format!("{analysis:columns$}").lines() {
            assert!(line.chars().count() <= columns.max(60), "{line}");
        }
    }
    let table = analysis.to_string();
    let rows: Vec<&str> = table.lines().filter(|line| line.contains("  20 ")).collect();
    let place = |row: &str, name: &str| row.char_indices().position(|(at, _)| row[at..].starts_with(name));
    assert_eq!(place(rows[0], "a.b"), place(rows[1], "日本語.long"), "{table}");
}

#[test]
fn nothing_in_an_event_acts_where_it_is_shown() {
    let name = "a\u{202e}<script>]]>&amp;'\"\u{ffff}.start";
    let evil = "\u{1b}[2J\r\n</text><script>alert(1)</script>\u{2028}";
    let start =
        Event::builder(name, "s\u{2066}<").timestamp(at(0)).correlation_id("c\u{feff}>").build().unwrap();
    let error = event(5, "x.failed", "", json!({"error_message": evil, "error_type": evil, "n_id": evil}));
    let custom = event(6, "custom", "c", json!({"phase": "start", "operation": evil}));
    let analysis = analyzed(WINDOW, [start, error, custom]);
    let is_active =
        |c: char| (c.is_control() && c != '\n') || "\u{202e}\u{2066}\u{feff}\u{2028}\u{ffff}".contains(c);
    assert!(!analysis.to_string().replace('\u{ffff}', "").contains(is_active), "{analysis}");
    let svg = analysis.to_svg();
    assert!(!svg.contains(is_active) && !svg.contains("<script") && svg.contains("&lt;script&gt;"), "{svg}");
    // No line is made by anybody but the table.
    assert_eq!(analysis.to_string().lines().filter(|line| line.contains("alert(1)")).count(), 3);
    let names: Vec<&str> = analysis.operations.kept.iter().map(|row| row.operation.as_str()).collect();
    assert!(names.contains(&evil), "JSON tells them as they are");
}

#[test]
fn payloads_of_any_shape_are_taken() {
    for data in
        [json!(null), json!(7), json!([1]), json!("x"), json!({"error_message": 7, "error": {"message": []}})]
    {
        let analysis = analyzed(WINDOW, [event(0, "a.failed", "c", data)]);
        assert_eq!((analysis.errors.total, analysis.errors.kept[0].message.as_str()), (1, ""));
    }
    let long = analyzed(WINDOW, [event(0, "failed", "c", json!({"message": "é".repeat(400)}))]);
    assert_eq!(long.errors.kept[0].message, "é".repeat(256));
    assert!(
        long.operations.kept.is_empty() && long.operations.others.ends == 0,
        "a failure of nothing ends nothing"
    );
}

#[test]
fn those_that_wait_are_bounded_and_what_goes_is_counted() {
    // One kind and id: the last 1,024 wait.
    let starts = (0..1_030).map(|n| event(n, "a.start", "c", json!({})));
    let ends = (0..1_030).map(|n| event(2_000 + n, "a.complete", "c", json!({})));
    let stats = &analyzed(WINDOW, starts.chain(ends)).operations.kept[0];
    assert_eq!([stats.completed, stats.let_go, stats.open, stats.ends_alone], [1_024, 6, 0, 6]);

    // Ends that come first: the last 4,096 wait for their start.
    let ids: Vec<String> = (0..4_100).map(|n| format!("c-{n}")).collect();
    let ends = ids.iter().map(|id| event(9, "a.complete", id, json!({})));
    let starts = ids.iter().map(|id| event(8, "a.start", id, json!({})));
    let analysis = analyzed(WINDOW, ends.chain(starts));
    let stats = &analysis.operations.kept[0];
    assert_eq!([stats.completed, stats.open, stats.ends_alone], [4_096, 4, 4]);
    assert!(!stats.is_exact && stats.p50_ns.abs_diff(1_000_000) <= 10_000, "{stats:?}");
    assert_eq!((analysis.never_completed.total, analysis.never_completed.kept.len()), (4, 4));
}

#[test]
fn a_million_of_everything_takes_a_bounded_amount_of_memory() {
    const EVENTS: u64 = 1_000_000;
    let feed = || {
        let mut analyzer = Analyzer::new(Duration::ZERO);
        for n in 0..EVENTS {
            let word = format!("{n:x}z-and-more-than-fits-inline");
            let (name, data) = match n % 4 {
                0 => ("build.start".to_owned(), json!({"build_id": n})),
                1 => (format!("{word}.start"), json!({})),
                2 => ("x.failed".to_owned(), json!({"error_message": word})),
                _ => (format!("{word}.complete"), json!({})),
            };
            let event = Event::builder(name.as_str(), word.as_str()).correlation_id(word.as_str()).data(data);
            analyzer.add(&event.timestamp(at(n as i64 * 1_000)).build().unwrap());
        }
        let analysis = analyzer.finish();
        assert!(analysis.to_string().len() < 20_000 && analysis.to_svg().len() < 200_000);
        analysis
    };
    let (analysis, taken) = allocations::during(feed);
    for rates in [&analysis.types, &analysis.sources, &analysis.pairs] {
        assert_eq!(rates.kept.len(), 1_024);
        let kept: u64 = rates.kept.iter().map(|series| series.events).sum();
        assert_eq!(kept + rates.others.events, EVENTS);
        assert_eq!(rates.others.counts.iter().sum::<u64>(), rates.others.events);
    }
    assert_eq!((analysis.errors.total, analysis.errors.kept.len()), (EVENTS / 4, 1_024));
    assert_eq!(analysis.errors.others, EVENTS / 4 - 1_024);
    let starts: u64 = analysis.operations.kept.iter().map(|row| row.starts).sum();
    assert_eq!(starts + analysis.operations.others.starts, EVENTS / 2);
    assert_eq!(analysis.operations.others.ends, EVENTS / 2, "nothing that ends had begun");
    let never = &analysis.never_completed;
    assert_eq!((never.total, never.let_go, never.kept.len()), (16_384, starts - 16_384, 100));
    // Kept, they would take hundreds.
    assert!(taken.peak_bytes < 32 << 20, "{} bytes", taken.peak_bytes);
}
