//! Making a subscription, step by step.

use super::Bus;
use super::patterns::IntoPatterns;
use super::registry::{Refusal, Request};
use super::subscription::Subscription;
use crate::dispatch::handler::{Call, Delivery, Filter, HandlerOutcome, RetryIf};
#[cfg(feature = "async")]
use crate::dispatch::mailbox::{AsyncCall, Mailbox};
#[cfg(feature = "async")]
use crate::dispatch::owned::OwnedDelivery;
#[cfg(feature = "async")]
use crate::dispatch::policy::Overflow;
use crate::dispatch::retry::Backoff;
use crate::error::{EventSubscriptionError, SubscriptionErrorKind};
use crate::event::Event;
use crate::ids::check_text;
use crate::matcher::Pattern;
use smol_str::SmolStr;
use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

/// How many patterns one subscription may have.
pub const PATTERNS_MAX: usize = 1_024;

/// How many deliveries a mailbox may hold.
#[cfg(feature = "async")]
pub const MAILBOX_ROOM_MAX: usize = 1 << 20;

/// How many events one asynchronous subscription may handle at a time.
#[cfg(feature = "async")]
pub const CONCURRENCY_MAX: usize = 1_024;

/// A subscription in the making; [`handler`](Self::handler) makes it. Whatever is wrong is said there.
#[must_use = "a subscription begins with its handler"]
pub struct SubscriptionBuilder<'a> {
    bus: &'a Arc<Bus>,
    patterns: Result<Vec<Pattern>, EventSubscriptionError>,
    id: Option<SmolStr>,
    priority: i32,
    attempts_max: u32,
    backoff: Option<Backoff>,
    retry_if: Option<RetryIf>,
    time_limit: Option<Duration>,
    once: bool,
    filter: Option<Filter>,
    #[cfg(feature = "async")]
    mailbox: MailboxWishes,
}

/// What only an asynchronous handler has a use for.
#[cfg(feature = "async")]
#[derive(Default)]
struct MailboxWishes {
    room: Option<usize>,
    overflow: Option<Overflow>,
    concurrency: Option<usize>,
    starts_in_order: bool,
}

impl<'a> SubscriptionBuilder<'a> {
    pub(super) fn new(bus: &'a Arc<Bus>, patterns: impl IntoPatterns) -> Self {
        let patterns = patterns.into_patterns().map_err(|error| SubscriptionErrorKind::Pattern(error).into());
        SubscriptionBuilder {
            bus,
            patterns,
            id: None,
            priority: 0,
            attempts_max: 1,
            backoff: None,
            retry_if: None,
            time_limit: None,
            once: false,
            filter: None,
            #[cfg(feature = "async")]
            mailbox: MailboxWishes::default(),
        }
    }

    /// A label, unique among the live subscriptions of the bus: not empty, at most 256 bytes, no control
    /// characters. Default: `subscriber_1`, `subscriber_2`, ...
    pub fn subscriber_id(mut self, id: impl Into<SmolStr>) -> Self {
        self.id = Some(id.into());
        self
    }

    /// Higher priorities take their turn first; equal ones in the order of subscribing. Default: 0.
    pub fn priority(mut self, priority: i32) -> Self {
        self.priority = priority;
        self
    }

    /// Hears only the events that `filter` says yes to. It is asked just before the
    /// handler's turn, on the same thread. A filter that panics says no.
    pub fn filter(mut self, filter: impl Fn(&Event) -> bool + Send + Sync + 'static) -> Self {
        self.filter = Some(Box::new(filter));
        self
    }

    /// How often a failing handler is tried in all, at least 1. Default: 1, no retry.
    pub fn attempts(mut self, attempts_max: u32) -> Self {
        self.attempts_max = attempts_max;
        self
    }

    /// How long to wait before each further attempt. A waiting retry holds no thread, and comes outside the order of its
    /// lane. Default: a queued bus waits as [`Backoff::default`] says; an inline one tries again at once, before `publish`
    /// returns. With a backoff it does not, and a thread of its own makes the further attempts.
    pub fn backoff(mut self, backoff: Backoff) -> Self {
        self.backoff = Some(backoff);
        self
    }

    /// Which failures are worth another attempt; the others become dead letters at once. It is asked about the
    /// handler's error, or about a [`HandlerPanic`](crate::HandlerPanic). If it panics, the answer is no. Default: all.
    pub fn retry_if(
        mut self,
        is_worth_it: impl Fn(&(dyn Error + 'static)) -> bool + Send + Sync + 'static,
    ) -> Self {
        self.retry_if = Some(Box::new(is_worth_it));
        self
    }

    /// How long the handler may take for one attempt. An asynchronous one is cancelled then: its future is dropped, and the
    /// attempt has failed with an [`EventTimeoutError`](crate::EventTimeoutError). Nobody can stop a synchronous one: it
    /// is reported in the log while it runs, counted, and goes on. Default: no limit.
    pub fn time_limit(mut self, limit: Duration) -> Self {
        self.time_limit = Some(limit);
        self
    }

    /// How many deliveries wait for an asynchronous handler, 1 to 1,048,576; the room is taken when the subscription is
    /// made, 24 bytes each. Default: 1,024.
    #[cfg(feature = "async")]
    pub fn mailbox(mut self, room: usize) -> Self {
        self.mailbox.room = Some(room);
        self
    }

    /// What becomes of a delivery for which an asynchronous handler's mailbox has no room. Default: who brings it waits for 5
    /// s, and holds up the handlers after this one; then the delivery is discarded and counted.
    #[cfg(feature = "async")]
    pub fn overflow(mut self, overflow: Overflow) -> Self {
        self.mailbox.overflow = Some(overflow);
        self
    }

    /// How many events an asynchronous handler handles at a time, 1 to 1,024. More than one, and they end in any order.
    /// Default: 1, in order.
    #[cfg(feature = "async")]
    pub fn concurrency(mut self, events: usize) -> Self {
        self.mailbox.concurrency = Some(events);
        self
    }

    /// The asynchronous handler is called for one event after another, in order, even where several of its futures run.
    #[cfg(feature = "stream")]
    pub(crate) fn starts_in_order(mut self) -> Self {
        self.mailbox.starts_in_order = true;
        self
    }

    /// One delivery, then the subscription ends. The turn is claimed after the filter said yes and before
    /// the handler runs, by exactly one publish, and is not given back if the handler fails.
    pub fn once(mut self) -> Self {
        self.once = true;
        self
    }

    /// Subscribes `handler`. Every publish that begins after this returned is heard.
    ///
    /// A handler that can fail names its error type; any will do that converts into a boxed error:
    ///
    /// ```
    /// use codomyrmex_events::{BoxError, EventBus};
    ///
    /// let bus = EventBus::new();
    /// bus.subscribe("order.*").attempts(3).handler(|delivery| -> Result<(), BoxError> {
    ///     let id = delivery.data().get("id").ok_or("an order without an id")?;
    ///     println!("{id}, at attempt {}", delivery.attempt());
    ///     Ok(())
    /// })?;
    /// # Ok::<(), codomyrmex_events::EventError>(())
    /// ```
    ///
    /// # Errors
    /// No pattern, too many or too long ones; an id that is in use or no id; 0 attempts; a bus that is shut
    /// down. The handler is dropped.
    pub fn handler<F, R>(self, handler: F) -> Result<Subscription, EventSubscriptionError>
    where
        F: Fn(&Delivery<'_>) -> R + Send + Sync + 'static,
        R: HandlerOutcome,
    {
        #[cfg(feature = "async")]
        self.mailbox.forbid()?;
        self.subscribe(Call::Plain(Box::new(move |delivery| handler(delivery).into_result())))
    }

    /// Subscribes an asynchronous `handler`. Its turn puts the event in the subscription's mailbox; tasks of the bus's runtime
    /// ([`EventBusBuilder::runtime`](super::EventBusBuilder::runtime)) await what the handler makes of it, in order and one at
    /// a time unless [`concurrency`](Self::concurrency) says otherwise. Inline buses have them too.
    ///
    /// Anything that can be called with an [`OwnedDelivery`] and answers with a future will do, a boxed one behind a trait
    /// object included.
    ///
    /// ```
    /// use codomyrmex_events::{BoxError, Event, EventBus, OwnedDelivery};
    /// use std::time::Duration;
    ///
    /// let bus = EventBus::new();
    /// bus.subscribe("order.*").async_handler(|delivery: OwnedDelivery| async move {
    ///     println!("{} is being seen to", delivery.event_type());
    ///     Ok::<(), BoxError>(())
    /// })?;
    /// bus.publish(Event::builder("order.placed", "shop").build()?)?;
    /// bus.flush(Duration::from_secs(5))?;
    /// assert_eq!(bus.get_stats().deliveries.succeeded, 1);
    /// # Ok::<(), codomyrmex_events::EventError>(())
    /// ```
    ///
    /// # Errors
    /// As [`handler`](Self::handler); a mailbox or a concurrency out of range; a runtime that cannot be started.
    #[cfg(feature = "async")]
    pub fn async_handler<F, Fut, R>(self, handler: F) -> Result<Subscription, EventSubscriptionError>
    where
        F: Fn(OwnedDelivery) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = R> + Send + 'static,
        R: HandlerOutcome,
    {
        let MailboxWishes { room, overflow, concurrency, starts_in_order } = &self.mailbox;
        let room = in_range("mailbox", room.unwrap_or(1_024), MAILBOX_ROOM_MAX)?;
        let concurrency = in_range("concurrency", concurrency.unwrap_or(1), CONCURRENCY_MAX)?;
        if !self.bus.engine.table().is_open {
            // Before a runtime is started for it, which is gone already.
            return Err(SubscriptionErrorKind::Closed.into());
        }
        let spawn = self.bus.tasks.spawn();
        let spawn = spawn.map_err(|reason| SubscriptionErrorKind::NoRuntime { reason })?;
        let mailbox = Mailbox::new(room, overflow.unwrap_or_default(), concurrency, *starts_in_order, spawn);
        let make = Box::new(move |delivery| {
            let future = handler(delivery);
            Box::pin(async move { future.await.into_result() }) as _
        });
        self.subscribe(Call::Async(AsyncCall { make, mailbox }))
    }

    pub(super) fn subscribe(self, call: Call) -> Result<Subscription, EventSubscriptionError> {
        let patterns = checked_patterns(self.patterns)?;
        if let Some(id) = &self.id {
            check_text("subscriber_id", id).map_err(SubscriptionErrorKind::InvalidId)?;
        }
        if self.attempts_max == 0 {
            return Err(SubscriptionErrorKind::NoAttempts.into());
        }
        let request = Request {
            id: self.id,
            patterns,
            priority: self.priority,
            attempts_max: self.attempts_max,
            backoff: self.backoff,
            retry_if: self.retry_if,
            time_limit: self.time_limit,
            once: self.once,
            filter: self.filter,
            call,
        };
        let subscriber = self.bus.registry.subscribe(&self.bus.engine, request).map_err(|refusal| {
            EventSubscriptionError::from(match refusal {
                Refusal::IdInUse(id) => SubscriptionErrorKind::IdInUse { id: id.into() },
                Refusal::Closed => SubscriptionErrorKind::Closed,
            })
        })?;
        Ok(Subscription::new(self.bus, subscriber))
    }
}

/// The patterns, if there are some and not too many.
pub(super) fn checked_patterns(
    patterns: Result<Vec<Pattern>, EventSubscriptionError>,
) -> Result<Box<[Pattern]>, EventSubscriptionError> {
    let patterns = patterns?;
    if patterns.is_empty() {
        return Err(SubscriptionErrorKind::NoPatterns.into());
    }
    if patterns.len() > PATTERNS_MAX {
        let kind = SubscriptionErrorKind::TooManyPatterns { given: patterns.len(), limit: PATTERNS_MAX };
        return Err(kind.into());
    }
    Ok(patterns.into_boxed_slice())
}

#[cfg(feature = "async")]
impl MailboxWishes {
    /// What a synchronous handler would ignore is a mistake.
    fn forbid(&self) -> Result<(), EventSubscriptionError> {
        let asked = [
            ("mailbox", self.room.is_some()),
            ("overflow", self.overflow.is_some()),
            ("concurrency", self.concurrency.is_some()),
        ];
        match asked.into_iter().find(|(_, is_asked)| *is_asked) {
            Some((setting, _)) => Err(SubscriptionErrorKind::NotAsync { setting }.into()),
            None => Ok(()),
        }
    }
}

#[cfg(feature = "async")]
fn in_range(setting: &'static str, value: usize, most: usize) -> Result<usize, EventSubscriptionError> {
    if (1..=most).contains(&value) {
        Ok(value)
    } else {
        Err(SubscriptionErrorKind::OutOfRange { setting, value, most }.into())
    }
}
