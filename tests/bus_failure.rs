//! A handler that fails harms nobody else; what it could not handle is a letter that can be tried again.

#![allow(clippy::unwrap_used, clippy::panic, reason = "in a test a panic is the report")]

#[path = "support/bus.rs"]
mod support;

use codomyrmex_events::{BoxError, DeadLetter, DeadLetterKind, Delivery, Event, EventBus, Timestamp};
use serde::Serialize;
use std::error::Error;
use std::fmt;
use std::panic::panic_any;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::thread;
use support::event;

type Outcome = Result<(), BoxError>;

fn counter(bus: &EventBus, priority: i32) -> Arc<AtomicU32> {
    let heard = Arc::new(AtomicU32::new(0));
    let count = Arc::clone(&heard);
    let builder = bus.subscribe("*").priority(priority);
    builder
        .handler(move |_| {
            count.fetch_add(1, SeqCst);
        })
        .expect("a valid subscription");
    heard
}

fn letters(bus: &EventBus) -> Vec<Arc<DeadLetter>> {
    bus.dead_letter_queue().letters()
}

fn not_to_be_called(_: &Delivery<'_>) {
    panic!("not to be called");
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
