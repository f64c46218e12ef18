//! The correlation ids of `tracing` spans, as far as publishing has to know of them: which spans this thread has entered.
//!
//! A layer of the program's subscriber tells of spans as they are entered and left; a publisher looks at one flag, and only
//! within a span that may have an id at the list. So publishing meets none of the subscriber's locks, and where no
//! layer is, nothing but the flag. Spans are left in any order, on the thread on which they were entered.
//!
//! A span counts within the frame in which it was entered: a handler sees the spans that it entered itself, not those of
//! whoever published on the same thread, as it does not see their scopes.

use crate::ids::CorrelationId;
use crate::sync::{AtomicBool, Ordering};
use arc_swap::ArcSwapOption;
use std::cell::RefCell;
use std::sync::Arc;

/// What a span says of the correlation id, now or later, or else the spans around it.
pub(crate) struct SpanCorrelation {
    own: ArcSwapOption<CorrelationId>,
    /// Of the nearest span around that can say anything.
    around: Option<Arc<SpanCorrelation>>,
    is_refused: AtomicBool,
}

impl SpanCorrelation {
    pub(crate) fn within(around: Option<Arc<SpanCorrelation>>) -> Self {
        SpanCorrelation { own: ArcSwapOption::empty(), around, is_refused: AtomicBool::new(false) }
    }

    /// From now on the span has this id.
    pub(crate) fn set(&self, id: CorrelationId) {
        self.own.store(Some(Arc::new(id)));
    }

    /// The span was given an id that is none.
    pub(crate) fn refuse(&self) {
        self.is_refused.store(true, Ordering::Relaxed);
    }

    /// Whether it was, since this was last asked.
    pub(crate) fn take_refused(&self) -> bool {
        self.is_refused.load(Ordering::Relaxed) && self.is_refused.swap(false, Ordering::Relaxed)
    }

    fn id(&self) -> Option<CorrelationId> {
        let mut span = self;
        loop {
            if let Some(own) = &*span.own.load() {
                return Some(CorrelationId::clone(own));
            }
            span = span.around.as_deref()?;
        }
    }
}

/// A long chain of spans is taken apart link by link, not by recursion.
impl Drop for SpanCorrelation {
    fn drop(&mut self) {
        let mut next = self.around.take();
        while let Some(mut last) = next.and_then(Arc::into_inner) {
            next = last.around.take();
        }
    }
}

/// One entry of a span on this thread.
struct Entered {
    /// Which layer tells, and what it calls the span.
    span: (u64, u64),
    /// The address of the frame in which it was entered; never looked behind.
    frame: usize,
    correlation: Option<Arc<SpanCorrelation>>,
}

thread_local! {
    static ENTERED: RefCell<Vec<Entered>> = const { RefCell::new(Vec::new()) };
}

/// This thread has entered a span. True if the innermost span now may have an id.
pub(super) fn push(span: (u64, u64), frame: usize, correlation: Option<Arc<SpanCorrelation>>) -> bool {
    let entered = Entered { span, frame, correlation };
    // A thread that is ending has no list any more, and its spans no part in what it still publishes.
    ENTERED
        .try_with(|spans| {
            let mut spans = spans.borrow_mut();
            spans.push(entered);
            has_innermost(&spans)
        })
        .unwrap_or(false)
}

/// This thread has left a span, the last entry of it if there are several. True if the innermost span now may have an id.
pub(super) fn remove(span: (u64, u64)) -> bool {
    let left = ENTERED.try_with(|spans| {
        let mut spans = spans.borrow_mut();
        let index = spans.iter().rposition(|entered| entered.span == span);
        let left = index.map(|index| spans.remove(index));
        (has_innermost(&spans), left)
    });
    left.is_ok_and(|(has_innermost, _left)| has_innermost)
}

fn has_innermost(spans: &[Entered]) -> bool {
    spans.last().is_some_and(|innermost| innermost.correlation.is_some())
}

/// The correlation id of the innermost span, if that was entered within the frame at this address.
pub(super) fn innermost(frame: usize) -> Option<CorrelationId> {
    let correlation = ENTERED.try_with(|spans| {
        let spans = spans.borrow();
        let innermost = spans.last().filter(|innermost| innermost.frame == frame)?;
        innermost.correlation.clone()
    });
    correlation.ok().flatten()?.id()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_id(id: &'static str, around: Option<Arc<SpanCorrelation>>) -> Arc<SpanCorrelation> {
        let span = SpanCorrelation::within(around);
        span.set(CorrelationId::from_static(id));
        Arc::new(span)
    }

    #[test]
    fn the_innermost_span_counts_in_whatever_order_they_are_left() {
        let [a, b] = ["a", "b"].map(|id| with_id(id, None));
        assert!(push((1, 1), 0, Some(Arc::clone(&a))));
        assert!(push((1, 2), 0, Some(Arc::clone(&b))));
        assert_eq!(innermost(0).unwrap(), "b");
        assert_eq!(innermost(7), None, "entered elsewhere");
        assert!(remove((1, 1)), "the outer one first");
        assert_eq!(innermost(0).unwrap(), "b");
        assert!(!push((1, 3), 0, None), "one that has none and inherits none");
        assert_eq!(innermost(0), None);
        assert!(remove((1, 3)) && !remove((1, 2)) && !remove((1, 2)), "and once more than entered");
        assert_eq!(innermost(0), None);
        assert_eq!((Arc::strong_count(&a), Arc::strong_count(&b)), (1, 1));
    }

    #[test]
    fn an_id_is_inherited_until_the_span_has_its_own_and_long_chains_are_taken_apart() {
        let outer = Arc::new(SpanCorrelation::within(None));
        let mut innermost = Arc::clone(&outer);
        for _ in 0..200_000 {
            innermost = Arc::new(SpanCorrelation::within(Some(innermost)));
        }
        assert_eq!(innermost.id(), None);
        outer.set(CorrelationId::from_static("outer"));
        assert_eq!(innermost.id().unwrap(), "outer");
        innermost.set(CorrelationId::from_static("own"));
        assert_eq!(
            (innermost.id().unwrap(), outer.id().unwrap()),
            ("own".parse().unwrap(), "outer".parse().unwrap())
        );
        drop(innermost);
        assert_eq!(Arc::strong_count(&outer), 1);
    }
}
