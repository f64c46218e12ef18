//! What the lanes are made of: the real thing, or under `--cfg loom` what `loom` can try every interleaving of.

#[cfg(not(loom))]
pub(crate) use {
    crossbeam_queue::ArrayQueue,
    std::sync::atomic::{AtomicBool, AtomicU8, AtomicUsize, Ordering},
    std::thread::{Thread, current as current_thread, park},
};

#[cfg(loom)]
pub(crate) use {
    super::stand_in::ArrayQueue,
    loom::sync::atomic::{AtomicBool, AtomicU8, AtomicUsize, Ordering},
    loom::thread::{Thread, current as current_thread, park},
};
