//! What an asynchronous handler is handed.

use super::engine::Owner;
use super::retry::Late;
use super::subscriber::Subscriber;
use crate::event::Event;
use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

/// A [`Delivery`](crate::Delivery) that an asynchronous handler owns. Dereferences to the [`Event`].
#[derive(Clone)]
pub struct OwnedDelivery {
    event: Arc<Event>,
    sequence: u64,
    attempt: u32,
    pub(crate) subscriber: Arc<Subscriber>,
    pub(crate) owner: Arc<dyn Owner>,
}

impl OwnedDelivery {
    pub(super) fn new(late: &Late, owner: Arc<dyn Owner>) -> Self {
        OwnedDelivery {
            event: Arc::clone(&late.event),
            sequence: late.sequence,
            attempt: late.attempts + 1,
            subscriber: Arc::clone(&late.subscriber),
            owner,
        }
    }

    /// The event, to be kept or passed on by cloning the `Arc`.
    #[must_use]
    pub fn event(&self) -> &Arc<Event> {
        &self.event
    }

    /// The publication's number: 1 for the first event that the bus accepted.
    #[must_use]
    pub fn sequence(&self) -> u64 {
        self.sequence
    }

    /// 1 for the first attempt, 2 for the first retry.
    #[must_use]
    pub fn attempt(&self) -> u32 {
        self.attempt
    }

    /// The id of the subscription that this delivery is for.
    #[must_use]
    pub fn subscriber_id(&self) -> &str {
        self.subscriber.id()
    }
}

impl Deref for OwnedDelivery {
    type Target = Event;

    fn deref(&self) -> &Event {
        &self.event
    }
}

impl fmt::Debug for OwnedDelivery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OwnedDelivery")
            .field("event", &self.event)
            .field("sequence", &self.sequence)
            .field("attempt", &self.attempt)
            .field("subscriber_id", &self.subscriber_id())
            .finish()
    }
}
