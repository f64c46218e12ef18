//! Feeds: recorded events in the order of their numbers, for readers that take them when they like.

use super::history::Recorded;
use super::patterns::IntoPatterns;
use super::subscribe::checked_patterns;
use super::{Bus, EventBus};
use crate::dispatch::feed::{Feed, FeedEnd};
use crate::dispatch::feed_reader::{self, FeedReader as Reader, Next, Taken};
use crate::dispatch::subscriber::Subscriber;
use crate::error::{EventSubscriptionError, SubscriptionErrorKind};
use crate::matcher::Pattern;
use crate::sync::{AtomicBool, AtomicCell, AtomicUsize, Ordering};
use futures_core::Stream;
use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll};
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
    /// manual bus.
    Block(Duration),
    /// The reader is told how much it missed, and that was all for it.
    Disconnect,
}

impl FeedOverflow {
    /// Publishers wait, for up to 5 s.
    pub const BLOCK: FeedOverflow = FeedOverflow::Block(PATIENCE);

    fn is_shared(self) -> bool {
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
        let open = Open {
            bus: Arc::downgrade(self.bus),
            feed,
            patterns,
            overflow: self.overflow,
            state: AtomicUsize::new(PAUSED),
            registered: AtomicCell::default(),
            is_read: AtomicBool::new(false),
        };
        open.begin()?;
        Ok(EventFeed(Arc::new(open)))
    }
}

/// A feed that is open. A handle, cheap to clone; the feed ends with its last handle or reader, or with the bus, and keeps
/// neither alive. What readers have not taken by then they still can.
#[derive(Clone)]
pub struct EventFeed(Arc<Open>);

const PAUSED: usize = 0;
/// Somebody is just pausing or resuming it; who wants to as well leaves it to that one, for it may be on the same thread.
const CHANGING: usize = 1;
const OPEN: usize = 2;

pub(crate) struct Open {
    bus: Weak<Bus>,
    feed: Arc<Feed>,
    patterns: Box<[Pattern]>,
    overflow: FeedOverflow,
    /// [`PAUSED`], [`CHANGING`] or [`OPEN`].
    state: AtomicUsize,
    /// What the bus knows it by, while it is open.
    registered: AtomicCell<Option<Arc<Subscriber>>>,
    is_read: AtomicBool,
}

impl EventFeed {
    /// A reader of the events that are numbered from now on. Where the oldest make room, or readers are disconnected, there
    /// may be any number of readers, which share what is kept; elsewhere only one, ever, and `None` for those who come later.
    #[must_use]
    pub fn reader(&self) -> Option<FeedReader> {
        let is_first = !self.0.is_read.swap(true, Ordering::Relaxed);
        if !is_first && !self.0.overflow.is_shared() {
            return None;
        }
        let bus = self.0.bus.upgrade();
        let last = || bus.as_ref().map_or(u64::MAX, |bus| bus.engine.last_sequence());
        let reader = Reader::join(Arc::clone(&self.0.feed), last);
        Some(FeedReader { reader, open: Arc::clone(&self.0), is_over: false })
    }

    /// The patterns of the events that it gets, in the order given.
    #[must_use]
    pub fn patterns(&self) -> &[Pattern] {
        &self.0.patterns
    }

    /// Lets nothing in until [`resume`](Self::resume). Every event of a publish that returned before is in the feed; readers
    /// take what is there. False if it was paused already, its bus is gone, or somebody is just resuming it.
    pub fn pause(&self) -> bool {
        self.0.end()
    }

    /// Lets events in again, from the next publish on. It changes nothing if the feed is not paused, or is just being so.
    ///
    /// # Errors
    /// A bus that is shut down or gone.
    pub fn resume(&self) -> Result<(), EventSubscriptionError> {
        self.0.begin()
    }

    /// Names the feed without keeping it open.
    pub(crate) fn downgrade(&self) -> Weak<Open> {
        Arc::downgrade(&self.0)
    }

    pub(crate) fn upgrade(open: &Weak<Open>) -> Option<Self> {
        open.upgrade().map(EventFeed)
    }
}

impl Open {
    fn begin(&self) -> Result<(), EventSubscriptionError> {
        if !self.change(PAUSED) {
            return Ok(());
        }
        let begun = self.register();
        self.state.store(if begun.is_some() { OPEN } else { PAUSED }, Ordering::SeqCst);
        begun.ok_or_else(|| SubscriptionErrorKind::Closed.into())
    }

    fn register(&self) -> Option<()> {
        let bus = self.bus.upgrade()?;
        let end = FeedEnd::of(&self.feed);
        let subscriber = bus.registry.open_feed(&bus.engine, self.patterns.clone(), end).ok()?;
        self.registered.store(Some(subscriber));
        bus.engine.begin_feed(&self.feed);
        Some(())
    }

    fn end(&self) -> bool {
        if !self.change(OPEN) {
            return false;
        }
        self.feed.pause();
        let registered = self.bus.upgrade().zip(self.registered.take());
        let was_registered = registered.is_some();
        if let Some((bus, subscriber)) = registered {
            bus.registry.unsubscribe(&bus.engine, &subscriber);
            bus.engine.end_feed(&self.feed);
        }
        self.state.store(PAUSED, Ordering::SeqCst);
        was_registered
    }

    fn change(&self, from: usize) -> bool {
        self.state.compare_exchange(from, CHANGING, Ordering::SeqCst, Ordering::SeqCst).is_ok()
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.end();
    }
}

/// What a reader gets.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum FeedItem {
    /// An event, with its number: each higher than the one before.
    Event(Recorded),
    /// The reader was too slow for this many events, which all matched. Their place is here.
    Lagged(u64),
}

/// Takes events out of a feed. A [`Stream`] that ends when the feed is closed and empty.
///
/// A reader that is waiting is woken by the publisher, on its thread. Dropping a future that waits for the next item loses
/// nothing.
#[must_use = "a reader that nobody reads from keeps its feed open"]
pub struct FeedReader {
    reader: Reader,
    open: Arc<Open>,
    is_over: bool,
}

impl FeedReader {
    /// The next item, if there is one now.
    pub fn try_next(&mut self) -> Option<FeedItem> {
        loop {
            match self.reader.next() {
                _ if self.is_over => return None,
                Next::Item(item) => return Some(self.told(item)),
                Next::Unsettled => std::thread::yield_now(),
                Next::Nothing | Next::Over => return None,
            }
        }
    }

    /// The number after which this reader's events begin: it gets all that match and have a higher one, and no others.
    #[must_use]
    pub fn joined_after(&self) -> u64 {
        self.reader.joined_after()
    }

    /// How many events wait for this reader.
    #[must_use]
    pub fn buffered(&self) -> u64 {
        if self.is_over { 0 } else { self.watch().buffered() }
    }

    /// Whether it was told that it is too slow, and gets nothing more.
    #[must_use]
    pub fn is_disconnected(&self) -> bool {
        self.is_over
    }

    /// The figures of this reader, to be read while it is somewhere else.
    #[must_use]
    pub fn watch(&self) -> FeedReaderWatch {
        FeedReaderWatch { feed: Arc::clone(&self.open.feed), counts: Arc::clone(self.reader.counts()) }
    }

    /// The feed that it reads.
    #[must_use]
    pub fn feed(&self) -> EventFeed {
        EventFeed(Arc::clone(&self.open))
    }

    fn told(&mut self, item: feed_reader::FeedItem) -> FeedItem {
        match item {
            feed_reader::FeedItem::Event((sequence, event)) => {
                FeedItem::Event(Recorded::new(sequence, event))
            }
            feed_reader::FeedItem::Lagged(missed) => {
                self.is_over = self.open.overflow == FeedOverflow::Disconnect;
                FeedItem::Lagged(missed)
            }
        }
    }
}

/// The figures of a reader. Keeps no feed open.
#[derive(Clone)]
pub struct FeedReaderWatch {
    feed: Arc<Feed>,
    counts: Arc<Taken>,
}

impl FeedReaderWatch {
    /// Events that the reader has taken.
    #[must_use]
    pub fn delivered(&self) -> u64 {
        self.counts.delivered.load(Ordering::Acquire)
    }

    /// Events that it missed, whether it was told already or not.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.counts.buffered_and_missed(&self.feed).1
    }

    /// Events that wait for it.
    #[must_use]
    pub fn buffered(&self) -> u64 {
        self.counts.buffered_and_missed(&self.feed).0
    }
}

impl fmt::Debug for FeedReaderWatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (delivered, dropped, buffered) = (self.delivered(), self.dropped(), self.buffered());
        f.debug_struct("FeedReaderWatch")
            .field("delivered", &delivered)
            .field("dropped", &dropped)
            .field("buffered", &buffered)
            .finish()
    }
}

impl Drop for FeedReader {
    fn drop(&mut self) {
        // Nobody else can read what it read, and publishers might wait for it.
        if !self.open.overflow.is_shared() {
            self.open.end();
        }
    }
}

impl Stream for FeedReader {
    type Item = FeedItem;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<FeedItem>> {
        if self.is_over {
            return Poll::Ready(None);
        }
        let polled = self.reader.poll_next(context);
        polled.map(|item| item.map(|item| self.told(item)))
    }
}

impl fmt::Debug for FeedBuilder<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FeedBuilder").field("room", &self.room).field("overflow", &self.overflow).finish()
    }
}

impl fmt::Debug for EventFeed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventFeed").field("patterns", &self.patterns()).finish_non_exhaustive()
    }
}

impl fmt::Debug for FeedReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FeedReader").field("buffered", &self.buffered()).finish_non_exhaustive()
    }
}
