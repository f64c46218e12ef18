//! Where handlers sit: numbered slots that can be emptied while others look.
//!
//! Routes name a slot and a key, never a handler, so a route in an old snapshot, a job or a letter keeps no
//! closure alive: the slot is emptied and the route leads nowhere. Keys are never reused; slots are, once
//! nobody can be looking at what was in them.
//!
//! Taking a handler out and taking it apart are two steps. [`Slots::take`] empties the slot; what it returns
//! waits in [`Grace`] until every pin that was held at that moment has been dropped. Only then are the
//! closure and its captures dropped, outside of any pin or lock, since a destructor is user code.

#![allow(unsafe_code)] // Handlers sit behind atomic pointers; every block carries its proof.

use super::handler::Handler;
use super::shard::{HeldPins, Pin, Shard};
use crate::context::within_bus;
use crate::quiet::{log, panics};
use crate::sync::{AtomicPtr, AtomicUsize, Ordering, fence, heavy_fence};
use crossbeam_queue::SegQueue;
use std::ptr::{self, NonNull};
use std::sync::{Arc, OnceLock};

/// The place of one subscription in a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    /// Of the subscription; in order of subscribing, never reused. Those of feeds have the highest bit set.
    pub(crate) key: u64,
    place: Place,
    /// The number of the slot at `place`.
    pub(crate) slot: u32,
    pub(crate) priority: i32,
}

/// Where a slot is in memory. PERF: saves the look-up by number at every turn (`publish/10 handlers`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place(NonNull<AtomicPtr<Handler>>);

// SAFETY: a place is an address; what it points to is an atomic, and is only looked at through `Slots`.
unsafe impl Send for Place {}
// SAFETY: as above.
unsafe impl Sync for Place {}

/// Marks the keys of feeds.
pub(crate) const FEED: u64 = 1 << 63;

impl Entry {
    /// Whether it leads to a feed: something that gets events when they are recorded, and has no turn.
    #[inline]
    pub(crate) fn is_feed(&self) -> bool {
        self.key & FEED != 0
    }

    /// Sorts feeds before all others; those by descending priority, ties in order of subscribing.
    pub(crate) fn rank(&self) -> (bool, std::cmp::Reverse<i32>, u64) {
        (!self.is_feed(), std::cmp::Reverse(self.priority), self.key)
    }
}

/// The two parts of a route: its feeds, and those who have a turn.
#[inline]
pub(crate) fn parted(route: &[Entry]) -> (&[Entry], &[Entry]) {
    match route.first() {
        Some(first) if first.is_feed() => route.split_at(route.partition_point(Entry::is_feed)),
        _ => (&[], route),
    }
}

/// Log2 of the size of the first bucket; each further bucket is twice as large as the one before.
const FIRST_BUCKET_BITS: u32 = 5;
const BUCKETS: usize = (u32::BITS - FIRST_BUCKET_BITS) as usize;

type Bucket = Box<[AtomicPtr<Handler>]>;

/// Slots never move, so a reader needs no snapshot of them.
pub(crate) struct Slots {
    buckets: [OnceLock<Bucket>; BUCKETS],
}

/// Bucket and place in it.
#[inline]
fn locate(slot: u32) -> (usize, usize) {
    let position = slot as usize + (1 << FIRST_BUCKET_BITS);
    let bits = position.ilog2();
    ((bits - FIRST_BUCKET_BITS) as usize, position - (1 << bits))
}

impl Slots {
    pub(crate) fn new() -> Self {
        Slots { buckets: [const { OnceLock::new() }; BUCKETS] }
    }

    /// An entry for a subscription that is about to move into `slot`.
    pub(crate) fn entry(&self, slot: u32, key: u64, priority: i32) -> Entry {
        let (bucket, place) = locate(slot);
        let bucket = self.buckets[bucket].get_or_init(|| {
            (0..1_usize << (bucket as u32 + FIRST_BUCKET_BITS)).map(|_| AtomicPtr::default()).collect()
        });
        Entry { key, place: Place(NonNull::from(&bucket[place])), slot, priority }
    }

    #[inline]
    fn pointer(&self, entry: &Entry) -> &AtomicPtr<Handler> {
        // SAFETY: entries are made by `entry` above, of the same `Slots`: a table, a name's route and a letter
        // belong to one bus, and so do its slots. Slots do not move or go before `self` does.
        unsafe { entry.place.0.as_ref() }
    }

    /// The handler that `entry` names, unless it was unsubscribed; lent for as long as the pin is held.
    #[inline]
    pub(crate) fn get<'p>(&self, entry: &Entry, _pin: &'p Pin<'_>) -> Option<&'p Handler> {
        let handler = self.pointer(entry).load(Ordering::Acquire);
        // SAFETY: the pointer is null or came from `Box::into_raw` in `put`, whose Release store this load
        // acquires. Whoever empties the slot hands the handler to `Grace`, which waits for pins that began
        // before; ours did, or this load would have seen the slot empty (the fences in `Shard::pin` and `begin`).
        let handler = unsafe { handler.as_ref() }?;
        (handler.key == entry.key).then_some(handler)
    }

    /// Fills an empty slot. The caller is the only one that fills slots.
    pub(crate) fn put(&self, entry: &Entry, handler: Box<Handler>) {
        let before = self.pointer(entry).swap(Box::into_raw(handler), Ordering::AcqRel);
        debug_assert!(before.is_null(), "slot {} was not empty", entry.slot);
    }

    /// Empties the slot if `handler`, which the pin protects, is still in it.
    pub(crate) fn take_exact(&self, handler: &Handler, _pin: &Pin<'_>) -> Option<Taken> {
        let entry = &handler.subscriber.entry;
        let expected = ptr::from_ref(handler).cast_mut();
        // Under a pin the address cannot have been freed and used again.
        self.pointer(entry)
            .compare_exchange(expected, ptr::null_mut(), Ordering::AcqRel, Ordering::Relaxed)
            .ok()
            .and_then(NonNull::new)
            .map(|handler| Taken { handler, slot: entry.slot })
    }

    /// Empties the slot. The caller makes sure that it still belongs to the subscription of `entry`: a slot is
    /// given to another only by the caller, after `Grace`.
    pub(crate) fn take(&self, entry: &Entry) -> Option<Taken> {
        let handler = NonNull::new(self.pointer(entry).swap(ptr::null_mut(), Ordering::AcqRel))?;
        Some(Taken { handler, slot: entry.slot })
    }

    /// Takes everything apart at the end of bus `key`.
    pub(crate) fn clear(&mut self, key: u64) {
        for pointer in self.buckets.iter().filter_map(OnceLock::get).flatten() {
            if let Some(handler) = NonNull::new(pointer.swap(ptr::null_mut(), Ordering::Relaxed)) {
                // SAFETY: `&mut self`: nobody looks any more, and the slot owned its handler.
                let handler = unsafe { Box::from_raw(handler.as_ptr()) };
                let subscriber = Arc::clone(&handler.subscriber);
                take_apart(handler, key);
                subscriber.set_gone();
            }
        }
    }
}

/// A handler that is out of its slot, but may still be running.
pub(crate) struct Taken {
    handler: NonNull<Handler>,
    slot: u32,
}

// SAFETY: a `Taken` owns its handler, and `Handler` is `Send + Sync` (its closures are required to be).
unsafe impl Send for Taken {}

struct Waiting {
    taken: Taken,
    /// The pins that may still lend the handler, by the value they had.
    pins: HeldPins,
}

/// The waiting room of taken handlers.
pub(crate) struct Grace {
    /// Of the bus.
    key: u64,
    waiting: SegQueue<Waiting>,
    /// How many are waiting or being taken apart.
    count: AtomicUsize,
    /// Slots that nobody looks at any more.
    free: SegQueue<u32>,
}

impl Grace {
    pub(crate) fn new(key: u64) -> Self {
        Grace { key, waiting: SegQueue::new(), count: AtomicUsize::new(0), free: SegQueue::new() }
    }

    /// Whether there may be something to [`sweep`](Self::sweep).
    #[inline]
    pub(crate) fn is_busy(&self) -> bool {
        self.count.load(Ordering::Relaxed) != 0
    }

    /// A slot that was in use before.
    pub(crate) fn free_slot(&self) -> Option<u32> {
        self.free.pop()
    }

    /// Returns a slot that was not used after all.
    pub(crate) fn give_slot(&self, slot: u32) {
        self.free.push(slot);
    }

    /// Lets `taken` wait for the pins held at this moment. `shards` is called after the slot is known to be
    /// empty to all.
    pub(crate) fn begin(&self, taken: Taken, shards: impl FnOnce() -> Arc<Vec<Arc<Shard>>>) {
        self.count.fetch_add(1, Ordering::SeqCst);
        // Ordering: see `Shard::pin`. Whoever pins after this finds the slot empty, a shard that is not listed yet
        // included; and whoever unpins after this finds `is_busy`.
        heavy_fence();
        let pins = HeldPins::now(&shards());
        self.waiting.push(Waiting { taken, pins });
    }

    /// Takes apart what nobody can be looking at any more; gives up after `looks` at some that are not over. Runs
    /// destructors: not under a lock or a pin.
    #[cold]
    pub(crate) fn sweep(&self, looks: usize) {
        // Ordering: of "push, then look at the pins" in one thread and "unpin, then look at the queue" in another,
        // one sees the other: each passes this fence in between.
        fence(Ordering::SeqCst);
        // A destructor may unsubscribe others, so it goes on while there is progress.
        while self.sweep_once(looks) {}
    }

    fn sweep_once(&self, looks: usize) -> bool {
        let mut any = false;
        let mut in_vain = 0;
        for _ in 0..self.waiting.len() {
            let Some(waiting) = self.waiting.pop() else { break };
            if !waiting.pins.are_over() {
                let pins = waiting.pins.clone();
                self.waiting.push(waiting);
                // While it was out of the queue, those who unpinned did not find it: look once more. Who unpins
                // later finds it.
                fence(Ordering::SeqCst);
                any |= pins.are_over();
                in_vain += 1;
                if in_vain == looks {
                    break;
                }
                continue;
            }
            let Taken { handler, slot } = waiting.taken;
            // SAFETY: the handler is out of its slot, `Taken` is its only owner, and every pin that could lend
            // it has been dropped.
            let handler = unsafe { Box::from_raw(handler.as_ptr()) };
            let subscriber = Arc::clone(&handler.subscriber);
            take_apart(handler, self.key);
            // The slot before the word that it is over: who waited for that may count on the slot's counts.
            self.free.push(slot);
            subscriber.set_gone();
            self.count.fetch_sub(1, Ordering::SeqCst);
            any = true;
        }
        any
    }
}

/// Drops a handler and its captures, which is user code of bus `key`.
fn take_apart(handler: Box<Handler>, key: u64) {
    let subscriber = Arc::clone(&handler.subscriber);
    if within_bus(key, || panics(|| drop(handler))) {
        log(|| {
            tracing::error!(subscriber_id = subscriber.id(), "a destructor of a handler's captures panicked");
        });
    }
}

impl Drop for Grace {
    fn drop(&mut self) {
        while let Some(Waiting { taken, .. }) = self.waiting.pop() {
            // SAFETY: `&mut self`: the bus is gone, so nobody looks at handlers; see `sweep_once`.
            let handler = unsafe { Box::from_raw(taken.handler.as_ptr()) };
            let subscriber = Arc::clone(&handler.subscriber);
            take_apart(handler, self.key);
            subscriber.set_gone();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_fill_their_buckets_without_gaps() {
        let mut places: Vec<_> = (0..1_000).map(locate).collect();
        places.dedup();
        assert_eq!(places.len(), 1_000);
        for (bucket, place) in places {
            assert!(place < 1 << (bucket as u32 + FIRST_BUCKET_BITS));
        }
        assert_eq!(locate(u32::MAX - 32).0, BUCKETS - 1);
    }
}
