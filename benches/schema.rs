//! Validating against a compiled schema, beside the bare validator on the same payload; and what registering costs.

use std::hint::black_box;
use std::sync::Arc;

use codomyrmex_events::{Event, EventBus, EventSchema};
use criterion::{Criterion, criterion_group, criterion_main};
use serde_json::{Value, json};

fn small() -> Value {
    json!({"build_type": "release", "target": "codomyrmex", "build_id": "b-42", "parameters": {"jobs": 8}})
}

fn large() -> Value {
    let artifacts: Vec<String> =
        (0..1_000).map(|number| format!("target/release/artifact-{number}.rlib")).collect();
    json!({"build_type": "release", "target": "codomyrmex", "build_id": "b-42", "success": true,
        "artifacts": artifacts, "duration": 12.5})
}

fn validating(criterion: &mut Criterion) {
    let schemas = EventSchema::new();
    for (name, event_type, payload) in
        [("small", "build.start", small()), ("1000_texts", "build.complete", large())]
    {
        let event = Event::builder(event_type, "bench").data(payload.clone()).build().expect("a valid event");
        let schema = schemas.get_event_schema(event.event_type()).expect("a standard schema");
        let bare = jsonschema::options()
            .with_pattern_options(jsonschema::PatternOptions::regex())
            .build(&schema)
            .expect("a valid schema");
        assert!(bare.is_valid(&payload) && schemas.validate_event(&event).is_ok());

        let mut group = criterion.benchmark_group(format!("schema/valid/{name}"));
        group.bench_function("bare_is_valid", |bencher| bencher.iter(|| bare.is_valid(black_box(&payload))));
        group.bench_function("validate_event", |bencher| {
            bencher.iter(|| schemas.validate_event(black_box(&event)).is_ok());
        });
        // The budget of `emit_typed` is 1.2 times the sum of `bare_is_valid` and `publish`.
        let bus = EventBus::new();
        bus.subscribe("build.*").handler(|_| ()).expect("a subscription");
        let event = Arc::new(event);
        assert!(bus.emit_typed(Arc::clone(&event)).is_ok());
        group.bench_function("publish", |bencher| {
            bencher.iter(|| bus.publish(Arc::clone(black_box(&event))).is_ok());
        });
        group.bench_function("emit_typed", |bencher| {
            bencher.iter(|| bus.emit_typed(Arc::clone(black_box(&event))).is_ok());
        });
        group.finish();
    }
}

fn rejecting(criterion: &mut Criterion) {
    let schemas = EventSchema::new();
    let payload = json!({"build_type": 1, "target": 2, "build_id": 3});
    let event = Event::builder("build.start", "bench").data(payload).build().expect("a valid event");
    assert_eq!(schemas.validate_event(&event).expect_err("three wrong fields").total(), 3);
    criterion.bench_function("schema/rejected/three_failures", |bencher| {
        bencher.iter(|| schemas.validate_event(black_box(&event)).is_err());
    });
}

fn registering(criterion: &mut Criterion) {
    let standard = EventSchema::new();
    assert_eq!(standard.list_registered_schemas().len(), 13);
    criterion.bench_function("schema/new", |bencher| bencher.iter(EventSchema::new));

    let event = Event::builder("build.start", "bench").data(small()).build().expect("a valid event");
    let schema = standard.get_event_schema(event.event_type()).expect("a standard schema");
    let schemas = EventSchema::empty();
    schemas.register_event_schema("build.start", (*schema).clone()).expect("a valid schema");
    assert!(schemas.validate_event(&event).is_ok());
    criterion.bench_function("schema/register", |bencher| {
        bencher.iter(|| schemas.register_event_schema("build.start", (*schema).clone()));
    });
}

criterion_group!(benches, validating, rejecting, registering);
criterion_main!(benches);
