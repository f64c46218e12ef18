//! [`KeyedGate`]: a gate with a state for each correlation id.

use super::error::GateError;
use super::plan::{self, Plan, Seer};
use super::state::{GateState, Seen, Witness};
use super::table::{Entry, Found, Table};
use crate::bus::{EventBus, ScopedSubscription};
use crate::event::Event;
use crate::sync::{AtomicBool, AtomicU64, Ordering};
use std::fmt;
use std::sync::{Arc, Weak};

/// How many keys of a gate may wait at once.
pub const GATE_KEYS_MAX: usize = 1 << 20;

pub(super) const GATE_KEYS_DEFAULT: usize = 4_096;

/// Opens once for each correlation id, when all or any of its preconditions were seen in events with that id.
///
/// It says what a [`Gate`](super::Gate) says, with the id as `"key"` in the payload and as the event's correlation id. To wait for
/// one key, [wait for](EventBus::wait_for) that event.
///
/// At most [`keys_max`](super::GateBuilder::keys_max) keys wait at once. A key for which the gate has opened, or whose time is up,
/// takes none of that room and stays so until it is forgotten: the newest of them are remembered, four to eight times as many as
/// may wait. When as many others as may wait have come after it, about one such key in a thousand is forgotten; after ten times as
/// many, nearly all. What is seen under a forgotten key begins anew, and may open the gate for it once more. A gate whose keys
/// may never be completed should have a limit ([`within`](super::GateBuilder::within)), or they take its room for ever.
///
/// ```
/// use codomyrmex_events::{Event, EventBus, Gate};
///
/// let bus = EventBus::new();
/// let gate = Gate::all_of()
///     .require("tests", "test.passed")
///     .require("review", "review.approved")
///     .keyed_by_correlation()
///     .on(&bus)?;
/// for (event_type, key) in [("test.passed", "pr-1"), ("review.approved", "pr-2"), ("review.approved", "pr-1")] {
///     bus.publish(Event::builder(event_type, "forge").correlation_id(key).build()?)?;
/// }
/// assert!(gate.is_open("pr-1"));
/// assert_eq!(gate.missing("pr-2"), ["tests"]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct KeyedGate {
    keyed: Arc<Keyed>,
    subscriptions: Vec<ScopedSubscription>,
}

struct Keyed {
    /// What reminders hold.
    me: Weak<Keyed>,
    plan: Plan,
    table: Table,
    is_closed: AtomicBool,
    opened: AtomicU64,
    timed_out: AtomicU64,
    passed_over: AtomicU64,
}

impl KeyedGate {
    pub(super) fn begin(bus: &EventBus, plan: Plan, keys_max: usize) -> Result<Self, GateError> {
        let keyed = Arc::new_cyclic(|me| Keyed {
            me: Weak::clone(me),
            table: Table::new(keys_max, plan.preconditions.len()),
            plan,
            is_closed: AtomicBool::new(false),
            opened: AtomicU64::new(0),
            timed_out: AtomicU64::new(0),
            passed_over: AtomicU64::new(0),
        });
        let subscriptions = plan::begin(bus, &keyed)?;
        Ok(KeyedGate { keyed, subscriptions })
    }

    /// The name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.keyed.plan.name
    }

    /// How a key stands; none if nothing was seen of it, or it was forgotten.
    #[must_use]
    pub fn state(&self, key: &str) -> Option<GateState> {
        Some(self.keyed.table.find(key)?.state.get())
    }

    /// Whether the gate has opened for a key and remembers it.
    #[must_use]
    pub fn is_open(&self, key: &str) -> bool {
        self.state(key) == Some(GateState::Open)
    }

    /// The names of the preconditions that were not seen under a key, in the order given: all of a key that is not known, none of an
    /// open one.
    #[must_use]
    pub fn missing(&self, key: &str) -> Vec<String> {
        let plan = &self.keyed.plan;
        match self.keyed.table.find(key) {
            Some(entry) => plan.names(&entry.state.account().missing),
            None => plan.preconditions.iter().map(|precondition| precondition.name.clone()).collect(),
        }
    }

    /// How many keys wait at present.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.keyed.table.waiting()
    }

    /// How often it opened.
    #[must_use]
    pub fn opened(&self) -> u64 {
        self.keyed.opened.load(Ordering::Relaxed)
    }

    /// For how many keys the time was up.
    #[must_use]
    pub fn timed_out(&self) -> u64 {
        self.keyed.timed_out.load(Ordering::Relaxed)
    }

    /// How many events were passed over because their key was new and there was no room for it, or none for its time limit.
    #[must_use]
    pub fn passed_over(&self) -> u64 {
        self.keyed.passed_over.load(Ordering::Relaxed)
    }

    /// Ends the gate, as dropping it does: it forgets all keys and opens no more. What it is about to say on another thread at this
    /// moment may still come.
    pub fn close(&self) {
        self.keyed.close();
        for subscription in &self.subscriptions {
            subscription.unsubscribe();
        }
    }
}

impl Drop for KeyedGate {
    fn drop(&mut self) {
        // The subscriptions end by themselves.
        self.keyed.close();
    }
}

impl Seer for Keyed {
    const ONCE: bool = false;

    fn plan(&self) -> &Plan {
        &self.plan
    }

    fn is_over(&self) -> bool {
        self.is_closed.load(Ordering::Acquire)
    }

    fn see(&self, index: usize, event: &Event, sequence: u64) {
        let Some(key) = event.correlation_id() else { return };
        // Again only if the key was given up between finding and seeing.
        while !self.is_closed.load(Ordering::Acquire) {
            let (entry, is_new) = match self.table.find_or_begin(key) {
                Found::Known(entry) => (entry, false),
                Found::Begun(entry) => (entry, true),
                Found::NoRoom => {
                    self.passed_over.fetch_add(1, Ordering::Relaxed);
                    return;
                }
            };
            match entry.state.see(self.plan.rule, index, || Witness::of(event, sequence)) {
                Seen::TooLate(GateState::Closed) => continue,
                Seen::Opened => {
                    self.table.is_over();
                    self.opened.fetch_add(1, Ordering::Relaxed);
                    self.plan.tell(&entry.state, Some(key));
                }
                Seen::Noted if is_new => self.limit(&entry),
                Seen::Noted | Seen::TooLate(_) => {}
            }
            return;
        }
    }
}

impl Keyed {
    /// A key has begun, and with it its time.
    fn limit(&self, entry: &Arc<Entry>) {
        let Some(limit) = self.plan.limit else { return };
        let (keyed, timed) = (Weak::clone(&self.me), Arc::downgrade(entry));
        let reminder = self.plan.host.remind_after(limit, move || {
            if let (Some(keyed), Some(entry)) = (keyed.upgrade(), timed.upgrade()) {
                keyed.time_out(&entry);
            }
        });
        match reminder {
            Some(reminder) => entry.state.keep_reminder(reminder),
            None if entry.state.close() => {
                self.table.is_over();
                self.passed_over.fetch_add(1, Ordering::Relaxed);
            }
            None => {}
        }
    }

    fn time_out(&self, entry: &Entry) {
        // One that was begun while the gate was closed is nobody's.
        if !self.is_closed.load(Ordering::Acquire) && entry.state.time_out() {
            self.table.is_over();
            self.timed_out.fetch_add(1, Ordering::Relaxed);
            self.plan.tell(&entry.state, Some(&entry.key));
        }
    }

    fn close(&self) {
        self.is_closed.store(true, Ordering::Release);
        self.table.close();
    }
}

impl fmt::Debug for KeyedGate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyedGate")
            .field("name", &self.name())
            .field("waiting", &self.waiting())
            .field("opened", &self.opened())
            .finish_non_exhaustive()
    }
}
