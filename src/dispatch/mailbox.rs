//! Deliveries on their way to one asynchronous handler: a bounded queue, and seats for the tasks that empty it.
//!
//! The event's turn puts a delivery in and goes on. There is a task for a delivery as long as a seat is free (one, unless
//! the subscription allows more), and none while the mailbox is empty. What a task is handling lies in its seat, so that
//! whoever shuts the bus down can take it out: who takes a delivery out of its seat ends it, and nobody else does.
//!
//! How a task handles a delivery is told in [`task`](super::task). Nothing here names a runtime but [`Spawn`].

use super::door::{Door, InDoor};
use super::drops::DropCause;
use super::engine::{Engine, Owner};
use super::owned::OwnedDelivery;
use super::policy::Overflow;
use super::retry::Late;
use super::task::{HandlerFuture, Seated};
use crate::bounded::Bounded;
use crate::clock::Deadline;
use crate::context;
#[cfg(feature = "queued")]
use crate::sync::AtomicUsize;
use crate::sync::{AtomicBool, AtomicCell, Ordering, Signal};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

/// A task for a runtime.
pub(crate) type Task = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Where tasks run.
pub(crate) type Spawn = Arc<dyn Fn(Task) + Send + Sync>;

/// How long a retry waits before it looks again for room in a mailbox.
const NEXT_LOOK_FOR_ROOM: Duration = Duration::from_millis(10);

/// What an asynchronous handler is besides its filter.
pub(crate) struct AsyncCall {
    pub(crate) make: Box<dyn Fn(OwnedDelivery) -> HandlerFuture + Send + Sync>,
    pub(crate) mailbox: Arc<Mailbox>,
}

pub(crate) struct Mailbox {
    deliveries: Bounded<Box<Late>>,
    overflow: Overflow,
    seats: Box<[Seat]>,
    /// Where handlers are called one after another although several run; `None`: as they come.
    door: Option<Door>,
    /// How many of its handlers wait for room in a lane.
    #[cfg(feature = "queued")]
    waiting_for_lanes: AtomicUsize,
    is_stopped: AtomicBool,
    pub(super) stopped: Signal,
    spawn: Spawn,
}

/// The place of one task.
#[derive(Default)]
pub(super) struct Seat {
    is_taken: AtomicBool,
    /// Its task is moving a delivery from the queue into the seat.
    is_moving: AtomicBool,
    delivery: AtomicCell<Option<Box<Late>>>,
}

/// A place in a mailbox that an async publisher waited for. Dropped unused, it is free again.
pub(crate) struct HeldPlace {
    mailbox: Arc<Mailbox>,
    is_filled: bool,
}

impl HeldPlace {
    pub(super) fn is_in(&self, mailbox: &Arc<Mailbox>) -> bool {
        Arc::ptr_eq(&self.mailbox, mailbox)
    }

    fn fill(mut self, late: Box<Late>) {
        self.is_filled = true;
        self.mailbox.deliveries.put(late);
    }
}

impl Drop for HeldPlace {
    fn drop(&mut self) {
        if !self.is_filled {
            self.mailbox.deliveries.give_back();
        }
    }
}

impl Mailbox {
    /// With room for `room` deliveries and at most `concurrency` tasks, which begin `in_order` or as they come.
    pub(crate) fn new(
        room: usize,
        overflow: Overflow,
        concurrency: usize,
        in_order: bool,
        spawn: Spawn,
    ) -> Arc<Self> {
        Arc::new(Mailbox {
            deliveries: Bounded::new(room),
            overflow,
            seats: (0..concurrency).map(|_| Seat::default()).collect(),
            door: in_order.then(Door::default),
            #[cfg(feature = "queued")]
            waiting_for_lanes: AtomicUsize::new(0),
            is_stopped: AtomicBool::new(false),
            stopped: Signal::new(),
            spawn,
        })
    }

    /// How many deliveries wait.
    pub(crate) fn len(&self) -> usize {
        self.deliveries.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.deliveries.is_empty()
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.is_stopped.load(Ordering::SeqCst)
    }

    /// How long its owner lets a publisher wait for room; `None` if not at all.
    pub(super) fn patience(&self) -> Option<Duration> {
        match self.overflow {
            Overflow::Block(limit) => Some(limit),
            _ => None,
        }
    }

    pub(super) fn waiter(&self) -> crate::bounded::Waiter<'_, Box<Late>> {
        self.deliveries.waiter()
    }

    /// Takes a place for one delivery, if there is one.
    pub(super) fn hold_place(self: &Arc<Self>) -> Option<HeldPlace> {
        let is_held = self.deliveries.reserve();
        is_held.then(|| HeldPlace { mailbox: Arc::clone(self), is_filled: false })
    }

    /// Puts a delivery in; returns one that must go, the oldest or this, and why.
    fn push(
        &self,
        late: Box<Late>,
        place: Option<HeldPlace>,
        may_wait: bool,
        before_wait: impl Fn(),
    ) -> Option<(Box<Late>, DropCause)> {
        if let Some(place) = place {
            place.fill(late);
            return None;
        }
        loop {
            if self.deliveries.reserve() {
                self.deliveries.put(late);
                return None;
            }
            match self.overflow {
                Overflow::DropOldest => {
                    if let Some(oldest) = self.deliveries.displace() {
                        self.deliveries.put(late);
                        return Some((oldest, DropCause::Oldest));
                    }
                    // Others have places and have not filled them yet, or a task was faster.
                    std::thread::yield_now();
                }
                Overflow::DropNewest => return Some((late, DropCause::Newest)),
                Overflow::Reject => return Some((late, DropCause::Rejected)),
                Overflow::Block(limit) => {
                    if !may_wait || !self.wait_for_place(limit, &before_wait) {
                        return Some((late, DropCause::Blocked));
                    }
                    self.deliveries.put(late);
                    return None;
                }
            }
        }
    }

    fn wait_for_place(&self, limit: Duration, before_wait: impl Fn()) -> bool {
        let deadline = Deadline::after(limit);
        loop {
            let mut waiter = self.deliveries.waiter();
            if self.deliveries.reserve() {
                return true;
            }
            if deadline.is_past() || self.is_stopped() {
                return false;
            }
            before_wait();
            waiter.wait(deadline.left());
        }
    }

    /// Starts a task, if a seat is free.
    fn start_task(self: &Arc<Self>, owner: &Arc<dyn Owner>) {
        if let Some(seat) = self.take_seat() {
            let seated = Seated::new(Arc::clone(self), Arc::clone(owner), seat);
            (self.spawn)(Box::pin(seated.run()));
        }
    }

    /// Ordering: SeqCst: of "put in, then look for a seat" in `post` and "leave the seat, then look once more at the queue" in
    /// a task, one sees the other.
    pub(super) fn take_seat(&self) -> Option<usize> {
        self.seats.iter().position(|seat| {
            !seat.is_taken.load(Ordering::SeqCst) && !seat.is_taken.swap(true, Ordering::SeqCst)
        })
    }

    pub(super) fn leave_seat(&self, seat: usize) {
        self.seats[seat].is_taken.store(false, Ordering::SeqCst);
    }

    /// Waits for the door, if there is one.
    pub(super) async fn pass_door(&self) -> Option<InDoor<'_>> {
        Some(self.door.as_ref()?.pass().await)
    }

    /// Moves the next delivery into a seat; what a task needs of it, or none if there is nothing to do.
    pub(super) fn next(&self, seat: usize, owner: &Arc<dyn Owner>) -> Option<OwnedDelivery> {
        let seat = &self.seats[seat];
        seat.is_moving.store(true, Ordering::SeqCst);
        let late = if self.is_stopped() { None } else { self.deliveries.pop() };
        let delivery = late.as_deref().map(|late| OwnedDelivery::new(late, Arc::clone(owner)));
        if late.is_some() {
            seat.delivery.store(late);
        }
        seat.is_moving.store(false, Ordering::SeqCst);
        delivery
    }

    /// Takes the delivery out of a seat, unless it was given up.
    pub(super) fn take_back(&self, seat: usize) -> Option<Box<Late>> {
        self.seats[seat].delivery.take()
    }

    /// Takes out all that waits.
    pub(super) fn drain(&self) -> impl Iterator<Item = Box<Late>> {
        std::iter::from_fn(|| self.deliveries.pop())
    }

    /// Stops the tasks, and hands out what waits and what they are handling.
    #[allow(clippy::vec_box, reason = "they are boxed in the mailbox")]
    pub(crate) fn stop(&self) -> Vec<Box<Late>> {
        self.is_stopped.store(true, Ordering::SeqCst);
        let mut left: Vec<_> = self.drain().collect();
        for seat in &self.seats {
            // Ordering: SeqCst: of "move, then look whether it is stopped" and "stop, then look whether it moves", one sees
            // the other. No user code runs during a move, so this is short.
            while seat.is_moving.load(Ordering::SeqCst) {
                std::thread::yield_now();
            }
            left.extend(seat.delivery.take());
        }
        self.stopped.notify(usize::MAX);
        self.deliveries.end_waits();
        left
    }
}

/// A handler that waits for room in a lane, and may have to give that up for its own mailbox's sake.
#[cfg(feature = "queued")]
pub(super) struct WaitingHost(Arc<Mailbox>);

#[cfg(feature = "queued")]
impl WaitingHost {
    pub(super) fn new(mailbox: Arc<Mailbox>) -> Self {
        // Ordering: SeqCst: of "wait for a lane, then look whether a turn waits for the mailbox" here and "wait for the mailbox,
        // then look whether its handler waits for a lane" in `Engine::warn_hosts`, one sees the other.
        mailbox.waiting_for_lanes.fetch_add(1, Ordering::SeqCst);
        WaitingHost(mailbox)
    }

    /// Whether a turn waits for a place in the handler's own mailbox: perhaps the one that keeps the lane full.
    pub(super) fn holds_up_a_turn(&self) -> bool {
        self.0.deliveries.has_waiters()
    }
}

#[cfg(feature = "queued")]
impl Drop for WaitingHost {
    fn drop(&mut self) {
        self.0.waiting_for_lanes.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Engine {
    /// Gives a delivery to its mailbox, in the event's turn; `place` was waited for by an async publisher.
    pub(super) fn post(&self, call: &AsyncCall, late: Box<Late>, place: Option<HeldPlace>, may_wait: bool) {
        // Inside a handler nobody waits: the mailbox may be its own.
        let may_wait = may_wait && !context::is_nested(self.key) && !self.is_manual();
        match call.mailbox.push(late, place, may_wait, || self.warn_hosts(&call.mailbox)) {
            None => {}
            Some((left, _)) if call.mailbox.is_stopped() => drop(self.cancel(left)),
            Some((dropped, cause)) => self.drop_late(dropped, cause),
        }
        self.see_to(&call.mailbox);
    }

    /// Gives a delivery to its mailbox once more. It does not hold up whoever runs retries: where the owner lets publishers
    /// wait, it goes back to the timers.
    pub(super) fn post_again(&self, call: &AsyncCall, late: Box<Late>) {
        let place = call.mailbox.hold_place();
        if place.is_none() && call.mailbox.patience().is_some() && !call.mailbox.is_stopped() {
            if let Err(back) = self.wait_and_retry(NEXT_LOOK_FOR_ROOM, late) {
                self.drop_late(back, DropCause::Blocked);
            }
            return;
        }
        self.post(call, late, place, false);
    }

    /// A turn is about to wait for this mailbox. Its handlers must not wait for the lane that this turn holds up.
    #[cfg_attr(
        not(feature = "queued"),
        allow(clippy::unused_self, unused_variables, reason = "there are no lanes")
    )]
    fn warn_hosts(&self, mailbox: &Mailbox) {
        #[cfg(feature = "queued")]
        if let Some(queue) =
            self.queue.as_ref().filter(|_| mailbox.waiting_for_lanes.load(Ordering::SeqCst) != 0)
        {
            queue.lanes.end_waits();
        }
    }

    fn see_to(&self, mailbox: &Arc<Mailbox>) {
        if mailbox.is_stopped() {
            mailbox.drain().for_each(|late| drop(self.cancel(late)));
        } else if let Some(owner) = self.owner.upgrade() {
            mailbox.start_task(&owner);
        }
    }
}
