//! What is told of metrics.

use super::update::MetricRejection;
use crate::event::MetricType;
use serde::Serialize;
use std::collections::BTreeMap;

/// What a [`MetricAggregator`](super::MetricAggregator) had folded when it was asked. Serialises to JSON without loss: every
/// number in it is finite.
///
/// Of all updates that were handled, each is in one of three: `updates` of a series, `overflowed`, or `rejected`.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[non_exhaustive]
pub struct MetricSnapshot {
    /// The metrics, in order of their names.
    pub families: Vec<MetricFamily>,
    /// Updates that found no room for their series.
    pub overflowed: u64,
    /// Updates refused, by reason; every reason but the above is there.
    pub rejected: BTreeMap<MetricRejection, u64>,
}

/// One name's series.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct MetricFamily {
    /// As events have it.
    pub name: String,
    /// What all its series are.
    pub metric_type: MetricType,
    /// The series, in order of their labels.
    pub series: Vec<MetricSeries>,
}

/// What stands under one name and one set of labels.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct MetricSeries {
    /// The labels' values by their names, as events have them.
    pub labels: BTreeMap<String, String>,
    /// What it stands at.
    #[serde(rename = "value")]
    pub reading: MetricReading,
    /// How many updates were folded.
    pub updates: u64,
    /// Smaller for those that were there before.
    #[serde(skip)]
    #[cfg_attr(not(feature = "prometheus"), allow(dead_code, reason = "a scrape goes by it"))]
    pub(super) arrival: u64,
}

/// What a series stands at. In JSON a number, or an object of what is in the variant.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
#[non_exhaustive]
pub enum MetricReading {
    /// The sum of all increments. Whole ones add up exactly to 2^53.
    Counter(f64),
    /// The value handled last.
    Gauge(f64),
    /// How its values are distributed over buckets.
    Histogram(HistogramReading),
    /// The quantiles of its values.
    Summary(SummaryReading),
}

/// A distribution over buckets.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[non_exhaustive]
pub struct HistogramReading {
    /// By upper bound, cumulative, as in Prometheus. The bucket without a bound is `count`.
    pub buckets: Vec<HistogramBucket>,
    /// How many values there were.
    pub count: u64,
    /// Their sum.
    pub sum: f64,
}

/// The values up to a bound.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct HistogramBucket {
    /// The bound, which belongs to it.
    pub le: f64,
    /// How many values there were up to it, those of lower buckets among them.
    pub count: u64,
}

/// Quantiles since the series began, not of the latest values: those that Prometheus works out of a histogram over time tell
/// more. They are within 6.25 % of a value that was there, for magnitudes from 2^-32 to 2^64; smaller ones are told as 0,
/// larger ones as the extreme.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
#[non_exhaustive]
pub struct SummaryReading {
    /// How many values there were.
    pub count: u64,
    /// Their sum.
    pub sum: f64,
    /// The least, exact.
    pub min: f64,
    /// The greatest, exact.
    pub max: f64,
    /// Half of them were no greater.
    pub p50: f64,
    /// 9 of 10 were no greater.
    pub p90: f64,
    /// 99 of 100 were no greater.
    pub p99: f64,
}

impl MetricSnapshot {
    /// What the series of this name with exactly these labels stands at.
    #[must_use]
    pub fn reading(&self, name: &str, labels: &[(&str, &str)]) -> Option<&MetricReading> {
        let has = |series: &MetricSeries, (label, value): &(&str, &str)| {
            series.labels.get(*label).is_some_and(|own| own == value)
        };
        let mut series = self.family(name)?.series.iter();
        let is_it = |series: &&MetricSeries| {
            series.labels.len() == labels.len() && labels.iter().all(|label| has(series, label))
        };
        series.find(is_it).map(|series| &series.reading)
    }

    /// The series of this name.
    #[must_use]
    pub fn family(&self, name: &str) -> Option<&MetricFamily> {
        let at = self.families.binary_search_by(|family| family.name.as_str().cmp(name)).ok()?;
        Some(&self.families[at])
    }

    /// How many updates are in its series.
    #[must_use]
    pub fn updates(&self) -> u64 {
        self.families.iter().flat_map(|family| &family.series).map(|series| series.updates).sum()
    }
}
