//! Trying again later: a failed delivery waits with the timers, and holds neither a thread nor a closure meanwhile.
//!
//! An event is completed when the last of its deliveries has ended, so those that go on after its turns are over share
//! a [`Tail`]. It is made when the first of them is put off: an event whose handlers succeed costs none.

use super::dead_letter::DeadLetter;
use super::deliver::Turn;
use super::engine::Engine;
use super::subscriber::Subscriber;
use super::time_limit::EventTimeoutError;
use super::watch::Watch;
use crate::clock::Timestamp;
use crate::event::Event;
use crate::sync::{AtomicUsize, Ordering};
use std::sync::Arc;
use std::time::Duration;

/// How many deliveries of one bus may wait for another attempt. One more becomes a dead letter at once.
pub const WAITING_RETRIES_MAX: usize = 65_536;

/// How long a failed delivery waits before it is tried again: exponential, with full jitter.
///
/// Before attempt `n + 1` it waits a random time between 0 and `first * 2^(n - 1)`, at most `most`: what AWS calls full
/// jitter, which spreads those that failed together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    first: Duration,
    most: Duration,
    has_jitter: bool,
}

impl Default for Backoff {
    fn default() -> Self {
        Backoff { first: Duration::from_millis(100), most: Duration::from_secs(30), has_jitter: true }
    }
}

impl Backoff {
    /// Doubles from `first` to at most `most`, with full jitter. Default: 100 ms to 30 s.
    #[must_use]
    pub fn exponential(first: Duration, most: Duration) -> Self {
        Backoff { first, most, has_jitter: true }
    }

    /// Waits the whole time, not a random part of it.
    #[must_use]
    pub fn without_jitter(self) -> Self {
        Backoff { has_jitter: false, ..self }
    }

    /// The longest wait after `attempts` failed attempts.
    #[must_use]
    pub fn most_after(&self, attempts: u32) -> Duration {
        let doubled = 2_u32.saturating_pow(attempts.saturating_sub(1));
        self.first.saturating_mul(doubled).min(self.most)
    }

    pub(crate) fn after(&self, attempts: u32) -> Duration {
        let most = self.most_after(attempts);
        if self.has_jitter { most.mul_f64(fastrand::f64()) } else { most }
    }
}

/// The deliveries of an event that are not over with its turns.
#[derive(Debug)]
pub(crate) struct Tail {
    open: AtomicUsize,
    /// Wants to know how they end.
    pub(super) watch: Option<Arc<Watch>>,
}

impl Tail {
    /// Of an event whose turns are still being taken.
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Tail { open: AtomicUsize::new(1), watch: None })
    }

    /// The same, for somebody who waits for the end.
    pub(crate) fn watched(watch: &Arc<Watch>) -> Arc<Self> {
        Arc::new(Tail { open: AtomicUsize::new(1), watch: Some(Arc::clone(watch)) })
    }

    pub(crate) fn add(&self) {
        self.open.fetch_add(1, Ordering::Relaxed);
    }

    /// One delivery, or the event's turns, are over. True if that was the last.
    pub(super) fn end(&self) -> bool {
        // Ordering: AcqRel. Who ends it has seen all that the others counted.
        let is_last = self.open.fetch_sub(1, Ordering::AcqRel) == 1;
        if is_last && let Some(watch) = &self.watch {
            watch.end();
        }
        is_last
    }

    /// The event was discarded before any turn.
    #[cfg(feature = "queued")]
    pub(crate) fn drop_event(&self) {
        if let Some(watch) = &self.watch {
            watch.drop_event();
        }
    }
}

/// How an attempt went in time.
#[derive(Debug, Default)]
pub(crate) struct Timing {
    pub(crate) took: Duration,
    /// A synchronous handler that took longer than it might.
    pub(crate) overran: Option<EventTimeoutError>,
}

/// A delivery that goes on after its event's turns, or that failed.
#[derive(Debug)]
pub(crate) struct Late {
    pub(crate) subscriber: Arc<Subscriber>,
    pub(crate) event: Arc<Event>,
    pub(crate) sequence: u64,
    /// Made so far.
    pub(crate) attempts: u32,
    /// The last failure in words.
    pub(crate) chain: Vec<String>,
    /// The last failure was the time limit.
    pub(crate) is_timed_out: bool,
    pub(crate) timing: Timing,
    pub(crate) first_failed_at: Option<Timestamp>,
    /// None for a redrive, whose event was completed before.
    pub(crate) tail: Option<Arc<Tail>>,
    /// What is being redriven.
    pub(crate) letter: Option<Arc<DeadLetter>>,
    /// Somebody waits for the end on this thread: it is tried again at once.
    pub(crate) is_awaited: bool,
    /// The attempt that is due has been counted as a retry.
    pub(crate) is_counted: bool,
}

impl Late {
    pub(crate) fn new(
        subscriber: &Arc<Subscriber>,
        event: &Arc<Event>,
        sequence: u64,
        tail: Option<Arc<Tail>>,
    ) -> Self {
        Late {
            subscriber: Arc::clone(subscriber),
            event: Arc::clone(event),
            sequence,
            attempts: 0,
            chain: Vec::new(),
            is_timed_out: false,
            timing: Timing::default(),
            first_failed_at: None,
            tail,
            letter: None,
            is_awaited: false,
            is_counted: false,
        }
    }

    pub(crate) fn has_attempts_left(&self) -> bool {
        self.attempts < self.subscriber.attempts_max
    }
}

impl Engine {
    /// Makes one more attempt, on this thread; a worker's event lies on its desk meanwhile.
    #[cfg_attr(not(feature = "queued"), allow(unused_variables, reason = "there are no workers"))]
    pub(crate) fn try_again(&self, late: Box<Late>, worker: Option<usize>) {
        let (event, sequence) = (Arc::clone(&late.event), late.sequence);
        #[cfg(feature = "queued")]
        let desks = self.queue.as_ref().map(|queue| &queue.desks);
        #[cfg(feature = "queued")]
        let shown = desks.zip(worker).map(|(desks, worker)| desks.show(worker, &event, sequence));
        self.pinned(|shard, view, _, pin| {
            self.look_again(view, shard);
            let turn = Turn::new(self, pin, view, &event, sequence);
            self.frame(&event, 0).enter(|| turn.retry(late));
        });
        #[cfg(feature = "queued")]
        drop(shown);
        self.let_go(event);
    }

    /// Cancels the retries of a subscription that has ended.
    pub(crate) fn cancel_retries(&self, subscriber: &Subscriber) {
        if subscriber.waiting_retries() == 0 {
            return;
        }
        for late in self.later.take_retries(subscriber.entry.key) {
            self.cancel(late);
        }
    }

    /// One of the event's late deliveries, or its turns, are over.
    pub(crate) fn end_tail(&self, tail: &Tail) {
        if tail.end() {
            self.completed_late.fetch_add(1, Ordering::SeqCst);
            self.tell_flushers();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_longest() {
        let backoff = Backoff::exponential(Duration::from_millis(100), Duration::from_secs(1));
        let most: Vec<u128> = (1..=6).map(|attempts| backoff.most_after(attempts).as_millis()).collect();
        assert_eq!(most, [100, 200, 400, 800, 1_000, 1_000]);
        assert_eq!(backoff.most_after(u32::MAX), Duration::from_secs(1));
        for attempts in 1..100 {
            assert!(backoff.after(attempts) <= backoff.most_after(attempts));
            assert_eq!(backoff.without_jitter().after(attempts), backoff.most_after(attempts));
        }
        let waits: std::collections::HashSet<_> = (0..100).map(|_| backoff.after(6)).collect();
        assert!(waits.len() > 50, "jitter spreads");
    }
}
