//! Quantiles of what threads observe, with a bounded error and bounded memory.
//!
//! A value's bucket is its exponent and the first three bits of its mantissa, so that a bucket is at most 1/8 wide and its
//! middle at most 1/16 off, whatever the unit. The sketches that libraries have (`hdrhistogram`, DDSketch, t-digests) are
//! recorded into through `&mut`. Buckets are counters in pages, made when a value falls into one: values of a kind lie close
//! together, so a summary of latencies has two or three of them.

use super::float::{Extremes, Number};
use super::snapshot::SummaryReading;
use crate::sync::{AtomicU64, Ordering};
use once_cell::race::OnceBox;

/// Log2 of how many buckets divide each power of two.
const DIVISION_BITS: u32 = 3;
/// What is smaller counts as zero, what is not smaller as the extreme.
const LEAST: f64 = 1.0 / (1_u64 << 32) as f64;
const BEYOND: f64 = u64::MAX as f64;
const BUCKETS: usize = (32 + 64) << DIVISION_BITS;
const PAGE: usize = 64;

#[derive(Default)]
pub(super) struct Sketch {
    negative: Side,
    zeros: AtomicU64,
    positive: Side,
    sum: Number,
    extremes: Extremes,
}

/// Values of one sign, by magnitude.
#[derive(Default)]
struct Side {
    pages: [OnceBox<Page>; BUCKETS / PAGE],
    beyond: AtomicU64,
}

struct Page([AtomicU64; PAGE]);

impl Sketch {
    /// False, and nothing has changed, if the sum would be infinite.
    pub(super) fn add(&self, value: f64) -> bool {
        if !self.sum.add(value) {
            return false;
        }
        self.extremes.add(value);
        let side = if value < 0.0 { &self.negative } else { &self.positive };
        let count = if value.abs() < LEAST { &self.zeros } else { side.count_of(value.abs()) };
        // Ordering: as in `cell`: whoever counts this value sees the extremes that include it.
        count.fetch_add(1, Ordering::Release);
        true
    }

    pub(super) fn read(&self) -> SummaryReading {
        let load = |count: &AtomicU64| count.load(Ordering::Acquire);
        // Value and count, in ascending order of values; those beyond are told as the extremes.
        let mut counts = vec![(f64::NEG_INFINITY, load(&self.negative.beyond))];
        self.negative.read(&mut counts);
        counts[1..].reverse();
        counts[1..].iter_mut().for_each(|(value, _)| *value = -*value);
        counts.push((0.0, load(&self.zeros)));
        self.positive.read(&mut counts);
        counts.push((f64::INFINITY, load(&self.positive.beyond)));

        let count = counts.iter().map(|(_, count)| count).sum();
        if count == 0 {
            return SummaryReading::default();
        }
        let (min, max) = self.extremes.get();
        let quantile = |of_100: u128| {
            let rank = (u128::from(count) * of_100).div_ceil(100);
            let mut seen = 0;
            let is_reached = |&&(_, count): &&(f64, u64)| {
                seen += u128::from(count);
                seen >= rank
            };
            counts.iter().find(is_reached).map_or(max, |(value, _)| value.clamp(min, max))
        };
        SummaryReading {
            count,
            sum: self.sum.get(),
            min,
            max,
            p50: quantile(50),
            p90: quantile(90),
            p99: quantile(99),
        }
    }
}

impl Side {
    fn count_of(&self, magnitude: f64) -> &AtomicU64 {
        if magnitude >= BEYOND {
            return &self.beyond;
        }
        let bucket = bucket_of(magnitude);
        &self.pages[bucket / PAGE].get_or_init(Page::boxed).0[bucket % PAGE]
    }

    fn read(&self, counts: &mut Vec<(f64, u64)>) {
        for (page, buckets) in self.pages.iter().enumerate() {
            let buckets = buckets.get().into_iter().flat_map(|page| &page.0).enumerate();
            let told =
                buckets.map(|(at, count)| (middle_of(page * PAGE + at), count.load(Ordering::Acquire)));
            counts.extend(told.filter(|(_, count)| *count > 0));
        }
    }
}

impl Page {
    fn boxed() -> Box<Self> {
        Box::new(Page([const { AtomicU64::new(0) }; PAGE]))
    }
}

/// How far the bits of a bucket's number stand from the right in an `f64`.
const SHIFT: u32 = f64::MANTISSA_DIGITS - 1 - DIVISION_BITS;

/// From [`LEAST`] to below [`BEYOND`]: as the bits of positive numbers are in the order of the numbers, the first of them
/// number the buckets.
fn bucket_of(magnitude: f64) -> usize {
    ((magnitude.to_bits() - LEAST.to_bits()) >> SHIFT) as usize
}

fn middle_of(bucket: usize) -> f64 {
    f64::from_bits(LEAST.to_bits() + ((bucket as u64) << SHIFT) + (1 << (SHIFT - 1)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_magnitude_has_a_bucket_whose_middle_is_near() {
        assert_eq!((bucket_of(LEAST), bucket_of(BEYOND.next_down())), (0, BUCKETS - 1));
        for bucket in 0..BUCKETS {
            let middle = middle_of(bucket);
            assert_eq!(bucket_of(middle), bucket);
            let (mut least, mut most) = (bucket as u64, bucket as u64 + 1);
            least = LEAST.to_bits() + (least << SHIFT);
            most = LEAST.to_bits() + (most << SHIFT) - 1;
            for edge in [least, most].map(f64::from_bits) {
                assert_eq!(bucket_of(edge), bucket);
                assert!((middle - edge).abs() <= edge / 16.0, "{middle} for {edge}");
            }
        }
    }
}
