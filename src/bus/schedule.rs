//! Handing events in later.

use super::{Bus, EventBus};
use crate::dispatch::delayed::Delayed;
use crate::dispatch::later::WAITING_EVENTS_MAX;
use crate::event::{Event, EventPublishError, EventQueueError, PublishErrorKind};
use crate::timers::Ticket;
use std::fmt;
use std::sync::{Arc, Weak};
use std::time::Duration;

/// An event that will be published when its time comes. Dropping this changes nothing.
#[derive(Clone)]
pub struct ScheduledEvent {
    bus: Weak<Bus>,
    event: Arc<Event>,
    ticket: Ticket,
}

impl ScheduledEvent {
    /// The event, with the correlation that it will have.
    #[must_use]
    pub fn event(&self) -> &Arc<Event> {
        &self.event
    }

    /// Takes the event back. True if it will not be published; false if its time has come, or somebody was faster.
    pub fn cancel(&self) -> bool {
        self.bus.upgrade().is_some_and(|bus| bus.engine.cancel_delayed(self.ticket))
    }
}

impl fmt::Debug for ScheduledEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScheduledEvent").field("event", &self.event).finish_non_exhaustive()
    }
}

impl EventBus {
    /// Publishes an event that nobody takes back. Where there is no room for it at the moment, it is published when there is,
    /// as [`publish_later`](Self::publish_later) says; refused for good, it becomes a dead letter.
    pub(crate) fn publish_by_itself(&self, event: Event) {
        let refusal = match self.publish(event) {
            Ok(_) => return,
            Err(refusal) => refusal,
        };
        let is_full = matches!(refusal.kind(), PublishErrorKind::Full(_));
        let refusal = match refusal.event().filter(|_| is_full) {
            Some(event) => match self.publish_later(Arc::clone(event), Duration::ZERO) {
                Ok(_) => return,
                Err(refusal) => refusal,
            },
            None => refusal,
        };
        if let Some(event) = refusal.event() {
            self.bus.engine.keep_refused(event, &refusal);
        }
    }

    /// Publishes an event when `delay` has passed, on a thread of the bus's own. Its correlation and causation are those of
    /// this call's surroundings; a bus that validates does so now, interceptors are asked when its time comes. A pending event costs memory and no thread, and keeps the
    /// bus open as a handle does. A [`shutdown`](Self::shutdown) before its time reports it.
    ///
    /// When its time comes there is nobody to be refused: where a lane has no room, it waits for some as the bus's policy
    /// lets a publisher wait; refused for good, it becomes a dead letter.
    ///
    /// # Errors
    /// What [`publish`](Self::publish) would refuse now; 1,048,576 events that wait already. The event comes back in the error.
    pub fn publish_later(
        &self,
        event: impl Into<Arc<Event>>,
        delay: Duration,
    ) -> Result<ScheduledEvent, EventPublishError> {
        let event = self.bus.checked_by_default(event.into())?;
        let (event, _) = self.bus.engine.stamped(event)?;
        let engine = &self.bus.engine;
        if !engine.table().is_open {
            return Err(EventPublishError::new(PublishErrorKind::Closed, Some(event)));
        }
        let hold = Arc::clone(&self.handle) as _;
        match engine.publish_later(delay, Delayed::new(Arc::clone(&event), hold)) {
            // Closed since the look above, and nobody has taken the event back to report it.
            Ok(ticket) if !engine.table().is_open && engine.cancel_delayed(ticket) => {
                Err(EventPublishError::new(PublishErrorKind::Closed, Some(event)))
            }
            Ok(ticket) => Ok(ScheduledEvent { bus: Arc::downgrade(&self.bus), event, ticket }),
            Err(_) if engine.later.is_stopped() => {
                Err(EventPublishError::new(PublishErrorKind::Closed, Some(event)))
            }
            Err(_) => {
                let full = EventQueueError::new(WAITING_EVENTS_MAX, Duration::ZERO);
                Err(EventPublishError::new(PublishErrorKind::Full(full), Some(event)))
            }
        }
    }
}
