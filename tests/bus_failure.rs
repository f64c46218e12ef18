//! A handler that fails harms nobody else; what it could not handle is a letter that can be tried again.

use codomyrmex_events::{
    BoxError, DeadLetter, DeadLetterKind, Delivery, Event, EventBus, EventDeliveryError, PublishErrorKind,
    Timestamp,
};
use serde::Serialize;
use serde_json::json;
use std::error::Error;
use std::fmt;
use std::panic::panic_any;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::SeqCst};
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::Duration;

type Outcome = Result<(), BoxError>;

fn event(event_type: &str) -> Event {
    Event::builder(event_type, "test").build().expect("a valid name")
}

fn counter(bus: &EventBus, priority: i32) -> Arc<AtomicU32> {
    let heard = Arc::new(AtomicU32::new(0));
    let count = Arc::clone(&heard);
    let builder = bus.subscribe("*").priority(priority);
    builder.handler(move |_| drop(count.fetch_add(1, SeqCst))).expect("a valid subscription");
    heard
}

fn letters(bus: &EventBus) -> Vec<Arc<DeadLetter>> {
    bus.dead_letter_queue().letters()
}

fn not_to_be_called(_: &Delivery<'_>) {
    panic!("not to be called");
}

fn ids(bus: &EventBus) -> Vec<u64> {
    letters(bus).iter().map(|letter| letter.id()).collect()
}

/// An error with as many sources as it says, that panics where it is told to.
#[derive(Debug, Clone, Copy)]
struct Trouble {
    panics_in: &'static str,
    sources: u32,
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        assert_ne!(self.panics_in, "display");
        write!(f, "trouble {}", self.sources)
    }
}

impl Error for Trouble {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        const DEEPER: [Trouble; 3] = [trouble("", 0), trouble("", 1), trouble("", 2)];
        assert_ne!(self.panics_in, "source");
        (self.sources > 0).then(|| &DEEPER[self.sources as usize - 1] as _)
    }
}

impl Drop for Bomb {
    fn drop(&mut self) {
        if !thread::panicking() {
            panic_any("from a destructor");
        }
    }
}

/// Panics when it is dropped.
#[derive(Debug, Serialize)]
struct Bomb;

impl fmt::Display for Bomb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("bomb")
    }
}

impl Error for Bomb {}

const fn trouble(panics_in: &'static str, sources: u32) -> Trouble {
    Trouble { panics_in, sources }
}

#[test]
fn every_way_to_fail_ends_in_a_letter_and_harms_nobody() {
    // How it fails, and the chain in the letter; none where only its existence is promised.
    type Row = (&'static str, fn() -> Outcome, Option<&'static [&'static str]>);
    let rows: &[Row] = &[
        ("a text", || Err("no".into()), Some(&["no"])),
        ("an error", || Err(trouble("", 0).into()), Some(&["trouble 0"])),
        (
            "a chain",
            || Err(trouble("", 3).into()),
            Some(&["trouble 3", "trouble 2", "trouble 1", "trouble 0"]),
        ),
        ("a panic", || panic!("no"), Some(&["panicked: no"])),
        ("a formatted panic", || panic!("no {}", 7), Some(&["panicked: no 7"])),
        ("a panic with a value", || panic_any(7_u8), Some(&["panicked: a value that is not text"])),
        ("a panic with a bomb", || panic_any(Bomb), None),
        ("an error whose Display panics", || Err(trouble("display", 0).into()), None),
        ("an error whose source panics", || Err(trouble("source", 1).into()), None),
        ("an error whose Drop panics", || Err(Bomb.into()), None),
    ];
    for (name, fail, chain) in rows {
        for attempts in [1, 3] {
            let bus = EventBus::new();
            let (before, after) = (counter(&bus, 1), counter(&bus, -1));
            let tried = Arc::new(AtomicU32::new(0));
            let (count, fail) = (Arc::clone(&tried), *fail);
            let failing = bus.subscribe("*").subscriber_id("failing").attempts(attempts);
            failing
                .handler(move |delivery: &Delivery<'_>| {
                    assert_eq!(delivery.attempt(), count.fetch_add(1, SeqCst) + 1);
                    fail()
                })
                .unwrap();
            let event = Arc::new(event("my.own"));
            let begun = Timestamp::now();
            let published = bus.publish(Arc::clone(&event)).expect("a failure is not the publisher's");
            assert_eq!(tried.load(SeqCst), attempts, "{name}");
            assert_eq!((before.load(SeqCst), after.load(SeqCst)), (1, 1), "{name}");
            let [letter] = &letters(&bus)[..] else { panic!("one letter of {name}") };
            assert_eq!((letter.kind(), letter.subscriber_id()), (DeadLetterKind::Handler, Some("failing")));
            assert_eq!((letter.attempts(), letter.redrives()), (attempts, 0), "{name}");
            assert_eq!(letter.sequence(), Some(published.sequence()));
            assert!(Arc::ptr_eq(letter.event(), &event));
            let times = [begun, letter.first_failed_at(), letter.last_failed_at(), Timestamp::now()];
            assert!(times.is_sorted(), "{times:?}");
            match chain {
                Some(chain) => assert_eq!(letter.error_chain(), *chain, "{name}"),
                None => assert!(!letter.error_chain().is_empty(), "{name}"),
            }
            let stats = bus.get_stats();
            assert_eq!((stats.completed, stats.pending, stats.events_failed), (1, 0, 1), "{name}");
            assert_eq!(stats.subscribers["failing"].failed_attempts, u64::from(attempts), "{name}");
        }
    }
}

#[test]
fn an_error_text_of_any_length_and_a_chain_without_end_are_bounded() {
    #[derive(Debug)]
    struct Endless;
    impl fmt::Display for Endless {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "{}", "é".repeat(100_000))
        }
    }
    impl Error for Endless {
        fn source(&self) -> Option<&(dyn Error + 'static)> {
            Some(self)
        }
    }
    let bus = EventBus::new();
    bus.subscribe("*").handler(|_| Err::<(), _>(Endless)).unwrap();
    bus.publish(event("a.b")).unwrap();
    let chain = letters(&bus)[0].error_chain().to_vec();
    assert_eq!(chain.len(), 16);
    assert!(chain.iter().all(|link| link.len() <= 4_096 + '…'.len_utf8() && link.starts_with("éé")));
}

#[test]
fn a_retry_that_succeeds_leaves_no_letter() {
    let bus = EventBus::new();
    bus.subscribe("*")
        .attempts(3)
        .handler(|delivery| if delivery.attempt() < 3 { Err("not yet") } else { Ok(()) })
        .unwrap();
    bus.publish(event("a.b")).unwrap();
    let stats = bus.get_stats();
    assert_eq!((stats.deliveries.total, stats.deliveries.succeeded, stats.dead_letters_made), (1, 1, 0));
    assert_eq!(stats.subscribers["subscriber_1"].failed_attempts, 2);
}

#[test]
fn a_panicking_filter_is_no_match() {
    let bus = EventBus::new();
    let heard = counter(&bus, -1);
    let filters: [fn(&Event) -> bool; 3] = [|_| panic!("no"), |_| panic_any(Bomb), |_| panic_any(1)];
    for filter in filters {
        bus.subscribe("*").filter(filter).once().handler(not_to_be_called).unwrap();
    }
    bus.publish(event("a.b")).unwrap();
    let stats = bus.get_stats();
    assert_eq!((heard.load(SeqCst), stats.dead_letters_made, stats.deliveries.total), (1, 0, 1));
    assert_eq!(stats.subscribers_count, 4, "a claim needs a yes");
    assert_eq!(stats.subscribers["subscriber_2"].filtered, 1);
}

/// A bus with a bystander and a subscription that fails while it is told to.
fn failing_bus(letters_max: usize) -> (EventBus, Arc<AtomicBool>, Arc<AtomicU32>) {
    let bus = EventBus::builder().dead_letters(letters_max).build().expect("a valid limit");
    let (fails, heard) = (Arc::new(AtomicBool::new(true)), counter(&bus, 0));
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
    let heard = counter(&bus, 0);
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

#[test]
fn an_evicted_letter_whose_payload_panics_when_dropped_harms_nobody() {
    let bus = EventBus::builder().history(0).dead_letters(1).build().unwrap();
    bus.subscribe("*").priority(1).handler(|_| Err::<(), _>("no")).unwrap();
    let heard = counter(&bus, 0);
    let bomb = Event::builder("a.b", "test").data(codomyrmex_events::Payload::typed(Bomb)).build().unwrap();
    bus.publish(bomb).unwrap();
    // Whether the panic reaches this publisher is not promised; that the others hear the event is.
    let publish = std::panic::AssertUnwindSafe(|| bus.publish(event("evicts.it")));
    drop(std::panic::catch_unwind(publish));
    assert_eq!(heard.load(SeqCst), 2, "the handlers after the failing one");
    let stats = bus.get_stats();
    assert_eq!((stats.completed, stats.pending, stats.deliveries.pending), (2, 0, 0));
}
