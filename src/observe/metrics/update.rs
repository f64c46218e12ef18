//! What a payload says of a metric, read in place.
//!
//! Everything that does not depend on the series is decided here, so that what is refused takes no room in the table.

use crate::event::{MetricType, Payload};
use crate::ids::check_text;
use foldhash::fast::RandomState;
use serde::{Serialize, Serializer};
use serde_json::{Map, Value};
use smol_str::{SmolStr, format_smolstr};
use std::hash::BuildHasher;
use thiserror::Error;

/// How many labels a series can have.
pub const METRIC_LABELS_MAX: usize = 32;

/// The bytes of a series' name, its labels and their values, all together.
pub const METRIC_TEXT_BYTES_MAX: usize = 2_048;

/// Why an update was not folded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Error)]
#[non_exhaustive]
pub enum MetricRejection {
    /// The payload is no object, or a Rust value that JSON cannot hold.
    #[error("the payload is no JSON object")]
    Payload,
    /// The name is none.
    #[error("metric_name must be a text of 1 to 256 bytes without control characters")]
    Name,
    /// The type is none.
    #[error("metric_type must be counter, gauge, histogram or summary")]
    Type,
    /// The value is no number.
    #[error("metric_value must be a number, a boolean or a text that is a number")]
    Value,
    /// The value is infinite or no number; JSON could not tell it on.
    #[error("metric_value must be finite")]
    NotFinite,
    /// A counter would go down.
    #[error("the increment of a counter must not be negative")]
    Negative,
    /// The labels cannot be a series'.
    #[error("labels must be up to 32 texts, numbers or booleans, and 2,048 bytes together with the name")]
    Labels,
    /// The name has another type.
    #[error("the name was first used with another metric_type")]
    OtherType,
    /// The sum would be infinite.
    #[error("the sum would be infinite")]
    Sum,
    /// The series is new, and there are as many as there may be.
    #[error("there is no room for another series")]
    NoRoom,
}

impl MetricRejection {
    /// In order: what is counted of a reason stands at its place.
    pub(super) const ALL: [MetricRejection; 10] = [
        MetricRejection::Payload,
        MetricRejection::Name,
        MetricRejection::Type,
        MetricRejection::Value,
        MetricRejection::NotFinite,
        MetricRejection::Negative,
        MetricRejection::Labels,
        MetricRejection::OtherType,
        MetricRejection::Sum,
        MetricRejection::NoRoom,
    ];

    /// Its name where rejections are counted.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            MetricRejection::Payload => "payload",
            MetricRejection::Name => "name",
            MetricRejection::Type => "type",
            MetricRejection::Value => "value",
            MetricRejection::NotFinite => "not_finite",
            MetricRejection::Negative => "negative",
            MetricRejection::Labels => "labels",
            MetricRejection::OtherType => "other_type",
            MetricRejection::Sum => "sum",
            MetricRejection::NoRoom => "no_room",
        }
    }
}

impl Serialize for MetricRejection {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// What is to be folded.
pub(super) struct Update<'a> {
    pub(super) name: &'a str,
    pub(super) metric_type: MetricType,
    pub(super) value: f64,
    /// The same for the same name and labels, whatever their order.
    pub(super) hash: u64,
    labels: Option<&'a Map<String, Value>>,
    /// Those that count.
    labels_len: usize,
}

/// What a series is known by. Labels are sorted by name.
pub(super) struct Key {
    pub(super) name: SmolStr,
    pub(super) labels: Box<[(SmolStr, SmolStr)]>,
}

/// A label's value.
enum LabelText<'a> {
    Given(&'a str),
    Made(SmolStr),
}

impl LabelText<'_> {
    fn as_str(&self) -> &str {
        match self {
            LabelText::Given(text) => text,
            LabelText::Made(text) => text,
        }
    }
}

impl<'a> Update<'a> {
    /// Reads a payload; the hasher is that of the table of series.
    pub(super) fn read(payload: &'a Payload, hasher: &RandomState) -> Result<Self, MetricRejection> {
        let fields = payload.value().ok().and_then(Value::as_object).ok_or(MetricRejection::Payload)?;
        let field = |name| fields.get(name).filter(|value| !value.is_null());
        let name = field("metric_name").and_then(Value::as_str).ok_or(MetricRejection::Name)?;
        check_text("metric_name", name).map_err(|_| MetricRejection::Name)?;
        let metric_type = match field("metric_type") {
            None => MetricType::default(),
            Some(named) => named.as_str().and_then(MetricType::named).ok_or(MetricRejection::Type)?,
        };
        let value = field("metric_value").and_then(number).ok_or(MetricRejection::Value)?;
        if !value.is_finite() {
            return Err(MetricRejection::NotFinite);
        }
        if metric_type == MetricType::Counter && value < 0.0 {
            return Err(MetricRejection::Negative);
        }
        let labels = match field("labels") {
            None => None,
            Some(labels) => Some(labels.as_object().ok_or(MetricRejection::Labels)?),
        };
        let mut update =
            Update { name, metric_type, value, hash: hasher.hash_one(name), labels, labels_len: 0 };
        if update.read_labels(hasher) { Ok(update) } else { Err(MetricRejection::Labels) }
    }

    /// Whether all labels are as they should be. PERF: they are looked through once, as the text of a number has to be
    /// made each time (bench `observe`).
    fn read_labels(&mut self, hasher: &RandomState) -> bool {
        if self.labels.is_some_and(|labels| labels.len() > METRIC_LABELS_MAX) {
            return false;
        }
        let mut bytes = self.name.len();
        for (label, value) in self.labels.into_iter().flatten() {
            if value.is_array() || value.is_object() || check_text("label", label).is_err() {
                return false;
            }
            if let Some(text) = text(value) {
                let text = text.as_str();
                self.labels_len += 1;
                bytes += label.len() + text.len();
                if bytes > METRIC_TEXT_BYTES_MAX {
                    return false;
                }
                // A sum has no order.
                self.hash = self.hash.wrapping_add(hasher.hash_one((label.as_str(), text)));
            }
        }
        true
    }

    pub(super) fn is_of(&self, key: &Key) -> bool {
        let has = |(label, value): &(SmolStr, SmolStr)| {
            let own = self.labels.and_then(|labels| labels.get(label.as_str()));
            own.and_then(text).is_some_and(|own| own.as_str() == value)
        };
        key.name == self.name && key.labels.len() == self.labels_len && key.labels.iter().all(has)
    }

    pub(super) fn key(&self) -> Key {
        let mut labels: Vec<(SmolStr, SmolStr)> =
            self.labels().map(|(label, value)| (label.into(), value.as_str().into())).collect();
        labels.sort_unstable();
        Key { name: self.name.into(), labels: labels.into() }
    }

    fn labels(&self) -> impl Iterator<Item = (&'a str, LabelText<'a>)> {
        let labels = self.labels.into_iter().flatten();
        labels.filter_map(|(label, value)| Some((label.as_str(), text(value)?)))
    }
}

/// The text that a label's value is, if it is one that counts.
fn text(value: &Value) -> Option<LabelText<'_>> {
    match value {
        Value::String(text) if !text.is_empty() => Some(LabelText::Given(text)),
        Value::Bool(yes) => Some(LabelText::Given(if *yes { "true" } else { "false" })),
        Value::Number(number) => Some(LabelText::Made(format_smolstr!("{number}"))),
        _ => None,
    }
}

fn number(value: &Value) -> Option<f64> {
    match value {
        Value::Number(number) => number.as_f64(),
        Value::Bool(yes) => Some(f64::from(u8::from(*yes))),
        Value::String(text) => text.parse().ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reason_stands_at_its_place() {
        for (place, reason) in MetricRejection::ALL.into_iter().enumerate() {
            assert_eq!(reason as usize, place);
        }
    }
}
