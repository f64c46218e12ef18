//! What gates and waits add to a publish, beside a bus that has none of them and beside an empty handler in their place.
//!
//! Every bus has one empty handler of the event that is published, and no history. Each run checks first that the gate does
//! what its name says.
//!
//! - `nothing beside`, `an empty handler`, `a filter that says no`: what to compare with;
//! - `gate, another type`: the event is none of its preconditions;
//! - `gate, filtered`: it is, but for its filter;
//! - `gate, seen before`, `gate, open`: its turn was taken before, so it is out of the way;
//! - `keyed, ...`: the key's precondition was seen before, the key is open, it is new and there is no room for it, or each event
//!   opens the gate for a new key, with what it says.
//! - `wait, begun and heard`: a wait begins, the event is published, the wait is over.

use codomyrmex_events::{Event, EventBus, Gate, GateBuilder};
use criterion::{Criterion, criterion_group, criterion_main};
use std::sync::Arc;
use std::time::Duration;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const TYPE: &str = "test.passed";

fn bus() -> EventBus {
    let bus = EventBus::builder().history(0).build().expect("valid settings");
    handle(&bus);
    bus
}

fn handle(bus: &EventBus) {
    bus.subscribe(TYPE)
        .handler(|event| assert!(std::hint::black_box(event.sequence()) > 0))
        .expect("a valid subscription");
}

fn event(key: &str) -> Arc<Event> {
    Arc::new(Event::builder(TYPE, "ci").correlation_id(key).build().expect("a valid event"))
}

fn publish(bus: &EventBus, event: &Arc<Event>) {
    bus.publish(Arc::clone(event)).expect("an open bus");
}

fn two() -> GateBuilder {
    Gate::all_of().require("tests", TYPE).require("review", "review.approved")
}

/// Times publishes of one event on a bus that `prepare` made ready; what that returns is kept meanwhile.
fn timed<T>(criterion: &mut Criterion, name: &str, prepare: impl FnOnce(&EventBus, &Arc<Event>) -> T) {
    let (bus, event) = (bus(), event("release-7"));
    let _kept = prepare(&bus, &event);
    let group = &mut criterion.benchmark_group("gate");
    group.bench_function(name, |bencher| bencher.iter(|| publish(&bus, &event)));
}

fn without_keys(criterion: &mut Criterion) {
    timed(criterion, "nothing beside", |_, _| ());
    timed(criterion, "an empty handler", |bus, _| handle(bus));
    timed(criterion, "a filter that says no", |bus, _| {
        bus.subscribe(TYPE).filter(|_| false).handler(|_| {}).expect("a valid subscription")
    });
    timed(criterion, "gate, another type", |bus, event| {
        let gate = Gate::all_of().require("review", "review.approved").on(bus).expect("a valid gate");
        publish(bus, event);
        assert_eq!(gate.missing(), ["review"]);
        gate
    });
    timed(criterion, "gate, filtered", |bus, event| {
        let gate = Gate::all_of().require_if("tests", TYPE, |_| false).on(bus).expect("a valid gate");
        publish(bus, event);
        assert_eq!(gate.missing(), ["tests"]);
        gate
    });
    timed(criterion, "gate, seen before", |bus, event| {
        let gate = two().on(bus).expect("a valid gate");
        publish(bus, event);
        assert_eq!(gate.missing(), ["review"]);
        gate
    });
    timed(criterion, "gate, open", |bus, event| {
        let gate = Gate::any_of().require("tests", TYPE).on(bus).expect("a valid gate");
        publish(bus, event);
        assert!(gate.is_open());
        gate
    });
}

fn with_keys(criterion: &mut Criterion) {
    timed(criterion, "keyed, seen before", |bus, event| {
        let gate = two().keyed_by_correlation().on(bus).expect("a valid gate");
        publish(bus, event);
        assert_eq!(gate.missing("release-7"), ["review"]);
        gate
    });
    timed(criterion, "keyed, open", |bus, event| {
        let gate =
            Gate::any_of().require("tests", TYPE).keyed_by_correlation().on(bus).expect("a valid gate");
        publish(bus, event);
        assert!(gate.is_open("release-7"));
        gate
    });
    timed(criterion, "keyed, no room", |bus, measured| {
        let gate = two().keyed_by_correlation().keys_max(1).on(bus).expect("a valid gate");
        publish(bus, &event("another"));
        publish(bus, measured);
        assert_eq!(gate.passed_over(), 1);
        gate
    });
    let (bus, events) = (bus(), (0..65_536).map(|key| event(&key.to_string())).collect::<Vec<_>>());
    let gate = Gate::any_of().require("tests", TYPE).keyed_by_correlation().keys_max(256).on(&bus);
    let gate = gate.expect("a valid gate");
    let (mut keys, mut published) = (events.iter().cycle(), 0);
    criterion.benchmark_group("gate").bench_function("keyed, opens", |bencher| {
        bencher.iter(|| {
            published += 1;
            publish(&bus, keys.next().expect("it goes round"));
        });
    });
    // Each was forgotten when it came again.
    assert_eq!(gate.opened(), published);
}

fn wait(criterion: &mut Criterion) {
    let (bus, event) = (bus(), event("release-7"));
    criterion.benchmark_group("wait").bench_function("begun and heard", |bencher| {
        bencher.iter(|| {
            let wait = bus.wait_for(TYPE).begin().expect("a valid wait");
            publish(&bus, &event);
            wait.within(Duration::ZERO).expect("it was handled")
        });
    });
}

criterion_group! {
    name = benches;
    config = Criterion::default().configure_from_args();
    targets = without_keys, with_keys, wait
}
criterion_main!(benches);
