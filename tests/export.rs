//! Histories and dead letters as lines, and back.
#![allow(clippy::unwrap_used, clippy::panic, reason = "in a test a panic is the report")]

#[path = "support/laws.rs"]
mod laws;
#[path = "support/bus.rs"]
mod support;

use codomyrmex_events::{
    DeadLetter, DeadLetterKind, Event, EventBus, EventDeliveryError, EventPayload, ExportError,
    LETTER_ERRORS_MAX, LetterParseError, LineErrorKind, Replay, Timestamp, Validation,
};
use proptest::prelude::*;
use serde_json::json;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use support::{event, publish};

/// Lines as hostile as an event may be; what they say is theirs to keep.
const HOSTILE: [&str; 8] = [
    r#"{"event_type":"größe.*[!a]","source":"日本 \"語\"","event_id":"not a uuid","timestamp":-0.000000001}"#,
    r#"{"event_type":"a","source":"b","event_id":"EC77EC57-473D-5C45-BF19-BD7728BD0C30","timestamp":1763810000.123456789}"#,
    r#"{"event_type":"a","source":"b","data":{"n":123456789012345678901234567890.00,"m":-0,"e":1E+30,"n":1},"timestamp":1e0}"#,
    r#"{"event_type":"a","source":"b","data":"\ud83e\udd80 é \u0000\u2028 </script>","metadata":{"k":[1.0,1e2],"\u006b":0}}"#,
    r#"{"event_type":"build.start","source":"b","data":[[[[]]],{},{"":null}],"correlation_id":"ü","causation_id":"🦀"}"#,
    r#"{"event_type":"a","source":"b","data": { "spaced" : [ 1 , 2 ] } ,"priority":2}"#,
    r#"{"event_type":"a","source":"b","data":null,"metadata":{},"priority":"monitoring"}"#,
    r#"{"event_type":"a","source":"b","data":false,"metadata":{"replayed":true,"replayed_sequence":9},"timestamp":9223372036.854775807}"#,
];

fn history(bus: &EventBus) -> String {
    bus.history().export().collect::<Result<_, _>>().unwrap()
}

fn letters(bus: &EventBus) -> String {
    bus.dead_letter_queue().export().collect::<Result<_, _>>().unwrap()
}

#[test]
fn a_history_goes_out_in_and_out_again_byte_for_byte() {
    let bus = EventBus::new();
    for line in HOSTILE {
        bus.publish(Event::from_json(line).unwrap()).unwrap();
    }
    // As deep as an event may be.
    let deep = format!(r#"{{"event_type":"a","source":"b","data":{}{}}}"#, "[".repeat(127), "]".repeat(127));
    bus.publish(Event::from_json(&deep).unwrap()).unwrap();
    let first = history(&bus);
    assert_eq!(first.lines().count(), HOSTILE.len() + 1);
    assert!(first.contains(r#""data":{"n":123456789012345678901234567890.00,"m":-0,"e":1E+30,"n":1}"#));

    let restored = EventBus::new();
    let report = Replay::onto(&restored).unmarked().ndjson(&first);
    assert_eq!((report.published, report.malformed), (HOSTILE.len() as u64 + 1, 0));
    assert_eq!(history(&restored), first);

    // What had lost its beginning is numbered anew and is the same otherwise.
    let short = EventBus::builder().history(3).build().unwrap();
    Replay::onto(&short).unmarked().ndjson(&first);
    let number =
        |line: &str| line.rsplit_once(",\"sequence\":").unwrap().1.trim_end_matches('}').parse().unwrap();
    let numbers = |text: &str| text.lines().map(number).collect::<Vec<u64>>();
    assert_eq!(numbers(&history(&short)), [7, 8, 9]);
    let renumbered = EventBus::new();
    Replay::onto(&renumbered).unmarked().ndjson(history(&short));
    assert_eq!(numbers(&history(&renumbered)), [1, 2, 3]);
    for (was, is) in history(&short).lines().zip(history(&renumbered).lines()) {
        let event = |line: &str| line.rsplit_once(",\"sequence\":").unwrap().0.to_owned();
        assert_eq!(event(was), event(is));
    }
}

#[test]
fn what_no_door_accepts_is_refused_here_too() {
    for data in [r#""\ud800""#, "1e999", "NaN", r#"{"a":1}}"#, &"[".repeat(128), "01"] {
        let line = format!(r#"{{"event_type":"a","source":"b","data":{data}}}"#);
        let report = Replay::onto(&EventBus::new()).ndjson(&line);
        assert_eq!((report.published, report.malformed), (0, 1), "{data}");
        let letter = format!(r#"{{"kind":"schema","event":{line}}}"#);
        let report = EventBus::new().dead_letter_queue().import(&letter);
        assert_eq!((report.imported, report.malformed), (0, 1), "{data}");
    }
}

#[test]
fn a_query_is_exported_oldest_first_whatever_its_order() {
    let bus = EventBus::new();
    bus.publish_batch(["a", "build.x", "build.y", "b", "build.z"].map(event));
    let newest = bus.history().query().event_type("build.*").limit(2).export().unwrap();
    let types: Vec<String> =
        newest.map(|line| Event::from_json(&line.unwrap()).unwrap().event_type().to_string()).collect();
    assert_eq!(types, ["build.y", "build.z"]);
    assert!(bus.history().query().event_type("x".repeat(2_000)).export().is_err());
    assert_eq!(history(&EventBus::builder().history(0).build().unwrap()), "");
}

#[derive(serde::Serialize, serde::Deserialize)]
struct Ratio(f64);

impl EventPayload for Ratio {
    const EVENT_TYPE: &str = "metric.update";
}

#[test]
fn what_cannot_be_a_line_is_told_and_the_rest_is_exported() {
    let bus = EventBus::new();
    bus.subscribe("*").subscriber_id("w").handler(|_| Err::<(), _>("no")).unwrap();
    publish(&bus, "a");
    bus.publish(Event::typed("test", Ratio(f64::NAN)).build().unwrap()).unwrap();
    bus.publish(Event::builder("b", "test").data(json!("x".repeat(1 << 20))).build().unwrap()).unwrap();
    publish(&bus, "c");
    let lines: Vec<_> = bus.history().export().collect();
    assert_eq!(bus.history().export().size_hint(), (4, Some(4)));
    assert!(matches!(&lines[1], Err(ExportError::Payload { number: 2, .. })), "{:?}", lines[1]);
    assert!(matches!(&lines[2], Err(ExportError::TooLong { number: 3, bytes }) if *bytes > 1 << 20));
    assert!(lines[0].is_ok() && lines[3].is_ok());
    let lines: Vec<_> = bus.dead_letter_queue().export().collect();
    assert!(matches!(&lines[1], Err(ExportError::Payload { number: 2, .. })));
    assert!(matches!(&lines[2], Err(ExportError::TooLong { number: 3, .. })));
    assert!(lines[0].is_ok() && lines[3].is_ok());
}

/// A bus with a letter of each kind that there is without a queue, and its text.
fn with_letters() -> (EventBus, String) {
    let bus = EventBus::builder().validate(Validation::Typed).build().unwrap();
    bus.subscribe("my.*").subscriber_id("broken").attempts(2).handler(|_| Err::<(), _>(Nested)).unwrap();
    for line in HOSTILE {
        let line = line.replace("\"event_type\":\"a\"", "\"event_type\":\"my.a\"");
        let _ = bus.publish(Event::from_json(&line).unwrap());
    }
    let deep =
        format!(r#"{{"event_type":"my.a","source":"b","data":{}{}}}"#, "[".repeat(127), "]".repeat(127));
    bus.publish(Event::from_json(&deep).unwrap()).unwrap();
    publish(&bus, "my.own");
    let redriven = bus.dead_letter_queue().letters().last().unwrap().id();
    bus.dead_letter_queue().redrive(redriven).unwrap_err();
    bus.publish(Event::builder("build.start", "test").data(json!({"target": 1})).build().unwrap())
        .unwrap_err();
    let _ = bus.emit_typed(event("never.registered")).unwrap_err();
    let text = letters(&bus);
    (bus, text)
}

#[derive(Debug, thiserror::Error)]
#[error("outer \"quoted\"\n🦀")]
struct Nested;

#[test]
fn letters_go_out_in_and_out_again_byte_for_byte() {
    let (bus, first) = with_letters();
    let other = EventBus::builder().validate(Validation::Typed).build().unwrap();
    let report = other.dead_letter_queue().import(&first);
    assert_eq!((report.malformed, report.imported), (0, bus.dead_letter_queue().len() as u64));
    let without_id = |text: &str| -> Vec<String> {
        let id = |line: &str| {
            let at = line.find(",\"letter\":").unwrap();
            let end = line[at + 1..].find(',').unwrap();
            format!("{}{}", &line[..at], &line[at + 1 + end..])
        };
        text.lines().map(id).collect()
    };
    assert_eq!(without_id(&letters(&other)), without_id(&first));
    for (was, is) in bus.dead_letter_queue().letters().iter().zip(other.dead_letter_queue().letters()) {
        assert_eq!(was.kind(), is.kind());
        assert_eq!(was.event().to_json(), is.event().to_json());
        assert_eq!(was.earlier_failures(), is.earlier_failures());
        assert_eq!((was.sequence(), was.subscriber_id()), (is.sequence(), is.subscriber_id()));
        assert_eq!((was.attempts(), was.redrives()), (is.attempts(), is.redrives()));
        assert_eq!(
            (was.first_failed_at(), was.last_failed_at()),
            (is.first_failed_at(), is.last_failed_at())
        );
        assert_eq!(was.error_chain(), is.error_chain());
        let told = |letter: &DeadLetter| {
            letter.rejection().map(|rejection| (rejection.to_string(), rejection.total()))
        };
        assert_eq!(told(was), told(&is));
        if let (Some(was), Some(is)) = (was.rejection(), is.rejection()) {
            assert_eq!((was.failures(), was.is_unregistered()), (is.failures(), is.is_unregistered()));
        }
    }
    // A third time, in a bus whose letters get the same ids.
    let third = EventBus::new();
    third.dead_letter_queue().import(letters(&other));
    assert_eq!(letters(&third), letters(&other));
}

#[test]
fn an_imported_letter_is_redriven_to_whoever_has_the_id_then_and_to_nobody_else() {
    let bus = EventBus::new();
    let broken = bus.subscribe("*").subscriber_id("ledger").handler(|_| Err::<(), _>("no database")).unwrap();
    bus.publish(event("order.paid")).unwrap();
    let text = letters(&bus);
    drop(broken);

    let next = EventBus::new();
    let queue = next.dead_letter_queue();
    assert_eq!(queue.import(&text).imported, 1);
    let id = queue.letters()[0].id();
    let Err(EventDeliveryError::SubscriptionGone { letter, subscriber_id }) = queue.redrive(id) else {
        panic!("nobody has the id")
    };
    assert_eq!((letter, subscriber_id.as_str(), queue.len()), (id, "ledger", 1));

    let fails = Arc::new(AtomicBool::new(true));
    let (failing, heard) = (Arc::clone(&fails), Arc::new(AtomicU64::new(0)));
    let hearing = Arc::clone(&heard);
    next.subscribe("*").subscriber_id("other").handler(|_| Err::<(), _>("not asked for")).unwrap();
    let ledger = next
        .subscribe("*")
        .subscriber_id("ledger")
        .handler(move |event| {
            assert_eq!((event.event_type().as_str(), event.sequence()), ("order.paid", 1));
            hearing.fetch_add(1, SeqCst);
            if failing.load(SeqCst) { Err("still no database") } else { Ok(()) }
        })
        .unwrap();
    assert!(matches!(queue.redrive(id), Err(EventDeliveryError::Failed(_))));
    let again = queue.letters();
    assert_eq!((again.len(), again[0].attempts(), again[0].redrives()), (1, 2, 1));
    assert_eq!(again[0].earlier_failures()[0].error, "no database");
    assert_eq!(again[0].sequence(), Some(1));
    fails.store(false, SeqCst);
    // From now on it knows its subscription itself.
    queue.redrive(again[0].id()).unwrap();
    assert_eq!((queue.len(), heard.load(SeqCst)), (0, 2));
    laws::check(&next.get_stats());

    // Another subscription under the same id.
    queue.import(&text);
    assert!(ledger.unsubscribe());
    next.subscribe("nothing").subscriber_id("ledger").handler(|_| ()).unwrap();
    assert!(queue.redrive_all(|_| true)[0].1.is_ok());
    let stats = next.get_stats();
    assert_eq!(stats.dead_letters_made, 3, "two that were imported, one that failed again");
    assert_eq!((stats.accepted, stats.events_failed), (0, 1));
    laws::check(&stats);
}

#[test]
fn imported_schema_letters_are_validated_again_and_published() {
    let (_, text) = with_letters();
    let next = EventBus::new();
    next.event_schema().register_event_schema("never.registered", json!({})).unwrap();
    let queue = next.dead_letter_queue();
    queue.import(&text);
    queue.purge(|letter| letter.kind() != DeadLetterKind::Schema);
    let outcomes = queue.redrive_all(|_| true);
    let published: Vec<_> =
        next.history().latest(9).iter().map(|event| event.event_type().to_string()).collect();
    assert_eq!(published, ["never.registered"]);
    let refused = outcomes.iter().filter(|(_, outcome)| outcome.is_err()).count();
    assert_eq!((refused, queue.len()), (outcomes.len() - 1, outcomes.len() - 1));
    laws::check(&next.get_stats());
}

#[test]
fn a_full_queue_lets_its_oldest_letters_go_and_counts_them() {
    let (bus, text) = with_letters();
    let all = bus.dead_letter_queue().len() as u64;
    for (limit, times) in [(0, 1), (1, 1), (3, 2), (100, 2)] {
        let told = Arc::new(AtomicU64::new(0));
        let telling = Arc::clone(&told);
        let tell = move |_: &DeadLetter| {
            telling.fetch_add(1, SeqCst);
        };
        let next = EventBus::builder().dead_letters(limit).on_dead_letter(tell).build().unwrap();
        let queue = next.dead_letter_queue();
        for _ in 0..times {
            // Twice is twice.
            assert_eq!(queue.import(&text).imported, all);
        }
        let (made, kept) = (times * all, (times * all).min(limit as u64));
        let stats = next.get_stats();
        assert_eq!(queue.len() as u64, kept);
        assert_eq!((stats.dead_letters_made, stats.dead_letters_evicted), (made, made - kept));
        let ids: Vec<u64> = queue.letters().iter().map(|letter| letter.id()).collect();
        assert_eq!(ids, (made - kept + 1..=made).collect::<Vec<_>>());
        assert_eq!(told.load(SeqCst), 0, "old failures are no news");
        laws::check(&stats);
    }
}

#[test]
fn a_letter_of_another_bus_is_adopted_without_its_bonds() {
    let bus = EventBus::new();
    bus.subscribe("*").subscriber_id("w").handler(|_| Err::<(), _>("no")).unwrap();
    publish(&bus, "a");
    let letter = DeadLetter::clone(&bus.dead_letter_queue().letters()[0]);
    drop(bus);
    let next = EventBus::new();
    // In the same slot, so that a bond of the other bus would lead somewhere.
    next.subscribe("*").subscriber_id("stranger").handler(|_| Err::<(), _>("not asked for")).unwrap();
    let id = next.dead_letter_queue().adopt(letter);
    let redriven = next.dead_letter_queue().redrive(id);
    assert!(matches!(redriven, Err(EventDeliveryError::SubscriptionGone { .. })));
    next.subscribe("none").subscriber_id("w").handler(|_| ()).unwrap();
    next.dead_letter_queue().redrive(id).unwrap();
    assert!(next.dead_letter_queue().is_empty());
}

#[test]
fn every_cut_of_letters_keeps_the_whole_ones_and_reports_the_torn_one() {
    let (_, text) = with_letters();
    let text = text.as_bytes();
    let bus = EventBus::new();
    for cut in 0..=text.len() {
        let part = &text[..cut];
        let whole = part.iter().filter(|byte| **byte == b'\n').count() as u64;
        let is_unended = text.get(cut) == Some(&b'\n');
        let is_torn = !is_unended && !part.is_empty() && !part.ends_with(b"\n");
        let report = bus.dead_letter_queue().import(part);
        let expected = (whole + u64::from(is_unended), u64::from(is_torn));
        assert_eq!((report.imported, report.malformed), expected, "cut at {cut}");
        assert_eq!(report.read, report.imported + report.malformed);
        assert!(report.malformed_lines.iter().all(|error| error.is_torn() && error.line() == whole + 1));
    }
}

#[test]
fn what_dispatch_keeps_of_rejected_lines_is_read_as_letters() {
    let text = concat!(
        r#"{"line":3,"error":"build.start: \"target\" is a required property","pointers":["",""],"raw":"{\"event_type\":\"build.start\",\"source\":\"ci\",\"event_id\":\"e-1\",\"data\":{}}"}"#,
        "\n",
        r#"{"line":9,"error":"column 1: not a value","pointers":[],"raw":"nope"}"#,
        "\n",
        r#"{"line":12,"error":"column 1: not UTF-8","pointers":[],"raw_base64":"/w=="}"#,
        "\n",
    );
    let bus = EventBus::new();
    let report = bus.dead_letter_queue().import(text);
    assert_eq!((report.imported, report.malformed), (1, 2));
    let told: Vec<_> = report.malformed_lines.iter().map(|error| error.to_string()).collect();
    assert_eq!(told[1], "line 3: event is required");
    assert!(told[0].starts_with("line 2: event: "), "{}", told[0]);
    let letter = &bus.dead_letter_queue().letters()[0];
    assert_eq!((letter.kind(), letter.subscriber_id()), (DeadLetterKind::Schema, None));
    assert_eq!(letter.event().event_id(), &"e-1");
    assert_eq!(letter.rejection().unwrap().pointers().collect::<Vec<_>>(), ["", ""]);
    assert_eq!(letter.error_chain()[0], "build.start: \"target\" is a required property");
}

#[test]
fn what_is_no_letter_says_why() {
    let event = r#"{"event_type":"a","source":"b"}"#;
    let with = |fields: &str| format!("{{{fields}\"event\":{event}}}");
    for (text, reason) in [
        ("[1]".to_owned(), "a letter is a JSON object"),
        (with("\"kind\":\"lost\","), "there is no kind \"lost\""),
        (with("\"kind\":\"handler\","), "subscriber_id is required"),
        (with("\"kind\":\"time_limit\",\"subscriber_id\":null,"), "subscriber_id is required"),
        (with("\"kind\":\"handler\",\"subscriber_id\":\"\","), "subscriber_id"),
        (with("\"last_failed_at\":\"1\","), "last_failed_at must be a number of seconds"),
        (with("\"first_failed_at\":1e99,"), "first_failed_at must be"),
        (
            with("\"earlier_failures\":[{\"at\":true,\"attempts\":1,\"error\":\"\"}],"),
            "earlier_failures.at must be",
        ),
        (with("\"attempts\":-1,"), "invalid value: integer `-1`"),
        (with("\"kind\":\"schema\",\"kind\":\"schema\","), "duplicate field `kind`"),
        ("{\"kind\":\"schema\"}".to_owned(), "event is required"),
        ("{\"event\":{\"event_type\":\"a\"}}".to_owned(), "event: source is required"),
        (format!("{{\"x\":{}", "[".repeat(1_000_000)), "EOF while parsing"),
        (format!("{{\"event\":{}", "[".repeat(1_000_000)), "EOF while parsing"),
    ] {
        let told = DeadLetter::from_json(&text).unwrap_err().to_string();
        let start: String = text.chars().take(60).collect();
        assert!(told.contains(reason), "{start}: {told}");
    }
    let bad = "{nope\n".repeat(LETTER_ERRORS_MAX + 5);
    let report = EventBus::new().dead_letter_queue().import(bad);
    assert_eq!(
        (report.malformed as usize, report.malformed_lines.len()),
        (LETTER_ERRORS_MAX + 5, LETTER_ERRORS_MAX)
    );
    assert!(matches!(
        report.malformed_lines[0].kind(),
        LineErrorKind::Letter(LetterParseError::Malformed(_))
    ));
    // Times that are missing are the present, and the first is not after the last.
    let letter = DeadLetter::from_json(&with("\"kind\":\"dropped\",\"last_failed_at\":5,")).unwrap();
    assert_eq!(letter.first_failed_at(), Timestamp::from_unix_nanos(5_000_000_000));
    assert_eq!(letter.id(), 0);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    /// Whatever the texts in an event and in an error, letter and event come back with the same bytes.
    #[test]
    fn any_event_and_any_error_come_back(
        name in "[^\\p{Cc}]{1,20}", source in "[^\\p{Cc}]{1,20}", data in ".{0,40}", number in any::<f64>(),
        nanos in any::<i64>(), error in "(?s).{0,40}", id in prop::option::of("[^\\p{Cc}]{1,30}"),
    ) {
        let mut made = Event::builder(name, source)
            .timestamp(Timestamp::from_unix_nanos(nanos))
            .data(json!({"data": data, "number": number, "nested": [{}, [data]]}))
            .metadata_entry(data, number);
        if let Some(id) = id {
            made = made.event_id(id.clone()).correlation_id(id);
        }
        let bus = EventBus::new();
        bus.subscribe("*").handler(move |_| Err::<(), _>(error.clone())).unwrap();
        bus.publish(made.build().unwrap()).unwrap();
        let next = EventBus::new();
        Replay::onto(&next).unmarked().ndjson(history(&bus));
        next.dead_letter_queue().import(letters(&bus));
        prop_assert_eq!(history(&next), history(&bus));
        prop_assert_eq!(letters(&next), letters(&bus));
    }
}
