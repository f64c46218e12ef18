//! Events as JSON text: writing.
//!
//! The parts that are already text are copied as they are, so that forwarding an event costs little more than its
//! bytes. Always one line.

use super::{Event, PayloadError};

impl Event {
    /// The event as one line of JSON.
    ///
    /// # Errors
    /// A payload that is a Rust value and cannot become JSON.
    pub fn to_json(&self) -> Result<String, PayloadError> {
        let mut out = String::new();
        self.write_json(&mut out)?;
        Ok(out)
    }

    /// Appends the event as JSON; appends nothing on an error.
    ///
    /// # Errors
    /// A payload that is a Rust value and cannot become JSON.
    pub fn write_json(&self, out: &mut String) -> Result<(), PayloadError> {
        self.write(None, out)
    }

    /// Appends the event as JSON with the number of its publication, which readers of events ignore.
    ///
    /// # Errors
    /// A payload that is a Rust value and cannot become JSON.
    pub fn write_json_with_sequence(&self, sequence: u64, out: &mut String) -> Result<(), PayloadError> {
        self.write(Some(sequence), out)
    }

    fn write(&self, sequence: Option<u64>, out: &mut String) -> Result<(), PayloadError> {
        let data = self.data_to_write()?;
        out.reserve(256 + data.map_or(0, str::len));

        out.push_str("{\"event_type\":");
        push_quoted(self.event_type.as_str(), out);
        out.push_str(",\"source\":");
        push_quoted(&self.source, out);
        out.push_str(",\"event_id\":");
        push_id(&self.event_id, out);
        out.push_str(",\"timestamp\":");
        self.timestamp.write_seconds(out);
        if let Some(correlation_id) = &self.correlation_id {
            out.push_str(",\"correlation_id\":");
            push_quoted(correlation_id, out);
        }
        if let Some(causation_id) = &self.causation_id {
            out.push_str(",\"causation_id\":");
            push_id(causation_id, out);
        }
        if let Some(data) = data {
            out.push_str(",\"data\":");
            out.push_str(data);
        }
        if !self.metadata.is_empty() {
            out.push_str(",\"metadata\":");
            self.metadata.write(out);
        }
        out.push_str(",\"priority\":\"");
        out.push_str(self.priority.as_str());
        out.push('"');
        if let Some(sequence) = sequence {
            out.push_str(",\"sequence\":");
            out.push_str(&sequence.to_string());
        }
        out.push('}');
        Ok(())
    }

    /// The payload's text, unless readers would take it for absent.
    pub(super) fn data_to_write(&self) -> Result<Option<&str>, PayloadError> {
        if self.data.is_absent() {
            return Ok(None);
        }
        let data = self.data.json().map_err(Clone::clone)?;
        Ok((data != "null").then_some(data))
    }
}

/// Appends a text as a JSON string.
pub(super) fn push_quoted(text: &str, out: &mut String) {
    let plain = |byte: &u8| *byte >= 0x20 && *byte != b'"' && *byte != b'\\';
    if text.as_bytes().iter().all(plain) {
        out.push('"');
        out.push_str(text);
        out.push('"');
    } else {
        out.push_str(&serde_json::to_string(text).expect("every text is a JSON string"));
    }
}

/// Appends an id as a JSON string.
pub(super) fn push_id(id: &crate::ids::EventId, out: &mut String) {
    match id.as_uuid() {
        // A UUID has nothing to escape.
        Some(_) => {
            out.push('"');
            id.write_to(out);
            out.push('"');
        }
        None => push_quoted(&id.to_string(), out),
    }
}
