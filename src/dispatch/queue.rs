//! Queued dispatch, what is between publishers and workers: events as jobs in lanes, and what the bus's owner chose.
//!
//! A job is one event with its route, matched already; so handlers take their turns in order whatever worker runs it.
//! Events with one order key share a lane.

use super::desk::Desks;
use super::policy::Overflow;
use super::retry::Tail;
use super::routes::SharedRoute;
use super::slots::{Entry, parted};
use super::table::Route;
use crate::clock::Stopwatch;
use crate::context::within_bus;
use crate::event::{Event, EventPriority, EventQueueError, PublishErrorKind};
use crate::lanes::{Lanes, Place, Reserved, Sleepers};
use crate::quiet::log;
use crate::sync::{AtomicBool, Ordering};
use foldhash::fast::FixedState;
use std::hash::BuildHasher;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

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
    pub(crate) wait: WaitStrategy,
    /// A driver takes the jobs out, not workers.
    pub(crate) is_manual: bool,
}

pub(crate) struct Queue {
    pub(crate) lanes: Lanes<Job>,
    pub(super) sleepers: Sleepers,
    pub(super) settings: QueueSettings,
    pub(crate) desks: Desks,
    /// Workers go home when they find nothing to do.
    pub(super) is_stopping: AtomicBool,
    hasher: FixedState,
}

/// An accepted event on its way to a worker.
pub(crate) struct Job {
    pub(crate) event: Arc<Event>,
    pub(crate) sequence: u64,
    pub(super) route: JobRoute,
    /// Of a publisher who wants to know the end.
    pub(super) tail: Option<Arc<Tail>>,
    /// Runs while it waits, if somebody wants to know how long.
    pub(super) queued_for: Option<Stopwatch>,
}

pub(super) enum JobRoute {
    Standard(Route),
    Shared(Arc<SharedRoute>),
}

impl Job {
    /// Those who have a turn.
    pub(super) fn heard(&self) -> &[Entry] {
        parted(self.route.entries()).1
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
            settings,
            desks: Desks::new(workers),
            is_stopping: AtomicBool::new(false),
            hasher: FixedState::default(),
        }
    }

    /// Where an event of bus `bus` waits.
    pub(super) fn place_of(&self, bus: u64, event: &Event) -> Place {
        let spread = match &self.settings.order {
            OrderKey::Source => self.hasher.hash_one(event.source().as_str()),
            OrderKey::Function(key) => {
                let asked = AssertUnwindSafe(|| within_bus(bus, || key(event)));
                let key = catch_unwind(asked).unwrap_or_else(|panic| {
                    std::mem::forget(panic);
                    log(|| tracing::error!("the function of the order key panicked: key 0"));
                    0
                });
                // Keys that count up spread as well as hashes do.
                self.hasher.hash_one(key)
            }
        };
        // The hash as a fraction of the lanes, which takes a multiplication where a remainder takes a division.
        let lane = (u128::from(spread) * self.lanes.count() as u128) >> u64::BITS;
        Place { lane: lane as usize, band: band_of(event.priority()) }
    }

    /// How long a publisher may wait for room, if at all. Nobody waits for a driver, who may be the publisher.
    pub(super) fn limit(&self) -> Option<Duration> {
        match self.settings.overflow {
            Overflow::Block(limit) if !self.settings.is_manual => Some(limit),
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
            if let Some((reserved, oldest)) = self.lanes.displace(place) {
                return (Some(reserved), Some(oldest));
            }
            // A worker was faster, or others have reserved and not filled yet: there is room in a moment.
            std::thread::yield_now();
        }
    }

    /// Wakes a worker: there is something to do.
    pub(super) fn wake_one(&self) {
        self.sleepers.wake_one();
    }

    /// Sends the workers home, once they find nothing more to do.
    pub(crate) fn stop(&self) {
        self.is_stopping.store(true, Ordering::SeqCst);
        self.sleepers.wake_all();
    }
}
