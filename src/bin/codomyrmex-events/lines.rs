//! Lines out of chunks, in flat memory whatever the input.
//!
//! A line that lies within one chunk is handed out where it lies; only one that spans chunks is copied. Of a line
//! over the limit the beginning is kept and the rest is counted, not stored.
//!
//! A line ends with LF or with the input; one CR before that is part of the ending. A UTF-8 byte order mark at
//! the very start is no part of the first line. Blank lines (nothing but what JSON calls white space: space, tab, CR)
//! hold no event: they are passed over, whatever their length, but have their number.
//!
//! This knows neither files nor threads, and never what a line means.

use std::io::{self, BufRead};

/// How long a line may be, in bytes, without its ending: as long as the library takes it.
pub(crate) const LINE_BYTES_MAX: usize = codomyrmex_events::LINE_BYTES_MAX;

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";
/// Enough of a line to know whether it fits: the mark before it and the CR after it do not count.
const KEPT_BYTES_MAX: usize = LINE_BYTES_MAX + BYTE_ORDER_MARK.len() + 1;

/// Where chunks come from.
pub(crate) trait Chunks {
    /// The next one; `used` was the one before.
    fn next(&mut self, used: Chunk) -> io::Result<Next>;
}

/// A piece of the input: the first `len` bytes of a buffer.
#[derive(Default)]
pub(crate) struct Chunk {
    pub(crate) buffer: Vec<u8>,
    pub(crate) len: usize,
}

pub(crate) enum Next {
    Chunk(Chunk),
    /// The input is at its end.
    End,
    /// Somebody said stop: what is left of a line may be half of one.
    Stopped,
}

/// A line that is not blank, without its ending.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Line<'a> {
    Whole(&'a [u8]),
    /// Over the limit: its first [`LINE_BYTES_MAX`] bytes.
    TooLong(&'a [u8]),
}

pub(crate) struct Lines<C> {
    chunks: C,
    chunk: Chunk,
    /// The bytes of the chunks before it.
    before: u64,
    at: usize,
    /// The beginning of a line that spans chunks.
    kept: Vec<u8>,
    /// None while all of that line is kept.
    rest: Option<Rest>,
    number: u64,
    ended: bool,
}

/// What the part of a line that was not kept holds so far.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Rest {
    Blank,
    Text,
}

enum Refilled {
    Chunk,
    Ended,
    Stopped,
}

/// Where a line is.
enum Place {
    InChunk { start: usize, end: usize },
    Kept,
}

impl<C: Chunks> Lines<C> {
    pub(crate) fn new(chunks: C) -> Self {
        let (chunk, kept) = (Chunk::default(), Vec::new());
        Lines { chunks, chunk, before: 0, at: 0, kept, rest: None, number: 0, ended: false }
    }

    /// The next line that is not blank, and its number, from 1; none at the end.
    ///
    /// # Errors
    /// The input's own. There is nothing after an error.
    pub(crate) fn next(&mut self) -> io::Result<Option<(u64, Line<'_>)>> {
        let place = loop {
            let Some(place) = self.advance()? else { return Ok(None) };
            if self.rest == Some(Rest::Text) || !is_blank(self.text(&place)) {
                break place;
            }
        };
        let text = self.text(&place);
        let line = if self.rest.is_some() { Line::TooLong(&text[..LINE_BYTES_MAX]) } else { line(text) };
        Ok(Some((self.number, line)))
    }

    /// How much of the input has been handed out, in bytes.
    pub(crate) fn bytes(&self) -> u64 {
        self.before + self.at as u64
    }

    /// The line as far as it was kept, without the mark at the very start.
    fn text(&self, place: &Place) -> &[u8] {
        let text = match *place {
            Place::InChunk { start, end } => &self.chunk.buffer[start..end],
            Place::Kept => &self.kept,
        };
        if self.number > 1 { text } else { text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(text) }
    }

    /// Finds the next line, blank or not.
    fn advance(&mut self) -> io::Result<Option<Place>> {
        self.kept.clear();
        self.rest = None;
        let mut is_begun = false;
        while !self.ended {
            if self.at == self.chunk.len {
                match self.refill()? {
                    Refilled::Chunk => {}
                    Refilled::Ended if is_begun => {
                        self.number += 1;
                        return Ok(Some(Place::Kept));
                    }
                    Refilled::Ended | Refilled::Stopped => break,
                }
            }
            let start = self.at;
            // PERF: `skip_until` searches as fast as the platform's memchr.
            let mut left = &self.chunk.buffer[start..self.chunk.len];
            self.at += left.skip_until(b'\n')?;
            let is_ended = self.chunk.buffer[self.at - 1] == b'\n';
            let end = self.at - usize::from(is_ended);
            self.number += u64::from(is_ended);
            if is_ended && !is_begun {
                return Ok(Some(Place::InChunk { start, end }));
            }
            self.keep(start, end);
            if is_ended {
                return Ok(Some(Place::Kept));
            }
            is_begun = true;
        }
        Ok(None)
    }

    fn refill(&mut self) -> io::Result<Refilled> {
        self.before += self.chunk.len as u64;
        self.at = 0;
        let used = std::mem::take(&mut self.chunk);
        let next = self.chunks.next(used);
        self.ended = !matches!(next, Ok(Next::Chunk(_)));
        Ok(match next? {
            Next::Chunk(chunk) => {
                self.chunk = chunk;
                Refilled::Chunk
            }
            Next::End => Refilled::Ended,
            Next::Stopped => Refilled::Stopped,
        })
    }

    fn keep(&mut self, start: usize, end: usize) {
        let piece = &self.chunk.buffer[start..end];
        let room = KEPT_BYTES_MAX - self.kept.len();
        let (kept, rest) = piece.split_at(piece.len().min(room));
        self.kept.extend_from_slice(kept);
        if !rest.is_empty() && self.rest != Some(Rest::Text) {
            self.rest = Some(if is_blank(rest) { Rest::Blank } else { Rest::Text });
        }
    }
}

fn line(text: &[u8]) -> Line<'_> {
    let text = text.strip_suffix(b"\r").unwrap_or(text);
    match text.get(..LINE_BYTES_MAX) {
        Some(first) if text.len() > LINE_BYTES_MAX => Line::TooLong(first),
        _ => Line::Whole(text),
    }
}

fn is_blank(text: &[u8]) -> bool {
    text.iter().all(|byte| matches!(byte, b' ' | b'\t' | b'\r'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::VecDeque;

    struct Pieces {
        pieces: VecDeque<Vec<u8>>,
        is_stopped: bool,
    }

    impl Chunks for Pieces {
        fn next(&mut self, _used: Chunk) -> io::Result<Next> {
            Ok(match self.pieces.pop_front() {
                Some(buffer) => Next::Chunk(Chunk { len: buffer.len(), buffer }),
                None if self.is_stopped => Next::Stopped,
                None => Next::End,
            })
        }
    }

    /// Each line: its number, its kept length, whether it was whole, and its first bytes.
    fn read(text: &[u8], piece_bytes: usize, is_stopped: bool) -> Vec<(u64, usize, bool, Vec<u8>)> {
        let pieces = text.chunks(piece_bytes).map(<[u8]>::to_vec).collect();
        let mut lines = Lines::new(Pieces { pieces, is_stopped });
        let mut read = Vec::new();
        while let Some((number, line)) = lines.next().unwrap() {
            let (text, is_whole) = match line {
                Line::Whole(text) => (text, true),
                Line::TooLong(text) => (text, false),
            };
            read.push((number, text.len(), is_whole, text[..text.len().min(8)].to_vec()));
        }
        assert!(lines.next().unwrap().is_none());
        assert_eq!(lines.bytes(), text.len() as u64);
        assert!(lines.kept.capacity() <= 2 * KEPT_BYTES_MAX);
        read
    }

    fn whole(number: u64, text: &str) -> (u64, usize, bool, Vec<u8>) {
        (number, text.len(), true, text.as_bytes()[..text.len().min(8)].to_vec())
    }

    #[test]
    fn lines_do_not_depend_on_how_they_arrive() {
        for (text, expected) in [
            ("", vec![]),
            ("\n\r\n \t \n", vec![]),
            ("a\nb\n", vec![whole(1, "a"), whole(2, "b")]),
            ("a\r\n\r\nb\r", vec![whole(1, "a"), whole(3, "b")]),
            (" a \r\r\nb", vec![whole(1, " a \r"), whole(2, "b")]),
            ("\u{feff}a\n\u{feff}b", vec![whole(1, "a"), whole(2, "\u{feff}b")]),
            ("\u{feff}\n\u{a0}\n", vec![whole(2, "\u{a0}")]),
            ("\u{feff}", vec![]),
        ] {
            for piece_bytes in [1, 2, 3, 1_000] {
                assert_eq!(read(text.as_bytes(), piece_bytes, false), expected, "{text:?} by {piece_bytes}");
            }
        }
    }

    #[test]
    fn the_limit_counts_neither_the_mark_nor_the_ending() {
        for mark in ["", "\u{feff}"] {
            for ending in ["", "\n", "\r\n", "\r"] {
                for (bytes, is_whole) in [(LINE_BYTES_MAX, true), (LINE_BYTES_MAX + 1, false)] {
                    let text = format!("{mark}{}{ending}", "x".repeat(bytes));
                    for piece_bytes in [4_093, 1 << 18, 1 << 24] {
                        let lines = read(text.as_bytes(), piece_bytes, false);
                        assert_eq!(lines, [(1, LINE_BYTES_MAX, is_whole, b"xxxxxxxx".to_vec())]);
                    }
                }
            }
        }
    }

    #[test]
    fn the_line_after_a_huge_one_is_read_and_a_huge_blank_one_is_blank() {
        let huge = format!("{}\nb\n{}\nc", "x".repeat(5 << 20), " ".repeat(5 << 20));
        let lines = read(huge.as_bytes(), 1 << 18, false);
        let expected = [(1, LINE_BYTES_MAX, false, b"xxxxxxxx".to_vec()), whole(2, "b"), whole(4, "c")];
        assert_eq!(lines, expected);
        let mut late = " ".repeat(5 << 20);
        late.push('x');
        assert_eq!(read(late.as_bytes(), 1 << 18, false).len(), 1);
    }

    #[test]
    fn half_a_line_is_not_handed_out_when_stopped() {
        assert_eq!(read(b"a\nhal", 2, true), [whole(1, "a")]);
    }
}
