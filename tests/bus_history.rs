//! The history: what can be asked of it, and what it holds while publishers and readers meet.

#[path = "support/bus.rs"]
mod support;

use codomyrmex_events::{Event, EventBus, Timestamp};
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Barrier, Mutex};
use std::thread;
use support::event;

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_unix_nanos(seconds * 1_000_000_000)
}

#[test]
fn questions_and_their_answers() {
    let bus = EventBus::builder().history(6).build().unwrap();
    // Type, source, correlation id, second. The first two are overwritten.
    let published = [
        ("build.start", "lost", "c1", 0),
        ("build.start", "lost", "c1", 0),
        ("build.start", "ci", "c1", 10),
        ("build.complete", "ci", "c1", 20),
        ("build.start", "cd", "c2", 30),
        ("my.own", "ci", "", 40),
        ("my.[x]", "cd", "c2", 50),
        // Time is the event's own: it need not rise.
        ("build.error", "ci", "c2", 15),
    ];
    for (event_type, source, correlation_id, second) in published {
        let mut builder = Event::builder(event_type, source).timestamp(at(second));
        if !correlation_id.is_empty() {
            builder = builder.correlation_id(correlation_id);
        }
        bus.publish(builder.build().unwrap()).unwrap();
    }
    type Ask = fn(codomyrmex_events::HistoryQuery<'_>) -> codomyrmex_events::HistoryQuery<'_>;
    let rows: &[(&str, Ask, &[u64])] = &[
        ("everything, newest first", |all| all, &[8, 7, 6, 5, 4, 3]),
        ("a limit", |all| all.limit(2), &[8, 7]),
        ("a limit of none", |all| all.limit(0), &[]),
        ("a glob", |all| all.event_type("build.*"), &[8, 5, 4, 3]),
        ("a glob and a limit", |all| all.event_type("build.*").limit(3), &[8, 5, 4]),
        ("a class", |all| all.event_type("*.[sc]*"), &[5, 4, 3]),
        ("an exact name", |all| all.event_type("my.own"), &[6]),
        ("a class is no name", |all| all.event_type("my.[x]"), &[]),
        (
            "an event type is",
            |all| all.event_type(codomyrmex_events::EventType::parse("my.[x]").unwrap()),
            &[7],
        ),
        ("nothing of that type", |all| all.event_type("BUILD.*"), &[]),
        ("a source", |all| all.source("ci"), &[8, 6, 4, 3]),
        ("a source is no glob", |all| all.source("c*"), &[]),
        ("a correlation id", |all| all.correlation_id("c2"), &[8, 7, 5]),
        ("an empty correlation id", |all| all.correlation_id(""), &[]),
        ("from a time on", |all| all.from_time(at(30)), &[7, 6, 5]),
        ("until a time", |all| all.until_time(at(20)), &[8, 3]),
        ("between times", |all| all.from_time(at(15)).until_time(at(40)), &[8, 5, 4]),
        ("an empty stretch of time", |all| all.from_time(at(20)).until_time(at(20)), &[]),
        ("from a sequence on, oldest first", |all| all.since(5), &[5, 6, 7, 8]),
        ("from a sequence on, the oldest", |all| all.since(5).limit(2), &[5, 6]),
        ("from an overwritten sequence on", |all| all.since(1), &[3, 4, 5, 6, 7, 8]),
        ("from before the first", |all| all.since(0).limit(1), &[3]),
        ("from the last", |all| all.since(8), &[8]),
        ("from one to come", |all| all.since(9), &[]),
        ("from the end of numbers", |all| all.since(u64::MAX), &[]),
        ("all of it", |all| all.source("ci").event_type("build.*").since(4).correlation_id("c2"), &[8]),
    ];
    for (name, ask, expected) in rows {
        let answer = ask(bus.history().query()).events().unwrap();
        let sequences: Vec<u64> = answer.iter().map(|event| event.sequence()).collect();
        assert_eq!(sequences, *expected, "{name}");
        for recorded in answer {
            let (event_type, source, _, second) = published[recorded.sequence() as usize - 1];
            assert_eq!((recorded.event_type().as_str(), recorded.source().as_str()), (event_type, source));
            assert_eq!(recorded.event().timestamp(), at(second), "{name}");
        }
    }
    let error = bus.history().query().event_type("x".repeat(1_025)).events().unwrap_err();
    assert!(error.to_string().contains("1024") || error.to_string().contains("1,024"), "{error}");
    let latest: Vec<u64> = bus.history().latest(2).iter().map(|event| event.sequence()).collect();
    assert_eq!(latest, [8, 7]);
}

#[test]
fn the_history_begins_with_the_bus_and_holds_the_very_events() {
    let bus = EventBus::new();
    let published = Arc::new(event("a.b"));
    bus.publish(Arc::clone(&published)).unwrap();
    bus.emit_typed(event("build.start")).unwrap_err();
    assert!(Arc::ptr_eq(bus.history().latest(1)[0].event(), &published));
    assert_eq!(bus.history().len(), 1, "a refused event leaves no trace");
}

#[test]
fn a_handler_finds_the_event_that_it_is_handed() {
    let bus = EventBus::builder().history(2).build().unwrap();
    bus.subscribe("*")
        .handler(|delivery| {
            let bus = delivery.bus();
            let newest = bus.history().latest(1).remove(0);
            assert_eq!(newest.sequence(), delivery.sequence());
            assert!(Arc::ptr_eq(newest.event(), delivery.event()));
        })
        .unwrap();
    bus.publish_batch((0..5).map(|_| event("a.b")));
    assert_eq!(bus.get_stats().dead_letters_made, 0);
}

#[test]
fn sequences_are_unique_and_gapless_and_nothing_accepted_is_lost() {
    const THREADS: usize = 8;
    const EACH: usize = 2_000;
    for (capacity, batch) in [(100_000, 1), (100_000, 7), (64, 1), (1, 1)] {
        let bus = EventBus::builder().history(capacity).build().unwrap();
        let start = Barrier::new(THREADS + 2);
        let given: Mutex<BTreeSet<u64>> = Mutex::default();
        let writing = AtomicU64::new(THREADS as u64);
        thread::scope(|scope| {
            for thread in 0..THREADS {
                let (bus, start, given, writing) = (&bus, &start, &given, &writing);
                scope.spawn(move || {
                    let source = format!("thread {thread}");
                    let event = |n: usize| {
                        let builder = Event::builder("a.b", &source).timestamp(at(n as i64));
                        builder.build().unwrap()
                    };
                    start.wait();
                    let mut own = Vec::with_capacity(EACH);
                    for first in (0..EACH).step_by(batch) {
                        let events = (first..EACH.min(first + batch)).map(event);
                        own.extend(bus.publish_batch(events).into_iter().map(|ok| ok.unwrap().sequence()));
                    }
                    assert!(own.is_sorted(), "a thread's events are numbered as it published them");
                    let mut given = given.lock().unwrap();
                    assert!(own.iter().all(|sequence| given.insert(*sequence)), "unique");
                    writing.fetch_sub(1, SeqCst);
                });
            }
            for _ in 0..2 {
                scope.spawn(|| {
                    start.wait();
                    while writing.load(SeqCst) > 0 {
                        let answer = bus.history().query().since(0).limit(50).events().unwrap();
                        assert!(answer.is_sorted_by_key(|event| event.sequence()), "oldest first");
                        let newest = bus.history().latest(50);
                        assert!(newest.is_sorted_by(|a, b| a.sequence() > b.sequence()), "newest first");
                    }
                });
            }
        });
        let all = (THREADS * EACH) as u64;
        assert_eq!(
            given.into_inner().unwrap().into_iter().collect::<Vec<_>>(),
            (1..=all).collect::<Vec<_>>()
        );
        let kept: Vec<u64> = bus.history().latest(usize::MAX).iter().map(|event| event.sequence()).collect();
        let first = all.saturating_sub(capacity as u64) + 1;
        assert_eq!(kept, (first..=all).rev().collect::<Vec<_>>(), "capacity {capacity}: none is missing");
        for thread in 0..THREADS {
            let of_thread =
                bus.history().query().source(format!("thread {thread}")).since(0).events().unwrap();
            assert!(of_thread.is_sorted_by_key(|event| event.timestamp()), "in the order published");
        }
    }
}

#[test]
fn who_was_told_a_number_finds_it_at_once_unless_it_is_overwritten() {
    for capacity in [1_u64, 4, 1_000] {
        let bus = EventBus::builder().history(capacity as usize).build().unwrap();
        let missing = AtomicU64::new(0);
        thread::scope(|scope| {
            for _ in 0..6 {
                scope.spawn(|| {
                    for _ in 0..4_000 {
                        let sequence = bus.publish(event("a.b")).unwrap().sequence();
                        let answer = bus.history().query().since(sequence).limit(1).events().unwrap();
                        let is_found = answer.first().is_some_and(|event| event.sequence() == sequence);
                        let is_kept = bus.history().last_sequence() - sequence < capacity;
                        missing.fetch_add(u64::from(!is_found && is_kept), SeqCst);
                    }
                });
            }
        });
        assert_eq!(missing.load(SeqCst), 0, "capacity {capacity}: accepted, kept, and not found");
    }
}

#[test]
fn readers_see_whole_events_while_they_are_overwritten() {
    let bus = EventBus::builder().history(2).build().unwrap();
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let readers: Vec<_> = (0..3)
            .map(|_| {
                scope.spawn(|| {
                    let mut seen = 0_u64;
                    while !done.load(SeqCst) {
                        for recorded in bus.history().latest(2) {
                            let text = format!("s{}", recorded.timestamp().as_unix_nanos());
                            assert_eq!(recorded.source().as_str(), text, "one event, not parts of two");
                            seen += 1;
                        }
                    }
                    seen
                })
            })
            .collect();
        for n in 0..20_000 {
            let builder = Event::builder("a.b", format!("s{n}")).timestamp(Timestamp::from_unix_nanos(n));
            bus.publish(builder.build().unwrap()).unwrap();
        }
        done.store(true, SeqCst);
        let seen: u64 = readers.into_iter().map(|reader| reader.join().unwrap()).sum();
        assert!(seen > 0);
    });
    assert_eq!(bus.history().overwritten(), 19_998);
}
