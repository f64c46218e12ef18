//! [`Inbox`]: the messages of one agent in a bounded queue, and the counts. It knows neither bus nor time.
//!
//! Where the owner's policy is to refuse or to wait, a place is reserved before the message is published: one that is refused
//! was nowhere, one that is published has its place. Where it is to drop, nothing is refused, and it is decided when the message
//! is put in; so a publish that is refused displaces nothing.

use crate::bounded::Bounded;
use crate::bus::Recorded;
use crate::dispatch::awaited::Recorder;
use crate::dispatch::drops::{DropCause, DropCounts, Drops};
use crate::dispatch::policy::Overflow;
use crate::event::{Event, EventType};
use crate::quiet::drop_quietly;
use crate::sync::{AtomicBool, AtomicU64, Ordering, Signal};
use smol_str::SmolStr;
use std::sync::{Arc, OnceLock};

/// How many messages may wait in one mailbox.
pub const INBOX_ROOM_MAX: usize = 1 << 20;

pub(super) struct Inbox {
    pub(super) agent_id: SmolStr,
    pub(super) event_type: EventType,
    pub(super) room: usize,
    pub(super) overflow: Overflow,
    pub(super) messages: Bounded<Recorded>,
    is_closed: AtomicBool,
    /// A message is there, or none will come.
    pub(super) arrived: Signal,
    sent: AtomicU64,
    received: AtomicU64,
    refused: AtomicU64,
    dropped: Drops,
}

/// What came to a mailbox and went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct MailboxStats {
    /// Messages that were accepted.
    pub sent: u64,
    /// Of these, handed to a receiver, by [`Mailbox::drain`](super::Mailbox::drain) and [`close`](super::Mailbox::close) too.
    pub received: u64,
    /// Of these, discarded by the mailbox's policy.
    pub dropped: DropCounts,
    /// Of these, still there.
    pub waiting: u64,
    /// Messages that were handed back: there was no room, the mailbox was closed, or the bus refused to publish them.
    pub refused: u64,
}

impl Inbox {
    pub(super) fn new(agent_id: SmolStr, event_type: EventType, room: usize, overflow: Overflow) -> Self {
        Inbox {
            agent_id,
            event_type,
            room,
            overflow,
            messages: Bounded::new(room),
            is_closed: AtomicBool::new(false),
            arrived: Signal::new(),
            sent: AtomicU64::new(0),
            received: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            dropped: Drops::default(),
        }
    }

    pub(super) fn is_closed(&self) -> bool {
        self.is_closed.load(Ordering::SeqCst)
    }

    pub(super) fn close(&self) {
        self.is_closed.store(true, Ordering::SeqCst);
        self.end_waits();
    }

    /// Whoever waits looks again, and finds it closed.
    pub(super) fn end_waits(&self) {
        self.arrived.notify(usize::MAX);
        self.messages.end_waits();
    }

    pub(super) fn take(&self) -> Option<Recorded> {
        let message = self.messages.pop()?;
        self.received.fetch_add(1, Ordering::SeqCst);
        Some(message)
    }

    pub(super) fn refuse(&self) {
        self.refused.fetch_add(1, Ordering::SeqCst);
    }

    pub(super) fn stats(&self) -> MailboxStats {
        MailboxStats {
            sent: self.sent.load(Ordering::SeqCst),
            received: self.received.load(Ordering::SeqCst),
            dropped: self.dropped.counts(),
            waiting: self.messages.len() as u64,
            refused: self.refused.load(Ordering::SeqCst),
        }
    }

    /// Puts a message in; returns what must go.
    fn put(&self, message: Recorded, is_reserved: bool) -> Option<Recorded> {
        self.sent.fetch_add(1, Ordering::SeqCst);
        let mut displaced = None;
        while !is_reserved && !self.messages.reserve() {
            if self.overflow == Overflow::DropNewest {
                self.dropped.count(DropCause::Newest);
                return Some(message);
            }
            displaced = self.messages.displace();
            if displaced.is_some() {
                self.dropped.count(DropCause::Oldest);
                break;
            }
            // Another sender is about to fill its place, or a receiver was faster: each is over in a few instructions.
            std::thread::yield_now();
        }
        self.messages.put(message);
        // One more each: a receiver that was told and has not looked yet is for an earlier message.
        self.arrived.notify_additional(1);
        displaced
    }
}

/// A message on its way. Dropped without being published, it frees its place.
pub(super) struct Sending {
    inbox: Arc<Inbox>,
    is_reserved: bool,
    is_put: AtomicBool,
    /// What made room, until no pin is held.
    displaced: OnceLock<Recorded>,
}

impl Sending {
    /// To a mailbox in which a place was reserved, or that drops what does not fit.
    pub(super) fn new(inbox: &Arc<Inbox>, is_reserved: bool) -> Self {
        Sending {
            inbox: Arc::clone(inbox),
            is_reserved,
            is_put: AtomicBool::new(false),
            displaced: OnceLock::new(),
        }
    }
}

impl Recorder for Sending {
    fn recorded(&self, sequence: u64, event: &Arc<Event>) {
        self.is_put.store(true, Ordering::Release);
        if let Some(displaced) = self.inbox.put(Recorded::new(sequence, Arc::clone(event)), self.is_reserved)
        {
            let is_first = self.displaced.set(displaced).is_ok();
            debug_assert!(is_first, "an event is recorded once");
        }
    }
}

impl Drop for Sending {
    fn drop(&mut self) {
        if self.is_reserved && !*self.is_put.get_mut() {
            self.inbox.messages.give_back();
        }
        drop_quietly(self.displaced.take());
    }
}
