//! One call each for what is emitted most.
//!
//! The constructors have sources of their own (`metrics_collector`, `alert_manager`); here it is the emitter that speaks,
//! so the source is the emitter's. The payload and the priority are the constructors'.

use super::EventEmitter;
use crate::error::EventError;
use crate::event::{
    AlertLevel, Event, EventType, MetricType, MetricValue, create_alert_event, create_error_event,
    create_metric_event,
};
use serde_json::{Map, Value};
use std::sync::Arc;

impl EventEmitter {
    /// Publishes a `system.error` at critical priority, as [`create_error_event`] makes it, from this emitter's source.
    ///
    /// For an error of another domain give [`emit_event`](Self::emit_event) what that constructor makes.
    ///
    /// # Errors
    /// A context that nests too deep, or an event that the bus refused.
    pub fn emit_error(
        &self,
        error_type: &str,
        message: impl Into<String>,
        context: Option<Map<String, Value>>,
    ) -> Result<Option<Arc<Event>>, EventError> {
        self.send(|| {
            create_error_event(EventType::SystemError, self.source(), message, Some(error_type), context)
        })
    }

    /// Publishes a `metric.update`, as [`create_metric_event`] makes it, from this emitter's source. What is
    /// measured is a gauge by [default](MetricType).
    ///
    /// # Errors
    /// A value that is not finite, labels that nest too deep, or an event that the bus refused.
    pub fn emit_metric(
        &self,
        name: impl Into<String>,
        value: impl Into<MetricValue>,
        metric_type: MetricType,
        labels: Option<Map<String, Value>>,
    ) -> Result<Option<Arc<Event>>, EventError> {
        self.send(|| {
            let event = create_metric_event(name, value, metric_type, labels)?;
            Ok(event.with_source(self.source().clone()))
        })
    }

    /// Publishes an `alert.triggered`, as [`create_alert_event`] makes it, from this emitter's source. The level
    /// decides the priority.
    ///
    /// # Errors
    /// An event that the bus refused.
    pub fn emit_alert(
        &self,
        name: impl Into<String>,
        level: AlertLevel,
        message: impl Into<String>,
    ) -> Result<Option<Arc<Event>>, EventError> {
        self.send(|| {
            let event = create_alert_event(name, level, message, None, None)?;
            Ok(event.with_source(self.source().clone()))
        })
    }
}
