//! [`EventBus::wait_for`]: the next event of a kind, waited for by a thread or a task.
//!
//! A wait is a `once` subscription with the lowest priority: filters, the order of turns and the single turn are the bus's own,
//! and whoever is woken finds that the other synchronous handlers have had the event. It hears from
//! [`begin`](WaitBuilder::begin) on, so a program that begins, publishes and waits misses nothing. It keeps no bus alive, polls
//! nothing and starts no thread.

mod error;
mod patience;

pub use error::WaitError;
pub(super) use patience::Awaited;

use crate::bus::{EventBus, Host, IntoPatterns, Recorded, ScopedSubscription, SubscriptionBuilder};
use crate::dispatch::alarm::Bell;
use crate::dispatch::handler::Delivery;
use crate::event::Event;
use crate::quiet::{log, panics};
use once_cell::race::OnceBox;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// Says which events count.
pub(super) type Condition = Arc<dyn Fn(&Event) -> bool + Send + Sync>;

/// A wait in the making. Made by [`EventBus::wait_for`].
#[must_use = "a wait begins with `within`, `within_async` or `begin`"]
pub struct WaitBuilder<'a> {
    bus: &'a EventBus,
    subscription: SubscriptionBuilder<'a>,
    filter: Option<Condition>,
    includes_history: bool,
}

/// A wait for one event, which has begun: it keeps the first that it hears. Made by [`WaitBuilder::begin`]. Dropping it ends it.
///
/// It keeps no bus alive: when the last handle on the bus is dropped, it is over.
pub struct EventWait {
    host: Host,
    heard: Arc<Heard>,
    /// What the history had.
    found: Option<Recorded>,
    subscription: ScopedSubscription,
}

#[derive(Default)]
struct Heard {
    recorded: OnceBox<Recorded>,
    bell: Bell,
}

/// The subscription's side. Dropped unheard, nothing will be heard any more.
struct Ear(Arc<Heard>);

impl EventBus {
    /// Begins to wait for an event whose type matches one of `patterns`.
    ///
    /// ```
    /// use codomyrmex_events::{Event, EventBus, EventType};
    /// use std::time::Duration;
    ///
    /// let bus = EventBus::new();
    /// let build = bus.wait_for("build.*").filter(|event| event.source().as_str() == "ci").begin()?;
    /// // Whatever is published from here on is heard.
    /// bus.publish(Event::builder(EventType::BuildStart, "ci").build()?)?;
    /// let heard = build.within(Duration::from_secs(5))?;
    /// assert_eq!((heard.sequence(), heard.event_type()), (1, &EventType::BuildStart));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn wait_for(&self, patterns: impl IntoPatterns) -> WaitBuilder<'_> {
        let subscription = self.subscribe(patterns).priority(i32::MIN).once();
        WaitBuilder { bus: self, subscription, filter: None, includes_history: false }
    }
}

impl WaitBuilder<'_> {
    /// Waits for an event that `filter` says yes to. It is asked as a subscription's
    /// [filter](SubscriptionBuilder::filter) is; one that panics says no.
    pub fn filter(mut self, filter: impl Fn(&Event) -> bool + Send + Sync + 'static) -> Self {
        self.filter = Some(Arc::new(filter));
        self
    }

    /// Counts what was published before: the oldest such event that the history keeps is the answer, if there is one. None is
    /// missed between the history and what is heard from now on.
    pub fn including_history(mut self) -> Self {
        self.includes_history = true;
        self
    }

    /// Hears from now on: every publish that begins after this returned.
    ///
    /// # Errors
    /// [`WaitError::Subscription`]: no pattern, too many or too long ones; [`WaitError::Closed`].
    pub fn begin(self) -> Result<EventWait, WaitError> {
        let heard = Arc::<Heard>::default();
        let ear = Ear(Arc::clone(&heard));
        let subscription = match self.filter.clone() {
            Some(filter) => self.subscription.filter(move |event| filter(event)),
            None => self.subscription,
        };
        let subscription = subscription.handler(move |delivery: &Delivery<'_>| ear.hear(delivery))?.scoped();
        let host = self.bus.host();
        let mut found = None;
        if self.includes_history {
            let matches = |event: &Event| {
                let name = event.event_type().as_str();
                subscription.patterns().iter().any(|pattern| pattern.matches(name))
                    && self.filter.as_ref().is_none_or(|filter| says_yes(&host, filter, event))
            };
            found = kept_before(self.bus, &host).into_iter().find(|recorded| matches(recorded));
        }
        if found.is_some() {
            subscription.unsubscribe();
        }
        Ok(EventWait { host, heard, found, subscription })
    }

    /// Waits for the next such event with the calling thread, up to `limit`.
    ///
    /// # Errors
    /// As [`begin`](Self::begin) and [`EventWait::within`].
    pub fn within(self, limit: Duration) -> Result<Recorded, WaitError> {
        self.begin()?.within(limit)
    }

    /// Waits for the next such event without blocking the thread, up to `limit` on the bus's clock. It begins when it is first
    /// polled, needs no particular runtime, and can be dropped at any time.
    ///
    /// # Errors
    /// As [`begin`](Self::begin) and [`EventWait::within_async`].
    pub async fn within_async(self, limit: Duration) -> Result<Recorded, WaitError> {
        self.begin()?.within_async(limit).await
    }
}

impl EventWait {
    /// What was heard, if something was.
    #[must_use]
    pub fn heard(&self) -> Option<Recorded> {
        self.found.as_ref().or_else(|| self.heard.recorded.get()).cloned()
    }

    /// Waits for it with the calling thread, up to `limit`. When it returns, the other synchronous handlers have had the event,
    /// unless it came out of the history. An event that the bus discards before its turn is not heard.
    ///
    /// It blocks the thread: async code has [`within_async`](Self::within_async).
    ///
    /// It can be called again, after the limit too: the wait goes on until this is dropped.
    ///
    /// # Errors
    /// [`WaitError::TimedOut`]; [`WaitError::Closed`] when the bus has been shut down; and if nothing was heard yet,
    /// [`WaitError::WouldDeadlock`] at once inside a handler, filter or destructor that the same bus is running, where the
    /// wait could include the caller, and of a manual bus, which nobody would drive meanwhile.
    pub fn within(&self, limit: Duration) -> Result<Recorded, WaitError> {
        self.awaited().within(limit)
    }

    /// Waits for it without blocking the thread, up to `limit` on the bus's clock. It needs no particular runtime. Dropping the
    /// future changes nothing: it can be waited for anew.
    ///
    /// An asynchronous handler may await it: its thread goes on. What only that handler's own mailbox could bring is waited for
    /// in vain.
    ///
    /// # Errors
    /// [`WaitError::TimedOut`]; [`WaitError::Closed`]; [`WaitError::NoTimer`].
    pub async fn within_async(&self, limit: Duration) -> Result<Recorded, WaitError> {
        self.awaited().within_async(limit).await
    }

    fn awaited(&self) -> Awaited<'_, impl Fn() -> Option<Recorded>> {
        Awaited { host: &self.host, bell: &self.heard.bell, answer: || self.heard() }
    }
}

impl Ear {
    fn hear(&self, delivery: &Delivery<'_>) {
        let recorded = Recorded::new(delivery.sequence(), Arc::clone(delivery.event()));
        // One turn, so nobody was faster.
        let _ = self.0.recorded.set(Box::new(recorded));
        self.0.bell.ring();
    }
}

impl Drop for Ear {
    fn drop(&mut self) {
        self.0.bell.ring();
    }
}

/// What the history keeps, oldest first, up to a number from which on everything is heard by those subscribed before this call.
pub(super) fn kept_before(bus: &EventBus, host: &Host) -> Vec<Recorded> {
    bus.history().kept_until(host.settled_sequence())
}

/// What a filter says of an event out of the history: it is asked as the bus asks it.
pub(super) fn says_yes(host: &Host, filter: &Condition, event: &Event) -> bool {
    let mut answer = false;
    if panics(|| answer = host.within(|| filter(event))) {
        log(|| tracing::warn!(event_type = event.event_type().as_str(), "a filter panicked: no match"));
    }
    answer
}

impl fmt::Debug for WaitBuilder<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WaitBuilder")
            .field("includes_history", &self.includes_history)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for EventWait {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventWait")
            .field("patterns", &self.subscription.patterns())
            .field("heard", &self.heard())
            .finish_non_exhaustive()
    }
}
