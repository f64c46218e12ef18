//! What an update does to its series.

use super::float::Number;
use super::sketch::Sketch;
use super::snapshot::{HistogramBucket, HistogramReading, MetricReading};
use super::update::MetricRejection;
use crate::event::MetricType;
use crate::sync::{AtomicU64, Ordering};
use std::sync::Arc;

pub(super) enum Cell {
    Counter(Level),
    Gauge(Level),
    Histogram(Histogram),
    Summary(Box<Sketch>),
}

/// One number, and how often it was told.
#[derive(Default)]
pub(super) struct Level {
    value: Number,
    updates: AtomicU64,
}

pub(super) struct Histogram {
    bounds: Arc<[f64]>,
    /// By bound, and one more without. Not cumulative: so an update changes one.
    counts: Box<[AtomicU64]>,
    sum: Number,
}

impl Cell {
    pub(super) fn new(metric_type: MetricType, bounds: &Arc<[f64]>) -> Self {
        match metric_type {
            MetricType::Gauge => Cell::Gauge(Level::default()),
            MetricType::Counter => Cell::Counter(Level::default()),
            MetricType::Histogram => Cell::Histogram(Histogram::new(Arc::clone(bounds))),
            MetricType::Summary => Cell::Summary(Box::default()),
        }
    }

    pub(super) fn metric_type(&self) -> MetricType {
        match self {
            Cell::Gauge(_) => MetricType::Gauge,
            Cell::Counter(_) => MetricType::Counter,
            Cell::Histogram(_) => MetricType::Histogram,
            Cell::Summary(_) => MetricType::Summary,
        }
    }

    pub(super) fn add(&self, metric_type: MetricType, value: f64) -> Result<(), MetricRejection> {
        let is_finite = match (self, metric_type) {
            (Cell::Counter(level), MetricType::Counter) => level.add(value),
            (Cell::Gauge(level), MetricType::Gauge) => level.set(value),
            (Cell::Histogram(histogram), MetricType::Histogram) => histogram.add(value),
            (Cell::Summary(sketch), MetricType::Summary) => sketch.add(value),
            _ => return Err(MetricRejection::OtherType),
        };
        if is_finite { Ok(()) } else { Err(MetricRejection::Sum) }
    }

    /// What it stands at after how many updates; none before the first.
    pub(super) fn read(&self) -> Option<(MetricReading, u64)> {
        let (reading, updates) = match self {
            Cell::Counter(level) => {
                let (value, updates) = level.read();
                (MetricReading::Counter(value), updates)
            }
            Cell::Gauge(level) => {
                let (value, updates) = level.read();
                (MetricReading::Gauge(value), updates)
            }
            Cell::Histogram(histogram) => {
                let reading = histogram.read();
                let count = reading.count;
                (MetricReading::Histogram(reading), count)
            }
            Cell::Summary(sketch) => {
                let reading = sketch.read();
                let count = reading.count;
                (MetricReading::Summary(reading), count)
            }
        };
        (updates > 0).then_some((reading, updates))
    }
}

// Ordering: counts are raised last, with Release, and read first, with Acquire; so whoever sees an update counted also
// sees it in the value, the sum and the extremes.
impl Level {
    fn add(&self, value: f64) -> bool {
        let is_finite = self.value.add(value);
        if is_finite {
            self.updates.fetch_add(1, Ordering::Release);
        }
        is_finite
    }

    fn set(&self, value: f64) -> bool {
        self.value.set(value);
        self.updates.fetch_add(1, Ordering::Release);
        true
    }

    fn read(&self) -> (f64, u64) {
        let updates = self.updates.load(Ordering::Acquire);
        (self.value.get(), updates)
    }
}

impl Histogram {
    fn new(bounds: Arc<[f64]>) -> Self {
        let counts = bounds.iter().map(|_| AtomicU64::new(0)).chain([AtomicU64::new(0)]).collect();
        Histogram { bounds, counts, sum: Number::default() }
    }

    fn add(&self, value: f64) -> bool {
        let is_finite = self.sum.add(value);
        if is_finite {
            let bucket = self.bounds.partition_point(|bound| *bound < value);
            self.counts[bucket].fetch_add(1, Ordering::Release);
        }
        is_finite
    }

    fn read(&self) -> HistogramReading {
        let mut count = 0;
        let mut buckets = Vec::with_capacity(self.bounds.len());
        for (bucket, counted) in self.counts.iter().enumerate() {
            count += counted.load(Ordering::Acquire);
            buckets.extend(self.bounds.get(bucket).map(|&le| HistogramBucket { le, count }));
        }
        HistogramReading { buckets, count, sum: self.sum.get() }
    }
}
