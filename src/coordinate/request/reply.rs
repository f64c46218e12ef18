//! Answering a request: an event that names it as its cause.

use super::desk::{Desk, SUFFIX};
use crate::bus::{EventBus, Published, Recorded};
use crate::dispatch::awaited::{Recorder, Told};
use crate::dispatch::handler::Delivery;
#[cfg(feature = "async")]
use crate::dispatch::owned::OwnedDelivery;
use crate::event::{Event, EventPublishError, EventType, Payload};
use crate::ids::{InvalidText, Source};
use std::sync::Arc;

/// The entry of a request's metadata that says what type its answer is to have.
pub(super) const REPLY_TYPE: &str = "reply_type";

/// The entry of an answer's metadata that says why the request was refused.
const REPLY_ERROR: &str = "reply_error";

/// The type that an answer to this event has.
pub(super) fn reply_type_of(request: &Event) -> Result<EventType, InvalidText> {
    let wanted = request.metadata().get(REPLY_TYPE).and_then(|wanted| wanted.as_str());
    match wanted.filter(|wanted| wanted.ends_with(SUFFIX)) {
        Some(wanted) => EventType::parse(wanted),
        None => EventType::parse(&[request.event_type().as_str(), SUFFIX].concat()),
    }
}

/// Why the request was refused, if this answer says so.
pub(super) fn error_of(answer: &Recorded) -> Option<&str> {
    answer.metadata().get(REPLY_ERROR)?.as_str()
}

/// An answer in the making: an event of the type that the request wants, with the request's id as its causation id, and its
/// correlation id and priority. Made by [`EventBus::reply_to`].
#[derive(Debug)]
#[must_use = "an answer is given by `send` or `send_error`"]
pub struct Reply<'a> {
    bus: &'a EventBus,
    request: &'a Event,
    source: Result<Source, InvalidText>,
}

impl EventBus {
    /// Begins an answer to a request, from wherever and whenever: all that is needed is its event.
    ///
    /// ```
    /// use codomyrmex_events::{Event, EventBus};
    /// use serde_json::json;
    /// use std::{sync::mpsc, thread, time::Duration};
    ///
    /// let bus = EventBus::new();
    /// let (asked, questions) = mpsc::channel();
    /// bus.subscribe("deploy.wanted").handler(move |request| asked.send(request.event().clone()))?;
    /// let answering = bus.clone();
    /// let person = thread::spawn(move || {
    ///     let request = questions.recv().expect("somebody asks");
    ///     answering.reply_to(&request).source("operator").send(json!({"go": true})).map(drop)
    /// });
    /// let request = Event::builder("deploy.wanted", "pipeline").build()?;
    /// let answer = bus.request(request).within(Duration::from_secs(60))?;
    /// assert_eq!(answer.source(), &"operator");
    /// # person.join().unwrap()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn reply_to<'a>(&'a self, request: &'a Event) -> Reply<'a> {
        Reply { bus: self, request, source: Ok(const { Source::from_static("reply") }) }
    }
}

impl Reply<'_> {
    /// Who answers. Default: `reply`; of a delivery's own methods, the id of its subscription.
    pub fn source(mut self, source: impl TryInto<Source, Error: Into<InvalidText>>) -> Self {
        self.source = source.try_into().map_err(Into::into);
        self
    }

    /// Answers. The requester has the answer before those who hear the event do.
    ///
    /// # Errors
    /// A source that is none; a type of over 256 bytes; whatever [`EventBus::publish`] refuses.
    pub fn send(self, data: impl Into<Payload>) -> Result<Published, EventPublishError> {
        let (bus, event) = self.event(data.into(), None)?;
        bus.publish_telling(event, Told::Record(&desk_of(bus)))
    }

    /// Answers that the request is refused: the requester gets `RequestErrorKind::Refused` with this message. The event says
    /// so in its metadata, as `reply_error`.
    ///
    /// # Errors
    /// As [`send`](Self::send).
    pub fn send_error(self, message: impl Into<String>) -> Result<Published, EventPublishError> {
        let (bus, event) = self.event(Payload::absent(), Some(message.into()))?;
        bus.publish_telling(event, Told::Record(&desk_of(bus)))
    }

    /// [`send`](Self::send) for async code, as [`EventBus::publish_async`].
    ///
    /// # Errors
    /// As [`send`](Self::send).
    pub async fn send_async(self, data: impl Into<Payload>) -> Result<Published, EventPublishError> {
        let (bus, event) = self.event(data.into(), None)?;
        bus.publish_telling_async(event, Told::Record(&desk_of(bus))).await
    }

    fn event(
        &self,
        data: Payload,
        error: Option<String>,
    ) -> Result<(&EventBus, Arc<Event>), EventPublishError> {
        let mut builder = Event::builder(reply_type_of(self.request)?, self.source.clone()?)
            .causation_id(self.request.event_id().clone())
            .priority(self.request.priority())
            .data(data);
        if let Some(id) = self.request.correlation_id() {
            builder = builder.correlation_id(id);
        }
        if let Some(error) = error {
            builder = builder.metadata_entry(REPLY_ERROR, error);
        }
        Ok((self.bus, Arc::new(builder.build()?)))
    }
}

/// Who is told of an answer when it is recorded. Whoever answers a request that nobody waits for makes a desk, which is small.
fn desk_of(bus: &EventBus) -> Arc<dyn Recorder> {
    bus.part::<Desk>()
}

impl Delivery<'_> {
    /// Answers the event as a request: see [`EventBus::request`]. The source is the id of this subscription.
    ///
    /// # Errors
    /// As [`Reply::send`].
    pub fn reply(&self, data: impl Into<Payload>) -> Result<Published, EventPublishError> {
        self.bus().reply_to(self.event()).source(self.subscriber_id()).send(data)
    }

    /// Answers that the request is refused.
    ///
    /// # Errors
    /// As [`Reply::send_error`].
    pub fn reply_error(&self, message: impl Into<String>) -> Result<Published, EventPublishError> {
        self.bus().reply_to(self.event()).source(self.subscriber_id()).send_error(message)
    }
}

#[cfg(feature = "async")]
impl OwnedDelivery {
    /// Answers the event as a request: see [`EventBus::request`]. The source is the id of this subscription. Where there is no
    /// room for the answer it does not wait; [`reply_async`](Self::reply_async) does.
    ///
    /// # Errors
    /// As [`Reply::send`].
    pub fn reply(&self, data: impl Into<Payload>) -> Result<Published, EventPublishError> {
        self.bus().reply_to(self.event()).source(self.subscriber_id()).send(data)
    }

    /// [`reply`](Self::reply), waiting for room as [`EventBus::publish_async`] does.
    ///
    /// # Errors
    /// As [`Reply::send`].
    pub async fn reply_async(&self, data: impl Into<Payload>) -> Result<Published, EventPublishError> {
        self.bus().reply_to(self.event()).source(self.subscriber_id()).send_async(data).await
    }

    /// Answers that the request is refused.
    ///
    /// # Errors
    /// As [`Reply::send_error`].
    pub fn reply_error(&self, message: impl Into<String>) -> Result<Published, EventPublishError> {
        self.bus().reply_to(self.event()).source(self.subscriber_id()).send_error(message)
    }
}
