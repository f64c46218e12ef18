//! The end of a bus: what it waits for, what it reports as pending, what it refuses.

#![allow(clippy::unwrap_used, clippy::panic, reason = "in a test a panic is the report")]

#[path = "support/bus.rs"]
mod support;

use codomyrmex_events::{Delivery, EventBus, PublishErrorKind, ShutdownReport};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::Duration;
use support::{WATCHDOG, event, publish, watched};

/// A handler that tells when it is inside, and stays there until it is released or nobody can release it.
fn held(bus: &EventBus) -> (mpsc::Receiver<()>, mpsc::Sender<()>) {
    let (entered, inside) = mpsc::channel();
    let (release, released) = mpsc::channel::<()>();
    let released = Mutex::new(released);
    bus.subscribe("held")
        .handler(move |_| {
            entered.send(()).unwrap();
            let _ = released.lock().unwrap().recv();
        })
        .expect("valid");
    (inside, release)
}

fn answer(report: ShutdownReport) -> (u64, bool) {
    (report.pending(), report.is_complete())
}

#[test]
fn a_quiet_bus_is_shut_down_at_once_and_as_often_as_you_like() {
    let bus = EventBus::new();
    publish(&bus, "a.b");
    for limit in [Duration::ZERO, Duration::MAX] {
        assert_eq!(answer(bus.shutdown(limit)), (0, true));
    }
    let refused = bus.publish(event("a.b")).unwrap_err();
    assert!(matches!(refused.kind(), PublishErrorKind::Closed) && refused.event().is_some());
    assert!(bus.subscribe("*").handler(|_| ()).is_err());
}

#[test]
fn what_is_being_handled_when_the_limit_is_over_is_reported_as_pending() {
    watched("a shutdown", || {
        let bus = EventBus::new();
        let (inside, release) = held(&bus);
        thread::scope(|scope| {
            let publishing = scope.spawn(|| bus.publish(event("held")));
            inside.recv().unwrap();
            for limit in [Duration::ZERO, Duration::from_millis(1)] {
                assert_eq!(answer(bus.shutdown(limit)), (1, false), "{limit:?}");
            }
            assert!(bus.publish(event("a.b")).is_err(), "closed, however much is pending");
            release.send(()).unwrap();
            assert_eq!(answer(bus.shutdown(WATCHDOG)), (0, true));
            assert_eq!(publishing.join().unwrap().unwrap().sequence(), 1, "it was accepted");
        });
        let stats = bus.get_stats();
        assert_eq!((stats.accepted, stats.completed, stats.deliveries.succeeded), (1, 1, 1));
    });
}

#[test]
fn within_a_handler_it_does_not_wait_and_reports_each_event_that_is_being_handled() {
    for nested in [1, 2, 5] {
        let reports = watched("a shutdown within a handler", move || {
            let bus = EventBus::new();
            let reports = Arc::new(Mutex::new(Vec::new()));
            let told = Arc::clone(&reports);
            let handler = move |delivery: &Delivery<'_>| {
                if delivery.sequence() < nested {
                    publish(&delivery.bus(), "a.b");
                } else {
                    let report = delivery.bus().shutdown(Duration::MAX);
                    told.lock().unwrap().push(answer(report));
                }
            };
            bus.subscribe("*").handler(handler).unwrap();
            publish(&bus, "a.b");
            let after = answer(bus.shutdown(Duration::ZERO));
            reports.lock().unwrap().push(after);
            std::mem::take(&mut *reports.lock().unwrap())
        });
        assert_eq!(reports, [(nested, false), (0, true)]);
    }
}

#[test]
fn events_that_others_publish_are_pending_too() {
    watched("a shutdown", || {
        let bus = EventBus::new();
        let (inside, release) = held(&bus);
        thread::scope(|scope| {
            // One at a time is inside the handler: the other two wait for its lock, but were accepted.
            (0..3).for_each(|_| drop(scope.spawn(|| publish(&bus, "held"))));
            (0..3).for_each(|_| inside.recv().unwrap());
            assert_eq!(answer(bus.shutdown(Duration::from_millis(1))), (3, false));
            drop(release);
            assert_eq!(answer(bus.shutdown(WATCHDOG)), (0, true));
        });
    });
}
