//! A handle on a subscription.

use super::Bus;
use crate::clock::Deadline;
use crate::context;
use crate::dispatch::subscriber::Subscriber;
use crate::matcher::Pattern;
use std::fmt;
use std::future::poll_fn;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use thiserror::Error;

/// A handle on a subscription. Dropping it changes nothing; see [`scoped`](Self::scoped). It keeps neither
/// the bus nor the handler alive.
#[derive(Clone)]
pub struct Subscription {
    bus: Weak<Bus>,
    /// Of the bus, for when it is gone.
    key: u64,
    subscriber: Arc<Subscriber>,
}

/// The handler was unsubscribed, but may still be running.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the handler was unsubscribed but may still be running")]
#[non_exhaustive]
pub struct StillRunning {}

impl Subscription {
    pub(crate) fn new(bus: &Arc<Bus>, subscriber: Arc<Subscriber>) -> Self {
        Subscription { bus: Arc::downgrade(bus), key: bus.engine.key, subscriber }
    }

    /// The label, given or generated.
    #[must_use]
    pub fn id(&self) -> &str {
        self.subscriber.id()
    }

    /// What tells it from any other of its bus, for ever.
    pub(super) fn key(&self) -> u64 {
        self.subscriber.entry.key
    }

    /// The patterns, in the order given.
    #[must_use]
    pub fn patterns(&self) -> &[Pattern] {
        &self.subscriber.patterns
    }

    /// The priority; higher ones take their turn first.
    #[must_use]
    pub fn priority(&self) -> i32 {
        self.subscriber.entry.priority
    }

    /// Ends the subscription: no turn of its handler begins after this, except one that is beginning on
    /// another thread at this moment. False if it had ended already. Called by the handler itself, its present
    /// turn goes on to its end.
    pub fn unsubscribe(&self) -> bool {
        self.bus.upgrade().is_some_and(|bus| bus.registry.unsubscribe(&bus.engine, &self.subscriber))
    }

    /// Ends the subscription and waits, up to `limit`, for what is running. On `Ok` neither handler nor
    /// filter is running or ever will again, and both have been dropped with all that they captured. It may
    /// wait for other deliveries that are in progress.
    ///
    /// # Errors
    /// [`StillRunning`] when the limit is over, or at once when called from a handler, filter or destructor that
    /// the same bus is running: the wait would include the caller. The subscription has ended all the same.
    pub fn unsubscribe_and_wait(&self, limit: Duration) -> Result<(), StillRunning> {
        let deadline = Deadline::after(limit);
        self.unsubscribe();
        if context::is_inside(self.key) {
            return self.is_gone().then_some(()).ok_or(StillRunning {});
        }
        self.wait_while(deadline, || true)
    }

    /// Waits until the handler is gone, the time is up, or nobody wants to know any more.
    fn wait_while(&self, deadline: Deadline, is_wanted: impl Fn() -> bool) -> Result<(), StillRunning> {
        deadline.wait_until(|| {
            if let Some(bus) = self.bus.upgrade() {
                bus.engine.tidy(usize::MAX);
            }
            self.is_gone() || !is_wanted()
        });
        self.is_gone().then_some(()).ok_or(StillRunning {})
    }

    /// [`unsubscribe_and_wait`](Self::unsubscribe_and_wait) for async code: ends the subscription when first polled, and
    /// waits on a thread of its own, without blocking the caller's. It needs no particular runtime. Dropped before
    /// it is polled, the future did nothing; dropped later, the subscription has ended and nobody waits.
    ///
    /// # Errors
    /// As [`unsubscribe_and_wait`](Self::unsubscribe_and_wait), and if no thread can be started; the subscription
    /// has ended all the same.
    pub async fn unsubscribe_and_wait_async(&self, limit: Duration) -> Result<(), StillRunning> {
        let deadline = Deadline::after(limit);
        self.unsubscribe();
        if self.is_gone() {
            return Ok(());
        }
        if context::is_inside(self.key) {
            return Err(StillRunning {});
        }
        let (waiting, answer) = (self.clone(), Arc::new(Answer::default()));
        let answering = Arc::clone(&answer);
        let waiter = move || {
            let is_wanted = || Arc::strong_count(&answering) > 1;
            answering.give(waiting.wait_while(deadline, is_wanted));
        };
        std::thread::Builder::new()
            .name("events-unsubscribe".to_owned())
            .spawn(waiter)
            .map_err(|_| StillRunning {})?;
        poll_fn(|context| answer.poll(context)).await
    }

    /// Whether the handler has been dropped with all that it captured.
    pub(crate) fn is_gone(&self) -> bool {
        self.subscriber.is_gone()
    }

    /// Ends the subscription when the returned guard is dropped.
    pub fn scoped(self) -> ScopedSubscription {
        ScopedSubscription { subscription: self }
    }
}

impl fmt::Debug for Subscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscription").field("id", &self.id()).field("patterns", &self.patterns()).finish()
    }
}

/// What a waiting thread tells a future.
#[derive(Default)]
struct Answer(Mutex<AnswerState>);

#[derive(Default)]
struct AnswerState {
    outcome: Option<Result<(), StillRunning>>,
    waker: Option<Waker>,
}

impl Answer {
    fn give(&self, outcome: Result<(), StillRunning>) {
        let waker = {
            let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            state.outcome = Some(outcome);
            state.waker.take()
        };
        // A waker is the runtime's code: not under the lock.
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    fn poll(&self, context: &Context<'_>) -> Poll<Result<(), StillRunning>> {
        let waker = context.waker().clone();
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match state.outcome {
            Some(outcome) => Poll::Ready(outcome),
            None => {
                let replaced = state.waker.replace(waker);
                drop(state);
                drop(replaced);
                Poll::Pending
            }
        }
    }
}

/// Unsubscribes when dropped. Made by [`Subscription::scoped`].
#[must_use = "the subscription ends when this is dropped"]
#[derive(Debug)]
pub struct ScopedSubscription {
    subscription: Subscription,
}

impl std::ops::Deref for ScopedSubscription {
    type Target = Subscription;

    fn deref(&self) -> &Subscription {
        &self.subscription
    }
}

impl Drop for ScopedSubscription {
    fn drop(&mut self) {
        self.subscription.unsubscribe();
    }
}
