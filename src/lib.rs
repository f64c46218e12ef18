#![doc = "An in-process event bus for latency-critical programs."]

mod clock;
mod ids;
mod sync;

mod config;
mod context;
mod event;
mod matcher;
mod ring;

mod dispatch;
#[cfg(feature = "schema")]
mod schema;

mod bus;
mod error;

mod mixin;

pub use bus::*;
pub use clock::{InvalidTimestamp, Timestamp};
pub use config::{ConfigError, DEAD_LETTERS_MAX, HISTORY_MAX, WORKERS_MAX};
pub use context::correlation;
pub use dispatch::dead_letter::{DeadLetter, DeadLetterKind};

pub use dispatch::handler::{BoxError, Delivery, HandlerOutcome};
pub use dispatch::names::REMEMBERED_NAMES_MAX;
pub use dispatch::publish::NESTED_PUBLISHES_MAX;
pub use error::*;
pub use event::*;
pub use ids::{CorrelationId, EventId, EventName, InvalidText, Source, TEXT_BYTES_MAX, TextRule};
pub use matcher::{PATTERN_BYTES_MAX, Pattern, PatternError, PatternSet};
pub use mixin::EventMixin;
#[cfg(feature = "schema")]
pub use schema::{EventSchema, EventSchemaError, SchemaFault};
