//! Events one after another, for those who come and take them, and by the batch.
//!
//! In reading order:
//! - `token`: where a reader stands, as a text that outlives its connection;
//! - `subscribe`: a stream's subscription in the making, and what it begins with from the history;
//! - `consumer`: the items of one subscription;
//! - `hub`: the subscriptions of a stream; `async_stream`: [`AsyncStream`], the handle on them;
//! - `batching`: `BatchingStream`, which collects events and hands them on by the batch;
//! - `operators`: `StreamOperators`, for any `futures::Stream`;
//! - `frames`, `query`, `remote`: what clients elsewhere are told, what they ask for, and what one of them is subscribed to;
//! - `websocket`: `WebSocketStream`, clients over WebSockets;
//! - `sse`: server-sent events, written by [`SseFrame`] and served by `SseStream`.
//!
//! A stream is a thin layer over the bus's feeds: order, room and what was missed are theirs. What is added here are names,
//! replay, heartbeats and resumption.

mod async_stream;
mod batching;
mod consumer;
#[cfg(feature = "websocket")]
mod frames;
mod hub;
mod operators;
#[cfg(feature = "websocket")]
mod query;
#[cfg(feature = "websocket")]
mod remote;
mod sse;
mod subscribe;
mod token;
#[cfg(feature = "websocket")]
mod websocket;

pub use async_stream::{AsyncStream, AsyncStreamBuilder, ConsumeError, StreamId, StreamStats};
pub use consumer::{StreamConsumer, StreamItem};
#[cfg(feature = "websocket")]
pub use query::{StreamQuery, StreamQueryError};
#[cfg(feature = "websocket")]
pub use remote::{Refusal, SlowClientPolicy};
#[cfg(feature = "websocket")]
pub use sse::SseStream;
pub use sse::{InvalidSseField, SseFrame};
pub use subscribe::{StreamStart, StreamSubscriptionBuilder};
pub use token::{InvalidToken, ResumeToken};
#[cfg(feature = "websocket")]
pub use websocket::{ClientEnd, ClientId, ClientInfo, SendToError, WebSocketStream, WebSocketStreamBuilder};

pub use batching::*;
pub use operators::*;
