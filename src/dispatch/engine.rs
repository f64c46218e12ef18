//! The state of a bus's dispatch: what publishing reads (see `publish`), and what surrounds it.
//!
//! What needs a lock (subscribing, reading dead letters) belongs to the bus and changes this state from outside.

use super::alarm::Bell;
use super::chain::Interceptors;
use super::chores::{Chores, LetterListener};
use super::dead_letter::DeadLetterInbox;
use super::drops::Drops;
#[cfg(feature = "stream")]
use super::feed::Shards;
use super::handler::Handler;
use super::latency::Latencies;
use super::later::Later;
use super::local::{Claim, Local, Scratch, View};
use super::names::Names;
use super::pending::Flushers;
#[cfg(feature = "queued")]
use super::queue::Queue;
use super::shard::{HeldPins, Pin, Recordings, Shard};
use super::slots::{Entry, Grace, Slots};
use super::subscriber::Subscriber;
use super::table::Table;
use crate::clock::Clock;
use crate::event::{Event, EventPublishError};
use crate::ring::Ring;
#[cfg(feature = "stream")]
use crate::sync::AtomicUsize;
use crate::sync::{AtomicU64, Ordering, heavy_fence};
use arc_swap::ArcSwap;
use crossbeam_queue::SegQueue;
use crossbeam_utils::CachePadded;
use std::any::Any;
use std::sync::{Arc, Weak};
use std::time::Duration;

/// Where accepted events get their numbers, and are kept.
#[allow(clippy::large_enum_variant, reason = "one a bus")]
pub(crate) enum History {
    /// Numbers only.
    Off(CachePadded<AtomicU64>),
    On(Ring<Arc<Event>>),
}

/// What an engine is part of: the bus, to handlers that ask, and to threads that keep it alive while they work.
pub(crate) trait Owner: Any + Send + Sync {
    fn engine(&self) -> &Engine;

    /// The event, if the bus lets it be published: a delayed one was changed when its time came.
    fn check(&self, event: Arc<Event>) -> Result<Arc<Event>, EventPublishError>;
}

/// What an engine is made with, beside its queue.
pub(crate) struct EngineSettings {
    /// How many events and letters to keep; 0 keeps none.
    pub(crate) history: usize,
    pub(crate) dead_letters: usize,
    /// Letters are made of what is dropped.
    #[cfg(any(feature = "queued", feature = "async"))]
    pub(crate) keeps_dropped: bool,
    pub(crate) measures_latency: bool,
    pub(crate) slow_after: Option<Duration>,
    pub(crate) letter_listener: Option<LetterListener>,
    pub(crate) clock: Clock,
}

pub(crate) struct Engine {
    /// Of the bus; never reused in this process.
    pub(crate) key: u64,
    /// The version of `table`: what publishers compare with their copy's.
    pub(super) version: CachePadded<AtomicU64>,
    table: ArcSwap<Table>,
    pub(crate) slots: Slots,
    pub(crate) interceptors: Interceptors,
    shards: Arc<ArcSwap<Vec<Arc<Shard>>>>,
    /// How many feeds there are whose owners let publishers wait.
    #[cfg(feature = "stream")]
    pub(super) blocking_feeds: AtomicUsize,
    pub(crate) names: Names,
    pub(crate) history: History,
    pub(crate) grace: Grace,
    /// `once` subscriptions that had their turn and must be struck from the table.
    spent: SegQueue<Entry>,
    pub(crate) dead_letters: DeadLetterInbox,
    pub(super) letter_listener: Option<LetterListener>,
    pub(super) chores: Chores,
    pub(crate) dead_lettered: AtomicU64,
    /// Deliveries that succeeded when their subscription was gone.
    pub(crate) succeeded_after: AtomicU64,
    pub(crate) cancelled: AtomicU64,
    /// Events copied because somebody else held them when their correlation had to be filled in.
    pub(crate) copied: AtomicU64,
    /// Events whose last delivery ended after their turns.
    pub(crate) completed_late: AtomicU64,
    /// Events discarded whole before any turn.
    pub(crate) dropped: Drops,
    /// Deliveries for which there was no room in a mailbox.
    pub(crate) dropped_deliveries: Drops,
    /// Letters are made of what is dropped.
    #[cfg(any(feature = "queued", feature = "async"))]
    pub(super) keeps_dropped: bool,
    /// Redriven letters whose delivery is not over.
    pub(crate) redriven: AtomicU64,
    pub(crate) later: Later,
    /// How long things take, if somebody wants to know.
    pub(crate) latencies: Option<Box<Latencies>>,
    /// A handler that takes longer is slow.
    pub(crate) slow_after: Option<Duration>,
    /// Where accepted events wait for workers; without one they are handled by their publishers.
    #[cfg(feature = "queued")]
    pub(crate) queue: Option<Queue>,
    pub(super) flushers: Flushers,
    /// Rung when the bus is closed, and whoever closed it has drained it or does not: nothing more need be expected of it.
    pub(crate) ended: Arc<Bell>,
    pub(crate) owner: Weak<dyn Owner>,
    alive: Arc<()>,
}

impl Engine {
    pub(crate) fn new(
        settings: EngineSettings,
        #[cfg(feature = "queued")] queue: Option<Queue>,
        owner: Weak<dyn Owner>,
    ) -> Self {
        static KEYS: AtomicU64 = AtomicU64::new(1);
        let key = KEYS.fetch_add(1, Ordering::Relaxed);
        let table = Table::new();
        Engine {
            key,
            version: CachePadded::new(AtomicU64::new(table.version)),
            table: ArcSwap::from_pointee(table),
            slots: Slots::new(),
            interceptors: Interceptors::default(),
            shards: Arc::default(),
            #[cfg(feature = "stream")]
            blocking_feeds: AtomicUsize::new(0),
            names: Names::new(),
            history: match settings.history {
                0 => History::Off(CachePadded::new(AtomicU64::new(0))),
                kept => History::On(Ring::new(kept)),
            },
            grace: Grace::new(key),
            spent: SegQueue::new(),
            dead_letters: DeadLetterInbox::new(settings.dead_letters),
            letter_listener: settings.letter_listener,
            chores: Chores::new(),
            dead_lettered: AtomicU64::new(0),
            succeeded_after: AtomicU64::new(0),
            cancelled: AtomicU64::new(0),
            copied: AtomicU64::new(0),
            completed_late: AtomicU64::new(0),
            dropped: Drops::default(),
            dropped_deliveries: Drops::default(),
            #[cfg(any(feature = "queued", feature = "async"))]
            keeps_dropped: settings.keeps_dropped,
            redriven: AtomicU64::new(0),
            later: Later::new(settings.clock),
            latencies: settings.measures_latency.then(Box::default),
            slow_after: settings.slow_after,
            #[cfg(feature = "queued")]
            queue,
            flushers: Flushers::new(),
            ended: Arc::default(),
            owner,
            alive: Arc::new(()),
        }
    }

    pub(crate) fn table(&self) -> Arc<Table> {
        self.table.load_full()
    }

    /// Makes `table` the one that every publish beginning from now on sees. One caller at a time.
    pub(crate) fn set_table(&self, table: Table) {
        let version = table.version;
        self.table.store(Arc::new(table));
        // Ordering: Release gives the table to publishers that see the version.
        self.version.store(version, Ordering::Release);
    }

    pub(crate) fn shards(&self) -> Arc<Vec<Arc<Shard>>> {
        self.shards.load_full()
    }

    /// All shards there will ever be.
    #[cfg(feature = "stream")]
    pub(crate) fn all_shards(&self) -> Shards {
        Arc::clone(&self.shards)
    }

    /// Waits until every publish that may not know yet who was subscribed before this call has recorded its event, and
    /// returns the last number then: every event with a higher one is heard by whoever was subscribed.
    pub(crate) fn settled_sequence(&self) -> u64 {
        // Ordering: see `Shard::enter`. Who pins after this sees the snapshot with the subscription.
        heavy_fence();
        Recordings::now(&self.shards()).wait();
        self.last_sequence()
    }

    pub(crate) fn last_sequence(&self) -> u64 {
        match &self.history {
            History::Off(last) => last.load(Ordering::Acquire),
            History::On(ring) => ring.last_sequence(),
        }
    }

    /// A `once` subscription has claimed its turn: nobody else may find it.
    #[cold]
    pub(crate) fn spend(&self, handler: &Handler, pin: &Pin<'_>) {
        // Announced first: whoever gets this slot next has struck the spent ones before.
        self.spent.push(handler.subscriber.entry);
        if let Some(taken) = self.slots.take_exact(handler, pin) {
            self.grace.begin(taken, || self.shards());
        }
    }

    /// The claim of a `once` subscription is over, and its retries with it.
    pub(super) fn spend_if_once(&self, subscriber: &Subscriber) {
        if subscriber.is_once() {
            self.pinned(|_, _, _, pin| {
                if let Some(handler) = self.slots.get(&subscriber.entry, pin) {
                    self.spend(handler, pin);
                }
            });
        }
    }

    /// A `once` subscription that was spent and is still in the table.
    pub(crate) fn next_spent(&self) -> Option<Entry> {
        self.spent.pop()
    }

    /// Whether workers handle the events.
    pub(crate) fn is_queued(&self) -> bool {
        #[cfg(feature = "queued")]
        return self.queue.is_some();
        #[cfg(not(feature = "queued"))]
        false
    }

    /// Whether threads of the bus's own keep it alive.
    pub(crate) fn has_threads(&self) -> bool {
        !self.is_manual() && (self.is_queued() || self.later.has_threads())
    }

    /// Whether a driver does what threads do elsewhere.
    pub(crate) fn is_manual(&self) -> bool {
        self.later.clock.is_manual()
    }

    /// The publishes in progress, once the bus is closed: later ones are refused.
    pub(crate) fn publishes_in_progress(&self) -> HeldPins {
        // Ordering: see `Shard::pin`. Who pins after this sees the bus closed.
        heavy_fence();
        HeldPins::now(&self.shards())
    }

    #[cold]
    pub(crate) fn new_local(&self) -> Local {
        let shards = self.shards();
        let left = shards.iter().find(|shard| shard.claim());
        let shard = left.cloned().unwrap_or_else(|| {
            let shard = Shard::owned();
            self.shards.rcu(|shards| {
                let mut shards = Vec::clone(shards);
                shards.push(Arc::clone(&shard));
                shards
            });
            shard
        });
        let view = View::of(self, &shard);
        let shard = Claim::new(shard, Arc::downgrade(&self.alive));
        Local { bus: self.key, shard, view, scratch: Scratch::new() }
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.slots.clear(self.key);
        self.let_go(self.interceptors.clear());
    }
}
