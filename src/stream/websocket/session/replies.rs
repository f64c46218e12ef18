//! What a client is told: where it stands, answers to what it says, its events, and a farewell.

use super::super::super::consumer::StreamItem;
use super::super::super::frames;
use super::super::super::query::StreamQuery;
use super::super::super::remote::RemoteFeed;
use super::super::super::subscribe::StreamStart;
use super::super::super::token::ResumeToken;
use super::super::client::{ClientEnd, Goodbye};
use super::super::request::{Request, Wish};
use super::{Closing, Session};
use crate::bus::Recorded;
use crate::matcher::Pattern;
use crate::sync::Ordering;
use axum::extract::ws::{CloseFrame, Message};

/// How long the reason in a closing frame may be, in bytes.
const CLOSE_REASON_BYTES_MAX: usize = 123;

impl Session {
    /// Subscribes to what the client asks for, and tells it where it stands.
    pub(super) fn connect(&mut self, query: &StreamQuery) -> Result<(), Goodbye> {
        let settings = self.settings();
        let parsed = query.parsed(&settings.globs, settings.globs_max);
        let (patterns, start) = parsed.map_err(|error| Goodbye::policy(error.to_string()))?;
        if !patterns.is_empty() {
            self.open(patterns, start)?;
        }
        let token = self.feed.as_ref().and_then(RemoteFeed::token).or_else(|| self.shared.stream.here());
        let token = token.ok_or_else(|| Goodbye::away("the stream has ended"))?;
        token.bus_id().clone_into(&mut self.bus_id);
        if let Some(client) = self.client() {
            let connect = frames::connect(&client.id.to_string(), &token);
            self.answers.push(Message::text(connect));
        }
        Ok(())
    }

    fn open(&mut self, patterns: Vec<Pattern>, start: StreamStart) -> Result<(), Goodbye> {
        let (buffer, policy) = (self.settings().buffer, self.settings().policy);
        let feed = RemoteFeed::open(&self.shared.stream, patterns, start, buffer, policy);
        self.feed = Some(feed.map_err(|error| Goodbye::away(&error.to_string()))?);
        self.note_feed();
        Ok(())
    }

    fn note_feed(&self) {
        if let Some(client) = self.client() {
            client.note_feed(self.feed.as_ref());
        }
    }

    /// Does what a client says.
    pub(super) fn heed(&mut self, text: &str) {
        let globs = self.feed.as_ref().map_or(&[][..], RemoteFeed::patterns);
        let globs_max = self.settings().globs_max;
        let wish = Request::parse(text)
            .and_then(|request| request.wish(globs, globs_max).map_err(|error| error.to_string()));
        match wish {
            Ok(Wish::Pong(ping)) => self.answers.push(Message::text(frames::pong(&ping))),
            Ok(Wish::Globs(globs, after)) => {
                let subscribed = frames::subscribed(globs.iter().map(Pattern::as_str));
                match self.change(globs, after) {
                    Ok(()) => self.answers.push(Message::text(subscribed)),
                    Err(goodbye) => self.leave(goodbye),
                }
            }
            Err(error) => self.fault(&error),
        }
    }

    fn change(&mut self, globs: Vec<Pattern>, after: Option<ResumeToken>) -> Result<(), Goodbye> {
        match (&mut self.feed, after) {
            _ if globs.is_empty() => {
                self.feed = None;
                self.note_feed();
                Ok(())
            }
            (_, Some(token)) => self.open(globs, StreamStart::After(token)),
            (None, None) => self.open(globs, StreamStart::Now),
            (Some(feed), None) => {
                feed.change(globs).map_err(|error| Goodbye::away(&error.to_string()))?;
                self.note_feed();
                Ok(())
            }
        }
    }

    pub(super) fn fault(&mut self, error: &str) {
        self.answers.push(Message::text(frames::error(error)));
        self.faults += 1;
        if self.faults >= self.settings().faults_max {
            self.leave(Goodbye::policy("too many bad messages"));
        }
    }

    /// Sends the client away: what it was to be told before is still told.
    pub(super) fn leave(&mut self, goodbye: Goodbye) {
        if self.closing.is_some() {
            return;
        }
        self.feed = None;
        let Goodbye { code, reason } = goodbye;
        self.answers.push(Message::text(frames::disconnect(&reason)));
        let short = &reason[..reason.floor_char_boundary(CLOSE_REASON_BYTES_MAX)];
        self.answers.push(Message::Close(Some(CloseFrame { code, reason: short.into() })));
        self.closing = Some(Closing { since: self.alarm.now(), end: ClientEnd::SentAway(reason) });
    }

    pub(super) fn frame(&mut self, item: StreamItem) -> String {
        match item {
            StreamItem::Event(event) => self.event_frame(&event),
            StreamItem::Heartbeat => {
                frames::heartbeat(self.feed.as_ref().and_then(RemoteFeed::token).as_ref())
            }
            StreamItem::Lagged(missed) => {
                self.note_missed(missed);
                if self.feed.as_ref().is_some_and(RemoteFeed::ends_with_lag) {
                    self.leave(Goodbye::again("too slow"));
                }
                frames::lagged(missed)
            }
            StreamItem::Reset => frames::reset(),
        }
    }

    fn event_frame(&self, event: &Recorded) -> String {
        let token = ResumeToken::new(&self.bus_id, event.sequence());
        let bytes_max = self.settings().frame_bytes_max;
        match frames::message(event, &token, bytes_max) {
            Ok(frame) => {
                if let Some(client) = self.client() {
                    client.delivered.fetch_add(1, Ordering::Relaxed);
                }
                frame
            }
            Err(unsendable) => {
                self.note_missed(1);
                frames::skipped(event.sequence(), &token, &unsendable.reason(bytes_max))
            }
        }
    }

    fn note_missed(&self, missed: u64) {
        if let Some(client) = self.client() {
            client.missed.fetch_add(missed, Ordering::Relaxed);
        }
    }
}
