//! What surrounds handling: interceptors that see each attempt of a delivery before its handler does, and are told how it
//! went.
//!
//! Like an onion: who was installed first is asked first and told last. Whoever let the attempt pass is told exactly once how
//! it ended. They run where the handler runs, in its frame: of a synchronous one under the pin of its turn, of an asynchronous
//! one under a pin before and under none after. An event's turns, and an asynchronous attempt, end with the interceptors that
//! they began with.

use super::chain::Chain;
use super::engine::Engine;
use super::handler::{BoxError, Failure};
use super::subscriber::Subscriber;
use crate::clock::Moment;
use crate::event::Event;
use crate::quiet::{log, panics};
use std::error::Error;
use std::fmt;
use std::ops::Deref;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

/// Surrounds every attempt of every handler of a bus: may skip it or make it fail, and learns how it went. Installed by
/// [`EventBus::intercept_handling`](crate::EventBus::intercept_handling).
///
/// It may do whatever a handler may.
pub trait HandlingInterceptor: Send + Sync + 'static {
    /// Before the handler is called, after its filter said yes.
    ///
    /// # Errors
    /// Why the attempt fails without its handler being called: as if the handler had returned the error, so by the
    /// subscription's policy it is tried again or becomes a dead letter. A panic is a failure as well.
    fn before_handling(&self, attempt: &Attempt<'_>) -> Result<Handling, BoxError> {
        let _ = attempt;
        Ok(Handling::Proceed)
    }

    /// How an attempt went that this one let pass; `took` is the handler's own time, by the bus's clock. A panic is logged.
    fn after_handling(&self, attempt: &Attempt<'_>, outcome: &AttemptOutcome<'_>, took: Duration) {
        let _ = (attempt, outcome, took);
    }
}

/// What is to be done with an attempt.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Handling {
    /// The next interceptor is asked, then the handler called.
    #[default]
    Proceed,
    /// Nothing: the delivery is over without its handler, and counts as succeeded.
    Skip,
}

/// How an attempt went.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum AttemptOutcome<'a> {
    /// The handler succeeded.
    Succeeded,
    /// A later interceptor had it skipped.
    Skipped,
    /// The handler returned this error, or a later interceptor did; or it panicked
    /// ([`HandlerPanic`](crate::HandlerPanic)), or took longer than its limit
    /// ([`EventTimeoutError`](crate::EventTimeoutError)).
    Failed(&'a (dyn Error + 'static)),
    /// Unsubscribed, shut down, or without a runtime while the asynchronous handler ran.
    Cancelled,
}

/// One attempt to deliver an event to one subscription. Dereferences to the [`Event`].
#[derive(Clone, Copy)]
pub struct Attempt<'a> {
    pub(super) event: &'a Arc<Event>,
    pub(super) sequence: u64,
    pub(super) attempt: u32,
    pub(super) is_async: bool,
    pub(super) subscriber: &'a Arc<Subscriber>,
    pub(crate) engine: &'a Engine,
}

impl Attempt<'_> {
    /// The event, to be kept or passed on by cloning the `Arc`.
    #[must_use]
    pub fn event(&self) -> &Arc<Event> {
        self.event
    }

    /// The publication's number.
    #[must_use]
    pub fn sequence(&self) -> u64 {
        self.sequence
    }

    /// 1 for the first attempt of a delivery, 2 for the first retry. A redriven letter is a new delivery.
    #[must_use]
    pub fn attempt(&self) -> u32 {
        self.attempt
    }

    /// How many attempts the subscription allows.
    #[must_use]
    pub fn attempts_max(&self) -> u32 {
        self.subscriber.attempts_max
    }

    /// Whether the handler is asynchronous.
    #[must_use]
    pub fn is_async(&self) -> bool {
        self.is_async
    }

    /// The id of the subscription.
    #[must_use]
    pub fn subscriber_id(&self) -> &str {
        self.subscriber.id()
    }

    /// How long the bus has existed, by its own clock; of a manual bus, what its driver says.
    #[must_use]
    pub fn uptime(&self) -> Duration {
        self.engine.uptime()
    }
}

impl Deref for Attempt<'_> {
    type Target = Event;

    fn deref(&self) -> &Event {
        self.event
    }
}

impl fmt::Debug for Attempt<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Attempt")
            .field("event", self.event)
            .field("sequence", &self.sequence)
            .field("attempt", &self.attempt)
            .field("subscriber_id", &self.subscriber_id())
            .finish_non_exhaustive()
    }
}

/// The interceptors around handling, for as long as somebody needs them.
pub(crate) struct HeldChain<'a> {
    engine: &'a Engine,
    chain: Option<Arc<Chain<dyn HandlingInterceptor>>>,
}

impl HeldChain<'_> {
    pub(super) fn around<'a>(&'a self, attempt: Attempt<'a>) -> Around<'a> {
        Around { chain: self.chain.as_deref(), attempt, passed: 0, begun: Moment::FIRST }
    }
}

/// This may be under a pin, and the last to hold interceptors that were removed.
impl Drop for HeldChain<'_> {
    fn drop(&mut self) {
        if let Some(chain) = self.chain.take().and_then(Arc::into_inner) {
            self.engine.drop_chain_later(chain);
        }
    }
}

impl Engine {
    /// The interceptors around handling, if there are any.
    #[cold]
    pub(super) fn hold_chain(&self) -> Option<HeldChain<'_>> {
        let chain = self.interceptors.handling()?;
        Some(HeldChain { engine: self, chain: Some(chain) })
    }
}

/// One attempt and its interceptors. Dropped before its end, the attempt was cancelled.
pub(super) struct Around<'a> {
    chain: Option<&'a Chain<dyn HandlingInterceptor>>,
    attempt: Attempt<'a>,
    /// How many let it pass.
    passed: usize,
    begun: Moment,
}

impl Around<'_> {
    /// Asks them, in the handler's frame. Unless all let it pass, the attempt is over, and those who did have been told.
    pub(super) fn begin(&mut self) -> Result<Handling, Failure> {
        let mut verdict = Ok(Handling::Proceed);
        for interceptor in self.chain.iter().flat_map(|chain| chain.iter()) {
            let asked = AssertUnwindSafe(|| interceptor.before_handling(&self.attempt));
            verdict = match catch_unwind(asked) {
                Ok(answer) => answer.map_err(Failure::Returned),
                Err(panic) => Err(Failure::Panicked(panic)),
            };
            if !matches!(verdict, Ok(Handling::Proceed)) {
                break;
            }
            self.passed += 1;
        }
        self.begun = self.attempt.engine.later.clock.now();
        match &verdict {
            Ok(Handling::Proceed) => {}
            Ok(Handling::Skip) => self.tell(&AttemptOutcome::Skipped),
            Err(failure) => failure.as_error(|error| self.tell(&AttemptOutcome::Failed(error))),
        }
        verdict
    }

    /// The handler's attempt is over. Called in its frame.
    pub(super) fn end(mut self, result: &Result<(), Failure>) {
        match result {
            Ok(()) => self.tell(&AttemptOutcome::Succeeded),
            Err(failure) => failure.as_error(|error| self.tell(&AttemptOutcome::Failed(error))),
        }
    }

    fn tell(&mut self, outcome: &AttemptOutcome<'_>) {
        let passed = std::mem::take(&mut self.passed);
        let took = self.attempt.engine.later.clock.now().since(self.begun);
        for interceptor in self.chain.iter().flat_map(|chain| chain.back_from(passed)) {
            if panics(|| interceptor.after_handling(&self.attempt, outcome, took)) {
                log(|| tracing::error!("an interceptor panicked after an attempt"));
            }
        }
    }
}

impl Drop for Around<'_> {
    fn drop(&mut self) {
        if self.passed != 0 {
            let Attempt { engine, event, .. } = self.attempt;
            engine.frame(event, 0).enter(|| self.tell(&AttemptOutcome::Cancelled));
        }
    }
}
