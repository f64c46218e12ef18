//! Reading and writing events, beside `serde_json` into an owned struct with a `Value` payload.

#![allow(missing_docs, reason = "criterion's macros make public functions")]
#![allow(clippy::unwrap_used, reason = "a benchmark that cannot run should stop")]

use std::{collections::BTreeMap, hint::black_box};

use codomyrmex_events::{Event, EventType, Payload};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// What one would write without this library.
#[derive(Serialize, Deserialize)]
struct Plain {
    event_type: String,
    source: String,
    event_id: String,
    timestamp: f64,
    correlation_id: Option<String>,
    causation_id: Option<String>,
    data: Value,
    metadata: Map<String, Value>,
    priority: String,
}

const STREAMS: [(&str, &str); 2] = [
    ("build", include_str!("../examples/data/build.ndjson")),
    ("packages", include_str!("../examples/data/packages.ndjson")),
];

/// The first lines of a stream: enough shapes, and they fit the cache as a live stream's do.
fn lines(stream: &'static str) -> Vec<&'static str> {
    stream.lines().take(100).collect()
}

fn read(c: &mut Criterion) {
    let mut group = c.benchmark_group("read");
    for (name, stream) in STREAMS {
        let lines = lines(stream);
        for line in &lines {
            let (event, plain) =
                (Event::from_json(line).unwrap(), serde_json::from_str::<Plain>(line).unwrap());
            assert_eq!(event.event_type(), &*plain.event_type);
            assert_eq!(event.data().value().unwrap(), &plain.data);
            assert_eq!(event.metadata(), &plain.metadata);
        }
        group.throughput(Throughput::Elements(lines.len() as u64));
        group.bench_function(BenchmarkId::new("serde_json", name), |b| {
            b.iter(|| lines.iter().for_each(|line| drop(black_box(serde_json::from_str::<Plain>(line)))));
        });
        group.bench_function(BenchmarkId::new("from_json", name), |b| {
            b.iter(|| lines.iter().for_each(|line| drop(black_box(Event::from_json(line)))));
        });
        group.bench_function(BenchmarkId::new("from_json_value", name), |b| {
            b.iter(|| {
                for line in &lines {
                    let event = Event::from_json(line).unwrap();
                    black_box(event.data().value().unwrap());
                }
            });
        });
    }
    group.finish();
}

fn write(c: &mut Criterion) {
    let mut group = c.benchmark_group("write");
    for (name, stream) in STREAMS {
        let lines = lines(stream);
        let events: Vec<Event> = lines.iter().map(|line| Event::from_json(line).unwrap()).collect();
        let plain: Vec<Plain> = lines.iter().map(|line| serde_json::from_str(line).unwrap()).collect();
        let trees = |text: &str| serde_json::from_str::<BTreeMap<String, Value>>(text).unwrap();
        for (event, line) in events.iter().zip(&lines) {
            assert_eq!(trees(&event.to_json().unwrap()), trees(line));
        }
        group.throughput(Throughput::Elements(lines.len() as u64));
        group.bench_function(BenchmarkId::new("serde_json", name), |b| {
            b.iter(|| plain.iter().for_each(|plain| drop(black_box(serde_json::to_string(plain)))));
        });
        group.bench_function(BenchmarkId::new("to_json", name), |b| {
            b.iter(|| events.iter().for_each(|event| drop(black_box(event.to_json()))));
        });
    }
    group.finish();
}

fn make(c: &mut Criterion) {
    let mut group = c.benchmark_group("make");
    let payload = Payload::from(json!({"build_type": "release", "target": "codomyrmex"}));
    let make = || Event::builder(EventType::BuildStart, "ci_pipeline").data(&payload).build();
    assert_eq!(make().unwrap().data().get("target").unwrap(), "codomyrmex");
    assert_ne!(make().unwrap().event_id(), make().unwrap().event_id());
    group.bench_function("payload_by_reference", |b| b.iter(|| drop(black_box(make()))));

    let named = || Event::builder("packages.sync.started", "ci_pipeline").data(&payload).build();
    assert!(!named().unwrap().event_type().is_standard());
    group.bench_function("named_type", |b| b.iter(|| drop(black_box(named()))));

    let typed = || Event::builder(EventType::BuildStart, "ci_pipeline").data(Payload::typed(7_u64)).build();
    assert_eq!(typed().unwrap().data().downcast_ref(), Some(&7_u64));
    group.bench_function("rust_value", |b| b.iter(|| drop(black_box(typed()))));
    group.finish();
}

/// A payload's tree, by the size of its text: `serde_json` beside what `Payload::value` chooses.
fn tree(c: &mut Criterion) {
    let mut group = c.benchmark_group("tree");
    let texts = [
        (
            "records",
            r#"{"package":"libsystemd0","arch":"amd64","from":"252.36-1","to":"252.38-1","n":12345,"f":1.25}"#,
        ),
        ("numbers", "[1.5,2.25,3.125,1234.5678,0.001,1e10,99999.99,12,13,14]"),
    ];
    for (name, one) in texts {
        for count in [1, 1_000] {
            let text = format!("[{}]", vec![one; count].join(","));
            let payload = Payload::from_json(text.as_str()).unwrap();
            assert_eq!(payload.value().unwrap(), &serde_json::from_str::<Value>(&text).unwrap());
            group.throughput(Throughput::Bytes(text.len() as u64));
            group.bench_function(BenchmarkId::new(format!("serde_json/{name}"), text.len()), |b| {
                b.iter(|| black_box(serde_json::from_str::<Value>(&text)));
            });
            // A clone has not been converted yet.
            group.bench_function(BenchmarkId::new(format!("value/{name}"), text.len()), |b| {
                b.iter(|| payload.clone().value().unwrap().as_array().map(Vec::len));
            });
        }
    }
    group.finish();
}

criterion_group!(benches, read, write, make, tree);
criterion_main!(benches);
