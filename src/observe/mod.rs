//! What can be learned from events, as they pass or afterwards, on the bus's public face. Nothing here costs a publish
//! anything until it is used, and each part holds a bounded amount of memory whatever is published.
//!
//! In reading order: `metrics` (`metric.update` events folded into counters, gauges, histograms and summaries); `analysis`
//! (rates, errors, durations, and what never ended).

mod analysis;
mod metrics;

pub use analysis::*;
pub use metrics::*;
