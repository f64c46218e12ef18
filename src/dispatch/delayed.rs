//! Events that are published later, when there is nobody left to be refused.

use super::dead_letter::DeadLetter;
use super::engine::Engine;
use super::later::Work;
#[cfg(feature = "queued")]
use crate::clock::Deadline;
use crate::context;
use crate::event::{Event, EventPublishError};
use crate::quiet::log;
use crate::timers::Ticket;
use std::any::Any;
use std::sync::Arc;
use std::time::Duration;

/// How long a delayed event waits before it looks for room again.
#[cfg(feature = "queued")]
const NEXT_LOOK_FOR_ROOM: Duration = Duration::from_millis(2);

/// An event that is to be published later.
#[derive(Debug)]
pub(crate) struct Delayed {
    pub(super) event: Arc<Event>,
    /// Keeps the bus open until then.
    hold: Arc<dyn Any + Send + Sync>,
    /// Until when it may look for room, once its time has come.
    #[cfg(feature = "queued")]
    looks_until: Option<Deadline>,
}

impl Delayed {
    pub(crate) fn new(event: Arc<Event>, hold: Arc<dyn Any + Send + Sync>) -> Box<Self> {
        Box::new(Delayed {
            event,
            hold,
            #[cfg(feature = "queued")]
            looks_until: None,
        })
    }

    /// It will not be published.
    pub(crate) fn into_event(self) -> Arc<Event> {
        self.event
    }
}

/// Why an event was not published at once.
pub(super) enum Refused {
    /// There may be room later; how long one may wait for it.
    #[cfg(feature = "queued")]
    Full(Duration),
    For(EventPublishError),
}

impl Engine {
    /// Lets an event wait until it is published. It comes back if there is no room to wait.
    pub(crate) fn publish_later(
        &self,
        wait: Duration,
        delayed: Box<Delayed>,
    ) -> Result<Ticket, Box<Delayed>> {
        self.let_wait(wait, Work::Publish(delayed)).map_err(|work| match work {
            Work::Publish(delayed) => delayed,
            Work::Retry(_) => unreachable!("what went in comes back"),
        })
    }

    /// Publishes an event whose time has come. Nobody waits for room here, so where the bus's policy is to wait, the event
    /// looks again until the limit; refused, it becomes a letter, since nobody is left to be handed it.
    #[cfg_attr(
        not(feature = "queued"),
        allow(unused_mut, clippy::boxed_local, reason = "there is always room")
    )]
    pub(super) fn publish_delayed(&self, mut delayed: Box<Delayed>) {
        match self.publish_without_waiting(Arc::clone(&delayed.event)) {
            Ok(_) => {}
            #[cfg(feature = "queued")]
            Err(Refused::Full(limit)) => {
                let until = *delayed.looks_until.get_or_insert_with(|| Deadline::after(limit));
                if !until.is_past() {
                    match self.publish_later(NEXT_LOOK_FOR_ROOM, delayed) {
                        Ok(_) => return,
                        Err(back) => delayed = back,
                    }
                }
                if let Some(queue) = &self.queue {
                    let error = self.refuse_full(queue, limit, Arc::clone(&delayed.event));
                    self.give_up_event(&delayed.event, &error);
                }
            }
            Err(Refused::For(error)) => self.give_up_event(&delayed.event, &error),
        }
        let Delayed { event, hold, .. } = *delayed;
        self.let_go(event);
        // If this was the last handle, the bus's own threads drain it, not this one.
        context::within_bus(self.key, || drop(hold));
    }

    fn give_up_event(&self, event: &Arc<Event>, error: &EventPublishError) {
        log(
            || tracing::warn!(event_type = event.event_type().as_str(), %error, "a delayed event was refused"),
        );
        self.add_letter(DeadLetter::unpublished(event, error.to_string()));
        self.after_pin();
    }
}
