//! [`HandlerAlarms`]: an event when a handler is slow, or keeps failing.
//!
//! It is an interceptor around handling, so it costs nothing until it is attached. What it raises is published where the handler
//! ran, as if the handler had done so.
//!
//! An alarm must not raise an alarm, or a handler of alerts that fails would never be done. So each alarm begins an exchange of
//! its own, with a correlation id that says so, and what is published in the course of it carries that id on, or names the
//! alarm as its cause: about the handling of such an event nothing is said. Whoever gives the events of such an exchange
//! other ids has left it; then the limit in time is what bounds a circle.
//!
//! `watch`: what is counted of each subscription; `raise`: the events.

mod raise;
mod watch;

use crate::bus::{EventBus, ScopedInterceptor};
use crate::dispatch::attempt::{Attempt, AttemptOutcome, HandlingInterceptor};
use crate::dispatch::handler::guarded_text;
use crate::event::Event;
use crate::keyed::Keyed;
use crate::sync::{AtomicU64, Ordering};
use raise::Alarm;
use smol_str::SmolStr;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use watch::Watched;

const SLOWER_THAN: Duration = Duration::from_secs(1);
const FAILURES: u32 = 3;
const INTERVAL: Duration = Duration::from_secs(60);

/// How many subscriptions are told apart: those that were slow or failed at least once, by id.
const SUBSCRIPTIONS_MAX: usize = 4_096;

/// When to raise alarms about handlers: [`attach`](Self::attach) begins.
///
/// - `performance.degradation`, when an attempt took longer than 1 s, with `subscriber_id`, `event_type`, `event_id`,
///   `sequence`, `correlation_id` if the event had one, `duration` and `threshold` in seconds, `suppressed` and a `message`.
/// - `alert.triggered`, as its schema says, when 3 attempts of a subscription failed in a row, and at each failure after them:
///   `alert_name` is `handler_failing`, `alert_level` `error`, `threshold` 3, `current_value` the number of failures; the
///   other fields above and the `error` are in `context`. Errors, panics and time limits are failures.
///
/// Both come from `handler_alarms`, at most once a minute for each subscription; `suppressed` tells how many were left out
/// since the one before. Nothing is said about handlers of alarms, nor about events that were published because of one.
///
/// A handler that takes long is told when its attempt ends, not before; for one that never does there is
/// [`time_limit`](crate::SubscriptionBuilder::time_limit).
///
/// ```
/// use codomyrmex_events::{Delivery, Event, EventBus, EventType, HandlerAlarms};
///
/// let bus = EventBus::new();
/// let alarms = HandlerAlarms::new().after_failures(2).attach(&bus);
/// bus.subscribe("order.*").subscriber_id("billing").handler(|_: &Delivery<'_>| Err::<(), _>("no disk"))?;
/// bus.subscribe(EventType::AlertTriggered).handler(|alert| println!("{:?}", alert.data().get("message")))?;
/// for _ in 0..5 {
///     bus.publish(Event::builder("order.placed", "shop").build()?)?;
/// }
/// assert_eq!((alarms.raised(), alarms.suppressed()), (1, 3));
/// # Ok::<(), codomyrmex_events::EventError>(())
/// ```
#[derive(Clone, Debug)]
#[must_use = "call `attach`"]
pub struct HandlerAlarms {
    slower_than: Duration,
    failures: u32,
    interval: Duration,
}

/// Alarms about the handlers of a bus, until this is dropped. It does not keep the bus alive.
#[must_use = "it ends when it is dropped"]
pub struct AttachedAlarms {
    state: Arc<State>,
    _interceptor: ScopedInterceptor,
}

struct State {
    wishes: HandlerAlarms,
    /// What the ids of this bus's alarms begin with.
    mark: SmolStr,
    watched: Keyed<SmolStr, Watched>,
    raised: AtomicU64,
    suppressed: AtomicU64,
    refused: AtomicU64,
    untold: AtomicU64,
}

impl Default for HandlerAlarms {
    fn default() -> Self {
        HandlerAlarms::new()
    }
}

impl HandlerAlarms {
    /// With the defaults: slower than 1 s, 3 failures in a row, once a minute.
    pub fn new() -> Self {
        HandlerAlarms { slower_than: SLOWER_THAN, failures: FAILURES, interval: INTERVAL }
    }

    /// An attempt that takes longer than this is slow. `Duration::MAX`: none is. Default: 1 s.
    pub fn slower_than(mut self, time: Duration) -> Self {
        self.slower_than = time;
        self
    }

    /// How many attempts of a subscription have to fail in a row, at least 1; a success in between begins anew. With
    /// `u32::MAX` no alert is raised. Default: 3.
    pub fn after_failures(mut self, failures: u32) -> Self {
        self.failures = failures.max(1);
        self
    }

    /// How long after an alarm the next of its kind may follow about the same subscription. Default: 60 s.
    pub fn at_most_every(mut self, interval: Duration) -> Self {
        self.interval = interval;
        self
    }

    /// Begins to watch the handlers of a bus: every attempt that begins after this.
    pub fn attach(self, bus: &EventBus) -> AttachedAlarms {
        let state = Arc::new(State {
            wishes: self,
            mark: raise::mark_of(bus),
            watched: Keyed::new(SUBSCRIPTIONS_MAX),
            raised: AtomicU64::new(0),
            suppressed: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            untold: AtomicU64::new(0),
        });
        let interceptor = bus.intercept_handling(Watch(Arc::clone(&state))).scoped();
        AttachedAlarms { state, _interceptor: interceptor }
    }
}

impl AttachedAlarms {
    /// How many alarms were published. One that finds its lane full waits for room as a
    /// [delayed event](EventBus::publish_later) does, and becomes a dead letter if none comes; it is counted here too.
    #[must_use]
    pub fn raised(&self) -> u64 {
        self.state.raised.load(Ordering::Relaxed)
    }

    /// How many alarms were left out because one had been raised shortly before.
    #[must_use]
    pub fn suppressed(&self) -> u64 {
        self.state.suppressed.load(Ordering::Relaxed)
    }

    /// How many alarms the bus refused for good, because it was shut down, nested too deep, or an interceptor said so. Each is in
    /// the log too.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.state.refused.load(Ordering::Relaxed)
    }

    /// How many attempts failed or were slow and were not looked at, because 4,096 other subscriptions had been before.
    #[must_use]
    pub fn untold(&self) -> u64 {
        self.state.untold.load(Ordering::Relaxed)
    }
}

impl fmt::Debug for AttachedAlarms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AttachedAlarms")
            .field("raised", &self.raised())
            .field("suppressed", &self.suppressed())
            .field("refused", &self.refused())
            .field("untold", &self.untold())
            .finish_non_exhaustive()
    }
}

struct Watch(Arc<State>);

impl HandlingInterceptor for Watch {
    fn after_handling(&self, attempt: &Attempt<'_>, outcome: &AttemptOutcome<'_>, took: Duration) {
        let state = &*self.0;
        let error = match outcome {
            AttemptOutcome::Succeeded => None,
            AttemptOutcome::Failed(error) => Some(error),
            AttemptOutcome::Skipped | AttemptOutcome::Cancelled => return,
        };
        if state.is_of_an_alarm(attempt) {
            return;
        }
        let is_slow = took > state.wishes.slower_than;
        let Some(watched) = state.watched(attempt.subscriber_id(), is_slow || error.is_some()) else {
            return;
        };
        let failures = watched.note(error.is_some());
        if is_slow
            && let Some(suppressed) =
                state.may_pass(watched.slow.pass(attempt.uptime(), state.wishes.interval))
        {
            state.raise(attempt, Alarm::Slow { took, threshold: state.wishes.slower_than, suppressed });
        }
        if let Some(error) = error
            && failures >= state.wishes.failures
            && let Some(suppressed) =
                state.may_pass(watched.failing.pass(attempt.uptime(), state.wishes.interval))
        {
            let error = guarded_text(*error);
            state.raise(
                attempt,
                Alarm::Failing { failures, threshold: state.wishes.failures, error, suppressed },
            );
        }
    }
}

impl State {
    /// Whether an event is an alarm of this bus, or was published because of one.
    fn is_of_an_alarm(&self, event: &Event) -> bool {
        let is_marked = |id: &str| id.starts_with(self.mark.as_str());
        event.correlation_id().is_some_and(|id| is_marked(id.as_str()))
            || event.causation_id().is_some_and(|id| id.as_uuid().is_none() && is_marked(&id.to_string()))
    }

    /// What is known of a subscription; of one that has always done well, only if there is something to be noted.
    fn watched(&self, subscriber_id: &str, is_noteworthy: bool) -> Option<&Watched> {
        let known = self.watched.get(subscriber_id);
        if known.is_some() || !is_noteworthy {
            return known;
        }
        let made = self.watched.find_or_make(&SmolStr::new(subscriber_id));
        if made.is_none() {
            self.untold.fetch_add(1, Ordering::Relaxed);
        }
        made
    }

    fn may_pass(&self, suppressed: Option<u64>) -> Option<u64> {
        if suppressed.is_none() {
            self.suppressed.fetch_add(1, Ordering::Relaxed);
        }
        suppressed
    }

    fn raise(&self, attempt: &Attempt<'_>, alarm: Alarm) {
        let count = if raise::raise(&attempt.bus(), alarm.about(attempt, &self.mark)) {
            &self.raised
        } else {
            &self.refused
        };
        count.fetch_add(1, Ordering::Relaxed);
    }
}
