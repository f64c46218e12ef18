//! Who waits for what is due, and who does it then.
//!
//! One thread waits for the earliest, whatever their number. It runs no handler, so that no handler holds up a time limit:
//! what is due goes to the workers, or of an inline bus to one more thread, on which a handler that takes long does hold up
//! the later ones. Both threads are started by the first that needs them. A manual bus has none: its driver moves the clock.

use super::engine::Engine;
use super::later::{Due, Limit, Reminder, Work};
use super::retry::Late;
#[cfg(feature = "queued")]
use crate::clock::Moment;
use crate::context;
use crate::quiet::{log, panics};
use crate::sync::{Listener as _, Ordering};
use crate::timers::Ticket;
use std::thread;
use std::time::Duration;

impl Engine {
    /// Lets a failed delivery wait until it is tried again. It comes back if there is no room to wait.
    pub(super) fn wait_and_retry(&self, wait: Duration, late: Box<Late>) -> Result<(), Box<Late>> {
        match self.let_wait(wait, Work::Retry(late)) {
            Err(Work::Retry(late)) => Err(late),
            _ => Ok(()),
        }
    }

    pub(super) fn let_wait(&self, wait: Duration, work: Work) -> Result<Ticket, Work> {
        if !self.later.admit(&work) {
            self.later.settle(&work);
            return Err(work);
        }
        self.wait_for(wait, Due::Work(work)).map_err(|due| match due {
            Due::Work(work) => {
                self.later.settle(&work);
                self.tell_flushers();
                work
            }
            Due::Limit(_) => unreachable!("what went in comes back"),
        })
    }

    /// Gives `due` to the timers, and them a thread if they have none.
    pub(super) fn wait_for(&self, wait: Duration, due: Due) -> Result<Ticket, Due> {
        let later = &self.later;
        if !self.is_manual()
            && !later.has_timer_thread.swap(true, Ordering::AcqRel)
            && !self.start_thread("events-timer", Engine::keep_time)
        {
            later.has_timer_thread.store(false, Ordering::Release);
            return Err(due);
        }
        later.timers.add(wait, due)
    }

    /// The thread keeps the bus alive: whoever drops the last handle stops the timers.
    fn start_thread(&self, name: &str, run: fn(&Engine)) -> bool {
        let Some(owner) = self.owner.upgrade() else { return false };
        thread::Builder::new().name(name.to_owned()).spawn(move || run(owner.engine())).is_ok()
    }

    /// Waits for what is due until the bus ends. No user code runs here but wakers.
    fn keep_time(&self) {
        while let Some(limit) = self.later.timers.wait_due(|due| self.later.hand_on(due)) {
            self.is_due(limit);
        }
    }

    /// The time of something has come: work is among what is due already.
    fn is_due(&self, limit: Option<Limit>) {
        match limit {
            None => self.offer_work(),
            Some(Limit::Bell(bell)) => bell.ring(),
            Some(Limit::Overdue(overdue)) => overdue.report(),
        }
    }

    /// Somebody has to do what is due.
    fn offer_work(&self) {
        #[cfg(feature = "queued")]
        if let Some(queue) = &self.queue {
            return queue.wake_one();
        }
        if self.is_manual() {
            return;
        }
        let later = &self.later;
        if !later.has_work_thread.swap(true, Ordering::AcqRel)
            && !self.start_thread("events-late", Engine::do_due)
        {
            // The next try comes with the next work; shutting down hands out what is left.
            later.has_work_thread.store(false, Ordering::Release);
            log(|| tracing::error!("no thread can be started for what is due"));
        }
        later.came.notify(1);
    }

    /// Does what is due until the bus ends.
    fn do_due(&self) {
        let later = &self.later;
        loop {
            let came = later.came.listen();
            if self.do_next_due(None) {
                continue;
            }
            if later.is_stopped() {
                return;
            }
            came.wait();
        }
    }

    /// Does one thing that is due, if there is one; `worker` says who, if it is a worker.
    pub(crate) fn do_next_due(&self, worker: Option<usize>) -> bool {
        self.later.next_work().map(|work| self.do_work(work, worker)).is_some()
    }

    fn do_work(&self, work: Work, worker: Option<usize>) {
        if let Work::Retry(_) | Work::Remind(_) = &work {
            self.later.settle(&work);
        }
        match work {
            Work::Retry(late) => self.try_again(late, worker),
            // It waits until it is published, refused or left to whoever shuts the bus down: it is never in no place.
            Work::Publish(delayed) => self.publish_delayed(delayed),
            Work::Remind(reminder) => self.remind(reminder),
        }
    }

    /// The caller is code of the bus while it is reminded: it does not wait for the bus.
    fn remind(&self, Reminder(call): Reminder) {
        if panics(|| context::within_bus(self.key, call)) {
            log(|| tracing::error!("what was to be done at its time panicked"));
        }
    }

    /// Calls `call` when `wait` has passed, unless it is [forgotten](Self::forget); `None` if there is no room to wait, or the
    /// bus has ended.
    pub(crate) fn remind_after(&self, wait: Duration, call: Box<dyn FnOnce() + Send>) -> Option<Ticket> {
        self.let_wait(wait, Work::Remind(Reminder(call))).ok()
    }

    /// Takes back a reminder.
    pub(crate) fn forget(&self, ticket: Ticket) {
        self.later.cancel_reminder(ticket);
    }

    /// Moves a manual bus's clock to `moment`, and lets the earliest of what is due then happen. False if nothing is.
    #[cfg(feature = "queued")]
    pub(crate) fn advance_to(&self, moment: Moment) -> bool {
        self.later.clock.advance_to(moment);
        self.fire_next()
    }

    /// Lets the earliest of what is due on a manual bus's clock happen; false if nothing is.
    #[cfg(feature = "queued")]
    pub(crate) fn fire_next(&self) -> bool {
        let due = self.later.timers.take_due();
        due.map(|due| self.is_due(self.later.hand_on(due))).is_some()
    }
}
