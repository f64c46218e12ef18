//! What was published: questions to the history.

use super::patterns::IntoPattern;
use super::{EventBus, HistoryStats};
use crate::clock::Timestamp;
use crate::dispatch::engine::History;
use crate::event::Event;
use crate::matcher::{Pattern, PatternError};
use crate::ring::Record;
use std::sync::Arc;

/// An event with the number of its publication.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Recorded {
    pub(super) sequence: u64,
    pub(super) event: Arc<Event>,
}

impl Recorded {
    pub(crate) fn new(sequence: u64, event: Arc<Event>) -> Self {
        Recorded { sequence, event }
    }

    /// The number of the publication.
    #[must_use]
    pub fn sequence(&self) -> u64 {
        self.sequence
    }

    /// The event.
    #[must_use]
    pub fn event(&self) -> &Arc<Event> {
        &self.event
    }
}

impl std::ops::Deref for Recorded {
    type Target = Event;

    fn deref(&self) -> &Event {
        &self.event
    }
}

/// The newest events that a bus accepted. Made by [`EventBus::history`].
#[derive(Clone, Copy, Debug)]
pub struct EventHistory<'a> {
    bus: &'a EventBus,
}

impl EventBus {
    /// The newest events, as many as the bus was built to keep.
    #[must_use]
    pub fn history(&self) -> EventHistory<'_> {
        EventHistory { bus: self }
    }
}

impl<'a> EventHistory<'a> {
    /// How many events may be kept; 0 when the history is off.
    #[must_use]
    pub fn capacity(&self) -> u64 {
        match &self.bus.bus.engine.history {
            History::Off(_) => 0,
            History::On(ring) => ring.capacity(),
        }
    }

    /// How many events are kept.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.extent().kept
    }

    /// Whether nothing is kept.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All of the history's figures, at one moment.
    #[must_use]
    pub fn extent(&self) -> HistoryStats {
        let (capacity, last_sequence) = (self.capacity(), self.last_sequence());
        let kept = last_sequence.min(capacity);
        HistoryStats { capacity, kept, overwritten: last_sequence - kept, last_sequence }
    }

    /// The number of the newest publication, 0 before the first.
    #[must_use]
    pub fn last_sequence(&self) -> u64 {
        self.bus.bus.engine.last_sequence()
    }

    /// Publications that are not kept any more, or never were.
    #[must_use]
    pub fn overwritten(&self) -> u64 {
        self.extent().overwritten
    }

    /// Begins a question; without further conditions it asks for everything, newest first.
    pub fn query(&self) -> HistoryQuery<'a> {
        HistoryQuery {
            history: *self,
            glob: None,
            source: None,
            correlation_id: None,
            since: None,
            from: None,
            until: None,
            limit: usize::MAX,
        }
    }

    /// What is kept of the publications up to `last`, without a gap and oldest first: of an older one nothing is left, or
    /// writers were faster. It waits for publishers that have a number and have not recorded their event yet.
    #[must_use]
    pub fn kept_until(&self, last: u64) -> Vec<Recorded> {
        self.kept_between(1, last)
    }

    /// The same, of the publications from `first` on.
    #[cfg_attr(not(feature = "stream"), allow(dead_code, reason = "who asks for less is a stream"))]
    pub(crate) fn kept_between(&self, first: u64, last: u64) -> Vec<Recorded> {
        let History::On(ring) = &self.bus.bus.engine.history else { return Vec::new() };
        let mut kept = Vec::new();
        let reader = ring.reader();
        // From the newest on, which writers reach last.
        for sequence in (first.max(1)..=last.min(ring.last_sequence())).rev() {
            let record = loop {
                match reader.get(sequence) {
                    Record::Pending => std::thread::yield_now(),
                    record => break record,
                }
            };
            let Record::Found(event) = record else { break };
            kept.push(Recorded::new(sequence, event));
        }
        kept.reverse();
        kept
    }

    /// The newest events, newest first, at most `limit`.
    #[must_use]
    pub fn latest(&self, limit: usize) -> Vec<Recorded> {
        self.query().limit(limit).recorded(None)
    }
}

/// A question to the history: conditions that an event must all meet.
#[derive(Clone, Debug)]
#[must_use = "call `events`"]
pub struct HistoryQuery<'a> {
    history: EventHistory<'a>,
    glob: Option<Result<Pattern, PatternError>>,
    source: Option<String>,
    correlation_id: Option<String>,
    since: Option<u64>,
    from: Option<Timestamp>,
    until: Option<Timestamp>,
    limit: usize,
}

impl HistoryQuery<'_> {
    /// Events whose type matches a glob.
    pub fn event_type(mut self, glob: impl IntoPattern) -> Self {
        self.glob = Some(glob.into_pattern());
        self
    }

    /// Events from this source.
    pub fn source(mut self, source: impl AsRef<str>) -> Self {
        self.source = Some(source.as_ref().to_owned());
        self
    }

    /// Events with this correlation id.
    pub fn correlation_id(mut self, id: impl AsRef<str>) -> Self {
        self.correlation_id = Some(id.as_ref().to_owned());
        self
    }

    /// Publications from this sequence number on, it included (for times there is [`from_time`](Self::from_time)). The
    /// answer is oldest first then.
    pub fn since(mut self, sequence: u64) -> Self {
        self.since = Some(sequence);
        self
    }

    /// Events whose timestamp is at `time` or later.
    pub fn from_time(mut self, time: Timestamp) -> Self {
        self.from = Some(time);
        self
    }

    /// Events whose timestamp is before `time`.
    pub fn until_time(mut self, time: Timestamp) -> Self {
        self.until = Some(time);
        self
    }

    /// At most this many: the newest, or from [`since`](Self::since) on the oldest. Default: all that are kept.
    pub fn limit(mut self, events: usize) -> Self {
        self.limit = events;
        self
    }

    /// The events: newest first; with [`since`](Self::since), oldest first. A publication that is in progress
    /// on another thread may be missing.
    ///
    /// # Errors
    /// A glob that is no pattern.
    pub fn events(mut self) -> Result<Vec<Recorded>, PatternError> {
        let glob = self.glob.take().transpose()?;
        Ok(self.recorded(glob.as_ref()))
    }

    pub(super) fn recorded(&self, glob: Option<&Pattern>) -> Vec<Recorded> {
        let History::On(ring) = &self.history.bus.bus.engine.history else { return Vec::new() };
        let (first, last) = (ring.first_sequence(), ring.last_sequence());
        let reader = ring.reader();
        let read = |sequence| match reader.get(sequence) {
            Record::Found(event) => Some(Recorded::new(sequence, event)),
            Record::Pending | Record::Gone => None,
        };
        let is_asked_for = |recorded: &Recorded| self.is_met_by(recorded, glob);
        match self.since {
            Some(since) => {
                let sequences = since.max(first)..=last;
                sequences.filter_map(read).filter(is_asked_for).take(self.limit).collect()
            }
            None => (first..=last).rev().filter_map(read).filter(is_asked_for).take(self.limit).collect(),
        }
    }

    fn is_met_by(&self, event: &Event, glob: Option<&Pattern>) -> bool {
        glob.is_none_or(|glob| glob.matches(event.event_type().as_str()))
            && self.source.as_ref().is_none_or(|source| event.source().as_str() == source)
            && self.from.is_none_or(|from| event.timestamp() >= from)
            && self.until.is_none_or(|until| event.timestamp() < until)
            && self.correlation_id.as_ref().is_none_or(|id| {
                event.correlation_id().is_some_and(|correlation_id| correlation_id.as_str() == id)
            })
    }
}
