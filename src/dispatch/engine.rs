//! The state of a bus's dispatch, and its upkeep: what publishing reads (see `publish`), and what is put off until
//! no pin is held.
//!
//! What needs a lock (subscribing, reading dead letters) belongs to the bus and changes this state from outside.

use super::dead_letter::{DeadLetter, DeadLetterInbox};
use super::handler::Handler;
use super::local::{Claim, Local, Scratch, View};
use super::names::Names;
#[cfg(feature = "queued")]
use super::queue::Queue;
use super::retry::{Due, Retry, WAITING_RETRIES_MAX};
use super::shard::{HeldPins, Pin, Shard};
use super::slots::{Entry, Grace, Slots};
use super::table::Table;
use crate::clock::Clock;
use crate::context;
use crate::event::Event;
use crate::quiet::drop_quietly;
use crate::ring::Ring;
use crate::sync::{
    AtomicBool, AtomicU64, AtomicUsize, Listener as _, Ordering, Signal, SignalListener, heavy_fence,
};
use crate::timers::{Ticket, Timers};
use arc_swap::ArcSwap;
use crossbeam_queue::SegQueue;
use crossbeam_utils::CachePadded;
use std::any::Any;
use std::sync::{Arc, Weak};
use std::time::Duration;

/// How many waiting handlers a publish looks at in vain. A handler that never returns may hold up thousands.
const LOOKS_PER_PUBLISH: usize = 4;

/// How many those look at who subscribe and unsubscribe.
pub(crate) const LOOKS_PER_CHANGE: usize = 64;

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
}

pub(crate) struct Engine {
    /// Of the bus; never reused in this process.
    pub(crate) key: u64,
    /// The version of `table`: what publishers compare with their copy's.
    pub(super) version: CachePadded<AtomicU64>,
    table: ArcSwap<Table>,
    pub(crate) slots: Slots,
    shards: ArcSwap<Vec<Arc<Shard>>>,
    pub(crate) names: Names,
    pub(crate) history: History,
    pub(crate) grace: Grace,
    /// `once` subscriptions that had their turn and must be struck from the table.
    spent: SegQueue<Entry>,
    pub(crate) dead_letters: DeadLetterInbox,
    /// Letters that wait to be dropped.
    evicted_letters: SegQueue<Arc<DeadLetter>>,
    has_evicted_letters: AtomicBool,
    pub(crate) dead_lettered: AtomicU64,
    pub(crate) cancelled: AtomicU64,
    /// Events copied because somebody else held them when their correlation had to be filled in.
    pub(crate) copied: AtomicU64,
    /// Events whose last delivery ended after their turns.
    pub(crate) completed_late: AtomicU64,
    /// Events discarded whole before any turn.
    pub(crate) dropped: AtomicU64,
    /// Failed deliveries that wait for another attempt.
    pub(crate) timers: Timers<Due>,
    /// A thread takes from `timers` what is due.
    has_timer_thread: AtomicBool,
    /// Where accepted events wait for workers; without one they are handled by their publishers.
    #[cfg(feature = "queued")]
    pub(crate) queue: Option<Queue>,
    /// How many wait until nothing is pending.
    flushers: AtomicUsize,
    quiet: Signal,
    pub(crate) owner: Weak<dyn Owner>,
    alive: Arc<()>,
}

impl Engine {
    /// `history` and `dead_letters`: how many events and letters to keep; 0 keeps none.
    pub(crate) fn new(
        history: usize,
        dead_letters: usize,
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
            shards: ArcSwap::default(),
            names: Names::new(),
            history: match history {
                0 => History::Off(CachePadded::new(AtomicU64::new(0))),
                kept => History::On(Ring::new(kept)),
            },
            grace: Grace::new(key),
            spent: SegQueue::new(),
            dead_letters: DeadLetterInbox::new(dead_letters),
            evicted_letters: SegQueue::new(),
            has_evicted_letters: AtomicBool::new(false),
            dead_lettered: AtomicU64::new(0),
            cancelled: AtomicU64::new(0),
            copied: AtomicU64::new(0),
            completed_late: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
            timers: Timers::new(Clock::real(), WAITING_RETRIES_MAX),
            has_timer_thread: AtomicBool::new(false),
            #[cfg(feature = "queued")]
            queue,
            flushers: AtomicUsize::new(0),
            quiet: Signal::new(),
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

    pub(crate) fn last_sequence(&self) -> u64 {
        match &self.history {
            History::Off(last) => last.load(Ordering::Acquire),
            History::On(ring) => ring.last_sequence(),
        }
    }

    /// Keeps a dead letter. The one that makes room for it waits to be dropped until no pin is held.
    pub(crate) fn add_letter(&self, letter: DeadLetter) {
        if let Some(evicted) = self.dead_letters.add(letter) {
            self.evicted_letters.push(evicted);
            self.has_evicted_letters.store(true, Ordering::Release);
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

    /// A `once` subscription that was spent and is still in the table.
    pub(crate) fn next_spent(&self) -> Option<Entry> {
        self.spent.pop()
    }

    /// Does what had to wait for a pin: takes apart the handlers that nobody can be running any more, and drops
    /// evicted letters.
    #[inline]
    pub(crate) fn after_pin(&self) {
        if self.has_chores() {
            self.do_chores(LOOKS_PER_PUBLISH);
        }
    }

    /// The same, for those who are in less of a hurry.
    pub(crate) fn tidy(&self, looks: usize) {
        if self.has_chores() {
            self.do_chores(looks);
        }
    }

    #[inline]
    fn has_chores(&self) -> bool {
        self.grace.is_busy()
            || self.has_evicted_letters.load(Ordering::Relaxed)
            || self.flushers.load(Ordering::Relaxed) != 0
    }

    /// Destructors run here, so inside user code of this bus, which runs under a pin, it is left to the publish
    /// around it.
    #[cold]
    fn do_chores(&self, looks: usize) {
        if context::is_inside(self.key) {
            return;
        }
        self.has_evicted_letters.store(false, Ordering::Relaxed);
        while let Some(letter) = self.evicted_letters.pop() {
            drop_quietly(letter);
        }
        self.grace.sweep(looks);
        // Workers tell when they have nothing more to do.
        if !self.is_queued() {
            self.tell_flushers();
        }
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
        self.is_queued() || self.has_timer_thread.load(Ordering::Acquire)
    }

    /// Announces one who waits until nothing is pending. To be made before the last look.
    pub(crate) fn flusher(&self) -> Flusher<'_> {
        self.flushers.fetch_add(1, Ordering::SeqCst);
        let quiet = self.quiet.listen();
        // Ordering: see `Shard::pin`: of "count, then look for flushers" in a publish and "wait, then look at the counts"
        // here, one sees the other.
        heavy_fence();
        Flusher { engine: self, quiet }
    }

    /// Events accepted whose turns or late deliveries are not over.
    pub(crate) fn pending(&self) -> u64 {
        let shards = self.shards();
        // Ends before beginnings: what happens in between can only look pending.
        let late = self.completed_late.load(Ordering::SeqCst) + self.dropped.load(Ordering::SeqCst);
        let ended: u64 = shards.iter().map(|shard| shard.completed.get()).sum();
        let accepted: u64 = shards.iter().map(|shard| shard.accepted.get()).sum();
        accepted.saturating_sub(ended + late)
    }

    /// Something ended: those who wait until nothing is pending may look again.
    pub(crate) fn tell_flushers(&self) {
        if self.flushers.load(Ordering::SeqCst) != 0 {
            self.quiet.notify(usize::MAX);
        }
    }

    /// Lets a failed delivery wait until it is tried again. It comes back if there is no room to wait.
    pub(crate) fn wait_and_retry(&self, wait: Duration, retry: Retry) -> Result<(), Box<Retry>> {
        match self.wait_for(wait, Due::Retry(Box::new(retry))) {
            Err(Due::Retry(retry)) => Err(retry),
            _ => Ok(()),
        }
    }

    /// Gives `due` to the timers, and them a thread if they have none.
    pub(super) fn wait_for(&self, wait: Duration, due: Due) -> Result<Ticket, Due> {
        if !self.has_timer_thread.swap(true, Ordering::AcqRel) && !self.start_timer_thread() {
            self.has_timer_thread.store(false, Ordering::Release);
            return Err(due);
        }
        self.timers.add(wait, due)
    }

    /// The thread keeps the bus alive: whoever drops the last handle stops the timers.
    fn start_timer_thread(&self) -> bool {
        let Some(owner) = self.owner.upgrade() else { return false };
        let run = move || {
            while let Some(due) = owner.engine().timers.wait_due() {
                match due {
                    Due::Retry(retry) => owner.engine().retry_is_due(retry),
                    Due::Bell(bell) => bell.ring(),
                }
            }
        };
        std::thread::Builder::new().name("events-timer".to_owned()).spawn(run).is_ok()
    }

    #[cfg_attr(not(feature = "queued"), allow(clippy::boxed_local, reason = "a queue keeps the box"))]
    fn retry_is_due(&self, retry: Box<Retry>) {
        #[cfg(feature = "queued")]
        if let Some(queue) = &self.queue {
            return queue.retry_is_due(retry);
        }
        self.try_again(*retry);
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

/// One who waits until nothing is pending.
pub(crate) struct Flusher<'a> {
    engine: &'a Engine,
    pub(crate) quiet: SignalListener,
}

impl Flusher<'_> {
    /// Waits until something ended, or the time is up.
    pub(crate) fn wait(mut self, limit: Duration) {
        let quiet = std::mem::replace(&mut self.quiet, self.engine.quiet.listen());
        quiet.wait_timeout(limit);
    }
}

impl Drop for Flusher<'_> {
    fn drop(&mut self) {
        self.engine.flushers.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.slots.clear(self.key);
    }
}
