//! Exact accounting: what became of every event and every delivery.
//!
//! At every quiet moment `offered = accepted + refused`, `accepted = completed + dropped + pending`, and
//! `deliveries = succeeded + dead_lettered + dropped + cancelled + pending`. `offered`, `accepted`, `completed` and
//! the ends of deliveries are counted each on its own; `pending` is what is missing.

use super::EventBus;
use super::counts::{DeliveryStats, Stats, SubscriberStats};
use super::registry::turns_of;
use crate::dispatch::drops::DropCounts;
use crate::dispatch::engine::Engine;
use crate::dispatch::latency::Histogram;
use crate::dispatch::subscriber::Subscriber;
use crate::matcher::Pattern;
use crate::sync::Ordering;
use std::collections::{BTreeMap, HashMap};
use std::sync::PoisonError;

/// Raw counts over the life of the bus.
#[derive(Clone, Copy, Default)]
struct Totals {
    offered: u64,
    accepted: u64,
    refused: u64,
    completed: u64,
    dropped: DropCounts,
    deliveries_dropped: DropCounts,
    deliveries: DeliveryStats,
}

/// The counts at the last reset: what the statistics begin from. Pending work is carried over.
#[derive(Default)]
pub(crate) struct Epoch {
    totals: Totals,
    subscribers: HashMap<u64, Counts>,
}

#[derive(Clone, Copy, Default)]
struct Counts {
    deliveries: DeliveryStats,
    failed_attempts: u64,
    retried: u64,
    filtered: u64,
    overran: u64,
    slow: u64,
}

impl DeliveryStats {
    /// With what is missing as pending.
    fn settled(mut self) -> Self {
        self.pending =
            self.total.saturating_sub(self.succeeded + self.dead_lettered + self.dropped + self.cancelled);
        self
    }

    /// A point to count from: what has ended.
    fn ended(self) -> Self {
        let total = self.succeeded + self.dead_lettered + self.dropped + self.cancelled;
        DeliveryStats { total, pending: 0, ..self }
    }

    fn since(self, earlier: DeliveryStats) -> Self {
        DeliveryStats {
            total: self.total.saturating_sub(earlier.total),
            succeeded: self.succeeded.saturating_sub(earlier.succeeded),
            dead_lettered: self.dead_lettered.saturating_sub(earlier.dead_lettered),
            dropped: self.dropped.saturating_sub(earlier.dropped),
            cancelled: self.cancelled.saturating_sub(earlier.cancelled),
            pending: 0,
        }
        .settled()
    }
}

impl EventBus {
    /// The counts now: exact at a quiet moment, and close to it while events are on their way.
    #[must_use]
    pub fn get_stats(&self) -> Stats {
        let engine = &self.bus.engine;
        let subscribers = self.bus.registry.subscribers(engine);
        let (totals, per_subscriber) = {
            let epoch = self.bus.epoch.lock().unwrap_or_else(PoisonError::into_inner);
            let now = self.totals();
            let totals = Totals {
                offered: now.offered.saturating_sub(epoch.totals.offered),
                accepted: now.accepted.saturating_sub(epoch.totals.accepted),
                refused: now.refused.saturating_sub(epoch.totals.refused),
                completed: now.completed.saturating_sub(epoch.totals.completed),
                dropped: now.dropped.since(epoch.totals.dropped),
                deliveries_dropped: now.deliveries_dropped.since(epoch.totals.deliveries_dropped),
                deliveries: now.deliveries.since(epoch.totals.deliveries),
            };
            let since_epoch = |subscriber: &Subscriber| self.subscriber_stats(subscriber, &epoch);
            let per_subscriber: BTreeMap<String, SubscriberStats> = subscribers
                .iter()
                .map(|subscriber| (subscriber.id().to_owned(), since_epoch(subscriber)))
                .collect();
            (totals, per_subscriber)
        };
        Stats {
            events_published: totals.accepted,
            events_processed: totals.completed,
            events_failed: totals.deliveries.dead_lettered,
            dead_letter_count: self.dead_letter_queue().len(),
            async_enabled: engine.is_queued(),
            subscribers_count: per_subscriber.len(),
            subscribers: per_subscriber,
            offered: totals.offered,
            accepted: totals.accepted,
            refused: totals.refused,
            completed: totals.completed,
            dropped: totals.dropped.total(),
            pending: totals.accepted.saturating_sub(totals.completed + totals.dropped.total()),
            queued: queued(engine),
            waiting_retries: engine.later.waiting_retries(),
            waiting_events: engine.later.waiting_events(),
            events_dropped: totals.dropped,
            deliveries_dropped: totals.deliveries_dropped,
            queueing: engine.latencies.as_ref().map(|latencies| latencies.queueing.stats()),
            handling: engine.latencies.as_ref().map(|latencies| latencies.handling.stats()),
            deliveries: totals.deliveries,
            dead_letters_made: engine.dead_letters.made(),
            dead_letters_evicted: engine.dead_letters.evicted(),
            events_copied: engine.copied.load(Ordering::Relaxed),
            history: self.history().extent(),
            remembered_names: engine.names.len(),
            forgotten_publications: engine.names.forgotten(),
        }
    }

    /// Begins a new epoch: counts start again from zero, except that pending work is carried over, so that the
    /// laws go on holding. What is said not to be reset stays: the history, the dead letters and their counts,
    /// copies, and publications per type.
    pub fn reset_stats(&self) {
        let mut epoch = self.bus.epoch.lock().unwrap_or_else(PoisonError::into_inner);
        let now = self.totals();
        epoch.totals = Totals {
            offered: now.completed + now.dropped.total() + now.refused,
            accepted: now.completed + now.dropped.total(),
            refused: now.refused,
            completed: now.completed,
            dropped: now.dropped,
            deliveries_dropped: now.deliveries_dropped,
            deliveries: now.deliveries.ended(),
        };
        let subscribers = self.bus.registry.subscribers(&self.bus.engine);
        epoch.subscribers = subscribers
            .iter()
            .map(|subscriber| {
                let counts = self.counts(subscriber);
                (subscriber.entry.key, Counts { deliveries: counts.deliveries.ended(), ..counts })
            })
            .collect();
    }

    fn totals(&self) -> Totals {
        let engine = &self.bus.engine;
        let mut totals = Totals {
            completed: engine.completed_late.load(Ordering::SeqCst),
            dropped: engine.dropped.counts(),
            deliveries_dropped: engine.dropped_deliveries.counts(),
            ..Totals::default()
        };
        let deliveries = &mut totals.deliveries;
        deliveries.dropped = totals.deliveries_dropped.total();
        deliveries.succeeded = engine.succeeded_after.load(Ordering::Relaxed);
        deliveries.dead_lettered = engine.dead_lettered.load(Ordering::Relaxed);
        deliveries.cancelled = engine.cancelled.load(Ordering::Relaxed);
        // Ends before beginnings, and the shards anew for these: what happens in between can only look pending, not lost.
        for shard in engine.shards().iter() {
            totals.completed += shard.completed.get();
            totals.refused += shard.refused.get();
            deliveries.succeeded += shard.all_succeeded();
        }
        for shard in engine.shards().iter() {
            deliveries.total += shard.all_begun();
            totals.accepted += shard.accepted.get();
            totals.offered += shard.offered.get();
        }
        totals
    }

    fn counts(&self, subscriber: &Subscriber) -> Counts {
        let (begun, succeeded) = turns_of(&self.bus.engine, subscriber.entry.slot);
        Counts {
            deliveries: DeliveryStats {
                total: begun.saturating_sub(subscriber.begun_before),
                succeeded: succeeded.saturating_sub(subscriber.succeeded_before),
                dead_lettered: subscriber.dead_lettered.load(Ordering::Relaxed),
                dropped: subscriber.counted(|extras| &extras.dropped),
                cancelled: subscriber.cancelled.load(Ordering::Relaxed),
                pending: 0,
            },
            failed_attempts: subscriber.failed_attempts.load(Ordering::Relaxed),
            retried: subscriber.retried.load(Ordering::Relaxed),
            filtered: subscriber.filtered.load(Ordering::Relaxed),
            overran: subscriber.counted(|extras| &extras.overran),
            slow: subscriber.counted(|extras| &extras.slow),
        }
    }

    /// One subscription's counts now.
    pub(super) fn stats_of(&self, subscriber: &Subscriber) -> SubscriberStats {
        let epoch = self.bus.epoch.lock().unwrap_or_else(PoisonError::into_inner);
        self.subscriber_stats(subscriber, &epoch)
    }

    fn subscriber_stats(&self, subscriber: &Subscriber, epoch: &Epoch) -> SubscriberStats {
        let earlier = epoch.subscribers.get(&subscriber.entry.key).copied().unwrap_or_default();
        let counts = self.counts(subscriber);
        SubscriberStats {
            event_patterns: subscriber.patterns.iter().map(Pattern::to_string).collect(),
            is_async: subscriber.waiting().is_some(),
            priority: subscriber.entry.priority,
            deliveries: counts.deliveries.since(earlier.deliveries),
            failed_attempts: counts.failed_attempts.saturating_sub(earlier.failed_attempts),
            retried: counts.retried.saturating_sub(earlier.retried),
            filtered: counts.filtered.saturating_sub(earlier.filtered),
            overran: counts.overran.saturating_sub(earlier.overran),
            slow: counts.slow.saturating_sub(earlier.slow),
            waiting: subscriber.waiting(),
            handling: subscriber.handling().map(Histogram::stats),
        }
    }
}

/// Events in the lanes, by band.
#[cfg_attr(not(feature = "queued"), allow(unused_variables, reason = "there are no lanes"))]
fn queued(engine: &Engine) -> [usize; 4] {
    #[cfg(feature = "queued")]
    if let Some(queue) = &engine.queue {
        return queue.lanes.depths();
    }
    [0; 4]
}
