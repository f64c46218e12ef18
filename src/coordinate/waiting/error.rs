//! Why a wait ended without its event.

use crate::error::{EventSubscriptionError, SubscriptionErrorKind};
use std::time::Duration;
use thiserror::Error;

/// A wait that ended without what was waited for.
#[derive(Clone, Debug, Error)]
#[non_exhaustive]
pub enum WaitError {
    /// The wait did not begin: the patterns are none.
    #[error(transparent)]
    Subscription(EventSubscriptionError),
    /// The limit was over first.
    #[error("nothing was heard within {limit:?}")]
    TimedOut {
        /// How long it was waited for.
        limit: Duration,
    },
    /// The bus was shut down first; or its subscription was ended from outside, by its id.
    #[error("the bus is shut down")]
    Closed,
    /// Called from a handler, filter or destructor that the same bus is running, or of a manual bus, which nobody would drive.
    #[error("a wait from inside a handler, or of a manual bus, would wait for itself")]
    WouldDeadlock,
    /// The bus has no room for another time limit.
    #[error("the bus has no room for another time limit")]
    NoTimer,
}

impl From<EventSubscriptionError> for WaitError {
    fn from(error: EventSubscriptionError) -> Self {
        match error.kind() {
            SubscriptionErrorKind::Closed => WaitError::Closed,
            _ => WaitError::Subscription(error),
        }
    }
}
