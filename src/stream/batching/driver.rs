//! Whoever handles the batches: one task for each stream, one batch at a time, in order.

use super::batch::{Batch, DeadBatch};
use super::outcome::Outcome;
use super::pile::Next;
use super::report::{BatchFailure, Link};
use super::shared::Shared;
use super::waiting::{Entry, Waiting};
use crate::bus::{EventBus, Timer};
use crate::clock::Timestamp;
use crate::dispatch::handler::{BoxError, Failure};
use crate::dispatch::retry::Backoff;
use crate::event::Event;
use crate::quiet::{drop_quietly, log};
use crate::sync::SignalListener;
use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

pub(super) type HandlerFuture = Pin<Box<dyn Future<Output = Result<(), BoxError>> + Send>>;

type SyncHandler = dyn Fn(&Batch) -> Result<(), BoxError> + Send + Sync;
type AsyncHandler = dyn Fn(Batch) -> HandlerFuture + Send + Sync;

pub(super) enum Handler {
    Sync(Box<SyncHandler>),
    Async(Box<AsyncHandler>),
}

pub(super) struct Driver {
    shared: Arc<Shared>,
    /// Taken by the drop, which runs its destructors as the bus's.
    handler: Option<Handler>,
    attempts_max: u32,
    backoff: Backoff,
    /// Of a stream that is not attached: what it runs on lasts as long as it does.
    _bus: Option<EventBus>,
}

impl Driver {
    pub(super) fn new(
        shared: Arc<Shared>,
        handler: Handler,
        attempts_max: u32,
        backoff: Backoff,
        bus: Option<EventBus>,
    ) -> Self {
        // As a manual bus does: what a driver drives comes out the same each time.
        let backoff = if shared.host.is_driven() { backoff.without_jitter() } else { backoff };
        Driver { shared, handler: Some(handler), attempts_max, backoff, _bus: bus }
    }

    /// Handles batches until the stream has ended.
    pub(super) async fn run(self) {
        // Of the open batch, by its number.
        let mut due: Option<(u64, Timer)> = None;
        loop {
            let (news, hurry) = self.shared.news();
            match self.shared.next() {
                Next::Handle(batch) => self.handle(batch).await,
                Next::Over => return,
                Next::Wait { open, timer } => {
                    due = timer.map(|timer| (open, timer)).or(due).filter(|(number, _)| *number == open);
                    let timer = due.as_mut().map(|(_, timer)| timer);
                    if is_due([Some(news), hurry], timer).await {
                        due = None;
                        self.shared.pile().is_due(open);
                    }
                }
            }
        }
    }

    async fn handle(&self, waiting: Waiting) {
        let Waiting { number, entries, trigger, outcome, earlier, .. } = waiting;
        let own: Option<Vec<bool>> = outcome.is_some().then(|| entries.iter().map(Entry::is_own).collect());
        let outcome = outcome.map(InHand);
        let events: Vec<Arc<Event>> = entries.into_iter().map(|entry| entry.event).collect();
        let batch = Batch::new(number, events, trigger);
        let result = match self.attempt(&batch).await {
            Ok(()) => {
                self.shared.delivered();
                Ok(())
            }
            Err(failure) => {
                let events = kept(&batch, own);
                let told = BatchFailure::Failed {
                    events: batch.len(),
                    attempts: failure.attempts,
                    source: Link::of(&failure.chain),
                };
                let dead =
                    (!events.is_empty()).then(|| failure.into_dead(number, events, earlier.as_deref()));
                self.shared.buried(dead);
                Err(Arc::new(told))
            }
        };
        if let Some(InHand(outcome)) = &outcome {
            outcome.settle(result);
        }
        // Payloads have destructors of their own.
        self.shared.host.within(|| drop_quietly((batch, earlier)));
    }

    /// Tries a batch as often as may be.
    async fn attempt(&self, batch: &Batch) -> Result<(), Failed> {
        let mut first_failed_at = None;
        let mut attempt = 1;
        loop {
            let Err(failure) = self.call(batch.at_attempt(attempt)).await else { return Ok(()) };
            let now = Timestamp::now();
            let first_failed_at = *first_failed_at.get_or_insert(now);
            let chain = self.chain_of(failure);
            if attempt >= self.attempts_max {
                return Err(Failed { attempts: attempt, chain, first_failed_at, last_failed_at: now });
            }
            if let Some(timer) = self.shared.host.timer(self.backoff.after(attempt)) {
                timer.await;
            }
            self.shared.pile().count_retry();
            attempt += 1;
        }
    }

    /// What a failure says. The errors are the user's, and so are their destructors.
    fn chain_of(&self, failure: Failure) -> Vec<String> {
        let read = AssertUnwindSafe(|| failure.into_chain());
        self.shared.host.within(|| catch_unwind(read)).unwrap_or_else(|panic| {
            std::mem::forget(panic);
            vec!["an error whose destructor panicked".to_owned()]
        })
    }

    async fn call(&self, batch: Batch) -> Result<(), Failure> {
        let host = &self.shared.host;
        let future = match self.handler.as_ref() {
            None => return Ok(()),
            Some(Handler::Sync(handler)) => {
                let called = host.within(|| catch_unwind(AssertUnwindSafe(|| handler(&batch))));
                return called.map_err(Failure::Panicked)?.map_err(Failure::Returned);
            }
            Some(Handler::Async(handler)) => {
                let made = host.within(|| catch_unwind(AssertUnwindSafe(|| handler(batch))));
                made.map_err(Failure::Panicked)?
            }
        };
        let mut running = Running { shared: &self.shared, future: Some(future) };
        poll_fn(|context| running.poll(context)).await
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        let given_up = self.shared.end();
        if !given_up.is_empty() {
            let events = given_up.len();
            log(|| tracing::warn!(events, "a batching stream lost its runtime with events in it"));
        }
        let handler = self.handler.take();
        self.shared.host.within(|| drop_quietly((handler, given_up)));
    }
}

/// The outcome of a batch that is being handled. Dropped without one, the batch was given up.
struct InHand(Arc<Outcome>);

impl Drop for InHand {
    fn drop(&mut self) {
        self.0.settle(Err(Arc::new(BatchFailure::GivenUp)));
    }
}

/// The events of a batch that the stream keeps: those that no bus delivered.
fn kept(batch: &Batch, own: Option<Vec<bool>>) -> Vec<Arc<Event>> {
    match own {
        None => batch.events().to_vec(),
        Some(own) => {
            let own = batch.events().iter().zip(own).filter(|(_, is_own)| *is_own);
            own.map(|(event, _)| Arc::clone(event)).collect()
        }
    }
}

/// How the last attempt failed, and since when.
struct Failed {
    attempts: u32,
    chain: Vec<String>,
    first_failed_at: Timestamp,
    last_failed_at: Timestamp,
}

impl Failed {
    fn into_dead(self, number: u64, events: Vec<Arc<Event>>, earlier: Option<&DeadBatch>) -> DeadBatch {
        DeadBatch {
            number,
            events,
            attempts: earlier.map_or(0, |earlier| earlier.attempts).saturating_add(self.attempts),
            chain: self.chain,
            first_failed_at: earlier.map_or(self.first_failed_at, |earlier| earlier.first_failed_at),
            last_failed_at: self.last_failed_at,
            redrives: earlier.map_or(0, |earlier| earlier.redrives + 1),
        }
    }
}

/// A handler's future, polled and dropped as code of the bus's.
struct Running<'a> {
    shared: &'a Shared,
    future: Option<HandlerFuture>,
}

impl Running<'_> {
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        let Some(future) = self.future.as_mut() else { return Poll::Pending };
        let host = &self.shared.host;
        match host.within(|| catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(context)))) {
            Ok(polled) => polled.map_err(Failure::Returned),
            Err(panic) => Poll::Ready(Err(Failure::Panicked(panic))),
        }
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        let future = self.future.take();
        self.shared.host.within(|| drop_quietly(future));
    }
}

/// Waits for one of `told`, or for the timer: true then.
async fn is_due(mut told: [Option<SignalListener>; 2], mut timer: Option<&mut Timer>) -> bool {
    poll_fn(|context| {
        let mut is_told = false;
        for listener in told.iter_mut().flatten() {
            is_told |= Pin::new(listener).poll(context).is_ready();
        }
        if is_told {
            return Poll::Ready(false);
        }
        match timer.as_mut() {
            Some(timer) => Pin::new(&mut **timer).poll(context).map(|()| true),
            None => Poll::Pending,
        }
    })
    .await
}
