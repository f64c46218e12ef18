//! A stream of batches in the making.

use super::batch::Batch;
use super::driver::{Driver, Handler};
use super::pile::Limits;
use super::shared::{Settings, Shared};
use super::{BatchingStream, Inner};
use crate::bus::{CONCURRENCY_MAX, EventBus, IntoPatterns, Subscription, SubscriptionBuilder};
use crate::dispatch::handler::HandlerOutcome;
use crate::dispatch::owned::OwnedDelivery;
use crate::dispatch::retry::Backoff;
use crate::error::{EventSubscriptionError, SubscriptionErrorKind};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// How many events a batch may have, and how many may wait in a stream of batches.
pub const BATCH_ROOM_MAX: usize = 1 << 20;

/// A [`BatchingStream`] in the making; [`on_batch`](Self::on_batch) makes it. Whatever is wrong is said there.
#[must_use = "a stream of batches begins with its handler"]
pub struct BatchingStreamBuilder<'a> {
    count: usize,
    bytes: Option<usize>,
    interval: Duration,
    room: usize,
    patience: Duration,
    attempts_max: u32,
    backoff: Backoff,
    dead_batches: usize,
    runtime: Option<tokio::runtime::Handle>,
    attached: Option<(&'a EventBus, SubscriptionBuilder<'a>)>,
}

impl<'a> BatchingStreamBuilder<'a> {
    pub(super) fn new() -> Self {
        BatchingStreamBuilder {
            count: 100,
            bytes: None,
            interval: Duration::from_secs(1),
            room: 1_000,
            patience: Duration::from_secs(5),
            attempts_max: 3,
            backoff: Backoff::default(),
            dead_batches: 100,
            runtime: None,
            attached: None,
        }
    }

    /// How many events a batch has at most, 1 to 1,048,576; of a stream that is [attached](Self::attach), to 1,024. Default:
    /// 100.
    pub fn count(mut self, events: usize) -> Self {
        self.count = events;
        self
    }

    /// How large a batch is at most: the payloads of its events as JSON, in bytes. An event that is larger is a batch of its
    /// own. A payload that is a Rust value is converted for it, by whoever adds it. Default: no limit.
    pub fn bytes(mut self, bytes: usize) -> Self {
        self.bytes = Some(bytes);
        self
    }

    /// How long the first event of a batch waits at most for others; longer if the handler is busy. Default: 1 s.
    pub fn interval(mut self, interval: Duration) -> Self {
        self.interval = interval;
        self
    }

    /// How many added events may wait or be handled at a time, 1 to 1,048,576; `count` in any case. Those that a bus delivers
    /// do not count: twice `count` of them are in the stream at most, and the others wait in the subscription's mailbox.
    /// Default: 1,000.
    pub fn room(mut self, events: usize) -> Self {
        self.room = events;
        self
    }

    /// How long [`add`](BatchingStream::add) waits for room. Default: 5 s.
    pub fn add_limit(mut self, limit: Duration) -> Self {
        self.patience = limit;
        self
    }

    /// How often a batch is tried in all, at least 1. Default: 3.
    pub fn attempts(mut self, attempts_max: u32) -> Self {
        self.attempts_max = attempts_max;
        self
    }

    /// How long to wait before each further attempt. The batches behind it wait as well, for order is kept. Default:
    /// [`Backoff::default`].
    pub fn backoff(mut self, backoff: Backoff) -> Self {
        self.backoff = backoff;
        self
    }

    /// How many batches that failed for good are kept, the newest ones; 0 keeps none but counts. Default: 100.
    pub fn dead_batches(mut self, batches: usize) -> Self {
        self.dead_batches = batches;
        self
    }

    /// The runtime on which a stream that is not attached handles its batches. Default: one of its own, with one thread.
    pub fn runtime(mut self, runtime: tokio::runtime::Handle) -> Self {
        self.runtime = Some(runtime);
        self
    }

    /// Hears what is published on `bus` under `patterns`, and adds it; see
    /// [`BatchingStream::attach`](BatchingStream::attach).
    pub fn attach(self, bus: &'a EventBus, patterns: impl IntoPatterns) -> Self {
        let subscription = bus.subscribe(patterns);
        BatchingStreamBuilder { attached: Some((bus, subscription)), ..self }
    }

    /// The subscription of an attached stream, to be given an id, a priority, a filter, a mailbox and its overflow policy. What
    /// a bus retries comes alone and later, so attempts are better left to the [batch](Self::attempts).
    pub fn subscription(
        mut self,
        change: impl FnOnce(SubscriptionBuilder<'a>) -> SubscriptionBuilder<'a>,
    ) -> Self {
        self.attached = self.attached.map(|(bus, subscription)| (bus, change(subscription)));
        self
    }

    /// Makes the stream: `handler` is handed one batch after another. It may block its thread, which belongs to the runtime.
    ///
    /// # Errors
    /// A setting out of range; no attempts; no runtime; of an attached stream, whatever a subscription is refused for. The
    /// handler is dropped.
    pub fn on_batch<F, R>(self, handler: F) -> Result<BatchingStream, EventSubscriptionError>
    where
        F: Fn(&Batch) -> R + Send + Sync + 'static,
        R: HandlerOutcome,
    {
        self.build(Handler::Sync(Box::new(move |batch| handler(batch).into_result())))
    }

    /// Makes the stream: what `handler` makes of a batch is awaited before it is handed the next one.
    ///
    /// ```
    /// use codomyrmex_events::{Batch, BatchingStream, BoxError, Event};
    /// use std::time::Duration;
    ///
    /// let stream = BatchingStream::builder().count(2).on_batch_async(|batch: Batch| async move {
    ///     println!("{} events go to the store", batch.len());
    ///     Ok::<(), BoxError>(())
    /// })?;
    /// stream.try_add(Event::builder("metric.update", "probe").build()?)?;
    /// stream.try_add(Event::builder("metric.update", "probe").build()?)?;
    /// # Ok::<(), BoxError>(())
    /// ```
    ///
    /// # Errors
    /// As [`on_batch`](Self::on_batch).
    pub fn on_batch_async<F, Fut, R>(self, handler: F) -> Result<BatchingStream, EventSubscriptionError>
    where
        F: Fn(Batch) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = R> + Send + 'static,
        R: HandlerOutcome,
    {
        self.build(Handler::Async(Box::new(move |batch| {
            let future = handler(batch);
            Box::pin(async move { future.await.into_result() })
        })))
    }

    fn build(self, handler: Handler) -> Result<BatchingStream, EventSubscriptionError> {
        let (limits, settings) = self.checked()?;
        let BatchingStreamBuilder { attempts_max, backoff, runtime, attached, .. } = self;
        let (host, own_bus) = match &attached {
            Some((bus, _)) => (bus.host(), None),
            None => {
                let bus = bus_of_its_own(runtime)?;
                (bus.host(), Some(bus))
            }
        };
        let in_flight = (2 * limits.count).min(CONCURRENCY_MAX);
        let shared = Arc::new(Shared::new(host, limits, settings));
        let driver = Driver::new(Arc::clone(&shared), handler, attempts_max, backoff, own_bus.clone());
        shared.host.spawn(Box::pin(driver.run()))?;
        let mut inner = Inner { shared, subscription: None, _bus: own_bus };
        if let Some((_, subscription)) = attached {
            inner.subscription = Some(subscribe(&inner.shared, subscription, in_flight)?);
        }
        Ok(BatchingStream { inner: Arc::new(inner) })
    }

    fn checked(&self) -> Result<(Limits, Settings), EventSubscriptionError> {
        let count_max = if self.attached.is_some() { CONCURRENCY_MAX } else { BATCH_ROOM_MAX };
        in_range("count", self.count, count_max)?;
        if let Some(bytes) = self.bytes {
            in_range("bytes", bytes, usize::MAX)?;
        }
        in_range("room", self.room, BATCH_ROOM_MAX)?;
        if self.attempts_max == 0 {
            return Err(SubscriptionErrorKind::NoAttempts.into());
        }
        let limits = Limits {
            count: self.count,
            bytes: self.bytes,
            room: self.room.max(self.count),
            dead_batches: self.dead_batches,
        };
        let settings =
            Settings { interval: self.interval, patience: self.patience, counts_bytes: self.bytes.is_some() };
        Ok((limits, settings))
    }
}

/// A delivery ends when its batch has been handled. Handlers are called in order and run beside each other: twice as many as
/// a batch has events, so that one batch can fill while another is handled.
fn subscribe(
    shared: &Arc<Shared>,
    subscription: SubscriptionBuilder<'_>,
    in_flight: usize,
) -> Result<Subscription, EventSubscriptionError> {
    let shared = Arc::clone(shared);
    subscription.concurrency(in_flight).starts_in_order().async_handler(move |delivery: OwnedDelivery| {
        let ticket = shared.add_delivery(delivery.event()).map_err(Arc::new);
        async move { ticket?.outcome().await }
    })
}

fn bus_of_its_own(runtime: Option<tokio::runtime::Handle>) -> Result<EventBus, EventSubscriptionError> {
    let builder = EventBus::builder().max_workers(1).history(0).dead_letters(0);
    let builder = match runtime {
        Some(runtime) => builder.runtime(runtime),
        None => builder,
    };
    let no_runtime =
        |error: crate::config::ConfigError| SubscriptionErrorKind::NoRuntime { reason: error.to_string() };
    Ok(builder.build().map_err(no_runtime)?)
}

fn in_range(setting: &'static str, value: usize, most: usize) -> Result<(), EventSubscriptionError> {
    if (1..=most).contains(&value) {
        Ok(())
    } else {
        Err(SubscriptionErrorKind::OutOfRange { setting, value, most }.into())
    }
}

impl fmt::Debug for BatchingStreamBuilder<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BatchingStreamBuilder")
            .field("count", &self.count)
            .field("bytes", &self.bytes)
            .field("interval", &self.interval)
            .finish_non_exhaustive()
    }
}
