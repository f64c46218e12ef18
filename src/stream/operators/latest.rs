//! [`LatestPerKey`]: the newest item of each key, for a slow reader.
//!
//! Items are passed on in the order of the stream, so that a reader can name the last one that it has seen and go on behind
//! it. Putting a new item in the place of the old one would break that; letting it wait at the end, in one queue, would let a
//! key that changes all the time wait for ever. Hence rounds.

use super::{ITEMS_PER_POLL, Upstream};
use foldhash::HashMap;
use futures_core::Stream;
use std::collections::{BTreeMap, btree_map::IntoValues};
use std::fmt;
use std::hash::Hash;
use std::pin::Pin;
use std::task::{Context, Poll};

/// A stream of the newest item of each key. Made by
/// [`StreamOperators::latest_per_key`](super::StreamOperators::latest_per_key).
#[must_use = "streams do nothing unless polled"]
pub struct LatestPerKey<S: Stream, K, F> {
    stream: Upstream<S>,
    key: F,
    items_max: usize,
    next_round: Round<K, S::Item>,
    /// The first item for which there is no room in the next round.
    surplus: Option<(Option<K>, S::Item)>,
    /// What is left of the round that is being read.
    round: IntoValues<u64, S::Item>,
    replaced: u64,
}

/// Items by the order in which they came.
struct Round<K, T> {
    items: BTreeMap<u64, T>,
    places: HashMap<K, u64>,
    last_place: u64,
}

impl<K: Hash + Eq, T> Round<K, T> {
    fn new() -> Self {
        Round { items: BTreeMap::new(), places: HashMap::default(), last_place: 0 }
    }

    /// Whether the item of this key is there already.
    fn has(&self, key: Option<&K>) -> bool {
        key.is_some_and(|key| self.places.contains_key(key))
    }

    /// Puts an item last; true if it replaces one.
    fn put(&mut self, key: Option<K>, item: T) -> bool {
        self.last_place += 1;
        self.items.insert(self.last_place, item);
        let replaced = key.and_then(|key| self.places.insert(key, self.last_place));
        replaced.is_some_and(|place| self.items.remove(&place).is_some())
    }
}

impl<S: Stream, K: Hash + Eq, F> LatestPerKey<S, K, F> {
    pub(super) fn new(stream: S, items_max: usize, key: F) -> Self {
        LatestPerKey {
            stream: Upstream::new(stream),
            key,
            items_max: items_max.max(1),
            next_round: Round::new(),
            surplus: None,
            round: BTreeMap::new().into_values(),
            replaced: 0,
        }
    }

    /// Puts an item into the next round, if there is room.
    fn put(&mut self, key: Option<K>, item: S::Item) {
        let is_full = self.next_round.items.len() >= self.items_max;
        if is_full && !self.next_round.has(key.as_ref()) {
            self.surplus = Some((key, item));
        } else {
            self.replaced += u64::from(self.next_round.put(key, item));
        }
    }
}

impl<S: Stream, K, F> LatestPerKey<S, K, F> {
    /// How many items were let go because a newer one of their key came.
    #[must_use]
    pub fn replaced(&self) -> u64 {
        self.replaced
    }
}

/// Nothing in it is pinned but the stream, which is boxed.
impl<S: Stream, K, F> Unpin for LatestPerKey<S, K, F> {}

impl<S, K, F> Stream for LatestPerKey<S, K, F>
where
    S: Stream,
    K: Hash + Eq,
    F: FnMut(&S::Item) -> Option<K>,
{
    type Item = S::Item;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<S::Item>> {
        let this = self.get_mut();
        for _ in 0..ITEMS_PER_POLL {
            if this.surplus.is_some() {
                break;
            }
            let Poll::Ready(Some(item)) = this.stream.poll_next(context) else { break };
            let key = (this.key)(&item);
            this.put(key, item);
        }
        if let Some(item) = this.round.next() {
            return Poll::Ready(Some(item));
        }
        this.round = std::mem::replace(&mut this.next_round, Round::new()).items.into_values();
        if let Some((key, item)) = this.surplus.take() {
            this.put(key, item);
        }
        match this.round.next() {
            None if !this.stream.has_ended() => Poll::Pending,
            next => Poll::Ready(next),
        }
    }
}

impl<S: Stream, K, F> fmt::Debug for LatestPerKey<S, K, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LatestPerKey").field("replaced", &self.replaced).finish_non_exhaustive()
    }
}
