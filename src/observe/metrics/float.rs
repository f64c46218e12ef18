//! Floating-point numbers that threads share.

use crate::sync::{AtomicU64, Ordering};

/// A number that can be set and added to.
#[derive(Default)]
pub(super) struct Number(AtomicU64);

impl Number {
    /// False, and nothing has changed, if the sum would be infinite.
    pub(super) fn add(&self, value: f64) -> bool {
        let one_more =
            |bits| Some(f64::from_bits(bits) + value).filter(|sum| sum.is_finite()).map(f64::to_bits);
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more).is_ok()
    }

    pub(super) fn set(&self, value: f64) {
        self.0.store(value.to_bits(), Ordering::Relaxed);
    }

    pub(super) fn get(&self) -> f64 {
        f64::from_bits(self.0.load(Ordering::Relaxed))
    }
}

/// The least and the greatest number seen.
pub(super) struct Extremes {
    least: AtomicU64,
    greatest: AtomicU64,
}

impl Default for Extremes {
    fn default() -> Self {
        Extremes { least: AtomicU64::new(u64::MAX), greatest: AtomicU64::new(0) }
    }
}

impl Extremes {
    pub(super) fn add(&self, value: f64) {
        self.least.fetch_min(ordered(value), Ordering::Relaxed);
        self.greatest.fetch_max(ordered(value), Ordering::Relaxed);
    }

    /// Meaningful once something was added.
    pub(super) fn get(&self) -> (f64, f64) {
        let load = |extreme: &AtomicU64| from_ordered(extreme.load(Ordering::Relaxed));
        (load(&self.least), load(&self.greatest))
    }
}

const SIGN: u64 = 1 << 63;

/// Bits that compare as integers as the numbers compare.
fn ordered(value: f64) -> u64 {
    let bits = value.to_bits();
    if bits & SIGN == 0 { bits | SIGN } else { !bits }
}

fn from_ordered(ordered: u64) -> f64 {
    f64::from_bits(if ordered & SIGN == 0 { !ordered } else { ordered & !SIGN })
}
