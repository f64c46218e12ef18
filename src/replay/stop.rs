//! Waiting for an event's time, which somebody else may cut short.

use crate::bus::EventBus;
use crate::sync::{AtomicBool, Ordering, Signal};
use std::fmt;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::Duration;

/// Stops a [`Replay`](super::Replay) from anywhere, a wait of it too. Made by [`Replay::stop_handle`](super::Replay::stop_handle);
/// a cheap clone.
#[derive(Clone, Default)]
pub struct ReplayStop(Arc<Stop>);

#[derive(Default)]
struct Stop {
    is_stopped: AtomicBool,
    signal: Signal,
}

impl ReplayStop {
    /// Nothing more is published, until somebody calls [`Replay::resume`](super::Replay::resume). An event that is being
    /// published right now may still be accepted, and is counted then.
    pub fn stop(&self) {
        // Ordering: Release, and the Acquire of `is_stopped`: what was written before the stop is seen after it.
        self.0.is_stopped.store(true, Ordering::Release);
        self.0.signal.notify(usize::MAX);
    }

    /// Whether the replay is stopped.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        self.0.is_stopped.load(Ordering::Acquire)
    }

    pub(super) fn clear(&self) {
        self.0.is_stopped.store(false, Ordering::Release);
    }

    /// Waits for `time` on the bus's clock, or until it is stopped; the clock of a manual bus is moved.
    pub(super) fn wait(&self, bus: &EventBus, time: Duration) {
        #[cfg(feature = "queued")]
        if bus.clock().is_manual() {
            return bus.drive(time);
        }
        parked(self.wait_async(bus, time));
    }

    /// Waits for `time` on the bus's clock, or until it is stopped.
    pub(super) async fn wait_async(&self, bus: &EventBus, time: Duration) {
        let mut stopped = self.0.signal.listen();
        if self.is_stopped() {
            return;
        }
        let mut over = pin!(bus.sleep(time));
        poll_fn(|context| {
            let is_stopped = Pin::new(&mut stopped).poll(context).is_ready();
            if is_stopped || over.as_mut().poll(context).is_ready() { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }
}

impl fmt::Debug for ReplayStop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReplayStop").field("is_stopped", &self.is_stopped()).finish()
    }
}

/// Lets other tasks of the executor have a turn.
pub(super) async fn give_way() {
    let mut has_waited = false;
    poll_fn(|context| {
        if std::mem::replace(&mut has_waited, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// Runs a future on this thread, which sleeps meanwhile.
fn parked<T>(future: impl Future<Output = T>) -> T {
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(value) => return value,
            Poll::Pending => thread::park(),
        }
    }
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}
