//! The acceptance rule for JSON texts, in one pass that builds nothing.
//!
//! What passes here can always be read later: every string decodes, every number is a finite `f64`, nothing nests
//! deeper than a tree may. So a payload is kept as text until somebody looks at it, and looking cannot fail. A
//! scanner of our own, because `serde_json::RawValue` skips those checks and a tree costs several times as much.
//!
//! It never recurses, never allocates, and never decides what a text means.

mod refusal;
mod string;

pub(super) use refusal::{Reason, Refusal, line_and_column};
use string::escape_end;
pub(super) use string::{RawStr, unescaped};

/// How deep a text may nest: the event object is depth 1.
pub(crate) const EVENT_DEPTH_MAX: usize = 128;
/// How deep a payload, or any other value inside of the event object, may nest.
pub(crate) const PAYLOAD_DEPTH_MAX: usize = EVENT_DEPTH_MAX - 1;

type Scan<T> = Result<T, Refusal>;

/// Reads a JSON text from left to right.
pub(crate) struct Scanner<'a> {
    text: &'a str,
    at: usize,
    line_breaks: usize,
    escapes: usize,
}

/// Checks a whole text; tells whether line breaks stand between its tokens.
pub(crate) fn check(text: &str, depth_max: usize) -> Scan<bool> {
    let mut scanner = Scanner::new(text);
    scanner.skip_space();
    scanner.value(depth_max)?;
    scanner.finish()?;
    Ok(scanner.line_breaks > 0)
}

impl<'a> Scanner<'a> {
    pub(crate) fn new(text: &'a str) -> Self {
        Self { text, at: 0, line_breaks: 0, escapes: 0 }
    }

    /// How many bytes have been read.
    pub(crate) fn offset(&self) -> usize {
        self.at
    }

    /// How many line breaks have been read, all of them between tokens.
    pub(crate) fn line_breaks(&self) -> usize {
        self.line_breaks
    }

    /// How many escapes have been read.
    pub(crate) fn escapes(&self) -> usize {
        self.escapes
    }

    /// What has been read from `start` on.
    pub(crate) fn since(&self, start: usize) -> &'a str {
        &self.text[start..self.at]
    }

    /// The next byte; 0, which stands for nothing in JSON, at the end.
    #[inline(always)]
    fn peek(&self) -> u8 {
        self.text.as_bytes().get(self.at).copied().unwrap_or(0)
    }

    /// A complaint about the next byte, or about there being none.
    pub(crate) fn refusal(&self, reason: Reason) -> Refusal {
        refusal(self.text, self.at, reason)
    }

    #[inline(always)]
    fn refuse<T>(&self, reason: Reason) -> Scan<T> {
        Err(self.refusal(reason))
    }

    #[inline(always)]
    pub(crate) fn skip_space(&mut self) {
        // PERF: between tokens there is mostly nothing, or one space (bench `json`).
        if self.peek() > b' ' {
            return;
        }
        if self.peek() == b' ' {
            self.at += 1;
            if self.peek() > b' ' {
                return;
            }
        }
        self.skip_more_space();
    }

    #[cold]
    #[inline(never)]
    fn skip_more_space(&mut self) {
        loop {
            match self.peek() {
                b' ' | b'\t' => {}
                b'\n' | b'\r' => self.line_breaks += 1,
                _ => return,
            }
            self.at += 1;
        }
    }

    /// Only white space may be left.
    pub(crate) fn finish(&mut self) -> Scan<()> {
        self.skip_space();
        if self.at < self.text.len() { self.refuse(Reason::Trailing) } else { Ok(()) }
    }

    /// Takes `byte` if it is next.
    #[inline(always)]
    pub(crate) fn take(&mut self, byte: u8) -> bool {
        // PERF: a branch, because a guessed branch lets the next load start early and a sum does not (bench `json`).
        if self.peek() == byte {
            self.at += 1;
            true
        } else {
            false
        }
    }

    /// A key and its colon, and the space up to the value; what the key is.
    #[inline(always)]
    pub(crate) fn key(&mut self) -> Scan<RawStr<'a>> {
        let (offset, escapes) = (self.at, self.escapes);
        let end = self.skip_key()?;
        Ok(RawStr { text: self.text, offset, end, escaped: self.escapes > escapes })
    }

    /// A key and its colon, and the space up to the value; where its closing quote is.
    #[inline(always)]
    fn skip_key(&mut self) -> Scan<usize> {
        if self.peek() != b'"' {
            return self.refuse(Reason::Key);
        }
        self.string()?;
        let end = self.at - 1;
        self.skip_space();
        if !self.take(b':') {
            return self.refuse(Reason::Colon);
        }
        self.skip_space();
        Ok(end)
    }

    /// One value of any kind that nests at most `depth_max` deep. The caller has skipped the space.
    #[inline(always)]
    pub(crate) fn value(&mut self, depth_max: usize) -> Scan<()> {
        match self.peek() {
            b'"' => self.string(),
            _ => self.any_value(depth_max),
        }
    }

    #[inline(never)]
    fn any_value(&mut self, depth_max: usize) -> Scan<()> {
        // PERF: works on a copy, which the compiler keeps in registers (bench `json`).
        let mut scanner = Scanner { ..*self };
        let scanned = scanner.nested(depth_max);
        *self = scanner;
        scanned
    }

    #[inline(always)]
    fn nested(&mut self, depth_max: usize) -> Scan<()> {
        debug_assert!(depth_max <= EVENT_DEPTH_MAX);
        let mut depth = 0;
        // One bit for each open container, the innermost lowest: 1 is an object.
        let mut objects: u128 = 0;
        loop {
            if objects & 1 == 1 {
                self.skip_key()?;
            }
            match self.peek() {
                b'"' => self.string()?,
                b'-' | b'0'..=b'9' => self.number()?,
                open @ (b'{' | b'[') => {
                    if depth == depth_max {
                        return self.refuse(Reason::Depth);
                    }
                    self.at += 1;
                    self.skip_space();
                    let (object, close) = if open == b'{' { (1, b'}') } else { (0, b']') };
                    if !self.take(close) {
                        depth += 1;
                        objects = objects << 1 | object;
                        continue;
                    }
                }
                b't' => self.literal("true")?,
                b'f' => self.literal("false")?,
                b'n' => self.literal("null")?,
                _ => return self.refuse(Reason::Value),
            }
            // A value is complete: close what it ends, then go on to the next one.
            loop {
                if depth == 0 {
                    return Ok(());
                }
                self.skip_space();
                let close = if objects & 1 == 1 { b'}' } else { b']' };
                if self.take(b',') {
                    self.skip_space();
                    break;
                }
                if !self.take(close) {
                    return self.refuse(Reason::CommaOrEnd);
                }
                depth -= 1;
                objects >>= 1;
            }
        }
    }

    fn literal(&mut self, word: &str) -> Scan<()> {
        let rest = &self.text.as_bytes()[self.at..];
        if !rest.starts_with(word.as_bytes()) {
            return self.refuse(Reason::Literal);
        }
        self.at += word.len();
        Ok(())
    }

    /// A string whose opening quote is next.
    #[inline(always)]
    fn string(&mut self) -> Scan<()> {
        self.at += 1;
        loop {
            self.skip_plain();
            match self.peek() {
                b'"' => {
                    self.at += 1;
                    return Ok(());
                }
                b'\\' => {
                    self.escapes += 1;
                    self.at = escape_end(self.text, self.at)?;
                }
                _ => return self.refuse(Reason::Control),
            }
        }
    }

    /// Up to the first quote, backslash or control character, or the end of the text.
    #[inline(always)]
    fn skip_plain(&mut self) {
        const LOW: u64 = u64::from_ne_bytes([0x01; 8]);
        const HIGH: u64 = u64::from_ne_bytes([0x80; 8]);
        let bytes = self.text.as_bytes();
        while let Some(word) = bytes.get(self.at..).and_then(<[u8]>::first_chunk) {
            let word = u64::from_le_bytes(*word);
            let quote = word ^ (LOW * b'"' as u64);
            let backslash = word ^ (LOW * b'\\' as u64);
            let below = |word: u64, limit: u64| word.wrapping_sub(LOW * limit);
            let found = (below(word, 0x20) | below(quote, 1) | below(backslash, 1)) & !word & HIGH;
            if found != 0 {
                self.at += found.trailing_zeros() as usize / 8;
                return;
            }
            self.at += 8;
        }
        while bytes.get(self.at).is_some_and(|&byte| byte >= 0x20 && byte != b'"' && byte != b'\\') {
            self.at += 1;
        }
    }

    /// A number: the grammar, and whether a `f64` can hold it.
    #[inline(always)]
    fn number(&mut self) -> Scan<()> {
        let start = self.at;
        self.take(b'-');
        let whole = self.at;
        self.digits()?;
        let digits = self.at - whole;
        if digits > 1 && self.text.as_bytes()[whole] == b'0' {
            self.at = whole + 1;
            return self.refuse(Reason::Number);
        }
        if self.take(b'.') {
            self.digits()?;
        }
        let exponent = self.take(b'e') || self.take(b'E');
        if exponent {
            let _ = self.take(b'+') || self.take(b'-');
            self.digits()?;
        }
        // Without an exponent, 308 digits stay below the greatest f64.
        if (exponent || digits > 308) && !is_finite(&self.text[start..self.at]) {
            return Err(Refusal { reason: Reason::NumberRange, offset: start });
        }
        Ok(())
    }

    /// One digit or more.
    #[inline(always)]
    fn digits(&mut self) -> Scan<()> {
        let start = self.at;
        while self.peek().is_ascii_digit() {
            self.at += 1;
        }
        if self.at == start { self.refuse(Reason::Number) } else { Ok(()) }
    }
}

#[cold]
fn is_finite(number: &str) -> bool {
    number.parse().is_ok_and(f64::is_finite)
}

#[cold]
fn refusal(text: &str, offset: usize, reason: Reason) -> Refusal {
    let reason = if offset >= text.len() { Reason::End } else { reason };
    Refusal { reason, offset }
}
