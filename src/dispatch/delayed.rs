//! Events that are published later, when there is nobody left to be refused.

use super::awaited::Awaited;
use super::dead_letter::DeadLetter;
use super::engine::Engine;
use super::intercept::Interception;
#[cfg(any(feature = "queued", feature = "stream"))]
use super::later::Due;
use super::later::Work;
#[cfg(any(feature = "queued", feature = "stream"))]
use crate::clock::Deadline;
use crate::context;
use crate::event::{Event, EventPublishError, PublishErrorKind};
use crate::quiet::{drop_quietly, log};
use crate::timers::Ticket;
use std::any::Any;
use std::sync::Arc;
use std::time::Duration;

/// How long a delayed event waits before it looks for room again.
#[cfg(any(feature = "queued", feature = "stream"))]
const NEXT_LOOK_FOR_ROOM: Duration = Duration::from_millis(2);

/// An event that is to be published later.
#[derive(Debug)]
pub(crate) struct Delayed {
    pub(super) event: Arc<Event>,
    /// Keeps the bus open until then.
    hold: Arc<dyn Any + Send + Sync>,
    /// Once its time has come: who let it pass. It asks once, however often it looks for room.
    interception: Option<Interception>,
    /// Until when it may look for room, once its time has come.
    #[cfg(feature = "queued")]
    looks_until: Option<Deadline>,
    /// The same for room in feeds.
    #[cfg(feature = "stream")]
    looks_at_feeds_until: Option<Deadline>,
}

impl Delayed {
    pub(crate) fn new(event: Arc<Event>, hold: Arc<dyn Any + Send + Sync>) -> Box<Self> {
        Box::new(Delayed {
            event,
            hold,
            interception: None,
            #[cfg(feature = "queued")]
            looks_until: None,
            #[cfg(feature = "stream")]
            looks_at_feeds_until: None,
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
            _ => unreachable!("what went in comes back"),
        })
    }

    /// Takes back an event whose time has not come; false if somebody was faster.
    pub(crate) fn cancel_delayed(&self, ticket: Ticket) -> bool {
        let is_cancelled = self.later.cancel_event(ticket).is_some();
        self.tell_flushers();
        is_cancelled
    }

    /// Publishes an event whose time has come. Nobody waits for room here, so where the policy of the bus or of a
    /// feed is to wait, the event looks again until the limit; refused, it becomes a letter, since nobody is left to be handed
    /// it. One that meets a closed bus was not offered: whoever shuts the bus down reports it.
    #[cfg_attr(
        not(feature = "queued"),
        allow(unused_mut, clippy::boxed_local, reason = "there is always room")
    )]
    pub(super) fn publish_delayed(&self, mut delayed: Box<Delayed>) {
        if !self.table().is_open {
            return self.end_delayed_as_closed(*delayed);
        }
        if self.is_intercepted()
            && delayed.interception.is_none()
            && let Err(error) = self.intercept_delayed(&mut delayed)
        {
            return self.end_delayed(*delayed, Err(error));
        }
        #[cfg(feature = "stream")]
        let awaited = match self.look_for_room_in_feeds(&delayed.event) {
            Ok(awaited) => awaited.delayed(),
            Err(left) => {
                let until = *delayed.looks_at_feeds_until.get_or_insert_with(|| Deadline::after(left));
                if !until.is_past() {
                    return self.look_again_later(delayed);
                }
                Awaited::default().delayed()
            }
        };
        #[cfg(not(feature = "stream"))]
        let awaited = Awaited::default().delayed();
        let outcome = match self.publish_without_waiting(Arc::clone(&delayed.event), &awaited) {
            Ok(sequence) => Ok(sequence),
            #[cfg(feature = "queued")]
            Err(Refused::Full(limit)) => {
                let until = *delayed.looks_until.get_or_insert_with(|| Deadline::after(limit));
                if !until.is_past() {
                    return self.look_again_later(delayed);
                }
                let Some(queue) = &self.queue else { return };
                Err(self.refuse_full(queue, limit, Arc::clone(&delayed.event)))
            }
            Err(Refused::For(error)) => Err(error),
        };
        self.end_delayed(*delayed, outcome);
    }

    /// Lets an event that found no room wait a little. It comes back only if the bus was shut down meanwhile.
    #[cfg(any(feature = "queued", feature = "stream"))]
    fn look_again_later(&self, delayed: Box<Delayed>) {
        let refused = self.wait_for(NEXT_LOOK_FOR_ROOM, Due::Work(Work::Publish(delayed))).err();
        if let Some(Due::Work(Work::Publish(delayed))) = refused {
            self.end_delayed_as_closed(*delayed);
        }
    }

    /// Asks the interceptors about an event whose time has come, and the bus about what they made of it.
    #[cold]
    fn intercept_delayed(&self, delayed: &mut Delayed) -> Result<(), EventPublishError> {
        let (event, interception) = self.ask_interceptors(Arc::clone(&delayed.event), false)?;
        delayed.interception = Some(interception);
        self.let_go(std::mem::replace(&mut delayed.event, event));
        // Closed meanwhile, it is not offered even to its schema.
        if !self.table().is_open {
            let event = Arc::clone(&delayed.event);
            return Err(EventPublishError::new(PublishErrorKind::Closed, Some(event)));
        }
        let owner = self.owner.upgrade().expect("whoever publishes holds the bus");
        let checked = owner.check(Arc::clone(&delayed.event))?;
        self.let_go(std::mem::replace(&mut delayed.event, checked));
        Ok(())
    }

    fn end_delayed_as_closed(&self, delayed: Delayed) {
        let closed = EventPublishError::new(PublishErrorKind::Closed, Some(Arc::clone(&delayed.event)));
        self.end_delayed(delayed, Err(closed));
    }

    /// A delayed event was published, is left to whoever shuts the bus down, or is given up: nobody is left to be told why but
    /// its interceptors.
    fn end_delayed(&self, delayed: Delayed, outcome: Result<u64, EventPublishError>) {
        let Delayed { event, hold, interception, .. } = delayed;
        match &outcome {
            // Whoever published it has settled it.
            Ok(_) => {}
            Err(error) if matches!(error.kind(), PublishErrorKind::Closed) => {
                self.later.leave_unpublished(Arc::clone(&event));
            }
            Err(error) => {
                self.keep_refused(&event, error);
                self.later.settle_event();
            }
        }
        self.tell_flushers();
        if let Some(interception) = interception {
            interception.end(outcome.as_ref().copied());
        }
        if let Err(error) = outcome {
            self.after_pin();
            context::within_bus(self.key, || drop_quietly(error));
        }
        self.let_go(event);
        // If this was the last handle, the bus's own threads drain it, not this one.
        context::within_bus(self.key, || drop(hold));
    }

    /// Keeps an event that nobody is left to be handed back as a dead letter.
    pub(crate) fn keep_refused(&self, event: &Arc<Event>, error: &EventPublishError) {
        log(
            || tracing::warn!(event_type = event.event_type().as_str(), %error, "an event was refused that nobody takes back"),
        );
        // What its schema refused has a letter already.
        if !matches!(error.kind(), PublishErrorKind::Rejected(_)) {
            self.add_letter(DeadLetter::unpublished(event, error.to_string()));
        }
    }
}
