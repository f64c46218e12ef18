//! A publish of a ready, complete event to synchronous handlers allocates nothing, once the thread is warm; and what a
//! bus remembers of made-up names is bounded, however many listen.

#[path = "support/allocations.rs"]
mod counting;

use codomyrmex_events::{Delivery, Event, EventBus, EventSchema, correlation};
use serde_json::json;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, LazyLock};
use std::thread;

/// Nothing left for the bus to fill in.
fn complete(event_type: &str) -> Arc<Event> {
    let builder = Event::builder(event_type, "a source that is longer than what fits inline")
        .correlation_id("c")
        .causation_id("the event before")
        .data(json!({"target": [1, 2, 3]}));
    Arc::new(builder.build().expect("valid"))
}

fn publish(bus: &EventBus, event: &Arc<Event>) {
    bus.publish(Arc::clone(event)).expect("it is open");
}

fn bus(history: usize) -> EventBus {
    static SCHEMAS: LazyLock<EventSchema> = LazyLock::new(EventSchema::new);
    EventBus::builder().history(history).schemas(SCHEMAS.clone()).build().expect("valid")
}

/// Allocations of 1,000 publications of each of the events, after some that warm the thread up.
fn allocations(publish: impl Fn()) -> usize {
    (0..100).for_each(|_| publish());
    counting::during(|| (0..1_000).for_each(|_| publish())).1.calls
}

const NAMES: [&str; 3] = ["build.start", "my.own", "a.name.of.ones.own.that.is.longer.than.what.fits.inline"];

#[test]
fn the_count_counts() {
    let (_, taken) = counting::during(|| drop(std::hint::black_box(Box::new(7))));
    assert_eq!((taken.calls, taken.kept_bytes), (1, 0));
    assert!(allocations(|| drop(complete("my.own"))) >= 1_000, "making an event is not free");
}

#[test]
fn a_publish_of_a_ready_event_allocates_nothing() {
    for handlers in [0, 1, 10] {
        for history in [0, 1, 16, 1_000] {
            for guarded in [false, true] {
                let bus = bus(history);
                let heard = Arc::new(AtomicU64::new(0));
                for n in 0..handlers {
                    let count = Arc::clone(&heard);
                    let mut builder = bus.subscribe(["*.start", "*own*", "a*"]).priority(n % 3);
                    if guarded {
                        builder = builder.filter(move |event| event.data().is_typed() || n % 2 == 0);
                    }
                    let handler = move |_: &Delivery<'_>| {
                        count.fetch_add(1, Relaxed);
                    };
                    builder.handler(handler).unwrap();
                }
                // Other globs, which are compiled and asked only for names never seen.
                let mut others = (0..100).map(|n| bus.subscribe(format!("other.{n}.*")).handler(|_| ()));
                assert!(others.all(|other| other.is_ok()));
                for name in NAMES {
                    let event = complete(name);
                    let context =
                        format!("{name}, {handlers} handlers, history {history}, guarded: {guarded}");
                    assert_eq!(allocations(|| publish(&bus, &event)), 0, "{context}");
                }
                let hearing = (0..handlers).filter(|n| !guarded || n % 2 == 0).count();
                assert_eq!(heard.load(Relaxed), (NAMES.len() * 1_100 * hearing) as u64);
            }
        }
    }
}

#[test]
fn nor_does_one_from_within_a_handler() {
    for history in [0, 16] {
        for name in NAMES {
            let bus = bus(history);
            let nested = complete("nested.inner");
            let deeper = Arc::clone(&nested);
            let publish_nested = move |delivery: &Delivery<'_>| publish(&delivery.bus(), &deeper);
            bus.subscribe(name).handler(publish_nested).unwrap();
            let innermost = complete("build.complete");
            let publish_inner = move |delivery: &Delivery<'_>| publish(&delivery.bus(), &innermost);
            bus.subscribe("nested.*").handler(publish_inner).unwrap();
            let event = complete(name);
            assert_eq!(allocations(|| publish(&bus, &event)), 0, "{name}, {history}");
            assert_eq!(bus.history().last_sequence(), 3 * 1_100);
        }
    }
}

#[test]
fn nor_do_several_buses_by_turns_on_one_thread() {
    let buses: Vec<EventBus> = (0..5).map(|n| bus(n * 4)).collect();
    let event = complete("my.own");
    for bus in &buses {
        bus.subscribe("*").handler(|_| ()).unwrap();
    }
    let by_turns = || buses.iter().for_each(|bus| publish(bus, &event));
    assert_eq!(allocations(by_turns), 0);
}

#[test]
fn nor_does_filling_in_a_short_correlation_id_in_place() {
    let bus = bus(16);
    bus.subscribe("*").handler(|_| ()).unwrap();
    let id = correlation::new_id();
    let warm = || Arc::new(Event::builder("my.own", "test").build().unwrap());
    correlation::scope(&id, || {
        assert!((0..100).all(|_| bus.publish(warm()).is_ok()));
        let ready: Vec<Arc<Event>> = (0..1_000).map(|_| warm()).collect();
        let publish_all = || ready.into_iter().all(|event| bus.publish(event).is_ok());
        let (is_ok, taken) = counting::during(publish_all);
        assert_eq!((is_ok, taken.calls), (true, 0));
    });
    assert_eq!(bus.get_stats().events_copied, 0);
}

#[test]
fn nor_does_it_while_another_thread_publishes() {
    let bus = bus(16);
    bus.subscribe("*").handler(|_| ()).unwrap();
    thread::scope(|scope| {
        let threads = ["build.start", "my.own"].map(|name| {
            let bus = &bus;
            scope.spawn(move || {
                let event = complete(name);
                allocations(|| publish(bus, &event))
            })
        });
        for thread in threads {
            assert_eq!(thread.join().unwrap(), 0);
        }
    });
}

#[test]
fn routes_of_made_up_names_are_shared_and_bounded() {
    const NAMES: usize = 20_000;
    const HEARERS: usize = 500;
    let bus = bus(0);
    for _ in 0..HEARERS {
        bus.subscribe("*").handler(|_| ()).expect("valid");
    }
    let names: Vec<_> = (0..NAMES).map(|n| complete(&format!("made.up.{n}"))).collect();
    let (_, taken) = counting::during(|| names.iter().for_each(|event| publish(&bus, event)));
    // A route of its own for each name would be 20,000 x 500 x 24 bytes = 240 MB.
    assert!(taken.kept_bytes < 16 << 20, "{taken:?}");
    let stats = bus.get_stats();
    assert_eq!(stats.deliveries.succeeded, (NAMES * HEARERS) as u64);
    assert!(stats.remembered_names > 10_000, "sharing leaves room for all names: {}", stats.remembered_names);
}

#[test]
#[cfg(feature = "queued")]
fn nor_does_a_queued_one_on_either_side_of_the_queue() {
    use std::sync::Mutex;
    for history in [0, 16] {
        let builder = EventBus::builder().queued().max_workers(1).lane_room(4_096).history(history);
        let bus = builder.build().expect("valid");
        let calls: Arc<Mutex<Vec<usize>>> = Arc::new(Mutex::new(Vec::with_capacity(10_000)));
        let worker = Arc::clone(&calls);
        let handler = move |_: &Delivery<'_>| worker.lock().expect("nobody panics").push(counting::calls());
        bus.subscribe(["*.start", "*own*"]).handler(handler).unwrap();
        for name in NAMES {
            let event = complete(name);
            calls.lock().expect("nobody panics").clear();
            let publisher = allocations(|| publish(&bus, &event));
            bus.flush(std::time::Duration::from_secs(30)).expect("it gets quiet");
            let calls = calls.lock().expect("nobody panics");
            assert_eq!((publisher, calls.len()), (0, 1_100), "{name}, history {history}");
            assert_eq!(calls[1_099] - calls[100], 0, "the worker, {name}, history {history}");
        }
    }
}
