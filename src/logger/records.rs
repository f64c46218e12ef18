//! Where entries are kept: one place for each of the newest sequence numbers, filled and counted without a lock.
//!
//! A place is a pointer to a record. Whoever first learns of an event puts its record there, if the place has an older one;
//! what has been overtaken by a newer event is counted and not kept. A record's counts are atomics, so handlers on any
//! thread add to them.

use super::statistics::TypeCounts;
use crate::bus::WeakEventBus;
use crate::dispatch::attempt::{Attempt, AttemptOutcome, HandlingInterceptor};
use crate::dispatch::handler::guarded_text;
use crate::dispatch::intercept::{PublishInterceptor, PublishOutcome};
use crate::event::{Event, EventType};
use crate::keyed::Keyed;
use crate::quiet::drop_quietly;
use crate::sync::{AtomicU64, Ordering};
use arc_swap::{ArcSwap, ArcSwapOption, Guard};
use once_cell::race::OnceBox;
use std::sync::Arc;
use std::time::Duration;

/// How many types are told apart.
const TYPES_MAX: usize = 1_024;

/// No number is as high.
const UNDECIDED: u64 = u64::MAX;
const NOTHING_AFTER: u64 = u64::MAX - 1;

/// How much of an error is kept.
const ERROR_BYTES_MAX: usize = 1_024;

/// One event and what its handlers did about it.
pub(super) struct Record {
    pub(super) sequence: u64,
    pub(super) event: Arc<Event>,
    /// Deliveries whose handler was called.
    pub(super) handlers: AtomicU64,
    pub(super) attempts: AtomicU64,
    pub(super) failures: AtomicU64,
    pub(super) took_ns: AtomicU64,
    /// The first.
    pub(super) error: OnceBox<String>,
}

impl Record {
    fn new(sequence: u64, event: &Arc<Event>) -> Arc<Self> {
        Arc::new(Record {
            sequence,
            event: Arc::clone(event),
            handlers: AtomicU64::new(0),
            attempts: AtomicU64::new(0),
            failures: AtomicU64::new(0),
            took_ns: AtomicU64::new(0),
            error: OnceBox::new(),
        })
    }
}

/// What was logged since the logger was attached or cleared.
pub(super) struct Records {
    /// Events up to this number are not logged; [`UNDECIDED`] until the first event is to be.
    after: AtomicU64,
    places: Box<[ArcSwapOption<Record>]>,
    pub(super) types: Keyed<EventType, TypeCounts>,
    /// Attempts that ended when their event's entry was overwritten.
    pub(super) late: AtomicU64,
}

impl Records {
    fn new(room: usize, after: u64) -> Self {
        Records {
            after: AtomicU64::new(after),
            places: std::iter::repeat_with(ArcSwapOption::const_empty).take(room).collect(),
            types: Keyed::new(TYPES_MAX),
            late: AtomicU64::new(0),
        }
    }

    /// Whether an event is logged: every handler of it, or none.
    ///
    /// Whoever asks first decides, after these records were put in their place: what was published until then may have been
    /// logged in those before, and what is published later cannot be.
    fn is_logged(&self, sequence: u64, bus: &WeakEventBus) -> bool {
        let after = match self.after.load(Ordering::Acquire) {
            UNDECIDED => self.decide(bus),
            after => after,
        };
        sequence > after
    }

    #[cold]
    fn decide(&self, bus: &WeakEventBus) -> u64 {
        // A bus that has ended publishes nothing more.
        let last = bus.upgrade().map_or(NOTHING_AFTER, |bus| bus.history().last_sequence());
        let decided = self.after.compare_exchange(UNDECIDED, last, Ordering::AcqRel, Ordering::Acquire);
        decided.map_or_else(|after| after, |_| last)
    }

    /// The record of an event, made if need be; none if it is not kept any more.
    fn of(&self, sequence: u64, event: &Arc<Event>) -> Option<Arc<Record>> {
        let place = &self.places[(sequence % self.places.len() as u64) as usize];
        let mut fresh = None;
        let mut found = place.load();
        loop {
            match found.as_ref() {
                Some(record) if record.sequence == sequence => return Some(Arc::clone(record)),
                Some(record) if record.sequence > sequence => return None,
                _ => {}
            }
            let made = Arc::clone(fresh.get_or_insert_with(|| Record::new(sequence, event)));
            let before = place.compare_and_swap(&found, Some(made));
            if before.as_ref().map(Arc::as_ptr) == found.as_ref().map(Arc::as_ptr) {
                // Perhaps the last to hold an event, whose payload's destructor may panic; this one is to be counted.
                drop_quietly((Guard::into_inner(before), Guard::into_inner(found)));
                return fresh;
            }
            found = before;
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = Arc<Record>> {
        self.places.iter().filter_map(ArcSwapOption::load_full)
    }

    fn published(&self, sequence: u64, event: &Arc<Event>) {
        self.types.of(event.event_type()).published(is_error(event));
        self.of(sequence, event);
    }

    fn attempted(&self, attempt: &Attempt<'_>, outcome: &AttemptOutcome<'_>, took: Duration) {
        let took_ns = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        let counts = self.types.of(attempt.event_type());
        let Some(record) = self.of(attempt.sequence(), attempt.event()) else {
            self.late.fetch_add(1, Ordering::Relaxed);
            counts.took(took_ns, took_ns);
            return;
        };
        record.attempts.fetch_add(1, Ordering::Relaxed);
        if attempt.attempt() == 1 {
            record.handlers.fetch_add(1, Ordering::Relaxed);
        }
        let before_ns = record.took_ns.fetch_add(took_ns, Ordering::Relaxed);
        counts.took(took_ns, before_ns.saturating_add(took_ns));
        if let AttemptOutcome::Failed(error) = outcome {
            let is_first = record.failures.fetch_add(1, Ordering::Relaxed) == 0;
            record.error.get_or_init(|| Box::new(bounded(guarded_text(*error))));
            if is_first && !is_error(&record.event) {
                counts.failed();
            }
        }
    }
}

/// Events of others go with it.
impl Drop for Records {
    fn drop(&mut self) {
        self.places.iter().for_each(|place| drop_quietly(place.swap(None)));
    }
}

/// Whether an event tells of an error by its type: its name's last part is `error` or `failed`.
pub(super) fn is_error(event: &Event) -> bool {
    let name = event.event_type().as_str();
    matches!(name.rsplit('.').next(), Some("error" | "failed"))
}

fn bounded(mut text: String) -> String {
    if text.len() > ERROR_BYTES_MAX {
        let end = text.floor_char_boundary(ERROR_BYTES_MAX);
        text.truncate(end);
        text.push('…');
    }
    text
}

/// What is told of publishes and attempts.
pub(super) struct Observer {
    room: usize,
    bus: WeakEventBus,
    records: ArcSwap<Records>,
}

impl Observer {
    /// It logs nothing before it is told to begin.
    pub(super) fn new(room: usize, bus: WeakEventBus) -> Self {
        Observer { room, bus, records: ArcSwap::from_pointee(Records::new(1, NOTHING_AFTER)) }
    }

    /// Begins anew, with what is published from now on.
    pub(super) fn begin(&self) {
        let fresh = Arc::new(Records::new(self.room, UNDECIDED));
        let before = self.records.swap(Arc::clone(&fresh));
        fresh.decide(&self.bus);
        drop(before);
    }

    pub(super) fn bus(&self) -> &WeakEventBus {
        &self.bus
    }

    pub(super) fn current(&self) -> Arc<Records> {
        self.records.load_full()
    }
}

/// The side around publishing.
pub(super) struct Publishes(pub(super) Arc<Observer>);

impl PublishInterceptor for Publishes {
    fn after_publish(&self, outcome: &PublishOutcome<'_>) {
        let Some(sequence) = outcome.sequence() else { return };
        let records = self.0.records.load();
        if records.is_logged(sequence, &self.0.bus) {
            records.published(sequence, outcome.event());
        }
    }
}

impl HandlingInterceptor for Arc<Observer> {
    fn after_handling(&self, attempt: &Attempt<'_>, outcome: &AttemptOutcome<'_>, took: Duration) {
        let records = self.records.load();
        if !matches!(outcome, AttemptOutcome::Skipped) && records.is_logged(attempt.sequence(), &self.bus) {
            records.attempted(attempt, outcome, took);
        }
    }
}
