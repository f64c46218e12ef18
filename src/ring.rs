//! A lock-free ring that keeps the newest values, numbered from 1 in the order they were recorded.
//!
//! Writers never wait and never allocate: each brings a spare node, swaps it into its slot and leaves
//! with the node that it displaced. A node carries its own sequence number, so a slot is one pointer wide
//! and a record is seen whole or not at all.
//!
//! Readers are few and pay for that: each announces the one node that it is copying (a hazard), and a
//! writer that sees any reader about looks through the announcements before it reuses a node. A node that
//! is being copied is set aside with its value; a reader announces one node at a time, so the nodes aside
//! are about as many as the readers.
//!
//! The ring hands every displaced value back instead of dropping it: a destructor is user code, and only
//! the caller knows when it may run. It never names an event.

#![allow(unsafe_code)] // Nodes change hands through atomic pointers; every block carries its proof.

use crate::quiet::drop_quietly;
use crate::sync::{AtomicBool, AtomicPtr, AtomicU64, AtomicUsize, Ordering};
use crossbeam_queue::SegQueue;
use crossbeam_utils::{Backoff, CachePadded};
use std::mem::ManuallyDrop;
use std::ptr::{self, NonNull};

/// How many readers may copy at the same moment; one more waits for a place.
const READERS_MAX: usize = 32;

struct Node<T> {
    /// 0 until the node is first recorded.
    sequence: u64,
    value: Option<T>,
}

/// The only owner of a node that is in no slot. A raw pointer and not a `Box`, because readers may still be
/// looking at a node that was just displaced.
struct Owned<T>(NonNull<Node<T>>);

// SAFETY: an `Owned` gives its holder the value to drop or to read, which `T: Send + Sync` allows from any
// thread. The bound is also what makes `Ring<T>`, which holds a queue of these, `Send` and `Sync`.
unsafe impl<T: Send + Sync> Send for Owned<T> {}

impl<T> Owned<T> {
    fn empty() -> Self {
        Owned(NonNull::from(Box::leak(Box::new(Node { sequence: 0, value: None }))))
    }

    fn into_raw(self) -> *mut Node<T> {
        ManuallyDrop::new(self).0.as_ptr()
    }

    fn sequence(&self) -> u64 {
        // SAFETY: the node lives as long as its owner, and only the owner changes it.
        unsafe { self.0.as_ref().sequence }
    }

    /// # Safety
    /// No reader may be looking at the node.
    unsafe fn node(&mut self) -> &mut Node<T> {
        // SAFETY: the caller promises that no reader has a reference; the owner is the only writer.
        unsafe { self.0.as_mut() }
    }
}

impl<T> Drop for Owned<T> {
    fn drop(&mut self) {
        // SAFETY: made by `Box::leak`, and owned by nobody else. `Ring` drops a node only when no reader
        // announces it.
        drop(unsafe { Box::from_raw(self.0.as_ptr()) });
    }
}

/// The node that a writer holds between two records: empty, and looked at by nobody.
pub(crate) struct Spare<T>(Option<Owned<T>>);

impl<T> Spare<T> {
    pub(crate) fn new() -> Self {
        Spare(Some(Owned::empty()))
    }
}

pub(crate) struct Ring<T> {
    /// The last sequence number given out.
    last: CachePadded<AtomicU64>,
    /// Readers at work: while there are none, a displaced node is nobody else's.
    readers: CachePadded<AtomicUsize>,
    /// Never null; slot `i` holds the newest record whose sequence is `i` modulo the length.
    slots: Box<[AtomicPtr<Node<T>>]>,
    hazards: Box<[Hazard<T>]>,
    aside: SegQueue<Owned<T>>,
}

struct Hazard<T> {
    claimed: AtomicBool,
    node: AtomicPtr<Node<T>>,
}

/// What the ring knows of one sequence number.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Record<T> {
    Found(T),
    /// Given out, but its writer has not put it in place yet.
    Pending,
    /// Overwritten by a newer one, or never given out.
    Gone,
}

impl<T> Ring<T> {
    /// A ring that keeps the newest `capacity` values, at least one.
    pub(crate) fn new(capacity: usize) -> Self {
        let slots = (0..capacity.max(1)).map(|_| AtomicPtr::new(Owned::empty().into_raw())).collect();
        let hazards = (0..READERS_MAX)
            .map(|_| Hazard { claimed: AtomicBool::new(false), node: AtomicPtr::new(ptr::null_mut()) })
            .collect();
        Ring {
            last: CachePadded::new(AtomicU64::new(0)),
            readers: CachePadded::new(AtomicUsize::new(0)),
            slots,
            hazards,
            aside: SegQueue::new(),
        }
    }

    pub(crate) fn capacity(&self) -> u64 {
        self.slots.len() as u64
    }

    /// The newest sequence number given out, 0 before the first.
    pub(crate) fn last_sequence(&self) -> u64 {
        self.last.load(Ordering::Acquire)
    }

    /// Whether anything was recorded after `sequence`, by now: see `push`.
    #[cfg(feature = "stream")]
    pub(crate) fn has_after(&self, sequence: u64) -> bool {
        self.last.load(Ordering::SeqCst) > sequence
    }

    /// The oldest sequence number that can still be kept; 1 on an empty ring.
    pub(crate) fn first_sequence(&self) -> u64 {
        self.last_sequence().saturating_sub(self.capacity()) + 1
    }

    /// Records `value`; returns its sequence number and the value that made room, if any.
    #[inline]
    pub(crate) fn push(&self, spare: &mut Spare<T>, value: T) -> (u64, Option<T>) {
        // Ordering: orders publishers that synchronise only through this counter. SeqCst, with `has_after`: of "record, then
        // look who sleeps" and "go to sleep, then look what was recorded" one sees the other.
        let sequence = self.last.fetch_add(1, Ordering::SeqCst) + 1;
        let mut node = spare.0.take().unwrap_or_else(Owned::empty);
        // SAFETY: a spare is looked at by nobody: it is new, or `push` made sure of it below.
        let fresh = unsafe { node.node() };
        fresh.sequence = sequence;
        fresh.value = Some(value);
        let displaced = self.place(node);
        // Ordering: SeqCst, after the SeqCst swap in `place`. A reader counts itself before it loads a
        // slot; if it is not counted here, its load comes after the swap and cannot find this node.
        let mut free =
            if self.readers.load(Ordering::SeqCst) == 0 { displaced } else { self.unread(displaced) };
        // SAFETY: no reader is about, or none announces this node, and it is in no slot any more.
        let evicted = unsafe { free.node() }.value.take();
        spare.0 = Some(free);
        (sequence, evicted)
    }

    /// Swaps `node` into its slot and returns the node that the slot no longer needs, usually the one of
    /// a lap before.
    fn place(&self, node: Owned<T>) -> Owned<T> {
        // A writer that was overtaken by a whole lap has been overwritten already.
        if self.last.load(Ordering::Relaxed) - node.sequence() >= self.capacity() {
            return node;
        }
        let slot = &self.slots[(node.sequence() % self.capacity()) as usize];
        let mut placing = node;
        loop {
            let placed_sequence = placing.sequence();
            let taken = slot.swap(placing.into_raw(), Ordering::SeqCst);
            // SAFETY: slots hold nodes from `Owned::into_raw` and are never null; whoever swaps one out is
            // its only owner.
            let taken = Owned(unsafe { NonNull::new_unchecked(taken) });
            if taken.sequence() <= placed_sequence {
                return taken;
            }
            // Overtaken between the check and the swap: the newer record goes back.
            placing = taken;
        }
    }

    /// A node that no reader looks at: the displaced one, or another in its stead.
    #[cold]
    fn unread(&self, displaced: Owned<T>) -> Owned<T> {
        if self.is_announced(&displaced) {
            self.aside.push(displaced);
            return Owned::empty();
        }
        displaced
    }

    fn is_announced(&self, node: &Owned<T>) -> bool {
        // Ordering: SeqCst pairs with the announcement in `Reader::get`: either this load sees it, or the
        // reader's second look at the slot sees that the node is gone.
        self.hazards.iter().any(|hazard| hazard.node.load(Ordering::SeqCst) == node.0.as_ptr())
    }

    /// A reader of this ring; waits for a place while [`READERS_MAX`] others are reading.
    pub(crate) fn reader(&self) -> Reader<'_, T> {
        // Counted first: from here on writers look at the announcements.
        self.readers.fetch_add(1, Ordering::SeqCst);
        let backoff = Backoff::new();
        loop {
            for hazard in &self.hazards {
                let free = !hazard.claimed.load(Ordering::Relaxed);
                if free && !hazard.claimed.swap(true, Ordering::Acquire) {
                    return Reader { ring: self, hazard };
                }
            }
            if backoff.is_completed() { std::thread::yield_now() } else { backoff.snooze() }
        }
    }
}

impl<T> Drop for Ring<T> {
    fn drop(&mut self) {
        for slot in &self.slots {
            // SAFETY: never null, and `&mut self`: no reader or writer is left, each slot owns its node.
            drop_quietly(Owned(unsafe { NonNull::new_unchecked(slot.load(Ordering::Relaxed)) }));
        }
    }
}

/// Copies records out of a ring, one at a time. While it lives, writers take a slower way: keep it short.
pub(crate) struct Reader<'a, T> {
    ring: &'a Ring<T>,
    hazard: &'a Hazard<T>,
}

impl<T: Clone> Reader<'_, T> {
    /// The record with this number. Waits a moment for a writer that is just putting it in place: one that was
    /// overtaken may cover a newer record for as long as it takes to put it back.
    pub(crate) fn get(&self, sequence: u64) -> Record<T> {
        let backoff = Backoff::new();
        loop {
            let last = self.ring.last_sequence();
            if sequence == 0 || sequence > last || last - sequence >= self.ring.capacity() {
                return Record::Gone;
            }
            match self.look(sequence) {
                Record::Pending if !backoff.is_completed() => backoff.snooze(),
                record => return record,
            }
        }
    }

    fn look(&self, sequence: u64) -> Record<T> {
        let slot = &self.ring.slots[(sequence % self.ring.capacity()) as usize];
        let mut seen = slot.load(Ordering::SeqCst);
        loop {
            self.hazard.node.store(seen, Ordering::SeqCst);
            let now = slot.load(Ordering::SeqCst);
            if ptr::eq(now, seen) {
                break;
            }
            seen = now;
        }
        // SAFETY: the node was in its slot after the announcement, so whoever swaps it out later sees the
        // announcement and neither changes nor frees it; its contents were released by the swap that put
        // it there. `value` is only cloned, never moved out.
        let node = unsafe { &*seen };
        match node.sequence {
            found if found == sequence => node.value.clone().map_or(Record::Gone, Record::Found),
            found if found < sequence => Record::Pending,
            _ => Record::Gone,
        }
    }
}

impl<T> Drop for Reader<'_, T> {
    fn drop(&mut self) {
        self.hazard.node.store(ptr::null_mut(), Ordering::SeqCst);
        self.hazard.claimed.store(false, Ordering::Release);
        self.ring.readers.fetch_sub(1, Ordering::SeqCst);
        for _ in 0..self.ring.aside.len() {
            // A node aside is in no slot any more, so once unannounced it can never be announced again.
            match self.ring.aside.pop() {
                Some(node) if self.ring.is_announced(&node) => self.ring.aside.push(node),
                Some(node) => drop_quietly(node),
                None => break,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    fn kept(ring: &Ring<Arc<u64>>) -> Vec<u64> {
        let reader = ring.reader();
        (ring.first_sequence()..=ring.last_sequence())
            .filter_map(|sequence| match reader.get(sequence) {
                Record::Found(value) => Some(*value),
                Record::Pending | Record::Gone => None,
            })
            .collect()
    }

    #[test]
    fn keeps_exactly_the_newest() {
        for capacity in [1, 2, 3, 7, 8] {
            let ring = Ring::new(capacity);
            let mut spare = Spare::new();
            for n in 1..=20_u64 {
                let (sequence, evicted) = ring.push(&mut spare, Arc::new(n));
                assert_eq!(sequence, n);
                assert_eq!(
                    evicted.as_deref().copied(),
                    n.checked_sub(capacity as u64).filter(|old| *old > 0)
                );
                let first = (n + 1).saturating_sub(capacity as u64).max(1);
                assert_eq!(kept(&ring), (first..=n).collect::<Vec<_>>(), "capacity {capacity}");
            }
        }
    }

    #[test]
    fn values_are_dropped_once() {
        let value = Arc::new(0_u64);
        {
            let ring = Ring::new(4);
            let mut spare = Spare::new();
            for _ in 0..10 {
                ring.push(&mut spare, Arc::clone(&value));
                let reader = ring.reader();
                assert!(matches!(reader.get(ring.last_sequence()), Record::Found(_)));
                // Displaces under an announcement once the ring has gone round.
                ring.push(&mut spare, Arc::clone(&value));
            }
            assert!(Arc::strong_count(&value) >= 5);
        }
        assert_eq!(Arc::strong_count(&value), 1);
    }

    #[test]
    fn an_announced_node_outlives_its_slot() {
        let ring = Ring::new(1);
        let mut spare = Spare::new();
        ring.push(&mut spare, Arc::new(1_u64));
        let reader = ring.reader();
        assert_eq!(reader.get(1), Record::Found(Arc::new(1)));
        let (_, evicted) = ring.push(&mut spare, Arc::new(2));
        assert_eq!(evicted, None, "the first node is still announced");
        assert_eq!(ring.aside.len(), 1);
        assert_eq!(reader.get(1), Record::Gone);
        drop(reader);
        assert_eq!(ring.aside.len(), 0);
    }

    #[test]
    fn writers_and_readers_agree() {
        let ring = Ring::new(8);
        let writers_left = AtomicUsize::new(3);
        std::thread::scope(|scope| {
            for writer in 0..3_u64 {
                let (ring, writers_left) = (&ring, &writers_left);
                scope.spawn(move || {
                    let mut spare = Spare::new();
                    for n in 0..50_000_u64 {
                        ring.push(&mut spare, Arc::new((writer, n)));
                    }
                    writers_left.fetch_sub(1, Ordering::Release);
                });
            }
            for _ in 0..2 {
                scope.spawn(|| {
                    let mut newest = [0_u64; 3];
                    while writers_left.load(Ordering::Acquire) > 0 {
                        let reader = ring.reader();
                        let last = ring.last_sequence();
                        if let Record::Found(value) = reader.get(last) {
                            let (writer, n) = *value;
                            assert!(n >= newest[writer as usize], "a later sequence holds an older record");
                            newest[writer as usize] = n;
                        }
                    }
                });
            }
        });
        assert_eq!(ring.last_sequence(), 150_000);
        let reader = ring.reader();
        for sequence in ring.first_sequence()..=150_000 {
            assert!(matches!(reader.get(sequence), Record::Found(_)), "{sequence} is in place");
        }
    }
}
