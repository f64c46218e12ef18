//! What surrounds a piece of code: the correlation id in force, the event that caused it, how deep
//! publishes nest, and whose handlers are running.
//!
//! A frame lives on the stack of whoever entered it and is linked from a thread-local pointer, so entering
//! costs two stores. Nothing is inherited by other threads or leaks out of its scope: leaving restores
//! what was there, by panic too. A future's scope is entered anew at each poll, so it goes with the future
//! from thread to thread and touches no other task. It never names an event, only ids.

#![allow(unsafe_code)] // One thread-local pointer to frames on the stack, one pinned field; every block carries its proof.

#[cfg(feature = "spans")]
mod spans;

#[cfg(feature = "spans")]
pub(crate) use spans::SpanCorrelation;

use crate::ids::{CorrelationId, EventId};
use std::any::Any;
use std::cell::Cell;
use std::fmt;
use std::mem::ManuallyDrop;
use std::pin::Pin;
use std::ptr;
#[cfg(feature = "spans")]
use std::sync::Arc;
use std::task::{Context, Poll};

/// One level of surroundings.
pub(crate) struct Frame<'a> {
    /// The bus whose user code runs here.
    pub(crate) bus: Option<u64>,
    /// How many publishes are in progress on this thread.
    pub(crate) depth: usize,
    pub(crate) correlation_id: Option<&'a CorrelationId>,
    pub(crate) causation_id: Option<&'a EventId>,
    /// What the handled event hands on beside its ids; only events know what it is.
    pub(crate) carried: Option<&'a dyn Any>,
    /// Of an asynchronous handler, what `bus` knows it by.
    #[cfg(all(feature = "async", feature = "queued"))]
    host: Option<&'a dyn Any>,
    outer: *const Frame<'static>,
}

/// What a thread knows of its surroundings, side by side: a publisher looks at both.
struct Here {
    frame: Cell<*const Frame<'static>>,
    /// The innermost `tracing` span may have a correlation id.
    #[cfg(feature = "spans")]
    is_in_span: Cell<bool>,
}

thread_local! {
    static HERE: Here = const {
        Here {
            frame: Cell::new(ptr::null()),
            #[cfg(feature = "spans")]
            is_in_span: Cell::new(false),
        }
    };
}

/// The innermost frame.
#[inline]
fn current() -> *const Frame<'static> {
    HERE.with(|here| here.frame.get())
}

struct Restore(*const Frame<'static>);

impl Drop for Restore {
    fn drop(&mut self) {
        HERE.with(|here| here.frame.set(self.0));
    }
}

impl<'a> Frame<'a> {
    pub(crate) fn new(
        bus: Option<u64>,
        depth: usize,
        correlation_id: Option<&'a CorrelationId>,
        causation_id: Option<&'a EventId>,
    ) -> Self {
        Frame {
            bus,
            depth,
            correlation_id,
            causation_id,
            carried: None,
            #[cfg(all(feature = "async", feature = "queued"))]
            host: None,
            outer: ptr::null(),
        }
    }

    /// One with another correlation id or depth, and the cause of `outer`.
    fn inner(outer: Option<&'a Frame<'_>>, depth: usize, correlation_id: Option<&'a CorrelationId>) -> Self {
        let (causation_id, carried) = outer.map_or((None, None), |outer| (outer.causation_id, outer.carried));
        Frame::new(None, depth, correlation_id, causation_id).carrying(carried)
    }

    /// The same, of an event that hands something on.
    #[inline]
    pub(crate) fn carrying(self, carried: Option<&'a dyn Any>) -> Self {
        Frame { carried, ..self }
    }

    /// The same, of an asynchronous handler.
    #[cfg(all(feature = "async", feature = "queued"))]
    pub(crate) fn hosted(self, host: &'a dyn Any) -> Self {
        Frame { host: Some(host), ..self }
    }

    /// Runs `f` within this frame.
    #[inline]
    pub(crate) fn enter<R>(mut self, f: impl FnOnce() -> R) -> R {
        HERE.with(|here| {
            self.outer = here.frame.get();
            here.frame.set(ptr::from_ref(&self).cast());
        });
        let _restore = Restore(self.outer);
        f()
    }
}

/// Shows `f` the innermost frame, if any.
#[inline]
pub(crate) fn with_current<R>(f: impl FnOnce(Option<&Frame<'_>>) -> R) -> R {
    // SAFETY: a frame is linked only while `enter` holds it on this thread's stack, and unlinked before it
    // goes, by unwinding too. `f` cannot outlive this call and borrows the frame no longer than that.
    f(unsafe { current().as_ref() })
}

/// Shows `f` what a publisher's event is filled in from: the innermost frame, if any, with the correlation id of the span
/// where the frame has none.
#[inline]
pub(crate) fn with_publisher<R>(f: impl FnOnce(Option<&Frame<'_>>) -> R) -> R {
    #[cfg(feature = "spans")]
    if HERE.with(|here| here.is_in_span.get()) {
        return with_span(f);
    }
    with_current(f)
}

#[cfg(feature = "spans")]
#[cold]
fn with_span<R>(f: impl FnOnce(Option<&Frame<'_>>) -> R) -> R {
    with_current(|frame| {
        let has_own = frame.is_some_and(|frame| frame.correlation_id.is_some());
        let of_span = if has_own { None } else { spans::innermost(current().addr()) };
        let Some(id) = of_span else { return f(frame) };
        let depth = frame.map_or(0, |frame| frame.depth);
        f(Some(&Frame::inner(frame, depth, Some(&id))))
    })
}

/// This thread has entered a span, called by its layer and its own number.
#[cfg(feature = "spans")]
pub(crate) fn entered_span(span: (u64, u64), correlation: Option<Arc<SpanCorrelation>>) {
    let is_in_span = spans::push(span, current().addr(), correlation);
    HERE.with(|here| here.is_in_span.set(is_in_span));
}

/// This thread has left a span.
#[cfg(feature = "spans")]
pub(crate) fn left_span(span: (u64, u64)) {
    let is_in_span = spans::remove(span);
    HERE.with(|here| here.is_in_span.set(is_in_span));
}

/// Shows `f` the frames of bus `key` on this thread's stack, the innermost first, until it answers.
fn find<R>(key: u64, mut f: impl FnMut(&Frame<'_>) -> Option<R>) -> Option<R> {
    with_current(|innermost| {
        let mut frame = innermost;
        while let Some(here) = frame {
            if here.bus == Some(key)
                && let Some(answer) = f(here)
            {
                return Some(answer);
            }
            // SAFETY: an outer frame is held by an `enter` further down the same stack, which returns later.
            frame = unsafe { here.outer.as_ref() };
        }
        None
    })
}

/// Whether code that bus `key` runs (a handler, a filter, a destructor) is on this thread's stack.
pub(crate) fn is_inside(key: u64) -> bool {
    find(key, |_| Some(())).is_some()
}

/// Whether one piece of code that bus `key` runs is within another.
#[cfg(feature = "async")]
pub(crate) fn is_nested(key: u64) -> bool {
    let mut pieces = 0;
    find(key, |_| {
        pieces += 1;
        (pieces > 1).then_some(())
    })
    .is_some()
}

/// Shows `f` what bus `key` knows its innermost piece of code by, if that is an asynchronous handler.
#[cfg(all(feature = "async", feature = "queued"))]
pub(crate) fn with_host<R>(key: u64, f: impl FnOnce(&dyn Any) -> R) -> Option<R> {
    let mut f = Some(f);
    find(key, |frame| Some(frame.host.and_then(|host| f.take().map(|f| f(host))))).flatten()
}

/// Runs code of bus `key` (a destructor, say) that belongs to no event: waiting for the bus in it would be
/// waiting for itself. What it publishes is nested, as from a handler.
pub(crate) fn within_bus<R>(key: u64, f: impl FnOnce() -> R) -> R {
    let depth = with_current(|frame| frame.map_or(0, |frame| frame.depth));
    Frame::new(Some(key), depth + 1, None, None).enter(f)
}

/// Runs other people's code as from within so many publishes.
pub(crate) fn at_depth<R>(depth: usize, f: impl FnOnce() -> R) -> R {
    with_current(|outer| {
        let outer_id = outer.and_then(|outer| outer.correlation_id);
        Frame::inner(outer, depth, outer_id).enter(f)
    })
}

/// The correlation id in force: what `publish` gives to an event that has none.
///
/// ```
/// use codomyrmex_events::{CorrelationId, correlation};
///
/// let id = correlation::new_id();
/// correlation::scope(&id, || assert_eq!(correlation::current().as_ref(), Some(&id)));
/// assert_eq!(correlation::current(), None);
/// ```
pub mod correlation {
    pub use super::Scoped;
    use super::{Frame, with_current, with_publisher};
    use crate::ids::CorrelationId;
    use std::mem::ManuallyDrop;

    /// Runs `f` with `id` as this thread's correlation id; what was in force before returns afterwards,
    /// after a panic too. Scopes nest, and belong to one thread.
    pub fn scope<R>(id: &CorrelationId, f: impl FnOnce() -> R) -> R {
        with_current(|outer| {
            let depth = outer.map_or(0, |outer| outer.depth);
            Frame::inner(outer, depth, Some(id)).enter(f)
        })
    }

    /// [`scope`] for async code: `id` is in force whenever `future` is polled, on whichever thread, and while it is
    /// dropped; never in between, when other tasks run.
    ///
    /// ```
    /// # use std::{pin::pin, task::{Context, Poll, Waker}};
    /// use codomyrmex_events::correlation;
    ///
    /// let id = correlation::new_id();
    /// let scoped = correlation::scope_async(&id, async { correlation::current() });
    /// # let polled = pin!(scoped).poll(&mut Context::from_waker(Waker::noop()));
    /// # let Poll::Ready(current) = polled else { unreachable!("it waits for nothing") };
    /// # // What an `.await` would give:
    /// assert_eq!(current, Some(id));
    /// ```
    pub fn scope_async<F: Future>(id: &CorrelationId, future: F) -> Scoped<F> {
        Scoped { id: Some(id.clone()), future: ManuallyDrop::new(future) }
    }

    /// Runs code that has no part in the surroundings: what it publishes is complete already.
    pub(crate) fn without<R>(f: impl FnOnce() -> R) -> R {
        super::within(None, f)
    }

    /// A future that has no part in the surroundings of whoever polls it: what it publishes is complete already.
    pub(crate) fn unscoped<F: Future>(future: F) -> Scoped<F> {
        Scoped { id: None, future: ManuallyDrop::new(future) }
    }

    /// The correlation id in force on this thread; inside a handler, that of the event. With the feature `spans` and its
    /// layer installed, else that of the current `tracing` span.
    #[must_use]
    pub fn current() -> Option<CorrelationId> {
        with_publisher(|around| around.and_then(|around| around.correlation_id.cloned()))
    }

    /// A new random id: `cid-` and 12 hexadecimal digits.
    #[must_use]
    pub fn new_id() -> CorrelationId {
        let random = uuid::Uuid::new_v4().as_u128() >> 80;
        CorrelationId::new(format!("cid-{random:012x}")).expect("16 printable characters are a valid id")
    }
}

/// A future that has a correlation id of its own. Made by [`correlation::scope_async`].
#[must_use = "futures do nothing unless polled"]
pub struct Scoped<F> {
    /// None, and it has neither a correlation id nor a cause.
    id: Option<CorrelationId>,
    /// Pinned with the whole; dropped by `drop` and nowhere else.
    future: ManuallyDrop<F>,
}

impl<F: Future> Future for Scoped<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        // SAFETY: nothing is moved out of what is borrowed here: `id` is read, `future` pinned again.
        let this = unsafe { self.get_unchecked_mut() };
        // SAFETY: `future` is pinned because the whole is: no method moves it, it is dropped in place, and
        // `Scoped` is `Unpin` only if it is, since `ManuallyDrop` passes that on.
        let future = unsafe { Pin::new_unchecked(&mut *this.future) };
        within(this.id.as_ref(), || future.poll(cx))
    }
}

impl<F> Drop for Scoped<F> {
    fn drop(&mut self) {
        let future = &mut self.future;
        // SAFETY: the field is dropped here only, once, in place, and not used afterwards.
        within(self.id.as_ref(), || unsafe { ManuallyDrop::drop(future) });
    }
}

fn within<R>(id: Option<&CorrelationId>, f: impl FnOnce() -> R) -> R {
    match id {
        Some(id) => correlation::scope(id, f),
        None => {
            let depth = with_current(|outer| outer.map_or(0, |outer| outer.depth));
            Frame::new(None, depth, None, None).enter(f)
        }
    }
}

impl<F> fmt::Debug for Scoped<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scoped").field("correlation_id", &self.id).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::poll_fn;
    use std::task::Waker;

    /// One poll of a future that may move.
    fn poll<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
        Pin::new(future).poll(&mut Context::from_waker(Waker::noop()))
    }

    /// A future that notes what is in force at each poll, and is ready at the last.
    fn notes(polls: usize) -> impl Future<Output = Vec<Option<CorrelationId>>> + Unpin {
        let mut seen = Vec::new();
        poll_fn(move |_| {
            seen.push(correlation::current());
            if seen.len() < polls { Poll::Pending } else { Poll::Ready(std::mem::take(&mut seen)) }
        })
    }

    #[test]
    fn a_future_has_its_own_scope_at_each_poll_on_every_thread_and_not_in_between() {
        let ids = [correlation::new_id(), correlation::new_id()];
        let [mut one, mut other] = ids.each_ref().map(|id| correlation::scope_async(id, notes(3)));
        assert!(poll(&mut one).is_pending() && poll(&mut other).is_pending());
        assert_eq!(correlation::current(), None);
        let around = correlation::new_id();
        correlation::scope(&around, || {
            assert!(poll(&mut other).is_pending());
            assert_eq!(correlation::current().as_ref(), Some(&around), "what was in force is again");
        });
        std::thread::scope(|threads| threads.spawn(|| assert!(poll(&mut one).is_pending())).join().unwrap());
        for (future, id) in [(&mut one, &ids[0]), (&mut other, &ids[1])] {
            let Poll::Ready(seen) = poll(future) else { panic!("it was polled three times") };
            assert_eq!(seen, vec![Some(id.clone()); 3]);
        }
        assert_eq!(correlation::current(), None);
    }

    #[test]
    fn a_future_is_dropped_once_and_in_its_scope_and_its_panic_ends_the_poll_alone() {
        struct Note<'a>(&'a mut Vec<Option<CorrelationId>>);
        impl Drop for Note<'_> {
            fn drop(&mut self) {
                self.0.push(correlation::current());
            }
        }
        let (id, mut dropped) = (correlation::new_id(), Vec::new());
        let note = Note(&mut dropped);
        let mut future = correlation::scope_async(
            &id,
            poll_fn(move |_| -> Poll<()> {
                let _held = &note;
                panic!("on purpose")
            }),
        );
        let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| poll(&mut future)));
        assert!(caught.is_err());
        assert_eq!(correlation::current(), None);
        drop(future);
        assert_eq!(dropped, [Some(id)]);
        assert_eq!(correlation::current(), None);
    }

    #[test]
    fn scopes_nest_and_end_by_panic() {
        let (outer, inner) = (correlation::new_id(), correlation::new_id());
        assert_ne!(outer, inner);
        correlation::scope(&outer, || {
            let caught = std::panic::catch_unwind(|| correlation::scope(&inner, || panic!("on purpose")));
            assert!(caught.is_err());
            assert_eq!(correlation::current().as_ref(), Some(&outer));
        });
        assert_eq!(correlation::current(), None);
    }

    #[test]
    fn a_scope_does_not_hide_whose_code_runs() {
        let id = correlation::new_id();
        Frame::new(Some(7), 1, None, None).enter(|| {
            correlation::scope(&id, || {
                assert!(is_inside(7));
                assert!(!is_inside(8));
                assert_eq!(with_current(|frame| frame.map(|frame| frame.depth)), Some(1));
            });
        });
        assert!(!is_inside(7));
    }
}
