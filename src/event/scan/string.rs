//! Strings in a JSON text: where their escapes end, and what they say.

use std::borrow::Cow;

use super::{Reason, Refusal, Scan};

/// A string in the text, by where it stands.
#[derive(Clone, Copy)]
pub(in crate::event) struct RawStr<'a> {
    pub(super) text: &'a str,
    /// Where the opening quote is.
    pub(in crate::event) offset: usize,
    pub(super) end: usize,
    pub(in crate::event) escaped: bool,
}

impl<'a> RawStr<'a> {
    /// What stands between the quotes.
    #[inline(always)]
    pub(in crate::event) fn inner(&self) -> &'a [u8] {
        &self.text.as_bytes()[self.offset + 1..self.end]
    }

    /// What the string says.
    pub(in crate::event) fn unescaped(&self) -> Cow<'a, str> {
        unescaped(&self.text[self.offset + 1..self.end], self.escaped)
    }
}

/// What the text between the quotes of a string says, which the scanner has passed.
#[inline]
pub(in crate::event) fn unescaped(inner: &str, escaped: bool) -> Cow<'_, str> {
    if escaped { Cow::Owned(decoded(inner)) } else { Cow::Borrowed(inner) }
}

#[cold]
fn decoded(inner: &str) -> String {
    let quoted = format!("\"{inner}\"");
    serde_json::from_str(&quoted).expect("the scanner accepts only strings that decode")
}

/// Where the escape ends whose backslash is at `at`; a pair of surrogates counts as one.
#[cold]
pub(super) fn escape_end(text: &str, at: usize) -> Scan<usize> {
    let refused = |reason, offset| Err(Refusal { reason, offset });
    match text.as_bytes().get(at + 1) {
        Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => return Ok(at + 2),
        Some(b'u') => {}
        Some(_) => return refused(Reason::Escape, at + 1),
        None => return refused(Reason::End, at + 1),
    }
    match hex4(text, at + 2)? {
        0xdc00..=0xdfff => refused(Reason::Surrogate, at),
        0xd800..=0xdbff => {
            let paired = text.as_bytes()[at + 6..].starts_with(b"\\u")
                && matches!(hex4(text, at + 8)?, 0xdc00..=0xdfff);
            if paired { Ok(at + 12) } else { refused(Reason::Surrogate, at) }
        }
        _ => Ok(at + 6),
    }
}

/// The UTF-16 unit that four hexadecimal digits name.
fn hex4(text: &str, at: usize) -> Scan<u32> {
    let mut unit = 0;
    for offset in at..at + 4 {
        let Some(&byte) = text.as_bytes().get(offset) else {
            return Err(Refusal { reason: Reason::End, offset });
        };
        let Some(digit) = char::from(byte).to_digit(16) else {
            return Err(Refusal { reason: Reason::Escape, offset });
        };
        unit = unit << 4 | digit;
    }
    Ok(unit)
}
