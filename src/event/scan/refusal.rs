//! Why a JSON text is refused, and where.

use std::fmt;

/// Why a text is refused, and where.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) reason: Reason,
    pub(crate) offset: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reason {
    End,
    Value,
    Key,
    Colon,
    CommaOrEnd,
    Literal,
    Number,
    NumberRange,
    Escape,
    Surrogate,
    Control,
    Trailing,
    Depth,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Reason::End => "the text ends too early",
            Reason::Value => "expected a JSON value",
            Reason::Key => "expected a key in quotes",
            Reason::Colon => "expected a colon after the key",
            Reason::CommaOrEnd => "expected a comma or the end of the array or object",
            Reason::Literal => "expected true, false or null",
            Reason::Number => "not a JSON number",
            Reason::NumberRange => "the number is outside the range of a 64-bit float",
            Reason::Escape => "not a JSON escape",
            Reason::Surrogate => "a lone surrogate is no character",
            Reason::Control => "a control character in a string must be escaped",
            Reason::Trailing => "nothing may follow the value",
            Reason::Depth => "nested deeper than 128, the event being depth 1",
        })
    }
}

/// The line and the column of a byte, both counted from 1.
pub(crate) fn line_and_column(text: &[u8], offset: usize) -> (usize, usize) {
    let before = &text[..offset.min(text.len())];
    let line = before.iter().filter(|&&byte| byte == b'\n').count() + 1;
    let line_start = before.iter().rposition(|&byte| byte == b'\n').map_or(0, |at| at + 1);
    (line, offset - line_start + 1)
}
