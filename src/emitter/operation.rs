//! Operations: events of type `custom` that tell of the beginning, the progress and the end of something that takes time.
//!
//! What ties them together is a correlation id, which the caller holds. The emitter keeps nothing of an operation, so any
//! number may run at once, on any threads.

use super::EventEmitter;
use crate::context::correlation;
use crate::error::EventError;
use crate::event::{Event, EventPriority, EventPublishError, EventType, Fields, PayloadError};
use crate::ids::CorrelationId;
use serde_json::{Map, Value};
use std::sync::Arc;
use std::time::Duration;

impl EventEmitter {
    /// Tells that an operation begins, and returns its new correlation id. The id is new even if the emitter has a
    /// default one: it belongs to this operation.
    ///
    /// The payload is `{"operation": name, "phase": "start", "operation_data": data}`, the metadata has
    /// `operation_type`. A switched-off emitter returns an id as well.
    ///
    /// ```
    /// use codomyrmex_events::{EventBus, EventEmitter, EventError};
    /// use serde_json::json;
    ///
    /// let bus = EventBus::new();
    /// let emitter = EventEmitter::on_bus("deployer", &bus)?;
    /// let id = emitter.start_operation("deploy", json!({"to": "staging"}))?;
    /// emitter.update_operation(&id, 50, "copied", None)?;
    /// emitter.end_operation(&id, true, Some(json!({"files": 12})), None)?;
    /// assert_eq!(bus.history().query().correlation_id(id.as_str()).events()?.len(), 3);
    /// # Ok::<(), EventError>(())
    /// ```
    ///
    /// # Errors
    /// Data nesting too deep, or an event that the bus refused.
    pub fn start_operation(
        &self,
        name: impl Into<String>,
        data: impl Into<Value>,
    ) -> Result<CorrelationId, EventError> {
        let id = correlation::new_id();
        self.start_operation_as(&id, name, data)?;
        Ok(id)
    }

    /// Tells that an operation begins whose correlation id is already known, as when it goes on with something that
    /// came in from outside.
    ///
    /// # Errors
    /// As [`start_operation`](Self::start_operation).
    pub fn start_operation_as(
        &self,
        id: &CorrelationId,
        name: impl Into<String>,
        data: impl Into<Value>,
    ) -> Result<Option<Arc<Event>>, EventError> {
        self.send(|| self.start_event(id, name.into(), data.into()))
    }

    /// Tells how far an operation is: `progress` from 0 to 100, and what it is at. The fields of `more` stand beside
    /// those of the payload, `phase` (`"progress"`), `correlation_id`, `progress` and `status`, and never replace them.
    ///
    /// # Errors
    /// A progress that is not from 0 to 100 ([`PublishErrorKind::Payload`](crate::PublishErrorKind::Payload), at
    /// `/progress`); more fields nesting too deep; an event that the bus refused.
    pub fn update_operation(
        &self,
        id: &CorrelationId,
        progress: impl Into<f64>,
        status: impl Into<String>,
        more: Option<Map<String, Value>>,
    ) -> Result<Option<Arc<Event>>, EventError> {
        self.send(|| self.progress_event(id, progress.into(), status.into(), more))
    }

    /// Tells that an operation has ended, at critical priority if it failed.
    ///
    /// The payload is `{"phase": "end", "correlation_id": id, "success": success}`, with `result` and `error` if given.
    ///
    /// # Errors
    /// A result nesting too deep, or an event that the bus refused.
    pub fn end_operation(
        &self,
        id: &CorrelationId,
        success: bool,
        result: Option<Value>,
        error: Option<&str>,
    ) -> Result<Option<Arc<Event>>, EventError> {
        self.send(|| {
            let fields = end_fields(id, success).put_some("result", result).put_some("error", error);
            self.end_event(id, success, fields)
        })
    }

    pub(super) fn start_event(
        &self,
        id: &CorrelationId,
        name: String,
        data: Value,
    ) -> Result<Event, EventPublishError> {
        let fields = Fields::default()
            .put("operation", name.as_str())
            .put("phase", "start")
            .put("operation_data", data);
        let builder = self.stamp.builder(EventType::Custom).data(fields);
        builder.metadata_entry("operation_type", name).correlation_id(id).build()
    }

    pub(super) fn progress_event(
        &self,
        id: &CorrelationId,
        progress: f64,
        status: String,
        more: Option<Map<String, Value>>,
    ) -> Result<Event, EventPublishError> {
        if !(0.0..=100.0).contains(&progress) {
            let message = format_args!("{progress} is not from 0 to 100");
            return Err(PayloadError::in_value("/progress", message).into());
        }
        let fields = Fields::from(more.unwrap_or_default())
            .put("phase", "progress")
            .put("correlation_id", id.as_str())
            .put("progress", progress)
            .put("status", status);
        self.stamp.builder(EventType::Custom).data(fields).correlation_id(id).build()
    }

    /// The end of an operation that was run as a scope.
    pub(super) fn scope_end_event(
        &self,
        id: &CorrelationId,
        error: Option<&str>,
        duration: Duration,
    ) -> Result<Event, EventPublishError> {
        let success = error.is_none();
        let fields = end_fields(id, success).put_some("error", error).put_seconds("duration", duration);
        self.end_event(id, success, fields)
    }

    fn end_event(
        &self,
        id: &CorrelationId,
        success: bool,
        fields: Fields,
    ) -> Result<Event, EventPublishError> {
        let builder = self.stamp.builder(EventType::Custom).data(fields).correlation_id(id);
        if success { builder.build() } else { builder.priority(EventPriority::Critical).build() }
    }
}

fn end_fields(id: &CorrelationId, success: bool) -> Fields {
    Fields::default().put("phase", "end").put("correlation_id", id.as_str()).put("success", success)
}
