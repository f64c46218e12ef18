//! What is said about an event, beside its payload: an object, kept as text until somebody asks.
//!
//! It mostly passes through, so it is parsed as late as the payload is. It is only ever an object.

use std::fmt::{self, Write};
use std::sync::{Arc, LazyLock};

use once_cell::race::OnceBox;
use serde_json::{Map, Value};

use super::{
    parse_error::EventParseError,
    payload::{PayloadError, tree},
    read::{RawField, each_field},
    scan,
    shared::SharedStr,
};

#[derive(Clone, Default)]
pub(crate) struct Metadata(Form);

#[derive(Clone, Default)]
enum Form {
    #[default]
    Empty,
    Text(Text),
    Map(Arc<Map<String, Value>>),
}

/// The text of an object that has passed the scanner.
struct Text {
    text: SharedStr,
    map: OnceBox<Map<String, Value>>,
}

impl Clone for Text {
    fn clone(&self) -> Self {
        Self { text: self.text.clone(), map: OnceBox::new() }
    }
}

/// What a replay says of an event; beside it stands the number of its first publication.
const MARK: &str = "replayed";
const MARK_SEQUENCE: &str = "replayed_sequence";

static EMPTY: LazyLock<Map<String, Value>> = LazyLock::new(Map::new);

impl Metadata {
    /// A tree too deep to be read back is an error, and is taken apart with care.
    pub(crate) fn from_map(map: Map<String, Value>) -> Result<Self, PayloadError> {
        if map.is_empty() {
            return Ok(Self::default());
        }
        let tree = Value::Object(map);
        if !tree::fits(&tree) {
            tree::dismantle(tree);
            return Err(PayloadError::in_value("", format_args!("metadata: {}", scan::Reason::Depth)));
        }
        match tree {
            Value::Object(map) => Ok(Self(Form::Map(Arc::new(map)))),
            _ => Ok(Self::default()),
        }
    }

    /// An object's text that the scanner has passed and that has no line breaks.
    pub(super) fn from_checked(text: impl Into<SharedStr>) -> Self {
        Self(Form::Text(Text { text: text.into(), map: OnceBox::new() }))
    }

    pub(crate) fn map(&self) -> &Map<String, Value> {
        match &self.0 {
            Form::Empty => &EMPTY,
            Form::Map(map) => map,
            Form::Text(form) => form.map.get_or_init(|| match tree::parse(form.text.as_str()) {
                Ok(Value::Object(map)) => Box::new(map),
                other => unreachable!("the scanner has seen an object, not {other:?}"),
            }),
        }
    }

    /// False only if it has no entry of this name. Parses nothing.
    pub(super) fn may_have(&self, key: &str) -> bool {
        match &self.0 {
            Form::Empty => false,
            Form::Map(map) => map.contains_key(key),
            // The name may be spelt with escapes.
            Form::Text(form) => form.text.as_str().contains(key) || form.text.as_str().contains("\\u"),
        }
    }

    /// With those of `defaults` that it has no entry for itself; `None` if it has all of them.
    pub(super) fn with_defaults(&self, defaults: &Self) -> Option<Self> {
        if defaults.is_empty() {
            return None;
        }
        if self.is_empty() {
            return Some(defaults.clone());
        }
        let own = self.map();
        let mut lacking = defaults.map().iter().filter(|(key, _)| !own.contains_key(*key)).peekable();
        lacking.peek()?;
        let mut both = own.clone();
        both.extend(lacking.map(|(key, value)| (key.clone(), value.clone())));
        // No deeper than the deeper of the two, both of which were checked.
        Some(Self(Form::Map(Arc::new(both))))
    }

    /// With the marks of a replay; `None` if it has them. The other entries stay as they were written, which a tree of
    /// them might not.
    pub(super) fn replayed(&self, sequence: Option<u64>) -> Option<Self> {
        let mut marks = String::from("{\"replayed\":true");
        if let Some(sequence) = sequence {
            // Writing to a String cannot fail.
            let _ = write!(marks, ",\"replayed_sequence\":{sequence}");
        }
        if self.is_empty() {
            marks.push('}');
            return Some(Self::from_checked(marks));
        }
        if let Form::Text(form) = &self.0
            && !has_marks(form.text.as_str())
        {
            // An object that is not empty, so something follows its brace.
            let entries = form.text.as_str().strip_prefix('{').expect("metadata is an object");
            return Some(Self::from_checked(format!("{marks},{entries}")));
        }
        let mut map = self.map().clone();
        if map.insert(MARK.to_owned(), true.into()) == Some(Value::Bool(true)) {
            return None;
        }
        map.remove(MARK_SEQUENCE);
        map.extend(sequence.map(|sequence| (MARK_SEQUENCE.to_owned(), sequence.into())));
        // As deep as it was.
        Some(Self(Form::Map(Arc::new(map))))
    }

    /// Whether there is nothing to write.
    pub(super) fn is_empty(&self) -> bool {
        matches!(self.0, Form::Empty)
    }

    /// Appends the object.
    pub(super) fn write(&self, out: &mut String) {
        match &self.0 {
            Form::Empty => out.push_str("{}"),
            Form::Text(form) => out.push_str(form.text.as_str()),
            Form::Map(map) => {
                out.push_str(&serde_json::to_string(map.as_ref()).expect("a map of JSON values is JSON"));
            }
        }
    }
}

/// Whether the text of an object has one of the marks among its keys.
fn has_marks(text: &str) -> bool {
    // Nearly always neither word is in it, nor anything that could spell one.
    if !text.contains(MARK) && !text.contains("\\u") {
        return false;
    }
    let mut is_found = false;
    let walked = each_field(text, |key, scanner| {
        is_found |= [MARK, MARK_SEQUENCE].contains(&key.unescaped().as_ref());
        RawField::scan(scanner)
            .map(drop)
            .map_err(|refusal| EventParseError::refused(text.as_bytes(), refusal))
    });
    is_found || walked.is_err()
}

impl fmt::Debug for Metadata {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.map().fmt(f)
    }
}
