//! Entries as JSON. Payloads are written as the text that they are, so that no number is rounded on the way.

use super::EventLogEntry;
use crate::event::{EventPriority, EventType};
use crate::ids::{CorrelationId, EventId, Source};
use serde::Serialize;
use serde_json::{Map, Value, value::RawValue};

#[derive(Serialize)]
struct Row<'a> {
    event_id: &'a EventId,
    event_type: &'a EventType,
    priority: EventPriority,
    timestamp: String,
    handler_count: u64,
    processing_time: f64,
    source: &'a Source,
    data: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data_error: Option<String>,
    metadata: &'a Map<String, Value>,
    correlation_id: Option<&'a CorrelationId>,
    sequence: u64,
    attempts: u64,
    failures: u64,
    error: Option<&'a str>,
}

pub(super) fn write(entries: &[EventLogEntry]) -> String {
    let rows: Vec<Row<'_>> = entries.iter().map(Row::of).collect();
    serde_json::to_string(&rows).expect("texts and numbers can be written, and payloads are JSON already")
}

impl<'a> Row<'a> {
    fn of(entry: &'a EventLogEntry) -> Self {
        let event = entry.event();
        let text = event.data().json().map_err(ToString::to_string);
        let data = text.and_then(|text| serde_json::from_str(text).map_err(|error| error.to_string()));
        let (data, data_error) = data.map_or_else(|error| (None, Some(error)), |data| (Some(data), None));
        Row {
            event_id: event.event_id(),
            event_type: event.event_type(),
            priority: event.priority(),
            timestamp: event.timestamp().to_rfc3339(),
            handler_count: entry.handler_count(),
            processing_time: entry.processing_time().as_secs_f64(),
            source: event.source(),
            data,
            data_error,
            metadata: event.metadata(),
            correlation_id: event.correlation_id(),
            sequence: entry.sequence(),
            attempts: entry.attempts(),
            failures: entry.failures(),
            error: entry.error(),
        }
    }
}
