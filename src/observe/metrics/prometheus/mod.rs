//! Folded metrics for a scrape, by `prometheus-client`.
//!
//! Prometheus' names know letters, digits and underscores, the names of events anything. What it does not know becomes
//! an underscore; of two names that become the same, the one that was there first keeps it, and later ones are numbered. So a
//! series that has been scraped keeps its name while others come; only if two such names come in at the same moment, the
//! first scrapes may know one of them alone.
//!
//! In `names`: which names there are.

mod names;

use super::{HistogramReading, MetricAggregator, MetricFamily, MetricReading, MetricSeries, SummaryReading};
use crate::event::MetricType;
use names::{Names, label_name, metric_name, suffixes};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType as Encoded;
use std::collections::HashMap;
use std::fmt;

/// Of a registered clone everything is told that was folded:
///
/// ```
/// use codomyrmex_events::{EventBus, MetricAggregator};
/// use prometheus_client::{encoding::text, registry::Registry};
///
/// let bus = EventBus::new();
/// let metrics = MetricAggregator::attach(&bus)?;
/// let mut registry = Registry::default();
/// registry.sub_registry_with_prefix("app").register_collector(Box::new(metrics));
///
/// let mut scraped = String::new();
/// text::encode(&mut scraped, &registry)?;
/// assert!(scraped.ends_with("# EOF\n"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// Characters that Prometheus' names do not have become `_`; of two names, or two labels of a family, that become the same, the
/// one that came later is numbered: `a_b`, `a_b_2`. A counter's `_total` is not said twice. A summary is
/// told as the samples that Prometheus' summaries have, each of type gauge, as `prometheus-client` has no other type for them:
/// `x{quantile="0.5"}`, `x_sum` and `x_count`. A histogram's `_sum` is negative if its values are, which Prometheus reads and
/// OpenMetrics does not allow. What was not folded is in `metric_updates_overflowed_total` and
/// `metric_updates_rejected_total`, the latter by `reason`.
impl Collector for MetricAggregator {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let snapshot = self.snapshot();
        let mut names = Names::default();
        let overflowed = names.give(OVERFLOWED.to_owned(), suffixes(MetricType::Counter));
        let help = "Updates that found no room for their series.";
        let mut family = encoder.encode_descriptor(&overflowed, help, None, Encoded::Counter)?;
        family.encode_counter::<NoLabelSet, _, u64>(&snapshot.overflowed, None)?;
        let rejected = names.give(REJECTED.to_owned(), suffixes(MetricType::Counter));
        let mut family = encoder.encode_descriptor(&rejected, "Updates refused.", None, Encoded::Counter)?;
        for (reason, count) in &snapshot.rejected {
            let labels = [("reason", reason.as_str())];
            family.encode_family(&labels)?.encode_counter::<NoLabelSet, _, u64>(count, None)?;
        }

        let mut families = snapshot.families;
        for family in &mut families {
            family.series.sort_unstable_by_key(|series| series.arrival);
        }
        families.sort_by_key(|family| family.series.first().map(|series| series.arrival));
        for family in &families {
            let wanted = metric_name(&family.name, family.metric_type);
            encode_family(&mut encoder, family, &names.give(wanted, suffixes(family.metric_type)))?;
        }
        Ok(())
    }
}

const OVERFLOWED: &str = "metric_updates_overflowed";
const REJECTED: &str = "metric_updates_rejected";

/// A series, and its labels as they are told.
type Told<'a> = (&'a MetricSeries, Vec<(String, &'a str)>);

/// Which quantile a value is, if it is one, and where it stands.
type Sample = (Option<&'static str>, fn(&SummaryReading) -> f64);

/// A summary's samples, by the end of their name.
const SUMMARY: [(&str, &[Sample]); 3] = [
    (
        "",
        &[
            (Some("0.5"), |summary| summary.p50),
            (Some("0.9"), |summary| summary.p90),
            (Some("0.99"), |summary| summary.p99),
        ],
    ),
    ("_sum", &[(None, |summary| summary.sum)]),
    ("_count", &[(None, |summary| summary.count as f64)]),
];

fn encode_family(encoder: &mut DescriptorEncoder<'_>, family: &MetricFamily, name: &str) -> fmt::Result {
    let told = with_labels(family);
    let help = help(&family.name);
    if family.metric_type == MetricType::Summary {
        for (suffix, samples) in SUMMARY {
            encode_summaries(encoder, &format!("{name}{suffix}"), &help, &told, samples)?;
        }
        return Ok(());
    }
    let encoded = match family.metric_type {
        MetricType::Counter => Encoded::Counter,
        MetricType::Histogram => Encoded::Histogram,
        MetricType::Gauge | MetricType::Summary => Encoded::Gauge,
    };
    let mut metric = encoder.encode_descriptor(name, &help, None, encoded)?;
    for (series, labels) in &told {
        let mut metric = metric.encode_family(labels)?;
        match &series.reading {
            MetricReading::Counter(total) => metric.encode_counter::<NoLabelSet, _, u64>(total, None)?,
            MetricReading::Gauge(value) => metric.encode_gauge(value)?,
            MetricReading::Histogram(told) => {
                metric.encode_histogram::<NoLabelSet>(told.sum, told.count, &by_bucket(told), None)?;
            }
            MetricReading::Summary(_) => {}
        }
    }
    Ok(())
}

fn encode_summaries(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    told: &[Told<'_>],
    samples: &[Sample],
) -> fmt::Result {
    let mut gauges = encoder.encode_descriptor(name, help, None, Encoded::Gauge)?;
    for (series, labels) in told {
        let MetricReading::Summary(summary) = &series.reading else { continue };
        for (quantile, value) in samples {
            let mut labels = labels.clone();
            labels.extend(quantile.map(|quantile| ("quantile".to_owned(), quantile)));
            gauges.encode_family(&labels)?.encode_gauge(&value(summary))?;
        }
    }
    Ok(())
}

/// Not cumulative, as it is wanted here, with the bucket that has no bound.
fn by_bucket(told: &HistogramReading) -> Vec<(f64, u64)> {
    let mut lower = 0;
    let cumulative = told.buckets.iter().map(|bucket| (bucket.le, bucket.count));
    cumulative
        .chain([(f64::INFINITY, told.count)])
        .map(|(le, count)| (le, count - std::mem::replace(&mut lower, count)))
        .collect()
}

/// A label has one name in all series of its family, so no two series become the same.
fn with_labels(family: &MetricFamily) -> Vec<Told<'_>> {
    let mut names = Names::default();
    match family.metric_type {
        MetricType::Histogram => names.take("le"),
        MetricType::Summary => names.take("quantile"),
        MetricType::Counter | MetricType::Gauge => {}
    }
    let mut given: HashMap<&str, String> = HashMap::new();
    let mut told = Vec::with_capacity(family.series.len());
    for series in &family.series {
        let mut labels = Vec::with_capacity(series.labels.len());
        for (label, value) in &series.labels {
            let name = given.entry(label).or_insert_with(|| names.give(label_name(label), &[""]));
            labels.push((name.clone(), value.as_str()));
        }
        told.push((series, labels));
    }
    told
}

/// What is said of a family: its name in events, escaped as the format wants it.
fn help(name: &str) -> String {
    let name = name.replace('\\', "\\\\").replace('"', "\\\"");
    format!("Folded from events of the metric {name}")
}
