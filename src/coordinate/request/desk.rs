//! [`Desk`]: who waits for which answer. One for each bus, made at its first request.
//!
//! Answers come by two ways, and the first to come is taken: what is answered by [`Reply`](super::Reply) is given to the desk
//! when it is recorded, before its handlers; what others publish is heard by one subscription to `*.reply`.
//!
//! The map is a `DashMap`: requests and answers meet it, from many threads at once, and no other publish does. Nothing of a
//! user's is dropped or woken under its locks.

use super::error::RequestErrorKind;
use crate::bus::{BusPart, EventBus, Recorded, Subscription};
use crate::dispatch::awaited::Recorder;
use crate::dispatch::watch::{DeliveryOutcome, Watch};
use crate::error::SubscriptionErrorKind;
use crate::event::{Event, EventType};
use crate::ids::EventId;
use crate::sync::{AtomicUsize, Ordering};
use dashmap::{DashMap, Entry};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

/// How many requests of one bus may wait for their answers.
pub const REQUESTS_MAX: usize = 65_536;

/// What every type of answer ends with.
pub(super) const SUFFIX: &str = ".reply";

/// The request, and the type of its answer.
type Key = (EventId, EventType);

#[derive(Default)]
pub(super) struct Desk {
    waiting: DashMap<Key, Arc<Waiter>>,
    /// How many wait: bounds the map.
    count: AtomicUsize,
    /// By which it hears what others publish.
    hearing: Mutex<Option<Subscription>>,
}

/// Who waits for an answer.
struct Waiter {
    answer: OnceLock<Recorded>,
    /// Its signal also tells of the answer, and of the end of the bus.
    watch: Arc<Watch>,
}

impl Desk {
    /// The desk of a bus, which hears answers.
    pub(super) fn of(bus: &EventBus) -> Result<Arc<Desk>, RequestErrorKind> {
        let desk = bus.part::<Desk>();
        if desk.hearing().as_ref().is_none_or(Subscription::is_gone) {
            desk.begin_to_hear(bus)?;
        }
        Ok(desk)
    }

    fn hearing(&self) -> MutexGuard<'_, Option<Subscription>> {
        self.hearing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Subscribes, or does so again where somebody has ended the subscription. Two may do so at once: one of them is one too many.
    fn begin_to_hear(self: &Arc<Self>, bus: &EventBus) -> Result<(), RequestErrorKind> {
        // The bus owns the handler and this part, so neither keeps it alive.
        let desk = Arc::clone(self);
        let subscription = bus
            .subscribe(["*", SUFFIX].concat())
            .priority(i32::MAX)
            .handler(move |delivery| desk.take(delivery.sequence(), delivery.event()));
        let subscription = subscription.map_err(|error| match error.kind() {
            SubscriptionErrorKind::Closed => RequestErrorKind::Closed,
            kind => unreachable!("a subscription to one pattern is refused: {kind}"),
        })?;
        let spare = {
            let mut hearing = self.hearing();
            match hearing.as_ref().filter(|other| !other.is_gone()) {
                Some(_) => Some(subscription),
                None => {
                    *hearing = Some(subscription);
                    None
                }
            }
        };
        if let Some(spare) = spare {
            spare.unsubscribe();
        }
        Ok(())
    }

    /// A place for one who waits for an answer of this type.
    pub(super) fn place(
        self: Arc<Self>,
        request: &Event,
        reply_type: EventType,
    ) -> Result<Place, RequestErrorKind> {
        if self.count.fetch_add(1, Ordering::Relaxed) >= REQUESTS_MAX {
            self.count.fetch_sub(1, Ordering::Relaxed);
            return Err(RequestErrorKind::TooMany { limit: REQUESTS_MAX });
        }
        let key = (request.event_id().clone(), reply_type);
        let waiter = Arc::new(Waiter { answer: OnceLock::new(), watch: Arc::default() });
        let is_new = match self.waiting.entry(key.clone()) {
            Entry::Occupied(_) => false,
            Entry::Vacant(place) => {
                place.insert(Arc::clone(&waiter));
                true
            }
        };
        if !is_new {
            self.count.fetch_sub(1, Ordering::Relaxed);
            return Err(RequestErrorKind::AlreadyWaiting);
        }
        Ok(Place { desk: self, key, waiter })
    }

    /// Gives an answer to whoever waits for it, if somebody does.
    fn take(&self, sequence: u64, event: &Arc<Event>) {
        let Some(request) = event.causation_id() else { return };
        let key = (request.clone(), event.event_type().clone());
        // Whoever takes the waiter out of the map answers it, and nobody else does.
        if let Some((_, waiter)) = self.waiting.remove(&key) {
            let is_first = waiter.answer.set(Recorded::new(sequence, Arc::clone(event))).is_ok();
            debug_assert!(is_first, "a waiter is answered once");
            waiter.watch.over.notify(usize::MAX);
        }
    }
}

impl Recorder for Desk {
    fn recorded(&self, sequence: u64, event: &Arc<Event>) {
        self.take(sequence, event);
    }
}

impl BusPart for Desk {
    fn bus_closed(&self) {
        let waiters: Vec<Arc<Waiter>> = self.waiting.iter().map(|waiting| Arc::clone(&waiting)).collect();
        for waiter in waiters {
            waiter.watch.over.notify(usize::MAX);
        }
    }
}

/// The place at the desk of one who waits. Dropped, it is free, answered or not.
pub(super) struct Place {
    desk: Arc<Desk>,
    key: Key,
    waiter: Arc<Waiter>,
}

impl Place {
    pub(super) fn watch(&self) -> &Arc<Watch> {
        &self.waiter.watch
    }

    pub(super) fn answer(&self) -> Option<&Recorded> {
        self.waiter.answer.get()
    }

    /// Whether it is the desk itself that heard the request, as it hears all that ends with `.reply`.
    pub(super) fn is_of_desk(&self, outcome: &DeliveryOutcome) -> bool {
        self.desk.hearing().as_ref().is_some_and(|hearing| hearing.id() == outcome.subscriber_id())
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let is_own = |waiter: &Arc<Waiter>| Arc::ptr_eq(waiter, &self.waiter);
        self.desk.waiting.remove_if(&self.key, |_, waiter| is_own(waiter));
        self.desk.count.fetch_sub(1, Ordering::Relaxed);
    }
}
