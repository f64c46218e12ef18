//! What one thread writes while it publishes on one bus: its pin and its counts.
//!
//! A shard has one owner at a time, so a count is a load and a store on a line that nobody else writes,
//! not an atomic addition on a line that every publisher wants. Readers add the shards up; at a quiet moment
//! the sum is exact. Shards are never given back to the allocator while the bus lives: a thread that ends
//! leaves its shard, with its counts, to the next.

use crate::event::EventType;
use crate::sync::{AtomicBool, AtomicU64, Ordering, kernel_fences, light_fence};
use arc_swap::ArcSwap;
use crossbeam_utils::CachePadded;
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
    /// Odd while the owner may be looking at handlers; every pin and unpin adds one.
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
        let entered = self.pin.load(Ordering::Relaxed).wrapping_add(1);
        self.pin.store(entered, Ordering::Relaxed);
        // Ordering: pairs with the heavy fences of `Grace::begin` and of closing. Of "pin, then look at a slot or at
        // the version" here and "change that, then look at the pins" there, one sees the other's store.
        self.light_fence();
        Pin { shard: self, entered }
    }

    #[inline]
    pub(crate) fn light_fence(&self) {
        light_fence(self.fences_are_free);
    }

    /// The pin's value while it is held.
    pub(crate) fn pinned(&self) -> Option<u64> {
        // Ordering: Acquire pairs with the Release of the unpin: who sees it passed sees what was counted.
        let pin = self.pin.load(Ordering::Acquire);
        (pin % 2 == 1).then_some(pin)
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
    entered: u64,
}

impl Drop for Pin<'_> {
    #[inline]
    fn drop(&mut self) {
        self.shard.pin.store(self.entered.wrapping_add(1), Ordering::Release);
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
