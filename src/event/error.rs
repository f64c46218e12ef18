//! Why an event was not published.

use std::{error::Error, fmt, sync::Arc, time::Duration};

use thiserror::Error as ThisError;

use super::{Event, EventType, EventValidationError, PayloadError};
use crate::ids::InvalidText;

/// An event that was not made or not accepted. Where there was an event, it comes back.
#[derive(Clone)]
pub struct EventPublishError(Box<Refused>);

#[derive(Clone)]
struct Refused {
    kind: PublishErrorKind,
    event: Option<Arc<Event>>,
}

impl EventPublishError {
    pub(crate) fn new(kind: PublishErrorKind, event: Option<Arc<Event>>) -> Self {
        Self(Box::new(Refused { kind, event }))
    }

    /// Why.
    pub fn kind(&self) -> &PublishErrorKind {
        &self.0.kind
    }

    /// The event that was refused; none if it could not even be made.
    pub fn event(&self) -> Option<&Arc<Event>> {
        self.0.event.as_ref()
    }

    /// Takes the event back.
    pub fn into_event(self) -> Option<Arc<Event>> {
        self.0.event
    }
}

/// Why an event was not made or not accepted.
#[derive(Debug, Clone, ThisError)]
#[non_exhaustive]
pub enum PublishErrorKind {
    /// A name, source or id may not be one.
    #[error("{0}")]
    Invalid(InvalidText),
    /// The payload or the metadata cannot be JSON.
    #[error("{0}")]
    Payload(PayloadError),
    /// The constructor makes a payload that the event type's standard schema does not allow.
    #[error("{0} has a payload of another shape")]
    WrongShape(EventType),
    /// The bus has been shut down.
    #[error("the bus is shut down")]
    Closed,
    /// Handlers published from handlers too often.
    #[error("{limit} nested publishes on this thread: the limit")]
    TooDeep {
        /// How many may nest.
        limit: usize,
    },
    /// There was no room in the event's queue.
    #[error("{0}")]
    Full(EventQueueError),
    /// The payload does not fit its schema.
    #[error("{0}")]
    Rejected(EventValidationError),
    /// An interceptor around publishing refused the event.
    #[error("an interceptor refused the event: {0}")]
    Intercepted(InterceptionError),
}

/// Why an interceptor refused an event: the error that it gave, or its panic.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct InterceptionError {
    /// In words that are safe to print: the interceptor's own `Display` may panic.
    text: Arc<str>,
    reason: Arc<dyn Error + Send + Sync>,
}

impl InterceptionError {
    pub(crate) fn new(reason: Box<dyn Error + Send + Sync>) -> Self {
        let reason: Arc<dyn Error + Send + Sync> = reason.into();
        let told = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| reason.to_string()));
        let text = told.unwrap_or_else(|panic| {
            std::mem::forget(panic);
            "an error whose Display panicked".to_owned()
        });
        InterceptionError { text: text.into(), reason }
    }

    /// The interceptor's own error; of a panic, a [`HandlerPanic`](crate::HandlerPanic).
    pub fn reason(&self) -> &(dyn Error + Send + Sync + 'static) {
        self.reason.as_ref()
    }

    /// The interceptor's own error, if it is an `E`.
    pub fn downcast_ref<E: Error + 'static>(&self) -> Option<&E> {
        self.reason.downcast_ref()
    }
}

impl fmt::Display for InterceptionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Error for InterceptionError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(self.reason.as_ref())
    }
}

/// A bounded queue had no room.
#[derive(Clone, Debug, PartialEq, Eq, ThisError)]
#[error("the queue is full: {capacity} events wait in it{}", waited_text(*waited))]
#[non_exhaustive]
pub struct EventQueueError {
    capacity: usize,
    waited: Duration,
}

impl EventQueueError {
    pub(crate) fn new(capacity: usize, waited: Duration) -> Self {
        EventQueueError { capacity, waited }
    }

    /// How many events the queue holds: one lane's band, or the delayed events of a bus.
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// How long the publisher waited for room: zero if the queue's policy, or being inside a handler, forbids to wait.
    pub fn waited(&self) -> Duration {
        self.waited
    }
}

fn waited_text(waited: Duration) -> String {
    if waited.is_zero() { String::new() } else { format!(", after a wait of {waited:?}") }
}

impl From<InvalidText> for EventPublishError {
    fn from(invalid: InvalidText) -> Self {
        Self::new(PublishErrorKind::Invalid(invalid), None)
    }
}

impl From<PayloadError> for EventPublishError {
    fn from(error: PayloadError) -> Self {
        Self::new(PublishErrorKind::Payload(error), None)
    }
}

impl fmt::Debug for EventPublishError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventPublishError").field("kind", &self.0.kind).field("event", &self.0.event).finish()
    }
}

impl fmt::Display for EventPublishError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.kind.fmt(f)
    }
}

/// The display above is the inner error's own, so the chain goes on with what caused that one.
impl Error for EventPublishError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match &self.0.kind {
            PublishErrorKind::Invalid(invalid) => Some(invalid),
            PublishErrorKind::Payload(error) => Some(error),
            PublishErrorKind::Full(error) => Some(error),
            PublishErrorKind::Rejected(error) => Some(error),
            PublishErrorKind::Intercepted(error) => error.source(),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_says_why_and_hands_the_event_back() {
        let event = Arc::new(Event::builder("a", "b").build().unwrap());
        let rejected = EventValidationError::no_schema(EventType::Custom);
        let cases = [
            (PublishErrorKind::Closed, "the bus is shut down"),
            (PublishErrorKind::TooDeep { limit: 64 }, "64 nested publishes on this thread: the limit"),
            (PublishErrorKind::Rejected(rejected), "custom: no schema is registered for this type"),
        ];
        for (kind, message) in cases {
            let error = EventPublishError::new(kind, Some(Arc::clone(&event)));
            assert_eq!(error.to_string(), message);
            assert!(Arc::ptr_eq(error.event().unwrap(), &event));
            assert!(Arc::ptr_eq(&error.into_event().unwrap(), &event));
        }
        assert_eq!(size_of::<EventPublishError>(), size_of::<usize>());
    }
}
