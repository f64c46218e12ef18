//! Sleeping and waking: whoever has something to do is awake in the end. Where a wake-up is lost, `loom` reports that
//! all threads wait.

use super::check;
use crate::lanes::{Lanes, Place, Sleepers};
use crate::sync::modelled::{AtomicBool, AtomicUsize, Ordering};
use loom::thread;
use std::sync::Arc;

/// Work that is only counted.
struct Heap {
    items: AtomicUsize,
    sleepers: Sleepers,
}

impl Heap {
    fn new(workers: usize) -> Arc<Self> {
        Arc::new(Heap { items: AtomicUsize::new(0), sleepers: Sleepers::new(workers) })
    }

    fn bring(&self) {
        self.items.fetch_add(1, Ordering::SeqCst);
        self.sleepers.wake_one();
    }

    fn take(&self) -> bool {
        let mut now = self.items.load(Ordering::SeqCst);
        while now > 0 {
            match self.items.compare_exchange_weak(now, now - 1, Ordering::SeqCst, Ordering::SeqCst) {
                Ok(_) => return true,
                Err(other) => now = other,
            }
        }
        false
    }

    /// Sleeps until it has taken one.
    fn take_one(&self, worker: usize) {
        while !self.take() {
            self.sleepers.sleep(worker, || self.items.load(Ordering::SeqCst) != 0);
        }
    }
}

/// Catches a worker that lies down without a last look, or looks before he is counted; a publisher that looks for
/// sleepers before he brings; and an access of theirs that is less than sequentially consistent.
#[test]
fn what_is_brought_to_one_who_lies_down_finds_him_awake() {
    check(None, || {
        let heap = Heap::new(1);
        let takes = Arc::clone(&heap);
        let worker = thread::spawn(move || takes.take_one(0));
        heap.bring();
        worker.join().expect("nobody panics");
    });
}

/// The same worker twice, so that a wake-up that comes too late meets his next sleep. Catches one that ends a sleep
/// whose bed is still taken, after which the worker counts twice and is woken instead of somebody else.
#[test]
fn a_wake_up_that_comes_late_spoils_no_later_sleep() {
    check(Some(4), || {
        let heap = Heap::new(1);
        let takes = Arc::clone(&heap);
        let worker = thread::spawn(move || {
            takes.take_one(0);
            takes.take_one(0);
        });
        heap.bring();
        heap.bring();
        worker.join().expect("nobody panics");
        assert_eq!(heap.sleepers.asleep.load(Ordering::SeqCst), 0);
    });
}

/// Two items, and each worker goes home with one: if one wake-up went to a worker who was woken already, the other
/// worker would sleep for ever. That is why a bed is cleared by whoever wakes.
#[test]
fn two_that_are_brought_wake_two() {
    check(Some(3), || {
        let heap = Heap::new(2);
        let workers = [0, 1].map(|worker| {
            let heap = Arc::clone(&heap);
            thread::spawn(move || heap.take_one(worker))
        });
        heap.bring();
        heap.bring();
        workers.into_iter().for_each(|worker| worker.join().expect("nobody panics"));
        assert_eq!(heap.sleepers.asleep.load(Ordering::SeqCst), 0);
    });
}

/// Catches a worker who is left in bed when all are sent home.
#[test]
fn all_are_woken_to_go_home() {
    check(Some(3), || {
        let sleepers = Arc::new(Sleepers::new(2));
        let is_stopping = Arc::new(AtomicBool::new(false));
        let workers = [0, 1].map(|worker| {
            let (sleepers, is_stopping) = (Arc::clone(&sleepers), Arc::clone(&is_stopping));
            thread::spawn(move || {
                while !is_stopping.load(Ordering::SeqCst) {
                    sleepers.sleep(worker, || is_stopping.load(Ordering::SeqCst));
                }
            })
        });
        is_stopping.store(true, Ordering::SeqCst);
        sleepers.wake_all();
        workers.into_iter().for_each(|worker| worker.join().expect("nobody panics"));
        assert_eq!(sleepers.asleep.load(Ordering::SeqCst), 0);
    });
}

/// Lanes and sleepers as a queued bus uses them. Catches an item put into a lane that nobody listed, or of which
/// nobody was told.
#[test]
fn a_worker_hears_of_all_that_is_put_into_lanes() {
    check(Some(3), || {
        let shared = Arc::new((Lanes::new(2, 2), Sleepers::new(1)));
        let working = Arc::clone(&shared);
        let worker = thread::spawn(move || {
            let (lanes, sleepers) = &*working;
            let mut taken = Vec::new();
            while taken.len() < 3 {
                match lanes.hold() {
                    Some(mut held) => {
                        taken.extend(held.by_ref());
                        held.leave();
                    }
                    None => sleepers.sleep(0, || lanes.has_ready()),
                }
            }
            taken
        });
        let (lanes, sleepers) = &*shared;
        for (lane, item) in [(0, 1), (1, 2), (0, 3)] {
            let reserved = lanes.reserve(Place { lane, band: 2 }).expect("there is room");
            if reserved.fill(item) {
                sleepers.wake_one();
            }
        }
        let mut taken = worker.join().expect("nobody panics");
        taken.sort_unstable();
        assert_eq!(taken, [1, 2, 3]);
    });
}
