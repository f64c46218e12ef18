//! Why a payload is not JSON, or not the Rust value that was asked for.

use std::{fmt, sync::Arc};

use thiserror::Error;

use crate::event::scan::{self, Refusal};

/// A payload that cannot be JSON, or that does not become the Rust type that was asked for: what, and where.
///
/// Cheap to clone: a failed conversion is kept with its payload and handed to everyone who asks again.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{0}")]
pub struct PayloadError(Arc<Fault>);

#[derive(Debug, PartialEq, Eq)]
struct Fault {
    message: String,
    place: Place,
}

#[derive(Debug, PartialEq, Eq)]
enum Place {
    /// In a text, both counted from 1.
    Text { offset: usize, line: usize, column: usize },
    /// In a value: a JSON pointer; empty is the whole.
    Value { pointer: String },
}

impl PayloadError {
    /// The line in the payload's text, from 1, when it was a text.
    pub fn line(&self) -> Option<usize> {
        self.in_text().map(|(_, line, _)| line)
    }

    /// The byte in the line, from 1, when it was a text.
    pub fn column(&self) -> Option<usize> {
        self.in_text().map(|(_, _, column)| column)
    }

    /// The byte in the text, from 0, when it was a text.
    pub fn byte_offset(&self) -> Option<usize> {
        self.in_text().map(|(offset, _, _)| offset)
    }

    /// The JSON pointer of the place in the payload, when it was a value.
    pub fn pointer(&self) -> Option<&str> {
        match &self.0.place {
            Place::Value { pointer } => Some(pointer),
            Place::Text { .. } => None,
        }
    }

    fn in_text(&self) -> Option<(usize, usize, usize)> {
        match self.0.place {
            Place::Text { offset, line, column } => Some((offset, line, column)),
            Place::Value { .. } => None,
        }
    }

    pub(crate) fn in_value(pointer: impl Into<String>, message: impl fmt::Display) -> Self {
        Self::new(message, Place::Value { pointer: pointer.into() })
    }

    pub(crate) fn refused(text: &str, refusal: Refusal) -> Self {
        let (line, column) = scan::line_and_column(text.as_bytes(), refusal.offset);
        Self::new(refusal.reason, Place::Text { offset: refusal.offset, line, column })
    }

    fn new(message: impl fmt::Display, place: Place) -> Self {
        Self(Arc::new(Fault { message: message.to_string(), place }))
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("payload: ")?;
        match &self.place {
            Place::Text { line, column, .. } => write!(f, "line {line} column {column}: ")?,
            Place::Value { pointer } if pointer.is_empty() => {}
            Place::Value { pointer } => write!(f, "{pointer}: ")?,
        }
        f.write_str(&self.message)
    }
}
