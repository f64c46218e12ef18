//! Who would hear an event, and why: in order, with globs, filters and figures, without delivering or counting anything.

#![allow(clippy::unwrap_used, clippy::panic, reason = "in a test a panic is the report")]

#[path = "support/bus.rs"]
mod support;

use codomyrmex_events::{
    Attempt, BoxError, Delivery, Event, EventBus, Explanation, Handling, HandlingInterceptor,
    NESTED_PUBLISHES_MAX,
};
use serde_json::{Value, json};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use support::{WATCHDOG, event, publish, watched};

/// Notes whose turn it was.
#[derive(Clone, Default)]
struct Hearing(Arc<Mutex<Vec<String>>>);

impl HandlingInterceptor for Hearing {
    fn before_handling(&self, attempt: &Attempt<'_>) -> Result<Handling, BoxError> {
        self.0.lock().unwrap().push(attempt.subscriber_id().to_owned());
        Ok(Handling::Proceed)
    }
}

fn ids(explanation: &Explanation) -> Vec<&str> {
    explanation.subscriptions.iter().map(|hearer| hearer.subscriber_id.as_str()).collect()
}

#[test]
fn hearers_come_in_the_order_of_their_turns_with_their_globs() {
    let bus = EventBus::new();
    let subscribe = |id: &str, priority, globs: &[&str]| {
        bus.subscribe(globs).subscriber_id(id).priority(priority).handler(|_| ()).unwrap();
    };
    subscribe("late", -1, &["*"]);
    subscribe("first", 5, &["x.*", "*.start", "build.[s]*"]);
    subscribe("deaf", 9, &["deploy.*"]);
    subscribe("tied", 5, &["build.start"]);
    let explanation = bus.explain("build.start").unwrap();
    assert_eq!(ids(&explanation), ["first", "tied", "late"]);
    assert_eq!(explanation.subscriptions[0].globs, ["*.start", "build.[s]*"]);
    assert!(explanation.is_standard);
    assert_eq!(explanation.has_schema, cfg!(feature = "schema"));
    let own = bus.explain("own.start").unwrap();
    assert_eq!((ids(&own), own.is_standard, own.has_schema), (vec!["first", "late"], false, false));
    assert!(bus.explain("").is_err());

    // Whoever would hear it hears it, in that order, also among many.
    for n in 0..200 {
        let glob = ["*rt", "b*d.?tart", "nobody.*", "build.start"][n as usize % 4];
        subscribe(&format!("many-{n}"), n % 7, &[glob]);
    }
    bus.unsubscribe("many-1");
    let heard = Hearing::default();
    bus.intercept_handling(heard.clone());
    let explained = bus.explain("build.start").unwrap();
    publish(&bus, "build.start");
    assert_eq!(ids(&explained), *heard.0.lock().unwrap());
}

#[test]
fn a_filter_is_asked_about_an_event_and_nobody_counts_it() {
    let bus = EventBus::new();
    let asked = Arc::new(AtomicUsize::new(0));
    let counting = Arc::clone(&asked);
    let from_ci = move |event: &Event| {
        counting.fetch_add(1, SeqCst);
        event.source() == "ci"
    };
    bus.subscribe("n").subscriber_id("ci").filter(from_ci).handler(|_| ()).unwrap();
    bus.subscribe("n").subscriber_id("panics").filter(|_| panic!("no answer")).handler(|_| ()).unwrap();
    bus.subscribe("n").subscriber_id("all").handler(|_| ()).unwrap();
    let says = |explanation: Explanation| -> Vec<_> {
        explanation.subscriptions.iter().map(|hearer| (hearer.has_filter, hearer.filter_says)).collect()
    };
    let before = bus.get_stats();
    assert_eq!(says(bus.explain("n").unwrap()), [(true, None), (true, None), (false, None)]);
    assert_eq!(asked.load(SeqCst), 0);
    for (source, answer) in [("ci", true), ("else", false)] {
        let event = Event::builder("n", source).build().unwrap();
        let said = says(bus.explain_event(&event));
        assert_eq!(said, [(true, Some(answer)), (true, Some(false)), (false, None)]);
    }
    assert_eq!((asked.load(SeqCst), bus.get_stats()), (2, before));
}

#[test]
fn it_tells_how_each_has_fared() {
    let bus = EventBus::builder().measure_latency().build().unwrap();
    let failing = |delivery: &Delivery<'_>| if delivery.sequence() > 1 { Err("no disk") } else { Ok(()) };
    bus.subscribe("n").subscriber_id("failing").attempts(2).handler(failing).unwrap();
    bus.subscribe("n").subscriber_id("once").priority(1).once().handler(|_| ()).unwrap();
    assert_eq!(ids(&bus.explain("n").unwrap()), ["once", "failing"]);
    for _ in 0..3 {
        publish(&bus, "n");
    }
    let explanation = bus.explain("n").unwrap();
    assert_eq!((ids(&explanation), explanation.published), (vec!["failing"], 3));
    let fared = &explanation.subscriptions[0];
    assert_eq!((fared.attempts_max, fared.is_once, fared.is_async), (2, false, false));
    assert_eq!((fared.stats.deliveries.succeeded, fared.stats.deliveries.dead_lettered), (1, 2));
    assert_eq!((fared.stats.failed_attempts, fared.stats.handling.unwrap().count), (4, 5));
    assert_eq!(fared.stats, bus.get_stats().subscribers["failing"]);
    let text = explanation.to_string();
    let expected =
        "  failing, priority 0, by n: 1 of 3 deliveries succeeded, 4 failed attempts, 2 dead-lettered, p50 ";
    assert!(text.starts_with("n: name of one's own, 3 published, heard by 1 subscription\n"), "{text}");
    assert!(text.contains(expected), "{text}");
    let value: Value = serde_json::to_value(&explanation).unwrap();
    assert_eq!(value["subscriptions"][0]["stats"]["deliveries"]["dead_lettered"], 2);
    assert_eq!(value["subscriptions"][0]["globs"], json!(["n"]));
    bus.reset_stats();
    assert_eq!(bus.explain("n").unwrap().subscriptions[0].stats.deliveries.total, 0);
    let nobody = EventBus::new().explain("system.startup").unwrap();
    assert!(nobody.to_string().ends_with(" 0 published, heard by nobody\n"), "{nobody}");
}

#[cfg(feature = "stream")]
#[test]
fn feeds_and_async_handlers_are_told() {
    let bus = EventBus::new();
    let feed = bus.feed(["a", "n*", "*"]).open().unwrap();
    bus.subscribe("n").async_handler(|_: codomyrmex_events::OwnedDelivery| async {}).unwrap();
    let explanation = bus.explain("n").unwrap();
    assert_eq!(explanation.feeds[0].globs, ["n*", "*"]);
    assert!(explanation.subscriptions[0].is_async);
    let text = explanation.to_string();
    assert!(text.contains("heard by 1 subscription and 1 feed\n  a feed, by n* and *\n"), "{text}");
    assert!(text.contains("by n, async: no delivery yet"), "{text}");
    drop(feed);
    assert!(bus.explain("n").unwrap().feeds.is_empty());
}

#[test]
fn texts_of_strangers_are_shown_and_not_acted_on() {
    let bus = EventBus::new();
    bus.subscribe(["*", "\u{1b}[2J*\n", "*\u{202e}"]).handler(|_| ()).unwrap();
    let text = bus.explain("a\u{202e}").unwrap().to_string();
    assert!(text.starts_with("a\\u{202e}: ") && text.contains("by * and *\\u{202e}:"), "{text}");
}

#[test]
fn subscriptions_that_match_nothing_that_was_published_are_told() {
    let bus = EventBus::new();
    for globs in [&["build.*"][..], &["bild.*"], &["own.name", "x"], &["own.*.deep"], &["*"]] {
        bus.subscribe(globs).handler(|_| ()).unwrap();
    }
    let unmatched = || -> Vec<String> {
        bus.unmatched_subscriptions().iter().map(|known| known.patterns()[0].to_string()).collect()
    };
    assert_eq!(unmatched(), ["build.*", "bild.*", "own.name", "own.*.deep", "*"]);
    publish(&bus, "build.start");
    assert_eq!(unmatched(), ["bild.*", "own.name", "own.*.deep"]);
    publish(&bus, "own.name");
    assert_eq!(unmatched(), ["bild.*", "own.*.deep"]);
    bus.unsubscribe("subscriber_2");
    bus.subscribe("own.na??").handler(|_| ()).unwrap();
    assert_eq!(unmatched(), ["own.*.deep"], "what comes later is matched against what was there before");
}

#[test]
fn it_may_be_asked_anywhere() {
    watched("explaining in a handler and in a filter", || {
        let bus = EventBus::new();
        let weak = bus.downgrade();
        let depth = Arc::new(AtomicUsize::new(0));
        let reached = Arc::clone(&depth);
        let filter = move |event: &Event| {
            reached.fetch_add(1, SeqCst);
            let bus = weak.upgrade().unwrap();
            assert!(bus.flush(Duration::from_secs(9)).is_err(), "it is code of the bus");
            !bus.explain_event(event).subscriptions.is_empty()
        };
        let subscription = bus.subscribe("n").filter(filter).handler(|_| ()).unwrap();
        assert_eq!(bus.explain_event(&event("n")).subscriptions[0].filter_says, Some(true));
        assert_eq!(depth.load(SeqCst), NESTED_PUBLISHES_MAX, "it asks itself no deeper");
        subscription.unsubscribe();
        bus.subscribe("n")
            .handler(|delivery| {
                assert_eq!(delivery.bus().explain("n").unwrap().subscriptions.len(), 1);
            })
            .unwrap();
        publish(&bus, "n");
        assert_eq!(bus.get_stats().deliveries.succeeded, 1);
        bus.shutdown(WATCHDOG);
        assert_eq!(
            bus.explain("n").unwrap().subscriptions.len(),
            1,
            "it is subscribed, though nothing comes"
        );
    });
}
