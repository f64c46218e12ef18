//! [`Lanes`]: bounded queues that keep order and share workers.
//!
//! A lane is a queue whose items are taken one after the other: one worker at a time holds it. Lanes run beside each
//! other. Each has four bands; a higher band is served first, and a lower one that waits gets one item after every 16
//! from above. A band has a bounded number of places, and a place is reserved before anything is put in it, so
//! whoever holds a reservation cannot be refused any more.
//!
//! Workers find lanes with something in them by two short queues of lane numbers, the urgent one first (for the
//! highest band); a lane is at most once in each. What a lane is waiting for is one byte:
//!
//! ```text
//! bit 0  WORK      something was put in since the holder last looked
//! bit 1  HELD      a worker takes items out
//! bit 2  READY     its number is in the queue of ready lanes
//! bit 3  URGENT    its number is in the queue of urgent ones
//! bit 4  CRITICAL  with WORK: something was put in the highest band
//! ```
//!
//! It knows no event; what an item is, and what becomes of it when there is no room, is for its user to say.

mod guards;
#[cfg(all(test, codomyrmex_loom))]
mod models;
mod sleepers;

pub(crate) use guards::{Held, Reserved};
pub(crate) use sleepers::Sleepers;

use crate::bounded::{Bounded, Waiter};
use crate::sync::modelled::{ArrayQueue, AtomicBool, AtomicU8, Ordering};
use crossbeam_utils::CachePadded;

/// How many bands a lane has, the highest first.
pub(crate) const BANDS: usize = 4;

/// How many items one holder takes before others may have the lane.
pub(crate) const TURN_MAX: usize = 32;

/// After how many items from higher bands a waiting lower band gets one.
const PASSED_MAX: u8 = 16;

const WORK: u8 = 1;
const HELD: u8 = 2;
const READY: u8 = 4;
const URGENT: u8 = 8;
const CRITICAL: u8 = 16;

/// Where an item goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) lane: usize,
    pub(crate) band: usize,
}

pub(crate) struct Lanes<T> {
    lanes: Box<[Lane<T>]>,
    ready: ArrayQueue<usize>,
    urgent: ArrayQueue<usize>,
    /// The last turn was an urgent one.
    was_urgent: CachePadded<AtomicBool>,
    /// Places of each band.
    room: usize,
}

struct Lane<T> {
    bands: [Bounded<T>; BANDS],
    state: CachePadded<AtomicU8>,
    /// Of each band, how many items from above went by while it waited. Only the holder looks.
    passed: [AtomicU8; BANDS],
}

impl<T> Lanes<T> {
    /// `lanes` lanes with `room` places in each band; neither may be 0.
    pub(crate) fn new(lanes: usize, room: usize) -> Self {
        let lane = |_| Lane {
            bands: std::array::from_fn(|_| Bounded::new(room)),
            state: CachePadded::new(AtomicU8::new(0)),
            passed: std::array::from_fn(|_| AtomicU8::new(0)),
        };
        Lanes {
            lanes: (0..lanes).map(lane).collect(),
            ready: ArrayQueue::new(lanes),
            urgent: ArrayQueue::new(lanes),
            was_urgent: CachePadded::new(AtomicBool::new(false)),
            room,
        }
    }

    /// How many lanes there are.
    pub(crate) fn count(&self) -> usize {
        self.lanes.len()
    }

    /// Places of each band.
    pub(crate) fn room(&self) -> usize {
        self.room
    }

    fn band(&self, place: Place) -> &Bounded<T> {
        &self.lanes[place.lane].bands[place.band]
    }

    /// A place for one item, if there is one. Dropping it gives it back.
    #[inline]
    pub(crate) fn reserve(&self, place: Place) -> Option<Reserved<'_, T>> {
        self.band(place).reserve().then(|| Reserved::new(self, place))
    }

    /// Takes out the oldest item to make room for another, whose place this is now. `None` if a worker was faster.
    pub(crate) fn displace(&self, place: Place) -> Option<(Reserved<'_, T>, T)> {
        let oldest = self.band(place).displace()?;
        Some((Reserved::new(self, place), oldest))
    }

    /// Announces that somebody is about to wait for a place: what is freed from now on wakes the listener.
    pub(crate) fn waiter(&self, place: Place) -> Waiter<'_, T> {
        self.band(place).waiter()
    }

    /// Ends all waits for a place: there is something else to find out.
    pub(crate) fn end_waits(&self) {
        self.lanes.iter().flat_map(|lane| &lane.bands).for_each(Bounded::end_waits);
    }

    /// Items in each band, over all lanes.
    pub(crate) fn depths(&self) -> [usize; BANDS] {
        std::array::from_fn(|band| self.lanes.iter().map(|lane| lane.bands[band].len()).sum())
    }

    /// Whether a worker that looks would find a lane.
    pub(crate) fn has_ready(&self) -> bool {
        !self.urgent.is_empty() || !self.ready.is_empty()
    }

    /// A lane with something in it, for the caller alone: an urgent one, but while others wait they get one item after a
    /// turn of [`PASSED_MAX`].
    pub(crate) fn hold(&self) -> Option<Held<'_, T>> {
        loop {
            let (is_urgent, is_ready) = (!self.urgent.is_empty(), !self.ready.is_empty());
            // Ordering: Relaxed. It guards nothing; workers that disagree give each other's lanes a turn more or less.
            let looks_for_others = is_urgent && is_ready && self.was_urgent.load(Ordering::Relaxed);
            let urgent = if looks_for_others { None } else { self.urgent.pop() };
            let (number, listed) = match urgent {
                Some(number) => (number, URGENT),
                None => (self.ready.pop()?, READY),
            };
            if self.lanes[number].begin(listed, looks_for_others) {
                self.was_urgent.store(listed == URGENT, Ordering::Relaxed);
                let turn = match listed {
                    URGENT if is_ready => usize::from(PASSED_MAX),
                    READY if is_urgent => 1,
                    _ => TURN_MAX,
                };
                return Some(Held::new(self, number, turn));
            }
        }
    }

    /// Takes out whatever is in the lanes, in no particular order among them. Workers may be taking too.
    pub(crate) fn drain(&self) -> Vec<T> {
        let mut drained = Vec::new();
        for band in self.lanes.iter().flat_map(|lane| &lane.bands) {
            drained.extend(std::iter::from_fn(|| band.pop()));
        }
        drained
    }

    /// Puts the lane's number where workers look for it, unless it is there or somebody holds the lane. True if a
    /// worker should be woken.
    #[inline]
    fn announce(&self, place: Place) -> bool {
        let state = &self.lanes[place.lane].state;
        let (news, wanted) = if place.band == 0 { (WORK | CRITICAL, READY | URGENT) } else { (WORK, READY) };
        let mut before = state.load(Ordering::Relaxed);
        loop {
            let listed = if before & HELD == 0 { wanted & !before } else { 0 };
            // Ordering: AcqRel, and an exchange even if nothing changes: the holder that sees WORK sees the item.
            match state.compare_exchange_weak(
                before,
                before | news | listed,
                Ordering::AcqRel,
                Ordering::Relaxed,
            ) {
                Ok(_) => {
                    self.list(place.lane, listed);
                    return listed != 0;
                }
                Err(other) => before = other,
            }
        }
    }

    fn list(&self, number: usize, listed: u8) {
        if listed & URGENT != 0 {
            let is_listed = self.urgent.push(number).is_ok();
            debug_assert!(is_listed, "a lane is listed once");
        }
        if listed & READY != 0 {
            let is_listed = self.ready.push(number).is_ok();
            debug_assert!(is_listed, "a lane is listed once");
        }
    }
}

impl<T> Lane<T> {
    /// Its number was taken out of the queue `listed`. True if the caller holds the lane now; who looks for others leaves an
    /// urgent one in the other queue.
    fn begin(&self, listed: u8, looks_for_others: bool) -> bool {
        let mut before = self.state.load(Ordering::Relaxed);
        loop {
            let is_other = !looks_for_others || before & URGENT == 0;
            let begins = is_other && before & (HELD | WORK) == WORK;
            let unlisted = before & !listed;
            let after = if begins { (unlisted | HELD) & !(WORK | CRITICAL) } else { unlisted };
            // Ordering: AcqRel: see `announce`.
            match self.state.compare_exchange_weak(before, after, Ordering::AcqRel, Ordering::Relaxed) {
                Ok(_) => return begins,
                Err(other) => before = other,
            }
        }
    }

    /// The next item by band; the holder alone asks.
    ///
    /// PERF: it takes without asking first whether there is something, since that looks at a line which publishers write
    /// (`queue/1 to 1`). Whoever displaces or drains may be faster.
    fn take(&self) -> Option<T> {
        let waited = (1..BANDS).find(|&band| self.passed[band].load(Ordering::Relaxed) >= PASSED_MAX);
        if let Some(band) = waited {
            self.passed[band].store(0, Ordering::Relaxed);
            if let Some(item) = self.bands[band].pop() {
                return Some(item);
            }
        }
        let (first, item) =
            self.bands.iter().enumerate().find_map(|(band, items)| Some((band, items.pop()?)))?;
        for lower in first + 1..BANDS {
            let passed = &self.passed[lower];
            let times = if self.bands[lower].is_empty() {
                0
            } else {
                passed.load(Ordering::Relaxed).saturating_add(1)
            };
            passed.store(times, Ordering::Relaxed);
        }
        Some(item)
    }

    fn is_empty(&self) -> bool {
        self.bands.iter().all(|band| band.is_empty())
    }
}

#[cfg(all(test, not(codomyrmex_loom)))]
mod tests {
    use super::*;

    /// One worker, as long as it finds something.
    fn taken(lanes: &Lanes<&'static str>) -> Vec<&'static str> {
        let mut taken = Vec::new();
        while let Some(mut lane) = lanes.hold() {
            taken.extend(lane.by_ref());
            lane.leave();
        }
        taken
    }

    fn put(lanes: &Lanes<&'static str>, place: Place, items: usize, item: &'static str) {
        for _ in 0..items {
            lanes.reserve(place).expect("there is room").fill(item);
        }
    }

    #[test]
    fn a_lane_with_nothing_urgent_gets_one_after_each_turn_of_an_urgent_one() {
        let lanes = Lanes::new(2, 100);
        put(&lanes, Place { lane: 1, band: 2 }, 4, "normal");
        put(&lanes, Place { lane: 0, band: 0 }, 100, "critical");
        let taken = taken(&lanes);
        let at: Vec<usize> =
            taken.iter().enumerate().filter(|(_, item)| **item == "normal").map(|(at, _)| at).collect();
        assert_eq!((at, taken.len()), (vec![16, 33, 50, 67], 104));
    }

    #[test]
    fn urgent_lanes_come_first_and_a_turn_is_bounded() {
        let lanes = Lanes::new(3, 100);
        put(&lanes, Place { lane: 0, band: 3 }, 40, "a");
        put(&lanes, Place { lane: 1, band: 3 }, 40, "b");
        put(&lanes, Place { lane: 2, band: 0 }, 1, "critical");
        let taken = taken(&lanes);
        let expected = [&["critical"][..], &["a"; 32], &["b"; 32], &["a"; 8], &["b"; 8]].concat();
        assert_eq!(taken, expected);
    }
}
