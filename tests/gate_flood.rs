//! A million correlation ids at gates with keys: the memory that they take is that of the keys that may wait, and of as many more
//! as are remembered.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the report")]

#[path = "support/allocations.rs"]
mod allocations;

use allocations::during;
use codomyrmex_events::{Event, EventBus, Gate, GateBuilder};
use std::time::Duration;

const IDS: u64 = 1_000_000;

/// Of these, each opens the other gate.
const OPENING: u64 = 40_000;

fn two(builder: GateBuilder) -> GateBuilder {
    builder.require("a", "a").require("b", "b")
}

fn publish(bus: &EventBus, event: &Event, key: u64) {
    let key = format!("correlation {key:030}");
    bus.publish(event.to_builder().correlation_id(key).build().unwrap()).unwrap();
}

#[test]
fn a_million_ids_take_no_more_memory_than_those_that_are_remembered() {
    let bus = EventBus::builder().history(0).build().unwrap();
    let opening = Event::builder("b", "test").build().unwrap();
    let event = Event::builder("a", "test").build().unwrap();
    let open = Gate::any_of().require("b", "b").keyed_by_correlation().keys_max(256).on(&bus).unwrap();
    let wait = two(Gate::all_of()).named("wait").keyed_by_correlation().keys_max(256).on(&bus).unwrap();
    let flood =
        |event: &Event, ids: std::ops::Range<u64>| during(|| ids.for_each(|key| publish(&bus, event, key))).1;
    // Until all buckets are full.
    let first = flood(&opening, 0..OPENING / 4);
    assert!(first.kept_bytes < 2 << 20, "{first:?}");
    let rest = [flood(&opening, OPENING / 4..OPENING), flood(&event, OPENING..IDS)];
    for taken in rest {
        assert!(taken.peak_bytes < 256 << 10 && taken.kept_bytes < 128 << 10, "{taken:?}");
    }
    assert_eq!((open.opened(), open.waiting(), open.passed_over()), (OPENING, 0, 0));
    assert_eq!((wait.opened(), wait.waiting(), wait.passed_over()), (0, 256, IDS - 256));
}

/// What the documentation of `GateBuilder::keys_max` says of a key.
#[test]
fn a_key_takes_as_much_as_is_said() {
    let hour = Duration::from_secs(3_600);
    for (limit, bytes) in [(None, 200..350), (Some(hour), 350..600)] {
        let bus = EventBus::builder().history(0).build().unwrap();
        let event = Event::builder("a", "test").build().unwrap();
        let gate = || {
            let builder = two(Gate::all_of());
            let builder = if let Some(limit) = limit { builder.within(limit) } else { builder };
            builder.keyed_by_correlation().keys_max(1 << 16).on(&bus).unwrap()
        };
        let flood = || (1..20_001).for_each(|key| publish(&bus, &event, key));
        let held = gate();
        publish(&bus, &event, 0);
        let each = during(flood).1.kept_bytes / 20_000;
        assert!(bytes.contains(&each), "{each} bytes a key, with the limit {limit:?}");
        drop(held);
        // What ends takes its keys and their time limits with it.
        let (_, left) = during(|| {
            let gate = gate();
            flood();
            drop(gate);
        });
        assert!(left.peak_bytes > 4 << 20 && left.kept_bytes < 64 << 10, "{left:?}");
    }
}
