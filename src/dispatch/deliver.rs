//! One event's way through its route: each handler in its turn, isolated from the others' failures.
//!
//! A failure takes the slow way: it is retried as its subscription wishes, then becomes a dead letter.
//! Inline dispatch retries at once, on the publisher's thread, unless the subscription has a backoff; a worker never
//! waits, so queued dispatch puts every retry off (see [`retry`](super::retry)).

use super::dead_letter::{DeadLetter, Undelivered};
use super::engine::Engine;
use super::handler::{Delivery, Failure, Handler};
use super::retry::{Backoff, Retry, Tail};
use super::shard::{Pin, Turns};
use super::slots::Entry;
use super::subscriber::{Subscriber, count};
use crate::clock::Timestamp;
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
    /// Made when a delivery is put off.
    tail: OnceCell<Arc<Tail>>,
}

/// How a delivery ended.
pub(crate) enum Ending {
    Succeeded,
    /// Every attempt failed.
    Undelivered(Undelivered),
    /// Unsubscribed between two attempts.
    Cancelled,
}

impl<'a> Turn<'a> {
    #[inline]
    pub(crate) fn new(
        engine: &'a Engine,
        pin: &'a Pin<'a>,
        turns: &'a [Turns],
        event: &'a Arc<Event>,
        sequence: u64,
    ) -> Self {
        Turn { engine, pin, turns, event, sequence, tail: OnceCell::new() }
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
        // Retries that come later find their handler in its slot.
        if subscriber.is_once() && self.backoff(subscriber).is_none() {
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
        let first_failed_at = Timestamp::now();
        if let Some(backoff) = self.backoff(&handler.subscriber) {
            self.put_off(handler, backoff, first, first_failed_at);
        } else if let Ending::Undelivered(undelivered) = self.settle(handler, turns, first) {
            self.engine.add_letter(DeadLetter::undelivered(self.event, self.sequence, undelivered));
        }
    }

    /// How long a failed delivery waits; `None` if it is tried again at once, or not at all.
    fn backoff(&self, subscriber: &Subscriber) -> Option<Backoff> {
        if subscriber.attempts_max == 1 {
            return None;
        }
        subscriber.backoff.or_else(|| self.engine.is_queued().then(Backoff::default))
    }

    fn put_off(&self, handler: &Handler, backoff: Backoff, first: Failure, first_failed_at: Timestamp) {
        let tail = self.tail.get_or_init(Tail::new);
        tail.add();
        let retry = Retry {
            subscriber: Arc::clone(&handler.subscriber),
            event: Arc::clone(self.event),
            sequence: self.sequence,
            attempts: 0,
            chain: Vec::new(),
            first_failed_at,
            tail: Arc::clone(tail),
        };
        self.failed(handler, retry, backoff, first);
    }

    /// An attempt of a delivery failed that waits between attempts.
    fn failed(&self, handler: &Handler, mut retry: Retry, backoff: Backoff, failure: Failure) {
        count(&retry.subscriber.failed_attempts);
        let is_worth_it = handler.is_worth_retrying(&failure);
        retry.attempts += 1;
        retry.chain = told(failure);
        if !is_worth_it || retry.attempts >= retry.subscriber.attempts_max {
            return self.bury(handler, retry);
        }
        let wait = backoff.after(retry.attempts);
        if let Err(mut refused) = self.engine.wait_and_retry(wait, retry) {
            refused.chain.push("no more retries can wait: given up".to_owned());
            self.bury(handler, *refused);
        }
    }

    /// No attempt is left.
    fn bury(&self, handler: &Handler, retry: Retry) {
        let Retry { subscriber, attempts, chain, first_failed_at, tail, .. } = retry;
        self.spend_if_once(handler);
        let undelivered = Undelivered { subscriber, attempts, chain, first_failed_at };
        let subscriber = Arc::clone(&undelivered.subscriber);
        let ending = Ending::Undelivered(undelivered);
        self.tell(&subscriber, &ending);
        self.engine.count_ending(&subscriber, &ending);
        if let Ending::Undelivered(undelivered) = ending {
            self.engine.add_letter(DeadLetter::undelivered(self.event, self.sequence, undelivered));
        }
        self.engine.end_tail(&tail);
    }

    /// The next attempt of a delivery that has waited.
    pub(crate) fn retry(&self, retry: Retry) {
        let subscriber = &retry.subscriber;
        let Some(handler) = self.engine.slots.get(&subscriber.entry, self.pin) else {
            self.engine.count_ending(subscriber, &Ending::Cancelled);
            return self.engine.end_tail(&retry.tail);
        };
        count(&subscriber.retried);
        match self.attempt(handler, retry.attempts + 1) {
            Ok(()) => {
                self.spend_if_once(handler);
                self.turns[subscriber.entry.slot as usize].succeeded.add(1);
                self.engine.end_tail(&retry.tail);
            }
            Err(failure) => {
                let backoff = self.backoff(subscriber).unwrap_or_default();
                self.failed(handler, retry, backoff, failure);
            }
        }
    }

    /// The claim of a `once` subscription is over, its retries too.
    fn spend_if_once(&self, handler: &Handler) {
        if handler.subscriber.is_once() {
            self.engine.spend(handler, self.pin);
        }
    }

    /// Brings a delivery whose first attempt failed to its end, at once, and counts it.
    fn settle(&self, handler: &Handler, turns: &Turns, first: Failure) -> Ending {
        let subscriber = &handler.subscriber;
        let ending = self.retry_at_once(handler, first);
        if let Ending::Succeeded = ending {
            turns.succeeded.add(1);
        }
        self.tell(subscriber, &ending);
        self.engine.count_ending(subscriber, &ending);
        ending
    }

    /// Says in the log what became of a delivery that failed.
    fn tell(&self, subscriber: &Subscriber, ending: &Ending) {
        if let Ending::Undelivered(Undelivered { attempts, chain, .. }) = ending {
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

    fn retry_at_once(&self, handler: &Handler, first: Failure) -> Ending {
        let first_failed_at = Timestamp::now();
        let subscriber = &handler.subscriber;
        let mut failure = first;
        let mut attempts = 1;
        loop {
            count(&subscriber.failed_attempts);
            let is_worth_it = handler.is_worth_retrying(&failure);
            let chain = told(failure);
            if !is_worth_it || attempts >= subscriber.attempts_max {
                let subscriber = Arc::clone(subscriber);
                return Ending::Undelivered(Undelivered { subscriber, attempts, chain, first_failed_at });
            }
            // A `once` subscription is out of its slot by now; its retries belong to its claim.
            let is_subscribed = self.engine.slots.get(&subscriber.entry, self.pin).is_some();
            if !is_subscribed && !subscriber.is_once() {
                return Ending::Cancelled;
            }
            attempts += 1;
            count(&subscriber.retried);
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

impl Engine {
    /// Counts how a delivery ended that did not succeed.
    pub(crate) fn count_ending(&self, subscriber: &Subscriber, ending: &Ending) {
        match ending {
            Ending::Succeeded => {}
            Ending::Cancelled => {
                count(&subscriber.cancelled);
                count(&self.cancelled);
            }
            Ending::Undelivered(_) => {
                count(&subscriber.dead_lettered);
                count(&self.dead_lettered);
            }
        }
    }
}

/// A failure in words. Dropping a panic's payload or an error may panic again; that ends here.
fn told(failure: Failure) -> Vec<String> {
    catch_unwind(AssertUnwindSafe(|| failure.into_chain())).unwrap_or_else(|panic| {
        std::mem::forget(panic);
        vec!["an error whose destructor panicked".to_owned()]
    })
}
