//! The event types that a bus knows of.

use super::EventBus;
use crate::event::EventType;
use serde::Serialize;
use std::collections::{BTreeMap, HashMap};

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
        let shards = engine.shards();
        let mut types: Vec<EventTypeInfo> = EventType::STANDARD
            .iter()
            .enumerate()
            .map(|(index, event_type)| {
                info(event_type, shards.iter().map(|shard| shard.published[index].get()).sum())
            })
            .collect();
        let published =
            engine.names.published().into_iter().map(|(name, count)| (EventType::Named(name), count));
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
}
