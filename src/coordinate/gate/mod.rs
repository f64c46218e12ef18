//! [`Gate`]: opens once when its preconditions were seen.
//!
//! Each precondition is a subscription, so globs, filters and turns are the bus's own; those of a gate without keys are `once`,
//! and cost nothing when they had their turn. What was seen is one number for each gate or key (`state`), so a publish meets no lock,
//! and of those who race to open it one does. `plan` is what a gate waits for and says, `keyed` a gate with a
//! state for each correlation id.
//!
//! It never hears what a gate of its own name says, so it cannot feed itself. It keeps no bus alive.

mod builder;
mod error;
mod keyed;
mod plan;
mod state;
mod table;

pub use builder::{ByCorrelation, GateBuilder};
pub use error::GateError;
pub use keyed::{GATE_KEYS_MAX, KeyedGate};
pub use state::{GateState, PRECONDITIONS_MAX};

use super::waiting::{Awaited, Condition};
use crate::bus::{EventBus, ScopedSubscription};
use crate::dispatch::alarm::Bell;
use crate::event::{Event, EventType};
use crate::ids::EventId;
use plan::{Plan, Seer};
use state::{Rule, Seen, State, Witness};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// Opens once, when all or any of its preconditions were seen, and says so by an event.
///
/// The event, of type `gate.opened` and source `gate`, has the payload
/// `{"gate": name, "seen": [{"name", "event_type", "event_id", "sequence"}], "missing": [name]}`, as its causation id the event that
/// opened the gate, and that event's correlation id. When the gate's time is up first, it is `gate.timed_out`; nothing is `missing` of
/// an open gate. Where there is no room for the event at the moment it is published when there is; refused for good, it is a
/// dead letter. A bus that validates every event wants a schema for these types, as for any.
///
/// Preconditions are heard with the lowest priority, so the other synchronous hearers of an event have had it when it opens the
/// gate. Dropping the gate ends it.
///
/// ```
/// use codomyrmex_events::{Event, EventBus, EventType, Gate};
/// use serde_json::json;
/// use std::time::Duration;
///
/// let bus = EventBus::new();
/// let gate = Gate::all_of()
///     .named("deploy")
///     .require("build", EventType::BuildComplete)
///     .require_if("security", "security.scan_complete", |event| event.data().get("findings") == Some(&json!(0)))
///     .require("approval", "deploy.approved")
///     .on(&bus)?;
/// bus.publish(Event::builder(EventType::BuildComplete, "ci").build()?)?;
/// bus.publish(Event::builder("security.scan_complete", "scanner").data(json!({"findings": 0})).build()?)?;
/// assert_eq!(gate.missing(), ["approval"]);
/// bus.publish(Event::builder("deploy.approved", "ops").build()?)?;
/// assert_eq!(gate.wait(Duration::from_secs(5))?.opened_by().sequence(), 3);
/// assert_eq!(bus.history().latest(1)[0].event_type().as_str(), "gate.opened");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Gate {
    single: Arc<Single>,
    subscriptions: Vec<ScopedSubscription>,
}

/// How a gate was opened.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct GateOpened {
    seen: Vec<Met>,
    opened_by: usize,
}

/// A precondition, and the event that met it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Met {
    name: String,
    witness: Witness,
}

/// A gate without keys.
struct Single {
    plan: Plan,
    state: State,
    /// Rung when it is over.
    over: Bell,
}

impl Gate {
    /// A gate that opens when all of its preconditions were seen, in any order.
    pub fn all_of() -> GateBuilder {
        GateBuilder::new(Rule::All)
    }

    /// A gate that opens when one of its preconditions was seen.
    pub fn any_of() -> GateBuilder {
        GateBuilder::new(Rule::Any)
    }

    fn begin(bus: &EventBus, plan: Plan) -> Result<Self, GateError> {
        let state = State::new(plan.preconditions.len());
        let single = Arc::new(Single { plan, state, over: Bell::default() });
        let subscriptions = plan::begin(bus, &single)?;
        let gate = Gate { single, subscriptions };
        if let Some(limit) = gate.single.plan.limit {
            let timed = Arc::downgrade(&gate.single);
            let reminder = gate.single.plan.host.remind_after(limit, move || {
                if let Some(single) = timed.upgrade() {
                    single.time_out();
                }
            });
            let refusal =
                || if gate.single.plan.host.is_open() { GateError::NoTimer } else { GateError::Closed };
            gate.single.state.keep_reminder(reminder.ok_or_else(refusal)?);
        }
        Ok(gate)
    }

    /// The name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.single.plan.name
    }

    /// How it stands.
    #[must_use]
    pub fn state(&self) -> GateState {
        self.single.state.get()
    }

    /// Whether it has opened. It stays open.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.state() == GateState::Open
    }

    /// The names of the preconditions that were not seen, in the order given; none of an open gate.
    #[must_use]
    pub fn missing(&self) -> Vec<String> {
        self.single.missing()
    }

    /// How it was opened, if it is open.
    #[must_use]
    pub fn opened(&self) -> Option<GateOpened> {
        self.single.opened()
    }

    /// Waits with the calling thread until it is open, up to `limit`.
    ///
    /// # Errors
    /// [`GateError::NotYet`] when `limit` is over; [`GateError::TimedOut`] when the gate's own time is; [`GateError::Closed`] when the
    /// gate or its bus has ended; and if it is not open, [`GateError::WouldDeadlock`] at once inside a handler, filter or destructor
    /// that the same bus is running, and of a manual bus, which nobody would drive meanwhile.
    pub fn wait(&self, limit: Duration) -> Result<GateOpened, GateError> {
        let outcome = self.awaited().within(limit);
        outcome.unwrap_or_else(|error| Err(GateError::of_wait(error, || self.missing())))
    }

    /// Waits without blocking the thread until it is open, up to `limit` on the bus's clock. It needs no particular runtime, and
    /// can be dropped at any time.
    ///
    /// # Errors
    /// As [`wait`](Self::wait), but never `WouldDeadlock`; [`GateError::NoTimer`].
    pub async fn wait_async(&self, limit: Duration) -> Result<GateOpened, GateError> {
        let outcome = self.awaited().within_async(limit).await;
        outcome.unwrap_or_else(|error| Err(GateError::of_wait(error, || self.missing())))
    }

    fn awaited(&self) -> Awaited<'_, impl Fn() -> Option<Result<GateOpened, GateError>>> {
        let single = &*self.single;
        Awaited { host: &single.plan.host, bell: &single.over, answer: || single.outcome() }
    }

    /// Ends the gate, as dropping it does: if it is not open, it never will be, and whoever waits is told. What it is about to
    /// say on another thread at this moment may still come.
    pub fn close(&self) {
        self.single.close();
        for subscription in &self.subscriptions {
            subscription.unsubscribe();
        }
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        // The subscriptions end by themselves.
        self.single.close();
    }
}

impl Seer for Single {
    const ONCE: bool = true;

    fn plan(&self) -> &Plan {
        &self.plan
    }

    fn is_over(&self) -> bool {
        self.state.get() != GateState::Waiting
    }

    fn see(&self, index: usize, event: &Event, sequence: u64) {
        if self.state.see(self.plan.rule, index, || Witness::of(event, sequence)) == Seen::Opened {
            self.over.ring();
            self.plan.tell(&self.state, None);
        }
    }
}

impl Single {
    fn time_out(&self) {
        if self.state.time_out() {
            self.over.ring();
            self.plan.tell(&self.state, None);
        }
    }

    fn close(&self) {
        if self.state.close() {
            self.over.ring();
        }
    }

    fn missing(&self) -> Vec<String> {
        self.plan.names(&self.state.account().missing)
    }

    /// What whoever waits is told, once it is over.
    fn outcome(&self) -> Option<Result<GateOpened, GateError>> {
        match self.state.get() {
            GateState::Waiting => None,
            GateState::Open => self.opened().map(Ok),
            GateState::TimedOut => Some(Err(GateError::TimedOut { missing: self.missing() })),
            GateState::Closed => Some(Err(GateError::Closed)),
        }
    }

    fn opened(&self) -> Option<GateOpened> {
        let account = self.state.account();
        let opened_by = account.opened_by?;
        let opened_by = account.seen.iter().position(|(index, _)| *index == opened_by)?;
        let met = |&(index, witness): &(usize, &Witness)| Met {
            name: self.plan.preconditions[index].name.clone(),
            witness: witness.clone(),
        };
        Some(GateOpened { seen: account.seen.iter().map(met).collect(), opened_by })
    }
}

impl GateOpened {
    /// The preconditions that were seen, in the order given: all of them, or one.
    #[must_use]
    pub fn seen(&self) -> &[Met] {
        &self.seen
    }

    /// The one that opened the gate.
    #[must_use]
    pub fn opened_by(&self) -> &Met {
        &self.seen[self.opened_by]
    }
}

impl Met {
    /// The name of the precondition.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The type of the event.
    #[must_use]
    pub fn event_type(&self) -> &EventType {
        &self.witness.event_type
    }

    /// The id of the event.
    #[must_use]
    pub fn event_id(&self) -> &EventId {
        &self.witness.event_id
    }

    /// The number of its publication.
    #[must_use]
    pub fn sequence(&self) -> u64 {
        self.witness.sequence
    }
}

impl fmt::Debug for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gate")
            .field("name", &self.name())
            .field("state", &self.state())
            .field("missing", &self.missing())
            .finish_non_exhaustive()
    }
}
