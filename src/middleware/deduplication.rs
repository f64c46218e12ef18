//! Each event id once within a window.
//!
//! Ids are remembered in a table of sets of eight. A set is one immutable list behind one pointer, so that "not there, so put
//! it in" is one compare-and-swap, and of any number of publishes that race with one id exactly one passes. The price is a
//! small allocation for each event. An open-addressing table of cells would do without, but two cells cannot be looked
//! through and filled in one step.

use crate::dispatch::handler::BoxError;
use crate::dispatch::intercept::{OfferedEvent, PublishEnding, PublishInterceptor, PublishOutcome};
use crate::ids::EventId;
use crate::sync::{AtomicU64, Ordering};
use arc_swap::ArcSwapOption;
use foldhash::fast::RandomState;
use std::fmt;
use std::hash::BuildHasher;
use std::sync::Arc;
use std::time::Duration;
use thiserror::Error;

/// How many ids one deduplication can be told to remember.
pub const DEDUPLICATED_IDS_MAX: usize = 1 << 24;

const IDS_DEFAULT: usize = 65_536;
const SET: usize = 8;

/// Refuses an event whose id was published before, within a window. Clones share what they remember.
///
/// The window begins when an id is first offered; duplicates do not renew it. An id whose event is refused after all, or
/// withdrawn, is forgotten, so it may be offered again; who offered it meanwhile was refused as a duplicate. What is
/// redriven out of the dead letters passes: the bus had accepted it before. It knows an event by the id that the event has
/// in the end, so an interceptor that gives it another one is to be installed before.
///
/// It remembers at most 65,536 ids unless told otherwise. Ids are spread over sets of eight by a seeded hash; a full set
/// forgets its oldest id before the window is over, and a duplicate of that would pass. With half as many ids in a window as
/// it may remember this is about one id in a hundred, with a quarter one in ten thousand; [`forgotten`](Self::forgotten)
/// counts them. It serves one bus, whose clock it goes by.
///
/// ```
/// use codomyrmex_events::{Deduplication, Event, EventBus};
/// use std::sync::Arc;
/// use std::time::Duration;
///
/// let once = Deduplication::within(Duration::from_secs(60));
/// let bus = EventBus::builder().intercept_publish(once.clone()).build()?;
/// let event = Arc::new(Event::builder("order.placed", "shop").build()?);
/// assert!(bus.publish(Arc::clone(&event)).is_ok());
/// assert!(bus.publish(event).is_err());
/// assert_eq!(once.duplicates(), 1);
/// # Ok::<(), codomyrmex_events::EventError>(())
/// ```
#[derive(Clone)]
pub struct Deduplication {
    memory: Arc<Memory>,
}

/// An event whose id was published before.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("an event with the id {event_id} was offered {ago:?} ago")]
#[non_exhaustive]
pub struct DuplicateEvent {
    event_id: EventId,
    ago: Duration,
}

impl DuplicateEvent {
    /// The id.
    #[must_use]
    pub fn event_id(&self) -> &EventId {
        &self.event_id
    }

    /// How long ago it was offered first.
    #[must_use]
    pub fn ago(&self) -> Duration {
        self.ago
    }
}

struct Memory {
    window: Duration,
    sets: Box<[ArcSwapOption<Vec<Seen>>]>,
    hasher: RandomState,
    duplicates: AtomicU64,
    forgotten: AtomicU64,
}

#[derive(Clone)]
struct Seen {
    event_id: EventId,
    /// The uptime.
    at: Duration,
}

impl Deduplication {
    /// Remembers up to 65,536 ids for `window`.
    #[must_use]
    pub fn within(window: Duration) -> Self {
        Deduplication::remembering(window, IDS_DEFAULT)
    }

    /// Remembers up to `ids` ids for `window`: rounded up to a power of two, at least 8, at most
    /// [`DEDUPLICATED_IDS_MAX`]. It takes a byte for each at once, and about 50 bytes for each that is remembered, and the text
    /// of ids that are no UUIDs.
    #[must_use]
    pub fn remembering(window: Duration, ids: usize) -> Self {
        let ids = ids.clamp(SET, DEDUPLICATED_IDS_MAX).next_power_of_two();
        let sets = std::iter::repeat_with(ArcSwapOption::const_empty).take(ids / SET).collect();
        Deduplication {
            memory: Arc::new(Memory {
                window,
                sets,
                hasher: RandomState::default(),
                duplicates: AtomicU64::new(0),
                forgotten: AtomicU64::new(0),
            }),
        }
    }

    /// How many events were refused.
    #[must_use]
    pub fn duplicates(&self) -> u64 {
        self.memory.duplicates.load(Ordering::Relaxed)
    }

    /// How many ids were forgotten before the window was over, for want of room.
    #[must_use]
    pub fn forgotten(&self) -> u64 {
        self.memory.forgotten.load(Ordering::Relaxed)
    }
}

impl Memory {
    fn set_of(&self, event_id: &EventId) -> &ArcSwapOption<Vec<Seen>> {
        &self.sets[self.hasher.hash_one(event_id) as usize & (self.sets.len() - 1)]
    }

    /// Remembers an id; how long ago it was seen, if it is remembered already.
    fn remember(&self, event_id: &EventId, now: Duration) -> Result<(), Duration> {
        let set = self.set_of(event_id);
        let mut before = set.load();
        loop {
            let seen = before.as_deref().map_or(&[][..], Vec::as_slice);
            let is_fresh = |seen: &&Seen| now.saturating_sub(seen.at) < self.window;
            let mut next: Vec<Seen> = Vec::with_capacity(SET);
            for known in seen.iter().filter(is_fresh) {
                if known.event_id == *event_id {
                    return Err(now.saturating_sub(known.at));
                }
                next.push(known.clone());
            }
            let is_full = next.len() == SET;
            if is_full {
                next.remove(0);
            }
            next.push(Seen { event_id: event_id.clone(), at: now });
            let found = set.compare_and_swap(&before, Some(Arc::new(next)));
            if is_same(&found, &before) {
                self.forgotten.fetch_add(u64::from(is_full), Ordering::Relaxed);
                return Ok(());
            }
            before = found;
        }
    }

    /// Forgets an id that was remembered before `end`.
    fn forget(&self, event_id: &EventId, end: Duration) {
        let is_kept = |seen: &&Seen| seen.event_id != *event_id || seen.at >= end;
        self.set_of(event_id).rcu(|seen| {
            let kept = seen.iter().flat_map(|seen| seen.iter()).filter(is_kept);
            let kept: Vec<Seen> = kept.cloned().collect();
            (!kept.is_empty()).then(|| Arc::new(kept))
        });
    }
}

fn is_same(one: &Option<Arc<Vec<Seen>>>, other: &Option<Arc<Vec<Seen>>>) -> bool {
    one.as_ref().map(Arc::as_ptr) == other.as_ref().map(Arc::as_ptr)
}

impl PublishInterceptor for Deduplication {
    fn before_publish(&self, offered: &mut OfferedEvent<'_>) -> Result<(), BoxError> {
        if offered.is_redriven() {
            return Ok(());
        }
        self.memory.remember(offered.event_id(), offered.uptime()).map_err(|ago| {
            self.memory.duplicates.fetch_add(1, Ordering::Relaxed);
            DuplicateEvent { event_id: offered.event_id().clone(), ago }.into()
        })
    }

    fn after_publish(&self, outcome: &PublishOutcome<'_>) {
        let event_id = outcome.event().event_id();
        match outcome.ending() {
            PublishEnding::Accepted { .. } if outcome.is_redriven() => {
                // One that its schema refused was forgotten; another is known already.
                let _ = self.memory.remember(event_id, outcome.uptime());
            }
            PublishEnding::Accepted { .. } => {}
            _ if outcome.is_redriven() => {}
            // What was remembered a window after the publish began is of another one, which passed meanwhile.
            _ => {
                let begun = outcome.uptime().saturating_sub(outcome.took());
                self.memory.forget(event_id, begun.saturating_add(self.memory.window));
            }
        }
    }
}

impl fmt::Debug for Deduplication {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Deduplication")
            .field("window", &self.memory.window)
            .field("duplicates", &self.duplicates())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The shares that the documentation of [`Deduplication`] states, with room for chance.
    #[test]
    fn a_set_forgets_its_oldest_as_rarely_as_it_is_said() {
        for (part_of_room, forgotten_per_million_max) in [(2, 20_000), (4, 500), (16, 0)] {
            let remembered = Deduplication::remembering(Duration::from_secs(1), 65_536);
            let ids = 65_536 / part_of_room;
            for _ in 0..ids {
                remembered.memory.remember(&EventId::new(), Duration::ZERO).unwrap();
            }
            let forgotten = remembered.forgotten() as usize * 1_000_000 / ids;
            assert!(forgotten <= forgotten_per_million_max, "{forgotten} at 1/{part_of_room}");
        }
        let full = Deduplication::remembering(Duration::from_secs(1), 8);
        for n in 0..20 {
            full.memory.remember(&EventId::parse(&n.to_string()).unwrap(), Duration::ZERO).unwrap();
        }
        assert_eq!(full.forgotten(), 12);
    }

    #[test]
    fn who_withdraws_after_the_window_forgets_nothing_of_another() {
        let (second, id) = (Duration::from_secs(1), EventId::new());
        let memory = Deduplication::within(second).memory;
        memory.remember(&id, Duration::ZERO).unwrap();
        memory.remember(&id, second).unwrap();
        memory.forget(&id, second);
        assert_eq!(memory.remember(&id, second), Err(Duration::ZERO));
        memory.forget(&id, second * 2);
        memory.remember(&id, second).unwrap();
    }
}
