//! Queued dispatch, the publisher's side: an accepted event becomes a job in a lane, and the publisher goes on.
//!
//! A place in the lane is reserved before the event gets its number: an event that is refused leaves no trace, and one
//! that has a number is in the lane. Who waits for room holds no pin, and tries again from the beginning: subscriptions may
//! have changed meanwhile.

use super::awaited::Awaited;
use super::dead_letter::DeadLetter;
use super::delayed::Refused;
use super::drops::DropCause;
use super::engine::Engine;
use super::local::{Scratch, View};
#[cfg(feature = "async")]
use super::mailbox::{Mailbox, WaitingHost};
use super::policy::Overflow;
use super::publish::Passed;
use super::queue::{Job, JobRoute, Queue};
use super::retry::Tail;
use super::shard::{Pin, Shard};
use super::slots::parted;
use crate::clock::{Deadline, Stopwatch};
use crate::context;
use crate::event::{Event, EventPublishError, EventType};
use crate::lanes::Place;
use crate::sync::Ordering;
use std::sync::Arc;
use std::time::Duration;

/// Why an event was not accepted.
enum Denied {
    /// There may be room later.
    Full(Arc<Event>),
    For(EventPublishError),
}

/// What came of one try, once the pin is gone.
struct Accepted {
    passed: Passed,
    /// A worker should be woken.
    wakes: bool,
}

/// An event that was accepted and will not be handled.
pub(crate) struct Dropped {
    event: Arc<Event>,
    sequence: u64,
    tail: Option<Arc<Tail>>,
}

/// Without asynchronous handlers nobody waits inside the bus.
#[cfg(not(feature = "async"))]
enum WaitingHost {}

#[cfg(not(feature = "async"))]
impl WaitingHost {
    fn holds_up_a_turn(&self) -> bool {
        match *self {}
    }
}

impl Job {
    /// It will not be handled.
    pub(crate) fn into_dropped(self) -> Dropped {
        Dropped { event: self.event, sequence: self.sequence, tail: self.tail }
    }
}

impl Engine {
    /// Publishes one event to the workers, or finds that there is no room now.
    pub(super) fn enqueue_at_once(
        &self,
        queue: &Queue,
        event: Arc<Event>,
        awaited: &Awaited,
    ) -> Result<u64, Refused> {
        let (event, _) = self.stamped(event).map_err(Refused::For)?;
        let place = queue.place_of(self.key, &event);
        self.offer(queue, event, place, Some(awaited)).map_err(|denied| match denied {
            Denied::For(error) => Refused::For(error),
            Denied::Full(_) => Refused::Full(queue.limit().unwrap_or_default()),
        })
    }

    /// The refusal of an event that waited for room in vain.
    pub(super) fn refuse_full(
        &self,
        queue: &Queue,
        waited: Duration,
        event: Arc<Event>,
    ) -> EventPublishError {
        self.refuse(queue.full(waited), event)
    }

    /// Publishes one event to the workers; waits for room as the bus's policy says.
    pub(super) fn enqueue(
        &self,
        queue: &Queue,
        event: Arc<Event>,
        awaited: Option<&Awaited>,
    ) -> Result<u64, EventPublishError> {
        let (event, _) = self.stamped(event)?;
        let place = queue.place_of(self.key, &event);
        match self.offer(queue, event, place, awaited) {
            Ok(sequence) => Ok(sequence),
            Err(Denied::For(error)) => Err(error),
            Err(Denied::Full(event)) => self.enqueue_when_freed(queue, event, place, awaited),
        }
    }

    #[cold]
    fn enqueue_when_freed(
        &self,
        queue: &Queue,
        mut event: Arc<Event>,
        place: Place,
        awaited: Option<&Awaited>,
    ) -> Result<u64, EventPublishError> {
        // Inside a handler the room might never come: the worker that would make it is this one.
        let limit = queue.limit().filter(|_| !context::is_inside(self.key)).unwrap_or_default();
        let deadline = Deadline::after(limit);
        while !deadline.is_past() {
            #[cfg(feature = "stream")]
            if let Some(awaited) = awaited.filter(|_| self.has_blocking_feeds()) {
                awaited.leave_feeds();
                awaited.hold_in_feeds(self.wait_for_feeds(&event));
            }
            let mut waiter = queue.lanes.waiter(place);
            event = match self.offer(queue, event, place, awaited) {
                Ok(sequence) => return Ok(sequence),
                Err(Denied::For(error)) => return Err(error),
                Err(Denied::Full(event)) => event,
            };
            // Nobody holds a place while waiting for another.
            awaited.into_iter().for_each(Awaited::leave_feeds);
            waiter.wait(deadline.left());
        }
        Err(self.refuse_full(queue, limit, event))
    }

    /// [`publish`](Self::publish) for async code: waits for room without blocking the thread. Dropped before it is
    /// done, it did nothing.
    pub(crate) async fn enqueue_async(
        &self,
        queue: &Queue,
        event: Arc<Event>,
        awaited: Awaited,
    ) -> Result<u64, EventPublishError> {
        let (mut event, _) = self.stamped(event)?;
        let place = queue.place_of(self.key, &event);
        event = match self.offer(queue, event, place, Some(&awaited)) {
            Ok(sequence) => return Ok(sequence),
            Err(Denied::For(error)) => return Err(error),
            Err(Denied::Full(event)) => event,
        };
        // Inside a handler the room might never come. Only an asynchronous one holds up nothing while it waits, unless a turn
        // waits for its own mailbox.
        let host = self.waiting_host();
        let may_wait = host.is_some() || !context::is_inside(self.key);
        let limit = queue.limit().filter(|_| may_wait).unwrap_or_default();
        let mut alarm = (!limit.is_zero()).then(|| self.alarm(limit)).flatten();
        let (stopwatch, mut waited) = (Stopwatch::start(), limit);
        while let Some(alarm) = alarm.as_mut().filter(|alarm| !alarm.is_past()) {
            #[cfg(feature = "stream")]
            if self.has_blocking_feeds() {
                awaited.leave_feeds();
                let places = self.wait_for_feeds_async(&event).await;
                awaited.hold_in_feeds(places);
            }
            let mut waiter = queue.lanes.waiter(place);
            event = match self.offer(queue, event, place, Some(&awaited)) {
                Ok(sequence) => return Ok(sequence),
                Err(Denied::For(error)) => return Err(error),
                Err(Denied::Full(event)) => event,
            };
            if host.as_ref().is_some_and(WaitingHost::holds_up_a_turn) {
                waited = stopwatch.elapsed();
                break;
            }
            awaited.leave_feeds();
            alarm.or(waiter.freed()).await;
        }
        // A bus that is shut down ends all waits, and says so here.
        match self.offer(queue, event, place, Some(&awaited)) {
            Ok(sequence) => Ok(sequence),
            Err(Denied::For(error)) => Err(error),
            Err(Denied::Full(event)) => Err(self.refuse_full(queue, waited, event)),
        }
    }

    /// The asynchronous handler that is about to wait, if it is one.
    #[cfg(feature = "async")]
    fn waiting_host(&self) -> Option<WaitingHost> {
        context::with_host(self.key, |host| host.downcast_ref::<Arc<Mailbox>>().map(Arc::clone))
            .flatten()
            .map(WaitingHost::new)
    }

    /// Nobody: there are no asynchronous handlers.
    #[cfg(not(feature = "async"))]
    #[allow(clippy::unused_self, reason = "as with asynchronous handlers")]
    fn waiting_host(&self) -> Option<WaitingHost> {
        None
    }

    /// One try to put an event in its lane.
    #[inline]
    fn offer(
        &self,
        queue: &Queue,
        event: Arc<Event>,
        place: Place,
        awaited: Option<&Awaited>,
    ) -> Result<u64, Denied> {
        let mut dropped = None;
        let Accepted { passed, wakes } = self.pinned_to_record(|shard, view, scratch, pin| {
            self.look_again(view, shard);
            self.offer_pinned(queue, (event, place, awaited), (shard, pin), view, scratch, &mut dropped)
        })?;
        if wakes {
            queue.sleepers.wake_one();
        }
        // Ordering: SeqCst, and filling a place is: of "fill, then look whether workers go home" here and "send them home,
        // then look for work" in `Engine::work`, one sees the other.
        if queue.is_stopping.load(Ordering::SeqCst) {
            self.discard_left(queue);
        }
        if let Some(dropped) = dropped {
            let is_oldest = queue.settings.overflow == Overflow::DropOldest;
            self.discard(dropped, if is_oldest { DropCause::Oldest } else { DropCause::Newest });
        }
        // Over already if nobody hears it.
        self.tell_flushers();
        Ok(passed.leave(self))
    }

    #[inline]
    fn offer_pinned(
        &self,
        queue: &Queue,
        (event, place, awaited): (Arc<Event>, Place, Option<&Awaited>),
        (shard, pin): (&Shard, &Pin<'_>),
        view: &View,
        scratch: &mut Scratch,
        dropped: &mut Option<Dropped>,
    ) -> Result<Accepted, Denied> {
        if !view.table.is_open {
            return Err(Denied::For(Self::refused_as_closed(shard, event, awaited)));
        }
        let standard = event.event_type().standard_index();
        let found = match event.event_type() {
            EventType::Named(name) => Some(self.names.find(name, &view.table, &mut scratch.hits)),
            _ => None,
        };
        let known = found.as_ref().and_then(|found| found.as_ref());
        let route = match (standard, known) {
            (Some(index), _) => JobRoute::Standard(Arc::clone(view.table.standard_route(index))),
            (None, Some(known)) => JobRoute::Shared(known.shared_route()),
            (None, None) => JobRoute::Standard(Arc::default()),
        };
        let (feeds, heard) = parted(route.entries());
        let is_heard = !heard.is_empty();
        let (reserved, displaced) = if is_heard { queue.find_room(place) } else { (None, None) };
        if is_heard && reserved.is_none() && queue.settings.overflow != Overflow::DropNewest {
            return Err(Denied::Full(event));
        }
        // From here on the event is accepted.
        if let Some(index) = standard {
            shard.published[index].add(1);
        } else if let Some(known) = known {
            known.count();
        }
        shard.offered.add(1);
        shard.accepted.add(1);
        self.accepted(awaited);
        let (sequence, evicted) = self.record_shared(&mut scratch.spare, &event);
        self.feed_if_any(feeds, pin, (sequence, &event), scratch, awaited);
        let tail = awaited.and_then(Awaited::tail);
        let passed = |event| Passed { sequence, event, evicted };
        let Some(reserved) = reserved else {
            if is_heard {
                *dropped = Some(Dropped { event, sequence, tail });
                return Ok(Accepted { passed: passed(None), wakes: false });
            }
            shard.completed.add(1);
            if let Some(tail) = tail {
                tail.end();
            }
            return Ok(Accepted { passed: passed(Some(event)), wakes: false });
        };
        *dropped = displaced.map(Job::into_dropped);
        let queued_for = self.latencies.as_ref().map(|_| Stopwatch::start());
        let wakes = reserved.fill(Job { event, sequence, route, tail, queued_for });
        Ok(Accepted { passed: passed(None), wakes })
    }

    /// Takes out what came into the lanes while the bus was shut down, which nobody may be left to handle.
    #[cold]
    fn discard_left(&self, queue: &Queue) {
        for job in queue.lanes.drain() {
            self.discard(job.into_dropped(), DropCause::ShutDown);
        }
    }

    /// Counts an event that was accepted and will not be handled, and keeps it as a letter if that was asked for.
    pub(crate) fn discard(&self, dropped: Dropped, cause: DropCause) {
        let Dropped { event, sequence, tail } = dropped;
        self.dropped.count(cause);
        if self.keeps_dropped {
            self.add_letter(DeadLetter::dropped(&event, sequence));
            self.after_pin();
        }
        self.let_go(event);
        if let Some(tail) = tail {
            tail.drop_event();
        }
        self.tell_flushers();
    }
}
