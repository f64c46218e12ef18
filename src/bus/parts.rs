//! What the parts above a bus keep once for each bus: its mailboxes, say, or who waits for answers.
//!
//! A part is made when it is first asked for, and dropped with the bus. It must not hold a handle on the bus, which would
//! keep that alive for ever.

use super::EventBus;
use std::any::{Any, TypeId};
use std::sync::{Arc, Mutex, PoisonError};

/// At most one of each type; there are few types.
#[derive(Default)]
pub(super) struct BusParts(Mutex<Vec<(TypeId, Arc<dyn Any + Send + Sync>)>>);

impl EventBus {
    /// The part of this type.
    pub(crate) fn part<T: Any + Send + Sync + Default>(&self) -> Arc<T> {
        let mut parts = self.bus.parts.0.lock().unwrap_or_else(PoisonError::into_inner);
        let known = parts.iter().find(|(of, _)| *of == TypeId::of::<T>()).map(|(_, part)| Arc::clone(part));
        let part = known.unwrap_or_else(|| {
            let made: Arc<dyn Any + Send + Sync> = Arc::<T>::default();
            parts.push((TypeId::of::<T>(), Arc::clone(&made)));
            made
        });
        part.downcast().expect("it is listed under its type")
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
        assert_eq!(bus.clone().part::<AtomicUsize>().load(Ordering::Relaxed), 7);
        assert_eq!(*bus.part::<String>(), "");
        assert_eq!(EventBus::new().part::<AtomicUsize>().load(Ordering::Relaxed), 0);
        let part = bus.part::<AtomicUsize>();
        drop(bus);
        assert_eq!(Arc::strong_count(&part), 1);
    }
}
