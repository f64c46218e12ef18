//! What one thread writes while it publishes on one bus: its pin and its counts.
//!
//! A shard has one owner at a time, so a count is a load and a store on a line that nobody else writes,
//! not an atomic addition on a line that every publisher wants. Readers add the shards up; at a quiet moment
//! the sum is exact. Shards are never given back to the allocator while the bus lives: a thread that ends
//! leaves its shard, with its counts, to the next.

use crate::event::EventType;
use crate::sync::{AtomicBool, AtomicU64, Ordering, kernel_fences, light_fence};
use arc_swap::ArcSwap;
use crossbeam_utils::{Backoff, CachePadded};
use std::sync::Arc;

/// How many standard types there are.
pub(crate) const STANDARD_TYPES: usize = EventType::STANDARD.len();

/// A count that only its shard's owner raises.
#[derive(Debug, Default)]
pub(crate) struct Tally(AtomicU64);

impl Tally {
    #[inline]
    pub(crate) fn add(&self, n: u64) {
        // Ordering: Release, with the Acquire in `get`: who finds an event completed sees what its handlers did.
        self.0.store(self.0.load(Ordering::Relaxed).wrapping_add(n), Ordering::Release);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Acquire)
    }
}

/// The lowest bits of a pin: no pin is held.
const IDLE: u64 = 0;
/// An event may be about to get its number: its publisher may have looked at the snapshot, and is not in the feeds yet.
const RECORDING: u64 = 1;
/// A pin is held, and no event is on its way into the history and the feeds.
const HANDLING: u64 = 2;
/// All of those bits.
const STATE: u64 = 3;

/// What one shard did for the subscription in one slot, over all the subscriptions that the slot has held.
#[derive(Debug, Default)]
pub(crate) struct Turns {
    /// Deliveries whose turn came and whose filter said yes.
    pub(crate) begun: Tally,
    pub(crate) succeeded: Tally,
}

#[derive(Debug)]
pub(crate) struct Shard {
    owned: AtomicBool,
    /// See [`light_fence`].
    fences_are_free: bool,
    /// How often the owner has pinned, times 4; and what it is doing, as [`IDLE`], [`RECORDING`] or [`HANDLING`] says.
    pin: CachePadded<AtomicU64>,
    pub(crate) offered: Tally,
    pub(crate) accepted: Tally,
    pub(crate) completed: Tally,
    pub(crate) refused: Tally,
    pub(crate) published: [Tally; STANDARD_TYPES],
    turns: ArcSwap<Vec<Turns>>,
}

impl Shard {
    pub(crate) fn owned() -> Arc<Self> {
        Arc::new(Shard {
            owned: AtomicBool::new(true),
            fences_are_free: kernel_fences(),
            pin: CachePadded::new(AtomicU64::new(0)),
            offered: Tally::default(),
            accepted: Tally::default(),
            completed: Tally::default(),
            refused: Tally::default(),
            published: [const { Tally(AtomicU64::new(0)) }; STANDARD_TYPES],
            turns: ArcSwap::default(),
        })
    }

    /// Takes over a shard that its last owner left.
    pub(crate) fn claim(&self) -> bool {
        // Ordering: Acquire pairs with the Release in `leave`, so that counts go on from where they stood.
        !self.owned.load(Ordering::Relaxed) && !self.owned.swap(true, Ordering::Acquire)
    }

    pub(crate) fn leave(&self) {
        self.owned.store(false, Ordering::Release);
    }

    /// Until the pin is dropped, no handler that can be found in a slot now is taken apart.
    #[inline]
    pub(crate) fn pin(&self) -> Pin<'_> {
        self.enter(HANDLING)
    }

    /// The same, for a publish: whoever wants to know what was recorded before a moment waits for it too, until it says
    /// that its event [is recorded](Pin::recorded).
    #[inline]
    pub(crate) fn pin_to_record(&self) -> Pin<'_> {
        self.enter(RECORDING)
    }

    #[inline]
    fn enter(&self, state: u64) -> Pin<'_> {
        let entered = self.pin.load(Ordering::Relaxed);
        self.pin.store(entered | state, Ordering::Relaxed);
        // Ordering: pairs with the heavy fences of `Grace::begin` and of closing. Of "pin, then look at a slot or at
        // the version" here and "change that, then look at the pins" there, one sees the other's store.
        self.light_fence();
        Pin { shard: self, entered }
    }

    #[inline]
    pub(crate) fn light_fence(&self) {
        light_fence(self.fences_are_free);
    }

    /// Which pin is held, if one is.
    pub(crate) fn pinned(&self) -> Option<u64> {
        // Ordering: Acquire pairs with the Release of the unpin: who sees it passed sees what was counted.
        let pin = self.pin.load(Ordering::Acquire);
        (pin & STATE != IDLE).then_some(pin & !STATE)
    }

    /// Which publish may be about to record its event, if one may.
    fn recording(&self) -> Option<u64> {
        // Ordering: Acquire pairs with the Release of `Pin::recorded` and of the unpin: who sees that it is over sees the
        // event in the history and in the feeds.
        let pin = self.pin.load(Ordering::Acquire);
        (pin & STATE == RECORDING).then_some(pin)
    }

    /// The turns of at least `slots` slots. Only the owner calls this.
    pub(crate) fn turns(&self, slots: usize) -> Arc<Vec<Turns>> {
        let turns = self.turns.load_full();
        if turns.len() >= slots {
            return turns;
        }
        let grown: Vec<Turns> = (0..slots.next_power_of_two())
            .map(|slot| turns.get(slot).map_or_else(Turns::default, Turns::copied))
            .collect();
        let grown = Arc::new(grown);
        self.turns.store(Arc::clone(&grown));
        grown
    }

    /// Deliveries begun and succeeded in one slot.
    pub(crate) fn turns_of(&self, slot: usize) -> (u64, u64) {
        let turns = self.turns.load();
        turns.get(slot).map_or((0, 0), Turns::so_far)
    }

    /// Deliveries begun in all slots.
    pub(crate) fn all_begun(&self) -> u64 {
        self.turns.load().iter().map(|turns| turns.begun.get()).sum()
    }

    /// Deliveries succeeded in all slots.
    pub(crate) fn all_succeeded(&self) -> u64 {
        self.turns.load().iter().map(|turns| turns.succeeded.get()).sum()
    }
}

impl Turns {
    /// Begun and succeeded. The ends are read first: what happens in between looks pending, not lost.
    fn so_far(&self) -> (u64, u64) {
        let succeeded = self.succeeded.get();
        (self.begun.get(), succeeded)
    }

    fn copied(&self) -> Self {
        Turns { begun: Tally(self.begun.get().into()), succeeded: Tally(self.succeeded.get().into()) }
    }
}

/// Holds up the taking apart of handlers, and lends them. Drop it before running user code that is not a
/// handler: whoever waits for an unsubscription waits for it.
#[derive(Debug)]
pub(crate) struct Pin<'a> {
    shard: &'a Shard,
    /// What the shard's pin was before.
    entered: u64,
}

impl Pin<'_> {
    /// The event of this publish is in the history and in the feeds, and handlers may take their time.
    #[inline]
    pub(crate) fn recorded(&self) {
        self.shard.pin.store(self.entered | HANDLING, Ordering::Release);
    }

    /// Another event follows under the same pin.
    pub(crate) fn record_another(&self) {
        self.shard.pin.store(self.entered | RECORDING, Ordering::Relaxed);
        // Ordering: as in `Shard::enter`.
        self.shard.light_fence();
    }
}

impl Drop for Pin<'_> {
    #[inline]
    fn drop(&mut self) {
        self.shard.pin.store(self.entered.wrapping_add(STATE + 1), Ordering::Release);
    }
}

/// The publishes that may have been about to record an event at one moment, on all shards.
pub(crate) struct Recordings(Vec<(Arc<Shard>, u64)>);

impl Recordings {
    pub(crate) fn now(shards: &[Arc<Shard>]) -> Self {
        let recording = |shard: &Arc<Shard>| shard.recording().map(|pin| (Arc::clone(shard), pin));
        Recordings(shards.iter().filter_map(recording).collect())
    }

    /// Whether all of them have recorded, or given it up. Publishes that follow under the pin of a batch may count as one.
    pub(crate) fn are_over(&mut self) -> bool {
        self.0.retain(|(shard, pin)| shard.recording() == Some(*pin));
        self.0.is_empty()
    }

    /// Waits until they are over: some hundred nanoseconds, unless a thread was interrupted.
    pub(crate) fn wait(mut self) {
        let backoff = Backoff::new();
        while !self.are_over() {
            if backoff.is_completed() { std::thread::yield_now() } else { backoff.snooze() }
        }
    }
}

/// The pins that were held at one moment, on all shards.
#[derive(Clone, Debug)]
pub(crate) struct HeldPins(Arc<[(Arc<Shard>, u64)]>);

impl HeldPins {
    /// The pins held now. A heavy fence comes before, so that who pins after it sees what is to be waited for.
    pub(crate) fn now(shards: &[Arc<Shard>]) -> Self {
        let held = |shard: &Arc<Shard>| shard.pinned().map(|pin| (Arc::clone(shard), pin));
        HeldPins(shards.iter().filter_map(held).collect())
    }

    /// Whether all of them have been dropped since; later ones do not count.
    pub(crate) fn are_over(&self) -> bool {
        self.0.iter().all(|(shard, pin)| shard.pinned() != Some(*pin))
    }
}
