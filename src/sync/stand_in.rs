//! What stands in for the real thing where `loom` looks: atomics whose `SeqCst` means something to it, and a bounded
//! queue in the place of crossbeam's, which its authors have tested.

use loom::sync::atomic::{self, Ordering};
use std::collections::VecDeque;
use std::sync::Mutex;

/// Two things `loom` gets wrong. It shows a `SeqCst` load no store older than the newest `SeqCst` one, but for the value that
/// the atomic was made with, so that is stored anew at once. And it lets a plain store come between what an exchange
/// read and what it wrote, so a store is an exchange.
macro_rules! atomic {
    ($name:ident, $value:ty) => {
        pub(crate) struct $name(atomic::$name);

        #[allow(dead_code, reason = "not every kind is asked for everything")]
        impl $name {
            pub(crate) fn new(value: $value) -> Self {
                let made = atomic::$name::new(value);
                made.swap(value, Ordering::SeqCst);
                $name(made)
            }

            pub(crate) fn load(&self, ordering: Ordering) -> $value {
                self.0.load(ordering)
            }

            pub(crate) fn store(&self, value: $value, ordering: Ordering) {
                self.0.swap(value, ordering);
            }

            pub(crate) fn swap(&self, value: $value, ordering: Ordering) -> $value {
                self.0.swap(value, ordering)
            }

            pub(crate) fn compare_exchange_weak(
                &self,
                before: $value,
                after: $value,
                success: Ordering,
                failure: Ordering,
            ) -> Result<$value, $value> {
                self.0.compare_exchange_weak(before, after, success, failure)
            }
        }
    };
}

atomic!(AtomicBool, bool);
atomic!(AtomicU8, u8);
atomic!(AtomicUsize, usize);

impl AtomicUsize {
    pub(crate) fn fetch_add(&self, value: usize, ordering: Ordering) -> usize {
        self.0.fetch_add(value, ordering)
    }

    pub(crate) fn fetch_sub(&self, value: usize, ordering: Ordering) -> usize {
        self.0.fetch_sub(value, ordering)
    }
}

/// It orders as much as the real one, and no more: pushes among themselves, pops among themselves, and each with
/// the one that it had to see. `loom` switches threads at atomics alone, so an exchange and the step on `items` that
/// follows it are one step, and the lock is never contended.
pub(crate) struct ArrayQueue<T> {
    head: AtomicUsize,
    tail: AtomicUsize,
    items: Mutex<VecDeque<T>>,
    room: usize,
}

impl<T> ArrayQueue<T> {
    pub(crate) fn new(room: usize) -> Self {
        ArrayQueue { head: AtomicUsize::new(0), tail: AtomicUsize::new(0), items: Mutex::default(), room }
    }

    pub(crate) fn push(&self, item: T) -> Result<(), T> {
        let mut tail = self.tail.load(Ordering::Acquire);
        loop {
            if tail.saturating_sub(self.head.load(Ordering::SeqCst)) >= self.room {
                return Err(item);
            }
            match self.tail.compare_exchange_weak(tail, tail + 1, Ordering::SeqCst, Ordering::Acquire) {
                Ok(_) => {
                    self.items.lock().expect("nobody panics").push_back(item);
                    return Ok(());
                }
                Err(other) => tail = other,
            }
        }
    }

    pub(crate) fn pop(&self) -> Option<T> {
        let mut head = self.head.load(Ordering::Acquire);
        loop {
            if self.tail.load(Ordering::SeqCst) == head {
                return None;
            }
            match self.head.compare_exchange_weak(head, head + 1, Ordering::SeqCst, Ordering::Acquire) {
                Ok(_) => return self.items.lock().expect("nobody panics").pop_front(),
                Err(other) => head = other,
            }
        }
    }

    pub(crate) fn len(&self) -> usize {
        let head = self.head.load(Ordering::SeqCst);
        self.tail.load(Ordering::SeqCst) - head
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
