//! [`Driver`]: a bus whose time and work a test moves by hand.
//!
//! A manual bus has no thread and reads no clock. Publishing puts an event in its lane; nothing is handled until the driver
//! says so, and then on the driver's thread. So a test of a retry, a delay or a time limit sleeps for nothing and comes out
//! the same each time.

use super::{Bus, EventBus, EventBusBuilder};
use crate::clock::Clock;
use crate::config::ConfigError;
use crate::context::{self, correlation::without};
use crate::dispatch::engine::Engine;
use std::fmt;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

/// Moves the work and the time of a manual bus. Made by [`ManualBusBuilder::build`].
///
/// ```
/// use codomyrmex_events::{Backoff, BoxError, Event, EventBus};
/// use std::time::Duration;
///
/// let (bus, driver) = EventBus::builder().manual().build()?;
/// let second = Duration::from_secs(1);
/// bus.subscribe("*").attempts(2).backoff(Backoff::exponential(second, second)).handler(
///     |delivery| -> Result<(), BoxError> { if delivery.attempt() == 1 { Err("not yet")? } else { Ok(()) } },
/// )?;
/// bus.publish(Event::builder("order.placed", "shop").build()?)?;
/// assert_eq!(driver.run_until_idle(), 1);
/// assert_eq!(bus.get_stats().deliveries.pending, 1, "it waits for its second attempt");
/// driver.advance(second);
/// assert_eq!(bus.get_stats().deliveries.succeeded, 1);
/// # Ok::<(), codomyrmex_events::EventError>(())
/// ```
pub struct Driver {
    bus: Arc<Bus>,
}

/// Settings of a manual bus in the making. Made by [`EventBusBuilder::manual`].
#[derive(Debug)]
#[must_use = "call `build`"]
pub struct ManualBusBuilder {
    builder: EventBusBuilder,
}

impl EventBusBuilder {
    /// A bus for tests: no threads, a clock that stands still, and a [`Driver`] that moves both. It is queued, unless
    /// [`inline`](Self::inline) was called before. Where a policy is to wait for room, it refuses instead; a backoff waits
    /// the whole time, without jitter; asynchronous handlers are polled by the driver.
    pub fn manual(mut self) -> ManualBusBuilder {
        self.become_manual();
        ManualBusBuilder { builder: self }
    }
}

impl EventBus {
    /// Waits for `time` on the clock of a manual bus by moving it, as a flush does; inside its own code, not at all.
    pub(crate) fn drive(&self, time: Duration) {
        if !context::is_inside(self.bus.engine.key) {
            self.bus.advance(time);
        }
    }
}

impl ManualBusBuilder {
    /// Builds the bus.
    ///
    /// # Errors
    /// As [`EventBusBuilder::build`].
    pub fn build(self) -> Result<(EventBus, Driver), ConfigError> {
        let bus = self.builder.build_with(Clock::manual())?;
        let driver = Driver { bus: Arc::clone(&bus.bus) };
        Ok((bus, driver))
    }
}

impl Driver {
    /// Runs one job: what was due, else the event whose turn it is, else one poll of an asynchronous handler; or lets the next
    /// timer fire that is due now. False if there is nothing to run, or if a handler of the bus asks.
    pub fn step(&self) -> bool {
        self.bus.step()
    }

    /// Runs everything that can run without moving time; how many jobs that were.
    pub fn run_until_idle(&self) -> usize {
        self.bus.run_until_idle()
    }

    /// Moves time on by `time`. What falls due on the way happens in due order, each at its time, and everything that can
    /// run then is run before time moves on.
    pub fn advance(&self, time: Duration) {
        self.bus.advance(time);
    }

    /// Polls a future, and runs everything that can run between two polls; `None` if it is not done when nothing more can
    /// run without moving time. For the likes of [`publish_and_wait`](EventBus::publish_and_wait).
    pub fn block_on<F: Future>(&self, future: F) -> Option<F::Output> {
        let mut future = pin!(future);
        loop {
            if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
                return Some(output);
            }
            if self.run_until_idle() == 0 {
                return None;
            }
        }
    }
}

impl fmt::Debug for Driver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Driver")
    }
}

impl Bus {
    fn step(&self) -> bool {
        if context::is_inside(self.engine.key) {
            return false;
        }
        // What falls due at this moment comes when everything before it is done. The driver has no more part in what is run
        // than a worker has.
        without(|| self.engine.step() || self.poll_one() || self.engine.fire_next())
    }

    pub(super) fn run_until_idle(&self) -> usize {
        std::iter::repeat_with(|| self.step()).take_while(|has_run| *has_run).count()
    }

    /// Advances by at most `time`, and no further than is needed until nothing is pending; true if that is so.
    pub(super) fn drive_until_quiet(&self, time: Duration) -> bool {
        // Whoever puts work off is told to hurry, before time is moved for it.
        let _flusher = self.engine.flusher();
        let end = self.engine.later.clock.now().after(time);
        loop {
            self.run_until_idle();
            if self.engine.is_quiet() {
                return true;
            }
            match self.engine.later.next_due().filter(|due| *due <= end) {
                Some(due) => drop(self.engine.advance_to(due)),
                None => return false,
            }
        }
    }

    fn advance(&self, time: Duration) {
        let engine = &self.engine;
        let end = engine.later.clock.now().after(time);
        self.run_until_idle();
        while let Some(due) = engine.later.next_due().filter(|due| *due <= end) {
            engine.advance_to(due);
            self.run_until_idle();
        }
        engine.advance_to(end);
    }

    #[cfg(feature = "async")]
    fn poll_one(&self) -> bool {
        let super::runtime::TaskRuntime::Driven(runnables) = &self.tasks else { return false };
        runnables.pop().map(async_task::Runnable::run).is_some()
    }

    #[cfg(not(feature = "async"))]
    #[allow(clippy::unused_self, reason = "as with asynchronous handlers")]
    fn poll_one(&self) -> bool {
        false
    }
}

impl Engine {
    /// Does what is due, or else the next job.
    fn step(&self) -> bool {
        if self.do_next_due(None) {
            return true;
        }
        self.queue.as_ref().is_some_and(|queue| self.run_next(queue))
    }
}
