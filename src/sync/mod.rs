//! Atomics: the standard library's, or loom's under `--cfg loom`; and a fence that costs one side nothing.
//!
//! This is the only place that names `std::sync::atomic`, so that a model checker can stand in for the
//! real thing everywhere at once.

mod asymmetric;

pub(crate) use asymmetric::{heavy_fence, kernel_fences, light_fence};
#[cfg(loom)]
pub(crate) use loom::sync::atomic::{AtomicBool, AtomicPtr, AtomicU64, AtomicUsize, Ordering, fence};
#[cfg(not(loom))]
pub(crate) use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU64, AtomicUsize, Ordering, fence};
