//! Foreign text on its way to a terminal: bounded, and unable to do anything there but be read.

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
    use super::{bounded, printable};

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
    fn long_texts_are_cut_between_characters() {
        assert_eq!(bounded("aé".to_owned(), 2), "a…");
        assert_eq!(bounded("aé".to_owned(), 3), "aé");
    }
}
