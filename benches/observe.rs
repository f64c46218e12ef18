//! What it adds to a publish that somebody learns from the events.
//!
//! Each group has the same publish with nobody to hear it and with a handler that does nothing, in the same run. Every
//! bench checks its answer before it is timed.

use codomyrmex_events::{
    Event, EventBus, EventType, MetricAggregator, MetricReading, MetricType, create_metric_event,
};
use criterion::{BenchmarkGroup, Criterion, criterion_group, criterion_main, measurement::WallTime};
use serde_json::json;
use std::hint::black_box;
use std::sync::Arc;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Publishes one ready event, over and over.
fn publish(group: &mut BenchmarkGroup<'_, WallTime>, name: &str, bus: &EventBus, event: &Arc<Event>) {
    group.bench_function(name, |bencher| {
        bencher.iter(|| bus.publish(Arc::clone(black_box(event))).map(|published| published.sequence()));
    });
}

/// The two floors of a group.
fn floors(group: &mut BenchmarkGroup<'_, WallTime>, event: &Arc<Event>) {
    let bus = EventBus::new();
    bus.publish(Arc::clone(event)).expect("accepted");
    assert_eq!(bus.get_stats().deliveries.succeeded, 0);
    publish(group, "nobody hears it", &bus, event);

    let bus = EventBus::new();
    bus.subscribe(event.event_type()).handler(|_| ()).expect("a subscription");
    bus.publish(Arc::clone(event)).expect("accepted");
    assert_eq!(bus.get_stats().deliveries.succeeded, 1);
    publish(group, "an empty handler", &bus, event);
}

/// A metric with as many labels.
fn metric(metric_type: MetricType, labels: usize) -> Arc<Event> {
    let labels = [("method", json!("GET")), ("route", json!("/orders/{id}")), ("code", json!(200))]
        .into_iter()
        .take(labels)
        .map(|(label, value)| (label.to_owned(), value))
        .collect();
    Arc::new(create_metric_event("http.requests", 0.25, metric_type, Some(labels)).expect("a valid metric"))
}

fn aggregator(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("observe/aggregator");
    let ready = metric(MetricType::Counter, 2);
    floors(&mut group, &ready);

    // Series that are known: two labels unless it is said how many.
    for (name, metric_type, labels) in [
        ("counter", MetricType::Counter, 2),
        ("gauge", MetricType::Gauge, 2),
        ("histogram", MetricType::Histogram, 2),
        ("summary", MetricType::Summary, 2),
        ("counter, no label", MetricType::Counter, 0),
        ("counter, 3 labels, one a number", MetricType::Counter, 3),
    ] {
        let bus = EventBus::new();
        let metrics = MetricAggregator::attach(&bus).expect("a subscription");
        let event = metric(metric_type, labels);
        bus.publish(Arc::clone(&event)).expect("accepted");
        bus.publish(Arc::clone(&event)).expect("accepted");
        let snapshot = metrics.snapshot();
        let reading = &snapshot.families[0].series[0].reading;
        let is_right = match reading {
            MetricReading::Counter(total) => *total == 0.5,
            MetricReading::Gauge(value) => *value == 0.25,
            MetricReading::Histogram(told) => (told.count, told.sum) == (2, 0.5),
            MetricReading::Summary(told) => (told.count, told.sum, told.p99) == (2, 0.5, 0.25),
            _ => false,
        };
        assert!(is_right, "{reading:?}");
        publish(&mut group, name, &bus, &event);
    }

    // What a flood of made-up labels costs each update once there is no room.
    let bus = EventBus::new();
    let metrics = MetricAggregator::builder().series_max(1).attach(&bus).expect("a subscription");
    bus.publish(metric(MetricType::Counter, 0)).expect("accepted");
    bus.publish(Arc::clone(&ready)).expect("accepted");
    assert_eq!((metrics.snapshot().updates(), metrics.snapshot().overflowed), (1, 1));
    publish(&mut group, "no room", &bus, &ready);

    // A text is read first, which is most of it.
    let line = ready.to_json().expect("it is JSON");
    let bus = EventBus::new();
    let metrics = MetricAggregator::attach(&bus).expect("a subscription");
    let publish_text = |bus: &EventBus| bus.publish(Event::from_json(black_box(&line)).expect("an event"));
    publish_text(&bus).expect("accepted");
    assert_eq!(metrics.snapshot().updates(), 1);
    group.bench_function("counter, from text", |bencher| {
        bencher.iter(|| publish_text(&bus).map(|published| published.sequence()));
    });
    let bare = EventBus::new();
    publish_text(&bare).expect("accepted");
    assert_eq!(bare.get_stats().accepted, 1);
    group.bench_function("nobody hears it, from text", |bencher| {
        bencher.iter(|| publish_text(&bare).map(|published| published.sequence()));
    });
    group.finish();

    // A scrape, beside which publishing goes on.
    let mut group = criterion.benchmark_group("observe/snapshot");
    let metrics = MetricAggregator::new();
    for n in 0..10_000 {
        let data = json!({"metric_name": format!("m{}", n % 100), "metric_value": n, "labels": {"n": n}});
        let event = Event::builder(EventType::MetricUpdate, "bench").data(data).build().expect("an event");
        metrics.add(&event).expect("there is room");
    }
    assert_eq!(metrics.snapshot().updates(), 10_000);
    group.bench_function("10,000 series", |bencher| bencher.iter(|| metrics.snapshot().updates()));
    group.finish();
}

criterion_group!(benches, aggregator);
criterion_main!(benches);
