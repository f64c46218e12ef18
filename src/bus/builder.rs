//! Building a bus that differs from the defaults.

use super::{Bus, EventBus};
use crate::config::{Asked, ConfigError};
#[cfg(feature = "queued")]
use crate::dispatch::{
    engine::Owner,
    queue::{OrderKey, Overflow, Queue, QueueSettings, WaitStrategy},
    workers::Workers,
};
#[cfg(feature = "queued")]
use crate::event::Event;
#[cfg(feature = "schema")]
use crate::schema::EventSchema;
use std::fmt;
#[cfg(feature = "queued")]
use std::sync::{Arc, PoisonError};

/// What `publish` validates. `emit_typed` always does.
#[cfg(feature = "schema")]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Validation {
    /// Nothing.
    #[default]
    Off,
    /// Events whose type has a schema.
    Typed,
    /// Every event; those whose type has no schema are refused.
    All,
}

/// Settings of a bus in the making. What is set here beats the environment (if [`from_env`](Self::from_env)
/// was called), which beats the default.
#[derive(Clone, Default)]
#[must_use = "call `build`"]
pub struct EventBusBuilder {
    asked: Asked,
    environment: Asked,
    #[cfg(feature = "queued")]
    queue: QueueSettings,
    #[cfg(feature = "queued")]
    processors: Vec<usize>,
    #[cfg(feature = "schema")]
    schema: Option<EventSchema>,
    #[cfg(feature = "schema")]
    validation: Validation,
}

impl fmt::Debug for EventBusBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventBusBuilder").field("asked", &self.asked).finish_non_exhaustive()
    }
}

impl EventBus {
    /// A bus with other settings.
    pub fn builder() -> EventBusBuilder {
        EventBusBuilder::default()
    }
}

impl EventBusBuilder {
    /// Takes what is not set here from `CODOMYRMEX_EVENT_WORKERS`, `CODOMYRMEX_EVENT_ASYNC`,
    /// `CODOMYRMEX_EVENT_HISTORY_LIMIT` and `CODOMYRMEX_EVENT_DLQ_MAX`.
    ///
    /// # Errors
    /// A variable that does not parse or is out of range; a build without queued dispatch that is asked for it.
    pub fn from_env(mut self) -> Result<Self, ConfigError> {
        self.environment = Asked::from_env()?;
        Ok(self)
    }

    /// Threads of the worker pool, 1 to 1,024. Inline dispatch has no use for them. Default: 4.
    pub fn max_workers(mut self, workers: usize) -> Self {
        self.asked.workers = Some(workers);
        self
    }

    /// Queues events for a pool of worker threads, instead of handling them on their publisher's thread. Events with one
    /// order key and one band of priority are handled in the order published. Default: no.
    #[cfg(feature = "queued")]
    pub fn queued(mut self) -> Self {
        self.asked.queued = Some(true);
        self
    }

    /// Handles events on their publisher's thread, whatever the environment says.
    pub fn inline(mut self) -> Self {
        self.asked.queued = Some(false);
        self
    }

    /// How many lanes a queued bus has, 1 to 65,536. Keys are hashed onto lanes; one worker at a time takes from a lane.
    /// Default: 4 for each worker.
    #[cfg(feature = "queued")]
    pub fn lanes(mut self, lanes: usize) -> Self {
        self.asked.lanes = Some(lanes);
        self
    }

    /// How many events each band of each lane holds, 1 to 1,048,576; the room is taken when the bus is built. Default: 1,024.
    #[cfg(feature = "queued")]
    pub fn lane_room(mut self, events: usize) -> Self {
        self.asked.lane_room = Some(events);
        self
    }

    /// What becomes of an event for which there is no room. Default: its publisher waits for 5 s, then it is refused.
    #[cfg(feature = "queued")]
    pub fn overflow(mut self, overflow: Overflow) -> Self {
        self.queue.overflow = overflow;
        self
    }

    /// Keeps a dead letter of each event that was discarded for want of room, or at the limit of a shutdown. Default: no.
    #[cfg(feature = "queued")]
    pub fn keep_dropped(mut self) -> Self {
        self.queue.keeps_dropped = true;
        self
    }

    /// Which events keep their order: those for which `key` gives the same number. It is asked on the publisher's
    /// thread; if it panics, the key is 0. Default: the source.
    #[cfg(feature = "queued")]
    pub fn order_by(mut self, key: impl Fn(&Event) -> u64 + Send + Sync + 'static) -> Self {
        self.queue.order = OrderKey::Function(Arc::new(key));
        self
    }

    /// How workers wait for work. Default: parked.
    #[cfg(feature = "queued")]
    pub fn wait_strategy(mut self, strategy: WaitStrategy) -> Self {
        self.queue.wait = strategy;
        self
    }

    /// The processors that workers run on, in turn, by the system's numbers. Where that is not possible, a warning goes to
    /// the log. Default: any.
    #[cfg(feature = "queued")]
    pub fn pin_workers(mut self, processors: impl IntoIterator<Item = usize>) -> Self {
        self.processors = processors.into_iter().collect();
        self
    }

    /// How many of the newest events are kept, exactly; 0 keeps none. At most 16,777,216. Default: 1,000.
    pub fn history(mut self, events: usize) -> Self {
        self.asked.history = Some(events);
        self
    }

    /// How many of the newest dead letters are kept; 0 keeps none, but counts. At most 1,048,576. Default: 100.
    pub fn dead_letters(mut self, letters: usize) -> Self {
        self.asked.dead_letters = Some(letters);
        self
    }

    /// The schemas of the bus. Default: the standard ones, in a registry of its own.
    #[cfg(feature = "schema")]
    pub fn schemas(mut self, schema: EventSchema) -> Self {
        self.schema = Some(schema);
        self
    }

    /// What `publish` validates. Default: nothing.
    #[cfg(feature = "schema")]
    pub fn validate(mut self, validation: Validation) -> Self {
        self.validation = validation;
        self
    }

    /// Builds the bus, and starts its workers if it is queued.
    ///
    /// # Errors
    /// A setting that is out of range; threads that cannot be started.
    pub fn build(self) -> Result<EventBus, ConfigError> {
        let settings = self.asked.or(self.environment).settings()?;
        #[cfg(feature = "queued")]
        let queue = settings
            .queued
            .then(|| Queue::new(settings.workers, settings.lanes, settings.lane_room, self.queue));
        let bus = Bus::assemble(
            settings,
            #[cfg(feature = "queued")]
            queue,
            #[cfg(feature = "schema")]
            self.schema,
            #[cfg(feature = "schema")]
            self.validation,
        );
        #[cfg(feature = "queued")]
        if settings.queued {
            let owner: Arc<dyn Owner> = Arc::clone(&bus) as _;
            let workers = Workers::start(&owner, settings.workers, &self.processors)
                .map_err(|error| ConfigError::new("max_workers", settings.workers, error.to_string()))?;
            *bus.workers.lock().unwrap_or_else(PoisonError::into_inner) = Some(workers);
        }
        Ok(EventBus::of(bus))
    }
}
