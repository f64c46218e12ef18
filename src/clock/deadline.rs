//! Monotonic time: how long something took, and until when to wait.

use std::time::{Duration, Instant};

/// The end of a wait.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Deadline(Option<Instant>);

impl Deadline {
    /// `limit` from now; one too far off to be told never comes.
    pub(crate) fn after(limit: Duration) -> Self {
        Deadline(Instant::now().checked_add(limit))
    }

    pub(crate) fn is_past(&self) -> bool {
        self.0.is_some_and(|end| Instant::now() >= end)
    }

    /// How long is left of the wait; [`Duration::MAX`] if it has no end.
    pub(crate) fn left(&self) -> Duration {
        self.0.map_or(Duration::MAX, |end| end.saturating_duration_since(Instant::now()))
    }

    /// Waits until `is_done`, in ever longer naps of up to a millisecond; false when the time is up first.
    pub(crate) fn wait_until(&self, mut is_done: impl FnMut() -> bool) -> bool {
        let mut nap = Duration::from_micros(10);
        loop {
            if is_done() {
                return true;
            }
            if self.is_past() {
                return false;
            }
            std::thread::sleep(nap);
            nap = (nap * 2).min(Duration::from_millis(1));
        }
    }
}
