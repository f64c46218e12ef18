//! [`WebSocketStream`], which has the clients.

use super::super::async_stream::AsyncStream;
use super::super::frames;
use super::super::query::StreamQuery;
use super::super::remote::ClientRefusal;
use super::alarm::Alarm;
use super::client::{Client, ClientEnd, ClientId, ClientInfo, Goodbye, SendToError};
use super::session::Session;
use super::settings::{Settings, WebSocketStreamBuilder};
use crate::matcher::PATTERN_BYTES_MAX;
use crate::sync::{AtomicBool, AtomicU64, Ordering, Signal};
use axum::extract::ws::{Utf8Bytes, WebSocket, WebSocketUpgrade, close_code};
use axum::response::{IntoResponse, Response};
use dashmap::DashMap;
use serde::Serialize;
use std::fmt;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

/// Serves a stream to clients over WebSockets (`axum`'s type), as JSON texts. A handle, cheap to clone.
///
/// ```
/// use axum::{Router, extract::{State, WebSocketUpgrade}, response::Response, routing::get};
/// use codomyrmex_events::{AsyncStream, EventBus, StreamQuery, WebSocketStream};
///
/// async fn live(State(live): State<WebSocketStream>, query: StreamQuery, upgrade: WebSocketUpgrade) -> Response {
///     live.upgrade(upgrade, query)
/// }
///
/// let bus = EventBus::new();
/// let clients = WebSocketStream::new(&AsyncStream::attach(&bus));
/// let app: Router = Router::new().route("/live", get(live)).with_state(clients);
/// ```
///
/// # What a client is told
///
/// One JSON object in each text message, with a `kind`:
///
/// | kind | with | when |
/// |---|---|---|
/// | `connect` | `client`, `bus`, `token` | at first |
/// | `message` | `sequence`, `token`, `event` | for each event, in ascending sequence |
/// | `lagged` | `missed` | it missed so many events at this place |
/// | `reset` | | its token was of another bus, or of a former life of this one: what follows is all there is |
/// | `skipped` | `sequence`, `token`, `reason` | an event that cannot be sent |
/// | `heartbeat` | `token` | nothing came for as long as the stream's heartbeat takes |
/// | `subscribed` | `globs` | its globs have changed |
/// | `application` | `value` | somebody [sent](Self::send_to) it this |
/// | `pong` | `ping` | it sent a ping of its own |
/// | `error` | `error` | its message was no good; it stays connected, unless that happens 16 times |
/// | `disconnect` | `reason` | it has to go; a closing code follows |
///
/// A `token` says where the client stands. Who connects again with the last one goes on without a gap.
///
/// # What a client may say
///
/// One JSON object in a text message:
///
/// | message | means |
/// |---|---|
/// | `{"subscribe":["build.*"]}` | these globs, in the place of those it has |
/// | `{"add":["deploy.*"]}`, `{"remove":["build.*"]}` | these as well, or no longer |
/// | `{"after":"<token>"}`, alone or with one of those | from after this token on |
/// | `{"ping":<value>}` | answer me |
///
/// Without `after`, globs change for what is published from then on: what waits for the client under the old globs comes
/// first, and an event that both let in is there exactly once.
///
/// # How a client ends
///
/// | code | when |
/// |---|---|
/// | 1001 | the stream has ended, or was [stopped](Self::stop) |
/// | 1002, 1007, 1009 | it sent what is no WebSocket message, what is no UTF-8, or too long a message |
/// | 1008 | too many bad messages; a bad question when it connected; [`disconnect`](Self::disconnect) |
/// | 1013 | it was too slow, or there are too many clients |
///
/// One that is silent for too long, pongs included, or does not take what is written to it, is cut off. The stream's bus has the
/// time for that, even if nothing is published; after its end, the runtime has.
///
/// Clients go on without the handle that served them, until they leave, the stream or its bus ends, or they are stopped.
#[derive(Clone)]
pub struct WebSocketStream {
    shared: Arc<Shared>,
}

pub(super) struct Shared {
    pub(super) stream: AsyncStream,
    pub(super) settings: Settings,
    clients: DashMap<ClientId, Arc<Client>>,
    /// Those in `clients`, and those that are just coming in.
    count: AtomicU64,
    last_id: AtomicU64,
    is_stopped: AtomicBool,
    one_left: Signal,
}

impl Shared {
    pub(super) fn new(stream: AsyncStream, settings: Settings) -> Self {
        Shared {
            stream,
            settings,
            clients: DashMap::new(),
            count: AtomicU64::new(0),
            last_id: AtomicU64::new(0),
            is_stopped: AtomicBool::new(false),
            one_left: Signal::new(),
        }
    }

    fn refusal(&self) -> Option<ClientRefusal> {
        let most = self.settings.clients_max;
        if self.is_stopped.load(Ordering::SeqCst) || self.stream.is_over() {
            Some(ClientRefusal::Ended)
        } else if self.count.load(Ordering::SeqCst) >= most as u64 {
            Some(ClientRefusal::TooManyClients(most))
        } else {
            None
        }
    }

    /// Takes a client in, until the place is dropped.
    pub(super) fn enter(self: &Arc<Self>) -> Result<Place, ClientRefusal> {
        if let Some(refusal) = self.refusal() {
            return Err(refusal);
        }
        let most = self.settings.clients_max;
        if self.count.fetch_add(1, Ordering::SeqCst) >= most as u64 {
            self.count.fetch_sub(1, Ordering::SeqCst);
            return Err(ClientRefusal::TooManyClients(most));
        }
        let id = ClientId(self.last_id.fetch_add(1, Ordering::Relaxed) + 1);
        let client = Arc::new(Client::new(id, self.settings.outbox));
        self.clients.insert(id, Arc::clone(&client));
        let place = Place { shared: Arc::clone(self), client };
        // Whoever stops it finds this client, or this client finds it stopped.
        if self.is_stopped.load(Ordering::SeqCst) { Err(ClientRefusal::Ended) } else { Ok(place) }
    }

    fn all(&self) -> Vec<Arc<Client>> {
        self.clients.iter().map(|client| Arc::clone(&client)).collect()
    }
}

/// A client's place.
pub(super) struct Place {
    pub(super) shared: Arc<Shared>,
    pub(super) client: Arc<Client>,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.shared.clients.remove(&self.client.id);
        self.shared.count.fetch_sub(1, Ordering::SeqCst);
        self.shared.one_left.notify(usize::MAX);
    }
}

impl WebSocketStream {
    /// Serves a stream with the documented defaults.
    #[must_use]
    pub fn new(stream: &AsyncStream) -> Self {
        WebSocketStream::builder().attach(stream).expect("the defaults are in range")
    }

    /// Serves a stream otherwise than by the defaults.
    pub fn builder() -> WebSocketStreamBuilder {
        WebSocketStreamBuilder::new()
    }

    pub(super) fn of(shared: Arc<Shared>) -> Self {
        WebSocketStream { shared }
    }

    /// Answers a request: with the upgrade to a client, or with why there is none ([`ClientRefusal`]). It sets the bounds of what is
    /// read and written, and serves the client in a task of its own.
    pub fn upgrade(&self, upgrade: WebSocketUpgrade, query: StreamQuery) -> Response {
        let settings = &self.shared.settings;
        let question = query.parsed(&settings.globs, settings.globs_max).map_err(ClientRefusal::from);
        if let Some(refusal) = self.shared.refusal().or(question.err()) {
            return refusal.into_response();
        }
        let live = self.clone();
        self.bounded(upgrade).on_upgrade(async move |socket| {
            let end = live.serve(socket, query).await;
            tracing::debug!(?end, "a client of a stream is gone");
        })
    }

    /// Sets the bounds of what is read from a client and written to it, for those who serve the socket themselves. A socket
    /// without bounds takes messages of 64 MiB, and buffers without end.
    pub fn bounded(&self, upgrade: WebSocketUpgrade) -> WebSocketUpgrade {
        let settings = &self.shared.settings;
        let buffer = settings.write_buffer_bytes;
        // The longest of those that tell an event, or all the globs of a client: each byte may take six.
        let frame = settings.frame_bytes_max.max(settings.globs_max * (6 * PATTERN_BYTES_MAX + 3));
        upgrade
            .read_buffer_size(16 << 10)
            .max_message_size(settings.message_bytes_max)
            .max_frame_size(settings.message_bytes_max)
            .write_buffer_size(buffer)
            // The buffer, the frame that overfills it, and the headers of those and of pongs and closings.
            .max_write_buffer_size(buffer + frame + (4 << 10))
    }

    /// Serves one client to its end, which it returns. Dropping the future ends the client at once.
    pub fn serve(
        &self,
        socket: WebSocket,
        query: StreamQuery,
    ) -> impl Future<Output = ClientEnd> + Send + use<> {
        let shared = Arc::clone(&self.shared);
        async move {
            let place = match shared.enter() {
                Ok(place) => place,
                Err(refusal) => {
                    let code =
                        if refusal == ClientRefusal::Ended { close_code::AWAY } else { close_code::AGAIN };
                    let mut session =
                        Session::refused(socket, &shared, Goodbye::new(code, refusal.to_string()));
                    return poll_fn(|context| session.poll(context)).await;
                }
            };
            let mut session = Session::new(socket, place, &query);
            poll_fn(|context| session.poll(context)).await
        }
    }

    /// The clients there are, in the order in which they came.
    #[must_use]
    pub fn clients(&self) -> Vec<ClientInfo> {
        let buffered = |id| self.shared.stream.stats(id).map_or(0, |stats| stats.buffered);
        let mut clients: Vec<_> = self.shared.all().iter().map(|client| client.info(buffered)).collect();
        clients.sort_unstable_by_key(|client| client.id);
        clients
    }

    /// Sends a value to one client, as `{"kind":"application","value":...}`. It waits beside the client's events, up to the
    /// bound of the [outbox](WebSocketStreamBuilder::outbox), and goes before them. `Ok` says that it waits, not that it arrived.
    ///
    /// # Errors
    /// No such client; a full outbox; a value that is too large or cannot become JSON.
    pub fn send_to<T: Serialize + ?Sized>(&self, client: ClientId, value: &T) -> Result<(), SendToError> {
        let frame = self.frame(value)?;
        let known = self.shared.clients.get(&client).map(|client| Arc::clone(&client));
        known.ok_or(SendToError::Gone(client))?.send(frame)
    }

    /// Sends a value to all clients. Returns those that it was not sent to, and why.
    ///
    /// # Errors
    /// A value that is too large or cannot become JSON.
    pub fn broadcast<T: Serialize + ?Sized>(&self, value: &T) -> Result<Vec<SendToError>, SendToError> {
        let frame = self.frame(value)?;
        let refused = |client: Arc<Client>| client.send(frame.clone()).err();
        Ok(self.shared.all().into_iter().filter_map(refused).collect())
    }

    fn frame<T: Serialize + ?Sized>(&self, value: &T) -> Result<Utf8Bytes, SendToError> {
        let frame = frames::application(&serde_json::to_string(value)?);
        let most = self.shared.settings.frame_bytes_max;
        let bytes = frame.len();
        if bytes > most { Err(SendToError::TooLarge { bytes, most }) } else { Ok(frame.into()) }
    }

    /// Sends a client away, with code 1008 and this reason, of which it is told what fits. False if there is none.
    pub fn disconnect(&self, client: ClientId, reason: &str) -> bool {
        let known = self.shared.clients.get(&client).map(|client| Arc::clone(&client));
        known.map(|client| client.send_away(Goodbye::policy(reason))).is_some()
    }

    /// Takes no more clients in, sends all away with code 1001, and waits until they have left. Those that have not within
    /// the limit are cut off; returns how many those were.
    pub async fn stop(&self, limit: Duration) -> usize {
        self.shared.is_stopped.store(true, Ordering::SeqCst);
        for client in self.shared.all() {
            client.send_away(Goodbye::away("the server stops"));
        }
        let mut alarm = Alarm::new(self.shared.stream.host().clone());
        let until = alarm.now().after(limit);
        let mut left = pin!(self.shared.one_left.listen());
        poll_fn(|context| {
            while !self.shared.clients.is_empty() {
                if left.as_mut().poll(context).is_ready() {
                    left.set(self.shared.one_left.listen());
                    continue;
                }
                match alarm.poll(until, context) {
                    Poll::Pending => return Poll::Pending,
                    Poll::Ready(Some(())) if alarm.now() < until => {}
                    // Or nothing would ever end the wait.
                    Poll::Ready(_) => break,
                }
            }
            Poll::Ready(())
        })
        .await;
        let rest = self.shared.all();
        rest.iter().for_each(|client| client.cut());
        rest.len()
    }
}

impl fmt::Debug for WebSocketStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WebSocketStream").field("clients", &self.shared.clients.len()).finish_non_exhaustive()
    }
}
