//! What a publish costs beside streams, and beside as many receivers of `tokio`'s broadcast channel in the same run.
//!
//! - `lagging`: nobody takes anything, and every stream and receiver has long been full; what is missed is counted by both.
//! - `lagging, drop newest`: the same, of streams that keep the oldest; each has a room of its own.
//! - `consumed`: each stream or receiver has a task on two threads that takes what comes, while one thread publishes as fast
//!   as it can. What a publish costs here is what waking and sharing two processors cost. Consumers that fall behind are told so.
//!
//! Each run checks that every event was taken or counted as missed.

use codomyrmex_events::{AsyncStream, Event, EventBus, EventType, FeedOverflow, StreamConsumer, StreamItem};
use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use futures_util::FutureExt;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::broadcast::{self, error::RecvError, error::TryRecvError};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const COUNTS: [usize; 4] = [0, 1, 16, 256];

/// Events that a stream or a receiver may be behind.
const ROOM: usize = 1_024;

fn event() -> Arc<Event> {
    Arc::new(Event::builder(EventType::BuildStart, "ci_pipeline").build().expect("a valid event"))
}

/// A bus with one handler and no history, as the broadcast channel has none.
fn bus() -> EventBus {
    let bus = EventBus::builder().history(0).build().expect("valid settings");
    bus.subscribe("build.*")
        .handler(|event| assert!(std::hint::black_box(event.sequence()) > 0))
        .expect("a valid subscription");
    bus
}

fn streams(bus: &EventBus, count: usize, overflow: FeedOverflow) -> (AsyncStream, Vec<StreamConsumer>) {
    let stream = AsyncStream::builder().heartbeat(None).attach(bus);
    let consumers = (0..count)
        .map(|_| {
            let subscription = stream.subscribe("build.*").buffer(ROOM).overflow(overflow);
            stream.consume(subscription.open().expect("an open bus")).expect("a new subscription")
        })
        .collect();
    (stream, consumers)
}

fn lagging(criterion: &mut Criterion, name: &str, overflow: FeedOverflow) {
    let mut group = criterion.benchmark_group(name);
    for count in COUNTS {
        group.bench_with_input(BenchmarkId::new("streams", count), &count, |bencher, &count| {
            let (bus, event) = (bus(), event());
            let (_stream, consumers) = streams(&bus, count, overflow);
            bencher.iter(|| bus.publish(Arc::clone(&event)).expect("an open bus"));
            consumers.into_iter().for_each(|consumer| check_stream(consumer, bus.history().last_sequence()));
        });
    }
    group.finish();
}

fn lagging_broadcast(criterion: &mut Criterion, name: &str) {
    let mut group = criterion.benchmark_group(name);
    for count in COUNTS.into_iter().skip(1) {
        group.bench_with_input(BenchmarkId::new("tokio broadcast", count), &count, |bencher, &count| {
            let (sender, first) = broadcast::channel::<Arc<Event>>(ROOM);
            let mut receivers = vec![first];
            receivers.extend((1..count).map(|_| sender.subscribe()));
            let (event, mut sent) = (event(), 0);
            bencher.iter(|| {
                sent += 1;
                sender.send(Arc::clone(&event)).expect("there are receivers")
            });
            receivers.into_iter().for_each(|receiver| check_receiver(receiver, sent));
        });
    }
    group.finish();
}

fn check_stream(mut consumer: StreamConsumer, published: u64) {
    let mut accounted = 0;
    while let Some(Some(item)) = consumer.next().now_or_never() {
        accounted += accounted_by(&item);
    }
    assert_eq!(accounted, published);
}

fn accounted_by(item: &StreamItem) -> u64 {
    match item {
        StreamItem::Event(_) => 1,
        StreamItem::Lagged(missed) => *missed,
        _ => 0,
    }
}

fn check_receiver(mut receiver: broadcast::Receiver<Arc<Event>>, sent: u64) {
    let mut accounted = 0;
    loop {
        match receiver.try_recv() {
            Ok(_) => accounted += 1,
            Err(TryRecvError::Lagged(missed)) => accounted += missed,
            Err(_) => break,
        }
    }
    assert_eq!(accounted, sent);
}

fn runtime() -> Runtime {
    Builder::new_multi_thread().worker_threads(2).build().expect("threads")
}

/// Times `iterations` publishes, and waits for the consumers after that.
fn consumed_streams(runtime: &Runtime, count: usize, iterations: u64) -> Duration {
    let (bus, event) = (bus(), event());
    let (stream, consumers) = streams(&bus, count, FeedOverflow::DropOldest);
    let consume = |mut consumer: StreamConsumer| async move {
        let mut accounted = 0;
        while let Some(item) = consumer.next().await {
            accounted += accounted_by(&item);
        }
        accounted
    };
    let tasks: Vec<_> = consumers.into_iter().map(|consumer| runtime.spawn(consume(consumer))).collect();
    let start = Instant::now();
    for _ in 0..iterations {
        bus.publish(Arc::clone(&event)).expect("an open bus");
    }
    let took = start.elapsed();
    stream.stop();
    for task in tasks {
        assert_eq!(runtime.block_on(task).expect("no panic"), iterations);
    }
    took
}

fn consumed_broadcast(runtime: &Runtime, count: usize, iterations: u64) -> Duration {
    let (sender, first) = broadcast::channel::<Arc<Event>>(ROOM);
    let mut receivers = vec![first];
    receivers.extend((1..count).map(|_| sender.subscribe()));
    let receive = |mut receiver: broadcast::Receiver<Arc<Event>>| async move {
        let mut accounted = 0;
        loop {
            match receiver.recv().await {
                Ok(_) => accounted += 1,
                Err(RecvError::Lagged(missed)) => accounted += missed,
                Err(RecvError::Closed) => return accounted,
            }
        }
    };
    let tasks: Vec<_> = receivers.into_iter().map(|receiver| runtime.spawn(receive(receiver))).collect();
    let event = event();
    let start = Instant::now();
    for _ in 0..iterations {
        sender.send(Arc::clone(&event)).expect("there are receivers");
    }
    let took = start.elapsed();
    drop(sender);
    for task in tasks {
        assert_eq!(runtime.block_on(task).expect("no panic"), iterations);
    }
    took
}

fn consumed(criterion: &mut Criterion) {
    let runtime = runtime();
    let mut group = criterion.benchmark_group("stream/consumed");
    for count in COUNTS.into_iter().skip(1) {
        group.bench_with_input(BenchmarkId::new("streams", count), &count, |bencher, &count| {
            bencher.iter_custom(|iterations| consumed_streams(&runtime, count, iterations));
        });
        group.bench_with_input(BenchmarkId::new("tokio broadcast", count), &count, |bencher, &count| {
            bencher.iter_custom(|iterations| consumed_broadcast(&runtime, count, iterations));
        });
    }
    group.finish();
}

fn all(criterion: &mut Criterion) {
    lagging(criterion, "stream/lagging", FeedOverflow::DropOldest);
    lagging_broadcast(criterion, "stream/lagging");
    lagging(criterion, "stream/lagging, drop newest", FeedOverflow::DropNewest);
    consumed(criterion);
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(2))
        .sample_size(20);
    targets = all
}
criterion_main!(benches);
