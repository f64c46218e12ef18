//! The registry of schemas: the standard ones field by field, what registering does, what a rejection tells.

#![allow(clippy::unwrap_used, clippy::panic, reason = "in a test a panic is the report")]

use std::collections::BTreeSet;
use std::thread;

use codomyrmex_events::{Event, EventSchema, EventType, EventValidationError, SchemaFault};
use serde_json::{Map, Value, json};

fn event(event_type: &str, payload: Value) -> Event {
    Event::builder(event_type, "test").data(payload).build().unwrap()
}

fn check(schema: &Value, payload: &Value) -> Result<(), EventValidationError> {
    let schemas = EventSchema::empty();
    schemas.register_event_schema("test.case", schema.clone()).unwrap();
    schemas.validate_event(&event("test.case", payload.clone()))
}

#[track_caller]
fn refusal(schema: Value) -> (String, SchemaFault) {
    let error = EventSchema::empty().register_event_schema("test.case", schema).unwrap_err();
    assert_eq!(error.event_type(), Some(&EventType::parse("test.case").unwrap()));
    (error.pointer().to_owned(), error.fault().clone())
}

fn pointers(error: &EventValidationError) -> BTreeSet<&str> {
    error.pointers().collect()
}

/// Type, required fields, all fields with what they hold. `s` text, `n` number, `b` boolean, `o` object, `[s]` texts;
/// several letters: any of them; anything else: one of these texts.
const STANDARD: &[(&str, &str, &str)] = &[
    ("system.startup", "version", "version:s startup_time:n components_loaded:[s]"),
    ("module.load", "module_name", "module_name:s module_version:s load_time:n dependencies:[s]"),
    ("analysis.start", "analysis_type target", "analysis_type:s target:s parameters:o estimated_duration:n"),
    (
        "analysis.complete",
        "analysis_type target success",
        "analysis_type:s target:s results:o duration:n success:b",
    ),
    ("build.start", "build_type target", "build_type:s target:s parameters:o build_id:s"),
    (
        "build.complete",
        "build_type target build_id success",
        "build_type:s target:s build_id:s success:b artifacts:[s] duration:n",
    ),
    ("system.error", "error_message", ERROR),
    ("module.error", "error_message", ERROR),
    ("plugin.error", "error_message", ERROR),
    ("analysis.error", "error_message", ERROR),
    ("build.error", "error_message", ERROR),
    (
        "metric.update",
        "metric_name metric_value",
        "metric_name:s metric_value:nsb metric_type:counter|gauge|histogram|summary labels:o timestamp:n",
    ),
    (
        "alert.triggered",
        "alert_name alert_level message",
        "alert_name:s alert_level:info|warning|error|critical message:s threshold:ns current_value:ns context:o",
    ),
];
const ERROR: &str = "error_type:s error_message:s stack_trace:s context:o severity:low|medium|high|critical";

/// Every kind of value, by the letter of the table; `N` is null, `[m]` a list of mixed elements.
fn samples() -> Vec<(&'static str, Value)> {
    vec![
        ("s", json!("free text")),
        ("n", json!(1.5)),
        ("b", json!(true)),
        ("o", json!({"any": [1]})),
        ("[s]", json!(["one", "two"])),
        ("[m]", json!(["one", 2])),
        ("N", json!(null)),
    ]
}

fn holds(kind: &str, sample: &str) -> bool {
    match kind {
        "[s]" => sample == "[s]",
        texts if texts.contains('|') => false,
        letters => letters.contains(sample) && sample.len() == 1,
    }
}

#[test]
fn standard_schemas_field_by_field() {
    let schemas = EventSchema::new();
    for (event_type, required, fields) in STANDARD {
        let fields: Vec<(&str, &str)> =
            fields.split(' ').map(|field| field.split_once(':').unwrap()).collect();
        let good = |kind: &str| match kind.split_once('|') {
            Some((first, _)) => json!(first),
            None => samples().into_iter().find(|(sample, _)| holds(kind, sample)).unwrap().1,
        };
        let full: Map<String, Value> =
            fields.iter().map(|(name, kind)| ((*name).to_owned(), good(kind))).collect();
        let verdict = |payload: &Map<String, Value>| {
            schemas.validate_event(&event(event_type, Value::Object(payload.clone())))
        };
        verdict(&full).unwrap();
        let needed: BTreeSet<&str> = required.split(' ').collect();
        for (name, kind) in &fields {
            let mut less = full.clone();
            less.remove(*name);
            assert_eq!(verdict(&less).is_err(), needed.contains(name), "{event_type} without {name}");
            for (sample, value) in samples() {
                let mut other = full.clone();
                other.insert((*name).to_owned(), value);
                assert_eq!(verdict(&other).is_ok(), holds(kind, sample), "{event_type}: {name} as {sample}");
            }
            for text in kind.split('|').filter(|_| kind.contains('|')) {
                let mut other = full.clone();
                other.insert((*name).to_owned(), json!(text));
                verdict(&other).unwrap();
            }
        }
        let mut more = full.clone();
        more.insert("not_in_the_list".into(), json!(null));
        verdict(&more).unwrap();
        assert!(schemas.validate_event(&event(event_type, json!([1]))).is_err(), "{event_type} as a list");
    }
    let listed: Vec<String> =
        schemas.list_registered_schemas().iter().map(|known| known.as_str().to_owned()).collect();
    let mut expected: Vec<&str> = STANDARD.iter().map(|(event_type, ..)| *event_type).collect();
    expected.sort_unstable();
    assert_eq!(listed, expected);
}

#[test]
fn registering_replaces_and_holds_for_every_clone() {
    let schemas = EventSchema::new();
    let clone = schemas.clone();
    let named = EventType::parse("order.placed").unwrap();
    let order = event("order.placed", json!({"total": -1}));
    assert!(!schemas.has_schema(&named) && schemas.get_event_schema(&named).is_none());
    schemas.validate_event(&order).unwrap();

    let first = json!({"properties": {"total": {"minimum": 0}}});
    assert_eq!(schemas.register_event_schema("order.placed", first.clone()).unwrap(), None);
    assert_eq!(clone.get_event_schema(&named).as_deref(), Some(&first));
    assert!(clone.list_registered_schemas().contains(&named));
    let error = clone.validate_event(&order).unwrap_err();
    assert_eq!((error.event_type(), error.total()), (&named, 1));
    assert_eq!(error.to_string(), "order.placed: /total: -1 is less than the minimum of 0");

    // A bad schema changes nothing.
    let error = clone.register_event_schema(&named, json!({"type": "nonsense"})).unwrap_err();
    assert_eq!(error.pointer(), "/type");
    assert!(error.to_string().starts_with("schema of order.placed: /type: "), "{error}");
    assert!(schemas.validate_event(&order).is_err());

    let replaced = clone.register_event_schema(named, json!(true)).unwrap();
    assert_eq!(replaced.as_deref(), Some(&first));
    schemas.validate_event(&order).unwrap();

    let standard = schemas.get_event_schema(&EventType::BuildStart).unwrap();
    let replaced = schemas.register_event_schema(EventType::BuildStart, json!(false)).unwrap();
    assert_eq!(replaced, Some(standard));
    assert!(clone.validate_event(&event("build.start", json!({"build_type": "a", "target": "b"}))).is_err());
    // Another registry begins with the standard schemas again.
    EventSchema::new()
        .validate_event(&event("build.start", json!({"build_type": "a", "target": "b"})))
        .unwrap();

    let error = schemas.register_event_schema("", json!(true)).unwrap_err();
    assert!(matches!(error.fault(), SchemaFault::Name(_)) && error.event_type().is_none());
    assert!(EventSchema::empty().list_registered_schemas().is_empty());
}

#[test]
fn registrations_at_once_are_all_kept() {
    let schemas = EventSchema::empty();
    thread::scope(|scope| {
        for thread in 0..4 {
            let schemas = schemas.clone();
            scope.spawn(move || {
                for number in 0..10 {
                    schemas.register_event_schema(format!("t{thread}.n{number}"), json!(true)).unwrap();
                }
            });
        }
    });
    assert_eq!(schemas.list_registered_schemas().len(), 40);
}

#[test]
fn every_failing_pointer_is_named() {
    let schema = json!({
        "properties": {
            "list": {"items": {"type": "integer"}},
            "a/b": {"type": "string"}, "m~n": {"type": "string"}, "": {"type": "string"}, "é \"": {"type": "string"},
            "deep": {"properties": {"x": {"required": ["y", "z"]}}}
        }
    });
    let payload = json!({
        "list": [1, "two", 3, null], "a/b": 1, "m~n": 2, "": 3, "é \"": 4, "deep": {"x": {}}
    });
    let error = check(&schema, &payload).unwrap_err();
    assert_eq!(
        pointers(&error),
        BTreeSet::from(["/list/1", "/list/3", "/a~1b", "/m~0n", "/", "/é \"", "/deep/x"])
    );
    assert_eq!(error.total(), 8, "two members are missing at /deep/x");
    for pointer in pointers(&error) {
        assert!(payload.pointer(pointer).is_some(), "{pointer}");
    }
}

#[test]
fn a_thousand_failures_are_kept_and_all_are_counted() {
    let schema = json!({"properties": {"list": {"items": {"type": "integer"}}}});
    let error = check(&schema, &json!({"list": vec!["x"; 2_500]})).unwrap_err();
    assert_eq!((error.failures().len(), error.total()), (1_000, 2_500));
    assert_eq!(error.failures()[999].pointer(), "/list/999");
    assert!(error.to_string().ends_with("(and 2499 more)"), "{error}");
}

#[test]
fn messages_stay_short_and_keep_their_verb() {
    let schema = json!({"properties": {"a": {"type": "integer"}, "b": {"enum": vec!["é".repeat(900); 9]}}});
    let error = check(&schema, &json!({"a": "x".repeat(100_000), "b": "no", "c": 1})).unwrap_err();
    assert_eq!(error.failures()[0].message(), "the value is not of type \"integer\"");
    assert!(error.failures().iter().all(|failure| failure.message().len() < 1_100));
}

#[test]
fn nothing_is_fetched() {
    for reference in
        ["http://127.0.0.1:9/s.json", "https://example.com/s", "file:///etc/hostname", "other.json"]
    {
        let (_, fault) = refusal(json!({"properties": {"a": {"$ref": reference}}}));
        let SchemaFault::Invalid { message } = fault else { panic!("{fault:?}") };
        assert!(message.contains("retrieving it failed"), "{message}");
    }
    let (_, fault) = refusal(json!({"$ref": "#/$defs/missing"}));
    assert!(matches!(fault, SchemaFault::Invalid { .. }));
    // The drafts' own schemas are part of the validator.
    let meta = json!({"$ref": "https://json-schema.org/draft/2020-12/schema"});
    assert!(check(&meta, &json!({"type": "object"})).is_ok());
    assert_eq!(
        pointers(&check(&meta, &json!({"minLength": -1})).unwrap_err()),
        BTreeSet::from(["/minLength"])
    );
}
