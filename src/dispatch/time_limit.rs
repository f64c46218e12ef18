//! Handlers that take too long: an asynchronous one is cancelled, a synchronous one is reported while it runs.

use super::alarm::Bell;
use super::engine::Engine;
use super::later::{Due, Limit};
use super::subscriber::Subscriber;
use crate::event::Event;
use crate::quiet::log;
use crate::timers::Ticket;
use std::sync::Arc;
use std::time::Duration;
use thiserror::Error;

/// A handler that took longer than its subscription's time limit.
#[derive(Clone, Debug, Error)]
#[error("{subscriber_id} took longer than {limit:?} at {}", event.event_type())]
#[non_exhaustive]
pub struct EventTimeoutError {
    subscriber_id: String,
    event: Arc<Event>,
    limit: Duration,
}

impl EventTimeoutError {
    pub(super) fn new(subscriber_id: &str, event: &Arc<Event>, limit: Duration) -> Self {
        EventTimeoutError { subscriber_id: subscriber_id.to_owned(), event: Arc::clone(event), limit }
    }

    /// Whose handler.
    #[must_use]
    pub fn subscriber_id(&self) -> &str {
        &self.subscriber_id
    }

    /// The event that it was handed.
    #[must_use]
    pub fn event(&self) -> &Arc<Event> {
        &self.event
    }

    /// How long it might have taken.
    #[must_use]
    pub fn limit(&self) -> Duration {
        self.limit
    }
}

/// A synchronous handler that is running within a limit.
#[derive(Debug)]
pub(crate) struct Overdue {
    subscriber: Arc<Subscriber>,
    event: Arc<Event>,
    limit: Duration,
    bell: Bell,
}

impl Overdue {
    /// The time is up and the handler still runs: nobody can stop it, but it can be said.
    pub(super) fn report(&self) {
        self.bell.ring();
        self.subscriber.count(|extras| &extras.overran);
        let error = EventTimeoutError::new(self.subscriber.id(), &self.event, self.limit);
        log(|| tracing::warn!(subscriber_id = self.subscriber.id(), %error, "a handler is still running"));
    }
}

/// Watches a synchronous handler while it lives.
pub(super) struct Watchdog<'a> {
    engine: &'a Engine,
    overdue: Arc<Overdue>,
    ticket: Ticket,
}

impl<'a> Watchdog<'a> {
    /// `None` if nobody is left to ring.
    pub(super) fn start(
        engine: &'a Engine,
        subscriber: &Arc<Subscriber>,
        event: &Arc<Event>,
        limit: Duration,
    ) -> Option<Self> {
        let overdue = Arc::new(Overdue {
            subscriber: Arc::clone(subscriber),
            event: Arc::clone(event),
            limit,
            bell: Bell::default(),
        });
        let ticket = engine.wait_for(limit, Due::Limit(Limit::Overdue(Arc::clone(&overdue)))).ok()?;
        Some(Watchdog { engine, overdue, ticket })
    }

    /// Whether the handler took too long.
    pub(super) fn stop(self) -> Option<EventTimeoutError> {
        let Overdue { subscriber, event, limit, bell } = &*self.overdue;
        bell.is_rung().then(|| EventTimeoutError::new(subscriber.id(), event, *limit))
    }
}

impl Drop for Watchdog<'_> {
    fn drop(&mut self) {
        self.engine.later.cancel_limit(self.ticket);
    }
}
