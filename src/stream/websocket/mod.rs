//! [`WebSocketStream`]: a stream, served to clients over WebSockets.
//!
//! In reading order:
//! - `settings`: what clients may do, and how much they may take;
//! - `client`: a client as others see it;
//! - `request`: what a client may say;
//! - `alarm`: the next moment at which something has to be done for it;
//! - `session`: one client from its beginning to its end, as one future;
//! - `hub`: [`WebSocketStream`], which has the clients.
//!
//! A client costs one task, which has no queue but the stream's own feed: it takes the next event when the socket has taken
//! the last one. So what a client does not read waits in the feed, where there is a bound and a policy, and a publisher
//! never meets it. It never does I/O of its own: the socket is axum's.

mod alarm;
mod client;
mod hub;
mod request;
mod session;
mod settings;

pub use client::{ClientEnd, ClientId, ClientInfo, SendToError};
pub use hub::WebSocketStream;
pub use settings::WebSocketStreamBuilder;
