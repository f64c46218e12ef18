//! What became of a replay, so far and in the end.

use super::lines::LineError;
use crate::bus::Published;
use crate::event::EventPublishError;
use thiserror::Error;

/// How many refusals, and how many lines that are no events, a report tells of: the first. All are counted.
pub const REPLAY_ERRORS_MAX: usize = 16;

/// What became of one event or line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Replayed {
    /// The bus accepted it, under a new number.
    Published(Published),
    /// It was not asked for: its type, time or number.
    Skipped,
    /// The line is blank, and not counted.
    Blank,
    /// The replay was stopped before: the event was neither published nor counted.
    Stopped,
}

/// An event or a line that was not replayed.
#[derive(Clone, Debug, Error)]
#[non_exhaustive]
pub enum ReplayError {
    /// The bus refused it; the event comes back.
    #[error(transparent)]
    Refused(#[from] EventPublishError),
    /// The line is no event.
    #[error(transparent)]
    Line(#[from] LineError),
}

/// An event that the bus refused.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Refusal {
    /// On which line it stood, if it came from one.
    pub line: Option<u64>,
    /// The number of its first publication, if it has one.
    pub sequence: Option<u64>,
    /// Why; and the event.
    pub error: EventPublishError,
}

/// The figures of a replay. At any moment exactly `read = published + skipped + refused + malformed`.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct ReplayReport {
    /// Events, and lines that are not blank. One that was waiting for its time or for room when the replay ended is not
    /// among them: it comes next.
    pub read: u64,
    /// Accepted by the bus.
    pub published: u64,
    /// Not asked for: their type, time or number.
    pub skipped: u64,
    /// Refused by the bus: closed, no room by its policy, or a payload that does not fit its schema.
    pub refused: u64,
    /// Lines that are no events.
    pub malformed: u64,
    /// The first 16 events that were refused.
    pub refusals: Vec<Refusal>,
    /// The first 16 lines that are no events.
    pub malformed_lines: Vec<LineError>,
    /// How the latest run ended.
    pub ending: ReplayEnding,
}

/// How a run came to its end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum ReplayEnding {
    /// It did not: it goes on, was given up, or events are handed in one by one.
    #[default]
    Open,
    /// Everything was read.
    Complete,
    /// Somebody stopped it.
    Stopped,
    /// The bus was shut down; the event that it refused is counted, what comes after was not read.
    Closed,
}

impl ReplayReport {
    pub(super) fn malformed(&mut self, error: &LineError) {
        self.read += 1;
        self.malformed += 1;
        if self.malformed_lines.len() < REPLAY_ERRORS_MAX {
            self.malformed_lines.push(error.clone());
        }
    }

    pub(super) fn refused(&mut self, refusal: impl FnOnce() -> Refusal) {
        self.read += 1;
        self.refused += 1;
        if self.refusals.len() < REPLAY_ERRORS_MAX {
            self.refusals.push(refusal());
        }
    }
}
