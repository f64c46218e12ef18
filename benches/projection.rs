//! What a projection adds to a publish: beside a handler that does nothing.

use codomyrmex_events::{Event, EventBus, Projection, Recorded};
use criterion::{Criterion, criterion_group, criterion_main};
use std::hint::black_box;
use std::sync::Arc;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const SOURCES: usize = 100;

fn events() -> Vec<Arc<Event>> {
    let event = |n| Event::builder("task.started", format!("source-{n}")).build().expect("a valid event");
    (0..SOURCES).map(|n| Arc::new(event(n))).collect()
}

/// Publishes each event once.
fn publish_all(bus: &EventBus, events: &[Arc<Event>]) {
    for event in events {
        bus.publish(black_box(Arc::clone(event))).expect("it is open");
    }
}

fn source(event: &Recorded) -> codomyrmex_events::Source {
    event.source().clone()
}

fn projection(criterion: &mut Criterion) {
    let events = events();
    let mut group = criterion.benchmark_group("projection");
    group.throughput(criterion::Throughput::Elements(SOURCES as u64));
    let mut run = |name: &str, bus: &EventBus| {
        group.bench_function(name, |bencher| bencher.iter(|| publish_all(bus, &events)));
    };

    let bus = EventBus::new();
    bus.subscribe("task.*").handler(|_| ()).expect("a subscription");
    run("empty handler", &bus);

    let bus = EventBus::new();
    let count = Projection::of(&bus, "task.*").counter().expect("a projection");
    publish_all(&bus, &events);
    assert_eq!(count.get(), SOURCES as u64);
    run("counter", &bus);

    let bus = EventBus::new();
    publish_all(&bus, &events);
    let count = Projection::of(&bus, "task.*").seeded().counter().expect("a projection");
    publish_all(&bus, &events);
    assert_eq!(count.get(), 2 * SOURCES as u64);
    run("counter, seeded", &bus);

    let bus = EventBus::new();
    let sum = Projection::of(&bus, "task.*").fold(0_u64, |sum, event| sum + event.sequence());
    let sum = sum.expect("a projection");
    publish_all(&bus, &events);
    assert_eq!(*sum.get(), (SOURCES * (SOURCES + 1) / 2) as u64);
    run("fold", &bus);

    let bus = EventBus::new();
    let latest = Projection::of(&bus, "task.*").latest_per_key(source).expect("a projection");
    publish_all(&bus, &events);
    assert_eq!(latest.get("source-7").map(|event| event.sequence()), Some(8));
    run("latest_per_key, 100 keys", &bus);

    let bus = EventBus::new();
    let groups = Projection::of(&bus, "task.*").group_by(source, 0_u64, |events, _| events + 1);
    let groups = groups.expect("a projection");
    publish_all(&bus, &events);
    assert_eq!((groups.len(), groups.get("source-7").as_deref()), (SOURCES, Some(&1)));
    run("group_by, 100 keys", &bus);
    group.finish();
}

criterion_group!(benches, projection);
criterion_main!(benches);
