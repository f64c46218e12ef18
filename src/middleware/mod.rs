//! Interceptors that many programs want: to be installed with [`EventBus::intercept_publish`](crate::EventBus::intercept_publish)
//! and, for metrics, also with [`EventBus::intercept_handling`](crate::EventBus::intercept_handling).
//!
//! They know the bus by its public face alone, and take its time from it, so that a manual bus drives them. None takes a lock,
//! and each holds a bounded amount of memory whatever strangers publish.
//!
//! In reading order: `stamp` (metadata for every event), `redaction` (secrets out of payloads; `rewrite`: of JSON
//! texts), `rate_limit` (so many events
//! for each source), `deduplication` (each event id once), `metrics` (counts and latencies by type).

mod deduplication;
mod metrics;
mod rate_limit;
mod redaction;
mod rewrite;
mod stamp;

pub use deduplication::{DEDUPLICATED_IDS_MAX, Deduplication, DuplicateEvent};
pub use metrics::{EventMetrics, TypeMetrics};
pub use rate_limit::{RateLimit, RateLimited};
pub use redaction::{InvalidPointer, Redaction};
pub use stamp::MetadataStamp;
