//! The events that are raised, and how they are published.

use crate::bus::EventBus;
use crate::dispatch::attempt::Attempt;
use crate::event::{Event, EventPriority, EventPublishError, EventType, PublishErrorKind};
use crate::ids::Source;
use crate::quiet::log;
use serde_json::{Value, json};
use smol_str::{SmolStr, format_smolstr};
use std::time::Duration;

/// How much of an error is told, in bytes.
const ERROR_BYTES_MAX: usize = 1_024;

/// What is to be said of a handler's attempt. `suppressed`: how often it was not said since the last time.
pub(super) enum Alarm {
    Slow { took: Duration, threshold: Duration, suppressed: u64 },
    Failing { failures: u32, threshold: u32, error: String, suppressed: u64 },
}

/// What the ids of a bus's alarms begin with: they all know each other, and those of another bus are strangers.
pub(super) fn mark_of(bus: &EventBus) -> SmolStr {
    format_smolstr!("alarm-{}-", bus.id())
}

impl Alarm {
    /// The event. It is called by its mark, and so is the exchange that it begins.
    pub(super) fn about(self, attempt: &Attempt<'_>, mark: &str) -> Result<Event, EventPublishError> {
        let (event_type, priority, data) = match self {
            Alarm::Slow { took, threshold, suppressed } => slow(attempt, took, threshold, suppressed),
            Alarm::Failing { failures, threshold, error, suppressed } => {
                failing(attempt, failures, threshold, error, suppressed)
            }
        };
        let id = format_smolstr!("{mark}{}", uuid::Uuid::new_v4().simple());
        Event::builder(event_type, Source::from_static("handler_alarms"))
            .event_id(id.as_str())
            .correlation_id(id.as_str())
            .priority(priority)
            .data(data)
            .build()
    }
}

fn slow(
    attempt: &Attempt<'_>,
    took: Duration,
    threshold: Duration,
    suppressed: u64,
) -> (EventType, EventPriority, Value) {
    let mut data = about(attempt, suppressed);
    let id = attempt.subscriber_id();
    data["message"] = format!("the handler of {id} took {took:?} for {}", attempt.event_type()).into();
    data["duration"] = took.as_secs_f64().into();
    data["threshold"] = threshold.as_secs_f64().into();
    (EventType::PerformanceDegradation, EventPriority::Warning, data)
}

fn failing(
    attempt: &Attempt<'_>,
    failures: u32,
    threshold: u32,
    mut error: String,
    suppressed: u64,
) -> (EventType, EventPriority, Value) {
    if error.len() > ERROR_BYTES_MAX {
        error.truncate(error.floor_char_boundary(ERROR_BYTES_MAX));
        error.push('…');
    }
    let id = attempt.subscriber_id();
    let times = if failures == 1 { "once".to_owned() } else { format!("{failures} times in a row") };
    let message = format!("the handler of {id} failed {times}: {error}");
    let mut context = about(attempt, suppressed);
    context["error"] = error.into();
    let data = json!({
        "alert_name": "handler_failing",
        "alert_level": "error",
        "message": message,
        "threshold": threshold,
        "current_value": failures,
        "context": context,
    });
    (EventType::AlertTriggered, EventPriority::Critical, data)
}

/// Which attempt it was.
fn about(attempt: &Attempt<'_>, suppressed: u64) -> Value {
    let mut about = json!({
        "subscriber_id": attempt.subscriber_id(),
        "event_type": attempt.event_type().as_str(),
        "event_id": attempt.event_id().to_string(),
        "sequence": attempt.sequence(),
        "suppressed": suppressed,
    });
    if let Some(correlation_id) = attempt.correlation_id() {
        about["correlation_id"] = correlation_id.as_str().into();
    }
    about
}

/// Publishes it; where there is no room now, as soon as there is some. False if it was refused for good.
pub(super) fn raise(bus: &EventBus, alarm: Result<Event, EventPublishError>) -> bool {
    let published = alarm.and_then(|alarm| publish(bus, alarm));
    if let Err(refusal) = &published {
        log(|| tracing::error!(error = %refusal, "an alarm about a handler was refused"));
    }
    published.is_ok()
}

fn publish(bus: &EventBus, alarm: Event) -> Result<(), EventPublishError> {
    let Err(refusal) = bus.publish(alarm) else { return Ok(()) };
    match refusal.event().cloned() {
        // Somebody waits for room there; if none comes, it becomes a dead letter.
        Some(alarm) if matches!(refusal.kind(), PublishErrorKind::Full(_)) => {
            drop(refusal);
            bus.publish_later(alarm, Duration::ZERO).map(drop)
        }
        _ => Err(refusal),
    }
}
