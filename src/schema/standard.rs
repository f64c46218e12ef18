//! The schemas of the standard types, as a table.
//!
//! One row a type: its fields, a `!` before those that are required. A table rather than JSON files, because the
//! thirteen shapes share a handful of field kinds and a row can be compared with the list of the original at a
//! glance. Fields that are not listed are allowed; this file never closes a schema.

use serde_json::{Map, Value, json};

const DRAFT: &str = "https://json-schema.org/draft/2020-12/schema";

const ERROR: &[Field] = &[
    ("error_type", Kind::Text),
    ("!error_message", Kind::Text),
    ("stack_trace", Kind::Text),
    ("context", Kind::Object),
    ("severity", Kind::OneOf(&["low", "medium", "high", "critical"])),
];

const STANDARD: &[(&str, &[Field])] = &[
    (
        "system.startup",
        &[("!version", Kind::Text), ("startup_time", Kind::Number), ("components_loaded", Kind::Texts)],
    ),
    (
        "module.load",
        &[
            ("!module_name", Kind::Text),
            ("module_version", Kind::Text),
            ("load_time", Kind::Number),
            ("dependencies", Kind::Texts),
        ],
    ),
    (
        "analysis.start",
        &[
            ("!analysis_type", Kind::Text),
            ("!target", Kind::Text),
            ("parameters", Kind::Object),
            ("estimated_duration", Kind::Number),
        ],
    ),
    (
        "analysis.complete",
        &[
            ("!analysis_type", Kind::Text),
            ("!target", Kind::Text),
            ("results", Kind::Object),
            ("duration", Kind::Number),
            ("!success", Kind::Boolean),
        ],
    ),
    (
        "build.start",
        &[
            ("!build_type", Kind::Text),
            ("!target", Kind::Text),
            ("parameters", Kind::Object),
            ("build_id", Kind::Text),
        ],
    ),
    (
        "build.complete",
        &[
            ("!build_type", Kind::Text),
            ("!target", Kind::Text),
            ("!build_id", Kind::Text),
            ("!success", Kind::Boolean),
            ("artifacts", Kind::Texts),
            ("duration", Kind::Number),
        ],
    ),
    ("system.error", ERROR),
    ("module.error", ERROR),
    ("plugin.error", ERROR),
    ("analysis.error", ERROR),
    ("build.error", ERROR),
    (
        "metric.update",
        &[
            ("!metric_name", Kind::Text),
            ("!metric_value", Kind::AnyOf(&["number", "string", "boolean"])),
            ("metric_type", Kind::OneOf(&["counter", "gauge", "histogram", "summary"])),
            ("labels", Kind::Object),
            ("timestamp", Kind::Number),
        ],
    ),
    (
        "alert.triggered",
        &[
            ("!alert_name", Kind::Text),
            ("!alert_level", Kind::OneOf(&["info", "warning", "error", "critical"])),
            ("!message", Kind::Text),
            ("threshold", Kind::AnyOf(&["number", "string"])),
            ("current_value", Kind::AnyOf(&["number", "string"])),
            ("context", Kind::Object),
        ],
    ),
];

/// A field's name, `!` first if it is required, and what it holds.
type Field = (&'static str, Kind);

enum Kind {
    Text,
    Texts,
    Number,
    Boolean,
    Object,
    AnyOf(&'static [&'static str]),
    OneOf(&'static [&'static str]),
}

impl Kind {
    fn schema(&self) -> Value {
        match self {
            Kind::Text => json!({"type": "string"}),
            Kind::Texts => json!({"type": "array", "items": {"type": "string"}}),
            Kind::Number => json!({"type": "number"}),
            Kind::Boolean => json!({"type": "boolean"}),
            Kind::Object => json!({"type": "object"}),
            Kind::AnyOf(types) => json!({"type": types}),
            Kind::OneOf(texts) => json!({"type": "string", "enum": texts}),
        }
    }
}

/// The wire name and the schema of each standard type that has one.
pub(super) fn schemas() -> impl Iterator<Item = (&'static str, Value)> {
    STANDARD.iter().map(|(name, fields)| (*name, object(fields)))
}

fn object(fields: &[Field]) -> Value {
    let mut required = Vec::new();
    let mut properties = Map::new();
    for (name, kind) in fields {
        let bare = name.trim_start_matches('!');
        if bare != *name {
            required.push(bare);
        }
        properties.insert(bare.to_owned(), kind.schema());
    }
    json!({"$schema": DRAFT, "type": "object", "required": required, "properties": properties})
}
