//! Building a bus that differs from the defaults.

#[cfg(feature = "async")]
use super::runtime::TaskRuntime;
use super::{Bus, EventBus, Parts};
use crate::clock::Clock;
use crate::config::{Asked, ConfigError};
use crate::dispatch::attempt::HandlingInterceptor;
use crate::dispatch::chores::LetterListener;
use crate::dispatch::dead_letter::DeadLetter;
use crate::dispatch::engine::EngineSettings;
use crate::dispatch::intercept::PublishInterceptor;
#[cfg(feature = "queued")]
use crate::dispatch::{
    engine::Owner,
    policy::Overflow,
    queue::{OrderKey, Queue, QueueSettings, WaitStrategy},
    workers::Workers,
};
#[cfg(feature = "queued")]
use crate::event::Event;
#[cfg(feature = "schema")]
use crate::schema::EventSchema;
use std::fmt;
use std::sync::Arc;
#[cfg(feature = "queued")]
use std::sync::PoisonError;
use std::time::Duration;

#[cfg(feature = "queued")]
const _: () =
    assert!(crate::config::BANDS == crate::lanes::BANDS, "room is checked for the bands that there are");

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
    #[cfg(any(feature = "queued", feature = "async"))]
    keeps_dropped: bool,
    measures_latency: bool,
    slow_after: Option<Duration>,
    letter_listener: Option<LetterListener>,
    publishing: Vec<Arc<dyn PublishInterceptor>>,
    handling: Vec<Arc<dyn HandlingInterceptor>>,
    #[cfg(feature = "async")]
    runtime: Option<tokio::runtime::Handle>,
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

    /// Keeps a dead letter of each event that was discarded for want of room or at the limit of a shutdown, and of each
    /// delivery for which a mailbox had no room. Default: no.
    #[cfg(any(feature = "queued", feature = "async"))]
    pub fn keep_dropped(mut self) -> Self {
        self.keeps_dropped = true;
        self
    }

    /// Is told of each dead letter, after the handlers of its event, on the thread that ran them; never under a lock. It may
    /// look at the queue, redrive or publish. A panic is logged. Default: nobody is told.
    pub fn on_dead_letter(mut self, listener: impl Fn(&DeadLetter) + Send + Sync + 'static) -> Self {
        self.letter_listener = Some(Arc::new(listener));
        self
    }

    /// Installs an interceptor around publishing, as [`EventBus::intercept_publish`] does, before anything is published.
    /// Those of one builder are asked in the order given. Default: none.
    pub fn intercept_publish(mut self, interceptor: impl PublishInterceptor) -> Self {
        self.publishing.push(Arc::new(interceptor));
        self
    }

    /// Installs an interceptor around handling, as [`EventBus::intercept_handling`] does. Default: none.
    pub fn intercept_handling(mut self, interceptor: impl HandlingInterceptor) -> Self {
        self.handling.push(Arc::new(interceptor));
        self
    }

    /// Measures how long events wait in their lanes and how long handlers take, in all and for each subscription. It costs
    /// each delivery two looks at the clock. Default: no.
    pub fn measure_latency(mut self) -> Self {
        self.measures_latency = true;
        self
    }

    /// Warns in the log of each attempt that takes longer, and counts it. It costs each delivery two looks at the clock.
    /// Default: nothing is slow.
    pub fn slow_handler(mut self, longer_than: Duration) -> Self {
        self.slow_after = Some(longer_than);
        self
    }

    /// The runtime on which asynchronous handlers run. If it ends before the bus, their deliveries are cancelled. Default: a
    /// small one of the bus's own, with as many threads as it may have workers, started by the first such handler.
    #[cfg(feature = "async")]
    pub fn runtime(mut self, runtime: tokio::runtime::Handle) -> Self {
        self.runtime = Some(runtime);
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
        self.build_with(Clock::real())
    }

    /// Takes what a manual bus needs; only an explicit wish for inline dispatch stays.
    #[cfg(feature = "queued")]
    pub(super) fn become_manual(&mut self) {
        self.asked.queued.get_or_insert(true);
        self.queue.is_manual = true;
    }

    /// The bus's time is that of `clock`.
    pub(super) fn build_with(self, clock: Clock) -> Result<EventBus, ConfigError> {
        let settings = self.asked.or(self.environment).settings()?;
        #[cfg(any(feature = "queued", feature = "async"))]
        let is_manual = clock.is_manual();
        #[cfg(feature = "queued")]
        let queue = settings
            .queued
            .then(|| Queue::new(settings.workers, settings.lanes, settings.lane_room, self.queue));
        #[cfg(feature = "async")]
        let tasks = match self.runtime {
            _ if is_manual => TaskRuntime::Driven(Arc::default()),
            Some(runtime) => TaskRuntime::Given(runtime),
            None => TaskRuntime::own(settings.workers),
        };
        let bus = Bus::assemble(Parts {
            engine: EngineSettings {
                history: settings.history,
                dead_letters: settings.dead_letters,
                #[cfg(any(feature = "queued", feature = "async"))]
                keeps_dropped: self.keeps_dropped,
                measures_latency: self.measures_latency,
                slow_after: self.slow_after,
                letter_listener: self.letter_listener,
                clock,
            },
            #[cfg(feature = "queued")]
            queue,
            #[cfg(feature = "async")]
            tasks,
            #[cfg(feature = "schema")]
            schema: self.schema,
            #[cfg(feature = "schema")]
            validation: self.validation,
        });
        bus.install_first(self.publishing, self.handling);
        #[cfg(feature = "queued")]
        if settings.queued && !is_manual {
            let owner: Arc<dyn Owner> = Arc::clone(&bus) as _;
            let workers = Workers::start(&owner, settings.workers, &self.processors)
                .map_err(|error| ConfigError::new("max_workers", settings.workers, error.to_string()))?;
            *bus.workers.lock().unwrap_or_else(PoisonError::into_inner) = Some(workers);
        }
        Ok(EventBus::of(bus))
    }
}
