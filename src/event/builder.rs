//! Makes events. The first invalid text is kept and reported at the end, so a chain of calls needs one `?`.

use serde_json::{Map, Value};

use super::{Event, EventPriority, EventPublishError, EventType, Payload, metadata::Metadata};
use crate::{
    clock::Timestamp,
    ids::{CorrelationId, EventId, InvalidText, Source},
};

/// An event in the making. What is not said is filled in by [`build`](Self::build): a new id, the present time, normal
/// priority, no payload.
#[derive(Debug, Clone)]
#[must_use = "an event is made by `build`"]
pub struct EventBuilder {
    named: Result<(EventType, Source), InvalidText>,
    event_id: Option<EventId>,
    timestamp: Option<Timestamp>,
    correlation_id: Option<CorrelationId>,
    causation_id: Option<EventId>,
    data: Payload,
    metadata: Map<String, Value>,
    priority: EventPriority,
}

impl EventBuilder {
    pub(super) fn new(
        event_type: Result<EventType, InvalidText>,
        source: Result<Source, InvalidText>,
    ) -> Self {
        Self {
            named: event_type.and_then(|event_type| Ok((event_type, source?))),
            event_id: None,
            timestamp: None,
            correlation_id: None,
            causation_id: None,
            data: Payload::absent(),
            metadata: Map::new(),
            priority: EventPriority::default(),
        }
    }

    /// With all that `event` says.
    pub(super) fn of(event: &Event) -> Self {
        Self {
            named: Ok((event.event_type.clone(), event.source.clone())),
            event_id: Some(event.event_id.clone()),
            timestamp: Some(event.timestamp),
            correlation_id: event.correlation_id.clone(),
            causation_id: event.causation_id.clone(),
            data: event.data.clone(),
            metadata: event.metadata().clone(),
            priority: event.priority,
        }
    }

    /// The payload.
    pub fn data(mut self, data: impl Into<Payload>) -> Self {
        self.data = data.into();
        self
    }

    /// All of the metadata.
    pub fn metadata(mut self, metadata: Map<String, Value>) -> Self {
        self.metadata = metadata;
        self
    }

    /// One entry of the metadata.
    pub fn metadata_entry(mut self, key: impl Into<String>, value: impl Into<Value>) -> Self {
        self.metadata.insert(key.into(), value.into());
        self
    }

    /// How urgent it is.
    pub fn priority(mut self, priority: EventPriority) -> Self {
        self.priority = priority;
        self
    }

    /// The operation that it belongs to.
    pub fn correlation_id(mut self, id: impl TryInto<CorrelationId, Error: Into<InvalidText>>) -> Self {
        self.correlation_id = self.checked(id.try_into(), "correlation_id");
        self
    }

    /// The event that it answers.
    pub fn causation_id(mut self, id: impl TryInto<EventId, Error: Into<InvalidText>>) -> Self {
        self.causation_id = self.checked(id.try_into(), "causation_id");
        self
    }

    /// Its identity.
    pub fn event_id(mut self, id: impl TryInto<EventId, Error: Into<InvalidText>>) -> Self {
        self.event_id = self.checked(id.try_into(), "event_id");
        self
    }

    /// When it happened.
    pub fn timestamp(mut self, timestamp: Timestamp) -> Self {
        self.timestamp = Some(timestamp);
        self
    }

    /// Makes the event.
    ///
    /// # Errors
    /// The first name, source or id that is empty, over 256 bytes, or has a control character; a payload or metadata
    /// nesting too deep.
    pub fn build(self) -> Result<Event, EventPublishError> {
        let (event_type, source) = self.named?;
        self.data.check()?;
        Ok(Event {
            event_type,
            source,
            event_id: self.event_id.unwrap_or_else(EventId::new),
            timestamp: self.timestamp.unwrap_or_else(Timestamp::now),
            correlation_id: self.correlation_id,
            causation_id: self.causation_id,
            data: self.data,
            metadata: Metadata::from_map(self.metadata)?,
            priority: self.priority,
        })
    }

    /// The value, or none and a note of what is wrong with it.
    fn checked<T, E: Into<InvalidText>>(&mut self, value: Result<T, E>, field: &'static str) -> Option<T> {
        match value {
            Ok(value) => Some(value),
            Err(invalid) => {
                if self.named.is_ok() {
                    self.named = Err(invalid.into().for_field(field));
                }
                None
            }
        }
    }
}
