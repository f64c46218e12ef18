//! [`WebSocketStreamBuilder`]: what clients of a WebSocket may do, and how much they may take.

use super::super::async_stream::AsyncStream;
use super::super::remote::SlowClientPolicy;
use super::hub::{Shared, WebSocketStream};
use crate::bus::{FEED_ROOM_MAX, IntoPatterns};
use crate::config::ConfigError;
use crate::matcher::{Pattern, PatternError};
use std::sync::Arc;
use std::time::Duration;

/// How many globs a subscription may have.
const GLOBS_MAX: usize = 1_024;

#[derive(Clone, Debug)]
pub(super) struct Settings {
    pub(super) globs: Vec<Pattern>,
    pub(super) buffer: usize,
    pub(super) policy: SlowClientPolicy,
    pub(super) clients_max: usize,
    pub(super) globs_max: usize,
    pub(super) message_bytes_max: usize,
    pub(super) frame_bytes_max: usize,
    pub(super) write_buffer_bytes: usize,
    pub(super) outbox: usize,
    pub(super) ping_every: Duration,
    pub(super) silence_max: Duration,
    pub(super) write_time_max: Duration,
    pub(super) close_time_max: Duration,
    pub(super) faults_max: usize,
}

/// A [`WebSocketStream`] in the making; [`attach`](Self::attach) makes it. Whatever is wrong is said there.
#[derive(Clone, Debug)]
#[must_use = "clients are served when it is attached to a stream"]
pub struct WebSocketStreamBuilder {
    settings: Settings,
    globs: Result<(), PatternError>,
}

impl WebSocketStreamBuilder {
    pub(super) fn new() -> Self {
        let settings = Settings {
            globs: Vec::new(),
            buffer: 100,
            policy: SlowClientPolicy::DropOldest,
            clients_max: 1_000,
            globs_max: 32,
            message_bytes_max: 64 << 10,
            frame_bytes_max: 1 << 20,
            write_buffer_bytes: 16 << 10,
            outbox: 64,
            ping_every: Duration::from_secs(10),
            silence_max: Duration::from_secs(20),
            write_time_max: Duration::from_secs(10),
            close_time_max: Duration::from_secs(5),
            faults_max: 16,
        };
        WebSocketStreamBuilder { settings, globs: Ok(()) }
    }

    /// What a client hears that names no glob when it connects. Default: nothing, until it asks.
    pub fn globs(mut self, globs: impl IntoPatterns) -> Self {
        self.globs = globs.into_patterns().map(|globs| self.settings.globs = globs);
        self
    }

    /// How many events may wait for a client, 1 to 1,048,576, beside what it replays from the history. Default: 100.
    pub fn buffer(mut self, events: usize) -> Self {
        self.settings.buffer = events;
        self
    }

    /// What becomes of a client for which more events would have to wait. Default: the oldest make room.
    pub fn slow_clients(mut self, policy: SlowClientPolicy) -> Self {
        self.settings.policy = policy;
        self
    }

    /// How many clients there may be at a time; others are refused. Default: 1,000.
    pub fn clients_max(mut self, clients: usize) -> Self {
        self.settings.clients_max = clients;
        self
    }

    /// How many globs a client may have, 1 to 1,024. Default: 32.
    pub fn globs_max(mut self, globs: usize) -> Self {
        self.settings.globs_max = globs;
        self
    }

    /// How long a client's message may be, in bytes; a longer one ends the client. Default: 64 KiB.
    pub fn message_bytes_max(mut self, bytes: usize) -> Self {
        self.settings.message_bytes_max = bytes;
        self
    }

    /// How long a frame to a client may be, in bytes, at least 1,024; in the place of an event that needs more it is told
    /// so. Default: 1 MiB.
    pub fn frame_bytes_max(mut self, bytes: usize) -> Self {
        self.settings.frame_bytes_max = bytes;
        self
    }

    /// How many bytes are collected before they are written. A client that does not read has these, one frame, and the
    /// operating system's buffers. Default: 16 KiB.
    pub fn write_buffer_bytes(mut self, bytes: usize) -> Self {
        self.settings.write_buffer_bytes = bytes;
        self
    }

    /// How many values [sent to one client](WebSocketStream::send_to) may wait for it. Default: 64.
    pub fn outbox(mut self, values: usize) -> Self {
        self.settings.outbox = values;
        self
    }

    /// How often a client is pinged, and after how long without any word from it, a pong or other, it is taken for gone.
    /// Default: 10 s, 20 s.
    pub fn ping(mut self, every: Duration, silence_max: Duration) -> Self {
        (self.settings.ping_every, self.settings.silence_max) = (every, silence_max);
        self
    }

    /// How long a client may take to accept what is being written, one frame and the write buffer; then it is cut off.
    /// Default: 10 s.
    pub fn write_time_max(mut self, limit: Duration) -> Self {
        self.settings.write_time_max = limit;
        self
    }

    /// How long a client that was told to go may take to do so. Default: 5 s.
    pub fn close_time_max(mut self, limit: Duration) -> Self {
        self.settings.close_time_max = limit;
        self
    }

    /// Serves a stream.
    ///
    /// # Errors
    /// A glob that is none; a number out of range; a ping that is not more frequent than the silence allowed.
    pub fn attach(self, stream: &AsyncStream) -> Result<WebSocketStream, ConfigError> {
        self.globs.map_err(|error| ConfigError::new("globs", "", error.to_string()))?;
        let settings = self.settings;
        let ranges = [
            ("buffer", settings.buffer, 1, FEED_ROOM_MAX),
            ("clients_max", settings.clients_max, 1, usize::MAX),
            ("globs_max", settings.globs_max, 1, GLOBS_MAX),
            ("globs", settings.globs.len(), 0, settings.globs_max),
            ("message_bytes_max", settings.message_bytes_max, 1, usize::MAX),
            ("frame_bytes_max", settings.frame_bytes_max, 1 << 10, usize::MAX >> 2),
            ("write_buffer_bytes", settings.write_buffer_bytes, 0, usize::MAX >> 2),
            ("outbox", settings.outbox, 1, FEED_ROOM_MAX),
        ];
        for (setting, value, least, most) in ranges {
            if !(least..=most).contains(&value) {
                return Err(ConfigError::new(setting, value, format!("must be from {least} to {most}")));
            }
        }
        let (every, silence) = (settings.ping_every, settings.silence_max);
        if every.is_zero() || every >= silence {
            let reason = format!("must be over 0 s and under the silence allowed, {silence:?}");
            return Err(ConfigError::new("ping", format!("{every:?}"), reason));
        }
        Ok(WebSocketStream::of(Arc::new(Shared::new(stream.clone(), settings))))
    }
}
