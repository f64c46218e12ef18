//! What can be learned from events as they pass, on the bus's public face. Nothing here costs a publish anything until it
//! is used, and each part holds a bounded amount of memory whatever is published.
//!
//! In reading order: `metrics` (`metric.update` events folded into counters, gauges, histograms and summaries).

mod metrics;

pub use metrics::*;
