//! The states of a keyed gate by key, bounded, and without a lock.
//!
//! Keys are spread over buckets by a seeded hash. A bucket is one immutable list behind one pointer: looking is a load, and "not
//! there, so begin it" one compare-and-swap, so two threads cannot begin the same key twice. How many keys wait is reserved in one
//! number before, so the bound is exact however they are spread. `keyed` at the crate's root never forgets, so it suits counts only.

use super::state::{GateState, State};
use crate::ids::CorrelationId;
use crate::sync::{AtomicUsize, Ordering};
use arc_swap::ArcSwapOption;
use foldhash::fast::RandomState;
use std::hash::BuildHasher;
use std::sync::Arc;

/// How many keys that are over a bucket remembers. With two waiting keys to a bucket at the most on average, this is what
/// [`KeyedGate`](super::KeyedGate) says of forgetting.
const OVER_PER_BUCKET: usize = 8;

pub(super) struct Entry {
    pub(super) key: CorrelationId,
    pub(super) state: State,
}

/// The oldest first.
type Bucket = Vec<Arc<Entry>>;

pub(super) struct Table {
    buckets: Box<[ArcSwapOption<Bucket>]>,
    hasher: RandomState,
    preconditions: usize,
    keys_max: usize,
    waiting: AtomicUsize,
}

/// What [`Table::find_or_begin`] found.
pub(super) enum Found {
    Known(Arc<Entry>),
    Begun(Arc<Entry>),
    NoRoom,
}

impl Table {
    pub(super) fn new(keys_max: usize, preconditions: usize) -> Self {
        let buckets = keys_max.div_ceil(2).next_power_of_two();
        Table {
            buckets: std::iter::repeat_with(ArcSwapOption::const_empty).take(buckets).collect(),
            hasher: RandomState::default(),
            preconditions,
            keys_max,
            waiting: AtomicUsize::new(0),
        }
    }

    fn bucket(&self, key: &str) -> &ArcSwapOption<Bucket> {
        &self.buckets[self.hasher.hash_one(key) as usize & (self.buckets.len() - 1)]
    }

    pub(super) fn find(&self, key: &str) -> Option<Arc<Entry>> {
        position(self.bucket(key).load().as_deref(), key).cloned()
    }

    /// The state of a key, which begins if there is room.
    pub(super) fn find_or_begin(&self, key: &CorrelationId) -> Found {
        let bucket = self.bucket(key);
        let mut before = bucket.load();
        if let Some(known) = position(before.as_deref(), key) {
            return Found::Known(Arc::clone(known));
        }
        if !self.reserve() {
            return Found::NoRoom;
        }
        let entry = Arc::new(Entry { key: key.clone(), state: State::new(self.preconditions) });
        loop {
            let mut next = kept(before.as_deref());
            next.push(Arc::clone(&entry));
            let found = bucket.compare_and_swap(&before, Some(Arc::new(next)));
            if is_same(&found, &before) {
                return Found::Begun(entry);
            }
            // Somebody was faster, perhaps with this key.
            before = found;
            if let Some(known) = position(before.as_deref(), key) {
                self.is_over();
                return Found::Known(Arc::clone(known));
            }
        }
    }

    fn reserve(&self) -> bool {
        let one_more = |waiting| (waiting < self.keys_max).then_some(waiting + 1);
        self.waiting.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more).is_ok()
    }

    /// A key waits no longer.
    pub(super) fn is_over(&self) {
        self.waiting.fetch_sub(1, Ordering::Relaxed);
    }

    pub(super) fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    /// Lets go of everything. Who is just beginning a key may leave it here, until the table itself goes.
    pub(super) fn close(&self) {
        for bucket in &self.buckets {
            for entry in bucket.swap(None).iter().flat_map(|bucket| bucket.iter()) {
                if entry.state.close() {
                    self.is_over();
                }
            }
        }
    }
}

/// The entry of a key, unless it was given up.
fn position<'a>(bucket: Option<&'a Bucket>, key: &str) -> Option<&'a Arc<Entry>> {
    let entries = bucket.map_or(&[][..], Vec::as_slice);
    entries.iter().find(|entry| entry.key.as_str() == key && entry.state.get() != GateState::Closed)
}

/// What a bucket keeps when it changes: whoever waits, and the newest that are over.
fn kept(bucket: Option<&Bucket>) -> Bucket {
    let entries = bucket.map_or(&[][..], Vec::as_slice);
    let mut kept = Bucket::with_capacity(entries.len() + 1);
    let mut over = 0;
    for entry in entries.iter().rev() {
        let is_kept = match entry.state.get() {
            GateState::Waiting => true,
            GateState::Open | GateState::TimedOut => {
                over += 1;
                over <= OVER_PER_BUCKET
            }
            GateState::Closed => false,
        };
        if is_kept {
            kept.push(Arc::clone(entry));
        }
    }
    kept.reverse();
    kept
}

fn is_same(one: &Option<Arc<Bucket>>, other: &Option<Arc<Bucket>>) -> bool {
    one.as_ref().map(Arc::as_ptr) == other.as_ref().map(Arc::as_ptr)
}
