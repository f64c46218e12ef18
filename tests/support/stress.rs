//! What stress tests share: how long they last, and chance that follows from a seed.

#![allow(dead_code, reason = "each test uses a part of it")]
#![allow(clippy::panic, reason = "in a test a panic is the report")]

use std::env;
use std::thread;

/// A number that the environment may set.
fn variable(name: &str) -> Option<u64> {
    let text = env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} is not a number: {text:?}")))
}

/// `CODOMYRMEX_STRESS_SECONDS`: how long each kind of bus is strained; `None`: as long as every test run can bear.
pub(crate) fn seconds() -> Option<u64> {
    variable("CODOMYRMEX_STRESS_SECONDS").map(|seconds| seconds.max(1))
}

/// `CODOMYRMEX_STRESS_SEED`; said when the test fails that holds it.
pub(crate) struct Seed(pub(crate) u64);

impl Seed {
    pub(crate) fn given() -> Self {
        Seed(variable("CODOMYRMEX_STRESS_SEED").unwrap_or(2_026))
    }
}

impl Drop for Seed {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("it was CODOMYRMEX_STRESS_SEED={}", self.0);
        }
    }
}

/// SplitMix64: what is drawn follows from the seed; what threads make of it does not.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mixed(self.0)
    }

    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }
}

pub(crate) fn mixed(number: u64) -> u64 {
    let mixed = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}
