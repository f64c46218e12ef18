//! An event: what happened, who says so, when, and what it carries.
//!
//! Events are made once and then only read: they are shared between handlers, history and streams. Names and ids are
//! checked when an event is made and the payload's JSON is checked when it is given, so an event that exists can be
//! sent and read back. The sequence number is not here: it belongs to the publication.
//!
//! In reading order:
//! - `kind`: the 53 standard types, and names of one's own; `domain`: their grouping; `priority`: the seven names;
//! - `builder`: making an event; `create` and `lifecycle`: ready-made ones; `metadata`: what is said beside the payload, `trace_context`: what of
//!   it is handed on;
//! - `payload`: what an event carries, as text, tree or Rust value: `typed` (Rust values), `checked` (the serializer that
//!   refuses what JSON cannot hold), `tree` (from text to tree), `error`; `shared`: one text with two owners;
//! - `scan`: which JSON texts are accepted: `string` (escapes), `refusal` (why and where one is refused);
//! - `read` and `json`: events from JSON text and to it; `dict`: as JSON objects; `cloudevents`: under the names of
//!   CloudEvents 1.0;
//! - `error`, `parse_error`, `validation_error`: why an event was not published, is none, or does not fit its schema.

mod builder;
mod domain;
mod kind;
mod metadata;
mod payload;
mod priority;
mod scan;
mod shared;
mod trace_context;

mod create;
mod lifecycle;

#[cfg(feature = "cloudevents")]
mod cloudevents;
mod dict;
mod json;
mod read;

mod error;
mod parse_error;
#[cfg_attr(not(feature = "schema"), allow(dead_code, reason = "only a schema makes one"))]
mod validation_error;

use std::{any::Any, fmt, sync::Arc};

use serde_json::{Map, Value};

pub use self::{
    builder::EventBuilder,
    create::{
        AlertLevel, MetricType, MetricValue, create_alert_event, create_analysis_complete_event,
        create_analysis_start_event, create_error_event, create_metric_event, create_module_load_event,
        create_system_startup_event,
    },
    domain::Domain,
    error::{EventPublishError, EventQueueError, InterceptionError, PublishErrorKind},
    kind::EventType,
    lifecycle::{
        task_completed, task_failed, task_retrying, task_started, workflow_completed, workflow_failed,
        workflow_started,
    },
    parse_error::EventParseError,
    payload::{EventPayload, Payload, PayloadError, TypedPayload},
    priority::{EventPriority, UnknownPriority},
    validation_error::{EventValidationError, SchemaFailure},
};
pub(crate) use self::{create::Fields, metadata::Metadata, payload::event_type_of, read::sequence_of};
#[cfg(feature = "schema")]
pub(crate) use self::{kind::STANDARD_COUNT, payload::tree::dismantle, validation_error::FAILURES_MAX};
use crate::{
    clock::Timestamp,
    ids::{CorrelationId, EventId, InvalidText, Source},
};

/// Something that happened.
///
/// ```
/// use codomyrmex_events::{Event, EventType};
/// use serde_json::json;
///
/// let event = Event::builder(EventType::BuildStart, "ci_pipeline")
///     .data(json!({"build_type": "release", "target": "codomyrmex"}))
///     .build()?;
/// let copy = Event::from_json(&event.to_json()?)?;
/// assert_eq!(copy.event_id(), event.event_id());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Event {
    event_type: EventType,
    source: Source,
    event_id: EventId,
    timestamp: Timestamp,
    correlation_id: Option<CorrelationId>,
    causation_id: Option<EventId>,
    data: Payload,
    metadata: Metadata,
    priority: EventPriority,
}

impl Event {
    /// Begins an event of a type, from a source. Bad texts are reported by [`EventBuilder::build`].
    pub fn builder(
        event_type: impl TryInto<EventType, Error: Into<InvalidText>>,
        source: impl TryInto<Source, Error: Into<InvalidText>>,
    ) -> EventBuilder {
        EventBuilder::new(event_type.try_into().map_err(Into::into), source.try_into().map_err(Into::into))
    }

    /// Begins an event that carries a Rust value; the value's type says which event type it is.
    pub fn typed<T: EventPayload>(
        source: impl TryInto<Source, Error: Into<InvalidText>>,
        payload: T,
    ) -> EventBuilder {
        Self::builder(event_type_of::<T>(), source).data(Payload::typed(payload))
    }

    /// Begins an event that is this one but for what is said anew; it keeps its id and its time.
    pub fn to_builder(&self) -> EventBuilder {
        EventBuilder::of(self)
    }

    /// What kind of event it is.
    #[inline]
    pub fn event_type(&self) -> &EventType {
        &self.event_type
    }

    /// Who published it.
    pub fn source(&self) -> &Source {
        &self.source
    }

    /// Which event it is.
    pub fn event_id(&self) -> &EventId {
        &self.event_id
    }

    /// When it happened.
    pub fn timestamp(&self) -> Timestamp {
        self.timestamp
    }

    /// The operation that it belongs to.
    pub fn correlation_id(&self) -> Option<&CorrelationId> {
        self.correlation_id.as_ref()
    }

    /// The event that it was published in answer to.
    pub fn causation_id(&self) -> Option<&EventId> {
        self.causation_id.as_ref()
    }

    /// What it carries.
    pub fn data(&self) -> &Payload {
        &self.data
    }

    /// What is said about it beside the payload; empty when nothing is.
    pub fn metadata(&self) -> &Map<String, Value> {
        self.metadata.map()
    }

    /// How urgent it is.
    #[inline]
    pub fn priority(&self) -> EventPriority {
        self.priority
    }

    /// The payload as a `T`: the publisher's own value if it is one, else made from the JSON. The event's type is
    /// not looked at.
    ///
    /// # Errors
    /// A payload that does not become a `T`.
    pub fn payload_as<T: EventPayload>(&self) -> Result<TypedPayload<'_, T>, PayloadError> {
        match self.data.downcast_ref::<T>() {
            Some(payload) => Ok(TypedPayload::Borrowed(payload)),
            None => self.data.deserialize().map(TypedPayload::Owned),
        }
    }

    /// What it hands on to events published in answer to it, for [`continuing`](Self::continuing); mostly nothing.
    #[inline]
    pub(crate) fn carried(&self) -> Option<&dyn Any> {
        if self.metadata.is_empty() { None } else { Some(&self.metadata) }
    }

    /// This event's metadata with what the handled one hands on, if that adds anything.
    pub(crate) fn continuing(&self, handled: &dyn Any) -> Option<Metadata> {
        handled.downcast_ref().and_then(|handled| self.metadata.continuing(handled))
    }

    /// Puts the publisher's context where the event says nothing itself.
    pub(crate) fn fill_context(
        &mut self,
        correlation_id: Option<&CorrelationId>,
        causation_id: Option<&EventId>,
        metadata: Option<Metadata>,
    ) {
        if let Some(metadata) = metadata {
            self.metadata = metadata;
        }
        if self.correlation_id.is_none() {
            self.correlation_id = correlation_id.cloned();
        }
        if self.causation_id.is_none() {
            self.causation_id = causation_id.cloned();
        }
    }

    /// Puts default metadata where the event says nothing itself. One that others share is copied if need be.
    pub(crate) fn fill_metadata(this: &mut Arc<Self>, defaults: &Metadata) {
        if let Some(metadata) = this.metadata.with_defaults(defaults) {
            Arc::make_mut(this).metadata = metadata;
        }
    }

    /// Marks a replayed event, unless it is marked: `"replayed": true`, and the number of its first publication.
    pub(crate) fn mark_replayed(this: &mut Arc<Self>, sequence: Option<u64>) {
        if let Some(metadata) = this.metadata.replayed(sequence) {
            Arc::make_mut(this).metadata = metadata;
        }
    }

    /// The same, said by `source`.
    pub(crate) fn with_source(mut self, source: Source) -> Self {
        self.source = source;
        self
    }
}

impl fmt::Debug for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut fields = f.debug_struct("Event");
        fields
            .field("event_type", &self.event_type)
            .field("source", &self.source)
            .field("event_id", &self.event_id)
            .field("timestamp", &self.timestamp)
            .field("priority", &self.priority);
        if let Some(correlation_id) = &self.correlation_id {
            fields.field("correlation_id", correlation_id);
        }
        if let Some(causation_id) = &self.causation_id {
            fields.field("causation_id", causation_id);
        }
        fields.field("data", &self.data).field("metadata", self.metadata()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn context_fills_only_what_is_absent() {
        let (correlation, cause) = (CorrelationId::from_static("scope"), EventId::parse("cause").unwrap());
        let mut plain = Event::builder("a", "b").build().unwrap();
        plain.fill_context(None, None, None);
        assert_eq!((plain.correlation_id(), plain.causation_id()), (None, None));
        plain.fill_context(Some(&correlation), Some(&cause), None);
        assert_eq!((plain.correlation_id(), plain.causation_id()), (Some(&correlation), Some(&cause)));

        let mut own = Event::builder("a", "b").correlation_id("own").causation_id("own").build().unwrap();
        own.fill_context(Some(&correlation), Some(&cause), None);
        assert_eq!(own.correlation_id().unwrap(), &"own");
        assert_eq!(own.causation_id().unwrap(), &"own");
    }

    #[test]
    fn standard_types_know_their_place() {
        for (index, standard) in EventType::STANDARD.iter().enumerate() {
            assert_eq!(standard.standard_index(), Some(index));
        }
        assert_eq!(EventType::parse("my.own").unwrap().standard_index(), None);
    }
}
