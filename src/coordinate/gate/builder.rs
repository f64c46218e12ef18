//! A gate in the making.

use super::error::GateError;
use super::keyed::{GATE_KEYS_DEFAULT, GATE_KEYS_MAX, KeyedGate};
use super::plan::{Plan, Precondition, condition};
use super::state::{PRECONDITIONS_MAX, Rule};
use super::{Condition, Gate};
use crate::bus::{EventBus, IntoPatterns};
use crate::error::SubscriptionErrorKind;
use crate::event::{Event, EventType};
use crate::ids::{InvalidText, check_text};
use crate::matcher::{Pattern, PatternError};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// A gate in the making; [`on`](Self::on) makes it. Made by [`Gate::all_of`] and [`Gate::any_of`]. Whatever is wrong is said at
/// the end, so a chain of calls needs one `?`.
#[must_use = "a gate begins with `on`"]
pub struct GateBuilder<K = ()> {
    name: String,
    rule: Rule,
    required: Vec<Required>,
    limit: Option<Duration>,
    includes_history: bool,
    opened: Result<EventType, InvalidText>,
    timed_out: Result<EventType, InvalidText>,
    keys: K,
}

/// A gate in the making that has a state of its own for each correlation id.
#[derive(Clone, Copy, Debug)]
pub struct ByCorrelation {
    keys_max: usize,
}

struct Required {
    name: String,
    patterns: Result<Vec<Pattern>, PatternError>,
    filter: Option<Condition>,
}

impl<K> GateBuilder<K> {
    /// A precondition with a name: an event whose type matches one of `patterns`.
    pub fn require(self, name: impl Into<String>, patterns: impl IntoPatterns) -> Self {
        self.with(name.into(), patterns.into_patterns(), None)
    }

    /// A precondition with a name: an event whose type matches one of `patterns` and which `filter` says yes to. The filter is
    /// asked as a subscription's is; one that panics says no.
    pub fn require_if(
        self,
        name: impl Into<String>,
        patterns: impl IntoPatterns,
        filter: impl Fn(&Event) -> bool + Send + Sync + 'static,
    ) -> Self {
        self.with(name.into(), patterns.into_patterns(), Some(Arc::new(filter)))
    }

    fn with(
        mut self,
        name: String,
        patterns: Result<Vec<Pattern>, PatternError>,
        filter: Option<Condition>,
    ) -> Self {
        self.required.push(Required { name, patterns, filter });
        self
    }

    /// What its events call the gate. It never hears those of a gate of its own name. Default: `gate`.
    pub fn named(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// How long it waits, on the bus's clock: from now on, or for each key from the first precondition that it sees. Then its time is
    /// up and it says what is missing. Default: for ever.
    pub fn within(mut self, limit: Duration) -> Self {
        self.limit = Some(limit);
        self
    }

    /// Counts what was published before and the history still keeps, oldest first. Nothing is missed between that and what it
    /// hears from then on.
    pub fn including_history(mut self) -> Self {
        self.includes_history = true;
        self
    }

    /// The type of the event by which it says that it opened. Default: `gate.opened`.
    pub fn emitting(mut self, event_type: impl TryInto<EventType, Error: Into<InvalidText>>) -> Self {
        self.opened = event_type.try_into().map_err(Into::into);
        self
    }

    /// The type of the event by which it says that its time is up. Default: `gate.timed_out`.
    pub fn emitting_on_time_out(
        mut self,
        event_type: impl TryInto<EventType, Error: Into<InvalidText>>,
    ) -> Self {
        self.timed_out = event_type.try_into().map_err(Into::into);
        self
    }

    /// The parts, if they are fit for a gate.
    fn plan(self, bus: &EventBus) -> Result<(Plan, K), GateError> {
        check_text("gate", &self.name)?;
        let given = self.required.len();
        if given == 0 {
            return Err(GateError::NoPreconditions);
        }
        if given > PRECONDITIONS_MAX {
            return Err(GateError::TooManyPreconditions { given });
        }
        let name: Arc<str> = self.name.into();
        let mut preconditions: Vec<Precondition> = Vec::with_capacity(given);
        for Required { name: called, patterns, filter } in self.required {
            check_text("precondition", &called)?;
            if preconditions.iter().any(|other| other.name == called) {
                return Err(GateError::SameName { name: called });
            }
            let patterns = patterns.map_err(SubscriptionErrorKind::Pattern);
            let patterns = patterns.map_err(|kind| GateError::Subscription(kind.into()))?;
            preconditions.push(Precondition { name: called, patterns, condition: condition(&name, filter) });
        }
        let plan = Plan {
            name,
            rule: self.rule,
            preconditions,
            limit: self.limit,
            includes_history: self.includes_history,
            opened: self.opened?,
            timed_out: self.timed_out?,
            host: bus.host(),
        };
        Ok((plan, self.keys))
    }
}

impl GateBuilder {
    pub(super) fn new(rule: Rule) -> Self {
        GateBuilder {
            name: "gate".to_owned(),
            rule,
            required: Vec::new(),
            limit: None,
            includes_history: false,
            opened: "gate.opened".try_into(),
            timed_out: "gate.timed_out".try_into(),
            keys: (),
        }
    }

    /// Each correlation id has a state of its own, and the gate opens for each by itself. Events without one are passed over.
    pub fn keyed_by_correlation(self) -> GateBuilder<ByCorrelation> {
        let GateBuilder { name, rule, required, limit, includes_history, opened, timed_out, keys: () } = self;
        let keys = ByCorrelation { keys_max: GATE_KEYS_DEFAULT };
        GateBuilder { name, rule, required, limit, includes_history, opened, timed_out, keys }
    }

    /// Begins the gate. What is published after this returned counts.
    ///
    /// # Errors
    /// No precondition, or more than 32; two of one name; patterns or names that are none; no room for another time limit; a bus
    /// that is shut down.
    pub fn on(self, bus: &EventBus) -> Result<Gate, GateError> {
        Gate::begin(bus, self.plan(bus)?.0)
    }
}

impl GateBuilder<ByCorrelation> {
    /// How many keys may wait at once, 1 to 1,048,576. What is published under a new key when there is no room is
    /// passed over, and [counted](KeyedGate::passed_over). Eight bytes for every second one are taken at once, and about 300 for each
    /// key that is known, 450 with a time limit. Default: 4,096.
    pub fn keys_max(mut self, keys: usize) -> Self {
        self.keys.keys_max = keys;
        self
    }

    /// Begins the gate. What is published after this returned counts.
    ///
    /// # Errors
    /// As of a gate [without keys](GateBuilder::on); room for too many keys, or for none.
    pub fn on(self, bus: &EventBus) -> Result<KeyedGate, GateError> {
        let (plan, ByCorrelation { keys_max }) = self.plan(bus)?;
        if !(1..=GATE_KEYS_MAX).contains(&keys_max) {
            return Err(GateError::KeysOutOfRange { given: keys_max, most: GATE_KEYS_MAX });
        }
        KeyedGate::begin(bus, plan, keys_max)
    }
}

impl<K> fmt::Debug for GateBuilder<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let required: Vec<&str> = self.required.iter().map(|required| required.name.as_str()).collect();
        f.debug_struct("GateBuilder")
            .field("name", &self.name)
            .field("required", &required)
            .finish_non_exhaustive()
    }
}
