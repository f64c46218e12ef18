//! What happens later: further attempts, delayed events, the ends of time limits.
//!
//! Here is what waits, and what became due; who waits for it and who does it is told in [`due`](super::due).

use super::alarm::Bell;
use super::delayed::Delayed;
use super::retry::{Late, WAITING_RETRIES_MAX};
use super::time_limit::Overdue;
use crate::clock::Clock;
#[cfg(feature = "queued")]
use crate::clock::Moment;
use crate::event::Event;
use crate::sync::{AtomicBool, AtomicUsize, Ordering, Signal};
use crate::timers::{Ticket, Timers};
use crossbeam_queue::SegQueue;
use std::fmt;
use std::sync::Arc;

/// How many delayed events of one bus may wait for their time.
pub const WAITING_EVENTS_MAX: usize = 1 << 20;

/// How many time limits may be running: one for each handler that runs within one, and each async wait.
const BELLS_MAX: usize = 1 << 20;

/// How many reminders may wait for their time.
const REMINDERS_MAX: usize = 1 << 20;

/// What the timers of a bus keep.
#[derive(Debug)]
pub(crate) enum Due {
    Work(Work),
    Limit(Limit),
}

/// The end of a time limit: it takes a word and no time.
#[derive(Debug)]
pub(crate) enum Limit {
    Bell(Arc<Bell>),
    Overdue(Arc<Overdue>),
}

impl Due {
    /// The key of the subscription whose retry it is.
    fn subscription(&self) -> Option<u64> {
        match self {
            Due::Work(Work::Retry(late)) => Some(late.subscriber.entry.key),
            _ => None,
        }
    }
}

/// What is to be done when it is due, by somebody who may run handlers.
#[derive(Debug)]
pub(crate) enum Work {
    Retry(Box<Late>),
    Publish(Box<Delayed>),
    Remind(Reminder),
}

/// A call of a part above the bus. It may publish; what is due on an inline bus waits for it.
pub(crate) struct Reminder(pub(super) Box<dyn FnOnce() + Send>);

impl fmt::Debug for Reminder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Reminder")
    }
}

pub(crate) struct Later {
    pub(crate) clock: Clock,
    pub(super) timers: Timers<Due>,
    /// Work whose time has come. Counted in `retries`, `delayed` and `reminders`, which bound it.
    pub(super) due: SegQueue<Work>,
    pub(super) came: Signal,
    retries: AtomicUsize,
    delayed: AtomicUsize,
    reminders: AtomicUsize,
    /// Events whose time came when the bus was closed.
    unpublished: SegQueue<Arc<Event>>,
    pub(super) has_timer_thread: AtomicBool,
    pub(super) has_work_thread: AtomicBool,
}

impl Later {
    pub(crate) fn new(clock: Clock) -> Self {
        Later {
            timers: Timers::new(
                clock.clone(),
                WAITING_RETRIES_MAX + WAITING_EVENTS_MAX + BELLS_MAX + REMINDERS_MAX,
                Due::subscription,
            ),
            clock,
            due: SegQueue::new(),
            came: Signal::new(),
            retries: AtomicUsize::new(0),
            delayed: AtomicUsize::new(0),
            reminders: AtomicUsize::new(0),
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

    /// Events that wait for their time, or whose time has come and that are neither accepted nor in another's hands yet.
    pub(crate) fn waiting_events(&self) -> usize {
        // Ordering: Acquire, with the Release in `settle_event`: who finds that none waits finds what became of them.
        self.delayed.load(Ordering::Acquire)
    }

    #[cfg(feature = "queued")]
    pub(super) fn has_due(&self) -> bool {
        !self.due.is_empty()
    }

    pub(super) fn next_work(&self) -> Option<Work> {
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
                Due::Limit(Limit::Bell(bell)) => bell.ring(),
                // The handler is running still; nobody is left to say when it is too long.
                Due::Limit(Limit::Overdue(_)) => {}
            }
        }
        work.extend(std::iter::from_fn(|| self.due.pop()));
        self.came.notify(usize::MAX);
        for work in &work {
            self.settle(work);
        }
        work
    }

    /// Takes back all delayed events: the bus is closed, and whoever ends it reports them.
    pub(crate) fn unpublish(&self) {
        let mut taken: Vec<Due> = self.timers.take_where(|due| matches!(due, Due::Work(Work::Publish(_))));
        for _ in 0..self.due.len() {
            match self.due.pop() {
                Some(event @ Work::Publish(_)) => taken.push(Due::Work(event)),
                Some(other) => self.due.push(other),
                None => break,
            }
        }
        for due in taken {
            if let Due::Work(Work::Publish(delayed)) = due {
                self.leave_unpublished((*delayed).into_event());
            }
        }
    }

    /// A delayed event met a closed bus: it is left to whoever shuts that down.
    pub(super) fn leave_unpublished(&self, event: Arc<Event>) {
        self.unpublished.push(event);
        self.settle_event();
    }

    /// Takes out the events whose time came when the bus was closed.
    pub(crate) fn unpublished(&self) -> impl Iterator<Item = Arc<Event>> {
        std::iter::from_fn(|| self.unpublished.pop())
    }

    /// Takes back a delayed event whose time has not come.
    pub(crate) fn cancel_event(&self, ticket: Ticket) -> Option<Box<Delayed>> {
        match self.timers.cancel(ticket)? {
            Due::Work(Work::Publish(delayed)) => {
                self.settle_event();
                Some(delayed)
            }
            _ => None,
        }
    }

    /// Puts work among what is due; gives back what is to be done at once.
    pub(super) fn hand_on(&self, due: Due) -> Option<Limit> {
        match due {
            Due::Work(work) => {
                self.due.push(work);
                None
            }
            Due::Limit(limit) => Some(limit),
        }
    }

    /// Takes back the retries of a subscription.
    #[allow(clippy::vec_box, reason = "they are boxed where they wait")]
    pub(super) fn take_retries(&self, subscription: u64) -> Vec<Box<Late>> {
        let mut retries = Vec::new();
        for due in self.timers.take_group(subscription) {
            if let Due::Work(work) = due {
                self.settle(&work);
                retries.extend(if let Work::Retry(late) = work { Some(late) } else { None });
            }
        }
        retries
    }

    /// Takes back a time limit.
    pub(super) fn cancel_limit(&self, ticket: Ticket) {
        drop(self.timers.cancel(ticket));
    }

    /// Takes back a reminder whose time has not come.
    pub(super) fn cancel_reminder(&self, ticket: Ticket) {
        if self.timers.cancel(ticket).is_some() {
            self.reminders.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// One more waits; false if there is no room for it.
    pub(super) fn admit(&self, work: &Work) -> bool {
        let (count, most) = match work {
            Work::Retry(late) => {
                if let Some(extras) = late.subscriber.extras() {
                    extras.waiting_retries.fetch_add(1, Ordering::SeqCst);
                }
                (&self.retries, WAITING_RETRIES_MAX)
            }
            Work::Publish(_) => (&self.delayed, WAITING_EVENTS_MAX),
            Work::Remind(_) => (&self.reminders, REMINDERS_MAX),
        };
        count.fetch_add(1, Ordering::Relaxed) < most
    }

    /// Work waits no longer.
    pub(super) fn settle(&self, work: &Work) {
        match work {
            Work::Retry(late) => {
                if let Some(extras) = late.subscriber.extras() {
                    extras.waiting_retries.fetch_sub(1, Ordering::SeqCst);
                }
                self.retries.fetch_sub(1, Ordering::Relaxed);
            }
            Work::Publish(_) => self.settle_event(),
            Work::Remind(_) => {
                self.reminders.fetch_sub(1, Ordering::Relaxed);
            }
        }
    }

    /// A delayed event waits no longer: it can be found elsewhere.
    pub(super) fn settle_event(&self) {
        // Ordering: Release for `waiting_events`; SeqCst for `tell_flushers`: of "count, then look for flushers" here and
        // "wait, then look at the counts" there, one sees the other.
        self.delayed.fetch_sub(1, Ordering::SeqCst);
    }
}
