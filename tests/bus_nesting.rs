//! How deep publishes nest: to an error that brings the event back, never to the end of the stack.

#![allow(clippy::unwrap_used, clippy::panic, reason = "in a test a panic is the report")]

#[path = "support/bus.rs"]
mod support;

use codomyrmex_events::{
    Delivery, Event, EventBus, EventDeliveryError, NESTED_PUBLISHES_MAX, PublishErrorKind,
};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use support::event;

#[test]
fn publishes_nest_64_deep_and_the_next_comes_back() {
    type Nest = fn(&EventBus, &Event) -> Result<u64, PublishErrorKind>;
    let rows: [(&str, Nest); 2] = [
        ("publish", |bus, event| {
            let shared = Arc::new(event.clone());
            let outcome = bus.publish(Arc::clone(&shared));
            outcome.map(|published| published.sequence()).map_err(|error| {
                assert!(Arc::ptr_eq(error.event().unwrap(), &shared), "the event comes back");
                error.kind().clone()
            })
        }),
        ("publish_batch", |bus, event| {
            let outcome = bus.publish_batch([event.clone()]).remove(0);
            outcome.map(|published| published.sequence()).map_err(|error| error.kind().clone())
        }),
    ];
    for (name, nest) in rows {
        for in_filter in [false, true] {
            let bus = EventBus::new();
            let (weak, deepest) = (bus.downgrade(), Arc::new(AtomicUsize::new(0)));
            let kinds: Arc<Mutex<Vec<PublishErrorKind>>> = Arc::default();
            let (depth, errors) = (Arc::clone(&deepest), Arc::clone(&kinds));
            let descend = move || {
                depth.fetch_add(1, SeqCst);
                if let Err(kind) = nest(&weak.upgrade().unwrap(), &event("down.here")) {
                    errors.lock().unwrap().push(kind);
                }
            };
            if in_filter {
                let builder = bus.subscribe("*").filter(move |_| {
                    descend();
                    true
                });
                builder.handler(|_| ()).unwrap();
            } else {
                bus.subscribe("*").handler(move |_| descend()).unwrap();
            }
            for _ in ["first", "and again on the same thread"] {
                bus.publish(event("down.here")).unwrap();
                assert_eq!(deepest.swap(0, SeqCst), NESTED_PUBLISHES_MAX, "{name}, in a filter: {in_filter}");
                let kinds = std::mem::take(&mut *kinds.lock().unwrap());
                let [PublishErrorKind::TooDeep { limit: 64 }] = kinds[..] else {
                    panic!("{name}: {kinds:?}")
                };
            }
            assert_eq!(bus.get_stats().refused, 2, "{name}");
            assert_eq!(bus.history().last_sequence(), 128, "{name}");
        }
    }
}

#[test]
fn the_depth_is_that_of_the_thread_on_whichever_buses() {
    let (ping, pong) = (EventBus::new(), EventBus::new());
    let refused = Arc::new(AtomicUsize::new(0));
    for (from, to) in [(&ping, &pong), (&pong, &ping)] {
        let (to, refused) = (to.downgrade(), Arc::clone(&refused));
        let handler = move |_: &Delivery<'_>| {
            let outcome = to.upgrade().unwrap().publish(event("a.b"));
            refused.fetch_add(usize::from(outcome.is_err()), SeqCst);
        };
        from.subscribe("*").handler(handler).unwrap();
    }
    ping.publish(event("a.b")).unwrap();
    assert_eq!(refused.load(SeqCst), 1);
    assert_eq!((ping.history().len(), pong.history().len()), (32, 32));
    assert_eq!((ping.get_stats().refused, pong.get_stats().refused), (1, 0));
}

#[test]
fn a_redrive_counts_as_a_publish_and_its_letter_stays() {
    let bus = EventBus::new();
    bus.subscribe("broken").handler(|_| Err::<(), _>("broken")).unwrap();
    bus.publish(event("broken")).unwrap();
    let answers: Arc<Mutex<Vec<String>>> = Arc::default();
    let told = Arc::clone(&answers);
    let handler = move |delivery: &Delivery<'_>| {
        let bus = delivery.bus();
        if bus.publish(event("down.here")).is_err() {
            let outcome = bus.dead_letter_queue().redrive(1);
            assert!(matches!(outcome, Err(EventDeliveryError::TooDeep { letter: 1 })), "{outcome:?}");
            told.lock().unwrap().push(outcome.unwrap_err().to_string());
        }
    };
    bus.subscribe("down.*").handler(handler).unwrap();
    bus.publish(event("down.here")).unwrap();
    assert_eq!(*answers.lock().unwrap(), ["letter 1: too many nested publishes on this thread"]);
    assert_eq!(bus.dead_letter_queue().letters()[0].redrives(), 0);
}
