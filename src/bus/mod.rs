//! [`EventBus`]: the one place where the parts meet.
//!
//! A bus is the engine with what surrounds it: who may subscribe, which schemas hold, what is asked of the
//! history, the dead letters and the counts. How an event reaches its handlers is left to `dispatch`.
//!
//! In reading order:
//! - `builder`: a bus that differs from the defaults;
//! - `subscribe`: making a subscription, step by step; `patterns`: in what forms patterns come; `typed`:
//!   subscriptions to payloads of a Rust type; `subscription`: the handle on one, and waiting for its end;
//!   `registry`: who is subscribed, the writers' side of the snapshot;
//! - `publish`: handing events in, validated or not, and ending the bus;
//! - `history`, `dead_letters`, `stats`, `types`: what can be asked of it afterwards;
//! - `global`: one bus for the whole process.

mod builder;
mod dead_letters;
mod global;
mod history;
mod patterns;
mod publish;
mod registry;
mod stats;
mod subscribe;
mod subscription;
mod typed;
mod types;

pub use builder::EventBusBuilder;
#[cfg(feature = "schema")]
pub use builder::Validation;
pub use dead_letters::DeadLetterQueue;
pub use global::{
    AlreadySet, get_event_bus, get_event_stats, init_event_bus, publish_event, publish_event_async,
    subscribe_to_events, try_get_event_bus, unsubscribe_from_events,
};
pub use history::{EventHistory, HistoryQuery, Recorded};
pub use patterns::{IntoPattern, IntoPatterns};
pub use publish::{Published, ShutdownReport};
pub use stats::{DeliveryStats, HistoryStats, Stats, SubscriberStats};
pub use subscribe::{PATTERNS_MAX, SubscriptionBuilder, TypedSubscriptionBuilder};
pub use subscription::{ScopedSubscription, StillRunning, Subscription};
pub use typed::TypedDelivery;
pub use types::EventTypeInfo;

use crate::config::Settings;
use crate::dispatch::engine::Engine;
use crate::dispatch::handler::Delivery;
#[cfg(feature = "schema")]
use crate::schema::EventSchema;
use dead_letters::Letters;
use registry::Registry;
use stats::Epoch;
use std::any::Any;
use std::fmt;
use std::sync::{Arc, Mutex, Weak};

/// An event bus: a handle, cheap to clone and to share between threads.
///
/// Handlers run on the publisher's thread, in priority order. When the last handle is dropped, so are the
/// handlers. A handler that captures a handle keeps its own bus alive for ever: let it capture a
/// [`WeakEventBus`], or ask its delivery for [`bus`](Delivery::bus).
///
/// ```
/// use codomyrmex_events::{Event, EventBus, EventType};
/// use serde_json::json;
///
/// let bus = EventBus::new();
/// bus.subscribe("build.*").priority(10).handler(|event| println!("{:?}", event.data()))?;
/// let event = Event::builder(EventType::BuildStart, "ci_pipeline")
///     .data(json!({"build_type": "release", "target": "codomyrmex"}))
///     .build()?;
/// assert_eq!(bus.publish(event)?.sequence(), 1);
/// # Ok::<(), codomyrmex_events::EventError>(())
/// ```
#[derive(Clone)]
pub struct EventBus {
    bus: Arc<Bus>,
}

/// Names a bus without keeping it alive. Made by [`EventBus::downgrade`].
#[derive(Clone)]
pub struct WeakEventBus {
    bus: Weak<Bus>,
}

pub(crate) struct Bus {
    pub(crate) engine: Engine,
    pub(crate) registry: Registry,
    letters: Letters,
    epoch: Mutex<Epoch>,
    #[cfg(feature = "schema")]
    schema: EventSchema,
    #[cfg(feature = "schema")]
    validation: Validation,
}

impl EventBus {
    /// A bus with the documented defaults: inline dispatch, 1,000 events of history, 100 dead letters. It
    /// does not read the environment; see [`EventBusBuilder::from_env`].
    #[must_use]
    pub fn new() -> Self {
        EventBus::assemble(
            Settings::default(),
            #[cfg(feature = "schema")]
            None,
            #[cfg(feature = "schema")]
            Validation::Off,
        )
    }

    fn assemble(
        settings: Settings,
        #[cfg(feature = "schema")] schema: Option<EventSchema>,
        #[cfg(feature = "schema")] validation: Validation,
    ) -> Self {
        let bus = Arc::new_cyclic(|owner: &Weak<Bus>| {
            let owner: Weak<dyn Any + Send + Sync> = owner.clone();
            Bus {
                engine: Engine::new(settings.history, settings.dead_letters, owner),
                registry: Registry::new(),
                letters: Letters::default(),
                epoch: Mutex::default(),
                #[cfg(feature = "schema")]
                schema: schema.unwrap_or_default(),
                #[cfg(feature = "schema")]
                validation,
            }
        });
        EventBus { bus }
    }

    /// Begins a subscription: to one pattern or many, in any mix of `&str`, `String`, [`Pattern`](crate::Pattern)
    /// and [`EventType`](crate::EventType). A subscription with several matching patterns hears an event once.
    pub fn subscribe(&self, patterns: impl IntoPatterns) -> SubscriptionBuilder<'_> {
        SubscriptionBuilder::new(&self.bus, patterns)
    }

    /// Ends the subscription with this id; false if there is none. See [`Subscription::unsubscribe`].
    pub fn unsubscribe(&self, id: &str) -> bool {
        self.subscription(id).is_some_and(|subscription| subscription.unsubscribe())
    }

    /// The live subscription with this id.
    #[must_use]
    pub fn subscription(&self, id: &str) -> Option<Subscription> {
        let subscriber = self.bus.registry.by_id(&self.bus.engine, id)?;
        Some(Subscription::new(&self.bus, subscriber))
    }

    /// The live subscriptions, in order of subscribing.
    #[must_use]
    pub fn subscriptions(&self) -> Vec<Subscription> {
        let subscribers = self.bus.registry.subscribers(&self.bus.engine);
        subscribers.into_iter().map(|subscriber| Subscription::new(&self.bus, subscriber)).collect()
    }

    /// The schemas of this bus: register new ones here. They hold from the next publish on.
    #[cfg(feature = "schema")]
    #[must_use]
    pub fn event_schema(&self) -> &EventSchema {
        &self.bus.schema
    }

    /// A handle that does not keep the bus alive.
    #[must_use]
    pub fn downgrade(&self) -> WeakEventBus {
        WeakEventBus { bus: Arc::downgrade(&self.bus) }
    }
}

impl Default for EventBus {
    fn default() -> Self {
        EventBus::new()
    }
}

impl fmt::Debug for EventBus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventBus")
            .field("last_sequence", &self.bus.engine.last_sequence())
            .finish_non_exhaustive()
    }
}

impl WeakEventBus {
    /// The bus, if any handle is left.
    #[must_use]
    pub fn upgrade(&self) -> Option<EventBus> {
        self.bus.upgrade().map(|bus| EventBus { bus })
    }
}

impl fmt::Debug for WeakEventBus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WeakEventBus")
    }
}

impl Delivery<'_> {
    /// The bus that delivers.
    #[must_use]
    pub fn bus(&self) -> EventBus {
        let owner = self.engine.owner.upgrade().and_then(|owner| owner.downcast::<Bus>().ok());
        EventBus { bus: owner.expect("a publisher holds the bus while it delivers") }
    }

    /// The subscription that this delivery is for.
    #[must_use]
    pub fn subscription(&self) -> Subscription {
        Subscription::new(&self.bus().bus, Arc::clone(self.subscriber))
    }
}
