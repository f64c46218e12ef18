//! Gates, with and without keys, on buses without threads of their own. Nothing of it needs a feature.

#![allow(clippy::unwrap_used, clippy::panic, reason = "in a test a panic is the report")]

#[path = "support/block_on.rs"]
mod block_on;
#[path = "support/bus.rs"]
mod support;

use block_on::block_on;
use codomyrmex_events::{
    Delivery, Event, EventBus, EventPublishError, EventType, Gate, GateBuilder, GateError, GateState,
    PRECONDITIONS_MAX, Recorded,
};
use serde_json::{Value, json};
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Barrier, Mutex};
use std::task::{Context, Waker};
use std::thread;
use std::time::Duration;
use support::{WATCHDOG, event, publish, watched};

const NOW: Duration = Duration::ZERO;

fn keyed(event_type: &str, key: &str) -> Event {
    Event::builder(event_type, "test").correlation_id(key).build().unwrap()
}

/// What gates have said, oldest first.
fn said(bus: &EventBus) -> Vec<Recorded> {
    bus.history().query().source("gate").since(1).events().unwrap()
}

fn data(recorded: &Recorded) -> &Value {
    recorded.data().value().unwrap()
}

fn three(builder: GateBuilder) -> GateBuilder {
    builder
        .require("build", "build.complete")
        .require_if("scan", ["scan.*", "security.*"], |event| event.data().get("findings") == Some(&json!(0)))
        .require("approval", "approved")
}

/// One event for each letter: b(uild), c(lean scan), d(irty scan), a(pproval), n(oise).
fn publish_all(bus: &EventBus, letters: &str) {
    for letter in letters.chars() {
        let (event_type, findings) = match letter {
            'b' => ("build.complete", 0),
            'c' => ("scan.done", 0),
            'd' => ("security.scanned", 3),
            'a' => ("approved", 0),
            _ => ("noise", 0),
        };
        let event = Event::builder(event_type, "test").data(json!({"findings": findings}));
        bus.publish(event.build().unwrap()).unwrap();
    }
}

/// Which letter opened it, what was seen then, and what is missing.
fn outcome(gate: &Gate) -> (u64, String, String) {
    let missing = gate.missing().join(" ");
    match gate.wait(NOW) {
        Ok(opened) => {
            let seen: Vec<&str> = opened.seen().iter().map(|met| met.name()).collect();
            (opened.opened_by().sequence(), seen.join(" "), missing)
        }
        Err(GateError::NotYet { missing: told }) => {
            assert_eq!(told.join(" "), missing);
            (0, String::new(), missing)
        }
        Err(error) => panic!("{error}"),
    }
}

/// Which rule, what came before, whether it counts, what came after; opened by, seen, missing.
type Row = (fn() -> GateBuilder, &'static str, bool, &'static str, (u64, &'static str, &'static str));

#[test]
fn all_of_opens_at_the_last_and_any_of_at_the_first() {
    let rows: [Row; 11] = [
        (Gate::all_of, "", false, "bca", (3, "build scan approval", "")),
        (Gate::all_of, "", false, "aanbdbc", (7, "build scan approval", "")),
        (Gate::all_of, "", false, "bda", (0, "", "scan")),
        (Gate::all_of, "", false, "nnn", (0, "", "build scan approval")),
        (Gate::all_of, "bca", false, "bc", (0, "", "approval")),
        (Gate::all_of, "bca", true, "", (3, "build scan approval", "")),
        (Gate::all_of, "bd", true, "nca", (5, "build scan approval", "")),
        (Gate::any_of, "", false, "ndca", (3, "scan", "")),
        (Gate::any_of, "", false, "nd", (0, "", "build scan approval")),
        (Gate::any_of, "ndab", true, "", (3, "approval", "")),
        (Gate::any_of, "ndab", false, "b", (5, "build", "")),
    ];
    for (rule, before, counts, after, expected) in rows {
        let bus = EventBus::new();
        publish_all(&bus, before);
        let builder = three(rule()).named("deploy");
        let gate = if counts { builder.including_history() } else { builder }.on(&bus).unwrap();
        publish_all(&bus, after);
        let (by, seen, missing) = outcome(&gate);
        assert_eq!((by, seen.as_str(), missing.as_str()), expected, "{before} {after}");
        assert_eq!(gate.state(), if by == 0 { GateState::Waiting } else { GateState::Open });
        assert_eq!(said(&bus).len(), usize::from(by != 0));
        // It stays as it is, and costs nothing any more but the turns that were left.
        publish_all(&bus, "bcabca");
        assert_eq!(said(&bus).len(), 1);
        assert_eq!(bus.subscriptions().len(), 0, "{before} {after}");
    }
}

#[test]
fn what_it_says_is_exact() {
    let bus = EventBus::new();
    let gate = three(Gate::all_of()).named("deploy").emitting("deploy.go").on(&bus).unwrap();
    publish_all(&bus, "bc");
    bus.publish(keyed("approved", "release-7")).unwrap();
    let published = bus.history().latest(10);
    let [go, approval, scan, build] = published.as_slice() else { panic!("{published:?}") };
    let witness = |name: &str, recorded: &Recorded| {
        json!({
            "name": name,
            "event_type": recorded.event_type().as_str(),
            "event_id": recorded.event_id().to_string(),
            "sequence": recorded.sequence(),
        })
    };
    let seen = [witness("build", build), witness("scan", scan), witness("approval", approval)];
    assert_eq!(*data(go), json!({"gate": "deploy", "seen": seen, "missing": []}));
    assert_eq!((go.event_type().as_str(), go.source().as_str()), ("deploy.go", "gate"));
    assert_eq!(go.causation_id(), Some(approval.event_id()));
    assert_eq!(go.correlation_id().unwrap().as_str(), "release-7");
    let opened = gate.opened().unwrap();
    assert_eq!((opened.opened_by().name(), opened.opened_by().event_id()), ("approval", approval.event_id()));
    assert_eq!(opened.seen()[0].event_type(), &EventType::BuildComplete);

    // The same out of the history.
    let again = three(Gate::all_of()).named("again").including_history().on(&bus).unwrap();
    let go = bus.history().latest(1).remove(0);
    assert!(again.is_open());
    assert_eq!(data(&go)["seen"], json!(seen));
    assert_eq!(
        (go.causation_id(), go.correlation_id().unwrap().as_str()),
        (Some(approval.event_id()), "release-7")
    );
}

#[test]
fn one_event_may_be_all_that_it_takes() {
    let bus = EventBus::new();
    let gate = Gate::all_of().require("one", "a.*").require("two", "*.b").on(&bus).unwrap();
    publish(&bus, "a.b");
    assert_eq!(gate.opened().unwrap().opened_by().name(), "two");
    assert_eq!(said(&bus).len(), 1);
}

#[test]
fn what_is_wrong_is_said() {
    let bus = EventBus::new();
    let errors = [
        (Gate::all_of(), "a gate needs at least one precondition"),
        (Gate::all_of().require("a", "x").require("a", "y"), "two preconditions are called \"a\""),
        (Gate::all_of().require("", "x"), "precondition must not be empty"),
        (Gate::all_of().require("a", "x").named("\n"), "gate must not have a control character"),
        (Gate::all_of().require("a", "x").emitting(""), "event_type must not be empty"),
        (Gate::all_of().require("a", "x").emitting_on_time_out(""), "event_type must not be empty"),
        (Gate::all_of().require("a", "x".repeat(2_000)), "pattern"),
        (Gate::all_of().require("a", Vec::<&str>::new()), "a subscription needs at least one pattern"),
    ];
    for (builder, expected) in errors {
        let error = builder.on(&bus).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
    let many = |n: usize| (0..n).fold(Gate::all_of(), |gate, n| gate.require(n.to_string(), "x"));
    assert!(matches!(many(PRECONDITIONS_MAX + 1).on(&bus), Err(GateError::TooManyPreconditions { .. })));
    let gate = many(PRECONDITIONS_MAX).on(&bus).unwrap();
    publish(&bus, "x");
    assert!(gate.is_open());
    for keys in [0, (1 << 20) + 1] {
        let outcome = Gate::all_of().require("a", "x").keyed_by_correlation().keys_max(keys).on(&bus);
        assert!(matches!(outcome, Err(GateError::KeysOutOfRange { .. })));
    }
    assert_eq!(bus.subscriptions().len(), 0);
    bus.shutdown(NOW);
    assert!(matches!(Gate::any_of().require("a", "x").on(&bus), Err(GateError::Closed)));
    assert!(matches!(Gate::any_of().require("a", "x").within(WATCHDOG).on(&bus), Err(GateError::Closed)));
}

#[test]
fn a_wait_ends_with_the_gate() {
    type End = fn(&EventBus, &Gate);
    let ends: [(End, bool); 3] = [
        (|bus, _| publish(bus, "a"), true),
        (|_, gate| gate.close(), false),
        (|bus, _| drop(bus.shutdown(WATCHDOG)), false),
    ];
    for (end, is_opened) in ends {
        watched("a wait", move || {
            let bus = EventBus::new();
            let gate = Gate::any_of().require("a", "a").on(&bus).unwrap();
            assert!(matches!(gate.wait(NOW), Err(GateError::NotYet { .. })));
            assert!(matches!(block_on(gate.wait_async(NOW)), Err(GateError::NotYet { .. })));
            thread::scope(|threads| {
                let waits = [
                    threads.spawn(|| gate.wait(WATCHDOG)),
                    threads.spawn(|| block_on(gate.wait_async(WATCHDOG))),
                ];
                end(&bus, &gate);
                for wait in waits {
                    match wait.join().unwrap() {
                        Ok(_) => assert!(is_opened),
                        Err(error) => assert!(matches!(error, GateError::Closed) && !is_opened, "{error}"),
                    }
                }
            });
            let mut dropped = pin!(gate.wait_async(WATCHDOG));
            let _ = dropped.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        });
    }
}

#[test]
fn a_gate_keeps_no_bus_and_ends_when_it_is_dropped() {
    let bus = EventBus::new();
    let gate = three(Gate::all_of()).on(&bus).unwrap();
    let keyed_gate = three(Gate::all_of()).keyed_by_correlation().on(&bus).unwrap();
    assert_eq!(bus.subscriptions().len(), 6);
    drop((gate, keyed_gate));
    assert_eq!(bus.subscriptions().len(), 0);

    let gate = Gate::any_of().require("a", "a").on(&bus).unwrap();
    gate.close();
    publish(&bus, "a");
    assert_eq!((gate.state(), bus.subscriptions().len(), said(&bus).len()), (GateState::Closed, 0, 0));
    assert!(matches!(gate.wait(WATCHDOG), Err(GateError::Closed)));

    let gate = Gate::any_of().require("a", "a").on(&bus).unwrap();
    let weak = bus.downgrade();
    drop(bus);
    assert!(weak.upgrade().is_none());
    assert!(matches!(gate.wait(WATCHDOG), Err(GateError::Closed)));
}

#[test]
fn a_gate_does_not_hear_itself_and_gates_open_each_other_once() {
    let bus = EventBus::new();
    let all =
        || Gate::all_of().require("first", "*").require_if("gate", "*", |e| e.source().as_str() == "gate");
    let one = all().named("one").on(&bus).unwrap();
    publish(&bus, "a");
    // Nothing but gates is of a gate, and it does not open by its own.
    assert_eq!(one.missing(), ["gate"]);
    let two = Gate::any_of().named("two").require("a", "a").on(&bus).unwrap();
    let three = Gate::any_of().named("three").require("two", "gate.opened").on(&bus).unwrap();
    publish(&bus, "a");
    assert!(one.is_open() && two.is_open() && three.is_open());
    let names: Vec<Value> = said(&bus).iter().map(|said| data(said)["gate"].clone()).collect();
    assert_eq!(names.len(), 3);
    assert!(names.iter().all(|name| names.iter().filter(|other| *other == name).count() == 1));

    // Cycles, with keys and without: each says what it has to say once.
    let bus = EventBus::new();
    let gates: Vec<Gate> = (0..20)
        .map(|n| Gate::any_of().named(format!("gate {n}")).require("any", "*").on(&bus).unwrap())
        .collect();
    let keyed_gates: Vec<_> = (0..20)
        .map(|n| {
            let gate = Gate::any_of().named(format!("keyed {n}")).require("any", "*");
            gate.keyed_by_correlation().on(&bus).unwrap()
        })
        .collect();
    watched("a cycle of gates", move || {
        for key in ["k1", "k2", "k1"] {
            bus.publish(keyed("a", key)).unwrap();
        }
        assert!(gates.iter().all(Gate::is_open));
        assert!(keyed_gates.iter().all(|gate| gate.opened() == 2));
        assert_eq!((said(&bus).len(), bus.dead_letter_queue().len()), (20 + 2 * 20, 0));
    });
}

#[test]
fn gates_live_and_die_within_handlers() {
    let bus = EventBus::new();
    let held: Arc<Mutex<Option<Gate>>> = Arc::default();
    // Dropped by what hears that it opened, so by itself.
    let dropping = Arc::clone(&held);
    bus.subscribe("gate.opened").handler(move |_| drop(dropping.lock().unwrap().take())).unwrap();
    *held.lock().unwrap() = Some(Gate::all_of().require("a", "a").require("b", "b").on(&bus).unwrap());
    publish(&bus, "a");
    publish(&bus, "b");
    assert!(held.lock().unwrap().is_none());
    assert_eq!(bus.subscriptions().len(), 1);

    // Made, opened and asked within a handler.
    let outcomes = Arc::new(Mutex::new(Vec::new()));
    let told = Arc::clone(&outcomes);
    bus.subscribe("make")
        .handler(move |delivery: &Delivery<'_>| {
            let bus = delivery.bus();
            let gate = Gate::any_of().named("inner").require("x", ["x", "mak?"]).on(&bus).unwrap();
            told.lock().unwrap().push(gate.wait(WATCHDOG).unwrap_err().to_string());
            publish(&bus, "x");
            gate.wait(WATCHDOG).unwrap();
            let history = Gate::any_of().named("history").require("x", "make").including_history().on(&bus);
            assert!(history.unwrap().is_open());
        })
        .unwrap();
    // A batch holds one pin for all of its events.
    for answer in bus.publish_batch([event("before"), event("make")]) {
        answer.unwrap();
    }
    assert_eq!(*outcomes.lock().unwrap(), [GateError::WouldDeadlock.to_string()]);
    assert_eq!((said(&bus).len(), bus.dead_letter_queue().len()), (3, 0));
}

#[test]
fn what_it_cannot_say_is_a_dead_letter() {
    let bus = EventBus::builder().intercept_publish(Refuser).build().unwrap();
    let gate = Gate::any_of().require("a", "a").on(&bus).unwrap();
    publish(&bus, "a");
    assert!(gate.is_open());
    let letters = bus.dead_letter_queue().letters();
    assert_eq!(letters.len(), 1);
    assert_eq!(letters[0].event().event_type().as_str(), "gate.opened");
}

struct Refuser;

impl codomyrmex_events::PublishInterceptor for Refuser {
    fn before_publish(
        &self,
        offered: &mut codomyrmex_events::OfferedEvent<'_>,
    ) -> Result<(), codomyrmex_events::BoxError> {
        if offered.source().as_str() == "gate" { Err("not that".into()) } else { Ok(()) }
    }
}

#[test]
fn each_key_has_its_own_state() {
    let bus = EventBus::new();
    bus.publish(keyed("a", "old")).unwrap();
    let two = || Gate::all_of().named("two").require("a", "a").require("b", "b").keyed_by_correlation();
    let gate = two().including_history().on(&bus).unwrap();
    for (event_type, key) in
        [("a", "1"), ("a", "2"), ("b", "3"), ("b", "1"), ("b", "old"), ("a", "1"), ("b", "1")]
    {
        bus.publish(keyed(event_type, key)).unwrap();
    }
    publish(&bus, "a");
    publish(&bus, "b");
    let states = ["1", "2", "3", "old", "4", ""].map(|key| (gate.state(key), gate.missing(key).join(" ")));
    let open = || (Some(GateState::Open), String::new());
    let waiting = |missing: &str| (Some(GateState::Waiting), missing.to_owned());
    let unknown = || (None, "a b".to_owned());
    assert_eq!(states, [open(), waiting("b"), waiting("a"), open(), unknown(), unknown()]);
    assert_eq!((gate.waiting(), gate.opened(), gate.passed_over()), (2, 2, 0));
    let told: Vec<(Value, String)> = said(&bus)
        .iter()
        .map(|said| (data(said)["key"].clone(), said.correlation_id().unwrap().to_string()))
        .collect();
    assert_eq!(told, [(json!("1"), "1".to_owned()), (json!("old"), "old".to_owned())]);
    assert_eq!(data(&said(&bus)[0])["seen"][1]["sequence"], 5);
}

#[test]
fn keys_beyond_the_room_are_passed_over_and_counted() {
    let bus = EventBus::new();
    let gate = Gate::all_of().require("a", "a").require("b", "b").keyed_by_correlation().keys_max(3);
    let gate = gate.on(&bus).unwrap();
    for key in 0..10 {
        bus.publish(keyed("a", &key.to_string())).unwrap();
    }
    assert_eq!((gate.waiting(), gate.passed_over()), (3, 7));
    // One that opens makes room for one.
    bus.publish(keyed("b", "1")).unwrap();
    for key in 3..6 {
        bus.publish(keyed("b", &key.to_string())).unwrap();
    }
    assert_eq!((gate.waiting(), gate.passed_over(), gate.opened()), (3, 9, 1));
    assert_eq!(gate.missing("3"), ["a"]);
}

#[test]
fn an_open_key_stays_open_while_as_many_others_open_as_may_wait() {
    let bus = EventBus::builder().history(0).build().unwrap();
    let gate = Gate::any_of().require("a", "a").keyed_by_correlation().keys_max(1_024).on(&bus).unwrap();
    for key in 0..3_072 {
        bus.publish(keyed("a", &key.to_string())).unwrap();
    }
    let open = |keys: std::ops::Range<u32>| keys.filter(|key| gate.is_open(&key.to_string())).count();
    // 1 in 1,000 says the documentation, of those after which 1,024 others opened.
    assert!(open(2_048..3_072) > 1_000, "{}", open(2_048..3_072));
    for key in 2_048..3_072 {
        if gate.is_open(&key.to_string()) {
            bus.publish(keyed("a", &key.to_string())).unwrap();
        }
    }
    assert_eq!(gate.opened(), 3_072, "one that is remembered opens no more");
    for key in 10_000..22_288 {
        bus.publish(keyed("a", &key.to_string())).unwrap();
    }
    assert!(open(0..3_072) < 100, "{}", open(0..3_072));
}

/// On a bus without threads of its own, which has two once something waits for its time.
#[test]
fn its_time_passes_by_itself() {
    watched("the time of a gate", || {
        let bus = EventBus::new();
        let limit = Duration::from_millis(2);
        let gate = Gate::any_of().named("one").require("a", "a").within(limit).on(&bus).unwrap();
        let by_key = Gate::all_of().named("keyed").require("b", "b").require("a", "a").within(limit);
        let by_key = by_key.keyed_by_correlation().on(&bus).unwrap();
        bus.publish(keyed("b", "k")).unwrap();
        assert!(matches!(gate.wait(WATCHDOG), Err(GateError::TimedOut { .. })));
        for name in ["one", "keyed"] {
            let is_its = move |event: &Event| event.data().get("gate") == Some(&json!(name));
            let wait = bus.wait_for("gate.timed_out").filter(is_its).including_history();
            let told = wait.within(WATCHDOG).unwrap();
            assert_eq!(told.correlation_id().map(|id| id.as_str()), (name == "keyed").then_some("k"));
        }
        assert_eq!((by_key.state("k"), by_key.timed_out()), (Some(GateState::TimedOut), 1));
        assert!(bus.shutdown(WATCHDOG).is_complete());
    });
}

/// Eight threads bring all preconditions of many gates and keys at the same moments, one thread begins and one ends them.
#[test]
fn it_opens_exactly_once_whoever_races() {
    watched("races for gates", || {
        for round in 0..20 {
            let bus = EventBus::new();
            let builder =
                || (0..8).fold(Gate::all_of(), |gate, n| gate.require(n.to_string(), format!("e.{n}")));
            let gate = builder().named("all").on(&bus).unwrap();
            let any = Gate::any_of().named("any").require("any", "e.*").on(&bus).unwrap();
            let by_key = builder().named("keyed").keyed_by_correlation().on(&bus).unwrap();
            let (start, heard) = (Barrier::new(9), Arc::new(AtomicUsize::new(0)));
            let count = Arc::clone(&heard);
            bus.subscribe("gate.opened")
                .handler(move |_| {
                    count.fetch_add(1, SeqCst);
                })
                .unwrap();
            thread::scope(|threads| {
                for n in 0..8 {
                    let (bus, start) = (&bus, &start);
                    threads.spawn(move || {
                        start.wait();
                        for step in 0..16 {
                            // Each thread another order of keys, and each event twice.
                            let key = (step * 7 + n) % 8;
                            bus.publish(keyed(&format!("e.{n}"), &key.to_string())).unwrap();
                        }
                    });
                }
                start.wait();
                gate.wait(WATCHDOG).unwrap();
            });
            assert!(any.is_open());
            assert_eq!((by_key.opened(), by_key.waiting(), by_key.passed_over()), (8, 0, 0), "{round}");
            assert_eq!(heard.load(SeqCst), 1 + 1 + 8, "{round}");
            assert_eq!(said(&bus).len(), 1 + 1 + 8);
        }
    });
}

/// A gate that ends while it is opened has opened or not, and says so or not; who waits is told in any case.
#[test]
fn the_end_of_a_gate_races_with_its_opening() {
    watched("ends of gates", || {
        for round in 0..100 {
            let bus = EventBus::new();
            let gate = Gate::any_of().require("a", "a").on(&bus).unwrap();
            let start = Barrier::new(3);
            thread::scope(|threads| {
                threads.spawn(|| {
                    start.wait();
                    let _: Result<_, EventPublishError> = bus.publish(event("a"));
                });
                let waiting = threads.spawn(|| gate.wait(WATCHDOG));
                threads.spawn(|| {
                    start.wait();
                    if round % 2 == 0 { gate.close() } else { drop(bus.shutdown(WATCHDOG)) }
                });
                start.wait();
                match waiting.join().unwrap() {
                    Ok(_) => assert!(gate.is_open()),
                    Err(error) => assert!(matches!(error, GateError::Closed), "{error}"),
                }
            });
            assert!(said(&bus).len() <= usize::from(gate.is_open()));
        }
    });
}

/// What is published while gates with history begin counts for all of them, once.
#[test]
fn there_is_no_gap_between_the_history_and_what_is_heard() {
    watched("gates with history", || {
        for _ in 0..25 {
            let bus = EventBus::new();
            let start = Barrier::new(5);
            thread::scope(|threads| {
                for thread in 0..4 {
                    let (bus, start) = (&bus, &start);
                    threads.spawn(move || {
                        start.wait();
                        let builder =
                            || Gate::all_of().require("a", "a").require("b", "b").including_history();
                        let named = format!("gate {thread}");
                        let gate = builder().named(&named).on(bus).unwrap();
                        let by_key = builder().named(&named).keyed_by_correlation().on(bus).unwrap();
                        gate.wait(WATCHDOG).unwrap();
                        let opened = bus.wait_for("gate.opened").including_history();
                        let is_its = move |event: &Event| {
                            event.data().get("gate") == Some(&json!(named))
                                && event.data().get("key").is_some()
                        };
                        opened.filter(is_its).within(WATCHDOG).unwrap();
                        assert_eq!((by_key.opened(), by_key.waiting()), (1, 0));
                    });
                }
                start.wait();
                bus.publish(keyed("a", "k")).unwrap();
                bus.publish(keyed("b", "k")).unwrap();
            });
            assert_eq!(said(&bus).len(), 8);
        }
    });
}
