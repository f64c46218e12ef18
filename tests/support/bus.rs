//! What the tests of a bus share: events, watchdogs, and captures whose end can be seen.

#![allow(dead_code, reason = "each test uses a part of it")]
#![allow(clippy::panic, reason = "in a test a panic is the report")]

use codomyrmex_events::{Delivery, Event, EventBus, Subscription};
use std::future::Future;
use std::pin::pin;
use std::sync::{Arc, Weak, mpsc};
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::Duration;

/// Longer than any wait that is not a hang.
pub(crate) const WATCHDOG: Duration = Duration::from_secs(30);

pub(crate) fn event(event_type: &str) -> Event {
    Event::builder(event_type, "test").build().expect("a valid name")
}

pub(crate) fn publish(bus: &EventBus, event_type: &str) {
    bus.publish(event(event_type)).expect("it is open");
}

/// The answer of a future that has nothing to wait for.
pub(crate) fn ready<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => panic!("inline dispatch has nothing to wait for"),
    }
}

/// A value for a closure to capture, and a way to see whether it still lives.
pub(crate) fn capture() -> (Arc<()>, Weak<()>) {
    let value = Arc::new(());
    let seen = Arc::downgrade(&value);
    (value, seen)
}

pub(crate) fn is_dropped(capture: &Weak<()>) -> bool {
    capture.strong_count() == 0
}

/// Runs its closure when it is dropped.
pub(crate) struct OnDrop<F: FnMut()>(pub(crate) F);

impl<F: FnMut()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

/// Subscribes a handler that does nothing but capture `value`.
pub(crate) fn hold<T: Send + Sync + 'static>(bus: &EventBus, value: T) -> Subscription {
    let handler = move |_: &Delivery<'_>| {
        std::hint::black_box(&value);
    };
    bus.subscribe("*").handler(handler).expect("a valid subscription")
}

/// Runs `f` on a thread of its own, and fails if it hangs.
pub(crate) fn watched<T: Send + 'static>(name: &str, f: impl FnOnce() -> T + Send + 'static) -> T {
    let (done, waiting) = mpsc::channel();
    let thread = thread::spawn(move || done.send(f()));
    match waiting.recv_timeout(WATCHDOG) {
        Ok(value) => value,
        Err(mpsc::RecvTimeoutError::Timeout) => panic!("{name} hangs"),
        Err(mpsc::RecvTimeoutError::Disconnected) => {
            std::panic::resume_unwind(thread.join().expect_err("it panicked"))
        }
    }
}
