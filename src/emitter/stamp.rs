//! What the emitters share: their bus, and what they put on an event that does not say it itself.

use crate::bus::{EventBus, try_get_event_bus};
use crate::context;
use crate::dispatch::surroundings::fill_in;
use crate::error::EventError;
use crate::event::{Event, EventBuilder, EventPriority, EventPublishError, EventType, Metadata};
use crate::ids::{CorrelationId, InvalidText, Source};
use serde_json::{Map, Value};
use std::sync::{Arc, OnceLock};

#[derive(Clone, Debug)]
pub(super) struct Stamp {
    source: Source,
    bus: OnceLock<EventBus>,
    metadata: Metadata,
    correlation_id: Option<CorrelationId>,
    priority: EventPriority,
}

impl Stamp {
    /// On this bus, or on the process-wide one, which is looked up at first use.
    pub(super) fn new(source: Source, bus: Option<EventBus>) -> Self {
        Stamp {
            source,
            bus: bus.map_or_else(OnceLock::new, OnceLock::from),
            metadata: Metadata::default(),
            correlation_id: None,
            priority: EventPriority::default(),
        }
    }

    pub(super) fn source(&self) -> &Source {
        &self.source
    }

    pub(super) fn set_source(&mut self, source: Source) {
        self.source = source;
    }

    pub(super) fn bus(&self) -> Result<&EventBus, EventError> {
        if let Some(bus) = self.bus.get() {
            return Ok(bus);
        }
        let bus = try_get_event_bus()?.clone();
        Ok(self.bus.get_or_init(|| bus))
    }

    pub(super) fn set_metadata(&mut self, metadata: Map<String, Value>) -> Result<(), EventError> {
        self.metadata = Metadata::from_map(metadata)?;
        Ok(())
    }

    pub(super) fn add_metadata(&mut self, key: String, value: Value) -> Result<(), EventError> {
        let mut metadata = self.metadata.map().clone();
        metadata.insert(key, value);
        self.set_metadata(metadata)
    }

    pub(super) fn set_correlation_id(&mut self, id: CorrelationId) {
        self.correlation_id = Some(id);
    }

    pub(super) fn set_priority(&mut self, priority: EventPriority) {
        self.priority = priority;
    }

    /// Begins an event that [`complete`](Self::complete) ends.
    pub(super) fn builder(
        &self,
        event_type: impl TryInto<EventType, Error: Into<InvalidText>>,
    ) -> EventBuilder {
        Event::builder(event_type, &self.source).priority(self.priority)
    }

    /// Begins an event that shows the defaults, so that its maker can overrule them.
    pub(super) fn prefilled(
        &self,
        event_type: impl TryInto<EventType, Error: Into<InvalidText>>,
    ) -> EventBuilder {
        let builder = self.builder(event_type).metadata(self.metadata.map().clone());
        match &self.correlation_id {
            Some(id) => builder.correlation_id(id),
            None => builder,
        }
    }

    /// The event with what it does not say itself: the default correlation id, else the scope's; the scope's cause;
    /// default metadata; the trace context of the handled event.
    ///
    /// Filled in here and not by `publish`, so that the event returned is the one that was heard.
    pub(super) fn complete(&self, event: impl Into<Arc<Event>>) -> Arc<Event> {
        let mut event = event.into();
        // Before the surroundings: a default is as good as said by the event.
        Event::fill_metadata(&mut event, &self.metadata);
        context::with_publisher(|around| {
            let in_force = around.and_then(|around| around.correlation_id);
            fill_in(&mut event, self.correlation_id.as_ref().or(in_force), around)
        });
        event
    }
}

/// Checks a text that is to be a source.
pub(super) fn checked_source(
    source: impl TryInto<Source, Error: Into<InvalidText>>,
) -> Result<Source, EventError> {
    source.try_into().map_err(|error| EventPublishError::from(error.into()).into())
}

/// The settings that every emitter has, and what can be asked of one. Its field `stamp` is a [`Stamp`].
macro_rules! settings {
    ($emitter:ident) => {
        /// Settings, to be chained before the first use.
        impl $emitter {
            /// Metadata of every event; an entry that an event has itself stays. Replaces what was set before.
            /// Default: none.
            ///
            /// # Errors
            /// Metadata nesting too deep.
            pub fn default_metadata(mut self, metadata: Map<String, Value>) -> Result<Self, EventError> {
                self.stamp.set_metadata(metadata)?;
                Ok(self)
            }

            /// One more entry of the default metadata.
            ///
            /// # Errors
            /// As [`default_metadata`](Self::default_metadata).
            pub fn metadata_entry(
                mut self,
                key: impl Into<String>,
                value: impl Into<Value>,
            ) -> Result<Self, EventError> {
                self.stamp.add_metadata(key.into(), value.into())?;
                Ok(self)
            }

            /// The correlation id of every event that has none itself. It is as good as said by the event: it beats
            /// that of the [scope](crate::correlation). Default: none, so the scope's is taken.
            ///
            /// # Errors
            /// An id that is empty, over 256 bytes, or has control characters.
            pub fn default_correlation_id(
                mut self,
                id: impl TryInto<CorrelationId, Error: Into<InvalidText>>,
            ) -> Result<Self, EventError> {
                self.stamp.set_correlation_id(id.try_into().map_err(Into::into)?);
                Ok(self)
            }

            /// The priority of the events that are made here and whose kind does not decide it, as that of an alert
            /// does. Default: normal.
            #[must_use]
            pub fn default_priority(mut self, priority: EventPriority) -> Self {
                self.stamp.set_priority(priority);
                self
            }
        }

        impl $emitter {
            /// The bus.
            ///
            /// # Errors
            /// The process-wide bus cannot be made: an environment variable that cannot be used.
            pub fn bus(&self) -> Result<&EventBus, EventError> {
                self.stamp.bus()
            }

            /// Begins an event from this source, with the default metadata, correlation id and priority, for
            /// [`emit_event`](Self::emit_event): whatever is said of it in the chain wins.
            pub fn event(
                &self,
                event_type: impl TryInto<EventType, Error: Into<InvalidText>>,
            ) -> EventBuilder {
                self.stamp.prefilled(event_type)
            }
        }
    };
}

pub(super) use settings;
