//! What subscribing costs, one by one up to 10,000 globs, and what a publish costs meanwhile.

use codomyrmex_events::{Event, EventBus, EventType};
use criterion::{Criterion, criterion_group, criterion_main};
use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const GLOBS: usize = 10_000;

/// Globs of mixed shapes: prefix, suffix, both, infix, one wild character, a class.
fn glob(n: usize) -> String {
    match n % 6 {
        0 => format!("area{n}.*"),
        1 => format!("*.leaf{n}"),
        2 => format!("area{n}.*.leaf"),
        3 => format!("*part{n}*"),
        4 => format!("name?of{n}"),
        _ => format!("[a-m]{n}.event"),
    }
}

fn subscribed(globs: usize) -> EventBus {
    let bus = EventBus::new();
    for n in 0..globs {
        bus.subscribe(glob(n)).handler(|_| ()).expect("a subscription");
    }
    bus
}

fn subscribe(criterion: &mut Criterion) {
    let bus = subscribed(GLOBS);
    assert_eq!(bus.subscriptions().len(), GLOBS);
    let types = bus.list_event_types();
    assert!(types.iter().all(|info| info.subscribers == 0), "no glob of the bench hears a standard type");

    let mut group = criterion.benchmark_group("subscribe");
    group.sample_size(10);
    for globs in [100, 1_000, GLOBS] {
        group.bench_function(format!("one of {globs}, on average"), |bencher| {
            bencher.iter_custom(|rounds| {
                let mut total = Duration::ZERO;
                for _ in 0..rounds {
                    let start = Instant::now();
                    let bus = subscribed(globs);
                    total += start.elapsed();
                    drop(black_box(bus));
                }
                total / globs as u32
            });
        });
    }
    group.bench_function("one more beside 10,000, and unsubscribe", |bencher| {
        bencher.iter(|| {
            bus.subscribe("one.more.*").handler(|_| ()).map(|subscription| subscription.unsubscribe())
        });
    });
    // Everybody hears everything: each route of a standard type grows with every subscription.
    group.bench_function("one of 10,000 that hear everything, on average", |bencher| {
        bencher.iter_custom(|rounds| {
            let mut total = Duration::ZERO;
            for _ in 0..rounds {
                let bus = EventBus::new();
                let start = Instant::now();
                for _ in 0..GLOBS {
                    bus.subscribe("*").handler(|_| ()).expect("a subscription");
                }
                total += start.elapsed();
            }
            total / GLOBS as u32
        });
    });
    let event = Arc::new(Event::builder(EventType::BuildStart, "bench").build().expect("a valid event"));
    group.bench_function("publish right after a subscribe", |bencher| {
        bencher.iter_custom(|rounds| {
            let mut total = Duration::ZERO;
            for _ in 0..rounds {
                let subscription = bus.subscribe("one.more.*").handler(|_| ()).expect("a subscription");
                let start = Instant::now();
                let published = bus.publish(Arc::clone(&event));
                total += start.elapsed();
                assert!(published.is_ok());
                subscription.unsubscribe();
            }
            total
        });
    });
    group.finish();
}

criterion_group!(benches, subscribe);
criterion_main!(benches);
