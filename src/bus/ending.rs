//! How a bus ended: what a shutdown reports.

use crate::dispatch::retry::Late;
use crate::event::Event;
use std::sync::Arc;

/// How a bus ended.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ShutdownReport {
    pub(super) pending: u64,
    pub(super) undelivered: Vec<UndeliveredEvent>,
    pub(super) unpublished: Vec<Arc<Event>>,
}

/// An event that was accepted and not handled to the end when its bus was shut down.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct UndeliveredEvent {
    event: Arc<Event>,
    pub(super) sequence: u64,
    subscriber_id: Option<String>,
    is_running: bool,
}

impl UndeliveredEvent {
    /// The event.
    #[must_use]
    pub fn event(&self) -> &Arc<Event> {
        &self.event
    }

    /// The number of its publication.
    #[must_use]
    pub fn sequence(&self) -> u64 {
        self.sequence
    }

    /// Whether a synchronous handler has the event at this moment. Nobody can stop it, so it may end later.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.is_running
    }

    /// Whose asynchronous handler had it or was to have it, or whose handler was to be tried again; none of an event that
    /// waited in its lane, or that is running.
    #[must_use]
    pub fn subscriber_id(&self) -> Option<&str> {
        self.subscriber_id.as_deref()
    }

    #[cfg(feature = "queued")]
    pub(super) fn unheard(event: Arc<Event>, sequence: u64, is_running: bool) -> Self {
        UndeliveredEvent { event, sequence, subscriber_id: None, is_running }
    }

    pub(super) fn of(late: &Late) -> Self {
        UndeliveredEvent {
            event: Arc::clone(&late.event),
            sequence: late.sequence,
            subscriber_id: Some(late.subscriber.id().to_owned()),
            is_running: false,
        }
    }
}

impl ShutdownReport {
    /// Events that were accepted and were not handled to the end when the limit was over; 0 after a complete shutdown.
    /// Those that a synchronous handler was handling at that moment are among them, and may end later. So are delayed events
    /// about which interceptors were being asked: nobody publishes them, and the next shutdown reports them.
    #[must_use]
    pub fn pending(&self) -> u64 {
        self.pending
    }

    /// What was given up, by sequence number: events that no handler had heard, which count as dropped; and deliveries that
    /// an asynchronous handler had or was to have, or that waited for another attempt, which count as cancelled. Among them
    /// is what workers are handling at this moment: it is not given up, since nobody can stop them.
    #[must_use]
    pub fn undelivered(&self) -> &[UndeliveredEvent] {
        &self.undelivered
    }

    /// Delayed events that were not published when the bus was closed. They were never offered, so no count includes them.
    /// Where interceptors had been asked already, it is what they made of it.
    #[must_use]
    pub fn unpublished(&self) -> &[Arc<Event>] {
        &self.unpublished
    }

    /// Whether everything that was accepted has been handled.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.pending == 0
    }
}
