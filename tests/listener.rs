//! [`EventListener`]: what it hears, how often, until when; and the handlers of a value, registered at once.

#![allow(clippy::unwrap_used, clippy::panic, reason = "in a test a panic is the report")]

#[path = "support/bus.rs"]
mod support;

use codomyrmex_events::{
    Delivery, EventBus, EventError, EventHandlers, EventListener, Handlers, SubscriptionErrorKind,
};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::sync::{Arc, Barrier, Mutex};
use std::thread;
use std::time::Duration;
use support::{capture, event, is_dropped, publish};

/// A handler that counts, and its count.
fn counter() -> (impl Fn(&Delivery<'_>) + Send + Sync + 'static, Arc<AtomicU32>) {
    let heard = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&heard);
    let handler = move |_: &Delivery<'_>| {
        counted.fetch_add(1, SeqCst);
    };
    (handler, heard)
}

#[test]
fn it_hears_what_it_listens_to_and_nothing_else() {
    let bus = EventBus::new();
    let listener = EventListener::on_bus(&bus);
    let (on, some) = counter();
    let (on_analysis, analysis) = counter();
    let (on_build, build) = counter();
    listener.on(["deploy.*", "task.failed"], on).unwrap();
    listener.listen_to_analysis_events(on_analysis).unwrap();
    listener.listen_to_build_events(on_build).unwrap();
    let types = ["start", "progress", "complete", "error"];
    for domain in ["analysis", "build", "deploy"] {
        types.iter().for_each(|name| publish(&bus, &format!("{domain}.{name}")));
    }
    ["task.failed", "analysis", "prebuild.start", "my.build.start"]
        .iter()
        .for_each(|name| publish(&bus, name));
    assert_eq!([&some, &analysis, &build].map(|heard| heard.load(SeqCst)), [5, 4, 4]);
}

#[test]
fn off_ends_one_of_its_own_and_an_id_is_never_given_again() {
    let bus = EventBus::new();
    let (ours, theirs) = (EventListener::on_bus(&bus), EventListener::on_bus(&bus));
    let mut ids = Vec::new();
    for _ in 0..100 {
        let subscription = ours.on("*", |_| ()).unwrap();
        let other = theirs.on("*", |_| ()).unwrap();
        assert!(!ours.off(other.id()), "another's");
        assert!(ours.off(subscription.id()));
        assert!(!ours.off(subscription.id()), "it has ended");
        ids.push(subscription.id().to_owned());
    }
    let given = ids.len();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), given);
    assert_eq!(bus.get_stats().subscribers_count, 100, "the other's go on");
}

#[test]
fn an_id_given_by_hand_names_the_one_that_lives() {
    let bus = EventBus::new();
    let listener = EventListener::on_bus(&bus);
    let subscribe = || bus.subscribe("*").subscriber_id("mine").handler(|_| ()).unwrap();
    let first = subscribe();
    listener.keep(first.clone());
    first.unsubscribe();
    listener.keep(subscribe());
    assert!(listener.off("mine"), "the second; the first had ended by itself");
    assert_eq!(bus.get_stats().subscribers_count, 0);
}

#[test]
fn once_is_once_under_64_threads_that_also_publish_from_within() {
    for dispatch in [EventBus::new(), queued()] {
        let listener = EventListener::on_bus(&dispatch);
        let heard = Arc::new(AtomicU32::new(0));
        for _ in 0..20 {
            let counted = Arc::clone(&heard);
            let nests = move |delivery: &Delivery<'_>| {
                counted.fetch_add(1, SeqCst);
                drop(delivery.bus().publish(event("a.b")));
            };
            listener.once("a.*", nests).unwrap();
        }
        let start = Barrier::new(64);
        thread::scope(|threads| {
            for _ in 0..64 {
                threads.spawn(|| {
                    start.wait();
                    (0..4).for_each(|_| publish(&dispatch, "a.b"));
                });
            }
        });
        dispatch.flush(support::WATCHDOG).unwrap();
        assert_eq!(heard.load(SeqCst), 20, "each of the 20 once");
        assert_eq!(dispatch.get_stats().subscribers_count, 0);
    }
}

/// A bus with workers, if this build has them.
fn queued() -> EventBus {
    #[cfg(feature = "queued")]
    return EventBus::builder().queued().build().unwrap();
    #[cfg(not(feature = "queued"))]
    EventBus::new()
}

#[test]
fn dropping_it_or_off_all_ends_everything_with_its_captures() {
    let bus = EventBus::new();
    let listener = EventListener::on_bus(&bus);
    for round in 0..2 {
        let (value, seen) = capture();
        listener.on("*", move |_| assert!(Arc::strong_count(&value) > 0)).unwrap();
        let kept = bus.subscribe("*").priority(7).handler(|_| ()).unwrap();
        listener.keep(kept.clone());
        publish(&bus, "a.b");
        if round == 0 {
            listener.off_all();
            assert!(is_dropped(&seen) && !kept.unsubscribe(), "and it can be used again");
        }
    }
    assert_eq!(bus.get_stats().subscribers_count, 2);
    drop(listener);
    assert_eq!(bus.get_stats().subscribers_count, 0);
}

#[test]
fn it_may_be_dropped_within_its_own_handler() {
    let bus = EventBus::new();
    let listener = Arc::new(Mutex::new(Some(EventListener::on_bus(&bus))));
    let own = Arc::clone(&listener);
    let drops = move |_: &Delivery<'_>| drop(own.lock().unwrap().take());
    listener.lock().unwrap().as_ref().unwrap().on("*", drops).unwrap();
    (0..2).for_each(|_| publish(&bus, "a.b"));
    assert_eq!(bus.get_stats().deliveries.total, 1);
    assert!(listener.lock().unwrap().is_none());
}

/// A value whose handlers are its methods.
#[derive(Default)]
struct Module {
    topic: String,
    heard: Mutex<Vec<&'static str>>,
}

impl Module {
    fn note(&self, what: &'static str) {
        self.heard.lock().unwrap().push(what);
    }

    fn on_build(&self, _: &Delivery<'_>) {
        self.note("build");
    }

    fn first_deploy(&self, _: &Delivery<'_>) -> Result<(), &'static str> {
        self.note("deploy");
        Err("a failure counts")
    }

    fn urgent(&self, _: &Delivery<'_>) {
        self.note("urgent");
    }
}

impl EventHandlers for Module {
    fn handlers(&self, on: &mut Handlers<'_, Self>) {
        on.on("build.*", Self::on_build).once("deploy.complete", Self::first_deploy);
        on.on_with(self.topic.as_str(), |to| to.priority(10).subscriber_id("urgent"), Self::urgent);
    }
}

fn module(topic: &str) -> Arc<Module> {
    Arc::new(Module { topic: topic.to_owned(), heard: Mutex::default() })
}

#[test]
fn the_handlers_of_a_value_are_registered_at_once() {
    let bus = EventBus::new();
    let listener = EventListener::on_bus(&bus);
    let module = module("build.error");
    assert_eq!(listener.register(&module).unwrap().len(), 3);
    for name in ["build.start", "build.error", "deploy.complete", "deploy.complete"] {
        publish(&bus, name);
    }
    assert_eq!(*module.heard.lock().unwrap(), ["build", "urgent", "build", "deploy"]);
    assert_eq!((bus.dead_letter_queue().len(), bus.subscriptions().len()), (1, 2));
    assert!(listener.off("urgent"));
    drop(listener);
    assert_eq!(bus.subscriptions().len(), 0);
    assert_eq!(Arc::strong_count(&module), 1);
}

#[test]
fn nothing_is_registered_if_one_cannot_be() {
    let bus = EventBus::new();
    let listener = EventListener::on_bus(&bus);
    let too_long = module(&"x".repeat(1_025));
    let refused = listener.register(&too_long).unwrap_err();
    let EventError::Subscription(refused) = refused else { panic!("{refused:?}") };
    assert!(matches!(refused.kind(), SubscriptionErrorKind::Pattern(_)));
    assert_eq!(bus.subscriptions().len(), 0);

    listener.register(&module("a.b")).unwrap();
    assert!(listener.register(&module("a.b")).is_err(), "the id is in use");
    assert_eq!(bus.subscriptions().len(), 3);
    bus.shutdown(Duration::ZERO);
    assert!(listener.register(&module("a.b")).is_err() && listener.on("*", |_| ()).is_err());
}

#[test]
fn a_panic_while_registering_leaves_nothing_behind() {
    struct Panics;
    impl EventHandlers for Panics {
        fn handlers(&self, on: &mut Handlers<'_, Self>) {
            on.on("*", |_: &Self, _: &Delivery<'_>| ());
            panic!("on purpose");
        }
    }
    let bus = EventBus::new();
    let listener = EventListener::on_bus(&bus);
    let caught = catch_unwind(AssertUnwindSafe(|| listener.register(&Arc::new(Panics))));
    assert!(caught.is_err());
    assert_eq!(bus.subscriptions().len(), 0);
}

#[test]
fn a_value_that_is_dropped_ends_its_handlers_though_the_listener_lives() {
    let bus = EventBus::new();
    let listener = EventListener::on_bus(&bus);
    let module = module("*");
    listener.register(&module).unwrap();
    let seen = Arc::downgrade(&module);
    drop(module);
    assert_eq!(seen.strong_count(), 0, "nothing keeps it alive");
    publish(&bus, "build.start");
    publish(&bus, "deploy.complete");
    assert_eq!((bus.subscriptions().len(), bus.get_stats().dead_letters_made), (0, 0));
}

/// A value that owns its listener, the usual case.
struct Owner {
    listener: EventListener,
    heard: AtomicU32,
}

impl EventHandlers for Owner {
    fn handlers(&self, on: &mut Handlers<'_, Self>) {
        on.on("*", |owner: &Self, _: &Delivery<'_>| assert_eq!(owner.heard.fetch_add(1, SeqCst), 0));
    }
}

#[test]
fn a_value_that_owns_its_listener_takes_it_along() {
    let bus = EventBus::new();
    let owner = Arc::new(Owner { listener: EventListener::on_bus(&bus), heard: AtomicU32::new(0) });
    owner.listener.register(&owner).unwrap();
    publish(&bus, "a.b");
    drop(owner);
    assert_eq!(bus.subscriptions().len(), 0, "at once, not at the next event");
    publish(&bus, "a.b");
}

#[test]
fn without_a_bus_it_is_on_the_process_wide_one() {
    let listener = EventListener::default();
    let (handler, heard) = counter();
    let subscription = listener.on("listener.global", handler).unwrap();
    codomyrmex_events::publish_event(event("listener.global")).unwrap();
    assert_eq!(heard.load(SeqCst), 1);
    drop(listener);
    assert!(codomyrmex_events::get_event_bus().subscription(subscription.id()).is_none());
}

#[cfg(feature = "async")]
mod asynchronous {
    use super::*;
    use codomyrmex_events::OwnedDelivery;
    use std::sync::mpsc::{Sender, channel};

    struct Notifier {
        told: Mutex<Sender<(&'static str, u64)>>,
    }

    impl Notifier {
        async fn notify(self: Arc<Self>, delivery: OwnedDelivery) -> Result<(), EventError> {
            self.told.lock().unwrap().send(("each", delivery.sequence())).unwrap();
            Ok(())
        }

        async fn first(self: Arc<Self>, delivery: OwnedDelivery) {
            self.told.lock().unwrap().send(("first", delivery.sequence())).unwrap();
        }
    }

    impl EventHandlers for Notifier {
        fn handlers(&self, on: &mut Handlers<'_, Self>) {
            on.on_async("alert.*", Self::notify);
            on.once_async("alert.*", Self::first);
            on.on_async_with("task.*", |to| to.mailbox(7), Self::notify);
        }
    }

    #[test]
    fn asynchronous_methods_and_handlers_are_heard_and_end_too() {
        let bus = EventBus::new();
        let listener = EventListener::on_bus(&bus);
        let (told, hears) = channel();
        let notifier = Arc::new(Notifier { told: Mutex::new(told.clone()) });
        listener.register(&notifier).unwrap();
        let telling = told.clone();
        let tells = move |what: &'static str| {
            let told = Mutex::new(telling.clone());
            move |delivery: OwnedDelivery| {
                let told = told.lock().unwrap().clone();
                async move { told.send((what, delivery.sequence())) }
            }
        };
        listener.on_async("alert.*", tells("closure")).unwrap();
        listener.once_async("alert.*", tells("closure, once")).unwrap();
        for name in ["alert.a", "alert.b", "task.c"] {
            publish(&bus, name);
            bus.flush(support::WATCHDOG).unwrap();
        }
        drop(notifier);
        publish(&bus, "alert.d");
        publish(&bus, "task.d");
        bus.flush(support::WATCHDOG).unwrap();
        assert_eq!(bus.subscriptions().len(), 1, "those of the value ended");
        drop(listener);
        publish(&bus, "alert.e");
        bus.flush(support::WATCHDOG).unwrap();
        drop((told, tells));
        let mut heard: Vec<_> = hears.iter().collect();
        heard.sort_unstable();
        let expected = [
            ("closure", 1),
            ("closure", 2),
            ("closure", 4),
            ("closure, once", 1),
            ("each", 1),
            ("each", 2),
            ("each", 3),
            ("first", 1),
        ];
        assert_eq!(heard, expected);
    }
}
