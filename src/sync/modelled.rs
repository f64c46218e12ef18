//! What the lanes are made of: the real thing, or under `--cfg loom` what `loom` can try every interleaving of.

#[cfg(not(loom))]
pub(crate) use {
    crossbeam_queue::ArrayQueue,
    std::sync::atomic::{AtomicUsize, Ordering},
};
#[cfg(all(not(loom), feature = "queued"))]
pub(crate) use {
    std::sync::atomic::{AtomicBool, AtomicU8},
    std::thread::{Thread, current as current_thread, park},
};

#[cfg(loom)]
pub(crate) use {
    super::stand_in::ArrayQueue,
    loom::sync::atomic::{AtomicUsize, Ordering},
};
#[cfg(all(loom, feature = "queued"))]
pub(crate) use {
    loom::sync::atomic::{AtomicBool, AtomicU8},
    loom::thread::{Thread, current as current_thread, park},
};
