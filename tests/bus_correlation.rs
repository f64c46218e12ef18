//! Where an event's correlation and causation come from, and that nothing is invented.

#[path = "support/bus.rs"]
mod support;

use codomyrmex_events::{CorrelationId, Delivery, Event, EventBus, EventMixin, correlation};
use serde_json::json;
use std::panic::catch_unwind;
use std::sync::{Arc, Barrier, Mutex};
use std::thread;
use support::ready;

fn id(text: &str) -> CorrelationId {
    CorrelationId::new(text).expect("a valid id")
}

/// An event, with ids where they are given: the correlation, then the cause.
fn event(event_type: &str, correlation_id: Option<&str>, causation_id: Option<&str>) -> Event {
    let mut builder = Event::builder(event_type, "test");
    if let Some(id) = correlation_id {
        builder = builder.correlation_id(id);
    }
    if let Some(id) = causation_id {
        builder = builder.causation_id(id);
    }
    builder.build().expect("valid ids")
}

type Ids = (Option<String>, Option<String>);

fn ids(event: &Event) -> Ids {
    let text = |id: &dyn std::fmt::Display| id.to_string();
    (event.correlation_id().map(|id| text(id)), event.causation_id().map(|id| text(id)))
}

fn expect(correlation_id: Option<&str>, causation_id: Option<&str>) -> Ids {
    (correlation_id.map(str::to_owned), causation_id.map(str::to_owned))
}

/// The ids of the newest event that the bus accepted.
fn newest(bus: &EventBus) -> Ids {
    ids(&bus.history().latest(1)[0])
}

/// Every way to hand an event to a bus.
type Way = fn(&EventBus, Event);

const WAYS: [(&str, Way); 6] = [
    ("publish", |bus, event| assert!(bus.publish(event).is_ok())),
    ("publish, shared", |bus, event| {
        let shared = Arc::new(event);
        assert!(bus.publish(Arc::clone(&shared)).is_ok());
    }),
    ("publish_batch", |bus, event| drop(bus.publish_batch([event]))),
    ("publish_async", |bus, event| {
        assert!(ready(bus.publish_async(event)).is_ok());
    }),
    ("emit_typed", |bus, event| assert!(bus.emit_typed(event).is_ok())),
    ("redrive of a letter", |bus, event| {
        // Refused first, for a schema that asks too much; then published by the redrive.
        let schema = bus.event_schema();
        schema.register_event_schema("task.started", json!({"required": ["x"]})).expect("a schema");
        bus.emit_typed(event).expect_err("it lacks x");
        schema.register_event_schema("task.started", json!({})).expect("a schema");
        bus.dead_letter_queue().redrive_all(|_| true).remove(0).1.expect("it fits now");
    }),
];

#[test]
fn an_explicit_id_beats_the_scope_and_nothing_is_invented() {
    let rows = [
        (None, None, None),
        (None, Some("scope"), Some("scope")),
        (Some("own"), None, Some("own")),
        (Some("own"), Some("scope"), Some("own")),
    ];
    for (way, publish) in WAYS {
        for (own, scope, expected) in rows {
            let bus = EventBus::new();
            let publish = || publish(&bus, event("task.started", own, None));
            match scope {
                Some(scope) => correlation::scope(&id(scope), publish),
                None => publish(),
            }
            assert_eq!(newest(&bus), expect(expected, None), "{way}: {own:?} in {scope:?}");
        }
    }
}

#[test]
fn inside_a_handler_the_event_is_the_context() {
    // The handled event's correlation, the publisher's scope, the nested event's own ids, a scope in the handler;
    // and the nested event's ids in the end.
    type Row<'a> =
        (Option<&'a str>, Option<&'a str>, [Option<&'a str>; 2], Option<&'a str>, [Option<&'a str>; 2]);
    let handled = Some("handled-event");
    let rows: &[Row] = &[
        (None, None, [None, None], None, [None, handled]),
        (Some("c"), None, [None, None], None, [Some("c"), handled]),
        (None, Some("scope"), [None, None], None, [Some("scope"), handled]),
        (Some("c"), Some("scope"), [None, None], None, [Some("c"), handled]),
        (Some("c"), None, [Some("own"), None], None, [Some("own"), handled]),
        (Some("c"), None, [None, Some("cause")], None, [Some("c"), Some("cause")]),
        (Some("c"), None, [Some("own"), Some("cause")], Some("inner"), [Some("own"), Some("cause")]),
        (Some("c"), None, [None, None], Some("inner"), [Some("inner"), handled]),
        (None, None, [None, None], Some("inner"), [Some("inner"), handled]),
    ];
    for (way, publish) in WAYS {
        for row in rows {
            let (outer, scope, own, inner, expected) = *row;
            let bus = EventBus::new();
            let seen: Arc<Mutex<Vec<Option<CorrelationId>>>> = Arc::default();
            let (current, own, inner) =
                (Arc::clone(&seen), own.map(|id| id.map(str::to_owned)), inner.map(id));
            let handler = move |delivery: &Delivery<'_>| {
                current.lock().unwrap().push(correlation::current());
                let nested = event("task.started", own[0].as_deref(), own[1].as_deref());
                match &inner {
                    Some(inner) => correlation::scope(inner, || publish(&delivery.bus(), nested)),
                    None => publish(&delivery.bus(), nested),
                }
            };
            bus.subscribe("my.own").handler(handler).unwrap();
            let mut builder = Event::builder("my.own", "test").event_id("handled-event");
            if let Some(outer) = outer {
                builder = builder.correlation_id(outer);
            }
            let outermost = Arc::new(builder.build().unwrap());
            let publish = || assert!(bus.publish(outermost).is_ok());
            match scope {
                Some(scope) => correlation::scope(&id(scope), publish),
                None => publish(),
            }
            assert_eq!(bus.get_stats().events_failed, 0, "{way}: {row:?}");
            assert_eq!(newest(&bus), expect(expected[0], expected[1]), "{way}: {row:?}");
            assert_eq!(*seen.lock().unwrap(), [outer.or(scope).map(id)], "what is in force in the handler");
            assert_eq!(correlation::current(), None, "and after it");
        }
    }
}

#[test]
fn a_chain_of_events_names_each_ones_cause() {
    let bus = EventBus::new();
    for (from, to) in [("one", "two"), ("two", "three"), ("three", "four")] {
        bus.subscribe(from).handler(move |delivery| delivery.bus().publish(event(to, None, None))).unwrap();
    }
    bus.publish(event("one", Some("operation"), None)).unwrap();
    let chain = bus.history().query().since(1).events().unwrap();
    assert_eq!(chain.len(), 4);
    for pair in chain.windows(2) {
        assert_eq!(pair[1].causation_id(), Some(pair[0].event_id()));
        assert_eq!(pair[1].correlation_id(), Some(&id("operation")));
    }
    assert_eq!(chain[0].causation_id(), None);
}

#[test]
fn a_redriven_handler_sees_its_event_and_not_the_one_who_redrives() {
    let bus = EventBus::new();
    let handler = |delivery: &Delivery<'_>| {
        delivery.bus().publish(event("follow.up", None, None)).map_err(|error| error.to_string())?;
        if delivery.bus().get_stats().accepted < 3 { Err("the first time".to_owned()) } else { Ok(()) }
    };
    bus.subscribe("my.own").handler(handler).unwrap();
    let failed = Arc::new(event("my.own", Some("c"), None));
    bus.publish(Arc::clone(&failed)).unwrap();
    correlation::scope(&id("operator"), || bus.dead_letter_queue().redrive(1).unwrap());
    assert_eq!(newest(&bus), expect(Some("c"), Some(&failed.event_id().to_string())));
}

#[test]
fn a_rejected_event_keeps_the_context_it_was_offered_in() {
    let bus = EventBus::new();
    bus.subscribe("my.own")
        .handler(|delivery| {
            let scope = id("scope");
            correlation::scope(&scope, || drop(delivery.bus().emit_typed(event("build.start", None, None))));
        })
        .unwrap();
    let cause = Arc::new(event("my.own", None, None));
    bus.publish(Arc::clone(&cause)).unwrap();
    let expected = expect(Some("scope"), Some(&cause.event_id().to_string()));
    assert_eq!(ids(bus.dead_letter_queue().letters()[0].event()), expected, "in the letter");
    bus.event_schema().register_event_schema("build.start", json!({})).unwrap();
    correlation::scope(&id("operator"), || bus.dead_letter_queue().redrive(1).unwrap());
    assert_eq!(newest(&bus), expected, "and when it is redriven");
}

#[test]
fn a_redriven_event_gets_nothing_from_the_one_who_redrives() {
    let bus = EventBus::new();
    for _ in 0..2 {
        bus.emit_typed(event("build.start", None, None)).unwrap_err();
    }
    bus.event_schema().register_event_schema("build.start", json!({})).unwrap();
    correlation::scope(&id("operator"), || bus.dead_letter_queue().redrive(1).unwrap());
    assert_eq!(newest(&bus), expect(None, None));
    // In a handler neither.
    bus.subscribe("redrive").handler(|delivery| delivery.bus().dead_letter_queue().redrive(2)).unwrap();
    bus.publish(event("redrive", Some("operator"), None)).unwrap();
    assert!(bus.dead_letter_queue().is_empty());
    assert_eq!(newest(&bus), expect(None, None));
}

#[test]
fn scopes_belong_to_their_thread_and_end_with_their_closure() {
    let bus = EventBus::new();
    let both = Barrier::new(2);
    thread::scope(|threads| {
        for name in ["left", "right"] {
            let (bus, both) = (&bus, &both);
            threads.spawn(move || {
                correlation::scope(&id(name), || {
                    both.wait();
                    bus.publish(event(name, None, None)).unwrap();
                    let inherited = thread::scope(|inner| inner.spawn(correlation::current).join().unwrap());
                    assert_eq!(inherited, None, "a new thread has no scope");
                    correlation::scope(&id("inner"), || bus.publish(event("inner", None, None)).unwrap());
                    both.wait();
                    bus.publish(event(name, None, None)).unwrap();
                });
                bus.publish(event("after", None, None)).unwrap();
            });
        }
    });
    let history = bus.history();
    for recorded in history.latest(usize::MAX) {
        let name = recorded.event_type().as_str();
        let expected = (name != "after").then_some(name);
        assert_eq!(ids(&recorded), expect(expected, None), "{name}");
    }
    assert_eq!(history.len(), 8);
    let ended = catch_unwind(|| correlation::scope(&id("panics"), || panic!("on purpose")));
    assert!(ended.is_err() && correlation::current().is_none(), "by a panic too");
}

#[test]
fn an_event_that_is_nobody_elses_is_filled_in_place_and_another_is_copied_once() {
    // Whether somebody else holds it, whether it is complete; and whether it is copied.
    for (shared, complete, copied) in
        [(false, false, false), (false, true, false), (true, false, true), (true, true, false)]
    {
        let bus = EventBus::new();
        let event = Arc::new(event("my.own", complete.then_some("own"), None));
        let (address, id_before) = (Arc::as_ptr(&event), event.event_id().clone());
        let held = shared.then(|| Arc::clone(&event));
        correlation::scope(&id("scope"), || bus.publish(event).unwrap());
        let recorded = bus.history().latest(1).remove(0);
        let same = std::ptr::eq(address, Arc::as_ptr(recorded.event()));
        let context = format!("shared {shared}, complete {complete}");
        assert_eq!((same, bus.get_stats().events_copied), (!copied, u64::from(copied)), "{context}");
        assert_eq!(ids(&recorded), expect(Some(if complete { "own" } else { "scope" }), None), "{context}");
        assert_eq!(*recorded.event_id(), id_before, "a copy is the same event");
        if let Some(held) = held.filter(|_| copied) {
            assert_eq!(held.correlation_id(), None, "what others hold does not change");
        }
    }
}

#[test]
fn a_mixin_returns_the_event_that_was_heard() {
    let bus = EventBus::new();
    let mixin = Arc::new(EventMixin::init_events_on("scanner", &bus).unwrap());
    let emitted: Arc<Mutex<Vec<Arc<Event>>>> = Arc::default();
    let (own, returned) = (Arc::downgrade(&mixin), Arc::clone(&emitted));
    let handler = move |_: &Delivery<'_>| {
        let mixin = own.upgrade().unwrap();
        let mut returned = returned.lock().unwrap();
        returned.push(mixin.emit("my.own", json!({"n": 1})).unwrap());
        returned.push(mixin.emit_typed("task.started", json!({"n": 2})).unwrap());
    };
    mixin.on("begin", handler).unwrap();
    let begin = Arc::new(event("begin", Some("c"), None));
    bus.publish(Arc::clone(&begin)).unwrap();
    emitted
        .lock()
        .unwrap()
        .push(correlation::scope(&id("scope"), || mixin.emit("my.own", json!({})).unwrap()));
    emitted.lock().unwrap().push(mixin.emit("my.own", json!({})).unwrap());
    let heard = bus.history().query().since(2).events().unwrap();
    let cause = begin.event_id().to_string();
    let expected =
        [(Some("c"), Some(&cause)), (Some("c"), Some(&cause)), (Some("scope"), None), (None, None)];
    assert_eq!(heard.len(), expected.len());
    for ((heard, emitted), (correlation_id, cause)) in
        heard.iter().zip(&*emitted.lock().unwrap()).zip(expected)
    {
        assert!(Arc::ptr_eq(heard.event(), emitted));
        assert_eq!(ids(heard), expect(correlation_id, cause.map(String::as_str)));
        assert_eq!(heard.source().as_str(), "scanner");
    }
    assert_eq!(bus.get_stats().events_copied, 0);
}

#[test]
fn a_new_id_is_made_only_when_asked_for() {
    let (one, two) = (correlation::new_id(), correlation::new_id());
    assert_ne!(one, two);
    let digits = one.as_str().strip_prefix("cid-").unwrap();
    assert!(digits.len() == 12 && digits.bytes().all(|byte| byte.is_ascii_hexdigit()), "{one}");
    assert_eq!(correlation::current(), None);
}
