//! Letters that could not be delivered, and where a failing handler leaves them without waiting.

mod text;

use super::retry::Late;
use super::slots::Entry;
use crate::clock::Timestamp;
use crate::event::{Event, EventValidationError};
use crate::sync::{AtomicU64, Ordering};
use crossbeam_queue::ArrayQueue;
use std::sync::Arc;
pub use text::LetterParseError;

/// Why a letter was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DeadLetterKind {
    /// Every attempt of a handler failed.
    Handler,
    /// The last attempt of an asynchronous handler took longer than its time limit.
    TimeLimit,
    /// The payload did not satisfy the schema of its type, so nobody was handed the event.
    Schema,
    /// There was no room in the event's lane, or in a subscription's mailbox, so it was discarded; kept only if the bus was
    /// built to. Or it was a delayed event that was refused when its time came; kept always.
    Dropped,
}

impl DeadLetterKind {
    /// `"handler"`, `"time_limit"`, `"schema"` or `"dropped"`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            DeadLetterKind::Handler => "handler",
            DeadLetterKind::TimeLimit => "time_limit",
            DeadLetterKind::Schema => "schema",
            DeadLetterKind::Dropped => "dropped",
        }
    }

    /// The kind of that name.
    fn named(name: &str) -> Option<Self> {
        use DeadLetterKind::{Dropped, Handler, Schema, TimeLimit};
        [Handler, TimeLimit, Schema, Dropped].into_iter().find(|kind| kind.as_str() == name)
    }
}

/// An event that could not be delivered to a subscription, or was refused by its schema. Holds the event and
/// what went wrong, no closure.
#[derive(Clone, Debug)]
pub struct DeadLetter {
    pub(crate) id: u64,
    kind: DeadLetterKind,
    event: Arc<Event>,
    sequence: Option<u64>,
    /// Its label, and who it is unless the letter came from elsewhere.
    subscriber: Option<(String, Option<Entry>)>,
    attempts: u32,
    chain: Vec<String>,
    rejection: Option<EventValidationError>,
    first_failed_at: Timestamp,
    last_failed_at: Timestamp,
    redrives: u32,
    earlier: Vec<EarlierFailure>,
}

/// How a letter's delivery failed before it was redriven.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct EarlierFailure {
    /// When its last attempt failed.
    pub at: Timestamp,
    /// How often the handler had been tried by then.
    pub attempts: u32,
    /// The error.
    pub error: String,
}

/// How many earlier failures a letter tells of: the latest ones.
const EARLIER_FAILURES_MAX: usize = 16;

impl DeadLetter {
    /// Of a delivery whose every attempt failed. What failed before, and was redriven, adds up.
    pub(crate) fn undelivered(late: &Late) -> Self {
        let kind = if late.is_timed_out { DeadLetterKind::TimeLimit } else { DeadLetterKind::Handler };
        DeadLetter::of(late, kind, late.chain.clone())
    }

    /// Of a delivery for which there was no room in its mailbox.
    #[cfg(feature = "async")]
    pub(crate) fn dropped_delivery(late: &Late) -> Self {
        DeadLetter::of(late, DeadLetterKind::Dropped, vec!["no room in the mailbox".to_owned()])
    }

    /// Of a letter that was to be redriven and was not.
    pub(crate) fn not_redriven(late: &Late, reason: &str) -> Self {
        let kind = late.letter.as_ref().map_or(DeadLetterKind::Handler, |letter| letter.kind);
        DeadLetter::of(late, kind, vec![reason.to_owned()])
    }

    fn of(late: &Late, kind: DeadLetterKind, chain: Vec<String>) -> Self {
        let now = Timestamp::now();
        let before = late.letter.as_deref();
        DeadLetter {
            id: 0,
            kind,
            event: Arc::clone(&late.event),
            sequence: before.map_or(Some(late.sequence), |letter| letter.sequence),
            subscriber: Some((late.subscriber.id().to_owned(), Some(late.subscriber.entry))),
            attempts: before.map_or(0, |letter| letter.attempts).saturating_add(late.attempts),
            chain,
            rejection: None,
            first_failed_at: before
                .map(|letter| letter.first_failed_at)
                .or(late.first_failed_at)
                .unwrap_or(now),
            last_failed_at: now,
            redrives: before.map_or(0, |letter| letter.redrives.saturating_add(1)),
            earlier: before.map(DeadLetter::with_earlier).unwrap_or_default(),
        }
    }

    fn with_earlier(&self) -> Vec<EarlierFailure> {
        let skipped = (self.earlier.len() + 1).saturating_sub(EARLIER_FAILURES_MAX);
        let mut earlier = self.earlier[skipped..].to_vec();
        earlier.push(EarlierFailure {
            at: self.last_failed_at,
            attempts: self.attempts,
            error: self.chain.first().cloned().unwrap_or_default(),
        });
        earlier
    }

    #[cfg(feature = "schema")]
    pub(crate) fn rejected(event: &Arc<Event>, rejection: EventValidationError) -> Self {
        let now = Timestamp::now();
        DeadLetter {
            id: 0,
            kind: DeadLetterKind::Schema,
            event: Arc::clone(event),
            sequence: None,
            subscriber: None,
            attempts: 0,
            chain: vec![rejection.to_string()],
            rejection: Some(rejection),
            first_failed_at: now,
            last_failed_at: now,
            redrives: 0,
            earlier: Vec::new(),
        }
    }

    #[cfg(feature = "queued")]
    pub(crate) fn dropped(event: &Arc<Event>, sequence: u64) -> Self {
        DeadLetter {
            sequence: Some(sequence),
            ..DeadLetter::unpublished(event, "no room in its queue".to_owned())
        }
    }

    /// Of a delayed event that was refused when its time came.
    pub(crate) fn unpublished(event: &Arc<Event>, reason: String) -> Self {
        let now = Timestamp::now();
        DeadLetter {
            id: 0,
            kind: DeadLetterKind::Dropped,
            event: Arc::clone(event),
            sequence: None,
            subscriber: None,
            attempts: 0,
            chain: vec![reason],
            rejection: None,
            first_failed_at: now,
            last_failed_at: now,
            redrives: 0,
            earlier: Vec::new(),
        }
    }

    /// The letter's number: unique in its bus, rising in the order the letters were made.
    #[must_use]
    pub fn id(&self) -> u64 {
        self.id
    }

    /// Why the letter was made.
    #[must_use]
    pub fn kind(&self) -> DeadLetterKind {
        self.kind
    }

    /// The event.
    #[must_use]
    pub fn event(&self) -> &Arc<Event> {
        &self.event
    }

    /// The number of the publication that failed; none for an event refused by its schema.
    #[must_use]
    pub fn sequence(&self) -> Option<u64> {
        self.sequence
    }

    /// The subscription whose handler failed; none for an event refused by its schema.
    #[must_use]
    pub fn subscriber_id(&self) -> Option<&str> {
        self.subscriber.as_ref().map(|(id, _)| id.as_str())
    }

    /// The subscription itself; none if there is none, or if the letter came from elsewhere and knows only its id.
    pub(crate) fn entry(&self) -> Option<Entry> {
        self.subscriber.as_ref().and_then(|(_, entry)| *entry)
    }

    /// The letter for another bus, where it knows its subscription by the id alone: an entry means something in its own bus
    /// only.
    pub(crate) fn without_entry(mut self) -> Self {
        if let Some((_, entry)) = &mut self.subscriber {
            *entry = None;
        }
        self
    }

    /// How often the handler was tried, redrives included.
    #[must_use]
    pub fn attempts(&self) -> u32 {
        self.attempts
    }

    /// How often the letter was redriven in vain.
    #[must_use]
    pub fn redrives(&self) -> u32 {
        self.redrives
    }

    /// How it failed before each redrive, the earliest first; the latest 16.
    #[must_use]
    pub fn earlier_failures(&self) -> &[EarlierFailure] {
        &self.earlier
    }

    /// The last error and its sources, outermost first; a panic's message begins with `panicked: `. At most
    /// 16 links of 4 KiB each.
    #[must_use]
    pub fn error_chain(&self) -> &[String] {
        &self.chain
    }

    /// For an event refused by its schema: the failures with their JSON pointers, the first 1,000, and how many.
    #[must_use]
    pub fn rejection(&self) -> Option<&EventValidationError> {
        self.rejection.as_ref()
    }

    /// When the first attempt failed.
    #[must_use]
    pub fn first_failed_at(&self) -> Timestamp {
        self.first_failed_at
    }

    /// When the last attempt failed.
    #[must_use]
    pub fn last_failed_at(&self) -> Timestamp {
        self.last_failed_at
    }
}

/// New letters, until the dead-letter queue is next looked at. Adding one takes no lock, since a
/// publisher does it. Full, it lets the oldest go: by then the queue's limit is filled with newer ones.
pub(crate) struct DeadLetterInbox {
    letters: Option<ArrayQueue<Arc<DeadLetter>>>,
    made: AtomicU64,
    evicted: AtomicU64,
}

impl DeadLetterInbox {
    /// `limit` 0 keeps none, but counts.
    pub(crate) fn new(limit: usize) -> Self {
        let letters = (limit > 0).then(|| ArrayQueue::new(limit));
        DeadLetterInbox { letters, made: AtomicU64::new(0), evicted: AtomicU64::new(0) }
    }

    /// Adds a letter; returns it, and the one that made room for it, if any.
    #[must_use]
    pub(crate) fn add(&self, mut letter: DeadLetter) -> (Arc<DeadLetter>, Option<Arc<DeadLetter>>) {
        letter.id = self.made.fetch_add(1, Ordering::Relaxed) + 1;
        let letter = Arc::new(letter);
        let evicted = match &self.letters {
            Some(letters) => letters.force_push(Arc::clone(&letter)),
            None => Some(Arc::clone(&letter)),
        };
        self.count_evicted(u64::from(evicted.is_some()));
        (letter, evicted)
    }

    pub(crate) fn take(&self) -> Option<Arc<DeadLetter>> {
        self.letters.as_ref().and_then(ArrayQueue::pop)
    }

    pub(crate) fn limit(&self) -> usize {
        self.letters.as_ref().map_or(0, ArrayQueue::capacity)
    }

    pub(crate) fn count_evicted(&self, letters: u64) {
        self.evicted.fetch_add(letters, Ordering::Relaxed);
    }

    /// Letters made since the bus began.
    pub(crate) fn made(&self) -> u64 {
        self.made.load(Ordering::Relaxed)
    }

    /// Letters that made room for newer ones, or that a limit of 0 did not keep.
    pub(crate) fn evicted(&self) -> u64 {
        self.evicted.load(Ordering::Relaxed)
    }
}
