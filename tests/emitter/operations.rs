//! Operations told by hand: their payloads, and that no two of them mix.

use crate::{buses, emitter, id, listen, object, payloads, published};
use codomyrmex_events::{
    CorrelationId, Event, EventBus, EventError, EventPriority, EventType, PublishErrorKind, correlation,
};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::sync::{Arc, Barrier};

#[test]
fn their_events_are_those_of_the_original() {
    let bus = EventBus::new();
    let emitter = emitter(&bus).metadata_entry("operation_type", "default").unwrap();
    let emitter = emitter.metadata_entry("host", "a").unwrap();
    let first = emitter.start_operation("deploy", json!({"to": "staging"})).unwrap();
    let more = object(json!({"file": "x", "phase": "end", "progress": 7, "status": 7, "correlation_id": 7}));
    emitter.update_operation(&first, 50, "copied", None).unwrap();
    emitter.update_operation(&first, 100.0, "checked", Some(more)).unwrap();
    emitter.end_operation(&first, true, Some(json!([1])), None).unwrap();
    let given = id("given");
    let start = emitter.start_operation_as(&given, "scan", Value::Null).unwrap().unwrap();
    emitter.end_operation(&given, false, None, Some("no disk")).unwrap();
    emitter.end_operation(&given, true, None, None).unwrap();

    assert!(first.starts_with("cid-") && first.len() == 16, "{first}");
    let told = first.as_str();
    let expected = [
        json!({"operation": "deploy", "phase": "start", "operation_data": {"to": "staging"}}),
        json!({"phase": "progress", "correlation_id": told, "progress": 50.0, "status": "copied"}),
        json!({"phase": "progress", "correlation_id": told, "progress": 100.0, "status": "checked", "file": "x"}),
        json!({"phase": "end", "correlation_id": told, "success": true, "result": [1]}),
        json!({"operation": "scan", "phase": "start", "operation_data": null}),
        json!({"phase": "end", "correlation_id": "given", "success": false, "error": "no disk"}),
        json!({"phase": "end", "correlation_id": "given", "success": true}),
    ];
    assert_eq!(payloads(&bus), expected);
    for (index, event) in published(&bus).iter().enumerate() {
        assert_eq!(event.event_type(), &EventType::Custom);
        assert_eq!(event.correlation_id().unwrap(), if index < 4 { &first } else { &given });
        let priority = if index == 5 { EventPriority::Critical } else { EventPriority::Normal };
        assert_eq!((event.priority(), &event.metadata()["host"]), (priority, &json!("a")));
    }
    assert_eq!(start.metadata()["operation_type"], "scan", "the operation's own beats the default");
}

#[test]
fn progress_is_from_0_to_100() {
    let bus = EventBus::new();
    let emitter = emitter(&bus);
    let id = id("op");
    for progress in [0.0, 0.5, 99.999, 100.0] {
        assert!(emitter.update_operation(&id, progress, "", None).is_ok(), "{progress}");
    }
    for progress in [-f64::MIN_POSITIVE, -1.0, 100.000_1, f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        let refused = emitter.update_operation(&id, progress, "", None).unwrap_err();
        let EventError::Publish(refused) = refused else { panic!("{refused:?}") };
        let PublishErrorKind::Payload(error) = refused.kind() else { panic!("{refused:?}") };
        assert_eq!(error.pointer(), Some("/progress"), "{error}");
        assert!(error.to_string().contains("is not from 0 to 100"), "{error}");
    }
    assert_eq!(published(&bus).len(), 4);
}

#[test]
fn each_has_an_id_of_its_own_whatever_the_emitter_or_the_scope_says() {
    let bus = EventBus::new();
    let emitter = emitter(&bus).default_correlation_id("default").unwrap();
    let ids = correlation::scope(&id("scope"), || {
        [(); 2].map(|()| emitter.start_operation("o", json!({})).unwrap())
    });
    assert_ne!(ids[0], ids[1]);
    let seen: Vec<_> = published(&bus).iter().map(|event| event.correlation_id().cloned().unwrap()).collect();
    assert_eq!(seen, ids);
    let between = emitter.emit("a.b", json!({})).unwrap().unwrap();
    assert_eq!(between.correlation_id().unwrap(), &"default", "nothing of an operation stays");
}

const THREADS: usize = 16;
const ROUNDS: usize = 40;

/// Two operations at once on each of many threads, all through one emitter.
#[test]
fn operations_at_once_never_see_each_others_id() {
    for (kind, bus) in buses() {
        let heard = listen(&bus);
        let emitter = emitter(&bus).default_correlation_id("default").unwrap();
        let start = Barrier::new(THREADS);
        let work = |thread: usize| {
            start.wait();
            for round in 0..ROUNDS {
                let tags = [0, 1].map(|which| json!(format!("{thread}-{round}-{which}")));
                let ids = tags.each_ref().map(|tag| emitter.start_operation("o", tag.clone()).unwrap());
                for (id, tag) in ids.iter().zip(&tags) {
                    emitter.update_operation(id, 50, "", Some(object(json!({"tag": tag})))).unwrap();
                }
                for (id, tag) in ids.iter().zip(&tags).rev() {
                    emitter.end_operation(id, true, Some(tag.clone()), None).unwrap();
                }
            }
        };
        std::thread::scope(|threads| {
            for thread in 0..THREADS {
                threads.spawn(move || work(thread));
            }
        });
        bus.flush(crate::WATCHDOG).unwrap();
        let operations = by_correlation(&heard.lock().unwrap());
        assert_eq!(operations.len(), THREADS * ROUNDS * 2, "{kind}");
        for (id, events) in operations {
            let [start, progress, end] = &events[..] else { panic!("{kind}: {events:?}") };
            let tag = start.data().get("operation_data").unwrap();
            assert_eq!((progress.data().get("tag"), end.data().get("result")), (Some(tag), Some(tag)));
            for event in [progress, end] {
                assert_eq!(event.data().get("correlation_id").unwrap(), id.as_str(), "{kind}");
            }
        }
    }
}

/// The events of each operation, in the order in which they were heard.
pub(crate) fn by_correlation(events: &[Arc<Event>]) -> HashMap<CorrelationId, Vec<Arc<Event>>> {
    let mut operations: HashMap<_, Vec<_>> = HashMap::new();
    for event in events {
        let id = event.correlation_id().expect("every event has one").clone();
        operations.entry(id).or_default().push(Arc::clone(event));
    }
    operations
}
