//! One schema, compiled: bounded first, then handed to the validator.
//!
//! The order is the point. The validator recurses wherever a schema sends it, so a schema is first measured without
//! recursion, then its references are followed on paper (`graph`, `cost`), and only one that stays within the
//! limits is compiled. Compiling runs on a thread of its own with a stack that the limits fit, since nobody knows how
//! much of the caller's is left. Validating never leaves the caller's thread.

use std::fmt::{self, Write};
use std::sync::Arc;
use std::thread;

use jsonschema::{Draft, PatternOptions, ValidationError, Validator};
use serde_json::Value;

use super::cost::{self, Cost};
use super::error::SchemaFault;
use super::graph::{self, Nowhere};
use crate::event::{FAILURES_MAX, SchemaFailure, dismantle};

/// How deep the values of a schema may nest, itself included: what JSON text may, at every door.
const DEPTH_MAX: usize = 128;
/// How many values a schema may have in all.
const VALUES_MAX: usize = 1 << 18;
/// How large one compiled pattern may be, in bytes: with the text's length it bounds the time of a match.
const PATTERN_BYTES_MAX: usize = 1 << 20;
/// Room for compiling a schema of the greatest depth through references, in a debug build.
const COMPILE_STACK_BYTES: usize = 64 << 20;
/// How many subschemas may be applied in order to list what is wrong with a payload.
const LISTING_MAX: u64 = 1 << 21;
/// How many bytes of pointers are kept in all, past the first: keys may be as long as a payload.
const POINTER_BYTES_MAX: usize = 1 << 20;
/// A message that grows longer is said again without quoting the payload.
const QUOTED_BYTES_MAX: usize = 512;

/// A schema that cannot be wrong, and its validator.
pub(super) struct Compiled {
    schema: Arc<Value>,
    validator: Validator,
    cost: Cost,
}

/// What is wrong with a payload: the first failures, and how many there are.
pub(super) struct Failures {
    pub(super) kept: Vec<SchemaFailure>,
    pub(super) total: usize,
}

impl Compiled {
    /// Compiles a schema of our own, which is known to be small, on the caller's thread.
    pub(super) fn trusted(schema: Value) -> Result<Self, (String, SchemaFault)> {
        let (validator, cost) = compile(&schema)?;
        Ok(Self { schema: Arc::new(schema), validator, cost })
    }

    /// Compiles, or says what is wrong with the schema and where.
    pub(super) fn new(schema: Value) -> Result<Self, (String, SchemaFault)> {
        if let Err(fault) = measure(&schema) {
            dismantle(schema);
            return Err((String::new(), fault));
        }
        let on_own_stack = thread::Builder::new().name("schema".into()).stack_size(COMPILE_STACK_BYTES);
        let compiled = thread::scope(|scope| {
            let compiling = on_own_stack.spawn_scoped(scope, || compile(&schema));
            let compiling = compiling.map_err(|error| SchemaFault::NoThread { message: error.to_string() });
            let ended = compiling.map_err(|fault| (String::new(), fault))?.join();
            ended.unwrap_or_else(|_| {
                // The validator's own bug: a schema that it cannot handle is a bad schema, not the end of the caller.
                let message = "the validator failed on this schema".to_owned();
                Err((String::new(), SchemaFault::Invalid { message }))
            })
        });
        let (validator, cost) = compiled?;
        Ok(Self { schema: Arc::new(schema), validator, cost })
    }

    pub(super) fn schema(&self) -> &Arc<Value> {
        &self.schema
    }

    /// What is wrong with `payload`, if anything.
    #[inline]
    pub(super) fn check(&self, payload: &Value) -> Result<(), Failures> {
        if self.validator.is_valid(payload) { Ok(()) } else { Err(self.failures(payload)) }
    }

    #[cold]
    fn failures(&self, payload: &Value) -> Failures {
        if self.cost.of(&values_by_level(payload)) > LISTING_MAX {
            let message = "does not fit the schema, in more ways than can be listed";
            return Failures { kept: vec![SchemaFailure::new("", message)], total: 1 };
        }
        let mut kept = Vec::new();
        let (mut total, mut pointer_bytes) = (0, 0);
        for error in self.validator.iter_errors(payload) {
            total += 1;
            let pointer = error.instance_path().as_str();
            pointer_bytes += pointer.len();
            if kept.len() < FAILURES_MAX && (pointer_bytes <= POINTER_BYTES_MAX || kept.is_empty()) {
                kept.push(SchemaFailure::new(pointer, message(&error)));
            }
        }
        Failures { kept, total }
    }
}

fn compile(schema: &Value) -> Result<(Validator, Cost), (String, SchemaFault)> {
    let at_root = |fault| (String::new(), fault);
    let draft = draft(schema).map_err(at_root)?;
    let graph = graph::build(schema, draft);
    let graph = graph.map_err(|error| at_root(SchemaFault::Invalid { message: bounded(&error) }))?;
    let cost = cost::measure(&graph);
    let cost = cost.map_err(|(node, fault)| (pointer_to(schema, graph.nodes[node].address), fault))?;
    let patterns = PatternOptions::regex().size_limit(PATTERN_BYTES_MAX);
    let options = jsonschema::options().with_pattern_options(patterns).with_retriever(Nowhere);
    let validator = options.build(schema).map_err(|error| {
        // In a faulty schema the schema is the instance; a pattern is blamed on its place in the schema.
        let pointer = error.instance_path().as_str().to_owned();
        (pointer, SchemaFault::Invalid { message: message(&error) })
    })?;
    Ok((validator, cost))
}

fn draft(schema: &Value) -> Result<Draft, SchemaFault> {
    let draft = Draft::default().detect(schema);
    match draft {
        Draft::Draft4 | Draft::Draft6 | Draft::Draft7 | Draft::Draft201909 | Draft::Draft202012 => Ok(draft),
        _ => {
            let found = schema.get("$schema").and_then(Value::as_str).unwrap_or_default();
            Err(SchemaFault::UnknownDraft { found: found.chars().take(256).collect() })
        }
    }
}

/// Depth and size, without recursion.
fn measure(schema: &Value) -> Result<(), SchemaFault> {
    let mut values = 0_usize;
    let mut waiting = vec![(schema, 1)];
    while let Some((value, depth)) = waiting.pop() {
        values += 1;
        if values > VALUES_MAX {
            return Err(SchemaFault::TooLarge { limit: VALUES_MAX });
        }
        if depth > DEPTH_MAX {
            return Err(SchemaFault::TooDeep { limit: DEPTH_MAX });
        }
        match value {
            Value::Object(members) => waiting.extend(members.values().map(|value| (value, depth + 1))),
            Value::Array(elements) => waiting.extend(elements.iter().map(|value| (value, depth + 1))),
            _ => {}
        }
    }
    Ok(())
}

/// How many values a payload has on each level.
fn values_by_level(payload: &Value) -> Vec<u64> {
    let mut counts = Vec::new();
    let mut waiting = vec![(payload, 0)];
    while let Some((value, level)) = waiting.pop() {
        if counts.len() <= level {
            counts.resize(level + 1, 0);
        }
        counts[level] += 1;
        match value {
            Value::Object(members) => waiting.extend(members.values().map(|value| (value, level + 1))),
            Value::Array(elements) => waiting.extend(elements.iter().map(|value| (value, level + 1))),
            _ => {}
        }
    }
    counts
}

/// Where in `schema` the subschema at `address` is; empty if it is in another document.
fn pointer_to(schema: &Value, address: usize) -> String {
    let mut waiting = vec![(schema, String::new())];
    while let Some((value, pointer)) = waiting.pop() {
        if std::ptr::from_ref(value) as usize == address {
            return pointer;
        }
        match value {
            Value::Object(members) => waiting.extend(members.iter().map(|(name, value)| {
                let name = name.replace('~', "~0").replace('/', "~1");
                (value, format!("{pointer}/{name}"))
            })),
            Value::Array(elements) => {
                waiting.extend(
                    elements.iter().enumerate().map(|(at, value)| (value, format!("{pointer}/{at}"))),
                );
            }
            _ => {}
        }
    }
    String::new()
}

/// What the validator says, with the value quoted if it is short.
fn message(error: &ValidationError<'_>) -> String {
    let mut quoted = Bounded { text: String::new(), limit: QUOTED_BYTES_MAX };
    match write!(quoted, "{error}") {
        Ok(()) => quoted.text,
        Err(_) => bounded(&error.masked_with("the value")),
    }
}

fn bounded(message: &impl fmt::Display) -> String {
    let mut bounded = Bounded { text: String::new(), limit: 1_024 };
    if write!(bounded, "{message}").is_err() {
        bounded.text.push_str("...");
    }
    bounded.text
}

/// Takes text up to a limit and then refuses, so that quoting a megabyte costs no more than quoting a line.
struct Bounded {
    text: String,
    limit: usize,
}

impl Write for Bounded {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let room = self.limit - self.text.len();
        let cut = (0..=room.min(text.len())).rev().find(|&at| text.is_char_boundary(at)).unwrap_or(0);
        self.text.push_str(&text[..cut]);
        if cut < text.len() { Err(fmt::Error) } else { Ok(()) }
    }
}
