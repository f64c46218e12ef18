//! Why a request has no answer.

use crate::bus::Recorded;
use crate::dispatch::watch::DeliveryReport;
use crate::event::{Event, EventPublishError};
use crate::ids::InvalidText;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use thiserror::Error;

/// A request without an answer. The request's event comes back, as it was published or was to be.
#[derive(Clone)]
#[non_exhaustive]
pub struct RequestError(Box<Unanswered>);

#[derive(Clone)]
struct Unanswered {
    kind: RequestErrorKind,
    request: Arc<Event>,
}

impl RequestError {
    pub(super) fn new(kind: RequestErrorKind, request: Arc<Event>) -> Self {
        RequestError(Box::new(Unanswered { kind, request }))
    }

    /// Why.
    #[must_use]
    pub fn kind(&self) -> &RequestErrorKind {
        &self.0.kind
    }

    /// The request's event.
    #[must_use]
    pub fn request(&self) -> &Arc<Event> {
        &self.0.request
    }
}

/// Why a request has no answer.
#[derive(Clone, Debug, Error)]
#[non_exhaustive]
pub enum RequestErrorKind {
    /// No answer within the limit.
    #[error("no answer within {limit:?}")]
    TimedOut {
        /// The limit.
        limit: Duration,
    },
    /// The request was published, and nobody heard it: no handler whose filter said yes, no reader of a feed or stream.
    /// Known as soon as its turns are over.
    #[error("nobody hears the request")]
    Unheard,
    /// The request was published, and all who heard it failed to handle it, retries included, or it was discarded before
    /// any turn. Known when the last delivery is over.
    #[error("nobody handled the request: {}", failures(report))]
    Failed {
        /// How the deliveries ended.
        report: DeliveryReport,
    },
    /// It was answered with an error.
    #[error("refused: {message}")]
    Refused {
        /// What the answer says.
        message: String,
        /// The answer.
        answer: Recorded,
    },
    /// The request was published, its answer was not there at once, and the caller must not wait: it is inside code that the
    /// bus runs, or the bus is a manual one.
    #[error("waiting for an answer from inside a handler, or of a manual bus, could last for ever")]
    WouldDeadlock,
    /// The bus was shut down before there was an answer.
    #[error("the bus is shut down")]
    Closed,
    /// A request with this id and type of answer waits already.
    #[error("a request with this event id is waiting for its answer")]
    AlreadyWaiting,
    /// As many requests wait as may.
    #[error("{limit} requests wait for their answers: the limit")]
    TooMany {
        /// How many may wait.
        limit: usize,
    },
    /// The type that the answer would have is none: over 256 bytes, or otherwise no name.
    #[error("no type for the answer: {0}")]
    ReplyType(InvalidText),
    /// The type that the answer is to have does not end with `.reply`.
    #[error("the type of an answer ends with .reply")]
    NoReplyType,
    /// The bus did not take the request.
    #[error(transparent)]
    Publish(EventPublishError),
}

fn failures(report: &DeliveryReport) -> String {
    if report.is_dropped() {
        return "it was discarded".to_owned();
    }
    let failed: Vec<&str> = report.failures().map(|outcome| outcome.subscriber_id()).take(8).collect();
    failed.join(", ")
}

impl From<InvalidText> for RequestErrorKind {
    fn from(invalid: InvalidText) -> Self {
        RequestErrorKind::ReplyType(invalid)
    }
}

impl fmt::Debug for RequestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequestError").field("kind", &self.0.kind).field("request", &self.0.request).finish()
    }
}

impl fmt::Display for RequestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.kind.fmt(f)
    }
}

/// The display above is the inner error's own, so the chain goes on with what caused that one.
impl std::error::Error for RequestError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.kind.source()
    }
}
