//! Feeds: recorded events in the order of their numbers, for readers that take them when they like.
//!
//! `open`: a feed that is open; `reader`: one who takes events out of it.

mod open;
mod reader;

pub use open::EventFeed;
pub(crate) use open::Open;
pub use reader::{FeedItem, FeedReader, FeedReaderWatch};

use super::patterns::IntoPatterns;
use super::subscribe::checked_patterns;
use super::{Bus, EventBus};
use crate::dispatch::feed::Feed;
use crate::error::{EventSubscriptionError, SubscriptionErrorKind};
use crate::matcher::Pattern;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// How long a publisher waits for room in a feed that makes it wait, unless told otherwise.
const PATIENCE: Duration = Duration::from_secs(5);

/// How many events a feed may keep for a reader.
pub const FEED_ROOM_MAX: usize = 1 << 20;

/// How many events a feed keeps for a reader, unless told otherwise.
const ROOM: usize = 100;

/// What becomes of events that a reader is too slow for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FeedOverflow {
    /// The oldest make room. It costs publishers the same however many readers of the feed lag.
    DropOldest,
    /// The reader keeps what it has, and misses what comes.
    DropNewest,
    /// Publishers wait, up to this long; then the reader misses the event. Nobody waits inside code that the bus runs, nor on a
    /// manual bus; a delayed event comes back until there is room, for as long.
    Block(Duration),
    /// The reader is told how much it missed, and that was all for it.
    Disconnect,
}

impl FeedOverflow {
    /// Publishers wait, for up to 5 s.
    pub const BLOCK: FeedOverflow = FeedOverflow::Block(PATIENCE);

    /// Whether any number of readers may share a feed.
    pub(crate) fn is_shared(self) -> bool {
        matches!(self, FeedOverflow::DropOldest | FeedOverflow::Disconnect)
    }
}

/// A feed in the making; [`open`](Self::open) makes it. Whatever is wrong is said there.
#[must_use = "a feed begins when it is opened"]
pub struct FeedBuilder<'a> {
    bus: &'a Arc<Bus>,
    patterns: Result<Vec<Pattern>, EventSubscriptionError>,
    room: usize,
    overflow: FeedOverflow,
}

impl EventBus {
    /// Begins a feed of the events that match: not a subscription, since nothing is called. The bus puts an event into its
    /// feeds as soon as it has its number, before any handler runs, queued or inline; readers take it out, exactly in the
    /// order of the numbers.
    pub fn feed(&self, patterns: impl IntoPatterns) -> FeedBuilder<'_> {
        let patterns = patterns.into_patterns().map_err(|error| SubscriptionErrorKind::Pattern(error).into());
        FeedBuilder { bus: &self.bus, patterns, room: ROOM, overflow: FeedOverflow::DropOldest }
    }
}

impl FeedBuilder<'_> {
    /// How many events a reader may be behind, 1 to 1,048,576. The room is taken when the feed is opened, 8 to 32 bytes an
    /// event; a shared feed keeps that many events in memory. Default: 100.
    pub fn room(mut self, events: usize) -> Self {
        self.room = events;
        self
    }

    /// What becomes of events that a reader is too slow for. Default: the oldest make room.
    pub fn overflow(mut self, overflow: FeedOverflow) -> Self {
        self.overflow = overflow;
        self
    }

    /// Opens the feed. Every publish that begins after this returned is in it.
    ///
    /// ```
    /// use codomyrmex_events::{Event, EventBus, FeedItem};
    ///
    /// let bus = EventBus::new();
    /// let mut reader = bus.feed("build.*").open()?.reader().expect("any number may read");
    /// bus.publish(Event::builder("build.start", "ci").build()?)?;
    /// bus.publish(Event::builder("deploy.start", "ci").build()?)?;
    /// let Some(FeedItem::Event(event)) = reader.try_next() else { unreachable!() };
    /// assert_eq!((event.sequence(), event.source().as_str()), (1, "ci"));
    /// assert!(reader.try_next().is_none());
    /// # Ok::<(), codomyrmex_events::EventError>(())
    /// ```
    ///
    /// # Errors
    /// No pattern, too many or too long ones; a room out of range; a bus that is shut down.
    pub fn open(self) -> Result<EventFeed, EventSubscriptionError> {
        let patterns = checked_patterns(self.patterns)?;
        if !(1..=FEED_ROOM_MAX).contains(&self.room) {
            let (setting, value) = ("room", self.room);
            return Err(SubscriptionErrorKind::OutOfRange { setting, value, most: FEED_ROOM_MAX }.into());
        }
        let engine = &self.bus.engine;
        let feed = if self.overflow.is_shared() {
            Feed::shared(self.room, engine.all_shards())
        } else {
            let patience = match self.overflow {
                FeedOverflow::Block(limit) => Some(limit),
                _ => None,
            };
            Feed::own(self.room, patience, engine.all_shards())
        };
        let open = Open::new(self.bus, feed, patterns, self.overflow);
        open.begin()?;
        Ok(EventFeed::of(open))
    }
}

impl fmt::Debug for FeedBuilder<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FeedBuilder").field("room", &self.room).field("overflow", &self.overflow).finish()
    }
}
