//! The counts at the end of `dispatch` and `replay`.

use crate::text::push_printable;
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};
use std::fmt::Write;
use std::time::Duration;

/// The fields are written in this order.
#[derive(Serialize)]
pub(crate) struct Summary<'a> {
    pub(crate) read: u64,
    pub(crate) published: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) skipped: Option<u64>,
    pub(crate) rejected: u64,
    #[serde(serialize_with = "in_order")]
    pub(crate) deliveries: Vec<(&'a str, u64)>,
    pub(crate) failures: u64,
    pub(crate) dead_letters: u64,
    pub(crate) elapsed_s: f64,
    pub(crate) events_per_s: f64,
}

/// As an object whose keys stay in the order given.
fn in_order<S: Serializer>(deliveries: &[(&str, u64)], serializer: S) -> Result<S::Ok, S::Error> {
    let mut map = serializer.serialize_map(Some(deliveries.len()))?;
    for (glob, count) in deliveries {
        map.serialize_entry(glob, count)?;
    }
    map.end()
}

/// Seconds, and how many of `events` came in each.
pub(crate) fn pace(events: u64, elapsed: Duration) -> (f64, f64) {
    let elapsed_s = elapsed.as_secs_f64();
    let events_per_s = if elapsed_s > 0.0 { events as f64 / elapsed_s } else { 0.0 };
    (elapsed_s, events_per_s)
}

impl Summary<'_> {
    /// For people.
    pub(crate) fn table(&self) -> String {
        let mut table = String::new();
        let mut row = |name: &str, count: u64| {
            // Writing to a String cannot fail.
            let _ = writeln!(table, "{name:<14}{count:>12}");
        };
        row("read", self.read);
        row("published", self.published);
        if let Some(skipped) = self.skipped {
            row("skipped", skipped);
        }
        row("rejected", self.rejected);
        row("failures", self.failures);
        row("dead letters", self.dead_letters);
        row("deliveries", self.deliveries.iter().map(|(_, count)| count).sum());
        for (glob, count) in &self.deliveries {
            let _ = write!(table, "{count:>26}  ");
            push_printable(glob, &mut table);
            table.push('\n');
        }
        let _ = writeln!(table, "{:.3} s, {:.0} events/s", self.elapsed_s, self.events_per_s);
        table
    }
}
