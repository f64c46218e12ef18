//! Every error of the bus, and their union.

use crate::bus::{AlreadySet, FlushError, StillRunning};
use crate::clock::InvalidTimestamp;
use crate::config::ConfigError;
use crate::dispatch::dead_letter::LetterParseError;
use crate::dispatch::time_limit::EventTimeoutError;
use crate::event::{
    Event, EventParseError, EventPublishError, EventQueueError, EventValidationError, PayloadError,
};
use crate::ids::InvalidText;
use crate::matcher::PatternError;
#[cfg(feature = "schema")]
use crate::schema::EventSchemaError;
use std::sync::Arc;
use thiserror::Error;

/// A subscription that was not made.
#[derive(Clone, Debug, Error)]
#[error(transparent)]
pub struct EventSubscriptionError(Box<SubscriptionErrorKind>);

impl EventSubscriptionError {
    /// Why.
    #[must_use]
    pub fn kind(&self) -> &SubscriptionErrorKind {
        &self.0
    }
}

impl From<SubscriptionErrorKind> for EventSubscriptionError {
    fn from(kind: SubscriptionErrorKind) -> Self {
        EventSubscriptionError(Box::new(kind))
    }
}

/// Why a subscription was not made.
#[derive(Clone, Debug, PartialEq, Error)]
#[non_exhaustive]
pub enum SubscriptionErrorKind {
    /// The list of patterns is empty.
    #[error("a subscription needs at least one pattern")]
    NoPatterns,
    /// There are too many patterns.
    #[error("{given} patterns: at most {limit} are allowed")]
    TooManyPatterns {
        /// How many were given.
        given: usize,
        /// How many may be.
        limit: usize,
    },
    /// A pattern is none.
    #[error(transparent)]
    Pattern(PatternError),
    /// Another live subscription has this id; it stays.
    #[error("the subscriber_id {id:?} is in use")]
    IdInUse {
        /// The id.
        id: String,
    },
    /// The id is not one.
    #[error(transparent)]
    InvalidId(InvalidText),
    /// A handler is tried at least once.
    #[error("attempts must be at least 1")]
    NoAttempts,
    /// A setting is too small or too large.
    #[error("{setting}={value}: must be from 1 to {most}")]
    OutOfRange {
        /// The builder's method.
        setting: &'static str,
        /// What it was called with.
        value: usize,
        /// The most that it takes.
        most: usize,
    },
    /// A synchronous handler has no mailbox.
    #[error("{setting} is for asynchronous handlers")]
    NotAsync {
        /// The builder's method.
        setting: &'static str,
    },
    /// No thread for asynchronous handlers could be started.
    #[error("no runtime for asynchronous handlers: {reason}")]
    NoRuntime {
        /// Why.
        reason: String,
    },
    /// The bus has been shut down.
    #[error("the bus is shut down")]
    Closed,
}

/// A handler that failed at every attempt.
#[derive(Clone, Debug, Error)]
#[error("{subscriber_id} failed at {}: {}", event.event_type(), chain.first().map_or("", String::as_str))]
#[non_exhaustive]
pub struct EventHandlerError {
    subscriber_id: String,
    event: Arc<Event>,
    attempts: u32,
    chain: Vec<String>,
}

impl EventHandlerError {
    pub(crate) fn new(subscriber_id: String, event: Arc<Event>, attempts: u32, chain: Vec<String>) -> Self {
        EventHandlerError { subscriber_id, event, attempts, chain }
    }

    /// Whose handler.
    #[must_use]
    pub fn subscriber_id(&self) -> &str {
        &self.subscriber_id
    }

    /// The event that it was handed.
    #[must_use]
    pub fn event(&self) -> &Arc<Event> {
        &self.event
    }

    /// How often it was tried, redrives included.
    #[must_use]
    pub fn attempts(&self) -> u32 {
        self.attempts
    }

    /// The last error and its sources, outermost first.
    #[must_use]
    pub fn error_chain(&self) -> &[String] {
        &self.chain
    }
}

/// A dead letter that could not be redriven. It stays, or is back, in the dead-letter queue.
#[derive(Clone, Debug, Error)]
#[non_exhaustive]
pub enum EventDeliveryError {
    /// The subscription that failed has ended, so nobody may be handed the letter.
    #[error("letter {letter}: the subscription {subscriber_id:?} is gone")]
    SubscriptionGone {
        /// The letter's id.
        letter: u64,
        /// The subscription's label.
        subscriber_id: String,
    },
    /// The handler failed again; the letter is back, under the id `letter`.
    #[error(transparent)]
    Failed(EventHandlerError),
    /// The event was not accepted by the bus.
    #[error(transparent)]
    Refused(EventPublishError),
    /// The letter was redriven from within too many nested publishes.
    #[error("letter {letter}: too many nested publishes on this thread")]
    TooDeep {
        /// The letter's id.
        letter: u64,
    },
    /// There is no such letter: never made, evicted, redriven or purged.
    #[error("there is no letter {letter}")]
    NoSuchLetter {
        /// The id asked for.
        letter: u64,
    },
}

/// Any error of the bus.
#[derive(Clone, Debug, Error)]
#[non_exhaustive]
pub enum EventError {
    /// An event was not made or not accepted.
    #[error(transparent)]
    Publish(#[from] EventPublishError),
    /// A subscription was not made.
    #[error(transparent)]
    Subscription(#[from] EventSubscriptionError),
    /// A handler failed.
    #[error(transparent)]
    Handler(#[from] EventHandlerError),
    /// A handler took too long.
    #[error(transparent)]
    Timeout(#[from] EventTimeoutError),
    /// A wait was over before what was waited for.
    #[error(transparent)]
    StillRunning(#[from] StillRunning),
    /// A bounded queue had no room.
    #[error(transparent)]
    Queue(#[from] EventQueueError),
    /// A wait for quiet that did not end in quiet.
    #[error(transparent)]
    Flush(#[from] FlushError),
    /// A payload does not satisfy its schema.
    #[error(transparent)]
    Validation(#[from] EventValidationError),
    /// A dead letter could not be redriven.
    #[error(transparent)]
    Delivery(#[from] EventDeliveryError),
    /// A text is not an event.
    #[error(transparent)]
    Parse(#[from] EventParseError),
    /// A text is not a dead letter.
    #[error(transparent)]
    Letter(#[from] LetterParseError),
    /// A payload is not what it was taken for.
    #[error(transparent)]
    Payload(#[from] PayloadError),
    /// A glob is none.
    #[error(transparent)]
    Pattern(#[from] PatternError),
    /// A schema is none.
    #[cfg(feature = "schema")]
    #[error(transparent)]
    Schema(#[from] EventSchemaError),
    /// A setting cannot be used.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A text is not a time.
    #[error(transparent)]
    Timestamp(#[from] InvalidTimestamp),
    /// The process-wide bus cannot be set any more.
    #[error(transparent)]
    AlreadySet(#[from] AlreadySet),
}

/// A name, source or id that is none is the reason why an event is not made.
impl From<InvalidText> for EventError {
    fn from(invalid: InvalidText) -> Self {
        EventError::Publish(invalid.into())
    }
}
