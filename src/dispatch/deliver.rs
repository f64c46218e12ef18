//! One event's way through its route: each handler in its turn, isolated from the others' failures.
//!
//! A handler that succeeds at once costs no more than its call. Whatever takes longer than its turn, and every failure, goes
//! on as a [`Late`] delivery; how that ends is told in [`ending`](super::ending).
//!
//! Inline dispatch retries at once, on the publisher's thread, unless the subscription has a backoff; a worker never waits,
//! so queued dispatch puts every retry off (see [`retry`](super::retry)).

use super::attempt::{Attempt, Handling, HeldChain};
use super::awaited::Awaited;
use super::ending::told;
use super::engine::Engine;
use super::handler::{Call, Delivery, Failure, Handler, SyncCall};
use super::local::View;
use super::retry::{Backoff, Late, Tail, Timing};
use super::shard::{Pin, Turns};
use super::slots::Entry;
use super::subscriber::count;
use super::time_limit::Watchdog;
use crate::clock::Stopwatch;
use crate::event::Event;
use crate::quiet::log;
use std::cell::OnceCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

/// One event, about to be handled under one pin.
pub(crate) struct Turn<'a> {
    pub(crate) engine: &'a Engine,
    pub(crate) pin: &'a Pin<'a>,
    pub(crate) turns: &'a [Turns],
    pub(crate) event: &'a Arc<Event>,
    pub(crate) sequence: u64,
    /// Made when a delivery goes on after the event's turns, or by a publisher who wants to know.
    tail: OnceCell<Arc<Tail>>,
    /// What surrounds each attempt.
    interceptors: Option<HeldChain<'a>>,
    /// Of a publisher who waits, or has waited.
    #[cfg(feature = "async")]
    awaited: Option<&'a Awaited>,
}

impl<'a> Turn<'a> {
    #[inline]
    pub(crate) fn new(
        engine: &'a Engine,
        pin: &'a Pin<'a>,
        view: &'a View,
        event: &'a Arc<Event>,
        sequence: u64,
    ) -> Self {
        Turn {
            engine,
            pin,
            turns: &view.turns,
            event,
            sequence,
            tail: OnceCell::new(),
            interceptors: if view.table.intercepts_handling { engine.hold_chain() } else { None },
            #[cfg(feature = "async")]
            awaited: None,
        }
    }

    /// With a tail that a publisher watches.
    #[inline]
    pub(crate) fn watched(self, tail: Option<Arc<Tail>>) -> Self {
        match tail {
            None => self,
            Some(tail) => Turn { tail: OnceCell::from(tail), ..self },
        }
    }

    /// Of a publisher who waits for the end, or has waited for room.
    #[inline]
    pub(crate) fn awaited(self, awaited: Option<&'a Awaited>) -> Self {
        let Some(given) = awaited else { return self };
        #[cfg(feature = "async")]
        return Turn { awaited, ..self }.watched(given.tail());
        #[cfg(not(feature = "async"))]
        self.watched(given.tail())
    }

    /// Takes the turns of the whole route. True if the event is completed then, false if deliveries go on after them.
    #[inline]
    pub(crate) fn complete(self, route: &[Entry]) -> bool {
        self.follow(route);
        let Some(tail) = self.tail.into_inner() else { return true };
        self.engine.end_tail(&tail);
        false
    }

    /// Hands the event to each subscription of the route that is still there and wants it.
    #[inline]
    fn follow(&self, route: &[Entry]) {
        let is_watched = self.tail.get().is_some() || self.interceptors.is_some();
        for entry in route {
            // Looked up in its turn: an earlier handler may have unsubscribed it.
            let Some(handler) = self.engine.slots.get(entry, self.pin) else { continue };
            if handler.is_guarded && !self.is_admitted(handler) {
                continue;
            }
            let turns = &self.turns[entry.slot as usize];
            turns.begun.add(1);
            match &handler.call {
                Call::Plain(call) if !is_watched => match self.attempt(handler, call, 1) {
                    Ok(()) => turns.succeeded.add(1),
                    Err(failure) => self.fail(handler, failure),
                },
                _ => self.deliver_specially(handler),
            }
        }
    }

    /// Asks the filter, then claims the only turn of a `once` subscription.
    #[inline(never)]
    fn is_admitted(&self, handler: &Handler) -> bool {
        let subscriber = &handler.subscriber;
        let wanted = handler.filter.as_ref().is_none_or(|filter| {
            catch_unwind(AssertUnwindSafe(|| filter(self.event))).unwrap_or_else(|panic| {
                let chain = told(Failure::Panicked(panic));
                let error = chain.first().map_or("", String::as_str);
                log(|| {
                    tracing::warn!(subscriber_id = subscriber.id(), error, "a filter panicked: no match");
                });
                false
            })
        });
        if !wanted {
            count(&subscriber.filtered);
            return false;
        }
        if !subscriber.claim_only_turn() {
            return false;
        }
        // Attempts that come later find their handler in its slot.
        if subscriber.is_once() && !handler.is_async() && self.backoff(handler).is_none() {
            self.engine.spend(handler, self.pin);
        }
        true
    }

    /// A handler that takes more than a call, or whose end somebody watches.
    #[cold]
    fn deliver_specially(&self, handler: &Handler) {
        #[cfg(feature = "async")]
        if let Some(call) = handler.async_call() {
            let place = self.awaited.and_then(|awaited| awaited.place_in(call));
            return self.engine.post(
                call,
                self.late(handler),
                place,
                self.awaited.is_none_or(|awaited| awaited.waits_in_turns),
            );
        }
        let (result, timing) = self.timed_attempt(handler, 1);
        match result {
            // Nobody needs to know more.
            Ok(()) if self.tail.get().is_none() => {
                self.turns[handler.subscriber.entry.slot as usize].succeeded.add(1);
                self.engine.spend_if_once(&handler.subscriber);
            }
            Ok(()) => drop(self.succeed(*self.late(handler), timing)),
            Err(failure) => drop(self.failed(Some(handler), self.late(handler), failure, timing)),
        }
    }

    #[inline]
    fn attempt(&self, handler: &Handler, call: &SyncCall, attempt: u32) -> Result<(), Failure> {
        let delivery = Delivery {
            event: self.event,
            sequence: self.sequence,
            attempt,
            subscriber: &handler.subscriber,
            engine: self.engine,
        };
        match catch_unwind(AssertUnwindSafe(|| call(&delivery))) {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(Failure::Returned(error)),
            Err(panic) => Err(Failure::Panicked(panic)),
        }
    }

    /// The same, within what surrounds it, and with how long it took.
    pub(super) fn timed_attempt(&self, handler: &Handler, attempt: u32) -> (Result<(), Failure>, Timing) {
        let Some(interceptors) = &self.interceptors else { return self.limited_attempt(handler, attempt) };
        let mut around = interceptors.around(Attempt {
            event: self.event,
            sequence: self.sequence,
            attempt,
            is_async: false,
            subscriber: &handler.subscriber,
            engine: self.engine,
        });
        match around.begin() {
            Ok(Handling::Proceed) => {
                let (result, timing) = self.limited_attempt(handler, attempt);
                around.end(&result);
                (result, timing)
            }
            Ok(Handling::Skip) => (Ok(()), Timing::default()),
            Err(failure) => (Err(failure), Timing::default()),
        }
    }

    /// One attempt under the subscription's time limit, and how long it took.
    fn limited_attempt(&self, handler: &Handler, attempt: u32) -> (Result<(), Failure>, Timing) {
        let limit = handler.subscriber.time_limit();
        let watchdog =
            limit.and_then(|limit| Watchdog::start(self.engine, &handler.subscriber, self.event, limit));
        let stopwatch = Stopwatch::start();
        let result = handler.sync_call().map_or(Ok(()), |call| self.attempt(handler, call, attempt));
        let took = stopwatch.elapsed();
        let timing = Timing { took, overran: watchdog.and_then(Watchdog::stop) };
        self.engine.note_time(&handler.subscriber, self.event, took);
        (result, timing)
    }

    /// A delivery that goes on after its turn.
    fn late(&self, handler: &Handler) -> Box<Late> {
        let tail = self.tail.get_or_init(Tail::new);
        tail.add();
        Box::new(Late::new(&handler.subscriber, self.event, self.sequence, Some(Arc::clone(tail))))
    }

    #[cold]
    fn fail(&self, handler: &Handler, first: Failure) {
        let late = self.late(handler);
        self.failed(Some(handler), late, first, Timing::default());
    }

    /// How long a failed delivery waits; `None` if it is tried again at once, or not at all.
    pub(super) fn backoff(&self, handler: &Handler) -> Option<Backoff> {
        let subscriber = &handler.subscriber;
        if subscriber.attempts_max == 1 {
            return None;
        }
        let waits = self.engine.is_queued() || handler.is_async();
        subscriber.backoff().or_else(|| waits.then(Backoff::default))
    }
}
