//! What surrounds publishing and handling: who is asked, in which order, once, and what it may do to an event; and that the
//! laws of accounting hold with it.

#![allow(clippy::unwrap_used, clippy::panic, reason = "in a test a panic is the report")]

#[path = "support/laws.rs"]
mod laws;
#[path = "support/bus.rs"]
mod support;

use codomyrmex_events::{
    Attempt, AttemptOutcome, Backoff, BoxError, Delivery, Event, EventBus, EventTimeoutError, EventType,
    HandlerPanic, Handling, HandlingInterceptor, OfferedEvent, Overflow, OwnedDelivery, PublishEnding,
    PublishErrorKind, PublishInterceptor, PublishOutcome, Validation,
};
use std::future::poll_fn;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, mpsc};
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use support::{WATCHDOG, capture, event, is_dropped, publish, watched};

/// What was seen, in order.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<String>>>);

impl Log {
    fn note(&self, line: impl Into<String>) {
        self.0.lock().unwrap().push(line.into());
    }

    fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.0.lock().unwrap())
    }
}

/// Notes all that it sees, under its name; refuses, skips or fails what is of type `no.NAME`.
#[derive(Clone)]
struct Notes {
    name: &'static str,
    log: Log,
}

#[derive(Debug, PartialEq, thiserror::Error)]
#[error("{0} says no")]
struct No(&'static str);

impl Notes {
    fn is_unwanted(&self, event: &Event) -> bool {
        event.event_type().as_str() == format!("no.{}", self.name)
    }
}

impl PublishInterceptor for Notes {
    fn before_publish(&self, offered: &mut OfferedEvent<'_>) -> Result<(), BoxError> {
        self.log.note(format!("{} before", self.name));
        if self.is_unwanted(offered) { Err(No(self.name).into()) } else { Ok(()) }
    }

    fn after_publish(&self, outcome: &PublishOutcome<'_>) {
        let ending = match outcome.ending() {
            PublishEnding::Accepted { sequence } => format!("accepted {sequence}"),
            PublishEnding::Refused(error) => format!("refused: {error}"),
            _ => "withdrawn".to_owned(),
        };
        self.log.note(format!("{} after: {ending}", self.name));
    }
}

impl HandlingInterceptor for Notes {
    fn before_handling(&self, attempt: &Attempt<'_>) -> Result<Handling, BoxError> {
        let is_async = if attempt.is_async() { " async" } else { "" };
        self.log.note(format!("{} before{is_async} {}", self.name, attempt.attempt()));
        if self.is_unwanted(attempt) { Err(No(self.name).into()) } else { Ok(Handling::Proceed) }
    }

    fn after_handling(&self, _: &Attempt<'_>, outcome: &AttemptOutcome<'_>, _: Duration) {
        let outcome = match outcome {
            AttemptOutcome::Succeeded => "succeeded".to_owned(),
            AttemptOutcome::Skipped => "skipped".to_owned(),
            AttemptOutcome::Failed(error) => format!("failed: {error}"),
            _ => "cancelled".to_owned(),
        };
        self.log.note(format!("{} after: {outcome}", self.name));
    }
}

fn with_notes(bus: &EventBus, names: &[&'static str]) -> Log {
    let log = Log::default();
    for name in names {
        bus.intercept_publish(Notes { name, log: log.clone() });
    }
    log
}

#[test]
fn the_first_installed_is_asked_first_and_told_last_and_none_that_was_not_asked() {
    let bus = EventBus::new();
    let log = with_notes(&bus, &["a", "b", "c"]);
    let handled = log.clone();
    bus.subscribe("*").handler(move |_: &Delivery<'_>| handled.note("handled")).unwrap();
    publish(&bus, "x");
    let onion = ["a before", "b before", "c before", "handled", "c after: accepted 1", "b after: accepted 1"];
    assert_eq!(log.take(), [&onion[..], &["a after: accepted 1"]].concat());

    let refusal = bus.publish(event("no.b")).unwrap_err();
    assert_eq!(refusal.to_string(), "an interceptor refused the event: b says no");
    let PublishErrorKind::Intercepted(error) = refusal.kind() else { panic!("{refusal}") };
    assert_eq!(error.downcast_ref::<No>(), Some(&No("b")));
    assert_eq!(refusal.event().unwrap().event_type().as_str(), "no.b");
    let told = "a after: refused: an interceptor refused the event: b says no";
    assert_eq!(log.take(), ["a before", "b before", told]);
    let stats = bus.get_stats();
    assert_eq!((stats.offered, stats.accepted, stats.refused), (2, 1, 1));
    assert_eq!((bus.history().len(), bus.dead_letter_queue().len()), (1, 0), "it left no trace");
    laws::check(&stats);
}

#[test]
fn handling_is_surrounded_the_same_way_and_a_refusal_is_a_failed_attempt() {
    let bus = EventBus::new();
    let log = Log::default();
    for name in ["a", "b"] {
        bus.intercept_handling(Notes { name, log: log.clone() });
    }
    let calls = Arc::new(AtomicUsize::new(0));
    let called = Arc::clone(&calls);
    bus.subscribe("*")
        .attempts(2)
        .handler(move |_: &Delivery<'_>| {
            called.fetch_add(1, SeqCst);
        })
        .unwrap();
    publish(&bus, "x");
    assert_eq!(log.take(), ["a before 1", "b before 1", "b after: succeeded", "a after: succeeded"]);
    publish(&bus, "no.b");
    let refused =
        |n| [format!("a before {n}"), format!("b before {n}"), "a after: failed: b says no".to_owned()];
    assert_eq!(log.take(), [refused(1), refused(2)].concat());
    assert_eq!(calls.load(SeqCst), 1, "the handler was not called");
    let letters = bus.dead_letter_queue().letters();
    assert_eq!(letters[0].error_chain(), ["b says no"]);
    assert_eq!(letters[0].attempts(), 2);
    laws::check(&bus.get_stats());
}

/// Asks to skip everything.
struct Skips;

impl HandlingInterceptor for Skips {
    fn before_handling(&self, _: &Attempt<'_>) -> Result<Handling, BoxError> {
        Ok(Handling::Skip)
    }
}

#[test]
fn a_skipped_delivery_counts_as_succeeded_and_is_said_to_be_skipped() {
    for is_async in [false, true] {
        let (bus, driver) = EventBus::builder().manual().build().unwrap();
        let log = Log::default();
        bus.intercept_handling(Notes { name: "a", log: log.clone() });
        let skips = bus.intercept_handling(Skips);
        let handled = log.clone();
        let builder = bus.subscribe("*");
        match is_async {
            false => builder.handler(move |_: &Delivery<'_>| handled.note("handled")),
            true => builder.async_handler(move |_| {
                handled.note("handled");
                async {}
            }),
        }
        .unwrap();
        publish(&bus, "x");
        driver.run_until_idle();
        let before = if is_async { "a before async 1" } else { "a before 1" };
        assert_eq!(log.take(), [before, "a after: skipped"]);
        assert!(skips.remove() && !skips.remove());
        publish(&bus, "x");
        driver.run_until_idle();
        assert_eq!(log.take(), [before, "handled", "a after: succeeded"]);
        assert_eq!(bus.get_stats().deliveries.succeeded, 2);
        laws::check(&bus.get_stats());
    }
}

#[test]
fn every_kind_of_failure_is_told_of_sync_and_async_and_each_attempt_once() {
    let (bus, driver) = EventBus::builder().manual().build().unwrap();
    let log = Log::default();
    bus.intercept_handling(Notes { name: "a", log: log.clone() });
    let second = Duration::from_secs(1);
    bus.subscribe("error").attempts(2).handler(|_: &Delivery<'_>| Err::<(), _>("returned")).unwrap();
    bus.subscribe("panic").handler(|_: &Delivery<'_>| -> () { panic!("on purpose") }).unwrap();
    bus.subscribe("async")
        .attempts(2)
        .backoff(Backoff::exponential(second, second))
        .async_handler(|delivery: OwnedDelivery| async move {
            if delivery.attempt() == 1 { Err("async") } else { Ok(()) }
        })
        .unwrap();
    bus.subscribe("early").async_handler(|_| -> std::future::Ready<()> { panic!("on purpose") }).unwrap();
    bus.subscribe("slow").time_limit(second).async_handler(|_| std::future::pending::<()>()).unwrap();
    bus.subscribe("ends").subscriber_id("ends").async_handler(|_| std::future::pending::<()>()).unwrap();
    let rows: [(&str, &[&str]); 6] = [
        ("error", &["a before 1", "a after: failed: returned", "a before 2", "a after: failed: returned"]),
        ("panic", &["a before 1", "a after: failed: panicked: on purpose"]),
        ("async", &["a before async 1", "a after: failed: async", "a before async 2", "a after: succeeded"]),
        ("early", &["a before async 1", "a after: failed: panicked: on purpose"]),
        ("slow", &["a before async 1", "a after: failed: slow"]),
        ("ends", &["a before async 1", "a after: cancelled"]),
    ];
    for (name, expected) in rows {
        publish(&bus, name);
        driver.run_until_idle();
        if name == "ends" {
            assert!(bus.unsubscribe("ends"));
            bus.shutdown(Duration::ZERO);
        }
        driver.advance(second);
        driver.advance(second);
        let seen: Vec<String> = log.take();
        let is_limit = |line: &String| line.contains("took longer than 1s");
        let seen =
            seen.into_iter().map(|line| if is_limit(&line) { "a after: failed: slow".into() } else { line });
        assert_eq!(seen.collect::<Vec<String>>(), expected, "{name}");
    }
    laws::check(&bus.get_stats());
}

#[test]
fn failures_keep_their_types_and_times_are_the_bus_clock_s() {
    #[derive(Clone, Default)]
    struct Types(Arc<Mutex<Vec<(bool, bool, Duration)>>>);
    impl HandlingInterceptor for Types {
        fn after_handling(&self, _: &Attempt<'_>, outcome: &AttemptOutcome<'_>, took: Duration) {
            let AttemptOutcome::Failed(error) = outcome else { panic!("{outcome:?}") };
            self.0.lock().unwrap().push((error.is::<HandlerPanic>(), error.is::<EventTimeoutError>(), took));
        }
    }
    let (bus, driver) = EventBus::builder().manual().build().unwrap();
    let types = Types::default();
    bus.intercept_handling(types.clone());
    let limit = Duration::from_secs(3);
    bus.subscribe("panic").handler(|_: &Delivery<'_>| -> () { panic!("on purpose") }).unwrap();
    bus.subscribe("slow").time_limit(limit).async_handler(|_| std::future::pending::<()>()).unwrap();
    publish(&bus, "panic");
    publish(&bus, "slow");
    driver.advance(limit);
    assert_eq!(*types.0.lock().unwrap(), [(true, false, Duration::ZERO), (false, true, limit)]);
    assert_eq!(bus.uptime(), limit);
}

#[test]
fn panics_of_interceptors_refuse_fail_or_are_logged_and_the_bus_goes_on() {
    struct Panics(&'static str);
    impl PublishInterceptor for Panics {
        fn before_publish(&self, offered: &mut OfferedEvent<'_>) -> Result<(), BoxError> {
            assert!(offered.event_type().as_str() != "before", "on purpose");
            Ok(())
        }
        fn after_publish(&self, outcome: &PublishOutcome<'_>) {
            assert!(outcome.event().event_type().as_str() != "after", "on purpose");
        }
    }
    impl HandlingInterceptor for Panics {
        fn before_handling(&self, _: &Attempt<'_>) -> Result<Handling, BoxError> {
            if self.0 == "before" { panic!("on purpose") } else { Ok(Handling::Proceed) }
        }
        fn after_handling(&self, _: &Attempt<'_>, _: &AttemptOutcome<'_>, _: Duration) {
            panic!("on purpose");
        }
    }
    let bus = EventBus::new();
    let log = with_notes(&bus, &["a"]);
    bus.intercept_publish(Panics(""));
    bus.subscribe("*").handler(|_| ()).unwrap();
    let refusal = bus.publish(event("before")).unwrap_err();
    let PublishErrorKind::Intercepted(error) = refusal.kind() else { panic!("{refusal}") };
    assert_eq!(error.downcast_ref::<HandlerPanic>().unwrap().message(), "on purpose");
    publish(&bus, "after");
    assert_eq!(log.take()[2..], ["a before", "a after: accepted 1"]);
    bus.intercept_handling(Panics("after"));
    publish(&bus, "x");
    assert_eq!(bus.get_stats().deliveries.succeeded, 2);
    bus.intercept_handling(Panics("before"));
    publish(&bus, "x");
    assert_eq!(bus.dead_letter_queue().letters()[0].error_chain(), ["panicked: on purpose"]);
    laws::check(&bus.get_stats());
}

/// Turns `raw` into a valid build event; spoils what is of type `spoilt`.
fn convert(offered: &mut OfferedEvent<'_>) -> Result<(), BoxError> {
    match offered.event_type().as_str() {
        "raw" => {
            let valid = serde_json::json!({"build_type": "release", "target": "x"});
            let event = Event::builder(EventType::BuildStart, offered.source()).data(valid);
            offered.replace(event.event_id(offered.event_id()).build()?);
        }
        "build.start" => offered.replace(offered.to_builder().data(serde_json::json!({})).build()?),
        _ => {}
    }
    Ok(())
}

#[test]
fn what_an_interceptor_makes_is_validated_and_matched_by_its_new_type() {
    for is_queued in [false, true] {
        let builder = EventBus::builder().validate(Validation::Typed).intercept_publish(convert);
        let bus = if is_queued { builder.queued() } else { builder }.build().unwrap();
        let (heard, hears) = mpsc::channel();
        let heard = Mutex::new(heard);
        bus.subscribe("build.*")
            .handler(move |delivery: &Delivery<'_>| {
                drop(heard.lock().unwrap().send(delivery.event_id().clone()));
            })
            .unwrap();
        let raw = Arc::new(event("raw"));
        bus.publish(Arc::clone(&raw)).unwrap();
        bus.emit_typed(Arc::clone(&raw)).unwrap();
        ready_or_wait(bus.emit_typed_async(Arc::clone(&raw)));
        ready_or_wait(bus.publish_async(Arc::clone(&raw)));
        ready_or_wait(bus.publish_and_wait(Arc::clone(&raw)));
        assert!(bus.publish_batch([Arc::clone(&raw), Arc::clone(&raw)]).iter().all(Result::is_ok));
        let later = bus.publish_later(Arc::clone(&raw), Duration::from_millis(1)).unwrap();
        assert_eq!(later.event().event_type(), &"raw", "its time has not come");
        for _ in 0..8 {
            assert_eq!(&hears.recv_timeout(WATCHDOG).unwrap(), raw.event_id());
        }
        assert_eq!(raw.event_type().as_str(), "raw", "the publisher's own is as it was");
        let valid = serde_json::json!({"build_type": "release", "target": "x"});
        let spoilt = Event::builder(EventType::BuildStart, "test").data(valid).build().unwrap();
        let refusal = bus.publish(spoilt).unwrap_err();
        assert!(matches!(refusal.kind(), PublishErrorKind::Rejected(_)), "{refusal}");
        bus.flush(WATCHDOG).unwrap();
        laws::check(&bus.get_stats());
    }
}

fn ready_or_wait<T, E: std::fmt::Debug>(future: impl Future<Output = Result<T, E>>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(future).unwrap()
}

/// Counts how often it is asked, told of accepted ones, and told of others.
#[derive(Clone, Default)]
struct Counts(Arc<[AtomicUsize; 3]>);

impl Counts {
    fn now(&self) -> [usize; 3] {
        std::array::from_fn(|index| self.0[index].load(SeqCst))
    }
}

impl PublishInterceptor for Counts {
    fn before_publish(&self, _: &mut OfferedEvent<'_>) -> Result<(), BoxError> {
        self.0[0].fetch_add(1, SeqCst);
        Ok(())
    }
    fn after_publish(&self, outcome: &PublishOutcome<'_>) {
        self.0[if outcome.sequence().is_some() { 1 } else { 2 }].fetch_add(1, SeqCst);
    }
}

#[test]
fn who_waits_for_room_is_asked_once_whichever_way_it_came_in() {
    let builder = EventBus::builder().queued().max_workers(1).lanes(1).lane_room(1);
    let bus = builder.overflow(Overflow::Block(WATCHDOG)).build().unwrap();
    let (go, goes) = mpsc::channel::<()>();
    let (entered, enters) = mpsc::channel();
    let gate = Mutex::new((goes, entered));
    bus.subscribe("block")
        .handler(move |_: &Delivery<'_>| {
            let gate = gate.lock().unwrap();
            gate.1.send(()).unwrap();
            let _ = gate.0.recv();
        })
        .unwrap();
    bus.subscribe("*").handler(|_| ()).unwrap();
    publish(&bus, "block");
    enters.recv_timeout(WATCHDOG).unwrap();
    publish(&bus, "fills the lane");
    let counts = Counts::default();
    bus.intercept_publish(counts.clone());
    let mut cancelled = Box::pin(bus.publish_async(event("cancelled")));
    assert!(cancelled.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    assert_eq!(counts.now(), [1, 0, 0]);
    drop(cancelled);
    assert_eq!(counts.now(), [1, 0, 1], "withdrawn");
    std::thread::scope(|threads| {
        threads.spawn(|| publish(&bus, "sync"));
        threads.spawn(|| ready_or_wait(bus.publish_async(event("async"))));
        bus.publish_later(event("later"), Duration::from_millis(1)).unwrap();
        // What is due waits for the worker, which is held up.
        while counts.now()[0] != 3 {
            std::thread::yield_now();
        }
        go.send(()).unwrap();
        drop(go);
    });
    watched("a delayed event", {
        let bus = bus.clone();
        move || {
            while bus.get_stats().waiting_events != 0 {
                std::thread::yield_now();
            }
        }
    });
    bus.flush(WATCHDOG).unwrap();
    assert_eq!(counts.now(), [4, 3, 1]);
    laws::check(&bus.get_stats());
}

#[test]
fn a_delayed_event_that_finds_no_room_on_a_manual_bus_is_asked_once() {
    let builder = EventBus::builder().lanes(1).lane_room(1).overflow(Overflow::Reject);
    let (bus, driver) = builder.manual().build().unwrap();
    bus.subscribe("*").handler(|_| ()).unwrap();
    let counts = Counts::default();
    bus.intercept_publish(counts.clone());
    bus.intercept_publish(|offered: &mut OfferedEvent<'_>| -> Result<(), BoxError> {
        if offered.event_type().as_str() == "unwanted" { Err("no".into()) } else { Ok(()) }
    });
    bus.publish_later(event("unwanted"), Duration::from_secs(1)).unwrap();
    bus.publish_later(event("wanted"), Duration::from_secs(2)).unwrap();
    assert_eq!(counts.now(), [0; 3], "their time has not come");
    driver.advance(Duration::from_secs(1));
    assert_eq!(counts.now(), [1, 0, 1]);
    assert_eq!(bus.dead_letter_queue().letters()[0].error_chain(), ["an interceptor refused the event: no"]);
    driver.advance(Duration::from_secs(1));
    assert_eq!(counts.now(), [2, 1, 1]);
    laws::check(&bus.get_stats());
}

#[test]
fn a_redriven_event_is_asked_about_again_and_says_what_it_is() {
    let bus = EventBus::builder().build().unwrap();
    let log = Log::default();
    let seen = log.clone();
    bus.intercept_publish(move |offered: &mut OfferedEvent<'_>| -> Result<(), BoxError> {
        seen.note(format!("{} {}", offered.event_type(), offered.is_redriven()));
        if offered.is_redriven() {
            let valid = serde_json::json!({"build_type": "release", "target": "x"});
            offered.replace(offered.to_builder().data(valid).build()?);
        }
        Ok(())
    });
    bus.emit_typed(event("build.start")).unwrap_err();
    let letter = bus.dead_letter_queue().letters()[0].id();
    bus.dead_letter_queue().redrive(letter).unwrap();
    assert_eq!(log.take(), ["build.start false", "build.start true"]);
    laws::check(&bus.get_stats());
}

#[test]
fn nobody_is_asked_about_what_a_closed_bus_or_too_deep_a_nesting_refuses() {
    let bus = EventBus::new();
    let counts = Counts::default();
    bus.intercept_publish(counts.clone());
    let (weak, deepest) = (bus.downgrade(), Arc::new(AtomicUsize::new(0)));
    let deep = Arc::clone(&deepest);
    bus.intercept_publish(move |offered: &mut OfferedEvent<'_>| -> Result<(), BoxError> {
        match weak.upgrade().unwrap().publish(event("nested")) {
            Err(error) if matches!(error.kind(), PublishErrorKind::TooDeep { .. }) => {
                deep.fetch_add(1, SeqCst);
            }
            other => drop(other),
        }
        assert!(offered.causation_id().is_some() || offered.event_type().as_str() == "outer");
        Ok(())
    });
    publish(&bus, "outer");
    assert_eq!(counts.now(), [64, 64, 0]);
    assert_eq!(deepest.load(SeqCst), 1);
    laws::check(&bus.get_stats());
    bus.shutdown(WATCHDOG);
    assert!(matches!(bus.publish(event("x")).unwrap_err().kind(), PublishErrorKind::Closed));
    assert_eq!(counts.now()[0], 64);
}

#[test]
fn what_an_interceptor_captured_is_dropped_when_nobody_runs_it() {
    for is_queued in [false, true] {
        let builder = EventBus::builder();
        let bus = if is_queued { builder.queued() } else { builder }.build().unwrap();
        bus.subscribe("*").handler(|_| ()).unwrap();
        let (held, seen) = capture();
        let (other, other_seen) = capture();
        struct Holds(#[allow(dead_code, reason = "it is only held")] Arc<()>);
        impl HandlingInterceptor for Holds {}
        let publishing = bus.intercept_publish(move |_: &mut OfferedEvent<'_>| -> Result<(), BoxError> {
            std::hint::black_box(&held);
            Ok(())
        });
        let handling = bus.intercept_handling(Holds(other));
        publish(&bus, "x");
        // A thread that published keeps its copy of the table, and no interceptor with it.
        std::thread::scope(|threads| drop(threads.spawn(|| publish(&bus, "x"))));
        bus.flush(WATCHDOG).unwrap();
        assert!(publishing.remove());
        assert!(is_dropped(&seen));
        drop(handling.scoped());
        bus.flush(WATCHDOG).unwrap();
        assert!(is_dropped(&other_seen));
        let (held, seen) = capture();
        bus.intercept_handling(Holds(held));
        drop(bus);
        watched("the drop", move || {
            while !is_dropped(&seen) {
                std::thread::yield_now();
            }
        });
    }
}

/// Laws, orders and counts of calls while everything changes.
#[test]
fn the_laws_hold_while_interceptors_come_and_go_under_fire() {
    for is_queued in [false, true] {
        let builder = EventBus::builder().dead_letters(16);
        let bus = if is_queued { builder.queued() } else { builder }.build().unwrap();
        bus.subscribe("*")
            .attempts(2)
            .backoff(Backoff::exponential(Duration::ZERO, Duration::ZERO))
            .handler(
                |delivery: &Delivery<'_>| {
                    if delivery.sequence().is_multiple_of(7) { Err("seven") } else { Ok(()) }
                },
            )
            .unwrap();
        bus.subscribe("*")
            .async_handler(|delivery: OwnedDelivery| async move {
                let mut has_yielded = false;
                poll_fn(|context| {
                    context.waker().wake_by_ref();
                    if std::mem::replace(&mut has_yielded, true) { Poll::Ready(()) } else { Poll::Pending }
                })
                .await;
                if delivery.sequence().is_multiple_of(5) { Err("five") } else { Ok(()) }
            })
            .unwrap();
        struct Balance(Arc<[AtomicUsize; 2]>);
        impl HandlingInterceptor for Balance {
            fn before_handling(&self, attempt: &Attempt<'_>) -> Result<Handling, BoxError> {
                self.0[0].fetch_add(1, SeqCst);
                if attempt.sequence().is_multiple_of(11) {
                    self.0[1].fetch_add(1, SeqCst);
                    Err("eleven")?;
                }
                Ok(Handling::Proceed)
            }
            fn after_handling(&self, _: &Attempt<'_>, _: &AttemptOutcome<'_>, _: Duration) {
                self.0[1].fetch_add(1, SeqCst);
            }
        }
        let balance: Arc<[AtomicUsize; 2]> = Arc::default();
        let counts = Counts::default();
        std::thread::scope(|threads| {
            for publisher in 0..4 {
                let bus = &bus;
                threads.spawn(move || {
                    for n in 0..500 {
                        let name = if n % 3 == 0 { "no.gate" } else { "yes" };
                        let source = format!("p{publisher}");
                        drop(bus.publish(Event::builder(name, source).build().unwrap()));
                    }
                });
            }
            threads.spawn(|| {
                for _ in 0..200 {
                    let handles = [
                        bus.intercept_publish(counts.clone()),
                        bus.intercept_publish(Notes { name: "gate", log: Log::default() }),
                        bus.intercept_handling(Balance(Arc::clone(&balance))),
                    ];
                    std::thread::yield_now();
                    assert!(handles.iter().all(codomyrmex_events::InterceptorHandle::remove));
                }
            });
        });
        bus.flush(WATCHDOG).unwrap();
        let [asked, accepted, others] = counts.now();
        assert_eq!(asked, accepted + others, "each that was asked was told");
        assert_eq!(balance[0].load(SeqCst), balance[1].load(SeqCst));
        laws::check(&bus.get_stats());
        assert_eq!(bus.get_stats().offered, 2_000);
    }
}

#[test]
fn an_event_is_copied_only_if_somebody_else_holds_it() {
    let bus = EventBus::new();
    bus.intercept_publish(|offered: &mut OfferedEvent<'_>| -> Result<(), BoxError> {
        offered.add_metadata("host", "runner-7")?;
        Ok(offered.add_metadata("own", "no")?)
    });
    let mine = Arc::new(Event::builder("x", "test").metadata_entry("own", "yes").build().unwrap());
    let sequence = bus.publish(Arc::clone(&mine)).unwrap().sequence();
    assert_eq!(sequence, 1);
    let kept = bus.history().latest(1);
    let metadata = kept[0].event().metadata();
    assert_eq!((&metadata["host"], &metadata["own"]), (&"runner-7".into(), &"yes".into()));
    assert_eq!(mine.metadata().len(), 1);
}

#[test]
fn a_delayed_event_that_was_spoilt_is_one_letter_and_may_be_redriven() {
    let builder = EventBus::builder().validate(Validation::Typed).intercept_publish(convert);
    let (bus, driver) = builder.manual().build().unwrap();
    let valid = serde_json::json!({"build_type": "release", "target": "x"});
    let spoilt = Event::builder(EventType::BuildStart, "test").data(valid).build().unwrap();
    bus.publish_later(spoilt, Duration::from_secs(1)).unwrap();
    driver.advance(Duration::from_secs(1));
    let letters = bus.dead_letter_queue().letters();
    assert_eq!(letters.iter().map(|letter| letter.kind().as_str()).collect::<Vec<_>>(), ["schema"]);
    let stats = bus.get_stats();
    assert_eq!((stats.offered, stats.refused), (1, 1));
    laws::check(&stats);
}
