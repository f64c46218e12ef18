//! Rust values as payloads: handed over as they are, converted only when somebody wants JSON.

use std::{any::Any, ops::Deref};

use once_cell::race::OnceBox;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

use super::{PayloadError, checked, tree};
use crate::{
    event::{EventType, scan},
    ids,
};

/// A Rust type that is the payload of one event type.
///
/// An [`EVENT_TYPE`](Self::EVENT_TYPE) that is no valid name fails to compile where the type is used.
///
/// ```
/// use codomyrmex_events::{Event, EventPayload};
///
/// #[derive(serde::Serialize, serde::Deserialize)]
/// struct CacheCleared { entries: u64 }
///
/// impl EventPayload for CacheCleared {
///     const EVENT_TYPE: &'static str = "cache.cleared";
/// }
///
/// let event = Event::typed("cache", CacheCleared { entries: 7 }).build()?;
/// assert_eq!(event.event_type(), "cache.cleared");
/// assert_eq!(event.payload_as::<CacheCleared>()?.entries, 7);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// With a control character in the name the same does not compile:
///
/// ```compile_fail
/// use codomyrmex_events::{Event, EventPayload};
///
/// #[derive(serde::Serialize, serde::Deserialize)]
/// struct CacheCleared { entries: u64 }
///
/// impl EventPayload for CacheCleared {
///     const EVENT_TYPE: &'static str = "cache\n.cleared";
/// }
///
/// let event = Event::typed("cache", CacheCleared { entries: 7 }).build()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait EventPayload: Serialize + DeserializeOwned + Send + Sync + 'static {
    /// The name of the event type that carries it.
    const EVENT_TYPE: &'static str;
}

/// The event type of a payload type.
pub(crate) fn event_type_of<T: EventPayload>() -> EventType {
    const { assert!(ids::broken_rule(T::EVENT_TYPE).is_none(), "EVENT_TYPE is not a valid event name") };
    EventType::parse_static(T::EVENT_TYPE).expect("checked as it was compiled")
}

/// A payload as the Rust type that was asked for: the publisher's own value, or one made from JSON.
#[derive(Debug)]
pub enum TypedPayload<'a, T> {
    /// The value that was published.
    Borrowed(&'a T),
    /// One that was read from JSON.
    Owned(T),
}

impl<T> Deref for TypedPayload<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        match self {
            TypedPayload::Borrowed(payload) => payload,
            TypedPayload::Owned(payload) => payload,
        }
    }
}

/// A Rust value with its conversions, its type forgotten.
pub(super) trait Erased: Send + Sync {
    fn rust(&self) -> &dyn Any;
    fn value(&self) -> Result<&Value, &PayloadError>;
    fn json(&self) -> Result<&str, &PayloadError>;
}

/// A Rust value and what it has been converted to so far.
pub(super) struct Held<T> {
    rust: T,
    tree: OnceBox<Result<Value, PayloadError>>,
    text: OnceBox<Result<String, PayloadError>>,
}

impl<T> Held<T> {
    pub(super) fn new(rust: T) -> Self {
        Self { rust, tree: OnceBox::new(), text: OnceBox::new() }
    }
}

impl<T: Serialize + Send + Sync + 'static> Erased for Held<T> {
    fn rust(&self) -> &dyn Any {
        &self.rust
    }

    fn value(&self) -> Result<&Value, &PayloadError> {
        self.tree.get_or_init(|| Box::new(to_tree(&self.rust))).as_ref()
    }

    fn json(&self) -> Result<&str, &PayloadError> {
        self.text.get_or_init(|| Box::new(to_text(&self.rust))).as_deref()
    }
}

fn to_tree<T: Serialize>(rust: &T) -> Result<Value, PayloadError> {
    let made = checked::serialize(rust, serde_json::value::Serializer)?;
    if tree::fits(&made) {
        return Ok(made);
    }
    tree::dismantle(made);
    Err(PayloadError::in_value("", scan::Reason::Depth))
}

fn to_text<T: Serialize>(rust: &T) -> Result<String, PayloadError> {
    let mut text = Vec::with_capacity(128);
    checked::serialize(rust, &mut serde_json::Serializer::new(&mut text))?;
    let text = String::from_utf8(text).expect("serde_json writes UTF-8");
    // A Serialize may hand over JSON of its own making (RawValue), which nobody has checked yet.
    match scan::check(&text, scan::PAYLOAD_DEPTH_MAX) {
        Ok(false) => Ok(text),
        Ok(true) => Ok(super::on_one_line(&text)),
        Err(refusal) => Err(PayloadError::refused(&text, refusal)),
    }
}
