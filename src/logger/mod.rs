//! [`EventLogger`]: a log of what was published on a bus and what its handlers did about it.
//!
//! It is a pair of interceptors, so it logs an event that nobody hears as well, and knows each handler's true time. An entry
//! is made when the logger first learns of its event: inline by the first handler that ends, else by the end of the publish.
//!
//! In reading order: here, attaching and asking; `records`: where entries are kept without a lock; `entry`: what is told of
//! one; `query`: asking for some of them; `statistics`: counts by type; `json` and `csv`: what is exported.

mod csv;
mod entry;
mod json;
mod query;
mod records;
mod statistics;

pub use entry::EventLogEntry;
pub use query::EventLogQuery;
pub use statistics::{EventLogStats, TypeLogStats};

use crate::bus::{EventBus, ScopedInterceptor, try_get_event_bus};
use crate::config::ConfigError;
use records::{Observer, Records};
use std::fmt;
use std::sync::{Arc, OnceLock};

/// How many entries are kept unless it is said otherwise.
const ENTRIES_DEFAULT: usize = 10_000;

/// How many entries a logger can be told to keep.
pub const LOG_ENTRIES_MAX: usize = 1 << 20;

/// Logs the events of a bus: what was published, how many handlers heard it, how long they took, and how they failed.
///
/// It logs what is published after it was attached, and stops when it is dropped. The newest 10,000 entries are kept unless
/// told otherwise, each with its event; the first 1,024 types are told apart in the statistics, the others counted
/// together. So its memory is bounded, whatever is published. It takes no lock, and it does not keep its bus alive.
///
/// ```
/// use codomyrmex_events::{Delivery, Event, EventBus, EventLogger, EventType};
///
/// let bus = EventBus::new();
/// let logger = EventLogger::attach(&bus);
/// bus.subscribe("build.*").handler(|_: &Delivery<'_>| Err::<(), _>("no disk"))?;
/// bus.publish(Event::builder(EventType::BuildStart, "ci_pipeline").build()?)?;
/// bus.publish(Event::builder(EventType::TaskStarted, "orchestrator").build()?)?;
///
/// let entries = logger.query().entries()?;
/// assert_eq!((entries[0].handler_count(), entries[1].handler_count()), (1, 0));
/// assert_eq!(logger.query().errors().entries()?[0].error(), Some("no disk"));
/// println!("{}", logger.query().event_type("build.*").to_csv()?);
/// # Ok::<(), codomyrmex_events::EventError>(())
/// ```
pub struct EventLogger {
    records: Arc<Observer>,
    /// They end with it.
    _interceptors: [ScopedInterceptor; 2],
}

impl EventLogger {
    /// Begins to log the events of a bus, and keeps the newest 10,000 entries.
    #[must_use = "it stops when it is dropped"]
    pub fn attach(bus: &EventBus) -> Self {
        EventLogger::attach_with_room(bus, ENTRIES_DEFAULT)
    }

    /// The same, keeping as many of the newest entries: at least 1, at most 1,048,576.
    #[must_use = "it stops when it is dropped"]
    pub fn attach_with_room(bus: &EventBus, entries: usize) -> Self {
        let room = entries.clamp(1, LOG_ENTRIES_MAX);
        let observer = Arc::new(Observer::new(room, bus.downgrade()));
        let handling = bus.intercept_handling(Arc::clone(&observer)).scoped();
        let publishing = bus.intercept_publish(records::Publishes(Arc::clone(&observer))).scoped();
        // Last: of an event that is logged every handler is.
        observer.begin();
        EventLogger { records: observer, _interceptors: [handling, publishing] }
    }

    /// Asks for entries, all of them unless it is said which.
    pub fn query(&self) -> EventLogQuery<'_> {
        EventLogQuery::new(self)
    }

    /// The newest `count` entries, the oldest of them first.
    #[must_use]
    pub fn recent(&self, count: usize) -> Vec<EventLogEntry> {
        let mut entries = self.entries();
        let surplus = entries.len().saturating_sub(count);
        entries.drain(..surplus);
        entries
    }

    /// Counts and times by type, since it was attached or cleared. Entries that are no longer kept are in them.
    #[must_use]
    pub fn statistics(&self) -> EventLogStats {
        EventLogStats::of(&self.records.current())
    }

    /// Forgets all entries and counts. Deliveries that go on are not logged any more.
    pub fn clear(&self) {
        self.records.begin();
    }

    /// All that are kept, by sequence number.
    fn entries(&self) -> Vec<EventLogEntry> {
        let records: Arc<Records> = self.records.current();
        let mut entries: Vec<EventLogEntry> =
            records.iter().map(|record| EventLogEntry::of(&record)).collect();
        entries.sort_unstable_by_key(EventLogEntry::sequence);
        entries
    }
}

impl fmt::Debug for EventLogger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventLogger").field("bus", self.records.bus()).finish_non_exhaustive()
    }
}

static LOGGER: OnceLock<EventLogger> = OnceLock::new();

/// The process-wide logger, attached to the process-wide bus when it is first asked for.
///
/// # Panics
/// As [`get_event_bus`](crate::get_event_bus); [`try_get_event_logger`] returns the error instead.
#[allow(clippy::panic, reason = "documented; there is a fallible twin")]
pub fn get_event_logger() -> &'static EventLogger {
    try_get_event_logger().unwrap_or_else(|error| panic!("{error}"))
}

/// The process-wide logger, attached to the process-wide bus when it is first asked for.
///
/// # Errors
/// The process-wide bus cannot be made: an environment variable that cannot be used.
pub fn try_get_event_logger() -> Result<&'static EventLogger, ConfigError> {
    if let Some(logger) = LOGGER.get() {
        return Ok(logger);
    }
    // Attached before the cell is taken: of two that are attached at once, one is dropped and so detached.
    let logger = EventLogger::attach(try_get_event_bus()?);
    Ok(LOGGER.get_or_init(|| logger))
}
