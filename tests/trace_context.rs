//! W3C Trace Context in the metadata: what is handed on to events published in answer, and what is not.

#![allow(clippy::unwrap_used, clippy::panic, reason = "in a test a panic is the report")]

#[path = "support/bus.rs"]
mod support;

use codomyrmex_events::{Delivery, Event, EventBus, EventEmitter, EventMixin, correlation};
use serde_json::{Map, Value, json};
use std::sync::Arc;

const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
const OTHER: &str = "00-11111111111111111111111111111111-2222222222222222-00";
const STATE: &str = "congo=t61rcWkgMzE";

fn object(value: Value) -> Map<String, Value> {
    serde_json::from_value(value).unwrap()
}

fn event(event_type: &str, metadata: Value) -> Event {
    Event::builder(event_type, "test").metadata(object(metadata)).build().unwrap()
}

/// The metadata of `answer` when it is published in a handler of `cause`.
fn answered(bus: &EventBus, cause: impl Into<Arc<Event>>, answer: Value) -> Value {
    let publish =
        move |delivery: &Delivery<'_>| delivery.bus().publish(event("answer", answer.clone())).map(drop);
    let answers = bus.subscribe("cause").handler(publish).unwrap();
    bus.publish(cause).unwrap();
    bus.flush(support::WATCHDOG).unwrap();
    answers.unsubscribe();
    metadata(bus, "answer")
}

/// The metadata of the newest event of a type.
fn metadata(bus: &EventBus, event_type: &str) -> Value {
    let newest = bus.history().query().event_type(event_type).limit(1).events().unwrap();
    Value::Object(newest[0].metadata().clone())
}

#[test]
fn what_is_well_formed_is_handed_on_unchanged_and_nothing_else_is() {
    let bus = EventBus::new();
    let both = json!({"traceparent": PARENT, "tracestate": STATE});
    let rows = [
        (json!({}), json!({}), json!({})),
        (json!({"k": 1}), json!({"own": 2}), json!({"own": 2})),
        (both.clone(), json!({}), both.clone()),
        (json!({"traceparent": PARENT, "k": 1}), json!({}), json!({"traceparent": PARENT})),
        (
            json!({"traceparent": PARENT, "tracestate": STATE, "k": 1}),
            json!({"own": 2}),
            json!({"traceparent": PARENT, "tracestate": STATE, "own": 2}),
        ),
        // Malformed: kept where it is, not handed on. A bad state does not hold the parent back.
        (json!({"traceparent": PARENT.to_uppercase(), "tracestate": STATE}), json!({}), json!({})),
        (json!({"traceparent": 7}), json!({}), json!({})),
        (json!({"tracestate": STATE}), json!({}), json!({})),
        (json!({"traceparent": PARENT, "tracestate": "a=1\nb"}), json!({}), json!({"traceparent": PARENT})),
        // What the answer says itself stays, and stays alone.
        (both.clone(), json!({"traceparent": OTHER}), json!({"traceparent": OTHER})),
        (both.clone(), json!({"traceparent": "odd"}), json!({"traceparent": "odd"})),
        (both.clone(), json!({"tracestate": "a=1"}), json!({"tracestate": "a=1"})),
        (both, json!({"traceparent": null}), json!({"traceparent": null})),
    ];
    for (cause, answer, expected) in rows {
        assert_eq!(answered(&bus, event("cause", cause.clone()), answer), expected, "{cause}");
        assert_eq!(metadata(&bus, "cause"), cause, "it keeps what it has");
    }
}

#[test]
fn it_is_read_from_text_however_that_is_spelt() {
    let bus = EventBus::new();
    for key in ["traceparent", r"tr\u0061ceparent"] {
        let text = format!(
            r#"{{"event_type":"cause","source":"test","metadata":{{"{key}":"{PARENT}","k":"\\u"}}}}"#
        );
        let cause = Event::from_json(&text).unwrap();
        assert_eq!(answered(&bus, cause, json!({})), json!({"traceparent": PARENT}), "{key}");
    }
    let plain = r#"{"event_type":"cause","source":"test","metadata":{"k":1}}"#;
    assert_eq!(answered(&bus, Event::from_json(plain).unwrap(), json!({})), json!({}));
}

#[test]
fn a_chain_shares_one_metadata_and_nobody_else_s_event_is_changed() {
    let bus = EventBus::new();
    bus.subscribe("first").handler(|delivery| delivery.bus().publish(event("second", json!({})))).unwrap();
    bus.subscribe("second").handler(|delivery| delivery.bus().publish(event("third", json!({})))).unwrap();
    bus.publish(event("first", json!({"traceparent": PARENT}))).unwrap();
    let chain = bus.history().query().since(1).events().unwrap();
    assert_eq!(chain.len(), 3);
    assert!(chain.windows(2).all(|pair| std::ptr::eq(pair[0].metadata(), pair[1].metadata())));
    assert_eq!(bus.get_stats().events_copied, 0, "filled in in place");

    let shared = Arc::new(event("answer", json!({})));
    let publishes = Arc::clone(&shared);
    bus.subscribe("cause").handler(move |cause| cause.bus().publish(Arc::clone(&publishes))).unwrap();
    bus.publish(event("cause", json!({"traceparent": PARENT}))).unwrap();
    assert_eq!(metadata(&bus, "answer"), json!({"traceparent": PARENT}));
    assert!(shared.metadata().is_empty() && shared.causation_id().is_none());
    assert_eq!(bus.get_stats().events_copied, 1);
}

#[test]
fn mixins_emitters_and_scopes_hand_it_on_too_and_defaults_beat_it() {
    let bus = EventBus::new();
    let mixin = EventMixin::init_events_on("mixin", &bus).unwrap();
    let emitter = EventEmitter::on_bus("emitter", &bus).unwrap();
    let own = EventEmitter::on_bus("own", &bus).unwrap().metadata_entry("traceparent", OTHER).unwrap();
    bus.subscribe("cause")
        .handler(move |_| {
            let id = correlation::new_id();
            correlation::scope(&id, || {
                let emitted = mixin.emit("mixin", json!({}))?;
                assert_eq!(emitted.metadata()["traceparent"], PARENT, "it returns what was heard");
                emitter.emit("emitter", json!({}))?;
                own.emit("own", json!({}))
            })
        })
        .unwrap();
    bus.publish(event("cause", json!({"traceparent": PARENT}))).unwrap();
    assert_eq!(bus.get_stats().events_failed, 0);
    for (name, expected) in [("mixin", PARENT), ("emitter", PARENT), ("own", OTHER)] {
        assert_eq!(metadata(&bus, name)["traceparent"], expected, "{name}");
    }
    // Outside of handlers nothing is made up.
    bus.publish(event("answer", json!({}))).unwrap();
    assert_eq!(metadata(&bus, "answer"), json!({}));
}

#[cfg(all(feature = "queued", feature = "async"))]
#[test]
fn workers_and_tasks_hand_it_on_and_retries_too() {
    use codomyrmex_events::{Backoff, OwnedDelivery};
    let bus = EventBus::builder().queued().build().unwrap();
    let cause = || event("cause", json!({"traceparent": PARENT}));
    assert_eq!(answered(&bus, cause(), json!({}))["traceparent"], PARENT);
    let answer = |delivery: OwnedDelivery| async move {
        tokio::task::yield_now().await;
        delivery.bus().publish_async(event("from.task", json!({}))).await.map(drop)
    };
    bus.subscribe("cause").async_handler(answer).unwrap();
    let retried = |delivery: &Delivery<'_>| match delivery.attempt() {
        1 => Err("once more".into()),
        _ => delivery.bus().publish(event("from.retry", json!({}))).map(drop).map_err(Box::from),
    };
    let retried =
        move |delivery: &Delivery<'_>| -> Result<(), codomyrmex_events::BoxError> { retried(delivery) };
    let moment = std::time::Duration::from_millis(1);
    let backoff = Backoff::exponential(moment, moment);
    bus.subscribe("cause").attempts(2).backoff(backoff).handler(retried).unwrap();
    bus.publish(cause()).unwrap();
    bus.flush(support::WATCHDOG).unwrap();
    for name in ["from.task", "from.retry"] {
        assert_eq!(metadata(&bus, name)["traceparent"], PARENT, "{name}");
    }
}
