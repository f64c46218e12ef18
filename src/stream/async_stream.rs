//! [`AsyncStream`]: a stream as its users see it.

use super::consumer::StreamConsumer;
use super::hub::Hub;
use super::subscribe::StreamSubscriptionBuilder;
use super::token::ResumeToken;
#[cfg(feature = "websocket")]
use crate::bus::Host;
use crate::bus::{EventBus, IntoPatterns, Published};
use crate::config::ConfigError;
use crate::error::EventSubscriptionError;
use crate::event::{Event, EventPublishError, PublishErrorKind};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use thiserror::Error;

/// How long it is quiet before a heartbeat, unless told otherwise.
const HEARTBEAT: Duration = Duration::from_secs(30);

/// How many events a stream of its own remembers, unless told otherwise.
const ROOM: usize = 1_000;

/// Events as they are recorded, for consumers that take them when they like: from now on, or from a point in the past.
///
/// A handle, cheap to clone; the stream stops with its last handle. It keeps no bus alive but its own.
///
/// ```
/// use codomyrmex_events::{AsyncStream, Event, StreamItem};
///
/// # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
/// let stream = AsyncStream::new();
/// let id = stream.subscribe("sensor.*").open()?;
/// stream.publish(Event::builder("sensor.read", "kitchen").build()?).await?;
///
/// let mut items = stream.consume(id)?;
/// let Some(StreamItem::Event(event)) = items.next().await else { unreachable!() };
/// assert_eq!(event.source().as_str(), "kitchen");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct AsyncStream {
    hub: Arc<Hub>,
}

/// What a stream is built with.
#[derive(Clone, Debug)]
#[must_use = "a stream begins when it is built"]
pub struct AsyncStreamBuilder {
    room: usize,
    heartbeat: Option<Duration>,
}

/// Names one subscription of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct StreamId(pub(super) u64);

impl fmt::Display for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "stream_{}", self.0)
    }
}

/// Why a subscription cannot be consumed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ConsumeError {
    /// It has ended, or belongs to another stream.
    #[error("there is no subscription {0}")]
    NoSuchSubscription(StreamId),
    /// Somebody consumes it already.
    #[error("{0} is being consumed")]
    InUse(StreamId),
}

/// The figures of one subscription.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct StreamStats {
    /// Events handed out, those from the history included.
    pub delivered: u64,
    /// Events that there was no room for.
    pub dropped: u64,
    /// Events that wait for the consumer, beside those from the history.
    pub buffered: u64,
}

impl AsyncStream {
    /// A stream with a bus of its own, to be fed by [`publish`](Self::publish), with the documented defaults.
    #[must_use]
    pub fn new() -> Self {
        let bus = EventBus::new();
        AsyncStream::of(&bus, Some(bus.clone()), Some(HEARTBEAT))
    }

    /// A stream of what a bus records. Where its subscriptions do not make publishers wait it slows none of them.
    #[must_use]
    pub fn attach(bus: &EventBus) -> Self {
        AsyncStream::builder().attach(bus)
    }

    /// A stream that differs from the defaults.
    pub fn builder() -> AsyncStreamBuilder {
        AsyncStreamBuilder { room: ROOM, heartbeat: Some(HEARTBEAT) }
    }

    fn of(bus: &EventBus, own: Option<EventBus>, heartbeat: Option<Duration>) -> Self {
        AsyncStream { hub: Arc::new(Hub::new(bus, own, heartbeat)) }
    }

    /// Publishes an event on the stream's bus, its own or the one that it is attached to, as
    /// [`EventBus::publish_async`] does: where a subscription [makes publishers wait](crate::FeedOverflow::Block), it waits.
    /// Dropped before it is done, it did nothing.
    ///
    /// # Errors
    /// A stream of its own that is stopped; a bus that is shut down or gone; what the bus refuses. The event comes back in the
    /// error.
    pub async fn publish(&self, event: impl Into<Arc<Event>>) -> Result<Published, EventPublishError> {
        let event = event.into();
        match self.hub.bus_to_publish_on() {
            Some(bus) => bus.publish_async(event).await,
            None => Err(EventPublishError::new(PublishErrorKind::Closed, Some(event))),
        }
    }

    /// Begins a subscription: to one pattern or many, in any mix of forms that [`EventBus::subscribe`] takes.
    pub fn subscribe(&self, patterns: impl IntoPatterns) -> StreamSubscriptionBuilder<'_> {
        StreamSubscriptionBuilder::new(&self.hub, patterns)
    }

    /// The items of a subscription, from where its last consumer stopped.
    ///
    /// # Errors
    /// No such subscription; one that is being consumed.
    pub fn consume(&self, id: StreamId) -> Result<StreamConsumer, ConsumeError> {
        let seat = self.hub.seat(id).ok_or(ConsumeError::NoSuchSubscription(id))?;
        let inlet = seat.take_inlet().ok_or(ConsumeError::InUse(id))?;
        Ok(StreamConsumer::new(inlet, seat, &self.hub))
    }

    /// Ends a subscription; false if there is none. A consumer still gets what was accepted.
    pub fn unsubscribe(&self, id: StreamId) -> bool {
        self.hub.unsubscribe(id)
    }

    /// Accepts again, after a [`stop`](Self::stop): subscriptions go on with what is published from now on. A stream is started
    /// when it is made.
    ///
    /// # Errors
    /// A bus that is shut down or gone.
    pub fn start(&self) -> Result<(), EventSubscriptionError> {
        self.hub.start()
    }

    /// Accepts nothing more; consumers end when they have taken what was accepted, and subscriptions stay.
    pub fn stop(&self) {
        self.hub.stop();
    }

    /// Whether it accepts nothing.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        self.hub.is_stopped()
    }

    /// The time of its bus.
    #[cfg(feature = "websocket")]
    pub(super) fn host(&self) -> &Host {
        &self.hub.host
    }

    /// Whether nothing comes in, at least for now.
    #[cfg(feature = "websocket")]
    pub(super) fn is_over(&self) -> bool {
        self.is_stopped() || !self.hub.host.is_open()
    }

    /// What was published last; `None` when the bus is gone.
    #[cfg(feature = "websocket")]
    pub(super) fn here(&self) -> Option<ResumeToken> {
        self.hub.bus().map(|bus| ResumeToken::new(bus.id(), bus.history().last_sequence()))
    }

    /// The subscriptions there are, in no particular order.
    #[must_use]
    pub fn subscriptions(&self) -> Vec<StreamId> {
        self.hub.seats().iter().map(|seat| seat.id).collect()
    }

    /// The figures of a subscription.
    #[must_use]
    pub fn stats(&self, id: StreamId) -> Option<StreamStats> {
        self.hub.seat(id).map(|seat| seat.stats())
    }

    /// What names a publication on the stream's bus to whoever serves its reader next; `None` when the bus is gone.
    #[must_use]
    pub fn token(&self, sequence: u64) -> Option<ResumeToken> {
        self.hub.bus().map(|bus| ResumeToken::new(bus.id(), sequence))
    }
}

impl Default for AsyncStream {
    fn default() -> Self {
        AsyncStream::new()
    }
}

impl AsyncStreamBuilder {
    /// How many events a stream of its own remembers, for subscriptions that start in the past. One that is attached has its
    /// bus's history. Default: 1,000.
    pub fn room(mut self, events: usize) -> Self {
        self.room = events;
        self
    }

    /// After how long without an item consumers get a heartbeat; `None`: never. Default: 30 s.
    pub fn heartbeat(mut self, quiet: Option<Duration>) -> Self {
        self.heartbeat = quiet;
        self
    }

    /// Builds a stream with a bus of its own.
    ///
    /// # Errors
    /// A room that is too large for a history.
    pub fn build(self) -> Result<AsyncStream, ConfigError> {
        let bus = EventBus::builder().history(self.room).build()?;
        Ok(AsyncStream::of(&bus, Some(bus.clone()), self.heartbeat))
    }

    /// Attaches a stream to a bus.
    pub fn attach(self, bus: &EventBus) -> AsyncStream {
        AsyncStream::of(bus, None, self.heartbeat)
    }
}

impl fmt::Debug for AsyncStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AsyncStream")
            .field("subscriptions", &self.hub.seats().len())
            .field("is_stopped", &self.is_stopped())
            .finish_non_exhaustive()
    }
}
