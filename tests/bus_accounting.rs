//! Nothing vanishes: the conservation laws, exact at every quiet moment, and what else is counted.

#[path = "support/bus.rs"]
mod support;

use codomyrmex_events::{Delivery, Event, EventBus, EventError, PublishErrorKind, Stats, Subscription};
use serde_json::json;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Barrier, Mutex};
use std::thread;
use std::time::Duration;
use support::{event, ready};

const THREADS: u64 = 8;

/// The laws at a quiet moment: nothing is pending, and nothing is missing.
#[track_caller]
fn check_quiet(stats: &Stats) {
    assert_eq!(stats.offered, stats.accepted + stats.refused);
    assert_eq!(stats.accepted, stats.completed + stats.dropped + stats.pending);
    assert_eq!(stats.pending, 0);
    let subscribers = stats.subscribers.values().map(|subscriber| subscriber.deliveries);
    for counts in subscribers.chain([stats.deliveries]) {
        let ended = counts.succeeded + counts.dead_lettered + counts.dropped + counts.cancelled;
        assert_eq!((counts.total, counts.pending), (ended, 0), "{counts:?}");
    }
    let seeds = (stats.events_published, stats.events_processed, stats.events_failed);
    assert_eq!(seeds, (stats.accepted, stats.completed, stats.deliveries.dead_lettered));
}

#[derive(Clone, Default)]
struct Count(Arc<AtomicU64>);

impl Count {
    fn next(&self) -> u64 {
        self.0.fetch_add(1, SeqCst)
    }

    fn add(&self) {
        self.next();
    }

    fn get(&self) -> u64 {
        self.0.load(SeqCst)
    }
}

/// A subscription for each way in which a delivery can end, counting its calls: ok, failed, panicked, retried,
/// filtered, once.
fn crowd(bus: &EventBus) -> [Count; 6] {
    let counts: [Count; 6] = Default::default();
    let [ok, failed, panicked, retried, filtered, once] = counts.clone();
    let subscribe = |id: &str| bus.subscribe("*").subscriber_id(id);
    subscribe("ok").handler(move |_| ok.add()).expect("valid");
    let fails = move |_: &Delivery<'_>| if failed.next() % 2 == 0 { Err("no") } else { Ok(()) };
    subscribe("failed").handler(fails).expect("valid");
    subscribe("panicked").priority(3).handler(move |_| assert!(panicked.next() % 3 > 0)).expect("valid");
    let retries = move |delivery: &Delivery<'_>| {
        retried.add();
        if delivery.attempt() < 3 { Err("not yet") } else { Ok(()) }
    };
    subscribe("retried").attempts(3).handler(retries).expect("valid");
    let odd = |event: &Event| *event.event_type() == "my.own";
    subscribe("filtered").filter(odd).handler(move |_| filtered.add()).expect("valid");
    subscribe("once").once().handler(move |_| once.add()).expect("valid");
    counts
}

/// Publishes `each` events of two types on every thread, and runs `meanwhile` beside them.
fn publish_everywhere(bus: &EventBus, each: u64, meanwhile: impl Fn() + Sync) {
    let start = Barrier::new(THREADS as usize + 1);
    thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                start.wait();
                for n in 0..each {
                    drop(bus.publish(event(["build.start", "my.own"][n as usize % 2])));
                }
            });
        }
        start.wait();
        meanwhile();
    });
}

#[test]
fn the_laws_are_exact_whatever_the_handlers_do() {
    let bus = EventBus::builder().history(10).dead_letters(7).build().unwrap();
    let [ok, failed, panicked, retried, filtered, once] = crowd(&bus);
    let shortlived = Count::default();
    publish_everywhere(&bus, 500, || {
        for round in 0..300_u64 {
            let count = shortlived.clone();
            let subscription: Subscription = bus
                .subscribe("*")
                .attempts(2)
                .handler(move |delivery| {
                    count.add();
                    if round % 2 == 0 {
                        delivery.subscription().unsubscribe();
                        return Err("cancelled before the second attempt");
                    }
                    Ok(())
                })
                .unwrap();
            thread::yield_now();
            subscription.unsubscribe();
        }
    });
    let (stats, all) = (bus.get_stats(), THREADS * 500);
    check_quiet(&stats);
    assert_eq!((stats.offered, stats.refused, stats.completed), (all, 0, all));
    assert_eq!((ok.get(), filtered.get(), once.get()), (all, all / 2, 1));
    assert_eq!((failed.get(), panicked.get(), retried.get()), (all, all, 3 * all));
    let dead = all / 2 + all.div_ceil(3);
    assert_eq!((stats.deliveries.dead_lettered, stats.dead_letters_made), (dead, dead));
    assert_eq!(stats.dead_letters_evicted + stats.dead_letter_count as u64, dead);
    let delivered = 4 * all + all / 2 + 1;
    // Totals keep the removed ones; a second attempt is no second delivery.
    assert!(stats.deliveries.total >= delivered && stats.deliveries.total <= delivered + shortlived.get());
    let of = |id: &str| stats.subscribers[id].clone();
    assert_eq!((of("ok").deliveries.succeeded, of("failed").deliveries.dead_lettered), (all, all / 2));
    assert_eq!((of("retried").deliveries.succeeded, of("retried").failed_attempts), (all, 2 * all));
    assert_eq!((of("filtered").deliveries.total, of("filtered").filtered), (all / 2, all / 2));
    assert_eq!((stats.subscribers_count, stats.history.last_sequence), (5, all));
}

#[test]
fn resets_in_the_middle_carry_what_is_pending() {
    let bus = EventBus::builder().dead_letters(1).build().unwrap();
    crowd(&bus);
    bus.subscribe("*").handler(|_| Err::<(), _>("no")).unwrap();
    // Many counts to read, so that others go on while they are read.
    for _ in 0..300 {
        bus.subscribe("never").handler(|_| ()).unwrap();
    }
    for _ in 0..100 {
        let stop = AtomicBool::new(false);
        thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    while !stop.load(SeqCst) {
                        bus.publish(event("my.own")).unwrap();
                    }
                });
            }
            thread::yield_now();
            (0..5).for_each(|_| bus.reset_stats());
            stop.store(true, SeqCst);
        });
        check_quiet(&bus.get_stats());
    }
}

#[test]
fn a_reset_at_a_quiet_moment_begins_from_zero() {
    let bus = EventBus::new();
    crowd(&bus);
    bus.publish_batch((0..10).map(|_| event("my.own")));
    bus.reset_stats();
    let stats = bus.get_stats();
    check_quiet(&stats);
    assert_eq!((stats.offered, stats.deliveries.total, stats.subscribers["ok"].deliveries.total), (0, 0, 0));
    assert_eq!(
        (stats.subscribers["retried"].failed_attempts, stats.subscribers["filtered"].filtered),
        (0, 0)
    );
    bus.publish(event("build.start")).unwrap();
    let stats = bus.get_stats();
    check_quiet(&stats);
    assert_eq!((stats.offered, stats.deliveries.total), (1, 4));
    assert_eq!((stats.subscribers["ok"].deliveries.total, stats.subscribers["filtered"].filtered), (1, 1));
    assert_eq!(bus.history().last_sequence(), 11, "the history is not the statistics'");
}

#[test]
fn a_reset_from_within_a_handler_carries_the_event_on_its_way() {
    let bus = EventBus::new();
    let seen: Arc<Mutex<Vec<Stats>>> = Arc::default();
    let notes = Arc::clone(&seen);
    bus.subscribe("*").subscriber_id("before").priority(1).handler(|_| ()).unwrap();
    bus.subscribe("*")
        .subscriber_id("resets")
        .handler(move |delivery| {
            delivery.bus().reset_stats();
            notes.lock().unwrap().push(delivery.bus().get_stats());
        })
        .unwrap();
    bus.subscribe("*").subscriber_id("after").priority(-1).handler(|_| ()).unwrap();
    bus.publish_batch([event("a.b"), event("a.b")]);
    for stats in seen.lock().unwrap().iter() {
        assert_eq!((stats.offered, stats.accepted, stats.completed, stats.pending), (1, 1, 0, 1));
        assert_eq!((stats.deliveries.total, stats.deliveries.succeeded, stats.deliveries.pending), (1, 0, 1));
    }
    let stats = bus.get_stats();
    check_quiet(&stats);
    assert_eq!((stats.offered, stats.completed, stats.deliveries.total), (1, 1, 2));
    let totals = ["before", "resets", "after"].map(|id| stats.subscribers[id].deliveries.total);
    assert_eq!(totals, [0, 1, 1]);
}

#[test]
fn stats_serialise_to_the_seeds_keys() {
    let bus = EventBus::new();
    bus.subscribe(["build.*", "*.error"])
        .subscriber_id("w")
        .priority(10)
        .handler(|_| Err::<(), _>("no"))
        .unwrap();
    bus.publish(event("build.start")).unwrap();
    bus.publish(event("x")).unwrap();
    let stats = serde_json::to_value(bus.get_stats()).unwrap();
    let seeds = json!({
        "events_published": 2, "events_processed": 2, "events_failed": 1, "dead_letter_count": 1,
        "async_enabled": false, "subscribers_count": 1,
    });
    for (key, value) in seeds.as_object().unwrap() {
        assert_eq!(&stats[key], value, "{key}");
    }
    let subscriber = &stats["subscribers"]["w"];
    assert_eq!(subscriber["event_patterns"], json!(["build.*", "*.error"]));
    assert_eq!((&subscriber["is_async"], &subscriber["priority"]), (&json!(false), &json!(10)));
}

#[test]
fn a_new_subscription_in_an_old_place_counts_from_zero() {
    let bus = EventBus::new();
    let mut total = 0;
    for round in 1..=200_u64 {
        let subscription = bus.subscribe("*").subscriber_id("same").handler(|_| ()).unwrap();
        for n in 1..=round % 5 {
            bus.publish(event("a.b")).unwrap();
            assert_eq!(bus.get_stats().subscribers["same"].deliveries.succeeded, n, "round {round}");
        }
        total += round % 5;
        subscription.unsubscribe_and_wait(Duration::MAX).unwrap();
        assert_eq!(bus.get_stats().deliveries.succeeded, total, "totals keep removed subscriptions");
    }
    check_quiet(&bus.get_stats());
}

#[test]
fn what_is_refused_comes_back_and_leaves_no_trace() {
    let bus = EventBus::new();
    let before = bus.shutdown(Duration::MAX);
    assert!(before.is_complete() && before.pending() == 0);
    type Offer = fn(&EventBus, Arc<Event>) -> Result<u64, EventError>;
    let offers: [(&str, Offer); 4] = [
        ("publish", |bus, event| Ok(bus.publish(event)?.sequence())),
        ("publish_batch", |bus, event| Ok(bus.publish_batch([event]).remove(0)?.sequence())),
        ("publish_async", |bus, event| Ok(ready(bus.publish_async(event))?.sequence())),
        ("emit_typed", |bus, event| Ok(bus.emit_typed(event)?.sequence())),
    ];
    for (n, (name, offer)) in offers.iter().enumerate() {
        let event = Arc::new(event("task.started"));
        let Err(EventError::Publish(error)) = offer(&bus, Arc::clone(&event)) else { panic!("{name}") };
        assert!(matches!(error.kind(), PublishErrorKind::Closed), "{name}: {error}");
        assert!(Arc::ptr_eq(error.event().unwrap(), &event), "{name}");
        assert!(Arc::ptr_eq(&error.into_event().unwrap(), &event), "{name}");
        let stats = bus.get_stats();
        check_quiet(&stats);
        assert_eq!((stats.refused, stats.history.last_sequence), (n as u64 + 1, 0), "{name}");
    }
    assert!(bus.history().is_empty() && bus.list_event_types().iter().all(|info| info.published == 0));
    // A future that is dropped before it is polled did nothing.
    drop(bus.publish_async(event("a.b")));
    assert_eq!(bus.get_stats().offered, 4);
}

#[test]
fn the_history_keeps_exactly_as_many_as_it_says() {
    for (limit, published) in [(0_u64, 3), (1, 0), (1, 1), (1, 5), (3, 2), (3, 3), (3, 10), (1_000, 1_001)] {
        let bus = EventBus::builder().history(limit as usize).build().unwrap();
        bus.publish_batch((0..published).map(|_| event("a.b")));
        let history = bus.history();
        let kept = limit.min(published);
        let sequences: Vec<u64> = history.latest(usize::MAX).iter().map(|event| event.sequence()).collect();
        assert_eq!(sequences, (published - kept + 1..=published).rev().collect::<Vec<_>>());
        let counts = (history.capacity(), history.len(), history.overwritten(), history.last_sequence());
        assert_eq!(counts, (limit, kept, published - kept, published));
        let stats = bus.get_stats().history;
        assert_eq!((stats.capacity, stats.kept, stats.overwritten, stats.last_sequence), counts);
        assert_eq!(history.is_empty(), kept == 0);
    }
}

fn published(bus: &EventBus, name: &str) -> Option<u64> {
    bus.list_event_types().iter().find(|info| info.event_type == name).map(|info| info.published)
}

#[test]
fn publications_per_type_are_exact_under_many_threads() {
    // So few that no place in the memory is wanted by more than fit there.
    let names: Vec<String> = (0..100).map(|n| format!("my.own.{n}")).collect();
    for round in 0..40 {
        let bus = EventBus::builder().history(0).build().unwrap();
        let start = Barrier::new(THREADS as usize);
        thread::scope(|scope| {
            for _ in 0..THREADS {
                scope.spawn(|| {
                    start.wait();
                    for name in &names {
                        bus.publish(event(name)).unwrap();
                        bus.publish(event("build.start")).unwrap();
                    }
                });
            }
        });
        assert_eq!(published(&bus, "build.start"), Some(THREADS * 100));
        let infos = bus.list_event_types();
        let named: Vec<_> = infos.iter().filter(|info| info.event_type.starts_with("my.own.")).collect();
        assert_eq!((named.len(), bus.get_stats().remembered_names), (100, 100));
        let short = named.iter().filter(|info| info.published != THREADS).count();
        assert_eq!(short, 0, "names whose publications were not all counted, in round {round}");
    }
}

#[test]
fn a_flood_of_names_is_bounded_and_leaves_the_names_in_use_alone() {
    let bus = EventBus::builder().history(0).build().unwrap();
    let heard = Count::default();
    let count = heard.clone();
    bus.subscribe("hot.*").handler(move |_| count.add()).unwrap();
    for n in 0..100_000_u64 {
        bus.publish(event(&format!("made.up.{n}"))).unwrap();
        if n % 100 == 0 {
            bus.publish_batch((0..10).map(|hot| event(&format!("hot.{hot}"))));
        }
    }
    let remembered = bus.get_stats().remembered_names;
    assert!((10..=16_384).contains(&remembered), "{remembered}");
    assert!(bus.list_event_types().len() <= 53 + 16_384);
    for hot in 0..10 {
        assert_eq!(published(&bus, &format!("hot.{hot}")), Some(1_000), "hot.{hot}");
    }
    assert_eq!(heard.get(), 10_000);
}
