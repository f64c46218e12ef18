#![doc = include_str!("../README.md")]
//! # Where to begin
//!
//! [`EventBus`] and [`EventBus::subscribe`]; [`Event`] and its [builder](Event::builder); [`Delivery`], what a handler is
//! handed; [`Subscription`]; [`EventHistory`]; [`DeadLetterQueue`]; [`EventMixin`] for a module of its own;
//! [`EventEmitter`] for one that only speaks, [`EventListener`] for one that only hears; [`Gate`] and
//! [`EventBus::wait_for`] for what waits for others, [`Mailbox`] and [`EventBus::request`] for those who work together;
//! [`Projection`], [`MetricAggregator`] and [`Analyzer`] for what events tell; [`Replay`]; and with features
//! `AsyncStream`, `BatchingStream` and `EventSchema`. Every error of the bus is in [`EventError`].

// In reading order, lowest layer first: a file imports its own folder or a layer above it in this list.

// Nothing of ours.
mod bounded;
mod clock;
mod ids;
mod keyed;
mod quiet;
mod sync;
mod text;

// What an event is; and parts that know no event.
mod config;
mod context;
mod event;
#[cfg(feature = "queued")]
mod lanes;
mod matcher;
mod ring;
mod timers;

// What is done with an event.
mod dispatch;
#[cfg(feature = "schema")]
mod schema;

// Where the parts meet.
mod bus;
mod error;

// Above the bus, on its public face.
mod coordinate;
mod emitter;
mod listener;
mod logger;
mod middleware;
mod mixin;
mod observe;
mod replay;
#[cfg(feature = "spans")]
mod spans;
#[cfg(feature = "stream")]
mod stream;
mod tracing_bridge;

pub use bus::*;
pub use clock::{InvalidTimestamp, Timestamp};
pub use config::{
    ConfigError, DEAD_LETTERS_MAX, HISTORY_MAX, LANE_ROOM_MAX, LANES_MAX, QUEUE_ROOM_MAX, WORKERS_MAX,
};
pub use context::correlation;
pub use coordinate::*;
pub use dispatch::attempt::{Attempt, AttemptOutcome, Handling, HandlingInterceptor};
pub use dispatch::dead_letter::{DeadLetter, DeadLetterKind, EarlierFailure, LetterParseError};
pub use dispatch::drops::DropCounts;
pub use dispatch::handler::{BoxError, Delivery, HandlerOutcome, HandlerPanic};
pub use dispatch::intercept::{OfferedEvent, PublishEnding, PublishInterceptor, PublishOutcome};
pub use dispatch::latency::LatencyStats;
pub use dispatch::later::WAITING_EVENTS_MAX;
pub use dispatch::names::REMEMBERED_NAMES_MAX;
#[cfg(feature = "async")]
pub use dispatch::owned::OwnedDelivery;
pub use dispatch::policy::Overflow;
pub use dispatch::publish::NESTED_PUBLISHES_MAX;
#[cfg(feature = "queued")]
pub use dispatch::queue::WaitStrategy;
pub use dispatch::retry::{Backoff, WAITING_RETRIES_MAX};
pub use dispatch::time_limit::EventTimeoutError;
pub use dispatch::watch::{DeliveryEnding, DeliveryOutcome, DeliveryReport};
pub use emitter::{AsyncEventEmitter, EventEmitter, Operation, OperationScope};
pub use error::*;
pub use event::*;
pub use ids::{CorrelationId, EventId, EventName, InvalidText, Source, TEXT_BYTES_MAX, TextRule};
pub use listener::{EventHandlers, EventListener, Handlers};
pub use logger::{
    EventLogEntry, EventLogQuery, EventLogStats, EventLogger, LOG_ENTRIES_MAX, TypeLogStats,
    get_event_logger, try_get_event_logger,
};
pub use matcher::{PATTERN_BYTES_MAX, Pattern, PatternError, PatternSet};
pub use middleware::{
    DEDUPLICATED_IDS_MAX, Deduplication, DuplicateEvent, EventMetrics, InvalidPointer, MetadataStamp,
    RateLimit, RateLimited, Redaction, TypeMetrics,
};
pub use mixin::EventMixin;
pub use observe::*;
pub use replay::{
    ExportError, HistoryExport, InvalidReplaySpeed, LETTER_ERRORS_MAX, LINE_BYTES_MAX, LetterExport,
    LettersImported, LineError, LineErrorKind, REPLAY_ERRORS_MAX, Refusal, Replay, ReplayEnding, ReplayError,
    ReplayReport, ReplaySpeed, ReplayStop, Replayed,
};
#[cfg(feature = "schema")]
pub use schema::{EventSchema, EventSchemaError, SchemaFault};
#[cfg(feature = "spans")]
pub use spans::CorrelationLayer;
#[cfg(feature = "stream")]
pub use stream::*;
pub use tracing_bridge::TracingBridge;

/// The programs of the guide, as tests.
#[cfg(all(doctest, feature = "cli"))]
#[doc = include_str!("../docs/guide.md")]
struct Guide;
