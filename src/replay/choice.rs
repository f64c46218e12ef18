//! Which events are replayed.

use crate::clock::Timestamp;
use crate::event::Event;
use crate::matcher::Pattern;
use std::ops::{Bound, RangeBounds};

/// Conditions that an event must all meet.
#[derive(Clone, Debug)]
pub(super) struct Choice {
    /// One of them matches the type; if there are none, every type will do.
    pub(super) globs: Vec<Pattern>,
    pub(super) times: Range<Timestamp>,
    pub(super) sequences: Range<u64>,
}

pub(super) type Range<T> = (Bound<T>, Bound<T>);

pub(super) fn range_of<T: Copy>(range: &impl RangeBounds<T>) -> Range<T> {
    (range.start_bound().cloned(), range.end_bound().cloned())
}

impl Default for Choice {
    fn default() -> Self {
        let (times, sequences) = (range_of(&..), range_of(&..));
        Choice { globs: Vec::new(), times, sequences }
    }
}

impl Choice {
    pub(super) fn is_met_by(&self, sequence: Option<u64>, event: &Event) -> bool {
        let name = event.event_type().as_str();
        (self.globs.is_empty() || self.globs.iter().any(|glob| glob.matches(name)))
            && self.times.contains(&event.timestamp())
            && match sequence {
                Some(sequence) => self.sequences.contains(&sequence),
                None => self.sequences == range_of(&..),
            }
    }
}
