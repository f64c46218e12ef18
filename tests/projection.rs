//! Projections: exact whatever is published while they are seeded, bounded, and unharmed by closures that panic or publish.

#![allow(clippy::unwrap_used, clippy::panic, reason = "in a test a panic is the report")]

#[path = "support/allocations.rs"]
mod allocations;
#[path = "support/bus.rs"]
mod support;

use codomyrmex_events::{ByKey, Event, EventBus, Folded, Projected, Projection, Recorded};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::process::Command;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::thread;
use support::{WATCHDOG, capture, event, is_dropped, publish, watched};

fn numbered(event_type: &str, source: &str, n: u64) -> Event {
    Event::builder(event_type, source).data(json!(n)).build().unwrap()
}

fn number(event: &Event) -> u64 {
    event.data().value().unwrap().as_u64().unwrap()
}

#[test]
fn each_kind_holds_what_it_heard_until_it_is_dropped() {
    let bus = EventBus::new();
    bus.publish(numbered("n.a", "early", 100)).unwrap();
    let even = |event: &Event| number(event).is_multiple_of(2);
    let count = Projection::of(&bus, ["n.*", "m"]).counter().unwrap();
    let even = Projection::of(&bus, "n.*").filter(even).counter().unwrap();
    let sum = Projection::of(&bus, "n.*").fold(0, |sum, event| sum + number(event)).unwrap();
    let latest = Projection::of(&bus, "n.*").latest_per_key(|event| event.source().to_string()).unwrap();
    let by_type = Projection::of(&bus, "n.*")
        .group_by(|event| event.event_type().to_string(), 0, |n, _| n + 1)
        .unwrap();
    assert!(latest.is_empty() && by_type.is_empty());
    for (n, source) in ["x", "y", "x", "z", "x"].into_iter().enumerate() {
        bus.publish(numbered(["n.a", "n.b"][n % 2], source, n as u64)).unwrap();
    }
    bus.publish(event("m")).unwrap();
    bus.publish(event("other")).unwrap();
    assert_eq!((count.get(), even.get(), *sum.get()), (6, 3, 10));
    let latest_numbers: HashMap<String, u64> =
        latest.snapshot().into_iter().map(|(source, event)| (source, number(&event))).collect();
    assert_eq!(latest_numbers, [("x", 4), ("y", 1), ("z", 3)].map(|(k, n)| (k.to_owned(), n)).into());
    assert_eq!(latest.get("x").unwrap().sequence(), 6);
    assert!(latest.get("early").is_none());
    assert_eq!((*by_type.get("n.a").unwrap(), *by_type.get("n.b").unwrap(), by_type.len()), (3, 2, 2));
    assert_eq!((latest.without_room(), by_type.without_room(), count.seed()), (0, 0, None));

    let before = sum.get();
    bus.publish(numbered("n.a", "x", 90)).unwrap();
    assert_eq!((*before, *sum.get()), (10, 100), "what was read does not change");
    drop((count, even, latest, by_type));
    assert_eq!(bus.subscriptions().len(), 1);
    drop(bus);
    assert_eq!(*sum.get(), 100);
}

#[test]
fn a_seed_is_what_the_history_holds_and_says_what_is_missing() {
    for (capacity, published, folded, missing) in
        [(100, 30, 10, 0), (12, 30, 4, 18), (0, 30, 0, 30), (9, 0, 0, 0)]
    {
        let bus = EventBus::builder().history(capacity).build().unwrap();
        for n in 0..published {
            bus.publish(numbered(if n % 3 == 0 { "n" } else { "other" }, "test", n)).unwrap();
        }
        let numbers = Projection::of(&bus, "n").seeded();
        let numbers = numbers.fold(Vec::new(), |all: &Vec<u64>, event| [&all[..], &[number(event)]].concat());
        let numbers = numbers.unwrap();
        let seed = numbers.seed().unwrap();
        let told = (seed.until, seed.folded, seed.missing, seed.failed, seed.out_of_order);
        assert_eq!(told, (published, folded, missing, 0, 0), "with room for {capacity}");
        bus.publish(numbered("n", "test", 99)).unwrap();
        let kept: Vec<u64> = (missing..published).filter(|n| n % 3 == 0).chain([99]).collect();
        assert_eq!(*numbers.get(), kept);
    }
}

#[derive(Clone, Copy, Default)]
struct Told {
    sum: u64,
    last: [u64; PUBLISHERS as usize],
    overtaken: usize,
}

/// Sums up, and looks whether each publisher's numbers come in order.
fn tell(told: &Told, event: &Recorded) -> Told {
    let (mut next, n) = (*told, number(event));
    let last = &mut next.last[source(event)];
    next.sum += n;
    next.overtaken += usize::from(*last >= n);
    *last = n;
    next
}

fn source(event: &Recorded) -> usize {
    event.source().as_str().parse().unwrap()
}

enum Kind {
    Count(Projected<codomyrmex_events::EventCount>),
    Told(Projected<Folded<Told>>),
    Latest(Projected<ByKey<usize, Recorded>>),
    Groups(Projected<ByKey<usize, Told>>),
}

const PUBLISHERS: u64 = 3;
const PROJECTIONS: u64 = 200;
/// What each publisher publishes, at full speed, while one projection is made.
const BURST: u64 = 8;
const EACH: u64 = PROJECTIONS * BURST;

#[test]
fn seeds_are_exact_under_fire() {
    let room = (PUBLISHERS * EACH) as usize;
    let inline = EventBus::builder().history(room);
    let queued = EventBus::builder().history(room).queued().max_workers(2);
    for builder in [inline, queued] {
        let bus = builder.build().unwrap();
        let made = AtomicU64::new(0);
        let mut projections = Vec::new();
        thread::scope(|threads| {
            for publisher in 0..PUBLISHERS {
                let (bus, made) = (&bus, &made);
                threads.spawn(move || {
                    let source = publisher.to_string();
                    for n in 1..=EACH {
                        while n > (made.load(SeqCst) + 1) * BURST {
                            thread::yield_now();
                        }
                        bus.publish(numbered("n", &source, n)).unwrap();
                    }
                });
            }
            for n in 0..PROJECTIONS {
                let wanted = Projection::of(&bus, "n").seeded();
                projections.push(match n % 4 {
                    0 => Kind::Count(wanted.counter().unwrap()),
                    1 => Kind::Told(wanted.fold(Told::default(), tell).unwrap()),
                    2 => Kind::Latest(wanted.latest_per_key(source).unwrap()),
                    _ => Kind::Groups(wanted.group_by(source, Told::default(), tell).unwrap()),
                });
                made.fetch_add(1, SeqCst);
            }
        });
        bus.flush(WATCHDOG).unwrap();
        let sum_of_each = EACH * (EACH + 1) / 2;
        for projection in projections {
            match projection {
                Kind::Count(count) => assert_eq!(count.get(), PUBLISHERS * EACH),
                Kind::Told(told) => {
                    let is_in_order = told.seed().unwrap().out_of_order == 0;
                    let told = told.get();
                    assert_eq!(told.sum, PUBLISHERS * sum_of_each);
                    assert!(told.overtaken == 0 || !is_in_order, "{} were overtaken", told.overtaken);
                }
                Kind::Latest(latest) => {
                    assert_eq!(latest.len() as u64, PUBLISHERS);
                    assert!(latest.snapshot().values().all(|event| number(event) == EACH));
                }
                Kind::Groups(groups) => {
                    let is_in_order = groups.seed().unwrap().out_of_order == 0;
                    assert_eq!(groups.len() as u64, PUBLISHERS);
                    for told in groups.snapshot().values() {
                        assert_eq!(told.sum, sum_of_each);
                        assert!(told.overtaken == 0 || !is_in_order, "{} were overtaken", told.overtaken);
                    }
                }
            }
        }
    }
}

#[test]
fn a_closure_that_panics_has_failed_as_a_handler_and_changes_nothing() {
    let bus = EventBus::new();
    let sum = |sum: &u64, event: &Recorded| match number(event) {
        13 => panic!("no thirteen"),
        n => sum + n,
    };
    let heard = Projection::of(&bus, "n").fold(0, sum).unwrap();
    let by_source = Projection::of(&bus, "n").group_by(|event| event.source().to_string(), 0, sum).unwrap();
    for (source, n) in [("x", 1), ("y", 13), ("x", 13), ("x", 2)] {
        bus.publish(numbered("n", source, n)).unwrap();
    }
    assert_eq!((*heard.get(), *by_source.get("x").unwrap()), (3, 3));
    assert_eq!((by_source.get("y"), by_source.len()), (None, 1), "no value of it was ever made");
    assert_eq!(bus.get_stats().deliveries.dead_lettered, 4);
    let letters = bus.dead_letter_queue().letters();
    assert_eq!(letters[0].subscriber_id(), Some(heard.subscription().id()));

    let seeded = Projection::of(&bus, "n").seeded().fold(0, sum).unwrap();
    let seed = seeded.seed().unwrap();
    assert_eq!((*seeded.get(), seed.failed, seed.folded), (3, 2, 4));
    let refused = |_: &Event| -> bool { panic!("no filter") };
    assert_eq!(Projection::of(&bus, "n").seeded().filter(refused).counter().unwrap().get(), 0);
}

#[test]
fn events_that_keep_coming_while_it_is_seeded_do_not_keep_it_from_beginning() {
    let bus = EventBus::new();
    publish(&bus, "n");
    let (publishing, left) = (bus.downgrade(), AtomicUsize::new(100));
    let count = Projection::of(&bus, "n").seeded().fold(0, move |count, _| {
        // Each event that is folded is answered by another, so that something waits at all times.
        if left.fetch_update(SeqCst, SeqCst, |left| left.checked_sub(1)).is_ok() {
            publish(&publishing.upgrade().unwrap(), "n");
        }
        count + 1
    });
    let count = count.unwrap();
    assert_eq!((*count.get(), bus.history().last_sequence()), (101, 101));
    assert_eq!(count.seed().unwrap().out_of_order, 1, "the one that waited when patience was over");
}

#[test]
fn it_can_be_made_and_ended_where_events_are_handled() {
    let bus = EventBus::new();
    let made: Arc<Mutex<Vec<Projected<codomyrmex_events::EventCount>>>> = Arc::default();
    let making = Arc::clone(&made);
    bus.subscribe("n")
        .handler(move |delivery| {
            let bus = delivery.bus();
            let count = Projection::of(&bus, "*").seeded().counter().unwrap();
            publish(&bus, "nested");
            assert_eq!(count.get(), delivery.sequence() + 1);
            // The one before is dropped outside of the lock.
            let before = std::mem::replace(&mut *making.lock().unwrap(), vec![count]);
            drop(before);
        })
        .unwrap();
    let counts = watched("a projection in a handler", move || {
        publish(&bus, "n");
        publish(&bus, "n");
        bus.subscriptions().len()
    });
    assert_eq!(counts, 2, "the handler and the projection that was made last");
    assert_eq!(made.lock().unwrap()[0].get(), 4);
}

#[test]
fn what_the_closures_captured_goes_with_the_projection_or_its_bus() {
    for drops_bus_first in [false, true] {
        let bus = EventBus::new();
        let (value, seen) = capture();
        let fold = move |count: &u64, _: &Recorded| {
            let _ = &value;
            count + 1
        };
        let count = Projection::of(&bus, "n").seeded().fold(0, fold).unwrap();
        if drops_bus_first {
            drop(bus);
            assert!(is_dropped(&seen) && *count.get() == 0);
        } else {
            drop(count);
            assert!(is_dropped(&seen) && bus.subscriptions().is_empty());
        }
    }
    let bus = EventBus::new();
    bus.shutdown(WATCHDOG);
    assert!(Projection::of(&bus, "n").seeded().counter().is_err());
    assert!(Projection::of(&bus, [""; 0]).counter().is_err());
}

#[test]
fn a_flood_of_keys_takes_no_more_memory_than_the_room_and_is_counted() {
    const KEYS: u64 = 1_000_000;
    let bus = EventBus::builder().history(16).build().unwrap();
    let room = 1_000;
    let latest = Projection::of(&bus, "n").keys_max(room).latest_per_key(number_of).unwrap();
    let groups = Projection::of(&bus, "n").keys_max(room).group_by(number_of, 0_u64, |n, _| n + 1).unwrap();
    let flood = |from: u64, to: u64| {
        for n in from..to {
            let event = Event::builder("n", "test").event_id(n.to_string()).build().unwrap();
            bus.publish(event).unwrap();
        }
    };
    flood(0, 10_000);
    let ((), taken) = allocations::during(|| flood(10_000, KEYS));
    assert!(taken.kept_bytes < 1 << 14, "{} bytes more", taken.kept_bytes);
    assert_eq!((latest.len(), latest.without_room()), (room, KEYS - room as u64));
    assert_eq!((groups.len(), groups.without_room()), (room, KEYS - room as u64));
    flood(0, 10);
    assert_eq!((*groups.get(&7).unwrap(), groups.get(&999_999)), (2, None));
}

fn number_of(event: &Recorded) -> u64 {
    event.event_id().to_string().parse().unwrap()
}

#[test]
fn a_real_stream_comes_out_as_an_independent_script_says() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/data/packages.ndjson");
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/projection_oracle.py");
    let told = Command::new("python3").args([script, file]).output().expect("Python 3 is there");
    assert!(told.status.success(), "{}", String::from_utf8_lossy(&told.stderr));
    let told: Value = serde_json::from_slice(&told.stdout).unwrap();

    let bus = EventBus::builder().history(10_000).build().unwrap();
    let package =
        |event: &Recorded| event.data().get("package").and_then(Value::as_str).unwrap_or_default().to_owned();
    let text = std::fs::read_to_string(file).unwrap();
    let (first, second) = text.split_at(text[..text.len() / 2].rfind('\n').unwrap() + 1);
    let publish_all = |lines: &str| {
        for line in lines.lines() {
            bus.publish(Event::from_json(line).unwrap()).unwrap();
        }
    };
    publish_all(first);
    let changes = Projection::of(&bus, "package.status.*").seeded().counter().unwrap();
    let latest = Projection::of(&bus, "package.status.*").seeded().latest_per_key(package).unwrap();
    let installed = Projection::of(&bus, "package.install").seeded();
    let installed = installed.group_by(package, 0, |times, _| times + 1).unwrap();
    publish_all(second);

    assert_eq!(json!(changes.get()), told["status_changes"]);
    let status =
        |event: &Recorded| event.event_type().as_str().trim_start_matches("package.status.").to_owned();
    let latest: HashMap<_, _> =
        latest.snapshot().into_iter().map(|(key, event)| (key, status(&event))).collect();
    assert_eq!(json!(latest), told["latest"]);
    let installed: HashMap<_, _> =
        installed.snapshot().into_iter().map(|(key, times)| (key, *times)).collect();
    assert_eq!(json!(installed), told["installed"]);
    assert!(latest.len() > 500 && installed.len() > 500, "{} and {}", latest.len(), installed.len());
}
