//! The interceptors of a bus: two lists, each replaced as a whole, so that whoever runs one goes on with what it began with.
//!
//! Publishers and workers come here only if the table says that there are any: the lowest bit of its version for those
//! around publishing, a flag for those around handling. A list is not part of the table, because threads keep tables for as
//! long as they like, and an interceptor that was removed must not live on in an idle thread.

use super::attempt::HandlingInterceptor;
use super::intercept::PublishInterceptor;
use crate::quiet::drop_quietly;
use crate::sync::{AtomicU64, Ordering};
use arc_swap::ArcSwapOption;
use std::sync::Arc;

/// Interceptors in the order in which they were installed.
pub(crate) struct Chain<T: ?Sized> {
    links: Vec<Link<T>>,
}

struct Link<T: ?Sized> {
    id: u64,
    interceptor: Arc<T>,
}

impl<T: ?Sized> Chain<T> {
    pub(super) fn iter(&self) -> impl DoubleEndedIterator<Item = &T> {
        self.links.iter().map(|link| &*link.interceptor)
    }

    /// The first `count`, the last of them first.
    pub(super) fn back_from(&self, count: usize) -> impl Iterator<Item = &T> {
        self.links[..count].iter().rev().map(|link| &*link.interceptor)
    }

    /// The links of a list, which may be absent.
    fn links_of(chain: Option<&Arc<Self>>) -> Vec<Link<T>> {
        let links = chain.into_iter().flat_map(|chain| &chain.links);
        links.map(|link| Link { id: link.id, interceptor: Arc::clone(&link.interceptor) }).collect()
    }
}

/// Destructors of interceptors are user code: two that panic must not meet.
impl<T: ?Sized> Drop for Chain<T> {
    fn drop(&mut self) {
        self.links.drain(..).for_each(drop_quietly);
    }
}

/// One of the two lists.
struct List<T: ?Sized>(ArcSwapOption<Chain<T>>);

impl<T: ?Sized> Default for List<T> {
    fn default() -> Self {
        List(ArcSwapOption::const_empty())
    }
}

impl<T: ?Sized> List<T> {
    /// Replaces the list; one caller at a time. Returns the one before, to be let go.
    fn change(&self, change: impl FnOnce(&mut Vec<Link<T>>)) -> Option<Arc<Chain<T>>> {
        let mut links = Chain::links_of(self.0.load().as_ref());
        change(&mut links);
        self.0.swap((!links.is_empty()).then(|| Arc::new(Chain { links })))
    }
}

#[derive(Default)]
pub(crate) struct Interceptors {
    publishing: List<dyn PublishInterceptor>,
    handling: List<dyn HandlingInterceptor>,
    last_id: AtomicU64,
}

/// A list that was replaced. Dropped under no lock.
#[must_use]
pub(crate) struct Replaced {
    _publishing: Option<Arc<Chain<dyn PublishInterceptor>>>,
    _handling: Option<Arc<Chain<dyn HandlingInterceptor>>>,
}

impl Interceptors {
    pub(super) fn publishing(&self) -> Option<Arc<Chain<dyn PublishInterceptor>>> {
        self.publishing.0.load_full()
    }

    pub(super) fn handling(&self) -> Option<Arc<Chain<dyn HandlingInterceptor>>> {
        self.handling.0.load_full()
    }

    /// Whether there are any around publishing, and around handling.
    pub(super) fn are_there(&self) -> (bool, bool) {
        (self.publishing.0.load().is_some(), self.handling.0.load().is_some())
    }

    /// Adds one that is asked after all others, and told before them. One caller at a time; so with the methods below.
    pub(crate) fn add_publishing(&self, interceptor: Arc<dyn PublishInterceptor>) -> (u64, Replaced) {
        let id = self.next_id();
        let replaced = self.publishing.change(|links| links.push(Link { id, interceptor }));
        (id, Replaced { _publishing: replaced, _handling: None })
    }

    /// The same around handling.
    pub(crate) fn add_handling(&self, interceptor: Arc<dyn HandlingInterceptor>) -> (u64, Replaced) {
        let id = self.next_id();
        let replaced = self.handling.change(|links| links.push(Link { id, interceptor }));
        (id, Replaced { _publishing: None, _handling: replaced })
    }

    /// Removes the one with this id; whether it was there.
    pub(crate) fn remove(&self, id: u64) -> (bool, Replaced) {
        let mut was_there = false;
        let publishing = self.publishing.change(|links| was_there |= is_removed(links, id));
        let handling = self.handling.change(|links| was_there |= is_removed(links, id));
        (was_there, Replaced { _publishing: publishing, _handling: handling })
    }

    /// Removes all.
    pub(crate) fn clear(&self) -> Replaced {
        Replaced { _publishing: self.publishing.0.swap(None), _handling: self.handling.0.swap(None) }
    }

    fn next_id(&self) -> u64 {
        self.last_id.fetch_add(1, Ordering::Relaxed) + 1
    }
}

fn is_removed<T: ?Sized>(links: &mut Vec<Link<T>>, id: u64) -> bool {
    let before = links.len();
    // Whoever replaced the list holds the one before, so no destructor runs here.
    links.retain(|link| link.id != id);
    links.len() < before
}
