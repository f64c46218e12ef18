//! How many events a queued bus moves from publishers to a worker, beside the bare queues that one might use instead, in
//! the same run.
//!
//! All move a clone of one `Arc<Event>` through 1,024 places to one thread, which counts it. Time runs from the first
//! publish to the last one handled. A full queue makes its publishers wait: the bus and `crossbeam-channel` do so
//! themselves; `disruptor` and `tokio`'s broadcast, which has no backpressure, are asked again after a `yield_now`.
//!
//! Every run checks that all events were handled before its time counts.

use codomyrmex_events::{Event, EventBus, EventType, WaitStrategy};
use criterion::{Criterion, SamplingMode, Throughput, criterion_group, criterion_main};
use disruptor::Producer as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Barrier, OnceLock};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};
use tokio::sync::broadcast;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Events of one run.
const EVENTS: u64 = 200_000;

/// Places of each queue; the bus's default for a band of a lane.
const ROOM: usize = 1_024;

const BATCH: usize = 100;

const SPIN: WaitStrategy = WaitStrategy::SpinThenPark(Duration::from_micros(50));

/// Counts what one thread hears, and tells the one who made it when that is all.
struct Tally {
    heard: AtomicU64,
    length: AtomicU64,
    end: OnceLock<Instant>,
    waits: Thread,
}

impl Tally {
    fn new() -> Arc<Self> {
        Arc::new(Tally {
            heard: AtomicU64::new(0),
            length: AtomicU64::new(0),
            end: OnceLock::new(),
            waits: thread::current(),
        })
    }

    /// What every handler does; only one thread calls it.
    fn hear(&self, event: &Event) {
        let length = self.length.load(Ordering::Relaxed) + event.source().len() as u64;
        self.length.store(length, Ordering::Relaxed);
        let heard = self.heard.load(Ordering::Relaxed) + 1;
        self.heard.store(heard, Ordering::Release);
        if heard == EVENTS {
            self.end.get_or_init(Instant::now);
            self.waits.unpark();
        }
    }

    /// When the last event was handled.
    fn end(&self) -> Instant {
        loop {
            if let Some(end) = self.end.get() {
                return *end;
            }
            thread::park();
        }
    }

    fn check(&self, event: &Event) {
        assert_eq!(self.heard.load(Ordering::Acquire), EVENTS);
        assert_eq!(self.length.load(Ordering::Relaxed), EVENTS * event.source().len() as u64);
    }
}

fn event() -> Arc<Event> {
    Arc::new(Event::builder(EventType::BuildStart, "ci_pipeline").build().expect("a valid event"))
}

/// Has each of `publishers` publish its share of the events from a thread of its own, and times it all.
fn timed<P>(tally: &Tally, event: &Arc<Event>, publishers: Vec<P>) -> Duration
where
    P: FnMut(&Arc<Event>, u64) + Send,
{
    let share = EVENTS / publishers.len() as u64;
    assert_eq!(share * publishers.len() as u64, EVENTS);
    let begins = Barrier::new(publishers.len());
    let begin = thread::scope(|scope| {
        let started: Vec<_> = publishers
            .into_iter()
            .map(|mut publish| {
                let begins = &begins;
                scope.spawn(move || {
                    begins.wait();
                    let begin = Instant::now();
                    publish(event, share);
                    begin
                })
            })
            .collect();
        started.into_iter().map(|publisher| publisher.join().expect("nobody panics")).min()
    });
    let taken = tally.end() - begin.expect("there is a publisher");
    tally.check(event);
    taken
}

/// A bus with one worker and one lane.
fn bus(history: usize, wait: WaitStrategy, tally: &Arc<Tally>) -> EventBus {
    let builder = EventBus::builder().queued().max_workers(1).lanes(1).lane_room(ROOM);
    let bus = builder.history(history).wait_strategy(wait).build().expect("valid settings");
    let tally = Arc::clone(tally);
    bus.subscribe("build.*").handler(move |event| tally.hear(event)).expect("a subscription");
    bus
}

fn through_bus(publishers: usize, history: usize, wait: WaitStrategy) -> Duration {
    let tally = Tally::new();
    let bus = bus(history, wait, &tally);
    let publish = || {
        let bus = bus.clone();
        move |event: &Arc<Event>, share| {
            for _ in 0..share {
                bus.publish(Arc::clone(event)).expect("accepted");
            }
        }
    };
    timed(&tally, &event(), (0..publishers).map(|_| publish()).collect())
}

fn through_bus_in_batches(publishers: usize) -> Duration {
    let tally = Tally::new();
    let bus = bus(1_000, WaitStrategy::Park, &tally);
    let publish = || {
        let bus = bus.clone();
        move |event: &Arc<Event>, share| {
            for _ in 0..share / BATCH as u64 {
                let outcomes = bus.publish_batch(vec![Arc::clone(event); BATCH]);
                assert!(outcomes.iter().all(Result::is_ok));
            }
        }
    };
    timed(&tally, &event(), (0..publishers).map(|_| publish()).collect())
}

fn through_disruptor(publishers: usize) -> Duration {
    let tally = Tally::new();
    let hears = Arc::clone(&tally);
    let processor = move |slot: &Option<Arc<Event>>, _: disruptor::Sequence, _: bool| {
        hears.hear(slot.as_ref().expect("what is published was filled"));
    };
    let producer = disruptor::build_multi_producer(ROOM, || None, disruptor::BusySpinWithSpinLoopHint)
        .handle_events_with(processor)
        .build();
    let publish = || {
        let mut producer = producer.clone();
        move |event: &Arc<Event>, share| {
            for _ in 0..share {
                while producer.try_publish(|slot| *slot = Some(Arc::clone(event))).is_err() {
                    thread::yield_now();
                }
            }
        }
    };
    timed(&tally, &event(), (0..publishers).map(|_| publish()).collect())
}

fn through_broadcast(publishers: usize) -> Duration {
    let tally = Tally::new();
    let (sender, mut receiver) = broadcast::channel::<Arc<Event>>(ROOM);
    let hears = Arc::clone(&tally);
    let hearer = thread::spawn(move || {
        while let Ok(event) = receiver.blocking_recv() {
            hears.hear(&event);
        }
    });
    // The others may send between the look and the send; without this the receiver would lag and miss something.
    let full = ROOM - publishers;
    let publish = || {
        let sender = sender.clone();
        move |event: &Arc<Event>, share| {
            for _ in 0..share {
                while sender.len() >= full {
                    thread::yield_now();
                }
                sender.send(Arc::clone(event)).expect("there is a receiver");
            }
        }
    };
    let taken = timed(&tally, &event(), (0..publishers).map(|_| publish()).collect());
    drop(sender);
    hearer.join().expect("nobody panics");
    taken
}

fn through_channel(publishers: usize) -> Duration {
    let tally = Tally::new();
    let (sender, receiver) = crossbeam_channel::bounded::<Arc<Event>>(ROOM);
    let hears = Arc::clone(&tally);
    let hearer = thread::spawn(move || receiver.iter().for_each(|event| hears.hear(&event)));
    let publish = || {
        let sender = sender.clone();
        move |event: &Arc<Event>, share| {
            for _ in 0..share {
                sender.send(Arc::clone(event)).expect("there is a receiver");
            }
        }
    };
    let taken = timed(&tally, &event(), (0..publishers).map(|_| publish()).collect());
    drop(sender);
    hearer.join().expect("nobody panics");
    taken
}

fn queue(criterion: &mut Criterion) {
    for publishers in [1, 4] {
        let mut group = criterion.benchmark_group(format!("queue/{publishers} to 1"));
        group.throughput(Throughput::Elements(EVENTS)).sampling_mode(SamplingMode::Flat);
        let mut bench = |name: &str, run: &dyn Fn() -> Duration| {
            group.bench_function(name, |bencher| {
                bencher.iter_custom(|runs| (0..runs).map(|_| run()).sum());
            });
        };
        bench("bus, history on", &|| through_bus(publishers, 1_000, WaitStrategy::Park));
        bench("bus, history off", &|| through_bus(publishers, 0, WaitStrategy::Park));
        bench("bus, history on, spinning", &|| through_bus(publishers, 1_000, SPIN));
        bench("bus, history off, spinning", &|| through_bus(publishers, 0, SPIN));
        bench("bus, history on, batches of 100", &|| through_bus_in_batches(publishers));
        bench("disruptor, spinning", &|| through_disruptor(publishers));
        bench("tokio broadcast", &|| through_broadcast(publishers));
        bench("crossbeam-channel", &|| through_channel(publishers));
        group.finish();
    }
}

fn few_samples() -> Criterion {
    Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(2))
}

criterion_group! { name = benches; config = few_samples(); targets = queue }
criterion_main!(benches);
