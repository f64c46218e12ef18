//! Pieces that may stand anywhere: one Aho-Corasick automaton over all of them.
//!
//! The name is read once, however many needles there are, and every needle in it is reported. The same needle may be
//! found in many places, and a glob must be tried once; the numbers found are therefore sorted and thinned out in the
//! caller's own buffer, which needs neither a mark for each glob, nor a lock, nor memory of its own.

use super::set::Bucket;
use aho_corasick::{AhoCorasick, AhoCorasickKind, MatchKind};

/// The buckets of the pieces inside the name.
#[derive(Default)]
pub(super) struct Needles {
    automaton: Option<AhoCorasick>,
    buckets: Box<[Bucket]>,
}

impl Needles {
    /// Compiles distinct needles; none if an automaton cannot number so many states.
    pub(super) fn build(needles: &[&[u8]], buckets: Vec<Bucket>) -> Option<Self> {
        debug_assert_eq!(needles.len(), buckets.len());
        if needles.is_empty() {
            return Some(Self::default());
        }
        // PERF: a prefilter searches for rare bytes far ahead, which names are too short to repay; and a DFA, the crate's
        // choice for few needles, takes four times as long to build and is no faster here (benches `cold`, `build`).
        let automaton = AhoCorasick::builder()
            .match_kind(MatchKind::Standard)
            .kind(Some(AhoCorasickKind::ContiguousNFA))
            .prefilter(false)
            .build(needles)
            .ok()?;
        Some(Self { automaton: Some(automaton), buckets: buckets.into() })
    }

    pub(super) fn bucket(&self, needle: u32) -> Bucket {
        self.buckets[needle as usize]
    }

    /// Appends the number of each needle in `name`, each once.
    pub(super) fn find_into(&self, name: &str, found: &mut Vec<u32>) {
        let Some(automaton) = &self.automaton else { return };
        let start = found.len();
        // A name of one letter repeated holds a needle at every byte: thin out before the buffer outgrows the set.
        let crowded = start + 2 * self.buckets.len() + 64;
        for hit in automaton.find_overlapping_iter(name) {
            if found.len() == crowded {
                keep_distinct(found, start);
            }
            found.push(hit.pattern().as_u32());
        }
        keep_distinct(found, start);
    }
}

/// Sorts `numbers[start..]` and removes repetitions.
fn keep_distinct(numbers: &mut Vec<u32>, start: usize) {
    if numbers.len() - start < 2 {
        return;
    }
    numbers[start..].sort_unstable();
    let mut kept = start;
    for at in start + 1..numbers.len() {
        if numbers[at] != numbers[kept] {
            kept += 1;
            numbers[kept] = numbers[at];
        }
    }
    numbers.truncate(kept + 1);
}
