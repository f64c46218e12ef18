//! Entries as JSON.

use super::EventLogEntry;
use serde_json::{Value, json};

pub(super) fn write(entries: &[EventLogEntry]) -> String {
    Value::Array(entries.iter().map(object).collect()).to_string()
}

fn object(entry: &EventLogEntry) -> Value {
    let event = entry.event();
    let mut object = json!({
        "event_id": event.event_id(),
        "event_type": event.event_type(),
        "priority": event.priority(),
        "timestamp": event.timestamp().to_rfc3339(),
        "handler_count": entry.handler_count(),
        "processing_time": entry.processing_time().as_secs_f64(),
        "source": event.source(),
        "data": null,
        "metadata": event.metadata(),
        "correlation_id": event.correlation_id(),
        "sequence": entry.sequence(),
        "attempts": entry.attempts(),
        "failures": entry.failures(),
        "error": entry.error(),
    });
    match event.data().value() {
        Ok(data) => object["data"] = data.clone(),
        Err(error) => object["data_error"] = error.to_string().into(),
    }
    object
}
