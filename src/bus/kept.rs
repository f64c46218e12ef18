//! A module's bus and the subscriptions that it made there: what `EventMixin` and `EventListener` are built on.
//!
//! It never holds a handler, and unsubscribes outside its lock: a handler's captures are user code when they are dropped.

use super::{EventBus, Subscription, try_get_event_bus};
use crate::config::ConfigError;
use std::sync::{Mutex, OnceLock, PoisonError};

#[derive(Debug)]
pub(crate) struct Kept {
    bus: OnceLock<EventBus>,
    subscriptions: Mutex<Vec<Subscription>>,
}

impl Kept {
    /// On this bus, or on the process-wide one, which is looked up at first use.
    pub(crate) fn new(bus: Option<EventBus>) -> Self {
        Kept { bus: bus.map_or_else(OnceLock::new, OnceLock::from), subscriptions: Mutex::default() }
    }

    pub(crate) fn bus(&self) -> Result<&EventBus, ConfigError> {
        if let Some(bus) = self.bus.get() {
            return Ok(bus);
        }
        let bus = try_get_event_bus()?.clone();
        Ok(self.bus.get_or_init(|| bus))
    }

    /// From now on the subscription ends with this.
    pub(crate) fn keep(&self, subscription: Subscription) {
        self.change(|subscriptions| {
            if subscriptions.len() == subscriptions.capacity() {
                // Before the list grows: those that ended by themselves need not be kept.
                subscriptions.retain(|kept| !kept.is_gone());
            }
            subscriptions.push(subscription);
        });
    }

    /// Ends a subscription that is kept here; false if there is none with this id, or it has ended already.
    pub(crate) fn end(&self, subscriber_id: &str) -> bool {
        let next = || {
            self.change(|subscriptions| {
                let index = subscriptions.iter().position(|kept| kept.id() == subscriber_id)?;
                Some(subscriptions.swap_remove(index))
            })
        };
        // Of one that ended by itself, the id may have been given by hand to another.
        std::iter::from_fn(next).any(|subscription| subscription.unsubscribe())
    }

    /// Ends all that is kept here.
    pub(crate) fn end_all(&self) {
        for subscription in self.take_all() {
            subscription.unsubscribe();
        }
    }

    /// What was kept here is the caller's.
    pub(crate) fn take_all(&self) -> Vec<Subscription> {
        self.change(std::mem::take)
    }

    fn change<R>(&self, f: impl FnOnce(&mut Vec<Subscription>) -> R) -> R {
        f(&mut self.subscriptions.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        self.end_all();
    }
}
