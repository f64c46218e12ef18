//! [`StreamConsumer`]: the items of one subscription.

use super::hub::{Hub, Seat};
use super::token::ResumeToken;
use crate::bus::{FeedItem, FeedReader, Recorded, Timer};
use crate::clock::Moment;
use futures_core::Stream;
use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll};
use std::time::Duration;

/// What a stream consists of.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum StreamItem {
    /// An event, with its number: each higher than the one before.
    Event(Recorded),
    /// Nothing came for a while. The stream is there.
    Heartbeat,
    /// So many events were missed at this place.
    Lagged(u64),
    /// The token that the stream was to go on from belongs to another bus, before a restart perhaps: what follows is all that
    /// there is.
    Reset,
}

/// Where a subscription's items come from, be it consumed or not.
pub(super) struct Inlet {
    replay: std::vec::IntoIter<StreamItem>,
    pub(super) reader: FeedReader,
    /// The number from which on its events are wanted.
    first: u64,
    /// The last number that the consumer need not see any more.
    pub(super) seen: u64,
}

impl Inlet {
    pub(super) fn new(replay: Vec<StreamItem>, reader: FeedReader, first: u64, seen: u64) -> Self {
        Inlet { replay: replay.into_iter(), reader, first, seen }
    }

    fn note(&mut self, item: FeedItem) -> Option<StreamItem> {
        match item {
            FeedItem::Event(event) if event.sequence() < self.first => None,
            FeedItem::Event(event) => Some(StreamItem::Event(event)),
            FeedItem::Lagged(missed) => Some(StreamItem::Lagged(missed)),
        }
    }
}

/// Takes the items of one subscription. A `Stream` (see the crate `futures`) that ends when the stream is stopped, the
/// subscription ended, or the bus shut down, after all that was accepted by then. Made by
/// [`AsyncStream::consume`](super::AsyncStream::consume).
///
/// Dropping it keeps the subscription: it goes on collecting, and can be consumed again where this one stopped. Dropping a
/// future of [`next`](Self::next) loses nothing.
#[must_use = "items are taken by `next`"]
pub struct StreamConsumer {
    /// None once it is over.
    inlet: Option<Box<Inlet>>,
    seat: Arc<Seat>,
    hub: Weak<Hub>,
    pulse: Option<Pulse>,
}

/// Counts the time without an item.
struct Pulse {
    quiet: Duration,
    since: Moment,
    timer: Option<Timer>,
}

impl StreamConsumer {
    pub(super) fn new(inlet: Box<Inlet>, seat: Arc<Seat>, hub: &Arc<Hub>) -> Self {
        let since = hub.host.now();
        let pulse = seat.heartbeat.map(|quiet| Pulse { quiet, since, timer: None });
        StreamConsumer { inlet: Some(inlet), seat, hub: Arc::downgrade(hub), pulse }
    }

    /// The next item; `None` when there will be no more.
    ///
    /// ```
    /// # use futures_util::FutureExt;
    /// use codomyrmex_events::{AsyncStream, Event, EventBus, StreamItem};
    ///
    /// # let demo = async {
    /// let bus = EventBus::new();
    /// let stream = AsyncStream::attach(&bus);
    /// let id = stream.subscribe(["build.*", "deploy.*"]).open()?;
    /// bus.publish(Event::builder("build.start", "ci").build()?)?;
    /// stream.stop();
    ///
    /// let mut items = stream.consume(id)?;
    /// let mut seen = Vec::new();
    /// while let Some(item) = items.next().await {
    ///     if let StreamItem::Event(event) = item {
    ///         seen.push(event.sequence());
    ///     }
    /// }
    /// assert_eq!(seen, [1]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # };
    /// # demo.now_or_never().expect("nothing has to be waited for")?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub async fn next(&mut self) -> Option<StreamItem> {
        poll_fn(|context| Pin::new(&mut *self).poll_next(context)).await
    }

    /// Where the consumer stands: a stream that [starts after](super::StreamStart::After) this token goes on with the next
    /// event, whoever serves it. `None` when the bus is gone.
    #[must_use]
    pub fn token(&self) -> Option<ResumeToken> {
        let bus = self.hub.upgrade()?.bus()?;
        let seen = self.inlet.as_ref().map_or_else(|| self.seat.seen(), |inlet| inlet.seen);
        Some(ResumeToken::new(bus.id(), seen))
    }

    /// Whether what comes next is from the history.
    #[cfg(feature = "websocket")]
    pub(super) fn is_replaying(&self) -> bool {
        self.inlet.as_ref().is_some_and(|inlet| inlet.replay.len() > 0)
    }

    fn poll_item(&mut self, context: &mut Context<'_>) -> Poll<Option<StreamItem>> {
        let Some(inlet) = &mut self.inlet else { return Poll::Ready(None) };
        if let Some(item) = inlet.replay.next() {
            return Poll::Ready(Some(item));
        }
        loop {
            match Pin::new(&mut inlet.reader).poll_next(context) {
                Poll::Ready(Some(item)) => {
                    let Some(item) = inlet.note(item) else { continue };
                    return Poll::Ready(Some(item).filter(|item| self.seat.is_before_end(item)));
                }
                Poll::Ready(None) => return Poll::Ready(None),
                Poll::Pending => {}
            }
            self.seat.waker.register(context.waker());
            if !self.seat.is_ended() {
                return Poll::Pending;
            }
            // Nothing comes in any more, so what there is can be waited for.
            let item = inlet.reader.try_next().map(|item| inlet.note(item));
            match item {
                None => return Poll::Ready(None),
                Some(None) => {}
                Some(Some(item)) => {
                    return Poll::Ready(Some(item).filter(|item| self.seat.is_before_end(item)));
                }
            }
        }
    }

    /// Whether it was quiet for as long as a heartbeat takes.
    fn poll_pulse(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let (Some(pulse), Some(hub)) = (&mut self.pulse, self.hub.upgrade()) else { return Poll::Pending };
        loop {
            if let Some(timer) = &mut pulse.timer {
                if Pin::new(timer).poll(context).is_pending() {
                    return Poll::Pending;
                }
                pulse.timer = None;
            }
            let quiet = hub.host.now().since(pulse.since);
            if quiet >= pulse.quiet {
                return Poll::Ready(());
            }
            pulse.timer = hub.host.timer(pulse.quiet - quiet);
            if pulse.timer.is_none() {
                // The bus has ended, or has no room for another timer.
                return Poll::Pending;
            }
        }
    }

    fn note_item(&mut self, item: Option<&StreamItem>) {
        if let (Some(StreamItem::Event(event)), Some(inlet)) = (item, &mut self.inlet) {
            inlet.seen = event.sequence();
            self.seat.note_event(event.sequence());
        }
        if let (Some(pulse), Some(hub)) = (&mut self.pulse, self.hub.upgrade()) {
            pulse.since = hub.host.now();
        }
        let is_disconnected = self.inlet.as_ref().is_some_and(|inlet| inlet.reader.is_disconnected());
        if item.is_none() && is_disconnected {
            self.end();
        }
    }

    /// Its subscription is over.
    fn end(&mut self) {
        if let Some(hub) = self.hub.upgrade() {
            hub.forget(self.seat.id);
        }
        self.inlet = None;
    }
}

impl Stream for StreamConsumer {
    type Item = StreamItem;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<StreamItem>> {
        if let Poll::Ready(item) = self.poll_item(context) {
            self.note_item(item.as_ref());
            return Poll::Ready(item);
        }
        let is_quiet = self.poll_pulse(context);
        is_quiet.map(|()| {
            self.note_item(Some(&StreamItem::Heartbeat));
            Some(StreamItem::Heartbeat)
        })
    }
}

impl Drop for StreamConsumer {
    fn drop(&mut self) {
        if let Some(inlet) = self.inlet.take() {
            self.seat.give_back(inlet);
        }
    }
}

impl fmt::Debug for StreamConsumer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StreamConsumer").field("id", &self.seat.id).finish_non_exhaustive()
    }
}
