//! Counts and times by type.

use super::records::Records;
use crate::sync::{AtomicU64, Ordering};
use serde::Serialize;
use std::collections::BTreeMap;

#[derive(Default)]
pub(super) struct TypeCounts {
    events: AtomicU64,
    errors: AtomicU64,
    attempts: AtomicU64,
    took_ns: AtomicU64,
    longest_ns: AtomicU64,
}

impl TypeCounts {
    pub(super) fn published(&self, is_error: bool) {
        self.events.fetch_add(1, Ordering::Relaxed);
        self.errors.fetch_add(u64::from(is_error), Ordering::Relaxed);
    }

    pub(super) fn failed(&self) {
        self.errors.fetch_add(1, Ordering::Relaxed);
    }

    /// `in_all_ns`: by now all handlers of the event together.
    pub(super) fn took(&self, took_ns: u64, in_all_ns: u64) {
        self.attempts.fetch_add(1, Ordering::Relaxed);
        self.took_ns.fetch_add(took_ns, Ordering::Relaxed);
        self.longest_ns.fetch_max(in_all_ns, Ordering::Relaxed);
    }

    fn read(&self) -> TypeLogStats {
        let load = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let (count, took_ns) = (load(&self.events), load(&self.took_ns));
        TypeLogStats {
            count,
            errors: load(&self.errors),
            attempts: load(&self.attempts),
            total_ns: took_ns,
            average_ns: took_ns.checked_div(count).unwrap_or(0),
            maximum_ns: load(&self.longest_ns),
        }
    }
}

/// What was logged since the logger was attached or cleared.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct EventLogStats {
    /// Events.
    pub total_events: u64,
    /// Events that are [errors](super::EventLogEntry::is_error).
    pub error_count: u64,
    /// Events whose entries made room for newer ones.
    pub overwritten: u64,
    /// Attempts that ended when their event's entry had made room; they count for the type.
    pub late_attempts: u64,
    /// By type, the first 1,024 of them.
    pub by_type: BTreeMap<String, TypeLogStats>,
    /// All types that are not told apart.
    pub other_types: TypeLogStats,
}

/// Counts of one type, and how long its events took, in nanoseconds: the performance report.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct TypeLogStats {
    /// Events.
    pub count: u64,
    /// Events that are errors.
    pub errors: u64,
    /// Attempts of handlers.
    pub attempts: u64,
    /// How long handlers took for all events.
    pub total_ns: u64,
    /// How long handlers took for an event, on average over all events.
    pub average_ns: u64,
    /// How long handlers took for the event for which they took longest.
    pub maximum_ns: u64,
}

impl EventLogStats {
    pub(super) fn of(records: &Records) -> Self {
        let by_type: BTreeMap<String, TypeLogStats> = records
            .types
            .iter()
            .map(|(event_type, counts)| (event_type.as_str().to_owned(), counts.read()))
            .collect();
        let other_types = records.types.others().read();
        let all = || by_type.values().chain([&other_types]);
        let total_events = all().map(|stats| stats.count).sum::<u64>();
        EventLogStats {
            total_events,
            error_count: all().map(|stats| stats.errors).sum(),
            overwritten: total_events.saturating_sub(records.iter().count() as u64),
            late_attempts: records.late.load(Ordering::Relaxed),
            other_types,
            by_type,
        }
    }
}
