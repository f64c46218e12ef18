//! Which series there are, and what was refused.
//!
//! Families stand in a table of their own: a name's type is decided once, by whoever brings it in, and looked up only when a
//! series is new. Once there is no room for a series no name comes in either, so that made-up names cannot fill that table.

use super::cell::Cell;
use super::settings::Buckets;
use super::snapshot::{MetricFamily, MetricSeries, MetricSnapshot};
use super::update::{Key, MetricRejection, Update};
use crate::event::{MetricType, Payload};
use crate::keyed::Table;
use crate::sync::{AtomicU64, Ordering};
use smol_str::SmolStr;
use std::collections::BTreeMap;
use std::hash::BuildHasher;

pub(super) struct Series {
    families: Table<SmolStr, MetricType>,
    cells: Table<Key, Arrived>,
    arrivals: AtomicU64,
    buckets: Buckets,
    rejected: [AtomicU64; MetricRejection::ALL.len()],
}

/// A series' cell, with a number that says which was there before which.
struct Arrived {
    cell: Cell,
    arrival: u64,
}

impl Series {
    pub(super) fn new(series_max: usize, buckets: Buckets) -> Self {
        Series {
            families: Table::new(series_max),
            cells: Table::new(series_max),
            arrivals: AtomicU64::new(0),
            buckets,
            rejected: Default::default(),
        }
    }

    pub(super) fn add(&self, payload: &Payload) -> Result<(), MetricRejection> {
        let outcome = Update::read(payload, self.cells.hasher()).and_then(|update| self.fold(&update));
        if let Err(reason) = outcome {
            self.rejected[reason as usize].fetch_add(1, Ordering::Relaxed);
        }
        outcome
    }

    fn fold(&self, update: &Update<'_>) -> Result<(), MetricRejection> {
        let arrived = match self.cells.find(update.hash, |key| update.is_of(key)) {
            Some(known) => known,
            None => self.newcomer(update)?,
        };
        arrived.cell.add(update.metric_type, update.value)
    }

    #[cold]
    fn newcomer(&self, update: &Update<'_>) -> Result<&Arrived, MetricRejection> {
        let metric_type = self.type_of(update).ok_or(MetricRejection::NoRoom)?;
        if metric_type != update.metric_type {
            return Err(MetricRejection::OtherType);
        }
        let make = || {
            let arrival = self.arrivals.fetch_add(1, Ordering::Relaxed);
            let cell = Cell::new(metric_type, self.buckets.of(update.name));
            (update.key(), Arrived { cell, arrival })
        };
        self.cells.find_or_add(update.hash, |key| update.is_of(key), make).ok_or(MetricRejection::NoRoom)
    }

    /// The type of the update's name, which it decides if it is the first. None if there is no room.
    fn type_of(&self, update: &Update<'_>) -> Option<MetricType> {
        let hash = self.families.hasher().hash_one(update.name);
        let is_it = |name: &SmolStr| name == update.name;
        let known = if self.cells.is_full() {
            self.families.find(hash, is_it)
        } else {
            self.families.find_or_add(hash, is_it, || (update.name.into(), update.metric_type))
        };
        known.copied()
    }

    pub(super) fn snapshot(&self) -> MetricSnapshot {
        let mut families: BTreeMap<&str, MetricFamily> = BTreeMap::new();
        for (key, arrived) in self.cells.iter() {
            // What was made this moment and has no value yet.
            let Some((reading, updates)) = arrived.cell.read() else { continue };
            let labels = key.labels.iter().map(|(label, value)| (label.to_string(), value.to_string()));
            let series =
                MetricSeries { labels: labels.collect(), reading, updates, arrival: arrived.arrival };
            let family = families.entry(&key.name).or_insert_with(|| MetricFamily {
                name: key.name.to_string(),
                metric_type: arrived.cell.metric_type(),
                series: Vec::new(),
            });
            family.series.push(series);
        }
        let mut families: Vec<MetricFamily> = families.into_values().collect();
        for family in &mut families {
            family.series.sort_unstable_by(|one, other| one.labels.cmp(&other.labels));
        }
        let count = |reason: MetricRejection| self.rejected[reason as usize].load(Ordering::Relaxed);
        let rejections = MetricRejection::ALL.into_iter().filter(|reason| *reason != MetricRejection::NoRoom);
        MetricSnapshot {
            families,
            overflowed: count(MetricRejection::NoRoom),
            rejected: rejections.map(|reason| (reason, count(reason))).collect(),
        }
    }
}
