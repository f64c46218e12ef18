//! What is held of the lanes for a while: a place to fill, a lane to take from.

use super::{CRITICAL, HELD, Lanes, Place, READY, URGENT, WORK};
use crate::sync::modelled::Ordering;

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
        lanes.band(place).put(item);
        lanes.announce(place)
    }
}

impl<T> Drop for Reserved<'_, T> {
    fn drop(&mut self) {
        self.lanes.band(self.place).give_back();
    }
}

/// How often a worker looks for more before it leaves an empty lane, and how long it pauses in between: about as long as it
/// takes to leave the lane and come back, without asking for the publishers' line all the time.
const LOOKS: usize = 8;
const PAUSES: usize = 8;

/// A lane held by one worker, for a turn of at most [`TURN_MAX`](super::TURN_MAX) items.
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
    pub(super) fn new(lanes: &'a Lanes<T>, number: usize, turn: usize) -> Self {
        Held { lanes, number, left: turn }
    }

    /// Waits a moment for more to come into the empty lane, for as long as `is_wanted` nowhere else; true if it came.
    ///
    /// PERF: an event that comes every few hundred nanoseconds would have its lane listed, found and held anew each time
    /// (`queue/1 to 1, spinning`).
    pub(crate) fn lingers(&self, is_wanted: impl Fn() -> bool) -> bool {
        let lane = &self.lanes.lanes[self.number];
        for _ in 0..LOOKS {
            if self.left == 0 || self.lanes.has_ready() || is_wanted() {
                return false;
            }
            if !lane.is_empty() {
                return true;
            }
            for _ in 0..PAUSES {
                std::hint::spin_loop();
            }
        }
        false
    }

    /// Leaves the lane. True if a worker should look for it again, since something is left in it.
    pub(crate) fn leave(self) -> bool {
        let lane = &self.lanes.lanes[self.number];
        let mut before = lane.state.load(Ordering::Acquire);
        loop {
            // What is put in after this look sets WORK, and CRITICAL if it is, so the exchange fails or has seen them.
            let has_more = before & WORK != 0 || !lane.is_empty();
            let is_urgent = before & CRITICAL != 0 || !lane.bands[0].is_empty();
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
