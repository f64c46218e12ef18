//! How long an event is on its way through a queued bus: from just before `publish` to the start of its handler, beside
//! bare channels with a thread blocked in `recv`, in the same run. Prints one table, in microseconds.
//!
//! Idle: an event now and then, so that the worker has gone to sleep, or spins. Loaded: beside it, another publisher
//! keeps the worker busy for half of the time, with handlers of 50 us; an event that comes during one waits for its end,
//! whatever it came through, so the channels' rows are the floor.
//!
//! An event counts from its own publish; one that is published late because the machine was busy is not counted from when
//! it was due. Each row checks that every event arrived before it is printed.

use codomyrmex_events::{Event, EventBus, EventType, Payload, WaitStrategy};
use hdrhistogram::Histogram;
use std::hint::spin_loop;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};
use tokio::sync::broadcast;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Events measured for each row.
const EVENTS: usize = 8_000;

/// Between two measured events. Not a multiple of `LOAD_PERIOD`, so that they meet its handlers at every stage.
const PERIOD: Duration = Duration::from_micros(273);

/// Between two events of the other publisher, and how long each keeps the worker.
const LOAD_PERIOD: Duration = Duration::from_micros(100);
const LOAD: Duration = Duration::from_micros(50);

/// Places of each queue.
const ROOM: usize = 1_024;

const SPIN: WaitStrategy = WaitStrategy::SpinThenPark(Duration::from_millis(20));

/// When each measured event was published and how long it was on its way, both in nanoseconds.
struct Log {
    zero: Instant,
    published: Vec<AtomicU64>,
    under_way: Vec<AtomicU64>,
    arrived: AtomicU64,
}

impl Log {
    fn new() -> Arc<Self> {
        let numbers = || (0..EVENTS).map(|_| AtomicU64::new(0)).collect();
        Arc::new(Log {
            zero: Instant::now(),
            published: numbers(),
            under_way: numbers(),
            arrived: AtomicU64::new(0),
        })
    }

    fn now(&self) -> u64 {
        self.zero.elapsed().as_nanos() as u64
    }

    /// What every handler does first.
    fn arrive(&self, event: &Event) {
        let now = self.now();
        let number = *event.data().downcast_ref::<usize>().expect("a measured event has its number");
        self.under_way[number].store(now - self.published[number].load(Ordering::Relaxed), Ordering::Relaxed);
        self.arrived.fetch_add(1, Ordering::Release);
    }

    fn wait_for_all(&self) {
        let begin = Instant::now();
        while self.arrived.load(Ordering::Acquire) < EVENTS as u64 {
            assert!(begin.elapsed() < Duration::from_secs(10), "not every event arrived");
            thread::sleep(Duration::from_millis(1));
        }
    }
}

fn busy() {
    let begin = Instant::now();
    while begin.elapsed() < LOAD {
        spin_loop();
    }
}

/// What a channel's receiver does; the bus has a subscription for each.
fn handle(log: &Log, event: &Event) {
    if *event.event_type() == EventType::BuildStart {
        log.arrive(event);
    } else {
        busy();
    }
}

/// Does `act` every `period`. After it came late it catches up, so that the rate is kept.
fn every(period: Duration, mut act: impl FnMut() -> bool) {
    let mut due = Instant::now();
    loop {
        if !act() {
            return;
        }
        due += period;
        thread::sleep(due.saturating_duration_since(Instant::now()));
    }
}

/// Publishes the measured events, and the load beside them if there is to be one; prints the row.
fn measure(name: &str, is_loaded: bool, log: &Log, publish: &(dyn Fn(Arc<Event>) + Sync)) {
    let measured: Vec<_> = (0..EVENTS)
        .map(|number| {
            Event::builder(EventType::BuildStart, "ci_pipeline").data(Payload::typed(number)).build()
        })
        .map(|event| Arc::new(event.expect("a valid event")))
        .collect();
    let load = Event::builder(EventType::DeployStart, "ci_pipeline").build().expect("a valid event");
    let load = Arc::new(load);
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        if is_loaded {
            scope.spawn(|| {
                every(LOAD_PERIOD, || {
                    publish(Arc::clone(&load));
                    !is_over.load(Ordering::Relaxed)
                });
            });
        }
        let mut left = measured.into_iter().enumerate();
        every(PERIOD, || {
            let Some((number, event)) = left.next() else { return false };
            log.published[number].store(log.now(), Ordering::Relaxed);
            publish(event);
            true
        });
        log.wait_for_all();
        is_over.store(true, Ordering::Relaxed);
    });
    print_row(name, is_loaded, log);
}

fn print_row(name: &str, is_loaded: bool, log: &Log) {
    let mut times = Histogram::<u64>::new(3).expect("three digits are allowed");
    for nanoseconds in &log.under_way {
        times.record(nanoseconds.load(Ordering::Relaxed)).expect("it grows as needed");
    }
    assert_eq!(times.len(), EVENTS as u64);
    let quantiles = [0.5, 0.9, 0.99, 0.999].map(|quantile| times.value_at_quantile(quantile));
    print!("{:<8}{name:<28}", if is_loaded { "loaded" } else { "idle" });
    for nanoseconds in quantiles.into_iter().chain([times.max()]) {
        print!("{:>10.1}", nanoseconds as f64 / 1_000.0);
    }
    println!();
}

fn through_bus(name: &str, is_loaded: bool, wait: WaitStrategy) {
    let builder = EventBus::builder().queued().max_workers(1).lane_room(ROOM);
    let bus = builder.wait_strategy(wait).build().expect("valid settings");
    let log = Log::new();
    let arriving = Arc::clone(&log);
    bus.subscribe("build.*").handler(move |event| arriving.arrive(event)).expect("a subscription");
    bus.subscribe("deploy.*").handler(|_| busy()).expect("a subscription");
    measure(name, is_loaded, &log, &|event| {
        bus.publish(event).expect("accepted");
    });
}

fn through_crossbeam(is_loaded: bool) {
    let (sender, receiver) = crossbeam_channel::bounded::<Arc<Event>>(ROOM);
    let log = Log::new();
    thread::scope(|scope| {
        let log = &log;
        scope.spawn(move || receiver.iter().for_each(|event| handle(log, &event)));
        measure("crossbeam-channel", is_loaded, log, &|event| {
            sender.send(event).expect("there is a receiver");
        });
        drop(sender);
    });
}

fn through_std(is_loaded: bool) {
    let (sender, receiver) = mpsc::sync_channel::<Arc<Event>>(ROOM);
    let log = Log::new();
    thread::scope(|scope| {
        let log = &log;
        scope.spawn(move || receiver.iter().for_each(|event| handle(log, &event)));
        measure("std::sync::mpsc", is_loaded, log, &|event| {
            sender.send(event).expect("there is a receiver");
        });
        drop(sender);
    });
}

fn through_broadcast(is_loaded: bool) {
    let (sender, mut receiver) = broadcast::channel::<Arc<Event>>(ROOM);
    let log = Log::new();
    thread::scope(|scope| {
        let log = &log;
        scope.spawn(move || {
            while let Ok(event) = receiver.blocking_recv() {
                handle(log, &event);
            }
        });
        measure("tokio broadcast", is_loaded, log, &|event| {
            sender.send(event).expect("there is a receiver");
        });
        drop(sender);
    });
}

fn main() {
    println!("{EVENTS} events a row, one every {PERIOD:?}; microseconds");
    println!(
        "{:<8}{:<28}{:>10}{:>10}{:>10}{:>10}{:>10}",
        "worker", "through", "p50", "p90", "p99", "p99.9", "max"
    );
    for is_loaded in [false, true] {
        through_bus("bus, Park", is_loaded, WaitStrategy::Park);
        through_bus("bus, SpinThenPark(20 ms)", is_loaded, SPIN);
        through_crossbeam(is_loaded);
        through_std(is_loaded);
        through_broadcast(is_loaded);
    }
}
