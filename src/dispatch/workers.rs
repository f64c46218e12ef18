//! Queued dispatch, the workers' side: each thread of a `rayon` pool hosts one long-lived drain loop.
//!
//! A worker holds a lane for a turn of up to 32 jobs, which it takes one by one, so that a critical event overtakes all
//! that was not begun. Then others may have the lane. Each job is run under a pin of its own: who waits for an
//! unsubscription waits for one event, not for a turn.

use super::deliver::Turn;
use super::desk::Shown;
use super::engine::{Engine, Owner};
use super::queue::{Job, Queue, WaitStrategy};
use crate::clock::Deadline;
use crate::lanes::TURN_MAX;
use crate::sync::Ordering;
use rayon::{ThreadPool, ThreadPoolBuildError, ThreadPoolBuilder};
use std::sync::Arc;
use std::thread::{self, JoinHandle};

/// The threads of a queued bus.
pub(crate) struct Workers {
    pool: ThreadPool,
    threads: Vec<JoinHandle<()>>,
}

impl Workers {
    /// Starts `count` threads named `events-worker-N`; `processors`, if there are any, say where they run, in turn.
    /// They keep `owner` alive until its queue is stopped.
    pub(crate) fn start(
        owner: &Arc<dyn Owner>,
        count: usize,
        processors: &[usize],
    ) -> Result<Self, ThreadPoolBuildError> {
        let mut threads = Vec::with_capacity(count);
        let pool = ThreadPoolBuilder::new()
            .num_threads(count)
            .spawn_handler(|worker| {
                let name = format!("events-worker-{}", worker.index());
                let processor =
                    (!processors.is_empty()).then(|| processors[worker.index() % processors.len()]);
                threads.push(thread::Builder::new().name(name).spawn(move || {
                    if let Some(id) = processor
                        && !core_affinity::set_for_current(core_affinity::CoreId { id })
                    {
                        tracing::warn!(processor = id, "a worker cannot be pinned to this processor");
                    }
                    worker.run();
                })?);
                Ok(())
            })
            .build()?;
        let owner = Arc::clone(owner);
        pool.spawn_broadcast(move |worker| {
            let engine = owner.engine();
            if let Some(queue) = &engine.queue {
                engine.work(queue, worker.index());
            }
        });
        Ok(Workers { pool, threads })
    }

    /// Waits until `deadline` for the threads, whose queue was stopped. Called by one of them, it leaves them to themselves.
    pub(crate) fn join(self, deadline: Deadline) {
        let Workers { pool, threads } = self;
        drop(pool);
        let me = thread::current().id();
        let is_other = threads.iter().all(|thread| thread.thread().id() != me);
        if is_other && deadline.wait_until(|| threads.iter().all(JoinHandle::is_finished)) {
            for thread in threads {
                // A worker's panic was said by the panic hook, and a drain loop has none of its own.
                let _ = thread.join();
            }
        }
    }
}

impl Engine {
    /// Works until the queue is stopped and empty.
    fn work(&self, queue: &Queue, worker: usize) {
        // PERF: events of one type share a route, whose count their publisher is about to raise again: those of a turn are
        // let go together (`queue/1 to 1`).
        let mut routes = Vec::with_capacity(TURN_MAX);
        loop {
            // Before the last look, so that what came in before workers were sent home is found: see `Engine::offer`.
            let is_stopping = queue.is_stopping.load(Ordering::SeqCst);
            let had_work = self.do_next_due(Some(worker));
            if let Some(mut lane) = queue.lanes.hold() {
                let is_wanted = || self.later.has_due() || queue.is_stopping.load(Ordering::SeqCst);
                loop {
                    for job in lane.by_ref() {
                        let shown = queue.desks.show(worker, &job.event, job.sequence);
                        self.run(&job, Some(shown));
                        let Job { event, tail, route, .. } = job;
                        self.let_go((event, tail));
                        routes.push(route);
                    }
                    if !lane.lingers(is_wanted) {
                        break;
                    }
                }
                lane.leave();
                routes.clear();
            } else if !had_work {
                self.tell_flushers();
                if is_stopping {
                    return;
                }
                self.wait_for_work(queue, worker);
            }
        }
    }

    /// Takes one job, if there is one, and does it; for a driver.
    pub(crate) fn run_next(&self, queue: &Queue) -> bool {
        let Some(mut lane) = queue.lanes.hold() else { return false };
        let job = lane.next();
        // Left before the job is done: whoever comes in from within it finds the others.
        lane.leave();
        job.map(|job| {
            self.run(&job, None);
            self.let_go(job);
        })
        .is_some()
    }

    /// Hands one event to all who hear it. It is off the desk before it counts as completed.
    #[inline]
    fn run(&self, job: &Job, shown: Option<Shown<'_>>) {
        if let (Some(latencies), Some(queued_for)) = (&self.latencies, job.queued_for) {
            latencies.queueing.add(queued_for.elapsed());
        }
        self.pinned(|shard, view, _, pin| {
            self.look_again(view, shard);
            let turn = Turn::new(self, pin, view, &job.event, job.sequence).watched(job.tail.clone());
            let is_completed = self.frame(&job.event, 0).enter(|| turn.complete(job.heard()));
            drop(shown);
            shard.completed.add(u64::from(is_completed));
        });
    }

    /// Waits for something to do, as the bus's strategy says.
    fn wait_for_work(&self, queue: &Queue, worker: usize) {
        let has_work =
            || queue.lanes.has_ready() || self.later.has_due() || queue.is_stopping.load(Ordering::SeqCst);
        if let WaitStrategy::SpinThenPark(limit) = queue.settings.wait {
            let deadline = Deadline::after(limit);
            while !deadline.is_past() {
                for _ in 0..64 {
                    if has_work() {
                        return;
                    }
                    std::hint::spin_loop();
                }
            }
        }
        queue.sleepers.sleep(worker, has_work);
    }
}
