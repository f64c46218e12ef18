//! Gates in time, and on queued buses.

#![allow(clippy::unwrap_used, clippy::panic, reason = "in a test a panic is the report")]

#[path = "support/block_on.rs"]
mod block_on;
#[path = "support/laws.rs"]
mod laws;
#[path = "support/stress.rs"]
mod stress;
#[path = "support/bus.rs"]
mod support;

use block_on::block_on;
use codomyrmex_events::{
    Driver, Event, EventBus, Gate, GateBuilder, GateError, GateState, KeyedGate, Overflow, Recorded,
};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Barrier, Mutex};
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::Duration;
use stress::{Random, Seed};
use support::{WATCHDOG, publish, watched};

const SECOND: Duration = Duration::from_secs(1);

fn manual() -> (EventBus, Driver) {
    EventBus::builder().manual().build().unwrap()
}

fn keyed(event_type: &str, key: &str) -> Event {
    Event::builder(event_type, key).correlation_id(key).build().unwrap()
}

fn said(bus: &EventBus) -> Vec<Recorded> {
    bus.history().query().source("gate").since(1).events().unwrap()
}

fn two() -> GateBuilder {
    Gate::all_of().named("two").require("first", "a").require("second", "b")
}

#[test]
fn its_time_is_up_on_the_clock_of_the_bus() {
    let (bus, driver) = manual();
    driver.advance(SECOND * 10);
    let gate = two().within(SECOND).on(&bus).unwrap();
    publish(&bus, "b");
    driver.advance(SECOND - Duration::from_nanos(1));
    assert_eq!(gate.state(), GateState::Waiting);
    driver.advance(Duration::from_nanos(1));
    assert_eq!((gate.state(), gate.missing()), (GateState::TimedOut, vec!["first".to_owned()]));
    publish(&bus, "a");
    driver.run_until_idle();
    let outcomes = [gate.wait(WATCHDOG), driver.block_on(gate.wait_async(WATCHDOG)).unwrap()];
    for outcome in outcomes {
        let Err(GateError::TimedOut { missing }) = outcome else { panic!("{outcome:?}") };
        assert_eq!(missing, ["first"]);
    }
    let [timed_out] = said(&bus).try_into().unwrap();
    assert_eq!(timed_out.event_type().as_str(), "gate.timed_out");
    let data = timed_out.data().value().unwrap();
    assert_eq!(
        (&data["gate"], &data["missing"], &data["seen"][0]["name"]),
        (&json!("two"), &json!(["first"]), &json!("second"))
    );
    assert_eq!((timed_out.causation_id(), timed_out.correlation_id()), (None, None));
    publish(&bus, "a");
    driver.run_until_idle();
    assert_eq!(bus.subscriptions().len(), 0, "what was left of it took its turn");
}

#[test]
fn one_that_opens_or_ends_has_no_time_any_more() {
    let (bus, driver) = manual();
    let open = two().within(SECOND).emitting_on_time_out("late").on(&bus).unwrap();
    let ended = two().within(SECOND).emitting_on_time_out("late").on(&bus).unwrap();
    let waiting = two().within(SECOND).named("waiting").emitting_on_time_out("late").on(&bus).unwrap();
    publish(&bus, "a");
    ended.close();
    publish(&bus, "b");
    driver.advance(SECOND * 5);
    assert_eq!(
        [open.state(), ended.state(), waiting.state()],
        [GateState::Open, GateState::Closed, GateState::Open]
    );
    assert!(bus.history().query().event_type("late").events().unwrap().is_empty());
    assert_eq!(said(&bus).len(), 2);

    // Within no time at all, it says what the history says.
    let now = |builder: GateBuilder| builder.including_history().within(Duration::ZERO).on(&bus).unwrap();
    let (known, unknown) = (now(two()), now(Gate::all_of().require("c", "c")));
    driver.advance(Duration::ZERO);
    assert_eq!([known.state(), unknown.state()], [GateState::Open, GateState::TimedOut]);
}

#[test]
fn the_time_of_a_key_begins_with_its_first_precondition() {
    let (bus, driver) = manual();
    let gate = two().keyed_by_correlation().within(SECOND * 2).keys_max(2).on(&bus).unwrap();
    let publish = |event_type, key| bus.publish(keyed(event_type, key)).unwrap();
    publish("a", "early");
    driver.advance(SECOND);
    publish("b", "late");
    publish("b", "passed over");
    driver.advance(SECOND);
    let states = |keys: [&str; 3]| keys.map(|key| gate.state(key));
    assert_eq!(
        states(["early", "late", "passed over"]),
        [Some(GateState::TimedOut), Some(GateState::Waiting), None]
    );
    assert_eq!((gate.waiting(), gate.timed_out(), gate.passed_over()), (1, 1, 1));
    let [timed_out] = said(&bus).try_into().unwrap();
    assert_eq!(timed_out.event_type().as_str(), "gate.timed_out");
    assert_eq!(timed_out.correlation_id().unwrap().as_str(), "early");
    assert_eq!(timed_out.data().get("missing"), Some(&json!(["second"])));
    // It had its time.
    publish("b", "early");
    publish("a", "late");
    publish("a", "third");
    driver.advance(SECOND);
    assert_eq!(
        states(["early", "late", "third"]),
        [Some(GateState::TimedOut), Some(GateState::Open), Some(GateState::Waiting)]
    );
    assert_eq!(gate.missing("early"), ["second"]);
    drop(gate);
    driver.advance(SECOND * 5);
    assert_eq!(said(&bus).len(), 2, "one that is dropped says no more");
}

#[test]
fn a_wait_has_a_limit_of_its_own() {
    let (bus, driver) = manual();
    let gate = two().within(SECOND * 3).on(&bus).unwrap();
    assert!(matches!(gate.wait(WATCHDOG), Err(GateError::WouldDeadlock)));
    let mut short = pin!(gate.wait_async(SECOND));
    let mut long = pin!(gate.wait_async(SECOND * 9));
    let mut context = Context::from_waker(Waker::noop());
    assert!(short.as_mut().poll(&mut context).is_pending() && long.as_mut().poll(&mut context).is_pending());
    driver.advance(SECOND);
    let Poll::Ready(Err(GateError::NotYet { missing })) = short.poll(&mut context) else {
        panic!("it has passed")
    };
    assert_eq!(missing, ["first", "second"]);
    assert!(long.as_mut().poll(&mut context).is_pending());
    driver.advance(SECOND * 2);
    assert!(matches!(driver.block_on(long), Some(Err(GateError::TimedOut { .. }))));
}

/// A gate opens in a handler, where nobody waits for room: what it says is published when there is some.
#[test]
fn a_full_lane_does_not_lose_what_a_gate_says() {
    watched("a full lane", || {
        for overflow in [Overflow::Block(WATCHDOG), Overflow::Reject] {
            let builder =
                EventBus::builder().queued().max_workers(1).lanes(1).lane_room(1).overflow(overflow);
            let bus = builder.build().unwrap();
            let gate = Gate::any_of().require("a", "a").on(&bus).unwrap();
            let [taken, go] = std::array::from_fn(|_| Arc::new(Barrier::new(2)));
            let (held, released) = (Arc::clone(&taken), Arc::clone(&go));
            // What nobody hears needs no room.
            bus.subscribe(["b", "gate.*"]).handler(|_| {}).unwrap();
            // Before the gate's turn, the lane is filled up.
            bus.subscribe("a")
                .handler(move |_| {
                    held.wait();
                    released.wait();
                })
                .unwrap();
            publish(&bus, "a");
            taken.wait();
            publish(&bus, "b");
            go.wait();
            bus.flush(WATCHDOG).unwrap();
            gate.wait(WATCHDOG).unwrap();
            // Published later, or a letter, as the policy says.
            while said(&bus).len() + bus.dead_letter_queue().len() == 0 {
                thread::yield_now();
            }
            bus.flush(WATCHDOG).unwrap();
            assert_ne!(bus.get_stats().refused, 0, "there was room");
            if let Overflow::Block(_) = overflow {
                assert_eq!((said(&bus).len(), bus.dead_letter_queue().len()), (1, 0));
            }
            laws::check(&bus.get_stats());
        }
    });
}

#[test]
fn it_opens_exactly_once_whoever_races_on_a_queued_bus() {
    watched("races for gates", || {
        for _ in 0..10 {
            let bus = EventBus::builder().queued().max_workers(4).build().unwrap();
            let builder =
                || (0..8).fold(Gate::all_of(), |gate, n| gate.require(n.to_string(), format!("e.{n}")));
            let gate = builder().named("all").within(WATCHDOG * 20).on(&bus).unwrap();
            let any = Gate::any_of().named("any").require("any", "e.*").on(&bus).unwrap();
            let by_key =
                builder().named("keyed").keyed_by_correlation().within(WATCHDOG * 20).on(&bus).unwrap();
            let heard = Arc::new(AtomicUsize::new(0));
            let count = Arc::clone(&heard);
            bus.subscribe("gate.*")
                .handler(move |_| {
                    count.fetch_add(1, SeqCst);
                })
                .unwrap();
            thread::scope(|threads| {
                for n in 0..8 {
                    let bus = &bus;
                    threads.spawn(move || {
                        for step in 0..16 {
                            let key = (step * 7 + n) % 8;
                            // Of many sources, so on many lanes.
                            bus.publish(keyed(&format!("e.{n}"), &key.to_string())).unwrap();
                        }
                    });
                }
                block_on(gate.wait_async(WATCHDOG)).unwrap();
                any.wait(WATCHDOG).unwrap();
            });
            bus.flush(WATCHDOG).unwrap();
            assert_eq!((by_key.opened(), by_key.waiting(), by_key.timed_out()), (8, 0, 0));
            assert_eq!(heard.load(SeqCst), 1 + 1 + 8);
            laws::check(&bus.get_stats());
        }
    });
}

/// Time and events race for keys on a bus whose clock runs: each key has one outcome and says it once.
#[test]
fn a_key_opens_or_its_time_is_up() {
    watched("keys against time", || {
        let bus = EventBus::builder().queued().max_workers(2).history(0).build().unwrap();
        let outcomes: Arc<Mutex<HashMap<String, Vec<String>>>> = Arc::default();
        let told = Arc::clone(&outcomes);
        bus.subscribe("gate.*")
            .handler(move |event| {
                let key = event.correlation_id().unwrap().to_string();
                told.lock().unwrap().entry(key).or_default().push(event.event_type().to_string());
            })
            .unwrap();
        let gate = two().keyed_by_correlation().within(Duration::from_micros(300)).on(&bus).unwrap();
        thread::scope(|threads| {
            for name in ["a", "b"] {
                let bus = &bus;
                threads.spawn(move || {
                    for key in 0..600 {
                        bus.publish(keyed(name, &key.to_string())).unwrap();
                    }
                });
            }
        });
        // That a time is up is no event until it is said, so a flush does not wait for it.
        while outcomes.lock().unwrap().len() < 600 {
            thread::yield_now();
        }
        bus.flush(WATCHDOG).unwrap();
        let outcomes = outcomes.lock().unwrap();
        assert_eq!(outcomes.len(), 600);
        assert!(outcomes.values().all(|said| said.len() == 1));
        assert_eq!(gate.opened() + gate.timed_out(), 600);
        laws::check(&bus.get_stats());
    });
}

/// What a gate, or one key of it, does, in plain code.
#[derive(Default)]
struct Model {
    seen: Vec<&'static str>,
    ends_at: Option<Duration>,
    outcome: Option<GateState>,
}

impl Model {
    fn see(&mut self, name: &'static str, is_any: bool, limit: Option<Duration>, now: Duration) {
        if self.outcome.is_some() {
            return;
        }
        if self.seen.is_empty() && self.ends_at.is_none() {
            self.ends_at = limit.map(|limit| now + limit);
        }
        if !self.seen.contains(&name) {
            self.seen.push(name);
        }
        if is_any || self.seen.len() == 2 {
            self.outcome = Some(GateState::Open);
        }
    }

    fn time(&mut self, now: Duration) {
        if self.outcome.is_none() && self.ends_at.is_some_and(|end| end <= now) {
            self.outcome = Some(GateState::TimedOut);
        }
    }

    fn state(&self) -> GateState {
        self.outcome.unwrap_or(GateState::Waiting)
    }
}

/// What the bus has handled since the model was told: names and correlation ids.
type Handled = Arc<Mutex<Vec<(&'static str, Option<String>)>>>;

/// Random interleavings of publishing, stepping, moving the clock, and a shutdown, of gates with and without keys, beside a
/// model: the same states, and said once.
#[test]
fn random_schedules_end_as_a_model_says() {
    let seed = Seed::given();
    let mut random = Random(seed.0);
    for _ in 0..150 {
        let (bus, driver) = manual();
        let handled = Handled::default();
        let record = Arc::clone(&handled);
        bus.subscribe(["a", "b"])
            .handler(move |event| {
                let name = if event.event_type().as_str() == "a" { "a" } else { "b" };
                record.lock().unwrap().push((name, event.correlation_id().map(ToString::to_string)));
            })
            .unwrap();
        let is_any = random.below(3) == 0;
        let limit = (random.below(2) == 0).then(|| SECOND * (1 + random.below(4) as u32));
        let builder = || {
            let builder = if is_any { Gate::any_of() } else { Gate::all_of() };
            let builder = builder.require("a", "a").require("b", "b");
            if let Some(limit) = limit { builder.within(limit) } else { builder }
        };
        let gate = builder().named("one").on(&bus).unwrap();
        let by_key = builder().named("keyed").keyed_by_correlation().on(&bus).unwrap();
        let mut now = Duration::ZERO;
        let mut one = Model { ends_at: limit, ..Model::default() };
        let mut keys: HashMap<String, Model> = HashMap::new();
        for _ in 0..random.below(50) {
            match random.below(8) {
                0..3 => {
                    let key = ["x", "y", "z", ""][random.below(4) as usize];
                    let name = ["a", "b"][random.below(2) as usize];
                    let event = Event::builder(name, "test");
                    let event = if key.is_empty() { event } else { event.correlation_id(key) };
                    bus.publish(event.build().unwrap()).unwrap();
                }
                3..6 => drop(driver.step()),
                6 => {
                    // All that can run does so, and then time moves on: the model is told in that order.
                    driver.run_until_idle();
                    hear(&handled, &mut one, &mut keys, is_any, limit, now);
                    driver.advance(SECOND);
                    now += SECOND;
                    one.time(now);
                    keys.values_mut().for_each(|model| model.time(now));
                }
                _ => {}
            }
            hear(&handled, &mut one, &mut keys, is_any, limit, now);
            compare(&gate, &by_key, &one, &keys);
        }
        // What was accepted is drained, and a shutdown of a manual bus may move its clock by so much.
        assert!(bus.shutdown(Duration::ZERO).is_complete());
        hear(&handled, &mut one, &mut keys, is_any, limit, now);
        compare(&gate, &by_key, &one, &keys);
        check_said(&bus, &one, &keys);
    }
}

fn hear(
    handled: &Handled,
    one: &mut Model,
    keys: &mut HashMap<String, Model>,
    is_any: bool,
    limit: Option<Duration>,
    now: Duration,
) {
    for (name, key) in std::mem::take(&mut *handled.lock().unwrap()) {
        one.see(name, is_any, limit, now);
        if let Some(key) = key {
            keys.entry(key).or_default().see(name, is_any, limit, now);
        }
    }
}

fn compare(gate: &Gate, by_key: &KeyedGate, one: &Model, keys: &HashMap<String, Model>) {
    assert_eq!(gate.state(), one.state());
    for key in ["x", "y", "z"] {
        assert_eq!(by_key.state(key), keys.get(key).map(Model::state), "{key}");
    }
    let count = |state| keys.values().filter(|model| model.state() == state).count();
    assert_eq!(by_key.waiting(), count(GateState::Waiting));
    assert_eq!(by_key.opened(), count(GateState::Open) as u64);
    assert_eq!(by_key.timed_out(), count(GateState::TimedOut) as u64);
}

/// Each outcome was said once; those that came when the bus was closed already are dead letters.
fn check_said(bus: &EventBus, one: &Model, keys: &HashMap<String, Model>) {
    let letters = bus.dead_letter_queue().letters();
    let published = said(bus);
    let events =
        published.iter().map(|recorded| recorded.event()).chain(letters.iter().map(|letter| letter.event()));
    let mut told: Vec<(Option<String>, String)> = events
        .map(|event| {
            let key = event.data().get("key").and_then(Value::as_str).map(str::to_owned);
            (key, event.event_type().to_string())
        })
        .collect();
    told.sort();
    let of = |model: &Model| match model.state() {
        GateState::Open => Some("gate.opened".to_owned()),
        GateState::TimedOut => Some("gate.timed_out".to_owned()),
        _ => None,
    };
    let all = keys.iter().map(|(key, model)| (Some(key.clone()), of(model))).chain([(None, of(one))]);
    let mut expected: Vec<_> = all.filter_map(|(key, outcome)| Some((key, outcome?))).collect();
    expected.sort();
    assert_eq!(told, expected);
}
