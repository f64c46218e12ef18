//! Starts that wait for their end, and ends that came before their start: a bounded number of each, by what they belong to.
//!
//! The oldest makes room. One that has waited longest is the least likely to be met, and what goes is handed out to be
//! counted.

use crate::ids::CorrelationId;
use smol_str::SmolStr;
use std::collections::{BTreeMap, HashMap};

/// How many of one kind and correlation id wait: each end looks through all of them.
pub(super) const OF_ONE_MAX: usize = 1_024;

/// What an end has in common with its start: the type without its last part, and the correlation id.
pub(super) type Key = (SmolStr, CorrelationId);

#[derive(Debug)]
pub(super) struct Waiting<T> {
    room: usize,
    /// In order of arrival.
    by_key: HashMap<Key, Vec<(u64, T)>>,
    by_arrival: BTreeMap<u64, Key>,
}

impl<T> Waiting<T> {
    pub(super) fn new(room: usize) -> Self {
        Waiting { room, by_key: HashMap::new(), by_arrival: BTreeMap::new() }
    }

    /// Lets something wait. Returns what had to go for it.
    pub(super) fn put(&mut self, key: Key, arrival: u64, item: T) -> Option<(Key, T)> {
        self.by_arrival.insert(arrival, key.clone());
        let alike = self.by_key.entry(key.clone()).or_default();
        alike.push((arrival, item));
        if alike.len() > OF_ONE_MAX {
            let gone = self.take(&key, 0);
            return gone.map(|item| (key, item));
        }
        if self.by_arrival.len() <= self.room {
            return None;
        }
        let (_, key) = self.by_arrival.first_key_value()?;
        let key = key.clone();
        let gone = self.take(&key, 0);
        gone.map(|item| (key, item))
    }

    /// Those with this key, in order of arrival.
    pub(super) fn alike(&self, key: &Key) -> &[(u64, T)] {
        self.by_key.get(key).map_or(&[], Vec::as_slice)
    }

    /// Takes the one at this position out of those with this key.
    pub(super) fn take(&mut self, key: &Key, position: usize) -> Option<T> {
        let alike = self.by_key.get_mut(key).filter(|alike| position < alike.len())?;
        let (arrival, item) = alike.remove(position);
        if alike.is_empty() {
            self.by_key.remove(key);
        }
        self.by_arrival.remove(&arrival);
        Some(item)
    }

    /// All that wait still.
    pub(super) fn into_all(self) -> impl Iterator<Item = (Key, u64, T)> {
        self.by_key
            .into_iter()
            .flat_map(|(key, alike)| alike.into_iter().map(move |(at, item)| (key.clone(), at, item)))
    }
}
