//! Receiving. A message is taken out in the moment in which it is handed over, so a future that is dropped loses none.

use super::Mailbox;
use super::error::MailboxReceiveError;
use crate::bus::Recorded;
use crate::clock::Deadline;
use crate::sync::Listener as _;
use std::time::Duration;

impl Mailbox {
    /// Takes the oldest message, if there is one.
    #[must_use]
    pub fn try_receive(&self) -> Option<Recorded> {
        self.inbox.take()
    }

    /// Takes the oldest message; waits for one up to `limit`. It blocks the thread and does not poll. Inside code that the bus
    /// runs, and on a manual bus, it does not wait: who would send might wait for the caller.
    ///
    /// # Errors
    /// No message within the limit; none at once, where it must not wait; none, and the mailbox or its bus is closed.
    pub fn receive(&self, limit: Duration) -> Result<Recorded, MailboxReceiveError> {
        // PERF: to listen costs more than to look (`mailbox, 1 to 1`).
        if let Some(message) = self.try_receive() {
            return Ok(message);
        }
        let may_wait = !self.host.is_inside() && !self.host.is_driven();
        let deadline = Deadline::after(limit);
        loop {
            let arrived = self.inbox.arrived.listen();
            match self.look() {
                Err(MailboxReceiveError::TimedOut) if !may_wait => {
                    return Err(MailboxReceiveError::WouldDeadlock);
                }
                Err(MailboxReceiveError::TimedOut) if !deadline.is_past() => {
                    arrived.wait_timeout(deadline.left());
                }
                outcome => return outcome,
            }
        }
    }

    /// [`receive`](Self::receive) for async code, inside an asynchronous handler too. It needs no particular runtime. Dropped
    /// before it is done, it took nothing.
    ///
    /// # Errors
    /// No message within the limit, on the bus's clock; none, and the mailbox or its bus is closed.
    pub async fn receive_async(&self, limit: Duration) -> Result<Recorded, MailboxReceiveError> {
        if let Some(message) = self.try_receive() {
            return Ok(message);
        }
        let mut timer = None;
        loop {
            let mut arrived = self.inbox.arrived.listen();
            match self.look() {
                Err(MailboxReceiveError::TimedOut) if !limit.is_zero() => {}
                outcome => return outcome,
            }
            if timer.is_none() {
                timer = self.host.timer(limit);
            }
            match timer.as_mut().filter(|timer| !timer.is_past()) {
                Some(timer) => timer.or(&mut arrived).await,
                None => return self.look(),
            }
        }
    }

    /// Takes all messages that there are now, the oldest first; at most as many as the mailbox has room for.
    #[must_use]
    pub fn drain(&self) -> Vec<Recorded> {
        std::iter::from_fn(|| self.try_receive()).take(self.inbox.room).collect()
    }

    /// The oldest message, or why there is none now.
    fn look(&self) -> Result<Recorded, MailboxReceiveError> {
        if let Some(message) = self.inbox.take() {
            return Ok(message);
        }
        // Asked before the last look: what was sent before it was closed is there by then.
        let is_closed = self.is_closed();
        let none = if is_closed { MailboxReceiveError::Closed } else { MailboxReceiveError::TimedOut };
        self.inbox.take().ok_or(none)
    }
}
