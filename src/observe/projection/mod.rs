//! [`Projection`]: states that events keep up to date, to be read at any time.
//!
//! A projection is a subscription whose handler folds each event into a state. The handler runs where every handler does and
//! takes no lock: a state is an immutable value behind a pointer that is swapped, so readers stop no writer, and a closure
//! that panics leaves the state as it was.
//!
//! In reading order: here, what is asked for and what is handed out; `views`: what is read; `gate`: which events of a seeded
//! one come from its subscription and which from the history, each exactly once; `waiting`: those that have to wait for
//! the seed.

mod gate;
mod views;
mod waiting;

pub use views::{ByKey, EventCount, Folded};

use crate::bus::{EventBus, IntoPatterns, Recorded, ScopedSubscription, Subscription};
use crate::error::{EventSubscriptionError, SubscriptionErrorKind};
use crate::event::Event;
use crate::matcher::{Pattern, PatternError};
use crate::quiet::{log, panics};
use gate::Gate;
use serde::Serialize;
use std::fmt;
use std::hash::Hash;
use std::ops::Deref;
use std::sync::Arc;

/// How many keys a projection has room for unless it is said otherwise.
const KEYS_DEFAULT: usize = 10_000;

/// How many keys a projection can be told to have room for.
pub const PROJECTION_KEYS_MAX: usize = 1 << 20;

/// How often a seed looks for events that came meanwhile before it lets the rest overtake each other.
const ROUNDS_MAX: usize = 64;

type Filter = Arc<dyn Fn(&Event) -> bool + Send + Sync>;

/// A state in the making that events will keep up to date: for dashboards, progress, "the latest of each".
///
/// [`counter`](Self::counter), [`latest_per_key`](Self::latest_per_key), [`fold`](Self::fold) and
/// [`group_by`](Self::group_by) make it. It hears what is published from then on; [`seeded`](Self::seeded), first what the
/// history holds. Events are folded as handlers are called: on the publisher's thread or a worker's, in the order published
/// where the bus keeps it, and two threads that publish at once may hand theirs over in either order.
///
/// The closures run under no lock. They may be called more than once for an event, when two threads fold at once, so they
/// should do nothing but answer. One that panics has failed as a handler does, and the state stays as it was.
///
/// ```
/// use codomyrmex_events::{Event, EventBus, Projection, Recorded};
/// use serde_json::{Value, json};
///
/// let bus = EventBus::new();
/// let publish = |name: &str, task: &str, seconds: u64| {
///     let data = json!({"task": task, "seconds": seconds});
///     bus.publish(Event::builder(name, "orchestrator").data(data).build()?)
/// };
/// publish("task.started", "lint", 0)?;
///
/// let heard = Projection::of(&bus, "task.*").seeded().counter()?;
/// let task = |event: &Recorded| event.data().get("task").and_then(Value::as_str).map(str::to_owned);
/// let latest = Projection::of(&bus, "task.*").seeded().latest_per_key(task)?;
/// let seconds = |event: &Recorded| event.data().get("seconds").and_then(Value::as_u64).unwrap_or(0);
/// let seconds = Projection::of(&bus, "task.completed").fold(0, move |sum, event| sum + seconds(event))?;
///
/// publish("task.completed", "lint", 3)?;
/// publish("task.completed", "test", 40)?;
/// assert_eq!((heard.get(), *seconds.get()), (3, 43));
/// assert_eq!(latest.get(&Some("lint".to_owned())).unwrap().event_type(), &"task.completed");
/// # Ok::<(), codomyrmex_events::EventError>(())
/// ```
#[must_use = "it begins with `counter`, `latest_per_key`, `fold` or `group_by`"]
pub struct Projection<'a> {
    bus: &'a EventBus,
    patterns: Result<Vec<Pattern>, PatternError>,
    is_seeded: bool,
    keys_max: usize,
    priority: i32,
    filter: Option<Filter>,
}

/// A state that events keep up to date until this is dropped. Dereferences to what is read: an [`EventCount`],
/// [`Folded`] or [`ByKey`]. It does not keep its bus alive, and can be read after the bus has ended.
#[must_use = "it is kept up to date until it is dropped"]
pub struct Projected<V> {
    view: Arc<V>,
    subscription: ScopedSubscription,
    seed: Option<ProjectionSeed>,
}

/// What a projection began with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct ProjectionSeed {
    /// The publications up to this number are the history's, later ones were heard.
    pub until: u64,
    /// How many of them, of whatever type, the history did not hold any more. The state knows nothing of them.
    pub missing: u64,
    /// How many of them were folded in.
    pub folded: u64,
    /// How many events that were folded before the projection was handed out made a closure panic. They are not in the state.
    pub failed: u64,
    /// How many events that were published meanwhile may have been folded out of order, because they came faster than they
    /// were folded. They are in the state.
    pub out_of_order: u64,
}

impl<'a> Projection<'a> {
    /// Of the events of a bus that match: one pattern or many, as [`EventBus::subscribe`] takes them.
    pub fn of(bus: &'a EventBus, patterns: impl IntoPatterns) -> Self {
        Projection {
            bus,
            patterns: patterns.into_patterns(),
            is_seeded: false,
            keys_max: KEYS_DEFAULT,
            priority: 0,
            filter: None,
        }
    }

    /// Begins with what the history holds: each event there is folded in once, and none is missed or folded twice, whatever
    /// is published meanwhile. What is missing because the history holds no more is told by [`Projected::seed`]. Default: it
    /// begins with the next event.
    ///
    /// The history holds events from when they were accepted. So one that waits in a lane now is in the state already, also if
    /// a full lane lets it go later.
    pub fn seeded(mut self) -> Self {
        self.is_seeded = true;
        self
    }

    /// Of these, only events that `filter` says yes to. A filter that panics says no.
    pub fn filter(mut self, filter: impl Fn(&Event) -> bool + Send + Sync + 'static) -> Self {
        self.filter = Some(Arc::new(filter));
        self
    }

    /// Takes its turn before handlers of lower priority, which then find the event in the state. Default: 0.
    pub fn priority(mut self, priority: i32) -> Self {
        self.priority = priority;
        self
    }

    /// How many keys there is room for, 1 to 1,048,576; a value outside is taken for the nearest. The room is taken at once,
    /// 16 to 32 bytes for each. A key that has come in stays. Events of others are counted and left out. Default: 10,000.
    pub fn keys_max(mut self, keys: usize) -> Self {
        self.keys_max = keys.clamp(1, PROJECTION_KEYS_MAX);
        self
    }

    /// How many there were.
    ///
    /// # Errors
    /// Those of [`SubscriptionBuilder::handler`](crate::SubscriptionBuilder::handler).
    pub fn counter(self) -> Result<Projected<EventCount>, EventSubscriptionError> {
        self.begin(EventCount::default(), |count, _| count.add())
    }

    /// The latest event of each key: the one with the highest number, in whichever order they are handled.
    ///
    /// # Errors
    /// As [`counter`](Self::counter).
    pub fn latest_per_key<K>(
        self,
        key: impl Fn(&Recorded) -> K + Send + Sync + 'static,
    ) -> Result<Projected<ByKey<K, Recorded>>, EventSubscriptionError>
    where
        K: Hash + Eq + Clone + Send + Sync + 'static,
    {
        let latest = ByKey::new(self.keys_max);
        self.begin(latest, move |latest, event| {
            latest.change(&key(event), |known| match known {
                Some(known) if known.sequence() >= event.sequence() => Arc::clone(known),
                _ => Arc::new(event.clone()),
            });
        })
    }

    /// A state of your own: `fold` makes the next one of it and an event.
    ///
    /// # Errors
    /// As [`counter`](Self::counter).
    pub fn fold<S: Send + Sync + 'static>(
        self,
        first: S,
        fold: impl Fn(&S, &Recorded) -> S + Send + Sync + 'static,
    ) -> Result<Projected<Folded<S>>, EventSubscriptionError> {
        self.begin(Folded::new(first), move |folded, event| folded.fold(|state| fold(state, event)))
    }

    /// A state of your own for each key, which begins with `first`.
    ///
    /// ```
    /// use codomyrmex_events::{Event, EventBus, Projection};
    ///
    /// let bus = EventBus::new();
    /// let by_source = Projection::of(&bus, "*.error")
    ///     .group_by(|event| event.source().clone(), 0, |errors, _| errors + 1)?;
    /// bus.publish(Event::builder("build.error", "ci_pipeline").build()?)?;
    /// for (source, errors) in by_source.snapshot() {
    ///     println!("{source}: {errors} errors");
    /// }
    /// # Ok::<(), codomyrmex_events::EventError>(())
    /// ```
    ///
    /// # Errors
    /// As [`counter`](Self::counter).
    pub fn group_by<K, S>(
        self,
        key: impl Fn(&Recorded) -> K + Send + Sync + 'static,
        first: S,
        fold: impl Fn(&S, &Recorded) -> S + Send + Sync + 'static,
    ) -> Result<Projected<ByKey<K, S>>, EventSubscriptionError>
    where
        K: Hash + Eq + Clone + Send + Sync + 'static,
        S: Send + Sync + 'static,
    {
        let groups = ByKey::new(self.keys_max);
        self.begin(groups, move |groups, event| {
            groups.change(&key(event), |state| Arc::new(fold(state.map_or(&first, Arc::as_ref), event)));
        })
    }

    fn begin<V: Send + Sync + 'static>(
        self,
        view: V,
        take: impl Fn(&V, &Recorded) + Send + Sync + 'static,
    ) -> Result<Projected<V>, EventSubscriptionError> {
        let patterns = self.patterns.map_err(SubscriptionErrorKind::Pattern)?;
        let (view, take) = (Arc::new(view), Arc::new(take));
        let gate = self.is_seeded.then(Arc::<Gate>::default);
        let subscription = {
            let (gate, view, take) = (gate.clone(), Arc::clone(&view), Arc::clone(&take));
            let mut wanted = self.bus.subscribe(&patterns).priority(self.priority);
            if let Some(filter) = self.filter.clone() {
                wanted = wanted.filter(move |event| filter(event));
            }
            wanted.handler(move |delivery| {
                let event = Recorded::new(delivery.sequence(), Arc::clone(delivery.event()));
                let admitted = match &gate {
                    None => Some(event),
                    Some(gate) => gate.admit(event, || delivery.bus().history().last_sequence()),
                };
                if let Some(event) = admitted {
                    take(&view, &event);
                }
            })?
        };
        // From here on, whatever happens ends it.
        let subscription = subscription.scoped();
        let is_wanted = |event: &Event| {
            patterns.iter().any(|pattern| pattern.matches(event.event_type().as_str()))
                && self.filter.as_ref().is_none_or(|filter| {
                    let mut answer = false;
                    !panics(|| answer = filter(event)) && answer
                })
        };
        let seed = gate.map(|gate| seed(self.bus, &gate, is_wanted, |event| take(&view, event)));
        Ok(Projected { view, subscription, seed })
    }
}

/// Folds what is the history's, then what came meanwhile, until nothing waits.
fn seed(
    bus: &EventBus,
    gate: &Gate,
    is_wanted: impl Fn(&Event) -> bool,
    take: impl Fn(&Recorded),
) -> ProjectionSeed {
    let (mut folded, mut failed) = (0, 0);
    let mut take = |event: &Recorded| {
        if panics(|| take(event)) {
            log(
                || tracing::error!(event_type = %event.event_type(), "a projection panicked while it was seeded"),
            );
            failed += 1;
        }
    };
    // Every later event is heard.
    bus.host().settled_sequence();
    let history = bus.history();
    let until = gate.settle(|| history.last_sequence());
    let kept = history.kept_until(until);
    let missing = until - kept.len() as u64;
    for event in kept.into_iter().filter(|event| is_wanted(event)) {
        take(&event);
        folded += 1;
    }
    let caught_up = (0..ROUNDS_MAX).any(|_| match gate.take_waiting() {
        Some(waiting) => {
            waiting.iter().for_each(&mut take);
            false
        }
        None => true,
    });
    if !caught_up {
        gate.open().iter().for_each(&mut take);
    }
    ProjectionSeed { until, missing, folded, failed, out_of_order: gate.out_of_order() }
}

impl<V> Projected<V> {
    /// What it began with; none unless it was to be seeded.
    #[must_use]
    pub fn seed(&self) -> Option<ProjectionSeed> {
        self.seed
    }

    /// The subscription by which it hears.
    #[must_use]
    pub fn subscription(&self) -> &Subscription {
        &self.subscription
    }
}

impl<V> Deref for Projected<V> {
    type Target = V;

    fn deref(&self) -> &V {
        &self.view
    }
}

impl<V: fmt::Debug> fmt::Debug for Projected<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Projected")
            .field("view", &self.view)
            .field("seed", &self.seed)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Projection<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Projection").field("patterns", &self.patterns).finish_non_exhaustive()
    }
}
