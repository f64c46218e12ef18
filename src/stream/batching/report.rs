//! What a stream of batches says of itself: refusals, counts, and how it was stopped.

use crate::event::Event;
use std::sync::Arc;
use thiserror::Error;

/// An event that was not added. It comes back with the reason.
#[derive(Clone, Debug, Error)]
#[error("{kind}")]
pub struct BatchAddError {
    kind: BatchAddErrorKind,
    event: Arc<Event>,
}

/// Why an event was not added.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum BatchAddErrorKind {
    /// As many events as may are waiting to be handled, and nobody made room in time. In the stream's own handler, and in
    /// others of the bus that it is attached to, nobody waits for room: it might never come.
    #[error("the stream is full: {room} events wait in it")]
    Full {
        /// How many may.
        room: usize,
    },
    /// The stream was stopped.
    #[error("the stream is stopped")]
    Stopped,
}

impl BatchAddError {
    pub(super) fn new(kind: BatchAddErrorKind, event: Arc<Event>) -> Self {
        BatchAddError { kind, event }
    }

    /// Why.
    #[must_use]
    pub fn kind(&self) -> BatchAddErrorKind {
        self.kind
    }

    /// The event.
    #[must_use]
    pub fn event(&self) -> &Arc<Event> {
        &self.event
    }

    /// The event, to be added again or elsewhere.
    #[must_use]
    pub fn into_event(self) -> Arc<Event> {
        self.event
    }
}

/// A batch that was not redriven.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum RedriveBatchError {
    /// None of this number is kept.
    #[error("no dead batch has the number {number}")]
    NoSuchBatch {
        /// The number.
        number: u64,
    },
    /// There is no room for its events; it stays.
    #[error("the stream is full: {room} events may wait in it")]
    Full {
        /// How many may wait.
        room: usize,
    },
    /// The stream was stopped; the batch stays.
    #[error("the stream is stopped")]
    Stopped,
}

/// The counts of a stream of batches, all of one moment. At each, `added = delivered + dead + dropped + pending`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct BatchStats {
    /// Events accepted: added, heard from a bus, or redriven.
    pub added: u64,
    /// Events refused: the stream was full or stopped.
    pub refused: u64,
    /// Events in batches that were handled.
    pub delivered: u64,
    /// Events in batches that failed for good.
    pub dead: u64,
    /// Events given up before they were handled: by a stop whose limit was over, by the end of the bus, or because a bus
    /// had given up their delivery.
    pub dropped: u64,
    /// Events that wait, or are being handled.
    pub pending: u64,
    /// Batches that were handled.
    pub batches_delivered: u64,
    /// Batches that failed for good.
    pub batches_dead: u64,
    /// Attempts after the first one of a batch.
    pub retries: u64,
    /// Dead batches that are kept.
    pub dead_kept: u64,
    /// Dead batches that made room for newer ones, or that a limit of 0 did not keep.
    pub dead_evicted: u64,
}

/// How a stream of batches was stopped.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct BatchStopReport {
    pub(super) undelivered: Vec<Arc<Event>>,
    pub(super) pending: u64,
}

impl BatchStopReport {
    /// Events that had been added and were given up when the limit was over, in order; they count as dropped. Those that a
    /// bus had delivered are not among them: they are dead letters of that bus.
    #[must_use]
    pub fn undelivered(&self) -> &[Arc<Event>] {
        &self.undelivered
    }

    /// How many events are not settled yet: those of the batch that is being handled, which goes on, and, if the stream was
    /// stopped by its own handler, those that wait.
    #[must_use]
    pub fn pending(&self) -> u64 {
        self.pending
    }

    /// Whether everything that was accepted has been handled.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.undelivered.is_empty() && self.pending == 0
    }
}

/// Why the deliveries of a bus that were in one batch failed.
#[derive(Clone, Debug, Error)]
pub(super) enum BatchFailure {
    #[error("a batch of {events} events failed, attempts: {attempts}")]
    Failed { events: usize, attempts: u32, source: Link },
    #[error("the batching stream gave it up before it was handled")]
    GivenUp,
    #[error("the batching stream is stopped")]
    Stopped,
}

/// A link of an error chain, as a text with the rest of the chain behind it.
#[derive(Clone, Debug, Error)]
#[error("{text}")]
pub(super) struct Link {
    text: String,
    source: Option<Box<Link>>,
}

impl Link {
    pub(super) fn of(chain: &[String]) -> Self {
        let mut links = chain.iter().rev().cloned();
        let last = Link { text: links.next().unwrap_or_default(), source: None };
        links.fold(last, |source, text| Link { text, source: Some(Box::new(source)) })
    }
}
