//! The drafts, told apart: the same keywords judged as the draft in `$schema` judges them.

#![allow(clippy::unwrap_used, clippy::panic, reason = "in a test a panic is the report")]

use codomyrmex_events::{Event, EventSchema};
use serde_json::{Value, json};

const D4: &str = "http://json-schema.org/draft-04/schema#";
const D6: &str = "http://json-schema.org/draft-06/schema#";
const D7: &str = "http://json-schema.org/draft-07/schema#";
const D19: &str = "https://json-schema.org/draft/2019-09/schema";
const D20: &str = "https://json-schema.org/draft/2020-12/schema";
const ALL: [&str; 5] = [D4, D6, D7, D19, D20];

/// What each draft, from 4 to 2020-12, says of a payload: `y` fits, `n` does not, `x` refuses the schema.
#[track_caller]
fn row(verdicts: &str, schema: &Value, payload: &Value) {
    let judge = |draft: &&str| {
        let mut schema = schema.clone();
        if let Value::Object(keywords) = &mut schema {
            keywords.insert("$schema".into(), json!(draft));
        }
        let schemas = EventSchema::empty();
        if schemas.register_event_schema("test.case", schema).is_err() {
            return 'x';
        }
        let event = Event::builder("test.case", "test").data(payload.clone()).build().unwrap();
        if schemas.validate_event(&event).is_ok() { 'y' } else { 'n' }
    };
    assert_eq!(ALL.iter().map(judge).collect::<String>(), verdicts, "{schema} of {payload}");
}

#[test]
fn numbers() {
    row("nxxxx", &json!({"minimum": 3, "exclusiveMinimum": true}), &json!(3));
    row("yxxxx", &json!({"maximum": 3, "exclusiveMaximum": false}), &json!(3));
    row("xnnnn", &json!({"exclusiveMinimum": 3}), &json!(3));
    row("xyyyy", &json!({"exclusiveMaximum": 3}), &json!(2.9));
    row("nyyyy", &json!({"type": "integer"}), &json!(1.0));
    row("nnnnn", &json!({"multipleOf": 0.01}), &json!(0.0075));
    row("yyyyy", &json!({"multipleOf": 0.01}), &json!(4.02));
    row("nnnnn", &json!({"enum": [1, "1", [0], false]}), &json!(true));
}

#[test]
fn keywords_come_with_their_draft() {
    row("ynnnn", &json!({"const": 1}), &json!(2));
    row("ynnnn", &json!({"contains": {"const": 1}}), &json!([2, 3]));
    row("ynnnn", &json!({"propertyNames": {"maxLength": 1}}), &json!({"long": 1}));
    row("yynnn", &json!({"if": {"minimum": 5}, "then": {"maximum": 6}}), &json!(7));
    row("yyynn", &json!({"contains": {"type": "integer"}, "minContains": 2}), &json!([1]));
    row("yyyyy", &json!({"minContains": 2}), &json!([]));
    row("yyynn", &json!({"dependentRequired": {"a": ["b"]}}), &json!({"a": 1}));
    row("yyynn", &json!({"dependentSchemas": {"a": {"minProperties": 2}}}), &json!({"a": 1}));
    row("nnnnn", &json!({"required": ["a", "b"]}), &json!({"a": 1}));
    row("xyyyy", &json!({"required": []}), &json!({}));
    row("xyyyy", &json!({"properties": {"a": true}}), &json!({"a": 1}));
    row("xnnnn", &json!({"properties": {"a": false}}), &json!({"a": 1}));
    row("nnnnn", &json!({"additionalProperties": false}), &json!({"a": 1}));
}

#[test]
fn lists() {
    row("nnnnx", &json!({"items": [{"type": "string"}], "additionalItems": false}), &json!(["a", 1]));
    row("yyyyn", &json!({"prefixItems": [{"type": "string"}]}), &json!([1]));
    row(
        "nnnny",
        &json!({"prefixItems": [{"type": "string"}], "items": {"type": "integer"}}),
        &json!(["a", 1]),
    );
    row("nnnnn", &json!({"items": {"type": "integer"}}), &json!(["a"]));
    row("yyynn", &json!({"unevaluatedItems": false}), &json!([1]));
    let first = json!({"allOf": [{"prefixItems": [{"type": "string"}]}], "unevaluatedItems": false});
    row("yyyny", &first, &json!(["a"]));
    row("yyynn", &first, &json!(["a", 1]));
    row("yyyyy", &json!({"uniqueItems": true}), &json!([1, true, "1", [1], {"a": 1}]));
    row("nnnnn", &json!({"uniqueItems": true}), &json!([{"a": [1, 2]}, {"a": [1, 2.0]}]));
}

#[test]
fn unevaluated_members() {
    let branch = |name: &str| json!({"properties": {name: {"type": "integer"}}, "required": [name]});
    let schema = json!({"anyOf": [branch("a"), branch("b")], "unevaluatedProperties": false});
    row("yyyyy", &schema, &json!({"a": 1, "b": 2}));
    row("yyynn", &schema, &json!({"a": 1, "b": "not seen by a branch that holds"}));
    row("yyynn", &schema, &json!({"a": 1, "c": 2}));
    let nested = json!({"allOf": [{"properties": {"a": {"unevaluatedProperties": false}}}], "unevaluatedProperties": false});
    row("yyyyy", &nested, &json!({"a": {}}));
    row("yyynn", &nested, &json!({"a": {"b": 1}}));
}

#[test]
fn references() {
    // Neighbours of a reference were ignored up to draft 7.
    let neighbour = json!({"properties": {"a": {"$ref": "#/definitions/text", "maxLength": 1}},
        "definitions": {"text": {"type": "string"}}});
    row("yyynn", &neighbour, &json!({"a": "long"}));
    row("nnnnn", &neighbour, &json!({"a": 1}));
    let escaped = json!({"properties": {"a": {"$ref": "#/definitions/x~1y~0z%25"}},
        "definitions": {"x/y~z%": {"type": "string"}}});
    row("nnnnn", &escaped, &json!({"a": 1}));
    let anchored = json!({"properties": {"a": {"$ref": "#text"}}, "$defs": {"t": {"$anchor": "text", "type": "string"}}});
    row("xxxnn", &anchored, &json!({"a": 1}));
    let named = json!({"properties": {"a": {"$ref": "http://example.com/text"}},
        "definitions": {"t": {"$id": "http://example.com/text", "type": "string"}}});
    row("xnnnn", &named, &json!({"a": 1}));
    let old_name = json!({"properties": {"a": {"$ref": "http://example.com/text"}},
        "definitions": {"t": {"id": "http://example.com/text", "type": "string"}}});
    row("nxxxx", &old_name, &json!({"a": 1}));
    // A list of lists: the reference goes into the value, so it may go on for ever.
    let recursive = json!({"type": "array", "items": {"anyOf": [{"type": "integer"}, {"$ref": "#"}]}});
    row("yyyyy", &recursive, &json!([1, [2, [[]]]]));
    row("nnnnn", &recursive, &json!([1, [2, [["x"]]]]));
}

/// A tree, and a stricter tree that changes what the tree's own reference to itself means.
fn trees(anchor: (&str, Value), reference: (&str, &str)) -> Value {
    let (anchor, here) = anchor;
    let (keyword, target) = reference;
    json!({
        "$id": "http://example.com/strict", anchor: here,
        "$ref": "tree", "unevaluatedProperties": false,
        "$defs": {"tree": {
            "$id": "http://example.com/tree", anchor: here, "type": "object",
            "properties": {"data": true, "children": {"type": "array", "items": {keyword: target}}}
        }}
    })
}

#[test]
fn references_that_the_caller_redirects() {
    let good = json!({"children": [{"data": 1}]});
    let misspelt = json!({"children": [{"daat": 1}]});
    let dynamic = trees(("$dynamicAnchor", json!("node")), ("$dynamicRef", "#node"));
    let recursive = trees(("$recursiveAnchor", json!(true)), ("$recursiveRef", "#"));
    let judge = |draft: &str, schema: &Value, payload: &Value| {
        let mut schema = schema.clone();
        schema["$schema"] = json!(draft);
        let schemas = EventSchema::empty();
        schemas.register_event_schema("test.case", schema).unwrap();
        let event = Event::builder("test.case", "test").data(payload.clone()).build().unwrap();
        schemas.validate_event(&event)
    };
    for (draft, schema) in [(D20, &dynamic), (D19, &recursive)] {
        judge(draft, schema, &good).unwrap();
        let error = judge(draft, schema, &misspelt).unwrap_err();
        assert!(error.pointers().any(|pointer| pointer == "/children/0"), "{error}");
    }
    // The newer keyword means nothing to the older draft.
    judge(D19, &dynamic, &misspelt).unwrap();
}

#[test]
fn formats_and_content() {
    row("nnnyy", &json!({"format": "date-time"}), &json!("yesterday"));
    row("nnnyy", &json!({"format": "ipv4"}), &json!("1.2.3"));
    row("yyyyy", &json!({"format": "made-up"}), &json!("yesterday"));
    row("ynnyy", &json!({"contentMediaType": "application/json"}), &json!("{"));
}

#[test]
fn the_draft_is_the_newest_unless_it_is_named() {
    let schemas = EventSchema::empty();
    schemas.register_event_schema("test.case", json!({"prefixItems": [{"type": "string"}]})).unwrap();
    let event = Event::builder("test.case", "test").data(json!([1])).build().unwrap();
    assert!(schemas.validate_event(&event).is_err());
    for spelling in [D4, D7, D20].map(|uri| uri.trim_end_matches('#').to_owned()) {
        schemas.register_event_schema("test.case", json!({"$schema": spelling})).unwrap();
        schemas.register_event_schema("test.case", json!({"$schema": spelling + "#"})).unwrap();
    }
    for unknown in ["http://json-schema.org/draft-03/schema#", "http://example.com/own", "draft-07", "", "#"]
    {
        let error = schemas.register_event_schema("test.case", json!({"$schema": unknown})).unwrap_err();
        assert!(error.to_string().contains("none of drafts 4, 6, 7, 2019-09 and 2020-12"), "{error}");
    }
}
