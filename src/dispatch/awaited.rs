//! Publishing from async code: nothing blocks the thread, neither for room in a lane nor for room in a mailbox; and telling
//! who asks when the event is recorded, or how it ended.
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
use super::local::Scratch;
#[cfg(feature = "async")]
use super::mailbox::{AsyncCall, HeldPlace, Mailbox};
use super::retry::Tail;
use super::shard::{Pin, Shard};
use super::slots::Entry;
use super::watch::Watch;
use crate::context::{self, correlation::without};
#[cfg(feature = "async")]
use crate::event::EventType;
use crate::event::{Event, EventPublishError, PublishErrorKind};
use crate::quiet::{log, panics};
#[cfg(feature = "async")]
use std::cell::RefCell;
use std::sync::Arc;

/// Who is told what of an event.
#[derive(Clone, Copy)]
pub(crate) enum Told<'a> {
    Nobody,
    /// How its deliveries ended, when all are over.
    End(&'a Arc<Watch>),
    /// That it is recorded, before its first handler.
    Record(&'a Arc<dyn Recorder>),
}

/// Is told of an event when it has its number, on the publisher's thread and under its pin, as code of the bus. So it moves a
/// pointer, wakes somebody, and runs no user code but wakers.
pub(crate) trait Recorder: Send + Sync {
    fn recorded(&self, sequence: u64, event: &Arc<Event>);
}

/// What a publisher brings along who waits, for room beforehand or for the end, or has somebody told. Or whose event has
/// waited for its time.
#[derive(Default)]
pub(crate) struct Awaited {
    tail: Option<Arc<Tail>>,
    /// The event counts as one that waits for its time until it is accepted, and not as offered before.
    is_delayed: bool,
    recorder: Option<Arc<dyn Recorder>>,
    /// It waits for room in handlers' mailboxes when their turns come: it is synchronous, and has all the time of those.
    #[cfg(feature = "async")]
    pub(super) waits_in_turns: bool,
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

    fn telling(told: Told<'_>) -> Self {
        match told {
            Told::Nobody => Awaited::default(),
            Told::End(watch) => Awaited { tail: Some(Tail::watched(watch)), ..Awaited::default() },
            Told::Record(recorder) => Awaited { recorder: Some(Arc::clone(recorder)), ..Awaited::default() },
        }
    }

    /// Whether somebody is to be told when the event is recorded.
    pub(super) fn has_recorder(&self) -> bool {
        self.recorder.is_some()
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

    /// Publishes one event, waiting without blocking. Dropped before it is done, it did nothing.
    pub(crate) async fn publish_async(
        &self,
        event: Arc<Event>,
        told: Told<'_>,
    ) -> Result<u64, EventPublishError> {
        // Whoever polls it after the first time has no part in it.
        let (event, _) = self.stamped(event)?;
        let awaited = Awaited {
            #[cfg(feature = "stream")]
            places_in_feeds: if self.has_blocking_feeds() {
                self.wait_for_feeds_async(&event).await
            } else {
                FeedPlaces::default()
            },
            ..Awaited::telling(told)
        };
        #[cfg(feature = "queued")]
        if let Some(queue) = &self.queue {
            return self.enqueue_async(queue, event, awaited).await;
        }
        #[cfg(feature = "async")]
        let awaited = Awaited { places: RefCell::new(self.wait_for_places(&event).await), ..awaited };
        without(|| self.publish_here(event, Some(&awaited)))
    }

    /// Publishes one event as [`publish`](Self::publish) does, and has somebody told.
    pub(crate) fn publish_telling(
        &self,
        event: Arc<Event>,
        told: Told<'_>,
    ) -> Result<u64, EventPublishError> {
        let awaited = Awaited {
            #[cfg(feature = "stream")]
            places_in_feeds: if self.has_blocking_feeds() {
                self.wait_for_feeds(&event)
            } else {
                FeedPlaces::default()
            },
            #[cfg(feature = "async")]
            waits_in_turns: true,
            ..Awaited::telling(told)
        };
        self.publish_with(event, &awaited)
    }

    /// Gives an event that was just recorded to its feeds, and tells whoever wants to know.
    #[inline]
    pub(super) fn feed_if_any(
        &self,
        feeds: &[Entry],
        pin: &Pin<'_>,
        recorded: (u64, &Arc<Event>),
        scratch: &mut Scratch,
        awaited: Option<&Awaited>,
    ) {
        #[cfg(feature = "stream")]
        if feeds.is_empty() {
            pin.recorded();
        } else {
            self.feed(feeds, pin, recorded, scratch, awaited);
        }
        #[cfg(not(feature = "stream"))]
        {
            let _ = (feeds, scratch);
            pin.recorded();
        }
        if let Some(awaited) = awaited {
            self.tell_recorder(awaited, recorded.0, recorded.1);
        }
    }

    /// Tells whoever wants to know that the event is recorded.
    #[inline(never)]
    fn tell_recorder(&self, awaited: &Awaited, sequence: u64, event: &Arc<Event>) {
        let Some(recorder) = &awaited.recorder else { return };
        // It may wake somebody, whose waker is user code.
        if panics(|| context::within_bus(self.key, || recorder.recorded(sequence, event))) {
            log(|| tracing::error!("a waker panicked"));
        }
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
