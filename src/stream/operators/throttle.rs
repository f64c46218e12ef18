//! [`Throttle`]: at most one item in each interval, the first.

use super::{ITEMS_PER_POLL, Time, Upstream, come_again};
use crate::bus::{Host, Timer};
use futures_core::Stream;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

/// A stream of at most one item in each interval. Made by [`StreamOperators::throttle`](super::StreamOperators::throttle).
#[must_use = "streams do nothing unless polled"]
pub struct Throttle<S: Stream, P> {
    stream: Upstream<S>,
    time: Time,
    applies: P,
    /// When the next one may pass.
    closed: Option<Timer>,
    skipped: u64,
}

impl<S: Stream, P> Throttle<S, P> {
    pub(super) fn new(stream: S, host: Host, period: Duration, applies: P) -> Self {
        let time = Time { host, period };
        Throttle { stream: Upstream::new(stream), time, applies, closed: None, skipped: 0 }
    }

    /// How many items were let go because they came too soon.
    #[must_use]
    pub fn skipped(&self) -> u64 {
        self.skipped
    }
}

/// Nothing in it is pinned but the stream, which is boxed.
impl<S: Stream, P> Unpin for Throttle<S, P> {}

impl<S: Stream, P: FnMut(&S::Item) -> bool> Stream for Throttle<S, P> {
    type Item = S::Item;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<S::Item>> {
        let this = self.get_mut();
        for _ in 0..ITEMS_PER_POLL {
            match this.stream.poll_next(context) {
                Poll::Ready(Some(item)) if (this.applies)(&item) => {
                    // Nobody has to be woken when the interval is over: there is nothing to pass then.
                    if this.closed.as_ref().is_some_and(|closed| !closed.is_past()) {
                        this.skipped += 1;
                        continue;
                    }
                    this.closed = this.time.timer();
                    return Poll::Ready(Some(item));
                }
                polled => return polled,
            }
        }
        come_again(context)
    }
}

impl<S: Stream, P> fmt::Debug for Throttle<S, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Throttle").field("skipped", &self.skipped).finish_non_exhaustive()
    }
}
