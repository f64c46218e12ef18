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
    close: fn(&(dyn Any + Send + Sync)),
}

/// What a bus keeps one of. It is told when the bus refuses everything from now on: whoever waits for more waits in vain.
pub(crate) trait BusPart: Any + Send + Sync + Default {
    /// It may be called more than once, by whoever closes the bus, as code of the bus. The bus is closed by then; so whoever
    /// listens first and looks then whether the bus is open misses nothing.
    fn bus_closed(&self);
}

impl EventBus {
    /// The part of this type.
    pub(crate) fn part<T: BusPart>(&self) -> Arc<T> {
        let mut parts = self.bus.parts.0.lock().unwrap_or_else(PoisonError::into_inner);
        let known =
            parts.iter().find(|part| part.of == TypeId::of::<T>()).map(|known| Arc::clone(&known.part));
        let part = known.unwrap_or_else(|| {
            let part: Arc<dyn Any + Send + Sync> = Arc::<T>::default();
            let close =
                |part: &(dyn Any + Send + Sync)| part.downcast_ref().into_iter().for_each(T::bus_closed);
            parts.push(Part { of: TypeId::of::<T>(), part: Arc::clone(&part), close });
            part
        });
        part.downcast().expect("it is listed under its type")
    }
}

impl BusParts {
    /// The bus is closed.
    pub(super) fn close(&self, bus: u64) {
        let parts = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        for Part { part, close, .. } in parts {
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
    use std::time::Duration;

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl BusPart for Count {
        fn bus_closed(&self) {
            self.0.fetch_add(100, Ordering::Relaxed);
        }
    }

    #[test]
    fn a_bus_has_one_part_of_each_type_tells_it_when_it_closes_and_drops_it() {
        let count = |bus: &EventBus| bus.part::<Count>().0.load(Ordering::Relaxed);
        let bus = EventBus::new();
        bus.part::<Count>().0.store(7, Ordering::Relaxed);
        assert_eq!(count(&bus.downgrade().upgrade().unwrap()), 7);
        assert_eq!(count(&EventBus::new()), 0);
        let _ = bus.shutdown(Duration::ZERO);
        assert_eq!(count(&bus) % 100, 7);
        assert!(count(&bus) > 100);
        let part = bus.part::<Count>();
        drop(bus);
        assert_eq!(Arc::strong_count(&part), 1);
    }
}
