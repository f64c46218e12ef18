//! The identity of one event.

use serde::{Serialize, Serializer};
use std::{fmt, str::FromStr};

use smol_str::SmolStr;
use uuid::{Uuid, fmt::Hyphenated};

use super::{InvalidText, check_text};

/// The identity of one event: a UUID, or whatever text its maker calls it by.
///
/// A text is read as a UUID only when it equals that UUID's canonical form (lower case, hyphens), so an id comes
/// back out as it went in.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EventId(Id);

#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Id {
    Uuid(Uuid),
    Text(SmolStr),
}

impl EventId {
    /// A new random one (UUID version 4).
    #[allow(clippy::new_without_default, reason = "a default that differs each time would surprise")]
    #[inline]
    pub fn new() -> Self {
        Self(Id::Uuid(Uuid::new_v4()))
    }

    /// Reads an id.
    ///
    /// # Errors
    /// A text that is empty, over 256 bytes, or has a control character.
    pub fn parse(text: &str) -> Result<Self, InvalidText> {
        if let Some(uuid) = canonical_uuid(text) {
            return Ok(Self(Id::Uuid(uuid)));
        }
        check_text("event_id", text)?;
        Ok(Self(Id::Text(SmolStr::new(text))))
    }

    /// The UUID, when it is one.
    pub fn as_uuid(&self) -> Option<Uuid> {
        match self.0 {
            Id::Uuid(uuid) => Some(uuid),
            Id::Text(_) => None,
        }
    }

    /// Appends the text; allocates nothing of its own.
    pub fn write_to(&self, out: &mut String) {
        match &self.0 {
            Id::Uuid(uuid) => out.push_str(uuid.hyphenated().encode_lower(&mut [0; Hyphenated::LENGTH])),
            Id::Text(text) => out.push_str(text),
        }
    }
}

/// The UUID whose canonical form `text` is.
fn canonical_uuid(text: &str) -> Option<Uuid> {
    if text.len() != Hyphenated::LENGTH {
        return None;
    }
    // Of this length only the hyphenated form is read, in either case.
    let upper_case = text.as_bytes().iter().fold(false, |any, byte| any | byte.is_ascii_uppercase());
    Uuid::try_parse(text).ok().filter(|_| !upper_case)
}

from_texts!(EventId, EventId::parse);

impl From<Uuid> for EventId {
    fn from(uuid: Uuid) -> Self {
        Self(Id::Uuid(uuid))
    }
}

impl Serialize for EventId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Id::Uuid(uuid) => f.pad(uuid.hyphenated().encode_lower(&mut [0; Hyphenated::LENGTH])),
            Id::Text(text) => f.pad(text),
        }
    }
}

impl fmt::Debug for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{self}\"")
    }
}

impl PartialEq<str> for EventId {
    fn eq(&self, other: &str) -> bool {
        match &self.0 {
            Id::Uuid(uuid) => canonical_uuid(other).as_ref() == Some(uuid),
            Id::Text(text) => text == other,
        }
    }
}

impl PartialEq<&str> for EventId {
    fn eq(&self, other: &&str) -> bool {
        self == *other
    }
}
