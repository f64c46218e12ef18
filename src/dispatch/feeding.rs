//! The publishers' side of feeds: room for an event before it has its number, and the event into its feeds when it has.
//!
//! Whoever publishes where a feed's owner lets publishers wait reserves its places first, holding no pin; so an event that is
//! refused has been nowhere, and one that has a number is in its feeds a moment later. Inside code that the bus runs nobody
//! waits: the reader could be the one who is kept waiting.

use super::awaited::{Awaited, Told};
use super::engine::Engine;
use super::feed::{Feed, FeedPlace};
use super::handler::Handler;
use super::local::Scratch;
use super::shard::Pin;
use super::slots::Entry;
use crate::clock::{Moment, Stopwatch};
use crate::context;
use crate::event::{Event, EventPublishError};
use crate::sync::{Ordering, heavy_fence};
use std::cell::RefCell;
use std::sync::Arc;
use std::time::Duration;

/// The places that a publisher reserved in feeds.
#[derive(Default)]
pub(crate) struct FeedPlaces(RefCell<Vec<FeedPlace>>);

impl FeedPlaces {
    fn take(&self, feed: &Feed) -> Option<FeedPlace> {
        let mut places = self.0.borrow_mut();
        let index = places.iter().position(|place| place.is_in(feed))?;
        Some(places.swap_remove(index))
    }

    #[cfg(feature = "queued")]
    pub(super) fn replace(&self, places: FeedPlaces) {
        // Freeing a place wakes who waits for it, so it is done when nothing is borrowed.
        let before = self.0.replace(places.0.into_inner());
        drop(before);
    }
}

impl Engine {
    /// Whether some feed's owner lets publishers wait.
    #[inline]
    pub(super) fn has_blocking_feeds(&self) -> bool {
        self.blocking_feeds.load(Ordering::Relaxed) != 0
    }

    /// Waits until every publish that may not know of `feed` yet has recorded its event: all that are numbered from then on
    /// are in the feed, if they match.
    pub(crate) fn begin_feed(&self, feed: &Feed) {
        if feed.patience().is_some() {
            self.blocking_feeds.fetch_add(1, Ordering::Relaxed);
        }
        // Ordering: see `Shard::enter`. Who pins after this sees the snapshot with the feed.
        heavy_fence();
        feed.wait_for_recordings();
    }

    /// Waits until nobody can put an event in any more: publishers that begin now do not find it.
    pub(crate) fn end_feed(&self, feed: &Feed) {
        if feed.patience().is_some() {
            self.blocking_feeds.fetch_sub(1, Ordering::Relaxed);
        }
        feed.end_waits();
        // Ordering: as in `begin_feed`.
        heavy_fence();
        feed.wait_for_recordings();
    }

    /// Closes the feeds of a bus that accepts nothing any more, when all that it accepted is in them.
    pub(crate) fn close_feeds(feeds: &[Arc<Feed>]) {
        if feeds.is_empty() {
            return;
        }
        // Ordering: as in `begin_feed`: who pins after this sees the bus closed.
        heavy_fence();
        for feed in feeds {
            feed.wait_for_recordings();
            feed.close();
        }
    }

    /// Publishes one event, once there is room in its feeds.
    #[cold]
    pub(super) fn publish_when_there_is_room(&self, event: Arc<Event>) -> Result<u64, EventPublishError> {
        self.publish_telling(event, Told::Nobody)
    }

    /// Gives an event that was just recorded to its feeds. Readers are woken when it is in all of them.
    #[inline(never)]
    pub(super) fn feed(
        &self,
        feeds: &[Entry],
        pin: &Pin<'_>,
        (sequence, event): (u64, &Arc<Event>),
        scratch: &mut Scratch,
        awaited: Option<&Awaited>,
    ) {
        for feed in self.feeds_of(feeds, pin) {
            let place = awaited.and_then(|awaited| awaited.places_in_feeds.take(feed));
            let displaced = feed.push((sequence, event), place, &mut scratch.spare_in_feeds);
            scratch.displaced.extend(displaced);
        }
        pin.recorded();
        for feed in self.feeds_of(feeds, pin).filter(|feed| feed.has_sleeping()) {
            // A waker is the reader's code, on this thread and under this pin.
            context::within_bus(self.key, || feed.wake());
        }
    }

    fn feeds_of<'p>(&self, feeds: &[Entry], pin: &'p Pin<'_>) -> impl Iterator<Item = &'p Arc<Feed>> {
        feeds.iter().filter_map(|entry| self.slots.get(entry, pin).and_then(Handler::feed))
    }

    /// Whether a feed would hear an event now.
    pub(crate) fn is_fed(&self, event: &Event) -> bool {
        let mut is_fed = false;
        self.look_along(event, |handler| is_fed |= handler.feed().is_some());
        is_fed
    }

    /// Places in the feeds of an event whose owners let publishers wait, as far as there is room within the time of each.
    pub(super) fn wait_for_feeds(&self, event: &Event) -> FeedPlaces {
        let may_wait = !context::is_inside(self.key) && !self.is_manual();
        let mut began: Option<Stopwatch> = None;
        loop {
            let waited = began.map_or(Duration::ZERO, Stopwatch::elapsed);
            let (places, full) = self.hold_feeds(event, waited);
            let Some((full, left)) = full.filter(|_| may_wait) else { return places };
            began.get_or_insert_with(Stopwatch::start);
            // Nobody holds a place while waiting for another.
            drop(places);
            let Some(mut waiter) = full.waiter() else { continue };
            if full.hold_place().is_none() && !full.is_closed() {
                waiter.wait(left);
            }
        }
    }

    /// The same, without blocking the thread.
    pub(super) async fn wait_for_feeds_async(&self, event: &Event) -> FeedPlaces {
        let clock = &self.later.clock;
        let mut began: Option<Moment> = None;
        loop {
            let waited = began.map_or(Duration::ZERO, |began| clock.now().since(began));
            let (places, full) = self.hold_feeds(event, waited);
            let Some((full, left)) = full.filter(|_| !context::is_inside(self.key)) else { return places };
            began.get_or_insert_with(|| clock.now());
            let Some(mut alarm) = self.alarm(left) else { return places };
            drop(places);
            let Some(mut waiter) = full.waiter() else { continue };
            if full.hold_place().is_none() && !full.is_closed() {
                alarm.or(waiter.freed()).await;
            }
        }
    }

    /// The same for a delayed event, which nobody waits for: it is to come back, for so long at most.
    pub(super) fn look_for_room_in_feeds(&self, event: &Event) -> Result<Awaited, Duration> {
        if !self.has_blocking_feeds() {
            return Ok(Awaited::default());
        }
        let (places, full) = self.hold_feeds(event, Duration::ZERO);
        match full.filter(|_| !self.is_manual()) {
            None => Ok(Awaited::with_places_in_feeds(places)),
            Some((_, left)) => Err(left),
        }
    }

    /// What places there are in the feeds of an event, and the first feed in which there is none and for which a publisher that
    /// has `waited` so long may wait longer, with how much longer.
    pub(super) fn hold_feeds(
        &self,
        event: &Event,
        waited: Duration,
    ) -> (FeedPlaces, Option<(Arc<Feed>, Duration)>) {
        let (mut places, mut full) = (Vec::new(), None);
        self.look_along(event, |handler| {
            let Some(feed) = handler.feed() else { return };
            let Some(patience) = feed.patience() else { return };
            match feed.hold_place() {
                Some(place) => places.push(place),
                None if patience > waited && !feed.is_closed() => {
                    full.get_or_insert_with(|| (Arc::clone(feed), patience - waited));
                }
                None => {}
            }
        });
        (FeedPlaces(RefCell::new(places)), full)
    }
}

impl Scratch {
    /// Drops what made room in feeds. Its destructors are user code.
    #[inline]
    pub(super) fn let_displaced_go(&mut self, engine: &Engine) {
        if !self.displaced.is_empty() {
            self.let_all_displaced_go(engine);
        }
    }

    #[inline(never)]
    fn let_all_displaced_go(&mut self, engine: &Engine) {
        self.displaced.drain(..).for_each(|displaced| engine.let_go(displaced));
    }
}
