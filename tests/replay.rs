//! Replays: which events, when, onto which bus, and what is told of them.
#![allow(clippy::unwrap_used, clippy::panic, reason = "in a test a panic is the report")]

#[path = "support/block_on.rs"]
mod block_on;
#[path = "support/laws.rs"]
mod laws;
#[path = "support/bus.rs"]
mod support;

use block_on::block_on;
use codomyrmex_events::{
    Delivery, Event, EventBus, Overflow, PublishErrorKind, Recorded, Replay, ReplayEnding, ReplayError,
    ReplayReport, ReplaySpeed, Replayed, Timestamp, correlation,
};
use proptest::prelude::*;
use serde_json::{Value, json};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::task::{Context, Waker};
use std::time::Duration;
use support::{event, publish, ready, watched};

const MILLI: u64 = 1_000_000;

fn at(nanos: u64) -> Event {
    let time = Timestamp::from_unix_nanos(nanos.try_into().unwrap());
    Event::builder("my.own", "test").timestamp(time).build().unwrap()
}

/// A bus whose history holds an event for each of these times.
fn recorded_at(times: &[u64]) -> EventBus {
    let bus = EventBus::new();
    bus.publish_batch(times.iter().map(|time| at(*time)));
    bus
}

fn all(bus: &EventBus) -> Vec<Recorded> {
    bus.history().query().since(0).events().unwrap()
}

#[track_caller]
fn counts(report: &ReplayReport) -> [u64; 4] {
    let counts = [report.published, report.skipped, report.refused, report.malformed];
    assert_eq!(report.read, counts.iter().sum::<u64>(), "{report:?}");
    counts
}

#[test]
fn an_event_comes_back_as_it_was_and_says_that_it_is_replayed() {
    let bus = EventBus::new();
    let original = Event::builder("my.own", "shop")
        .event_id("not a uuid")
        .timestamp(Timestamp::from_unix_nanos(1_763_810_000_123_456_789))
        .correlation_id("c-1")
        .causation_id("cause")
        .data(json!({"a": [1, {"b": null}]}))
        .metadata_entry("tool", "cargo")
        .priority(codomyrmex_events::EventPriority::Critical)
        .build()
        .unwrap();
    publish(&bus, "before");
    bus.publish(original).unwrap();
    let other = EventBus::new();
    Replay::onto(&other).history(&bus);
    let (was, is) = (&all(&bus)[1], &all(&other)[1]);
    assert_eq!(
        is.metadata(),
        json!({"tool": "cargo", "replayed": true, "replayed_sequence": 2}).as_object().unwrap()
    );
    let unmarked = |event: &Event| {
        let mut dict = event.to_dict().unwrap();
        dict.remove("metadata");
        dict
    };
    assert_eq!(unmarked(is), unmarked(was));
    assert_eq!(was.metadata().len(), 1, "the original is not touched");
}

#[test]
fn the_first_mark_stays() {
    for (metadata, sequence, expected) in [
        ("{}", Some(7), r#"{"replayed":true,"replayed_sequence":7}"#),
        ("{}", None, r#"{"replayed":true}"#),
        (r#"{"a":1}"#, Some(7), r#"{"replayed":true,"replayed_sequence":7,"a":1}"#),
        (r#"{"replayed":true,"replayed_sequence":3}"#, Some(7), r#"{"replayed":true,"replayed_sequence":3}"#),
        (r#"{"b":2,"replayed":true}"#, Some(7), r#"{"b":2,"replayed":true}"#),
        (r#"{"replayed":false,"z":0}"#, Some(7), r#"{"replayed":true,"replayed_sequence":7,"z":0}"#),
        (r#"{"replayed_sequence":3}"#, None, r#"{"replayed":true}"#),
        (r#"{"r\u0065played":true}"#, Some(7), r#"{"r\u0065played":true}"#),
        (r#"{"x":{"replayed":true}}"#, None, r#"{"replayed":true,"x":{"replayed":true}}"#),
        // Neither number nor text is changed by the mark.
        (
            r#"{"n":123456789012345678901234567890,"t":"\u00e9 replayed"}"#,
            None,
            r#"{"replayed":true,"n":123456789012345678901234567890,"t":"\u00e9 replayed"}"#,
        ),
    ] {
        let bus = EventBus::new();
        let line = format!(r#"{{"event_type":"a","source":"b","metadata":{metadata}}}"#);
        Replay::onto(&bus).event(sequence, Event::from_json(&line).unwrap()).unwrap();
        let replayed = all(&bus)[0].to_json().unwrap();
        assert!(replayed.contains(&format!(r#""metadata":{expected},"#)), "{metadata}: {replayed}");
        Replay::onto(&bus).history(&bus);
        let again = all(&bus)[1].metadata().clone();
        assert_eq!(&again, all(&bus)[0].metadata(), "a replay of a replay");
    }
}

#[test]
fn marks_of_events_with_metadata_from_a_builder_are_the_same() {
    let bus = EventBus::new();
    let event = Event::builder("a", "b").metadata_entry("replayed", "yes").build().unwrap();
    Replay::onto(&bus).event(Some(1), event).unwrap();
    let expected = json!({"replayed": true, "replayed_sequence": 1});
    assert_eq!(all(&bus)[0].metadata(), expected.as_object().unwrap());
}

#[test]
fn what_surrounds_a_replay_has_no_part_in_it() {
    let recorded = EventBus::new();
    recorded.publish_batch(["my.own", "my.own"].map(event));
    let (bus, id) = (EventBus::new(), correlation::new_id());
    correlation::scope(&id, || Replay::onto(&bus).history(&recorded));
    ready(correlation::scope_async(&id, Replay::onto(&bus).history_async(&recorded)));
    // Inside a handler, of this bus too.
    let source = recorded;
    let trigger = bus.subscribe("trigger").handler(move |delivery| {
        Replay::onto(&delivery.bus()).history(&source);
    });
    trigger.unwrap();
    bus.publish(Event::builder("trigger", "test").correlation_id("t").build().unwrap()).unwrap();
    let replayed = bus.history().query().event_type("my.own").events().unwrap();
    assert_eq!(replayed.len(), 6);
    for event in replayed {
        assert_eq!((event.correlation_id(), event.causation_id()), (None, None));
    }
}

#[test]
fn only_what_is_asked_for_is_replayed_and_the_rest_is_counted() {
    let source = EventBus::new();
    for (index, name) in ["build.start", "my.own", "build.error", "deploy.start"].into_iter().enumerate() {
        let time = Timestamp::from_unix_nanos(index as i64 * 10);
        source.publish(Event::builder(name, "test").timestamp(time).build().unwrap()).unwrap();
    }
    let time = Timestamp::from_unix_nanos;
    let check = |choose: &dyn Fn(Replay) -> Replay, sequences: &[u64]| {
        let bus = EventBus::new();
        let report = choose(Replay::onto(&bus)).history(&source);
        let heard: Vec<_> =
            all(&bus).iter().map(|event| event.metadata()["replayed_sequence"].as_u64().unwrap()).collect();
        assert_eq!(heard, sequences);
        let published = sequences.len() as u64;
        assert_eq!(counts(&report), [published, 4 - published, 0, 0]);
        assert_eq!(report.ending, ReplayEnding::Complete);
    };
    check(&|replay| replay, &[1, 2, 3, 4]);
    check(&|replay| replay.event_type("build.*").unwrap().event_type("deploy.*").unwrap(), &[1, 3, 4]);
    check(&|replay| replay.times(time(10)..time(30)), &[2, 3]);
    check(&|replay| replay.times(time(30)..), &[4]);
    check(&|replay| replay.sequences(2..=3), &[2, 3]);
    check(&|replay| replay.sequences(..2), &[1]);
    check(&|replay| replay.sequences(2..).times(..time(20)).event_type("m*").unwrap(), &[2]);
    assert!(Replay::onto(&source).event_type("x".repeat(1_025)).is_err());

    // A line without a number is in no range.
    let bus = EventBus::new();
    let text =
        "{\"event_type\":\"a\",\"source\":\"b\"}\n{\"event_type\":\"a\",\"source\":\"b\",\"sequence\":5}\n";
    assert_eq!(counts(&Replay::onto(&bus).sequences(1..).ndjson(text)), [1, 1, 0, 0]);
    assert_eq!(counts(&Replay::onto(&bus).sequences(6..).ndjson(text)), [0, 2, 0, 0]);
    assert_eq!(counts(&Replay::onto(&bus).ndjson(text)), [2, 0, 0, 0]);
}

#[test]
fn a_sequence_that_is_no_number_is_none() {
    for (written, read) in
        [("7", Some(7)), ("null", None), ("\"7\"", None), ("-1", None), ("7.5", None), ("1e3", None)]
    {
        let bus = EventBus::new();
        Replay::onto(&bus).ndjson(format!(r#"{{"sequence":{written},"event_type":"a","source":"b"}}"#));
        let mark = all(&bus)[0].metadata().get("replayed_sequence").and_then(Value::as_u64);
        assert_eq!(mark, read, "{written}");
    }
}

#[test]
fn a_bus_replays_its_own_history_once() {
    let bus = EventBus::builder().history(4).build().unwrap();
    bus.subscribe("a?").handler(|delivery| publish(&delivery.bus(), "answer")).unwrap();
    bus.publish_batch(["a1", "a2", "a3"].map(event));
    assert_eq!(bus.history().last_sequence(), 6);
    let kept: Vec<_> = all(&bus).iter().map(|event| event.event_type().to_string()).collect();
    assert_eq!(kept, ["a2", "answer", "a3", "answer"]);
    let report = Replay::onto(&bus).history(&bus);
    // All four, although two answers and they themselves overwrote the last of them meanwhile; and no more than those.
    assert_eq!(counts(&report), [4, 0, 0, 0]);
    assert_eq!(bus.history().last_sequence(), 12);
    laws::check(&bus.get_stats());
}

#[test]
fn a_virtual_clock_is_kept_to_the_nanosecond() {
    let times = [5, 12, 12, 10, 40 * MILLI].map(|nanos| nanos + 1_700_000_000_000_000_000);
    for (speed, gap_max, expected) in [
        ("original", None, [0, 7, 7, 7, 40 * MILLI - 5]),
        ("10", None, [0, 1, 1, 1, 4 * MILLI]),
        ("0.5", None, [0, 14, 14, 14, 80 * MILLI - 10]),
        ("original", Some(MILLI), [0, 7, 7, 7, MILLI + 7]),
        ("full", None, [0; 5]),
    ] {
        // Asynchronous: the driver moves the clock, one nanosecond before each event, and then one.
        let (bus, driver) = EventBus::builder().manual().build().unwrap();
        let mut replay = Replay::onto(&bus).speed(speed.parse().unwrap());
        if let Some(most) = gap_max {
            replay = replay.gap_max(Duration::from_nanos(most));
        }
        let source = recorded_at(&times);
        let mut future = pin!(replay.history_async(&source));
        let mut context = Context::from_waker(Waker::noop());
        let mut now = 0;
        let mut poll = || future.as_mut().poll(&mut context);
        for (index, due) in expected.iter().enumerate() {
            if *due > now {
                driver.advance(Duration::from_nanos(due - now - 1));
                let _ = poll();
                assert!(
                    bus.history().last_sequence() <= index as u64,
                    "{speed}: event {index} came too early"
                );
                driver.advance(Duration::from_nanos(1));
                now = *due;
            }
            let polled = poll();
            assert!(bus.history().last_sequence() > index as u64, "{speed}: event {index} came too late");
            assert_eq!(polled.is_ready(), bus.history().last_sequence() == 5);
            if polled.is_ready() {
                break;
            }
        }

        // Synchronous: waiting moves the clock. A timer of the driver's bus tells where it stands.
        let (bus, driver) = EventBus::builder().manual().build().unwrap();
        let mut replay = Replay::onto(&bus).speed(speed.parse().unwrap());
        if let Some(most) = gap_max {
            replay = replay.gap_max(Duration::from_nanos(most));
        }
        let bell = event("bell");
        bus.publish_later(bell, Duration::from_nanos(*expected.last().unwrap() + 1)).unwrap();
        let report = replay.history(&source);
        assert_eq!(counts(&report), [5, 0, 0, 0]);
        assert_eq!(bus.history().last_sequence(), 5, "{speed}: it moved the clock too far");
        driver.advance(Duration::from_nanos(1));
        assert_eq!(bus.history().last_sequence(), 6, "{speed}: it moved the clock not far enough");
    }
}

#[test]
fn a_real_clock_is_waited_for() {
    let source = recorded_at(&[0, 20 * MILLI, 40 * MILLI]);
    let replay = || Replay::onto(&EventBus::new()).speed(ReplaySpeed::ORIGINAL);
    for report in [&|| replay().history(&source), &|| block_on(replay().history_async(&source))]
        as [&dyn Fn() -> ReplayReport; 2]
    {
        let began = std::time::Instant::now();
        assert_eq!(counts(&report()), [3, 0, 0, 0]);
        assert!(began.elapsed() >= Duration::from_millis(40));
    }
}

#[test]
fn a_stop_ends_a_wait_counts_nothing_and_can_be_resumed() {
    let source = recorded_at(&[0, 1, 1 << 60, (1 << 60) + 1]);
    let bus = EventBus::new();
    let mut replay = Replay::onto(&bus).speed(ReplaySpeed::ORIGINAL);
    let stop = replay.stop_handle();
    let (report, mut replay) = watched("a stopped wait", {
        let (source, seen) = (source.clone(), bus.clone());
        let stopping = std::thread::spawn(move || {
            while seen.history().last_sequence() < 2 {
                std::thread::yield_now();
            }
            stop.stop();
        });
        move || {
            let report = replay.history(&source);
            stopping.join().unwrap();
            (report, replay)
        }
    });
    assert_eq!((counts(&report), report.ending), ([2, 0, 0, 0], ReplayEnding::Stopped));
    // Stopped, it does nothing at all.
    assert_eq!(replay.event(None, at(0)).unwrap(), Replayed::Stopped);
    assert_eq!(replay.line("{\"event_type\":\"a\",\"source\":\"b\"}").unwrap(), Replayed::Stopped);
    assert_eq!(ready(replay.event_async(None, at(0))).unwrap(), Replayed::Stopped);
    replay.resume();
    let rest = all(&source).into_iter().skip(report.read as usize);
    let report = replay.events(rest);
    assert_eq!((counts(&report), report.ending), ([4, 0, 0, 0], ReplayEnding::Complete));
    assert_eq!(bus.history().last_sequence(), 4);
}

#[test]
fn a_dropped_future_leaves_the_exact_report_behind() {
    let (bus, driver) = EventBus::builder().manual().build().unwrap();
    let source = recorded_at(&[0, 10, 20, 30]);
    let mut replay = Replay::onto(&bus).speed(ReplaySpeed::ORIGINAL);
    {
        let mut future = pin!(replay.history_async(&source));
        let mut context = Context::from_waker(Waker::noop());
        assert!(future.as_mut().poll(&mut context).is_pending());
        driver.advance(Duration::from_nanos(10));
        assert!(future.as_mut().poll(&mut context).is_pending());
    }
    assert_eq!((counts(replay.report()), replay.report().ending), ([2, 0, 0, 0], ReplayEnding::Open));
    driver.advance(Duration::from_nanos(100));
    assert_eq!(bus.history().last_sequence(), 2, "nothing goes on by itself");
    let rest = all(&source).into_iter().skip(replay.report().read as usize);
    assert_eq!(counts(&ready(replay.events_async(rest))), [4, 0, 0, 0]);
}

#[test]
fn a_full_queue_is_waited_for_or_told() {
    // Waited for: a worker makes room.
    let bus = EventBus::builder().queued().max_workers(1).lanes(1).lane_room(2);
    let bus = bus.overflow(Overflow::Block(Duration::from_secs(30))).build().unwrap();
    let heard = Arc::new(AtomicU64::new(0));
    let hearing = Arc::clone(&heard);
    let hear = move |_: &Delivery<'_>| {
        hearing.fetch_add(1, SeqCst);
    };
    bus.subscribe("*").handler(hear).unwrap();
    let source = recorded_at(&[0; 200]);
    assert_eq!(counts(&Replay::onto(&bus).history(&source)), [200, 0, 0, 0]);
    assert_eq!(counts(&block_on(Replay::onto(&bus).history_async(&source))), [200, 0, 0, 0]);
    bus.flush(support::WATCHDOG).unwrap();
    assert_eq!(heard.load(SeqCst), 400);

    // Told: nobody makes room.
    let bus = EventBus::builder().queued().lanes(1).lane_room(2).overflow(Overflow::Reject);
    let (bus, driver) = bus.manual().build().unwrap();
    bus.subscribe("*").handler(|_| ()).unwrap();
    let report = Replay::onto(&bus).history(&source);
    assert_eq!(counts(&report), [2, 0, 198, 0]);
    assert_eq!(report.refusals.len(), codomyrmex_events::REPLAY_ERRORS_MAX);
    let first = &report.refusals[0];
    assert_eq!((first.sequence, first.line), (Some(3), None));
    assert!(matches!(first.error.kind(), PublishErrorKind::Full(_)));
    assert!(first.error.event().is_some());
    driver.run_until_idle();
    laws::check(&bus.get_stats());
}

#[test]
fn a_closed_bus_ends_a_replay_and_a_wait() {
    let source = recorded_at(&[0, 1 << 60, (1 << 60) + 1]);
    let bus = EventBus::new();
    let mut replay = Replay::onto(&bus).speed(ReplaySpeed::ORIGINAL);
    let report = watched("a wait on a bus that is shut down", {
        let bus = bus.clone();
        let closing = std::thread::spawn(move || {
            while bus.history().last_sequence() < 1 {
                std::thread::yield_now();
            }
            bus.shutdown(Duration::ZERO);
        });
        move || {
            let report = replay.history(&source);
            closing.join().unwrap();
            report
        }
    });
    assert_eq!((counts(&report), report.ending), ([1, 0, 1, 0], ReplayEnding::Closed));
    let Err(ReplayError::Refused(error)) = Replay::onto(&bus).line(r#"{"event_type":"a","source":"b"}"#)
    else {
        panic!("a closed bus refuses")
    };
    assert!(matches!(error.kind(), PublishErrorKind::Closed));
}

#[test]
fn an_async_replay_at_full_speed_lets_others_have_a_turn() {
    let source = recorded_at(&[0; 100]);
    let bus = EventBus::new();
    let mut replay = Replay::onto(&bus);
    let mut future = pin!(replay.history_async(&source));
    let mut polls = 0;
    while future.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending() {
        polls += 1;
    }
    assert_eq!(polls, 3);
    assert_eq!(bus.history().last_sequence(), 100);
}

#[test]
fn a_replay_and_its_futures_go_from_thread_to_thread() {
    fn is_send<T: Send>(value: T) -> T {
        value
    }
    let (bus, source) = (EventBus::new(), recorded_at(&[0; 3]));
    let mut replay = is_send(Replay::onto(&bus));
    block_on(is_send(replay.history_async(&source)));
    block_on(is_send(replay.ndjson_async("")));
    block_on(is_send(replay.event_async(None, at(0)))).unwrap();
    assert_eq!(bus.history().last_sequence(), 4);
}

#[test]
fn an_imported_letter_finds_an_asynchronous_handler_too() {
    let bus = EventBus::new();
    bus.subscribe("*").subscriber_id("w").handler(|_| Err::<(), _>("no")).unwrap();
    publish(&bus, "a");
    let text: String = bus.dead_letter_queue().export().collect::<Result<_, _>>().unwrap();

    let (bus, driver) = EventBus::builder().manual().build().unwrap();
    let queue = bus.dead_letter_queue();
    queue.import(&text);
    let tries = Arc::new(AtomicU64::new(0));
    let trying = Arc::clone(&tries);
    let handle = move |_| {
        let is_first = trying.fetch_add(1, SeqCst) == 0;
        async move { if is_first { Err("not yet") } else { Ok(()) } }
    };
    bus.subscribe("*").subscriber_id("w").async_handler(handle).unwrap();
    for (attempts, left) in [(2, 1), (0, 0)] {
        queue.redrive(queue.letters()[0].id()).unwrap();
        driver.run_until_idle();
        let letters = queue.letters();
        assert_eq!((letters.len(), letters.first().map_or(0, |letter| letter.attempts())), (left, attempts));
    }
    // An end of the subscription in the middle gives the letter back, as one of this bus's own.
    queue.import(&text);
    queue.redrive(queue.letters()[0].id()).unwrap();
    assert!(queue.is_empty());
    bus.unsubscribe("w");
    driver.run_until_idle();
    assert_eq!(queue.letters()[0].subscriber_id(), Some("w"));
    laws::check(&bus.get_stats());
}

#[test]
fn a_line_may_be_handed_in_alone() {
    let bus = EventBus::new();
    let mut replay = Replay::onto(&bus);
    let good = r#"{"event_type":"a","source":"b"}"#;
    assert!(matches!(replay.line(good), Ok(Replayed::Published(_))));
    assert!(matches!(replay.line("\r\n"), Ok(Replayed::Blank)));
    let Err(ReplayError::Line(error)) = replay.line("nope") else { panic!("it is no event") };
    assert_eq!((error.line(), error.is_torn()), (3, false));
    assert!(error.to_string().starts_with("line 3: column 1: "), "{error}");
    assert!(matches!(ready(replay.line_async(format!("{good}\n"))), Ok(Replayed::Published(_))));
    let Err(ReplayError::Line(error)) = ready(replay.line_async(b"{\xff")) else { panic!("it is no event") };
    assert_eq!(error.to_string(), "line 5: column 2: not UTF-8");
    assert_eq!(counts(replay.report()), [2, 0, 0, 2]);
    assert_eq!(bus.history().last_sequence(), 2);
}

#[test]
fn lines_that_are_no_events_are_told_up_to_a_limit_and_counted() {
    let good = r#"{"event_type":"a","source":"b"}"#;
    let long = format!(r#"{{"event_type":"a","source":"b","data":"{}"}}"#, "x".repeat(1 << 20));
    let text = format!("\u{feff}{good}\r\n\n{long}\n{}{good}", "[]\n".repeat(20));
    for report in [
        Replay::onto(&EventBus::new()).ndjson(&text),
        ready(Replay::onto(&EventBus::new()).lines_async(text.split('\n').take(30))),
    ] {
        assert_eq!(counts(&report), [2, 0, 0, 21]);
        let lines: Vec<_> = report.malformed_lines.iter().map(|error| error.line()).collect();
        assert_eq!(lines, (3..19).collect::<Vec<_>>());
        assert!(report.malformed_lines.iter().all(|error| !error.is_torn()));
    }
    // A last line of nonsense that has its ending is not torn.
    let report = Replay::onto(&EventBus::new()).ndjson("nope\n");
    assert!(!report.malformed_lines[0].is_torn());
    let report = Replay::onto(&EventBus::new()).lines(["nope"]);
    assert!(report.malformed_lines[0].is_torn());
}

#[test]
fn every_cut_of_a_text_keeps_the_whole_lines_and_reports_the_torn_one() {
    let source = EventBus::new();
    let events = [
        Event::builder("größe.geändert", "日本")
            .data(json!({"t": "é🦀\u{0}\"\\\n", "n": -0.5e-7, "a": [[], {}, null]})),
        Event::builder("a", "b").metadata_entry("k", json!({"deep": [true, false]})).correlation_id("ü"),
        Event::builder("build.start", "ci").data(json!("}")).event_id("🦀"),
    ];
    source.publish_batch(events.map(|event| event.build().unwrap()));
    let text: String = source.history().export().collect::<Result<_, _>>().unwrap();
    let text = text.as_bytes();
    for cut in 0..=text.len() {
        let part = &text[..cut];
        let whole = part.iter().filter(|byte| **byte == b'\n').count() as u64;
        // Without its line feed a line is as whole as with it.
        let is_unended = text.get(cut) == Some(&b'\n');
        let is_torn = !is_unended && !part.is_empty() && !part.ends_with(b"\n");
        let whole = whole + u64::from(is_unended);
        let bus = EventBus::new();
        let report = Replay::onto(&bus).unmarked().ndjson(part);
        assert_eq!(counts(&report), [whole, 0, 0, u64::from(is_torn)], "cut at {cut}");
        if is_torn {
            let error = &report.malformed_lines[0];
            assert_eq!((error.line(), error.is_torn()), (whole + 1, true), "cut at {cut}: {error}");
        }
        let back: String = bus.history().export().collect::<Result<_, _>>().unwrap();
        assert_eq!(back.as_bytes(), &[part, b"\n"].concat()[..back.len()], "cut at {cut}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever the times, each event comes when the sum of the gaps before it says, and all of them come.
    #[test]
    fn events_come_when_the_gaps_say(gaps in prop::collection::vec(0_u64..5_000, 1..12), factor in 1_u32..8) {
        let mut time = 1_000_000;
        let times: Vec<u64> = gaps.iter().map(|gap| { time += gap; time }).collect();
        let source = recorded_at(&times);
        let (bus, driver) = EventBus::builder().manual().build().unwrap();
        let speed = ReplaySpeed::times(1.0 / f64::from(factor)).unwrap();
        let mut replay = Replay::onto(&bus).speed(speed);
        let mut future = pin!(replay.history_async(&source));
        let mut context = Context::from_waker(Waker::noop());
        let mut done = future.as_mut().poll(&mut context).is_ready();
        for moment in 1..=(times[times.len() - 1] - times[0]) * u64::from(factor) {
            // Only where something may change is it worth a look.
            driver.advance(Duration::from_nanos(1));
            let due = times.iter().filter(|time| (*time - times[0]) * u64::from(factor) <= moment).count() as u64;
            if due != bus.history().last_sequence() {
                done = done || future.as_mut().poll(&mut context).is_ready();
            }
            prop_assert_eq!(bus.history().last_sequence(), due);
        }
        done = done || future.as_mut().poll(&mut context).is_ready();
        prop_assert!(done);
    }

    /// No text makes it panic, lose count, or read a line twice.
    #[test]
    fn any_bytes_are_counted(pieces in prop::collection::vec(prop_oneof![
        Just(b"{\"event_type\":\"a\",\"source\":\"b\"}".to_vec()),
        Just(b"{\"event_type\":\"a\",\"sequence\":1,".to_vec()),
        Just(b"\n".to_vec()), Just(b"\r\n".to_vec()), Just(b" ".to_vec()), Just(b"\"".to_vec()),
        prop::collection::vec(any::<u8>(), 0..6),
    ], 0..40)) {
        let text = pieces.concat();
        let bus = EventBus::new();
        let report = Replay::onto(&bus).ndjson(&text);
        counts(&report);
        prop_assert_eq!(report.published, bus.history().last_sequence());
        let lines = text.split(|byte| *byte == b'\n').filter(|line| {
            let line = line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line);
            !line.iter().all(|byte| b" \t\r".contains(byte))
        }).count() as u64;
        prop_assert!(report.read <= lines && lines <= report.read + 1, "a mark in the middle is no mark");
    }
}
