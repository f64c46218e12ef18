//! What a bus's owner chooses for a bounded queue.

use std::time::Duration;

/// What becomes of an event for which there is no room: in its lane, if the bus is queued, in an asynchronous handler's
/// mailbox, or, as a message, in an agent's [`Mailbox`](crate::Mailbox).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Overflow {
    /// Who brings it waits, up to this limit; then a lane or an agent's mailbox refuses it, and a handler's mailbox discards and
    /// counts it. Inside a handler of the same bus nobody waits: the room might never come.
    Block(Duration),
    /// A lane or an agent's mailbox refuses the event, and it comes back in the error. A handler's mailbox discards it, and
    /// counts it.
    Reject,
    /// The oldest one makes room (of a lane, the oldest in the same band): it is discarded, and counted.
    DropOldest,
    /// The event is accepted and discarded at once, and counted.
    DropNewest,
}

impl Default for Overflow {
    fn default() -> Self {
        Overflow::Block(Duration::from_secs(5))
    }
}
