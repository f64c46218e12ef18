//! Requests: an event that wants an answer, and the first answer to it.
//!
//! An answer is an event that names the request as its cause and has the type that the request wants: `<its type>.reply`
//! unless said otherwise. So anybody may answer who can publish, and whoever listens sees the answers go by. All requests of a
//! bus share one desk, found by the request's id: a subscription for each would rebuild the snapshot at each request.
//!
//! In reading order: `desk`, who waits for what; `reply`, answering; `error`. A request never retries, and never takes an
//! answer back.

mod desk;
mod error;
mod reply;

pub use desk::REQUESTS_MAX;
pub use error::{RequestError, RequestErrorKind};
pub use reply::Reply;

use crate::bus::{EventBus, Host, Published, Recorded};
use crate::clock::Deadline;
use crate::context::correlation;
use crate::dispatch::awaited::Told;
use crate::dispatch::watch::{DeliveryEnding, Watch};
use crate::event::{Event, EventPublishError, EventType, PublishErrorKind};
use crate::ids::InvalidText;
use crate::sync::Listener as _;
use desk::{Desk, Place};
use std::sync::Arc;
use std::time::Duration;

/// A request in the making; [`within`](Self::within) or [`within_async`](Self::within_async) makes it. Made by
/// [`EventBus::request`].
#[derive(Debug)]
#[must_use = "a request begins with `within` or `within_async`"]
pub struct Request<'a> {
    bus: &'a EventBus,
    event: Arc<Event>,
    reply_type: Option<Result<EventType, InvalidText>>,
}

impl EventBus {
    /// Begins a request: publishes the event, and waits for the first answer to it.
    ///
    /// A request without a correlation id gets that of its surroundings, or a new one; its answers have the same. Whoever hears
    /// it answers by [`Delivery::reply`](crate::Delivery::reply), or later by [`reply_to`](Self::reply_to). What is answered after
    /// the first answer, or after the limit, is an event like any other.
    ///
    /// ```
    /// use codomyrmex_events::{BoxError, Event, EventBus};
    /// use serde_json::json;
    /// use std::time::Duration;
    ///
    /// let bus = EventBus::new();
    /// bus.subscribe("review.wanted").subscriber_id("reviewer").handler(|request| -> Result<(), BoxError> {
    ///     request.reply(json!({"approved": true}))?;
    ///     Ok(())
    /// })?;
    /// let request = Event::builder("review.wanted", "coder").data(json!({"diff": "src/lib.rs"})).build()?;
    /// let answer = bus.request(request).within(Duration::from_secs(1))?;
    /// assert_eq!(answer.data().get("approved"), Some(&json!(true)));
    /// assert_eq!((answer.event_type().as_str(), answer.source().as_str()), ("review.wanted.reply", "reviewer"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn request(&self, event: impl Into<Arc<Event>>) -> Request<'_> {
        Request { bus: self, event: event.into(), reply_type: None }
    }
}

impl Request<'_> {
    /// Wants answers of this type, which must end with `.reply`; handlers learn it from the request's metadata, `reply_type`.
    /// Default: the request's own type with `.reply` after it.
    pub fn reply_type(mut self, name: impl TryInto<EventType, Error: Into<InvalidText>>) -> Self {
        self.reply_type = Some(name.try_into().map_err(Into::into));
        self
    }

    /// Publishes the request and waits for its answer, up to `limit` from when the request was accepted. It blocks the thread.
    /// Inside code that the bus runs, and on a manual bus, it does not wait, since the answer might wait for the caller; on an
    /// inline bus an answer that handlers give at once is there by then.
    ///
    /// # Errors
    /// See [`RequestErrorKind`].
    pub fn within(self, limit: Duration) -> Result<Recorded, RequestError> {
        let bus = self.bus;
        let mut waiting = self.prepare()?;
        let published = bus.publish_telling(Arc::clone(&waiting.event), Told::End(waiting.watch()));
        waiting.begin(published)?;
        let may_wait = !waiting.host.is_inside() && !waiting.host.is_driven();
        let deadline = Deadline::after(limit);
        loop {
            let told = waiting.watch().over.listen();
            if let Some(outcome) = waiting.look(bus) {
                return outcome.map_err(|kind| waiting.failed(kind));
            }
            if !may_wait {
                return Err(waiting.failed(RequestErrorKind::WouldDeadlock));
            }
            if deadline.is_past() {
                return Err(waiting.failed(RequestErrorKind::TimedOut { limit }));
            }
            told.wait_timeout(deadline.left());
        }
    }

    /// [`within`](Self::within) for async code: publishes when first polled, as [`EventBus::publish_async`] does, and waits without
    /// blocking the thread, inside an asynchronous handler too. It needs no particular runtime. Dropped, it waits no
    /// more; a request that was accepted is handled all the same, and its answer is an event like any other.
    ///
    /// # Errors
    /// See [`RequestErrorKind`].
    pub async fn within_async(self, limit: Duration) -> Result<Recorded, RequestError> {
        let bus = self.bus;
        let mut waiting = self.prepare()?;
        let published =
            bus.publish_telling_async(Arc::clone(&waiting.event), Told::End(waiting.watch())).await;
        waiting.begin(published)?;
        let mut timer = None;
        loop {
            let mut told = waiting.watch().over.listen();
            if let Some(outcome) = waiting.look(bus) {
                return outcome.map_err(|kind| waiting.failed(kind));
            }
            if timer.is_none() && !limit.is_zero() {
                timer = waiting.host.timer(limit);
            }
            match timer.as_mut().filter(|timer| !timer.is_past()) {
                Some(timer) => timer.or(&mut told).await,
                None => return Err(waiting.failed(waiting.end(limit))),
            }
        }
    }

    /// The request as it will be published, with a place at the desk.
    fn prepare(self) -> Result<Waiting, RequestError> {
        let Request { bus, mut event, reply_type } = self;
        match reply_type {
            Some(Ok(name)) if !name.as_str().ends_with(desk::SUFFIX) => {
                return Err(RequestError::new(RequestErrorKind::NoReplyType, event));
            }
            Some(Ok(name)) => {
                let marked = event.to_builder().metadata_entry(reply::REPLY_TYPE, name.as_str()).build();
                match marked {
                    Ok(marked) => event = Arc::new(marked),
                    Err(error) => return Err(RequestError::new(RequestErrorKind::Publish(error), event)),
                }
            }
            Some(Err(invalid)) => return Err(RequestError::new(invalid.into(), event)),
            None => {}
        }
        if event.correlation_id().is_none() {
            let id = correlation::current().unwrap_or_else(correlation::new_id);
            Arc::make_mut(&mut event).fill_context(Some(&id), None, None);
        }
        let place = reply::reply_type_of(&event)
            .map_err(RequestErrorKind::from)
            .and_then(|reply_type| Desk::of(bus)?.place(&event, reply_type));
        match place {
            Ok(place) => Ok(Waiting { event, place, host: bus.host(), sequence: 0, is_judged: false }),
            Err(kind) => Err(RequestError::new(kind, event)),
        }
    }
}

/// A request that waits for its answer.
struct Waiting {
    event: Arc<Event>,
    place: Place,
    host: Host,
    /// Of its publication.
    sequence: u64,
    /// Its deliveries were over when somebody looked, and one of them may still lead to an answer.
    is_judged: bool,
}

impl Waiting {
    fn watch(&self) -> &Arc<Watch> {
        self.place.watch()
    }

    /// The request was published, or was not.
    fn begin(&mut self, published: Result<Published, EventPublishError>) -> Result<(), RequestError> {
        match published {
            Ok(published) => {
                self.sequence = published.sequence();
                Ok(())
            }
            Err(error) if matches!(error.kind(), PublishErrorKind::Closed) => {
                Err(self.failed(RequestErrorKind::Closed))
            }
            Err(error) => Err(self.failed(RequestErrorKind::Publish(error))),
        }
    }

    fn failed(&self, kind: RequestErrorKind) -> RequestError {
        RequestError::new(kind, Arc::clone(&self.event))
    }

    /// How it ended, if it has.
    fn look(&mut self, bus: &EventBus) -> Option<Result<Recorded, RequestErrorKind>> {
        let is_open = self.host.is_open();
        let is_over = self.watch().is_over();
        // Looked for last: an answer that was given before the bus was closed or the handlers were done is there.
        if let Some(answer) = self.place.answer() {
            return Some(match reply::error_of(answer) {
                None => Ok(answer.clone()),
                Some(message) => {
                    Err(RequestErrorKind::Refused { message: message.to_owned(), answer: answer.clone() })
                }
            });
        }
        if !is_open {
            return Some(Err(RequestErrorKind::Closed));
        }
        if !is_over || std::mem::replace(&mut self.is_judged, true) {
            return None;
        }
        self.judge(bus).map(Err)
    }

    /// Whether nobody is left who may answer. Who has handled the request may answer later; so may who reads a feed.
    fn judge(&self, bus: &EventBus) -> Option<RequestErrorKind> {
        let report = self.watch().report(self.sequence);
        let succeeded = |ending: &DeliveryEnding| *ending == DeliveryEnding::Succeeded;
        let mut outcomes = report.outcomes().iter().filter(|outcome| !self.place.is_of_desk(outcome));
        if outcomes.clone().any(|outcome| succeeded(outcome.ending())) || bus.is_fed(&self.event) {
            return None;
        }
        let is_heard = outcomes.next().is_some() || report.is_dropped();
        Some(if is_heard { RequestErrorKind::Failed { report } } else { RequestErrorKind::Unheard })
    }

    /// Why it waits no longer.
    fn end(&self, limit: Duration) -> RequestErrorKind {
        if self.host.is_open() { RequestErrorKind::TimedOut { limit } } else { RequestErrorKind::Closed }
    }
}
