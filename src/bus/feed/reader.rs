//! Taking events out of a feed.

use super::FeedOverflow;
use super::open::{EventFeed, Open};
use crate::bus::history::Recorded;
use crate::dispatch::feed::Feed;
use crate::dispatch::feed_reader::{self, FeedReader as Reader, Next, Taken};
use crate::sync::Ordering;
use futures_core::Stream;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

/// What a reader gets.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum FeedItem {
    /// An event, with its number: each higher than the one before.
    Event(Recorded),
    /// The reader was too slow for this many events, which all matched. Their place is here.
    Lagged(u64),
}

/// Takes events out of a feed. A [`Stream`] that ends when the feed is closed and empty.
///
/// A reader that is waiting is woken by the publisher, on its thread. Dropping a future that waits for the next item loses
/// nothing.
#[must_use = "a reader that nobody reads from keeps its feed open"]
pub struct FeedReader {
    reader: Reader,
    open: Arc<Open>,
    is_over: bool,
}

impl FeedReader {
    pub(super) fn new(reader: Reader, open: Arc<Open>) -> Self {
        FeedReader { reader, open, is_over: false }
    }

    /// The next item, if there is one now.
    pub fn try_next(&mut self) -> Option<FeedItem> {
        if self.is_over {
            return None;
        }
        loop {
            match self.reader.next() {
                Next::Item(item) => return Some(self.told(item)),
                Next::Unsettled => std::thread::yield_now(),
                Next::Nothing | Next::Over => return None,
            }
        }
    }

    /// The number after which this reader's events begin: it gets all that match and have a higher one, and no others.
    #[must_use]
    pub fn joined_after(&self) -> u64 {
        self.reader.joined_after()
    }

    /// Whether it was told that it is too slow, and gets nothing more.
    #[must_use]
    pub fn is_disconnected(&self) -> bool {
        self.is_over
    }

    /// The figures of this reader, to be read while it is somewhere else.
    #[must_use]
    pub fn watch(&self) -> FeedReaderWatch {
        FeedReaderWatch { feed: Arc::clone(&self.open.feed), counts: Arc::clone(self.reader.counts()) }
    }

    /// The feed that it reads.
    #[must_use]
    pub fn feed(&self) -> EventFeed {
        EventFeed::handle(&self.open)
    }

    fn told(&mut self, item: feed_reader::FeedItem) -> FeedItem {
        match item {
            feed_reader::FeedItem::Event((sequence, event)) => {
                FeedItem::Event(Recorded::new(sequence, event))
            }
            feed_reader::FeedItem::Lagged(missed) => {
                self.is_over = self.open.overflow == FeedOverflow::Disconnect;
                if self.is_over {
                    self.reader.counts().end();
                }
                FeedItem::Lagged(missed)
            }
        }
    }
}

/// The figures of a reader. Keeps no feed open.
#[derive(Clone)]
pub struct FeedReaderWatch {
    feed: Arc<Feed>,
    counts: Arc<Taken>,
}

impl FeedReaderWatch {
    /// Events that the reader has taken.
    #[must_use]
    pub fn delivered(&self) -> u64 {
        self.counts.delivered.load(Ordering::Acquire)
    }

    /// Events that it missed, whether it was told already or not.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.counts.buffered_and_missed(&self.feed).1
    }

    /// Events that wait for it.
    #[must_use]
    pub fn buffered(&self) -> u64 {
        self.counts.buffered_and_missed(&self.feed).0
    }
}

impl fmt::Debug for FeedReaderWatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (delivered, dropped, buffered) = (self.delivered(), self.dropped(), self.buffered());
        f.debug_struct("FeedReaderWatch")
            .field("delivered", &delivered)
            .field("dropped", &dropped)
            .field("buffered", &buffered)
            .finish()
    }
}

impl Drop for FeedReader {
    fn drop(&mut self) {
        // Nobody else can read what it read, and publishers might wait for it.
        if !self.open.overflow.is_shared() {
            self.open.end();
        }
    }
}

impl Stream for FeedReader {
    type Item = FeedItem;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<FeedItem>> {
        if self.is_over {
            return Poll::Ready(None);
        }
        let polled = self.reader.poll_next(context);
        polled.map(|item| item.map(|item| self.told(item)))
    }
}

impl fmt::Debug for FeedReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FeedReader").field("watch", &self.watch()).finish_non_exhaustive()
    }
}
