//! What is chosen before metrics are folded.

use super::MetricAggregator;
use super::series::Series;
use crate::bus::{EventBus, IntoPatterns};
use crate::error::EventSubscriptionError;
use crate::event::EventType;
use std::collections::HashMap;
use std::sync::Arc;
use thiserror::Error;

/// How many series an aggregator can be told to hold.
pub const METRIC_SERIES_MAX: usize = 1 << 20;

const SERIES_DEFAULT: usize = 10_000;

/// Those of Prometheus' own clients, made for latencies in seconds.
const BUCKETS_DEFAULT: [f64; 11] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

const BUCKETS_MAX: usize = 256;

/// Settings of a [`MetricAggregator`]. Made by [`MetricAggregator::builder`].
#[derive(Clone, Debug)]
pub struct MetricAggregatorBuilder {
    series_max: usize,
    buckets: Buckets,
}

/// The upper bounds of histograms: finite, each greater than the one before.
#[derive(Clone, Debug)]
pub(super) struct Buckets {
    of_all: Arc<[f64]>,
    by_name: HashMap<String, Arc<[f64]>>,
}

/// Bounds that no histogram can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the bounds of a histogram are up to 256 finite numbers, each greater than the one before")]
#[non_exhaustive]
pub struct InvalidBuckets;

impl Default for MetricAggregatorBuilder {
    fn default() -> Self {
        let buckets = Buckets { of_all: BUCKETS_DEFAULT.into(), by_name: HashMap::new() };
        MetricAggregatorBuilder { series_max: SERIES_DEFAULT, buckets }
    }
}

impl MetricAggregatorBuilder {
    /// How many series there may be, of all names together: 10,000 unless set; at least 1, at most 1,048,576.
    #[must_use]
    pub fn series_max(mut self, series: usize) -> Self {
        self.series_max = series.clamp(1, METRIC_SERIES_MAX);
        self
    }

    /// The upper bounds of all histograms, which belong to their buckets; beyond the last is a bucket without a bound.
    /// Unless set, those of Prometheus' clients: 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5 and 10.
    ///
    /// # Errors
    /// Bounds that are not finite or do not ascend, or over 256 of them.
    pub fn buckets(mut self, bounds: impl IntoIterator<Item = f64>) -> Result<Self, InvalidBuckets> {
        self.buckets.of_all = checked(bounds)?;
        Ok(self)
    }

    /// The upper bounds of the histograms of one name.
    ///
    /// # Errors
    /// As [`buckets`](Self::buckets).
    pub fn buckets_of(
        mut self,
        metric_name: impl Into<String>,
        bounds: impl IntoIterator<Item = f64>,
    ) -> Result<Self, InvalidBuckets> {
        self.buckets.by_name.insert(metric_name.into(), checked(bounds)?);
        Ok(self)
    }

    /// As [`MetricAggregator::attach`].
    ///
    /// # Errors
    /// As [`SubscriptionBuilder::handler`](crate::SubscriptionBuilder::handler).
    pub fn attach(self, bus: &EventBus) -> Result<MetricAggregator, EventSubscriptionError> {
        self.attach_to(bus, EventType::MetricUpdate)
    }

    /// The same for events that match `patterns`, whose payloads have the shape of `metric.update`.
    ///
    /// # Errors
    /// As [`SubscriptionBuilder::handler`](crate::SubscriptionBuilder::handler).
    pub fn attach_to(
        self,
        bus: &EventBus,
        patterns: impl IntoPatterns,
    ) -> Result<MetricAggregator, EventSubscriptionError> {
        let mut aggregator = self.build();
        let series = Arc::clone(&aggregator.series);
        let subscription = bus.subscribe(patterns).handler(move |delivery| {
            // It has been counted; an event that is no metric is no reason to try again.
            let _ = series.add(delivery.data());
        })?;
        aggregator.subscription = Some(Arc::new(subscription.scoped()));
        Ok(aggregator)
    }

    /// As [`MetricAggregator::new`].
    #[must_use]
    pub fn build(self) -> MetricAggregator {
        MetricAggregator { series: Arc::new(Series::new(self.series_max, self.buckets)), subscription: None }
    }
}

impl Buckets {
    pub(super) fn of(&self, metric_name: &str) -> &Arc<[f64]> {
        self.by_name.get(metric_name).unwrap_or(&self.of_all)
    }
}

fn checked(bounds: impl IntoIterator<Item = f64>) -> Result<Arc<[f64]>, InvalidBuckets> {
    let bounds: Vec<f64> = bounds.into_iter().take(BUCKETS_MAX + 1).collect();
    let fit = bounds.len() <= BUCKETS_MAX
        && bounds.iter().all(|bound| bound.is_finite())
        && bounds.is_sorted_by(|lower, upper| lower < upper);
    if fit { Ok(bounds.into()) } else { Err(InvalidBuckets) }
}
