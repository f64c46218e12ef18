//! Knowing when: waiting until nothing is pending.

use super::{Bus, EventBus};
use crate::clock::{Clock, Deadline};
use crate::context;
use std::time::Duration;
use thiserror::Error;

/// A wait for quiet that did not end in quiet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum FlushError {
    /// Called from a handler, filter or destructor that the same bus is running: the wait would include the caller.
    #[error("a flush from inside a handler would wait for itself")]
    WouldDeadlock,
    /// The limit was over first.
    #[error("{pending} events are still pending")]
    StillPending {
        /// How many.
        pending: u64,
    },
}

impl EventBus {
    /// Waits, up to `limit`, until every event accepted so far has been handled to the end, retries included: until
    /// nothing is pending. Others may go on publishing; then it waits for a moment at which they leave nothing.
    ///
    /// # Errors
    /// [`FlushError::StillPending`] when the limit is over; [`FlushError::WouldDeadlock`] from inside a handler.
    pub fn flush(&self, limit: Duration) -> Result<(), FlushError> {
        if context::is_inside(self.bus.engine.key) {
            return Err(FlushError::WouldDeadlock);
        }
        if self.bus.wait_until_quiet(limit, Deadline::after(limit)) {
            Ok(())
        } else {
            Err(self.still_pending())
        }
    }

    /// [`flush`](Self::flush) for async code. It needs no particular runtime, and can be dropped at any time.
    ///
    /// # Errors
    /// As [`flush`](Self::flush).
    pub async fn flush_async(&self, limit: Duration) -> Result<(), FlushError> {
        let engine = &self.bus.engine;
        if context::is_inside(engine.key) {
            return Err(FlushError::WouldDeadlock);
        }
        #[cfg(feature = "queued")]
        if engine.is_manual() {
            return self.flush(limit);
        }
        if self.bus.wait_until_quiet_async(limit).await { Ok(()) } else { Err(self.still_pending()) }
    }

    /// Waits for `time` on the bus's clock: of a manual bus, until its driver has moved it. It needs no particular runtime.
    /// Where no more time limits can be kept, or the bus is shut down, it returns at once.
    pub async fn sleep(&self, time: Duration) {
        if let Some(alarm) = self.bus.engine.alarm(time) {
            alarm.rung().await;
        }
    }

    /// The clock that [`sleep`](Self::sleep) goes by.
    pub(crate) fn clock(&self) -> &Clock {
        &self.bus.engine.later.clock
    }

    fn still_pending(&self) -> FlushError {
        FlushError::StillPending { pending: self.bus.engine.pending() }
    }
}

impl Bus {
    /// Waits until nothing is pending; false if the time is up first.
    pub(super) async fn wait_until_quiet_async(&self, limit: Duration) -> bool {
        let engine = &self.engine;
        if engine.is_quiet() {
            return true;
        }
        let mut alarm = engine.alarm(limit);
        while let Some(alarm) = alarm.as_mut().filter(|alarm| !alarm.is_past()) {
            let mut flusher = engine.flusher();
            if engine.is_quiet() {
                return true;
            }
            alarm.or(&mut flusher.quiet).await;
        }
        false
    }
}
