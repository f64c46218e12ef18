//! Running other people's code where its panic must not get in the way: destructors of values that belong to
//! somebody else, and the log, which writes where the program's subscriber says.
//!
//! It never swallows a panic in silence if there is a log to say it in, and never lets a panic's own payload, which may
//! panic when it is dropped, do so.

use std::panic::{AssertUnwindSafe, catch_unwind};

/// Runs `f`; true if it panicked.
#[inline]
pub(crate) fn panics(f: impl FnOnce()) -> bool {
    catch_unwind(AssertUnwindSafe(f)).map_err(std::mem::forget).is_err()
}

/// Drops what belongs to somebody else: a panic in its destructor is logged, not passed on.
#[inline]
pub(crate) fn drop_quietly<T>(value: T) {
    if panics(|| drop(value)) {
        log(|| tracing::error!("a payload's destructor panicked"));
    }
}

/// Writes to the log. A subscriber that panics has had its say.
#[cold]
pub(crate) fn log(write: impl FnOnce()) {
    panics(write);
}
