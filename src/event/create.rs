//! Ready-made events of the standard types, whose payloads always pass their own schemas.
//!
//! An optional value that is not given is left out of the payload; schemas would refuse a null.

use std::time::Duration;

use serde::Serialize;
use serde_json::{Map, Number, Value};

use super::{Event, EventPriority, EventPublishError, EventType, Payload, PayloadError, PublishErrorKind};
use crate::ids::{InvalidText, Source};

/// An object that is being filled.
#[derive(Default)]
pub(crate) struct Fields(Map<String, Value>);

impl From<Map<String, Value>> for Fields {
    fn from(map: Map<String, Value>) -> Self {
        Self(map)
    }
}

impl From<Fields> for Payload {
    fn from(fields: Fields) -> Self {
        fields.0.into()
    }
}

impl Fields {
    pub(crate) fn put(mut self, field: &str, value: impl Into<Value>) -> Self {
        self.0.insert(field.to_owned(), value.into());
        self
    }

    pub(crate) fn put_some(self, field: &str, value: Option<impl Into<Value>>) -> Self {
        match value {
            Some(value) => self.put(field, value),
            None => self,
        }
    }

    /// Seconds, which are finite because a `Duration` is.
    pub(crate) fn put_seconds(self, field: &str, duration: Duration) -> Self {
        self.put(field, duration.as_secs_f64())
    }

    pub(super) fn event(
        self,
        event_type: EventType,
        source: impl TryInto<Source, Error: Into<InvalidText>>,
        priority: EventPriority,
    ) -> Result<Event, EventPublishError> {
        Event::builder(event_type, source).data(self).priority(priority).build()
    }
}

/// `system.startup`, from `system`: the program runs, with these components.
///
/// # Errors
/// None that its arguments can cause; the type is that of every constructor.
pub fn create_system_startup_event(
    version: impl Into<String>,
    components: impl IntoIterator<Item: Into<String>>,
) -> Result<Event, EventPublishError> {
    let components: Vec<Value> = components.into_iter().map(|name| Value::String(name.into())).collect();
    Fields::default().put("version", version.into()).put("components_loaded", components).event(
        EventType::SystemStartup,
        Source::from_static("system"),
        EventPriority::Normal,
    )
}

/// `module.load`, from `module_loader`: a module was loaded, in so much time.
///
/// # Errors
/// None that its arguments can cause; the type is that of every constructor.
pub fn create_module_load_event(
    module_name: impl Into<String>,
    module_version: impl Into<String>,
    load_time: Duration,
) -> Result<Event, EventPublishError> {
    Fields::default()
        .put("module_name", module_name.into())
        .put("module_version", module_version.into())
        .put_seconds("load_time", load_time)
        .event(EventType::ModuleLoad, Source::from_static("module_loader"), EventPriority::Normal)
}

/// `analysis.start`, from `analysis_engine`.
///
/// # Errors
/// Parameters that nest too deep.
pub fn create_analysis_start_event(
    analysis_type: impl Into<String>,
    target: impl Into<String>,
    parameters: Option<Map<String, Value>>,
) -> Result<Event, EventPublishError> {
    Fields::default()
        .put("analysis_type", analysis_type.into())
        .put("target", target.into())
        .put_some("parameters", parameters)
        .event(EventType::AnalysisStart, Source::from_static("analysis_engine"), EventPriority::Normal)
}

/// `analysis.complete`, from `analysis_engine`.
///
/// # Errors
/// Results that nest too deep.
pub fn create_analysis_complete_event(
    analysis_type: impl Into<String>,
    target: impl Into<String>,
    results: Map<String, Value>,
    duration: Duration,
    success: bool,
) -> Result<Event, EventPublishError> {
    Fields::default()
        .put("analysis_type", analysis_type.into())
        .put("target", target.into())
        .put("results", results)
        .put_seconds("duration", duration)
        .put("success", success)
        .event(EventType::AnalysisComplete, Source::from_static("analysis_engine"), EventPriority::Normal)
}

/// An error, from `source`, at critical priority.
///
/// ```
/// use codomyrmex_events::{EventType, create_error_event};
///
/// let event = create_error_event(EventType::BuildError, "ci", "no such target", Some("ConfigError"), None)?;
/// assert_eq!(event.data().get("error_message").unwrap(), "no such target");
/// assert!(create_error_event(EventType::BuildStart, "ci", "no such target", None, None).is_err());
/// # Ok::<(), codomyrmex_events::EventPublishError>(())
/// ```
///
/// # Errors
/// An invalid event type or source; a standard type whose schema asks for another payload
/// ([`PublishErrorKind::WrongShape`]); a context that nests too deep.
pub fn create_error_event(
    event_type: impl TryInto<EventType, Error: Into<InvalidText>>,
    source: impl TryInto<Source, Error: Into<InvalidText>>,
    error_message: impl Into<String>,
    error_type: Option<&str>,
    context: Option<Map<String, Value>>,
) -> Result<Event, EventPublishError> {
    let event_type = event_type.try_into().map_err(Into::into)?;
    if has_another_shape(&event_type) {
        return Err(EventPublishError::new(PublishErrorKind::WrongShape(event_type), None));
    }
    Fields::default()
        .put("error_message", error_message.into())
        .put_some("error_type", error_type)
        .put_some("context", context)
        .event(event_type, source, EventPriority::Critical)
}

/// Whether the standard schema of a type is not that of an error.
fn has_another_shape(event_type: &EventType) -> bool {
    matches!(
        event_type,
        EventType::SystemStartup
            | EventType::ModuleLoad
            | EventType::AnalysisStart
            | EventType::AnalysisComplete
            | EventType::BuildStart
            | EventType::BuildComplete
            | EventType::MetricUpdate
            | EventType::AlertTriggered
    )
}

/// `metric.update`, from `metrics_collector`: a measured value.
///
/// # Errors
/// A value that is not finite; labels that nest too deep.
pub fn create_metric_event(
    metric_name: impl Into<String>,
    metric_value: impl Into<MetricValue>,
    metric_type: MetricType,
    labels: Option<Map<String, Value>>,
) -> Result<Event, EventPublishError> {
    Fields::default()
        .put("metric_name", metric_name.into())
        .put("metric_value", metric_value.into().json("/metric_value")?)
        .put("metric_type", metric_type.as_str())
        .put_some("labels", labels)
        .event(EventType::MetricUpdate, Source::from_static("metrics_collector"), EventPriority::Normal)
}

/// `alert.triggered`, from `alert_manager`; the level decides the priority (normal, warning, critical, critical).
///
/// # Errors
/// A threshold or value that is not finite, or that is a boolean.
pub fn create_alert_event(
    alert_name: impl Into<String>,
    alert_level: AlertLevel,
    message: impl Into<String>,
    threshold: Option<MetricValue>,
    current_value: Option<MetricValue>,
) -> Result<Event, EventPublishError> {
    let measured =
        |value: Option<MetricValue>, pointer| value.map(|value| value.measured(pointer)).transpose();
    Fields::default()
        .put("alert_name", alert_name.into())
        .put("alert_level", alert_level.as_str())
        .put("message", message.into())
        .put_some("threshold", measured(threshold, "/threshold")?)
        .put_some("current_value", measured(current_value, "/current_value")?)
        .event(EventType::AlertTriggered, Source::from_static("alert_manager"), alert_level.priority())
}

/// How bad an alert is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum AlertLevel {
    /// Good to know.
    Info,
    /// Look at it soon.
    Warning,
    /// Something is broken.
    Error,
    /// Look at it now.
    Critical,
}

impl AlertLevel {
    /// The name in the payload.
    pub const fn as_str(self) -> &'static str {
        match self {
            AlertLevel::Info => "info",
            AlertLevel::Warning => "warning",
            AlertLevel::Error => "error",
            AlertLevel::Critical => "critical",
        }
    }

    const fn priority(self) -> EventPriority {
        match self {
            AlertLevel::Info => EventPriority::Normal,
            AlertLevel::Warning => EventPriority::Warning,
            AlertLevel::Error | AlertLevel::Critical => EventPriority::Critical,
        }
    }
}

/// What a metric's value means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum MetricType {
    /// A level that goes up and down.
    #[default]
    Gauge,
    /// What is to be added to a total that only grows.
    Counter,
    /// One observation of a distribution kept in buckets.
    Histogram,
    /// One observation of a distribution kept as quantiles.
    Summary,
}

impl MetricType {
    /// The name in the payload.
    pub const fn as_str(self) -> &'static str {
        match self {
            MetricType::Gauge => "gauge",
            MetricType::Counter => "counter",
            MetricType::Histogram => "histogram",
            MetricType::Summary => "summary",
        }
    }

    /// The type of this name in a payload.
    pub(crate) fn named(name: &str) -> Option<Self> {
        let all = [MetricType::Gauge, MetricType::Counter, MetricType::Histogram, MetricType::Summary];
        all.into_iter().find(|metric_type| metric_type.as_str() == name)
    }
}

/// A measured value: a number, a text or a boolean.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum MetricValue {
    /// A number with a fraction; must be finite.
    Float(f64),
    /// A whole number.
    Integer(i64),
    /// A whole number that is not negative.
    Unsigned(u64),
    /// A text, such as a version.
    Text(String),
    /// Yes or no.
    Bool(bool),
}

impl MetricValue {
    fn json(self, pointer: &str) -> Result<Value, PayloadError> {
        Ok(match self {
            MetricValue::Float(number) => match Number::from_f64(number) {
                Some(number) => number.into(),
                None => {
                    let message = format_args!("{number} is not a JSON number");
                    return Err(PayloadError::in_value(pointer, message));
                }
            },
            MetricValue::Integer(number) => number.into(),
            MetricValue::Unsigned(number) => number.into(),
            MetricValue::Text(text) => text.into(),
            MetricValue::Bool(bool) => bool.into(),
        })
    }

    /// A value that can be compared with a threshold.
    fn measured(self, pointer: &str) -> Result<Value, PayloadError> {
        match self {
            MetricValue::Bool(_) => Err(PayloadError::in_value(pointer, "must be a number or a text")),
            value => value.json(pointer),
        }
    }
}

macro_rules! metric_value_from {
    ($($type:ty => $variant:ident;)*) => {$(
        impl From<$type> for MetricValue {
            fn from(value: $type) -> Self {
                MetricValue::$variant(value.into())
            }
        }
    )*};
}

metric_value_from! {
    f32 => Float;
    f64 => Float;
    i32 => Integer;
    i64 => Integer;
    u32 => Unsigned;
    u64 => Unsigned;
    &str => Text;
    String => Text;
    bool => Bool;
}
