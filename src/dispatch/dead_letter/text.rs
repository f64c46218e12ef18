//! Dead letters as JSON texts: all that a redrive needs, and what went wrong, on one line.
//!
//! The event stands in its letter as it would on a line of its own, so it is read by the one reader of events and comes
//! out with the same bytes. What the binary keeps of a rejected line (`dispatch --dead-letters`) is read as a letter
//! too, if the line was an event: there is one kind of letters file.
//!
//! It never looks for a subscription: a letter that was read names it, and whoever redrives it looks then.

use super::{DeadLetter, DeadLetterKind, EARLIER_FAILURES_MAX, EarlierFailure};
use crate::clock::Timestamp;
use crate::event::{Event, EventParseError, EventValidationError, PayloadError, SchemaFailure};
use crate::ids::{InvalidText, check_text};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::sync::Arc;
use thiserror::Error;

/// A text that is no dead letter.
#[derive(Clone, Debug, Error)]
#[non_exhaustive]
pub enum LetterParseError {
    /// Malformed JSON, or a field that cannot have its value.
    #[error("{0}")]
    Malformed(String),
    /// Not an object.
    #[error("a letter is a JSON object")]
    NotAnObject,
    /// There is no `event`, nor a `raw` line that was one.
    #[error("event is required")]
    NoEvent,
    /// The event in it is none.
    #[error("event: {0}")]
    Event(EventParseError),
    /// The kind is not one of `handler`, `time_limit`, `schema`, `dropped`.
    #[error("there is no kind {0:?}")]
    UnknownKind(String),
    /// A handler's letter without its subscription.
    #[error("subscriber_id is required")]
    NoSubscriber,
    /// The subscription's id is not one.
    #[error(transparent)]
    InvalidSubscriber(InvalidText),
    /// A time is none.
    #[error("{0} must be a number of seconds since the epoch, between the years 1677 and 2262")]
    Time(&'static str),
}

/// The fields, in the order in which they are written. Times are decimals that pass through no `f64`.
#[derive(Serialize, Deserialize)]
struct LetterText {
    kind: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    letter: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sequence: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    subscriber_id: Option<String>,
    #[serde(default)]
    attempts: u32,
    #[serde(default)]
    redrives: u32,
    #[serde(default)]
    error: String,
    /// The sources of `error`, outermost first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    causes: Vec<String>,
    /// Where the payload fails its schema, and beside each pointer how.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pointers: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    messages: Vec<String>,
    /// In how many places it fails, of which the pointers are the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    failures: Option<usize>,
    /// There was no schema, and there should have been one.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    unregistered: bool,
    #[serde(default)]
    first_failed_at: Option<Box<RawValue>>,
    #[serde(default)]
    last_failed_at: Option<Box<RawValue>>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    earlier_failures: Vec<EarlierText>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    event: Option<Box<RawValue>>,
    /// The event as a line, of a line that was rejected.
    #[serde(default, skip_serializing)]
    raw: Option<String>,
}

#[derive(Serialize, Deserialize)]
struct EarlierText {
    at: Box<RawValue>,
    attempts: u32,
    error: String,
}

impl DeadLetter {
    /// The letter as one line of JSON: `kind`, `letter` (its id), `sequence`, `subscriber_id`, `attempts`, `redrives`, `error`,
    /// its `causes`, of a schema's refusal `pointers`, `messages` and the number of `failures`, `first_failed_at`,
    /// `last_failed_at`, `earlier_failures` and the `event`. What is absent is left out; times are seconds since the epoch.
    ///
    /// # Errors
    /// An event whose payload is a Rust value and cannot become JSON.
    pub fn to_json(&self) -> Result<String, PayloadError> {
        let event = raw(self.event().to_json()?);
        let rejection = self.rejection();
        let failures = rejection.map_or(&[][..], EventValidationError::failures);
        let mut chain = self.error_chain().iter().cloned();
        let text = LetterText {
            kind: Some(self.kind().as_str().to_owned()),
            letter: Some(self.id()).filter(|id| *id > 0),
            sequence: self.sequence(),
            subscriber_id: self.subscriber_id().map(str::to_owned),
            attempts: self.attempts(),
            redrives: self.redrives(),
            error: chain.next().unwrap_or_default(),
            causes: chain.collect(),
            pointers: failures.iter().map(|failure| failure.pointer().to_owned()).collect(),
            messages: failures.iter().map(|failure| failure.message().to_owned()).collect(),
            failures: rejection.map(EventValidationError::total).filter(|total| *total > 0),
            unregistered: rejection.is_some_and(EventValidationError::is_unregistered),
            first_failed_at: Some(raw(self.first_failed_at().to_string())),
            last_failed_at: Some(raw(self.last_failed_at().to_string())),
            earlier_failures: self.earlier_failures().iter().map(EarlierText::of).collect(),
            event: Some(event),
            raw: None,
        };
        Ok(serde_json::to_string(&text).expect("texts and numbers are JSON"))
    }

    /// Reads a letter, as [`to_json`](Self::to_json) writes it or as `dispatch --dead-letters` keeps a rejected line that was
    /// an event. Unknown fields are ignored; what is missing is as little as it can be, times are the present. Its id is 0
    /// until a [queue](crate::DeadLetterQueue::adopt) gives it one.
    ///
    /// # Errors
    /// A text that is no letter: malformed, without its event, of no known kind, of a handler that is not named.
    pub fn from_json(text: &str) -> Result<DeadLetter, LetterParseError> {
        // Serde would also take an array of the fields in their order.
        if !text.trim_ascii_start().starts_with('{') {
            return Err(LetterParseError::NotAnObject);
        }
        let read: LetterText =
            serde_json::from_str(text).map_err(|error| LetterParseError::Malformed(error.to_string()))?;
        let event = match (&read.event, &read.raw) {
            (Some(event), _) => event.get(),
            (None, Some(raw)) => raw,
            (None, None) => return Err(LetterParseError::NoEvent),
        };
        let event = Arc::new(Event::from_json(event).map_err(LetterParseError::Event)?);
        let kind = kind_of(&read)?;
        let last_failed_at = time("last_failed_at", read.last_failed_at.as_deref())?;
        let now = Timestamp::now();
        let first_failed_at = time("first_failed_at", read.first_failed_at.as_deref())?.or(last_failed_at);
        let rejection = (kind == DeadLetterKind::Schema).then(|| rejection_of(&read, &event)).flatten();
        let skipped = read.earlier_failures.len().saturating_sub(EARLIER_FAILURES_MAX);
        let earlier = read.earlier_failures.into_iter().skip(skipped).map(EarlierText::read);
        Ok(DeadLetter {
            id: 0,
            kind,
            event,
            sequence: read.sequence,
            subscriber: read.subscriber_id.map(|id| (id, None)),
            attempts: read.attempts,
            chain: std::iter::once(read.error).chain(read.causes).collect(),
            rejection,
            first_failed_at: first_failed_at.unwrap_or(now),
            last_failed_at: last_failed_at.unwrap_or(now),
            redrives: read.redrives,
            earlier: earlier.collect::<Result<_, _>>()?,
        })
    }
}

/// A line that was kept without a kind was rejected: nobody was handed it, so trying again is publishing.
fn kind_of(read: &LetterText) -> Result<DeadLetterKind, LetterParseError> {
    let kind = match &read.kind {
        Some(name) => {
            DeadLetterKind::named(name).ok_or_else(|| LetterParseError::UnknownKind(name.clone()))?
        }
        None => DeadLetterKind::Schema,
    };
    let is_anybodys = matches!(kind, DeadLetterKind::Schema | DeadLetterKind::Dropped);
    match &read.subscriber_id {
        None if !is_anybodys => Err(LetterParseError::NoSubscriber),
        None => Ok(kind),
        Some(id) => {
            check_text("subscriber_id", id).map_err(LetterParseError::InvalidSubscriber).map(|()| kind)
        }
    }
}

fn rejection_of(read: &LetterText, event: &Arc<Event>) -> Option<EventValidationError> {
    let event_type = event.event_type().clone();
    let rejection = if read.unregistered {
        EventValidationError::no_schema(event_type)
    } else if read.failures.is_some() || !read.pointers.is_empty() {
        let messages = read.messages.iter().cloned().chain(std::iter::repeat(String::new()));
        let failures = read.pointers.iter().cloned().zip(messages);
        let kept: Vec<_> = failures.map(|(pointer, message)| SchemaFailure::told(pointer, message)).collect();
        let total = read.failures.unwrap_or(0).max(kept.len());
        EventValidationError::failed(event_type, kept, total)
    } else {
        return None;
    };
    Some(rejection.with_event(Arc::clone(event)))
}

impl EarlierText {
    fn of(failure: &EarlierFailure) -> Self {
        let EarlierFailure { at, attempts, error } = failure;
        EarlierText { at: raw(at.to_string()), attempts: *attempts, error: error.clone() }
    }

    fn read(self) -> Result<EarlierFailure, LetterParseError> {
        let at = Timestamp::parse_seconds(self.at.get())
            .map_err(|_| LetterParseError::Time("earlier_failures.at"))?;
        Ok(EarlierFailure { at, attempts: self.attempts, error: self.error })
    }
}

fn raw(json: String) -> Box<RawValue> {
    RawValue::from_string(json).expect("what was just written is JSON")
}

fn time(field: &'static str, text: Option<&RawValue>) -> Result<Option<Timestamp>, LetterParseError> {
    let text = text.filter(|text| text.get() != "null");
    text.map(|text| Timestamp::parse_seconds(text.get()))
        .transpose()
        .map_err(|_| LetterParseError::Time(field))
}
