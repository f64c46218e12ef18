//! From an accepted text to a tree, and what a tree must be to be accepted.

use std::mem;

use serde_json::Value;

use crate::event::scan::PAYLOAD_DEPTH_MAX;

/// The tree of a text that has passed the scanner: what `serde_json` would build, usually by way of `simd-json`.
pub(crate) fn parse(text: &str) -> Result<Value, serde_json::Error> {
    if !reads_differently(text.as_bytes()) {
        let mut bytes = text.as_bytes().to_vec();
        if let Ok(tree) = simd_json::serde::from_slice(&mut bytes) {
            return Ok(tree);
        }
    }
    // simd-json is the narrower reader: integers beyond 64 bits, for one, it does not take.
    serde_json::from_str(text)
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
