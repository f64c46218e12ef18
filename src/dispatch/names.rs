//! The bounded memory of event names that are not standard: their routes, and how often they were published.
//!
//! A warm name costs one hash look-up. The memory is set-associative: a name may sit in one of the four ways
//! of its set, so finding, adding and replacing are a few atomic operations and never a lock.
//!
//! It cannot be flooded. In a full set each newcomer takes one point from the way with the fewest points (its
//! publications less what it lost so far), and replaces it only when none are left. Names made up once each
//! can therefore only push each other out, through a single way of a set, while names in use keep theirs. A
//! name that is not remembered is matched again each time; nothing else changes for it. What names hold of routes
//! is shared and bounded as well: see `routes`.

use super::routes::{SharedRoute, SharedRoutes};
use super::slots::Entry;
use super::table::Table;
use crate::ids::EventName;
use crate::sync::{AtomicU64, AtomicUsize, Ordering};
use arc_swap::{ArcSwapOption, Guard};
use foldhash::quality::RandomState;
use std::collections::HashMap;
use std::hash::BuildHasher;
use std::sync::{Arc, OnceLock};

/// How many names of one's own a bus remembers, with their routes and counts.
pub const REMEMBERED_NAMES_MAX: usize = PAGES * SETS_PER_PAGE * WAYS;

const WAYS: usize = 4;
/// Pages are allocated when first needed: a bus that uses no names of its own pays for none.
const SETS_PER_PAGE: usize = 64;
const PAGES: usize = 64;

/// A remembered name. Replaced as a whole when the table has changed.
#[derive(Clone)]
pub(crate) struct Known {
    name: EventName,
    route: Arc<SharedRoute>,
    /// Of the table that the route is from; 0 for none.
    version: u64,
    points: Arc<Points>,
}

impl Known {
    /// Who hears it; counts one publication.
    #[inline]
    pub(crate) fn counted_route(&self) -> &[Entry] {
        self.count();
        self.route.entries()
    }

    /// Counts a publication.
    #[inline]
    pub(crate) fn count(&self) {
        self.points.published.fetch_add(1, Ordering::Relaxed);
    }

    /// The route, to be kept.
    #[cfg(any(feature = "queued", feature = "async"))]
    #[inline]
    pub(crate) fn shared_route(&self) -> Arc<SharedRoute> {
        Arc::clone(&self.route)
    }
}

#[derive(Default)]
struct Points {
    published: AtomicU64,
    lost: AtomicU64,
}

impl Points {
    fn left(&self) -> u64 {
        self.published.load(Ordering::Relaxed).saturating_sub(self.lost.load(Ordering::Relaxed))
    }
}

#[derive(Default)]
struct Way {
    /// The hash of the name in this way: a hint, stored after the name itself, which is what counts.
    tag: AtomicU64,
    known: ArcSwapOption<Known>,
}

#[derive(Default)]
#[repr(align(64))]
struct Set([Way; WAYS]);

type Page = Box<[Set]>;

pub(crate) struct Names {
    pages: Box<[OnceLock<Page>]>,
    routes: SharedRoutes,
    /// The version of the table for which old routes were last let go.
    shed_for: AtomicU64,
    hasher: RandomState,
    remembered: AtomicUsize,
    /// Publications of names that are not, or no longer, remembered.
    forgotten: AtomicU64,
}

impl Names {
    pub(crate) fn new() -> Self {
        Names {
            pages: (0..PAGES).map(|_| OnceLock::new()).collect(),
            routes: SharedRoutes::new(),
            shed_for: AtomicU64::new(0),
            hasher: RandomState::default(),
            remembered: AtomicUsize::new(0),
            forgotten: AtomicU64::new(0),
        }
    }

    /// What is known of `name` under `table`, learning it if it is new. Never empty.
    #[inline]
    pub(crate) fn find(
        &self,
        name: &EventName,
        table: &Table,
        hits: &mut Vec<u32>,
    ) -> Guard<Option<Arc<Known>>> {
        let tag = self.hasher.hash_one(name.as_str()).max(1);
        let set = self.set(tag);
        for way in set.0.iter().filter(|way| way.tag.load(Ordering::Acquire) == tag) {
            let known = way.known.load();
            match known.as_ref().filter(|known| known.name == *name) {
                Some(current) if current.version == table.version => return known,
                Some(stale) => return Guard::from_inner(Some(self.refresh(way, stale, table, hits))),
                None => {}
            }
        }
        Guard::from_inner(Some(self.learn(set, tag, name, table, hits)))
    }

    fn set(&self, tag: u64) -> &Set {
        let page = self.pages[(tag >> 32) as usize % PAGES]
            .get_or_init(|| (0..SETS_PER_PAGE).map(|_| Set::default()).collect());
        &page[tag as usize % SETS_PER_PAGE]
    }

    #[cold]
    fn learn(&self, set: &Set, tag: u64, name: &EventName, table: &Table, hits: &mut Vec<u32>) -> Arc<Known> {
        let (route, has_room) = self.route_of(name, table, hits);
        let fresh =
            Arc::new(Known { name: name.clone(), route, version: table.version, points: Arc::default() });
        if !has_room {
            return self.forget(&fresh);
        }
        for way in &set.0 {
            let held = way.known.load_full().or_else(|| way.fill(None, tag, &fresh));
            match held {
                None => {
                    self.remembered.fetch_add(1, Ordering::Relaxed);
                    return fresh;
                }
                Some(held) if held.name == *name => return way.tagged(tag, &held, &fresh),
                Some(_) => {}
            }
        }
        self.replace_weakest(set, tag, &fresh)
    }

    /// Takes a point from the weakest name of a full set, and its place if that was the last.
    fn replace_weakest(&self, set: &Set, tag: u64, fresh: &Arc<Known>) -> Arc<Known> {
        let held = set.0.iter().filter_map(|way| way.known.load_full().map(|held| (way, held)));
        if let Some((way, weakest)) = held.min_by_key(|(_, held)| held.points.left()) {
            weakest.points.lost.fetch_add(1, Ordering::Relaxed);
            if weakest.points.left() == 0 {
                match way.fill(Some(&weakest), tag, fresh) {
                    None => {
                        let lost = weakest.points.published.load(Ordering::Relaxed);
                        self.forgotten.fetch_add(lost, Ordering::Relaxed);
                        return Arc::clone(fresh);
                    }
                    Some(other) if other.name == fresh.name => return way.tagged(tag, &other, fresh),
                    Some(_) => {}
                }
            }
        }
        self.forget(fresh)
    }

    fn forget(&self, fresh: &Arc<Known>) -> Arc<Known> {
        self.forgotten.fetch_add(1, Ordering::Relaxed);
        Arc::clone(fresh)
    }

    /// Matches a remembered name against a newer table.
    #[cold]
    fn refresh(&self, way: &Way, stale: &Arc<Known>, table: &Table, hits: &mut Vec<u32>) -> Arc<Known> {
        let (route, has_room) = self.route_of(&stale.name, table, hits);
        let fresh = Arc::new(Known { route, version: table.version, ..Known::clone(stale) });
        // A reader that still holds an older table must not undo what a newer one learned.
        if stale.version < table.version {
            let next = if has_room { Arc::clone(&fresh) } else { self.unrouted(stale) };
            way.known.compare_and_swap(stale, Some(next));
        }
        fresh
    }

    /// The route of a name under `table`, and whether there is room to remember it.
    fn route_of(&self, name: &EventName, table: &Table, hits: &mut Vec<u32>) -> (Arc<SharedRoute>, bool) {
        let entries = table.route_of(name.as_str(), hits);
        let shared = self.routes.share(Arc::clone(&entries));
        if shared.1 || self.shed_for.swap(table.version, Ordering::Relaxed) == table.version {
            return shared;
        }
        drop(shared);
        self.shed(table.version);
        self.routes.share(entries)
    }

    /// Lets go of all routes that are of older tables. Their names stay, with their points.
    fn shed(&self, version: u64) {
        self.routes.forget_recent();
        let sets = self.pages.iter().filter_map(OnceLock::get).flatten();
        for way in sets.flat_map(|set| &set.0) {
            if let Some(stale) = way.known.load_full().filter(|known| known.version < version) {
                way.known.compare_and_swap(&stale, Some(self.unrouted(&stale)));
            }
        }
    }

    /// The same name without a route, to be matched when it is next published.
    fn unrouted(&self, known: &Known) -> Arc<Known> {
        let (route, _) = self.routes.share(Arc::new([]));
        Arc::new(Known { route, version: 0, ..known.clone() })
    }

    /// How many names are remembered.
    pub(crate) fn len(&self) -> usize {
        self.remembered.load(Ordering::Relaxed)
    }

    /// Publications of names that are not, or no longer, remembered.
    pub(crate) fn forgotten(&self) -> u64 {
        self.forgotten.load(Ordering::Relaxed)
    }

    /// The publications of a name, if it is remembered.
    pub(crate) fn published_of(&self, name: &str) -> u64 {
        let set = self.set(self.hasher.hash_one(name).max(1));
        let known = set.0.iter().filter_map(|way| way.known.load_full());
        let published = known.filter(|known| known.name.as_str() == name);
        published.map(|known| known.points.published.load(Ordering::Relaxed)).sum()
    }

    /// The remembered names, each with its publications.
    pub(crate) fn published(&self) -> HashMap<EventName, u64> {
        let sets = self.pages.iter().filter_map(OnceLock::get).flatten();
        let known = sets.flat_map(|set| set.0.iter().filter_map(|way| way.known.load_full()));
        let mut published = HashMap::new();
        for known in known {
            *published.entry(known.name.clone()).or_default() +=
                known.points.published.load(Ordering::Relaxed);
        }
        published
    }
}

impl Way {
    /// Puts `fresh` in the place of `expected`; returns what is there if that is something else.
    fn fill(&self, expected: Option<&Arc<Known>>, tag: u64, fresh: &Arc<Known>) -> Option<Arc<Known>> {
        let expected = expected.cloned();
        let found = self.known.compare_and_swap(&expected, Some(Arc::clone(fresh)));
        let is_filled = found.as_ref().map(Arc::as_ptr) == expected.as_ref().map(Arc::as_ptr);
        if is_filled {
            self.tag.store(tag, Ordering::Release);
            return None;
        }
        Guard::into_inner(found)
    }

    /// Two that filled this way in turn may have left their tags in the other order; that is mended here. The
    /// name is counted where it is held.
    fn tagged(&self, tag: u64, held: &Arc<Known>, fresh: &Arc<Known>) -> Arc<Known> {
        self.tag.store(tag, Ordering::Release);
        Arc::new(Known { points: Arc::clone(&held.points), ..Known::clone(fresh) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::EventType;

    fn name(text: &str) -> EventName {
        match EventType::parse(text) {
            Ok(EventType::Named(name)) => name,
            other => panic!("{text} is not a name of its own: {other:?}"),
        }
    }

    fn publish(names: &Names, text: &str, table: &Table) {
        let known = names.find(&name(text), table, &mut Vec::new());
        known.as_ref().expect("never empty").counted_route();
    }

    #[test]
    fn a_flood_of_made_up_names_does_not_push_out_those_in_use() {
        let (names, table) = (Names::new(), Table::new());
        let in_use: Vec<String> = (0..2_000).map(|n| format!("in.use.{n}")).collect();
        for _ in 0..3 {
            in_use.iter().for_each(|text| publish(&names, text, &table));
        }
        for n in 0..100_000 {
            publish(&names, &format!("made.up.{n}"), &table);
        }
        assert!(names.len() <= REMEMBERED_NAMES_MAX);
        let published = names.published();
        assert!(published.len() <= REMEMBERED_NAMES_MAX);
        let kept = in_use.iter().filter(|text| published.get(&name(text)) == Some(&3)).count();
        assert!(kept > 1_950, "{kept} of 2,000 names in use were kept");
    }

    #[test]
    fn a_name_that_comes_into_use_after_a_flood_is_remembered() {
        let (names, table) = (Names::new(), Table::new());
        for n in 0..100_000 {
            publish(&names, &format!("made.up.{n}"), &table);
        }
        for _ in 0..5 {
            publish(&names, "late.but.real", &table);
        }
        assert!(names.published().contains_key(&name("late.but.real")));
    }

    #[test]
    fn publications_are_counted_remembered_or_not() {
        let (names, table) = (Names::new(), Table::new());
        for n in 0..50_000 {
            publish(&names, &format!("n.{}", n % 30_000), &table);
        }
        assert_eq!(names.published().values().sum::<u64>() + names.forgotten(), 50_000);
    }
}
