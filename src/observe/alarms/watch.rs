//! What is counted of one subscription.

use crate::sync::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

#[derive(Default)]
pub(super) struct Watched {
    failures_in_a_row: AtomicU32,
    pub(super) slow: Limit,
    pub(super) failing: Limit,
}

impl Watched {
    /// How many attempts have failed in a row, this one included.
    pub(super) fn note(&self, has_failed: bool) -> u32 {
        if !has_failed {
            self.failures_in_a_row.store(0, Ordering::Relaxed);
            return 0;
        }
        let one_more = |failures: u32| failures.checked_add(1);
        let before = self.failures_in_a_row.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more);
        before.map_or(u32::MAX, |before| before + 1)
    }
}

/// One in a while, and a count of the others.
#[derive(Default)]
pub(super) struct Limit {
    /// The uptime from which on the next may pass.
    next_ns: AtomicU64,
    suppressed: AtomicU64,
}

impl Limit {
    /// How many were held back since the last that passed; nothing if this one is to be held back as well. Of those that come at
    /// once, one passes.
    pub(super) fn pass(&self, uptime: Duration, interval: Duration) -> Option<u64> {
        let now = nanoseconds(uptime);
        let next = self.next_ns.load(Ordering::Relaxed);
        let after = now.saturating_add(nanoseconds(interval));
        let passes = now >= next
            && self.next_ns.compare_exchange(next, after, Ordering::Relaxed, Ordering::Relaxed).is_ok();
        if !passes {
            self.suppressed.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        Some(self.suppressed.swap(0, Ordering::Relaxed))
    }
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
