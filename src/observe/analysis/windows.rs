//! Time in windows: how often something happened in each, for a bounded number of windows and of things.
//!
//! Only windows that have events are kept, so a silence of a year costs nothing. When more have events than there is room
//! for, all windows are made longer, to a multiple of what they were, so that old ones merge into new ones and no count is
//! lost or guessed. Windows begin at multiples of their length since 1970. So the outcome depends on which events there
//! were and not on their order.

use super::{Rates, SERIES_MAX, Series};
use crate::clock::Timestamp;
use std::collections::HashMap;
use std::hash::Hash;

const NS_PER_MS: i64 = 1_000_000;

/// Lengths that a person would choose, in milliseconds. Each divides the next.
const LENGTHS_MS: [i64; 18] = [
    1, 5, 10, 50, 100, 500, 1_000, 5_000, 10_000, 30_000, 60_000, 300_000, 600_000, 1_800_000, 3_600_000,
    21_600_000, 43_200_000, 86_400_000,
];
/// A hundred years. Twice that is still a number of nanoseconds.
const LENGTH_NS_MAX: i64 = 36_525 * 86_400_000 * NS_PER_MS;

/// The windows that have events. Each has a slot, a number in order of appearance, by which the series count.
#[derive(Debug)]
pub(super) struct Windows {
    length_ns: i64,
    windows_max: usize,
    /// From a window's place on the time line, in windows since 1970, to its slot.
    slots: HashMap<i64, usize>,
}

impl Windows {
    pub(super) fn new(length_ns: i64, windows_max: usize) -> Self {
        let length_ns = length_ns.clamp(NS_PER_MS, LENGTH_NS_MAX);
        Windows { length_ns, windows_max, slots: HashMap::new() }
    }

    pub(super) fn length_ns(&self) -> i64 {
        self.length_ns
    }

    /// The slot of a moment; and if windows had to be made longer for it, what became of each slot that there was.
    pub(super) fn slot(&mut self, at: Timestamp) -> (usize, Option<Vec<usize>>) {
        let index = at.as_unix_nanos().div_euclid(self.length_ns);
        let next = self.slots.len();
        let slot = *self.slots.entry(index).or_insert(next);
        if self.slots.len() <= self.windows_max {
            return (slot, None);
        }
        let merged = self.lengthen();
        (merged[slot], Some(merged))
    }

    /// Makes the windows longer until they are few enough.
    fn lengthen(&mut self) -> Vec<usize> {
        let mut merged: Vec<usize> = (0..self.slots.len()).collect();
        while self.slots.len() > self.windows_max {
            let longer = longer(self.length_ns);
            let factor = longer / self.length_ns;
            let mut slots = HashMap::new();
            let mut became = vec![0; self.slots.len()];
            let mut old: Vec<(usize, i64)> = self.slots.iter().map(|(index, slot)| (*slot, *index)).collect();
            old.sort_unstable();
            for (slot, index) in old {
                let next = slots.len();
                became[slot] = *slots.entry(index.div_euclid(factor)).or_insert(next);
            }
            merged.iter_mut().for_each(|slot| *slot = became[*slot]);
            (self.slots, self.length_ns) = (slots, longer);
        }
        merged
    }

    /// The windows from the earliest to the latest: the place of each on the time line, and its slot.
    pub(super) fn in_order(&self) -> (Vec<i64>, Vec<usize>) {
        let mut windows: Vec<(i64, usize)> = self.slots.iter().map(|(index, slot)| (*index, *slot)).collect();
        windows.sort_unstable();
        windows.into_iter().unzip()
    }
}

/// The next length up: of the list, or twice as long.
fn longer(length_ns: i64) -> i64 {
    let listed = LENGTHS_MS.iter().position(|ms| ms * NS_PER_MS == length_ns);
    listed.and_then(|at| LENGTHS_MS.get(at + 1)).map_or(length_ns * 2, |ms| ms * NS_PER_MS)
}

/// How often each of a bounded number of things happened, by slot.
#[derive(Debug)]
pub(super) struct Table<K> {
    kept: HashMap<K, Counts>,
    others: Counts,
}

#[derive(Debug, Default)]
struct Counts {
    events: u64,
    by_slot: Vec<u64>,
}

impl<K: Hash + Eq + Clone> Table<K> {
    pub(super) fn new() -> Self {
        Table { kept: HashMap::new(), others: Counts::default() }
    }

    pub(super) fn add(&mut self, key: &K, slot: usize) {
        if let Some(counts) = self.kept.get_mut(key) {
            counts.add(slot);
        } else if self.kept.len() < SERIES_MAX {
            self.kept.entry(key.clone()).or_default().add(slot);
        } else {
            self.others.add(slot);
        }
    }

    /// Slots have become others.
    pub(super) fn merge(&mut self, became: &[usize]) {
        self.others.merge(became);
        self.kept.values_mut().for_each(|counts| counts.merge(became));
    }

    /// The series, those with the most events first, each with its counts in the order of `slots`.
    pub(super) fn rates(self, slots: &[usize], named: impl Fn(Option<K>) -> Series) -> Rates {
        let filled = |key, counts: &Counts| {
            let in_slot = |slot: &usize| counts.by_slot.get(*slot).copied().unwrap_or(0);
            Series { events: counts.events, counts: slots.iter().map(in_slot).collect(), ..named(key) }
        };
        let others = filled(None, &self.others);
        let mut kept: Vec<Series> =
            self.kept.into_iter().map(|(key, counts)| filled(Some(key), &counts)).collect();
        kept.sort_by(|one, other| other.events.cmp(&one.events).then_with(|| one.name().cmp(&other.name())));
        Rates { kept, others }
    }
}

impl Counts {
    fn add(&mut self, slot: usize) {
        self.events += 1;
        if self.by_slot.len() <= slot {
            self.by_slot.resize(slot + 1, 0);
        }
        self.by_slot[slot] += 1;
    }

    fn merge(&mut self, became: &[usize]) {
        let before = std::mem::take(&mut self.by_slot);
        for (slot, events) in before.into_iter().enumerate().filter(|(_, events)| *events > 0) {
            let slot = became[slot];
            if self.by_slot.len() <= slot {
                self.by_slot.resize(slot + 1, 0);
            }
            self.by_slot[slot] += events;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_length_divides_the_next_and_the_longest_can_be_doubled() {
        for pair in LENGTHS_MS.windows(2) {
            assert_eq!(pair[1] % pair[0], 0, "{pair:?}");
        }
        assert_eq!(longer(500 * NS_PER_MS), 1_000 * NS_PER_MS);
        assert_eq!(longer(700 * NS_PER_MS), 1_400 * NS_PER_MS);
        assert_eq!(longer(86_400_000 * NS_PER_MS), 2 * 86_400_000 * NS_PER_MS);
        assert!(LENGTH_NS_MAX.checked_mul(2).is_some());
    }

    #[test]
    fn the_ends_of_time_fit_into_one_window_each() {
        for length_ns in [0, i64::MAX, 7] {
            let mut windows = Windows::new(length_ns, 8);
            for nanos in [i64::MIN, i64::MAX, 0, -1, 1] {
                windows.slot(Timestamp::from_unix_nanos(nanos));
            }
            assert!(windows.slots.len() <= 8 && windows.length_ns > 0, "{windows:?}");
        }
    }
}
