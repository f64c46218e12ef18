//! Foreign text on its way to a terminal or a log: unable to do anything there but be read.

use std::fmt::{self, Write};

/// Shows what could move the cursor, end the line or turn the writing around as `\u{1b}`.
pub(crate) struct Printable<'a>(pub(crate) &'a str);

impl fmt::Display for Printable<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = self.0;
        while let Some(at) = rest.find(is_active) {
            f.write_str(&rest[..at])?;
            let mut after = rest[at..].chars();
            after.next().map_or(Ok(()), |active| write!(f, "{}", active.escape_default()))?;
            rest = after.as_str();
        }
        f.write_str(rest)
    }
}

/// Appends JSON with such characters as JSON escapes: it says the same.
pub(crate) fn push_printable_json(json: &str, out: &mut String) {
    for character in json.chars() {
        if is_active(character) {
            for unit in character.encode_utf16(&mut [0; 2]) {
                // Writing to a String cannot fail.
                let _ = write!(out, "\\u{unit:04x}");
            }
        } else {
            out.push(character);
        }
    }
}

/// Control characters, line separators, and the marks that change the direction of writing.
pub(crate) fn is_active(character: char) -> bool {
    character.is_control()
        || matches!(character,
            '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_active_is_left_and_nothing_is_lost() {
        for (text, expected) in [
            ("", ""),
            ("plain, ünïcödé 🦀", "plain, ünïcödé 🦀"),
            ("a\u{1b}[2Jb\r\nc\td", "a\\u{1b}[2Jb\\r\\nc\\td"),
            ("\u{9b}31m\u{202e}\u{2028}\u{feff}", "\\u{9b}31m\\u{202e}\\u{2028}\\u{feff}"),
        ] {
            assert_eq!(Printable(text).to_string(), expected);
        }
        let value = "\u{9b}\u{7f}\u{202e}\u{2028}é🦀";
        let mut json = String::new();
        push_printable_json(&serde_json::to_string(value).unwrap(), &mut json);
        assert_eq!(json, r#""\u009b\u007f\u202e\u2028é🦀""#);
        assert_eq!(serde_json::from_str::<String>(&json).unwrap(), value);
    }
}
