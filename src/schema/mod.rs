//! Schemas by event type: what a payload must look like, checked by a validator that was compiled beforehand.
//!
//! A snapshot holds them all. Readers take it without waiting and look a standard type up by its index; a
//! registration compiles first, then replaces the snapshot, so a bad schema changes nothing and a slow one holds
//! nobody up. The snapshot with the standard schemas is made once and shared by all registries that begin with it.
//!
//! This module knows no bus: when to validate, and what becomes of a rejected event, is decided there.

mod compiled;
mod cost;
mod error;
mod graph;
mod standard;

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use arc_swap::ArcSwap;
use serde_json::Value;

use self::compiled::{Compiled, Failures};
pub use self::error::{EventSchemaError, SchemaFault};
use crate::event::{Event, EventType, EventValidationError, STANDARD_COUNT};
use crate::ids::InvalidText;

/// The schemas of event types: a handle, whose clones share one registry.
///
/// A schema is JSON Schema of draft 4, 6, 7, 2019-09 or 2020-12, as its `$schema` says; without one it is 2020-12.
/// It is complete in itself: nothing is fetched, from network or disk. A `pattern` is matched in time linear in the
/// text, which rules out look-around and back-references.
///
/// ```
/// use codomyrmex_events::{Event, EventSchema};
/// use serde_json::json;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let schemas = EventSchema::new();
/// let event = Event::builder("build.start", "builder").data(json!({"build_type": "release"})).build()?;
/// let error = schemas.validate_event(&event).unwrap_err();
/// assert_eq!(error.to_string(), r#"build.start: "target" is a required property"#);
///
/// schemas.register_event_schema("order.placed", json!({"required": ["order_id"]}))?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct EventSchema {
    registry: Arc<Registry>,
}

struct Registry {
    schemas: ArcSwap<Schemas>,
    /// Held by whoever registers, so that no registration is lost; never by a reader.
    registering: Mutex<()>,
}

/// All schemas at one moment.
#[derive(Clone)]
struct Schemas {
    standard: [Option<Arc<Compiled>>; STANDARD_COUNT],
    named: HashMap<EventType, Arc<Compiled>, foldhash::fast::RandomState>,
}

impl Schemas {
    fn empty() -> Self {
        Self { standard: [const { None }; STANDARD_COUNT], named: HashMap::default() }
    }

    #[inline]
    fn get(&self, event_type: &EventType) -> Option<&Arc<Compiled>> {
        match event_type.standard_index() {
            Some(index) => self.standard[index].as_ref(),
            None => self.named.get(event_type),
        }
    }

    fn insert(&mut self, event_type: EventType, compiled: Arc<Compiled>) -> Option<Arc<Compiled>> {
        match event_type.standard_index() {
            Some(index) => self.standard[index].replace(compiled),
            None => self.named.insert(event_type, compiled),
        }
    }
}

/// Compiled on first use: embedders that start from an empty registry never pay for them.
static STANDARD: LazyLock<Arc<Schemas>> = LazyLock::new(|| {
    let mut schemas = Schemas::empty();
    for (name, schema) in standard::schemas() {
        let event_type = EventType::parse(name).expect("standard names are valid");
        let compiled =
            Compiled::trusted(schema).map_err(|(_, fault)| fault).expect("standard schemas compile");
        schemas.insert(event_type, Arc::new(compiled));
    }
    Arc::new(schemas)
});

impl EventSchema {
    /// A registry with the standard schemas.
    pub fn new() -> Self {
        Self::from_schemas(Arc::clone(&STANDARD))
    }

    /// A registry without any schema.
    pub fn empty() -> Self {
        Self::from_schemas(Arc::new(Schemas::empty()))
    }

    fn from_schemas(schemas: Arc<Schemas>) -> Self {
        let schemas = ArcSwap::new(schemas);
        Self { registry: Arc::new(Registry { schemas, registering: Mutex::new(()) }) }
    }

    /// Registers the schema of a type, standard or named, and returns the one that it replaces.
    ///
    /// It holds from the next validation on, for every clone of this handle.
    ///
    /// # Errors
    ///
    /// When the name is no event type's or the schema cannot be used: [`EventSchemaError::fault`] tells which rule it
    /// breaks. Besides a faulty schema that is one which is too deep or too large, loops without going into the
    /// value, or could make a validation cost more than is allowed. What was registered before stays.
    pub fn register_event_schema<T>(
        &self,
        event_type: T,
        schema: Value,
    ) -> Result<Option<Arc<Value>>, EventSchemaError>
    where
        T: TryInto<EventType, Error: Into<InvalidText>>,
    {
        let event_type: EventType = event_type.try_into().map_err(Into::into)?;
        let compiled = Compiled::new(schema)
            .map_err(|(pointer, fault)| EventSchemaError::new(Some(event_type.clone()), pointer, fault))?;
        let _alone = self.registry.registering.lock().unwrap_or_else(PoisonError::into_inner);
        let mut schemas = Schemas::clone(&self.registry.schemas.load());
        let replaced = schemas.insert(event_type, Arc::new(compiled));
        self.registry.schemas.store(Arc::new(schemas));
        Ok(replaced.map(|compiled| Arc::clone(compiled.schema())))
    }

    /// The schema of a type, as it was registered.
    pub fn get_event_schema(&self, event_type: &EventType) -> Option<Arc<Value>> {
        self.registry.schemas.load().get(event_type).map(|compiled| Arc::clone(compiled.schema()))
    }

    /// Whether a type has a schema.
    pub fn has_schema(&self, event_type: &EventType) -> bool {
        self.registry.schemas.load().get(event_type).is_some()
    }

    /// The types that have a schema, sorted by name.
    pub fn list_registered_schemas(&self) -> Vec<EventType> {
        let schemas = self.registry.schemas.load();
        let standard = EventType::STANDARD.iter().zip(&schemas.standard);
        let mut types: Vec<EventType> = standard
            .filter(|(_, compiled)| compiled.is_some())
            .map(|(event_type, _)| event_type.clone())
            .collect();
        types.extend(schemas.named.keys().cloned());
        types.sort_unstable_by(|one, other| one.as_str().cmp(other.as_str()));
        types
    }

    /// Checks an event's payload against the schema of its type; without a schema, every payload fits.
    ///
    /// # Errors
    ///
    /// When it does not fit, with every failing place: the first 1,000, and how many there are. Only where finding
    /// them could take millions of steps, since alternatives multiply on the way down a deep payload, is the payload
    /// named as a whole. Also when a Rust payload cannot become JSON.
    pub fn validate_event(&self, event: &Event) -> Result<(), EventValidationError> {
        self.validate(event).unwrap_or(Ok(()))
    }

    /// Like [`Self::validate_event`], but an error if the type has no schema.
    pub(crate) fn validate_required(&self, event: &Event) -> Result<(), EventValidationError> {
        self.validate(event)
            .unwrap_or_else(|| Err(EventValidationError::no_schema(event.event_type().clone())))
    }

    /// None if there is no schema.
    #[inline]
    fn validate(&self, event: &Event) -> Option<Result<(), EventValidationError>> {
        let schemas = self.registry.schemas.load();
        let compiled = schemas.get(event.event_type())?;
        let checked = match event.data().value() {
            Ok(payload) => compiled.check(payload).map_err(|Failures { kept, total }| {
                EventValidationError::failed(event.event_type().clone(), kept, total)
            }),
            Err(error) => Err(EventValidationError::payload(event.event_type().clone(), error.clone())),
        };
        Some(checked)
    }
}

impl Default for EventSchema {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for EventSchema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("EventSchema").field(&self.list_registered_schemas()).finish()
    }
}
