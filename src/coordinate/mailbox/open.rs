//! Which mailboxes a bus has, and how one comes and goes.

use super::Mailbox;
use super::error::MailboxError;
use super::inbox::{INBOX_ROOM_MAX, Inbox};
use crate::bus::{BusPart, EventBus, Recorded};
use crate::dispatch::policy::Overflow;
use crate::event::EventType;
use crate::ids::check_text;
use foldhash::HashMap;
use smol_str::SmolStr;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// How many mailboxes a bus may have.
pub const MAILBOXES_MAX: usize = 4_096;

/// Messages that may wait in a mailbox, unless told otherwise.
const ROOM: usize = 1_024;

/// The mailboxes of a bus, by agent. The lock is taken to open or close one, by nobody who sends or receives.
#[derive(Default)]
struct PostOffice(Mutex<HashMap<SmolStr, Arc<Inbox>>>);

impl PostOffice {
    fn inboxes(&self) -> MutexGuard<'_, HashMap<SmolStr, Arc<Inbox>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl BusPart for PostOffice {
    fn bus_closed(&self) {
        let inboxes: Vec<_> = self.inboxes().values().cloned().collect();
        inboxes.iter().for_each(|inbox| inbox.end_waits());
    }
}

/// A mailbox in the making; [`open`](Self::open) makes it, or finds the one that there is.
#[derive(Clone, Debug)]
#[must_use = "call `open`"]
pub struct MailboxBuilder<'a> {
    bus: &'a EventBus,
    agent_id: SmolStr,
    room: Option<usize>,
    overflow: Option<Overflow>,
}

impl EventBus {
    /// The mailbox of an agent: the one that there is, or a new one with room for 1,024 messages, whose senders wait up to 5 s
    /// for it. For other settings see [`mailbox_with`](Self::mailbox_with).
    ///
    /// # Errors
    /// An id that is empty, over 244 bytes, or has a control character; a 4,097th mailbox; a bus that is shut down.
    pub fn mailbox(&self, agent_id: impl Into<SmolStr>) -> Result<Mailbox, MailboxError> {
        self.mailbox_with(agent_id).open()
    }

    /// Begins a mailbox with settings of its own.
    pub fn mailbox_with(&self, agent_id: impl Into<SmolStr>) -> MailboxBuilder<'_> {
        MailboxBuilder { bus: self, agent_id: agent_id.into(), room: None, overflow: None }
    }
}

impl MailboxBuilder<'_> {
    /// How many messages may wait, 1 to 1,048,576; the room is taken when the mailbox is made, 24 bytes each. Default: 1,024.
    pub fn room(mut self, messages: usize) -> Self {
        self.room = Some(messages);
        self
    }

    /// What becomes of a message for which there is no room. It comes back in the error if the policy is to wait, and the wait
    /// was in vain, or to reject; else the oldest or this one is discarded, and counted. Default: its sender waits up to 5 s.
    pub fn overflow(mut self, overflow: Overflow) -> Self {
        self.overflow = Some(overflow);
        self
    }

    /// The mailbox of this agent.
    ///
    /// # Errors
    /// As [`EventBus::mailbox`]; a room out of range; settings that differ from those of the mailbox that there is.
    pub fn open(self) -> Result<Mailbox, MailboxError> {
        let Self { bus, agent_id, room, overflow } = self;
        let host = bus.host();
        if !host.is_open() {
            return Err(MailboxError::Closed);
        }
        check_text("agent_id", &agent_id)?;
        let event_type = EventType::parse(&format!("agent.inbox.{agent_id}"));
        let event_type = event_type.map_err(|invalid| invalid.for_field("agent_id"))?;
        if let Some(value) = room.filter(|room| !(1..=INBOX_ROOM_MAX).contains(room)) {
            return Err(MailboxError::OutOfRange { setting: "room", value, most: INBOX_ROOM_MAX });
        }
        let post_office = bus.part::<PostOffice>();
        let mut inboxes = post_office.inboxes();
        let is_full = inboxes.len() >= MAILBOXES_MAX;
        let inbox = match inboxes.entry(agent_id) {
            Entry::Occupied(known) => Arc::clone(known.get()),
            Entry::Vacant(_) if is_full => return Err(MailboxError::TooMany { limit: MAILBOXES_MAX }),
            Entry::Vacant(place) => {
                let (room, overflow) = (room.unwrap_or(ROOM), overflow.unwrap_or_default());
                let inbox = Inbox::new(place.key().clone(), event_type, room, overflow);
                Arc::clone(place.insert(Arc::new(inbox)))
            }
        };
        drop(inboxes);
        let is_other = room.is_some_and(|room| room != inbox.room)
            || overflow.is_some_and(|overflow| overflow != inbox.overflow);
        if is_other {
            return Err(MailboxError::OtherSettings { room: inbox.room, overflow: inbox.overflow });
        }
        Ok(Mailbox { inbox, bus: bus.downgrade(), host })
    }
}

impl Mailbox {
    /// Closes the mailbox for good, whoever holds a handle on it, and hands out what was left in it, oldest first. Whoever waits for
    /// a message or for room is told; the agent's next mailbox is a new one. A message that is being sent at this moment may
    /// still get in: any handle hands it out.
    pub fn close(&self) -> Vec<Recorded> {
        if let Some(bus) = self.bus.upgrade() {
            let post_office = bus.part::<PostOffice>();
            let mut inboxes = post_office.inboxes();
            if inboxes.get(self.agent_id()).is_some_and(|inbox| Arc::ptr_eq(inbox, &self.inbox)) {
                inboxes.remove(self.agent_id());
            }
        }
        self.inbox.close();
        self.drain()
    }
}
