//! [`Sample`]: the latest item of each interval.

use super::{Held, ITEMS_PER_POLL, Time, Upstream, come_again};
use crate::bus::{Host, Timer};
use futures_core::Stream;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

/// A stream of the latest item of each interval. Made by [`StreamOperators::sample`](super::StreamOperators::sample).
#[must_use = "streams do nothing unless polled"]
pub struct Sample<S: Stream, P> {
    stream: Upstream<S>,
    time: Time,
    applies: P,
    held: Held<S::Item>,
    /// The end of the interval; none before the first poll, or if there is no time.
    tick: Option<Timer>,
    skipped: u64,
}

impl<S: Stream, P> Sample<S, P> {
    pub(super) fn new(stream: S, host: Host, period: Duration, applies: P) -> Self {
        Sample {
            stream: Upstream::new(stream),
            time: Time { host, period },
            applies,
            held: Held::NOTHING,
            tick: None,
            skipped: 0,
        }
    }

    /// How many items were let go because a later one came in the same interval.
    #[must_use]
    pub fn skipped(&self) -> u64 {
        self.skipped
    }
}

/// Nothing in it is pinned but the stream, which is boxed.
impl<S: Stream, P> Unpin for Sample<S, P> {}

impl<S: Stream, P: FnMut(&S::Item) -> bool> Stream for Sample<S, P> {
    type Item = S::Item;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<S::Item>> {
        let this = self.get_mut();
        if let Some(behind) = this.held.behind.take() {
            return Poll::Ready(Some(behind));
        }
        for _ in 0..ITEMS_PER_POLL {
            let tick = match this.tick.as_mut() {
                Some(tick) => Some(tick),
                None => {
                    this.tick = this.time.timer();
                    this.tick.as_mut()
                }
            };
            let is_over = tick.is_none_or(|tick| Pin::new(tick).poll(context).is_ready());
            if is_over {
                this.tick = this.time.timer();
                if let Some(held) = this.held.item.take() {
                    return Poll::Ready(Some(held));
                }
            }
            match this.stream.poll_next(context) {
                Poll::Ready(Some(item)) if (this.applies)(&item) => {
                    this.skipped += u64::from(this.held.hold(item));
                }
                Poll::Ready(Some(item)) => return Poll::Ready(Some(this.held.pass(item))),
                Poll::Ready(None) => return Poll::Ready(this.held.item.take()),
                // Nobody has been told of a new tick; without one there is nothing that it would be for.
                Poll::Pending if is_over && this.tick.is_some() => {}
                Poll::Pending => return Poll::Pending,
            }
        }
        come_again(context)
    }
}

impl<S: Stream, P> fmt::Debug for Sample<S, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sample").field("skipped", &self.skipped).finish_non_exhaustive()
    }
}
