//! The subscription snapshot: which subscriptions hear which event.
//!
//! A table is immutable. Subscribing makes the next one from the last, sharing what did not change:
//! - the routes of the standard types sit in an array, computed when the table is made;
//! - other names are matched against a few compiled pattern sets of growing size (levels) and a short tail
//!   of patterns not compiled yet. A full tail is compiled together with the levels that are not much larger,
//!   so each pattern is compiled a logarithmic number of times and subscribing stays cheap at any size.
//!
//! Entries are plain numbers, so making a table copies no reference count and dropping one runs no user
//! code. A subscription that is gone may stay in a level until enough others are: its entry leads nowhere.

use super::chain::Interceptors;
use super::shard::STANDARD_TYPES;
use super::slots::Entry;
use crate::event::EventType;
use crate::matcher::{Pattern, PatternSet};
use std::sync::Arc;

/// Who hears an event, in the order of their turns.
pub(crate) type Route = Arc<[Entry]>;

/// How many patterns may wait to be compiled.
const TAIL_MAX: usize = 64;

/// The bit of a version that says that there are interceptors around publishing.
pub(crate) const INTERCEPTED: u64 = 1;

/// A level joins a compilation when it is at most this many times as large as what is compiled already.
const LEVEL_GROWTH: usize = 6;

#[derive(Clone)]
pub(crate) struct Table {
    /// Rises with each table; its lowest bit is [`INTERCEPTED`].
    pub(crate) version: u64,
    /// Publishing is allowed.
    pub(crate) is_open: bool,
    /// There are interceptors around handling.
    pub(crate) intercepts_handling: bool,
    /// One more than the highest slot that a route may name.
    pub(crate) slots: usize,
    standard: [Route; STANDARD_TYPES],
    /// Largest first.
    levels: Vec<Arc<Level>>,
    tail: Vec<(Pattern, Entry)>,
    /// Patterns in levels whose subscriptions are gone.
    dead: usize,
}

/// Patterns compiled together.
struct Level {
    set: PatternSet,
    /// Of each pattern of the set.
    members: Box<[(Pattern, Entry)]>,
}

impl Level {
    fn compile(members: Vec<(Pattern, Entry)>) -> Self {
        let patterns: Vec<Pattern> = members.iter().map(|(pattern, _)| pattern.clone()).collect();
        Level { set: PatternSet::build(&patterns), members: members.into_boxed_slice() }
    }
}

impl Table {
    pub(crate) fn new() -> Self {
        let nobody: Route = Arc::new([]);
        Table {
            version: 2,
            is_open: true,
            intercepts_handling: false,
            slots: 0,
            standard: std::array::from_fn(|_| Arc::clone(&nobody)),
            levels: Vec::new(),
            tail: Vec::new(),
            dead: 0,
        }
    }

    #[inline]
    pub(crate) fn standard_route(&self, index: usize) -> &Route {
        &self.standard[index]
    }

    /// Who hears `name`, by running the automata. `hits` is room to work in.
    pub(crate) fn route_of(&self, name: &str, hits: &mut Vec<u32>) -> Route {
        let mut entries: Vec<Entry> = Vec::new();
        for level in &self.levels {
            hits.clear();
            level.set.matches_into(name, hits);
            entries.extend(hits.iter().map(|hit| level.members[*hit as usize].1));
        }
        entries
            .extend(self.tail.iter().filter(|(pattern, _)| pattern.matches(name)).map(|(_, entry)| *entry));
        entries.sort_unstable_by_key(Entry::rank);
        entries.dedup_by_key(|entry| entry.key);
        entries.into()
    }

    /// The next table, with a subscription more.
    pub(crate) fn with(&self, patterns: &[Pattern], entry: Entry, is_live: impl Fn(&Entry) -> bool) -> Self {
        let mut next = self.next();
        next.slots = self.slots.max(entry.slot as usize + 1);
        next.remake_routes(patterns, |route| inserted(route, entry));
        next.tail.extend(patterns.iter().map(|pattern| (pattern.clone(), entry)));
        if next.tail.len() > TAIL_MAX {
            next.compile_tail(is_live);
        }
        next
    }

    /// The next table, without the subscription of `gone` and its patterns.
    pub(crate) fn without(
        &self,
        gone: &Entry,
        patterns: &[Pattern],
        is_live: impl Fn(&Entry) -> bool,
    ) -> Self {
        let mut next = self.next();
        next.remake_routes(patterns, |route| {
            route.iter().filter(|entry| entry.key != gone.key).copied().collect()
        });
        let waiting = next.tail.len();
        next.tail.retain(|(_, entry)| entry.key != gone.key);
        if waiting == next.tail.len() {
            next.dead += patterns.len();
            let compiled: usize = next.levels.iter().map(|level| level.members.len()).sum();
            if next.dead > TAIL_MAX + compiled / 2 {
                next.compile_all(is_live);
            }
        }
        next
    }

    /// The next table, which accepts nothing.
    pub(crate) fn closed(&self) -> Self {
        Table { is_open: false, ..self.next() }
    }

    /// The next table, which tells of these interceptors.
    pub(crate) fn intercepted(&self, interceptors: &Interceptors) -> Self {
        let (around_publishing, intercepts_handling) = interceptors.are_there();
        let next = self.next();
        let version = (next.version & !INTERCEPTED) | u64::from(around_publishing);
        Table { version, intercepts_handling, ..next }
    }

    fn next(&self) -> Self {
        Table { version: self.version + 2, ..self.clone() }
    }

    /// Remakes the routes of the standard types that the patterns hear. Types with the same route, such as that of
    /// those who hear everything, go on sharing it.
    fn remake_routes(&mut self, patterns: &[Pattern], remake: impl Fn(&Route) -> Route) {
        let mut remade: Vec<(Route, Route)> = Vec::new();
        for (event_type, route) in EventType::STANDARD.iter().zip(self.standard.iter_mut()) {
            if !patterns.iter().any(|pattern| pattern.matches(event_type.as_str())) {
                continue;
            }
            let shared = remade.iter().find(|(before, _)| Arc::ptr_eq(before, route));
            let after = shared.map_or_else(|| remake(route), |(_, after)| Arc::clone(after));
            remade.push((std::mem::replace(route, Arc::clone(&after)), after));
        }
    }

    fn compile_tail(&mut self, is_live: impl Fn(&Entry) -> bool) {
        let mut members = std::mem::take(&mut self.tail);
        while self.levels.last().is_some_and(|level| level.members.len() <= members.len() * LEVEL_GROWTH) {
            let Some(level) = self.levels.pop() else { break };
            let before = level.members.len();
            let live = level.members.iter().filter(|(_, entry)| is_live(entry));
            let joined = members.len();
            members.extend(live.cloned());
            self.dead = self.dead.saturating_sub(before - (members.len() - joined));
        }
        self.levels.push(Arc::new(Level::compile(members)));
    }

    fn compile_all(&mut self, is_live: impl Fn(&Entry) -> bool) {
        let live = self.levels.iter().flat_map(|level| level.members.iter());
        let members: Vec<_> = live.filter(|(_, entry)| is_live(entry)).cloned().collect();
        self.levels.clear();
        if !members.is_empty() {
            self.levels.push(Arc::new(Level::compile(members)));
        }
        self.dead = 0;
    }
}

fn inserted(route: &Route, entry: Entry) -> Route {
    let place = route.partition_point(|other| other.rank() < entry.rank());
    let mut entries = Vec::with_capacity(route.len() + 1);
    entries.extend_from_slice(&route[..place]);
    entries.push(entry);
    entries.extend_from_slice(&route[place..]);
    entries.into()
}
