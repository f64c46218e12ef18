//! What an event carries: JSON text, a JSON tree, or any Rust value that serialises.
//!
//! Each form is made from the others when it is first asked for. So an event is forwarded without being parsed,
//! and a Rust value reaches its handlers without being serialised. Threads may race to convert: the first result
//! wins and nobody waits, because a user's `Serialize` runs here and must never run under a lock.
//!
//! A payload never changes, and one that an event accepted can always be read, save a Rust value whose own
//! `Serialize` fails.

mod checked;
mod error;
pub(crate) mod tree;
mod typed;

use std::{
    fmt,
    sync::{Arc, LazyLock},
};

use once_cell::race::OnceBox;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Map, Value};

pub(crate) use self::typed::event_type_of;
pub use self::{
    error::PayloadError,
    typed::{EventPayload, TypedPayload},
};
use super::{scan, shared::SharedStr};
use typed::{Erased, Held};

/// What an event carries. Cheap to clone: the clones share what was given.
///
/// ```
/// use codomyrmex_events::Payload;
///
/// let payload = Payload::from_json(r#"{"target": "x86_64"}"#)?;
/// assert_eq!(payload.get("target").and_then(|target| target.as_str()), Some("x86_64"));
/// # Ok::<(), codomyrmex_events::PayloadError>(())
/// ```
#[derive(Clone, Default)]
pub struct Payload(Form);

#[derive(Clone, Default)]
enum Form {
    #[default]
    Absent,
    Text(Text),
    Tree(Arc<Tree>),
    Rust(Arc<dyn Erased>),
}

/// A text that has passed the scanner.
struct Text {
    text: SharedStr,
    tree: OnceBox<Value>,
}

/// A clone shares the text and makes its own tree if it ever needs one.
impl Clone for Text {
    fn clone(&self) -> Self {
        Self { text: self.text.clone(), tree: OnceBox::new() }
    }
}

struct Tree {
    value: Value,
    /// Whether it nests no deeper than an event may carry.
    fits: bool,
    text: OnceBox<Result<String, PayloadError>>,
}

/// What reads of an absent payload see.
static EMPTY: LazyLock<Value> = LazyLock::new(|| Value::Object(Map::new()));

impl Payload {
    /// No payload. Readers see an empty object; writers leave the field out.
    pub const fn absent() -> Self {
        Self(Form::Absent)
    }

    /// A Rust value, kept as it is.
    ///
    /// What JSON cannot hold (NaN, infinities, keys that are not texts, nesting over 127) is an error when somebody
    /// asks for JSON, and never becomes null.
    pub fn typed<T: Serialize + Send + Sync + 'static>(rust: T) -> Self {
        Self(Form::Rust(Arc::new(Held::new(rust))))
    }

    /// A JSON text, checked now and parsed when somebody asks for the tree. `null` means absent.
    ///
    /// # Errors
    /// Malformed JSON, lone surrogates, numbers outside `f64`, nesting over 127, trailing bytes.
    pub fn from_json(text: impl AsRef<str> + Into<Arc<str>>) -> Result<Self, PayloadError> {
        let slice = text.as_ref();
        match scan::check(slice, scan::PAYLOAD_DEPTH_MAX) {
            Err(refusal) => Err(PayloadError::refused(slice, refusal)),
            Ok(_) if slice.trim_ascii() == "null" => Ok(Self::absent()),
            Ok(true) => Ok(Self::from_checked(on_one_line(slice))),
            Ok(false) => Ok(Self::from_checked(text)),
        }
    }

    /// A text that the scanner has passed and that has no line breaks; null is for the caller to notice.
    pub(in crate::event) fn from_checked(text: impl Into<SharedStr>) -> Self {
        Self(Form::Text(Text { text: text.into(), tree: OnceBox::new() }))
    }

    /// Whether there is none.
    pub fn is_absent(&self) -> bool {
        matches!(self.0, Form::Absent)
    }

    /// Whether it is a Rust value, as [`Payload::typed`] makes it.
    pub fn is_typed(&self) -> bool {
        matches!(self.0, Form::Rust(_))
    }

    /// The payload as a JSON tree; an empty object when absent.
    ///
    /// # Errors
    /// A Rust value that JSON cannot hold.
    pub fn value(&self) -> Result<&Value, &PayloadError> {
        match &self.0 {
            Form::Absent => Ok(&EMPTY),
            Form::Text(form) => Ok(form.tree.get_or_init(|| {
                Box::new(
                    tree::parse(form.text.as_str())
                        .expect("the scanner accepts only what serde_json can read"),
                )
            })),
            Form::Tree(form) => Ok(&form.value),
            Form::Rust(form) => form.value(),
        }
    }

    /// The payload as JSON text on one line; `{}` when absent. A text that was given as text comes back as it was,
    /// save its line breaks.
    ///
    /// # Errors
    /// A Rust value that JSON cannot hold.
    pub fn json(&self) -> Result<&str, &PayloadError> {
        match &self.0 {
            Form::Absent => Ok("{}"),
            Form::Text(form) => Ok(form.text.as_str()),
            Form::Tree(form) => form.text.get_or_init(|| Box::new(form.to_text())).as_deref(),
            Form::Rust(form) => form.json(),
        }
    }

    /// The text that it was given as, if it was.
    pub(crate) fn text(&self) -> Option<&str> {
        match &self.0 {
            Form::Text(form) => Some(form.text.as_str()),
            _ => None,
        }
    }

    /// The Rust value itself, if that is what was given and it is a `T`.
    pub fn downcast_ref<T: 'static>(&self) -> Option<&T> {
        match &self.0 {
            Form::Rust(form) => form.rust().downcast_ref(),
            _ => None,
        }
    }

    /// Makes a `T` of the payload.
    ///
    /// # Errors
    /// A payload that does not become a `T`, or a Rust value that JSON cannot hold.
    pub fn deserialize<T: DeserializeOwned>(&self) -> Result<T, PayloadError> {
        let made = match &self.0 {
            Form::Text(form) => serde_json::from_str(form.text.as_str()),
            _ => T::deserialize(self.value().map_err(Clone::clone)?),
        };
        made.map_err(|error| PayloadError::in_value("", error))
    }

    /// A field of the payload, if it is an object that has it.
    pub fn get(&self, field: &str) -> Option<&Value> {
        self.value().ok()?.get(field)
    }

    /// Checks what was given as a tree; texts were checked before, and Rust values are when they are converted.
    pub(crate) fn check(&self) -> Result<(), PayloadError> {
        match &self.0 {
            Form::Tree(form) => form.check(),
            _ => Ok(()),
        }
    }
}

impl Tree {
    fn new(value: Value) -> Self {
        Self { fits: tree::fits(&value), value, text: OnceBox::new() }
    }

    fn check(&self) -> Result<(), PayloadError> {
        if self.fits { Ok(()) } else { Err(PayloadError::in_value("", scan::Reason::Depth)) }
    }

    fn to_text(&self) -> Result<String, PayloadError> {
        self.check()?;
        serde_json::to_string(&self.value).map_err(|error| PayloadError::in_value("", error))
    }
}

/// A tree too deep to be accepted may be too deep to be dropped plainly.
impl Drop for Tree {
    fn drop(&mut self) {
        if !self.fits {
            tree::dismantle(self.value.take());
        }
    }
}

/// A checked text without its line breaks, all of which stand between tokens.
pub(crate) fn on_one_line(text: &str) -> String {
    text.chars().filter(|char| !matches!(char, '\n' | '\r')).collect()
}

/// JSON null is an absent payload, as it is on the wire.
impl From<Value> for Payload {
    fn from(value: Value) -> Self {
        match value {
            Value::Null => Self::absent(),
            value => Self(Form::Tree(Arc::new(Tree::new(value)))),
        }
    }
}

impl From<Map<String, Value>> for Payload {
    fn from(fields: Map<String, Value>) -> Self {
        Self::from(Value::Object(fields))
    }
}

impl From<&Payload> for Payload {
    fn from(ready: &Payload) -> Self {
        ready.clone()
    }
}

impl fmt::Debug for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Form::Absent => f.write_str("absent"),
            Form::Text(form) => f.write_str(form.text.as_str()),
            Form::Tree(form) if form.fits => write!(f, "{}", form.value),
            Form::Tree(_) => f.write_str("(too deep)"),
            Form::Rust(_) => f.write_str("(a Rust value)"),
        }
    }
}
