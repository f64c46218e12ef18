//! Subscriptions to events whose payload is a Rust type.

use super::EventBus;
use super::subscribe::TypedSubscriptionBuilder;
use crate::dispatch::handler::Delivery;
use crate::event::{EventPayload, TypedPayload};
use std::ops::Deref;

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
        TypedSubscriptionBuilder::new(self)
    }
}
