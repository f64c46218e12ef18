//! One bus for the whole process, for modules that were handed none.

use super::patterns::IntoPatterns;
use super::{EventBus, Published, Stats, Subscription};
use crate::config::ConfigError;
use crate::dispatch::handler::{Delivery, HandlerOutcome};
use crate::error::EventSubscriptionError;
use crate::event::{Event, EventPublishError};
use std::sync::{Arc, OnceLock};
use thiserror::Error;

static BUS: OnceLock<EventBus> = OnceLock::new();

/// The process-wide bus was in use before it could be set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the process-wide bus is in use already")]
#[non_exhaustive]
pub struct AlreadySet {}

/// The process-wide bus, made on first use from the environment. See [`EventBusBuilder::from_env`](super::EventBusBuilder::from_env).
///
/// # Panics
/// If an environment variable cannot be used; [`try_get_event_bus`] returns the error instead.
#[allow(clippy::panic, reason = "documented; there is a fallible twin")]
pub fn get_event_bus() -> &'static EventBus {
    try_get_event_bus().unwrap_or_else(|error| panic!("{error}"))
}

/// The process-wide bus, made on first use from the environment.
///
/// # Errors
/// An environment variable that cannot be used. The next call tries again.
pub fn try_get_event_bus() -> Result<&'static EventBus, ConfigError> {
    if let Some(bus) = BUS.get() {
        return Ok(bus);
    }
    let bus = EventBus::builder().from_env()?.build()?;
    Ok(BUS.get_or_init(|| bus))
}

/// Makes `bus` the process-wide one. Call it before anything uses that.
///
/// # Errors
/// The process-wide bus is in use already; it stays.
pub fn init_event_bus(bus: EventBus) -> Result<(), AlreadySet> {
    BUS.set(bus).map_err(|_| AlreadySet {})
}

/// [`EventBus::publish`] on the process-wide bus.
///
/// # Errors
/// As [`EventBus::publish`].
///
/// # Panics
/// As [`get_event_bus`]; so do the functions below.
pub fn publish_event(event: impl Into<Arc<Event>>) -> Result<Published, EventPublishError> {
    get_event_bus().publish(event)
}

/// [`EventBus::publish_async`] on the process-wide bus.
///
/// # Errors
/// As [`EventBus::publish`].
pub async fn publish_event_async(event: impl Into<Arc<Event>>) -> Result<Published, EventPublishError> {
    get_event_bus().publish_async(event).await
}

/// Subscribes to the process-wide bus. For more than a handler, begin with
/// [`get_event_bus().subscribe(...)`](EventBus::subscribe).
///
/// # Errors
/// As [`SubscriptionBuilder::handler`](super::SubscriptionBuilder::handler).
pub fn subscribe_to_events<F, R>(
    patterns: impl IntoPatterns,
    handler: F,
) -> Result<Subscription, EventSubscriptionError>
where
    F: Fn(&Delivery<'_>) -> R + Send + Sync + 'static,
    R: HandlerOutcome,
{
    get_event_bus().subscribe(patterns).handler(handler)
}

/// [`EventBus::unsubscribe`] on the process-wide bus.
pub fn unsubscribe_from_events(subscriber_id: &str) -> bool {
    get_event_bus().unsubscribe(subscriber_id)
}

/// [`EventBus::get_stats`] of the process-wide bus.
#[must_use]
pub fn get_event_stats() -> Stats {
    get_event_bus().get_stats()
}
