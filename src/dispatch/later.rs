//! What happens later: further attempts, delayed events, the ends of time limits.
//!
//! One thread waits for the earliest of them, whatever their number. It runs no handler, so that no handler holds up a time
//! limit: what is due goes to the workers, or of an inline bus to one more thread, on which a handler that takes long does
//! hold up the later ones. Both threads are started by the first that needs them. A manual bus has none: its driver moves
//! the clock.

use super::alarm::Bell;
use super::delayed::Delayed;
use super::engine::Engine;
use super::retry::{Late, WAITING_RETRIES_MAX};
use super::time_limit::Overdue;
use crate::clock::Clock;
#[cfg(feature = "queued")]
use crate::clock::Moment;
use crate::event::Event;
use crate::quiet::log;
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
    /// Events whose time came when the bus was closed.
    unpublished: SegQueue<Arc<Event>>,
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
            unpublished: SegQueue::new(),
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

    /// Takes back all delayed events: the bus is closed.
    pub(crate) fn take_events(&self) -> Vec<Arc<Event>> {
        let mut taken: Vec<Work> = Vec::new();
        for due in self.timers.take_where(|due| matches!(due, Due::Work(Work::Publish(_)))) {
            if let Due::Work(work) = due {
                taken.push(work);
            }
        }
        for _ in 0..self.due.len() {
            match self.due.pop() {
                Some(retry @ Work::Retry(_)) => self.due.push(retry),
                event => taken.extend(event),
            }
        }
        taken.iter().for_each(|work| self.settle(work));
        let events = taken.into_iter().filter_map(|work| match work {
            Work::Publish(delayed) => Some((*delayed).into_event()),
            Work::Retry(_) => None,
        });
        events.chain(self.unpublished()).collect()
    }

    /// An event whose time came when the bus was closed.
    pub(super) fn leave_unpublished(&self, event: Arc<Event>) {
        self.unpublished.push(event);
    }

    /// Takes out what was left so.
    pub(crate) fn unpublished(&self) -> impl Iterator<Item = Arc<Event>> {
        std::iter::from_fn(|| self.unpublished.pop())
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

    /// Puts work among what is due; gives back what is to be done at once.
    fn hand(&self, due: Due) -> Option<Due> {
        match due {
            Due::Work(work) => {
                self.due.push(work);
                None
            }
            other => Some(other),
        }
    }

    #[allow(clippy::vec_box, reason = "they are boxed where they wait")]
    /// Takes back the retries of which `is_its` says yes.
    pub(super) fn take_retries(&self, is_its: impl Fn(&Late) -> bool) -> Vec<Box<Late>> {
        let taken = self.timers.take_where(|due| matches!(due, Due::Work(Work::Retry(late)) if is_its(late)));
        let mut retries = Vec::new();
        for due in taken {
            if let Due::Work(work) = due {
                self.settle(&work);
                retries.extend(if let Work::Retry(late) = work { Some(late) } else { None });
            }
        }
        retries
    }

    /// Takes back a time limit.
    pub(super) fn cancel(&self, ticket: Ticket) {
        drop(self.timers.cancel(ticket));
    }

    /// One more waits; false if there is no room for it.
    fn admit(&self, work: &Work) -> bool {
        let (count, most) = match work {
            Work::Retry(late) => {
                if let Some(extras) = late.subscriber.extras() {
                    extras.waiting_retries.fetch_add(1, Ordering::SeqCst);
                }
                (&self.retries, WAITING_RETRIES_MAX)
            }
            Work::Publish(_) => (&self.delayed, WAITING_EVENTS_MAX),
        };
        count.fetch_add(1, Ordering::Relaxed) < most
    }

    /// Work waits no longer.
    fn settle(&self, work: &Work) {
        let count = match work {
            Work::Retry(late) => {
                if let Some(extras) = late.subscriber.extras() {
                    extras.waiting_retries.fetch_sub(1, Ordering::SeqCst);
                }
                &self.retries
            }
            Work::Publish(_) => &self.delayed,
        };
        count.fetch_sub(1, Ordering::Relaxed);
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
        if !self.later.admit(&work) {
            self.later.settle(&work);
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
        while let Some(due) = self.later.timers.wait_due(|due| self.later.hand(due)) {
            self.is_due(due);
        }
    }

    /// The time of something has come: work is among what is due already.
    fn is_due(&self, due: Option<Due>) {
        match due {
            None => self.offer_work(),
            Some(Due::Bell(bell)) => bell.ring(),
            Some(Due::Overdue(overdue)) => overdue.report(),
            Some(Due::Work(_)) => unreachable!("work was handed on"),
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
        self.fire_next()
    }

    /// Lets the earliest of what is due on a manual bus's clock happen; false if nothing is.
    #[cfg(feature = "queued")]
    pub(crate) fn fire_next(&self) -> bool {
        let due = self.later.timers.take_due();
        due.map(|due| self.is_due(self.later.hand(due))).is_some()
    }
}
