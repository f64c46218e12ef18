//! Looking along a route without following it: who would have a turn, and what the filters would say.

use super::engine::Engine;
use super::handler::Filter;
use super::publish::NESTED_PUBLISHES_MAX;
use super::slots::Entry;
use super::subscriber::Subscriber;
use crate::context;
use crate::event::Event;
use crate::quiet::panics;
use std::sync::Arc;

/// One that would hear an event.
pub(crate) struct Looked {
    pub(crate) subscriber: Arc<Subscriber>,
    pub(crate) is_async: bool,
    pub(crate) has_filter: bool,
    /// What the filter says of an event; nothing if there is no filter or no event, or filters ask within filters.
    pub(crate) filter_says: Option<bool>,
}

impl Engine {
    /// Those along a route who are still there and have a turn left. Of an event, filters are asked as in their turns: under
    /// a pin, as code of the bus; but nobody counts it.
    pub(crate) fn ask_along(&self, route: &[Entry], event: Option<&Event>) -> Vec<Looked> {
        let depth = context::with_current(|frame| frame.map_or(0, |frame| frame.depth));
        let event = event.filter(|_| depth < NESTED_PUBLISHES_MAX);
        let ask = |filter: &Filter| {
            let event = event?;
            let mut answer = false;
            let has_panicked = panics(|| answer = self.frame(event, depth).enter(|| filter(event)));
            Some(answer && !has_panicked)
        };
        self.pinned(|_, _, _, pin| {
            let there = route.iter().filter_map(|entry| self.slots.get(entry, pin));
            let there = there.filter(|handler| !handler.subscriber.is_spent());
            there
                .map(|handler| Looked {
                    subscriber: Arc::clone(&handler.subscriber),
                    is_async: handler.is_async(),
                    has_filter: handler.filter.is_some(),
                    filter_says: handler.filter.as_ref().and_then(ask),
                })
                .collect()
        })
    }
}
