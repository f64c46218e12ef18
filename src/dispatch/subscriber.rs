//! A subscription without its closures: who it is, what it wants, and what became of its deliveries.

use super::latency::Histogram;
#[cfg(feature = "async")]
use super::mailbox::Mailbox;
use super::retry::Backoff;
use super::slots::Entry;
use crate::matcher::Pattern;
use crate::sync::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use smol_str::SmolStr;
#[cfg(feature = "async")]
use std::sync::Weak;
use std::time::Duration;

/// Identity, wishes and rare counts. Lives as long as anyone asks about it; holds nothing of the user's.
#[derive(Debug)]
pub(crate) struct Subscriber {
    pub(crate) entry: Entry,
    id: SmolStr,
    pub(crate) patterns: Box<[Pattern]>,
    pub(crate) attempts_max: u32,
    /// At most one turn: set once it was taken.
    once: Option<AtomicBool>,
    /// The handler, the filter and their captures have been dropped.
    gone: AtomicBool,
    /// What the slot had counted for the subscriptions before this one.
    pub(crate) begun_before: u64,
    pub(crate) succeeded_before: u64,
    pub(crate) filtered: AtomicU64,
    pub(crate) failed_attempts: AtomicU64,
    pub(crate) retried: AtomicU64,
    pub(crate) dead_lettered: AtomicU64,
    pub(crate) cancelled: AtomicU64,
    extras: Option<Box<Extras>>,
}

/// What only those subscriptions have that are asynchronous, timed, or tried again: the others are many.
#[derive(Debug, Default)]
pub(crate) struct Extras {
    /// Between attempts; `None`: what the bus does.
    pub(crate) backoff: Option<Backoff>,
    /// How long the handler may take.
    pub(crate) time_limit: Option<Duration>,
    /// How long attempts take, if somebody wants to know.
    pub(crate) handling: Option<Histogram>,
    #[cfg(feature = "async")]
    pub(crate) mailbox: Option<Weak<Mailbox>>,
    /// Futures of its handler that exist; begun under a pin.
    pub(crate) running: AtomicUsize,
    /// Deliveries that wait for another attempt.
    pub(crate) waiting_retries: AtomicUsize,
    pub(crate) dropped: AtomicU64,
    /// Attempts that took longer than the time limit.
    pub(crate) overran: AtomicU64,
    /// Attempts that took longer than the bus calls slow.
    pub(crate) slow: AtomicU64,
}

/// What [`Subscriber::new`] is told.
pub(crate) struct Wishes {
    pub(crate) id: SmolStr,
    pub(crate) patterns: Box<[Pattern]>,
    pub(crate) attempts_max: u32,
    pub(crate) once: bool,
    pub(crate) extras: Option<Box<Extras>>,
}

impl Subscriber {
    /// `before`: the deliveries begun and succeeded in this slot so far.
    pub(crate) fn new(wishes: Wishes, entry: Entry, before: (u64, u64)) -> Self {
        Subscriber {
            entry,
            id: wishes.id,
            patterns: wishes.patterns,
            attempts_max: wishes.attempts_max,
            once: wishes.once.then(AtomicBool::default),
            gone: AtomicBool::new(false),
            begun_before: before.0,
            succeeded_before: before.1,
            filtered: AtomicU64::new(0),
            failed_attempts: AtomicU64::new(0),
            retried: AtomicU64::new(0),
            dead_lettered: AtomicU64::new(0),
            cancelled: AtomicU64::new(0),
            extras: wishes.extras,
        }
    }

    pub(crate) fn id(&self) -> &str {
        &self.id
    }

    pub(crate) fn extras(&self) -> Option<&Extras> {
        self.extras.as_deref()
    }

    pub(crate) fn backoff(&self) -> Option<Backoff> {
        self.extras().and_then(|extras| extras.backoff)
    }

    pub(crate) fn time_limit(&self) -> Option<Duration> {
        self.extras().and_then(|extras| extras.time_limit)
    }

    pub(crate) fn handling(&self) -> Option<&Histogram> {
        self.extras().and_then(|extras| extras.handling.as_ref())
    }

    /// Deliveries that wait for another attempt.
    pub(crate) fn waiting_retries(&self) -> usize {
        self.extras().map_or(0, |extras| extras.waiting_retries.load(Ordering::SeqCst))
    }

    /// Raises one of the counts of those that have extras.
    pub(crate) fn count(&self, which: impl FnOnce(&Extras) -> &AtomicU64) {
        if let Some(extras) = self.extras() {
            count(which(extras));
        }
    }

    pub(crate) fn counted(&self, which: impl FnOnce(&Extras) -> &AtomicU64) -> u64 {
        self.extras().map_or(0, |extras| which(extras).load(Ordering::Relaxed))
    }

    /// Deliveries that wait in its mailbox; none if it is synchronous.
    #[cfg(feature = "async")]
    pub(crate) fn waiting(&self) -> Option<usize> {
        let mailbox = self.extras()?.mailbox.as_ref()?;
        Some(mailbox.upgrade().map_or(0, |mailbox| mailbox.len()))
    }

    /// Deliveries that wait in its mailbox; none, for it is synchronous.
    #[cfg(not(feature = "async"))]
    #[allow(clippy::unused_self, reason = "as with mailboxes")]
    pub(crate) fn waiting(&self) -> Option<usize> {
        None
    }

    pub(crate) fn is_once(&self) -> bool {
        self.once.is_some()
    }

    /// The only turn of a `once` subscription was taken.
    pub(crate) fn is_spent(&self) -> bool {
        self.once.as_ref().is_some_and(|claimed| claimed.load(Ordering::Relaxed))
    }

    /// Takes the only turn of a `once` subscription; true for exactly one caller, ever.
    pub(crate) fn claim_only_turn(&self) -> bool {
        // Ordering: Relaxed. Being first is all that is decided here.
        self.once.as_ref().is_none_or(|claimed| !claimed.swap(true, Ordering::Relaxed))
    }

    pub(crate) fn is_gone(&self) -> bool {
        // Ordering: who sees the handler gone sees the futures that were made of it, and who sees those over, their end.
        self.gone.load(Ordering::Acquire)
            && self.extras().is_none_or(|extras| extras.running.load(Ordering::Acquire) == 0)
    }

    pub(crate) fn set_gone(&self) {
        // Ordering: Release. Who sees it set sees the captures dropped.
        self.gone.store(true, Ordering::Release);
    }
}

/// Raises one of the rare counts.
pub(crate) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}
