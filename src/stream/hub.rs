//! [`AsyncStream`]: the subscriptions of a stream, and its beginning and end.

use super::consumer::{Inlet, StreamConsumer, StreamItem};
use super::subscribe::StreamSubscriptionBuilder;
use super::token::ResumeToken;
use crate::bus::{
    EventBus, EventFeed, FeedOverflow, FeedReader, FeedReaderWatch, Host, IntoPatterns, Open, Published,
    WeakEventBus,
};
use crate::config::ConfigError;
use crate::error::{EventSubscriptionError, SubscriptionErrorKind};
use crate::event::{Event, EventPublishError, PublishErrorKind};
use crate::matcher::Pattern;
use crate::sync::{AtomicBool, AtomicCell, AtomicU64, Ordering};
use atomic_waker::AtomicWaker;
use dashmap::DashMap;
use std::fmt;
use std::sync::{Arc, Weak};
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
pub struct StreamId(u64);

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

/// What all handles of a stream share.
pub(super) struct Hub {
    pub(super) host: Host,
    bus: WeakEventBus,
    /// The bus of a stream that has one of its own.
    own: Option<EventBus>,
    pub(super) heartbeat: Option<Duration>,
    seats: DashMap<StreamId, Arc<Seat>>,
    last_id: AtomicU64,
    /// Feeds that several subscriptions may read.
    shared: DashMap<(Vec<Pattern>, usize, FeedOverflow), Weak<Open>>,
    is_stopped: Arc<AtomicBool>,
}

/// A subscription's place.
pub(super) struct Seat {
    pub(super) id: StreamId,
    pub(super) heartbeat: Option<Duration>,
    feed: EventFeed,
    watch: FeedReaderWatch,
    /// While nobody consumes it.
    inlet: AtomicCell<Option<Box<Inlet>>>,
    pub(super) waker: AtomicWaker,
    delivered: AtomicU64,
    seen: AtomicU64,
    is_stopped: Arc<AtomicBool>,
    /// The last number that belongs to it: everything, unless it was unsubscribed.
    last: AtomicU64,
}

impl Seat {
    /// Whether nothing comes in any more.
    pub(super) fn is_ended(&self) -> bool {
        self.is_stopped.load(Ordering::SeqCst) || self.last.load(Ordering::SeqCst) != u64::MAX
    }

    pub(super) fn is_before_end(&self, item: &StreamItem) -> bool {
        match item {
            StreamItem::Event(event) => event.sequence() <= self.last.load(Ordering::SeqCst),
            _ => true,
        }
    }

    pub(super) fn note_event(&self, sequence: u64) {
        self.delivered.fetch_add(1, Ordering::Relaxed);
        self.seen.store(sequence, Ordering::Relaxed);
    }

    /// The last number that its consumers need not see any more.
    pub(super) fn seen(&self) -> u64 {
        self.seen.load(Ordering::Relaxed)
    }

    pub(super) fn give_back(&self, inlet: Box<Inlet>) {
        self.inlet.store(Some(inlet));
    }

    fn stats(&self) -> StreamStats {
        StreamStats {
            delivered: self.delivered.load(Ordering::Relaxed),
            dropped: self.watch.dropped(),
            buffered: self.watch.buffered(),
        }
    }
}

impl Hub {
    /// Its bus, while there is one.
    pub(super) fn bus(&self) -> Option<EventBus> {
        self.bus.upgrade()
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.is_stopped.load(Ordering::SeqCst)
    }

    /// A reader of what matches from now on. Those of the same kind share a feed.
    pub(super) fn reader(
        &self,
        bus: &EventBus,
        patterns: &[Pattern],
        buffer: usize,
        overflow: FeedOverflow,
    ) -> Result<FeedReader, EventSubscriptionError> {
        let open = || bus.feed(patterns.to_vec()).room(buffer).overflow(overflow).open();
        let is_shared = matches!(overflow, FeedOverflow::DropOldest | FeedOverflow::Disconnect);
        let key = (patterns.to_vec(), buffer, overflow);
        let known = self.shared.get(&key).map(|feed| Weak::clone(&feed));
        let feed = match known.as_ref().and_then(EventFeed::upgrade) {
            Some(feed) => feed,
            None => open()?,
        };
        if is_shared {
            self.shared.retain(|_, feed| feed.strong_count() > 0);
            self.shared.insert(key, feed.downgrade());
        }
        Ok(feed.reader().expect("a feed that is not shared is new"))
    }

    /// Takes a subscription in.
    pub(super) fn add(&self, inlet: Inlet, heartbeat: Option<Duration>) -> StreamId {
        let id = StreamId(self.last_id.fetch_add(1, Ordering::Relaxed) + 1);
        let feed = inlet.reader.feed();
        let seat = Arc::new(Seat {
            id,
            heartbeat,
            watch: inlet.reader.watch(),
            seen: AtomicU64::new(inlet.seen),
            inlet: AtomicCell::new(Some(Box::new(inlet))),
            feed,
            waker: AtomicWaker::new(),
            delivered: AtomicU64::new(0),
            is_stopped: Arc::clone(&self.is_stopped),
            last: AtomicU64::new(u64::MAX),
        });
        self.seats.insert(id, Arc::clone(&seat));
        if self.is_stopped() {
            // Stopped meanwhile, perhaps without having found this one.
            seat.feed.pause();
        }
        id
    }

    pub(super) fn forget(&self, id: StreamId) -> Option<Arc<Seat>> {
        self.seats.remove(&id).map(|(_, seat)| seat)
    }

    fn seat(&self, id: StreamId) -> Option<Arc<Seat>> {
        self.seats.get(&id).map(|seat| Arc::clone(&seat))
    }

    fn all_seats(&self) -> Vec<Arc<Seat>> {
        self.seats.iter().map(|seat| Arc::clone(&seat)).collect()
    }

    fn stop(&self) {
        let seats = self.all_seats();
        for seat in &seats {
            seat.feed.pause();
        }
        // Whoever sees this finds in its feed all that was accepted.
        self.is_stopped.store(true, Ordering::SeqCst);
        for seat in self.all_seats() {
            seat.feed.pause();
            seat.waker.wake();
        }
    }
}

impl Drop for Hub {
    fn drop(&mut self) {
        self.stop();
    }
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
        AsyncStream {
            hub: Arc::new(Hub {
                host: bus.host(),
                bus: bus.downgrade(),
                own,
                heartbeat,
                seats: DashMap::new(),
                last_id: AtomicU64::new(0),
                shared: DashMap::new(),
                is_stopped: Arc::default(),
            }),
        }
    }

    /// Publishes an event on the stream's bus, its own or the one that it is attached to, as
    /// [`EventBus::publish_async`] does: where a subscription [makes publishers wait](FeedOverflow::Block), it waits.
    /// Dropped before it is done, it did nothing.
    ///
    /// # Errors
    /// A stream of its own that is stopped; a bus that is shut down or gone; what the bus refuses. The event comes back in the
    /// error.
    pub async fn publish(&self, event: impl Into<Arc<Event>>) -> Result<Published, EventPublishError> {
        let event = event.into();
        let is_refused = self.hub.own.is_some() && self.hub.is_stopped();
        match self.hub.bus().filter(|_| !is_refused) {
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
        let inlet = seat.inlet.take().ok_or(ConsumeError::InUse(id))?;
        Ok(StreamConsumer::new(inlet, seat, &self.hub))
    }

    /// Ends a subscription; false if there is none. A consumer still gets what was accepted.
    pub fn unsubscribe(&self, id: StreamId) -> bool {
        let Some(seat) = self.hub.forget(id) else { return false };
        let last = self.hub.bus().map_or(u64::MAX - 1, |bus| bus.history().last_sequence());
        seat.last.store(last, Ordering::SeqCst);
        seat.waker.wake();
        true
    }

    /// Accepts again, after a [`stop`](Self::stop): subscriptions go on with what is published from now on. A stream is started
    /// when it is made.
    ///
    /// # Errors
    /// A bus that is shut down or gone.
    pub fn start(&self) -> Result<(), EventSubscriptionError> {
        self.hub.bus().ok_or(SubscriptionErrorKind::Closed)?;
        self.hub.is_stopped.store(false, Ordering::SeqCst);
        self.hub.all_seats().iter().try_for_each(|seat| seat.feed.resume())
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

    /// The subscriptions there are, in no particular order.
    #[must_use]
    pub fn subscriptions(&self) -> Vec<StreamId> {
        self.hub.all_seats().iter().map(|seat| seat.id).collect()
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
            .field("subscriptions", &self.hub.seats.len())
            .field("is_stopped", &self.is_stopped())
            .finish_non_exhaustive()
    }
}
