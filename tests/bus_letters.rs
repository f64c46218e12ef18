//! Dead letters: tried again, kept by their limit, taken out; each redriven to its own subscription only.

#![allow(clippy::unwrap_used, clippy::panic, reason = "in a test a panic is the report")]

#[path = "support/bus.rs"]
mod support;

use codomyrmex_events::{
    DeadLetter, DeadLetterKind, Delivery, Event, EventBus, EventDeliveryError, PublishErrorKind,
};
use serde_json::json;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::SeqCst};
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::Duration;
use support::event;

fn counter(bus: &EventBus) -> Arc<AtomicU32> {
    let heard = Arc::new(AtomicU32::new(0));
    let count = Arc::clone(&heard);
    let handler = move |_: &Delivery<'_>| assert!(count.fetch_add(1, SeqCst) < u32::MAX);
    bus.subscribe("*").handler(handler).unwrap();
    heard
}

fn letters(bus: &EventBus) -> Vec<Arc<DeadLetter>> {
    bus.dead_letter_queue().letters()
}

fn ids(bus: &EventBus) -> Vec<u64> {
    letters(bus).iter().map(|letter| letter.id()).collect()
}

fn not_to_be_called(_: &Delivery<'_>) {
    panic!("not to be called");
}

/// A bus with a bystander and a subscription that fails while it is told to.
fn failing_bus(letters_max: usize) -> (EventBus, Arc<AtomicBool>, Arc<AtomicU32>) {
    let bus = EventBus::builder().dead_letters(letters_max).build().expect("a valid limit");
    let (fails, heard) = (Arc::new(AtomicBool::new(true)), counter(&bus));
    let told = Arc::clone(&fails);
    let failing = bus.subscribe("*").subscriber_id("failing").attempts(2);
    failing.handler(move |_| if told.load(SeqCst) { Err("no") } else { Ok(()) }).expect("a valid id");
    (bus, fails, heard)
}

#[test]
fn a_redrive_goes_to_that_subscription_only() {
    let (bus, fails, heard) = failing_bus(100);
    bus.publish(event("a.b")).unwrap();
    let queue = bus.dead_letter_queue();
    let first = letters(&bus)[0].clone();
    let again = queue.redrive(first.id());
    let Err(EventDeliveryError::Failed(error)) = &again else { panic!("it fails again: {again:?}") };
    assert_eq!((error.subscriber_id(), error.attempts()), ("failing", 4));
    let second = letters(&bus)[0].clone();
    assert_eq!((queue.len(), second.attempts(), second.redrives()), (1, 4, 1));
    assert!(second.id() > first.id() && queue.get(first.id()).is_none());
    assert_eq!(second.first_failed_at(), first.first_failed_at());
    assert!(second.last_failed_at() >= first.last_failed_at());
    fails.store(false, SeqCst);
    assert!(queue.redrive(second.id()).is_ok() && queue.is_empty());
    let gone = queue.redrive(second.id());
    assert!(matches!(gone, Err(EventDeliveryError::NoSuchLetter { letter }) if letter == second.id()));
    assert_eq!(heard.load(SeqCst), 1, "the bystander heard the publication and no redrive");
    let stats = bus.get_stats();
    let counts = [stats.accepted, stats.deliveries.total, stats.deliveries.succeeded, stats.events_failed];
    assert_eq!(counts, [1, 4, 2, 2], "a redrive is a new delivery");
}

#[test]
fn a_letter_whose_subscription_is_gone_stays() {
    let (bus, fails, _) = failing_bus(100);
    bus.publish_batch([event("a"), event("b"), event("c")]);
    bus.unsubscribe("failing");
    bus.subscribe("*").subscriber_id("failing").handler(not_to_be_called).unwrap();
    fails.store(false, SeqCst);
    for (id, outcome) in bus.dead_letter_queue().redrive_all(|letter| letter.id() != 3) {
        let Err(EventDeliveryError::SubscriptionGone { letter, subscriber_id }) = outcome else {
            panic!("{outcome:?}")
        };
        assert_eq!((letter, subscriber_id.as_str()), (id, "failing"));
    }
    assert_eq!(ids(&bus), [1, 2, 3], "each in its place");
    assert_eq!(bus.get_stats().dead_letters_made, 3);
}

#[test]
fn a_redrive_that_is_cancelled_keeps_its_letter() {
    let bus = EventBus::new();
    let unsubscribes = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&unsubscribes);
    let handler = move |delivery: &Delivery<'_>| {
        if told.load(SeqCst) {
            delivery.subscription().unsubscribe();
        }
        Err::<(), _>("no")
    };
    bus.subscribe("*").attempts(2).handler(handler).unwrap();
    bus.publish(event("a.b")).unwrap();
    unsubscribes.store(true, SeqCst);
    let outcome = bus.dead_letter_queue().redrive(1);
    assert!(outcome.is_err(), "nobody has handled it");
    assert_eq!(bus.dead_letter_queue().len(), 1);
}

#[test]
fn schema_letters_are_validated_again_and_published() {
    let bus = EventBus::new();
    let heard = counter(&bus);
    let queue = bus.dead_letter_queue();
    let offer = |name: &str| {
        let event = Event::builder(name, "test").data(json!({"target": 7})).build().unwrap();
        bus.emit_typed(event).expect_err("it does not fit")
    };
    offer("build.start");
    offer("my.own");
    let [standard, named] = &letters(&bus)[..] else { panic!("two letters") };
    assert_eq!((standard.kind(), standard.kind().as_str()), (DeadLetterKind::Schema, "schema"));
    assert_eq!((standard.sequence(), standard.subscriber_id(), standard.attempts()), (None, None, 0));
    let mut pointers: Vec<&str> = standard.rejection().unwrap().pointers().collect();
    pointers.sort_unstable();
    assert_eq!(pointers, ["", "/target"]);
    assert!(named.rejection().unwrap().is_unregistered());
    for id in ids(&bus) {
        let outcome = queue.redrive(id);
        assert!(matches!(outcome, Err(EventDeliveryError::Refused(_))), "letter {id}: {outcome:?}");
    }
    assert_eq!((queue.len(), heard.load(SeqCst)), (2, 0), "both are back");
    for name in ["build.start", "my.own"] {
        bus.event_schema().register_event_schema(name, json!({"type": "object"})).unwrap();
    }
    assert!(queue.redrive_all(|_| true).iter().all(|(_, outcome)| outcome.is_ok()));
    assert_eq!((queue.len(), heard.load(SeqCst), bus.history().len()), (0, 2, 2));
}

#[test]
fn a_schema_letter_outlives_a_refusal() {
    let bus = EventBus::new();
    bus.emit_typed(event("build.start")).unwrap_err();
    bus.event_schema().register_event_schema("build.start", json!({})).unwrap();
    bus.shutdown(Duration::ZERO);
    let outcome = bus.dead_letter_queue().redrive(1);
    let Err(EventDeliveryError::Refused(refused)) = outcome else { panic!("{outcome:?}") };
    assert!(matches!(refused.kind(), PublishErrorKind::Closed));
    assert_eq!(bus.dead_letter_queue().len(), 1, "it stays, or is back");
}

#[test]
fn the_newest_letters_are_kept_and_the_others_counted() {
    let rows: &[(usize, u64, &[u64])] = &[
        (0, 5, &[]),
        (1, 5, &[5]),
        (3, 2, &[1, 2]),
        (3, 3, &[1, 2, 3]),
        (3, 10, &[8, 9, 10]),
        (100, 101, &[2, 3]),
    ];
    for (limit, failures, kept) in rows {
        for looks_between in [false, true] {
            let (bus, ..) = failing_bus(*limit);
            for _ in 0..*failures {
                bus.publish(event("a.b")).unwrap();
                if looks_between {
                    assert!(bus.dead_letter_queue().len() <= *limit);
                }
            }
            assert!(ids(&bus).starts_with(kept), "limit {limit}, {failures} failures: {:?}", ids(&bus));
            let stats = bus.get_stats();
            assert_eq!((stats.dead_letters_made, stats.events_failed), (*failures, *failures));
            assert_eq!(stats.dead_letter_count, (*limit).min(*failures as usize));
            assert_eq!(stats.dead_letters_evicted, failures.saturating_sub(*limit as u64));
            assert_eq!(bus.dead_letter_queue().is_empty(), *limit == 0);
        }
    }
}

#[test]
fn purge_takes_what_is_picked() {
    let (bus, ..) = failing_bus(100);
    bus.publish_batch((0..6).map(|n| event(if n % 2 == 0 { "even" } else { "odd" })));
    let purged = bus.dead_letter_queue().purge(|letter| *letter.event().event_type() == "odd");
    assert_eq!(purged.iter().map(|letter| letter.id()).collect::<Vec<_>>(), [2, 4, 6]);
    assert_eq!(ids(&bus), [1, 3, 5]);
    assert!(matches!(bus.dead_letter_queue().redrive(2), Err(EventDeliveryError::NoSuchLetter { .. })));
}

#[test]
fn letters_of_many_threads_are_in_order_and_can_all_be_purged() {
    for _ in 0..20 {
        let (bus, ..) = failing_bus(10_000);
        let start = Barrier::new(8);
        thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    start.wait();
                    (0..100).for_each(|_| drop(bus.publish(event("a.b"))));
                });
            }
        });
        assert!(ids(&bus).is_sorted(), "oldest first");
        assert_eq!(bus.dead_letter_queue().purge(|_| true).len(), 800);
        assert!(bus.dead_letter_queue().is_empty());
    }
}
