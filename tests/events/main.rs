//! Events through the public API: names, time, payloads, the wire, CloudEvents, ready-made events.

#![allow(clippy::unwrap_used, clippy::panic, reason = "in tests a panic is the report")]

#[cfg(feature = "cloudevents")]
mod cloudevents;
mod create;
mod names;
mod payload;
mod time;
mod wire;

use codomyrmex_events::Event;
use serde_json::{Map, Value};

/// Every field that travels, for comparing two events.
fn fields(event: &Event) -> impl PartialEq + std::fmt::Debug + use<> {
    (
        event.event_type().clone(),
        event.source().clone(),
        event.event_id().clone(),
        event.timestamp(),
        event.correlation_id().cloned(),
        event.causation_id().cloned(),
        event.data().value().unwrap().clone(),
        event.metadata().clone(),
        event.priority(),
    )
}

/// The map of an object literal.
fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        other => panic!("not an object: {other}"),
    }
}
