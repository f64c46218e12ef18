//! What a thread keeps at hand for the buses it publishes on: a copy of the snapshot, its shard, a spare
//! node for the history.
//!
//! A publish takes the thread's `Local` of its bus out of the cache and puts it back at the end, so a
//! nested publish finds the place empty, uses a second one, and needs no borrow of the first. The
//! copy is checked against the bus's version counter on every publish; it holds plain numbers, so an idle
//! thread that never looks again keeps no handler alive. Buses are told apart by a key that is never
//! reused, not by an address.

use super::engine::Engine;
#[cfg(feature = "stream")]
use super::feed::Numbered;
use super::shard::{Shard, Turns};
use super::table::Table;
use crate::event::Event;
use crate::ring::Spare;
use std::cell::{Cell, RefCell};
use std::sync::{Arc, Weak};

/// How many buses' locals a thread keeps, nested ones included. The rest are made again when needed.
const LOCALS_MAX: usize = 80;

pub(crate) struct Local {
    pub(crate) bus: u64,
    pub(crate) shard: Claim,
    pub(crate) view: View,
    pub(crate) scratch: Scratch,
}

/// What a publish works with.
pub(crate) struct Scratch {
    pub(crate) spare: Spare<Arc<Event>>,
    /// Room for an automaton's answers.
    pub(crate) hits: Vec<u32>,
    #[cfg(feature = "stream")]
    pub(super) spare_in_feeds: Spare<Numbered>,
    /// What made room in feeds and is to be dropped when the pin is gone.
    #[cfg(feature = "stream")]
    pub(super) displaced: Vec<Numbered>,
}

impl Scratch {
    pub(crate) fn new() -> Self {
        Scratch {
            spare: Spare::new(),
            hits: Vec::new(),
            #[cfg(feature = "stream")]
            spare_in_feeds: Spare::new(),
            #[cfg(feature = "stream")]
            displaced: Vec::new(),
        }
    }
}

/// A thread's copy of the snapshot.
pub(crate) struct View {
    pub(crate) table: Arc<Table>,
    pub(crate) turns: Arc<Vec<Turns>>,
}

impl View {
    pub(crate) fn of(engine: &Engine, shard: &Shard) -> Self {
        let table = engine.table();
        let turns = shard.turns(table.slots);
        View { table, turns }
    }
}

/// Ownership of a shard for as long as this lives.
pub(crate) struct Claim {
    shard: Arc<Shard>,
    /// Gone with the bus.
    bus: Weak<()>,
}

impl Claim {
    pub(crate) fn new(shard: Arc<Shard>, bus: Weak<()>) -> Self {
        Claim { shard, bus }
    }
}

impl std::ops::Deref for Claim {
    type Target = Shard;

    #[inline]
    fn deref(&self) -> &Shard {
        &self.shard
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.shard.leave();
    }
}

#[derive(Default)]
struct Cache {
    /// The one used last.
    latest: Cell<Option<Box<Local>>>,
    #[allow(clippy::vec_box, reason = "a box goes to and fro between here and `latest`")]
    others: RefCell<Vec<Box<Local>>>,
}

thread_local! {
    static CACHE: Cache = const { Cache { latest: Cell::new(None), others: RefCell::new(Vec::new()) } };
}

/// This thread's `Local` of the bus, taken out of the cache.
#[inline]
pub(crate) fn take(engine: &Engine) -> Box<Local> {
    let latest = CACHE.try_with(|cache| cache.latest.take()).unwrap_or(None);
    match latest {
        Some(local) if local.bus == engine.key => local,
        other => take_other(engine, other),
    }
}

#[cold]
fn take_other(engine: &Engine, latest: Option<Box<Local>>) -> Box<Local> {
    let found = CACHE
        .try_with(|cache| {
            let mut others = cache.others.borrow_mut();
            if let Some(latest) = latest {
                others.retain(|local| local.shard.bus.strong_count() > 0);
                if others.len() >= LOCALS_MAX {
                    others.remove(0);
                }
                others.push(latest);
            }
            let index = others.iter().rposition(|local| local.bus == engine.key)?;
            Some(others.remove(index))
        })
        .unwrap_or(None);
    found.unwrap_or_else(|| Box::new(engine.new_local()))
}

/// Puts a `Local` back for the next publish.
#[inline]
pub(crate) fn put_back(local: Box<Local>) {
    // A thread that is ending has no cache any more; the local is dropped, its shard left to others.
    let _ = CACHE.try_with(|cache| {
        if let Some(nested) = cache.latest.replace(Some(local)) {
            let mut others = cache.others.borrow_mut();
            if others.len() < LOCALS_MAX {
                others.push(nested);
            }
        }
    });
}
