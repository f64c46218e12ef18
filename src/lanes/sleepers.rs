//! Workers that have nothing to do: they park, and whoever brings something wakes one.

use crate::sync::modelled::{AtomicBool, AtomicUsize, Ordering, Thread, current_thread, park};
use crossbeam_utils::CachePadded;
use std::sync::OnceLock;

/// The beds of a fixed number of workers.
pub(crate) struct Sleepers {
    /// How many sleep, or are about to.
    pub(super) asleep: CachePadded<AtomicUsize>,
    beds: Box<[CachePadded<Bed>]>,
}

struct Bed {
    /// Somebody lies in it. Whoever clears it wakes him, and counts him out.
    taken: AtomicBool,
    thread: OnceLock<Thread>,
}

impl Sleepers {
    pub(crate) fn new(workers: usize) -> Self {
        let bed = |_| CachePadded::new(Bed { taken: AtomicBool::new(false), thread: OnceLock::new() });
        Sleepers { asleep: CachePadded::new(AtomicUsize::new(0)), beds: (0..workers).map(bed).collect() }
    }

    /// Worker `worker`, always the same thread, sleeps until it is woken, unless `has_work` says that there is something
    /// to do.
    pub(crate) fn sleep(&self, worker: usize, has_work: impl Fn() -> bool) {
        let bed = &self.beds[worker];
        bed.thread.get_or_init(current_thread);
        // Counted before he lies down: a waker who emptied his bed first would count out somebody else, and the next one
        // would find nobody asleep.
        self.asleep.fetch_add(1, Ordering::SeqCst);
        // Ordering: SeqCst: of "lie down, then look for work" here and "bring work, then look for sleepers" in `wake_one`,
        // one sees the other.
        bed.taken.store(true, Ordering::SeqCst);
        if has_work() {
            self.rise(bed);
            return;
        }
        while bed.taken.load(Ordering::SeqCst) {
            park();
        }
    }

    /// Empties a bed; false if somebody else did.
    fn rise(&self, bed: &Bed) -> bool {
        let was_taken = bed.taken.swap(false, Ordering::SeqCst);
        if was_taken {
            self.asleep.fetch_sub(1, Ordering::SeqCst);
        }
        was_taken
    }

    /// Wakes one sleeper, if there is any. What he is to find was put there before, sequentially consistent.
    #[inline]
    pub(crate) fn wake_one(&self) {
        if self.asleep.load(Ordering::SeqCst) != 0 {
            self.wake_first();
        }
    }

    #[cold]
    fn wake_first(&self) {
        let woken = self.beds.iter().find(|bed| bed.taken.load(Ordering::SeqCst) && self.rise(bed));
        if let Some(thread) = woken.and_then(|bed| bed.thread.get()) {
            thread.unpark();
        }
    }

    /// Wakes all.
    pub(crate) fn wake_all(&self) {
        for bed in &self.beds {
            if self.rise(bed)
                && let Some(thread) = bed.thread.get()
            {
                thread.unpark();
            }
        }
    }
}
