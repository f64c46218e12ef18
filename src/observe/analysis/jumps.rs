//! Rates that jump: of a type or a source, from one window to the next.
//!
//! The first and the last window are cut by where the stream begins and ends, so what they lack is no jump: no rise out of
//! the first, no fall into the last.

use super::{Analysis, JUMP_EVENTS_MIN, JUMP_FACTOR, JUMPS_KEPT_MAX, Jump, Jumps};
use crate::clock::Timestamp;
use std::cmp::Reverse;

/// `indexes`: the places of the windows on the time line, ascending, as the counts of each series are.
pub(super) fn find(analysis: &Analysis, indexes: &[i64], start_of: impl Fn(i64) -> Timestamp) -> Jumps {
    let (Some(first), Some(last)) = (indexes.first(), indexes.last()) else { return Jumps::default() };
    let (mut all, mut total) = (Vec::new(), 0);
    for series in analysis.types.kept.iter().chain(&analysis.sources.kept) {
        let mut compare = |index: i64, before: u64, after: u64| {
            let is_cut = if after > before { index == first + 1 } else { index == *last };
            if !is_cut && is_jump(before, after) {
                let (event_type, source) = (series.event_type.clone(), series.source.clone());
                all.push(Jump { event_type, source, window: start_of(index), before, after });
                total += 1;
                if all.len() > 16 * JUMPS_KEPT_MAX {
                    keep_largest(&mut all);
                }
            }
        };
        for (at, index) in indexes.iter().enumerate() {
            let events = series.counts[at];
            let follows = at > 0 && indexes[at - 1] == index - 1;
            if index != first {
                compare(*index, if follows { series.counts[at - 1] } else { 0 }, events);
            }
            // The window after it has no event at all, so it is not listed.
            let is_followed = indexes.get(at + 1) == Some(&(index + 1));
            if index != last && !is_followed {
                compare(index + 1, events, 0);
            }
        }
    }
    keep_largest(&mut all);
    Jumps { total, kept: all }
}

fn keep_largest(jumps: &mut Vec<Jump>) {
    let order = |jump: &Jump| (Reverse(jump.before.abs_diff(jump.after)), jump.window);
    jumps.sort_by(|one, other| order(one).cmp(&order(other)).then_with(|| one.name().cmp(&other.name())));
    jumps.truncate(JUMPS_KEPT_MAX);
}

fn is_jump(before: u64, after: u64) -> bool {
    let (less, more) = (before.min(after), before.max(after));
    more >= JUMP_EVENTS_MIN && more >= less.saturating_mul(JUMP_FACTOR)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_times_as_many_of_at_least_twenty_are_a_jump() {
        for (before, after, expected) in [
            (0, 19, false),
            (0, 20, true),
            (20, 0, true),
            (7, 20, false),
            (6, 20, true),
            (60, 20, true),
            (59, 20, false),
        ] {
            assert_eq!(is_jump(before, after), expected, "{before} to {after}");
        }
    }
}
