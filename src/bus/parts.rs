//! What the parts above a bus keep once for each bus: its mailboxes, say, or who waits for answers.
//!
//! A part is made when it is first asked for, and dropped with the bus. It must not hold a handle on the bus, which would
//! keep that alive for ever.

use super::EventBus;
use crate::context;
use crate::quiet::{log, panics};
use std::any::{Any, TypeId};
use std::sync::{Arc, Mutex, PoisonError};

/// At most one of each type; there are few types.
#[derive(Default)]
pub(super) struct BusParts(Mutex<Vec<Part>>);

#[derive(Clone)]
struct Part {
    of: TypeId,
    part: Arc<dyn Any + Send + Sync>,
    /// Tells it that the bus is closed.
    close: Option<fn(&(dyn Any + Send + Sync))>,
}

/// A part that is told when its bus refuses everything from now on: whoever waits for more waits in vain.
pub(crate) trait Closing {
    /// It may be called more than once, by whoever closes the bus, as code of the bus. The bus is closed by then; so whoever
    /// listens first and looks then whether the bus is open misses nothing.
    fn bus_closed(&self);
}

impl EventBus {
    /// The part of this type.
    pub(crate) fn part<T: Any + Send + Sync + Default>(&self) -> Arc<T> {
        self.bus.parts.get(None)
    }

    /// The part of this type, which is told when the bus is closed.
    pub(crate) fn closing_part<T: Closing + Any + Send + Sync + Default>(&self) -> Arc<T> {
        self.bus.parts.get(Some(|part| part.downcast_ref::<T>().into_iter().for_each(Closing::bus_closed)))
    }
}

impl BusParts {
    fn get<T: Any + Send + Sync + Default>(&self, close: Option<fn(&(dyn Any + Send + Sync))>) -> Arc<T> {
        let mut parts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let known =
            parts.iter().find(|part| part.of == TypeId::of::<T>()).map(|known| Arc::clone(&known.part));
        let part = known.unwrap_or_else(|| {
            let part: Arc<dyn Any + Send + Sync> = Arc::<T>::default();
            parts.push(Part { of: TypeId::of::<T>(), part: Arc::clone(&part), close });
            part
        });
        part.downcast().expect("it is listed under its type")
    }

    /// The bus is closed.
    pub(super) fn close(&self, bus: u64) {
        let parts = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        for Part { part, close, .. } in parts {
            let Some(close) = close else { continue };
            // It wakes those who wait, and their wakers are their own code.
            if panics(|| context::within_bus(bus, || close(part.as_ref()))) {
                log(|| tracing::error!("a waker panicked"));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sync::{AtomicUsize, Ordering};

    #[test]
    fn a_bus_has_one_part_of_each_type_and_drops_it() {
        let bus = EventBus::new();
        bus.part::<AtomicUsize>().store(7, Ordering::Relaxed);
        assert_eq!(bus.downgrade().upgrade().unwrap().part::<AtomicUsize>().load(Ordering::Relaxed), 7);
        assert_eq!(*bus.part::<String>(), "");
        assert_eq!(EventBus::new().part::<AtomicUsize>().load(Ordering::Relaxed), 0);
        let part = bus.part::<AtomicUsize>();
        drop(bus);
        assert_eq!(Arc::strong_count(&part), 1);
    }
}
