//! Events as dictionaries: JSON objects in memory, for those who have or want the tree anyway.

use serde_json::{Map, Number, Value};

use super::{
    Event, EventParseError, EventPriority, EventType, Payload, PayloadError, metadata::Metadata,
    parse_error::Reason, payload::tree, read, scan,
};
use crate::{
    clock::{InvalidTimestamp, Timestamp},
    ids::{CorrelationId, EventId, InvalidText, Source},
};

impl Event {
    /// The event as a dictionary, with the fields of its JSON form.
    ///
    /// The timestamp is a number when a `f64` names it exactly, as it does every whole microsecond of our time; otherwise
    /// its decimal as a string, which only [`Event::from_dict`] reads: on the wire a timestamp is a number.
    ///
    /// # Errors
    /// A payload that is a Rust value and cannot become JSON.
    pub fn to_dict(&self) -> Result<Map<String, Value>, PayloadError> {
        let mut dict = Map::new();
        let mut put = |field: &str, value: Value| dict.insert(field.to_owned(), value);
        put("event_type", self.event_type.as_str().into());
        put("source", self.source.as_str().into());
        put("event_id", self.event_id.to_string().into());
        put("timestamp", timestamp_value(self.timestamp));
        if let Some(correlation_id) = &self.correlation_id {
            put("correlation_id", correlation_id.as_str().into());
        }
        if let Some(causation_id) = &self.causation_id {
            put("causation_id", causation_id.to_string().into());
        }
        if !self.data.is_absent() {
            match self.data.value().map_err(Clone::clone)? {
                Value::Null => {}
                data => drop(put("data", data.clone())),
            }
        }
        if !self.metadata.is_empty() {
            put("metadata", Value::Object(self.metadata.map().clone()));
        }
        put("priority", self.priority.as_str().into());
        Ok(dict)
    }

    /// Reads an event from a dictionary, by the rules of [`Self::from_json`].
    ///
    /// # Errors
    /// A missing field, a value that its field cannot have, nesting over 128.
    pub fn from_dict(mut dict: Map<String, Value>) -> Result<Event, EventParseError> {
        if !dict.values().all(tree::fits) {
            tree::dismantle(Value::Object(dict));
            let error = PayloadError::in_value("", scan::Reason::Depth);
            return Err(EventParseError::new(Reason::Payload(error)));
        }
        if dict.get("specversion").is_some_and(|version| !version.is_null()) {
            return from_cloudevent(dict);
        }
        let event_type = text(&mut dict, "event_type", EventType::parse)?;
        let source = text(&mut dict, "source", |source| Source::new(source))?;
        Ok(Event {
            event_type: required("event_type", event_type)?,
            source: required("source", source)?,
            event_id: text(&mut dict, "event_id", EventId::parse)?.unwrap_or_else(EventId::new),
            timestamp: timestamp(dict.remove("timestamp"))?.unwrap_or_else(Timestamp::now),
            correlation_id: text(&mut dict, "correlation_id", |id| CorrelationId::new(id))?,
            causation_id: text(&mut dict, "causation_id", EventId::parse)?,
            data: dict.remove("data").map(Payload::from).unwrap_or_default(),
            metadata: metadata(dict.remove("metadata"))?,
            priority: priority(dict.remove("priority"))?,
        })
    }
}

#[cfg(feature = "cloudevents")]
fn from_cloudevent(dict: Map<String, Value>) -> Result<Event, EventParseError> {
    super::cloudevents::from_dict(dict)
}

#[cfg(not(feature = "cloudevents"))]
fn from_cloudevent(_dict: Map<String, Value>) -> Result<Event, EventParseError> {
    Err(cloudevents_are_off())
}

#[cfg(not(feature = "cloudevents"))]
pub(super) fn cloudevents_are_off() -> EventParseError {
    let message = "marks a CloudEvent, and the feature `cloudevents` is off";
    EventParseError::new(Reason::CloudEvent { attribute: "specversion", message })
}

/// The number that names the instant, if there is one.
fn timestamp_value(timestamp: Timestamp) -> Value {
    let decimal = timestamp.to_string();
    let number = decimal.parse().ok().and_then(Number::from_f64);
    match number {
        Some(number) if Timestamp::parse_seconds(&number.to_string()) == Ok(timestamp) => number.into(),
        _ => decimal.into(),
    }
}

pub(super) fn required<T>(field: &'static str, value: Option<T>) -> Result<T, EventParseError> {
    value.ok_or_else(|| EventParseError::new(Reason::Missing(field)))
}

pub(super) fn wrong_type(field: &str, expected: &'static str) -> EventParseError {
    EventParseError::new(Reason::WrongType { field: field.to_owned(), expected })
}

/// Takes a text out of a dictionary.
pub(super) fn text<T>(
    dict: &mut Map<String, Value>,
    field: &'static str,
    parse: impl FnOnce(&str) -> Result<T, InvalidText>,
) -> Result<Option<T>, EventParseError> {
    match dict.remove(field) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => match parse(&text) {
            Ok(value) => Ok(Some(value)),
            Err(invalid) => Err(EventParseError::new(Reason::Text(invalid.for_field(field)))),
        },
        Some(_) => Err(wrong_type(field, "a string")),
    }
}

fn timestamp(value: Option<Value>) -> Result<Option<Timestamp>, EventParseError> {
    let parsed = match value {
        None | Some(Value::Null) => return Ok(None),
        Some(Value::Number(number)) => Timestamp::parse_seconds(&number.to_string()),
        Some(Value::String(decimal)) => Timestamp::parse_seconds(&decimal),
        Some(_) => Err(InvalidTimestamp::NotANumber),
    };
    match parsed {
        Ok(timestamp) => Ok(Some(timestamp)),
        Err(InvalidTimestamp::NotANumber) => {
            Err(wrong_type("timestamp", "a number of seconds since the epoch"))
        }
        Err(cause) => Err(EventParseError::new(Reason::Timestamp { field: "timestamp", cause })),
    }
}

fn metadata(value: Option<Value>) -> Result<Metadata, EventParseError> {
    match value {
        None | Some(Value::Null) => Ok(Metadata::default()),
        Some(Value::Object(map)) => {
            Metadata::from_map(map).map_err(|error| EventParseError::new(Reason::Payload(error)))
        }
        Some(_) => Err(wrong_type("metadata", "an object")),
    }
}

pub(super) fn priority(value: Option<Value>) -> Result<EventPriority, EventParseError> {
    let priority = match value {
        None | Some(Value::Null) => Some(EventPriority::default()),
        Some(Value::String(name)) => name.parse().ok(),
        Some(Value::Number(number)) => number.as_f64().and_then(read::priority_numbered),
        Some(_) => None,
    };
    priority.ok_or_else(|| EventParseError::new(Reason::Priority))
}
