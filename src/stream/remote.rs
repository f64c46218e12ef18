//! What clients elsewhere have in common, however they are served: [`RemoteFeed`], which one is subscribed to; what becomes of a
//! slow one; and why one is not taken in.

use super::async_stream::{AsyncStream, StreamId};
use super::consumer::{StreamConsumer, StreamItem};
use super::query::StreamQueryError;
use super::subscribe::StreamStart;
use super::token::ResumeToken;
use crate::bus::FeedOverflow;
use crate::error::EventSubscriptionError;
use crate::matcher::Pattern;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use futures_core::Stream;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use thiserror::Error;

/// What becomes of a client that is too slow. None of it slows a publisher.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum SlowClientPolicy {
    /// It is told how much it missed, and sent away; it may come back with its token.
    Disconnect,
    /// It misses the oldest of what waits for it, and is told how many those were.
    #[default]
    DropOldest,
    /// It misses what comes while there is no room, and is told how many those were. Each such client costs publishers the
    /// price of a feed.
    DropNewest,
}

impl SlowClientPolicy {
    fn overflow(self) -> FeedOverflow {
        match self {
            SlowClientPolicy::Disconnect => FeedOverflow::Disconnect,
            SlowClientPolicy::DropOldest => FeedOverflow::DropOldest,
            SlowClientPolicy::DropNewest => FeedOverflow::DropNewest,
        }
    }
}

/// Why a client is not taken in.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ClientRefusal {
    /// As many are there as may be. As a response: 503.
    #[error("there are {0} clients already")]
    TooManyClients(usize),
    /// The stream, or what serves it, has ended. As a response: 503.
    #[error("the stream has ended")]
    Ended,
    /// It asks for what cannot be. As a response: 400.
    #[error(transparent)]
    Query(#[from] StreamQueryError),
}

impl IntoResponse for ClientRefusal {
    fn into_response(self) -> Response {
        let status = match self {
            ClientRefusal::Query(_) => StatusCode::BAD_REQUEST,
            ClientRefusal::TooManyClients(_) | ClientRefusal::Ended => StatusCode::SERVICE_UNAVAILABLE,
        };
        (status, self.to_string()).into_response()
    }
}

/// A subscription that ends with this value.
pub(super) struct RemoteFeed {
    stream: AsyncStream,
    id: StreamId,
    items: StreamConsumer,
    patterns: Vec<Pattern>,
    buffer: usize,
    policy: SlowClientPolicy,
    /// What was accepted before the globs changed, the next one last.
    before: Vec<StreamItem>,
}

impl RemoteFeed {
    pub(super) fn open(
        stream: &AsyncStream,
        patterns: Vec<Pattern>,
        start: StreamStart,
        buffer: usize,
        policy: SlowClientPolicy,
    ) -> Result<Self, EventSubscriptionError> {
        let subscription =
            stream.subscribe(&patterns).start(start).buffer(buffer).overflow(policy.overflow());
        let id = subscription.open()?;
        let items = stream.consume(id).expect("nobody else knows of it");
        let stream = stream.clone();
        Ok(RemoteFeed { stream, id, items, patterns, buffer, policy, before: Vec::new() })
    }

    pub(super) fn patterns(&self) -> &[Pattern] {
        &self.patterns
    }

    /// Where it stands; what waits from before a change is not counted.
    pub(super) fn token(&self) -> Option<ResumeToken> {
        self.items.token()
    }

    /// What the stream knows it by.
    pub(super) fn id(&self) -> StreamId {
        self.id
    }

    /// Whether a client that missed something is sent away for it.
    pub(super) fn ends_with_lag(&self) -> bool {
        self.policy == SlowClientPolicy::Disconnect
    }

    /// Goes on with other globs: they hold for what is published from now on, and what was accepted before under the old
    /// ones comes first. No event is there twice, and none is missing that both would have let in.
    pub(super) fn change(&mut self, patterns: Vec<Pattern>) -> Result<(), EventSubscriptionError> {
        // Twice the buffer at most, what is replayed at the first change, and no more at any other.
        let room = if self.before.is_empty() { usize::MAX } else { self.before.len().max(self.buffer) };
        self.draw();
        let mut next = RemoteFeed::open(&self.stream, patterns, StreamStart::Now, self.buffer, self.policy)?;
        let joined_after = next.token().map_or(u64::MAX, |token| token.sequence());
        next.before = self.rest(joined_after, room);
        *self = next;
        Ok(())
    }

    /// Takes what waits: so there is room for what comes until the next subscription is there, and what was missed by now is
    /// not mixed with what that one gets.
    fn draw(&mut self) {
        self.before.reverse();
        let mut context = Context::from_waker(Waker::noop());
        // Bounded, since publishers may be faster.
        for _ in 0..self.buffer {
            match Pin::new(&mut self.items).poll_next(&mut context) {
                Poll::Ready(Some(StreamItem::Heartbeat)) => {}
                Poll::Ready(Some(item)) => self.before.push(item),
                Poll::Ready(None) | Poll::Pending => break,
            }
        }
        self.before.reverse();
    }

    /// Ends the subscription and takes what it accepted up to a number, the next one last.
    fn rest(&mut self, last: u64, room: usize) -> Vec<StreamItem> {
        self.stream.unsubscribe(self.id);
        let mut rest = std::mem::take(&mut self.before);
        rest.reverse();
        let mut seen = self.items.token().map_or(last, |token| token.sequence());
        let mut context = Context::from_waker(Waker::noop());
        loop {
            let is_replay = self.items.is_replaying();
            let Poll::Ready(Some(item)) = Pin::new(&mut self.items).poll_next(&mut context) else { break };
            match item {
                StreamItem::Event(event) if event.sequence() > last => break,
                StreamItem::Event(event) => {
                    seen = event.sequence();
                    rest.push(StreamItem::Event(event));
                }
                // Of those that were displaced just now some may come after `last`, and are in the next subscription.
                StreamItem::Lagged(missed) if !is_replay => {
                    rest.push(StreamItem::Lagged(missed.min(last.saturating_sub(seen))));
                }
                StreamItem::Heartbeat => {}
                other => rest.push(other),
            }
        }
        rest.retain(|item| !matches!(item, StreamItem::Lagged(0)));
        let excess = rest.len().saturating_sub(room);
        if excess > 0 {
            let missed = rest.drain(..excess).map(|item| weight(&item)).sum();
            rest.insert(0, StreamItem::Lagged(missed));
        }
        rest.reverse();
        rest
    }

    /// The next item; `None` when there will be no more.
    pub(super) fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<StreamItem>> {
        match self.before.pop() {
            Some(item) => Poll::Ready(Some(item)),
            None => Pin::new(&mut self.items).poll_next(context),
        }
    }
}

/// How many events an item stands for.
fn weight(item: &StreamItem) -> u64 {
    match item {
        StreamItem::Event(_) => 1,
        StreamItem::Lagged(missed) => *missed,
        _ => 0,
    }
}

impl Drop for RemoteFeed {
    fn drop(&mut self) {
        self.stream.unsubscribe(self.id);
    }
}
