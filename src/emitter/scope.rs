//! Operations that end by themselves: with the closure or future that does the work, however that ends.
//!
//! The work comes first. That a bus refuses to hear of its beginning or its end is no reason to leave it undone, nor to
//! take its result away from the caller, so such a refusal is logged as a warning and the work goes on. In async code
//! nothing here blocks the thread: a beginning and an end wait for room by awaiting, and the end of a future that is
//! dropped does not wait at all.

use super::EventEmitter;
use crate::clock::{Clock, Moment};
use crate::context::correlation;
use crate::dispatch::handler::message_of;
use crate::error::EventError;
use crate::event::{Event, EventPublishError};
use crate::ids::CorrelationId;
use crate::quiet::{log, panics};
use serde_json::Value;
use std::any::Any;
use std::fmt::Display;
use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

impl EventEmitter {
    /// An operation that ends by itself: [`run`](OperationScope::run) it with a closure, or
    /// [`run_async`](OperationScope::run_async) with a future. Its events are those of
    /// [`start_operation`](Self::start_operation) and the calls that belong to it.
    ///
    /// ```
    /// use codomyrmex_events::{EventBus, EventEmitter, EventError, EventType};
    /// use serde_json::json;
    ///
    /// let bus = EventBus::new();
    /// let emitter = EventEmitter::on_bus("deployer", &bus)?;
    /// let files = emitter.operation("deploy", json!({"to": "staging"})).run(|operation| {
    ///     emitter.emit(EventType::DeployStart, json!({}))?; // carries the operation's correlation id
    ///     operation.update(50, "copied")?;
    ///     Ok::<_, EventError>(12)
    /// })?;
    /// assert_eq!(files, 12);
    ///
    /// let events = bus.history().latest(4);
    /// assert!(events.iter().all(|event| event.correlation_id() == events[0].correlation_id()));
    /// # Ok::<(), EventError>(())
    /// ```
    pub fn operation(&self, name: impl Into<String>, data: impl Into<Value>) -> OperationScope<'_> {
        let operation = Operation { emitter: self, id: correlation::new_id() };
        OperationScope { operation, name: name.into(), data: data.into() }
    }
}

/// An operation that has not begun. Made by [`EventEmitter::operation`].
#[derive(Debug)]
#[must_use = "an operation begins with `run` or `run_async`"]
pub struct OperationScope<'a> {
    operation: Operation<'a>,
    name: String,
    data: Value,
}

/// A running operation, as the work in it sees it.
#[derive(Clone, Debug)]
pub struct Operation<'a> {
    emitter: &'a EventEmitter,
    id: CorrelationId,
}

impl<'a> OperationScope<'a> {
    /// The correlation id, if it goes on with something that has one. Default: a new one, even if the emitter has a
    /// default correlation id.
    pub fn correlation_id(mut self, id: impl Into<CorrelationId>) -> Self {
        self.operation.id = id.into();
        self
    }

    /// Runs the operation on this thread, and returns what `work` returns.
    ///
    /// Whatever `work` publishes on this thread carries the operation's correlation id, unless it has one itself. The end
    /// says whether `work` succeeded, else with which error, and its `duration` in seconds. A panic ends the operation
    /// as a failure (`"panicked: ..."`) and goes on.
    ///
    /// If the bus refuses the start or the end, a warning is logged, and `work` and its result are not touched.
    ///
    /// # Errors
    /// Those of `work`, and no other.
    pub fn run<T, E: Display>(self, work: impl FnOnce(&Operation<'a>) -> Result<T, E>) -> Result<T, E> {
        let OperationScope { operation, name, data } = self;
        let id = &operation.id;
        warn_if_refused("start", operation.emitter.send(|| operation.emitter.start_event(id, name, data)));
        let mut ending = Ending::of(operation.clone());
        let done = catch_unwind(AssertUnwindSafe(|| correlation::scope(id, || work(&operation))));
        ending.error = match &done {
            Ok(result) => result.as_ref().err().map(text_of),
            Err(panic) => Some(panic_text(panic.as_ref())),
        };
        ending.tell();
        done.unwrap_or_else(|panic| resume_unwind(panic))
    }

    /// [`run`](Self::run) for async code: `work` is called, and its future polled and dropped, in the scope of
    /// the operation's correlation id, whichever thread that is on; other tasks never see it.
    ///
    /// The operation begins when this future is first polled. If it is dropped between then and the end, the operation
    /// ends as a failure (`"cancelled"`). The end of an operation that is dropped or panics is told without waiting:
    /// if there is no room in the queue, a warning is logged instead.
    ///
    /// # Errors
    /// Those of `work`, and no other.
    pub async fn run_async<T, E, F>(self, work: impl FnOnce(Operation<'a>) -> F) -> Result<T, E>
    where
        E: Display,
        F: Future<Output = Result<T, E>>,
    {
        let OperationScope { operation, name, data } = self;
        let start = operation.emitter.send_async(|| operation.emitter.start_event(&operation.id, name, data));
        warn_if_refused("start", start.await);
        let mut ending = Ending::of(operation.clone());
        let done = {
            let id = operation.id.clone();
            let mut work = pin!(correlation::scope_async(&id, async move { work(operation).await }));
            poll_fn(|cx| match catch_unwind(AssertUnwindSafe(|| work.as_mut().poll(cx))) {
                Ok(polled) => polled.map(Ok),
                Err(panic) => Poll::Ready(Err(panic)),
            })
            .await
        };
        match done {
            Ok(result) => {
                ending.error = result.as_ref().err().map(text_of);
                ending.tell_async().await;
                result
            }
            Err(panic) => {
                ending.error = Some(panic_text(panic.as_ref()));
                drop(ending);
                resume_unwind(panic)
            }
        }
    }
}

impl Operation<'_> {
    /// The id that ties its events together.
    #[must_use]
    pub fn correlation_id(&self) -> &CorrelationId {
        &self.id
    }

    /// Tells how far it is: `progress` from 0 to 100, and what it is at. In async code, where the bus is queued and
    /// waits for room, use [`update_async`](Self::update_async).
    ///
    /// # Errors
    /// As [`EventEmitter::update_operation`].
    pub fn update(
        &self,
        progress: impl Into<f64>,
        status: impl Into<String>,
    ) -> Result<Option<Arc<Event>>, EventError> {
        self.emitter.update_operation(&self.id, progress, status, None)
    }

    /// [`update`](Self::update) that never blocks the thread.
    ///
    /// # Errors
    /// As [`update`](Self::update).
    pub async fn update_async(
        &self,
        progress: impl Into<f64>,
        status: impl Into<String>,
    ) -> Result<Option<Arc<Event>>, EventError> {
        let (progress, status) = (progress.into(), status.into());
        self.emitter.send_async(|| self.emitter.progress_event(&self.id, progress, status, None)).await
    }
}

/// The end of an operation, which is told once: if not before, then when this is dropped.
struct Ending<'a> {
    operation: Operation<'a>,
    clock: Clock,
    begun: Moment,
    /// Why it failed. Until the work is done, whatever ends the operation cancels it.
    error: Option<String>,
    is_told: bool,
}

impl<'a> Ending<'a> {
    fn of(operation: Operation<'a>) -> Self {
        let clock = Clock::real();
        let begun = clock.now();
        Ending { operation, clock, begun, error: Some("cancelled".to_owned()), is_told: false }
    }

    fn event(&self) -> Result<Event, EventPublishError> {
        let Operation { emitter, id } = &self.operation;
        emitter.scope_end_event(id, self.error.as_deref(), self.clock.now().since(self.begun))
    }

    fn tell(mut self) {
        self.is_told = true;
        warn_if_refused("end", self.operation.emitter.send(|| self.event()));
    }

    /// Dropped while it waits for room, it is told as any that is dropped.
    async fn tell_async(mut self) {
        warn_if_refused("end", self.operation.emitter.send_async(|| self.event()).await);
        self.is_told = true;
    }
}

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        if self.is_told {
            return;
        }
        // Polled once: a queued bus takes it now or not at all, for nothing may wait here.
        let telling = pin!(self.operation.emitter.send_async(|| self.event()));
        match telling.poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(told) => warn_if_refused("end", told),
            Poll::Pending => warn("end", &"the queue is full"),
        }
    }
}

fn warn_if_refused(phase: &str, told: Result<Option<Arc<Event>>, EventError>) {
    if let Err(error) = told {
        warn(phase, &error);
    }
}

fn warn(phase: &str, error: &dyn Display) {
    log(|| tracing::warn!(phase, %error, "an operation goes on though the bus did not take its event"));
}

/// What an error says. It is the caller's, so saying it may panic; its result must not be lost by that.
fn text_of(error: &impl Display) -> String {
    let mut text = String::new();
    if panics(|| text = error.to_string()) {
        text = "an error whose text panicked".to_owned();
    }
    text
}

fn panic_text(panic: &(dyn Any + Send)) -> String {
    format!("panicked: {}", message_of(panic))
}
