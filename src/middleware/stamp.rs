//! The same metadata on every event.

use crate::dispatch::handler::BoxError;
use crate::dispatch::intercept::{OfferedEvent, PublishInterceptor};
use serde_json::Value;

/// Adds metadata to every event that has no such entry itself. An event that its publisher still holds is copied, not
/// changed.
///
/// ```
/// use codomyrmex_events::{Event, EventBus, MetadataStamp};
///
/// let bus = EventBus::builder().intercept_publish(MetadataStamp::new().entry("host", "runner-7")).build()?;
/// bus.publish(Event::builder("order.placed", "shop").build()?)?;
/// assert_eq!(bus.history().latest(1)[0].event().metadata()["host"], "runner-7");
/// # Ok::<(), codomyrmex_events::EventError>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct MetadataStamp {
    entries: Vec<(String, Value)>,
}

impl MetadataStamp {
    /// One that adds nothing yet.
    #[must_use]
    pub fn new() -> Self {
        MetadataStamp::default()
    }

    /// One more entry. Values that nest too deep for an event make it refuse every event that lacks them.
    #[must_use]
    pub fn entry(mut self, key: impl Into<String>, value: impl Into<Value>) -> Self {
        self.entries.push((key.into(), value.into()));
        self
    }
}

impl PublishInterceptor for MetadataStamp {
    fn before_publish(&self, offered: &mut OfferedEvent<'_>) -> Result<(), BoxError> {
        for (key, value) in &self.entries {
            if !offered.metadata().contains_key(key) {
                offered.add_metadata(key.as_str(), value.clone())?;
            }
        }
        Ok(())
    }
}
