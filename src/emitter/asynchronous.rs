//! [`AsyncEventEmitter`]: publishing with `.await`.

use super::stamp::{Stamp, checked_source, settings};
use crate::bus::{EventBus, Published, ScheduledEvent};
use crate::context::correlation::unscoped;
use crate::error::EventError;
use crate::event::{Event, EventBuilder, EventPriority, EventPublishError, EventType, Payload};
use crate::ids::{CorrelationId, InvalidText, Source};
use serde_json::{Map, Value};
use std::sync::Arc;
use std::time::Duration;

const SOURCE: Source = Source::from_static("async_emitter");

/// Publishes for one source from async code, under any runtime: where a queued bus has no room, it waits without
/// blocking the thread.
///
/// An event is made when a method is called, in the caller's [scope](crate::correlation) and at the caller's time, and
/// published when the future is first polled. The future borrows nothing of the emitter, so it can be handed to another
/// task; one that is dropped before it is done did nothing.
///
/// ```
/// # use std::{pin::pin, task::{Context, Poll, Waker}};
/// use codomyrmex_events::{AsyncEventEmitter, EventBus, EventError, EventType};
/// use serde_json::json;
///
/// # let bus = EventBus::new();
/// # let example = async {
/// let emitter = AsyncEventEmitter::on_bus(&bus);
/// let published = emitter.emit(EventType::TaskCompleted, json!({"task_id": "t-42"})).await?;
/// assert_eq!(published.sequence(), 1);
/// # Ok::<(), EventError>(())
/// # };
/// # let Poll::Ready(ended) = pin!(example).poll(&mut Context::from_waker(Waker::noop())) else { unreachable!() };
/// # ended?;
/// # Ok::<(), EventError>(())
/// ```
#[derive(Clone, Debug)]
pub struct AsyncEventEmitter {
    stamp: Stamp,
}

settings!(AsyncEventEmitter);

impl AsyncEventEmitter {
    /// An emitter on the process-wide bus, which is looked up at first use. Its source is `async_emitter`.
    #[must_use]
    pub fn new() -> Self {
        AsyncEventEmitter { stamp: Stamp::new(SOURCE, None) }
    }

    /// An emitter on this bus. Its source is `async_emitter`.
    #[must_use]
    pub fn on_bus(bus: &EventBus) -> Self {
        AsyncEventEmitter { stamp: Stamp::new(SOURCE, Some(bus.clone())) }
    }

    /// The source of its events. Default: `async_emitter`.
    ///
    /// # Errors
    /// A source that is empty, over 256 bytes, or has control characters.
    pub fn source(
        mut self,
        source: impl TryInto<Source, Error: Into<InvalidText>>,
    ) -> Result<Self, EventError> {
        self.stamp.set_source(checked_source(source)?);
        Ok(self)
    }

    /// Publishes an event from this source without validating it.
    ///
    /// # Errors
    /// A name that is none, a payload nesting too deep, or an event that the bus refused.
    pub fn emit<T, D>(
        &self,
        event_type: T,
        payload: D,
    ) -> impl Future<Output = Result<Published, EventError>> + Send + use<T, D>
    where
        T: TryInto<EventType, Error: Into<InvalidText>>,
        D: Into<Payload>,
    {
        let made = self.made(self.stamp.builder(event_type).data(payload).build());
        async move {
            let (bus, event) = made?;
            // Nothing of the surroundings in which it is polled belongs to it.
            Ok(unscoped(bus.publish_async(event)).await?)
        }
    }

    /// Publishes an event from this source that is sure to have the shape of its type.
    ///
    /// # Errors
    /// As [`EventBus::emit_typed`].
    #[cfg(feature = "schema")]
    pub fn emit_typed<T, D>(
        &self,
        event_type: T,
        payload: D,
    ) -> impl Future<Output = Result<Published, EventError>> + Send + use<T, D>
    where
        T: TryInto<EventType, Error: Into<InvalidText>>,
        D: Into<Payload>,
    {
        let made = self.made(self.stamp.builder(event_type).data(payload).build());
        async move {
            let (bus, event) = made?;
            unscoped(bus.emit_typed_async(event)).await
        }
    }

    /// Publishes an event made elsewhere, by [`event`](Self::event) say. It keeps its source and all that it says;
    /// default metadata and correlation id are added where it says nothing.
    ///
    /// # Errors
    /// As [`EventBus::publish`].
    pub fn emit_event<E: Into<Arc<Event>>>(
        &self,
        event: E,
    ) -> impl Future<Output = Result<Published, EventError>> + Send + use<E> {
        let made = self.made(Ok(event));
        async move {
            let (bus, event) = made?;
            // Nothing of the surroundings in which it is polled belongs to it.
            Ok(unscoped(bus.publish_async(event)).await?)
        }
    }

    /// Publishes an event from this source when `delay` has passed. It is made now, with the defaults of this emitter and the
    /// correlation and cause of the caller's scope. Neither the emitter nor what is returned need be kept: the event waits
    /// with the bus, and keeps it open. [`ScheduledEvent::cancel`] takes it back.
    ///
    /// # Errors
    /// A name that is none, a payload nesting too deep; and as [`EventBus::publish_later`].
    pub fn emit_later(
        &self,
        event_type: impl TryInto<EventType, Error: Into<InvalidText>>,
        payload: impl Into<Payload>,
        delay: Duration,
    ) -> Result<ScheduledEvent, EventError> {
        let (bus, event) = self.made(self.stamp.builder(event_type).data(payload).build())?;
        Ok(bus.publish_later(event, delay)?)
    }

    /// [`emit_later`](Self::emit_later) of an event made elsewhere, by [`event`](Self::event) say.
    ///
    /// # Errors
    /// As [`EventBus::publish_later`].
    pub fn emit_event_later(
        &self,
        event: impl Into<Arc<Event>>,
        delay: Duration,
    ) -> Result<ScheduledEvent, EventError> {
        let (bus, event) = self.made(Ok(event))?;
        Ok(bus.publish_later(event, delay)?)
    }

    /// An event that is complete, and where it goes.
    fn made(
        &self,
        event: Result<impl Into<Arc<Event>>, EventPublishError>,
    ) -> Result<(EventBus, Arc<Event>), EventError> {
        let event = self.stamp.complete(event?);
        Ok((self.bus()?.clone(), event))
    }
}

impl Default for AsyncEventEmitter {
    fn default() -> Self {
        AsyncEventEmitter::new()
    }
}
