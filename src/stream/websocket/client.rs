//! A client as others see it: what it is told by hand, how it is sent away, and its figures.

use super::super::async_stream::StreamId;
use super::super::remote::RemoteFeed;
use crate::clock::Timestamp;
use crate::matcher::Pattern;
use crate::sync::{AtomicBool, AtomicCell, AtomicU64, Ordering};
use arc_swap::ArcSwap;
use atomic_waker::AtomicWaker;
use axum::extract::ws::{Utf8Bytes, close_code};
use crossbeam_queue::ArrayQueue;
use std::fmt;
use std::sync::{Arc, OnceLock};
use thiserror::Error;

/// Names one client of a [`WebSocketStream`](super::WebSocketStream), for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ClientId(pub(super) u64);

impl fmt::Display for ClientId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "client_{}", self.0)
    }
}

/// Why a client's connection ended.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ClientEnd {
    /// It left, or its connection broke.
    Left,
    /// Nothing was heard from it for too long.
    Silent,
    /// It did not take what was being written to it.
    Stalled,
    /// It was told to go, for this reason.
    SentAway(String),
}

/// One client's figures.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ClientInfo {
    /// Its id.
    pub id: ClientId,
    /// The globs of what it hears.
    pub globs: Vec<Pattern>,
    /// Events that were written to it.
    pub delivered: u64,
    /// Events that it missed, as it was told: there was no room for them, or they cannot be sent.
    pub missed: u64,
    /// Events that wait for it, beside those that it replays.
    pub buffered: u64,
    /// Since when it is there.
    pub connected: Timestamp,
}

/// Why a value is not sent to a client.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SendToError {
    /// It has left, or never was.
    #[error("{0} is gone")]
    Gone(ClientId),
    /// Too many values wait for it.
    #[error("{0} has {1} values waiting, and no room for more")]
    Full(ClientId, usize),
    /// The value takes more bytes than a frame may have.
    #[error("the value takes {bytes} bytes, and a frame {most} at most")]
    TooLarge {
        /// How many it takes.
        bytes: usize,
        /// How many there may be.
        most: usize,
    },
    /// The value cannot become JSON.
    #[error("the value cannot become JSON: {0}")]
    Json(#[from] serde_json::Error),
}

/// How a client is sent away.
#[derive(Clone, Debug)]
pub(super) struct Goodbye {
    pub(super) code: u16,
    pub(super) reason: String,
}

impl Goodbye {
    pub(super) fn new(code: u16, reason: impl Into<String>) -> Self {
        Goodbye { code, reason: reason.into() }
    }

    /// The server, or what it serves, is over.
    pub(super) fn away(reason: &str) -> Self {
        Goodbye::new(close_code::AWAY, reason)
    }

    pub(super) fn policy(reason: impl Into<String>) -> Self {
        Goodbye::new(close_code::POLICY, reason)
    }

    /// It may come back.
    pub(super) fn again(reason: &str) -> Self {
        Goodbye::new(close_code::AGAIN, reason)
    }
}

pub(super) struct Client {
    pub(super) id: ClientId,
    pub(super) outbox: ArrayQueue<Utf8Bytes>,
    pub(super) goodbye: OnceLock<Goodbye>,
    /// Nobody waits any more for it to go by itself.
    pub(super) is_cut: AtomicBool,
    pub(super) waker: AtomicWaker,
    pub(super) delivered: AtomicU64,
    pub(super) missed: AtomicU64,
    globs: ArcSwap<Vec<Pattern>>,
    feed: AtomicCell<Option<StreamId>>,
    connected: Timestamp,
}

impl Client {
    pub(super) fn new(id: ClientId, outbox: usize) -> Self {
        Client {
            id,
            outbox: ArrayQueue::new(outbox),
            goodbye: OnceLock::new(),
            is_cut: AtomicBool::new(false),
            waker: AtomicWaker::new(),
            delivered: AtomicU64::new(0),
            missed: AtomicU64::new(0),
            globs: ArcSwap::default(),
            feed: AtomicCell::new(None),
            connected: Timestamp::now(),
        }
    }

    pub(super) fn note_feed(&self, feed: Option<&RemoteFeed>) {
        self.globs.store(Arc::new(feed.map_or_else(Vec::new, |feed| feed.patterns().to_vec())));
        self.feed.store(feed.map(RemoteFeed::id));
    }

    pub(super) fn globs(&self) -> Arc<Vec<Pattern>> {
        self.globs.load_full()
    }

    /// Sends it away; the first reason counts.
    pub(super) fn send_away(&self, goodbye: Goodbye) {
        // A second one changes nothing.
        let _ = self.goodbye.set(goodbye);
        self.waker.wake();
    }

    pub(super) fn cut(&self) {
        self.is_cut.store(true, Ordering::Release);
        self.waker.wake();
    }

    pub(super) fn send(&self, frame: Utf8Bytes) -> Result<(), SendToError> {
        if self.goodbye.get().is_some() {
            return Err(SendToError::Gone(self.id));
        }
        let full = |_| SendToError::Full(self.id, self.outbox.capacity());
        self.outbox.push(frame).map_err(full)?;
        self.waker.wake();
        Ok(())
    }

    pub(super) fn info(&self, buffered: impl Fn(StreamId) -> u64) -> ClientInfo {
        ClientInfo {
            id: self.id,
            globs: self.globs().to_vec(),
            delivered: self.delivered.load(Ordering::Relaxed),
            missed: self.missed.load(Ordering::Relaxed),
            buffered: self.feed.load().map_or(0, buffered),
            connected: self.connected,
        }
    }
}
