//! Working together over a bus: what agents and workflows need beyond hearing events.
//!
//! - [`request`]: a question, and the first answer to it;
//! - [`mailbox`]: messages that wait for one agent.

mod mailbox;
mod request;

pub use mailbox::*;
pub use request::*;
