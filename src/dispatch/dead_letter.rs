//! Letters that could not be delivered, and where a failing handler leaves them without waiting.

use super::slots::Entry;
use super::subscriber::Subscriber;
use crate::clock::Timestamp;
use crate::event::{Event, EventValidationError};
use crate::sync::{AtomicU64, Ordering};
use crossbeam_queue::ArrayQueue;
use std::sync::Arc;

/// Why a letter was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DeadLetterKind {
    /// Every attempt of a handler failed.
    Handler,
    /// The payload did not satisfy the schema of its type, so nobody was handed the event.
    Schema,
    /// There was no room in the event's queue, so it was discarded; kept only if the bus was asked to.
    Dropped,
}

impl DeadLetterKind {
    /// `"handler"`, `"schema"` or `"dropped"`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            DeadLetterKind::Handler => "handler",
            DeadLetterKind::Schema => "schema",
            DeadLetterKind::Dropped => "dropped",
        }
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
    subscriber: Option<(String, Entry)>,
    attempts: u32,
    chain: Vec<String>,
    rejection: Option<EventValidationError>,
    first_failed_at: Timestamp,
    last_failed_at: Timestamp,
    redrives: u32,
}

/// A delivery whose every attempt failed.
pub(crate) struct Undelivered {
    pub(crate) subscriber: Arc<Subscriber>,
    pub(crate) attempts: u32,
    pub(crate) chain: Vec<String>,
    pub(crate) first_failed_at: Timestamp,
}

impl DeadLetter {
    pub(crate) fn undelivered(event: &Arc<Event>, sequence: u64, undelivered: Undelivered) -> Self {
        let Undelivered { subscriber, attempts, chain, first_failed_at } = undelivered;
        DeadLetter {
            id: 0,
            kind: DeadLetterKind::Handler,
            event: Arc::clone(event),
            sequence: Some(sequence),
            subscriber: Some((subscriber.id().to_owned(), subscriber.entry)),
            attempts,
            chain,
            rejection: None,
            first_failed_at,
            last_failed_at: Timestamp::now(),
            redrives: 0,
        }
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
        }
    }

    #[cfg(feature = "queued")]
    pub(crate) fn dropped(event: &Arc<Event>, sequence: u64) -> Self {
        let now = Timestamp::now();
        DeadLetter {
            id: 0,
            kind: DeadLetterKind::Dropped,
            event: Arc::clone(event),
            sequence: Some(sequence),
            subscriber: None,
            attempts: 0,
            chain: vec!["no room in its queue".to_owned()],
            rejection: None,
            first_failed_at: now,
            last_failed_at: now,
            redrives: 0,
        }
    }

    /// The same letter after a redrive that failed as well: its attempts add up, its first failure stays.
    pub(crate) fn failed_again(mut self, again: Undelivered) -> Self {
        self.attempts = self.attempts.saturating_add(again.attempts);
        self.chain = again.chain;
        self.last_failed_at = Timestamp::now();
        self.redrives = self.redrives.saturating_add(1);
        self
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

    pub(crate) fn entry(&self) -> Option<Entry> {
        self.subscriber.as_ref().map(|(_, entry)| *entry)
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

    /// Adds a letter; returns the one that made room for it, if any.
    #[must_use]
    pub(crate) fn add(&self, mut letter: DeadLetter) -> Option<Arc<DeadLetter>> {
        letter.id = self.made.fetch_add(1, Ordering::Relaxed) + 1;
        let letter = Arc::new(letter);
        let evicted = match &self.letters {
            Some(letters) => letters.force_push(letter),
            None => Some(letter),
        };
        self.count_evicted(u64::from(evicted.is_some()));
        evicted
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
