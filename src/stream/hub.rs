//! The subscriptions of a stream, and its beginning and end.

use super::async_stream::{StreamId, StreamStats};
use super::consumer::{Inlet, StreamItem};
use crate::bus::{EventBus, EventFeed, FeedOverflow, FeedReader, FeedReaderWatch, Host, Open, WeakEventBus};
use crate::error::{EventSubscriptionError, SubscriptionErrorKind};
use crate::matcher::Pattern;
use crate::sync::{AtomicBool, AtomicCell, AtomicU64, Ordering};
use atomic_waker::AtomicWaker;
use dashmap::DashMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

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
    /// The last number of a subscription that has ended, and whose feed is its own: nothing comes in any more.
    const ALL_THERE_IS: u64 = u64::MAX - 1;

    fn is_released(&self) -> bool {
        self.last.load(Ordering::SeqCst) == Self::ALL_THERE_IS
    }

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

    pub(super) fn take_inlet(&self) -> Option<Box<Inlet>> {
        self.inlet.take()
    }

    pub(super) fn stats(&self) -> StreamStats {
        StreamStats {
            delivered: self.delivered.load(Ordering::Relaxed),
            dropped: self.watch.dropped(),
            buffered: self.watch.buffered(),
        }
    }
}

impl Hub {
    pub(super) fn new(bus: &EventBus, own: Option<EventBus>, heartbeat: Option<Duration>) -> Self {
        Hub {
            host: bus.host(),
            bus: bus.downgrade(),
            own,
            heartbeat,
            seats: DashMap::new(),
            last_id: AtomicU64::new(0),
            shared: DashMap::new(),
            is_stopped: Arc::default(),
        }
    }

    /// Its bus, unless that is its own and the stream is stopped.
    pub(super) fn bus_to_publish_on(&self) -> Option<EventBus> {
        self.bus().filter(|_| self.own.is_none() || !self.is_stopped())
    }

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
        let key = (patterns.to_vec(), buffer, overflow);
        let known = self.shared.get(&key).and_then(|feed| EventFeed::upgrade(&feed));
        let feed = match known.filter(|feed| !feed.is_closed()) {
            Some(feed) => feed,
            None => open()?,
        };
        if overflow.is_shared() {
            if self.shared.len() > 2 * self.seats.len() {
                self.shared.retain(|_, feed| feed.strong_count() > 0);
            }
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
            let _ = self.settle(&seat);
        }
        id
    }

    pub(super) fn forget(&self, id: StreamId) -> Option<Arc<Seat>> {
        self.seats.remove(&id).map(|(_, seat)| seat)
    }

    pub(super) fn seat(&self, id: StreamId) -> Option<Arc<Seat>> {
        self.seats.get(&id).map(|seat| Arc::clone(&seat))
    }

    pub(super) fn seats(&self) -> Vec<Arc<Seat>> {
        self.seats.iter().map(|seat| Arc::clone(&seat)).collect()
    }

    pub(super) fn unsubscribe(&self, id: StreamId) -> bool {
        let Some(seat) = self.forget(id) else { return false };
        let last = match self.bus() {
            Some(bus) if !self.is_alone(&seat) => bus.history().last_sequence(),
            _ => Seat::ALL_THERE_IS,
        };
        seat.last.store(last, Ordering::SeqCst);
        // No publisher waits for its consumer any more, and nothing that comes now costs it what was accepted.
        let _ = self.settle(&seat);
        seat.waker.wake();
        true
    }

    /// Whether no other subscription reads the same feed, now or later.
    fn is_alone(&self, seat: &Seat) -> bool {
        let (kind, own) = (seat.feed.kind(), seat.feed.downgrade());
        // Held by the seat and by its reader. Whoever is about to share it does so under the lock that this takes.
        let is_alone = |feed: &Weak<Open>| feed.ptr_eq(&own) && feed.strong_count() <= 2;
        !kind.2.is_shared() || self.shared.remove_if(&kind, |_, feed| is_alone(feed)).is_some()
    }

    pub(super) fn start(&self) -> Result<(), EventSubscriptionError> {
        self.bus().ok_or(SubscriptionErrorKind::Closed)?;
        self.is_stopped.store(false, Ordering::SeqCst);
        self.seats().iter().try_for_each(|seat| self.settle(seat))
    }

    pub(super) fn stop(&self) {
        for seat in self.seats() {
            seat.feed.pause();
        }
        // Whoever sees this finds in its feed all that was accepted.
        self.is_stopped.store(true, Ordering::SeqCst);
        for seat in self.seats() {
            let _ = self.settle(&seat);
            seat.waker.wake();
        }
    }

    /// Pauses or resumes a feed, whatever the stream is by now: of those that stop and start it at the same time, one looks last.
    fn settle(&self, seat: &Seat) -> Result<(), EventSubscriptionError> {
        loop {
            let is_idle = self.is_stopped() || seat.is_released();
            if is_idle {
                seat.feed.pause();
            } else {
                seat.feed.resume()?;
            }
            if is_idle == (self.is_stopped() || seat.is_released()) {
                return Ok(());
            }
        }
    }
}

impl Drop for Hub {
    fn drop(&mut self) {
        self.stop();
    }
}
