//! How much is pending, and waiting until nothing is.

use super::engine::Engine;
use crate::sync::{AtomicUsize, Listener as _, Ordering, Signal, SignalListener, heavy_fence};
use std::time::Duration;

/// Those who wait until nothing is pending.
pub(crate) struct Flushers {
    count: AtomicUsize,
    quiet: Signal,
    /// For those who put work off, and hurry when somebody waits for it.
    wanted: Signal,
}

impl Flushers {
    pub(crate) fn new() -> Self {
        Flushers { count: AtomicUsize::new(0), quiet: Signal::new(), wanted: Signal::new() }
    }
}

impl Engine {
    /// Announces one who waits until nothing is pending. To be made before the last look.
    pub(crate) fn flusher(&self) -> Flusher<'_> {
        self.flushers.count.fetch_add(1, Ordering::SeqCst);
        let quiet = self.flushers.quiet.listen();
        // Ordering: see `Shard::pin`: of "count, then look for flushers" in a publish and "wait, then look at the counts"
        // here, one sees the other.
        heavy_fence();
        self.flushers.wanted.notify(usize::MAX);
        Flusher { engine: self, quiet }
    }

    /// Whether somebody waits until nothing is pending.
    #[cfg(feature = "stream")]
    pub(crate) fn is_quiet_wanted(&self) -> bool {
        self.flushers.count.load(Ordering::SeqCst) != 0
    }

    /// Told when somebody begins to wait until nothing is pending. To be made before the last look.
    #[cfg(feature = "stream")]
    pub(crate) fn quiet_wanted(&self) -> SignalListener {
        self.flushers.wanted.listen()
    }

    /// Events accepted whose turns or late deliveries are not over, and redriven letters whose delivery is not.
    pub(crate) fn pending(&self) -> u64 {
        let redriven = self.redriven.load(Ordering::SeqCst);
        // Ends before beginnings, and the shards anew for these: what happens in between can only look pending.
        let late = self.completed_late.load(Ordering::SeqCst) + self.dropped.total();
        let ended: u64 = self.shards().iter().map(|shard| shard.completed.get()).sum();
        let accepted: u64 = self.shards().iter().map(|shard| shard.accepted.get()).sum();
        accepted.saturating_sub(ended + late) + redriven
    }

    /// Whether nothing is pending. Once the bus is closed, no delayed event may be on its way either: it is about to be
    /// accepted, or left to whoever shuts the bus down.
    pub(crate) fn is_quiet(&self) -> bool {
        // That first: it is accepted before it waits no longer.
        (self.later.waiting_events() == 0 || self.table().is_open) && self.pending() == 0
    }

    #[inline]
    pub(super) fn has_flushers(&self) -> bool {
        self.flushers.count.load(Ordering::Relaxed) != 0
    }

    /// Something ended: those who wait until nothing is pending may look again.
    pub(crate) fn tell_flushers(&self) {
        if self.flushers.count.load(Ordering::SeqCst) != 0 {
            self.flushers.quiet.notify(usize::MAX);
        }
    }
}

/// One who waits until nothing is pending.
pub(crate) struct Flusher<'a> {
    engine: &'a Engine,
    pub(crate) quiet: SignalListener,
}

impl Flusher<'_> {
    /// Waits until something ended, or the time is up.
    pub(crate) fn wait(mut self, limit: Duration) {
        let quiet = std::mem::replace(&mut self.quiet, self.engine.flushers.quiet.listen());
        quiet.wait_timeout(limit);
    }
}

impl Drop for Flusher<'_> {
    fn drop(&mut self) {
        self.engine.flushers.count.fetch_sub(1, Ordering::SeqCst);
    }
}
