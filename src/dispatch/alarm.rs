//! Time limits of async waits: a bell that the bus's timers ring, so that no runtime is needed.

use super::engine::Engine;
use super::later::{Due, Limit};
use crate::sync::{AtomicBool, Ordering, Signal, SignalListener};
use crate::timers::Ticket;
use std::future::{Future as _, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
#[cfg(feature = "async")]
use std::task::Context;
use std::task::Poll;
use std::time::Duration;

/// What is rung when the time is up.
#[derive(Debug, Default)]
pub(crate) struct Bell {
    is_rung: AtomicBool,
    signal: Signal,
}

impl Bell {
    pub(crate) fn is_rung(&self) -> bool {
        self.is_rung.load(Ordering::Acquire)
    }

    pub(crate) fn listen(&self) -> SignalListener {
        self.signal.listen()
    }

    pub(crate) fn ring(&self) {
        self.is_rung.store(true, Ordering::Release);
        self.signal.notify(usize::MAX);
    }
}

/// A time limit. Dropping it takes it back.
pub(crate) struct Alarm<'a> {
    engine: &'a Engine,
    bell: Arc<Bell>,
    ticket: Ticket,
    rung: SignalListener,
}

impl Engine {
    /// An alarm `limit` from now; `None` if there is no room for another, or no thread for it.
    pub(crate) fn alarm(&self, limit: Duration) -> Option<Alarm<'_>> {
        let (bell, ticket) = self.ring_after(limit)?;
        let rung = bell.signal.listen();
        Some(Alarm { engine: self, bell, ticket, rung })
    }

    /// A bell that is rung `time` from now; whoever listens looks first whether it was.
    pub(crate) fn ring_after(&self, time: Duration) -> Option<(Arc<Bell>, Ticket)> {
        let bell = Arc::new(Bell::default());
        let ticket = self.wait_for(time, Due::Limit(Limit::Bell(Arc::clone(&bell)))).ok()?;
        Some((bell, ticket))
    }

    /// Takes a bell back that need not be rung any more.
    pub(crate) fn silence(&self, ticket: Ticket) {
        self.later.cancel_limit(ticket);
    }
}

impl Alarm<'_> {
    pub(crate) fn is_past(&self) -> bool {
        self.bell.is_rung()
    }

    /// Whether the time is up; if not, the task is woken when it is.
    #[cfg(feature = "async")]
    pub(crate) fn poll_rung(&mut self, context: &mut Context<'_>) -> bool {
        self.is_past() || Pin::new(&mut self.rung).poll(context).is_ready()
    }

    /// Waits for the time to be up.
    pub(crate) async fn rung(mut self) {
        if !self.is_past() {
            (&mut self.rung).await;
        }
    }

    /// Waits for `other` or for the time to be up. Not to be asked again after either.
    pub(crate) async fn or(&mut self, other: &mut SignalListener) {
        poll_fn(|context| {
            let is_told = Pin::new(&mut *other).poll(context).is_ready();
            if is_told || Pin::new(&mut self.rung).poll(context).is_ready() {
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        })
        .await;
    }
}

impl Drop for Alarm<'_> {
    fn drop(&mut self) {
        self.engine.later.cancel_limit(self.ticket);
    }
}
