//! So many events for each source, and no more.
//!
//! The token bucket in the form of the generic cell rate algorithm: one number for each source says when its bucket would be
//! full again, and an event moves it on by what a token takes to drip in. So a decision is one compare-and-swap, exact
//! however many threads publish for the source at once.

use crate::dispatch::handler::BoxError;
use crate::dispatch::intercept::{OfferedEvent, PublishInterceptor};
use crate::ids::Source;
use crate::keyed::Keyed;
use crate::sync::{AtomicU64, Ordering};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use thiserror::Error;

/// How many sources have a bucket of their own unless it is said otherwise.
const SOURCES_DEFAULT: usize = 4_096;
const SOURCES_MAX: usize = 1 << 20;

/// The longest period, 73 years, and what a bucket holds at most, twice that: so no sum leaves 64 bits.
const PERIOD_NS_MAX: u128 = 1 << 61;
const AHEAD_NS_MAX: u64 = 1 << 62;

/// Refuses events of a source that publishes too often. Clones share their buckets.
///
/// Each offered event that it lets pass takes a token, whatever becomes of it. Sources beyond the number that have buckets of
/// their own (4,096 unless said otherwise; a source keeps its bucket) share one bucket among them. It serves one bus, whose
/// clock it goes by.
///
/// ```
/// use codomyrmex_events::{Event, EventBus, PublishErrorKind, RateLimit, RateLimited};
/// use std::time::Duration;
///
/// let limit = RateLimit::per_source(2, Duration::from_secs(3600));
/// let bus = EventBus::builder().intercept_publish(limit).build()?;
/// let publish = || bus.publish(Event::builder("sensor.read", "probe").build()?);
/// publish()?;
/// publish()?;
/// let refusal = publish().unwrap_err();
/// let PublishErrorKind::Intercepted(reason) = refusal.kind() else { panic!("{refusal}") };
/// let limited: &RateLimited = reason.downcast_ref().expect("it is the limit's");
/// assert!(limited.retry_after() > Duration::from_secs(1700));
/// # Ok::<(), codomyrmex_events::EventError>(())
/// ```
#[derive(Clone)]
pub struct RateLimit {
    /// What a token takes to drip in; none if none ever does.
    interval_ns: Option<u64>,
    burst: u32,
    /// Of each source, the uptime at which its bucket would be full again.
    full_at_ns: Arc<Keyed<Source, AtomicU64>>,
}

/// A source published more often than its limit allows.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{from} publishes too often: one more may follow in {retry_after:?}")]
#[non_exhaustive]
pub struct RateLimited {
    from: Source,
    retry_after: Duration,
}

impl RateLimited {
    /// Whose limit.
    #[must_use]
    pub fn event_source(&self) -> &Source {
        &self.from
    }

    /// How long until an event of the source may pass, if no other takes its token first; the longest time that there is if
    /// none may ever.
    #[must_use]
    pub fn retry_after(&self) -> Duration {
        self.retry_after
    }
}

impl RateLimit {
    /// At most `events` in each `per` on average, and as many at once. With 0 events nothing passes; within no time at all
    /// everything does. A period is at most 73 years.
    #[must_use]
    pub fn per_source(events: u32, per: Duration) -> Self {
        // Rounded up, so that it is never more than was asked for.
        let period_ns = per.as_nanos().min(PERIOD_NS_MAX);
        let interval = (events != 0).then(|| period_ns.div_ceil(u128::from(events)));
        RateLimit {
            interval_ns: interval.map(|ns| u64::try_from(ns).unwrap_or(u64::MAX)),
            burst: events,
            full_at_ns: Arc::new(Keyed::new(SOURCES_DEFAULT)),
        }
    }

    /// How many may pass at once after a pause: at least 1, at most as many as drip in in 146 years. Default: as many as in each
    /// period.
    #[must_use]
    pub fn burst(mut self, events: u32) -> Self {
        self.burst = events.max(1);
        self
    }

    /// How many sources have a bucket of their own, 1 to 1,048,576; the memory for their places is taken at once. Default:
    /// 4,096.
    #[must_use]
    pub fn sources(mut self, sources: usize) -> Self {
        self.full_at_ns = Arc::new(Keyed::new(sources.min(SOURCES_MAX)));
        self
    }

    /// Takes a token at `now`, or says how long until there is one.
    fn take(&self, full_at_ns: &AtomicU64, now_ns: u64) -> Result<(), Duration> {
        let Some(interval_ns) = self.interval_ns else { return Err(Duration::MAX) };
        let ahead_ns_max = interval_ns.saturating_mul(u64::from(self.burst)).min(AHEAD_NS_MAX);
        // Ordering: Relaxed. The number guards nothing but itself.
        let taken = full_at_ns.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |full_at_ns| {
            let next = full_at_ns.max(now_ns).saturating_add(interval_ns);
            (next - now_ns <= ahead_ns_max).then_some(next)
        });
        taken.map(drop).map_err(|full_at_ns| {
            let next = full_at_ns.max(now_ns).saturating_add(interval_ns);
            Duration::from_nanos((next - now_ns).saturating_sub(ahead_ns_max))
        })
    }
}

impl PublishInterceptor for RateLimit {
    fn before_publish(&self, offered: &mut OfferedEvent<'_>) -> Result<(), BoxError> {
        let now_ns = u64::try_from(offered.uptime().as_nanos()).unwrap_or(u64::MAX);
        let full_at_ns = self.full_at_ns.of(offered.source());
        self.take(full_at_ns, now_ns).map_err(|retry_after| {
            let from = offered.source().clone();
            RateLimited { from, retry_after }.into()
        })
    }
}

impl fmt::Debug for RateLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RateLimit")
            .field("interval_ns", &self.interval_ns)
            .field("burst", &self.burst)
            .finish_non_exhaustive()
    }
}
