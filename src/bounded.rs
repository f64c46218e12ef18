//! [`Bounded`]: a queue with a fixed number of places, each of which is reserved before it is filled.
//!
//! Whoever holds a reservation cannot be refused any more, so what has to come before the item goes in (its number, say) can
//! come in between. Who finds no place can wait for one, blocking or not.
//!
//! It knows no event; what becomes of an item for which there is no room is for its user to say.

use crate::sync::modelled::{ArrayQueue, AtomicUsize, Ordering};
use crate::sync::{Listener as _, Signal, SignalListener};
use crossbeam_utils::CachePadded;
use std::time::Duration;

pub(crate) struct Bounded<T> {
    items: ArrayQueue<T>,
    room: usize,
    /// PERF: who takes items out writes on one line, who puts them in on another, so that the two do not contend at every
    /// item (`queue/1 to 1`).
    reserved: CachePadded<Reserved>,
    /// Places freed so far.
    freed: CachePadded<AtomicUsize>,
    /// How many wait for a place.
    waiting: AtomicUsize,
    told: Signal,
}

/// What those write who put items in. Counts only grow; what is taken is the difference of the two.
struct Reserved {
    /// Places reserved so far.
    count: AtomicUsize,
    /// What `freed` was when somebody last looked: there may be more room than it says, never less.
    freed_seen: AtomicUsize,
}

impl<T> Bounded<T> {
    /// With `room` places, at least one.
    pub(crate) fn new(room: usize) -> Self {
        Bounded {
            items: ArrayQueue::new(room),
            room,
            reserved: CachePadded::new(Reserved {
                count: AtomicUsize::new(0),
                freed_seen: AtomicUsize::new(0),
            }),
            freed: CachePadded::new(AtomicUsize::new(0)),
            waiting: AtomicUsize::new(0),
            told: Signal::new(),
        }
    }

    /// Takes a place, if there is one; it is to be filled by [`put`](Self::put) or given back.
    #[inline]
    pub(crate) fn reserve(&self) -> bool {
        let Reserved { count, freed_seen } = &*self.reserved;
        // Ordering: SeqCst, with `free`: see `Waiter`.
        let mut now = count.load(Ordering::SeqCst);
        loop {
            if !self.has_room(now, freed_seen.load(Ordering::Relaxed)) {
                let freed = self.freed.load(Ordering::SeqCst);
                if !self.has_room(now, freed) {
                    return false;
                }
                // Two that look at once may leave the older answer: somebody looks once more than needed.
                freed_seen.store(freed, Ordering::Relaxed);
            }
            match count.compare_exchange_weak(now, now.wrapping_add(1), Ordering::SeqCst, Ordering::SeqCst) {
                Ok(_) => return true,
                Err(other) => now = other,
            }
        }
    }

    /// `reserved` may be older than `freed`; then the exchange that follows fails.
    fn has_room(&self, reserved: usize, freed: usize) -> bool {
        (reserved.wrapping_sub(freed) as isize) < self.room as isize
    }

    /// Fills a place that the caller reserved.
    #[inline]
    pub(crate) fn put(&self, item: T) {
        let is_put = self.items.push(item).is_ok();
        debug_assert!(is_put, "a reserved place is free");
    }

    /// Frees a place that was reserved, or whose item was taken out.
    #[inline]
    pub(crate) fn give_back(&self) {
        // Ordering: SeqCst here, in `reserve` and in `waiter`: of "free, then look for waiters" and "wait, then try again", one
        // sees the other.
        self.freed.fetch_add(1, Ordering::SeqCst);
        if self.waiting.load(Ordering::SeqCst) != 0 {
            self.told.notify_additional(1);
        }
    }

    /// Takes out the oldest item, and frees its place.
    #[inline]
    pub(crate) fn pop(&self) -> Option<T> {
        let item = self.items.pop()?;
        self.give_back();
        Some(item)
    }

    /// Takes out the oldest item; its place is the caller's now, as if reserved.
    pub(crate) fn displace(&self) -> Option<T> {
        self.items.pop()
    }

    /// How many places are taken, by items or by those who reserved them or took items out and have not freed them yet.
    #[cfg(feature = "stream")]
    pub(crate) fn taken_places(&self) -> usize {
        let freed = self.freed.load(Ordering::SeqCst);
        self.reserved.count.load(Ordering::SeqCst).wrapping_sub(freed).min(self.room)
    }

    pub(crate) fn len(&self) -> usize {
        self.items.len()
    }

    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// Announces that somebody is about to wait for a place: what is freed from now on ends the wait.
    pub(crate) fn waiter(&self) -> Waiter<'_, T> {
        self.waiting.fetch_add(1, Ordering::SeqCst);
        Waiter { queue: self, freed: self.told.listen() }
    }

    /// Whether somebody waits for a place.
    #[cfg(all(feature = "async", feature = "queued"))]
    pub(crate) fn has_waiters(&self) -> bool {
        self.waiting.load(Ordering::SeqCst) != 0
    }

    /// Ends all waits: there is something else to find out.
    pub(crate) fn end_waits(&self) {
        self.told.notify(usize::MAX);
    }
}

/// One who waits for a place. To be made before the last look: what is freed after it was made ends the wait.
pub(crate) struct Waiter<'a, T> {
    queue: &'a Bounded<T>,
    freed: SignalListener,
}

impl<T> Waiter<'_, T> {
    /// Waits until a place was freed, or the time is up.
    pub(crate) fn wait(&mut self, limit: Duration) {
        let freed = std::mem::replace(&mut self.freed, self.queue.told.listen());
        freed.wait_timeout(limit);
    }

    /// Is ready when a place was freed.
    pub(crate) fn freed(&mut self) -> &mut SignalListener {
        &mut self.freed
    }
}

impl<T> Drop for Waiter<'_, T> {
    fn drop(&mut self) {
        self.queue.waiting.fetch_sub(1, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::thread;

    #[test]
    fn a_place_is_reserved_filled_displaced_and_given_back() {
        let queue = Bounded::new(2);
        assert!(queue.reserve() && queue.reserve());
        assert!(!queue.reserve(), "two places, both reserved");
        queue.put(1);
        queue.give_back();
        assert!(queue.reserve());
        queue.put(2);
        assert!(!queue.reserve());
        assert_eq!(queue.displace(), Some(1));
        queue.put(3);
        assert_eq!((queue.len(), queue.pop(), queue.pop(), queue.pop()), (2, Some(2), Some(3), None));
        assert!(queue.is_empty() && queue.reserve() && queue.reserve());
    }

    #[test]
    fn who_waits_is_woken_by_the_place_that_is_freed() {
        let queue = Arc::new(Bounded::<u8>::new(1));
        assert!(queue.reserve());
        let waiting = Arc::clone(&queue);
        let thread = thread::spawn(move || {
            loop {
                let mut waiter = waiting.waiter();
                if waiting.reserve() {
                    return;
                }
                waiter.wait(Duration::from_secs(60));
            }
        });
        while queue.waiting.load(Ordering::SeqCst) == 0 {
            thread::yield_now();
        }
        queue.give_back();
        thread.join().unwrap();
        assert!(!queue.reserve());
    }
}
