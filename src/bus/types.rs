//! The event types that a bus knows of.

use super::{EventBus, Subscription};
use crate::dispatch::table::Route;
use crate::event::EventType;
use serde::Serialize;
use std::collections::{BTreeMap, HashMap, HashSet};

/// What a bus knows of one event type.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct EventTypeInfo {
    /// The name on the wire.
    pub event_type: String,
    /// How many subscriptions would hear an event of this type.
    pub subscribers: usize,
    /// How many were published. Names of one's own are counted while the bus remembers them (16,384 names).
    pub published: u64,
    /// Whether a schema is registered for it.
    pub has_schema: bool,
}

impl EventBus {
    /// The standard types, in their order, then by name those with a schema and those that were published.
    #[must_use]
    pub fn list_event_types(&self) -> Vec<EventTypeInfo> {
        let engine = &self.bus.engine;
        let table = engine.table();
        let live: HashMap<u64, ()> = self
            .bus
            .registry
            .subscribers(engine)
            .iter()
            .map(|subscriber| (subscriber.entry.key, ()))
            .collect();
        let mut hits = Vec::new();
        let mut info = |event_type: &EventType, published| EventTypeInfo {
            event_type: event_type.as_str().to_owned(),
            subscribers: {
                let route = table.route_of(event_type.as_str(), &mut hits);
                route.iter().filter(|entry| live.contains_key(&entry.key)).count()
            },
            published,
            #[cfg(feature = "schema")]
            has_schema: self.bus.schema.has_schema(event_type),
            #[cfg(not(feature = "schema"))]
            has_schema: false,
        };
        let mut types: Vec<EventTypeInfo> =
            EventType::STANDARD.iter().map(|standard| info(standard, self.published(standard))).collect();
        let published = self.published_names();
        #[cfg(feature = "schema")]
        let published = {
            let registered = self.bus.schema.list_registered_schemas().into_iter();
            let named = registered.filter(|event_type| !event_type.is_standard());
            // The publications of a name with a schema follow, and replace its zero.
            named.map(|event_type| (event_type, 0)).chain(published)
        };
        let named: BTreeMap<String, (EventType, u64)> = published
            .map(|(event_type, count)| (event_type.as_str().to_owned(), (event_type, count)))
            .collect();
        types.extend(named.into_values().map(|(event_type, published)| info(&event_type, published)));
        types
    }

    /// How many of a type were published; of a name of one's own, while it is remembered.
    pub(super) fn published(&self, event_type: &EventType) -> u64 {
        let engine = &self.bus.engine;
        match event_type.standard_index() {
            Some(index) => engine.shards().iter().map(|shard| shard.published[index].get()).sum(),
            None => engine.names.published_of(event_type.as_str()),
        }
    }

    /// The names of one's own that are remembered, with how many of each were published.
    fn published_names(&self) -> impl Iterator<Item = (EventType, u64)> + use<> {
        let published = self.bus.engine.names.published().into_iter();
        published.map(|(name, count)| (EventType::Named(name), count))
    }

    /// Where an event of a type would go now: to feeds, and then to subscriptions in the order of their turns.
    pub(super) fn route_to(&self, event_type: &EventType) -> Route {
        self.bus.engine.table().route_of(event_type.as_str(), &mut Vec::new())
    }

    /// The live subscriptions that would hear no event of a type that was published so far, in order of subscribing: what is
    /// misspelt, comes later, or is left from earlier. Names that the bus does not remember (over 16,384; `Stats` counts them
    /// as `forgotten_publications`) do not count as published here.
    #[must_use]
    pub fn unmatched_subscriptions(&self) -> Vec<Subscription> {
        let standard = EventType::STANDARD.iter().cloned().map(|standard| {
            let published = self.published(&standard);
            (standard, published)
        });
        let seen = standard.chain(self.published_names()).filter(|(_, published)| *published > 0);
        let (table, mut hits, mut heard) = (self.bus.engine.table(), Vec::new(), HashSet::new());
        for (event_type, _) in seen {
            heard.extend(table.route_of(event_type.as_str(), &mut hits).iter().map(|entry| entry.key));
        }
        let unmatched = |subscription: &Subscription| !heard.contains(&subscription.key());
        self.subscriptions().into_iter().filter(unmatched).collect()
    }
}
