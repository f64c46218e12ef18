//! A feed that is open, paused, or over.

use super::FeedOverflow;
use super::reader::FeedReader;
use crate::bus::Bus;
use crate::dispatch::feed::Feed;
use crate::dispatch::feed_reader::FeedReader as Reader;
use crate::dispatch::subscriber::Subscriber;
use crate::error::{EventSubscriptionError, SubscriptionErrorKind};
use crate::matcher::Pattern;
use crate::sync::{AtomicBool, AtomicCell, AtomicUsize, Ordering};
use std::fmt;
use std::sync::{Arc, Weak};

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
    pub(super) feed: Arc<Feed>,
    patterns: Box<[Pattern]>,
    pub(super) overflow: FeedOverflow,
    /// [`PAUSED`], [`CHANGING`] or [`OPEN`].
    state: AtomicUsize,
    /// What the bus knows it by, while it is open.
    registered: AtomicCell<Option<Arc<Subscriber>>>,
    is_read: AtomicBool,
}

impl EventFeed {
    pub(super) fn of(open: Open) -> Self {
        EventFeed(Arc::new(open))
    }

    pub(super) fn handle(open: &Arc<Open>) -> Self {
        EventFeed(Arc::clone(open))
    }

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
        Some(FeedReader::new(reader, Arc::clone(&self.0)))
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

    /// Whether its bus was shut down or is gone: nothing comes in any more.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.0.feed.is_closed()
    }

    /// What it was opened with.
    #[must_use]
    pub(crate) fn kind(&self) -> (Vec<Pattern>, usize, FeedOverflow) {
        (self.patterns().to_vec(), self.0.feed.room(), self.0.overflow)
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
    pub(super) fn new(
        bus: &Arc<Bus>,
        feed: Arc<Feed>,
        patterns: Box<[Pattern]>,
        overflow: FeedOverflow,
    ) -> Self {
        Open {
            bus: Arc::downgrade(bus),
            feed,
            patterns,
            overflow,
            state: AtomicUsize::new(PAUSED),
            registered: AtomicCell::default(),
            is_read: AtomicBool::new(false),
        }
    }

    pub(super) fn begin(&self) -> Result<(), EventSubscriptionError> {
        if !self.change(PAUSED) {
            return Ok(());
        }
        let begun = self.register();
        self.state.store(if begun.is_some() { OPEN } else { PAUSED }, Ordering::SeqCst);
        begun.ok_or_else(|| SubscriptionErrorKind::Closed.into())
    }

    fn register(&self) -> Option<()> {
        let bus = self.bus.upgrade()?;
        let subscriber = bus.registry.open_feed(&bus.engine, self.patterns.clone(), &self.feed).ok()?;
        self.registered.store(Some(subscriber));
        bus.engine.begin_feed(&self.feed);
        Some(())
    }

    pub(super) fn end(&self) -> bool {
        if !self.change(OPEN) {
            return false;
        }
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

impl fmt::Debug for EventFeed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventFeed").field("patterns", &self.patterns()).finish_non_exhaustive()
    }
}
