//! Atomics: the standard library's, or loom's under `--cfg loom`.
//!
//! This is the only file that names `std::sync::atomic`, so that a model checker can stand in for the
//! real thing everywhere at once.

#[cfg(loom)]
pub(crate) use loom::sync::atomic::{AtomicBool, AtomicPtr, AtomicU64, AtomicUsize, Ordering, fence};
#[cfg(not(loom))]
pub(crate) use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU64, AtomicUsize, Ordering, fence};
