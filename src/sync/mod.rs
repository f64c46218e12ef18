//! Atomics, and a fence that costs one side nothing.
//!
//! This is the only place that names `std::sync::atomic`, so that one look finds who uses which, and something else
//! can stand in for the real thing: for the parts that say `modelled`, `loom` does under `--cfg codomyrmex_loom`.

mod asymmetric;
pub(crate) mod modelled;
#[cfg(codomyrmex_loom)]
mod stand_in;

pub(crate) use asymmetric::{heavy_fence, kernel_fences, light_fence};
#[cfg(feature = "async")]
pub(crate) use crossbeam_utils::atomic::AtomicCell;
/// One who waits for it, blocking or not, is a `SignalListener`.
pub(crate) use event_listener::{Event as Signal, EventListener as SignalListener, Listener};
pub(crate) use std::sync::atomic::{
    AtomicBool, AtomicPtr, AtomicU32, AtomicU64, AtomicUsize, Ordering, fence,
};
