//! `once`: claimed by exactly one publish, after the filter said yes, and never given back.

#[path = "support/bus.rs"]
mod support;

use codomyrmex_events::{Delivery, EventBus, EventDeliveryError};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Barrier};
use std::thread;
use support::event;

const THREADS: usize = 16;

/// A count that a handler raises.
#[derive(Clone, Default)]
struct Count(Arc<AtomicU64>);

impl Count {
    fn add(&self) {
        self.0.fetch_add(1, SeqCst);
    }

    fn get(&self) -> u64 {
        self.0.load(SeqCst)
    }
}

/// Publishes `each` events on each of many threads that begin together.
fn publish_everywhere(bus: &EventBus, each: usize) {
    let start = Barrier::new(THREADS);
    thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                start.wait();
                for n in 0..each {
                    bus.publish(event(["build.start", "my.own"][n % 2])).expect("it is open");
                }
            });
        }
    });
}

#[test]
fn one_publish_of_many_threads_gets_the_turn() {
    let bus = EventBus::new();
    let (heard, always) = (Count::default(), Count::default());
    let count = always.clone();
    bus.subscribe("*").subscriber_id("always").handler(move |_| count.add()).unwrap();
    for round in 1..=100 {
        let count = heard.clone();
        let builder = bus.subscribe(["build.*", "*.start", "my.own"]).subscriber_id("once").once();
        let subscription =
            builder.handler(move |_| count.add()).expect("the id of a spent one is free again");
        publish_everywhere(&bus, 3);
        assert_eq!(heard.get(), round, "exactly one turn a round");
        assert!(bus.subscription("once").is_none());
        assert!(!subscription.unsubscribe(), "it has ended by itself");
    }
    assert_eq!(always.get(), 100 * 3 * THREADS as u64);
    let stats = bus.get_stats();
    assert_eq!((stats.subscribers_count, stats.deliveries.total), (1, always.get() + 100));
    assert_eq!(stats.deliveries.succeeded, stats.deliveries.total);
}

#[test]
fn many_once_subscriptions_at_once_each_get_one_turn() {
    for round in 0..20 {
        let bus = EventBus::new();
        let counts: Vec<Count> = (0..50).map(|_| Count::default()).collect();
        for count in &counts {
            let count = count.clone();
            bus.subscribe("*").once().handler(move |_| count.add()).unwrap();
        }
        publish_everywhere(&bus, 2);
        assert!(counts.iter().all(|count| count.get() == 1), "round {round}");
        assert!(counts.iter().all(|count| Arc::strong_count(&count.0) == 1), "captures are dropped");
        assert_eq!(bus.get_stats().subscribers_count, 0);
    }
}

#[test]
fn nested_publishes_do_not_reach_a_spent_subscription() {
    type Publish = fn(&EventBus);
    let rows: [(&str, Publish); 3] = [
        ("the same type", |bus| assert!(bus.publish(event("a.b")).is_ok())),
        ("another type", |bus| assert!(bus.publish(event("build.start")).is_ok())),
        ("a batch", |bus| drop(bus.publish_batch([event("a.b"), event("a.c")]))),
    ];
    for (name, publish) in rows {
        let (bus, heard, others) = (EventBus::new(), Count::default(), Count::default());
        let count = heard.clone();
        bus.subscribe("*")
            .once()
            .priority(1)
            .handler(move |delivery| {
                count.add();
                publish(&delivery.bus());
            })
            .unwrap();
        let count = others.clone();
        bus.subscribe("*").handler(move |_| count.add()).unwrap();
        bus.publish(event("a.b")).unwrap();
        assert_eq!(heard.get(), 1, "{name}");
        assert_eq!(others.get(), bus.history().len(), "{name}");
    }
    // Nor does a batch.
    let (bus, heard) = (EventBus::new(), Count::default());
    let count = heard.clone();
    bus.subscribe("*").once().handler(move |_| count.add()).unwrap();
    bus.publish_batch([event("a.b"), event("a.b"), event("a.b")]);
    assert_eq!(heard.get(), 1);
}

#[test]
fn the_claim_comes_after_the_filter_said_yes() {
    let (bus, heard, asked) = (EventBus::new(), Count::default(), Count::default());
    let (count, asks) = (heard.clone(), asked.clone());
    let builder = bus.subscribe("*").subscriber_id("once").once().filter(move |event| {
        asks.add();
        assert_ne!(*event.event_type(), "panics");
        *event.event_type() == "yes"
    });
    builder.handler(move |_| count.add()).unwrap();
    for (name, asks, hears) in
        [("no", 1, 0), ("panics", 2, 0), ("no", 3, 0), ("yes", 4, 1), ("yes", 4, 1), ("no", 4, 1)]
    {
        bus.publish(event(name)).unwrap();
        assert_eq!((asked.get(), heard.get()), (asks, hears), "after {name}");
    }
}

#[test]
fn the_filter_may_say_yes_to_many_and_the_handler_is_called_once() {
    for _ in 0..50 {
        let (bus, heard, asked) = (EventBus::new(), Count::default(), Count::default());
        let (count, asks) = (heard.clone(), asked.clone());
        // All publishers that find the subscription are in its filter before any goes on.
        let builder = bus.subscribe("*").once().filter(move |_| {
            asks.add();
            thread::yield_now();
            true
        });
        builder.handler(move |_| count.add()).unwrap();
        publish_everywhere(&bus, 1);
        assert_eq!(heard.get(), 1);
        assert!(asked.get() >= 1);
        assert_eq!(bus.get_stats().deliveries.total, 1, "who did not get the claim had no turn");
    }
}

#[test]
fn a_failing_once_keeps_its_claim_and_its_retries() {
    // Attempts allowed, attempt that succeeds (0: none), attempts made.
    for (attempts, succeeds, made) in [(1, 0, 1), (3, 0, 3), (3, 2, 2), (3, 3, 3)] {
        for panics in [false, true] {
            let (bus, tried) = (EventBus::new(), Count::default());
            let count = tried.clone();
            let handler = move |delivery: &Delivery<'_>| {
                count.add();
                let is_ok = delivery.attempt() == succeeds;
                assert!(is_ok || !panics);
                is_ok.then_some(()).ok_or("no")
            };
            bus.subscribe("*").once().attempts(attempts).handler(handler).unwrap();
            bus.publish(event("a.b")).unwrap();
            bus.publish(event("a.b")).unwrap();
            assert_eq!(tried.get(), made, "{attempts} attempts, panics: {panics}");
            let queue = bus.dead_letter_queue();
            assert_eq!(queue.len(), usize::from(succeeds == 0));
            for letter in queue.letters() {
                assert_eq!(u64::from(letter.attempts()), made);
                let outcome = queue.redrive(letter.id());
                assert!(matches!(outcome, Err(EventDeliveryError::SubscriptionGone { .. })), "{outcome:?}");
            }
            assert_eq!((tried.get(), bus.get_stats().subscribers_count), (made, 0));
        }
    }
}

#[test]
fn a_once_subscription_that_is_unsubscribed_first_is_never_heard() {
    let bus = EventBus::new();
    let heard = Count::default();
    for round in 0..2_000 {
        let (count, ended) = (heard.clone(), Arc::new(AtomicBool::new(false)));
        let (flag, start) = (Arc::clone(&ended), Barrier::new(2));
        let subscription = bus
            .subscribe("*")
            .once()
            .handler(move |_| {
                assert!(!flag.load(SeqCst));
                count.add();
            })
            .unwrap();
        let before = heard.get();
        let unsubscribed = thread::scope(|scope| {
            let publisher = scope.spawn(|| {
                start.wait();
                bus.publish(event("a.b")).unwrap();
            });
            start.wait();
            let unsubscribed = subscription.unsubscribe();
            publisher.join().unwrap();
            unsubscribed
        });
        ended.store(true, SeqCst);
        bus.publish(event("a.b")).unwrap();
        assert!(heard.get() - before <= 1, "round {round}");
        assert!(unsubscribed || heard.get() == before + 1, "it ended by one or the other");
    }
    assert_eq!(bus.get_stats().dead_letters_made, 0);
    assert_eq!(Arc::strong_count(&heard.0), 1, "all captures are dropped");
}
