//! [`EventMixin`]: what a module publishes and hears through it, and when that ends.

#![allow(clippy::unwrap_used, clippy::panic, reason = "in a test a panic is the report")]

#[path = "support/bus.rs"]
mod support;

use codomyrmex_events::{Delivery, Event, EventBus, EventError, EventMixin, Subscription, correlation};
use serde_json::json;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use support::{capture, is_dropped, publish};

fn mixin(bus: &EventBus) -> EventMixin {
    EventMixin::init_events_on("module", bus).expect("a valid source")
}

/// A subscription through the mixin that counts, and its count.
fn count(mixin: &EventMixin, pattern: &str) -> (Subscription, Arc<AtomicU32>) {
    let heard = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&heard);
    let handler = move |_: &Delivery<'_>| {
        counted.fetch_add(1, SeqCst);
    };
    (mixin.on(pattern, handler).expect("valid"), heard)
}

#[test]
fn a_source_that_is_none_is_refused() {
    let bus = EventBus::new();
    for source in ["", "a\nb", &"x".repeat(257)] {
        assert!(EventMixin::init_events(source).is_err(), "{source:?}");
        assert!(EventMixin::init_events_on(source, &bus).is_err(), "{source:?}");
    }
    assert_eq!(mixin(&bus).source(), "module");
}

#[test]
fn emit_publishes_from_this_source_and_returns_the_event_that_was_heard() {
    let bus = EventBus::new();
    let mixin = mixin(&bus);
    let heard: Arc<Mutex<Vec<Arc<Event>>>> = Arc::default();
    let log = Arc::clone(&heard);
    bus.subscribe("*")
        .handler(move |delivery| log.lock().unwrap().push(Arc::clone(delivery.event())))
        .unwrap();
    let id = correlation::new_id();
    let event = correlation::scope(&id, || mixin.emit("build.start", json!({"no": "such field"}))).unwrap();
    assert_eq!((event.source().as_str(), event.correlation_id()), ("module", Some(&id)));
    assert!(Arc::ptr_eq(&event, &heard.lock().unwrap()[0]), "emit validates nothing");

    assert!(matches!(mixin.emit("", json!({})), Err(EventError::Publish(_))), "a name that is none");
    assert_eq!(heard.lock().unwrap().len(), 1);
    bus.shutdown(std::time::Duration::ZERO);
    assert!(matches!(mixin.emit("a.b", json!({})), Err(EventError::Publish(_))), "a closed bus");
}

#[cfg(feature = "schema")]
#[test]
fn emit_typed_lets_nobody_hear_what_does_not_have_the_shape_of_its_type() {
    let bus = EventBus::new();
    let mixin = mixin(&bus);
    let (_, heard) = count(&mixin, "*");
    let good = json!({"build_type": "release", "target": "x"});
    let event = mixin.emit_typed("build.start", good).unwrap();
    assert_eq!((event.source().as_str(), heard.load(SeqCst)), ("module", 1));

    let refused = mixin.emit_typed("build.start", json!({"target": 7})).unwrap_err();
    let EventError::Validation(refused) = refused else { panic!("{refused:?}") };
    assert!(refused.pointers().any(|pointer| pointer == "/target"), "{refused}");
    assert!(matches!(mixin.emit_typed("no.schema", json!({})), Err(EventError::Validation(_))));
    assert_eq!((heard.load(SeqCst), bus.dead_letter_queue().len()), (1, 2));
}

#[test]
fn off_ends_what_this_mixin_subscribed_and_nothing_else() {
    let bus = EventBus::new();
    let (ours, theirs) = (mixin(&bus), mixin(&bus));
    let (subscription, heard) = count(&ours, "*");
    let (strangers, others) = count(&theirs, "*");
    let (kept, still) = count(&ours, "*");

    assert!(!ours.off("nobody") && !ours.off(strangers.id()), "not this mixin's");
    assert!(ours.off(subscription.id()));
    assert!(!ours.off(subscription.id()), "it has ended");
    publish(&bus, "a.b");
    assert_eq!([&heard, &others, &still].map(|heard| heard.load(SeqCst)), [0, 1, 1]);

    assert!(kept.unsubscribe());
    assert!(!ours.off(kept.id()), "it ended by itself");
    assert_eq!(bus.get_stats().subscribers_count, 1);
}

#[test]
fn cleanup_ends_all_of_its_own_and_the_mixin_can_go_on() {
    let bus = EventBus::new();
    let (ours, theirs) = (mixin(&bus), mixin(&bus));
    let (_, others) = count(&theirs, "*");
    let (value, seen) = capture();
    let heard: Vec<_> = ["a.*", "*.b", "*"].map(|pattern| count(&ours, pattern).1).into();
    ours.on("*", move |_| assert!(Arc::strong_count(&value) > 0)).unwrap();
    publish(&bus, "a.b");
    ours.cleanup_events();
    assert!(is_dropped(&seen), "with what the handlers captured");
    publish(&bus, "a.b");
    assert!(heard.iter().all(|heard| heard.load(SeqCst) == 1));
    assert_eq!((others.load(SeqCst), bus.get_stats().subscribers_count), (2, 1));

    ours.cleanup_events();
    let (_, again) = count(&ours, "*");
    ours.emit("a.b", json!({})).unwrap();
    assert_eq!(again.load(SeqCst), 1);
}

#[test]
fn dropping_it_ends_all_of_its_own() {
    let bus = EventBus::new();
    let mixin = mixin(&bus);
    let (subscription, heard) = count(&mixin, "*");
    let (value, seen) = capture();
    mixin.on("*", move |_| assert!(Arc::strong_count(&value) > 0)).unwrap();
    drop(mixin);
    publish(&bus, "a.b");
    assert!(is_dropped(&seen) && !subscription.unsubscribe());
    assert_eq!((heard.load(SeqCst), bus.get_stats().subscribers_count), (0, 0));
}

#[test]
fn it_may_end_its_own_from_within_a_handler() {
    let bus = EventBus::new();
    let mixin = Arc::new(mixin(&bus));
    let heard = Arc::new(AtomicU32::new(0));
    let (own, counted) = (Arc::downgrade(&mixin), Arc::clone(&heard));
    let handler = move |delivery: &Delivery<'_>| {
        counted.fetch_add(1, SeqCst);
        let mixin = own.upgrade().expect("the test holds it");
        assert!(mixin.off(delivery.subscription().id()));
        mixin.cleanup_events();
    };
    mixin.on("*", handler).unwrap();
    (0..2).for_each(|_| publish(&bus, "a.b"));
    assert_eq!((heard.load(SeqCst), bus.get_stats().dead_letters_made), (1, 0));
}

#[test]
fn it_keeps_what_was_subscribed_elsewhere() {
    let bus = EventBus::new();
    let mixin = mixin(&bus);
    let heard = Arc::new(AtomicU32::new(0));
    let subscribe = |id: &str| {
        let counted = Arc::clone(&heard);
        let builder =
            bus.subscribe("*").subscriber_id(id).priority(7).filter(|event| event.source() == "test");
        let handler = move |_: &Delivery<'_>| {
            counted.fetch_add(1, SeqCst);
        };
        builder.handler(handler).unwrap()
    };
    mixin.keep(subscribe("first"));
    mixin.keep(subscribe("second"));
    publish(&bus, "a.b");
    mixin.emit("a.b", json!({})).unwrap();
    assert_eq!(heard.load(SeqCst), 2, "the filter declines the mixin's own");
    assert!(mixin.off("first") && !mixin.off("first"));
    drop(mixin);
    publish(&bus, "a.b");
    assert_eq!((heard.load(SeqCst), bus.get_stats().subscribers_count), (2, 0));
}

#[test]
fn those_that_end_by_themselves_are_forgotten_and_the_others_are_not() {
    let bus = EventBus::new();
    let mixin = mixin(&bus);
    let (_, heard) = count(&mixin, "*");
    let ended: Vec<String> = (0..1_000)
        .map(|_| {
            let (subscription, _) = count(&mixin, "*");
            assert!(subscription.unsubscribe());
            subscription.id().to_owned()
        })
        .collect();
    assert!(!ended.iter().any(|id| mixin.off(id)), "they ended by themselves");
    publish(&bus, "a.b");
    mixin.cleanup_events();
    publish(&bus, "a.b");
    assert_eq!((heard.load(SeqCst), bus.get_stats().subscribers_count), (1, 0));
}

/// A module as its author would write it.
struct Module {
    events: EventMixin,
    heard: AtomicU32,
}

impl Module {
    fn hear(&self, _: &Delivery<'_>) -> Result<(), &'static str> {
        match self.heard.fetch_add(1, SeqCst) {
            0 => Ok(()),
            _ => Err("once is enough"),
        }
    }
}

#[test]
fn a_method_is_called_as_long_as_its_owner_lives_and_its_failures_count() {
    let bus = EventBus::new();
    let module = Arc::new(Module { events: mixin(&bus), heard: AtomicU32::new(0) });
    let subscription = module.events.on_method(&module, "*", Module::hear).unwrap();
    (0..2).for_each(|_| publish(&bus, "a.b"));
    assert_eq!((module.heard.load(SeqCst), bus.dead_letter_queue().len()), (2, 1));

    let seen = Arc::downgrade(&module);
    drop(module);
    assert_eq!(seen.strong_count(), 0, "the subscription does not keep its owner alive");
    assert!(!subscription.unsubscribe(), "it ended with its owner");
    publish(&bus, "a.b");
    assert_eq!(bus.dead_letter_queue().len(), 1);
}

#[cfg(feature = "async")]
#[test]
fn an_asynchronous_handler_ends_with_its_mixin_too() {
    use codomyrmex_events::OwnedDelivery;
    let bus = EventBus::new();
    let mixin = EventMixin::init_events_on("module", &bus).unwrap();
    let (told, hears) = std::sync::mpsc::channel();
    let tells = move |delivery: OwnedDelivery| {
        let told = told.clone();
        async move { told.send(delivery.sequence()) }
    };
    mixin.on_async("a.*", tells).unwrap();
    publish(&bus, "a.b");
    bus.flush(support::WATCHDOG).unwrap();
    drop(mixin);
    publish(&bus, "a.b");
    bus.flush(support::WATCHDOG).unwrap();
    assert_eq!(hears.iter().collect::<Vec<u64>>(), [1], "and what it captured is dropped");
}
