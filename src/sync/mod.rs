//! Atomics, and a fence that costs one side nothing.
//!
//! This is the only place that names `std::sync::atomic`, so that one look finds who uses which, and something else
//! can stand in for the real thing everywhere at once.

mod asymmetric;

pub(crate) use asymmetric::{heavy_fence, kernel_fences, light_fence};
pub(crate) use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU64, AtomicUsize, Ordering, fence};
