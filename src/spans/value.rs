//! The correlation id in what a span's field was given: a text, or anything that can be shown as one.
//!
//! `#[instrument]` records arguments by `Debug`, so an id that is a `String` arrives in quotes and an optional one in
//! `Some(...)`. Both are taken off: an id with quotes around it is hardly ever meant, and one that all events share
//! because it says `None` never.

use crate::ids::CorrelationId;
use crate::quiet::panics;
use std::fmt::{self, Write};
use tracing::field::{Field, Visit};

/// How much of a value is looked at: enough for the longest id with every character escaped.
const SHOWN_BYTES_MAX: usize = 4_096;

/// What a field says.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Given {
    Nothing,
    Id(CorrelationId),
    /// It is no correlation id.
    Unusable,
}

impl Given {
    /// What the fields say that `record` shows.
    pub(super) fn read(record: impl FnOnce(&mut dyn Visit)) -> Given {
        let mut reader = Reader(Given::Nothing);
        if panics(|| record(&mut reader)) {
            return Given::Unusable;
        }
        reader.0
    }

    fn of(text: &str) -> Given {
        CorrelationId::new(text).map_or(Given::Unusable, Given::Id)
    }
}

struct Reader(Given);

/// Numbers and the like come by `record_debug` as well.
impl Visit for Reader {
    fn record_str(&mut self, field: &Field, text: &str) {
        if field.name() == super::FIELD {
            self.0 = Given::of(text);
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == super::FIELD {
            let mut shown = Shown(String::new());
            self.0 = match write!(shown, "{value:?}") {
                Ok(()) => meant(&shown.0),
                Err(_) => Given::Unusable,
            };
        }
    }
}

/// A text with a bound.
struct Shown(String);

impl Write for Shown {
    fn write_str(&mut self, piece: &str) -> fmt::Result {
        if self.0.len() + piece.len() > SHOWN_BYTES_MAX {
            return Err(fmt::Error);
        }
        self.0.push_str(piece);
        Ok(())
    }
}

/// What was meant by a value that shows itself like this.
fn meant(shown: &str) -> Given {
    let mut inner = shown;
    while let Some(within) = inner.strip_prefix("Some(").and_then(|rest| rest.strip_suffix(')')) {
        inner = within;
    }
    if inner == "None" {
        return Given::Nothing;
    }
    let quoted = inner.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    match quoted {
        // Where there are escapes it was a text that has quotes, backslashes or what no id may have.
        Some(text) if text.contains('\\') => unescaped(text).map_or(Given::Unusable, |text| Given::of(&text)),
        Some(text) => Given::of(text),
        None => Given::of(inner),
    }
}

/// The text whose `Debug` this is; none if it has other escapes than for what an id may have.
fn unescaped(text: &str) -> Option<String> {
    let mut plain = String::with_capacity(text.len());
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        match (character, characters.as_str().chars().next()) {
            ('\\', Some(escaped @ ('"' | '\\' | '\''))) => {
                plain.push(escaped);
                characters.next();
            }
            ('\\', Some('u')) => {
                let (digits, rest) = characters.as_str().strip_prefix("u{")?.split_once('}')?;
                plain.push(char::from_u32(u32::from_str_radix(digits, 16).ok()?)?);
                characters = rest.chars();
            }
            ('\\', _) => return None,
            (character, _) => plain.push(character),
        }
    }
    Some(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_found_in_whatever_shows_it() {
        let id = |text: &str| Given::Id(CorrelationId::new(text.to_owned()).unwrap());
        let texts = ["plain", "ünï 🦀", "with \"quotes\" and \\", "zero\u{200b}width", "it's"];
        for text in texts {
            assert_eq!(meant(&format!("{text:?}")), id(text));
            assert_eq!(meant(&format!("{:?}", Some(text))), id(text));
        }
        for (shown, expected) in [
            ("req-17", id("req-17")),
            ("42", id("42")),
            ("Uuid(7)", id("Uuid(7)")),
            ("Some(42)", id("42")),
            ("\"", id("\"")),
            ("None", Given::Nothing),
            ("Some(None)", Given::Nothing),
            ("Some(Some(\"a\"))", id("a")),
            ("Some(\"None\")", id("None")),
            ("", Given::Unusable),
            ("\"\"", Given::Unusable),
            ("\"a\\nb\"", Given::Unusable),
            ("\"a\\u{1b}b\"", Given::Unusable),
            ("\"a\\u{110000}\"", Given::Unusable),
            ("\"a\\u{\"", Given::Unusable),
            ("\"a\\\"", Given::Unusable),
            ("a\nb", Given::Unusable),
        ] {
            assert_eq!(meant(shown), expected, "{shown:?}");
        }
        assert_eq!(meant(&"x".repeat(257)), Given::Unusable);
    }
}
