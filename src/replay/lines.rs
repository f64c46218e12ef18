//! Lines of a stream, one at a time: how long one may be, what is blank, and why one is neither event nor letter.
//!
//! Where lines come from is the caller's: this reads no files.

use crate::dispatch::dead_letter::LetterParseError;
use crate::event::{Event, EventParseError, sequence_of};
use std::iter::Peekable;
use std::sync::Arc;
use thiserror::Error;

/// How long a line of a stream may be, in bytes, without its ending: 1 MiB.
pub const LINE_BYTES_MAX: usize = 1 << 20;

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// A line that is not what it should be.
#[derive(Clone, Debug, Error)]
#[error("line {line}: {kind}{}", if *.is_torn { " (torn: the last line, without an ending)" } else { "" })]
#[non_exhaustive]
pub struct LineError {
    line: u64,
    kind: LineErrorKind,
    is_torn: bool,
}

impl LineError {
    pub(super) fn new(line: u64, kind: LineErrorKind) -> Self {
        LineError { line, kind, is_torn: false }
    }

    /// Which line, from 1; blank lines count.
    #[must_use]
    pub fn line(&self) -> u64 {
        self.line
    }

    /// What is wrong with it.
    #[must_use]
    pub fn kind(&self) -> &LineErrorKind {
        &self.kind
    }

    /// Whether it is the last of its lines and no line feed follows: very likely whoever wrote it was stopped in the
    /// middle. Of lines that come without their endings, any last one. A line that was handed in alone is not torn.
    #[must_use]
    pub fn is_torn(&self) -> bool {
        self.is_torn
    }

    pub(super) fn torn(mut self, is_torn: bool) -> Self {
        self.is_torn = is_torn;
        self
    }
}

/// What is wrong with a line.
#[derive(Clone, Debug, Error)]
#[non_exhaustive]
pub enum LineErrorKind {
    /// It is over the limit.
    #[error("{bytes} bytes: at most {LINE_BYTES_MAX} are allowed")]
    TooLong {
        /// How long it is.
        bytes: usize,
    },
    /// It is not UTF-8.
    #[error("column {column}: not UTF-8")]
    NotUtf8 {
        /// The first byte that is not, from 1.
        column: usize,
    },
    /// It is no event.
    #[error("{}", on_one_line(.0))]
    Event(EventParseError),
    /// It is no dead letter.
    #[error(transparent)]
    Letter(LetterParseError),
}

/// The text was one line, whose number among the others is told already.
fn on_one_line(error: &EventParseError) -> String {
    let told = error.to_string();
    told.strip_prefix("line 1 ").unwrap_or(&told).to_owned()
}

/// The text of a line, without its ending and, on the first line, a byte order mark; none if it is blank.
pub(super) fn text_of(number: u64, line: &[u8]) -> Result<Option<&str>, LineErrorKind> {
    let line = if number == 1 { line.strip_prefix(BYTE_ORDER_MARK).unwrap_or(line) } else { line };
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    if line.iter().all(|byte| matches!(byte, b' ' | b'\t' | b'\r')) {
        return Ok(None);
    }
    if line.len() > LINE_BYTES_MAX {
        return Err(LineErrorKind::TooLong { bytes: line.len() });
    }
    let text =
        str::from_utf8(line).map_err(|error| LineErrorKind::NotUtf8 { column: error.valid_up_to() + 1 })?;
    Ok(Some(text))
}

/// An event from somewhere.
pub(super) struct Item {
    /// The number of the line on which it stood.
    pub(super) line: Option<u64>,
    /// The number of its first publication.
    pub(super) sequence: Option<u64>,
    pub(super) event: Arc<Event>,
}

/// The event on a line; none if the line is blank.
pub(super) fn read(number: u64, line: &[u8]) -> Result<Option<Item>, LineError> {
    let read = text_of(number, line).and_then(|text| {
        let Some(text) = text else { return Ok(None) };
        let event = Arc::new(Event::from_json(text).map_err(LineErrorKind::Event)?);
        Ok(Some(Item { line: Some(number), sequence: sequence_of(text), event }))
    });
    read.map_err(|kind| LineError::new(number, kind))
}

/// Whether the line that was just taken from `lines` is the last, and unfinished.
pub(super) fn is_torn<L: AsRef<[u8]>>(line: &[u8], lines: &mut Peekable<impl Iterator<Item = L>>) -> bool {
    !line.ends_with(b"\n") && lines.peek().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endings_marks_and_blanks_are_no_part_of_the_text() {
        for (number, line, text) in [
            (1, &b"a"[..], Some("a")),
            (1, b"\xef\xbb\xbfa\r\n", Some("a")),
            (2, b"\xef\xbb\xbfa", Some("\u{feff}a")),
            (1, b" a \r\r\n", Some(" a \r")),
            (1, b"\xef\xbb\xbf", None),
            (7, b" \t\r\r\n", None),
            (7, b"", None),
            (7, "\u{a0}".as_bytes(), Some("\u{a0}")),
        ] {
            assert_eq!(text_of(number, line).unwrap(), text, "{line:?}");
        }
        let mut longest = vec![b'x'; LINE_BYTES_MAX];
        longest.extend(b"\r\n");
        assert!(text_of(1, &longest).is_ok());
        longest.insert(0, b'x');
        let told = text_of(1, &longest).unwrap_err().to_string();
        assert_eq!(told, "1048577 bytes: at most 1048576 are allowed");
        assert_eq!(text_of(1, b"ab\xc3").unwrap_err().to_string(), "column 3: not UTF-8");
        assert!(text_of(1, " ".repeat(2 * LINE_BYTES_MAX).as_bytes()).unwrap().is_none());
    }
}
