//! [`MetricAggregator`]: the `metric.update` events of a bus, folded by name and labels.
//!
//! It runs on the threads that deliver, so it is made of atomics: a table of series that never forgets a key, and cells that
//! any thread may add to. A series that is known is found without a lock or an allocation, whatever the order of its
//! labels. Readers look at the cells while they change, and stop nobody. Strangers make up names and labels, so everything
//! is bounded, and each update is in a series, refused for a reason, or counted as having found no room.
//!
//! In reading order: here, attaching and asking; `settings`: what is chosen before; `update`: what a payload says; `series`:
//! which series there are; `cell`: what an update does to its series; `sketch`: quantiles; `float`: numbers that threads
//! share; `snapshot`: what is told; `prometheus`: the same for a scrape.

mod cell;
mod float;
#[cfg(feature = "prometheus")]
mod prometheus;
mod series;
mod settings;
mod sketch;
mod snapshot;
mod update;

pub use settings::{InvalidBuckets, METRIC_SERIES_MAX, MetricAggregatorBuilder};
pub use snapshot::{
    HistogramBucket, HistogramReading, MetricFamily, MetricReading, MetricSeries, MetricSnapshot,
    SummaryReading,
};
pub use update::{METRIC_LABELS_MAX, METRIC_TEXT_BYTES_MAX, MetricRejection};

use crate::bus::{EventBus, ScopedSubscription};
use crate::error::EventSubscriptionError;
use crate::event::Event;
use series::Series;
use std::fmt;
use std::sync::Arc;

/// Folds metrics out of events: a series for each name with its labels. Clones share what was folded.
///
/// The payload is that of `metric.update`, as [`create_metric_event`](crate::create_metric_event) and the standard schema have it:
///
/// | field | is |
/// |---|---|
/// | `metric_name` | a text of 1 to 256 bytes without control characters |
/// | `metric_value` | a finite number; or `true` (1), `false` (0), or a text that is a number, such as `"1.5e3"` |
/// | `metric_type` | `counter`, `gauge`, `histogram` or `summary`; absent, as in the Python module, `gauge` |
/// | `labels` | an object, or absent. Their order does not matter. Numbers and booleans count as the texts they are written as; null and `""` as no label, as in Prometheus' data model |
///
/// Its other fields are ignored, `timestamp` too: what is told is what was handled by now.
///
/// - A **counter** is the sum of its values: an event is an increment, as in the Python module's own aggregator and in StatsD,
///   so that several sources can count together. A negative one is refused.
/// - A **gauge** is the value handled last. Where handlers of the same series run at once, one of them is last.
/// - A **histogram** counts its values by [upper bounds](MetricAggregatorBuilder::buckets), a **summary** estimates
///   their [quantiles](SummaryReading).
///
/// The first type that a name comes with is its type; updates that say another are refused. There are 10,000
/// series [unless set](MetricAggregatorBuilder::series_max), of 32 labels at most; updates of further ones are counted as
/// overflowed, and those of series that are known go on. A series takes 100 to 300 bytes beside its texts, a summary 1 to
/// 13 KiB by how far its values spread, and nobody can make one that takes 18 KiB; the empty table takes half a MiB. No lock is taken, and for a known series nothing is
/// allocated but what the payload needs to be read.
///
/// ```
/// use codomyrmex_events::{EventBus, MetricAggregator, MetricReading, MetricType, create_metric_event};
///
/// let bus = EventBus::new();
/// let metrics = MetricAggregator::attach(&bus)?;
/// let labels = serde_json::json!({"method": "GET"}).as_object().cloned();
/// bus.publish(create_metric_event("requests", 2, MetricType::Counter, labels.clone())?)?;
/// bus.publish(create_metric_event("requests", 1, MetricType::Counter, labels)?)?;
///
/// let snapshot = metrics.snapshot();
/// assert_eq!(snapshot.reading("requests", &[("method", "GET")]), Some(&MetricReading::Counter(3.0)));
/// println!("{}", serde_json::to_string_pretty(&snapshot)?);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct MetricAggregator {
    series: Arc<Series>,
    /// It ends with the last clone.
    subscription: Option<Arc<ScopedSubscription>>,
}

impl MetricAggregator {
    /// Folds each `metric.update` of the bus, until the last clone is dropped. It does not keep the bus alive. An update that
    /// is refused is counted, and its delivery succeeds.
    ///
    /// # Errors
    /// As [`SubscriptionBuilder::handler`](crate::SubscriptionBuilder::handler).
    pub fn attach(bus: &EventBus) -> Result<Self, EventSubscriptionError> {
        MetricAggregator::builder().attach(bus)
    }

    /// Without a bus: it folds what it is [handed](Self::add).
    #[must_use]
    pub fn new() -> Self {
        MetricAggregator::builder().build()
    }

    /// With settings of one's own.
    #[must_use]
    pub fn builder() -> MetricAggregatorBuilder {
        MetricAggregatorBuilder::default()
    }

    /// Folds one event, whatever its type: the payload counts.
    ///
    /// # Errors
    /// Why it was refused; it has been counted as that.
    pub fn add(&self, event: &Event) -> Result<(), MetricRejection> {
        self.series.add(event.data())
    }

    /// What was folded by now, in order of names and labels. Updates go on meanwhile: each cell is read at its own moment, and of
    /// a histogram or summary the sum may include values that are not counted yet.
    #[must_use]
    pub fn snapshot(&self) -> MetricSnapshot {
        self.series.snapshot()
    }
}

impl Default for MetricAggregator {
    fn default() -> Self {
        MetricAggregator::new()
    }
}

impl fmt::Debug for MetricAggregator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_attached = self.subscription.is_some();
        f.debug_struct("MetricAggregator").field("is_attached", &is_attached).finish_non_exhaustive()
    }
}
