//! A table from keys to values with a bounded number of keys, for what is counted by name where strangers make up names.
//!
//! A key that has come in stays, so that looking it up is a hash and a comparison or two, without a lock and without an
//! epoch; once there is no room, all new keys share one value. It never forgets, so it suits counts and not caches.

use crate::sync::{AtomicUsize, Ordering};
use foldhash::fast::RandomState;
use once_cell::race::OnceBox;
use std::borrow::Borrow;
use std::hash::{BuildHasher, Hash};

pub(crate) struct Keyed<K, V> {
    table: Table<K, V>,
    /// Of all keys for which there was no room.
    others: V,
}

impl<K: Hash + Eq + Clone, V: Default> Keyed<K, V> {
    pub(crate) fn new(keys_max: usize) -> Self {
        Keyed { table: Table::new(keys_max), others: V::default() }
    }

    /// The value of a key, which is made if there is room; else that of all others.
    pub(crate) fn of(&self, key: &K) -> &V {
        self.find_or_make(key).unwrap_or(&self.others)
    }

    /// The value of a key, which is made if there is room. While the last places are being taken, a key may find none though
    /// it has one a moment later.
    pub(crate) fn find_or_make(&self, key: &K) -> Option<&V> {
        let hash = self.table.hasher().hash_one(key);
        self.table.find_or_add(hash, |known| known == key, || (key.clone(), V::default()))
    }

    /// The value of a key that has come in.
    pub(crate) fn get<Q: Hash + Eq + ?Sized>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        self.table.find(self.table.hasher().hash_one(key), |known| known.borrow() == key)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.table.iter()
    }

    /// What all keys share for which there was no room.
    pub(crate) fn others(&self) -> &V {
        &self.others
    }
}

/// The table alone, for those who look for a key without having one made, and who say themselves what becomes of keys
/// for which there is no room. The same key has the same hash each time; its owner makes it with [`hasher`](Self::hasher).
pub(crate) struct Table<K, V> {
    /// Twice as many as keys, so that a search soon meets a free one.
    places: Box<[OnceBox<(K, V)>]>,
    keys_max: usize,
    keys: AtomicUsize,
    hasher: RandomState,
}

impl<K, V> Table<K, V> {
    pub(crate) fn new(keys_max: usize) -> Self {
        let keys_max = keys_max.clamp(1, usize::MAX / 4);
        let places = (keys_max * 2).next_power_of_two();
        Table {
            places: std::iter::repeat_with(OnceBox::new).take(places).collect(),
            keys_max,
            keys: AtomicUsize::new(0),
            hasher: RandomState::default(),
        }
    }

    pub(crate) fn hasher(&self) -> &RandomState {
        &self.hasher
    }

    /// The value of the key that `is` knows, if it is in.
    pub(crate) fn find(&self, hash: u64, is: impl Fn(&K) -> bool) -> Option<&V> {
        let mut place = hash as usize;
        loop {
            place &= self.places.len() - 1;
            match self.places[place].get() {
                Some((known, value)) if is(known) => return Some(value),
                Some(_) => place += 1,
                None => return None,
            }
        }
    }

    /// The value of the key that `is` knows; if it is not in, what `make` makes, if there is room.
    pub(crate) fn find_or_add(
        &self,
        hash: u64,
        is: impl Fn(&K) -> bool,
        make: impl FnOnce() -> (K, V),
    ) -> Option<&V> {
        let mut place = hash as usize;
        let (mut make, mut fresh) = (Some(make), None);
        let value = loop {
            place &= self.places.len() - 1;
            let cell = &self.places[place];
            match cell.get() {
                Some((known, value)) if is(known) => break value,
                Some(_) => place += 1,
                None => {
                    if let Some(make) = make.take() {
                        if !self.reserve() {
                            return None;
                        }
                        fresh = Some(Box::new(make()));
                    }
                    match cell.set(fresh.take().expect("it was made once, and comes back")) {
                        Ok(()) => return cell.get().map(|(_, value)| value),
                        // Somebody was faster, perhaps with this key.
                        Err(made) => fresh = Some(made),
                    }
                }
            }
        };
        if fresh.is_some() {
            self.keys.fetch_sub(1, Ordering::Relaxed);
        }
        Some(value)
    }

    /// Whether no key can come in. While two threads bring the same key it counts twice.
    pub(crate) fn is_full(&self) -> bool {
        self.keys.load(Ordering::Relaxed) >= self.keys_max
    }

    fn reserve(&self) -> bool {
        let one_more = |keys| (keys < self.keys_max).then_some(keys + 1);
        self.keys.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more).is_ok()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.places.iter().filter_map(OnceBox::get).map(|(key, value)| (key, value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread;

    #[test]
    fn each_key_has_one_value_and_those_without_room_share_one() {
        let table: Keyed<u32, AtomicUsize> = Keyed::new(64);
        thread::scope(|threads| {
            for thread in 0..4 {
                let table = &table;
                threads.spawn(move || {
                    for n in 0..20_000_u32 {
                        // 64 keys that fit, from each thread in another order.
                        table.of(&((n * 7 + thread * 13) % 64)).fetch_add(1, Ordering::Relaxed);
                    }
                });
            }
        });
        assert_eq!(table.iter().count(), 64);
        let counted: usize = table.iter().map(|(_, count)| count.load(Ordering::Relaxed)).sum();
        let others = table.others().load(Ordering::Relaxed);
        assert_eq!(counted + others, 80_000);
        assert!(others <= 4, "while two threads brought the last key");
        let shared = table.of(&1_000);
        assert!(std::ptr::eq(shared, table.of(&2_000)) && std::ptr::eq(shared, table.others()));
        assert!(
            table.get(&7).is_some() && table.get(&1_000).is_none() && table.find_or_make(&1_000).is_none()
        );
        assert!(!std::ptr::eq(table.of(&7), shared));
        assert_eq!(table.iter().count(), 64);
    }
}
