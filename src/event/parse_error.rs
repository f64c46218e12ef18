//! Why a text or a dictionary is not an event.

use std::{error::Error, fmt};

use super::{PayloadError, UnknownPriority, scan, scan::Refusal};
use crate::{clock::InvalidTimestamp, ids::InvalidText};

/// A text or a dictionary that is not an event: what is wrong, in which field, and where in the text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventParseError(Box<Fault>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Fault {
    reason: Reason,
    place: Option<Place>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Place {
    offset: usize,
    line: usize,
    column: usize,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Reason {
    NotUtf8,
    NotAnObject,
    Syntax(scan::Reason),
    Missing(&'static str),
    Repeated(String),
    WrongType { field: String, expected: &'static str },
    Text(InvalidText),
    Priority,
    Timestamp { field: &'static str, cause: InvalidTimestamp },
    Payload(PayloadError),
    CloudEvent { attribute: &'static str, message: &'static str },
}

impl EventParseError {
    /// Something wrong with an event that did not come as text.
    pub(super) fn new(reason: Reason) -> Self {
        Self(Box::new(Fault { reason, place: None }))
    }

    /// Something wrong at a byte of the text.
    pub(super) fn at(reason: Reason, text: &[u8], offset: usize) -> Self {
        let (line, column) = scan::line_and_column(text, offset);
        Self(Box::new(Fault { reason, place: Some(Place { offset, line, column }) }))
    }

    pub(super) fn refused(text: &[u8], refusal: Refusal) -> Self {
        Self::at(Reason::Syntax(refusal.reason), text, refusal.offset)
    }

    /// The line, from 1, when it was a text.
    pub fn line(&self) -> Option<usize> {
        self.0.place.map(|place| place.line)
    }

    /// The byte in the line, from 1, when it was a text.
    pub fn column(&self) -> Option<usize> {
        self.0.place.map(|place| place.column)
    }

    /// The byte in the text, from 0, when it was a text.
    pub fn byte_offset(&self) -> Option<usize> {
        self.0.place.map(|place| place.offset)
    }

    /// The field of the event that is wrong, when it is one field.
    pub fn field(&self) -> Option<&str> {
        match &self.0.reason {
            Reason::Missing(field) | Reason::Timestamp { field, .. } => Some(field),
            Reason::Repeated(field) | Reason::WrongType { field, .. } => Some(field),
            Reason::Text(invalid) => Some(invalid.field()),
            Reason::Priority => Some("priority"),
            Reason::Payload(_) => Some("data"),
            Reason::CloudEvent { attribute, .. } => Some(attribute),
            Reason::NotUtf8 | Reason::NotAnObject | Reason::Syntax(_) => None,
        }
    }
}

impl fmt::Display for EventParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(place) = &self.0.place {
            write!(f, "line {} column {}: ", place.line, place.column)?;
        }
        match &self.0.reason {
            Reason::NotUtf8 => f.write_str("not UTF-8"),
            Reason::NotAnObject => f.write_str("an event is a JSON object"),
            Reason::Syntax(reason) => reason.fmt(f),
            Reason::Missing(field) => write!(f, "{field} is required"),
            Reason::Repeated(field) => write!(f, "{field} is given twice"),
            Reason::WrongType { field, expected } => write!(f, "{field} must be {expected}"),
            Reason::Text(invalid) => invalid.fmt(f),
            Reason::Priority => UnknownPriority.fmt(f),
            Reason::Timestamp { field, cause } => write!(f, "{field}: {cause}"),
            Reason::Payload(error) => error.fmt(f),
            Reason::CloudEvent { attribute, message } => write!(f, "CloudEvent: {attribute} {message}"),
        }
    }
}

impl Error for EventParseError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match &self.0.reason {
            Reason::Text(invalid) => Some(invalid),
            Reason::Priority => Some(&UnknownPriority),
            Reason::Timestamp { cause, .. } => Some(cause),
            Reason::Payload(error) => Some(error),
            _ => None,
        }
    }
}
