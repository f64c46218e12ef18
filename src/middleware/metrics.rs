//! Counts and latencies of events, by type.

use crate::dispatch::attempt::{Attempt, AttemptOutcome, HandlingInterceptor};
use crate::dispatch::intercept::{PublishEnding, PublishInterceptor, PublishOutcome};
use crate::dispatch::latency::{Histogram, LatencyStats};
use crate::event::EventType;
use crate::keyed::Keyed;
use crate::sync::{AtomicU64, Ordering};
use once_cell::race::OnceBox;
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// How many types are told apart.
const TYPES_MAX: usize = 1_024;

/// Counts what is published and how it is handled, by event type. Clones share their counts.
///
/// Installed around publishing it counts how publishes end, around handling how attempts do and how long they take; around
/// both it does both. The first 1,024 types that it meets are told apart, the others counted together. A type takes about
/// 200 bytes, and 5 KiB once it is handled.
///
/// ```
/// use codomyrmex_events::{Event, EventBus, EventMetrics};
///
/// let metrics = EventMetrics::new();
/// let bus = EventBus::new();
/// bus.intercept_publish(metrics.clone());
/// bus.intercept_handling(metrics.clone());
/// bus.subscribe("*").handler(|_| ())?;
/// bus.publish(Event::builder("order.placed", "shop").build()?)?;
/// let orders = &metrics.by_type()["order.placed"];
/// assert_eq!((orders.accepted, orders.succeeded, orders.handling.count), (1, 1, 1));
/// # Ok::<(), codomyrmex_events::EventError>(())
/// ```
#[derive(Clone)]
pub struct EventMetrics {
    types: Arc<Keyed<EventType, Counts>>,
}

#[derive(Default)]
struct Counts {
    accepted: AtomicU64,
    refused: AtomicU64,
    withdrawn: AtomicU64,
    succeeded: AtomicU64,
    failed: AtomicU64,
    handling: OnceBox<Histogram>,
}

/// What was counted of one type, or of those that are not told apart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct TypeMetrics {
    /// Events accepted.
    pub accepted: u64,
    /// Events refused, by an interceptor installed later, by the bus or by their schema.
    pub refused: u64,
    /// Events whose publisher went away before they were accepted.
    pub withdrawn: u64,
    /// Attempts of handlers that succeeded.
    pub succeeded: u64,
    /// Attempts of handlers that failed.
    pub failed: u64,
    /// How long attempts of handlers took, those that failed or were cancelled among them.
    pub handling: LatencyStats,
}

impl Default for EventMetrics {
    fn default() -> Self {
        EventMetrics::new()
    }
}

impl EventMetrics {
    /// With all counts at 0.
    #[must_use]
    pub fn new() -> Self {
        EventMetrics { types: Arc::new(Keyed::new(TYPES_MAX)) }
    }

    /// What was counted, by the types' names.
    #[must_use]
    pub fn by_type(&self) -> BTreeMap<String, TypeMetrics> {
        self.types
            .iter()
            .map(|(event_type, counts)| (event_type.as_str().to_owned(), counts.read()))
            .collect()
    }

    /// What was counted of all types that are not told apart.
    #[must_use]
    pub fn of_others(&self) -> TypeMetrics {
        self.types.others().read()
    }
}

impl Counts {
    fn read(&self) -> TypeMetrics {
        let load = |count: &AtomicU64| count.load(Ordering::Relaxed);
        TypeMetrics {
            accepted: load(&self.accepted),
            refused: load(&self.refused),
            withdrawn: load(&self.withdrawn),
            succeeded: load(&self.succeeded),
            failed: load(&self.failed),
            handling: self.handling.get().map(Histogram::stats).unwrap_or_default(),
        }
    }
}

fn count(count: &AtomicU64) {
    count.fetch_add(1, Ordering::Relaxed);
}

impl PublishInterceptor for EventMetrics {
    fn after_publish(&self, outcome: &PublishOutcome<'_>) {
        let counts = self.types.of(outcome.event().event_type());
        count(match outcome.ending() {
            PublishEnding::Accepted { .. } => &counts.accepted,
            PublishEnding::Refused(_) => &counts.refused,
            PublishEnding::Withdrawn => &counts.withdrawn,
        });
    }
}

impl HandlingInterceptor for EventMetrics {
    fn after_handling(&self, attempt: &Attempt<'_>, outcome: &AttemptOutcome<'_>, took: Duration) {
        let counts = self.types.of(attempt.event_type());
        match outcome {
            AttemptOutcome::Succeeded => count(&counts.succeeded),
            AttemptOutcome::Failed(_) => count(&counts.failed),
            AttemptOutcome::Cancelled => {}
            AttemptOutcome::Skipped => return,
        }
        counts.handling.get_or_init(Box::default).add(took);
    }
}

impl fmt::Debug for EventMetrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventMetrics").field("types", &self.types.iter().count()).finish_non_exhaustive()
    }
}
