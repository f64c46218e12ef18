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
//! - `publish`: handing events in, validated or not; `schedule`: handing them in later; `intercept`: what surrounds both
//!   that and handling;
//! - `feed`: events as they are recorded, for readers that take them when they like;
//! - `deliveries`: what a delivery can be asked; `runtime`: where asynchronous handlers run; `manual`: a bus that a test drives;
//! - `host`: what a part above the bus needs to live on one; `parts`: what such a part keeps once for each bus;
//! - `flush`: waiting until events are handled; `lifetime`: the end; `ending`: what is told of it;
//! - `history` and `causes`, `dead_letters`, `counts` and `stats`, `types`, `explain`: what can be asked of it afterwards;
//! - `global`: one bus for the whole process; `kept`: a module's own subscriptions, for what is built above.

mod builder;
mod causes;
mod counts;
mod dead_letters;
mod deliveries;
mod ending;
mod explain;
#[cfg(feature = "stream")]
mod feed;
mod flush;
mod global;
mod history;
mod host;
mod intercept;
mod kept;
mod lifetime;
#[cfg(feature = "queued")]
mod manual;
mod parts;
mod patterns;
mod publish;
mod registry;
#[cfg(feature = "async")]
mod runtime;
mod schedule;
mod stats;
mod subscribe;
mod subscription;
mod typed;
mod types;

pub use builder::EventBusBuilder;
#[cfg(feature = "schema")]
pub use builder::Validation;
pub use causes::{CausalNode, CausalTree, Cause};
pub use counts::{DeliveryStats, HistoryStats, Stats, SubscriberStats};
pub use dead_letters::DeadLetterQueue;
pub use ending::{ShutdownReport, UndeliveredEvent};
pub use explain::{Explanation, HearingFeed, HearingSubscription};
#[cfg(feature = "stream")]
pub(crate) use feed::Open;
#[cfg(feature = "stream")]
pub use feed::{EventFeed, FEED_ROOM_MAX, FeedBuilder, FeedItem, FeedOverflow, FeedReader, FeedReaderWatch};
pub use flush::FlushError;
pub use global::{
    AlreadySet, get_event_bus, get_event_stats, init_event_bus, publish_event, publish_event_async,
    subscribe_to_events, try_get_event_bus, unsubscribe_from_events,
};
pub use history::{EventHistory, HistoryQuery, Recorded};
#[cfg(feature = "stream")]
pub(crate) use host::Timer;
pub(crate) use host::{Host, Reminder};
pub use intercept::{InterceptorHandle, ScopedInterceptor};
pub(crate) use kept::Kept;
pub use lifetime::DRAIN_ON_DROP;
#[cfg(feature = "queued")]
pub use manual::{Driver, ManualBusBuilder};
pub(crate) use parts::BusPart;
pub use patterns::{IntoPattern, IntoPatterns};
pub use publish::Published;
pub use schedule::ScheduledEvent;

#[cfg(feature = "async")]
pub use subscribe::{CONCURRENCY_MAX, MAILBOX_ROOM_MAX};
pub use subscribe::{PATTERNS_MAX, SubscriptionBuilder};
pub use subscription::{ScopedSubscription, StillRunning, Subscription};
#[cfg(feature = "async")]
pub use typed::OwnedTypedDelivery;
pub use typed::{TypedDelivery, TypedSubscriptionBuilder};
pub use types::EventTypeInfo;

use crate::clock::Clock;
use crate::config::Settings;
use crate::dispatch::engine::{Engine, EngineSettings, Owner};
#[cfg(feature = "queued")]
use crate::dispatch::{queue::Queue, workers::Workers};
use crate::event::{Event, EventPublishError};
#[cfg(feature = "schema")]
use crate::schema::EventSchema;
use crate::sync::AtomicBool;
use dead_letters::Letters;
use lifetime::Handle;
use parts::BusParts;
use registry::Registry;
#[cfg(feature = "async")]
use runtime::TaskRuntime;
use stats::Epoch;
use std::fmt;
use std::sync::{Arc, Mutex, OnceLock, Weak};

/// An event bus: a handle, cheap to clone and to share between threads.
///
/// Handlers run on the publisher's thread, in priority order; of a queued bus (`EventBusBuilder::queued`), on its workers'.
/// When the last handle is dropped, a bus that is queued or has something in its mailboxes drains for up to 5 s, and the
/// handlers are dropped. A handler that captures a handle keeps its own bus alive for ever: let it capture a
/// [`WeakEventBus`], or ask its delivery for [`bus`](crate::Delivery::bus).
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
    /// What `handle` holds as well, at hand.
    bus: Arc<Bus>,
    handle: Arc<Handle>,
}

/// Names a bus without keeping it alive. Made by [`EventBus::downgrade`].
#[derive(Clone)]
pub struct WeakEventBus {
    handle: Weak<Handle>,
}

pub(crate) struct Bus {
    pub(crate) engine: Engine,
    pub(crate) registry: Registry,
    letters: Letters,
    epoch: Mutex<Epoch>,
    parts: BusParts,
    /// Made when somebody asks.
    id: OnceLock<String>,
    /// What all handles share, while there are any.
    handle: OnceLock<Weak<Handle>>,
    /// The last of them is gone, and somebody sees to what is left.
    is_ending: AtomicBool,
    #[cfg(feature = "queued")]
    workers: Mutex<Option<Workers>>,
    #[cfg(feature = "async")]
    tasks: TaskRuntime,
    #[cfg(feature = "schema")]
    schema: EventSchema,
    #[cfg(feature = "schema")]
    validation: Validation,
}

impl Owner for Bus {
    fn engine(&self) -> &Engine {
        &self.engine
    }

    fn check(&self, event: Arc<Event>) -> Result<Arc<Event>, EventPublishError> {
        self.checked_by_default(event)
    }
}

impl Bus {
    fn assemble(parts: Parts) -> Arc<Self> {
        Arc::new_cyclic(|owner: &Weak<Bus>| Bus {
            engine: Engine::new(
                parts.engine,
                #[cfg(feature = "queued")]
                parts.queue,
                owner.clone(),
            ),
            registry: Registry::new(),
            letters: Letters::default(),
            epoch: Mutex::default(),
            parts: BusParts::default(),
            id: OnceLock::new(),
            handle: OnceLock::new(),
            is_ending: AtomicBool::new(false),
            #[cfg(feature = "queued")]
            workers: Mutex::default(),
            #[cfg(feature = "async")]
            tasks: parts.tasks,
            #[cfg(feature = "schema")]
            schema: parts.schema.unwrap_or_default(),
            #[cfg(feature = "schema")]
            validation: parts.validation,
        })
    }
}

/// What a bus is put together from.
struct Parts {
    engine: EngineSettings,
    #[cfg(feature = "queued")]
    queue: Option<Queue>,
    #[cfg(feature = "async")]
    tasks: TaskRuntime,
    #[cfg(feature = "schema")]
    schema: Option<EventSchema>,
    #[cfg(feature = "schema")]
    validation: Validation,
}

impl EventBus {
    /// A bus with the documented defaults: inline dispatch, 1,000 events of history, 100 dead letters. It
    /// does not read the environment; see [`EventBusBuilder::from_env`].
    #[must_use]
    pub fn new() -> Self {
        let settings = Settings::default();
        EventBus::of(Bus::assemble(Parts {
            engine: EngineSettings {
                history: settings.history,
                dead_letters: settings.dead_letters,
                #[cfg(any(feature = "queued", feature = "async"))]
                keeps_dropped: false,
                measures_latency: false,
                slow_after: None,
                letter_listener: None,
                clock: Clock::real(),
            },
            #[cfg(feature = "queued")]
            queue: None,
            #[cfg(feature = "async")]
            tasks: TaskRuntime::own(settings.workers),
            #[cfg(feature = "schema")]
            schema: None,
            #[cfg(feature = "schema")]
            validation: Validation::Off,
        }))
    }

    /// A handle on the bus: one of those that there are, or one on a bus that is ending.
    fn of(bus: Arc<Bus>) -> Self {
        let existing = bus.handle.get().and_then(Weak::upgrade);
        let handle = existing.unwrap_or_else(|| {
            let handle = Arc::new(Handle { bus: Arc::clone(&bus) });
            bus.handle.get_or_init(|| Arc::downgrade(&handle));
            handle
        });
        EventBus { bus, handle }
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

    /// What tells this bus from any other, in this process or another, before a restart or after: 16 hexadecimal digits.
    #[must_use]
    pub fn id(&self) -> &str {
        self.bus.id.get_or_init(|| format!("{:016x}", uuid::Uuid::new_v4().as_u128() >> 64))
    }

    /// A handle that does not keep the bus alive.
    #[must_use]
    pub fn downgrade(&self) -> WeakEventBus {
        WeakEventBus { handle: Arc::downgrade(&self.handle) }
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
        let handle = self.handle.upgrade()?;
        Some(EventBus { bus: Arc::clone(&handle.bus), handle })
    }
}

impl fmt::Debug for WeakEventBus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WeakEventBus")
    }
}
