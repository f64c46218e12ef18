//! The publish path, from a stamped event to its last handler.
//!
//! Nothing here waits: the snapshot is a thread's own copy checked against one counter, routes are arrays
//! of numbers, counts are the thread's own, the history is a ring.
//!
//! One pin covers a publish or a batch. Values that made room in the history, and the caller's own `Arc`, are
//! dropped after the pin: their destructors are user code.

use super::awaited::Awaited;
use super::dead_letter::DeadLetter;
use super::delayed::Refused;
use super::deliver::Turn;
use super::ending::Ending;
use super::engine::{Engine, History};
use super::local::{self, Local, Scratch, View};
use super::shard::{Pin, Shard};
use super::slots::{Entry, parted};
use super::surroundings::fill_in;
use crate::context::{self, Frame};
use crate::event::{Event, EventPublishError, EventType, PublishErrorKind};
use crate::quiet::drop_quietly;
use crate::ring::Spare;
use crate::sync::Ordering;
use std::sync::Arc;

/// How many publishes may nest on one thread: handlers that publish from within a publish.
pub const NESTED_PUBLISHES_MAX: usize = 64;

impl Engine {
    /// Publishes one event: to all who hear it, on this thread.
    #[inline]
    pub(crate) fn publish(&self, event: Arc<Event>) -> Result<u64, EventPublishError> {
        #[cfg(feature = "stream")]
        if self.has_blocking_feeds() {
            return self.publish_when_there_is_room(event);
        }
        #[cfg(feature = "queued")]
        if let Some(queue) = &self.queue {
            return self.enqueue(queue, event, None);
        }
        self.publish_here(event, None)
    }

    /// Publishes one event of a publisher who waited for room.
    #[inline(never)]
    pub(super) fn publish_with(
        &self,
        event: Arc<Event>,
        awaited: &Awaited,
    ) -> Result<u64, EventPublishError> {
        #[cfg(feature = "queued")]
        if let Some(queue) = &self.queue {
            return self.enqueue(queue, event, Some(awaited));
        }
        self.publish_here(event, Some(awaited))
    }

    /// Publishes one event to all who hear it, on this thread.
    #[inline]
    pub(crate) fn publish_here(
        &self,
        event: Arc<Event>,
        awaited: Option<&Awaited>,
    ) -> Result<u64, EventPublishError> {
        let stamped = self.stamped(event)?;
        let outcome = self.pinned_to_record(|shard, view, scratch, pin| {
            self.publish_pinned(stamped, shard, view, scratch, pin, awaited)
        });
        outcome.map(|passed| passed.leave(self))
    }

    /// Publishes one event, or finds that there is no room now.
    pub(super) fn publish_without_waiting(
        &self,
        event: Arc<Event>,
        awaited: &Awaited,
    ) -> Result<u64, Refused> {
        #[cfg(feature = "queued")]
        if let Some(queue) = &self.queue {
            return self.enqueue_at_once(queue, event, awaited);
        }
        self.publish_with(event, awaited).map_err(Refused::For)
    }

    /// Publishes events in order, under one pin.
    pub(crate) fn publish_batch(&self, events: Vec<Arc<Event>>) -> Vec<Result<u64, EventPublishError>> {
        #[cfg(feature = "stream")]
        if self.has_blocking_feeds() {
            return events.into_iter().map(|event| self.publish_when_there_is_room(event)).collect();
        }
        #[cfg(feature = "queued")]
        if let Some(queue) = &self.queue {
            return events.into_iter().map(|event| self.enqueue(queue, event, None)).collect();
        }
        // Filling in may drop the last hold on an event, so it comes before the pin.
        let events: Vec<_> = events.into_iter().map(|event| self.stamped(event)).collect();
        let outcomes: Vec<_> = self.pinned(|shard, view, scratch, pin| {
            let mut publish = |stamped| {
                pin.record_another();
                let outcome = self.publish_pinned(stamped, shard, view, scratch, pin, None);
                // What nobody hears is recorded too, and who waits for it need not wait for the rest of the batch.
                pin.recorded();
                outcome
            };
            events.into_iter().map(|stamped| stamped.and_then(&mut publish)).collect()
        });
        outcomes.into_iter().map(|outcome| outcome.map(|passed| passed.leave_quietly(self))).collect()
    }

    /// Runs `f` with this thread's part of the bus, under one pin; then does what had to wait for the pin.
    #[inline]
    pub(super) fn pinned<R>(&self, f: impl FnOnce(&Shard, &mut View, &mut Scratch, &Pin<'_>) -> R) -> R {
        self.pinned_by(Shard::pin, f)
    }

    /// The same, for a publish, which says when its event is recorded.
    #[inline]
    pub(super) fn pinned_to_record<R>(
        &self,
        f: impl FnOnce(&Shard, &mut View, &mut Scratch, &Pin<'_>) -> R,
    ) -> R {
        self.pinned_by(Shard::pin_to_record, f)
    }

    #[inline]
    fn pinned_by<R>(
        &self,
        pin: impl FnOnce(&Shard) -> Pin<'_>,
        f: impl FnOnce(&Shard, &mut View, &mut Scratch, &Pin<'_>) -> R,
    ) -> R {
        let mut local = local::take(self);
        let Local { shard, view, scratch, .. } = &mut *local;
        let pin = pin(shard);
        let result = f(shard, view, scratch, &pin);
        drop(pin);
        // Ordering: "unpin, then look for chores" here; "leave a chore, then look at the pins" in `Grace::begin`.
        shard.light_fence();
        #[cfg(feature = "stream")]
        scratch.let_displaced_go(self);
        local::put_back(local);
        self.after_pin();
        result
    }

    /// The event with what the surroundings say of its correlation, causation and trace, and how many publishes are in
    /// progress on this thread.
    ///
    /// Doing it again changes nothing.
    #[inline]
    pub(crate) fn stamped(&self, event: Arc<Event>) -> Result<(Arc<Event>, usize), EventPublishError> {
        context::with_publisher(|around| match around {
            None => Ok((event, 0)),
            Some(around) => self.stamped_within(around, event),
        })
    }

    fn stamped_within(
        &self,
        around: &Frame<'_>,
        mut event: Arc<Event>,
    ) -> Result<(Arc<Event>, usize), EventPublishError> {
        if around.depth >= NESTED_PUBLISHES_MAX {
            return Err(self.refuse(PublishErrorKind::TooDeep { limit: NESTED_PUBLISHES_MAX }, event));
        }
        if fill_in(&mut event, around.correlation_id, Some(around)) {
            self.copied.fetch_add(1, Ordering::Relaxed);
        }
        Ok((event, around.depth))
    }

    /// Counts an event as offered and refused.
    #[cold]
    pub(crate) fn refuse(&self, kind: PublishErrorKind, event: Arc<Event>) -> EventPublishError {
        let local = local::take(self);
        local.shard.offered.add(1);
        local.shard.refused.add(1);
        local::put_back(local);
        EventPublishError::new(kind, Some(event))
    }

    #[inline]
    fn publish_pinned(
        &self,
        (event, depth): (Arc<Event>, usize),
        shard: &Shard,
        view: &mut View,
        scratch: &mut Scratch,
        pin: &Pin<'_>,
        awaited: Option<&Awaited>,
    ) -> Result<Passed, EventPublishError> {
        self.look_again(view, shard);
        if !view.table.is_open {
            return Err(Self::refused_as_closed(shard, event, awaited));
        }
        shard.offered.add(1);
        let known;
        let route: &[Entry] = if let Some(index) = event.event_type().standard_index() {
            shard.published[index].add(1);
            view.table.standard_route(index)
        } else if let EventType::Named(name) = event.event_type() {
            known = self.names.find(name, &view.table, &mut scratch.hits);
            known.as_ref().map_or(&[], |known| known.counted_route())
        } else {
            &[]
        };
        shard.accepted.add(1);
        self.accepted(awaited);
        let passed = if route.is_empty() && !awaited.is_some_and(Awaited::has_recorder) {
            self.record(&mut scratch.spare, event)
        } else {
            let (feeds, route) = parted(route);
            let (sequence, evicted) = self.record_shared(&mut scratch.spare, &event);
            self.feed_if_any(feeds, pin, (sequence, &event), scratch, awaited);
            let turn = Turn::new(self, pin, view, &event, sequence).awaited(awaited);
            let is_completed = self.frame(&event, depth).enter(|| turn.complete(route));
            shard.completed.add(u64::from(is_completed));
            return Ok(Passed { sequence, event: Some(event), evicted });
        };
        shard.completed.add(1);
        awaited.map(Awaited::end);
        Ok(passed)
    }

    /// Brings a thread's copy of the snapshot up to date.
    #[inline]
    pub(super) fn look_again(&self, view: &mut View, shard: &Shard) {
        // Ordering: Acquire pairs with `set_table`: who was subscribed before this publish began is in it.
        if self.version.load(Ordering::Acquire) != view.table.version {
            *view = View::of(self, shard);
        }
    }

    /// The surroundings of the handlers of `event`.
    #[inline]
    pub(super) fn frame<'a>(&self, event: &'a Event, depth: usize) -> Frame<'a> {
        let frame = Frame::new(Some(self.key), depth + 1, event.correlation_id(), Some(event.event_id()));
        frame.carrying(event.carried())
    }

    /// Numbers and keeps an event that nobody hears.
    #[inline]
    pub(super) fn record(&self, spare: &mut Spare<Arc<Event>>, event: Arc<Event>) -> Passed {
        match &self.history {
            History::On(ring) => {
                let (sequence, evicted) = ring.push(spare, event);
                Passed { sequence, event: None, evicted }
            }
            History::Off(last) => Passed {
                sequence: last.fetch_add(1, Ordering::AcqRel) + 1,
                event: Some(event),
                evicted: None,
            },
        }
    }

    /// Numbers and keeps an event that is about to be handled.
    #[inline]
    pub(super) fn record_shared(
        &self,
        spare: &mut Spare<Arc<Event>>,
        event: &Arc<Event>,
    ) -> (u64, Option<Arc<Event>>) {
        match &self.history {
            History::On(ring) => ring.push(spare, Arc::clone(event)),
            History::Off(last) => (last.fetch_add(1, Ordering::AcqRel) + 1, None),
        }
    }

    /// Delivers a letter's event to the subscription that failed it, and to no other.
    pub(crate) fn redeliver(&self, letter: &Arc<DeadLetter>, entry: &Entry) -> Redelivered {
        let depth = context::with_current(|frame| frame.map_or(0, |frame| frame.depth));
        if depth >= NESTED_PUBLISHES_MAX {
            return Redelivered::TooDeep;
        }
        let ending = self.pinned(|shard, view, _, pin| {
            self.look_again(view, shard);
            let (event, sequence) = (letter.event(), letter.sequence().unwrap_or(0));
            let turn = Turn::new(self, pin, view, event, sequence);
            let redeliver = || self.frame(event, depth).enter(|| turn.redeliver(entry, letter));
            view.table.is_open.then(redeliver)
        });
        let Some(ending) = ending else { return Redelivered::Closed };
        match ending {
            Some(Ending::Succeeded | Ending::Waiting) => Redelivered::Delivered,
            Some(Ending::Undelivered(Some(again))) => Redelivered::FailedAgain(again),
            Some(Ending::Undelivered(None) | Ending::Cancelled) | None => Redelivered::Gone,
        }
    }
}

/// An event that was accepted, on its way out. What it holds is dropped when the pin is gone.
pub(super) struct Passed {
    pub(super) sequence: u64,
    pub(super) event: Option<Arc<Event>>,
    /// What made room in the history.
    pub(super) evicted: Option<Arc<Event>>,
}

impl Passed {
    /// One of many: two destructors that panic must not meet.
    pub(super) fn leave_quietly(self, engine: &Engine) -> u64 {
        drop_quietly(self.event);
        if let Some(evicted) = self.evicted {
            engine.let_evicted_go(evicted);
        }
        self.sequence
    }

    #[inline]
    pub(super) fn leave(self, engine: &Engine) -> u64 {
        // The caller's own event may panic on the caller; another publisher's may not, and not meanwhile.
        if let Some(evicted) = self.evicted {
            engine.let_evicted_go(evicted);
        }
        drop(self.event);
        self.sequence
    }
}

/// What became of a redriven letter.
pub(crate) enum Redelivered {
    Delivered,
    FailedAgain(DeadLetter),
    Gone,
    TooDeep,
    /// The bus is shut down.
    Closed,
}
