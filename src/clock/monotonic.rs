//! Time that only goes forward: of the machine, or one that a test moves.

#[cfg(test)]
use crate::sync::{AtomicU64, Ordering};
#[cfg(test)]
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Nanoseconds since the clock's beginning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Moment(u64);

impl Moment {
    /// This long after; at most the end of time, 584 years on.
    pub(crate) fn after(self, wait: Duration) -> Self {
        Moment(self.0.saturating_add(u64::try_from(wait.as_nanos()).unwrap_or(u64::MAX)))
    }

    /// How long from `earlier` to here; nothing if it is not earlier.
    pub(crate) fn since(self, earlier: Moment) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

/// A clock, and its clones show the same time.
#[derive(Clone, Debug)]
pub(crate) enum Clock {
    Real(Instant),
    #[cfg(test)]
    Manual(Arc<AtomicU64>),
}

impl Clock {
    pub(crate) fn real() -> Self {
        Clock::Real(Instant::now())
    }

    /// A clock that stands still until it is moved.
    #[cfg(test)]
    pub(crate) fn manual() -> Self {
        Clock::Manual(Arc::default())
    }

    pub(crate) fn now(&self) -> Moment {
        match self {
            Clock::Real(beginning) => Moment(0).after(beginning.elapsed()),
            #[cfg(test)]
            Clock::Manual(now) => Moment(now.load(Ordering::Acquire)),
        }
    }

    /// Moves a manual clock forward to `moment`; never back.
    #[cfg(test)]
    pub(crate) fn advance_to(&self, moment: Moment) {
        if let Clock::Manual(now) = self {
            now.fetch_max(moment.0, Ordering::AcqRel);
        }
    }
}
