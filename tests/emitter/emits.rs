//! One event after another: single ones, batches, ready-made ones, and the switch.

use crate::{buses, emitter, listen, object, payloads, published, too_deep};
use codomyrmex_events::{
    AlertLevel, Event, EventBus, EventEmitter, EventError, EventPriority, EventType, MetricType,
    PublishErrorKind,
};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

#[test]
fn a_source_that_is_none_is_refused() {
    let bus = EventBus::new();
    for source in ["", "a\nb", &"x".repeat(257)] {
        assert!(matches!(EventEmitter::new(source), Err(EventError::Publish(_))), "{source:?}");
        assert!(matches!(EventEmitter::on_bus(source, &bus), Err(EventError::Publish(_))), "{source:?}");
    }
    assert_eq!(emitter(&bus).source(), "emitter");
}

#[test]
fn what_is_emitted_is_returned_as_it_was_heard() {
    for (kind, bus) in buses() {
        let heard = listen(&bus);
        let event = emitter(&bus).emit("build.start", json!({"no": "such field"})).unwrap().unwrap();
        assert_eq!((event.source().as_str(), event.priority()), ("emitter", EventPriority::Normal));
        assert_eq!((event.correlation_id(), event.metadata().len()), (None, 0), "nothing is invented");
        assert!(Arc::ptr_eq(&event, &published(&bus)[0]), "{kind}");
        assert!(Arc::ptr_eq(&event, &heard.lock().unwrap()[0]), "{kind}");
    }
}

#[test]
fn what_cannot_be_published_says_why() {
    let bus = EventBus::new();
    let emitter = emitter(&bus);
    let kind = |result: Result<Option<Arc<Event>>, EventError>| match result.unwrap_err() {
        EventError::Publish(error) => error.kind().clone(),
        other => panic!("{other:?}"),
    };
    assert!(matches!(kind(emitter.emit("", json!({}))), PublishErrorKind::Invalid(_)));
    assert!(matches!(kind(emitter.emit("a.b", too_deep())), PublishErrorKind::Payload(_)));
    assert!(published(&bus).is_empty());
    bus.shutdown(Duration::ZERO);
    assert!(matches!(kind(emitter.emit("a.b", json!({}))), PublishErrorKind::Closed));
    assert!(emitter.emit_batch([("a.b", json!({})), ("a.c", json!({}))]).iter().all(Result::is_err));
}

#[cfg(feature = "schema")]
#[test]
fn emit_typed_lets_nobody_hear_what_does_not_have_the_shape_of_its_type() {
    for (kind, bus) in buses() {
        let emitter = emitter(&bus).metadata_entry("k", 1).unwrap();
        let event = emitter.emit_typed("build.start", json!({"build_type": "r", "target": "x"}));
        let event = event.unwrap().unwrap();
        assert_eq!((event.source().as_str(), &event.metadata()["k"]), ("emitter", &json!(1)), "{kind}");
        let refused = emitter.emit_typed("build.start", json!({"target": 7})).unwrap_err();
        let EventError::Validation(refused) = refused else { panic!("{refused:?}") };
        assert!(refused.pointers().any(|pointer| pointer == "/target"), "{refused}");
        assert!(matches!(emitter.emit_typed("no.schema", json!({})), Err(EventError::Validation(_))));
        assert_eq!((published(&bus).len(), bus.dead_letter_queue().len()), (1, 2), "{kind}");
        emitter.disable();
        assert!(emitter.emit_typed("build.start", json!({"target": 7})).unwrap().is_none());
        assert_eq!(bus.dead_letter_queue().len(), 2);
    }
}

#[test]
fn a_batch_goes_on_after_one_that_cannot_be_made_and_answers_in_order() {
    for (kind, bus) in buses() {
        let emitter = emitter(&bus).default_correlation_id("all").unwrap();
        let items = [
            ("a.0", json!({"n": 0})),
            ("", json!({"n": 1})),
            ("a.2", json!({"n": 2})),
            ("a.3", too_deep()),
            ("a.4", json!({"n": 4})),
        ];
        let answers = emitter.emit_batch(items);
        let names: Vec<Option<&str>> = answers
            .iter()
            .map(|answer| answer.as_ref().ok().map(|event| event.as_ref().unwrap().event_type().as_str()))
            .collect();
        assert_eq!(names, [Some("a.0"), None, Some("a.2"), None, Some("a.4")], "{kind}");
        let is_refused = |at: usize, field: &str| {
            let error = answers[at].as_ref().unwrap_err().to_string();
            assert!(error.contains(field), "{kind}: {error}");
        };
        is_refused(1, "event_type");
        is_refused(3, "payload");
        let published = published(&bus);
        let made: Vec<_> = answers.iter().flatten().flatten().collect();
        assert_eq!(published.len(), 3, "{kind}");
        for (event, made) in published.iter().zip(made) {
            assert!(Arc::ptr_eq(event, made), "{kind}");
            assert_eq!(event.correlation_id().unwrap(), &"all");
        }
        assert_eq!(payloads(&bus), [json!({"n": 0}), json!({"n": 2}), json!({"n": 4})]);
    }
}

#[test]
fn a_switched_off_emitter_publishes_nothing_and_refuses_nothing() {
    let bus = EventBus::new();
    let emitter = emitter(&bus);
    assert!(emitter.is_enabled(), "it is on to begin with");
    std::thread::scope(|threads| threads.spawn(|| emitter.disable()).join().unwrap());
    assert!(!emitter.is_enabled());
    let id = emitter.start_operation("o", json!({})).unwrap();
    let answers = [
        emitter.emit("a.b", json!({})),
        emitter.emit("", json!({})),
        emitter.emit_event(emitter.event("a.b").build().unwrap()),
        emitter.emit_error("E", "m", None),
        emitter.emit_metric("m", f64::NAN, MetricType::Gauge, None),
        emitter.emit_alert("a", AlertLevel::Info, "m"),
        emitter.update_operation(&id, 1_000, "s", None),
        emitter.end_operation(&id, true, None, None),
    ];
    assert!(answers.iter().all(|answer| matches!(answer, Ok(None))), "{answers:?}");
    let mut asked = 0;
    let items = ["a.b", "", "a.c"].into_iter().inspect(|_| asked += 1).map(|name| (name, json!({})));
    let answers = emitter.emit_batch(items);
    assert!(answers.len() == 3 && answers.iter().all(|answer| matches!(answer, Ok(None))));
    assert_eq!(asked, 3);
    assert_eq!(emitter.operation("o", json!({})).run(|_| Ok::<_, String>(7)), Ok(7));
    assert_eq!(bus.get_stats().offered, 0);

    emitter.enable();
    assert!(emitter.is_enabled() && emitter.emit("a.b", json!({})).unwrap().is_some());
    assert_eq!(published(&bus).len(), 1);
}

#[test]
fn ready_made_events_have_their_constructors_payload_and_the_emitters_source() {
    let bus = EventBus::new();
    let emitter = emitter(&bus).default_correlation_id("op").unwrap().metadata_entry("k", "v").unwrap();
    let emitter = emitter.default_priority(EventPriority::Debug);
    let (gauge, counter) = (MetricType::default(), MetricType::Counter);
    emitter.emit_error("IoError", "disk full", Some(object(json!({"disk": 1})))).unwrap();
    emitter.emit_error("IoError", "disk full", None).unwrap();
    emitter.emit_metric("load", 0.5, gauge, Some(object(json!({"host": "a"})))).unwrap();
    emitter.emit_metric("hits", 3_u64, counter, None).unwrap();
    emitter.emit_alert("memory", AlertLevel::Warning, "high").unwrap();
    emitter.emit_alert("memory", AlertLevel::Critical, "full").unwrap();
    let refused = emitter.emit_metric("load", f64::INFINITY, gauge, None);
    assert!(matches!(refused, Err(EventError::Publish(_))));

    let error = json!({"error_type": "IoError", "error_message": "disk full"});
    let mut error_in_context = error.clone();
    error_in_context["context"] = json!({"disk": 1});
    let alert = |level: &str, message: &str| json!({"alert_name": "memory", "alert_level": level, "message": message});
    let load =
        json!({"metric_name": "load", "metric_value": 0.5, "metric_type": "gauge", "labels": {"host": "a"}});
    let hits = json!({"metric_name": "hits", "metric_value": 3, "metric_type": "counter"});
    let expected: [(EventType, EventPriority, Value); 6] = [
        (EventType::SystemError, EventPriority::Critical, error_in_context),
        (EventType::SystemError, EventPriority::Critical, error),
        (EventType::MetricUpdate, EventPriority::Normal, load),
        (EventType::MetricUpdate, EventPriority::Normal, hits),
        (EventType::AlertTriggered, EventPriority::Warning, alert("warning", "high")),
        (EventType::AlertTriggered, EventPriority::Critical, alert("critical", "full")),
    ];
    let events = published(&bus);
    assert_eq!(events.len(), expected.len());
    for (event, (event_type, priority, data)) in events.iter().zip(expected) {
        assert_eq!((event.event_type(), event.priority()), (&event_type, priority));
        assert_eq!(event.data().value().unwrap(), &data);
        assert_eq!((event.source().as_str(), &event.metadata()["k"]), ("emitter", &json!("v")));
        assert_eq!(event.correlation_id().unwrap(), &"op");
        #[cfg(feature = "schema")]
        bus.event_schema().validate_event(event).unwrap();
    }
}
