//! What happens later: further attempts, delayed events, the ends of time limits.
//!
//! One thread waits for the earliest of them, whatever their number. It runs no handler, so that a handler that never
//! returns holds up neither a time limit nor anybody's retry: what is due goes to the workers; of an inline bus, to one more
//! thread. Both threads are started by the first that needs them. A manual bus has none: its driver moves the clock.

use super::alarm::Bell;
use super::delayed::Delayed;
use super::engine::Engine;
use super::retry::{Late, WAITING_RETRIES_MAX};
use super::time_limit::Overdue;
use crate::clock::Clock;
#[cfg(feature = "queued")]
use crate::clock::Moment;
use crate::quiet::{drop_quietly, log};
use crate::sync::{AtomicBool, AtomicUsize, Listener as _, Ordering, Signal};
use crate::timers::{Ticket, Timers};
use crossbeam_queue::SegQueue;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

/// How many delayed events of one bus may wait for their time.
pub const WAITING_EVENTS_MAX: usize = 1 << 20;

/// How many time limits may be running: one for each handler that runs within one, and each async wait.
const BELLS_MAX: usize = 1 << 20;

/// What the timers of a bus keep.
#[derive(Debug)]
pub(crate) enum Due {
    Work(Work),
    Bell(Arc<Bell>),
    Overdue(Arc<Overdue>),
}

/// What is to be done when it is due, by somebody who may run handlers.
#[derive(Debug)]
pub(crate) enum Work {
    Retry(Box<Late>),
    Publish(Box<Delayed>),
}

pub(crate) struct Later {
    pub(crate) clock: Clock,
    timers: Timers<Due>,
    /// Work whose time has come. Counted in `retries` and `delayed`, which bound it.
    due: SegQueue<Work>,
    came: Signal,
    retries: AtomicUsize,
    delayed: AtomicUsize,
    has_timer_thread: AtomicBool,
    has_work_thread: AtomicBool,
}

impl Later {
    pub(crate) fn new(clock: Clock) -> Self {
        Later {
            timers: Timers::new(clock.clone(), WAITING_RETRIES_MAX + WAITING_EVENTS_MAX + BELLS_MAX),
            clock,
            due: SegQueue::new(),
            came: Signal::new(),
            retries: AtomicUsize::new(0),
            delayed: AtomicUsize::new(0),
            has_timer_thread: AtomicBool::new(false),
            has_work_thread: AtomicBool::new(false),
        }
    }

    /// Whether threads of the bus's own keep it alive.
    pub(super) fn has_threads(&self) -> bool {
        self.has_timer_thread.load(Ordering::Acquire)
    }

    /// Failed deliveries that wait for another attempt.
    pub(crate) fn waiting_retries(&self) -> usize {
        self.retries.load(Ordering::Relaxed)
    }

    /// Events that wait for their time.
    pub(crate) fn waiting_events(&self) -> usize {
        self.delayed.load(Ordering::Relaxed)
    }

    #[cfg(feature = "queued")]
    pub(super) fn has_due(&self) -> bool {
        !self.due.is_empty()
    }

    fn next_work(&self) -> Option<Work> {
        self.due.pop()
    }

    /// When the next of them is due.
    #[cfg(feature = "queued")]
    pub(crate) fn next_due(&self) -> Option<Moment> {
        self.timers.next_due()
    }

    pub(crate) fn is_stopped(&self) -> bool {
        self.timers.is_stopped()
    }

    /// Refuses everything from now on, ends all waits, and hands out the work that was to be done.
    pub(crate) fn stop(&self) -> Vec<Work> {
        let mut work = Vec::new();
        for due in self.timers.stop() {
            match due {
                Due::Work(waiting) => work.push(waiting),
                Due::Bell(bell) => bell.ring(),
                // The handler is running still; nobody is left to say when it is too long.
                Due::Overdue(_) => {}
            }
        }
        work.extend(std::iter::from_fn(|| self.due.pop()));
        self.came.notify(usize::MAX);
        for work in &work {
            self.settle(work);
        }
        work
    }

    /// Takes back a delayed event whose time has not come.
    pub(crate) fn cancel_event(&self, ticket: Ticket) -> Option<Box<Delayed>> {
        match self.timers.cancel(ticket)? {
            Due::Work(Work::Publish(delayed)) => {
                self.delayed.fetch_sub(1, Ordering::Relaxed);
                Some(delayed)
            }
            _ => None,
        }
    }

    /// Takes back a time limit.
    pub(super) fn cancel(&self, ticket: Ticket) {
        drop(self.timers.cancel(ticket));
    }

    fn count_of(&self, work: &Work) -> (&AtomicUsize, usize) {
        match work {
            Work::Retry(_) => (&self.retries, WAITING_RETRIES_MAX),
            Work::Publish(_) => (&self.delayed, WAITING_EVENTS_MAX),
        }
    }

    /// Work waits no longer.
    fn settle(&self, work: &Work) {
        self.count_of(work).0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Engine {
    /// Lets a failed delivery wait until it is tried again. It comes back if there is no room to wait.
    pub(super) fn wait_and_retry(&self, wait: Duration, late: Box<Late>) -> Result<(), Box<Late>> {
        match self.let_wait(wait, Work::Retry(late)) {
            Err(Work::Retry(late)) => Err(late),
            _ => Ok(()),
        }
    }

    pub(super) fn let_wait(&self, wait: Duration, work: Work) -> Result<Ticket, Work> {
        let (count, most) = self.later.count_of(&work);
        if count.fetch_add(1, Ordering::Relaxed) >= most {
            count.fetch_sub(1, Ordering::Relaxed);
            return Err(work);
        }
        self.wait_for(wait, Due::Work(work)).map_err(|due| match due {
            Due::Work(work) => {
                self.later.settle(&work);
                work
            }
            _ => unreachable!("what went in comes back"),
        })
    }

    /// Gives `due` to the timers, and them a thread if they have none.
    pub(super) fn wait_for(&self, wait: Duration, due: Due) -> Result<Ticket, Due> {
        let later = &self.later;
        if !self.is_manual() && !later.has_timer_thread.swap(true, Ordering::AcqRel) {
            let keep_time = |engine: &Engine| {
                while let Some(due) = engine.later.timers.wait_due() {
                    engine.is_due(due);
                }
            };
            if !self.start_thread("events-timer", keep_time) {
                later.has_timer_thread.store(false, Ordering::Release);
                return Err(due);
            }
        }
        later.timers.add(wait, due)
    }

    /// The thread keeps the bus alive: whoever drops the last handle stops the timers.
    fn start_thread(&self, name: &str, run: fn(&Engine)) -> bool {
        let Some(owner) = self.owner.upgrade() else { return false };
        thread::Builder::new().name(name.to_owned()).spawn(move || run(owner.engine())).is_ok()
    }

    /// The time of something has come. No user code runs here but wakers.
    fn is_due(&self, due: Due) {
        match due {
            Due::Work(work) => {
                self.later.due.push(work);
                // Whoever stopped the timers meanwhile has not seen it, and those who would do it may have gone.
                if self.later.is_stopped() {
                    self.give_up_due();
                }
                self.offer_work();
            }
            Due::Bell(bell) => bell.ring(),
            Due::Overdue(overdue) => overdue.report(),
        }
    }

    /// What fell due while the timers were being stopped has the fate of what waited.
    #[cold]
    fn give_up_due(&self) {
        while let Some(work) = self.later.next_work() {
            self.later.settle(&work);
            match work {
                Work::Retry(late) => drop(self.cancel(late)),
                Work::Publish(delayed) => drop_quietly(delayed),
            }
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
            if self.do_next_due() {
                continue;
            }
            if later.is_stopped() {
                return;
            }
            came.wait();
        }
    }

    /// Does one thing that is due, if there is one.
    pub(crate) fn do_next_due(&self) -> bool {
        self.later.next_work().map(|work| self.do_work(work)).is_some()
    }

    fn do_work(&self, work: Work) {
        self.later.settle(&work);
        match work {
            Work::Retry(late) => self.try_again(late),
            Work::Publish(delayed) => self.publish_delayed(delayed),
        }
    }

    /// Moves a manual bus's clock to `moment`, and lets the earliest of what is due then happen. False if nothing is.
    #[cfg(feature = "queued")]
    pub(crate) fn advance_to(&self, moment: Moment) -> bool {
        self.later.clock.advance_to(moment);
        self.later.timers.take_due().map(|due| self.is_due(due)).is_some()
    }
}
