//! Why an event does not fit its schema.

use std::{error::Error, fmt, sync::Arc};

use super::{Event, EventType, PayloadError};

/// How many failures are kept; all are counted.
pub(crate) const FAILURES_MAX: usize = 1_000;
/// How long a failure's message may be, in bytes.
const MESSAGE_BYTES_MAX: usize = 1_024;

/// An event whose payload does not fit the schema of its type. Where it was on its way to a bus, it comes back.
#[derive(Clone)]
pub struct EventValidationError(Box<Invalid>);

#[derive(Clone)]
struct Invalid {
    event_type: EventType,
    reason: Reason,
    event: Option<Arc<Event>>,
}

#[derive(Debug, Clone)]
enum Reason {
    Failures { kept: Vec<SchemaFailure>, total: usize },
    NoSchema,
    Payload(PayloadError),
}

/// One place where a payload does not fit its schema.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SchemaFailure {
    pointer: String,
    message: String,
}

impl SchemaFailure {
    /// A message over 1 KiB is cut: it may quote the payload.
    pub(crate) fn new(pointer: impl Into<String>, message: impl Into<String>) -> Self {
        let mut message = message.into();
        if message.len() > MESSAGE_BYTES_MAX {
            message.truncate(message.floor_char_boundary(MESSAGE_BYTES_MAX));
            message.push_str("...");
        }
        Self { pointer: pointer.into(), message }
    }

    /// One that was told before, and cut then.
    pub(crate) fn told(pointer: String, message: String) -> Self {
        Self { pointer, message }
    }

    /// Where: a JSON pointer into the payload; empty is the payload itself.
    pub fn pointer(&self) -> &str {
        &self.pointer
    }

    /// What is wrong there.
    pub fn message(&self) -> &str {
        &self.message
    }
}

impl fmt::Display for SchemaFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.pointer.is_empty() {
            return f.write_str(&self.message);
        }
        write!(f, "{}: {}", self.pointer, self.message)
    }
}

impl EventValidationError {
    /// The payload fails its schema: the first failures, and how many there are in all.
    pub(crate) fn failed(event_type: EventType, mut kept: Vec<SchemaFailure>, total: usize) -> Self {
        kept.truncate(FAILURES_MAX);
        Self::new(event_type, Reason::Failures { kept, total })
    }

    /// A schema was required and there is none.
    pub(crate) fn no_schema(event_type: EventType) -> Self {
        Self::new(event_type, Reason::NoSchema)
    }

    /// The payload cannot become JSON, so no schema can judge it.
    pub(crate) fn payload(event_type: EventType, error: PayloadError) -> Self {
        Self::new(event_type, Reason::Payload(error))
    }

    fn new(event_type: EventType, reason: Reason) -> Self {
        Self(Box::new(Invalid { event_type, reason, event: None }))
    }

    pub(crate) fn with_event(mut self, event: Arc<Event>) -> Self {
        self.0.event = Some(event);
        self
    }

    /// The type whose schema it is.
    pub fn event_type(&self) -> &EventType {
        &self.0.event_type
    }

    /// Where it fails: the first 1,000 places.
    pub fn failures(&self) -> &[SchemaFailure] {
        match &self.0.reason {
            Reason::Failures { kept, .. } => kept,
            _ => &[],
        }
    }

    /// In how many places it fails.
    pub fn total(&self) -> usize {
        match self.0.reason {
            Reason::Failures { total, .. } => total,
            _ => 0,
        }
    }

    /// The JSON pointers of [`Self::failures`].
    pub fn pointers(&self) -> impl Iterator<Item = &str> {
        self.failures().iter().map(SchemaFailure::pointer)
    }

    /// Whether a schema was required and none is registered.
    pub fn is_unregistered(&self) -> bool {
        matches!(self.0.reason, Reason::NoSchema)
    }

    /// Why the payload could not become JSON, if that is what failed.
    pub fn payload_error(&self) -> Option<&PayloadError> {
        match &self.0.reason {
            Reason::Payload(error) => Some(error),
            _ => None,
        }
    }

    /// The event that was refused, when there was one on its way to a bus.
    pub fn event(&self) -> Option<&Arc<Event>> {
        self.0.event.as_ref()
    }

    /// Takes the event back.
    pub fn into_event(self) -> Option<Arc<Event>> {
        self.0.event
    }
}

impl fmt::Debug for EventValidationError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventValidationError")
            .field("event_type", &self.0.event_type)
            .field("reason", &self.0.reason)
            .finish_non_exhaustive()
    }
}

impl fmt::Display for EventValidationError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.0.event_type)?;
        match &self.0.reason {
            Reason::NoSchema => f.write_str("no schema is registered for this type"),
            Reason::Payload(error) => error.fmt(f),
            Reason::Failures { kept, total } => match kept.as_slice() {
                [] => f.write_str("the payload does not fit the schema"),
                [first, ..] if *total > 1 => write!(f, "{first} (and {} more)", total - 1),
                [first, ..] => first.fmt(f),
            },
        }
    }
}

impl Error for EventValidationError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.payload_error().map(|error| error as _)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_are_kept_up_to_a_limit_and_counted() {
        let failure = |n: usize| SchemaFailure::new(format!("/{n}"), "is wrong");
        let failed =
            |n| EventValidationError::failed(EventType::BuildStart, (0..n).map(failure).collect(), n);
        assert_eq!(failed(1).to_string(), "build.start: /0: is wrong");
        assert_eq!(failed(4).to_string(), "build.start: /0: is wrong (and 3 more)");
        let many = failed(FAILURES_MAX + 500);
        assert_eq!((many.failures().len(), many.total()), (FAILURES_MAX, FAILURES_MAX + 500));
        assert_eq!(many.pointers().last(), Some("/999"));
        assert_eq!(SchemaFailure::new("", "is wrong").to_string(), "is wrong");
    }

    #[test]
    fn a_long_message_is_cut_between_characters() {
        let cut = SchemaFailure::new("", format!("x{}", "\u{e9}".repeat(600)));
        assert_eq!(cut.message(), format!("x{}...", "\u{e9}".repeat(511)));
    }
}
