//! [`Analysis`]: rates, recurring errors, durations, what never ended, and what jumped.
//!
//! Events are added one by one and none is kept, so a history and a file of any size are the same to it, and its memory is
//! bounded whatever the events say. Every table has room for so many things, those that come first; what finds none is
//! counted. Nothing here looks at a clock: time is what the events say it is.
//!
//! In reading order: `report`, what is told; `analyzer`, who adds it up; `windows`, time and rates; `told`, what an event says of
//! operations and errors; `errors`; `operations`, which end belongs to which start, with `waiting` and `durations`; `jumps`;
//! and how it is shown: `timeline`, `words`, `table`, and `picture` with `svg`.

mod analyzer;
mod durations;
mod errors;
mod jumps;
mod operations;
mod picture;
mod report;
mod svg;
mod table;
mod timeline;
mod told;
mod waiting;
mod windows;
mod words;

pub use analyzer::Analyzer;
pub use report::{
    Analysis, ErrorCounts, Jump, Jumps, NeverCompleted, OpenOperation, OperationStats, Operations,
    OtherOperations, Rates, RecurringError, Series,
};

use crate::bus::{EventHistory, IntoPatterns};
use crate::matcher::{Pattern, PatternError};
use std::time::Duration;

/// How many windows of a given length may have events, before they are made longer.
const WINDOWS_MAX: usize = 256;
/// How many windows there are at most whose length nobody gave.
const WINDOWS_MAX_AUTOMATIC: usize = 60;
/// How many types, sources and pairs of both are told apart, each.
const SERIES_MAX: usize = 1_024;
/// How many errors are told apart.
const ERRORS_MAX: usize = 1_024;
/// How many kinds of operations are told apart.
const OPERATIONS_MAX: usize = 256;
/// How many starts wait for their end.
const OPEN_OPERATIONS_MAX: usize = 16_384;
/// How many ends wait for a start that comes after them.
const ENDS_WAITING_MAX: usize = 4_096;
/// How many of the operations that never completed are told one by one.
const NEVER_COMPLETED_KEPT_MAX: usize = 100;
/// How many jumps are told one by one.
const JUMPS_KEPT_MAX: usize = 100;
/// How much more, or less, is a jump.
const JUMP_FACTOR: u64 = 3;
/// How many events a window has at least that jumped up, or before it fell.
const JUMP_EVENTS_MIN: u64 = 20;

impl EventHistory<'_> {
    /// What the events tell that are kept and whose type matches one of the globs: their rates in windows of this length,
    /// recurring errors, durations of operations, what never ended and what jumped. [`Analyzer`] says how each is reckoned;
    /// there, `Analyzer::default()` chooses the length itself.
    ///
    /// ```
    /// use codomyrmex_events::{Event, EventBus, EventError, EventType};
    /// use std::time::Duration;
    ///
    /// let bus = EventBus::new();
    /// for event_type in [EventType::BuildStart, EventType::BuildComplete] {
    ///     bus.publish(Event::builder(event_type, "ci").correlation_id("build-7").build()?)?;
    /// }
    /// let analysis = bus.history().analyze("build.*", Duration::from_secs(60))?;
    /// let build = &analysis.operations.kept[0];
    /// assert_eq!((build.operation.as_str(), build.completed, build.open), ("build", 1, 0));
    /// println!("{analysis}");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// A glob that is no pattern.
    pub fn analyze(&self, globs: impl IntoPatterns, window: Duration) -> Result<Analysis, PatternError> {
        let globs: Vec<Pattern> = globs.into_patterns()?;
        let mut analyzer = Analyzer::new(window);
        for event in self.query().since(0).events()? {
            if globs.iter().any(|glob| glob.matches(event.event_type().as_str())) {
                analyzer.add(&event);
            }
        }
        Ok(analyzer.finish())
    }
}
