//! Handing events to the bus.

use super::EventBus;
#[cfg(feature = "schema")]
use super::Validation;
use crate::context;
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
    /// A bus that is shut down; a 65th nested publish on one thread; of a queued bus, no room in the event's lane, if its
    /// policy is to refuse then, or to wait and the wait was in vain; if the bus was built to validate, a payload that does
    /// not satisfy its schema. The event comes back in the error.
    #[inline]
    pub fn publish(&self, event: impl Into<Arc<Event>>) -> Result<Published, EventPublishError> {
        let event = event.into();
        #[cfg(feature = "schema")]
        if self.bus.validation != Validation::Off {
            return self.publish_validated(event, self.bus.validation);
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
        let event = event.into();
        #[cfg(feature = "schema")]
        let event = self.checked(event, self.bus.validation)?;
        self.bus.engine.publish_async(event, None).await.map(|sequence| Published { sequence })
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
        let event = event.into();
        #[cfg(feature = "schema")]
        let event = self.checked(event, self.bus.validation)?;
        let watch = Arc::new(Watch::default());
        let sequence = self.bus.engine.publish_async(event, Some(&watch)).await?;
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
        let event = event.into();
        let validation = self.required_validation(&event);
        self.publish_validated(event, validation).map_err(rejection_itself)
    }

    /// [`emit_typed`](Self::emit_typed) for async code: validates when it is first polled, and goes on as
    /// [`publish_async`](Self::publish_async) does.
    ///
    /// # Errors
    /// As [`emit_typed`](Self::emit_typed).
    #[cfg(feature = "schema")]
    pub async fn emit_typed_async(&self, event: impl Into<Arc<Event>>) -> Result<Published, EventError> {
        let event = event.into();
        let validation = self.required_validation(&event);
        let event = self.checked(event, validation).map_err(rejection_itself)?;
        let sequence = self.bus.engine.publish_async(event, None).await?;
        Ok(Published { sequence })
    }

    /// What makes sure that an event has the shape of its type.
    #[cfg(feature = "schema")]
    pub(super) fn required_validation(&self, event: &Event) -> Validation {
        let is_named = matches!(event.event_type(), EventType::Named(_));
        let needs_schema = is_named && !event.data().is_typed();
        if needs_schema || self.bus.validation == Validation::All {
            Validation::All
        } else {
            Validation::Typed
        }
    }

    /// Publishes what its schema accepts.
    #[cfg(feature = "schema")]
    pub(super) fn publish_validated(
        &self,
        event: Arc<Event>,
        validation: Validation,
    ) -> Result<Published, EventPublishError> {
        let event = self.checked(event, validation)?;
        self.bus.engine.publish(event).map(|sequence| Published { sequence })
    }

    /// The event, if its schema accepts it.
    #[cfg(feature = "schema")]
    pub(super) fn checked(
        &self,
        event: Arc<Event>,
        validation: Validation,
    ) -> Result<Arc<Event>, EventPublishError> {
        let verdict = |event: &Event| match validation {
            Validation::Off => Ok(()),
            Validation::Typed => self.bus.schema.validate_event(event),
            Validation::All => self.bus.schema.validate_required(event),
        };
        if validation == Validation::Off {
            return Ok(event);
        }
        // Stamped first, so that a letter tells the surroundings in which the event was offered.
        let (event, _) = self.bus.engine.stamped(event)?;
        match verdict(&event) {
            Ok(()) => Ok(event),
            Err(error) => Err(self.rejected(event, error)),
        }
    }

    /// Counts an event that its schema refused, and keeps a dead letter of it. A bus that is shut down says that
    /// and nothing else.
    #[cfg(feature = "schema")]
    fn rejected(&self, event: Arc<Event>, error: EventValidationError) -> EventPublishError {
        if !self.bus.engine.table().is_open {
            return self.bus.engine.refuse(PublishErrorKind::Closed, event);
        }
        let error = error.with_event(Arc::clone(&event));
        self.bus.engine.add_letter(DeadLetter::rejected(&event, error.clone()));
        self.bus.engine.after_pin();
        self.bus.engine.refuse(PublishErrorKind::Rejected(error), event)
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
