//! W3C Trace Context in the metadata: `traceparent` and `tracestate`, handed on unchanged from an event to what is
//! published in answer to it.
//!
//! Unchanged, because the bus is a pass-through: it records no span of its own. The specification (W3C Trace Context, section
//! "Mutating the traceparent Field") has whoever takes part in a trace put its own `parent-id`; one that was made up here would
//! name a span that no tracing backend ever hears of, and what hangs below it would be torn off. And where `traceparent` is
//! not changed, `tracestate` must not be either. A handler that takes part puts a `traceparent` of its own on what it publishes.
//!
//! What is not well formed stays on its event and is not handed on. An event that says anything about tracing itself,
//! right or wrong, gets nothing.

use super::metadata::Metadata;
use serde_json::Map;

const PARENT: &str = "traceparent";
const STATE: &str = "tracestate";

/// Of a version that is not known here. A longer one is not handed on.
const PARENT_BYTES_MAX: usize = 256;
/// The specification asks everybody to pass on 512 characters at least.
const STATE_BYTES_MAX: usize = 4_096;

impl Metadata {
    /// With the trace context of the handled event's metadata, if there is one and this has none.
    pub(super) fn continuing(&self, handled: &Self) -> Option<Self> {
        if !handled.may_have(PARENT) {
            return None;
        }
        let context = handled.trace_context()?;
        let own = self.map();
        if own.contains_key(PARENT) || own.contains_key(STATE) {
            return None;
        }
        self.with_defaults(&context)
    }

    /// The trace context alone, if it is well formed.
    fn trace_context(&self) -> Option<Self> {
        let said = self.map();
        let parent = said.get(PARENT).filter(|value| value.as_str().is_some_and(is_traceparent))?;
        let state = said.get(STATE).filter(|value| value.as_str().is_some_and(is_tracestate));
        if said.len() == 1 + usize::from(state.is_some()) {
            // It says nothing else: along a chain of events all share one.
            return Some(self.clone());
        }
        let mut context = Map::new();
        context.insert(PARENT.to_owned(), parent.clone());
        state.map(|state| context.insert(STATE.to_owned(), state.clone()));
        Self::from_map(context).ok()
    }
}

/// `version-traceid-parentid-flags`, in lower-case hexadecimal digits; later versions may go on after that.
fn is_traceparent(text: &str) -> bool {
    let bytes = text.as_bytes();
    let field = |from: usize, to: usize| {
        let field = bytes.get(from..to)?;
        field.iter().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')).then_some(field)
    };
    let is_set = |field: &[u8]| field.iter().any(|byte| *byte != b'0');
    let has_dashes = [2, 35, 52].iter().all(|at| bytes.get(*at) == Some(&b'-'));
    let (Some(version), Some(trace_id), Some(parent_id), Some(_flags), true) =
        (field(0, 2), field(3, 35), field(36, 52), field(53, 55), has_dashes)
    else {
        return false;
    };
    let ends = match version {
        b"ff" => false,
        b"00" => bytes.len() == 55,
        _ => bytes.len() <= PARENT_BYTES_MAX && bytes.get(55).is_none_or(|byte| *byte == b'-'),
    };
    ends && is_set(trace_id) && is_set(parent_id) && text.bytes().all(|byte| byte.is_ascii_graphic())
}

/// A list of members. What they mean is the vendors' own; this only asks whether it can be a header's value.
fn is_tracestate(text: &str) -> bool {
    let fits = !text.is_empty() && text.len() <= STATE_BYTES_MAX;
    fits && text.bytes().all(|byte| matches!(byte, b' '..=b'~' | b'\t')) && text.contains('=')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn traceparents_are_told_from_what_only_looks_like_one() {
        let good = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        for (text, expected) in [
            (good.to_owned(), true),
            (good.replacen("00", "cc", 1), true),
            (format!("{}-what.the-future=brings", good.replacen("00", "cc", 1)), true),
            (good.replacen("00", "ff", 1), false),
            (format!("{good}-more"), false),
            (format!("{}more", good.replacen("00", "cc", 1)), false),
            (format!("{}-{}", good.replacen("00", "cc", 1), "x".repeat(256)), false),
            (format!("{}-\u{1b}", good.replacen("00", "cc", 1)), false),
            (format!("{}-é", good.replacen("00", "cc", 1)), false),
            (good.to_uppercase(), false),
            (good[..54].to_owned(), false),
            (good.replace('-', "_"), false),
            (good.replace("4bf92f3577b34da6a3ce929d0e0e4736", &"0".repeat(32)), false),
            (good.replace("00f067aa0ba902b7", &"0".repeat(16)), false),
            (format!(" {good}"), false),
            (format!("{good} "), false),
            (good.replace("01", "0g"), false),
            ("é".repeat(40), false),
            (String::new(), false),
        ] {
            assert_eq!(is_traceparent(&text), expected, "{text:?}");
        }
    }

    #[test]
    fn tracestates_fit_into_a_header() {
        for (text, expected) in [
            ("congo=t61rcWkgMzE,rojo=00f067aa0ba902b7".to_owned(), true),
            ("a=1, b=2".to_owned(), true),
            (String::new(), false),
            ("no members".to_owned(), false),
            ("a=1\r\nEvil: yes".to_owned(), false),
            ("a=é".to_owned(), false),
            (format!("a={}", "x".repeat(4_094)), true),
            (format!("a={}", "x".repeat(4_095)), false),
        ] {
            assert_eq!(is_tracestate(&text), expected, "{text:?}");
        }
    }
}
