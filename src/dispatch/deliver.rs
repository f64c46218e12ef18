//! One event's way through its route: each handler in its turn, isolated from the others' failures.
//!
//! A failure takes the slow way: it is retried as its subscription wishes, then becomes a dead letter.
//! Inline dispatch retries at once, on the publisher's thread.

use super::dead_letter::{DeadLetter, Undelivered};
use super::engine::Engine;
use super::handler::{Delivery, Failure, Handler};
use super::shard::{Pin, Turns};
use super::slots::Entry;
use super::subscriber::count;
use crate::clock::Timestamp;
use crate::event::Event;
use crate::quiet::log;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

/// One event, about to be handled under one pin.
pub(crate) struct Turn<'a> {
    pub(crate) engine: &'a Engine,
    pub(crate) pin: &'a Pin<'a>,
    pub(crate) turns: &'a [Turns],
    pub(crate) event: &'a Arc<Event>,
    pub(crate) sequence: u64,
}

/// How a delivery ended.
pub(crate) enum Ending {
    Succeeded,
    /// Every attempt failed.
    Undelivered(Undelivered),
    /// Unsubscribed between two attempts.
    Cancelled,
}

impl Turn<'_> {
    /// Hands the event to each subscription of the route that is still there and wants it.
    #[inline]
    pub(crate) fn follow(&self, route: &[Entry]) {
        for entry in route {
            // Looked up in its turn: an earlier handler may have unsubscribed it.
            let Some(handler) = self.engine.slots.get(entry, self.pin) else { continue };
            if handler.is_guarded && !self.is_admitted(handler) {
                continue;
            }
            let turns = &self.turns[entry.slot as usize];
            turns.begun.add(1);
            match self.attempt(handler, 1) {
                Ok(()) => turns.succeeded.add(1),
                Err(failure) => self.fail(handler, turns, failure),
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
        if subscriber.is_once() {
            self.engine.spend(handler, self.pin);
        }
        true
    }

    #[inline]
    fn attempt(&self, handler: &Handler, attempt: u32) -> Result<(), Failure> {
        let delivery = Delivery {
            event: self.event,
            sequence: self.sequence,
            attempt,
            subscriber: &handler.subscriber,
            engine: self.engine,
        };
        match catch_unwind(AssertUnwindSafe(|| (handler.call)(&delivery))) {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(Failure::Returned(error)),
            Err(panic) => Err(Failure::Panicked(panic)),
        }
    }

    #[cold]
    fn fail(&self, handler: &Handler, turns: &Turns, first: Failure) {
        if let Ending::Undelivered(undelivered) = self.settle(handler, turns, first) {
            self.engine.add_letter(DeadLetter::undelivered(self.event, self.sequence, undelivered));
        }
    }

    /// Brings a delivery whose first attempt failed to its end, and counts it.
    fn settle(&self, handler: &Handler, turns: &Turns, first: Failure) -> Ending {
        let subscriber = &handler.subscriber;
        let ending = self.retry(handler, first);
        match &ending {
            Ending::Succeeded => turns.succeeded.add(1),
            Ending::Cancelled => {
                count(&subscriber.cancelled);
                count(&self.engine.cancelled);
            }
            Ending::Undelivered(Undelivered { attempts, chain, .. }) => {
                count(&subscriber.dead_lettered);
                count(&self.engine.dead_lettered);
                log(|| {
                    tracing::warn!(
                        subscriber_id = subscriber.id(),
                        event_type = self.event.event_type().as_str(),
                        sequence = self.sequence,
                        attempts,
                        error = chain.first().map_or("", String::as_str),
                        "a handler failed for good: dead letter"
                    );
                });
            }
        }
        ending
    }

    fn retry(&self, handler: &Handler, first: Failure) -> Ending {
        let first_failed_at = Timestamp::now();
        let subscriber = &handler.subscriber;
        let mut failure = first;
        let mut attempts = 1;
        loop {
            count(&subscriber.failed_attempts);
            let chain = told(failure);
            if attempts >= subscriber.attempts_max {
                let subscriber = Arc::clone(subscriber);
                return Ending::Undelivered(Undelivered { subscriber, attempts, chain, first_failed_at });
            }
            // A `once` subscription is out of its slot by now; its retries belong to its claim.
            let is_subscribed = self.engine.slots.get(&subscriber.entry, self.pin).is_some();
            if !is_subscribed && !subscriber.is_once() {
                return Ending::Cancelled;
            }
            attempts += 1;
            match self.attempt(handler, attempts) {
                Ok(()) => return Ending::Succeeded,
                Err(next) => failure = next,
            }
        }
    }

    /// Delivers to one subscription that already said yes, and nobody else; `None` if it is gone. The caller
    /// keeps the letter, so none is made here.
    pub(crate) fn redeliver(&self, entry: &Entry) -> Option<Ending> {
        let handler = self.engine.slots.get(entry, self.pin)?;
        let turns = &self.turns[entry.slot as usize];
        turns.begun.add(1);
        let Err(failure) = self.attempt(handler, 1) else {
            turns.succeeded.add(1);
            return Some(Ending::Succeeded);
        };
        Some(self.settle(handler, turns, failure))
    }
}

/// A failure in words. Dropping a panic's payload or an error may panic again; that ends here.
fn told(failure: Failure) -> Vec<String> {
    catch_unwind(AssertUnwindSafe(|| failure.into_chain())).unwrap_or_else(|panic| {
        std::mem::forget(panic);
        vec!["an error whose destructor panicked".to_owned()]
    })
}
