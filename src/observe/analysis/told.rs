//! What an event says of an operation or an error: by its type's last part, and by the fields of its payload.

use crate::event::{Event, EventType};
use serde_json::{Map, Value};
use smol_str::SmolStr;
use std::hash::BuildHasher;

/// The last parts of types that begin an operation, that end it, and that end it badly.
const STARTS: [&str; 2] = ["start", "started"];
const ENDS: [&str; 2] = ["complete", "completed"];
const FAILURES: [&str; 2] = ["error", "failed"];
/// The last part of a type that tells of an error which ends nothing.
const RETRYING: &str = "retrying";

/// Where an error's message is looked for, in this order.
const MESSAGES: [&str; 4] = ["error_message", "error", "message", "reason"];
/// How much of a message is kept, in bytes.
const MESSAGE_BYTES_MAX: usize = 512;
/// How many fields tell operations apart.
const NAMES_MAX: usize = 8;

/// What an event has to do with an operation.
pub(super) enum Phase {
    Start {
        /// What its end has to say as well.
        stem: SmolStr,
        /// What it is called.
        name: SmolStr,
    },
    End {
        stem: SmolStr,
        is_failed: bool,
    },
}

/// An error as an event tells it.
pub(super) struct Told {
    pub(super) error_type: String,
    /// Cut if it is long; empty if there is none.
    pub(super) message: String,
}

/// Of an event that has to do with an operation or an error.
pub(super) struct Fields {
    fields: Map<String, Value>,
    pub(super) phase: Option<Phase>,
    is_error: bool,
}

impl Fields {
    /// Looks into the payload only if the event's type says that it is worth it. The tree that is made of a text is not
    /// kept in the event: an analysis of a history leaves it as large as it was.
    pub(super) fn of(event: &Event) -> Option<Self> {
        let name = event.event_type().as_str();
        let read = || event.data().deserialize::<Map<String, Value>>().unwrap_or_default();
        if *event.event_type() == EventType::Custom {
            return Some(Self::of_emitter(read()));
        }
        let (stem, last) = name.rsplit_once('.').unwrap_or(("", name));
        let (is_start, is_end) = (STARTS.contains(&last), ENDS.contains(&last));
        let is_failure = FAILURES.contains(&last);
        if !(is_start || is_end || is_failure || last == RETRYING) {
            return None;
        }
        let fields = read();
        let is_failed = is_failure || (is_end && is_unsuccessful(&fields));
        let phase = if stem.is_empty() {
            None
        } else if is_start {
            Some(Phase::Start { stem: stem.into(), name: stem.into() })
        } else {
            (is_end || is_failure).then(|| Phase::End { stem: stem.into(), is_failed })
        };
        Some(Fields { fields, phase, is_error: is_failed || last == RETRYING })
    }

    /// An operation of an emitter: its type is `custom`, and its payload tells the phase.
    fn of_emitter(fields: Map<String, Value>) -> Self {
        let text = |field| fields.get(field).and_then(Value::as_str);
        let stem = SmolStr::new_static("custom");
        let is_failed = is_unsuccessful(&fields);
        let phase = match text("phase") {
            Some("start") => {
                let name = text("operation").map_or(stem.clone(), |name| cut(name, MESSAGE_BYTES_MAX).into());
                Some(Phase::Start { stem, name })
            }
            Some("end") => Some(Phase::End { stem, is_failed }),
            _ => None,
        };
        let is_error = is_failed && phase.is_some();
        Fields { fields, phase, is_error }
    }

    /// The error, if it tells of one.
    pub(super) fn error(&self) -> Option<Told> {
        if !self.is_error {
            return None;
        }
        let told = |field: &str| match self.fields.get(field)? {
            Value::String(text) => Some(text),
            Value::Object(inner) => match inner.get("message")? {
                Value::String(text) => Some(text),
                _ => None,
            },
            _ => None,
        };
        let kept = |text: &String| cut(text, MESSAGE_BYTES_MAX).to_owned();
        let error_type = match self.fields.get("error_type") {
            Some(Value::String(text)) => kept(text),
            _ => String::new(),
        };
        Some(Told {
            error_type,
            message: MESSAGES.iter().find_map(|field| told(field)).map(kept).unwrap_or_default(),
        })
    }

    /// The fields that tell operations of one kind apart, hashed: `id`, `name`, `target`, `operation` and whatever ends with
    /// `_id` or `_name`, if they are texts or numbers.
    pub(super) fn names(&self, hasher: &impl BuildHasher) -> Box<[(u64, u64)]> {
        let mut names: Vec<(&String, String)> = self
            .fields
            .iter()
            .filter(|(field, _)| is_name(field))
            .filter(|(_, value)| value.is_string() || value.is_number())
            .map(|(field, value)| (field, value.to_string()))
            .collect();
        names.sort_unstable();
        names
            .into_iter()
            .take(NAMES_MAX)
            .map(|(field, value)| (hasher.hash_one(field), hasher.hash_one(value)))
            .collect()
    }
}

fn is_unsuccessful(fields: &Map<String, Value>) -> bool {
    fields.get("success") == Some(&Value::Bool(false))
}

fn is_name(field: &str) -> bool {
    ["id", "name", "target", "operation"].contains(&field)
        || field.ends_with("_id")
        || field.ends_with("_name")
}

/// The beginning of a text, cut between two characters.
pub(super) fn cut(text: &str, bytes_max: usize) -> &str {
    &text[..text.floor_char_boundary(bytes_max)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_cut_between_characters() {
        for (text, expected) in [("", ""), ("abc", "abc"), ("abcd", "abc"), ("abé", "ab"), ("é🦀", "é")]
        {
            assert_eq!(cut(text, 3), expected);
        }
    }
}
