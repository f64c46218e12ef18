//! What can be learned from events, as they pass or afterwards, on the bus's public face. Nothing here costs a publish
//! anything until it is used, and each part holds a bounded amount of memory whatever is published.
//!
//! In reading order: `metrics` (`metric.update` events folded into counters, gauges, histograms and summaries); `projection`
//! (states that events keep up to date); `alarms` (handlers that are slow or keep failing); `analysis` (rates, errors, durations,
//! and what never ended).

mod alarms;
mod analysis;
mod metrics;
mod projection;

pub use alarms::{AttachedAlarms, HandlerAlarms};
pub use analysis::*;
pub use metrics::*;
pub use projection::{ByKey, EventCount, Folded, PROJECTION_KEYS_MAX, Projected, Projection, ProjectionSeed};
