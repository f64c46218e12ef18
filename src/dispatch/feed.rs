//! Feeds: recorded events, kept for readers who take them when they like.
//!
//! A publisher gives an event to the feeds of its route as soon as it has its number, before any handler runs, so that a slow
//! handler holds up no reader. It leaves a feed's room as it found it: what there is no room for is displaced, refused, or
//! was waited for before the event had its number (see [`feeding`](super::feeding)).
//!
//! A [shared](Kept::Shared) feed has one log for any number of readers, each with a place of its own in it: what a reader
//! misses costs its publisher nothing. An [own](Kept::Own) feed has one reader, and keeps what that has not taken.
//!
//! Publishers race, so events come in here nearly in the order of their numbers. How a reader gets them exactly in that
//! order is told in [`feed_reader`](super::feed_reader).

use super::shard::{Recordings, Shard};
use crate::bounded::{Bounded, Waiter};
use crate::event::Event;
use crate::quiet::{drop_quietly, log, panics};
use crate::ring::{Ring, Spare};
use crate::sync::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use arc_swap::ArcSwap;
use atomic_waker::AtomicWaker;
use crossbeam_queue::SegQueue;
use std::sync::Arc;
use std::time::Duration;

/// An event with the number of its publication.
pub(crate) type Numbered = (u64, Arc<Event>);

/// All shards of a bus.
pub(crate) type Shards = Arc<ArcSwap<Vec<Arc<Shard>>>>;

/// How many readers that are gone may be listed, unless those are the smaller half.
const STALE_MAX: usize = 32;

pub(crate) struct Feed {
    pub(super) kept: Kept,
    /// How many events a reader may be behind.
    pub(super) room: usize,
    /// Readers to be woken; each is here once at most.
    sleeping: SegQueue<Arc<Sleeper>>,
    /// How many of those are gone.
    stale: AtomicUsize,
    is_closed: AtomicBool,
    /// The bus knows it, and will close it.
    is_known: AtomicBool,
    /// All events up to this number that will ever be in the feed are in it.
    pub(super) settled: AtomicU64,
    pub(super) shards: Shards,
}

/// A reader that waits for something to come in.
#[derive(Default)]
pub(super) struct Sleeper {
    pub(super) waker: AtomicWaker,
    pub(super) is_listed: AtomicBool,
}

impl Sleeper {
    fn wake(&self) {
        self.is_listed.store(false, Ordering::SeqCst);
        self.waker.wake();
    }
}

/// What becomes of events that a reader does not take.
#[allow(clippy::large_enum_variant, reason = "each is behind an `Arc`")]
pub(super) enum Kept {
    Shared(Ring<Numbered>),
    Own(Own),
}

pub(super) struct Own {
    pub(super) items: Bounded<Numbered>,
    /// How long a publisher waits for room; `None`: not at all.
    patience: Option<Duration>,
    /// Events for which there was no room.
    pub(super) missed: AtomicU64,
    /// The lowest number of those that the reader was not told of; `u64::MAX` if there is none, or it is not known yet.
    pub(super) gap: AtomicU64,
}

/// A place in a feed, reserved for an event that has no number yet. Dropped unused, it is free again.
pub(crate) struct FeedPlace {
    feed: Arc<Feed>,
    is_filled: bool,
}

impl FeedPlace {
    pub(super) fn is_in(&self, feed: &Feed) -> bool {
        std::ptr::eq(&*self.feed, feed)
    }
}

impl Drop for FeedPlace {
    fn drop(&mut self) {
        if let (false, Kept::Own(own)) = (self.is_filled, &self.feed.kept) {
            own.items.give_back();
        }
    }
}

impl Feed {
    /// For any number of readers: keeps the newest `room` events for each.
    pub(crate) fn shared(room: usize, shards: Shards) -> Arc<Self> {
        Feed::new(Kept::Shared(Ring::new(room)), room, shards)
    }

    /// For one reader: keeps the oldest `room` events that it has not taken. A publisher waits for room as long as `patience`
    /// says, if it may wait at all.
    pub(crate) fn own(room: usize, patience: Option<Duration>, shards: Shards) -> Arc<Self> {
        let (missed, gap) = (AtomicU64::new(0), AtomicU64::new(u64::MAX));
        Feed::new(Kept::Own(Own { items: Bounded::new(room), patience, missed, gap }), room, shards)
    }

    fn new(kept: Kept, room: usize, shards: Shards) -> Arc<Self> {
        Arc::new(Feed {
            kept,
            room,
            sleeping: SegQueue::new(),
            stale: AtomicUsize::new(0),
            is_closed: AtomicBool::new(false),
            is_known: AtomicBool::new(false),
            settled: AtomicU64::new(0),
            shards,
        })
    }

    /// How long its owner lets a publisher wait for room; `None` if not at all.
    pub(crate) fn patience(&self) -> Option<Duration> {
        match &self.kept {
            Kept::Shared(_) => None,
            Kept::Own(own) => own.patience,
        }
    }

    /// How many events a reader may be behind.
    pub(crate) fn room(&self) -> usize {
        self.room
    }

    /// Takes a place for one event, if there is one to be had beforehand.
    pub(super) fn hold_place(self: &Arc<Self>) -> Option<FeedPlace> {
        let Kept::Own(own) = &self.kept else { return None };
        let is_held = own.items.reserve();
        is_held.then(|| FeedPlace { feed: Arc::clone(self), is_filled: false })
    }

    /// Waits for a place.
    pub(super) fn waiter(&self) -> Option<Waiter<'_, Numbered>> {
        match &self.kept {
            Kept::Shared(_) => None,
            Kept::Own(own) => Some(own.items.waiter()),
        }
    }

    /// Puts an event in; returns one that made room for it.
    #[inline]
    pub(super) fn push(
        &self,
        (sequence, event): (u64, &Arc<Event>),
        place: Option<FeedPlace>,
        spare: &mut Spare<Numbered>,
    ) -> Option<Numbered> {
        match &self.kept {
            Kept::Shared(ring) => ring.push(spare, (sequence, Arc::clone(event))).1,
            Kept::Own(own) => {
                own.put(sequence, event, place);
                None
            }
        }
    }

    /// Whether readers wait for something to come in.
    #[inline]
    pub(super) fn has_sleeping(&self) -> bool {
        // Ordering: SeqCst in the queue, in `push` and in `is_news`: see there.
        !self.sleeping.is_empty()
    }

    /// Wakes them.
    pub(super) fn wake(&self) {
        // Those that are here now: one that is woken may be back before this is over.
        for _ in 0..self.sleeping.len() {
            let Some(sleeper) = self.sleeping.pop() else { return };
            if panics(|| sleeper.wake()) {
                log(|| tracing::error!("the waker of a feed's reader panicked"));
            }
        }
    }

    /// Wakes `sleeper` when something comes in.
    pub(super) fn list(&self, sleeper: &Arc<Sleeper>) {
        self.sleeping.push(Arc::clone(sleeper));
    }

    /// A reader that is listed is gone. Where nothing is published nobody would strike it from the list: now and then it is
    /// made anew, by waking those who are left.
    pub(super) fn strike_one(&self) {
        let stale = self.stale.fetch_add(1, Ordering::Relaxed) + 1;
        if stale >= STALE_MAX && stale > self.sleeping.len() / 2 {
            self.stale.store(0, Ordering::Relaxed);
            self.wake();
        }
    }

    /// Whether there may be something for a reader that looked last when `taken` events had come in.
    ///
    /// Ordering: of "put in, then look who sleeps" in a publisher and "go to sleep, then ask this" in a reader, one sees the
    /// other: everything in it is SeqCst.
    pub(super) fn is_news(&self, taken: u64) -> bool {
        match &self.kept {
            Kept::Shared(ring) => ring.has_after(taken),
            Kept::Own(own) => !own.items.is_empty(),
        }
    }

    /// Waits until every publish that may be about to record an event has done so.
    pub(super) fn wait_for_recordings(&self) {
        Recordings::now(&self.shards.load()).wait();
    }

    /// Nothing comes in any more.
    pub(crate) fn is_closed(&self) -> bool {
        self.is_closed.load(Ordering::SeqCst)
    }

    /// Readers end when they have taken what is there.
    pub(super) fn close(&self) {
        self.is_closed.store(true, Ordering::SeqCst);
        self.end_waits();
        self.wake();
    }

    /// Whether the bus gets to know it only now.
    pub(crate) fn is_new(&self) -> bool {
        !self.is_known.swap(true, Ordering::Relaxed)
    }

    /// How many events came in, and how many of an own feed there was no room for.
    pub(super) fn came_in(&self) -> u64 {
        match &self.kept {
            Kept::Shared(ring) => ring.last_sequence(),
            Kept::Own(own) => own.missed.load(Ordering::SeqCst),
        }
    }

    /// Publishers look again where they may put their events.
    pub(super) fn end_waits(&self) {
        if let Kept::Own(own) = &self.kept {
            own.items.end_waits();
        }
    }
}

impl Own {
    fn put(&self, sequence: u64, event: &Arc<Event>, place: Option<FeedPlace>) {
        let is_reserved = match place {
            Some(mut place) => {
                place.is_filled = true;
                true
            }
            None => self.items.reserve(),
        };
        if is_reserved {
            self.items.put((sequence, Arc::clone(event)));
            return;
        }
        if self.gap.load(Ordering::SeqCst) > sequence {
            self.gap.fetch_min(sequence, Ordering::SeqCst);
        }
        // Ordering: SeqCst, as what comes in is; see `is_news`.
        self.missed.fetch_add(1, Ordering::SeqCst);
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        while let Some(item) = self.items.displace() {
            drop_quietly(item);
        }
    }
}
