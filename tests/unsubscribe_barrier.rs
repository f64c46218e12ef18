//! The end of a subscription, raced: after `unsubscribe_and_wait` said `Ok` its handler is not running and is never called,
//! and its captures are gone. Many racers on one bus, with publishers that never pause.
//!
//! With `CODOMYRMEX_STRESS_SECONDS` each kind of race takes that long instead of a fixed number of ends.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the report")]

#[path = "support/block_on.rs"]
mod block_on;
#[path = "support/laws.rs"]
mod laws;
#[path = "support/stress.rs"]
mod stress;
#[path = "support/bus.rs"]
mod support;

use block_on::block_on;
use codomyrmex_events::{Event, EventBus, Overflow, OwnedDelivery};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::thread;
use std::time::{Duration, Instant};
use stress::{Random, Seed, mixed};
use support::{WATCHDOG, capture, is_dropped};

const RACERS: u64 = 8;
const ENDS_EACH: u64 = 6_500;

/// What a handler that may have ended is seen doing.
#[derive(Default)]
struct Watched {
    has_ended: AtomicBool,
    running: AtomicU64,
    called_after: Arc<AtomicU64>,
}

/// A handler in progress.
struct Run(Arc<Watched>);

impl Run {
    fn begin(watched: &Arc<Watched>) -> Self {
        watched.running.fetch_add(1, SeqCst);
        watched.called_after.fetch_add(u64::from(watched.has_ended.load(SeqCst)), SeqCst);
        Run(Arc::clone(watched))
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        self.0.called_after.fetch_add(u64::from(self.0.has_ended.load(SeqCst)), SeqCst);
        self.0.running.fetch_sub(1, SeqCst);
    }
}

/// One subscription from beginning to end; whether its handler was ever called.
fn race(bus: &EventBus, is_async: bool, random: &mut Random, called_after: &Arc<AtomicU64>) {
    let watched = Arc::new(Watched { called_after: Arc::clone(called_after), ..Watched::default() });
    let (value, seen) = capture();
    let running = Arc::clone(&watched);
    let builder = bus.subscribe("race.*");
    let builder = match random.below(4) {
        0 => {
            let (asked, value) = (Arc::clone(&watched), Arc::clone(&value));
            builder.filter(move |_| {
                std::hint::black_box(&value);
                drop(Run::begin(&asked));
                true
            })
        }
        _ => builder,
    };
    let subscription = if is_async {
        let builder = builder.mailbox(8).overflow(Overflow::DropOldest);
        builder.concurrency(1 + random.below(2) as usize).async_handler(move |_: OwnedDelivery| {
            let (value, run) = (Arc::clone(&value), Run::begin(&running));
            async move {
                tokio::task::yield_now().await;
                drop(run);
                drop(value);
            }
        })
    } else {
        builder.handler(move |_| {
            let _run = Run::begin(&running);
            std::hint::black_box(&value);
        })
    };
    let subscription = subscription.unwrap();
    for _ in 0..random.below(3) {
        thread::yield_now();
    }
    match random.below(16) {
        0 => block_on(subscription.unsubscribe_and_wait_async(WATCHDOG)).unwrap(),
        _ => subscription.unsubscribe_and_wait(WATCHDOG).unwrap(),
    }
    watched.has_ended.store(true, SeqCst);
    assert_eq!(watched.running.load(SeqCst), 0, "it is running after its end");
    assert!(is_dropped(&seen), "its capture is alive after its end");
}

fn races(is_queued: bool, is_async: bool) {
    let seed = Seed::given();
    let ends = stress::seconds().map(|seconds| Instant::now() + Duration::from_secs(seconds));
    let builder = EventBus::builder().max_workers(2);
    let builder =
        if is_queued { builder.queued().lane_room(64).overflow(Overflow::DropOldest) } else { builder };
    let bus = builder.build().unwrap();
    let (called_after, is_over) = (Arc::new(AtomicU64::new(0)), AtomicBool::new(false));
    thread::scope(|scope| {
        for publisher in 0..2 {
            let (bus, is_over) = (&bus, &is_over);
            scope.spawn(move || {
                let source = format!("p{publisher}");
                while !is_over.load(SeqCst) {
                    for _ in 0..16 {
                        bus.publish(Event::builder("race.on", source.as_str()).build().unwrap()).unwrap();
                    }
                    thread::yield_now();
                }
            });
        }
        let racing: Vec<_> = (0..RACERS)
            .map(|racer| {
                let (bus, called_after, seed) = (&bus, &called_after, mixed(seed.0.wrapping_add(racer)));
                scope.spawn(move || {
                    let mut random = Random(seed);
                    let mut raced = 0;
                    while ends.map_or(raced < ENDS_EACH, |end| Instant::now() < end) {
                        race(bus, is_async, &mut random, called_after);
                        raced += 1;
                    }
                    raced
                })
            })
            .collect();
        let outcomes: Vec<_> = racing.into_iter().map(thread::ScopedJoinHandle::join).collect();
        is_over.store(true, SeqCst);
        let raced: u64 = outcomes.into_iter().map(Result::unwrap).sum();
        println!("{raced} ends raced with {} events", bus.get_stats().accepted);
    });
    bus.flush(WATCHDOG).unwrap();
    assert_eq!(called_after.load(SeqCst), 0, "handlers were called after their end");
    let stats = bus.get_stats();
    laws::check(&stats);
    assert!(stats.deliveries.succeeded > 0 && stats.subscribers.is_empty());
    assert!(bus.shutdown(WATCHDOG).is_complete());
}

#[test]
fn inline_synchronous_handlers() {
    races(false, false);
}

#[test]
fn inline_asynchronous_handlers() {
    races(false, true);
}

#[test]
fn queued_synchronous_handlers() {
    races(true, false);
}

#[test]
fn queued_asynchronous_handlers() {
    races(true, true);
}
