//! How long operations took: each time while they are few, a sketch once they are many.
//!
//! The sketch is a DDSketch: it counts times in buckets each of which is 2 % wider than the one before, so that a quantile
//! is told to within 1 %, whatever the times are. `dispatch/latency.rs` has buckets of 6 % and ends at 73 minutes, which suits
//! handlers; operations take days.

use super::OperationStats;
use sketches_ddsketch::{Config, DDSketch};

/// How many times are kept as they are.
pub(super) const EXACT_MAX: usize = 1_024;

/// A little less than 1 %, for what floats lose.
const RELATIVE_ERROR: f64 = 0.0099;
/// Enough for all times from 1 ns to the 584 years that two timestamps can lie apart.
const BUCKETS_MAX: u32 = 2_304;

#[derive(Default)]
pub(super) struct Durations {
    /// The first, until they are too many.
    times_ns: Vec<u64>,
    sketch: Option<Box<DDSketch>>,
    pub(super) count: u64,
    sum_ns: u128,
    max_ns: u64,
}

impl Durations {
    pub(super) fn add(&mut self, ns: u64) {
        self.count += 1;
        self.sum_ns += u128::from(ns);
        self.max_ns = self.max_ns.max(ns);
        if let Some(sketch) = &mut self.sketch {
            sketch.add(ns as f64);
        } else if self.times_ns.len() < EXACT_MAX {
            self.times_ns.push(ns);
        } else {
            let mut sketch = DDSketch::new(Config::new(RELATIVE_ERROR, BUCKETS_MAX, 0.5));
            for ns in std::mem::take(&mut self.times_ns).into_iter().chain([ns]) {
                sketch.add(ns as f64);
            }
            self.sketch = Some(Box::new(sketch));
        }
    }

    /// Fills in what is told of times.
    pub(super) fn tell(mut self, stats: &mut OperationStats) {
        self.times_ns.sort_unstable();
        stats.p50_ns = self.quantile(50);
        stats.p99_ns = self.quantile(99);
        stats.max_ns = self.max_ns;
        // A mean is no greater than the maximum.
        stats.mean_ns = self.sum_ns.checked_div(u128::from(self.count)).map_or(0, |mean| mean as u64);
        stats.is_exact = self.sketch.is_none();
    }

    /// The least time that so many of 100 did not exceed: the nearest rank.
    fn quantile(&self, of_100: u64) -> u64 {
        if self.count == 0 {
            return 0;
        }
        // Counted from 0.
        let rank = (u128::from(self.count) * u128::from(of_100)).div_ceil(100) - 1;
        let Some(sketch) = &self.sketch else {
            return self.times_ns.get(rank as usize).copied().unwrap_or(self.max_ns);
        };
        // The sketch wants a fraction and cuts it down to a rank: from the middle of a rank it finds that rank.
        let fraction = ((rank as f64 + 0.5) / (self.count as f64 - 1.0)).min(1.0);
        let found = sketch.quantile(fraction).ok().flatten();
        found.map_or(self.max_ns, |ns| (ns.round() as u64).min(self.max_ns))
    }
}

impl std::fmt::Debug for Durations {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Durations").field("count", &self.count).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(times: impl Iterator<Item = u64>) -> OperationStats {
        let (mut durations, mut stats) = (Durations::default(), OperationStats::default());
        times.for_each(|ns| durations.add(ns));
        durations.tell(&mut stats);
        stats
    }

    #[test]
    fn quantiles_are_exact_while_there_are_few_and_close_afterwards() {
        let figures = |stats: &OperationStats| [stats.p50_ns, stats.p99_ns, stats.mean_ns, stats.max_ns];
        assert_eq!(figures(&told([].into_iter())), [0; 4]);
        assert_eq!(figures(&told([7].into_iter())), [7; 4]);
        assert_eq!(figures(&told((1..=100).rev())), [50, 99, 50, 100]);
        let few = told(1..=EXACT_MAX as u64);
        assert_eq!((few.p50_ns, few.p99_ns, few.is_exact), (512, 1_014, true));
        for scale in [1, 1_000, 1_000_000_007] {
            let many = told((1..=100_000).map(|n| n * scale));
            assert!(!many.is_exact);
            assert_eq!(many.max_ns, 100_000 * scale);
            for (found, exact) in [(many.p50_ns, 50_000 * scale), (many.p99_ns, 99_000 * scale)] {
                assert!(found.abs_diff(exact) <= exact / 100, "{found} for {exact}");
            }
        }
        // Nothing is too short or too long.
        let ends = told((0..2_000).map(|n| if n % 2 == 0 { 0 } else { u64::MAX }));
        assert_eq!((ends.p50_ns, ends.max_ns), (0, u64::MAX));
        assert!(ends.p99_ns >= u64::MAX / 100 * 99, "{}", ends.p99_ns);
    }
}
