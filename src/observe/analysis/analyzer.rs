//! Who adds events up, one by one.

use super::errors::Errors;
use super::operations::Pairs;
use super::report::{Analysis, Series};
use super::told::Fields;
use super::windows::{Table, Windows};
use super::{WINDOWS_MAX, WINDOWS_MAX_AUTOMATIC, jumps};
use crate::clock::Timestamp;
use crate::event::{Event, EventType};
use crate::ids::Source;
use std::time::Duration;

/// Makes an [`Analysis`] of events that it is shown one by one, in a bounded amount of memory: some 20 MiB for
/// a flood of names and ids, and under 64 MiB if all of them are as long as can be.
///
/// **Time** is the events' own. It is cut into windows that begin at multiples of their length since 1970, and of which only
/// those are kept that have events. If more than 256 have, the windows become longer, to the next of 1, 5, 10, 50, 100,
/// 500 ms, 1, 5, 10, 30 s, 1, 5, 10, 30 min, 1, 6, 12 h and 1 day, or to twice the length if it is none of these. So counts
/// are exact, and the order of events does not matter.
///
/// **Errors** are events whose type ends in `.error`, `.failed` or `.retrying`, and ends of operations whose payload says
/// `"success": false`. They are told apart by type, by `error_type`, and by their message, which is the first of
/// `error_message`, `error`, `message` and `reason` that is a text, or an object with a text as `message`; of it the first
/// 512 bytes, with `#` in place of numbers, UUIDs and words of at least eight hexadecimal digits. The first message is told as it was.
///
/// **Operations** begin with `X.start` or `X.started` and end with `X.complete`, `X.completed`, `X.error` or `X.failed`, with the
/// same `X` and the same correlation id; those of an [`EventEmitter`](crate::EventEmitter) (`custom`, with a `phase`) are called by
/// their name. An end belongs to the start whose id is its `causation_id`; else to the one that began last of those that are
/// not over and do not contradict it, which they do if a field `id`, `name`, `target`, `operation`, or one that ends in
/// `_id` or `_name`, is in both and differs. A start is never later than its end. An end that comes before its start, the
/// later one in time, waits for it; then the earliest that fits is taken. 16,384 starts and 4,096 ends wait, 1,024 of one
/// `X` and correlation id; the oldest makes room, and is counted.
///
/// **Durations** are told exactly for up to 1,024 operations of a kind, and then to within 1 %.
///
/// **Jumps** are what has at least three times as many events as in the window before, or at most a third, where
/// the larger number is at least 20. Appearing and falling silent are jumps as well. The first and the last window are cut
/// short by where the stream begins and ends, so there is no rise out of the first and no fall into the last.
///
/// ```
/// use codomyrmex_events::{Analyzer, Event};
/// use std::time::Duration;
///
/// let mut analyzer = Analyzer::new(Duration::from_secs(10));
/// for line in [
///     r#"{"event_type": "task.started", "source": "s", "timestamp": 10.5, "correlation_id": "c"}"#,
///     r#"{"event_type": "task.failed", "source": "s", "timestamp": 12, "correlation_id": "c", "data": {"error": "no disk"}}"#,
/// ] {
///     analyzer.add(&Event::from_json(line)?);
/// }
/// let analysis = analyzer.finish();
/// assert_eq!(analysis.operations.kept[0].max_ns, 1_500_000_000);
/// assert_eq!(analysis.errors.kept[0].message, "no disk");
/// # Ok::<(), codomyrmex_events::EventParseError>(())
/// ```
#[derive(Debug)]
pub struct Analyzer {
    events: u64,
    span: Option<(Timestamp, Timestamp)>,
    windows: Windows,
    types: Table<EventType>,
    sources: Table<Source>,
    pairs: Table<(EventType, Source)>,
    errors: Errors,
    operations: Pairs,
}

/// Chooses the windows itself: as short as they can be, 1 ms or longer, with at most 60 of them.
impl Default for Analyzer {
    fn default() -> Self {
        Self::with(Windows::new(0, WINDOWS_MAX_AUTOMATIC))
    }
}

impl Analyzer {
    /// With windows of this length: from a millisecond to a hundred years, and whatever is shorter or longer is taken as that.
    #[must_use]
    pub fn new(window: Duration) -> Self {
        Self::with(Windows::new(i64::try_from(window.as_nanos()).unwrap_or(i64::MAX), WINDOWS_MAX))
    }

    fn with(windows: Windows) -> Self {
        Analyzer {
            events: 0,
            span: None,
            windows,
            types: Table::new(),
            sources: Table::new(),
            pairs: Table::new(),
            errors: Errors::default(),
            operations: Pairs::new(),
        }
    }

    /// Adds an event.
    pub fn add(&mut self, event: &Event) {
        let (event_type, source, at) = (event.event_type(), event.source(), event.timestamp());
        self.events += 1;
        self.span = Some(self.span.map_or((at, at), |(first, last)| (first.min(at), last.max(at))));
        let (slot, became) = self.windows.slot(at);
        if let Some(became) = became {
            self.types.merge(&became);
            self.sources.merge(&became);
            self.pairs.merge(&became);
        }
        self.types.add(event_type, slot);
        self.sources.add(source, slot);
        self.pairs.add(&(event_type.clone(), source.clone()), slot);
        if let Some(fields) = Fields::of(event) {
            if let Some(told) = fields.error() {
                self.errors.add(event_type, told, at);
            }
            self.operations.add(event, &fields);
        }
    }

    /// What they tell.
    #[must_use]
    pub fn finish(self) -> Analysis {
        let length_ns = self.windows.length_ns();
        let (indexes, slots) = self.windows.in_order();
        let start_of = |index: i64| Timestamp::from_unix_nanos(index.saturating_mul(length_ns));
        let latest = self.span.map_or(Timestamp::from_unix_nanos(0), |(_, last)| last);
        let (operations, never_completed) = self.operations.finish(latest);
        let by_type = |event_type| Series { event_type, ..Series::default() };
        let by_source = |source| Series { source, ..Series::default() };
        let by_both = |pair: Option<(EventType, Source)>| {
            let (event_type, source) = pair.unzip();
            Series { event_type, source, ..Series::default() }
        };
        let mut analysis = Analysis {
            events: self.events,
            first: self.span.map(|(first, _)| first),
            last: self.span.map(|(_, last)| last),
            window_ns: length_ns.unsigned_abs(),
            windows: indexes.iter().map(|index| start_of(*index)).collect(),
            types: self.types.rates(&slots, by_type),
            sources: self.sources.rates(&slots, by_source),
            pairs: self.pairs.rates(&slots, by_both),
            errors: self.errors.finish(),
            operations,
            never_completed,
            jumps: Default::default(),
        };
        analysis.jumps = jumps::find(&analysis, &indexes, start_of);
        analysis
    }
}
