//! What became of one event: gathered for a publisher who waits until all its deliveries are over.

use super::retry::{Tail, Timing};
use super::subscriber::Subscriber;
use super::time_limit::EventTimeoutError;
use crate::sync::{AtomicBool, Ordering, Signal};
use crossbeam_queue::SegQueue;
use std::sync::Arc;
use std::time::Duration;

/// What became of an event and its deliveries. Made by
/// [`EventBus::publish_and_wait`](crate::EventBus::publish_and_wait).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct DeliveryReport {
    pub(crate) sequence: u64,
    pub(crate) outcomes: Vec<DeliveryOutcome>,
    pub(crate) is_dropped: bool,
    pub(crate) is_complete: bool,
}

impl DeliveryReport {
    /// The publication's number.
    #[must_use]
    pub fn sequence(&self) -> u64 {
        self.sequence
    }

    /// One for each subscription whose turn came and whose filter said yes, in the order in which they ended.
    #[must_use]
    pub fn outcomes(&self) -> &[DeliveryOutcome] {
        &self.outcomes
    }

    /// Whether the event was discarded whole, before any turn: for want of room, or by a shutdown.
    #[must_use]
    pub fn is_dropped(&self) -> bool {
        self.is_dropped
    }

    /// Whether all deliveries are over. False only in a report that was made inside a handler, which must not wait.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.is_complete
    }

    /// Whether everyone who was to handle the event did.
    #[must_use]
    pub fn is_success(&self) -> bool {
        self.is_complete && !self.is_dropped && self.failures().next().is_none()
    }

    /// Those that did not succeed.
    pub fn failures(&self) -> impl Iterator<Item = &DeliveryOutcome> {
        self.outcomes.iter().filter(|outcome| !matches!(outcome.ending, DeliveryEnding::Succeeded))
    }
}

/// How one subscription's delivery ended.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct DeliveryOutcome {
    pub(crate) subscriber_id: String,
    pub(crate) ending: DeliveryEnding,
    pub(crate) attempts: u32,
    pub(crate) took: Duration,
    pub(crate) overran: Option<EventTimeoutError>,
}

impl DeliveryOutcome {
    /// Whose.
    #[must_use]
    pub fn subscriber_id(&self) -> &str {
        &self.subscriber_id
    }

    /// How it ended.
    #[must_use]
    pub fn ending(&self) -> &DeliveryEnding {
        &self.ending
    }

    /// How often the handler was tried.
    #[must_use]
    pub fn attempts(&self) -> u32 {
        self.attempts
    }

    /// How long the handler took at its last attempt.
    #[must_use]
    pub fn took(&self) -> Duration {
        self.took
    }

    /// Of a synchronous handler that took longer than its time limit: what was reported while it ran. It is not stopped,
    /// so the delivery ended as [`ending`](Self::ending) says.
    #[must_use]
    pub fn overran(&self) -> Option<&EventTimeoutError> {
        self.overran.as_ref()
    }
}

/// How a delivery ended.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DeliveryEnding {
    /// The handler succeeded.
    Succeeded,
    /// Every attempt failed: the last error and its sources, outermost first. The event is a dead letter.
    Failed(Vec<String>),
    /// At its last attempt the asynchronous handler took longer than its time limit. The event is a dead letter.
    TimedOut,
    /// There was no room in the mailbox.
    Dropped,
    /// Unsubscribed or shut down before it succeeded.
    Cancelled,
}

/// Gathers the outcomes.
#[derive(Debug, Default)]
pub(crate) struct Watch {
    /// At most one for each entry of the route.
    outcomes: SegQueue<DeliveryOutcome>,
    is_dropped: AtomicBool,
    is_over: AtomicBool,
    pub(crate) over: Signal,
}

impl Watch {
    pub(crate) fn is_over(&self) -> bool {
        self.is_over.load(Ordering::Acquire)
    }

    pub(super) fn end(&self) {
        self.is_over.store(true, Ordering::SeqCst);
        self.over.notify(usize::MAX);
    }

    /// The event was discarded before any turn.
    #[cfg(feature = "queued")]
    pub(super) fn drop_event(&self) {
        self.is_dropped.store(true, Ordering::Release);
        self.end();
    }

    pub(crate) fn report(&self, sequence: u64) -> DeliveryReport {
        let is_complete = self.is_over();
        let outcomes = std::iter::from_fn(|| self.outcomes.pop()).collect();
        let is_dropped = self.is_dropped.load(Ordering::Acquire);
        DeliveryReport { sequence, outcomes, is_dropped, is_complete }
    }
}

impl Tail {
    /// Notes how a delivery ended, if anybody wants to know.
    pub(super) fn note(&self, subscriber: &Arc<Subscriber>, outcome: impl FnOnce() -> Noted) {
        if let Some(watch) = &self.watch {
            let Noted { ending, attempts, timing: Timing { took, overran } } = outcome();
            let subscriber_id = subscriber.id().to_owned();
            watch.outcomes.push(DeliveryOutcome { subscriber_id, ending, attempts, took, overran });
        }
    }
}

/// A delivery's end, without whose it is.
pub(super) struct Noted {
    pub(super) ending: DeliveryEnding,
    pub(super) attempts: u32,
    pub(super) timing: Timing,
}
