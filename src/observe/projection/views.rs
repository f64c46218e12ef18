//! What is read of a projection: values behind pointers that are swapped, so reading stops nobody.

use crate::keyed::Keyed;
use crate::sync::{AtomicU64, Ordering};
use arc_swap::{ArcSwap, ArcSwapOption};
use std::borrow::Borrow;
use std::collections::HashMap;
use std::fmt;
use std::hash::Hash;
use std::sync::Arc;

/// How many events there were. Made by [`Projection::counter`](super::Projection::counter).
#[derive(Debug, Default)]
pub struct EventCount(AtomicU64);

impl EventCount {
    pub(super) fn add(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    /// How many there were.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A state that events are folded into. Made by [`Projection::fold`](super::Projection::fold).
pub struct Folded<S>(ArcSwap<S>);

impl<S> Folded<S> {
    pub(super) fn new(first: S) -> Self {
        Folded(ArcSwap::from_pointee(first))
    }

    pub(super) fn fold(&self, next: impl Fn(&S) -> S) {
        self.0.rcu(|state| next(state));
    }

    /// The state as it is now; it does not change any more.
    #[must_use]
    pub fn get(&self) -> Arc<S> {
        self.0.load_full()
    }
}

impl<S: fmt::Debug> fmt::Debug for Folded<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Folded").field(&self.get()).finish()
    }
}

/// A value for each key: the state that [`Projection::group_by`](super::Projection::group_by) folds, or the latest event of
/// [`Projection::latest_per_key`](super::Projection::latest_per_key).
pub struct ByKey<K, V> {
    /// A key whose first value was never made, because a closure panicked, has none.
    values: Keyed<K, ArcSwapOption<V>>,
    without_room: AtomicU64,
}

impl<K: Hash + Eq + Clone, V> ByKey<K, V> {
    pub(super) fn new(keys_max: usize) -> Self {
        ByKey { values: Keyed::new(keys_max), without_room: AtomicU64::new(0) }
    }

    pub(super) fn change(&self, key: &K, next: impl Fn(Option<&Arc<V>>) -> Arc<V>) {
        let Some(value) = self.values.find_or_make(key) else {
            self.without_room.fetch_add(1, Ordering::Relaxed);
            return;
        };
        value.rcu(|value| Some(next(value.as_ref())));
    }

    /// The value of a key, if an event had it. It does not change any more.
    #[must_use]
    pub fn get<Q: Hash + Eq + ?Sized>(&self, key: &Q) -> Option<Arc<V>>
    where
        K: Borrow<Q>,
    {
        self.values.get(key).and_then(ArcSwapOption::load_full)
    }

    /// All keys with their values, each as it is when it is reached.
    #[must_use]
    pub fn snapshot(&self) -> HashMap<K, Arc<V>> {
        self.iter().map(|(key, value)| (key.clone(), value)).collect()
    }

    /// How many keys there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.iter().count()
    }

    /// Whether there is no key.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.iter().next().is_none()
    }

    /// How many events were left out because there was no room for their keys. While threads race for the last room, an event
    /// may be left out whose key has it a moment later.
    #[must_use]
    pub fn without_room(&self) -> u64 {
        self.without_room.load(Ordering::Relaxed)
    }

    fn iter(&self) -> impl Iterator<Item = (&K, Arc<V>)> {
        self.values.iter().filter_map(|(key, value)| Some((key, value.load_full()?)))
    }
}

impl<K: Hash + Eq + Clone, V> fmt::Debug for ByKey<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ByKey").field("keys", &self.len()).finish_non_exhaustive()
    }
}
