//! Hostile schemas and hostile payloads: refused, or judged in bounded time and on a small stack.

#![allow(clippy::unwrap_used, clippy::panic, reason = "in a test a panic is the report")]

use std::thread;

use codomyrmex_events::{Event, EventSchema, EventValidationError, SchemaFault};
use serde_json::{Map, Value, json};

fn check(schema: &Value, payload: &Value) -> Result<(), EventValidationError> {
    let schemas = EventSchema::empty();
    schemas.register_event_schema("test.case", schema.clone()).unwrap();
    let event = Event::builder("test.case", "test").data(payload.clone()).build().unwrap();
    schemas.validate_event(&event)
}

#[track_caller]
fn refusal(schema: Value) -> SchemaFault {
    EventSchema::empty().register_event_schema("test.case", schema).unwrap_err().fault().clone()
}

#[test]
fn patterns_are_linear() {
    let text = "a".repeat(200_000) + "!";
    for pattern in ["^(a+)+$", "^(a|a)*$", "(a*)*b", "^([a-z]+)*[0-9]$"] {
        assert!(check(&json!({"pattern": pattern}), &json!(text)).is_err(), "{pattern}");
        let keys = json!({"patternProperties": {pattern: false}});
        assert!(check(&keys, &json!({text.as_str(): 1})).is_ok(), "{pattern}");
    }
    for pattern in ["^(?=a)b", "a(?!b)", "(?<=a)b", r"(a)\1", "(?:a{1000}){1000}", "(unclosed"] {
        for schema in [json!({"pattern": pattern}), json!({"patternProperties": {pattern: true}})] {
            let fault = refusal(schema);
            assert!(matches!(fault, SchemaFault::Invalid { .. }), "{pattern}: {fault:?}");
        }
    }
}

/// A schema around a schema, without the recursion of `json!`.
fn wrap(keyword: &str, inner: Value) -> Value {
    Value::Object(Map::from_iter([(keyword.to_owned(), inner)]))
}

fn nested(keyword: &str, levels: usize, innermost: Value) -> Value {
    (0..levels).fold(innermost, |schema, _| wrap(keyword, schema))
}

/// `$defs` d0 to dN, each made from a reference to the next.
fn chain(length: usize, link: impl Fn(Value) -> Value, end: Value) -> Value {
    let name = |number: usize| format!("d{number}");
    let reference = |number: usize| json!({"$ref": format!("#/$defs/d{number}")});
    let mut links: Map<String, Value> =
        (0..length).map(|number| (name(number), link(reference(number + 1)))).collect();
    links.insert(name(length), end);
    json!({"$ref": "#/$defs/d0", "$defs": links})
}

#[test]
fn schemas_that_cannot_be_bounded_are_refused() {
    let twice = |link: Value| json!({"allOf": [link, link]});
    let twice_below =
        |link: Value| json!({"allOf": [{"properties": {"a": link}}, {"properties": {"a": link}}]});
    let mut unevaluated = json!({"properties": {"a": true}});
    for _ in 0..30 {
        unevaluated = json!({"allOf": [unevaluated], "unevaluatedProperties": false});
    }
    let resources: Map<String, Value> = (0..12)
        .map(|number| {
            let links: Map<String, Value> =
                (0..12).map(|to| (format!("p{to}"), json!({"$ref": format!("r{to}")}))).collect();
            (
                format!("r{number}"),
                json!({"$id": format!("http://example.com/r{number}"), "properties": links}),
            )
        })
        .collect();
    let crossing = json!({"$id": "http://example.com/", "$ref": "r0", "$defs": resources});
    let back = json!({"properties": {"a": {"$ref": "#/$defs/d0"}}});
    let cases = [
        ("depth", nested("not", 100_000, json!({})), "TooDeep"),
        ("depth at the limit", nested("not", 128, json!({})), "TooDeep"),
        ("size", json!({"enum": vec![0; 300_000]}), "TooLarge"),
        ("itself", json!({"$ref": "#"}), "ReferenceLoop"),
        (
            "each other",
            json!({"$ref": "#/$defs/a", "$defs": {
            "a": {"$ref": "#/$defs/b"}, "b": {"anyOf": [{"$ref": "#/$defs/a"}]}}}),
            "ReferenceLoop",
        ),
        ("dynamic", json!({"$dynamicAnchor": "a", "allOf": [{"$dynamicRef": "#a"}]}), "ReferenceLoop"),
        (
            "recursive",
            json!({"$schema": "https://json-schema.org/draft/2019-09/schema",
            "allOf": [{"$recursiveRef": "#"}]}),
            "ReferenceLoop",
        ),
        ("doubling", chain(40, twice, json!({"type": "object"})), "TooManyVisits"),
        ("doubling below", chain(40, twice_below, json!({"type": "object"})), "TooManyVisits"),
        ("unevaluated", unevaluated, "TooManyVisits"),
        ("long chain", chain(5_000, |link| link, json!({})), "TooNested"),
        ("long chain, recursive", chain(20, |link| link, back), "TooNested"),
        ("scopes", crossing, "TooManyPieces"),
        ("draft", json!({"$schema": "http://json-schema.org/draft-03/schema#"}), "UnknownDraft"),
        ("no schema", json!(null), "Invalid"),
        ("a list", json!([]), "Invalid"),
        ("bad id", json!({"$id": "http://[::bad"}), "Invalid"),
    ];
    for (what, schema, expected) in cases {
        let fault = refusal(schema);
        assert!(format!("{fault:?}").starts_with(expected), "{what}: {fault:?}");
        assert!(!fault.to_string().is_empty());
    }
}

#[test]
fn what_is_allowed_fits_a_small_stack() {
    let deep = |leaf: Value| (0..120).fold(leaf, |inner, _| wrap("a", inner));
    let below = |link: Value| json!({"properties": {"a": {"anyOf": [link, {"const": 1}]}}});
    let allowed = [
        chain(1_000, |link| link, json!({"type": "string"})),
        chain(5, |link| link, json!({"properties": {"a": {"$ref": "#/$defs/d0"}}, "required": ["b"]})),
        chain(100, below, json!({"type": "string"})),
        chain(12, |link| nested("not", 80, link), json!({"type": "string"})),
        nested("not", 127, json!({})),
        // Every level of the payload doubles the ways to fail: named as a whole, not listed.
        json!({"type": "object", "allOf": [{"properties": {"a": {"$ref": "#"}}}, {"properties": {"a": {"$ref": "#"}}}]}),
        json!({"oneOf": [{"properties": {"a": {"$ref": "#"}}}, {"properties": {"a": {"$ref": "#"}}}]}),
    ];
    let small = thread::Builder::new().stack_size(2 << 20);
    let check_all = move || {
        for schema in allowed {
            let error = check(&schema, &deep(json!(1))).unwrap_err();
            assert!(error.total() > 0 && error.pointers().next().is_some());
        }
    };
    small.spawn(check_all).unwrap().join().unwrap();
}

#[test]
fn hostile_payloads_are_judged() {
    let numbers: Vec<Value> = (0..50_000).map(|number| json!({"k": [number]})).collect();
    let unique = json!({"properties": {"list": {"uniqueItems": true}}});
    check(&unique, &json!({"list": numbers})).unwrap();
    for (step, value) in [(1e-300, 1e300), (5e-324, f64::MAX), (0.1, 1e308), (1e300, 5e-324)] {
        // Whether it is a multiple is the rounding's to say; the answer must come back, and be one.
        if let Err(error) = check(&json!({"multipleOf": step}), &json!(value)) {
            assert_eq!((error.total(), error.pointers().count()), (1, 1), "{value} by {step}");
        }
    }
    let huge = json!({"minItems": 1e30, "maxLength": u64::MAX, "minimum": f64::MIN});
    assert!(check(&huge, &json!([1])).is_err());
    check(&huge, &json!("text")).unwrap();
}
