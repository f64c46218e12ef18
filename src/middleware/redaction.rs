//! Secrets out of payloads, before anybody hears them and before the history keeps them.

use super::rewrite::rewrite;
use crate::dispatch::handler::BoxError;
use crate::dispatch::intercept::{OfferedEvent, PublishInterceptor};
use crate::event::{Payload, PayloadError};
use serde_json::{Map, Value};
use thiserror::Error;

/// Replaces values in the payload by where they stand or what their field is called, and values in the metadata by the
/// latter.
///
/// The event that its publisher holds stays as it is. A payload that was a Rust value is a JSON tree afterwards, if something
/// was replaced in it; of one that was JSON text, all else stays as it was written. An event whose payload JSON cannot hold is refused: nobody can tell what is in it.
///
/// ```
/// use codomyrmex_events::{Event, EventBus, Redaction};
/// use serde_json::json;
///
/// let redaction = Redaction::new().field("password").pointer("/card/number")?;
/// let bus = EventBus::builder().intercept_publish(redaction).build()?;
/// let data = json!({"user": {"Password": "1234"}, "card": {"number": 4111, "year": 2031}});
/// bus.publish(Event::builder("order.placed", "shop").data(data).build()?)?;
/// let heard = bus.history().latest(1)[0].event().data().clone();
/// assert_eq!(heard.get("user"), Some(&json!({"Password": "[redacted]"})));
/// assert_eq!(heard.get("card"), Some(&json!({"number": "[redacted]", "year": 2031})));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Redaction {
    fields: Vec<String>,
    pointers: Vec<String>,
    replacement: Value,
}

/// A text that is no JSON pointer (RFC 6901): neither empty nor beginning with `/`.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{pointer:?} is no JSON pointer: it must be empty or begin with /")]
#[non_exhaustive]
pub struct InvalidPointer {
    pointer: String,
}

impl Default for Redaction {
    fn default() -> Self {
        Redaction::new()
    }
}

impl Redaction {
    /// One that replaces nothing yet, and by the text `[redacted]`.
    #[must_use]
    pub fn new() -> Self {
        Redaction { fields: Vec::new(), pointers: Vec::new(), replacement: "[redacted]".into() }
    }

    /// Fields of this name, at any depth, in the payload and in the metadata; case of ASCII letters does not matter.
    #[must_use]
    pub fn field(mut self, name: impl Into<String>) -> Self {
        self.fields.push(name.into());
        self
    }

    /// What stands in the payload where this JSON pointer leads, if anything does.
    ///
    /// # Errors
    /// A text that is no pointer: it would never match, and the secret would stay.
    pub fn pointer(mut self, pointer: impl Into<String>) -> Result<Self, InvalidPointer> {
        let pointer = pointer.into();
        if !pointer.is_empty() && !pointer.starts_with('/') {
            return Err(InvalidPointer { pointer });
        }
        self.pointers.push(pointer);
        Ok(self)
    }

    /// What is put in place. Default: the text `[redacted]`.
    #[must_use]
    pub fn replacement(mut self, value: impl Into<Value>) -> Self {
        self.replacement = value.into();
        self
    }

    fn is_secret(&self, name: &str) -> bool {
        self.fields.iter().any(|field| field.eq_ignore_ascii_case(name))
    }

    /// The payload without its secrets, if there are any: mostly there are none, and nothing is copied.
    fn redacted(&self, data: &Payload) -> Result<Option<Payload>, PayloadError> {
        // A text may say more than its tree: of fields that are named twice, that has one.
        if let Some(text) = data.text() {
            let replacement = self.replacement.to_string();
            let text = rewrite(text, &self.pointers, |name| self.is_secret(name), &replacement);
            return text.map(Payload::from_json).transpose();
        }
        let data = data.value().map_err(Clone::clone)?;
        if !self.finds_in(data) {
            return Ok(None);
        }
        let mut data = data.clone();
        self.replace_fields_in(&mut data);
        for pointer in &self.pointers {
            if let Some(value) = data.pointer_mut(pointer) {
                *value = self.replacement.clone();
            }
        }
        Ok(Some(data.into()))
    }

    fn finds_in(&self, data: &Value) -> bool {
        self.pointers.iter().any(|pointer| data.pointer(pointer).is_some()) || self.finds_fields_in(data)
    }

    /// Payloads nest no deeper than 127, so the recursion ends.
    fn finds_fields_in(&self, value: &Value) -> bool {
        match value {
            Value::Object(fields) => self.finds_among(fields),
            Value::Array(items) => items.iter().any(|item| self.finds_fields_in(item)),
            _ => false,
        }
    }

    fn finds_among(&self, fields: &Map<String, Value>) -> bool {
        fields.iter().any(|(name, value)| self.is_secret(name) || self.finds_fields_in(value))
    }

    fn replace_fields_in(&self, value: &mut Value) {
        match value {
            Value::Object(fields) => self.replace_among(fields),
            Value::Array(items) => items.iter_mut().for_each(|item| self.replace_fields_in(item)),
            _ => {}
        }
    }

    fn replace_among(&self, fields: &mut Map<String, Value>) {
        for (name, value) in fields {
            if self.is_secret(name) {
                *value = self.replacement.clone();
            } else {
                self.replace_fields_in(value);
            }
        }
    }
}

impl PublishInterceptor for Redaction {
    fn before_publish(&self, offered: &mut OfferedEvent<'_>) -> Result<(), BoxError> {
        let (data, in_metadata) = (self.redacted(offered.data())?, self.finds_among(offered.metadata()));
        if data.is_none() && !in_metadata {
            return Ok(());
        }
        let mut builder = offered.to_builder();
        if let Some(data) = data {
            builder = builder.data(data);
        }
        if in_metadata {
            let mut metadata = offered.metadata().clone();
            self.replace_among(&mut metadata);
            builder = builder.metadata(metadata);
        }
        offered.replace(builder.build()?);
        Ok(())
    }
}
