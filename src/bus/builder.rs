//! Building a bus that differs from the defaults.

use super::EventBus;
use crate::config::{Asked, ConfigError};
#[cfg(feature = "schema")]
use crate::schema::EventSchema;

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
#[derive(Clone, Debug, Default)]
#[must_use = "call `build`"]
pub struct EventBusBuilder {
    asked: Asked,
    environment: Asked,
    #[cfg(feature = "schema")]
    schema: Option<EventSchema>,
    #[cfg(feature = "schema")]
    validation: Validation,
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

    /// Builds the bus.
    ///
    /// # Errors
    /// A setting that is out of range.
    pub fn build(self) -> Result<EventBus, ConfigError> {
        let settings = self.asked.or(self.environment).settings()?;
        Ok(EventBus::assemble(
            settings,
            #[cfg(feature = "schema")]
            self.schema,
            #[cfg(feature = "schema")]
            self.validation,
        ))
    }
}
