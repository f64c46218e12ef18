//! [`Debounce`]: the last item of each burst.

use super::{Held, ITEMS_PER_POLL, Time, Upstream, come_again};
use crate::bus::{Host, Timer};
use futures_core::Stream;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

/// A stream of the last items of bursts. Made by [`StreamOperators::debounce`](super::StreamOperators::debounce).
#[must_use = "streams do nothing unless polled"]
pub struct Debounce<S: Stream, P> {
    stream: Upstream<S>,
    time: Time,
    applies: P,
    held: Held<S::Item>,
    /// When the item held back may pass.
    quiet: Option<Timer>,
    skipped: u64,
}

impl<S: Stream, P> Debounce<S, P> {
    pub(super) fn new(stream: S, host: Host, period: Duration, applies: P) -> Self {
        Debounce {
            stream: Upstream::new(stream),
            time: Time { host, period },
            applies,
            held: Held::NOTHING,
            quiet: None,
            skipped: 0,
        }
    }

    /// How many items were let go because another one followed.
    #[must_use]
    pub fn skipped(&self) -> u64 {
        self.skipped
    }
}

/// Nothing in it is pinned but the stream, which is boxed.
impl<S: Stream, P> Unpin for Debounce<S, P> {}

impl<S: Stream, P: FnMut(&S::Item) -> bool> Stream for Debounce<S, P> {
    type Item = S::Item;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<S::Item>> {
        let this = self.get_mut();
        if let Some(behind) = this.held.behind.take() {
            return Poll::Ready(Some(behind));
        }
        for _ in 0..ITEMS_PER_POLL {
            // Before the stream: an item that came after the quiet did not break it.
            if let Some(quiet) = &mut this.quiet
                && Pin::new(quiet).poll(context).is_ready()
            {
                this.quiet = None;
                return Poll::Ready(this.held.item.take());
            }
            match this.stream.poll_next(context) {
                Poll::Ready(Some(item)) if (this.applies)(&item) => {
                    this.skipped += u64::from(this.held.hold(item));
                    this.quiet = this.time.timer();
                    if this.quiet.is_none() {
                        return Poll::Ready(this.held.item.take());
                    }
                }
                Poll::Ready(Some(item)) => {
                    this.quiet = None;
                    return Poll::Ready(Some(this.held.pass(item)));
                }
                Poll::Ready(None) => {
                    this.quiet = None;
                    return Poll::Ready(this.held.item.take());
                }
                Poll::Pending => return Poll::Pending,
            }
        }
        come_again(context)
    }
}

impl<S: Stream, P> fmt::Debug for Debounce<S, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Debounce").field("skipped", &self.skipped).finish_non_exhaustive()
    }
}
