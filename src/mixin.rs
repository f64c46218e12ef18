//! [`EventMixin`]: what a module keeps in a field to take part in events.

use crate::bus::{EventBus, IntoPatterns, Kept, Subscription};
use crate::context;
use crate::dispatch::handler::{BoxError, Delivery, HandlerOutcome};
#[cfg(feature = "async")]
use crate::dispatch::owned::OwnedDelivery;
use crate::dispatch::surroundings::fill_in;
use crate::error::EventError;
use crate::event::{Event, EventPublishError, EventType, Payload};
use crate::ids::{InvalidText, Source};
use std::sync::Arc;

/// A module's side of the bus: its source, its subscriptions, and their end with it.
///
/// The bus is the one it was given, else the process-wide one, looked up at first use. Dropping the mixin
/// unsubscribes all that it subscribed.
///
/// ```
/// use codomyrmex_events::{EventBus, EventError, EventMixin, EventType};
/// use serde_json::json;
///
/// struct CodeAnalyzer {
///     events: EventMixin,
/// }
///
/// impl CodeAnalyzer {
///     fn analyze(&self, path: &str) -> Result<(), EventError> {
///         self.events.emit(EventType::AnalysisStart, json!({"target": path}))?;
///         self.events.emit(EventType::AnalysisComplete, json!({"target": path, "success": true}))?;
///         Ok(())
///     }
/// }
///
/// let bus = EventBus::new();
/// let analyzer = CodeAnalyzer { events: EventMixin::init_events_on("code_analyzer", &bus)? };
/// analyzer.analyze("src/lib.rs")?;
/// assert_eq!(bus.history().len(), 2);
/// # Ok::<(), EventError>(())
/// ```
#[derive(Debug)]
pub struct EventMixin {
    source: Source,
    kept: Kept,
}

impl EventMixin {
    /// A mixin on the process-wide bus, which is looked up at first use.
    ///
    /// # Errors
    /// A source that is empty, over 256 bytes, or has control characters.
    pub fn init_events(source: impl TryInto<Source, Error: Into<InvalidText>>) -> Result<Self, EventError> {
        EventMixin::new(source, None)
    }

    /// A mixin on this bus.
    ///
    /// # Errors
    /// As [`init_events`](Self::init_events).
    pub fn init_events_on(
        source: impl TryInto<Source, Error: Into<InvalidText>>,
        bus: &EventBus,
    ) -> Result<Self, EventError> {
        EventMixin::new(source, Some(bus.clone()))
    }

    fn new(
        source: impl TryInto<Source, Error: Into<InvalidText>>,
        bus: Option<EventBus>,
    ) -> Result<Self, EventError> {
        let source = source.try_into().map_err(|error| EventPublishError::from(error.into()))?;
        Ok(EventMixin { source, kept: Kept::new(bus) })
    }

    /// What stamps the events.
    #[must_use]
    pub fn source(&self) -> &Source {
        &self.source
    }

    /// The bus.
    ///
    /// # Errors
    /// The process-wide bus cannot be made: an environment variable that cannot be used.
    pub fn bus(&self) -> Result<&EventBus, EventError> {
        Ok(self.kept.bus()?)
    }

    /// Publishes an event from this source without validating it, and returns it.
    ///
    /// # Errors
    /// A name that is none, or an event that the bus refused.
    pub fn emit(
        &self,
        event_type: impl TryInto<EventType, Error: Into<InvalidText>>,
        data: impl Into<Payload>,
    ) -> Result<Arc<Event>, EventError> {
        let event = self.event(event_type, data)?;
        self.bus()?.publish(Arc::clone(&event))?;
        Ok(event)
    }

    /// Publishes an event from this source through [`EventBus::emit_typed`], and returns it.
    ///
    /// # Errors
    /// As [`EventBus::emit_typed`].
    #[cfg(feature = "schema")]
    pub fn emit_typed(
        &self,
        event_type: impl TryInto<EventType, Error: Into<InvalidText>>,
        data: impl Into<Payload>,
    ) -> Result<Arc<Event>, EventError> {
        let event = self.event(event_type, data)?;
        self.bus()?.emit_typed(Arc::clone(&event))?;
        Ok(event)
    }

    fn event(
        &self,
        event_type: impl TryInto<EventType, Error: Into<InvalidText>>,
        data: impl Into<Payload>,
    ) -> Result<Arc<Event>, EventError> {
        // Filled in here and not by `publish`, so that the event returned is the one that was heard.
        let mut event = Arc::new(Event::builder(event_type, &self.source).data(data).build()?);
        context::with_publisher(|around| {
            fill_in(&mut event, around.and_then(|around| around.correlation_id), around)
        });
        Ok(event)
    }

    /// Subscribes a handler for as long as this mixin lives.
    ///
    /// # Errors
    /// As [`SubscriptionBuilder::handler`](crate::SubscriptionBuilder::handler).
    pub fn on<F, R>(&self, patterns: impl IntoPatterns, handler: F) -> Result<Subscription, EventError>
    where
        F: Fn(&Delivery<'_>) -> R + Send + Sync + 'static,
        R: HandlerOutcome,
    {
        let subscription = self.bus()?.subscribe(patterns).handler(handler)?;
        self.keep(subscription.clone());
        Ok(subscription)
    }

    /// Subscribes an asynchronous handler for as long as this mixin lives.
    ///
    /// # Errors
    /// As [`SubscriptionBuilder::async_handler`](crate::SubscriptionBuilder::async_handler).
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
        let subscription = self.bus()?.subscribe(patterns).async_handler(handler)?;
        self.keep(subscription.clone());
        Ok(subscription)
    }

    /// Takes over a subscription made elsewhere, one with a filter or a priority, say: it ends with this mixin.
    pub fn keep(&self, subscription: Subscription) {
        self.kept.keep(subscription);
    }

    /// Subscribes a method of the value that owns this mixin. The subscription holds the owner weakly, so the
    /// owner can be dropped, and ends the subscription by that.
    ///
    /// # Errors
    /// As [`on`](Self::on).
    pub fn on_method<T, F, R>(
        &self,
        owner: &Arc<T>,
        patterns: impl IntoPatterns,
        method: F,
    ) -> Result<Subscription, EventError>
    where
        T: Send + Sync + 'static,
        F: Fn(&T, &Delivery<'_>) -> R + Send + Sync + 'static,
        R: HandlerOutcome,
    {
        let owner = Arc::downgrade(owner);
        self.on(patterns, move |delivery: &Delivery<'_>| -> Result<(), BoxError> {
            match owner.upgrade() {
                Some(owner) => method(&owner, delivery).into_result(),
                // The owner is being dropped, and this subscription with it.
                None => Ok(()),
            }
        })
    }

    /// Ends a subscription that this mixin made; false if it made none with this id, or it has ended already.
    pub fn off(&self, subscriber_id: &str) -> bool {
        self.kept.end(subscriber_id)
    }

    /// Ends all subscriptions that this mixin made. It can be used again afterwards.
    pub fn cleanup_events(&self) {
        self.kept.end_all();
    }
}
