//! What events tell about the system that publishes them.
//!
//! In reading order: `analysis` (rates, errors, durations, and what never ended).

mod analysis;

pub use analysis::*;
