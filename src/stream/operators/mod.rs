//! [`StreamOperators`]: what a stream is thinned with, for any `futures::Stream`.
//!
//! They live by a bus's clock, so that a manual bus drives them exactly and they run under any executor. The crates that
//! have such operators bring a reactor and a clock of their own with them.
//!
//! A stream of this crate carries more than events: that the reader missed some, or has to begin anew. None of that may be
//! thinned out, and nothing may overtake it. So each operator is told which items it is for; all others pass, and
//! what was held back goes before them.
//!
//! In reading order:
//! - here: the trait, and what the operators share;
//! - `debounce`, `throttle`, `sample`, `latest`: one operator each.

mod debounce;
mod latest;
mod sample;
mod throttle;

pub use debounce::Debounce;
pub use latest::LatestPerKey;
pub use sample::Sample;
pub use throttle::Throttle;

use crate::bus::{EventBus, Host};
use futures_core::Stream;
use std::hash::Hash;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

/// How many items an operator takes before it lets other tasks run.
const ITEMS_PER_POLL: usize = 256;

/// Operators for any stream. Nothing is taken from the stream but when the result is polled.
///
/// Time is that of a bus, which they do not keep alive. When it has ended there is no time to wait for, and every item passes
/// at once; so it does if the time that an operator is given is zero.
///
/// ```
/// use codomyrmex_events::{EventBus, StreamOperators};
/// use futures_util::{FutureExt, StreamExt, stream};
/// use std::time::Duration;
///
/// let bus = EventBus::new();
/// // Numbers are for the operator; texts say something about the stream.
/// let items = stream::iter([Ok(1), Ok(2), Err("2 were missed"), Ok(3), Ok(4)]);
/// let throttled = items.throttle(&bus, Duration::from_secs(3_600), |item: &Result<u32, &str>| item.is_ok());
/// let left = throttled.collect::<Vec<_>>().now_or_never();
/// assert_eq!(left, Some(vec![Ok(1), Err("2 were missed")]));
/// ```
pub trait StreamOperators: Stream + Sized {
    /// The last item of each burst: an item passes when no other came for the time `quiet`, or when the stream ends.
    ///
    /// It is for the items that `applies` says yes to. Any other passes at once, and ends the burst: the item held back
    /// goes before it.
    fn debounce<P>(self, bus: &EventBus, quiet: Duration, applies: P) -> Debounce<Self, P>
    where
        P: FnMut(&Self::Item) -> bool,
    {
        Debounce::new(self, bus.host(), quiet, applies)
    }

    /// At most one item in each `interval`: the first one, which passes at once and begins the interval. Those that come
    /// before it is over are let go, and [counted](Throttle::skipped).
    ///
    /// It is for the items that `applies` says yes to. Any other passes at once.
    fn throttle<P>(self, bus: &EventBus, interval: Duration, applies: P) -> Throttle<Self, P>
    where
        P: FnMut(&Self::Item) -> bool,
    {
        Throttle::new(self, bus.host(), interval, applies)
    }

    /// At the end of each `interval`, the latest item that came in it, if any did; what came since is passed when the stream
    /// ends. The first interval begins with the first poll. Those that were replaced by a later one are
    /// [counted](Sample::skipped).
    ///
    /// It is for the items that `applies` says yes to. Any other passes at once; the item held back goes before it.
    fn sample<P>(self, bus: &EventBus, interval: Duration, applies: P) -> Sample<Self, P>
    where
        P: FnMut(&Self::Item) -> bool,
    {
        Sample::new(self, bus.host(), interval, applies)
    }

    /// For a reader that is slower than the stream: of the items that are ready, the newest of each key, in the order of the
    /// stream. Those that were replaced are [counted](LatestPerKey::replaced).
    ///
    /// Whatever is ready is taken from the stream at each poll, and passed on in rounds: what is taken while a round is read
    /// belongs to the next one, so that a key that changes all the time neither waits for ever nor is overtaken.
    ///
    /// `key` says `None` of items that nothing may replace; they keep their place. At most `items_max` items (at least 1)
    /// are gathered for a round: when they are of so many keys that no more fits, nothing is taken from the stream until the
    /// round before has been read, and it is for the stream to say what becomes of its items meanwhile.
    ///
    /// ```
    /// use codomyrmex_events::StreamOperators;
    /// use futures_util::{FutureExt, StreamExt, stream};
    ///
    /// let readings = stream::iter([("a", 1), ("b", 1), ("a", 2), ("a", 3)]);
    /// let latest = readings.latest_per_key(100, |(probe, _)| Some(*probe)).collect::<Vec<_>>();
    /// assert_eq!(latest.now_or_never(), Some(vec![("b", 1), ("a", 3)]));
    /// ```
    fn latest_per_key<K, F>(self, items_max: usize, key: F) -> LatestPerKey<Self, K, F>
    where
        K: Hash + Eq,
        F: FnMut(&Self::Item) -> Option<K>,
    {
        LatestPerKey::new(self, items_max, key)
    }
}

impl<S: Stream> StreamOperators for S {}

/// A stream, until it has ended.
struct Upstream<S>(Option<Pin<Box<S>>>);

impl<S: Stream> Upstream<S> {
    fn new(stream: S) -> Self {
        Upstream(Some(Box::pin(stream)))
    }

    /// The next item. One that has ended is not polled again.
    fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<S::Item>> {
        let Some(stream) = &mut self.0 else { return Poll::Ready(None) };
        let polled = stream.as_mut().poll_next(context);
        if matches!(polled, Poll::Ready(None)) {
            self.0 = None;
        }
        polled
    }

    fn has_ended(&self) -> bool {
        self.0.is_none()
    }
}

/// An item that is held back, and one behind it that is not.
struct Held<T> {
    item: Option<T>,
    behind: Option<T>,
}

impl<T> Held<T> {
    const NOTHING: Self = Held { item: None, behind: None };

    /// Holds an item back; true if it replaces one.
    fn hold(&mut self, item: T) -> bool {
        self.item.replace(item).is_some()
    }

    /// Lets an item pass that is not held back: the one that is goes first.
    fn pass(&mut self, item: T) -> T {
        match self.item.take() {
            Some(held) => {
                self.behind = Some(item);
                held
            }
            None => item,
        }
    }
}

/// The clock that an operator lives by.
struct Time {
    host: Host,
    period: Duration,
}

impl Time {
    /// Without a period there is nothing to wait for either; a bell that is rung at once, again and again, would be a spin.
    fn timer(&self) -> Option<crate::bus::Timer> {
        if self.period.is_zero() { None } else { self.host.timer(self.period) }
    }
}

/// Others have their turn; whoever polls is to come again.
fn come_again<T>(context: &Context<'_>) -> Poll<T> {
    context.waker().wake_by_ref();
    Poll::Pending
}
