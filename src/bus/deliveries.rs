//! From a delivery, or an attempt at one, to the bus that makes it and the subscription that it is for.

use super::subscription::Subscription;
use super::{Bus, EventBus};
use crate::dispatch::attempt::Attempt;
use crate::dispatch::engine::Owner;
use crate::dispatch::handler::Delivery;
use crate::dispatch::intercept::OfferedEvent;
#[cfg(feature = "async")]
use crate::dispatch::owned::OwnedDelivery;
use std::any::Any;
use std::sync::Arc;

/// The bus that `owner` is.
fn bus_of(owner: Arc<dyn Owner>) -> EventBus {
    let owner: Arc<dyn Any + Send + Sync> = owner;
    EventBus::of(owner.downcast::<Bus>().expect("a bus owns its engine"))
}

#[cfg(feature = "async")]
impl OwnedDelivery {
    /// The bus that delivers.
    #[must_use]
    pub fn bus(&self) -> EventBus {
        bus_of(Arc::clone(&self.owner))
    }

    /// The subscription that this delivery is for.
    #[must_use]
    pub fn subscription(&self) -> Subscription {
        Subscription::new(&self.bus().bus, Arc::clone(&self.subscriber))
    }
}

impl Delivery<'_> {
    /// The bus that delivers.
    #[must_use]
    pub fn bus(&self) -> EventBus {
        bus_of(self.engine.owner.upgrade().expect("whoever delivers holds the bus"))
    }

    /// The subscription that this delivery is for.
    #[must_use]
    pub fn subscription(&self) -> Subscription {
        Subscription::new(&self.bus().bus, Arc::clone(self.subscriber))
    }
}

impl OfferedEvent<'_> {
    /// The bus that it is offered to.
    #[must_use]
    pub fn bus(&self) -> EventBus {
        bus_of(self.engine.owner.upgrade().expect("whoever publishes holds the bus"))
    }
}

impl Attempt<'_> {
    /// The bus that delivers.
    #[must_use]
    pub fn bus(&self) -> EventBus {
        bus_of(self.engine.owner.upgrade().expect("whoever delivers holds the bus"))
    }
}
