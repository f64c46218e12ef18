//! Handing events to the bus.

#[cfg(feature = "schema")]
use super::Validation;
use super::{Bus, EventBus};
use crate::context;
use crate::dispatch::awaited::Told;
#[cfg(feature = "schema")]
use crate::dispatch::dead_letter::DeadLetter;
use crate::dispatch::watch::{DeliveryReport, Watch};
#[cfg(feature = "schema")]
use crate::error::EventError;
use crate::event::{Event, EventPublishError};
#[cfg(feature = "schema")]
use crate::event::{EventType, EventValidationError, PublishErrorKind};
use std::sync::Arc;

/// An event that the bus accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Published {
    sequence: u64,
}

impl Published {
    /// The publication's number: 1 for the first event that the bus accepted, without gaps.
    #[must_use]
    pub fn sequence(self) -> u64 {
        self.sequence
    }
}

impl EventBus {
    /// Publishes an event to all who hear it. Inline, it returns when they have handled it; a queued bus puts it in its
    /// lane and returns. A handler's failure is not the publisher's: it ends in the dead letters.
    ///
    /// Where the event has no correlation id, it gets that of the [scope](crate::correlation); inside a
    /// handler also, as its causation id, the id of the event being handled.
    ///
    /// # Errors
    /// A bus that is shut down; a 65th nested publish on one thread; an interceptor that refuses; of a queued bus, no room in the event's lane, if its
    /// policy is to refuse then, or to wait and the wait was in vain; if the bus was built to validate, a payload that does
    /// not satisfy its schema. The event comes back in the error.
    #[inline]
    pub fn publish(&self, event: impl Into<Arc<Event>>) -> Result<Published, EventPublishError> {
        let event = event.into();
        #[cfg(feature = "schema")]
        if self.bus.validation != Validation::Off {
            return self.publish_by_default(event, false);
        }
        if self.bus.engine.is_intercepted() {
            return self.publish_by_default(event, false);
        }
        self.bus.engine.publish(event).map(|sequence| Published { sequence })
    }

    /// Publishes as [`publish`](Self::publish) does, when the future is first polled; where there is no room, in a lane or
    /// a mailbox, it waits without blocking the thread. A future that is dropped before it is done did nothing. Inside the
    /// bus's own code only an asynchronous handler waits, and it does not while somebody waits for a place in its mailbox.
    ///
    /// # Errors
    /// As [`publish`](Self::publish).
    pub async fn publish_async(&self, event: impl Into<Arc<Event>>) -> Result<Published, EventPublishError> {
        let published = self.publish_checked_async(
            event.into(),
            |event| self.bus.checked_by_default(event),
            Told::Nobody,
        );
        published.await
    }

    /// Publishes as [`publish_async`](Self::publish_async) does, waits until every delivery of the event is over, retries
    /// included, and tells how each ended. Dropped after the event was accepted, it changes nothing: delivery goes on.
    ///
    /// Inside a handler of the same bus it does not wait, since the wait could include the caller: the report tells what is
    /// over by then, and [`DeliveryReport::is_complete`] is false if there is more.
    ///
    /// # Errors
    /// As [`publish`](Self::publish).
    pub async fn publish_and_wait(
        &self,
        event: impl Into<Arc<Event>>,
    ) -> Result<DeliveryReport, EventPublishError> {
        let watch = Arc::new(Watch::default());
        let check = |event| self.bus.checked_by_default(event);
        let Published { sequence } =
            self.publish_checked_async(event.into(), check, Told::End(&watch)).await?;
        while !watch.is_over() && !context::is_inside(self.bus.engine.key) {
            let over = watch.over.listen();
            if !watch.is_over() {
                over.await;
            }
        }
        Ok(watch.report(sequence))
    }

    /// Publishes events in order; the answers are in the same order. One refused event does not stop the
    /// others. Inline it is cheaper than one by one, and whoever waits for an unsubscription waits for the batch.
    pub fn publish_batch<E: Into<Arc<Event>>>(
        &self,
        events: impl IntoIterator<Item = E>,
    ) -> Vec<Result<Published, EventPublishError>> {
        // The iterator is the caller's code: it runs before anything is pinned.
        let events: Vec<Arc<Event>> = events.into_iter().map(Into::into).collect();
        #[cfg(feature = "schema")]
        if self.bus.validation != Validation::Off {
            return events.into_iter().map(|event| self.publish(event)).collect();
        }
        if self.bus.engine.is_intercepted() {
            return events.into_iter().map(|event| self.publish(event)).collect();
        }
        let outcomes = self.bus.engine.publish_batch(events);
        outcomes.into_iter().map(|outcome| outcome.map(|sequence| Published { sequence })).collect()
    }

    /// Publishes an event that is sure to have the shape of its type: one of a standard type, of a typed
    /// payload, or of a named type with a registered schema. Where there is a schema, the payload satisfies it.
    ///
    /// # Errors
    /// A payload that does not satisfy its schema, or a named type that has neither schema nor typed payload:
    /// nobody hears the event, it comes back in the error, and is kept as a dead letter. And as
    /// [`publish`](Self::publish).
    #[cfg(feature = "schema")]
    pub fn emit_typed(&self, event: impl Into<Arc<Event>>) -> Result<Published, EventError> {
        self.publish_required(event.into(), false).map_err(rejection_itself)
    }

    /// [`emit_typed`](Self::emit_typed) for async code: validates when it is first polled, and goes on as
    /// [`publish_async`](Self::publish_async) does.
    ///
    /// # Errors
    /// As [`emit_typed`](Self::emit_typed).
    #[cfg(feature = "schema")]
    pub async fn emit_typed_async(&self, event: impl Into<Arc<Event>>) -> Result<Published, EventError> {
        let published = self.publish_checked_async(
            event.into(),
            |event| self.bus.checked_as_required(event),
            Told::Nobody,
        );
        published.await.map_err(rejection_itself)
    }

    /// Publishes what is sure to have the shape of its type.
    #[cfg(feature = "schema")]
    pub(super) fn publish_required(
        &self,
        event: Arc<Event>,
        is_redriven: bool,
    ) -> Result<Published, EventPublishError> {
        self.publish_checked(event, is_redriven, |event| self.bus.checked_as_required(event))
    }

    /// Publishes what the interceptors let pass, if it has the shape that this bus wants of all.
    // PERF: out of the way of those who have neither (`scripts/instructions.sh`).
    #[inline(never)]
    pub(super) fn publish_by_default(
        &self,
        event: Arc<Event>,
        is_redriven: bool,
    ) -> Result<Published, EventPublishError> {
        self.publish_checked(event, is_redriven, |event| self.bus.checked_by_default(event))
    }

    /// Publishes as [`publish`](Self::publish) does, and has somebody told.
    pub(crate) fn publish_telling(
        &self,
        event: Arc<Event>,
        told: Told<'_>,
    ) -> Result<Published, EventPublishError> {
        self.publish_intercepted(event, false, |event| {
            self.bus.engine.publish_telling(self.bus.checked_by_default(event)?, told)
        })
    }

    /// Publishes as [`publish_async`](Self::publish_async) does, and has somebody told.
    pub(crate) async fn publish_telling_async(
        &self,
        event: Arc<Event>,
        told: Told<'_>,
    ) -> Result<Published, EventPublishError> {
        self.publish_checked_async(event, |event| self.bus.checked_by_default(event), told).await
    }

    /// Whether a feed hears the event, whose readers may come to it at any time.
    #[cfg_attr(not(feature = "stream"), allow(clippy::unused_self, reason = "there are no feeds"))]
    pub(crate) fn is_fed(&self, event: &Event) -> bool {
        #[cfg(feature = "stream")]
        return self.bus.engine.is_fed(event);
        #[cfg(not(feature = "stream"))]
        {
            let _ = event;
            false
        }
    }

    /// Publishes what the interceptors let pass and then `check` does.
    fn publish_checked(
        &self,
        event: Arc<Event>,
        is_redriven: bool,
        check: impl FnOnce(Arc<Event>) -> Result<Arc<Event>, EventPublishError>,
    ) -> Result<Published, EventPublishError> {
        self.publish_intercepted(event, is_redriven, |event| self.bus.engine.publish(check(event)?))
    }

    /// Publishes what the interceptors let pass.
    fn publish_intercepted(
        &self,
        event: Arc<Event>,
        is_redriven: bool,
        publish: impl FnOnce(Arc<Event>) -> Result<u64, EventPublishError>,
    ) -> Result<Published, EventPublishError> {
        let engine = &self.bus.engine;
        let outcome = if engine.is_intercepted() {
            let (event, interception) = engine.intercept(event, is_redriven)?;
            let outcome = publish(event);
            interception.end(outcome.as_ref().copied());
            outcome
        } else {
            publish(event)
        };
        outcome.map(|sequence| Published { sequence })
    }

    /// The same for async code.
    async fn publish_checked_async(
        &self,
        event: Arc<Event>,
        check: impl FnOnce(Arc<Event>) -> Result<Arc<Event>, EventPublishError>,
        told: Told<'_>,
    ) -> Result<Published, EventPublishError> {
        let engine = &self.bus.engine;
        let (event, interception) = if engine.is_intercepted() {
            let (event, interception) = engine.intercept(event, false)?;
            (event, Some(interception))
        } else {
            (event, None)
        };
        let outcome = match check(event) {
            Ok(event) => engine.publish_async(event, told).await,
            Err(error) => Err(error),
        };
        if let Some(interception) = interception {
            interception.end(outcome.as_ref().copied());
        }
        outcome.map(|sequence| Published { sequence })
    }
}

impl Bus {
    /// The event, if it has the shape that this bus wants of all.
    #[cfg_attr(
        not(feature = "schema"),
        allow(clippy::unused_self, clippy::unnecessary_wraps, reason = "no schemas")
    )]
    pub(super) fn checked_by_default(&self, event: Arc<Event>) -> Result<Arc<Event>, EventPublishError> {
        #[cfg(feature = "schema")]
        let event = self.checked(event, self.validation)?;
        Ok(event)
    }

    /// The event, if it is sure to have the shape of its type.
    #[cfg(feature = "schema")]
    fn checked_as_required(&self, event: Arc<Event>) -> Result<Arc<Event>, EventPublishError> {
        let is_named = matches!(event.event_type(), EventType::Named(_));
        let needs_schema = is_named && !event.data().is_typed();
        let needs_all = needs_schema || self.validation == Validation::All;
        self.checked(event, if needs_all { Validation::All } else { Validation::Typed })
    }

    /// The event, if its schema accepts it.
    #[cfg(feature = "schema")]
    fn checked(&self, event: Arc<Event>, validation: Validation) -> Result<Arc<Event>, EventPublishError> {
        let verdict = |event: &Event| match validation {
            Validation::Off => Ok(()),
            Validation::Typed => self.schema.validate_event(event),
            Validation::All => self.schema.validate_required(event),
        };
        if validation == Validation::Off {
            return Ok(event);
        }
        // Stamped first, so that a letter tells the surroundings in which the event was offered.
        let (event, _) = self.engine.stamped(event)?;
        match verdict(&event) {
            Ok(()) => Ok(event),
            Err(error) => Err(self.rejected(event, error)),
        }
    }

    /// Counts an event that its schema refused, and keeps a dead letter of it. A bus that is shut down says that
    /// and nothing else.
    #[cfg(feature = "schema")]
    fn rejected(&self, event: Arc<Event>, error: EventValidationError) -> EventPublishError {
        if !self.engine.table().is_open {
            return self.engine.refuse(PublishErrorKind::Closed, event);
        }
        let error = error.with_event(Arc::clone(&event));
        self.engine.add_letter(DeadLetter::rejected(&event, error.clone()));
        self.engine.after_pin();
        self.engine.refuse(PublishErrorKind::Rejected(error), event)
    }
}

/// What validation refused is told as that.
#[cfg(feature = "schema")]
fn rejection_itself(error: EventPublishError) -> EventError {
    match error.kind() {
        PublishErrorKind::Rejected(rejection) => rejection.clone().into(),
        _ => error.into(),
    }
}
