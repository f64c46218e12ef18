//! How a delivery ends that is not over with its turn: tried again at once, or after a wait, or for good.
//!
//! Whatever takes longer than its turn (a retry, an asynchronous handler, a redrive) is a [`Late`] delivery, and so is every
//! failure. Each ends once, in [`Engine::end`].

use super::dead_letter::DeadLetter;
use super::deliver::Turn;
#[cfg(feature = "async")]
use super::drops::DropCause;
use super::engine::Engine;
use super::handler::{Failure, Handler};
use super::retry::{Late, Timing};
use super::slots::Entry;
use super::subscriber::{Subscriber, count};
use super::watch::{DeliveryEnding, Noted};
use crate::clock::Timestamp;
use crate::event::Event;
use crate::quiet::log;
use crate::sync::{Ordering, fence};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

/// How a late delivery ended, as far as it has.
pub(crate) enum Ending {
    Succeeded,
    /// Every attempt failed. Whoever redrove the letter is handed it back.
    Undelivered(Option<DeadLetter>),
    /// Unsubscribed, or shut down.
    Cancelled,
    /// It waits for another attempt.
    Waiting,
}

impl Turn<'_> {
    /// An attempt failed: it is tried again, now or later, or given up.
    pub(super) fn failed(
        &self,
        handler: Option<&Handler>,
        mut late: Box<Late>,
        mut failure: Failure,
        mut timing: Timing,
    ) -> Ending {
        loop {
            count(&late.subscriber.failed_attempts);
            late.first_failed_at.get_or_insert_with(Timestamp::now);
            late.is_timed_out = failure.is_time_limit();
            late.timing = timing;
            late.attempts += 1;
            late.is_counted = false;
            let is_worth_it = handler.is_none_or(|handler| handler.is_worth_retrying(&failure));
            late.chain = told(failure);
            if !is_worth_it || !late.has_attempts_left() {
                return self.bury(late);
            }
            // Unsubscribed while its future ran: nobody is left to try again.
            let Some(handler) = handler else { return self.engine.cancel(late) };
            if let Some(backoff) = self.backoff(handler).filter(|_| !late.is_awaited) {
                // What a driver drives must be the same each time.
                let wait = match self.engine.is_manual() {
                    true => backoff.most_after(late.attempts),
                    false => backoff.after(late.attempts),
                };
                let subscriber = Arc::clone(&late.subscriber);
                return match self.engine.wait_and_retry(wait, late) {
                    Ok(()) => {
                        // Ordering: of "wait, then look at the slot" here and "empty the slot, then look for what waits" in
                        // an unsubscription, whose fence is in `Grace::begin`, one sees the other.
                        fence(Ordering::SeqCst);
                        if self.engine.slots.get(&subscriber.entry, self.pin).is_none() {
                            self.engine.cancel_retries(&subscriber);
                        }
                        Ending::Waiting
                    }
                    Err(refused) if self.engine.later.is_stopped() => self.engine.cancel(refused),
                    Err(mut refused) => {
                        refused.chain.push("no more retries can wait: given up".to_owned());
                        self.bury(refused)
                    }
                };
            }
            // A `once` subscription is out of its slot by now; its retries belong to its claim.
            let is_subscribed = self.engine.slots.get(&late.subscriber.entry, self.pin).is_some();
            if !is_subscribed && !late.subscriber.is_once() {
                return self.engine.cancel(late);
            }
            count(&late.subscriber.retried);
            let (result, took) = self.timed_attempt(handler, late.attempts + 1);
            match result {
                Ok(()) => return self.succeed(*late, took),
                Err(again) => (failure, timing) = (again, took),
            }
        }
    }

    /// The next attempt of a delivery that has waited.
    pub(crate) fn retry(&self, mut late: Box<Late>) {
        let Some(handler) = self.engine.slots.get(&late.subscriber.entry, self.pin) else {
            self.engine.cancel(late);
            return;
        };
        if !std::mem::replace(&mut late.is_counted, true) {
            count(&late.subscriber.retried);
        }
        #[cfg(feature = "async")]
        if let Some(call) = handler.async_call() {
            return self.engine.post_again(call, late);
        }
        let (result, timing) = self.timed_attempt(handler, late.attempts + 1);
        match result {
            Ok(()) => drop(self.succeed(*late, timing)),
            Err(failure) => drop(self.failed(Some(handler), late, failure, timing)),
        }
    }

    /// What came of an asynchronous handler's attempt.
    #[cfg(feature = "async")]
    pub(crate) fn end_attempt(&self, late: Box<Late>, result: Result<(), Failure>, timing: Timing) {
        let handler = self.engine.slots.get(&late.subscriber.entry, self.pin);
        self.engine.note_time(&late.subscriber, self.event, timing.took);
        match result {
            Ok(()) if handler.is_some() => drop(self.succeed(*late, timing)),
            // Its slot may be another's by now.
            Ok(()) => {
                count(&self.engine.succeeded_after);
                self.note_success(*late, timing);
            }
            Err(failure) => drop(self.failed(handler, late, failure, timing)),
        }
    }

    /// A late delivery succeeded, whose handler this pin has found in its slot.
    pub(super) fn succeed(&self, late: Late, timing: Timing) -> Ending {
        self.turns[late.subscriber.entry.slot as usize].succeeded.add(1);
        self.note_success(late, timing);
        Ending::Succeeded
    }

    fn note_success(&self, mut late: Late, timing: Timing) {
        late.attempts += 1;
        late.timing = timing;
        self.engine.end(late, DeliveryEnding::Succeeded);
    }

    /// No attempt is left.
    fn bury(&self, late: Box<Late>) -> Ending {
        let subscriber = &late.subscriber;
        count(&subscriber.dead_lettered);
        count(&self.engine.dead_lettered);
        log(|| {
            tracing::warn!(
                subscriber_id = subscriber.id(),
                event_type = self.event.event_type().as_str(),
                sequence = self.sequence,
                attempts = late.attempts,
                error = late.chain.first().map_or("", String::as_str),
                "a handler failed for good: dead letter"
            );
        });
        let letter = DeadLetter::undelivered(&late);
        let ending = match late.is_timed_out {
            true => DeliveryEnding::TimedOut,
            false => DeliveryEnding::Failed(late.chain.clone()),
        };
        let returned = if late.is_awaited {
            Some(letter)
        } else {
            self.engine.add_letter(letter);
            None
        };
        self.engine.end(*late, ending);
        Ending::Undelivered(returned)
    }

    /// Delivers a letter's event to one subscription that already said yes, and nobody else; `None` if it is gone. Of a
    /// synchronous handler the end is waited for.
    pub(crate) fn redeliver(&self, entry: &Entry, letter: &Arc<DeadLetter>) -> Option<Ending> {
        let handler = self.engine.slots.get(entry, self.pin)?;
        self.turns[entry.slot as usize].begun.add(1);
        let mut late = Box::new(Late::new(&handler.subscriber, self.event, self.sequence, None));
        late.letter = Some(Arc::clone(letter));
        // Ordering: SeqCst: who waits until nothing is pending looks at it.
        self.engine.redriven.fetch_add(1, Ordering::SeqCst);
        #[cfg(feature = "async")]
        if let Some(call) = handler.async_call() {
            self.engine.post(call, late, None, true);
            return Some(Ending::Waiting);
        }
        late.is_awaited = true;
        let (result, timing) = self.timed_attempt(handler, 1);
        Some(match result {
            Ok(()) => self.succeed(*late, timing),
            Err(failure) => self.failed(Some(handler), late, failure, timing),
        })
    }
}

impl Engine {
    /// Ends a delivery whose subscription or bus is gone. A letter that was being redriven is a letter again.
    pub(crate) fn cancel(&self, late: Box<Late>) -> Ending {
        count(&late.subscriber.cancelled);
        count(&self.cancelled);
        // Whoever waits for the redrive puts the letter back.
        if late.letter.is_some() && !late.is_awaited {
            self.add_letter(DeadLetter::not_redriven(&late, "cancelled before it was redriven"));
        }
        self.end(*late, DeliveryEnding::Cancelled);
        Ending::Cancelled
    }

    /// Ends a delivery for which there was no room.
    #[cfg(feature = "async")]
    pub(super) fn drop_late(&self, late: Box<Late>, cause: DropCause) {
        late.subscriber.count(|extras| &extras.dropped);
        self.dropped_deliveries.count(cause);
        if late.letter.is_some() {
            self.add_letter(DeadLetter::not_redriven(&late, "no room in the mailbox"));
        } else if self.keeps_dropped {
            self.add_letter(DeadLetter::dropped_delivery(&late));
        }
        self.end(*late, DeliveryEnding::Dropped);
    }

    /// Says how a delivery ended, to whoever waits for it. The claim of a `once` subscription is over with it.
    fn end(&self, late: Late, ending: DeliveryEnding) {
        let Late { subscriber, event, attempts, timing, tail, letter, .. } = late;
        self.spend_if_once(&subscriber);
        // This may run under a pin, and these may be the last to hold the event.
        self.drop_event_later(event);
        drop(letter);
        match tail {
            Some(tail) => {
                tail.note(&subscriber, || Noted { ending, attempts, timing });
                self.end_tail(&tail);
            }
            None => {
                self.redriven.fetch_sub(1, Ordering::SeqCst);
                self.tell_flushers();
            }
        }
    }

    /// Notes how long an attempt took, and says so if that is slow.
    pub(super) fn note_time(&self, subscriber: &Subscriber, event: &Event, took: Duration) {
        if let Some(latencies) = &self.latencies {
            latencies.handling.add(took);
        }
        if let Some(handling) = subscriber.handling() {
            handling.add(took);
        }
        if self.slow_after.is_some_and(|slow_after| took > slow_after) {
            subscriber.count(|extras| &extras.slow);
            log(|| {
                tracing::warn!(
                    subscriber_id = subscriber.id(),
                    event_type = event.event_type().as_str(),
                    took_ms = took.as_millis() as u64,
                    "a slow handler"
                );
            });
        }
    }
}

/// A failure in words. Dropping a panic's payload or an error may panic again; that ends here.
pub(super) fn told(failure: Failure) -> Vec<String> {
    catch_unwind(AssertUnwindSafe(|| failure.into_chain())).unwrap_or_else(|panic| {
        std::mem::forget(panic);
        vec!["an error whose destructor panicked".to_owned()]
    })
}
