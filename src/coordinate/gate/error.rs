//! Why there is no gate, or why it is not open.

use super::state::PRECONDITIONS_MAX;
use crate::coordinate::waiting::WaitError;
use crate::error::{EventSubscriptionError, SubscriptionErrorKind};
use crate::ids::InvalidText;
use thiserror::Error;

/// A gate that was not made, or did not open.
#[derive(Clone, Debug, Error)]
#[non_exhaustive]
pub enum GateError {
    /// It has no precondition.
    #[error("a gate needs at least one precondition")]
    NoPreconditions,
    /// It has too many.
    #[error("{given} preconditions: at most {PRECONDITIONS_MAX} are allowed")]
    TooManyPreconditions {
        /// How many were given.
        given: usize,
    },
    /// Two preconditions have the same name.
    #[error("two preconditions are called {name:?}")]
    SameName {
        /// The name.
        name: String,
    },
    /// A name of the gate, of a precondition or of an event is none.
    #[error(transparent)]
    InvalidName(InvalidText),
    /// There is to be room for too few keys, or for too many.
    #[error("room for {given} keys: must be from 1 to {most}")]
    KeysOutOfRange {
        /// For how many.
        given: usize,
        /// The most that there may be.
        most: usize,
    },
    /// The patterns of a precondition are none.
    #[error(transparent)]
    Subscription(EventSubscriptionError),
    /// The bus has no room for another time limit.
    #[error("the bus has no room for another time limit")]
    NoTimer,
    /// The gate's own time is up: it will not open any more.
    #[error("the gate's time is up; not seen: {}", missing.join(", "))]
    TimedOut {
        /// The names of the preconditions that were not seen.
        missing: Vec<String>,
    },
    /// The limit of this wait was over first; the gate may still open.
    #[error("the gate is not open yet; not seen: {}", missing.join(", "))]
    NotYet {
        /// The names of the preconditions that were not seen so far.
        missing: Vec<String>,
    },
    /// The gate or its bus has ended.
    #[error("the gate has ended")]
    Closed,
    /// Not open, and asked to wait from a handler, filter or destructor that the same bus is running, or of a manual bus.
    #[error("a wait from inside a handler, or of a manual bus, would wait for itself")]
    WouldDeadlock,
}

impl GateError {
    /// Of a wait at a gate that misses what `missing` says.
    pub(super) fn of_wait(error: WaitError, missing: impl FnOnce() -> Vec<String>) -> Self {
        match error {
            WaitError::TimedOut { .. } => GateError::NotYet { missing: missing() },
            WaitError::WouldDeadlock => GateError::WouldDeadlock,
            WaitError::NoTimer => GateError::NoTimer,
            WaitError::Subscription(error) => GateError::Subscription(error),
            WaitError::Closed => GateError::Closed,
        }
    }
}

impl From<EventSubscriptionError> for GateError {
    fn from(error: EventSubscriptionError) -> Self {
        match error.kind() {
            SubscriptionErrorKind::Closed => GateError::Closed,
            _ => GateError::Subscription(error),
        }
    }
}

impl From<InvalidText> for GateError {
    fn from(invalid: InvalidText) -> Self {
        GateError::InvalidName(invalid)
    }
}
