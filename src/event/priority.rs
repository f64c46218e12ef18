//! How urgent an event is.
//!
//! Seven names without an order: `monitoring` is last in the queue yet not the least important, so `<` would mislead.
//! The queues have bands instead.

use serde::{Serialize, Serializer};
use std::{fmt, str::FromStr};

use thiserror::Error;

/// How urgent an event is. It decides the band that a queued event waits in; inline dispatch ignores it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum EventPriority {
    /// For those who look for a fault.
    Debug,
    /// For the curious.
    Info,
    /// Unless told otherwise.
    #[default]
    Normal,
    /// Something may go wrong.
    Warning,
    /// Something went wrong.
    Error,
    /// Overtakes whatever is waiting.
    Critical,
    /// Numbers about the system itself: they wait until nothing else does.
    Monitoring,
}

impl EventPriority {
    /// All of them.
    pub const ALL: [EventPriority; 7] = [
        EventPriority::Debug,
        EventPriority::Info,
        EventPriority::Normal,
        EventPriority::Warning,
        EventPriority::Error,
        EventPriority::Critical,
        EventPriority::Monitoring,
    ];

    /// The name on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            EventPriority::Debug => "debug",
            EventPriority::Info => "info",
            EventPriority::Normal => "normal",
            EventPriority::Warning => "warning",
            EventPriority::Error => "error",
            EventPriority::Critical => "critical",
            EventPriority::Monitoring => "monitoring",
        }
    }

    /// The priority that older writers put as a number: 0 normal, 1 warning, 2 critical.
    pub const fn from_number(number: u64) -> Option<Self> {
        match number {
            0 => Some(EventPriority::Normal),
            1 => Some(EventPriority::Warning),
            2 => Some(EventPriority::Critical),
            _ => None,
        }
    }
}

impl Serialize for EventPriority {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl fmt::Display for EventPriority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for EventPriority {
    type Err = UnknownPriority;

    fn from_str(name: &str) -> Result<Self, UnknownPriority> {
        Self::ALL.into_iter().find(|priority| priority.as_str() == name).ok_or(UnknownPriority)
    }
}

impl TryFrom<&str> for EventPriority {
    type Error = UnknownPriority;

    fn try_from(name: &str) -> Result<Self, UnknownPriority> {
        name.parse()
    }
}

/// A text or number that is none of the seven priorities.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("priority must be one of debug, info, normal, warning, error, critical, monitoring")]
#[non_exhaustive]
pub struct UnknownPriority;
