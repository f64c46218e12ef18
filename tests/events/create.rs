//! Ready-made events, field by field.

use std::time::Duration;

use codomyrmex_events::{
    AlertLevel, Event, EventPriority, EventPublishError, EventType, MetricType, MetricValue,
    PublishErrorKind, create_alert_event, create_analysis_complete_event, create_analysis_start_event,
    create_error_event, create_metric_event, create_module_load_event, create_system_startup_event,
    task_completed, task_failed, task_retrying, task_started, workflow_completed, workflow_failed,
    workflow_started,
};
use serde_json::{Value, json};

use super::object;

fn check(
    made: Result<Event, EventPublishError>,
    event_type: EventType,
    source: &str,
    priority: EventPriority,
    data: Value,
) {
    let event = made.unwrap();
    assert_eq!(event.event_type(), &event_type);
    assert_eq!(event.source(), &source);
    assert_eq!(event.priority(), priority);
    assert_eq!(event.data().value().unwrap(), &data);
    #[cfg(feature = "schema")]
    codomyrmex_events::EventSchema::new().validate_event(&event).unwrap();
}

const HALF: Duration = Duration::from_millis(500);

#[test]
fn constructors() {
    use EventPriority::{Critical, Normal, Warning};
    check(
        create_system_startup_event("1.0", ["core", "events"]),
        EventType::SystemStartup,
        "system",
        Normal,
        json!({"version": "1.0", "components_loaded": ["core", "events"]}),
    );
    check(
        create_module_load_event("events", "2.1", HALF),
        EventType::ModuleLoad,
        "module_loader",
        Normal,
        json!({"module_name": "events", "module_version": "2.1", "load_time": 0.5}),
    );
    check(
        create_analysis_start_event("lint", "src", None),
        EventType::AnalysisStart,
        "analysis_engine",
        Normal,
        json!({"analysis_type": "lint", "target": "src"}),
    );
    check(
        create_analysis_start_event("lint", "src", Some(object(json!({"strict": true})))),
        EventType::AnalysisStart,
        "analysis_engine",
        Normal,
        json!({"analysis_type": "lint", "target": "src", "parameters": {"strict": true}}),
    );
    check(
        create_analysis_complete_event("lint", "src", object(json!({"found": 3})), HALF, true),
        EventType::AnalysisComplete,
        "analysis_engine",
        Normal,
        json!({"analysis_type": "lint", "target": "src", "results": {"found": 3}, "duration": 0.5, "success": true}),
    );
    check(
        create_error_event(EventType::BuildError, "ci", "broke", None, None),
        EventType::BuildError,
        "ci",
        Critical,
        json!({"error_message": "broke"}),
    );
    check(
        create_error_event(
            "system.error",
            "ci",
            "broke",
            Some("IoError"),
            Some(object(json!({"path": "/x"}))),
        ),
        EventType::SystemError,
        "ci",
        Critical,
        json!({"error_message": "broke", "error_type": "IoError", "context": {"path": "/x"}}),
    );
    check(
        create_metric_event("cpu", 0.5, MetricType::default(), None),
        EventType::MetricUpdate,
        "metrics_collector",
        Normal,
        json!({"metric_name": "cpu", "metric_value": 0.5, "metric_type": "gauge"}),
    );
    check(
        create_metric_event("hits", u64::MAX, MetricType::Counter, Some(object(json!({"host": "a"})))),
        EventType::MetricUpdate,
        "metrics_collector",
        Normal,
        json!({"metric_name": "hits", "metric_value": u64::MAX, "metric_type": "counter", "labels": {"host": "a"}}),
    );
    let levels = [
        (AlertLevel::Info, Normal),
        (AlertLevel::Warning, Warning),
        (AlertLevel::Error, Critical),
        (AlertLevel::Critical, Critical),
    ];
    for (level, priority) in levels {
        check(
            create_alert_event("disk", level, "full", Some(90.into()), Some("95%".into())),
            EventType::AlertTriggered,
            "alert_manager",
            priority,
            json!({"alert_name": "disk", "alert_level": level.as_str(), "message": "full", "threshold": 90, "current_value": "95%"}),
        );
        check(
            create_alert_event("disk", level, "full", None, None),
            EventType::AlertTriggered,
            "alert_manager",
            priority,
            json!({"alert_name": "disk", "alert_level": level.as_str(), "message": "full"}),
        );
    }
}

#[test]
fn metric_values() {
    let cases: [(MetricValue, Value); 8] = [
        (1.5.into(), json!(1.5)),
        (1.5_f32.into(), json!(1.5)),
        ((-3).into(), json!(-3)),
        (i64::MIN.into(), json!(i64::MIN)),
        (3_u32.into(), json!(3)),
        ("v1".into(), json!("v1")),
        (String::from("v2").into(), json!("v2")),
        (true.into(), json!(true)),
    ];
    for (value, expected) in cases {
        for kind in [MetricType::Gauge, MetricType::Counter, MetricType::Histogram, MetricType::Summary] {
            let data = json!({"metric_name": "m", "metric_value": expected, "metric_type": kind.as_str()});
            let made = create_metric_event("m", value.clone(), kind, None);
            check(made, EventType::MetricUpdate, "metrics_collector", EventPriority::Normal, data);
        }
    }
}

#[test]
fn what_would_fail_its_schema_is_refused() {
    let payload = [
        (create_metric_event("m", f64::NAN, MetricType::Gauge, None), "/metric_value"),
        (create_metric_event("m", f64::INFINITY, MetricType::Gauge, None), "/metric_value"),
        (create_alert_event("a", AlertLevel::Info, "m", Some(f64::NAN.into()), None), "/threshold"),
        (create_alert_event("a", AlertLevel::Info, "m", None, Some(true.into())), "/current_value"),
    ];
    for (made, pointer) in payload {
        match made.unwrap_err().kind() {
            PublishErrorKind::Payload(error) => assert_eq!(error.pointer(), Some(pointer)),
            other => panic!("{other:?}"),
        }
    }
    let standard = |name: &str| name.ends_with(".error");
    for event_type in EventType::STANDARD {
        let made = create_error_event(event_type, "s", "m", Some("t"), None);
        let shaped = [
            "system.startup",
            "module.load",
            "analysis.start",
            "analysis.complete",
            "build.start",
            "build.complete",
            "metric.update",
            "alert.triggered",
        ];
        let refused = shaped.contains(&event_type.as_str());
        assert!(!(refused && standard(event_type.as_str())));
        match made {
            Ok(event) => {
                assert!(!refused, "{event_type}");
                check(
                    Ok(event),
                    event_type.clone(),
                    "s",
                    EventPriority::Critical,
                    json!({"error_message": "m", "error_type": "t"}),
                );
            }
            Err(error) => {
                assert!(
                    refused && matches!(error.kind(), PublishErrorKind::WrongShape(_)),
                    "{event_type}: {error}"
                );
                assert!(error.to_string().starts_with(event_type.as_str()));
            }
        }
    }
    assert_eq!(
        create_error_event("", "s", "m", None, None).unwrap_err().to_string(),
        "event_type must not be empty"
    );
    assert_eq!(
        create_error_event("my.error", "", "m", None, None).unwrap_err().to_string(),
        "source must not be empty"
    );
}

#[test]
fn life_cycle() {
    use EventPriority::{Critical, Normal};
    let cases = [
        (workflow_started("nightly", 5), EventType::WorkflowStarted, Normal, json!({"total_tasks": 5})),
        (
            workflow_completed("nightly", 4, 0, 1, HALF),
            EventType::WorkflowCompleted,
            Normal,
            json!({"completed": 4, "failed": 0, "skipped": 1, "elapsed": 0.5, "success": true}),
        ),
        (
            workflow_completed("nightly", 3, 1, 1, HALF),
            EventType::WorkflowCompleted,
            Normal,
            json!({"completed": 3, "failed": 1, "skipped": 1, "elapsed": 0.5, "success": false}),
        ),
        (
            workflow_failed("nightly", "no"),
            EventType::WorkflowFailed,
            Critical,
            json!({"error_message": "no"}),
        ),
        (task_started("nightly", "t1"), EventType::TaskStarted, Normal, json!({"task_name": "t1"})),
        (
            task_completed("nightly", "t1", HALF, 2),
            EventType::TaskCompleted,
            Normal,
            json!({"task_name": "t1", "execution_time": 0.5, "attempts": 2}),
        ),
        (
            task_failed("nightly", "t1", "no"),
            EventType::TaskFailed,
            Critical,
            json!({"task_name": "t1", "error_message": "no"}),
        ),
        (
            task_retrying("nightly", "t1", 2, HALF, "no"),
            EventType::TaskRetrying,
            Normal,
            json!({"task_name": "t1", "attempt": 2, "delay": 0.5, "error_message": "no"}),
        ),
    ];
    for (made, event_type, priority, mut data) in cases {
        data["workflow_name"] = json!("nightly");
        check(made, event_type, "orchestrator.nightly", priority, data);
    }
    for bad in ["a\nb", &"x".repeat(244)] {
        let error = workflow_started(bad, 1).unwrap_err();
        assert!(error.to_string().starts_with("source must not"), "{error}");
    }
    assert!(workflow_started(&"x".repeat(243), 1).is_ok());
}
