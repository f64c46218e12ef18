//! Asking for some of the entries.

use super::{EventLogEntry, EventLogger, csv, json};
use crate::bus::IntoPattern;
use crate::clock::Timestamp;
use crate::matcher::{Pattern, PatternError};

/// Which entries are wanted; what is not said does not matter. Made by [`EventLogger::query`].
#[derive(Debug)]
#[must_use = "ask for `entries`, `to_json` or `to_csv`"]
pub struct EventLogQuery<'a> {
    logger: &'a EventLogger,
    pattern: Result<Option<Pattern>, PatternError>,
    from: Option<Timestamp>,
    until: Option<Timestamp>,
    only_errors: bool,
    latest: Option<usize>,
}

impl<'a> EventLogQuery<'a> {
    pub(super) fn new(logger: &'a EventLogger) -> Self {
        EventLogQuery { logger, pattern: Ok(None), from: None, until: None, only_errors: false, latest: None }
    }

    /// Events whose type matches this glob.
    pub fn event_type(mut self, glob: impl IntoPattern) -> Self {
        self.pattern = glob.into_pattern().map(Some);
        self
    }

    /// Events that happened at this time or later.
    pub fn from_time(mut self, time: Timestamp) -> Self {
        self.from = Some(time);
        self
    }

    /// Events that happened at this time or earlier.
    pub fn until_time(mut self, time: Timestamp) -> Self {
        self.until = Some(time);
        self
    }

    /// Entries that [are errors](EventLogEntry::is_error).
    pub fn errors(mut self) -> Self {
        self.only_errors = true;
        self
    }

    /// The newest of them, at most as many.
    pub fn latest(mut self, count: usize) -> Self {
        self.latest = Some(count);
        self
    }

    /// The entries, by sequence number: the oldest first.
    ///
    /// # Errors
    /// A glob that is none.
    pub fn entries(self) -> Result<Vec<EventLogEntry>, PatternError> {
        let EventLogQuery { logger, pattern, from, until, only_errors, latest } = self;
        let pattern = pattern?;
        let mut entries = logger.entries();
        entries.retain(|entry| {
            let (name, time) = (entry.event().event_type().as_str(), entry.event().timestamp());
            pattern.as_ref().is_none_or(|pattern| pattern.matches(name))
                && from.is_none_or(|from| from <= time)
                && until.is_none_or(|until| time <= until)
                && (!only_errors || entry.is_error())
        });
        let surplus = latest.map_or(0, |latest| entries.len().saturating_sub(latest));
        entries.drain(..surplus);
        Ok(entries)
    }

    /// The entries as a JSON array, in one line. Each is an object with `event_id`, `event_type`, `priority`, `timestamp` (RFC
    /// 3339), `handler_count`, `processing_time` (seconds), `source`, `data`, `metadata`, `correlation_id` (or null),
    /// `sequence`, `attempts`, `failures` and `error` (or null). Data that JSON cannot hold is null, and `data_error` says
    /// why.
    ///
    /// # Errors
    /// As [`entries`](Self::entries).
    pub fn to_json(self) -> Result<String, PatternError> {
        self.entries().map(|entries| json::write(&entries))
    }

    /// The entries as a table by RFC 4180 with a line of headings: `id`, `timestamp`, `type`, `source`, then what else
    /// [`to_json`](Self::to_json) tells. Lines end with CR LF. What would be a formula to a spreadsheet is preceded by an
    /// apostrophe, and a control character is a space, so that one entry is one line.
    ///
    /// # Errors
    /// As [`entries`](Self::entries).
    pub fn to_csv(self) -> Result<String, PatternError> {
        self.entries().map(|entries| csv::write(&entries))
    }
}
