//! The publish path, from a stamped and validated event to its last handler.
//!
//! Nothing here waits: the snapshot is a thread's own copy checked against one counter, routes are arrays
//! of numbers, counts are the thread's own, the history is a ring. What needs a lock (subscribing, reading
//! dead letters) belongs to the bus and changes this state from outside.
//!
//! One pin covers a publish or a batch. Values that made room in the history, and the caller's own `Arc`, are
//! dropped after the pin: their destructors are user code.

use super::dead_letter::{DeadLetter, DeadLetterInbox};
use super::deliver::{Ending, Turn};
use super::handler::Handler;
use super::local::{self, Claim, Local, Scratch, View};
use super::names::Names;
use super::shard::{Pin, Shard};
use super::slots::{Entry, Grace, Slots};
use super::table::Table;
use crate::context::{self, Frame};
use crate::event::{Event, EventPublishError, EventType, PublishErrorKind};
use crate::ring::{Ring, Spare};
use crate::sync::{AtomicBool, AtomicU64, Ordering};
use arc_swap::ArcSwap;
use crossbeam_queue::SegQueue;
use crossbeam_utils::CachePadded;
use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Weak};

/// How many publishes may nest on one thread: handlers that publish from within a publish.
pub const NESTED_PUBLISHES_MAX: usize = 64;

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
    version: CachePadded<AtomicU64>,
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

    /// Publishes one event: to all who hear it, on this thread.
    #[inline]
    pub(crate) fn publish(&self, event: Arc<Event>) -> Result<u64, EventPublishError> {
        let (event, depth) = self.stamped(event)?;
        let mut local = local::take(self);
        let outcome = {
            let Local { shard, view, scratch, .. } = &mut *local;
            let pin = shard.pin();
            self.publish_pinned(event, depth, shard, view, scratch, &pin)
        };
        local::put_back(local);
        self.after_pin();
        outcome.map(Passed::leave)
    }

    /// Publishes events in order, under one pin.
    pub(crate) fn publish_batch(&self, events: Vec<Arc<Event>>) -> Vec<Result<u64, EventPublishError>> {
        let mut local = local::take(self);
        let outcomes: Vec<_> = {
            let Local { shard, view, scratch, .. } = &mut *local;
            let pin = shard.pin();
            let publish = |event| {
                let (event, depth) = self.stamped(event)?;
                self.publish_pinned(event, depth, shard, view, scratch, &pin)
            };
            events.into_iter().map(publish).collect()
        };
        local::put_back(local);
        self.after_pin();
        outcomes.into_iter().map(|outcome| outcome.map(Passed::leave)).collect()
    }

    /// The event with what the surroundings say of its correlation and causation, and how many publishes are in
    /// progress on this thread.
    ///
    /// Doing it again changes nothing.
    #[inline]
    pub(crate) fn stamped(&self, event: Arc<Event>) -> Result<(Arc<Event>, usize), EventPublishError> {
        context::with_current(|frame| match frame {
            None => Ok((event, 0)),
            Some(frame) => self.stamped_within(frame, event),
        })
    }

    fn stamped_within(
        &self,
        frame: &Frame<'_>,
        mut event: Arc<Event>,
    ) -> Result<(Arc<Event>, usize), EventPublishError> {
        if frame.depth >= NESTED_PUBLISHES_MAX {
            return Err(self.refuse(PublishErrorKind::TooDeep { limit: NESTED_PUBLISHES_MAX }, event));
        }
        let correlation_id = frame.correlation_id.filter(|_| event.correlation_id().is_none());
        let causation_id = frame.causation_id.filter(|_| event.causation_id().is_none());
        if correlation_id.is_some() || causation_id.is_some() {
            if Arc::get_mut(&mut event).is_none() {
                self.copied.fetch_add(1, Ordering::Relaxed);
            }
            Arc::make_mut(&mut event).fill_correlation(correlation_id, causation_id);
        }
        Ok((event, frame.depth))
    }

    /// Counts an event as offered and refused.
    #[cold]
    pub(crate) fn refuse(&self, kind: PublishErrorKind, event: Arc<Event>) -> EventPublishError {
        let local = local::take(self);
        local.shard.offered.add(1);
        local.shard.refused.add(1);
        local::put_back(local);
        EventPublishError::new(kind, Some(event))
    }

    #[inline]
    fn publish_pinned(
        &self,
        event: Arc<Event>,
        depth: usize,
        shard: &Shard,
        view: &mut View,
        scratch: &mut Scratch,
        pin: &Pin<'_>,
    ) -> Result<Passed, EventPublishError> {
        shard.offered.add(1);
        self.look_again(view, shard);
        if !view.table.is_open {
            shard.refused.add(1);
            return Err(EventPublishError::new(PublishErrorKind::Closed, Some(event)));
        }
        let known;
        let route: &[Entry] = if let Some(index) = event.event_type().standard_index() {
            shard.published[index].add(1);
            view.table.standard_route(index)
        } else if let EventType::Named(name) = event.event_type() {
            known = self.names.find(name, &view.table, &mut scratch.hits);
            known.as_ref().map_or(&[], |known| known.counted_route())
        } else {
            &[]
        };
        shard.accepted.add(1);
        let passed = if route.is_empty() {
            self.record(&mut scratch.spare, event)
        } else {
            let (sequence, evicted) = self.record_shared(&mut scratch.spare, &event);
            let turn = Turn { engine: self, pin, turns: &view.turns, event: &event, sequence };
            self.frame(&event, depth).enter(|| turn.follow(route));
            Passed { sequence, event: Some(event), evicted }
        };
        shard.completed.add(1);
        Ok(passed)
    }

    /// Brings a thread's copy of the snapshot up to date.
    #[inline]
    fn look_again(&self, view: &mut View, shard: &Shard) {
        // Ordering: Acquire pairs with `set_table`: who was subscribed before this publish began is in it.
        if self.version.load(Ordering::Acquire) != view.table.version {
            *view = View::of(self, shard);
        }
    }

    /// The surroundings of the handlers of `event`.
    #[inline]
    fn frame<'a>(&self, event: &'a Event, depth: usize) -> Frame<'a> {
        Frame::new(Some(self.key), depth + 1, event.correlation_id(), Some(event.event_id()))
    }

    /// Numbers and keeps an event that nobody hears.
    #[inline]
    fn record(&self, spare: &mut Spare<Arc<Event>>, event: Arc<Event>) -> Passed {
        match &self.history {
            History::On(ring) => {
                let (sequence, evicted) = ring.push(spare, event);
                Passed { sequence, event: None, evicted }
            }
            History::Off(last) => Passed {
                sequence: last.fetch_add(1, Ordering::AcqRel) + 1,
                event: Some(event),
                evicted: None,
            },
        }
    }

    /// Numbers and keeps an event that is about to be handled.
    #[inline]
    fn record_shared(&self, spare: &mut Spare<Arc<Event>>, event: &Arc<Event>) -> (u64, Option<Arc<Event>>) {
        match &self.history {
            History::On(ring) => ring.push(spare, Arc::clone(event)),
            History::Off(last) => (last.fetch_add(1, Ordering::AcqRel) + 1, None),
        }
    }

    /// Delivers a letter's event to the subscription that failed it, and to no other.
    pub(crate) fn redeliver(&self, letter: &DeadLetter, entry: &Entry) -> Redelivered {
        let depth = context::with_current(|frame| frame.map_or(0, |frame| frame.depth));
        if depth >= NESTED_PUBLISHES_MAX {
            return Redelivered::TooDeep;
        }
        let mut local = local::take(self);
        let ending = {
            let Local { shard, view, .. } = &mut *local;
            let pin = shard.pin();
            self.look_again(view, shard);
            let (event, sequence) = (letter.event(), letter.sequence().unwrap_or(0));
            let turn = Turn { engine: self, pin: &pin, turns: &view.turns, event, sequence };
            self.frame(event, depth).enter(|| turn.redeliver(entry))
        };
        local::put_back(local);
        self.after_pin();
        match ending {
            Some(Ending::Succeeded) => Redelivered::Delivered,
            Some(Ending::Undelivered(again)) => Redelivered::FailedAgain(letter.clone().failed_again(again)),
            Some(Ending::Cancelled) | None => Redelivered::Gone,
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
        if self.grace.is_busy() || self.has_evicted_letters.load(Ordering::Relaxed) {
            self.do_chores();
        }
    }

    /// Destructors run here, so inside user code of this bus, which runs under a pin, it is left to the publish
    /// around it.
    #[cold]
    fn do_chores(&self) {
        if context::is_inside(self.key) {
            return;
        }
        self.has_evicted_letters.store(false, Ordering::Relaxed);
        while let Some(letter) = self.evicted_letters.pop() {
            drop_quietly(letter);
        }
        self.grace.sweep();
    }

    /// Waits for nothing: whether a publish that began before the bus was closed is in progress.
    pub(crate) fn is_publishing(&self) -> bool {
        self.shards().iter().any(|shard| shard.pinned().is_some())
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

/// An event that was accepted, on its way out. What it holds is dropped when the pin is gone.
struct Passed {
    sequence: u64,
    event: Option<Arc<Event>>,
    /// What made room in the history.
    evicted: Option<Arc<Event>>,
}

impl Passed {
    #[inline]
    fn leave(self) -> u64 {
        // The caller's own event may panic on the caller; another publisher's may not.
        drop(self.event);
        if let Some(evicted) = self.evicted {
            drop_quietly(evicted);
        }
        self.sequence
    }
}

/// Drops what belongs to somebody else: a panic in its destructor is reported, not passed on.
#[inline]
fn drop_quietly<T>(value: Arc<T>) {
    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| drop(value))) {
        // Its destructor may panic as well.
        std::mem::forget(panic);
        tracing::error!("a payload's destructor panicked");
    }
}

/// What became of a redriven letter.
pub(crate) enum Redelivered {
    Delivered,
    FailedAgain(DeadLetter),
    Gone,
    TooDeep,
}
