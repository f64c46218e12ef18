//! Making a subscription, step by step.

use super::patterns::IntoPatterns;
use super::registry::{Refusal, Request};
use super::subscription::Subscription;
use super::typed::TypedDelivery;
use super::{Bus, EventBus};
use crate::dispatch::handler::{Call, Delivery, Filter, HandlerOutcome, RetryIf};
use crate::dispatch::retry::Backoff;
use crate::error::{EventSubscriptionError, SubscriptionErrorKind};
use crate::event::{Event, EventPayload, event_type_of};
use crate::ids::check_text;
use crate::matcher::Pattern;
use smol_str::SmolStr;
use std::error::Error;
use std::marker::PhantomData;
use std::sync::Arc;

/// How many patterns one subscription may have.
pub const PATTERNS_MAX: usize = 1_024;

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
    once: bool,
    filter: Option<Filter>,
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
            once: false,
            filter: None,
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
        self.subscribe(Box::new(move |delivery| handler(delivery).into_result()))
    }

    fn subscribe(self, call: Call) -> Result<Subscription, EventSubscriptionError> {
        let patterns = self.patterns?;
        if patterns.is_empty() {
            return Err(SubscriptionErrorKind::NoPatterns.into());
        }
        if patterns.len() > PATTERNS_MAX {
            let kind = SubscriptionErrorKind::TooManyPatterns { given: patterns.len(), limit: PATTERNS_MAX };
            return Err(kind.into());
        }
        if let Some(id) = &self.id {
            check_text("subscriber_id", id).map_err(SubscriptionErrorKind::InvalidId)?;
        }
        if self.attempts_max == 0 {
            return Err(SubscriptionErrorKind::NoAttempts.into());
        }
        let request = Request {
            id: self.id,
            patterns: patterns.into_boxed_slice(),
            priority: self.priority,
            attempts_max: self.attempts_max,
            backoff: self.backoff,
            retry_if: self.retry_if,
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

/// A subscription to the events of a payload type, in the making.
#[must_use = "a subscription begins with its handler"]
pub struct TypedSubscriptionBuilder<'a, T> {
    inner: SubscriptionBuilder<'a>,
    payload: PhantomData<fn() -> T>,
}

impl<'a, T: EventPayload> TypedSubscriptionBuilder<'a, T> {
    pub(super) fn new(bus: &'a EventBus) -> Self {
        TypedSubscriptionBuilder { inner: bus.subscribe(event_type_of::<T>()), payload: PhantomData }
    }

    /// See [`SubscriptionBuilder::subscriber_id`].
    pub fn subscriber_id(mut self, id: impl Into<SmolStr>) -> Self {
        self.inner = self.inner.subscriber_id(id);
        self
    }

    /// See [`SubscriptionBuilder::priority`].
    pub fn priority(mut self, priority: i32) -> Self {
        self.inner = self.inner.priority(priority);
        self
    }

    /// See [`SubscriptionBuilder::filter`].
    pub fn filter(mut self, filter: impl Fn(&Event) -> bool + Send + Sync + 'static) -> Self {
        self.inner = self.inner.filter(filter);
        self
    }

    /// See [`SubscriptionBuilder::attempts`].
    pub fn attempts(mut self, attempts_max: u32) -> Self {
        self.inner = self.inner.attempts(attempts_max);
        self
    }

    /// See [`SubscriptionBuilder::backoff`].
    pub fn backoff(mut self, backoff: Backoff) -> Self {
        self.inner = self.inner.backoff(backoff);
        self
    }

    /// See [`SubscriptionBuilder::retry_if`].
    pub fn retry_if(
        mut self,
        is_worth_it: impl Fn(&(dyn Error + 'static)) -> bool + Send + Sync + 'static,
    ) -> Self {
        self.inner = self.inner.retry_if(is_worth_it);
        self
    }

    /// See [`SubscriptionBuilder::once`].
    pub fn once(mut self) -> Self {
        self.inner = self.inner.once();
        self
    }

    /// Subscribes `handler`, which is handed the payload as a `T`. A payload that does not become one fails
    /// the delivery.
    ///
    /// # Errors
    /// As [`SubscriptionBuilder::handler`].
    pub fn handler<F, R>(self, handler: F) -> Result<Subscription, EventSubscriptionError>
    where
        F: Fn(&TypedDelivery<'_, T>) -> R + Send + Sync + 'static,
        R: HandlerOutcome,
    {
        self.inner.subscribe(Box::new(move |delivery| {
            let payload = delivery.payload_as::<T>()?;
            handler(&TypedDelivery::new(delivery, payload)).into_result()
        }))
    }
}
