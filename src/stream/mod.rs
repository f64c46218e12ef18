//! Events one after another, for those who come and take them, and by the batch.
//!
//! In reading order:
//! - `batching`: `BatchingStream`, which collects events and hands them on by the batch;
//! - `operators`: `StreamOperators`, for any `futures::Stream`.

mod batching;
mod operators;

pub use batching::*;
pub use operators::*;
