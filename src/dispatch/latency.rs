//! How long things take: histograms that any thread may add to without waiting.
//!
//! A library's histogram needs `&mut` or a recorder for each thread; this is an array of counters. Times go into buckets
//! of which each is at most 1/16 wider than the one before, so a quantile is told to within 6.25 %, and too long rather than
//! too short. The maximum is exact.

use crate::sync::{AtomicU64, Ordering};
use serde::Serialize;
use std::time::Duration;

/// Log2 of how many buckets divide each power of two.
const DIVISION_BITS: u32 = 4;
const DIVISIONS: usize = 1 << DIVISION_BITS;
/// Times from 2^42 ns (73 minutes) on share the last bucket.
const POWERS: usize = 42;
const BUCKETS: usize = (POWERS - DIVISION_BITS as usize + 1) * DIVISIONS;

/// The latencies of a bus.
#[derive(Default)]
pub(crate) struct Latencies {
    /// From acceptance to the first turn.
    pub(crate) queueing: Histogram,
    /// Attempts of all handlers.
    pub(crate) handling: Histogram,
}

/// Times, counted by size.
#[derive(Debug)]
pub(crate) struct Histogram {
    buckets: Box<[AtomicU64; BUCKETS]>,
    sum_ns: AtomicU64,
    max_ns: AtomicU64,
}

/// Quantiles of what was measured since the bus was built, to within 6.25 %. In nanoseconds; all 0 if nothing was.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct LatencyStats {
    /// How many times were measured.
    pub count: u64,
    /// Their mean, exact.
    pub mean_ns: u64,
    /// Half of them took no longer.
    pub p50_ns: u64,
    /// 9 of 10 took no longer.
    pub p90_ns: u64,
    /// 99 of 100 took no longer.
    pub p99_ns: u64,
    /// 999 of 1,000 took no longer.
    pub p999_ns: u64,
    /// The longest, exact.
    pub max_ns: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        Histogram {
            buckets: Box::new([const { AtomicU64::new(0) }; BUCKETS]),
            sum_ns: AtomicU64::new(0),
            max_ns: AtomicU64::new(0),
        }
    }
}

fn bucket_of(ns: u64) -> usize {
    if ns < DIVISIONS as u64 {
        return ns as usize;
    }
    let power = ns.ilog2();
    let within = (ns >> (power - DIVISION_BITS)) as usize - DIVISIONS;
    ((power - DIVISION_BITS + 1) as usize * DIVISIONS + within).min(BUCKETS - 1)
}

/// The longest time that goes into a bucket.
fn most_in(bucket: usize) -> u64 {
    if bucket < DIVISIONS {
        return bucket as u64;
    }
    let power = (bucket / DIVISIONS - 1) as u32;
    let within = (bucket % DIVISIONS + DIVISIONS) as u64;
    ((within + 1) << power) - 1
}

impl Histogram {
    pub(crate) fn add(&self, time: Duration) {
        let ns = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        self.buckets[bucket_of(ns)].fetch_add(1, Ordering::Relaxed);
        self.sum_ns.fetch_add(ns, Ordering::Relaxed);
        self.max_ns.fetch_max(ns, Ordering::Relaxed);
    }

    pub(crate) fn stats(&self) -> LatencyStats {
        let counts: Vec<u64> = self.buckets.iter().map(|bucket| bucket.load(Ordering::Relaxed)).collect();
        let count: u64 = counts.iter().sum();
        let max_ns = self.max_ns.load(Ordering::Relaxed);
        let quantile = |of_1000: u64| {
            let rank = (count * of_1000).div_ceil(1_000).max(1);
            let mut seen = 0;
            let found = counts.iter().position(|bucket| {
                seen += bucket;
                seen >= rank
            });
            // The last bucket has no end.
            found.map_or(0, |bucket| if bucket == BUCKETS - 1 { max_ns } else { most_in(bucket).min(max_ns) })
        };
        LatencyStats {
            count,
            mean_ns: self.sum_ns.load(Ordering::Relaxed).checked_div(count).unwrap_or(0),
            p50_ns: quantile(500),
            p90_ns: quantile(900),
            p99_ns: quantile(990),
            p999_ns: quantile(999),
            max_ns,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_follow_each_other_without_gaps_and_are_narrow() {
        for bucket in 1..BUCKETS - 1 {
            let (least, most) = (most_in(bucket - 1) + 1, most_in(bucket));
            assert_eq!((bucket_of(least), bucket_of(most)), (bucket, bucket));
            assert!((most - least + 1) * 16 <= least.max(16), "{least} to {most}");
        }
        assert_eq!(bucket_of(u64::MAX), BUCKETS - 1);
    }

    #[test]
    fn quantiles_are_those_of_what_was_added() {
        let histogram = Histogram::default();
        assert_eq!(histogram.stats(), LatencyStats::default());
        (1..=1_000).for_each(|n| histogram.add(Duration::from_micros(n)));
        let stats = histogram.stats();
        assert_eq!((stats.count, stats.mean_ns, stats.max_ns), (1_000, 500_500, 1_000_000));
        for (told, exact) in [
            (stats.p50_ns, 500_000),
            (stats.p90_ns, 900_000),
            (stats.p99_ns, 990_000),
            (stats.p999_ns, 999_000),
        ] {
            assert!(told >= exact && told <= exact + exact / 16, "{told} for {exact}");
        }
        histogram.add(Duration::from_secs(100_000));
        assert_eq!(histogram.stats().max_ns, 100_000_000_000_000);
    }
}
