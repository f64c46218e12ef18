//! What the queues and lanes are made of: the real thing, or under `--cfg codomyrmex_loom` what `loom` can try every
//! interleaving of.
//!
//! The name is our own because `--cfg loom` means something to dependencies too, and they do not build with it.

#[cfg(not(codomyrmex_loom))]
pub(crate) use {
    crossbeam_queue::ArrayQueue,
    std::sync::atomic::{AtomicUsize, Ordering},
};
#[cfg(all(not(codomyrmex_loom), feature = "queued"))]
pub(crate) use {
    std::sync::atomic::{AtomicBool, AtomicU8},
    std::thread::{Thread, current as current_thread, park},
};

#[cfg(codomyrmex_loom)]
pub(crate) use {
    super::stand_in::{ArrayQueue, AtomicUsize},
    loom::sync::atomic::Ordering,
};
#[cfg(all(codomyrmex_loom, feature = "queued"))]
pub(crate) use {
    super::stand_in::{AtomicBool, AtomicU8},
    loom::thread::{Thread, current as current_thread, park},
};
