//! What goes without saying on every event: metadata, correlation, priority; and who wins over whom.

use crate::{buses, emitter, id, object, published, too_deep};
use codomyrmex_events::{
    AsyncEventEmitter, Delivery, Event, EventBus, EventEmitter, EventError, EventPriority, correlation,
};
use serde_json::{Value, json};
use std::sync::{Arc, mpsc};

#[test]
fn the_events_own_correlation_id_wins_then_the_emitters_then_the_scopes() {
    let rows = [
        // of the event, of the emitter, in force; the outcome
        (Some("event"), Some("emitter"), Some("scope"), Some("event")),
        (Some("event"), None, Some("scope"), Some("event")),
        (None, Some("emitter"), Some("scope"), Some("emitter")),
        (None, Some("emitter"), None, Some("emitter")),
        (None, None, Some("scope"), Some("scope")),
        (None, None, None, None),
    ];
    for row @ (own, default, in_force, expected) in rows {
        for (kind, bus) in buses() {
            let mut emitter = emitter(&bus);
            let mut other = AsyncEventEmitter::on_bus(&bus);
            if let Some(default) = default {
                emitter = emitter.default_correlation_id(default).unwrap();
                other = other.default_correlation_id(default).unwrap();
            }
            // From the emitter's builder, and from elsewhere.
            let event = |builder: codomyrmex_events::EventBuilder| match own {
                Some(own) => builder.correlation_id(own).build().unwrap(),
                None => builder.build().unwrap(),
            };
            let publish = || {
                emitter.emit_event(event(emitter.event("a.b"))).unwrap();
                emitter.emit_event(event(Event::builder("a.b", "elsewhere"))).unwrap();
                crate::block_on(other.emit_event(event(other.event("a.b")))).unwrap();
                if own.is_none() {
                    emitter.emit("a.b", json!({})).unwrap();
                    emitter.emit_error("E", "m", None).unwrap();
                    emitter.emit_batch([("a.b", json!({}))]).pop().unwrap().unwrap();
                    crate::block_on(other.emit("a.b", json!({}))).unwrap();
                }
            };
            match in_force {
                Some(scope) => correlation::scope(&id(scope), publish),
                None => publish(),
            }
            let published = published(&bus);
            assert_eq!(published.len(), if own.is_none() { 7 } else { 3 });
            for event in published {
                assert_eq!(event.correlation_id(), expected.map(id).as_ref(), "{kind}: {row:?}");
            }
        }
    }
}

#[test]
fn within_a_handler_the_handled_event_is_the_cause_and_its_correlation_the_scope() {
    for (kind, bus) in buses() {
        let (answering, later) = (emitter(&bus), AsyncEventEmitter::on_bus(&bus));
        let (answered, answers) = mpsc::channel();
        let handler = move |_: &Delivery<'_>| {
            // Made here, in the handler, wherever it is polled.
            let later = later.emit("later", json!({}));
            answered.send((answering.emit("answer", json!({})).unwrap().unwrap(), later)).unwrap();
        };
        bus.subscribe("ask").handler(handler).unwrap();
        let asking = emitter(&bus).default_correlation_id("talk").unwrap();
        let asked = asking.emit("ask", json!({})).unwrap().unwrap();
        let (answer, later) = answers.recv_timeout(crate::WATCHDOG).unwrap();
        crate::block_on(later).unwrap();
        let published = published(&bus);
        assert!(Arc::ptr_eq(&published[1], &answer), "{kind}: what is returned is what was heard");
        for event in &published[1..] {
            assert_eq!(event.correlation_id().unwrap(), &"talk", "{kind}");
            assert_eq!(event.causation_id(), Some(asked.event_id()), "{kind}");
        }
        assert_eq!(published.len(), 3);
    }
}

#[test]
fn the_events_own_metadata_wins_and_the_default_fills_in() {
    let bus = EventBus::new();
    let defaults = object(json!({"a": 1, "b": {"c": [2]}}));
    let emitter = emitter(&bus).default_metadata(object(json!({"gone": 0}))).unwrap();
    let emitter = emitter.default_metadata(defaults).unwrap().metadata_entry("d", "3").unwrap();
    let all = json!({"a": 1, "b": {"c": [2]}, "d": "3"});
    let named = emitter.event("x").metadata_entry("a", Value::Null).metadata_entry("e", 4);
    let replaced = emitter.event("x").metadata(object(json!({"b": 5})));
    let read = r#"{"event_type":"x","source":"y","metadata":{"d":[],"a":"own"}}"#;
    let rows = [
        (emitter.event("x").build().unwrap(), all.clone()),
        (named.build().unwrap(), json!({"a": null, "b": {"c": [2]}, "d": "3", "e": 4})),
        (replaced.build().unwrap(), json!({"a": 1, "b": 5, "d": "3"})),
        (Event::builder("x", "y").build().unwrap(), all.clone()),
        (Event::from_json(read).unwrap(), json!({"a": "own", "b": {"c": [2]}, "d": []})),
    ];
    for (made, expected) in rows {
        let source = made.source().clone();
        let event = emitter.emit_event(made).unwrap().unwrap();
        assert_eq!(Value::Object(event.metadata().clone()), expected);
        assert_eq!(event.source(), &source, "it keeps its source");
        let copy = Event::from_json(&event.to_json().unwrap()).unwrap();
        assert_eq!(Value::Object(copy.metadata().clone()), expected, "so it travels");
    }
    let emitted = emitter.emit("x", json!({})).unwrap().unwrap();
    assert_eq!(Value::Object(emitted.metadata().clone()), all);
}

#[test]
fn an_event_that_others_hold_is_copied_only_if_something_is_added() {
    let bus = EventBus::new();
    let emitter = emitter(&bus).metadata_entry("a", 1).unwrap();
    let lacking = Arc::new(Event::builder("x", "y").build().unwrap());
    let sent = emitter.emit_event(Arc::clone(&lacking)).unwrap().unwrap();
    assert!(!Arc::ptr_eq(&sent, &lacking) && lacking.metadata().is_empty(), "the holder's stays as it was");
    assert_eq!((sent.event_id(), &sent.metadata()["a"]), (lacking.event_id(), &json!(1)));

    let complete = Arc::new(Event::builder("x", "y").metadata_entry("a", 2).build().unwrap());
    let sent = emitter.emit_event(Arc::clone(&complete)).unwrap().unwrap();
    assert!(Arc::ptr_eq(&sent, &complete));
}

#[test]
fn the_default_priority_is_for_those_that_do_not_say() {
    let bus = EventBus::new();
    let emitter = emitter(&bus).default_priority(EventPriority::Debug);
    emitter.emit("x", json!({})).unwrap();
    emitter.emit_event(emitter.event("x").build().unwrap()).unwrap();
    emitter.emit_event(emitter.event("x").priority(EventPriority::Error).build().unwrap()).unwrap();
    emitter.emit_event(Event::builder("x", "y").build().unwrap()).unwrap();
    let _: Result<(), String> = emitter.operation("o", json!({})).run(|_| Err("no".to_owned()));
    let priorities: Vec<_> = published(&bus).iter().map(|event| event.priority()).collect();
    let (debug, normal) = (EventPriority::Debug, EventPriority::Normal);
    assert_eq!(priorities, [debug, debug, EventPriority::Error, normal, debug, EventPriority::Critical]);
}

#[test]
fn a_bad_default_is_refused_when_it_is_set() {
    let bus = EventBus::new();
    let fresh = || emitter(&bus);
    let payload = |set: Result<EventEmitter, EventError>| match set {
        Err(EventError::Payload(error)) => error.to_string(),
        other => panic!("{other:?}"),
    };
    assert!(payload(fresh().metadata_entry("k", too_deep())).contains("metadata"));
    assert!(
        payload(
            fresh()
                .default_metadata(object(json!({"k": [1]})))
                .and_then(|emitter| emitter.metadata_entry("d", too_deep()))
        )
        .contains("metadata")
    );
    assert!(matches!(fresh().default_correlation_id("a\tb"), Err(EventError::Publish(_))));
    assert!(matches!(AsyncEventEmitter::on_bus(&bus).source(""), Err(EventError::Publish(_))));
}
