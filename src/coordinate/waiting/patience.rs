//! Waiting for a bell, with a limit: one loop for threads and one for tasks.
//!
//! Neither starts a thread nor looks at intervals. A thread that waits is parked, and woken by what would wake a task: so it
//! can listen to the bell and to the end of the bus at once.

use super::WaitError;
use crate::bus::Host;
use crate::clock::Deadline;
use crate::dispatch::alarm::Bell;
use crate::sync::SignalListener;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::Duration;

/// What is waited for: `answer` is asked again when `bell` has rung. A bell that has rung without an answer means that there
/// will be none.
pub(in crate::coordinate) struct Awaited<'a, F> {
    pub(in crate::coordinate) host: &'a Host,
    pub(in crate::coordinate) bell: &'a Bell,
    pub(in crate::coordinate) answer: F,
}

impl<T, F: Fn() -> Option<T>> Awaited<'_, F> {
    /// Waits with this thread, unless it may not wait.
    pub(in crate::coordinate) fn within(&self, limit: Duration) -> Result<T, WaitError> {
        let deadline = Deadline::after(limit);
        let waker = Waker::from(Arc::new(Unpark(thread::current())));
        loop {
            let mut told = self.listen();
            if let Some(over) = self.look() {
                return over;
            }
            if self.host.is_inside() || self.host.is_driven() {
                return Err(WaitError::WouldDeadlock);
            }
            if deadline.is_past() {
                return Err(WaitError::TimedOut { limit });
            }
            if told.poll(&mut Context::from_waker(&waker)).is_pending() {
                thread::park_timeout(deadline.left());
            }
        }
    }

    /// Waits with the task that polls, on the bus's clock.
    pub(in crate::coordinate) async fn within_async(&self, limit: Duration) -> Result<T, WaitError> {
        if let Some(over) = self.look() {
            return over;
        }
        let mut timer = self.host.timer(limit);
        loop {
            let mut told = self.listen();
            if let Some(over) = self.look() {
                return over;
            }
            match &mut timer {
                Some(timer) if !timer.is_past() => {
                    poll_fn(|context| {
                        let is_told = told.poll(context).is_ready();
                        let is_past = Pin::new(&mut *timer).poll(context).is_ready();
                        if is_told || is_past { Poll::Ready(()) } else { Poll::Pending }
                    })
                    .await;
                }
                // The end of the bus ends its timers too, a moment before it is told.
                _ if !self.host.is_open() => return Err(WaitError::Closed),
                Some(_) => return Err(WaitError::TimedOut { limit }),
                None => return Err(WaitError::NoTimer),
            }
        }
    }

    /// The answer, or that there will be none.
    fn look(&self) -> Option<Result<T, WaitError>> {
        let is_over = self.bell.is_rung() || self.host.ended().is_rung();
        // Asked after that: the answer is there before its bell is rung.
        (self.answer)().map(Ok).or_else(|| is_over.then_some(Err(WaitError::Closed)))
    }

    fn listen(&self) -> Told {
        Told(self.bell.listen(), self.host.ended().listen())
    }
}

struct Told(SignalListener, SignalListener);

impl Told {
    /// Not to be asked again once it was ready.
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let is_rung = Pin::new(&mut self.0).poll(context).is_ready();
        if is_rung || Pin::new(&mut self.1).poll(context).is_ready() {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    }
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}
