//! Delayed events in real time: who publishes them, what keeps the bus open until then, what becomes of those that find no
//! room. What can be shown on a virtual clock is tested in `manual`.

#![allow(clippy::unwrap_used, clippy::panic, reason = "in a test a panic is the report")]

#[path = "support/bus.rs"]
mod support;

#[path = "support/block_on.rs"]
mod block_on;

use block_on::block_on;
use codomyrmex_events::{
    BoxError, DeadLetterKind, Delivery, Event, EventBus, OfferedEvent, Overflow, PublishErrorKind,
    WAITING_EVENTS_MAX, WeakEventBus,
};
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, OnceLock, mpsc};
use std::thread;
use std::time::{Duration, Instant};
use support::{WATCHDOG, event, publish};

const SHORT: Duration = Duration::from_millis(10);

/// Sends on the name and time of what it hears.
fn receiver(bus: &EventBus) -> mpsc::Receiver<(String, Instant)> {
    let (told, heard) = mpsc::channel();
    let tell = move |event: &Delivery<'_>| drop(told.send((event.event_type().to_string(), Instant::now())));
    bus.subscribe("*").handler(tell).unwrap();
    heard
}

#[test]
fn an_event_is_published_when_its_time_has_come_and_not_before() {
    for bus in [EventBus::new(), EventBus::builder().queued().build().unwrap()] {
        let heard = receiver(&bus);
        let begin = Instant::now();
        let mut delays = HashMap::from([("second", 40), ("first", 20)]);
        for (name, delay) in &delays {
            bus.publish_later(event(name), Duration::from_millis(*delay)).unwrap();
        }
        // On a busy machine both may be due at once: their order is tested on a virtual clock.
        while !delays.is_empty() {
            let (name, at) = heard.recv_timeout(WATCHDOG).unwrap();
            assert!(at - begin >= Duration::from_millis(delays.remove(&*name).unwrap()), "{name}");
        }
        assert_eq!(bus.get_stats().waiting_events, 0);
    }
}

#[test]
fn a_delayed_event_keeps_the_bus_open_and_the_bus_ends_with_it() {
    for bus in [EventBus::new(), EventBus::builder().queued().build().unwrap()] {
        let heard = receiver(&bus);
        let scheduled = bus.publish_later(event("late"), SHORT).unwrap();
        let weak = bus.downgrade();
        drop(bus);
        assert_eq!(heard.recv_timeout(WATCHDOG).unwrap().0, "late");
        // The handler is dropped with the bus, and the sender with it.
        assert!(matches!(heard.recv_timeout(WATCHDOG), Err(mpsc::RecvTimeoutError::Disconnected)));
        assert!(weak.upgrade().is_none());
        assert!(!scheduled.cancel());
    }
}

#[test]
fn a_cancelled_event_does_not_keep_the_bus_open() {
    let bus = EventBus::new();
    let heard = receiver(&bus);
    let scheduled = bus.publish_later(event("never"), WATCHDOG * 1_000).unwrap();
    assert!(scheduled.cancel());
    drop(bus);
    assert!(matches!(heard.recv_timeout(WATCHDOG), Err(mpsc::RecvTimeoutError::Disconnected)));
}

#[test]
fn a_stalled_handler_holds_up_no_timer() {
    let bus = EventBus::new();
    let (go, waits) = mpsc::channel::<()>();
    let waits = std::sync::Mutex::new(waits);
    bus.subscribe("stalls").handler(move |_| waits.lock().unwrap().recv_timeout(WATCHDOG)).unwrap();
    bus.publish_later(event("stalls"), Duration::ZERO).unwrap();
    bus.subscribe("limited")
        .subscriber_id("limited")
        .time_limit(SHORT)
        .handler({
            let weak = bus.downgrade();
            move |_: &Delivery<'_>| {
                // It is told that it takes too long, while the other handler has the thread for what is due.
                while weak.upgrade().unwrap().get_stats().subscribers["limited"].overran == 0 {
                    thread::yield_now();
                }
            }
        })
        .unwrap();
    publish(&bus, "limited");
    go.send(()).unwrap();
    bus.flush(WATCHDOG).unwrap();
}

/// Those whose time comes while the bus is being shut down are published, or reported, and nothing else.
#[test]
fn a_shutdown_loses_no_delayed_event_whose_time_comes_meanwhile() {
    const EVENTS: usize = 200;
    for round in 0..60 {
        let builder = EventBus::builder().history(EVENTS);
        let bus =
            if round % 2 == 0 { builder.inline() } else { builder.queued().max_workers(2) }.build().unwrap();
        bus.subscribe("*").handler(|_| ()).unwrap();
        let scheduled = |n| bus.publish_later(event("e"), Duration::from_micros(n * 20)).unwrap();
        let given: Vec<_> = (0..EVENTS as u64).map(|n| Arc::clone(scheduled(n).event())).collect();
        thread::sleep(Duration::from_micros(round * 70));
        let limit = if round % 3 == 0 { Duration::ZERO } else { WATCHDOG };
        let report = match round % 4 {
            0 | 1 => bus.shutdown(limit),
            _ => block_on(bus.shutdown_async(limit)),
        };
        let published = bus.history().query().events().unwrap();
        let told: HashSet<_> = published
            .iter()
            .map(|recorded| recorded.event())
            .chain(report.unpublished())
            .map(|event| event.event_id())
            .collect();
        assert_eq!(told, given.iter().map(|event| event.event_id()).collect(), "round {round}");
        let stats = bus.get_stats();
        let (accepted, unpublished) = (stats.accepted as usize, report.unpublished().len());
        assert_eq!(accepted + unpublished, EVENTS, "round {round}: {stats:?}");
        let others = (stats.refused, stats.dead_letters_made, stats.waiting_events);
        assert_eq!(others, (0, 0, 0), "round {round}");
        assert!(report.is_complete() || limit.is_zero(), "round {round}");
    }
}

/// An event whose interceptor is being asked is in nobody's count but this: who finds that none waits need not look again.
#[test]
fn an_event_waits_until_it_is_accepted() {
    for builder in [EventBus::builder(), EventBus::builder().queued()] {
        let shared: Arc<OnceLock<WeakEventBus>> = Arc::default();
        let waiting = |of: &Arc<OnceLock<WeakEventBus>>| {
            let stats = of.get().unwrap().upgrade().unwrap().get_stats();
            (stats.waiting_events, stats.accepted)
        };
        let (told, heard) = mpsc::channel();
        let (asked, intercepted) = (Arc::clone(&shared), Arc::clone(&shared));
        let (at_key, at_interceptor, at_handler) = (told.clone(), told.clone(), told);
        let key = move |_: &Event| {
            at_key.send(waiting(&asked)).unwrap();
            0
        };
        let bus = builder.order_by(key).build().unwrap();
        bus.intercept_publish(move |_: &mut OfferedEvent<'_>| -> Result<(), BoxError> {
            at_interceptor.send(waiting(&intercepted))?;
            Ok(())
        });
        let handled = Arc::clone(&shared);
        bus.subscribe("*").handler(move |_| at_handler.send(waiting(&handled))).unwrap();
        shared.set(bus.downgrade()).unwrap();
        bus.publish_later(event("e"), Duration::ZERO).unwrap();
        let before = heard.recv_timeout(WATCHDOG).unwrap();
        assert_eq!(before, (1, 0), "where the interceptor is asked");
        if bus.get_stats().async_enabled {
            assert_eq!(heard.recv_timeout(WATCHDOG).unwrap(), (1, 0), "where the lane is chosen");
        }
        assert_eq!(heard.recv_timeout(WATCHDOG).unwrap(), (0, 1), "where it is handled");
    }
}

#[test]
fn an_event_that_is_on_its_way_when_the_bus_is_closed_is_reported_and_counted_nowhere() {
    for round in 0..4 {
        let builder = EventBus::builder();
        let bus = if round % 2 == 0 { builder.inline() } else { builder.queued() }.build().unwrap();
        let weak = bus.downgrade();
        let (asked, asks) = mpsc::channel();
        bus.intercept_publish(move |offered: &mut OfferedEvent<'_>| -> Result<(), BoxError> {
            offered.add_metadata("seen", true)?;
            asked.send(())?;
            // It lets the event pass when the bus is closed, and not before.
            let bus = weak.upgrade().ok_or("somebody shuts it down")?;
            while bus.subscribe("another").handler(|_| ()).is_ok_and(|another| another.unsubscribe()) {
                thread::yield_now();
            }
            Ok(())
        });
        bus.publish_later(event("e"), Duration::ZERO).unwrap();
        asks.recv_timeout(WATCHDOG).unwrap();
        let report = if round < 2 { bus.shutdown(WATCHDOG) } else { block_on(bus.shutdown_async(WATCHDOG)) };
        let [unpublished] = report.unpublished() else { panic!("{report:?}") };
        assert_eq!((report.pending(), unpublished.metadata().len()), (0, 1), "round {round}");
        let stats = bus.get_stats();
        assert_eq!((stats.offered, stats.dead_letters_made, stats.waiting_events), (0, 0, 0));
    }
}

/// It is in the interceptor's hands: nobody can take it back, so it is told of as pending, and reported once that is over.
#[test]
fn an_event_that_is_held_up_beyond_the_limit_is_left_to_the_next_shutdown() {
    let bus = EventBus::new();
    let ((asked, asks), (go, waits)) = (mpsc::channel(), mpsc::channel::<()>());
    let waits = std::sync::Mutex::new(waits);
    bus.intercept_publish(move |_: &mut OfferedEvent<'_>| -> Result<(), BoxError> {
        asked.send(())?;
        Ok(waits.lock().unwrap().recv_timeout(WATCHDOG)?)
    });
    bus.publish_later(event("e"), Duration::ZERO).unwrap();
    asks.recv_timeout(WATCHDOG).unwrap();
    let report = bus.shutdown(Duration::ZERO);
    assert_eq!((report.pending(), report.unpublished().len(), report.is_complete()), (1, 0, false));
    go.send(()).unwrap();
    bus.flush(WATCHDOG).unwrap();
    let report = bus.shutdown(WATCHDOG);
    assert_eq!((report.pending(), report.unpublished().len()), (0, 1));
}

#[test]
fn a_shutdown_that_was_dropped_leaves_the_delayed_events_to_the_next() {
    let bus = EventBus::builder().queued().max_workers(1).build().unwrap();
    let (go, waits) = mpsc::channel::<()>();
    let waits = std::sync::Mutex::new(waits);
    bus.subscribe("gate").handler(move |_| waits.lock().unwrap().recv_timeout(WATCHDOG)).unwrap();
    publish(&bus, "gate");
    for _ in 0..5 {
        bus.publish_later(event("e"), WATCHDOG * 10).unwrap();
    }
    let mut dropped = Box::pin(bus.shutdown_async(WATCHDOG));
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    assert!(dropped.as_mut().poll(&mut context).is_pending());
    drop(dropped);
    go.send(()).unwrap();
    let report = bus.shutdown(WATCHDOG);
    assert_eq!((report.is_complete(), report.unpublished().len()), (true, 5));
}

/// A bus with one lane, whose only place is taken while one of its two workers is held up.
fn full(overflow: Overflow) -> (EventBus, mpsc::Sender<()>) {
    let builder = EventBus::builder().queued().max_workers(2).lanes(1).lane_room(1).overflow(overflow);
    let bus = builder.build().unwrap();
    let (go, waits) = mpsc::channel::<()>();
    let (begun, begins) = mpsc::channel();
    let waits = std::sync::Mutex::new(waits);
    bus.subscribe("gate")
        .handler(move |_| {
            begun.send(()).unwrap();
            waits.lock().unwrap().recv_timeout(WATCHDOG).unwrap();
        })
        .unwrap();
    bus.subscribe("e").handler(|_| ()).unwrap();
    publish(&bus, "gate");
    begins.recv_timeout(WATCHDOG).unwrap();
    publish(&bus, "e");
    (bus, go)
}

#[test]
fn one_that_finds_no_room_is_refused_counted_and_kept_as_a_letter() {
    for overflow in [Overflow::Reject, Overflow::Block(SHORT)] {
        let (bus, go) = full(overflow);
        bus.publish_later(event("e"), Duration::ZERO).unwrap();
        while bus.get_stats().waiting_events > 0 {
            thread::yield_now();
        }
        let letter = bus.dead_letter_queue().letters().pop().unwrap();
        assert_eq!((letter.kind(), letter.sequence()), (DeadLetterKind::Dropped, None));
        assert!(letter.error_chain()[0].starts_with("the queue is full"), "{:?}", letter.error_chain());
        let stats = bus.get_stats();
        assert_eq!((stats.offered, stats.accepted, stats.refused, stats.waiting_events), (3, 2, 1, 0));
        go.send(()).unwrap();
        bus.flush(WATCHDOG).unwrap();
        bus.dead_letter_queue().redrive(letter.id()).unwrap();
        bus.flush(WATCHDOG).unwrap();
        assert_eq!(bus.get_stats().deliveries.succeeded, 3);
    }
}

#[test]
fn one_that_may_wait_for_room_gets_it() {
    let (bus, go) = full(Overflow::Block(WATCHDOG));
    bus.publish_later(event("e"), Duration::ZERO).unwrap();
    thread::sleep(SHORT);
    assert_eq!((bus.get_stats().accepted, bus.get_stats().waiting_events), (2, 1));
    go.send(()).unwrap();
    while bus.get_stats().accepted < 3 {
        thread::yield_now();
    }
    bus.flush(WATCHDOG).unwrap();
    assert_eq!(bus.get_stats().refused, 0);
}

#[test]
fn a_hundred_thousand_cost_no_thread_each_and_there_is_a_limit() {
    let bus = EventBus::new();
    let scheduled: Vec<_> =
        (0..100_000).map(|n| bus.publish_later(event("e"), WATCHDOG * (100 + n % 7)).unwrap()).collect();
    assert_eq!(bus.get_stats().waiting_events, 100_000);
    #[cfg(target_os = "linux")]
    assert!(std::fs::read_dir("/proc/self/task").unwrap().count() < 200);
    assert!(scheduled.iter().all(|scheduled| scheduled.cancel()));
    let ready = std::sync::Arc::new(event("e"));
    for _ in 0..WAITING_EVENTS_MAX {
        bus.publish_later(std::sync::Arc::clone(&ready), WATCHDOG * 100).unwrap();
    }
    let error = bus.publish_later(ready, WATCHDOG).unwrap_err();
    let PublishErrorKind::Full(full) = error.kind() else { panic!("{error:?}") };
    assert_eq!(full.capacity(), WAITING_EVENTS_MAX);
    assert_eq!(bus.shutdown(Duration::ZERO).unpublished().len(), WAITING_EVENTS_MAX);
}
