//! Server-sent events: how they are written, and a stream served as such.

mod frame;
#[cfg(feature = "websocket")]
mod serve;

pub use frame::{InvalidSseField, SseFrame};
#[cfg(feature = "websocket")]
pub use serve::SseStream;
