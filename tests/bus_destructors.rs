//! Destructors of what handlers capture are user code: they may use the bus, and their panics harm nobody.

#![allow(clippy::unwrap_used, clippy::panic, reason = "in a test a panic is the report")]

#[path = "support/bus.rs"]
mod support;

use codomyrmex_events::{EventBus, Subscription, WeakEventBus};
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use support::{OnDrop, WATCHDOG, capture, event, hold, is_dropped, publish, watched};

#[test]
fn a_destructor_at_the_end_of_the_bus_does_not_wait_for_itself() {
    let answer = watched("a destructor at the end of the bus", || {
        let bus = EventBus::new();
        let own: Arc<OnceLock<Subscription>> = Arc::default();
        let answer = Arc::new(OnceLock::new());
        let (handle, told) = (Arc::clone(&own), Arc::clone(&answer));
        let wait = OnDrop(move || {
            let own: &Subscription = handle.get().unwrap();
            told.set(own.unsubscribe_and_wait(Duration::MAX)).unwrap();
        });
        own.set(hold(&bus, wait)).unwrap();
        drop(bus);
        answer.get().copied()
    });
    assert!(answer.is_some_and(|answer| answer.is_err()), "{answer:?}");
}

#[test]
fn a_destructor_that_unsubscribes_another_has_that_one_dropped_too() {
    let bus = EventBus::new();
    let mut seen = Vec::new();
    // Each one's destructor ends the one before.
    let mut last: Option<Subscription> = None;
    for _ in 0..5 {
        let (value, dropped) = capture();
        seen.push(dropped);
        let before = last.take();
        let end = OnDrop(move || {
            before.as_ref().map(Subscription::unsubscribe);
        });
        last = Some(hold(&bus, (value, end)));
    }
    last.unwrap().unsubscribe();
    assert_eq!(bus.get_stats().subscribers_count, 0);
    assert!(seen.iter().all(is_dropped), "no delivery is in progress");
}

#[test]
fn a_destructor_may_use_the_bus() {
    let bus = EventBus::new();
    let heard = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&heard);
    bus.subscribe("from.destructor")
        .handler(move |_| {
            count.fetch_add(1, SeqCst);
        })
        .unwrap();
    let uses = |weak: WeakEventBus| {
        OnDrop(move || {
            if let Some(bus) = weak.upgrade() {
                bus.publish(event("from.destructor")).unwrap();
                let subscription = hold(&bus, ());
                assert!(subscription.unsubscribe() && bus.get_stats().pending <= 1);
            }
        })
    };
    hold(&bus, uses(bus.downgrade())).unsubscribe();
    assert_eq!(heard.load(SeqCst), 1, "after a plain unsubscribe");
    hold(&bus, uses(bus.downgrade())).unsubscribe_and_wait(WATCHDOG).unwrap();
    assert_eq!(heard.load(SeqCst), 2, "after a wait");
    let held = uses(bus.downgrade());
    bus.subscribe("a.b")
        .once()
        .handler(move |_| {
            std::hint::black_box(&held);
        })
        .unwrap();
    publish(&bus, "a.b");
    assert_eq!(heard.load(SeqCst), 3, "after the turn of a once");
    // A handler that is not taken is dropped with no lock held.
    let held = uses(bus.downgrade());
    let refused = bus.subscribe("*").subscriber_id("subscriber_1").handler(move |_| {
        std::hint::black_box(&held);
    });
    assert!(refused.is_err());
    assert_eq!(heard.load(SeqCst), 4, "after a refusal");
    hold(&bus, OnDrop(|| panic!("in a destructor"))).unsubscribe_and_wait(WATCHDOG).unwrap();
    publish(&bus, "a.b");
    assert_eq!(bus.get_stats().subscribers_count, 1);
}

#[test]
fn a_panicking_destructor_at_the_end_of_the_bus_spares_the_others() {
    let bus = EventBus::new();
    let (value, seen) = capture();
    hold(&bus, OnDrop(|| panic!("in a destructor")));
    hold(&bus, value);
    drop(std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| drop(bus))));
    assert!(is_dropped(&seen));
}
