//! What surrounds publishing: interceptors that see an event before the bus does, and are told what became of it.
//!
//! Like an onion: who was installed first is asked first and told last. Whoever let the event pass is told exactly once how
//! it ended, also if a later one refused it or its publisher went away. They run before the event is validated and matched,
//! once for each publish, however often it looks for room; on the publisher's thread, under no pin and no lock, in a frame
//! like a handler's.

use super::chain::Chain;
use super::engine::Engine;
use super::handler::{BoxError, HandlerPanic};
use crate::clock::{Clock, Moment};
use crate::context::{self, Frame};
use crate::event::{Event, EventPublishError, InterceptionError, PublishErrorKind};
use crate::quiet::{drop_quietly, log, panics};
use serde_json::Value;
use std::fmt;
use std::ops::Deref;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

/// Surrounds every publish of a bus: may change an event or refuse it, and learns what became of it. Installed by
/// [`EventBus::intercept_publish`](crate::EventBus::intercept_publish). A closure that takes an [`OfferedEvent`] is one that
/// only looks before.
///
/// It may do whatever a handler may: publish (nested, to the same depth), unsubscribe, remove itself.
pub trait PublishInterceptor: Send + Sync + 'static {
    /// Before the event is validated and matched. What it leaves in `offered` is what the next one sees, and in the end the
    /// bus. Not asked about an event that a closed bus or too deep a nesting refuses.
    ///
    /// # Errors
    /// Why the event is refused: it goes back to its publisher in
    /// [`PublishErrorKind::Intercepted`](crate::PublishErrorKind::Intercepted). A panic refuses it as well.
    fn before_publish(&self, offered: &mut OfferedEvent<'_>) -> Result<(), BoxError> {
        let _ = offered;
        Ok(())
    }

    /// What became of an event that this one let pass. Inline, its handlers have had their turns by then. A panic is logged.
    fn after_publish(&self, outcome: &PublishOutcome<'_>) {
        let _ = outcome;
    }
}

impl<F> PublishInterceptor for F
where
    F: Fn(&mut OfferedEvent<'_>) -> Result<(), BoxError> + Send + Sync + 'static,
{
    fn before_publish(&self, offered: &mut OfferedEvent<'_>) -> Result<(), BoxError> {
        self(offered)
    }
}

/// An event on its way into the bus. Dereferences to the [`Event`].
pub struct OfferedEvent<'a> {
    event: Arc<Event>,
    pub(crate) engine: &'a Engine,
    is_redriven: bool,
}

impl OfferedEvent<'_> {
    /// The event as it is now.
    #[must_use]
    pub fn event(&self) -> &Arc<Event> {
        &self.event
    }

    /// Puts another event in its place; one made with [`Event::to_builder`] keeps what is not said anew. The publisher's own
    /// stays as it is.
    pub fn replace(&mut self, event: impl Into<Arc<Event>>) {
        self.event = event.into();
    }

    /// Adds metadata where the event has no such entry. An event that others hold is copied, not changed.
    ///
    /// # Errors
    /// Metadata that nests too deep.
    pub fn add_metadata(
        &mut self,
        key: impl Into<String>,
        value: impl Into<Value>,
    ) -> Result<(), EventPublishError> {
        let entry = [(key.into(), value.into())];
        let metadata = crate::event::Metadata::from_map(entry.into_iter().collect())?;
        Event::fill_metadata(&mut self.event, &metadata);
        Ok(())
    }

    /// Whether it was published before: it comes out of the dead letters.
    #[must_use]
    pub fn is_redriven(&self) -> bool {
        self.is_redriven
    }

    /// How long the bus has existed, by its own clock; of a manual bus, what its driver says.
    #[must_use]
    pub fn uptime(&self) -> Duration {
        self.engine.uptime()
    }
}

impl Deref for OfferedEvent<'_> {
    type Target = Event;

    fn deref(&self) -> &Event {
        &self.event
    }
}

impl fmt::Debug for OfferedEvent<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OfferedEvent")
            .field("event", &self.event)
            .field("is_redriven", &self.is_redriven)
            .finish()
    }
}

/// What became of a publish.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct PublishOutcome<'a> {
    event: &'a Arc<Event>,
    ending: PublishEnding<'a>,
    is_redriven: bool,
    took: Duration,
    uptime: Duration,
}

/// How a publish ended.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum PublishEnding<'a> {
    /// The event was accepted.
    Accepted {
        /// The publication's number.
        sequence: u64,
    },
    /// The event was refused: by a later interceptor, by its schema, or by the bus.
    Refused(&'a EventPublishError),
    /// Its publisher did not wait until it was accepted, so it left no trace.
    Withdrawn,
}

impl<'a> PublishOutcome<'a> {
    /// The event, as the interceptors left it.
    #[must_use]
    pub fn event(&self) -> &'a Arc<Event> {
        self.event
    }

    /// How it ended.
    #[must_use]
    pub fn ending(&self) -> PublishEnding<'a> {
        self.ending
    }

    /// The publication's number, if the event was accepted.
    #[must_use]
    pub fn sequence(&self) -> Option<u64> {
        match self.ending {
            PublishEnding::Accepted { sequence } => Some(sequence),
            _ => None,
        }
    }

    /// Whether it was published before: it comes out of the dead letters.
    #[must_use]
    pub fn is_redriven(&self) -> bool {
        self.is_redriven
    }

    /// From before the first interceptor until now, by the bus's clock: waits for room included, and, inline, the handlers'
    /// turns.
    #[must_use]
    pub fn took(&self) -> Duration {
        self.took
    }

    /// How long the bus has existed, by its own clock.
    #[must_use]
    pub fn uptime(&self) -> Duration {
        self.uptime
    }
}

/// A publish that its interceptors let pass, until they are told how it ended. Dropped before that, it was withdrawn.
pub(crate) struct Interception {
    /// Of the bus.
    key: u64,
    clock: Clock,
    begun: Moment,
    is_redriven: bool,
    chain: Option<Arc<Chain<dyn PublishInterceptor>>>,
    /// How many let the event pass.
    passed: usize,
    event: Option<Arc<Event>>,
}

impl fmt::Debug for Interception {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Interception").field("passed", &self.passed).finish_non_exhaustive()
    }
}

impl Interception {
    pub(crate) fn end(mut self, outcome: Result<u64, &EventPublishError>) {
        self.tell(match outcome {
            Ok(sequence) => PublishEnding::Accepted { sequence },
            Err(error) => PublishEnding::Refused(error),
        });
    }

    fn tell(&mut self, ending: PublishEnding<'_>) {
        let passed = std::mem::take(&mut self.passed);
        let (Some(chain), Some(event)) = (self.chain.as_ref().filter(|_| passed != 0), &self.event) else {
            return;
        };
        let now = self.clock.now();
        let uptime = now.since(Moment::FIRST);
        let (is_redriven, took) = (self.is_redriven, now.since(self.begun));
        let outcome = PublishOutcome { event, ending, is_redriven, took, uptime };
        let depth = context::with_current(|frame| frame.map_or(0, |frame| frame.depth));
        let frame = Frame::new(Some(self.key), depth + 1, event.correlation_id(), Some(event.event_id()));
        frame.enter(|| {
            for interceptor in chain.back_from(passed) {
                if panics(|| interceptor.after_publish(&outcome)) {
                    log(|| tracing::error!("an interceptor panicked after a publish"));
                }
            }
        });
    }
}

impl Drop for Interception {
    fn drop(&mut self) {
        self.tell(PublishEnding::Withdrawn);
        let (chain, event) = (self.chain.take(), self.event.take());
        context::within_bus(self.key, || {
            drop(chain);
            drop_quietly(event);
        });
    }
}

impl Engine {
    /// Whether there are interceptors around publishing.
    #[inline]
    pub(crate) fn is_intercepted(&self) -> bool {
        // Ordering: Acquire pairs with `set_table`: the list that the version tells of is in its place.
        self.version.load(crate::sync::Ordering::Acquire) & super::table::INTERCEPTED != 0
    }

    /// How long the bus has existed.
    pub(crate) fn uptime(&self) -> Duration {
        self.later.clock.now().since(Moment::FIRST)
    }

    /// Asks the interceptors. What they let pass is the event to go on with; they are told how that ends.
    #[cold]
    pub(crate) fn intercept(
        &self,
        event: Arc<Event>,
        is_redriven: bool,
    ) -> Result<(Arc<Event>, Interception), EventPublishError> {
        if !self.table().is_open {
            let (event, _) = self.stamped(event)?;
            return Err(self.refuse(PublishErrorKind::Closed, event));
        }
        self.ask_interceptors(event, is_redriven)
    }

    /// The same on a bus that was open a moment ago.
    pub(super) fn ask_interceptors(
        &self,
        event: Arc<Event>,
        is_redriven: bool,
    ) -> Result<(Arc<Event>, Interception), EventPublishError> {
        let (event, depth) = self.stamped(event)?;
        let clock = self.later.clock.clone();
        let (begun, chain) = (clock.now(), self.interceptors.publishing());
        let mut interception =
            Interception { key: self.key, clock, begun, is_redriven, chain, passed: 0, event: None };
        let Some(chain) = &interception.chain else { return Ok((event, interception)) };
        // Copies: the event may be replaced meanwhile.
        let (correlation_id, event_id) = (event.correlation_id().cloned(), event.event_id().clone());
        let mut offered = OfferedEvent { event, engine: self, is_redriven };
        let frame = Frame::new(Some(self.key), depth + 1, correlation_id.as_ref(), Some(&event_id));
        let refusal = frame.enter(|| {
            for interceptor in chain.iter() {
                if let Some(refusal) = refusal_by(interceptor, &mut offered) {
                    return Some(refusal);
                }
                interception.passed += 1;
            }
            None
        });
        // One that was put in place of another is stamped as well.
        let (event, _) = self.stamped(offered.event)?;
        interception.event = Some(Arc::clone(&event));
        let Some(refusal) = refusal else { return Ok((event, interception)) };
        let error = self.refuse(PublishErrorKind::Intercepted(refusal), event);
        interception.end(Err(&error));
        Err(error)
    }
}

fn refusal_by(
    interceptor: &dyn PublishInterceptor,
    offered: &mut OfferedEvent<'_>,
) -> Option<InterceptionError> {
    let reason = match catch_unwind(AssertUnwindSafe(|| interceptor.before_publish(offered))) {
        Ok(Ok(())) => return None,
        Ok(Err(reason)) => reason,
        Err(panic) => Box::new(HandlerPanic::of(panic)),
    };
    Some(InterceptionError::new(reason))
}
