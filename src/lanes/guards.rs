//! What is held of the lanes for a while: a place to fill, a wait for one, a lane to take from.

use super::{Band, CRITICAL, HELD, Lanes, Place, READY, TURN_MAX, URGENT, WORK};
use crate::sync::modelled::Ordering;
use crate::sync::{Listener as _, SignalListener};
use std::time::Duration;

/// A place that is the owner's to fill.
#[must_use = "dropping it gives the place back"]
pub(crate) struct Reserved<'a, T> {
    lanes: &'a Lanes<T>,
    place: Place,
}

impl<'a, T> Reserved<'a, T> {
    pub(super) fn new(lanes: &'a Lanes<T>, place: Place) -> Self {
        Reserved { lanes, place }
    }

    /// Puts `item` in the place. True if a worker should be woken for it.
    #[inline]
    pub(crate) fn fill(self, item: T) -> bool {
        let Reserved { lanes, place } = self;
        std::mem::forget(self);
        let is_put = lanes.band(place).items.push(item).is_ok();
        debug_assert!(is_put, "a reserved place is free");
        lanes.announce(place)
    }
}

impl<T> Drop for Reserved<'_, T> {
    fn drop(&mut self) {
        self.lanes.band(self.place).give_back();
    }
}

/// One who waits for a place in a band. To be made before the last look: what is freed after it was made ends the wait.
pub(crate) struct Waiter<'a, T> {
    band: &'a Band<T>,
    freed: SignalListener,
}

impl<'a, T> Waiter<'a, T> {
    pub(super) fn new(band: &'a Band<T>) -> Self {
        band.waiting.fetch_add(1, Ordering::SeqCst);
        Waiter { band, freed: band.freed.listen() }
    }

    /// Waits until a place was freed, or the time is up.
    pub(crate) fn wait(&mut self, limit: Duration) {
        let freed = std::mem::replace(&mut self.freed, self.band.freed.listen());
        freed.wait_timeout(limit);
    }

    /// Is ready when a place was freed.
    pub(crate) fn freed(&mut self) -> &mut SignalListener {
        &mut self.freed
    }
}

impl<T> Drop for Waiter<'_, T> {
    fn drop(&mut self) {
        self.band.waiting.fetch_sub(1, Ordering::SeqCst);
    }
}

/// A lane held by one worker, for a turn of at most [`TURN_MAX`] items.
pub(crate) struct Held<'a, T> {
    lanes: &'a Lanes<T>,
    number: usize,
    left: usize,
}

impl<T> Iterator for Held<'_, T> {
    type Item = T;

    #[inline]
    fn next(&mut self) -> Option<T> {
        self.left = self.left.checked_sub(1)?;
        self.lanes.lanes[self.number].take()
    }
}

impl<'a, T> Held<'a, T> {
    pub(super) fn new(lanes: &'a Lanes<T>, number: usize) -> Self {
        Held { lanes, number, left: TURN_MAX }
    }

    /// Leaves the lane. True if a worker should look for it again, since something is left in it.
    pub(crate) fn leave(self) -> bool {
        let lane = &self.lanes.lanes[self.number];
        let mut before = lane.state.load(Ordering::Acquire);
        loop {
            // What is put in after this look sets WORK, and CRITICAL if it is, so the exchange fails or has seen them.
            let has_more = before & WORK != 0 || !lane.is_empty();
            let is_urgent = before & CRITICAL != 0 || !lane.bands[0].items.is_empty();
            let mut after = before & !HELD;
            if has_more {
                after |= WORK | READY | if is_urgent { URGENT } else { 0 };
            }
            // Ordering: AcqRel: the next holder sees what this one did.
            match lane.state.compare_exchange_weak(before, after, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => {
                    self.lanes.list(self.number, after & !before & (READY | URGENT));
                    return has_more;
                }
                Err(other) => before = other,
            }
        }
    }
}
