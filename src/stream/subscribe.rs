//! A stream's subscription in the making, and what it begins with.

use super::async_stream::StreamId;
use super::consumer::{Inlet, StreamItem};
use super::hub::Hub;
use super::token::ResumeToken;
use crate::bus::{EventBus, FeedOverflow, FeedReader, IntoPatterns, Recorded};
use crate::clock::Timestamp;
use crate::error::{EventSubscriptionError, SubscriptionErrorKind};
use crate::event::Event;
use crate::matcher::Pattern;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// Where a stream starts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum StreamStart {
    /// With what is published from now on.
    #[default]
    Now,
    /// With this publication. Of those that the history does not keep any more, whether they would have matched or not, the
    /// first item tells the number.
    Sequence(u64),
    /// With the events of the history whose timestamp is at or after this. If the oldest that is kept is one of those, older
    /// ones may be gone that were as well, and the first item tells how many are gone in all.
    Time(Timestamp),
    /// With the last so many events of the history that match.
    Last(usize),
    /// After the publication that a reader saw last, as with [`Sequence`](Self::Sequence). If the token is of another bus, the
    /// first item is [`StreamItem::Reset`], and the oldest event that is kept follows.
    After(ResumeToken),
}

/// A subscription in the making; [`open`](Self::open) makes it. Whatever is wrong is said there.
#[must_use = "a subscription begins when it is opened"]
pub struct StreamSubscriptionBuilder<'a> {
    hub: &'a Arc<Hub>,
    patterns: Result<Vec<Pattern>, EventSubscriptionError>,
    buffer: usize,
    overflow: FeedOverflow,
    start: StreamStart,
    heartbeat: Option<Duration>,
}

impl<'a> StreamSubscriptionBuilder<'a> {
    pub(super) fn new(hub: &'a Arc<Hub>, patterns: impl IntoPatterns) -> Self {
        StreamSubscriptionBuilder {
            hub,
            patterns: patterns.into_patterns().map_err(|error| SubscriptionErrorKind::Pattern(error).into()),
            buffer: 100,
            overflow: FeedOverflow::DropOldest,
            start: StreamStart::Now,
            heartbeat: hub.heartbeat,
        }
    }

    /// How many events may wait for the consumer, 1 to 1,048,576; what comes from the history is beside that. Default: 100.
    pub fn buffer(mut self, events: usize) -> Self {
        self.buffer = events;
        self
    }

    /// What becomes of events that the consumer is too slow for. Default: the oldest make room.
    pub fn overflow(mut self, overflow: FeedOverflow) -> Self {
        self.overflow = overflow;
        self
    }

    /// Where the stream starts. What the history has for it is looked up in [`open`](Self::open), and what is published from
    /// then on follows without a gap and without an event twice, whatever is being published meanwhile. Default: now.
    pub fn start(mut self, start: StreamStart) -> Self {
        self.start = start;
        self
    }

    /// After how long without an item there is a [`StreamItem::Heartbeat`]; `None`: never. Default: what the stream was built
    /// with.
    pub fn heartbeat(mut self, quiet: Option<Duration>) -> Self {
        self.heartbeat = quiet;
        self
    }

    /// Opens the subscription: from now on it collects, whether it is [consumed](super::AsyncStream::consume) or not.
    ///
    /// # Errors
    /// No pattern, too many or too long ones; a buffer out of range; a stream that is stopped, or whose bus is shut down.
    pub fn open(self) -> Result<StreamId, EventSubscriptionError> {
        let Self { hub, patterns, buffer, overflow, start, heartbeat } = self;
        let patterns = patterns?;
        let bus = hub.bus().filter(|_| !hub.is_stopped()).ok_or(SubscriptionErrorKind::Closed)?;
        let reader = hub.reader(&bus, &patterns, buffer, overflow)?;
        let inlet = begin(&bus, &patterns, start, reader);
        Ok(hub.add(inlet, heartbeat))
    }
}

impl fmt::Debug for StreamSubscriptionBuilder<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StreamSubscriptionBuilder")
            .field("buffer", &self.buffer)
            .field("overflow", &self.overflow)
            .field("start", &self.start)
            .finish_non_exhaustive()
    }
}

/// What comes first, and the reader of what follows.
fn begin(bus: &EventBus, patterns: &[Pattern], start: StreamStart, reader: FeedReader) -> Inlet {
    let joined_after = reader.joined_after();
    let (start, is_reset) = match start {
        StreamStart::After(token) if token.bus_id() == bus.id() && token.sequence() <= joined_after => {
            (StreamStart::Sequence(token.sequence() + 1), false)
        }
        StreamStart::After(_) => (StreamStart::Last(usize::MAX), true),
        start => (start, false),
    };
    let first = match start {
        StreamStart::Sequence(first) => first,
        _ => 0,
    };
    let kept = match start {
        StreamStart::Now => Vec::new(),
        _ => bus.history().kept_between(first, joined_after),
    };
    let oldest = kept.first().map_or(joined_after + 1, Recorded::sequence);
    let gone = match start {
        StreamStart::Sequence(first) => oldest.saturating_sub(first.max(1)),
        StreamStart::Time(time) if kept.first().is_some_and(|event| event.timestamp() >= time) => oldest - 1,
        _ => 0,
    };
    let is_wanted = |recorded: &Recorded| {
        recorded.sequence() >= first
            && matches(patterns, recorded)
            && !matches!(start, StreamStart::Time(time) if recorded.timestamp() < time)
    };
    let mut replay: Vec<Recorded> = kept.into_iter().filter(is_wanted).collect();
    if let StreamStart::Last(last) = start {
        replay.drain(..replay.len().saturating_sub(last));
    }
    // Before the first item: a token from there leads to the same items again, to what is gone too.
    let seen = match start {
        StreamStart::Sequence(first) => first.saturating_sub(1).min(joined_after),
        _ => replay.first().map_or(joined_after, |first| first.sequence() - 1),
    };
    let reset = is_reset.then_some(StreamItem::Reset);
    let lagged = (gone > 0).then_some(StreamItem::Lagged(gone));
    let items = reset.into_iter().chain(lagged).chain(replay.into_iter().map(StreamItem::Event));
    Inlet::new(items.collect(), reader, first, seen)
}

fn matches(patterns: &[Pattern], event: &Event) -> bool {
    patterns.iter().any(|pattern| pattern.matches(event.event_type().as_str()))
}
