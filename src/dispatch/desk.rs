//! What each worker is handling, so that a shutdown which cannot wait any longer can say which events are stuck.
//!
//! A worker shows the event that it holds anyway, by address: nothing is counted and nothing is locked for a look that is
//! hardly ever taken. Whoever looks announces it first, and a worker does not let go of its event while somebody looks.

#![allow(unsafe_code)] // An `Arc` is cloned by its address; the block carries its proof.

use crate::event::Event;
use crate::sync::{AtomicPtr, AtomicU64, AtomicUsize, Ordering, heavy_fence, kernel_fences, light_fence};
use crossbeam_utils::CachePadded;
use std::ptr;
use std::sync::Arc;
use std::thread;

/// The desks of a bus's workers.
pub(crate) struct Desks {
    desks: Box<[CachePadded<Desk>]>,
    /// How many are looking.
    lookers: CachePadded<AtomicUsize>,
}

#[derive(Default)]
struct Desk {
    event: AtomicPtr<Event>,
    sequence: AtomicU64,
}

/// An event that lies on a desk until this is dropped.
pub(super) struct Shown<'a> {
    desks: &'a Desks,
    desk: &'a Desk,
    _event: &'a Arc<Event>,
}

impl Desks {
    pub(crate) fn new(workers: usize) -> Self {
        Desks {
            desks: (0..workers).map(|_| CachePadded::default()).collect(),
            lookers: CachePadded::default(),
        }
    }

    /// Shows what worker `worker` is about to handle.
    #[inline]
    pub(super) fn show<'a>(&'a self, worker: usize, event: &'a Arc<Event>, sequence: u64) -> Shown<'a> {
        let desk = &self.desks[worker];
        desk.sequence.store(sequence, Ordering::Relaxed);
        // Ordering: Release gives the number to who finds the event.
        desk.event.store(Arc::as_ptr(event).cast_mut(), Ordering::Release);
        Shown { desks: self, desk, _event: event }
    }

    /// The events being handled at this moment, and their numbers.
    pub(crate) fn look(&self) -> Vec<(Arc<Event>, u64)> {
        self.lookers.fetch_add(1, Ordering::SeqCst);
        // Ordering: of "announce, then look at the desks" here and "clear the desk, then look for lookers" in `Shown`, one
        // sees the other.
        heavy_fence();
        let shown = self.desks.iter().filter_map(|desk| {
            let event = desk.event.load(Ordering::Acquire);
            if event.is_null() {
                return None;
            }
            let sequence = desk.sequence.load(Ordering::Relaxed);
            // SAFETY: the address came from an `Arc` that `Shown` borrows, and `Shown` is not dropped before there is
            // nobody looking any more: it would have cleared the desk before this load, or sees us. So the count is at
            // least 1 while it is raised, and what is raised here belongs to the `Arc` made of it.
            let event = unsafe {
                Arc::increment_strong_count(event);
                Arc::from_raw(event)
            };
            Some((event, sequence))
        });
        let shown = shown.collect();
        self.lookers.fetch_sub(1, Ordering::SeqCst);
        shown
    }
}

impl Drop for Shown<'_> {
    #[inline]
    fn drop(&mut self) {
        self.desk.event.store(ptr::null_mut(), Ordering::Release);
        light_fence(kernel_fences());
        while self.desks.lookers.load(Ordering::SeqCst) != 0 {
            thread::yield_now();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sync::AtomicBool;

    #[test]
    fn what_is_seen_is_an_event_that_is_shown_with_its_own_number_and_none_is_lost_or_freed_twice() {
        const EVENTS: u64 = 20_000;
        let desks = Desks::new(2);
        let is_over = AtomicBool::new(false);
        let event = |n: u64| {
            let event = Event::builder("a.b", "test").data(serde_json::json!(n)).build();
            Arc::new(event.expect("valid names"))
        };
        let seen = thread::scope(|threads| {
            let looker = threads.spawn(|| {
                let mut seen = Vec::new();
                while !is_over.load(Ordering::Relaxed) {
                    seen.extend(desks.look());
                }
                seen
            });
            let workers = [0, 1].map(|worker| {
                let (desks, event) = (&desks, &event);
                threads.spawn(move || {
                    let show = |n| {
                        let event = event(n);
                        drop(desks.show(worker, &event, n));
                        Arc::downgrade(&event)
                    };
                    (0..EVENTS).map(show).collect::<Vec<_>>()
                })
            });
            let shown = workers.map(|worker| worker.join().expect("it does not panic"));
            is_over.store(true, Ordering::Relaxed);
            (looker.join().expect("it does not panic"), shown.concat())
        });
        let (seen, shown) = seen;
        for (event, sequence) in seen {
            assert_eq!(event.data().value().expect("a number").as_u64(), Some(sequence));
        }
        assert!(shown.iter().all(|event| event.strong_count() == 0), "nobody has one any more");
        assert!(desks.look().is_empty());
    }
}
