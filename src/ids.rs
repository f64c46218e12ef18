//! The checked texts that name things: events, sources, correlations, and the events' own identities.
//!
//! A value of one of these types has passed the check, so nothing behind this door checks again. Texts up to
//! 23 bytes live inside the value; longer ones are shared, so a clone never copies characters.
//!
//! Nothing here is normalised: what was given is what is compared, shown and sent. In particular an id is a
//! UUID only when its text is already the canonical one.

use serde::{Serialize, Serializer};
use std::{borrow::Borrow, convert::Infallible, fmt, ops::Deref, str::FromStr};

use smol_str::SmolStr;
use thiserror::Error;

pub use event_id::EventId;

/// The longest name, source or id, in bytes of UTF-8.
pub const TEXT_BYTES_MAX: usize = 256;

/// A name, source or id that may not be one: which field, and which rule it breaks.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{field} {rule}")]
#[non_exhaustive]
pub struct InvalidText {
    field: &'static str,
    rule: TextRule,
}

impl InvalidText {
    /// The wire name of the field, such as `"event_type"`.
    pub fn field(&self) -> &'static str {
        self.field
    }

    /// The rule that the text breaks.
    pub fn rule(&self) -> TextRule {
        self.rule
    }

    /// The same complaint about another field: a causation id is checked as an event id is.
    pub(crate) fn for_field(mut self, field: &'static str) -> Self {
        self.field = field;
        self
    }
}

/// Ready values pass where texts are taken, and their conversion cannot fail.
impl From<Infallible> for InvalidText {
    fn from(never: Infallible) -> Self {
        match never {}
    }
}

/// What a name, source or id must not be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum TextRule {
    /// It has no characters.
    #[error("must not be empty")]
    Empty,
    /// It has more than [`TEXT_BYTES_MAX`] bytes.
    #[error("must not be over 256 bytes")]
    TooLong,
    /// It has a control character (Unicode category Cc).
    #[error("must not have a control character, as at byte {byte_offset}")]
    ControlCharacter {
        /// Where the first one starts.
        byte_offset: usize,
    },
}

/// Checks a text that is to become a name, source or id.
#[inline]
pub(crate) fn check_text(field: &'static str, text: &str) -> Result<(), InvalidText> {
    // PERF: nearly every text passes this test, which the compiler vectorises (bench `json`).
    let suspect = |byte: &u8| *byte < 0x20 || *byte == 0x7f || *byte == 0xc2;
    let fits = (1..=TEXT_BYTES_MAX).contains(&text.len());
    if fits && !text.as_bytes().iter().fold(false, |any, byte| any | suspect(byte)) {
        return Ok(());
    }
    match broken_rule(text) {
        None => Ok(()),
        Some(rule) => Err(InvalidText { field, rule }),
    }
}

/// The rule that `text` breaks. `const`, so that names written in a program are checked as it is compiled.
pub(crate) const fn broken_rule(text: &str) -> Option<TextRule> {
    let bytes = text.as_bytes();
    if bytes.is_empty() {
        return Some(TextRule::Empty);
    }
    if bytes.len() > TEXT_BYTES_MAX {
        return Some(TextRule::TooLong);
    }
    let mut at = 0;
    while at < bytes.len() {
        let byte = bytes[at];
        // Category Cc is U+0000-1F, U+007F and U+0080-9F; in UTF-8 the last are C2 80-9F, and no other
        // character holds a C2 byte.
        let control = byte < 0x20 || byte == 0x7f || (byte == 0xc2 && bytes[at + 1] < 0xa0);
        if control {
            return Some(TextRule::ControlCharacter { byte_offset: at });
        }
        at += 1;
    }
    None
}

/// What every checked text can do, whoever may make one.
macro_rules! checked_text {
    ($(#[$meta:meta])* $name:ident) => {
        $(#[$meta])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(SmolStr);

        impl $name {
            /// The text.
            #[inline]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl Deref for $name {
            type Target = str;
            #[inline]
            fn deref(&self) -> &str {
                &self.0
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(self.as_str(), f)
            }
        }

        impl PartialEq<str> for $name {
            fn eq(&self, other: &str) -> bool {
                self.as_str() == other
            }
        }

        impl PartialEq<&str> for $name {
            fn eq(&self, other: &&str) -> bool {
                self.as_str() == *other
            }
        }
    };
}

/// The conversions of a checked text that anyone may make. `$parse` is its checked constructor.
macro_rules! from_texts {
    ($name:ident, $parse:path) => {
        impl FromStr for $name {
            type Err = InvalidText;
            fn from_str(text: &str) -> Result<Self, InvalidText> {
                $parse(text)
            }
        }

        impl TryFrom<&str> for $name {
            type Error = InvalidText;
            fn try_from(text: &str) -> Result<Self, InvalidText> {
                $parse(text)
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidText;
            fn try_from(text: String) -> Result<Self, InvalidText> {
                $parse(text.as_str())
            }
        }

        impl TryFrom<&String> for $name {
            type Error = InvalidText;
            fn try_from(text: &String) -> Result<Self, InvalidText> {
                $parse(text.as_str())
            }
        }

        impl From<&$name> for $name {
            fn from(ready: &$name) -> Self {
                ready.clone()
            }
        }
    };
}

// Below the macro that it uses.
mod event_id;

/// A checked text that anyone may make, and that programs may write as a constant.
macro_rules! open_text {
    ($(#[$meta:meta])* $name:ident, $field:literal) => {
        checked_text!($(#[$meta])* $name);
        from_texts!($name, $name::new);

        impl $name {
            /// Checks the text.
            ///
            /// # Errors
            /// A text that is empty, over 256 bytes, or has a control character.
            pub fn new(text: impl AsRef<str> + Into<SmolStr>) -> Result<Self, InvalidText> {
                check_text($field, text.as_ref())?;
                Ok(Self(text.into()))
            }

            /// A text written in the program. In a `const` a bad one is a compile error.
            ///
            /// # Panics
            /// If [`Self::new`] would refuse the text.
            #[allow(clippy::panic, reason = "the text is written in the program")]
            pub const fn from_static(text: &'static str) -> Self {
                if broken_rule(text).is_some() {
                    panic!(concat!("not a valid ", $field));
                }
                Self(SmolStr::new_static(text))
            }
        }
    };
}

open_text! {
    /// Who published an event: `"ci_pipeline"`, `"orchestrator.nightly"`.
    Source, "source"
}

open_text! {
    /// What ties the events of one operation together.
    CorrelationId, "correlation_id"
}

checked_text! {
    /// The name of an event type that is not one of the standard ones.
    ///
    /// Only [`EventType`](crate::EventType) makes one, so a standard name is never found in here.
    EventName
}

impl EventName {
    /// For [`EventType`](crate::EventType), which has found that the name is not a standard one.
    pub(crate) fn new(text: impl AsRef<str> + Into<SmolStr>) -> Result<Self, InvalidText> {
        check_text("event_type", text.as_ref())?;
        Ok(Self(text.into()))
    }
}
