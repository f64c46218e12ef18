//! What can be counted of a bus, and what each count means.

use crate::dispatch::drops::DropCounts;
use crate::dispatch::latency::LatencyStats;
use serde::Serialize;
use std::collections::BTreeMap;

/// Counts of a bus since it was made or its statistics were reset. Serialises to the keys of the
/// Python module's statistics, and more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Stats {
    /// Events accepted.
    pub events_published: u64,
    /// Events handled to the end, by everyone who heard them.
    pub events_processed: u64,
    /// Deliveries that became dead letters.
    pub events_failed: u64,
    /// Dead letters kept now.
    pub dead_letter_count: usize,
    /// Whether events are queued for a worker pool.
    pub async_enabled: bool,
    /// Live subscriptions.
    pub subscribers_count: usize,
    /// The live subscriptions by id.
    pub subscribers: BTreeMap<String, SubscriberStats>,
    /// Events that publishers handed in.
    pub offered: u64,
    /// Events accepted: each has a sequence number.
    pub accepted: u64,
    /// Events refused: they left no trace.
    pub refused: u64,
    /// Events whose every turn is over.
    pub completed: u64,
    /// Events discarded whole before any turn.
    pub dropped: u64,
    /// Events accepted whose turns are not over.
    pub pending: u64,
    /// Events that wait in the lanes, by band: critical; error and warning; normal and info; debug and monitoring.
    pub queued: [usize; 4],
    /// Deliveries that wait for another attempt.
    pub waiting_retries: usize,
    /// Delayed events that wait for their time.
    pub waiting_events: usize,
    /// Events dropped, by the policy under which they were.
    pub events_dropped: DropCounts,
    /// Deliveries dropped, by the policy under which they were.
    pub deliveries_dropped: DropCounts,
    /// How long events waited in their lanes, from acceptance until a worker took them; none unless the bus measures.
    pub queueing: Option<LatencyStats>,
    /// How long attempts of handlers took, all of them together; none unless the bus measures.
    pub handling: Option<LatencyStats>,
    /// Deliveries: pairs of an event and a subscription whose turn came and whose filter said yes.
    pub deliveries: DeliveryStats,
    /// Dead letters made, of every kind, or taken in from elsewhere. Not reset.
    pub dead_letters_made: u64,
    /// Dead letters that made room for newer ones, or that a limit of 0 did not keep. Not reset.
    pub dead_letters_evicted: u64,
    /// Events copied because somebody else held them when their correlation was filled in. Not reset.
    pub events_copied: u64,
    /// The history.
    pub history: HistoryStats,
    /// Names of one's own whose routes are remembered, at most 16,384.
    pub remembered_names: usize,
    /// Publications of names that are not, or no longer, remembered: those that no count per type includes. Not reset.
    pub forgotten_publications: u64,
}

/// What became of deliveries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct DeliveryStats {
    /// Turns that came and were wanted; redrives included.
    pub total: u64,
    /// The handler succeeded, at whichever attempt.
    pub succeeded: u64,
    /// Every attempt failed.
    pub dead_lettered: u64,
    /// A bounded queue let it go.
    pub dropped: u64,
    /// Unsubscribed, shut down, or without a runtime before the handler succeeded.
    pub cancelled: u64,
    /// In a mailbox, running, or waiting for another attempt.
    pub pending: u64,
}

/// One subscription's wishes and counts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct SubscriberStats {
    /// The patterns as they were given.
    pub event_patterns: Vec<String>,
    /// Whether the handler is asynchronous.
    pub is_async: bool,
    /// Higher ones take their turn first.
    pub priority: i32,
    /// What became of its deliveries.
    pub deliveries: DeliveryStats,
    /// Attempts that failed, retried ones included.
    pub failed_attempts: u64,
    /// Attempts after the first.
    pub retried: u64,
    /// Turns that its filter declined.
    pub filtered: u64,
    /// Attempts that took longer than its time limit.
    pub overran: u64,
    /// Attempts that took longer than what the bus calls slow.
    pub slow: u64,
    /// Deliveries that wait in its mailbox; none if its handler is synchronous.
    pub waiting: Option<usize>,
    /// How long its attempts took, since it was made; none unless the bus measures.
    pub handling: Option<LatencyStats>,
}

/// The history's extent. Not affected by a reset.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct HistoryStats {
    /// How many events may be kept.
    pub capacity: u64,
    /// How many are kept.
    pub kept: u64,
    /// How many were overwritten, or never kept.
    pub overwritten: u64,
    /// The number of the newest publication.
    pub last_sequence: u64,
}
