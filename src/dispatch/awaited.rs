//! Publishing from async code: nothing blocks the thread, neither for room in a lane nor for room in a mailbox, and who asks
//! is told how it ended.
//!
//! An inline publish runs on the caller's thread, so what it may have to wait for is waited for before: a place in each
//! mailbox of those who hear the event, where the owner lets publishers wait. While it waits it holds no place and no pin.

#[cfg(feature = "async")]
use super::alarm::Alarm;
use super::engine::Engine;
#[cfg(feature = "stream")]
use super::feeding::FeedPlaces;
#[cfg(feature = "async")]
use super::handler::Handler;
#[cfg(feature = "async")]
use super::mailbox::{AsyncCall, HeldPlace, Mailbox};
use super::retry::Tail;
use super::shard::Shard;
#[cfg(feature = "async")]
use super::slots::Entry;
use super::watch::Watch;
#[cfg(feature = "async")]
use crate::context;
use crate::context::correlation::without;
#[cfg(feature = "async")]
use crate::event::EventType;
use crate::event::{Event, EventPublishError, PublishErrorKind};
#[cfg(feature = "async")]
use std::cell::RefCell;
use std::sync::Arc;

/// What a publisher brings along who waits: for room beforehand, or for the end. Or whose event has waited for its time.
#[derive(Default)]
pub(crate) struct Awaited {
    tail: Option<Arc<Tail>>,
    /// The event counts as one that waits for its time until it is accepted, and not as offered before.
    is_delayed: bool,
    #[cfg(feature = "stream")]
    pub(super) places_in_feeds: FeedPlaces,
    #[cfg(feature = "async")]
    places: RefCell<Vec<HeldPlace>>,
}

impl Awaited {
    #[cfg(feature = "stream")]
    pub(super) fn with_places_in_feeds(places_in_feeds: FeedPlaces) -> Self {
        Awaited { places_in_feeds, ..Awaited::default() }
    }

    /// Of a delayed event, whose time has come.
    pub(super) fn delayed(self) -> Self {
        Awaited { is_delayed: true, ..self }
    }

    /// Keeps other places in feeds instead.
    #[cfg(all(feature = "stream", feature = "queued"))]
    pub(super) fn hold_in_feeds(&self, places: FeedPlaces) {
        self.places_in_feeds.replace(places);
    }

    /// Frees the places that it holds in feeds.
    #[cfg(feature = "queued")]
    #[cfg_attr(not(feature = "stream"), allow(clippy::unused_self, reason = "there are no feeds"))]
    pub(super) fn leave_feeds(&self) {
        #[cfg(feature = "stream")]
        self.hold_in_feeds(FeedPlaces::default());
    }

    pub(super) fn tail(&self) -> Option<Arc<Tail>> {
        self.tail.clone()
    }

    /// Nobody hears the event.
    pub(super) fn end(&self) {
        self.tail.as_ref().map(|tail| tail.end());
    }

    /// The place that was waited for in a handler's mailbox.
    #[cfg(feature = "async")]
    pub(super) fn place_in(&self, call: &AsyncCall) -> Option<HeldPlace> {
        let mut places = self.places.borrow_mut();
        let index = places.iter().position(|place| place.is_in(&call.mailbox))?;
        Some(places.swap_remove(index))
    }
}

impl Engine {
    /// A publisher's event was accepted, and counted as that: if it is a delayed one, it waits no longer.
    #[inline]
    pub(super) fn accepted(&self, awaited: Option<&Awaited>) {
        if awaited.is_some_and(|awaited| awaited.is_delayed) {
            self.later.settle_event();
        }
    }

    /// Counts an event as offered to a closed bus and refused. A delayed one is not offered: it is reported instead.
    #[cold]
    pub(super) fn refused_as_closed(
        shard: &Shard,
        event: Arc<Event>,
        awaited: Option<&Awaited>,
    ) -> EventPublishError {
        if !awaited.is_some_and(|awaited| awaited.is_delayed) {
            shard.offered.add(1);
            shard.refused.add(1);
        }
        EventPublishError::new(PublishErrorKind::Closed, Some(event))
    }

    /// Publishes one event, waiting without blocking. Dropped before it is done, it did nothing. `watch` is told how it
    /// ended.
    pub(crate) async fn publish_async(
        &self,
        event: Arc<Event>,
        watch: Option<&Arc<Watch>>,
    ) -> Result<u64, EventPublishError> {
        let tail = watch.map(Tail::watched);
        // Whoever polls it after the first time has no part in it.
        let (event, _) = self.stamped(event)?;
        #[cfg(feature = "stream")]
        let places_in_feeds = if self.has_blocking_feeds() {
            self.wait_for_feeds_async(&event).await
        } else {
            FeedPlaces::default()
        };
        let awaited = Awaited {
            tail,
            is_delayed: false,
            #[cfg(feature = "stream")]
            places_in_feeds,
            #[cfg(feature = "async")]
            places: RefCell::default(),
        };
        #[cfg(feature = "queued")]
        if let Some(queue) = &self.queue {
            return self.enqueue_async(queue, event, awaited).await;
        }
        #[cfg(feature = "async")]
        let awaited = Awaited { places: RefCell::new(self.wait_for_places(&event).await), ..awaited };
        without(|| self.publish_here(event, Some(&awaited)))
    }

    /// A place in each mailbox whose owner lets publishers wait; of one that stayed full for as long as that, none.
    #[cfg(feature = "async")]
    async fn wait_for_places(&self, event: &Event) -> Vec<HeldPlace> {
        let mut alarm: Option<Alarm<'_>> = None;
        loop {
            let (places, full) = self.hold_places(event);
            let Some(full) = full.filter(|_| !context::is_inside(self.key)) else { return places };
            drop(places);
            let mut waiter = full.waiter();
            if alarm.is_none() {
                alarm = self.alarm(full.patience().unwrap_or_default());
            }
            let is_freed = full.hold_place().is_some();
            match alarm.as_mut().filter(|alarm| !alarm.is_past() && !full.is_stopped()) {
                None => return self.hold_places(event).0,
                Some(_) if is_freed => {}
                Some(alarm) => alarm.or(waiter.freed()).await,
            }
        }
    }

    /// What places there are, and the first mailbox in which there is none.
    #[cfg(feature = "async")]
    fn hold_places(&self, event: &Event) -> (Vec<HeldPlace>, Option<Arc<Mailbox>>) {
        let (mut places, mut full) = (Vec::new(), None);
        self.look_along(event, |handler| {
            let Some(call) = handler.async_call() else { return };
            if call.mailbox.patience().is_none() {
                return;
            }
            match call.mailbox.hold_place() {
                Some(place) => places.push(place),
                None => {
                    full.get_or_insert_with(|| Arc::clone(&call.mailbox));
                }
            }
        });
        (places, full)
    }

    /// Shows `look` all who would hear an event now.
    #[cfg(feature = "async")]
    pub(super) fn look_along(&self, event: &Event, mut look: impl FnMut(&Handler)) {
        self.pinned(|shard, view, scratch, pin| {
            self.look_again(view, shard);
            let mut along = |route: &[Entry]| {
                route.iter().filter_map(|entry| self.slots.get(entry, pin)).for_each(&mut look);
            };
            match event.event_type() {
                EventType::Named(name) => {
                    if let Some(known) = self.names.find(name, &view.table, &mut scratch.hits).as_ref() {
                        along(known.shared_route().entries());
                    }
                }
                standard => {
                    if let Some(index) = standard.standard_index() {
                        along(view.table.standard_route(index));
                    }
                }
            }
        });
    }
}
