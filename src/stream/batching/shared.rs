//! [`Shared`]: a [`Pile`] under its lock, and who is told of what.
//!
//! The lock is held for the moving of a few pointers; events, handlers and their errors are made and dropped without it.

use super::batch::{BatchTrigger, DeadBatch};
use super::outcome::Ticket;
use super::pile::{Added, Limits, Next, Pile};
use super::report::{BatchAddError, BatchAddErrorKind, BatchFailure, RedriveBatchError};
use super::waiting::Waiting;
use crate::bus::{FlushError, Host, Timer};
use crate::clock::Deadline;
use crate::event::Event;
use crate::quiet::drop_quietly;
use crate::sync::{Listener as _, Signal, SignalListener};
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::Duration;

pub(super) struct Shared {
    pile: Mutex<Pile>,
    pub(super) host: Host,
    pub(super) settings: Settings,
    /// Whoever handles the batches has something to see to.
    news: Signal,
    /// Something was settled, or is over: there may be room.
    settled: Signal,
}

pub(super) struct Settings {
    pub(super) interval: Duration,
    /// How long an `add` waits for room.
    pub(super) patience: Duration,
    pub(super) counts_bytes: bool,
}

impl Shared {
    pub(super) fn new(host: Host, limits: Limits, settings: Settings) -> Self {
        Shared {
            pile: Mutex::new(Pile::new(limits)),
            host,
            settings,
            news: Signal::new(),
            settled: Signal::new(),
        }
    }

    pub(super) fn pile(&self) -> MutexGuard<'_, Pile> {
        self.pile.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The length of the event's payload as JSON, if it matters. It may run a user's `Serialize`, so without the lock.
    fn bytes_of(&self, event: &Event) -> usize {
        if !self.settings.counts_bytes {
            return 0;
        }
        event.data().json().map_or(0, str::len)
    }

    fn tell_of(&self, added: Added) {
        if added.is_news {
            self.news.notify(1);
        }
    }

    fn timer(&self) -> Option<Timer> {
        self.host.timer(self.settings.interval)
    }

    /// Adds an event, waiting for room for at most `patience`.
    pub(super) async fn add(&self, event: Arc<Event>, patience: Duration) -> Result<(), BatchAddError> {
        let bytes = self.bytes_of(&event);
        let mut timer: Option<Timer> = None;
        let mut is_last_try = patience.is_zero() || self.host.is_inside();
        loop {
            let settled = self.settled.listen();
            let added = self.pile().add(&event, bytes, || self.timer());
            match added {
                Ok(added) => {
                    self.tell_of(added);
                    return Ok(());
                }
                Err(kind) if is_last_try || kind == BatchAddErrorKind::Stopped => {
                    self.pile().refuse();
                    return Err(BatchAddError::new(kind, event));
                }
                Err(_) => {}
            }
            if timer.is_none() {
                timer = self.host.timer(patience);
            }
            is_last_try = timed_out(settled, timer.as_mut()).await;
        }
    }

    /// Adds an event if there is room.
    pub(super) fn try_add(&self, event: Arc<Event>) -> Result<(), BatchAddError> {
        let bytes = self.bytes_of(&event);
        let mut pile = self.pile();
        match pile.add(&event, bytes, || self.timer()) {
            Ok(added) => {
                drop(pile);
                self.tell_of(added);
                Ok(())
            }
            Err(kind) => {
                pile.refuse();
                drop(pile);
                Err(BatchAddError::new(kind, event))
            }
        }
    }

    /// Adds an event that a bus delivers.
    pub(super) fn add_delivery(&self, event: &Arc<Event>) -> Result<Ticket, BatchFailure> {
        let bytes = self.bytes_of(event);
        let added = self.pile().add_delivery(event, bytes, || self.timer());
        let (added, ticket) = added.ok_or(BatchFailure::Stopped)?;
        self.tell_of(added);
        Ok(ticket)
    }

    /// Waits until all that was added before is settled.
    pub(super) async fn flush(&self, limit: Duration) -> Result<(), FlushError> {
        if self.host.is_inside() {
            return Err(FlushError::WouldDeadlock);
        }
        let added = {
            let mut pile = self.pile();
            pile.seal(BatchTrigger::Flush);
            pile.added()
        };
        self.news.notify(1);
        let mut timer = self.host.timer(limit);
        let mut is_last_look = false;
        loop {
            let settled = self.settled.listen();
            {
                let pile = self.pile();
                if pile.is_settled(added) {
                    return Ok(());
                }
                if is_last_look {
                    return Err(FlushError::StillPending { pending: pile.pending() });
                }
            }
            is_last_look = timed_out(settled, timer.as_mut()).await;
        }
    }

    /// [`flush`](Self::flush) that blocks the thread; true if all is settled.
    pub(super) fn flush_blocking(&self, limit: Duration) -> bool {
        let deadline = Deadline::after(limit);
        let added = self.pile().added();
        self.news.notify(1);
        loop {
            let settled = self.settled.listen();
            if self.pile().is_settled(added) {
                return true;
            }
            if deadline.is_past() {
                return false;
            }
            settled.wait_timeout(deadline.left());
        }
    }

    /// Refuses everything from now on, and lets the open batch go.
    pub(super) fn stop(&self, for_good: bool) {
        let mut pile = self.pile();
        pile.seal(BatchTrigger::Flush);
        pile.stop(for_good);
        drop(pile);
        self.news.notify(1);
        // Those who wait for room wait in vain.
        self.settled.notify(usize::MAX);
    }

    pub(super) fn redrive(&self, number: u64) -> Result<(), RedriveBatchError> {
        self.pile().redrive(number)?;
        self.news.notify(1);
        Ok(())
    }

    /// Drops what waits; the events that were added by hand.
    pub(super) fn give_up(&self) -> Vec<Arc<Event>> {
        let given_up = self.pile().give_up();
        self.settled.notify(usize::MAX);
        fail(given_up)
    }

    /// Nobody handles batches any more.
    pub(super) fn end(&self) -> Vec<Arc<Event>> {
        let given_up = self.pile().end();
        self.settled.notify(usize::MAX);
        fail(given_up)
    }

    /// Told when there may be something to do, be it that the bus is to be quiet. To be asked before looking.
    pub(super) fn news(&self) -> (SignalListener, Option<SignalListener>) {
        (self.news.listen(), self.host.quiet_wanted())
    }

    pub(super) fn next(&self) -> Next {
        // Asked before the lock: it may be the last to let go of a bus.
        let is_hurried = self.host.is_quiet_wanted();
        let next = self.pile().next(is_hurried);
        if !matches!(next, Next::Handle(_)) {
            // Of the batches before, all may have been given up.
            self.settled.notify(usize::MAX);
        }
        next
    }

    pub(super) fn delivered(&self) {
        self.pile().deliver();
        self.settled.notify(usize::MAX);
    }

    pub(super) fn buried(&self, dead: Option<DeadBatch>) {
        let evicted = self.pile().bury(dead);
        self.settled.notify(usize::MAX);
        drop_quietly(evicted);
    }
}

/// Tells the deliveries among what was given up; the other events.
fn fail(given_up: Vec<Waiting>) -> Vec<Arc<Event>> {
    let mut own = Vec::new();
    for batch in given_up {
        for entry in batch.entries {
            if entry.is_own() {
                own.push(entry.event);
            }
        }
        if let Some(outcome) = batch.outcome {
            outcome.settle(Err(Arc::new(BatchFailure::GivenUp)));
        }
    }
    own
}

/// Waits for `told`, or for the time to be up: true then. Without a timer there is no time.
async fn timed_out(mut told: SignalListener, timer: Option<&mut Timer>) -> bool {
    let Some(timer) = timer else { return true };
    poll_fn(|context| {
        if Pin::new(&mut told).poll(context).is_ready() {
            return Poll::Ready(false);
        }
        Pin::new(&mut *timer).poll(context).map(|()| true)
    })
    .await
}
