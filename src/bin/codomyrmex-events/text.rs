//! Foreign text on its way to a terminal: bounded, and unable to do anything there but be read.

use std::borrow::Cow;
use std::fmt::Write;

/// How much of a reason is told, in bytes.
pub(crate) const REASON_BYTES_MAX: usize = 1_024;

/// Cuts a text that is over the limit, between two characters.
pub(crate) fn bounded(mut text: String, bytes_max: usize) -> String {
    if text.len() > bytes_max {
        let cut = (0..=bytes_max).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
        text.truncate(cut);
        text.push('…');
    }
    text
}

/// Appends a text with what could move the cursor, end the line or turn the writing around shown as `\u{1b}`.
pub(crate) fn push_printable(text: &str, out: &mut String) {
    for character in text.chars() {
        if is_active(character) {
            // Writing to a String cannot fail.
            let _ = write!(out, "{}", character.escape_default());
        } else {
            out.push(character);
        }
    }
}

/// JSON with such characters as JSON escapes: it says the same.
pub(crate) fn printable_json(json: &str) -> Cow<'_, str> {
    if !json.contains(is_escaped_in_json) {
        return Cow::Borrowed(json);
    }
    let mut out = String::with_capacity(json.len() + 32);
    for character in json.chars() {
        if is_escaped_in_json(character) {
            // All of them lie in the basic plane. Writing to a String cannot fail.
            let _ = write!(out, "\\u{:04x}", u32::from(character));
        } else {
            out.push(character);
        }
    }
    Cow::Owned(out)
}

/// The line feed after a line is not in its JSON, and within that there is none.
fn is_escaped_in_json(character: char) -> bool {
    is_active(character) && character != '\n'
}

pub(crate) fn printable(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    push_printable(text, &mut out);
    out
}

/// Control characters, line separators, and the marks that change the direction of writing.
fn is_active(character: char) -> bool {
    character.is_control()
        || matches!(character,
            '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::{bounded, printable, printable_json};

    #[test]
    fn nothing_active_is_left() {
        for (text, expected) in [
            ("plain, ünïcödé 🦀", "plain, ünïcödé 🦀"),
            ("a\u{1b}[2Jb\r\nc\td", "a\\u{1b}[2Jb\\r\\nc\\td"),
            ("\u{9b}31m\u{202e}\u{2028}\u{feff}", "\\u{9b}31m\\u{202e}\\u{2028}\\u{feff}"),
        ] {
            assert_eq!(printable(text), expected);
        }
    }

    #[test]
    fn json_says_the_same_without_anything_active() {
        let text = "{\"a\u{9b}31m\":\"\u{7f}\u{202e}\u{2028}é🦀\"}\n";
        let shown = printable_json(text);
        assert_eq!(shown, "{\"a\\u009b31m\":\"\\u007f\\u202e\\u2028é🦀\"}\n");
        let read = |json: &str| serde_json::from_str::<serde_json::Value>(json).unwrap();
        assert_eq!(read(&shown), read(text));
        assert!(matches!(printable_json("{\"é\":1}\n"), std::borrow::Cow::Borrowed(_)));
    }

    #[test]
    fn long_texts_are_cut_between_characters() {
        assert_eq!(bounded("aé".to_owned(), 2), "a…");
        assert_eq!(bounded("aé".to_owned(), 3), "aé");
    }
}
