//! `WebSocketStream` over real sockets: a server of axum's on the loopback device, clients by tungstenite, and bare TCP for
//! those that no library would play.

#![allow(clippy::unwrap_used, clippy::panic, reason = "in a test a panic is the report")]

mod endings;
mod frames;
mod resume;
mod slow;
mod support;
