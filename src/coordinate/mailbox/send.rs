//! Sending: a place, the publication, and the message in its place.

use super::Mailbox;
use super::error::{MailboxSendError, MailboxSendErrorKind as Kind};
use super::inbox::Sending;
use crate::bus::{EventBus, Published};
use crate::clock::Deadline;
use crate::dispatch::awaited::{Recorder, Told};
use crate::dispatch::policy::Overflow;
use crate::event::{Event, EventPublishError, Payload, PublishErrorKind};
use crate::ids::{InvalidText, Source};
use std::sync::Arc;
use std::time::Duration;

impl Mailbox {
    /// Sends a message: publishes an event of this mailbox's type, from `from` and with `data`, and keeps it here until it is
    /// fetched. It returns as [`EventBus::publish`] does, inline when those who hear the event have handled it; the message is in
    /// the mailbox before they do. What the policy drops is published and counted all the same.
    ///
    /// Where the policy is to wait for room, it blocks the thread; inside code that the bus runs, and on a manual bus, it does not
    /// wait, since the room might never come.
    ///
    /// # Errors
    /// A source or a payload that is none; no room, if the policy is to wait or to reject; a mailbox or a bus that is closed;
    /// whatever else the bus refuses. The message comes back, and nobody has heard of it.
    pub fn send(
        &self,
        from: impl TryInto<Source, Error: Into<InvalidText>>,
        data: impl Into<Payload>,
    ) -> Result<Published, MailboxSendError> {
        self.send_event(self.message(from).data(data).build().map_err(MailboxSendError::unmade)?)
    }

    /// [`send`](Self::send) for async code: it waits for room without blocking the thread, inside an asynchronous handler too, and
    /// publishes as [`EventBus::publish_async`] does. Dropped before it is done, it did nothing.
    ///
    /// # Errors
    /// As [`send`](Self::send).
    pub async fn send_async(
        &self,
        from: impl TryInto<Source, Error: Into<InvalidText>>,
        data: impl Into<Payload>,
    ) -> Result<Published, MailboxSendError> {
        let event = self.message(from).data(data).build().map_err(MailboxSendError::unmade)?;
        self.send_event_async(event).await
    }

    /// [`send`](Self::send) of an event that was made before, as from [`message`](Self::message).
    ///
    /// # Errors
    /// As [`send`](Self::send); and an event of another type than this mailbox's.
    pub fn send_event(&self, event: impl Into<Arc<Event>>) -> Result<Published, MailboxSendError> {
        let event = event.into();
        let sending = self.check(&event).and_then(|()| self.reserve());
        let (bus, sending) = match sending.and_then(|sending| Ok((self.open_bus()?, sending))) {
            Ok(ready) => ready,
            Err(kind) => return Err(self.refused(kind, event)),
        };
        let recorder: Arc<dyn Recorder> = Arc::new(sending);
        bus.publish_telling(event, Told::Record(&recorder)).map_err(|error| self.unpublished(error))
    }

    /// [`send_event`](Self::send_event) for async code, as [`send_async`](Self::send_async).
    ///
    /// # Errors
    /// As [`send_event`](Self::send_event).
    pub async fn send_event_async(
        &self,
        event: impl Into<Arc<Event>>,
    ) -> Result<Published, MailboxSendError> {
        let event = event.into();
        let sending = match self.check(&event) {
            Ok(()) => self.reserve_async().await,
            Err(kind) => Err(kind),
        };
        let (bus, sending) = match sending.and_then(|sending| Ok((self.open_bus()?, sending))) {
            Ok(ready) => ready,
            Err(kind) => return Err(self.refused(kind, event)),
        };
        let recorder: Arc<dyn Recorder> = Arc::new(sending);
        let published = bus.publish_telling_async(event, Told::Record(&recorder)).await;
        published.map_err(|error| self.unpublished(error))
    }

    fn check(&self, event: &Event) -> Result<(), Kind> {
        match event.event_type() == self.event_type() {
            _ if self.inbox.is_closed() => Err(Kind::Closed),
            true => Ok(()),
            false => Err(Kind::OtherType),
        }
    }

    /// The bus, while the mailbox is open; a bus that is closed says so itself. Looked for when there is a place: who waits for
    /// one keeps no bus, and what is freed by closing is for nobody.
    fn open_bus(&self) -> Result<EventBus, Kind> {
        if self.inbox.is_closed() { Err(Kind::Closed) } else { self.bus.upgrade().ok_or(Kind::Closed) }
    }

    /// A place for a message, or none where messages are dropped rather than refused.
    fn reserve(&self) -> Result<Sending, Kind> {
        let Some(limit) = self.patience() else { return Ok(Sending::new(&self.inbox, false)) };
        if self.inbox.messages.reserve() {
            return Ok(Sending::new(&self.inbox, true));
        }
        let may_wait = !self.host.is_inside() && !self.host.is_driven();
        let waited = if may_wait { limit } else { Duration::ZERO };
        let deadline = Deadline::after(waited);
        while !deadline.is_past() {
            let mut waiter = self.inbox.messages.waiter();
            if self.is_closed() {
                return Err(Kind::Closed);
            }
            if self.inbox.messages.reserve() {
                return Ok(Sending::new(&self.inbox, true));
            }
            waiter.wait(deadline.left());
        }
        Err(self.full(waited))
    }

    async fn reserve_async(&self) -> Result<Sending, Kind> {
        let Some(limit) = self.patience() else { return Ok(Sending::new(&self.inbox, false)) };
        if self.inbox.messages.reserve() {
            return Ok(Sending::new(&self.inbox, true));
        }
        let mut timer = if limit.is_zero() { None } else { self.host.timer(limit) };
        loop {
            let mut waiter = self.inbox.messages.waiter();
            if self.is_closed() {
                return Err(Kind::Closed);
            }
            if self.inbox.messages.reserve() {
                return Ok(Sending::new(&self.inbox, true));
            }
            match timer.as_mut().filter(|timer| !timer.is_past()) {
                Some(timer) => timer.or(waiter.freed()).await,
                None => return Err(self.full(limit)),
            }
        }
    }

    /// How long a sender waits for room; `None` where messages are dropped rather than refused.
    fn patience(&self) -> Option<Duration> {
        match self.inbox.overflow {
            Overflow::Block(limit) => Some(limit),
            Overflow::Reject => Some(Duration::ZERO),
            Overflow::DropOldest | Overflow::DropNewest => None,
        }
    }

    fn full(&self, waited: Duration) -> Kind {
        if self.is_closed() { Kind::Closed } else { Kind::Full { room: self.inbox.room, waited } }
    }

    fn refused(&self, kind: Kind, event: Arc<Event>) -> MailboxSendError {
        self.inbox.refuse();
        MailboxSendError::new(kind, Some(event))
    }

    fn unpublished(&self, error: EventPublishError) -> MailboxSendError {
        self.inbox.refuse();
        let event = error.event().map(Arc::clone);
        let kind = match error.kind() {
            PublishErrorKind::Closed => Kind::Closed,
            _ => Kind::Publish(error),
        };
        MailboxSendError::new(kind, event)
    }
}
