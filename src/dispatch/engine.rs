//! The state of a bus's dispatch, and its upkeep: what publishing reads (see `publish`), and what is put off until
//! no pin is held.
//!
//! What needs a lock (subscribing, reading dead letters) belongs to the bus and changes this state from outside.

use super::dead_letter::{DeadLetter, DeadLetterInbox};
use super::handler::Handler;
use super::local::{Claim, Local, Scratch, View};
use super::names::Names;
use super::shard::{HeldPins, Pin, Shard};
use super::slots::{Entry, Grace, Slots};
use super::table::Table;
use crate::context;
use crate::event::Event;
use crate::quiet::drop_quietly;
use crate::ring::Ring;
use crate::sync::{AtomicBool, AtomicU64, Ordering, heavy_fence};
use arc_swap::ArcSwap;
use crossbeam_queue::SegQueue;
use crossbeam_utils::CachePadded;
use std::any::Any;
use std::sync::{Arc, Weak};

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
    /// The bus that this engine is in, for handlers that ask.
    pub(crate) owner: Weak<dyn Any + Send + Sync>,
    alive: Arc<()>,
}

impl Engine {
    /// `history` and `dead_letters`: how many events and letters to keep; 0 keeps none.
    pub(crate) fn new(history: usize, dead_letters: usize, owner: Weak<dyn Any + Send + Sync>) -> Self {
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
        self.grace.is_busy() || self.has_evicted_letters.load(Ordering::Relaxed)
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
    }
}
