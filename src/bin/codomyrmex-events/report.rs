//! What is said about lines that were rejected: a line on standard error, and a letter in the dead-letters file.

use crate::input::{Source, is_same_file};
use crate::lines::{LINE_BYTES_MAX, Line};
use crate::progress::Progress;
use crate::text::{REASON_BYTES_MAX, bounded, printable, push_printable};
use anyhow::{Context, bail};
use base64::{Engine, prelude::BASE64_STANDARD};
use codomyrmex_events::{
    EventParseError, EventPublishError, EventValidationError, LetterParseError, PublishErrorKind,
};
use serde::Serialize;
use std::fmt::Write as _;
use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::path::Path;
use std::str;

/// Writes a line to standard error. Nobody may be there to read it.
pub(crate) fn complain(text: &str) {
    let line = format!("{}\n", printable(text));
    let _ = io::stderr().write_all(line.as_bytes());
}

/// Why a line was not accepted.
#[derive(Debug)]
pub(crate) struct Rejection {
    reason: String,
    /// Where its payload fails its schema.
    pointers: Vec<String>,
}

impl Rejection {
    pub(crate) fn new(reason: String, pointers: Vec<String>) -> Self {
        Rejection { reason: bounded(reason, REASON_BYTES_MAX), pointers }
    }

    pub(crate) fn too_long() -> Self {
        Self::new(format!("the line is over {LINE_BYTES_MAX} bytes"), Vec::new())
    }
}

impl From<EventParseError> for Rejection {
    fn from(error: EventParseError) -> Self {
        let told = error.to_string();
        // The text was one line, whose number in the file is told already.
        let reason = told.strip_prefix("line 1 ").unwrap_or(&told).to_owned();
        Rejection::new(reason, Vec::new())
    }
}

impl From<LetterParseError> for Rejection {
    fn from(error: LetterParseError) -> Self {
        Rejection::new(error.to_string(), Vec::new())
    }
}

impl From<str::Utf8Error> for Rejection {
    fn from(error: str::Utf8Error) -> Self {
        Rejection::new(format!("column {}: not UTF-8", error.valid_up_to() + 1), Vec::new())
    }
}

impl From<EventValidationError> for Rejection {
    fn from(error: EventValidationError) -> Self {
        Rejection::new(error.to_string(), error.pointers().map(str::to_owned).collect())
    }
}

impl From<EventPublishError> for Rejection {
    fn from(error: EventPublishError) -> Self {
        let pointers = match error.kind() {
            PublishErrorKind::Rejected(error) => error.pointers().map(str::to_owned).collect(),
            _ => Vec::new(),
        };
        Rejection::new(error.to_string(), pointers)
    }
}

/// Where rejected lines are reported.
pub(crate) struct Reports {
    source: String,
    progress: Progress,
    letters: Option<Letters>,
    line: String,
}

impl Reports {
    pub(crate) fn new(source: &Source, progress: &Progress) -> Reports {
        let (source, progress) = (source.name.clone(), progress.clone());
        Reports { source, progress, letters: None, line: String::new() }
    }

    /// Keeps rejected lines as well.
    pub(crate) fn keeping(mut self, letters: Option<Letters>) -> Self {
        self.letters = letters;
        self
    }

    /// Reports a line that was rejected.
    ///
    /// # Errors
    /// A letter that could not be written.
    pub(crate) fn reject(
        &mut self,
        number: u64,
        line: &Line<'_>,
        rejection: &Rejection,
    ) -> anyhow::Result<()> {
        self.say(number, &rejection.reason);
        match &mut self.letters {
            Some(letters) => letters.keep(number, line, rejection),
            None => Ok(()),
        }
    }

    /// Says `SOURCE:LINE: reason` on standard error.
    pub(crate) fn say(&mut self, number: u64, reason: &str) {
        self.line.clear();
        // Writing to a String cannot fail.
        let _ = write!(self.line, "{}:{number}: ", self.source);
        push_printable(reason, &mut self.line);
        self.line.push('\n');
        let line = self.line.as_bytes();
        self.progress.aside(|| drop(io::stderr().write_all(line)));
    }
}

/// Creates or truncates a file that `what` goes to, and names it fit for a terminal.
///
/// # Errors
/// A file that cannot be written, or that is an input, or where the output goes.
pub(crate) fn create<'a>(
    path: &Path,
    what: &str,
    sources: impl IntoIterator<Item = &'a Source>,
) -> anyhow::Result<(String, File)> {
    let name = printable(&path.to_string_lossy());
    // Truncated only when it is known not to be the input.
    let opened = OpenOptions::new().write(true).create(true).truncate(false).open(path);
    let file = opened.with_context(|| name.clone())?;
    let metadata = file.metadata().with_context(|| name.clone())?;
    let inputs = sources.into_iter().map(|source| (Ok(source.metadata.clone()), "the input"));
    let outputs =
        [(metadata_of(io::stdout()), "standard output"), (metadata_of(io::stderr()), "standard error")];
    for (other, where_to) in inputs.chain(outputs) {
        if other.is_ok_and(|other| is_same_file(&metadata, &other)) {
            bail!("{name}: the {what} would overwrite {where_to}");
        }
    }
    if metadata.is_file() {
        file.set_len(0).with_context(|| name.clone())?;
    }
    Ok((name, file))
}

/// The dead-letters file. Each letter is written at once, so that no end of the process loses one.
pub(crate) struct Letters {
    name: String,
    file: File,
    text: Vec<u8>,
}

#[derive(Serialize)]
struct Letter<'a> {
    line: u64,
    error: &'a str,
    pointers: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    raw: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    raw_base64: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    truncated: Option<bool>,
}

impl Letters {
    /// Creates or truncates the file.
    ///
    /// # Errors
    /// A file that cannot be written, or that is the input, or where the output goes.
    pub(crate) fn create(path: &Path, source: &Source) -> anyhow::Result<Letters> {
        let (name, file) = create(path, "dead letters", [source])?;
        Ok(Letters { name, file, text: Vec::new() })
    }

    fn keep(&mut self, number: u64, line: &Line<'_>, rejection: &Rejection) -> anyhow::Result<()> {
        let (raw, raw_base64) = match raw(line) {
            Ok(text) => (Some(text), None),
            Err(bytes) => (None, Some(BASE64_STANDARD.encode(bytes))),
        };
        let letter = Letter {
            line: number,
            error: &rejection.reason,
            pointers: &rejection.pointers,
            raw,
            raw_base64,
            truncated: matches!(line, Line::TooLong(_)).then_some(true),
        };
        self.text.clear();
        serde_json::to_writer(&mut self.text, &letter)?;
        self.text.push(b'\n');
        self.file.write_all(&self.text).with_context(|| self.name.clone())
    }
}

/// The line as text, or its bytes if it is not UTF-8. A cut may have gone through the last character.
fn raw<'a>(line: &Line<'a>) -> Result<&'a str, &'a [u8]> {
    match *line {
        Line::Whole(text) => str::from_utf8(text).map_err(|_| text),
        Line::TooLong(text) => match str::from_utf8(text) {
            Ok(whole) => Ok(whole),
            Err(error) if error.error_len().is_none() => {
                str::from_utf8(&text[..error.valid_up_to()]).map_err(|_| text)
            }
            Err(_) => Err(text),
        },
    }
}

fn metadata_of(stream: impl AsFd) -> io::Result<Metadata> {
    File::from(stream.as_fd().try_clone_to_owned()?).metadata()
}
