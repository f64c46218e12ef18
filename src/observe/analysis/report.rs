//! What is told of events.

use crate::clock::Timestamp;
use crate::event::EventType;
use crate::ids::{CorrelationId, EventId, Source};
use serde::{Serialize, Serializer};

/// What events tell about the system that publishes them. Made by [`Analyzer`](crate::Analyzer), which says how each figure
/// is reckoned, or by [`EventHistory::analyze`](crate::EventHistory::analyze).
///
/// `Display` writes it as tables, fit for a terminal, in lines of 100 columns or as many as the format asks for:
/// `{analysis:80}`. It serialises to JSON with the fields below, times as RFC 3339. [`to_svg`](Self::to_svg) draws it.
///
/// Each table has room for so many things and says what found none.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Analysis {
    /// How many events there were.
    pub events: u64,
    /// The earliest time of an event.
    #[serde(serialize_with = "rfc3339_if_any")]
    pub first: Option<Timestamp>,
    /// The latest time of an event.
    #[serde(serialize_with = "rfc3339_if_any")]
    pub last: Option<Timestamp>,
    /// The length of a window, in nanoseconds.
    pub window_ns: u64,
    /// When each window begins that has events, in order. One that begins before 1677-09-21 is told as that time.
    #[serde(serialize_with = "all_rfc3339")]
    pub windows: Vec<Timestamp>,
    /// How often each type was published: 1,024 of them.
    pub types: Rates,
    /// How much each source published: 1,024 of them.
    pub sources: Rates,
    /// How often each source published each type: 1,024 such pairs.
    pub pairs: Rates,
    /// Errors by type and message.
    pub errors: ErrorCounts,
    /// Operations by kind.
    pub operations: Operations,
    /// Operations that were not over when the events were.
    pub never_completed: NeverCompleted,
    /// What came much more often, or less often, than in the window before.
    pub jumps: Jumps,
}

/// How often things happened in each window.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Rates {
    /// Those with the most events first, ties by name.
    pub kept: Vec<Series>,
    /// All for which there was no room, together.
    pub others: Series,
}

/// How often one thing happened.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Series {
    /// The type, if it is of one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub event_type: Option<EventType>,
    /// The source, if it is of one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<Source>,
    /// How often.
    pub events: u64,
    /// How often in each of [`Analysis::windows`].
    pub counts: Vec<u64>,
}

/// Errors, counted.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[non_exhaustive]
pub struct ErrorCounts {
    /// How many events told of an error.
    pub total: u64,
    /// 1,024 of them, the most frequent first, ties by type and message.
    pub kept: Vec<RecurringError>,
    /// Events with errors for which there was no room.
    pub others: u64,
}

/// An error, as often as it came.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct RecurringError {
    /// The type of the events.
    pub event_type: EventType,
    /// Their `error_type`, empty if there is none.
    pub error_type: String,
    /// Their message with `#` for what differs, empty if there is none.
    pub message: String,
    /// The first message, at most 512 bytes of it.
    pub example: String,
    /// How many events told of it.
    pub events: u64,
    /// When the earliest did.
    #[serde(serialize_with = "rfc3339")]
    pub first: Timestamp,
    /// When the latest did.
    #[serde(serialize_with = "rfc3339")]
    pub last: Timestamp,
}

/// Operations by kind.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Operations {
    /// 256 kinds, those with the most starts first, ties by name.
    pub kept: Vec<OperationStats>,
    /// What belongs to none of them.
    pub others: OtherOperations,
}

/// One kind of operation. `starts = completed + open + let_go + uncorrelated`.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[non_exhaustive]
pub struct OperationStats {
    /// The type without its last part: `build` of `build.start`; of an emitter's operation its name.
    pub operation: String,
    /// How many began.
    pub starts: u64,
    /// How many ended, well or badly.
    pub completed: u64,
    /// How many of these ended badly: with `X.error`, `X.failed` or `"success": false`.
    pub failed: u64,
    /// How many were not over at the end.
    pub open: u64,
    /// How many were given up to make room; if they ended after that, their end is alone.
    pub let_go: u64,
    /// How many began without a correlation id, so that their end cannot be told.
    pub uncorrelated: u64,
    /// Ends without a start.
    pub ends_alone: u64,
    /// Half of those that ended took no longer, in nanoseconds: the nearest rank.
    pub p50_ns: u64,
    /// 99 of 100 took no longer.
    pub p99_ns: u64,
    /// How long they took on average.
    pub mean_ns: u64,
    /// How long the longest took.
    pub max_ns: u64,
    /// Whether `p50_ns` and `p99_ns` are exact; if not, they are within 1 %. The others are always exact.
    pub is_exact: bool,
}

/// Starts and ends that belong to no kind that is told apart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct OtherOperations {
    /// Starts for whose kind there was no room.
    pub starts: u64,
    /// Ends and errors of what never began, or for which there was no room.
    pub ends: u64,
}

/// Operations that began and did not end.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[non_exhaustive]
pub struct NeverCompleted {
    /// How many there are.
    pub total: u64,
    /// How many more were given up to make room, of which nobody knows whether they ended.
    pub let_go: u64,
    /// The 100 that began first, in that order.
    pub kept: Vec<OpenOperation>,
}

/// An operation that did not end.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct OpenOperation {
    /// Its kind.
    pub operation: String,
    /// What it belongs to.
    pub correlation_id: CorrelationId,
    /// The id of the event that began it.
    pub event_id: EventId,
    /// Who began it.
    pub source: Source,
    /// When it began.
    #[serde(serialize_with = "rfc3339")]
    pub since: Timestamp,
    /// How long before the latest event that was, in nanoseconds.
    pub age_ns: u64,
}

/// Rates that jumped.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Jumps {
    /// How many there are.
    pub total: u64,
    /// The 100 with the largest difference, largest first, ties by time and name.
    pub kept: Vec<Jump>,
}

/// A type or a source that came much more often, or less often, than in the window before.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Jump {
    /// The type, if it is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub event_type: Option<EventType>,
    /// The source, if it is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<Source>,
    /// When the window begins in which it jumped.
    #[serde(serialize_with = "rfc3339")]
    pub window: Timestamp,
    /// How many events there were in the window before.
    pub before: u64,
    /// How many there were in this one.
    pub after: u64,
}

impl Series {
    /// The type and the source as texts, empty if it is not of one.
    pub(super) fn name(&self) -> (&str, &str) {
        name(self.event_type.as_ref(), self.source.as_ref())
    }
}

impl Jump {
    pub(super) fn name(&self) -> (&str, &str) {
        name(self.event_type.as_ref(), self.source.as_ref())
    }
}

fn name<'a>(event_type: Option<&'a EventType>, source: Option<&'a Source>) -> (&'a str, &'a str) {
    (event_type.map_or("", EventType::as_str), source.map_or("", Source::as_str))
}

fn rfc3339<S: Serializer>(time: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&time.to_rfc3339())
}

fn rfc3339_if_any<S: Serializer>(time: &Option<Timestamp>, serializer: S) -> Result<S::Ok, S::Error> {
    time.map(Timestamp::to_rfc3339).serialize(serializer)
}

fn all_rfc3339<S: Serializer>(times: &[Timestamp], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(times.iter().map(|time| time.to_rfc3339()))
}
