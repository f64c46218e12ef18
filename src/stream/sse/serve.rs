//! [`SseStream`]: a stream as server-sent events.

use super::super::async_stream::AsyncStream;
use super::super::consumer::StreamItem;
use super::super::frames::{self, Unsendable};
use super::super::query::{StreamQuery, StreamQueryError};
use super::super::remote::{Refusal, RemoteFeed, SlowClientPolicy};
use super::super::token::ResumeToken;
use super::frame::SseFrame;
use crate::bus::Recorded;
use crate::sync::{AtomicUsize, Ordering};
use axum::body::{Body, Bytes};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderName};
use axum::response::{IntoResponse, Response};
use futures_core::Stream;
use std::convert::Infallible;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

/// How many bytes are written at once, unless one frame is longer.
const CHUNK_BYTES: usize = 16 << 10;

/// Serves a stream as server-sent events, for `EventSource` in a browser and whoever reads `text/event-stream`. A handle,
/// cheap to clone. Made with the defaults; the methods change them.
///
/// ```
/// use axum::{Router, extract::State, response::Response, routing::get};
/// use codomyrmex_events::{AsyncStream, EventBus, SseStream, StreamQuery};
///
/// async fn serve(State(events): State<SseStream>, query: StreamQuery) -> Response {
///     events.respond(&query)
/// }
///
/// let bus = EventBus::new();
/// let events = SseStream::new(&AsyncStream::attach(&bus)).clients_max(100);
/// let app: Router = Router::new().route("/events", get(serve)).with_state(events);
/// ```
///
/// | event | data |
/// |---|---|
/// | `connect` | `{"kind":"connect","client":"...","bus":"...","token":"..."}` |
/// | `message` | the event as JSON, with its `sequence` |
/// | `lagged`, `reset`, `skipped`, `disconnect` | as [`WebSocketStream`](super::super::WebSocketStream) tells them |
///
/// The `id` is the resume token: a client that comes back with it as `Last-Event-ID`, as browsers do by themselves, goes on
/// without a gap. The stream's heartbeats are comments.
///
/// A client that reads slowly misses events as its policy says. One that has vanished without a word is noticed when the
/// connection can take no more of its heartbeats, which takes the operating system's time: who needs to know within seconds
/// serves WebSockets.
#[derive(Clone)]
pub struct SseStream {
    stream: AsyncStream,
    settings: Settings,
    clients: Arc<AtomicUsize>,
}

#[derive(Clone, Debug)]
struct Settings {
    buffer: usize,
    policy: SlowClientPolicy,
    clients_max: usize,
    globs_max: usize,
    frame_bytes_max: usize,
    retry: Duration,
}

impl SseStream {
    /// Serves a stream with the documented defaults.
    #[must_use]
    pub fn new(stream: &AsyncStream) -> Self {
        let settings = Settings {
            buffer: 100,
            policy: SlowClientPolicy::DropOldest,
            clients_max: 1_000,
            globs_max: 32,
            frame_bytes_max: 1 << 20,
            retry: Duration::from_secs(3),
        };
        SseStream { stream: stream.clone(), settings, clients: Arc::default() }
    }

    /// How many events may wait for a client, beside what it replays from the history; brought into 1 to 1,048,576.
    /// Default: 100.
    #[must_use]
    pub fn buffer(mut self, events: usize) -> Self {
        self.settings.buffer = events.clamp(1, crate::bus::FEED_ROOM_MAX);
        self
    }

    /// What becomes of a client for which more events would have to wait. Default: the oldest make room.
    #[must_use]
    pub fn slow_clients(mut self, policy: SlowClientPolicy) -> Self {
        self.settings.policy = policy;
        self
    }

    /// How many clients there may be at a time, of all clones; others get a 503. Default: 1,000.
    #[must_use]
    pub fn clients_max(mut self, clients: usize) -> Self {
        self.settings.clients_max = clients;
        self
    }

    /// How many globs a client may name. Default: 32.
    #[must_use]
    pub fn globs_max(mut self, globs: usize) -> Self {
        self.settings.globs_max = globs;
        self
    }

    /// How long an event's JSON may be, in bytes; in the place of one that needs more there is a `skipped`. Default: 1 MiB.
    #[must_use]
    pub fn frame_bytes_max(mut self, bytes: usize) -> Self {
        self.settings.frame_bytes_max = bytes;
        self
    }

    /// How long a client is told to wait before it comes back. Default: 3 s.
    #[must_use]
    pub fn retry(mut self, wait: Duration) -> Self {
        self.settings.retry = wait;
        self
    }

    /// How many clients there are.
    #[must_use]
    pub fn clients(&self) -> usize {
        self.clients.load(Ordering::SeqCst)
    }

    /// Answers a request: with the events, or with why there are none ([`Refusal`]).
    pub fn respond(&self, query: &StreamQuery) -> Response {
        match self.serve(query) {
            Ok(client) => {
                let no_buffering = HeaderName::from_static("x-accel-buffering");
                let headers =
                    [(CONTENT_TYPE, "text/event-stream"), (CACHE_CONTROL, "no-cache"), (no_buffering, "no")];
                (headers, Body::from_stream(client)).into_response()
            }
            Err(refusal) => refusal.into_response(),
        }
    }

    fn serve(&self, query: &StreamQuery) -> Result<SseClient, Refusal> {
        let place = Place::enter(&self.clients, self.settings.clients_max)?;
        let (patterns, start) = query.parsed(&[], self.settings.globs_max)?;
        if patterns.is_empty() {
            return Err(StreamQueryError::NoGlobs.into());
        }
        let (buffer, policy) = (self.settings.buffer, self.settings.policy);
        let feed = RemoteFeed::open(&self.stream, patterns, start, buffer, policy);
        let feed = feed.map_err(|_| Refusal::Ended)?;
        let token = feed.token().ok_or(Refusal::Ended)?;
        let hello = frames::connect(&feed.id().to_string(), &token);
        let settings = self.settings.clone();
        let hello = kind("connect", &token, &hello, |frame| frame.retry(settings.retry));
        let bus_id = token.bus_id().to_owned();
        Ok(SseClient { feed: Some(feed), bus_id, settings, text: hello, _place: place })
    }
}

/// One of the clients that there may be.
struct Place(Arc<AtomicUsize>);

impl Place {
    fn enter(clients: &Arc<AtomicUsize>, most: usize) -> Result<Self, Refusal> {
        let before = clients.fetch_add(1, Ordering::SeqCst);
        let place = Place(Arc::clone(clients));
        if before < most { Ok(place) } else { Err(Refusal::TooManyClients(most)) }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// A frame of a kind that has a place in the stream.
fn kind(name: &str, token: &ResumeToken, data: &str, with: impl Fn(SseFrame) -> SseFrame) -> String {
    let frame = with(SseFrame::new()).id(&token.to_string()).and_then(|frame| frame.event(name));
    frame.expect("tokens and kinds have no line breaks").data(data).finish()
}

/// A frame of a kind that has none.
fn notice(name: &str, data: &str) -> String {
    SseFrame::new().event(name).expect("kinds have no line breaks").data(data).finish()
}

/// What one client is sent, by the chunk. It is asked for more when the connection has room, and never before.
struct SseClient {
    /// None once it is over.
    feed: Option<RemoteFeed>,
    bus_id: String,
    settings: Settings,
    /// The next chunk.
    text: String,
    _place: Place,
}

impl SseClient {
    fn write(&mut self, item: Option<StreamItem>) {
        match item {
            Some(StreamItem::Event(event)) => self.write_event(&event),
            Some(StreamItem::Heartbeat) => self.text += &SseFrame::new().comment("heartbeat").finish(),
            Some(StreamItem::Reset) => self.text += &notice("reset", &frames::reset()),
            Some(StreamItem::Lagged(missed)) => {
                self.text += &notice("lagged", &frames::lagged(missed));
                if self.feed.as_ref().is_some_and(RemoteFeed::ends_with_lag) {
                    self.end("too slow");
                }
            }
            None => self.end("the stream has ended"),
        }
    }

    fn end(&mut self, reason: &str) {
        self.text += &notice("disconnect", &frames::disconnect(reason));
        self.feed = None;
    }

    fn write_event(&mut self, event: &Recorded) {
        let sequence = event.sequence();
        let token = ResumeToken::new(&self.bus_id, sequence);
        let bytes_max = self.settings.frame_bytes_max;
        let mut json = String::new();
        let written = event.write_json_with_sequence(sequence, &mut json);
        let unsendable = match written {
            Ok(()) if json.len() <= bytes_max => {
                self.text += &kind("message", &token, &json, |frame| frame);
                return;
            }
            Ok(()) => Unsendable::TooLarge { bytes: json.len() },
            Err(error) => Unsendable::Payload(error.to_string()),
        };
        let skipped = frames::skipped(sequence, &token, &unsendable.reason(bytes_max));
        self.text += &kind("skipped", &token, &skipped, |frame| frame);
    }
}

impl Stream for SseClient {
    type Item = Result<Bytes, Infallible>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let client = &mut *self;
        while client.text.len() < CHUNK_BYTES {
            let Some(feed) = &mut client.feed else { break };
            match feed.poll_next(context) {
                Poll::Ready(item) => client.write(item),
                Poll::Pending if client.text.is_empty() => return Poll::Pending,
                Poll::Pending => break,
            }
        }
        let chunk = std::mem::take(&mut client.text);
        Poll::Ready(if chunk.is_empty() { None } else { Some(Ok(chunk.into())) })
    }
}

impl fmt::Debug for SseStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SseStream").field("clients", &self.clients()).finish_non_exhaustive()
    }
}
