//! Standard output: buffered, shared by the handlers, and possibly gone.
//!
//! A reader that has gone away is a way to say "enough": writing then quietly does nothing, and whoever feeds the
//! stream looks at [`Output::is_lost`]. Any other failure is a failed delivery, and ends the stream too.
//!
//! Events go out byte for byte, but not to a terminal: what JSON may hold unescaped and a terminal would act on is escaped
//! there.

use crate::text::printable_json;
use codomyrmex_events::{BoxError, Delivery};
use std::borrow::Cow;
use std::fs::File;
use std::io::{self, BufWriter, IsTerminal, Write};
use std::os::fd::AsFd;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

const BUFFER_BYTES: usize = 64 << 10;

/// Why nothing can be written any more.
pub(crate) enum Lost {
    /// The reader has gone away.
    Closed,
    Failed(io::Error),
}

pub(crate) struct Output {
    writer: Mutex<Writer>,
    lost: OnceLock<Lost>,
    is_terminal: bool,
}

struct Writer {
    out: BufWriter<File>,
    /// The event of `sequence` as a line: heard several times, it is written as JSON once.
    line: String,
    sequence: u64,
}

impl Output {
    pub(crate) fn new() -> io::Result<Arc<Output>> {
        // The file itself: std's handle would look for line ends in what is already buffered.
        let file = File::from(io::stdout().as_fd().try_clone_to_owned()?);
        let out = BufWriter::with_capacity(BUFFER_BYTES, file);
        let writer = Mutex::new(Writer { out, line: String::new(), sequence: 0 });
        Ok(Arc::new(Output { writer, lost: OnceLock::new(), is_terminal: io::stdout().is_terminal() }))
    }

    /// Prints an event as one line of JSON.
    pub(crate) fn print(&self, delivery: &Delivery<'_>) -> Result<(), BoxError> {
        if let Some(lost) = self.lost.get() {
            return refused(lost);
        }
        let mut writer = self.writer();
        let Writer { out, line, sequence } = &mut *writer;
        if *sequence != delivery.sequence() {
            line.clear();
            delivery.event().write_json(line)?;
            line.push('\n');
            if self.is_terminal
                && let Cow::Owned(shown) = printable_json(line)
            {
                *line = shown;
            }
            *sequence = delivery.sequence();
        }
        self.note(out.write_all(line.as_bytes())).map_or(Ok(()), refused)
    }

    /// Writes lines of JSON.
    pub(crate) fn write_json(&self, json: &str) {
        let shown = if self.is_terminal { printable_json(json) } else { Cow::Borrowed(json) };
        self.write(shown.as_bytes());
    }

    pub(crate) fn write(&self, text: &[u8]) {
        if self.lost.get().is_none() {
            let written = self.writer().out.write_all(text);
            self.note(written);
        }
    }

    pub(crate) fn flush(&self) {
        if self.lost.get().is_none() {
            let flushed = self.writer().out.flush();
            self.note(flushed);
        }
    }

    /// Flushes, and says whether there is still anyone to write for.
    pub(crate) fn flushed(&self) -> bool {
        self.flush();
        !self.is_lost()
    }

    pub(crate) fn is_lost(&self) -> bool {
        self.lost.get().is_some()
    }

    /// Whether its reader has gone away.
    pub(crate) fn is_closed(&self) -> bool {
        matches!(self.lost.get(), Some(Lost::Closed))
    }

    pub(crate) fn failure(&self) -> Option<&io::Error> {
        match self.lost.get() {
            Some(Lost::Failed(error)) => Some(error),
            _ => None,
        }
    }

    fn writer(&self) -> MutexGuard<'_, Writer> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, written: io::Result<()>) -> Option<&Lost> {
        let error = written.err()?;
        let lost = if error.kind() == io::ErrorKind::BrokenPipe { Lost::Closed } else { Lost::Failed(error) };
        Some(self.lost.get_or_init(|| lost))
    }
}

fn refused(lost: &Lost) -> Result<(), BoxError> {
    match lost {
        Lost::Closed => Ok(()),
        Lost::Failed(error) => Err(format!("standard output: {error}").into()),
    }
}
