//! CloudEvents 1.0, structured JSON: the same events under the names that others use.
//!
//! | CloudEvents | here |
//! |---|---|
//! | `id`, `source`, `type`, `time`, `data` | `event_id`, `source`, `event_type`, `timestamp`, `data` |
//! | extensions `correlationid`, `causationid`, `priority` | `correlation_id`, `causation_id`, `priority` |
//! | any other attribute, `subject` and `dataschema` too | the metadata entry of that name |
//! | extension `metadata`: an object as a JSON string | the metadata entries that no attribute can carry |
//!
//! A metadata entry can be an attribute when its name is 1 to 20 lower-case letters or digits and not one of the
//! names above, and its value is a boolean, a 32-bit integer, or a text without control characters. So an event
//! comes back whole, and a foreign attribute leaves as it came.
//!
//! Binary payloads (`data_base64`) are refused: an event carries JSON.

use serde_json::{Map, Value};

use super::{
    Event, EventParseError, EventType, Payload, PayloadError,
    dict::{priority, required, text, wrong_type},
    json::{push_id, push_quoted},
    metadata::Metadata,
    parse_error::Reason,
    payload::tree,
    read::{RawField, each_field},
    scan,
};
use crate::{
    clock::Timestamp,
    ids::{CorrelationId, EventId, Source},
};

const SPECVERSION: &str = "1.0";
const JSON: &str = "application/json";

/// Attributes with a meaning of their own; a metadata entry of such a name travels in the `metadata` extension.
const RESERVED: [&str; 11] = [
    "specversion",
    "id",
    "source",
    "type",
    "time",
    "data",
    "correlationid",
    "causationid",
    "priority",
    "metadata",
    "sequence",
];

impl Event {
    /// The event as a CloudEvent 1.0 in structured JSON, on one line.
    ///
    /// # Errors
    /// A payload that is a Rust value and cannot become JSON.
    pub fn to_cloudevents_json(&self) -> Result<String, PayloadError> {
        let data = self.data_to_write()?;
        let mut out = String::with_capacity(320 + data.map_or(0, str::len));
        out.push_str("{\"specversion\":\"1.0\",\"id\":");
        push_id(&self.event_id, &mut out);
        push_text("source", &self.source, &mut out);
        push_text("type", self.event_type.as_str(), &mut out);
        push_text("time", &self.timestamp.to_rfc3339(), &mut out);
        if let Some(correlation_id) = &self.correlation_id {
            push_text("correlationid", correlation_id, &mut out);
        }
        if let Some(causation_id) = &self.causation_id {
            out.push_str(",\"causationid\":");
            push_id(causation_id, &mut out);
        }
        push_text("priority", self.priority.as_str(), &mut out);
        let has_content_type = push_metadata(self.metadata(), &mut out);
        if let Some(data) = data {
            if !has_content_type {
                push_text("datacontenttype", JSON, &mut out);
            }
            out.push_str(",\"data\":");
            out.push_str(data);
        }
        out.push('}');
        Ok(out)
    }
}

fn push_text(name: &str, text: &str, out: &mut String) {
    out.push_str(",\"");
    out.push_str(name);
    out.push_str("\":");
    push_quoted(text, out);
}

/// Appends the metadata, as attributes where they can be; tells whether `datacontenttype` was among them.
fn push_metadata(metadata: &Map<String, Value>, out: &mut String) -> bool {
    let mut has_content_type = false;
    let mut rest = Map::new();
    for (name, value) in metadata {
        if is_attribute(name, value) {
            has_content_type |= name == "datacontenttype";
            out.push_str(&format!(",\"{name}\":{value}"));
        } else {
            rest.insert(name.clone(), value.clone());
        }
    }
    if !rest.is_empty() {
        push_text("metadata", &Value::Object(rest).to_string(), out);
    }
    has_content_type
}

/// Whether CloudEvents allows an attribute of that name and value.
fn is_attribute(name: &str, value: &Value) -> bool {
    let well_named = (1..=20).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
    let is_text = |text: &str| !text.is_empty() && !text.chars().any(char::is_control);
    let allowed = match value {
        Value::Bool(_) => !is_context(name),
        Value::Number(number) => {
            !is_context(name) && number.as_i64().is_some_and(|n| i32::try_from(n).is_ok())
        }
        Value::String(text) => is_text(text) && !(name == "datacontenttype" && text == JSON),
        _ => false,
    };
    well_named && allowed && !RESERVED.contains(&name)
}

/// The optional attributes of the standard itself, which are texts.
fn is_context(name: &str) -> bool {
    matches!(name, "subject" | "dataschema" | "datacontenttype")
}

/// Reads a text that is known to be an object with a `specversion`.
pub(super) fn from_json(text: &str) -> Result<Event, EventParseError> {
    let mut attributes = Map::new();
    let mut data = Payload::absent();
    let mut seen_data = false;
    each_field(text, |key, scanner| {
        let name = key.unescaped().into_owned();
        let value = RawField::scan(scanner);
        let value = value.map_err(|refusal| EventParseError::refused(text.as_bytes(), refusal))?;
        let repeated = if name == "data" {
            data = value.payload();
            std::mem::replace(&mut seen_data, true)
        } else {
            let tree = tree::parse(value.text).expect("the scanner accepts only what serde_json can read");
            attributes.insert(name.clone(), tree).is_some()
        };
        if repeated {
            return Err(EventParseError::at(Reason::Repeated(name), text.as_bytes(), key.offset));
        }
        Ok(())
    })?;
    event(attributes, data)
}

/// Reads a dictionary that is known to have a `specversion`, and to nest no deeper than an event may.
pub(super) fn from_dict(mut attributes: Map<String, Value>) -> Result<Event, EventParseError> {
    let data = attributes.remove("data").map(Payload::from).unwrap_or_default();
    event(attributes, data)
}

fn event(mut attributes: Map<String, Value>, data: Payload) -> Result<Event, EventParseError> {
    if attributes.remove("specversion") != Some(SPECVERSION.into()) {
        return Err(refused("specversion", "must be \"1.0\""));
    }
    if attributes.remove("data_base64").is_some_and(|data| !data.is_null()) {
        return Err(refused("data_base64", "is binary data, and an event carries JSON"));
    }
    let mut event = Event {
        event_id: required("id", text(&mut attributes, "id", EventId::parse)?)?,
        source: required("source", text(&mut attributes, "source", |source| Source::new(source))?)?,
        event_type: required("type", text(&mut attributes, "type", EventType::parse)?)?,
        timestamp: time(attributes.remove("time"))?.unwrap_or_else(Timestamp::now),
        correlation_id: text(&mut attributes, "correlationid", |id| CorrelationId::new(id))?,
        causation_id: text(&mut attributes, "causationid", EventId::parse)?,
        data,
        metadata: Metadata::default(),
        priority: priority(attributes.remove("priority"))?,
    };
    event.metadata = metadata(attributes)?;
    Ok(event)
}

fn refused(attribute: &'static str, message: &'static str) -> EventParseError {
    EventParseError::new(Reason::CloudEvent { attribute, message })
}

fn time(value: Option<Value>) -> Result<Option<Timestamp>, EventParseError> {
    match value {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => match Timestamp::parse_rfc3339(&text) {
            Ok(timestamp) => Ok(Some(timestamp)),
            Err(cause) => Err(EventParseError::new(Reason::Timestamp { field: "time", cause })),
        },
        Some(_) => Err(wrong_type("time", "a string")),
    }
}

/// What is left of the attributes, and what the `metadata` extension holds.
fn metadata(mut attributes: Map<String, Value>) -> Result<Metadata, EventParseError> {
    let carried = match attributes.get("metadata").and_then(Value::as_str).and_then(carried_object) {
        Some(carried) => {
            attributes.remove("metadata");
            carried
        }
        None => Map::new(),
    };
    attributes.retain(|name, value| match (name.as_str(), &*value) {
        (_, Value::Null) => false,
        // A door's number of the publication; the CloudEvents extension of that name is a text.
        ("sequence", Value::Number(_)) => false,
        ("datacontenttype", Value::String(kind)) => kind != JSON,
        _ => true,
    });
    for (name, value) in carried {
        attributes.entry(name).or_insert(value);
    }
    Metadata::from_map(attributes).map_err(|error| EventParseError::new(Reason::Payload(error)))
}

/// The object that the `metadata` extension holds, unless it is somebody else's extension.
fn carried_object(text: &str) -> Option<Map<String, Value>> {
    scan::check(text, scan::PAYLOAD_DEPTH_MAX).ok()?;
    match tree::parse(text).ok()? {
        Value::Object(object) => Some(object),
        _ => None,
    }
}
