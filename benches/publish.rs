//! What a publish costs, beside a bare loop over boxed closures in the same run.
//!
//! The floor is `Vec<Box<dyn Fn(&Arc<Event>) + Send + Sync>>` and a call to each. Every bench checks its answer before
//! it is timed.

use codomyrmex_events::{Event, EventBus, EventType, Source};
use criterion::{
    BatchSize, BenchmarkGroup, Criterion, criterion_group, criterion_main, measurement::WallTime,
};
use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const OTHER_GLOBS: usize = 10_000;

type Bare = Vec<Box<dyn Fn(&Arc<Event>) + Send + Sync>>;

/// What every handler does: one relaxed store of something that depends on the event.
fn hear(heard: &AtomicU64, event: &Event) {
    heard.store(heard.load(Ordering::Relaxed) + u64::from(event.source().len() as u32), Ordering::Relaxed);
}

fn event(event_type: EventType) -> Arc<Event> {
    Arc::new(Event::builder(event_type, "ci_pipeline").build().expect("a valid event"))
}

fn bare(handlers: usize, heard: &Arc<AtomicU64>) -> Bare {
    (0..handlers)
        .map(|_| {
            let heard = Arc::clone(heard);
            Box::new(move |event: &Arc<Event>| hear(&heard, event)) as Box<dyn Fn(&Arc<Event>) + Send + Sync>
        })
        .collect()
}

/// A bus on which `handlers` hear `build.start`, among globs that do not match it.
fn bus(handlers: usize, others: usize, history: usize, heard: &Arc<AtomicU64>) -> EventBus {
    let bus = EventBus::builder().history(history).build().expect("valid settings");
    for other in 0..others {
        let glob = match other % 4 {
            0 => format!("other.{other}.*"),
            1 => format!("*.other{other}"),
            2 => format!("*part{other}*"),
            _ => format!("exact.name.{other}"),
        };
        bus.subscribe(glob).handler(|_| ()).expect("a subscription");
    }
    for _ in 0..handlers {
        let heard = Arc::clone(heard);
        bus.subscribe("build.*").handler(move |event| hear(&heard, event)).expect("a subscription");
    }
    bus
}

fn check(bus: &EventBus, event: &Arc<Event>, handlers: u64, heard: &AtomicU64) {
    let before = heard.load(Ordering::Relaxed);
    bus.publish(Arc::clone(event)).expect("accepted");
    let each = event.source().len() as u64;
    assert_eq!(heard.load(Ordering::Relaxed) - before, handlers * each);
}

fn with_handlers(group: &mut BenchmarkGroup<'_, WallTime>, handlers: usize) {
    let heard = Arc::new(AtomicU64::new(0));
    let ready = event(EventType::BuildStart);
    let floor = bare(handlers, &heard);
    let before = heard.load(Ordering::Relaxed);
    floor.iter().for_each(|handler| handler(&ready));
    let each = ready.source().len() as u64;
    assert_eq!(heard.load(Ordering::Relaxed) - before, handlers as u64 * each);
    group.bench_function("bare", |bencher| {
        bencher.iter(|| floor.iter().for_each(|handler| handler(black_box(&ready))));
    });
    for history in [0, 1_000] {
        let bus = bus(handlers, OTHER_GLOBS, history, &heard);
        check(&bus, &ready, handlers as u64, &heard);
        let name = if history == 0 { "history off" } else { "history on" };
        group.bench_function(name, |bencher| {
            bencher.iter(|| bus.publish(Arc::clone(black_box(&ready))).map(|published| published.sequence()));
        });
    }
}

fn publish(criterion: &mut Criterion) {
    for handlers in [1, 10] {
        let mut group = criterion.benchmark_group(format!("publish/{handlers} handlers"));
        with_handlers(&mut group, handlers);
        group.finish();
    }

    let mut group = criterion.benchmark_group("publish/no subscriber");
    let heard = Arc::new(AtomicU64::new(0));
    let ready = event(EventType::DeployStart);
    for history in [0, 1_000] {
        let bus = bus(1, OTHER_GLOBS, history, &heard);
        check(&bus, &ready, 0, &heard);
        let name = if history == 0 { "history off" } else { "history on" };
        group.bench_function(name, |bencher| {
            bencher.iter(|| bus.publish(Arc::clone(black_box(&ready))).map(|published| published.sequence()));
        });
    }
    // What no publish that takes an `Arc` and numbers it can go below on this machine. It has no answer to check.
    group.bench_function("least possible: clone, number, drop", |bencher| {
        let last = AtomicU64::new(0);
        bencher.iter(|| {
            let event = Arc::clone(black_box(&ready));
            let sequence = last.fetch_add(1, Ordering::AcqRel);
            drop(black_box(event));
            sequence
        });
    });
    group.finish();

    let mut group = criterion.benchmark_group("publish/made for it");
    let source = Source::from_static("ci_pipeline");
    let data = codomyrmex_events::Payload::typed(vec![1, 2, 3]);
    let bus_on = bus(1, OTHER_GLOBS, 1_000, &heard);
    let make = || Event::builder(EventType::BuildStart, &source).data(&data).build().expect("a valid event");
    check(&bus_on, &Arc::new(make()), 1, &heard);
    group.bench_function("make", |bencher| bencher.iter(make));
    group.bench_function("make and publish, history on", |bencher| {
        bencher.iter(|| bus_on.publish(make()).map(|published| published.sequence()));
    });
    group.finish();

    let mut group = criterion.benchmark_group("publish/named type");
    for names in [1, 1_000, 10_000] {
        let bus = bus(1, OTHER_GLOBS, 0, &heard);
        let named: Vec<Arc<Event>> = (0..names)
            .map(|n| event(EventType::parse(&format!("shop.order.{n}")).expect("a name")))
            .collect();
        let hearing = Arc::clone(&heard);
        bus.subscribe("shop.order.*").handler(move |event| hear(&hearing, event)).expect("a subscription");
        named.iter().for_each(|event| check(&bus, event, 1, &heard));
        let mut next = (0..names).cycle();
        group.bench_function(format!("{names} warm names"), |bencher| {
            bencher
                .iter(|| bus.publish(Arc::clone(&named[next.next().unwrap_or(0)])).map(|it| it.sequence()));
        });
    }
    group.finish();

    let mut group = criterion.benchmark_group("publish/batch of 100");
    let bus = bus(1, OTHER_GLOBS, 1_000, &heard);
    let ready = event(EventType::BuildStart);
    let before = heard.load(Ordering::Relaxed);
    let outcomes = bus.publish_batch(vec![Arc::clone(&ready); 100]);
    assert!(outcomes.len() == 100 && outcomes.iter().all(Result::is_ok));
    assert_eq!(heard.load(Ordering::Relaxed) - before, 100 * ready.source().len() as u64);
    group.bench_function("history on", |bencher| {
        bencher.iter_batched(
            || vec![Arc::clone(&ready); 100],
            |events| bus.publish_batch(events),
            BatchSize::SmallInput,
        );
    });
    group.finish();
}

criterion_group!(benches, publish);
criterion_main!(benches);
