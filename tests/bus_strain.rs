//! A bus under strain that is none of its making: logs and destructors that panic, a handler that never returns,
//! monitors that never stop asking.

#![allow(clippy::unwrap_used, clippy::panic, reason = "in a test a panic is the report")]

use codomyrmex_events::{Event, EventBus, EventDeliveryError, Payload, PublishErrorKind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;
use tracing::span::{Attributes, Id, Record};

/// Longer than any wait that is not a hang.
const WATCHDOG: Duration = Duration::from_secs(60);

fn event(event_type: &str) -> Event {
    Event::builder(event_type, "test").build().expect("a valid name")
}

/// A subscriber of the log whose every line panics.
struct Panicking;

impl tracing::Subscriber for Panicking {
    fn enabled(&self, _: &tracing::Metadata<'_>) -> bool {
        true
    }
    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }
    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn event(&self, _: &tracing::Event<'_>) {
        panic!("the log is broken");
    }
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

struct PanicsWhenDropped;

impl Drop for PanicsWhenDropped {
    fn drop(&mut self) {
        if !thread::panicking() {
            panic!("a destructor");
        }
    }
}

impl serde::Serialize for PanicsWhenDropped {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_unit()
    }
}

#[test]
fn a_log_that_panics_changes_nothing() {
    tracing::subscriber::with_default(Panicking, || {
        let bus = EventBus::new();
        let heard = Arc::new(AtomicU64::new(0));
        bus.subscribe("a.b").filter(|_| panic!("a filter")).handler(|_| ()).unwrap();
        bus.subscribe("a.b").subscriber_id("failing").handler(|_| Err::<(), _>("no")).unwrap();
        let hearing = Arc::clone(&heard);
        let last = bus
            .subscribe("a.b")
            .handler(move |_| {
                hearing.fetch_add(1, SeqCst);
            })
            .unwrap();
        let captured = PanicsWhenDropped;
        let dropping = bus
            .subscribe("c.d")
            .handler(move |_| {
                let _captured = &captured;
            })
            .unwrap();
        bus.publish(event("a.b")).unwrap();
        assert_eq!(heard.load(SeqCst), 1, "those after the failing one hear it");
        let stats = bus.get_stats();
        assert_eq!((stats.pending, stats.deliveries.pending, stats.dead_letters_made), (0, 0, 1));
        let letter = bus.dead_letter_queue().letters()[0].id();
        assert!(bus.dead_letter_queue().redrive(letter).is_err());
        assert_eq!(bus.dead_letter_queue().len(), 1, "a redrive that fails brings its letter back");
        dropping.unsubscribe_and_wait(WATCHDOG).unwrap();
        last.unsubscribe_and_wait(WATCHDOG).unwrap();
    });
}

#[test]
fn destructors_that_panic_stay_with_their_owners() {
    let bombs = |n: u32| {
        (0..n).map(|_| Event::builder("a.b", "t").data(Payload::typed(PanicsWhenDropped)).build().unwrap())
    };
    // Each batch drops what the one before left in the history, and its own.
    for history in [0, 2] {
        let bus = EventBus::builder().history(history).build().unwrap();
        assert!(bus.publish_batch(bombs(5)).iter().all(Result::is_ok));
        assert_eq!(bus.get_stats().completed, 5);
        drop(bus);
    }
    // What makes room in the history is another publisher's: its panic is not passed on.
    let bus = EventBus::builder().history(1).build().unwrap();
    bus.publish_batch(bombs(1));
    let own = Event::builder("a.b", "t").data(Payload::typed(PanicsWhenDropped)).build().unwrap();
    bus.publish(own).unwrap();
    drop(bus);
    let bus = EventBus::builder().history(0).dead_letters(2).build().unwrap();
    bus.subscribe("a.b").handler(|_| Err::<(), _>("no")).unwrap();
    bus.publish_batch(bombs(6));
    assert_eq!(bus.get_stats().dead_letters_made, 6);
    assert_eq!(bus.dead_letter_queue().len(), 2);
    drop(bus);
}

#[test]
fn the_figures_of_the_history_fit_at_every_moment() {
    let bus = EventBus::new();
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !is_over.load(SeqCst) {
                let history = bus.get_stats().history;
                assert_eq!(history.kept + history.overwritten, history.last_sequence);
            }
        });
        for _ in 0..3_000 {
            bus.publish(event("a.b")).unwrap();
        }
        is_over.store(true, SeqCst);
    });
}

#[test]
fn a_handler_that_does_not_return_holds_up_nobody_else() {
    let bus = EventBus::new();
    let (begin, begun) = mpsc::channel();
    let (release, released) = mpsc::channel::<()>();
    let released = std::sync::Mutex::new(released);
    let stuck = move |_: &codomyrmex_events::Delivery<'_>| {
        begin.send(()).unwrap();
        let _ = released.lock().unwrap().recv();
    };
    bus.subscribe("stuck").handler(stuck).unwrap();
    let captured = Arc::new(());
    thread::scope(|scope| {
        scope.spawn(|| bus.publish(event("stuck")).unwrap());
        begun.recv_timeout(WATCHDOG).unwrap();
        for _ in 0..5_000 {
            let captured = Arc::clone(&captured);
            let subscription = bus.subscribe("a.b").handler(move |_| drop(Arc::clone(&captured))).unwrap();
            bus.publish(event("a.b")).unwrap();
            assert!(subscription.unsubscribe());
        }
        drop(release);
    });
    let last = bus.subscribe("a.b").handler(|_| ()).unwrap();
    last.unsubscribe_and_wait(WATCHDOG).unwrap();
    assert_eq!(Arc::strong_count(&captured), 1, "all have been taken apart");
}

#[test]
fn a_bus_that_is_shut_down_redrives_nothing() {
    let bus = EventBus::new();
    let calls = Arc::new(AtomicU64::new(0));
    let calling = Arc::clone(&calls);
    let failing = move |_: &codomyrmex_events::Delivery<'_>| {
        calling.fetch_add(1, SeqCst);
        Err::<(), _>("no")
    };
    bus.subscribe("a.b").handler(failing).unwrap();
    bus.publish(event("a.b")).unwrap();
    assert!(bus.shutdown(WATCHDOG).is_complete());
    let letter = bus.dead_letter_queue().letters()[0].id();
    match bus.dead_letter_queue().redrive(letter) {
        Err(EventDeliveryError::Refused(refusal)) => {
            assert!(matches!(refusal.kind(), PublishErrorKind::Closed));
        }
        other => panic!("{other:?}"),
    }
    assert_eq!((calls.load(SeqCst), bus.dead_letter_queue().len()), (1, 1));
}
