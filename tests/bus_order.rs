//! Who hears an event, and in which order: priorities, ties, patterns, and changes while an event is on its way.

#[path = "support/bus.rs"]
mod support;

use codomyrmex_events::{Event, EventBus, EventPriority, EventType, IntoPatterns, Pattern, Subscription};
use std::sync::{Arc, Mutex, OnceLock, mpsc};
use std::thread;
use support::event;

/// What was heard, in order.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<String>>>);

impl Log {
    fn note(&self, text: impl Into<String>) {
        self.0.lock().expect("no note panics").push(text.into());
    }

    fn take(&self) -> String {
        std::mem::take(&mut *self.0.lock().expect("no note panics")).join(" ")
    }
}

fn hear(bus: &EventBus, log: &Log, id: &str, patterns: impl IntoPatterns, priority: i32) -> Subscription {
    let (log, label) = (log.clone(), id.to_owned());
    let builder = bus.subscribe(patterns).subscriber_id(id).priority(priority);
    builder.handler(move |_| log.note(label.as_str())).expect("a valid subscription")
}

/// A standard type, whose route is an array's, and a named one, whose route is remembered.
const NAMES: [&str; 2] = ["build.start", "my.own"];

#[test]
fn handlers_start_in_descending_priority_and_ties_in_order_of_subscribing() {
    let rows: &[(&[(&str, i32)], &str)] = &[
        (&[("a", 0)], "a"),
        (&[("a", 0), ("b", 0), ("c", 0)], "a b c"),
        (&[("a", 0), ("b", 10), ("c", -5), ("d", 10)], "b d a c"),
        (&[("a", 1), ("b", 2), ("c", 3)], "c b a"),
        (&[("a", i32::MIN), ("b", i32::MAX), ("c", 0), ("d", i32::MIN)], "b c a d"),
    ];
    for (subscribers, expected) in rows {
        for name in NAMES {
            let (bus, log) = (EventBus::new(), Log::default());
            for (id, priority) in *subscribers {
                hear(&bus, &log, id, "*", *priority);
            }
            for _ in ["cold", "warm"] {
                bus.publish(event(name)).unwrap();
                assert_eq!(log.take(), *expected, "{subscribers:?} at {name}");
            }
        }
    }
}

#[test]
fn a_subscription_with_several_matching_patterns_hears_an_event_once() {
    fn row(patterns: impl IntoPatterns, expected: &str) {
        let (bus, log) = (EventBus::new(), Log::default());
        hear(&bus, &log, "first", patterns, 0);
        hear(&bus, &log, "last", "*", -1);
        for name in ["build.start", "build.mine", "[x].y"] {
            bus.publish(event(name)).unwrap();
            log.note(";");
        }
        assert_eq!(log.take(), expected);
    }
    let all = "first last ; first last ; first last ;";
    row("*", all);
    row(["*", "*", "**"], all);
    row(vec!["build.*", "*.start", "*.mine", "b??ld.*"], "first last ; first last ; last ;");
    row(vec![String::from("build.start"), String::from("*.start")], "first last ; last ; last ;");
    row(&["build.start", "build.mine"][..], "first last ; first last ; last ;");
    row(EventType::BuildStart, "first last ; last ; last ;");
    row(("build.*", EventType::BuildStart, String::from("*t")), "first last ; first last ; last ;");
    row(Pattern::parse("build.[!s]*").unwrap(), "last ; first last ; last ;");
    // A glob's brackets are a class; an event type's are its name.
    row("[x].y", "last ; last ; last ;");
    row(EventType::parse("[x].y").unwrap(), "last ; last ; first last ;");
    row("BUILD.*", "last ; last ; last ;");
    row("", "last ; last ; last ;");
}

#[test]
fn inline_dispatch_ignores_event_priorities() {
    let (bus, heard) = (EventBus::new(), Log::default());
    let log = heard.clone();
    bus.subscribe("*").handler(move |event| log.note(event.priority().as_str())).unwrap();
    let priorities = [
        EventPriority::Monitoring,
        EventPriority::Debug,
        EventPriority::Normal,
        EventPriority::Critical,
        EventPriority::Error,
    ];
    let events = || {
        priorities.iter().map(|priority| Event::builder("a.b", "test").priority(*priority).build().unwrap())
    };
    let expected = "monitoring debug normal critical error";
    assert!(events().all(|event| bus.publish(event).is_ok()));
    assert_eq!(heard.take(), expected);
    let sequences: Vec<u64> =
        bus.publish_batch(events()).into_iter().map(|outcome| outcome.unwrap().sequence()).collect();
    assert_eq!((heard.take().as_str(), sequences), (expected, vec![6, 7, 8, 9, 10]));
}

#[test]
fn a_subscription_made_during_a_delivery_hears_what_is_published_later() {
    for name in NAMES {
        let (bus, log) = (EventBus::new(), Log::default());
        let notes = log.clone();
        let subscribe = move |delivery: &codomyrmex_events::Delivery<'_>| {
            notes.note("first");
            if delivery.sequence() == 1 {
                hear(&delivery.bus(), &notes, "late", "*", -1);
                notes.note("(");
                delivery.bus().publish(event("nested")).unwrap();
                notes.note(")");
            }
        };
        bus.subscribe("*").handler(subscribe).unwrap();
        bus.publish(event(name)).unwrap();
        assert_eq!(log.take(), "first ( first late )", "not the event on its way, at {name}");
        bus.publish(event(name)).unwrap();
        assert_eq!(log.take(), "first late");
    }
    // In a batch each event is a publication of its own.
    let (bus, log) = (EventBus::new(), Log::default());
    let notes = log.clone();
    bus.subscribe("*")
        .once()
        .handler(move |delivery| drop(hear(&delivery.bus(), &notes, "late", "*", 0)))
        .unwrap();
    bus.publish_batch([event("a"), event("b"), event("c")]);
    assert_eq!(log.take(), "late late");
}

#[test]
fn a_handler_unsubscribed_during_a_delivery_gets_no_turn_any_more() {
    // Who is unsubscribed by `b`, and what two publishes are heard by.
    let rows = [("a", "a b c ; b c"), ("b", "a b c ; a c"), ("c", "a b ; a b")];
    for (target, expected) in rows {
        for name in NAMES {
            let (bus, log) = (EventBus::new(), Log::default());
            let handles: Arc<OnceLock<Subscription>> = Arc::default();
            hear(&bus, &log, "a", "*", 2);
            let (notes, handle) = (log.clone(), Arc::clone(&handles));
            let b = bus.subscribe("*").subscriber_id("b").priority(1);
            b.handler(move |delivery| {
                notes.note("b");
                let target = handle.get().unwrap();
                assert_eq!(target.unsubscribe(), delivery.sequence() == 1, "once only");
            })
            .unwrap();
            hear(&bus, &log, "c", "*", 0);
            handles.set(bus.subscription(target).unwrap()).unwrap();
            bus.publish(event(name)).unwrap();
            log.note(";");
            bus.publish(event(name)).unwrap();
            assert_eq!(log.take(), expected, "{target} at {name}");
        }
    }
}

#[test]
fn a_thread_with_an_older_snapshot_hears_what_was_subscribed_before_its_publish() {
    let (bus, log) = (EventBus::new(), Log::default());
    let (go, told) = mpsc::channel::<&str>();
    let (done, finished) = mpsc::channel();
    let publisher = bus.clone();
    let thread = thread::spawn(move || {
        for name in told {
            publisher.publish(event(name)).unwrap();
            done.send(()).unwrap();
        }
    });
    let publish = |name| {
        go.send(name).unwrap();
        finished.recv().unwrap();
    };
    for name in NAMES {
        publish(name);
        assert_eq!(log.take(), "");
        let a = hear(&bus, &log, "a", name, 0);
        publish(name);
        assert_eq!(log.take(), "a");
        let b = hear(&bus, &log, "b", "*", 1);
        a.unsubscribe();
        publish(name);
        assert_eq!(log.take(), "b");
        b.unsubscribe();
        publish(name);
        assert_eq!(log.take(), "");
    }
    drop(go);
    thread.join().unwrap();
}

/// xorshift64*: small, and the same everywhere.
struct Random(u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) as usize % n
    }
}

#[test]
fn any_history_of_subscribing_and_unsubscribing_agrees_with_a_sorted_list() {
    const PATTERNS: [&str; 8] =
        ["*", "build.*", "*.start", "build.start", "my.*", "?y.own", "[bm]*", "no.match"];
    for seed in [1_u64, 42, 20_260_101] {
        println!("seed {seed}");
        let mut random = Random(seed);
        let (bus, log) = (EventBus::new(), Log::default());
        let mut model: Vec<(Subscription, String, i32, Vec<Pattern>)> = Vec::new();
        for step in 0..600 {
            // Grows in the first half, shrinks in the second: compiled levels and their remains are both met.
            let grows = random.below(10) < if step < 300 { 8 } else { 2 };
            if grows || model.is_empty() {
                let priority = random.below(5) as i32 - 2;
                let texts: Vec<&str> = (0..=random.below(3)).map(|_| PATTERNS[random.below(8)]).collect();
                let patterns = texts.iter().map(|text| Pattern::parse(text).unwrap()).collect();
                let id = format!("s{step}");
                model.push((hear(&bus, &log, &id, texts, priority), id, priority, patterns));
            } else {
                let (subscription, ..) = model.remove(random.below(model.len()));
                assert!(subscription.unsubscribe());
            }
            let name = ["build.start", "build.mine", "my.own", "test.start"][random.below(4)];
            bus.publish(event(name)).unwrap();
            let mut hearers: Vec<_> = model
                .iter()
                .filter(|(.., patterns)| patterns.iter().any(|pattern| pattern.matches(name)))
                .collect();
            hearers.sort_by_key(|(_, _, priority, _)| std::cmp::Reverse(*priority));
            let expected: Vec<&str> = hearers.iter().map(|(_, id, ..)| id.as_str()).collect();
            assert_eq!(log.take(), expected.join(" "), "step {step} of seed {seed}, {name}");
        }
    }
}
