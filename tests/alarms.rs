//! Alarms about handlers: raised when they are slow or keep failing, limited, bounded, never lost in silence, and never about
//! themselves.

#![allow(clippy::unwrap_used, clippy::panic, reason = "in a test a panic is the report")]

#[path = "support/allocations.rs"]
mod allocations;
#[path = "support/bus.rs"]
mod support;

use codomyrmex_events::{
    Backoff, BoxError, CorrelationId, Delivery, Driver, Event, EventBus, EventEmitter, EventPriority,
    HandlerAlarms, OfferedEvent, Overflow, OwnedDelivery, Recorded, Validation, correlation,
};
use serde_json::{Value, json};
use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::time::Duration;
use support::{WATCHDOG, capture, event, is_dropped, publish};

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);

fn fails(_: &Delivery<'_>) -> Result<(), BoxError> {
    Err("no disk".into())
}

fn recorded(bus: &EventBus, event_type: &str) -> Vec<Recorded> {
    bus.history().query().event_type(event_type).since(0).events().unwrap()
}

fn alerts(bus: &EventBus) -> Vec<Value> {
    recorded(bus, "alert.triggered").iter().map(|alert| alert.data().value().unwrap().clone()).collect()
}

fn manual() -> (EventBus, Driver) {
    EventBus::builder().validate(Validation::Typed).manual().build().unwrap()
}

#[test]
fn an_alert_comes_after_so_many_failures_in_a_row_and_fits_its_schema() {
    let bus = EventBus::builder().validate(Validation::Typed).build().unwrap();
    let alarms = HandlerAlarms::new().attach(&bus);
    let is_down = Arc::new(AtomicBool::new(true));
    let down = Arc::clone(&is_down);
    bus.subscribe("n")
        .subscriber_id("worker")
        .handler(move |_| if down.load(SeqCst) { Err("no disk") } else { Ok(()) })
        .unwrap();
    bus.subscribe("n").subscriber_id("other").handler(|_| ()).unwrap();
    for is_down_now in [true, true, false, true, true] {
        is_down.store(is_down_now, SeqCst);
        publish(&bus, "n");
    }
    assert_eq!(alarms.raised(), 0);
    is_down.store(true, SeqCst);
    let sixth = Event::builder("n", "test").event_id("sixth").correlation_id("cid").build().unwrap();
    bus.publish(sixth).unwrap();
    let alert = json!({
        "alert_name": "handler_failing", "alert_level": "error", "threshold": 3, "current_value": 3,
        "message": "the handler of worker failed 3 times in a row: no disk",
        "context": {
            "subscriber_id": "worker", "event_type": "n", "event_id": "sixth", "sequence": 6,
            "correlation_id": "cid", "error": "no disk", "suppressed": 0,
        },
    });
    assert_eq!(alerts(&bus), [alert]);
    let alert = &recorded(&bus, "alert.triggered")[0];
    assert_eq!((alert.source().as_str(), alert.priority().as_str()), ("handler_alarms", "critical"));
    assert_eq!(alert.causation_id().unwrap().to_string(), "sixth");
    assert_eq!((alarms.raised(), alarms.suppressed(), alarms.refused(), alarms.untold()), (1, 0, 0, 0));
}

#[test]
fn panics_time_limits_and_retries_count_as_failures() {
    let (bus, driver) = manual();
    let alarms = HandlerAlarms::new().attach(&bus);
    bus.subscribe("panics").handler(|_| -> () { panic!("oh no") }).unwrap();
    bus.subscribe("stuck").time_limit(SECOND).async_handler(|_: OwnedDelivery| pending::<()>()).unwrap();
    bus.subscribe("retried")
        .attempts(3)
        .backoff(Backoff::exponential(SECOND, SECOND))
        .handler(fails)
        .unwrap();
    for _ in 0..3 {
        publish(&bus, "panics");
        publish(&bus, "stuck");
    }
    publish(&bus, "retried");
    driver.run_until_idle();
    for _ in 0..4 {
        driver.advance(SECOND);
        driver.run_until_idle();
    }
    let mut errors: Vec<_> = alerts(&bus).iter().map(|alert| alert["context"]["error"].clone()).collect();
    errors.sort_by_key(Value::to_string);
    assert_eq!(errors.len(), 3, "{errors:?}");
    assert_eq!((&errors[0], &errors[1]), (&json!("no disk"), &json!("panicked: oh no")));
    assert_eq!(alarms.raised(), 3);
}

#[test]
fn a_slow_attempt_is_told_whether_it_succeeds_or_not() {
    let (bus, driver) = manual();
    let alarms = HandlerAlarms::new().slower_than(SECOND).attach(&bus);
    let (release, waiting) = async_channel();
    bus.subscribe("n")
        .subscriber_id("worker")
        .async_handler(move |_: OwnedDelivery| {
            let waiting = waiting.clone();
            async move {
                waiting.wait().await;
                Err::<(), _>("no disk")
            }
        })
        .unwrap();
    for (pause, raised) in [(SECOND, 0), (SECOND * 3 / 2, 1)] {
        publish(&bus, "n");
        driver.run_until_idle();
        driver.advance(pause);
        release.one();
        driver.run_until_idle();
        assert_eq!(alarms.raised(), raised);
    }
    let told = &recorded(&bus, "performance.degradation")[0];
    let expected = json!({
        "subscriber_id": "worker", "event_type": "n", "event_id": told.causation_id().unwrap().to_string(), "sequence": 2,
        "duration": 1.5, "threshold": 1.0, "suppressed": 0, "message": "the handler of worker took 1.5s for n",
    });
    assert_eq!(told.data().value().unwrap(), &expected);
    assert_eq!(told.priority().as_str(), "warning");
}

/// What lets one waiting future after the other go on.
fn async_channel() -> (Release, Release) {
    let release = Release(Arc::new(tokio::sync::Semaphore::new(0)));
    (release.clone(), release)
}

#[derive(Clone)]
struct Release(Arc<tokio::sync::Semaphore>);

impl Release {
    fn one(&self) {
        self.0.add_permits(1);
    }

    async fn wait(&self) {
        self.0.acquire().await.unwrap().forget();
    }
}

#[test]
fn one_alarm_of_a_kind_comes_in_a_while_and_tells_how_many_were_left_out() {
    let (bus, driver) = manual();
    let alarms = HandlerAlarms::new().after_failures(1).attach(&bus);
    for id in ["a", "b"] {
        bus.subscribe(id).subscriber_id(id).handler(fails).unwrap();
    }
    let fail = |id: &str, times: usize| {
        (0..times).for_each(|_| publish(&bus, id));
        driver.run_until_idle();
    };
    fail("a", 5);
    fail("b", 1);
    driver.advance(MINUTE - Duration::from_nanos(1));
    fail("a", 2);
    let told = || -> Vec<(Value, Value, Value)> {
        let told = |alert: Value| {
            let context = &alert["context"];
            (context["subscriber_id"].clone(), alert["current_value"].clone(), context["suppressed"].clone())
        };
        alerts(&bus).into_iter().map(told).collect()
    };
    let first = [(json!("a"), json!(1), json!(0)), (json!("b"), json!(1), json!(0))];
    assert_eq!((told(), alarms.suppressed()), (first.to_vec(), 6));
    driver.advance(Duration::from_nanos(1));
    fail("a", 2);
    assert_eq!(told()[2..], [(json!("a"), json!(8), json!(6))]);
    assert_eq!((alarms.raised(), alarms.suppressed()), (3, 7));
    drop(alarms);
    driver.advance(MINUTE * 2);
    fail("a", 3);
    assert_eq!(told().len(), 3);
}

#[test]
fn nothing_is_said_about_handlers_of_alarms_and_what_they_publish() {
    let bus = EventBus::new();
    let eager =
        || HandlerAlarms::new().after_failures(1).slower_than(Duration::ZERO).at_most_every(Duration::ZERO);
    // Two that watch the same bus know each other's alarms.
    let alarms =
        [eager().slower_than(Duration::MAX).attach(&bus), eager().slower_than(Duration::MAX).attach(&bus)];
    let answering = Arc::new(AtomicUsize::new(0));
    let (answers, another) = (Arc::clone(&answering), CorrelationId::from_static("another"));
    bus.subscribe("alert.triggered")
        .attempts(5)
        .handler(move |alert| -> Result<(), BoxError> {
            let bus = alert.bus();
            // What failed is tried again, in a way of its own each time.
            match answers.fetch_add(1, SeqCst) % 3 {
                0 => drop(bus.publish(event("n"))?),
                1 => drop(correlation::scope(&another, || bus.publish(event("n")))?),
                _ => drop(
                    EventEmitter::on_bus("m", &bus)?.default_correlation_id("mine")?.emit("n", json!(1))?,
                ),
            }
            Err("nobody answers the phone".into())
        })
        .unwrap();
    bus.subscribe("n").subscriber_id("worker").handler(fails).unwrap();
    publish(&bus, "n");
    assert_eq!(answering.load(SeqCst), 10, "two alerts, five attempts each");
    assert_eq!(alarms.each_ref().map(|alarms| (alarms.raised(), alarms.suppressed())), [(1, 0), (1, 0)]);
    assert_eq!(recorded(&bus, "n").len(), 11);
    publish(&bus, "n");
    assert_eq!(alarms.each_ref().map(|alarms| alarms.raised()), [2, 2], "of other events it is said as ever");
}

#[test]
fn slow_handlers_of_slow_handlers_do_not_go_round() {
    let bus = EventBus::new();
    let alarms = HandlerAlarms::new().slower_than(Duration::ZERO).at_most_every(Duration::ZERO).attach(&bus);
    let takes_time = |_: &Delivery<'_>| drop(std::hint::black_box(vec![0_u8; 4_096]));
    bus.subscribe("*").handler(takes_time).unwrap();
    for _ in 0..10 {
        publish(&bus, "n");
    }
    assert!(alarms.raised() <= 10);
    assert_eq!(bus.history().last_sequence(), 10 + alarms.raised());
}

#[test]
fn a_full_lane_delays_an_alarm_and_loses_none() {
    for overflow in [Overflow::Block(SECOND), Overflow::Reject] {
        let builder = EventBus::builder().lanes(1).lane_room(2).overflow(overflow);
        let (bus, driver) = builder.manual().build().unwrap();
        let alarms = HandlerAlarms::new().after_failures(1).attach(&bus);
        bus.subscribe("filling").handler(|_| ()).unwrap();
        let fills = |delivery: &Delivery<'_>| -> Result<(), BoxError> {
            loop {
                let filling = Event::builder("filling", "test").priority(EventPriority::Critical);
                delivery.bus().publish(filling.build()?)?;
            }
        };
        bus.subscribe("n").handler(fills).unwrap();
        let heard = Arc::new(AtomicUsize::new(0));
        let hearing = Arc::clone(&heard);
        bus.subscribe("alert.triggered")
            .handler(move |_| {
                hearing.fetch_add(1, SeqCst);
            })
            .unwrap();
        publish(&bus, "n");
        assert!(driver.step());
        let waiting = bus.get_stats().waiting_events;
        assert_eq!((alarms.raised(), alerts(&bus).len(), waiting), (1, 0, 1), "{overflow:?}");
        for _ in 0..10 {
            driver.run_until_idle();
            driver.advance(SECOND / 10);
        }
        assert_eq!((heard.load(SeqCst), alarms.refused()), (1, 0), "{overflow:?}");
    }
}

#[test]
fn what_the_bus_refuses_for_good_is_counted() {
    let bus = EventBus::new();
    let alarms = HandlerAlarms::new().after_failures(1).at_most_every(Duration::ZERO).attach(&bus);
    bus.subscribe("n").handler(fails).unwrap();
    let refuse = bus.intercept_publish(|offered: &mut OfferedEvent<'_>| -> Result<(), BoxError> {
        if offered.source() == "handler_alarms" { Err("no alarms".into()) } else { Ok(()) }
    });
    publish(&bus, "n");
    assert_eq!((alarms.raised(), alarms.refused()), (0, 1));
    refuse.remove();
    // A handler that shuts the bus down and fails.
    bus.subscribe("end")
        .handler(|delivery| -> Result<(), BoxError> {
            delivery.bus().shutdown(Duration::ZERO);
            Err("it is over".into())
        })
        .unwrap();
    publish(&bus, "end");
    assert_eq!((alarms.raised(), alarms.refused()), (0, 2));
}

#[test]
fn it_ends_with_its_handle_and_keeps_no_bus_alive() {
    let bus = EventBus::new();
    let alarms = HandlerAlarms::new().after_failures(1).attach(&bus);
    let (value, seen) = capture();
    bus.subscribe("n")
        .handler(move |_| {
            let _ = &value;
            Err::<(), _>("no disk")
        })
        .unwrap();
    publish(&bus, "n");
    drop(bus);
    assert!(is_dropped(&seen));
    assert_eq!(alarms.raised(), 1);
}

/// While the last handle drains the bus, handlers still fail.
#[test]
fn alarms_while_the_bus_ends_are_counted() {
    let bus = EventBus::builder().queued().max_workers(1).build().unwrap();
    let alarms = HandlerAlarms::new().after_failures(1).at_most_every(Duration::ZERO).attach(&bus);
    bus.subscribe("n").handler(fails).unwrap();
    (0..100).for_each(|_| publish(&bus, "n"));
    assert!(bus.shutdown(WATCHDOG).is_complete());
    assert_eq!(alarms.raised() + alarms.refused() + alarms.suppressed(), 100);
}

#[test]
fn a_flood_of_subscriptions_takes_no_more_memory_than_the_room() {
    let bus = EventBus::builder().history(0).dead_letters(0).build().unwrap();
    let alarms = HandlerAlarms::new().after_failures(1).attach(&bus);
    let error = "x".repeat(100_000);
    let flood = |from: usize, to: usize| {
        for n in from..to {
            let error = error.clone();
            let id = format!("a-worker-with-a-long-name-{n}");
            let fails = move |_: &Delivery<'_>| Err::<(), _>(error.clone());
            let subscription = bus.subscribe("n").subscriber_id(id).handler(fails).unwrap();
            publish(&bus, "n");
            subscription.unsubscribe();
        }
    };
    flood(0, 5_000);
    let ((), taken) = allocations::during(|| flood(5_000, 20_000));
    assert!(taken.kept_bytes < 1 << 16, "{} bytes more", taken.kept_bytes);
    assert_eq!((alarms.raised(), alarms.untold()), (4_096, 20_000 - 4_096));
}

#[test]
fn of_many_threads_that_fail_at_once_one_raises_the_alarm() {
    let bus = EventBus::builder().history(10_000).build().unwrap();
    let alarms = HandlerAlarms::new().attach(&bus);
    bus.subscribe("n").handler(fails).unwrap();
    std::thread::scope(|threads| {
        for _ in 0..4 {
            threads.spawn(|| (0..500).for_each(|_| publish(&bus, "n")));
        }
    });
    assert_eq!((alarms.raised(), alarms.suppressed()), (1, 2_000 - 3));
    assert_eq!(alerts(&bus).len(), 1);
}
