//! [`BatchingStream`]: collects events, and hands them on by the batch.
//!
//! One task handles one batch at a time, in order; that task alone runs the handler, so nothing has to be ordered again
//! behind it. It runs on the bus that the stream is attached to, and lives by its clock, so that a manual bus drives both;
//! a stream of its own has a bus of its own for that, which nothing is published on.
//!
//! In reading order:
//! - here: the handle; `builder`: making a stream;
//! - `batch`: what a handler is handed, and what is kept of it; `report`: refusals and counts;
//! - `pile`: which event goes into which batch; `waiting`: a batch before it is handled; `dead`: those that failed for good;
//!   `outcome`: what the deliveries of a bus wait for; `shared`: all that under a lock;
//! - `driver`: whoever handles the batches.

mod batch;
mod builder;
mod dead;
mod driver;
mod outcome;
mod pile;
mod report;
mod shared;
mod waiting;

pub use batch::{Batch, BatchTrigger, DeadBatch};
pub use builder::{BATCH_ROOM_MAX, BatchingStreamBuilder};
pub use report::{BatchAddError, BatchAddErrorKind, BatchStats, BatchStopReport, RedriveBatchError};

use crate::bus::{DRAIN_ON_DROP, EventBus, FlushError, IntoPatterns, Subscription};
use crate::event::Event;
use crate::quiet::log;
use shared::Shared;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// Collects events and hands them to a handler in batches: when there are enough of them, by count or bytes, or when the
/// first one has waited long enough. A handle, cheap to clone.
///
/// Batches are handled one at a time, in the order in which their events were added. One that fails or panics is tried
/// again with a backoff, while those behind it wait; failed for good, it is kept as a [`DeadBatch`]. Nothing vanishes: at
/// each moment `added = delivered + dead + dropped + pending` ([`BatchStats`]).
///
/// When the last handle is dropped, the stream is stopped and what was added is handled: the drop waits for that for up to
/// 5 s. In async code, in a handler, and with a manual bus it waits for nothing, and the runtime goes on with it.
///
/// ```
/// use codomyrmex_events::{Batch, BatchingStream, BoxError, Event};
/// use std::time::Duration;
///
/// let stream = BatchingStream::builder()
///     .count(100)
///     .interval(Duration::from_secs(1))
///     .on_batch(|batch: &Batch| println!("{} events go to the store", batch.len()))?;
/// for _ in 0..250 {
///     stream.try_add(Event::builder("metric.update", "probe").build()?)?;
/// }
/// drop(stream); // Two batches of 100 have gone; now the 50 that are left.
/// # Ok::<(), BoxError>(())
/// ```
#[derive(Clone)]
pub struct BatchingStream {
    inner: Arc<Inner>,
}

/// What all handles share. The stream ends with it.
struct Inner {
    shared: Arc<Shared>,
    /// Of an attached stream.
    subscription: Option<Subscription>,
    /// Of a stream that is not attached.
    _bus: Option<EventBus>,
}

impl BatchingStream {
    /// A stream in the making: of 100 events or 1 s, unless it is told otherwise. It has threads of its own, two of them; one
    /// that is [attached](Self::attach) has none.
    pub fn builder() -> BatchingStreamBuilder<'static> {
        BatchingStreamBuilder::new()
    }

    /// A stream in the making that hears what is published on `bus` under `patterns`, and handles it on the bus's runtime
    /// and by the bus's clock.
    ///
    /// A delivery ends when its batch has been handled. One whose batch failed for good has failed, and becomes a dead letter
    /// of the subscription; redriven, it joins a later batch. When somebody waits for the bus to be quiet (a flush, a
    /// shutdown, the drop of its last handle), a batch goes at once and does not wait for its interval. Of events that are
    /// published meanwhile, a batch is what came while the one before was handled.
    ///
    /// ```
    /// use codomyrmex_events::{Batch, BatchingStream, BoxError, Event, EventBus};
    /// use std::time::Duration;
    ///
    /// let bus = EventBus::new();
    /// let stream = BatchingStream::attach(&bus, "metric.*")
    ///     .on_batch(|batch: &Batch| println!("{} events go to the store", batch.len()))?;
    /// bus.publish(Event::builder("metric.update", "probe").build()?)?;
    /// bus.flush(Duration::from_secs(5))?;
    /// assert_eq!(stream.stats().delivered, 1);
    /// # Ok::<(), BoxError>(())
    /// ```
    pub fn attach(bus: &EventBus, patterns: impl IntoPatterns) -> BatchingStreamBuilder<'_> {
        BatchingStreamBuilder::new().attach(bus, patterns)
    }

    /// Adds an event, and waits for room if there is none. Dropped before it is done, it did nothing.
    ///
    /// # Errors
    /// No room within the [limit](BatchingStreamBuilder::add_limit), or a stream that is stopped. The event comes back.
    pub async fn add(&self, event: impl Into<Arc<Event>>) -> Result<(), BatchAddError> {
        let shared = &self.inner.shared;
        shared.add(event.into(), shared.settings.patience).await
    }

    /// Adds an event if there is room now.
    ///
    /// # Errors
    /// No room, or a stream that is stopped. The event comes back.
    pub fn try_add(&self, event: impl Into<Arc<Event>>) -> Result<(), BatchAddError> {
        self.inner.shared.try_add(event.into())
    }

    /// Lets the batch that is filling go, and waits, up to `limit`, until all that was added before this call is settled:
    /// handled, or failed for good. It needs no particular runtime, and can be dropped at any time. What a bus has delivered is
    /// among it; what waits in the subscription's mailbox is not: see [`EventBus::flush_async`].
    ///
    /// # Errors
    /// [`FlushError::StillPending`] when the limit is over; [`FlushError::WouldDeadlock`] from inside the stream's handler, or,
    /// of an attached one, any handler of the bus.
    pub async fn flush(&self, limit: Duration) -> Result<(), FlushError> {
        self.inner.shared.flush(limit).await
    }

    /// Refuses new events, and waits up to `limit` until what was added is settled. What waits then is given up, and
    /// reported event by event; a batch that is being handled goes on. An attached stream is unsubscribed, and what waits in
    /// the subscription's mailbox is cancelled by the bus.
    ///
    /// Called from inside its handler, it does not wait and gives nothing up. Dropped before it is done, the stream is
    /// stopped, and goes on with what was added.
    pub async fn stop(&self, limit: Duration) -> BatchStopReport {
        let shared = &self.inner.shared;
        if let Some(subscription) = &self.inner.subscription {
            subscription.unsubscribe();
        }
        shared.stop(false);
        let undelivered = match shared.flush(limit).await {
            Err(FlushError::StillPending { .. }) => shared.give_up(),
            _ => Vec::new(),
        };
        BatchStopReport { undelivered, pending: shared.pile().pending() }
    }

    /// Accepts events again after a [`stop`](Self::stop); a stream is started when it is made. False if it was not stopped,
    /// or its runtime has ended. An attached stream takes what is added by hand, and hears its bus no more.
    pub fn start(&self) -> bool {
        self.inner.shared.pile().start()
    }

    /// Whether it accepts events.
    #[must_use]
    pub fn is_started(&self) -> bool {
        self.inner.shared.pile().is_started()
    }

    /// The counts at this moment.
    #[must_use]
    pub fn stats(&self) -> BatchStats {
        self.inner.shared.pile().stats()
    }

    /// The batches that failed for good and are kept, oldest first. Of events that a bus delivered there are none: they are
    /// dead letters of that bus.
    #[must_use]
    pub fn dead_batches(&self) -> Vec<Arc<DeadBatch>> {
        self.inner.shared.pile().dead().all()
    }

    /// Takes out the batches that failed for good.
    #[must_use]
    pub fn take_dead_batches(&self) -> Vec<Arc<DeadBatch>> {
        self.inner.shared.pile().dead().take_all()
    }

    /// Tries a dead batch again, behind what was added so far and under a new number; its events count as added anew. If it
    /// fails again, it is kept again, its attempts added up.
    ///
    /// # Errors
    /// No such batch; no room for its events, or a stream that is stopped (the batch stays).
    pub fn redrive(&self, number: u64) -> Result<(), RedriveBatchError> {
        self.inner.shared.redrive(number)
    }

    /// The subscription of an attached stream.
    #[must_use]
    pub fn subscription(&self) -> Option<&Subscription> {
        self.inner.subscription.as_ref()
    }
}

impl fmt::Debug for BatchingStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BatchingStream").field("stats", &self.stats()).finish_non_exhaustive()
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        if let Some(subscription) = &self.subscription {
            subscription.unsubscribe();
        }
        self.shared.stop(true);
        if self.shared.host.may_block() && !self.shared.flush_blocking(DRAIN_ON_DROP) {
            let pending = self.shared.pile().pending();
            log(|| tracing::warn!(pending, "a batching stream was dropped with events in it"));
        }
    }
}
