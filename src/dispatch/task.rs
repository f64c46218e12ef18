//! A task of an asynchronous handler: takes deliveries out of the mailbox and awaits what the handler makes of them.
//!
//! The future is made under a pin, from the handler in its slot, and polled without one; whoever waits for the
//! subscription's end waits for it as well (`Extras::running`). Time limits are rung by the bus's own timers, so no
//! runtime in particular is needed.

use super::alarm::Alarm;
use super::attempt::{Around, Attempt, Handling};
use super::chores::LOOKS_PER_CHANGE;
use super::deliver::Turn;
use super::door::InDoor;
use super::engine::{Engine, Owner};
use super::handler::{BoxError, Failure};
use super::mailbox::Mailbox;
use super::owned::OwnedDelivery;
use super::retry::{Late, Timing};
use super::time_limit::EventTimeoutError;
use crate::clock::Stopwatch;
use crate::quiet::drop_quietly;
use crate::sync::{Ordering, SignalListener};
use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

/// What an asynchronous handler makes of a delivery.
pub(crate) type HandlerFuture = Pin<Box<dyn Future<Output = Result<(), BoxError>> + Send>>;

/// How many deliveries a task handles before others have their turn.
const TURN_MAX: usize = 32;

/// A task in its seat. A runtime that drops its tasks cancels what this one had, and what waited for it.
pub(super) struct Seated {
    mailbox: Arc<Mailbox>,
    owner: Arc<dyn Owner>,
    seat: usize,
    has_left: bool,
}

impl Seated {
    pub(super) fn new(mailbox: Arc<Mailbox>, owner: Arc<dyn Owner>, seat: usize) -> Self {
        Seated { mailbox, owner, seat, has_left: false }
    }

    /// Handles what is in the mailbox, and ends with it.
    pub(super) async fn run(mut self) {
        let mut stopped = self.mailbox.stopped.listen();
        let mut handled = 0;
        loop {
            loop {
                let in_door = self.mailbox.pass_door().await;
                let Some(delivery) = self.mailbox.next(self.seat, &self.owner) else { break };
                self.handle(delivery, in_door, &mut stopped).await;
                handled += 1;
                if handled % TURN_MAX == 0 {
                    yield_now().await;
                }
            }
            self.mailbox.leave_seat(self.seat);
            self.has_left = true;
            if self.mailbox.is_empty() || self.mailbox.is_stopped() {
                return;
            }
            let Some(seat) = self.mailbox.take_seat() else { return };
            (self.seat, self.has_left) = (seat, false);
        }
    }

    async fn handle(
        &self,
        delivery: OwnedDelivery,
        in_door: Option<InDoor<'_>>,
        stopped: &mut SignalListener,
    ) {
        let engine = self.owner.engine();
        let interceptors = engine.hold_chain();
        let mut around = interceptors.as_ref().map(|chain| chain.around(engine.attempt_of(&delivery)));
        let stopwatch = Stopwatch::start();
        let begun = engine.begin(&delivery, around.as_mut());
        drop(in_door);
        let outcome = match begun {
            Some(future) => {
                let mailbox = &self.mailbox;
                Running { engine, mailbox, delivery: &delivery, future: Some(future) }.finish(stopped).await
            }
            None => Outcome::Gone,
        };
        let timing = Timing { took: stopwatch.elapsed(), overran: None };
        if let (Outcome::Of(result), Some(around)) = (&outcome, around.take()) {
            engine.frame(delivery.event(), 0).enter(|| around.end(result));
        }
        drop(around);
        if let Some(interceptors) = interceptors {
            drop(interceptors);
            engine.after_pin();
        }
        // None: it was given up, and counted, while the handler ran.
        if let Some(late) = self.mailbox.take_back(self.seat) {
            match outcome {
                Outcome::Of(result) => engine.end_attempt(late, result, timing),
                Outcome::Gone => {
                    engine.cancel(late);
                    engine.after_pin();
                }
            }
        }
    }
}

impl Drop for Seated {
    fn drop(&mut self) {
        if self.has_left {
            return;
        }
        let engine = self.owner.engine();
        let handled = self.mailbox.take_back(self.seat);
        handled.into_iter().chain(self.mailbox.drain()).for_each(|late| drop(engine.cancel(late)));
        self.mailbox.leave_seat(self.seat);
        // What was put in while the seat looked taken.
        self.mailbox.drain().for_each(|late| drop(engine.cancel(late)));
        engine.tidy(LOOKS_PER_CHANGE);
    }
}

async fn yield_now() {
    let mut has_yielded = false;
    poll_fn(|context| {
        if std::mem::replace(&mut has_yielded, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// How an attempt ended.
enum Outcome {
    Of(Result<(), Failure>),
    /// The subscription or the bus is.
    Gone,
}

/// A handler's future, which counts as the handler running until it is dropped.
struct Running<'a> {
    engine: &'a Engine,
    mailbox: &'a Arc<Mailbox>,
    delivery: &'a OwnedDelivery,
    future: Option<HandlerFuture>,
}

impl Running<'_> {
    async fn finish(mut self, stopped: &mut SignalListener) -> Outcome {
        let limit = self.delivery.subscriber.time_limit();
        let mut alarm = limit.and_then(|limit| self.engine.alarm(limit));
        poll_fn(|context| {
            if let Poll::Ready(result) = self.poll(context) {
                return Poll::Ready(Outcome::Of(result));
            }
            if self.mailbox.is_stopped() || Pin::new(&mut *stopped).poll(context).is_ready() {
                return Poll::Ready(Outcome::Gone);
            }
            self.poll_limit(context, alarm.as_mut()).map(|failure| Outcome::Of(Err(failure)))
        })
        .await
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        let Some(future) = self.future.as_mut() else { return Poll::Pending };
        let frame = self.engine.frame(self.delivery.event(), 0);
        #[cfg(feature = "queued")]
        let frame = frame.hosted(self.mailbox);
        let polled = frame.enter(|| catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(context))));
        match polled {
            Ok(Poll::Pending) => Poll::Pending,
            Ok(Poll::Ready(result)) => Poll::Ready(result.map_err(Failure::Returned)),
            Err(panic) => Poll::Ready(Err(Failure::Panicked(panic))),
        }
    }

    fn poll_limit(&self, context: &mut Context<'_>, alarm: Option<&mut Alarm<'_>>) -> Poll<Failure> {
        let is_over = alarm.is_some_and(|alarm| alarm.poll_rung(context));
        if !is_over {
            return Poll::Pending;
        }
        let subscriber = &self.delivery.subscriber;
        let limit = subscriber.time_limit().unwrap_or_default();
        subscriber.count(|extras| &extras.overran);
        let error = EventTimeoutError::new(subscriber.id(), self.delivery.event(), limit);
        Poll::Ready(Failure::TimedOut(Box::new(error)))
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        let future = self.future.take();
        // Its destructors are user code of this bus.
        self.engine.frame(self.delivery.event(), 0).enter(|| drop_quietly(future));
        if let Some(extras) = self.delivery.subscriber.extras() {
            extras.running.fetch_sub(1, Ordering::SeqCst);
        }
    }
}

impl Engine {
    /// Makes the future of a delivery; `None` if its subscription is gone.
    fn begin(&self, delivery: &OwnedDelivery, around: Option<&mut Around<'_>>) -> Option<HandlerFuture> {
        self.pinned(|_, _, _, pin| {
            let handler = self.slots.get(&delivery.subscriber.entry, pin)?;
            let call = handler.async_call()?;
            // Under the pin: whoever takes the handler apart has waited for it, and sees this.
            delivery.subscriber.extras()?.running.fetch_add(1, Ordering::SeqCst);
            let make = || match around.map_or(Ok(Handling::Proceed), Around::begin) {
                Ok(Handling::Proceed) => catch_unwind(AssertUnwindSafe(|| (call.make)(delivery.clone())))
                    .map_err(Failure::Panicked),
                Ok(Handling::Skip) => Ok(Box::pin(async { Ok(()) }) as HandlerFuture),
                Err(failure) => Err(failure),
            };
            let made = self.frame(delivery.event(), 0).enter(make);
            // Who panics before there is a future, or keeps it from being made, fails as if the future did.
            Some(made.unwrap_or_else(|failure| {
                Box::pin(async move {
                    match failure {
                        Failure::Returned(error) => Err(error),
                        Failure::TimedOut(error) => Err(error.into()),
                        Failure::Panicked(panic) => std::panic::resume_unwind(panic),
                    }
                })
            }))
        })
    }

    fn attempt_of<'a>(&'a self, delivery: &'a OwnedDelivery) -> Attempt<'a> {
        Attempt {
            event: delivery.event(),
            sequence: delivery.sequence(),
            attempt: delivery.attempt(),
            is_async: true,
            subscriber: &delivery.subscriber,
            engine: self,
        }
    }

    /// Brings an attempt of an asynchronous handler to its end.
    fn end_attempt(&self, late: Box<Late>, result: Result<(), Failure>, timing: Timing) {
        let event = Arc::clone(&late.event);
        self.pinned(|shard, view, _, pin| {
            self.look_again(view, shard);
            let turn = Turn::new(self, pin, view, &event, late.sequence);
            self.frame(&event, 0).enter(|| turn.end_attempt(late, result, timing));
        });
        self.let_go(event);
    }
}
