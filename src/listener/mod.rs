//! [`EventListener`]: for whoever only hears. A module that also speaks keeps an `EventMixin`.
//!
//! It is a bus and the subscriptions made through it, which end with it. `once` is the bus's own: the turn is claimed
//! before the handler runs, so it is one turn whoever publishes at the same time or from within. Subscriptions are called by
//! the bus's ids, which are never given twice, so an `off` can never end somebody else's.
//!
//! In `handlers`: [`EventHandlers`], all handlers of a value at once. It never keeps the value alive.

mod handlers;

pub use handlers::{EventHandlers, Handlers};

use crate::bus::{EventBus, IntoPatterns, Kept, Subscription};
use crate::dispatch::handler::{Delivery, HandlerOutcome};
#[cfg(feature = "async")]
use crate::dispatch::owned::OwnedDelivery;
use crate::error::EventError;
use std::sync::Arc;

/// Hears events until it is dropped.
///
/// The bus is the one it was given, else the process-wide one, looked up at first use. Dropping the listener ends all
/// that was subscribed through it. It holds a handle on its bus, as [`EventBus`] says of handles.
///
/// ```
/// use codomyrmex_events::{Event, EventBus, EventError, EventListener, EventType};
///
/// let bus = EventBus::new();
/// let listener = EventListener::on_bus(&bus);
/// listener.listen_to_build_events(|event| println!("{} from {}", event.event_type(), event.source()))?;
/// listener.once("deploy.complete", |_| println!("the first deployment"))?;
/// let alerts = listener.on(["alert.*", "*.error"], |event| println!("look at {}", event.event_id()))?;
/// assert!(listener.off(alerts.id()));
///
/// bus.publish(Event::builder(EventType::BuildStart, "ci").build()?)?;
/// drop(listener);
/// assert_eq!(bus.subscriptions().len(), 0);
/// # Ok::<(), EventError>(())
/// ```
#[derive(Debug)]
pub struct EventListener {
    kept: Kept,
}

impl EventListener {
    /// A listener on the process-wide bus.
    #[must_use]
    pub fn new() -> Self {
        EventListener { kept: Kept::new(None) }
    }

    /// A listener on this bus.
    #[must_use]
    pub fn on_bus(bus: &EventBus) -> Self {
        EventListener { kept: Kept::new(Some(bus.clone())) }
    }

    /// The bus.
    ///
    /// # Errors
    /// The process-wide bus cannot be made: an environment variable that cannot be used.
    pub fn bus(&self) -> Result<&EventBus, EventError> {
        Ok(self.kept.bus()?)
    }

    /// Hears every event that matches. For a filter, a priority or retries begin with the [bus](Self::bus), and let the
    /// listener [`keep`](Self::keep) the subscription.
    ///
    /// # Errors
    /// As [`SubscriptionBuilder::handler`](crate::SubscriptionBuilder::handler), and as [`bus`](Self::bus).
    pub fn on<F, R>(&self, patterns: impl IntoPatterns, handler: F) -> Result<Subscription, EventError>
    where
        F: Fn(&Delivery<'_>) -> R + Send + Sync + 'static,
        R: HandlerOutcome,
    {
        Ok(self.kept_too(self.bus()?.subscribe(patterns).handler(handler)?))
    }

    /// Hears one event that matches, exactly one, however many are published at once or from within the handler.
    ///
    /// # Errors
    /// As [`on`](Self::on).
    pub fn once<F, R>(&self, patterns: impl IntoPatterns, handler: F) -> Result<Subscription, EventError>
    where
        F: Fn(&Delivery<'_>) -> R + Send + Sync + 'static,
        R: HandlerOutcome,
    {
        Ok(self.kept_too(self.bus()?.subscribe(patterns).once().handler(handler)?))
    }

    /// [`on`](Self::on) with an asynchronous handler.
    ///
    /// # Errors
    /// As [`SubscriptionBuilder::async_handler`](crate::SubscriptionBuilder::async_handler), and as [`bus`](Self::bus).
    #[cfg(feature = "async")]
    pub fn on_async<F, Fut, R>(
        &self,
        patterns: impl IntoPatterns,
        handler: F,
    ) -> Result<Subscription, EventError>
    where
        F: Fn(OwnedDelivery) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = R> + Send + 'static,
        R: HandlerOutcome,
    {
        Ok(self.kept_too(self.bus()?.subscribe(patterns).async_handler(handler)?))
    }

    /// [`once`](Self::once) with an asynchronous handler.
    ///
    /// # Errors
    /// As [`on_async`](Self::on_async).
    #[cfg(feature = "async")]
    pub fn once_async<F, Fut, R>(
        &self,
        patterns: impl IntoPatterns,
        handler: F,
    ) -> Result<Subscription, EventError>
    where
        F: Fn(OwnedDelivery) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = R> + Send + 'static,
        R: HandlerOutcome,
    {
        Ok(self.kept_too(self.bus()?.subscribe(patterns).once().async_handler(handler)?))
    }

    /// Hears `analysis.*`: start, progress, complete, error, and names of one's own in that domain.
    ///
    /// # Errors
    /// As [`on`](Self::on).
    pub fn listen_to_analysis_events<F, R>(&self, handler: F) -> Result<Subscription, EventError>
    where
        F: Fn(&Delivery<'_>) -> R + Send + Sync + 'static,
        R: HandlerOutcome,
    {
        self.on("analysis.*", handler)
    }

    /// Hears `build.*`: start, progress, complete, error, and names of one's own in that domain.
    ///
    /// # Errors
    /// As [`on`](Self::on).
    pub fn listen_to_build_events<F, R>(&self, handler: F) -> Result<Subscription, EventError>
    where
        F: Fn(&Delivery<'_>) -> R + Send + Sync + 'static,
        R: HandlerOutcome,
    {
        self.on("build.*", handler)
    }

    /// Subscribes all handlers of a value: all of them, or on an error none. They hold the value weakly: dropping it
    /// ends them as surely as dropping the listener does, at the latest when the next event would have reached it.
    ///
    /// # Errors
    /// The first that a handler met, as [`on`](Self::on) says, and its asynchronous twin.
    pub fn register<T: EventHandlers>(&self, value: &Arc<T>) -> Result<Vec<Subscription>, EventError> {
        let subscriptions = Handlers::of(value, self.bus()?)?;
        subscriptions.iter().for_each(|subscription| self.keep(subscription.clone()));
        Ok(subscriptions)
    }

    /// Takes over a subscription made elsewhere: it ends with this listener.
    pub fn keep(&self, subscription: Subscription) {
        self.kept.keep(subscription);
    }

    /// Ends a subscription of this listener; false if it has none with this id, or it has ended already.
    pub fn off(&self, subscriber_id: &str) -> bool {
        self.kept.end(subscriber_id)
    }

    /// Ends all subscriptions of this listener. It can be used again afterwards.
    pub fn off_all(&self) {
        self.kept.end_all();
    }

    fn kept_too(&self, subscription: Subscription) -> Subscription {
        self.keep(subscription.clone());
        subscription
    }
}

impl Default for EventListener {
    fn default() -> Self {
        EventListener::new()
    }
}
