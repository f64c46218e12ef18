//! Reading a feed: every event in it, in the order of their numbers.
//!
//! Publishers put events in nearly in that order: one that was numbered earlier may come in later. So a reader takes out what
//! there is, notes the highest number, and waits until no publish that was about to record an event at that moment still is
//! ([`Recordings`]); whatever has a lower number is in the feed by then. It takes that out too, sorts, and hands out what is
//! not above the noted number. A publish is about to record for a fraction of a microsecond, its handlers not included.

use super::feed::{Feed, Kept, Numbered, Sleeper};
use super::shard::Recordings;
use crate::quiet::drop_quietly;
use crate::ring::{Reader, Record};
use crate::sync::{AtomicBool, AtomicU64, Ordering};
use crossbeam_utils::Backoff;
use std::sync::Arc;
use std::task::{Context, Poll};

/// How often a reader that joins begins anew because it fell behind meanwhile. After that its count of what it missed may
/// include events from before it joined.
const JOINS_MAX: usize = 1_000;

/// What a reader gets.
#[derive(Debug)]
pub(crate) enum FeedItem {
    Event(Numbered),
    /// So many events there was no room for.
    Lagged(u64),
}

/// What there is for a reader.
pub(crate) enum Next {
    Item(FeedItem),
    Nothing,
    /// There is something, and a publisher was interrupted in the middle: what comes next is known in a moment.
    Unsettled,
    /// Nothing will come any more.
    Over,
}

/// What a reader took and missed, for others to see.
#[derive(Default)]
pub(crate) struct Taken {
    /// What had come in when it joined; of an own feed, what had been missed.
    joined_at: AtomicU64,
    pub(crate) delivered: AtomicU64,
    /// What it was told.
    told: AtomicU64,
    /// It gets nothing more.
    is_over: AtomicBool,
}

impl Taken {
    /// The reader gets nothing more.
    pub(crate) fn end(&self) {
        self.is_over.store(true, Ordering::Release);
    }

    /// How many events wait for the reader, and how many it missed, told or not.
    pub(crate) fn buffered_and_missed(&self, feed: &Feed) -> (u64, u64) {
        let delivered = self.delivered.load(Ordering::Acquire);
        let told = self.told.load(Ordering::Acquire);
        if self.is_over.load(Ordering::Acquire) {
            return (0, told);
        }
        let since = feed.came_in().saturating_sub(self.joined_at.load(Ordering::Acquire));
        match &feed.kept {
            Kept::Shared(_) => {
                let behind = since.saturating_sub(delivered + told);
                let buffered = behind.min(feed.room as u64);
                (buffered, told + behind - buffered)
            }
            Kept::Own(own) => (own.items.taken_places() as u64, since),
        }
    }
}

pub(crate) struct FeedReader {
    feed: Arc<Feed>,
    counts: Arc<Taken>,
    /// Events up to this number came before this reader.
    joined_after: u64,
    /// Of a shared feed: how many events had come in when it was looked at last.
    taken: u64,
    /// Of a shared feed: events that were just coming in then.
    holes: Vec<u64>,
    /// Taken out; events with lower numbers may follow.
    held: Vec<Numbered>,
    /// To be handed out, the next one last.
    ready: Vec<Numbered>,
    /// What the reader has not been told of.
    missed: u64,
    /// Of an own feed: how much it missed until it was told last.
    told: u64,
    sleeper: Arc<Sleeper>,
}

impl FeedReader {
    /// A reader of what is numbered from now on. `last_sequence` says what was numbered last.
    pub(crate) fn join(feed: Arc<Feed>, last_sequence: impl Fn() -> u64) -> Self {
        let mut reader = FeedReader {
            feed,
            counts: Arc::default(),
            joined_after: 0,
            taken: 0,
            holes: Vec::new(),
            held: Vec::new(),
            ready: Vec::new(),
            missed: 0,
            told: 0,
            sleeper: Arc::default(),
        };
        for _ in 0..JOINS_MAX {
            reader.begin(&last_sequence);
            if reader.missed == 0 {
                break;
            }
        }
        let joined_at = match &reader.feed.kept {
            // What is just coming in was numbered after it joined: whoever had a number then has been waited for.
            Kept::Shared(_) => reader.taken - (reader.held.len() + reader.holes.len()) as u64 - reader.missed,
            Kept::Own(_) => reader.told - reader.missed,
        };
        reader.counts.joined_at.store(joined_at, Ordering::Release);
        reader
    }

    /// Begins after what was numbered last. Until it has taken out whatever is numbered up to there, it cannot say whether an
    /// event that it missed was one of those.
    fn begin(&mut self, last_sequence: impl Fn() -> u64) {
        // In this order: whatever is skipped here has been numbered.
        self.skip_all();
        self.joined_after = last_sequence();
        self.feed.wait_for_recordings();
        self.draw();
        self.note_misses();
    }

    fn skip_all(&mut self) {
        let to_skip = std::mem::take(&mut self.held);
        self.missed = 0;
        self.holes.clear();
        match &self.feed.kept {
            Kept::Shared(ring) => self.taken = ring.last_sequence(),
            Kept::Own(own) => {
                to_skip.iter().for_each(|_| own.items.give_back());
                while let Some(item) = own.items.pop() {
                    drop_quietly(item);
                }
                self.told = own.missed.load(Ordering::SeqCst);
            }
        }
        to_skip.into_iter().for_each(drop_quietly);
    }

    /// The number after which this reader's events begin: all that match and have a higher one are its own, and no others.
    pub(crate) fn joined_after(&self) -> u64 {
        self.joined_after
    }

    pub(crate) fn counts(&self) -> &Arc<Taken> {
        &self.counts
    }

    /// The next item, or why there is none.
    pub(crate) fn next(&mut self) -> Next {
        loop {
            self.shed();
            // Asked before the last look: what came in before it was closed is seen.
            let is_closed = self.feed.is_closed();
            if self.ready.is_empty() {
                self.draw();
                if !self.settle() {
                    return Next::Unsettled;
                }
            }
            self.note_misses();
            if self.missed > 0 && self.is_before_next() {
                let missed = std::mem::take(&mut self.missed);
                self.counts.told.fetch_add(missed, Ordering::AcqRel);
                return Next::Item(FeedItem::Lagged(missed));
            }
            if let Some(next) = self.ready.pop() {
                self.leave_place();
                self.counts.delivered.fetch_add(1, Ordering::AcqRel);
                return Next::Item(FeedItem::Event(next));
            }
            if self.held.is_empty() && self.holes.is_empty() {
                return if is_closed { Next::Over } else { Next::Nothing };
            }
        }
    }

    /// The next item, when there is one; none after the last one of a feed that is closed.
    pub(crate) fn poll_next(&mut self, context: &Context<'_>) -> Poll<Option<FeedItem>> {
        loop {
            match self.next() {
                Next::Item(item) => return Poll::Ready(Some(item)),
                Next::Over => return Poll::Ready(None),
                Next::Unsettled => {
                    // The publisher will be back in a moment, and others may go on meanwhile.
                    context.waker().wake_by_ref();
                    return Poll::Pending;
                }
                Next::Nothing if self.goes_to_sleep(context) => return Poll::Pending,
                Next::Nothing => {}
            }
        }
    }

    fn goes_to_sleep(&self, context: &Context<'_>) -> bool {
        self.sleeper.waker.register(context.waker());
        if !self.sleeper.is_listed.swap(true, Ordering::SeqCst) {
            self.feed.list(&self.sleeper);
        }
        !self.feed.is_news(self.taken) && !self.feed.is_closed() && !self.has_unnoted_misses()
    }

    /// Drops the oldest of those that there is no room for any more, its own included.
    fn shed(&mut self) {
        let Kept::Shared(ring) = &self.feed.kept else { return };
        let room = self.feed.room as u64;
        let last = ring.last_sequence();
        let behind = last - self.taken + self.holes.len() as u64;
        let has = (self.ready.len() + self.held.len()) as u64;
        if has + behind <= room {
            return;
        }
        let excess = has + behind - room;
        if excess > self.ready.len() as u64 {
            self.held.sort_unstable_by_key(|(sequence, _)| std::cmp::Reverse(*sequence));
        }
        for _ in 0..excess.min(has) {
            self.missed += 1;
            drop_quietly(self.ready.pop().or_else(|| self.held.pop()));
        }
        if last - self.taken > room {
            self.missed += last - self.taken - room;
            self.taken = last - room;
        }
    }

    /// Takes out all that there is.
    fn draw(&mut self) {
        let feed = Arc::clone(&self.feed);
        match &feed.kept {
            Kept::Own(own) => {
                while let Some(item) = own.items.displace() {
                    if item.0 > self.joined_after {
                        self.held.push(item);
                    } else {
                        own.items.give_back();
                        drop_quietly(item);
                    }
                }
            }
            Kept::Shared(ring) => {
                let last = ring.last_sequence();
                if last == self.taken && self.holes.is_empty() {
                    return;
                }
                let first = (self.taken + 1).max(ring.first_sequence().min(last + 1));
                self.missed += first - self.taken - 1;
                let reader = ring.reader();
                for place in std::mem::take(&mut self.holes).into_iter().chain(first..=last) {
                    self.take(place, &reader);
                }
                self.taken = last;
            }
        }
    }

    fn take(&mut self, place: u64, reader: &Reader<'_, Numbered>) {
        match reader.get(place) {
            Record::Found(item) if item.0 > self.joined_after => self.held.push(item),
            Record::Found(item) => drop_quietly(item),
            Record::Pending => self.holes.push(place),
            Record::Gone => self.missed += 1,
        }
    }

    /// Makes ready what can be in order now. False if there is something, and its order cannot be known yet.
    fn settle(&mut self) -> bool {
        let Some(newest) = self.held.iter().map(|(sequence, _)| *sequence).max() else {
            return self.holes.is_empty();
        };
        // Ordering: Acquire, with the Release below: another reader of this feed has waited for the same.
        if self.feed.settled.load(Ordering::Acquire) < newest {
            let mut recordings = Recordings::now(&self.feed.shards.load());
            let backoff = Backoff::new();
            while !recordings.are_over() {
                if backoff.is_completed() {
                    return false;
                }
                backoff.snooze();
            }
            self.feed.settled.fetch_max(newest, Ordering::Release);
        }
        self.draw();
        self.ready = self.held.extract_if(.., |(sequence, _)| *sequence <= newest).collect();
        self.ready.sort_unstable_by_key(|(sequence, _)| std::cmp::Reverse(*sequence));
        true
    }

    /// Of an own feed: what there was no room for.
    fn note_misses(&mut self) {
        if let Kept::Own(own) = &self.feed.kept {
            let missed = own.missed.load(Ordering::SeqCst);
            self.missed += missed - self.told;
            self.told = missed;
        }
    }

    fn has_unnoted_misses(&self) -> bool {
        match &self.feed.kept {
            Kept::Shared(_) => false,
            Kept::Own(own) => own.missed.load(Ordering::SeqCst) != self.told,
        }
    }

    /// Whether the events that were missed came before the next one.
    fn is_before_next(&self) -> bool {
        let Kept::Own(own) = &self.feed.kept else { return true };
        // Without a number it is not known where the gap is: better told too early than too late.
        let gap = own.gap.load(Ordering::SeqCst);
        let is_before = |(sequence, _): &Numbered| gap < *sequence || gap == u64::MAX;
        let is_before_next = self.ready.last().is_none_or(is_before);
        if is_before_next {
            own.gap.store(u64::MAX, Ordering::SeqCst);
        }
        is_before_next
    }

    /// Of an own feed: the place of an event that is handed out is free.
    fn leave_place(&self) {
        if let Kept::Own(own) = &self.feed.kept {
            own.items.give_back();
        }
    }
}

impl Drop for FeedReader {
    fn drop(&mut self) {
        self.sleeper.waker.take();
        if self.sleeper.is_listed.load(Ordering::SeqCst) {
            self.feed.strike_one();
        }
        self.held.drain(..).chain(self.ready.drain(..)).for_each(drop_quietly);
    }
}
