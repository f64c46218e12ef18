//! [`Host`]: what a part above the bus needs to live on one: its time, its runtime, and a word when somebody waits for quiet.
//!
//! A host holds no handle, so that what lives on a bus does not keep it from being shut down when its last handle goes; and
//! it goes on while the bus drains.

#[cfg(feature = "stream")]
use super::lifetime::is_async_context;
use super::{Bus, EventBus};
use crate::clock::Clock;
#[cfg(feature = "stream")]
use crate::clock::Moment;
use crate::context;
use crate::dispatch::alarm::Bell;
#[cfg(feature = "stream")]
use crate::dispatch::mailbox::Task;
#[cfg(feature = "stream")]
use crate::error::{EventSubscriptionError, SubscriptionErrorKind};
use crate::sync::SignalListener;
use crate::timers::Ticket;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll};
use std::time::Duration;

#[derive(Clone)]
pub(crate) struct Host {
    bus: Weak<Bus>,
    key: u64,
    clock: Clock,
    ended: Arc<Bell>,
}

impl EventBus {
    pub(crate) fn host(&self) -> Host {
        let engine = &self.bus.engine;
        Host {
            bus: Arc::downgrade(&self.bus),
            key: engine.key,
            clock: engine.later.clock.clone(),
            ended: Arc::clone(&engine.ended),
        }
    }
}

impl Host {
    /// Whether a driver moves its time and its tasks.
    pub(crate) fn is_driven(&self) -> bool {
        self.clock.is_manual()
    }

    /// The time on the bus's clock.
    #[cfg(feature = "stream")]
    pub(crate) fn now(&self) -> Moment {
        self.clock.now()
    }

    /// Whether the caller may block its thread until tasks of the bus have come further.
    #[cfg(feature = "stream")]
    pub(crate) fn may_block(&self) -> bool {
        !self.is_driven() && !self.is_inside() && !is_async_context()
    }

    /// Whether the caller is within code that the bus runs.
    pub(crate) fn is_inside(&self) -> bool {
        context::is_inside(self.key)
    }

    /// Runs code as code of this bus: what it publishes is nested, and waiting for the bus in it is waiting for itself.
    pub(crate) fn within<R>(&self, f: impl FnOnce() -> R) -> R {
        context::within_bus(self.key, f)
    }

    /// Whether the bus takes events.
    pub(crate) fn is_open(&self) -> bool {
        self.bus.upgrade().is_some_and(|bus| bus.engine.table().is_open)
    }

    /// Rung when the bus is closed and drained; where it is closed within its own code, which drains nothing, at once.
    pub(crate) fn ended(&self) -> &Bell {
        &self.ended
    }

    /// A handle on the bus: one of those that there are, or one on a bus that is ending. Not to be kept.
    pub(crate) fn bus(&self) -> Option<EventBus> {
        self.bus.upgrade().map(EventBus::of)
    }

    /// The last number now: every event with a higher one is heard by whoever was subscribed before this call. It waits for
    /// publishes that began before and have no number yet, which is a matter of nanoseconds; never for a handler.
    pub(crate) fn settled_sequence(&self) -> u64 {
        self.bus.upgrade().map_or(0, |bus| bus.engine.settled_sequence())
    }

    /// Runs a task where asynchronous handlers run.
    #[cfg(feature = "stream")]
    pub(crate) fn spawn(&self, task: Task) -> Result<(), EventSubscriptionError> {
        let bus = self.bus.upgrade().filter(|bus| bus.engine.table().is_open);
        let bus = bus.ok_or(SubscriptionErrorKind::Closed)?;
        let spawn = bus.tasks.spawn().map_err(|reason| SubscriptionErrorKind::NoRuntime { reason })?;
        spawn(task);
        Ok(())
    }

    /// A timer for `time` from now on the bus's clock; `None` where there is no room for another, or the bus has ended.
    pub(crate) fn timer(&self, time: Duration) -> Option<Timer> {
        let bus = self.bus.upgrade()?;
        let (bell, ticket) = bus.engine.ring_after(time)?;
        Some(Timer { bus: Weak::clone(&self.bus), rung: bell.listen(), bell, ticket })
    }

    /// Calls `call` when `time` has passed on the bus's clock, as code of the bus, and where events that wait for their time
    /// are published: it may publish, and must not take long. `None` where there is no room for another, or the bus has ended.
    pub(crate) fn remind_after(
        &self,
        time: Duration,
        call: impl FnOnce() + Send + 'static,
    ) -> Option<Reminder> {
        let ticket = self.bus.upgrade()?.engine.remind_after(time, Box::new(call))?;
        Some(Reminder { bus: Weak::clone(&self.bus), ticket })
    }

    /// Whether somebody waits until nothing is pending: a flush, a shutdown, the drop of the last handle.
    #[cfg(feature = "stream")]
    pub(crate) fn is_quiet_wanted(&self) -> bool {
        self.bus.upgrade().is_some_and(|bus| bus.engine.is_quiet_wanted())
    }

    /// Told when somebody begins to wait until nothing is pending.
    #[cfg(feature = "stream")]
    pub(crate) fn quiet_wanted(&self) -> Option<SignalListener> {
        Some(self.bus.upgrade()?.engine.quiet_wanted())
    }
}

/// Ready when its time has come, or the bus has ended. Dropping it takes it back. It keeps no bus alive.
pub(crate) struct Timer {
    bus: Weak<Bus>,
    bell: Arc<Bell>,
    rung: SignalListener,
    ticket: Ticket,
}

impl Timer {
    /// Whether its time has come.
    pub(crate) fn is_past(&self) -> bool {
        self.bell.is_rung()
    }

    /// Waits for `told`, or for its time to come.
    pub(crate) async fn or(&mut self, told: &mut SignalListener) {
        poll_fn(|context| {
            let is_told = Pin::new(&mut *told).poll(context).is_ready();
            if is_told { Poll::Ready(()) } else { Pin::new(&mut *self).poll(context) }
        })
        .await;
    }
}

impl Future for Timer {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if self.is_past() { Poll::Ready(()) } else { Pin::new(&mut self.rung).poll(context) }
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        if let Some(bus) = self.bus.upgrade().filter(|_| !self.is_past()) {
            bus.engine.silence(self.ticket);
        }
    }
}

/// A call that is to be made when its time comes. Dropping it takes it back, unless its time has come. It keeps no bus alive.
pub(crate) struct Reminder {
    bus: Weak<Bus>,
    ticket: Ticket,
}

impl Drop for Reminder {
    fn drop(&mut self) {
        if let Some(bus) = self.bus.upgrade() {
            bus.engine.forget(self.ticket);
        }
    }
}

#[cfg(test)]
mod tests {
    #[cfg(feature = "queued")]
    #[test]
    fn a_reminder_comes_at_its_time_unless_it_was_dropped() {
        use crate::bus::EventBus;
        use crate::event::Event;
        use std::time::Duration;

        let (bus, driver) = EventBus::builder().manual().build().unwrap();
        let weak = bus.downgrade();
        let reminded = move || {
            let bus = weak.upgrade().unwrap();
            assert!(bus.host().is_inside());
            bus.publish(Event::builder("reminded", "test").build().unwrap()).unwrap();
        };
        let second = Duration::from_secs(1);
        let kept = bus.host().remind_after(second, reminded.clone());
        drop(bus.host().remind_after(second, reminded));
        driver.advance(second / 2);
        assert_eq!(bus.history().last_sequence(), 0);
        driver.advance(second / 2);
        assert_eq!(bus.history().last_sequence(), 1);
        drop(kept);
    }

    #[cfg(feature = "queued")]
    #[test]
    fn a_timer_that_is_dropped_is_taken_back() {
        use crate::bus::EventBus;
        use std::time::Duration;

        let (bus, _driver) = EventBus::builder().manual().build().unwrap();
        let later = &bus.bus.engine.later;
        let timer = bus.host().timer(Duration::from_secs(1));
        assert!(timer.is_some() && later.next_due().is_some());
        drop(timer);
        assert!(later.next_due().is_none());
    }
}
