//! Mailboxes: messages that wait for an agent until it fetches them.
//!
//! A message is an event of type `agent.inbox.<id>`, published like any other; sending it also puts it in the mailbox. It is
//! put in when it is recorded, before its first handler: whoever hears `agent.inbox.<id>` finds the message there. A handler
//! would be too late for that, and would lose what a lane drops.
//!
//! In reading order: `inbox`, the messages of one agent and their places; `open`, which mailboxes a bus has; `send` and
//! `receive`, the two ends; `error`. A mailbox never looks at a payload, and holds no bus.

mod error;
mod inbox;
mod open;
mod receive;
mod send;

pub use error::{MailboxError, MailboxReceiveError, MailboxSendError, MailboxSendErrorKind};
pub use inbox::{INBOX_ROOM_MAX, MailboxStats};
pub use open::{MAILBOXES_MAX, MailboxBuilder};

use crate::bus::{Host, WeakEventBus};
use crate::event::{Event, EventBuilder, EventType};
use crate::ids::{InvalidText, Source};
use inbox::Inbox;
use std::fmt;
use std::sync::Arc;

/// The messages that wait for one agent: a handle, cheap to clone. Made by [`EventBus::mailbox`](crate::EventBus::mailbox).
///
/// Any number of threads may send and receive; each message is handed to exactly one receiver. Messages come out in the order
/// in which they were recorded: of two sends, one of which began after the other had returned, the earlier one's first; of
/// sends that race, in the order in which they got in, which may differ from that of their sequence numbers by those that raced.
/// Only what is sent is a message: an event of the same type that is published, replayed or redriven is not.
///
/// The mailbox stays on its bus when all handles are gone, with what is in it, until it is [closed](Self::close) or the bus
/// goes. A handle does not keep the bus alive.
///
/// ```
/// use codomyrmex_events::EventBus;
/// use serde_json::json;
/// use std::time::Duration;
///
/// let bus = EventBus::new();
/// let reviewer = bus.mailbox("reviewer")?;
/// bus.mailbox("reviewer")?.send("coder", json!({"diff": "src/lib.rs"}))?;
///
/// let message = reviewer.receive(Duration::from_secs(1))?;
/// assert_eq!(message.source(), &"coder");
/// assert_eq!(message.event_type().as_str(), "agent.inbox.reviewer");
/// assert_eq!(bus.history().len(), 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Mailbox {
    inbox: Arc<Inbox>,
    bus: WeakEventBus,
    host: Host,
}

impl Mailbox {
    /// Whose it is.
    #[must_use]
    pub fn agent_id(&self) -> &str {
        &self.inbox.agent_id
    }

    /// The type of its messages: `agent.inbox.<id>`.
    #[must_use]
    pub fn event_type(&self) -> &EventType {
        &self.inbox.event_type
    }

    /// Begins a message that says more than who sends what; for [`send_event`](Self::send_event).
    pub fn message(&self, from: impl TryInto<Source, Error: Into<InvalidText>>) -> EventBuilder {
        Event::builder(&self.inbox.event_type, from)
    }

    /// How many messages wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.inbox.messages.len()
    }

    /// Whether no message waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.inbox.messages.is_empty()
    }

    /// What came and went. When nobody is sending or receiving, `sent = received + dropped + waiting`.
    #[must_use]
    pub fn stats(&self) -> MailboxStats {
        self.inbox.stats()
    }

    /// Whether nothing more is taken in: it or its bus is closed. What is in it can be fetched all the same.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.inbox.is_closed() || !self.host.is_open()
    }
}

impl fmt::Debug for Mailbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mailbox")
            .field("agent_id", &self.agent_id())
            .field("waiting", &self.len())
            .finish_non_exhaustive()
    }
}
