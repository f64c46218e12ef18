//! The emitters: what speaks on a bus for one source, with what goes without saying on every event.
//!
//! They are for those who only publish; a module that also hears keeps an `EventMixin`. An emitter never holds what
//! belongs to one operation: correlation ids are handed to whoever begins one, or live in a scope of their own, so
//! operations that run at once cannot mix.
//!
//! In reading order:
//! - `stamp`: what both emitters share, bus, source and defaults;
//! - here: [`EventEmitter`]; `ready`: one call each for an error, a metric, an alert;
//! - `operation`: the beginning, progress and end of an operation; `scope`: operations that end by themselves;
//! - `asynchronous`: [`AsyncEventEmitter`].

mod asynchronous;
mod operation;
mod ready;
mod scope;
mod stamp;

pub use asynchronous::AsyncEventEmitter;
pub use scope::{Operation, OperationScope};

use crate::bus::EventBus;
use crate::error::EventError;
use crate::event::{Event, EventBuilder, EventPriority, EventPublishError, EventType, Payload};
use crate::ids::{CorrelationId, InvalidText, Source};
use crate::sync::{AtomicBool, Ordering};
use serde_json::{Map, Value};
use stamp::{Stamp, checked_source, settings};
use std::sync::Arc;

/// Publishes for one source, with default metadata and a default correlation id, and can be switched off.
///
/// What is emitted comes back as it was heard; `None` means that the emitter is off. Nothing is validated but by
/// `emit_typed`. It holds a handle on its bus, as [`EventBus`] says of handles: a handler that captures it keeps its own
/// bus alive.
///
/// ```
/// use codomyrmex_events::{EventBus, EventEmitter, EventError, EventType};
/// use serde_json::json;
///
/// let bus = EventBus::new();
/// let emitter = EventEmitter::on_bus("ci_pipeline", &bus)?
///     .metadata_entry("host", "runner-7")?
///     .default_correlation_id("nightly-2291")?;
///
/// let event = emitter.emit(EventType::BuildStart, json!({"target": "codomyrmex"}))?;
/// let event = event.expect("the emitter is on");
/// assert_eq!(event.metadata()["host"], "runner-7");
/// assert_eq!(event.correlation_id().unwrap(), &"nightly-2291");
///
/// emitter.disable();
/// assert!(emitter.emit(EventType::BuildComplete, json!({}))?.is_none());
/// assert_eq!(bus.history().len(), 1);
/// # Ok::<(), EventError>(())
/// ```
#[derive(Debug)]
pub struct EventEmitter {
    stamp: Stamp,
    is_enabled: AtomicBool,
}

settings!(EventEmitter);

impl EventEmitter {
    /// An emitter on the process-wide bus, which is looked up at first use.
    ///
    /// # Errors
    /// A source that is empty, over 256 bytes, or has control characters.
    pub fn new(source: impl TryInto<Source, Error: Into<InvalidText>>) -> Result<Self, EventError> {
        Ok(EventEmitter::of(Stamp::new(checked_source(source)?, None)))
    }

    /// An emitter on this bus.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn on_bus(
        source: impl TryInto<Source, Error: Into<InvalidText>>,
        bus: &EventBus,
    ) -> Result<Self, EventError> {
        Ok(EventEmitter::of(Stamp::new(checked_source(source)?, Some(bus.clone()))))
    }

    fn of(stamp: Stamp) -> Self {
        EventEmitter { stamp, is_enabled: AtomicBool::new(true) }
    }

    /// What stamps the events.
    #[must_use]
    pub fn source(&self) -> &Source {
        self.stamp.source()
    }

    /// Switches it on, as it is to begin with.
    pub fn enable(&self) {
        // Ordering: the switch guards nothing and orders nothing; other threads see it soon. So below.
        self.is_enabled.store(true, Ordering::Relaxed);
    }

    /// Switches it off: whatever it is asked to emit is let go unseen, and `Ok(None)` is the answer.
    pub fn disable(&self) {
        self.is_enabled.store(false, Ordering::Relaxed);
    }

    /// Whether it is on.
    #[must_use]
    pub fn is_enabled(&self) -> bool {
        self.is_enabled.load(Ordering::Relaxed)
    }

    /// Publishes an event from this source without validating it, and returns it.
    ///
    /// # Errors
    /// A name that is none, a payload nesting too deep, or an event that the bus refused.
    pub fn emit(
        &self,
        event_type: impl TryInto<EventType, Error: Into<InvalidText>>,
        data: impl Into<Payload>,
    ) -> Result<Option<Arc<Event>>, EventError> {
        self.send(|| self.stamp.builder(event_type).data(data).build())
    }

    /// Publishes an event from this source through [`EventBus::emit_typed`], and returns it.
    ///
    /// # Errors
    /// As [`EventBus::emit_typed`].
    #[cfg(feature = "schema")]
    pub fn emit_typed(
        &self,
        event_type: impl TryInto<EventType, Error: Into<InvalidText>>,
        data: impl Into<Payload>,
    ) -> Result<Option<Arc<Event>>, EventError> {
        if !self.is_enabled() {
            return Ok(None);
        }
        let event = self.stamp.complete(self.stamp.builder(event_type).data(data).build()?);
        self.bus()?.emit_typed(Arc::clone(&event))?;
        Ok(Some(event))
    }

    /// Publishes an event made elsewhere, by [`event`](Self::event) say, and returns it as it was published. It keeps
    /// its source and all that it says; default metadata and correlation id are added where it says nothing.
    ///
    /// ```
    /// use codomyrmex_events::{EventBus, EventEmitter, EventError, EventPriority, EventType};
    ///
    /// let bus = EventBus::new();
    /// let emitter = EventEmitter::on_bus("deployer", &bus)?.metadata_entry("region", "eu")?;
    /// let urgent = emitter.event(EventType::DeployRollback).priority(EventPriority::Critical);
    /// let event = emitter.emit_event(urgent.metadata_entry("region", "us").build()?)?;
    /// assert_eq!(event.expect("the emitter is on").metadata()["region"], "us");
    /// # Ok::<(), EventError>(())
    /// ```
    ///
    /// # Errors
    /// As [`EventBus::publish`].
    pub fn emit_event(&self, event: impl Into<Arc<Event>>) -> Result<Option<Arc<Event>>, EventError> {
        self.send(|| Ok(event))
    }

    /// Publishes events from this source through [`EventBus::publish_batch`]; the answers are in the same order. One
    /// that cannot be made or is refused does not stop the others.
    pub fn emit_batch<T, D>(
        &self,
        events: impl IntoIterator<Item = (T, D)>,
    ) -> Vec<Result<Option<Arc<Event>>, EventError>>
    where
        T: TryInto<EventType, Error: Into<InvalidText>>,
        D: Into<Payload>,
    {
        if !self.is_enabled() {
            return events.into_iter().map(|_| Ok(None)).collect();
        }
        let made = events.into_iter().map(|(event_type, data)| {
            Ok(self.stamp.complete(self.stamp.builder(event_type).data(data).build()?))
        });
        let made: Vec<Result<Arc<Event>, EventError>> = made.collect();
        let bus = match self.bus() {
            Ok(bus) => bus,
            Err(error) => return made.into_iter().map(|event| event.and(Err(error.clone()))).collect(),
        };
        let mut published = bus.publish_batch(made.iter().flatten().cloned()).into_iter();
        let mut answer = |event| {
            let answer = published.next().expect("each event that was made has its answer");
            Ok(answer.map(|_| Some(event))?)
        };
        made.into_iter().map(|event| event.and_then(&mut answer)).collect()
    }

    /// Publishes what `make` makes, unless the emitter is off; then nothing is made.
    fn send<E: Into<Arc<Event>>>(
        &self,
        make: impl FnOnce() -> Result<E, EventPublishError>,
    ) -> Result<Option<Arc<Event>>, EventError> {
        if !self.is_enabled() {
            return Ok(None);
        }
        let event = self.stamp.complete(make()?);
        self.bus()?.publish(Arc::clone(&event))?;
        Ok(Some(event))
    }

    /// [`send`](Self::send) that waits for room without blocking the thread.
    async fn send_async(
        &self,
        make: impl FnOnce() -> Result<Event, EventPublishError>,
    ) -> Result<Option<Arc<Event>>, EventError> {
        if !self.is_enabled() {
            return Ok(None);
        }
        let event = self.stamp.complete(make()?);
        self.bus()?.publish_async(Arc::clone(&event)).await?;
        Ok(Some(event))
    }
}
