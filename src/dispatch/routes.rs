//! Routes that many names share.
//!
//! Names made up by strangers are nearly all heard by the same subscriptions: those that hear everything. So equal
//! routes are kept once, as far as a small table of recent ones finds them, and all together may have a bounded
//! number of entries, whatever the names and the globs.

use super::slots::Entry;
use super::table::Route;
use crate::sync::{AtomicUsize, Ordering};
use arc_swap::ArcSwapOption;
use foldhash::fast::RandomState;
use std::hash::{BuildHasher, Hash, Hasher};
use std::sync::Arc;

/// How many entries the shared routes may have in all: 24 MiB.
const ENTRIES_MAX: usize = 1 << 20;

/// How many routes are looked through for an equal one.
const RECENT: usize = 64;

/// A route that names refer to.
pub(crate) struct SharedRoute {
    entries: Route,
    hash: u64,
    /// Entries of all shared routes.
    held: Arc<AtomicUsize>,
}

impl SharedRoute {
    #[inline]
    pub(crate) fn entries(&self) -> &[Entry] {
        &self.entries
    }
}

impl Drop for SharedRoute {
    fn drop(&mut self) {
        self.held.fetch_sub(self.entries.len(), Ordering::Relaxed);
    }
}

pub(crate) struct SharedRoutes {
    recent: [ArcSwapOption<SharedRoute>; RECENT],
    held: Arc<AtomicUsize>,
    hasher: RandomState,
}

impl SharedRoutes {
    pub(crate) fn new() -> Self {
        SharedRoutes {
            recent: [const { ArcSwapOption::const_empty() }; RECENT],
            held: Arc::default(),
            hasher: RandomState::default(),
        }
    }

    /// A shared route with these entries; and whether there is room to remember it.
    pub(crate) fn share(&self, entries: Route) -> (Arc<SharedRoute>, bool) {
        let mut hasher = self.hasher.build_hasher();
        entries.iter().for_each(|entry| entry.key.hash(&mut hasher));
        let hash = hasher.finish();
        let place = &self.recent[hash as usize % RECENT];
        if let Some(recent) =
            place.load_full().filter(|recent| recent.hash == hash && recent.entries == entries)
        {
            return (recent, true);
        }
        let held = self.held.fetch_add(entries.len(), Ordering::Relaxed) + entries.len();
        let route = Arc::new(SharedRoute { entries, hash, held: Arc::clone(&self.held) });
        let has_room = held <= ENTRIES_MAX;
        if has_room {
            place.store(Some(Arc::clone(&route)));
        }
        (route, has_room)
    }

    /// Lets go of the recent ones.
    pub(crate) fn forget_recent(&self) {
        self.recent.iter().for_each(|place| place.store(None));
    }

    /// Entries held by all shared routes.
    #[cfg(test)]
    pub(crate) fn held(&self) -> usize {
        self.held.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dispatch::slots::Slots;

    #[test]
    fn equal_routes_are_kept_once_and_all_within_the_bound() {
        let (slots, routes) = (Slots::new(), SharedRoutes::new());
        let route =
            |from: u64, len: u64| -> Route { (from..from + len).map(|key| slots.entry(0, key, 0)).collect() };
        let (one, _) = routes.share(route(1, 1_000));
        let (other, _) = routes.share(route(1, 1_000));
        assert!(Arc::ptr_eq(&one, &other));
        assert_eq!(routes.held(), 1_000);

        let mut kept = Vec::new();
        for from in 0..2_000 {
            let (route, has_room) = routes.share(route(from * 10_000, 1_000));
            if has_room {
                kept.push(route);
            }
        }
        assert!(kept.len() > 1_000 && routes.held() <= ENTRIES_MAX);
        drop((kept, one, other));
        routes.forget_recent();
        assert_eq!(routes.held(), 0);
    }
}
