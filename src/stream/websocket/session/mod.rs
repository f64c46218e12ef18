//! [`Session`]: one client from its beginning to its end, as one future.
//!
//! In each turn it hears the client, then speaks: what is most urgent first, and one frame only after the socket has taken
//! the last. It stops listening while answers wait, so that a client which talks and never reads fills no memory.

mod replies;

use super::super::query::StreamQuery;
use super::super::remote::RemoteFeed;
use super::alarm::Alarm;
use super::client::{Client, ClientEnd, Goodbye};
use super::hub::{Place, Shared};
use super::settings::Settings;
use crate::clock::Moment;
use crate::sync::Ordering;
use axum::body::Bytes;
use axum::extract::ws::{Message, WebSocket, close_code};
use futures_core::Stream;
use futures_sink::Sink;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

/// How many answers may wait.
const ANSWERS_MAX: usize = 4;

/// How many turns it takes before others have theirs.
const TURNS_MAX: usize = 64;

/// What came of a turn.
enum Turn {
    /// Something was done, and there may be more.
    Moved,
    /// Whatever comes next wakes the task.
    Waits,
    Over(ClientEnd),
}

pub(super) struct Session {
    socket: WebSocket,
    /// Before the place: who waits until a client has left finds its subscription gone.
    feed: Option<RemoteFeed>,
    /// None for one that was not taken in.
    place: Option<Place>,
    shared: Arc<Shared>,
    bus_id: String,
    /// To be sent before events, the next one first.
    answers: Vec<Message>,
    faults: usize,
    alarm: Alarm,
    heard: Moment,
    pinged: Moment,
    /// Since when the socket takes nothing.
    stalled: Option<Moment>,
    /// Something was handed to the socket and perhaps not written yet.
    is_unflushed: bool,
    /// It is being written, and nothing else is handed over until it is.
    is_flushing: bool,
    /// The socket cannot be read any more.
    is_deaf: bool,
    closing: Option<Closing>,
}

struct Closing {
    since: Moment,
    end: ClientEnd,
}

impl Session {
    /// A client that was taken in.
    pub(super) fn new(socket: WebSocket, place: Place, query: &StreamQuery) -> Self {
        let shared = Arc::clone(&place.shared);
        let mut session = Session::begin(socket, &shared, Some(place));
        if let Err(goodbye) = session.connect(query) {
            session.leave(goodbye);
        }
        session
    }

    /// A client that is told why it was not.
    pub(super) fn refused(socket: WebSocket, shared: &Arc<Shared>, goodbye: Goodbye) -> Self {
        let mut session = Session::begin(socket, shared, None);
        session.leave(goodbye);
        session
    }

    fn begin(socket: WebSocket, shared: &Arc<Shared>, place: Option<Place>) -> Self {
        let alarm = Alarm::new(shared.stream.host().clone());
        let now = alarm.now();
        Session {
            socket,
            place,
            shared: Arc::clone(shared),
            feed: None,
            bus_id: String::new(),
            answers: Vec::new(),
            faults: 0,
            heard: now,
            pinged: now,
            alarm,
            stalled: None,
            is_unflushed: false,
            is_flushing: false,
            is_deaf: false,
            closing: None,
        }
    }

    fn settings(&self) -> &Settings {
        &self.shared.settings
    }

    fn client(&self) -> Option<&Client> {
        self.place.as_ref().map(|place| &*place.client)
    }

    pub(super) fn poll(&mut self, context: &mut Context<'_>) -> Poll<ClientEnd> {
        if let Some(client) = self.client() {
            client.waker.register(context.waker());
            if client.is_cut.load(Ordering::Acquire) {
                return Poll::Ready(ClientEnd::Stalled);
            }
        }
        for _ in 0..TURNS_MAX {
            let heard = self.hear(context);
            let spoken = if matches!(heard, Turn::Over(_)) { Turn::Waits } else { self.speak(context) };
            match (heard, spoken) {
                (Turn::Over(end), _) | (_, Turn::Over(end)) => return Poll::Ready(end),
                (Turn::Waits, Turn::Waits) => match self.wait(context) {
                    Turn::Over(end) => return Poll::Ready(end),
                    Turn::Waits => return Poll::Pending,
                    Turn::Moved => {}
                },
                _ => {}
            }
        }
        context.waker().wake_by_ref();
        Poll::Pending
    }

    /// How it ends when the connection does.
    fn ended(&self) -> Turn {
        let end = self.closing.as_ref().map_or(ClientEnd::Left, |closing| closing.end.clone());
        Turn::Over(end)
    }

    fn hear(&mut self, context: &mut Context<'_>) -> Turn {
        if self.is_deaf || (self.answers.len() >= ANSWERS_MAX && self.closing.is_none()) {
            return Turn::Waits;
        }
        let message = match Pin::new(&mut self.socket).poll_next(context) {
            Poll::Pending => return Turn::Waits,
            Poll::Ready(None) => return self.ended(),
            Poll::Ready(Some(Err(error))) if is_broken(&error.to_string()) => return self.ended(),
            Poll::Ready(Some(Err(error))) => {
                self.is_deaf = true;
                self.leave(unreadable(&error.to_string()));
                return Turn::Moved;
            }
            Poll::Ready(Some(Ok(message))) => message,
        };
        self.heard = self.alarm.now();
        match message {
            Message::Close(_) => {
                // The answer to it is on its way; what is not written by then is not wanted.
                self.feed = None;
                self.answers.clear();
                self.closing.get_or_insert(Closing { since: self.heard, end: ClientEnd::Left });
            }
            // The socket has put a pong in its buffer.
            Message::Ping(_) => self.is_unflushed = true,
            Message::Pong(_) => {}
            _ if self.closing.is_some() => {}
            Message::Text(text) if text.len() <= self.settings().message_bytes_max => {
                self.heed(text.as_str());
            }
            Message::Text(_) => self.leave(Goodbye::new(close_code::SIZE, "a message is too long")),
            Message::Binary(_) => self.fault("a message is a text"),
        }
        Turn::Moved
    }

    fn speak(&mut self, context: &mut Context<'_>) -> Turn {
        if self.is_flushing {
            match Pin::new(&mut self.socket).poll_flush(context) {
                Poll::Pending => return self.stall(),
                Poll::Ready(Err(_)) => return self.ended(),
                Poll::Ready(Ok(())) => (self.is_flushing, self.stalled) = (false, None),
            }
        }
        match Pin::new(&mut self.socket).poll_ready(context) {
            Poll::Pending => return self.stall(),
            Poll::Ready(Err(_)) => return self.ended(),
            Poll::Ready(Ok(())) => self.stalled = None,
        }
        if let Some(message) = self.next_message(context) {
            self.is_unflushed = true;
            let sent = Pin::new(&mut self.socket).start_send(message);
            return if sent.is_ok() { Turn::Moved } else { self.ended() };
        }
        if std::mem::take(&mut self.is_unflushed) {
            self.is_flushing = true;
            return Turn::Moved;
        }
        // All was said, and nothing can be heard.
        if self.is_deaf && self.closing.is_some() { self.ended() } else { Turn::Waits }
    }

    fn stall(&mut self) -> Turn {
        self.stalled.get_or_insert(self.alarm.now());
        Turn::Waits
    }

    /// What is most urgent.
    fn next_message(&mut self, context: &mut Context<'_>) -> Option<Message> {
        if let Some(goodbye) = self.client().and_then(|client| client.goodbye.get()).cloned() {
            self.leave(goodbye);
        }
        if self.closing.is_none() && self.alarm.now() >= self.pinged.after(self.settings().ping_every) {
            self.pinged = self.alarm.now();
            return Some(Message::Ping(Bytes::new()));
        }
        if !self.answers.is_empty() {
            return Some(self.answers.remove(0));
        }
        if self.closing.is_some() {
            return None;
        }
        if let Some(frame) = self.client().and_then(|client| client.outbox.pop()) {
            return Some(Message::Text(frame));
        }
        let polled = match &mut self.feed {
            Some(feed) => feed.poll_next(context),
            None if self.shared.stream.is_over() => Poll::Ready(None),
            None => return None,
        };
        let item = match polled {
            Poll::Pending => return None,
            Poll::Ready(Some(item)) => item,
            Poll::Ready(None) => {
                self.leave(Goodbye::away("the stream has ended"));
                return Some(self.answers.remove(0));
            }
        };
        Some(Message::text(self.frame(item)))
    }

    /// Nothing can be done now: waits for the next moment at which something has to be, or ends what took too long.
    fn wait(&mut self, context: &mut Context<'_>) -> Turn {
        let now = self.alarm.now();
        let settings = self.settings();
        let (mut next, end) = match &self.closing {
            Some(closing) => (closing.since.after(settings.close_time_max), closing.end.clone()),
            None => (self.heard.after(settings.silence_max), ClientEnd::Silent),
        };
        if now >= next {
            return Turn::Over(end);
        }
        if let Some(stalled) = self.stalled {
            let limit = stalled.after(settings.write_time_max);
            if now >= limit {
                return Turn::Over(ClientEnd::Stalled);
            }
            next = next.min(limit);
        } else if self.closing.is_none() {
            next = next.min(self.pinged.after(settings.ping_every));
        }
        match self.alarm.poll(next, context) {
            Poll::Pending => Turn::Waits,
            Poll::Ready(Some(())) => Turn::Moved,
            // Nothing would ever end the wait.
            Poll::Ready(None) => Turn::Over(end),
        }
    }
}

/// Whether the connection is gone, so that nothing can be told any more. The socket's errors are texts to us.
fn is_broken(error: &str) -> bool {
    error.starts_with("IO error") || error.contains("without closing handshake")
}

fn unreadable(error: &str) -> Goodbye {
    let code = match error {
        error if error.contains("too long") => close_code::SIZE,
        error if error.starts_with("UTF-8") => close_code::INVALID,
        _ => close_code::PROTOCOL,
    };
    Goodbye::new(code, error)
}
