//! Subscriptions to events whose payload is a Rust type.

use super::EventBus;
use super::subscribe::SubscriptionBuilder;
use super::subscription::Subscription;
use crate::dispatch::handler::{Delivery, HandlerOutcome};
use crate::dispatch::retry::Backoff;
#[cfg(feature = "async")]
use crate::dispatch::{owned::OwnedDelivery, policy::Overflow};
use crate::error::EventSubscriptionError;
use crate::event::{Event, EventPayload, TypedPayload, event_type_of};
use smol_str::SmolStr;
use std::error::Error;
use std::marker::PhantomData;
use std::ops::Deref;
use std::time::Duration;

/// A delivery with its payload as a `T`. Dereferences to the [`Delivery`], and so to the event.
pub struct TypedDelivery<'a, T> {
    delivery: &'a Delivery<'a>,
    payload: TypedPayload<'a, T>,
}

impl<'a, T> TypedDelivery<'a, T> {
    pub(super) fn new(delivery: &'a Delivery<'a>, payload: TypedPayload<'a, T>) -> Self {
        TypedDelivery { delivery, payload }
    }

    /// The payload: the publisher's own value where it handed over a `T`, else one read from JSON.
    #[must_use]
    pub fn payload(&self) -> &T {
        &self.payload
    }
}

impl<'a, T> Deref for TypedDelivery<'a, T> {
    type Target = Delivery<'a>;

    fn deref(&self) -> &Delivery<'a> {
        self.delivery
    }
}

impl EventBus {
    /// Begins a subscription to the events whose payload is a `T`.
    pub fn subscribe_typed<T: EventPayload>(&self) -> TypedSubscriptionBuilder<'_, T> {
        TypedSubscriptionBuilder { inner: self.subscribe(event_type_of::<T>()), payload: PhantomData }
    }
}

/// A delivery to an asynchronous handler, with its payload as a `T`. Dereferences to the [`OwnedDelivery`].
#[cfg(feature = "async")]
pub struct OwnedTypedDelivery<T> {
    delivery: OwnedDelivery,
    /// Read from JSON, unless the event has the publisher's own.
    read: Option<T>,
}

#[cfg(feature = "async")]
impl<T: EventPayload> OwnedTypedDelivery<T> {
    /// The payload: the publisher's own value where it handed over a `T`, else one read from JSON.
    #[must_use]
    pub fn payload(&self) -> &T {
        self.read
            .as_ref()
            .or_else(|| self.delivery.data().downcast_ref())
            .expect("what was not read is the publisher's own")
    }
}

#[cfg(feature = "async")]
impl<T> Deref for OwnedTypedDelivery<T> {
    type Target = OwnedDelivery;

    fn deref(&self) -> &OwnedDelivery {
        &self.delivery
    }
}

/// A subscription to the events of a payload type, in the making.
#[must_use = "a subscription begins with its handler"]
pub struct TypedSubscriptionBuilder<'a, T> {
    inner: SubscriptionBuilder<'a>,
    payload: PhantomData<fn() -> T>,
}

impl<'a, T: EventPayload> TypedSubscriptionBuilder<'a, T> {
    fn with(self, set: impl FnOnce(SubscriptionBuilder<'a>) -> SubscriptionBuilder<'a>) -> Self {
        TypedSubscriptionBuilder { inner: set(self.inner), payload: PhantomData }
    }

    /// See [`SubscriptionBuilder::subscriber_id`].
    pub fn subscriber_id(self, id: impl Into<SmolStr>) -> Self {
        self.with(|builder| builder.subscriber_id(id))
    }

    /// See [`SubscriptionBuilder::priority`].
    pub fn priority(self, priority: i32) -> Self {
        self.with(|builder| builder.priority(priority))
    }

    /// See [`SubscriptionBuilder::filter`].
    pub fn filter(self, filter: impl Fn(&Event) -> bool + Send + Sync + 'static) -> Self {
        self.with(|builder| builder.filter(filter))
    }

    /// See [`SubscriptionBuilder::attempts`].
    pub fn attempts(self, attempts_max: u32) -> Self {
        self.with(|builder| builder.attempts(attempts_max))
    }

    /// See [`SubscriptionBuilder::backoff`].
    pub fn backoff(self, backoff: Backoff) -> Self {
        self.with(|builder| builder.backoff(backoff))
    }

    /// See [`SubscriptionBuilder::retry_if`].
    pub fn retry_if(
        self,
        is_worth_it: impl Fn(&(dyn Error + 'static)) -> bool + Send + Sync + 'static,
    ) -> Self {
        self.with(|builder| builder.retry_if(is_worth_it))
    }

    /// See [`SubscriptionBuilder::time_limit`].
    pub fn time_limit(self, limit: Duration) -> Self {
        self.with(|builder| builder.time_limit(limit))
    }

    /// See [`SubscriptionBuilder::mailbox`].
    #[cfg(feature = "async")]
    pub fn mailbox(self, room: usize) -> Self {
        self.with(|builder| builder.mailbox(room))
    }

    /// See [`SubscriptionBuilder::overflow`].
    #[cfg(feature = "async")]
    pub fn overflow(self, overflow: Overflow) -> Self {
        self.with(|builder| builder.overflow(overflow))
    }

    /// See [`SubscriptionBuilder::concurrency`].
    #[cfg(feature = "async")]
    pub fn concurrency(self, events: usize) -> Self {
        self.with(|builder| builder.concurrency(events))
    }

    /// See [`SubscriptionBuilder::once`].
    pub fn once(self) -> Self {
        self.with(SubscriptionBuilder::once)
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
        self.inner.handler(move |delivery: &Delivery<'_>| {
            let payload = delivery.payload_as::<T>()?;
            handler(&TypedDelivery::new(delivery, payload)).into_result()
        })
    }

    /// Subscribes an asynchronous `handler`, which is handed the payload as a `T`. A payload that does not become one fails
    /// the delivery.
    ///
    /// # Errors
    /// As [`SubscriptionBuilder::async_handler`].
    #[cfg(feature = "async")]
    pub fn async_handler<F, Fut, R>(self, handler: F) -> Result<Subscription, EventSubscriptionError>
    where
        F: Fn(OwnedTypedDelivery<T>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = R> + Send + 'static,
        R: HandlerOutcome,
    {
        self.inner.async_handler(move |delivery: OwnedDelivery| {
            let made = match delivery.payload_as::<T>() {
                Ok(TypedPayload::Borrowed(_)) => Ok(None),
                Ok(TypedPayload::Owned(payload)) => Ok(Some(payload)),
                Err(error) => Err(error),
            };
            let begun = made.map(|read| handler(OwnedTypedDelivery { delivery, read }));
            async move { begun?.await.into_result() }
        })
    }
}
