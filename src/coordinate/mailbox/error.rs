//! What may go wrong with a mailbox.

use crate::dispatch::policy::Overflow;
use crate::event::{Event, EventPublishError};
use crate::ids::InvalidText;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use thiserror::Error;

/// A mailbox that was not opened.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum MailboxError {
    /// The agent's id is none: empty, over 244 bytes, or with a control character.
    #[error(transparent)]
    InvalidId(#[from] InvalidText),
    /// The bus has as many as it may.
    #[error("{limit} mailboxes on this bus: the limit")]
    TooMany {
        /// How many it may have.
        limit: usize,
    },
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
    /// The agent has a mailbox with other settings than those asked for.
    #[error("the agent has a mailbox with room for {room} and the policy {overflow:?}")]
    OtherSettings {
        /// Its room.
        room: usize,
        /// Its policy.
        overflow: Overflow,
    },
    /// The bus has been shut down.
    #[error("the bus is shut down")]
    Closed,
}

/// A message that was not sent. It comes back, if it could be made.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct MailboxSendError {
    kind: MailboxSendErrorKind,
    event: Option<Arc<Event>>,
}

impl MailboxSendError {
    pub(super) fn new(kind: MailboxSendErrorKind, event: Option<Arc<Event>>) -> Self {
        MailboxSendError { kind, event }
    }

    /// Of a message that could not be made.
    pub(super) fn unmade(error: EventPublishError) -> Self {
        MailboxSendError::new(MailboxSendErrorKind::Publish(error), None)
    }

    /// Why.
    #[must_use]
    pub fn kind(&self) -> &MailboxSendErrorKind {
        &self.kind
    }

    /// The message.
    #[must_use]
    pub fn event(&self) -> Option<&Arc<Event>> {
        self.event.as_ref()
    }

    /// Takes the message back.
    #[must_use]
    pub fn into_event(self) -> Option<Arc<Event>> {
        self.event
    }
}

impl fmt::Display for MailboxSendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.kind.fmt(f)
    }
}

/// The display above is the inner error's own, so the chain goes on with what caused that one.
impl std::error::Error for MailboxSendError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.kind.source()
    }
}

/// Why a message was not sent.
#[derive(Clone, Debug, Error)]
#[non_exhaustive]
pub enum MailboxSendErrorKind {
    /// No place became free within the time of the policy, or none was free and nobody waits for one.
    #[error("the mailbox is full: {room} messages wait in it")]
    Full {
        /// How many it holds.
        room: usize,
        /// How long the sender waited: zero if the policy, or being inside a handler, forbids to wait.
        waited: Duration,
    },
    /// The event is not of the mailbox's type.
    #[error("the event is of another type than the mailbox's messages")]
    OtherType,
    /// The mailbox or its bus is closed.
    #[error("the mailbox is closed")]
    Closed,
    /// The message could not be made, or the bus did not take it.
    #[error(transparent)]
    Publish(EventPublishError),
}

/// No message was received.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum MailboxReceiveError {
    /// None came within the limit.
    #[error("no message came within the limit")]
    TimedOut,
    /// None was there, and the caller must not wait: it is inside code that the bus runs, or the bus is a manual one.
    #[error("waiting for a message from inside a handler, or of a manual bus, could last for ever")]
    WouldDeadlock,
    /// None was there, and none will come: the mailbox or its bus is closed.
    #[error("the mailbox is closed")]
    Closed,
}
