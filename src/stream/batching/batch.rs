//! What a handler of batches is handed, and what is kept of a batch that failed.

use crate::clock::Timestamp;
use crate::event::Event;
use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

/// Events that were added one after another, in that order; never none. Dereferences to a slice. Cheap to clone.
#[derive(Clone)]
pub struct Batch {
    contents: Arc<Contents>,
    attempt: u32,
}

struct Contents {
    number: u64,
    events: Vec<Arc<Event>>,
    trigger: BatchTrigger,
}

/// What made a batch go on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum BatchTrigger {
    /// It had as many events as a batch may have.
    Count,
    /// One more event would have made it too large, or it was as large as a batch may be.
    Bytes,
    /// Its first event had waited for the interval.
    Interval,
    /// Somebody waits: for the stream to be flushed or stopped, or for the bus that it is attached to to be quiet.
    Flush,
    /// It had failed for good, and is tried once more.
    Redrive,
}

impl Batch {
    pub(super) fn new(number: u64, events: Vec<Arc<Event>>, trigger: BatchTrigger) -> Self {
        Batch { contents: Arc::new(Contents { number, events, trigger }), attempt: 1 }
    }

    pub(super) fn at_attempt(&self, attempt: u32) -> Self {
        Batch { contents: Arc::clone(&self.contents), attempt }
    }

    /// The events, in the order they were added.
    #[must_use]
    pub fn events(&self) -> &[Arc<Event>] {
        &self.contents.events
    }

    /// The batch's number in its stream, which rises from batch to batch. A batch that is redriven gets a new one.
    #[must_use]
    pub fn number(&self) -> u64 {
        self.contents.number
    }

    /// 1 for the first attempt, 2 for the first retry.
    #[must_use]
    pub fn attempt(&self) -> u32 {
        self.attempt
    }

    /// What made it go on its way.
    #[must_use]
    pub fn trigger(&self) -> BatchTrigger {
        self.contents.trigger
    }
}

impl Deref for Batch {
    type Target = [Arc<Event>];

    fn deref(&self) -> &[Arc<Event>] {
        self.events()
    }
}

impl<'a> IntoIterator for &'a Batch {
    type Item = &'a Arc<Event>;
    type IntoIter = std::slice::Iter<'a, Arc<Event>>;

    fn into_iter(self) -> Self::IntoIter {
        self.events().iter()
    }
}

impl fmt::Debug for Batch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Batch")
            .field("number", &self.number())
            .field("events", &self.events())
            .field("trigger", &self.trigger())
            .field("attempt", &self.attempt)
            .finish()
    }
}

/// A batch whose every attempt failed. Holds the events and what went wrong, no closure.
#[derive(Clone, Debug)]
pub struct DeadBatch {
    pub(super) number: u64,
    pub(super) events: Vec<Arc<Event>>,
    pub(super) attempts: u32,
    pub(super) chain: Vec<String>,
    pub(super) first_failed_at: Timestamp,
    pub(super) last_failed_at: Timestamp,
    pub(super) redrives: u32,
}

impl DeadBatch {
    /// The batch's number: what [`BatchingStream::redrive`](super::BatchingStream::redrive) is called with.
    #[must_use]
    pub fn number(&self) -> u64 {
        self.number
    }

    /// The events, in the order they were added. Those that a bus had delivered are not among them: they are dead letters
    /// of that bus.
    #[must_use]
    pub fn events(&self) -> &[Arc<Event>] {
        &self.events
    }

    /// How often the handler was tried, redrives included.
    #[must_use]
    pub fn attempts(&self) -> u32 {
        self.attempts
    }

    /// The last error and its sources, outermost first; a panic's message begins with `panicked: `. At most 16 links of 4
    /// KiB each.
    #[must_use]
    pub fn error_chain(&self) -> &[String] {
        &self.chain
    }

    /// When the first attempt failed.
    #[must_use]
    pub fn first_failed_at(&self) -> Timestamp {
        self.first_failed_at
    }

    /// When the last attempt failed.
    #[must_use]
    pub fn last_failed_at(&self) -> Timestamp {
        self.last_failed_at
    }

    /// How often it was redriven in vain.
    #[must_use]
    pub fn redrives(&self) -> u32 {
        self.redrives
    }
}
