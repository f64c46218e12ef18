//! Queued dispatch, what is between publishers and workers: events as jobs in lanes, and what the bus's owner chose.
//!
//! A job is one event with its route, matched already; so handlers take their turns in order whatever worker runs it.
//! Events with one order key share a lane.

use super::retry::Retry;
use super::routes::SharedRoute;
use super::slots::Entry;
use super::table::Route;
use crate::event::{Event, EventPriority, EventQueueError, PublishErrorKind};
use crate::lanes::{Lanes, Place, Reserved, Sleepers};
use crate::quiet::log;
use crate::sync::{AtomicBool, Ordering};
use crossbeam_queue::ArrayQueue;
use foldhash::fast::FixedState;
use std::hash::BuildHasher;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

/// What becomes of an event for which there is no room in its lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Overflow {
    /// The publisher waits, up to this limit; then the event is refused. Inside a handler of the same bus `publish` does
    /// not wait: the room might never come.
    Block(Duration),
    /// The event is refused, and comes back in the error.
    Reject,
    /// The oldest event of the same lane and band makes room: it is discarded, and counted.
    DropOldest,
    /// The event is accepted and discarded at once, and counted.
    DropNewest,
}

impl Default for Overflow {
    fn default() -> Self {
        Overflow::Block(Duration::from_secs(5))
    }
}

/// How a worker without work waits for some.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum WaitStrategy {
    /// It sleeps. Waking it costs the publisher a system call and the event some microseconds.
    #[default]
    Park,
    /// It looks again and again for this long, and sleeps then. It burns a processor meanwhile.
    SpinThenPark(Duration),
}

/// What decides which events keep their order: those with the same key.
#[derive(Clone, Default)]
pub(crate) enum OrderKey {
    #[default]
    Source,
    Function(Arc<dyn Fn(&Event) -> u64 + Send + Sync>),
}

/// What a queue is built with.
#[derive(Clone, Default)]
pub(crate) struct QueueSettings {
    pub(crate) order: OrderKey,
    pub(crate) overflow: Overflow,
    pub(crate) keeps_dropped: bool,
    pub(crate) wait: WaitStrategy,
}

/// Due retries that wait for a worker.
const DUE_MAX: usize = 1_024;

pub(crate) struct Queue {
    pub(crate) lanes: Lanes<Job>,
    pub(super) sleepers: Sleepers,
    pub(super) due: ArrayQueue<Box<Retry>>,
    pub(super) settings: QueueSettings,
    /// Workers go home when they find nothing to do.
    pub(super) is_stopping: AtomicBool,
    hasher: FixedState,
}

/// An accepted event on its way to a worker.
pub(crate) struct Job {
    pub(crate) event: Arc<Event>,
    pub(crate) sequence: u64,
    pub(super) route: JobRoute,
}

pub(super) enum JobRoute {
    Standard(Route),
    Shared(Arc<SharedRoute>),
}

impl Job {
    pub(super) fn route(&self) -> &[Entry] {
        self.route.entries()
    }
}

/// The band that an event waits in, the highest first.
fn band_of(priority: EventPriority) -> usize {
    match priority {
        EventPriority::Critical => 0,
        EventPriority::Error | EventPriority::Warning => 1,
        EventPriority::Normal | EventPriority::Info => 2,
        EventPriority::Debug | EventPriority::Monitoring => 3,
    }
}

impl JobRoute {
    pub(super) fn entries(&self) -> &[Entry] {
        match self {
            JobRoute::Standard(route) => route,
            JobRoute::Shared(route) => route.entries(),
        }
    }
}

impl Queue {
    /// `room`: places in each band of each lane.
    pub(crate) fn new(workers: usize, lanes: usize, room: usize, settings: QueueSettings) -> Self {
        Queue {
            lanes: Lanes::new(lanes, room),
            sleepers: Sleepers::new(workers),
            due: ArrayQueue::new(DUE_MAX),
            settings,
            is_stopping: AtomicBool::new(false),
            hasher: FixedState::default(),
        }
    }

    pub(super) fn place_of(&self, event: &Event) -> Place {
        let key = match &self.settings.order {
            OrderKey::Source => self.hasher.hash_one(event.source().as_str()),
            OrderKey::Function(key) => {
                catch_unwind(AssertUnwindSafe(|| key(event))).unwrap_or_else(|panic| {
                    std::mem::forget(panic);
                    log(|| tracing::error!("the function of the order key panicked: key 0"));
                    0
                })
            }
        };
        // Keys that count up spread as well as hashes do.
        let spread = self.hasher.hash_one(key);
        Place { lane: spread as usize % self.lanes.count(), band: band_of(event.priority()) }
    }

    /// How long a publisher may wait for room, if at all.
    pub(super) fn limit(&self) -> Option<Duration> {
        match self.settings.overflow {
            Overflow::Block(limit) => Some(limit),
            _ => None,
        }
    }

    pub(super) fn full(&self, waited: Duration) -> PublishErrorKind {
        PublishErrorKind::Full(EventQueueError::new(self.lanes.room(), waited))
    }

    /// A place for an event, and what had to go for it.
    pub(super) fn find_room(&self, place: Place) -> (Option<Reserved<'_, Job>>, Option<Job>) {
        loop {
            if let Some(reserved) = self.lanes.reserve(place) {
                return (Some(reserved), None);
            }
            if self.settings.overflow != Overflow::DropOldest {
                return (None, None);
            }
            // Where a worker is faster, or others have reserved and not filled yet, there is room in a moment.
            if let Some((reserved, oldest)) = self.lanes.displace(place) {
                return (Some(reserved), Some(oldest));
            }
            std::hint::spin_loop();
        }
    }

    /// Hands a due retry to a worker.
    pub(super) fn retry_is_due(&self, mut retry: Box<Retry>) {
        while let Err(back) = self.due.push(retry) {
            // Only the timer's thread is here, and workers are busy: it waits for them.
            retry = back;
            std::thread::sleep(Duration::from_millis(1));
        }
        self.sleepers.wake_one();
    }

    /// Takes out the retries that no worker has taken.
    pub(crate) fn due_now(&self) -> impl Iterator<Item = Box<Retry>> {
        std::iter::from_fn(|| self.due.pop())
    }

    pub(super) fn has_work(&self) -> bool {
        self.lanes.has_ready() || !self.due.is_empty() || self.is_stopping.load(Ordering::SeqCst)
    }

    /// Sends the workers home, once they find nothing more to do.
    pub(crate) fn stop(&self) {
        self.is_stopping.store(true, Ordering::SeqCst);
        self.sleepers.wake_all();
    }
}
