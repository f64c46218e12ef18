//! The input: a file or standard input, read ahead by a thread of its own.
//!
//! The thread is there so that a signal ends the wait for a line that never comes. It reads at most a few chunks
//! ahead, and after a signal begins no further read; what it had read by then is still handed out.

use crate::lines::{Chunk, Chunks, Next};
use crate::signals::Caught;
use crate::text::printable;
use anyhow::Context;
use std::fs::{File, Metadata};
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Receiver, SyncSender, TryRecvError};
use std::thread;
use std::time::Duration;

const CHUNK_BYTES: usize = 256 << 10;
/// How many chunks wait to be taken.
const CHUNKS_AHEAD: usize = 2;
/// How long a chunk that had been read when a signal came may take to arrive.
const LAST_CHUNK_LIMIT: Duration = Duration::from_millis(50);

/// An opened input.
pub(crate) struct Source {
    /// As it is named in reports: fit for a terminal.
    pub(crate) name: String,
    pub(crate) metadata: Metadata,
    file: File,
}

impl Source {
    /// Opens a file; `-` is standard input.
    pub(crate) fn open(path: &Path) -> anyhow::Result<Source> {
        let name = printable(&path.to_string_lossy());
        let opened = if path.as_os_str() == "-" { standard_input() } else { File::open(path) };
        let opened = opened.and_then(|file| Ok((file.metadata()?, file)));
        let (metadata, file) = opened.with_context(|| name.clone())?;
        if metadata.is_dir() {
            return Err(io::Error::from(io::ErrorKind::IsADirectory)).context(name);
        }
        Ok(Source { name, metadata, file })
    }

    /// Whether what is printed would be read again.
    pub(crate) fn is_stdout(&self) -> bool {
        let stdout = io::stdout().as_fd().try_clone_to_owned().map(File::from);
        stdout.and_then(|stdout| stdout.metadata()).is_ok_and(|stdout| is_same_file(&self.metadata, &stdout))
    }
}

/// Opens files, all of them before any is read, so that one that is not there is told first. None is standard input.
pub(crate) fn open_all(files: &[PathBuf]) -> anyhow::Result<Vec<Source>> {
    if files.is_empty() {
        return Ok(vec![Source::open(Path::new("-"))?]);
    }
    files.iter().map(|file| Source::open(file)).collect()
}

/// Whether both are one regular file.
pub(crate) fn is_same_file(one: &Metadata, other: &Metadata) -> bool {
    one.is_file() && (one.dev(), one.ino()) == (other.dev(), other.ino())
}

fn standard_input() -> io::Result<File> {
    io::stdin().as_fd().try_clone_to_owned().map(File::from)
}

/// What the reading thread and the signals have to say.
enum Message {
    Chunk(Chunk),
    End,
    Failed(io::Error),
    /// Look whether a signal was caught.
    Wake,
}

/// The chunks of a source.
pub(crate) struct Input {
    messages: Receiver<Message>,
    used: SyncSender<Chunk>,
    caught: Caught,
    on_idle: Box<dyn FnMut() -> bool>,
}

impl Input {
    /// Begins to read, until a signal is caught. `on_idle` is called whenever there is nothing to read yet: time to flush;
    /// and says whether to go on.
    pub(crate) fn start(
        source: Source,
        caught: &Caught,
        on_idle: impl FnMut() -> bool + 'static,
    ) -> anyhow::Result<Input> {
        let (sender, messages) = mpsc::sync_channel(CHUNKS_AHEAD);
        let (used, free) = mpsc::sync_channel(CHUNKS_AHEAD);
        let waker = sender.clone();
        // A full channel needs no wake-up: whoever takes a message looks for signals as well.
        caught.wakes(move || drop(waker.try_send(Message::Wake)));
        let reader = Reader { file: source.file, caught: caught.clone(), messages: sender, free };
        thread::Builder::new().name("input".into()).spawn(|| reader.run()).context("input")?;
        let on_idle = Box::new(on_idle);
        let input = Input { messages, used, caught: caught.clone(), on_idle };
        Ok(input)
    }

    fn wait(&self) -> Option<Message> {
        if !self.caught.is_some() {
            return self.messages.recv().ok();
        }
        self.messages.recv_timeout(LAST_CHUNK_LIMIT).ok()
    }
}

impl Chunks for Input {
    fn next(&mut self, used: Chunk) -> io::Result<Next> {
        // Nobody may be there to fill it again.
        let _ = self.used.try_send(used);
        loop {
            let message = match self.messages.try_recv() {
                Ok(message) => Some(message),
                Err(TryRecvError::Empty) => {
                    if !(self.on_idle)() {
                        return Ok(Next::Stopped);
                    }
                    self.wait()
                }
                Err(TryRecvError::Disconnected) => None,
            };
            match message {
                Some(Message::Chunk(chunk)) => return Ok(Next::Chunk(chunk)),
                Some(Message::End) => return Ok(Next::End),
                Some(Message::Failed(error)) => return Err(error),
                Some(Message::Wake) => {}
                None => return Ok(Next::Stopped),
            }
        }
    }
}

/// The reading thread's half.
struct Reader {
    file: File,
    caught: Caught,
    messages: SyncSender<Message>,
    free: Receiver<Chunk>,
}

impl Reader {
    fn run(mut self) {
        while !self.caught.is_some() {
            let mut chunk = self.free.try_recv().unwrap_or_default();
            // Filled once in a buffer's life: it keeps its length.
            chunk.buffer.resize(CHUNK_BYTES, 0);
            let message = match self.file.read(&mut chunk.buffer) {
                Ok(0) => Message::End,
                Ok(len) => Message::Chunk(Chunk { len, ..chunk }),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => Message::Failed(error),
            };
            let goes_on = matches!(message, Message::Chunk(_));
            if self.messages.send(message).is_err() || !goes_on {
                return;
            }
        }
    }
}
