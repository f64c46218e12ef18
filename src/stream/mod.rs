//! Events one after another, for those who come and take them, and by the batch.
//!
//! In reading order:
//! - `token`: where a reader stands, as a text that outlives its connection;
//! - `subscribe`: a stream's subscription in the making, and what it begins with from the history;
//! - `consumer`: the items of one subscription;
//! - `hub`: the subscriptions of a stream; `async_stream`: [`AsyncStream`], the handle on them;
//! - `batching`: `BatchingStream`, which collects events and hands them on by the batch;
//! - `operators`: `StreamOperators`, for any `futures::Stream`.
//!
//! A stream is a thin layer over the bus's feeds: order, room and what was missed are theirs. What is added here are names,
//! replay, heartbeats and resumption.

mod async_stream;
mod batching;
mod consumer;
mod hub;
mod operators;
mod subscribe;
mod token;

pub use async_stream::{AsyncStream, AsyncStreamBuilder, ConsumeError, StreamId, StreamStats};
pub use consumer::{StreamConsumer, StreamItem};
pub use subscribe::{StreamStart, StreamSubscriptionBuilder};
pub use token::{InvalidToken, ResumeToken};

pub use batching::*;
pub use operators::*;
