//! What a gate waits for and what it says: the part that does not change.

use super::error::GateError;
use super::state::{GateState, Rule, State, Witness};
use crate::bus::{EventBus, Host, ScopedSubscription};
use crate::coordinate::waiting::{Condition, kept_before, says_yes};
use crate::dispatch::handler::Delivery;
use crate::event::{Event, EventType};
use crate::ids::{CorrelationId, Source};
use crate::matcher::Pattern;
use crate::quiet::log;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

/// Who publishes a gate's events.
const SOURCE: Source = Source::from_static("gate");

pub(super) struct Precondition {
    pub(super) name: String,
    pub(super) patterns: Vec<Pattern>,
    /// Whether an event of such a type counts.
    pub(super) condition: Condition,
}

pub(super) struct Plan {
    pub(super) name: Arc<str>,
    pub(super) rule: Rule,
    pub(super) preconditions: Vec<Precondition>,
    pub(super) limit: Option<Duration>,
    pub(super) includes_history: bool,
    pub(super) opened: EventType,
    pub(super) timed_out: EventType,
    pub(super) host: Host,
}

/// A gate's inside: of all its events, or of those of each key.
pub(super) trait Seer: Send + Sync + 'static {
    /// Whether a precondition is to be heard no more than once.
    const ONCE: bool;

    fn plan(&self) -> &Plan;

    /// Whether nothing that it sees makes a difference any more.
    fn is_over(&self) -> bool;

    /// Precondition `index` was met.
    fn see(&self, index: usize, event: &Event, sequence: u64);
}

/// Subscribes, and looks at the history if asked.
pub(super) fn begin<S: Seer>(bus: &EventBus, seer: &Arc<S>) -> Result<Vec<ScopedSubscription>, GateError> {
    let plan = seer.plan();
    let subscribe = |index: usize| {
        let precondition = &plan.preconditions[index];
        // The lowest priority: an event's other hearers have had it when the gate says that it opens.
        let subscription = bus.subscribe(&precondition.patterns).priority(i32::MIN);
        let subscription = if S::ONCE { subscription.once() } else { subscription };
        let (asking, seeing) = (Arc::clone(seer), Arc::clone(seer));
        let condition = Arc::clone(&precondition.condition);
        // Of a gate that is over, the next event takes the only turn, and the subscription costs nothing any more.
        let subscription = subscription.filter(move |event| asking.is_over() || condition(event));
        let see = move |delivery: &Delivery<'_>| seeing.see(index, delivery, delivery.sequence());
        Ok(subscription.handler(see)?.scoped())
    };
    let subscriptions: Vec<ScopedSubscription> =
        (0..plan.preconditions.len()).map(subscribe).collect::<Result<_, GateError>>()?;
    if plan.includes_history {
        for recorded in kept_before(bus, &plan.host) {
            plan.preconditions
                .iter()
                .enumerate()
                .filter(|(_, precondition)| precondition.is_met_by(&recorded, &plan.host))
                // As code of the bus, like what is heard: what the gate publishes waits for nobody.
                .for_each(|(index, _)| plan.host.within(|| seer.see(index, &recorded, recorded.sequence())));
        }
    }
    Ok(subscriptions)
}

impl Precondition {
    /// The same as the subscription, for what was published before it.
    fn is_met_by(&self, event: &Event, host: &Host) -> bool {
        let name = event.event_type().as_str();
        self.patterns.iter().any(|pattern| pattern.matches(name)) && says_yes(host, &self.condition, event)
    }
}

/// What of a precondition's events counts at a gate of this name. What such a gate says itself never does.
pub(super) fn condition(gate: &Arc<str>, filter: Option<Condition>) -> Condition {
    let gate = Arc::clone(gate);
    let is_own = move |event: &Event| {
        *event.source() == SOURCE && event.data().get("gate").and_then(Value::as_str) == Some(&gate)
    };
    Arc::new(move |event| !is_own(event) && filter.as_ref().is_none_or(|filter| filter(event)))
}

impl Plan {
    pub(super) fn names(&self, indices: &[usize]) -> Vec<String> {
        indices.iter().map(|index| self.preconditions[*index].name.clone()).collect()
    }

    /// Tells that a state is over: it has opened, or its time is up.
    pub(super) fn tell(&self, state: &State, key: Option<&CorrelationId>) {
        let is_open = state.get() == GateState::Open;
        let event_type = if is_open { &self.opened } else { &self.timed_out };
        let account = state.account();
        let seen: Vec<Value> = account.seen.iter().map(|seen| self.told(*seen)).collect();
        let mut data = json!({"gate": *self.name, "seen": seen, "missing": self.names(&account.missing)});
        if let Some(key) = key {
            data["key"] = key.as_str().into();
        }
        let mut event = Event::builder(event_type, &SOURCE).data(data);
        let cause = account.cause();
        if let Some(cause) = cause {
            event = event.causation_id(&cause.event_id);
        }
        if let Some(key) = key.or_else(|| cause?.correlation_id.as_ref()) {
            event = event.correlation_id(key);
        }
        match (event.build(), self.host.bus()) {
            (Ok(event), Some(bus)) => bus.publish_by_itself(event),
            // The texts were checked, and the bus runs this: it does not happen.
            _ => log(|| tracing::warn!(gate = &*self.name, "what a gate had to say could not be said")),
        }
    }

    fn told(&self, (index, witness): (usize, &Witness)) -> Value {
        let Witness { event_type, event_id, sequence, .. } = witness;
        json!({
            "name": self.preconditions[index].name,
            "event_type": event_type.as_str(),
            "event_id": event_id.to_string(),
            "sequence": sequence,
        })
    }
}

impl super::state::Account<'_> {
    /// The event that opened it.
    fn cause(&self) -> Option<&Witness> {
        let opened_by = self.opened_by?;
        self.seen.iter().find(|(index, _)| *index == opened_by).map(|(_, witness)| *witness)
    }
}
