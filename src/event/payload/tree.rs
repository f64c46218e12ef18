//! From an accepted text to a tree, and what a tree must be to be accepted.

use std::mem;

use serde_json::{Map, Value};
use simd_json::{Node, StaticNode};

use crate::event::scan::PAYLOAD_DEPTH_MAX;

/// From how many bytes on a text is read by `simd-json`.
///
/// PERF: below, setting up its buffers costs more than it saves; above, texts full of numbers gain a tenth and
/// others break even, because building the tree takes most of the time (bench `json`, group `tree`).
const SIMD_BYTES_MIN: usize = 8 * 1024;

/// The tree of a text that has passed the scanner: what `serde_json` would build.
pub(crate) fn parse(text: &str) -> Result<Value, serde_json::Error> {
    if text.len() >= SIMD_BYTES_MIN && !reads_differently(text.as_bytes()) {
        // simd-json is the narrower reader: integers beyond 64 bits, for one, it does not take.
        if let Some(tree) = parse_simd(text) {
            return Ok(tree);
        }
    }
    serde_json::from_str(text)
}

fn parse_simd(text: &str) -> Option<Value> {
    let mut bytes = text.as_bytes().to_vec();
    let tape = simd_json::to_tape(&mut bytes).ok()?;
    build(&mut tape.0.iter())
}

/// The value whose node is next on the tape. Recurses no deeper than the scanner let the text nest.
fn build(tape: &mut std::slice::Iter<'_, Node<'_>>) -> Option<Value> {
    Some(match *tape.next()? {
        Node::String(text) => Value::String(text.to_owned()),
        Node::Static(StaticNode::Null) => Value::Null,
        Node::Static(StaticNode::Bool(bool)) => bool.into(),
        Node::Static(StaticNode::I64(number)) => number.into(),
        Node::Static(StaticNode::U64(number)) => number.into(),
        Node::Static(StaticNode::F64(number)) => number.into(),
        Node::Array { len, .. } => {
            let mut items = Vec::with_capacity(len);
            for _ in 0..len {
                items.push(build(tape)?);
            }
            Value::Array(items)
        }
        Node::Object { len, .. } => {
            let mut fields = Map::new();
            for _ in 0..len {
                let Node::String(key) = *tape.next()? else { return None };
                fields.insert(key.to_owned(), build(tape)?);
            }
            Value::Object(fields)
        }
    })
}

/// Whether the text may hold a negative zero, which `simd-json` reads as the integer 0. It may say so for a text
/// that has none, at the price of the slower reader.
fn reads_differently(text: &[u8]) -> bool {
    let starts_value = |before: Option<&u8>| !before.is_some_and(u8::is_ascii_alphanumeric);
    text.windows(2).enumerate().any(|(at, pair)| pair == b"-0" && starts_value(text[..at].last()))
}

/// Whether a tree nests no deeper than a payload may. Looks no deeper than that either.
pub(crate) fn fits(tree: &Value) -> bool {
    fits_within(tree, PAYLOAD_DEPTH_MAX)
}

fn fits_within(tree: &Value, depth_left: usize) -> bool {
    match tree {
        Value::Array(_) | Value::Object(_) if depth_left == 0 => false,
        Value::Array(items) => items.iter().all(|item| fits_within(item, depth_left - 1)),
        Value::Object(fields) => fields.values().all(|field| fits_within(field, depth_left - 1)),
        _ => true,
    }
}

/// Drops a tree of any depth, which plainly dropped could overflow the stack.
pub(crate) fn dismantle(tree: Value) {
    let mut rest = vec![tree];
    while let Some(mut tree) = rest.pop() {
        match &mut tree {
            Value::Array(items) => rest.append(items),
            Value::Object(fields) => rest.extend(mem::take(fields).into_iter().map(|(_, field)| field)),
            _ => {}
        }
    }
}
