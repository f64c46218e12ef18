//! An explanation to be read: one line of what the type is, then one for each hearer in its turn.

use super::{Explanation, HearingFeed, HearingSubscription};
use crate::dispatch::latency::LatencyStats;
use crate::text::Printable;
use std::fmt;
use std::time::Duration;

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = if self.is_standard { "standard type" } else { "name of one's own" };
        let schema = if self.has_schema { " with a schema" } else { "" };
        write!(f, "{}: {kind}{schema}, {} published, ", Printable(&self.event_type), self.published)?;
        match (self.subscriptions.len(), self.feeds.len()) {
            (0, 0) => f.write_str("heard by nobody")?,
            (subscriptions, 0) => write!(f, "heard by {}", counted(subscriptions, "subscription"))?,
            (0, feeds) => write!(f, "heard by {}", counted(feeds, "feed"))?,
            (subscriptions, feeds) => {
                let (subscriptions, feeds) = (counted(subscriptions, "subscription"), counted(feeds, "feed"));
                write!(f, "heard by {subscriptions} and {feeds}")?;
            }
        }
        f.write_str("\n")?;
        self.feeds.iter().try_for_each(|feed| writeln!(f, "  {feed}"))?;
        self.subscriptions.iter().try_for_each(|subscription| writeln!(f, "  {subscription}"))
    }
}

fn counted(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

impl fmt::Display for HearingFeed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a feed, by {}", Printable(&self.globs.join(" and ")))
    }
}

impl fmt::Display for HearingSubscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let globs = self.globs.join(" and ");
        let id = Printable(&self.subscriber_id);
        write!(f, "{id}, priority {}, by {}", self.priority, Printable(&globs))?;
        f.write_str(match (self.has_filter, self.filter_says) {
            (false, _) => "",
            (true, None) => ", with a filter",
            (true, Some(true)) => ", its filter says yes",
            (true, Some(false)) => ", its filter says no",
        })?;
        f.write_str(if self.is_async { ", async" } else { "" })?;
        f.write_str(if self.is_once { ", once" } else { "" })?;
        let deliveries = &self.stats.deliveries;
        if deliveries.total == 0 {
            return f.write_str(": no delivery yet");
        }
        write!(f, ": {} of {} deliveries succeeded", deliveries.succeeded, deliveries.total)?;
        let others = [
            (self.stats.failed_attempts, "failed attempts"),
            (deliveries.dead_lettered, "dead-lettered"),
            (deliveries.dropped, "dropped"),
            (deliveries.cancelled, "cancelled"),
            (deliveries.pending, "pending"),
        ];
        for (count, what) in others.into_iter().filter(|(count, _)| *count > 0) {
            write!(f, ", {count} {what}")?;
        }
        match self.stats.handling {
            Some(LatencyStats { count, p50_ns, p99_ns, max_ns, .. }) if count > 0 => {
                let [p50, p99, max] = [p50_ns, p99_ns, max_ns].map(Duration::from_nanos);
                write!(f, ", p50 {p50:?}, p99 {p99:?}, at most {max:?}")
            }
            _ => Ok(()),
        }
    }
}
