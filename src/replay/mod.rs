//! [`Replay`]: what happened before happens again, on another bus or on the same.
//!
//! A replay is a way into a bus, not a source: events are handed to it one by one, or all that a history or a text
//! holds, and the caller does the reading. So it fits a file, a socket or a test without doing any of their work, it
//! never holds more than one event, and whoever feeds it can stop, look at the report, and go on.
//!
//! It never renames an event and never invents a correlation: what surrounds the replay has no part in what is replayed.
//!
//! In reading order: `choice` (which events), `pace` (when), `stop` (waiting, and cutting it short), `lines` (texts),
//! `report`; `play` is the way of one event, and `run` hands in everything that a source holds. And, beside replays, `export`
//! and `letters`: what a bus kept as lines, and dead letters from lines.

mod choice;
mod export;
mod letters;
mod lines;
mod pace;
mod play;
mod report;
mod run;
mod stop;

use crate::bus::{EventBus, IntoPattern};
use crate::clock::Timestamp;
use crate::event::{Event, EventPublishError};
use crate::matcher::PatternError;
use choice::{Choice, range_of};
use lines::{Item, read};
use pace::Pace;
use std::ops::RangeBounds;
use std::sync::Arc;
use std::time::Duration;

pub use export::{ExportError, HistoryExport, LetterExport};
pub use letters::{LETTER_ERRORS_MAX, LettersImported};
pub use lines::{LINE_BYTES_MAX, LineError, LineErrorKind};
pub use pace::{InvalidReplaySpeed, ReplaySpeed};
pub use report::{REPLAY_ERRORS_MAX, Refusal, ReplayEnding, ReplayError, ReplayReport, Replayed};
pub use stop::ReplayStop;

/// Publishes recorded events again: with their types, sources, ids, times, correlation, causation, payloads and
/// priorities, each under a new sequence number.
///
/// A replayed event says so in its metadata: `"replayed": true`, and `"replayed_sequence"`, the number of its
/// publication, if that is known. One that has the mark keeps it as it is, so a replay of a replay still names the first
/// publication. [`unmarked`](Self::unmarked) leaves the metadata alone, to restore a history.
///
/// Without options all events are replayed, at full speed. The bus's policies hold as for every publisher: where there
/// is no room, the synchronous methods wait as `publish` does and the others as `publish_async` does; what is refused in
/// the end is counted and reported, and the replay goes on.
///
/// ```
/// use codomyrmex_events::{Event, EventBus, Replay};
///
/// let yesterday = EventBus::new();
/// yesterday.publish(Event::builder("order.placed", "shop").event_id("o-1").build()?)?;
/// yesterday.publish(Event::builder("order.paid", "shop").event_id("o-2").build()?)?;
///
/// let today = EventBus::new();
/// today.subscribe("order.*").handler(|event| {
///     assert_eq!(event.metadata()["replayed"], true);
///     println!("{} {}", event.event_id(), event.event_type());
/// })?;
/// let report = Replay::onto(&today).event_type("*.placed")?.history(&yesterday);
/// assert_eq!((report.published, report.skipped), (1, 1));
/// # Ok::<(), codomyrmex_events::EventError>(())
/// ```
///
/// Lines of NDJSON from anywhere, at ten times the original speed; here a text, whose last line is torn:
///
/// ```
/// use codomyrmex_events::{EventBus, Replay, ReplaySpeed};
///
/// let text = concat!(
///     r#"{"event_type":"my.own","source":"a","timestamp":1763810000.1}"#, "\n",
///     r#"{"event_type":"my.own","source":"a","timestamp":1763810000.2}"#, "\n",
///     r#"{"event_type":"my.own","sour"#,
/// );
/// let bus = EventBus::new();
/// let report = Replay::onto(&bus).speed(ReplaySpeed::times(10.0)?).ndjson(text);
/// assert_eq!((report.published, report.malformed), (2, 1));
/// assert!(report.malformed_lines[0].is_torn());
/// assert_eq!(report.malformed_lines[0].line(), 3);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Replay {
    bus: EventBus,
    choice: Choice,
    pace: Pace,
    is_unmarked: bool,
    stop: ReplayStop,
    report: ReplayReport,
    /// The number of the latest line.
    line: u64,
}

impl Replay {
    /// A replay onto this bus, which it keeps open as a handle does.
    #[must_use]
    pub fn onto(bus: &EventBus) -> Self {
        Replay {
            bus: bus.clone(),
            choice: Choice::default(),
            pace: Pace::default(),
            is_unmarked: false,
            stop: ReplayStop::default(),
            report: ReplayReport::default(),
            line: 0,
        }
    }

    /// Only events whose type matches this glob, or another that was given. Default: all.
    ///
    /// # Errors
    /// A glob that is no pattern.
    pub fn event_type(mut self, glob: impl IntoPattern) -> Result<Self, PatternError> {
        self.choice.globs.push(glob.into_pattern()?);
        Ok(self)
    }

    /// Only events whose timestamp is in this range. Default: all.
    #[must_use]
    pub fn times(mut self, range: impl RangeBounds<Timestamp>) -> Self {
        self.choice.times = range_of(&range);
        self
    }

    /// Only events whose first publication has a number in this range: that of a history, or the line's `sequence`. An
    /// event without a number is in no range but `..`, the default.
    #[must_use]
    pub fn sequences(mut self, range: impl RangeBounds<u64>) -> Self {
        self.choice.sequences = range_of(&range);
        self
    }

    /// How fast. Default: [`ReplaySpeed::FULL`].
    ///
    /// At another speed each event waits until it is due, counted from the first that was published: handlers that take
    /// long delay nobody. An event that is late, or older than the one before, is published at once. Where a recorded
    /// clock was set back by more than a second, the gaps go on from there. A wait of the synchronous methods blocks the
    /// thread, whichever it is. Time is the bus's: that of a manual bus moves when its driver moves it, or, outside of its
    /// handlers, when a synchronous method here waits. A bus that can keep no more time limits makes nobody wait.
    #[must_use]
    pub fn speed(mut self, speed: ReplaySpeed) -> Self {
        self.pace.speed = speed;
        self
    }

    /// The longest wait between two events, after scaling. Default: none.
    #[must_use]
    pub fn gap_max(mut self, most: Duration) -> Self {
        self.pace.gap_max = Some(most);
        self
    }

    /// Leaves the events' metadata alone: nothing tells them from their first publication but the sequence number.
    #[must_use]
    pub fn unmarked(mut self) -> Self {
        self.is_unmarked = true;
        self
    }

    /// What stops this replay from another thread or task.
    #[must_use]
    pub fn stop_handle(&self) -> ReplayStop {
        self.stop.clone()
    }

    /// Goes on after a stop or a pause: the next event is due at once, and the gaps count from it.
    pub fn resume(&mut self) {
        self.stop.clear();
        self.pace.restart();
        self.report.ending = ReplayEnding::Open;
    }

    /// What became of everything so far. It is exact whenever it can be read, also after a future of this replay was
    /// dropped: an event that was waiting then was not published.
    #[must_use]
    pub fn report(&self) -> &ReplayReport {
        &self.report
    }

    /// Replays one event, when it is due; `sequence` is the number of its first publication.
    ///
    /// # Errors
    /// What the bus refuses, as [`EventBus::publish`] does.
    pub fn event(
        &mut self,
        sequence: Option<u64>,
        event: impl Into<Arc<Event>>,
    ) -> Result<Replayed, EventPublishError> {
        self.play(Item { line: None, sequence, event: event.into() })
    }

    /// [`event`](Self::event) for async code. A future that is dropped before it is done did nothing.
    ///
    /// # Errors
    /// As [`event`](Self::event).
    pub async fn event_async(
        &mut self,
        sequence: Option<u64>,
        event: impl Into<Arc<Event>>,
    ) -> Result<Replayed, EventPublishError> {
        self.play_async(Item { line: None, sequence, event: event.into() }).await
    }

    /// Replays one line of NDJSON: an event, and perhaps its `sequence`. The line may have its ending; at most 1 MiB.
    ///
    /// # Errors
    /// A line that is no event, named by its number among those handed in; what the bus refuses.
    pub fn line(&mut self, line: impl AsRef<[u8]>) -> Result<Replayed, ReplayError> {
        self.line += 1;
        match read(self.line, line.as_ref()) {
            Ok(Some(item)) => Ok(self.play(item)?),
            Ok(None) => Ok(Replayed::Blank),
            Err(error) => Err(self.malformed(error)),
        }
    }

    /// [`line`](Self::line) for async code. A future that is dropped before it is done published nothing; the line has had
    /// its number.
    ///
    /// # Errors
    /// As [`line`](Self::line).
    pub async fn line_async(&mut self, line: impl AsRef<[u8]>) -> Result<Replayed, ReplayError> {
        self.line += 1;
        match read(self.line, line.as_ref()) {
            Ok(Some(item)) => Ok(self.play_async(item).await?),
            Ok(None) => Ok(Replayed::Blank),
            Err(error) => Err(self.malformed(error)),
        }
    }
}
