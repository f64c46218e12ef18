//! The end of a bus: refuse, drain, report; asked for, or because the last handle was dropped.

use super::ending::{ShutdownReport, UndeliveredEvent};
use super::{Bus, EventBus};
use crate::clock::Deadline;
use crate::context;
#[cfg(feature = "queued")]
use crate::dispatch::drops::DropCause;
use crate::dispatch::engine::Engine;
use crate::dispatch::later::Work;
use crate::dispatch::retry::Late;
use crate::quiet::log;
use crate::sync::Ordering;
use std::sync::Arc;
use std::time::Duration;

/// How long the drop of a bus's last handle waits for what was accepted.
pub const DRAIN_ON_DROP: Duration = Duration::from_secs(5);

/// How long a shutdown whose limit is over waits for delayed events that are changing hands at that moment: a matter of
/// microseconds, unless interceptors are being asked about them.
const HANDOVER_LIMIT: Duration = Duration::from_secs(1);

impl EventBus {
    /// Refuses new events and subscriptions, and waits up to `limit` until all that was accepted has been handled,
    /// retries included. What is left then is given up, and reported event by event. Called from within a handler of
    /// this bus, it does not wait and gives nothing up: what is pending goes on, and is reported as a number.
    ///
    /// It blocks the thread: where asynchronous handlers need that thread, as on a runtime with only one, use
    /// [`shutdown_async`](Self::shutdown_async).
    pub fn shutdown(&self, limit: Duration) -> ShutdownReport {
        self.bus.shut_down(limit)
    }

    /// [`shutdown`](Self::shutdown) for async code. It needs no particular runtime. Dropped before it is done, the bus is
    /// closed, and nothing is given up.
    pub async fn shutdown_async(&self, limit: Duration) -> ShutdownReport {
        self.bus.shut_down_async(limit).await
    }
}

/// The end of a bus, as far as somebody waits for it.
struct EndOfWaits<'a>(&'a Engine);

impl Drop for EndOfWaits<'_> {
    fn drop(&mut self) {
        self.0.ended.ring();
    }
}

impl Bus {
    pub(super) fn shut_down(&self, limit: Duration) -> ShutdownReport {
        let engine = &self.engine;
        let deadline = Deadline::after(limit);
        let _closing = self.close();
        if context::is_inside(engine.key) {
            return self.report();
        }
        let in_progress = engine.publishes_in_progress();
        deadline.wait_until(|| in_progress.are_over());
        self.wait_until_quiet(limit, deadline);
        self.end(deadline)
    }

    /// [`shut_down`](Self::shut_down) without blocking the thread.
    pub(super) async fn shut_down_async(&self, limit: Duration) -> ShutdownReport {
        let engine = &self.engine;
        if engine.is_manual() || context::is_inside(engine.key) {
            return self.shut_down(limit);
        }
        let deadline = Deadline::after(limit);
        let _closing = self.close();
        let in_progress = engine.publishes_in_progress();
        // Nobody tells of an unpin; it is a matter of microseconds, unless a publisher's handlers take long.
        let mut nap = Duration::from_millis(1);
        while !in_progress.are_over() && !deadline.is_past() {
            let Some(alarm) = engine.alarm(nap.min(deadline.left())) else { break };
            alarm.rung().await;
            nap = (nap * 2).min(Duration::from_millis(50));
        }
        self.wait_until_quiet_async(deadline.left()).await;
        self.end(Deadline::after(Duration::ZERO))
    }

    /// What is pending, and the delayed events that the bus took back.
    fn report(&self) -> ShutdownReport {
        // In this order, what changes hands meanwhile is told of twice rather than not at all.
        let on_their_way = self.engine.later.waiting_events() as u64;
        let pending = self.engine.pending() + on_their_way;
        ShutdownReport {
            pending,
            undelivered: Vec::new(),
            unpublished: self.engine.later.unpublished().collect(),
        }
    }

    /// Gives up what is left, and lets all threads go: waits for them until `deadline` if they have nothing to do.
    fn end(&self, deadline: Deadline) -> ShutdownReport {
        let later = &self.engine.later;
        if later.waiting_events() != 0 {
            // What was waiting for room again is taken back; what somebody has in hands finds the bus closed.
            later.unpublish();
            Deadline::after(HANDOVER_LIMIT).wait_until(|| later.waiting_events() == 0);
        }
        let mut report = self.report();
        self.give_up(&mut report);
        report.undelivered.sort_by_key(|left| left.sequence);
        self.stop_workers(report.is_complete(), deadline);
        #[cfg(feature = "async")]
        self.tasks.end();
        report
    }

    /// Whether asynchronous handlers may have something to do.
    #[cfg_attr(not(feature = "async"), allow(clippy::unused_self, reason = "there are none"))]
    fn has_mailboxes(&self) -> bool {
        #[cfg(feature = "async")]
        return !self.registry.mailboxes().is_empty();
        #[cfg(not(feature = "async"))]
        false
    }

    /// Refuses everything new. Whoever waits for an event to be heard is told that none will be when the caller is done with it.
    fn close(&self) -> EndOfWaits<'_> {
        self.registry.close(&self.engine);
        #[cfg(feature = "stream")]
        Engine::close_feeds(&self.registry.feeds());
        #[cfg(feature = "queued")]
        if let Some(queue) = &self.engine.queue {
            queue.lanes.end_waits();
        }
        self.engine.later.unpublish();
        self.engine.tell_flushers();
        self.parts.close(self.engine.key);
        EndOfWaits(&self.engine)
    }

    /// Waits until nothing is pending; false if the time is up first. Of a manual bus, it does what there is to do, and
    /// moves time on for it by at most `limit`.
    #[cfg_attr(not(feature = "queued"), allow(unused_variables, reason = "no bus is manual"))]
    pub(super) fn wait_until_quiet(&self, limit: Duration, deadline: Deadline) -> bool {
        #[cfg(feature = "queued")]
        if self.engine.is_manual() {
            return self.drive_until_quiet(limit);
        }
        loop {
            let flusher = self.engine.flusher();
            if self.engine.is_quiet() {
                return true;
            }
            if deadline.is_past() {
                return false;
            }
            flusher.wait(deadline.left());
        }
    }

    /// Takes back all that waits: in the lanes, in mailboxes, for another attempt, for its time; and what asynchronous
    /// handlers are handling.
    fn give_up(&self, report: &mut ShutdownReport) {
        let engine = &self.engine;
        let mut left: Vec<Box<Late>> = Vec::new();
        for work in engine.later.stop() {
            match work {
                Work::Retry(late) => left.push(late),
                Work::Publish(delayed) => report.unpublished.push((*delayed).into_event()),
                Work::Remind(_) => {}
            }
        }
        engine.tell_flushers();
        #[cfg(feature = "queued")]
        if let Some(queue) = &engine.queue {
            for job in queue.lanes.drain() {
                let (event, sequence) = (Arc::clone(&job.event), job.sequence);
                report.undelivered.push(UndeliveredEvent::unheard(event, sequence, false));
                engine.discard(job.into_dropped(), DropCause::ShutDown);
            }
        }
        #[cfg(feature = "queued")]
        if let Some(queue) = engine.queue.as_ref().filter(|_| report.pending != 0) {
            let running = queue.desks.look().into_iter();
            report
                .undelivered
                .extend(running.map(|(event, sequence)| UndeliveredEvent::unheard(event, sequence, true)));
        }
        #[cfg(feature = "async")]
        left.extend(self.registry.mailboxes().iter().flat_map(|mailbox| mailbox.stop()));
        for late in left {
            report.undelivered.push(UndeliveredEvent::of(&late));
            engine.cancel(late);
        }
        engine.after_pin();
    }

    /// Sends the workers home, and waits for them if they have nothing to do: until the deadline, for one may be telling of
    /// a letter.
    #[cfg_attr(not(feature = "queued"), allow(clippy::unused_self, unused_variables, reason = "no workers"))]
    fn stop_workers(&self, are_idle: bool, deadline: Deadline) {
        #[cfg(feature = "queued")]
        if let Some(queue) = &self.engine.queue {
            queue.stop();
            let workers = self.workers.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take();
            if let Some(workers) = workers.filter(|_| are_idle) {
                workers.join(deadline);
            }
        }
    }
}

/// What all handles on a bus share. The bus ends with it.
pub(super) struct Handle {
    pub(super) bus: Arc<Bus>,
}

impl Drop for Handle {
    fn drop(&mut self) {
        let engine = &self.bus.engine;
        // Handlers that ask for their bus while it ends make handles of their own.
        if self.bus.is_ending.swap(true, Ordering::AcqRel) {
            return;
        }
        let is_inside = context::is_inside(engine.key);
        let is_driven = engine.is_manual() && is_inside;
        let has_helpers = engine.is_manual() || engine.has_threads() || self.bus.has_mailboxes();
        if is_driven || !(has_helpers || engine.pending() != 0) {
            // The driver goes on with what is left. Or the bus is inline and nothing was ever put off.
            drop(self.bus.close());
            return;
        }
        // The bus's own thread drains where the caller must not wait, be it only for workers that have nothing to do.
        if !engine.is_manual() && (is_inside || is_async_context()) {
            let drained = Arc::clone(&self.bus);
            let thread = std::thread::Builder::new().name("events-drain".to_owned());
            if thread.spawn(move || end_for_good(&drained)).is_ok() {
                return;
            }
        }
        end_for_good(&self.bus);
    }
}

fn end_for_good(bus: &Bus) {
    let is_shut_down = !bus.engine.table().is_open && bus.engine.later.is_stopped();
    if !is_shut_down {
        drain(bus);
    }
    // A delivery that somebody keeps keeps the bus, but neither the handlers nor the interceptors.
    bus.registry.unsubscribe_all(&bus.engine);
    bus.remove_interceptors();
}

fn drain(bus: &Bus) {
    let report = bus.shut_down(DRAIN_ON_DROP);
    if !report.is_complete() {
        let (pending, given_up) = (report.pending, report.undelivered.len());
        log(|| tracing::warn!(pending, given_up, "a bus was dropped before all its events were handled"));
    }
}

/// Whether the current thread belongs to an async runtime, whose tasks must not be held up.
pub(super) fn is_async_context() -> bool {
    #[cfg(feature = "async")]
    return tokio::runtime::Handle::try_current().is_ok();
    #[cfg(not(feature = "async"))]
    false
}
