//! Time that only goes forward: of the machine, or one that a test moves.

#[cfg(any(test, feature = "queued"))]
use crate::sync::{AtomicU64, Ordering};
#[cfg(any(test, feature = "queued"))]
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Nanoseconds since the clock's beginning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Moment(u64);

impl Moment {
    /// The beginning of the clock.
    pub(crate) const FIRST: Moment = Moment(0);

    /// The end of time.
    pub(crate) const NEVER: Moment = Moment(u64::MAX);

    /// This long after; at most the end of time, 584 years on.
    pub(crate) fn after(self, wait: Duration) -> Self {
        Moment(self.0.saturating_add(u64::try_from(wait.as_nanos()).unwrap_or(u64::MAX)))
    }

    /// How long from `earlier` to here; nothing if it is not earlier.
    pub(crate) fn since(self, earlier: Moment) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

/// Tells how long something takes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stopwatch(Instant);

impl Stopwatch {
    pub(crate) fn start() -> Self {
        Stopwatch(Instant::now())
    }

    pub(crate) fn elapsed(self) -> Duration {
        self.0.elapsed()
    }
}

/// A clock, and its clones show the same time.
#[derive(Clone, Debug)]
pub(crate) enum Clock {
    Real(Instant),
    #[cfg(any(test, feature = "queued"))]
    Manual(Arc<AtomicU64>),
}

impl Clock {
    pub(crate) fn real() -> Self {
        Clock::Real(Instant::now())
    }

    /// A clock that stands still until it is moved.
    #[cfg(any(test, feature = "queued"))]
    pub(crate) fn manual() -> Self {
        Clock::Manual(Arc::default())
    }

    pub(crate) fn now(&self) -> Moment {
        match self {
            Clock::Real(beginning) => Moment(0).after(beginning.elapsed()),
            #[cfg(any(test, feature = "queued"))]
            Clock::Manual(now) => Moment(now.load(Ordering::Acquire)),
        }
    }

    /// Whether somebody moves it.
    pub(crate) fn is_manual(&self) -> bool {
        match self {
            Clock::Real(_) => false,
            #[cfg(any(test, feature = "queued"))]
            Clock::Manual(_) => true,
        }
    }

    /// Moves a manual clock forward to `moment`; never back.
    #[cfg(any(test, feature = "queued"))]
    pub(crate) fn advance_to(&self, moment: Moment) {
        if let Clock::Manual(now) = self {
            now.fetch_max(moment.0, Ordering::AcqRel);
        }
    }
}
