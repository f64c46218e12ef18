//! What was discarded, by cause.

use crate::sync::{AtomicU64, Ordering};
use serde::Serialize;

/// Why something was discarded.
#[cfg_attr(
    not(all(feature = "queued", feature = "async")),
    allow(dead_code, reason = "lanes and mailboxes discard for different causes")
)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DropCause {
    /// Nobody made room within the limit.
    Blocked,
    Rejected,
    Oldest,
    Newest,
    /// The bus was shut down before its turn came.
    ShutDown,
}

/// How much was discarded, by the policy under which it was.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct DropCounts {
    /// [`Overflow::Block`](crate::Overflow::Block): a mailbox had no room within the limit, or its publisher may not wait.
    pub block: u64,
    /// [`Overflow::Reject`](crate::Overflow::Reject), of a mailbox: a lane hands the event back instead.
    pub reject: u64,
    /// [`Overflow::DropOldest`](crate::Overflow::DropOldest).
    pub drop_oldest: u64,
    /// [`Overflow::DropNewest`](crate::Overflow::DropNewest).
    pub drop_newest: u64,
    /// Whatever the policy: it was still in its lane when the bus was shut down.
    pub shutdown: u64,
}

/// Counts by cause.
#[derive(Debug, Default)]
pub(crate) struct Drops([AtomicU64; 5]);

impl Drops {
    pub(crate) fn count(&self, cause: DropCause) {
        // Ordering: SeqCst: who waits until nothing is pending looks at it.
        self.0[cause as usize].fetch_add(1, Ordering::SeqCst);
    }

    pub(crate) fn total(&self) -> u64 {
        self.0.iter().map(|count| count.load(Ordering::SeqCst)).sum()
    }

    pub(crate) fn counts(&self) -> DropCounts {
        let of = |cause: DropCause| self.0[cause as usize].load(Ordering::SeqCst);
        DropCounts {
            block: of(DropCause::Blocked),
            reject: of(DropCause::Rejected),
            drop_oldest: of(DropCause::Oldest),
            drop_newest: of(DropCause::Newest),
            shutdown: of(DropCause::ShutDown),
        }
    }
}

impl DropCounts {
    pub(crate) fn total(self) -> u64 {
        self.block + self.reject + self.drop_oldest + self.drop_newest + self.shutdown
    }

    pub(crate) fn since(self, earlier: DropCounts) -> Self {
        DropCounts {
            block: self.block.saturating_sub(earlier.block),
            reject: self.reject.saturating_sub(earlier.reject),
            drop_oldest: self.drop_oldest.saturating_sub(earlier.drop_oldest),
            drop_newest: self.drop_newest.saturating_sub(earlier.drop_newest),
            shutdown: self.shutdown.saturating_sub(earlier.shutdown),
        }
    }
}
