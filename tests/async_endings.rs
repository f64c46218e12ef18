//! Buses with mailboxes and timers to the very end: no thread, capture or count is left behind.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the report")]

#[path = "support/block_on.rs"]
mod block_on;
#[path = "support/laws.rs"]
mod laws;
#[path = "support/bus.rs"]
mod support;
#[path = "support/threads.rs"]
mod threads;

use block_on::block_on;
use codomyrmex_events::{Backoff, Delivery, Event, EventBus, Overflow, OwnedDelivery, PublishErrorKind};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::Duration;
use support::{WATCHDOG, capture, event, is_dropped, publish, watched};
use tokio::sync::watch;

fn wait_until(what: &str, is_so: impl Fn() -> bool) {
    for _ in 0..WATCHDOG.as_millis() {
        if is_so() {
            return;
        }
        thread::sleep(Duration::from_millis(1));
    }
    assert!(is_so(), "waited in vain until {what}");
}

#[test]
fn a_stalled_asynchronous_handler_does_not_keep_its_inline_bus() {
    let _alone = threads::alone();
    let bus = EventBus::new();
    let (value, seen) = capture();
    let (begun, begins) = mpsc::channel();
    let begun = Mutex::new(begun);
    bus.subscribe("*")
        .async_handler(move |_: OwnedDelivery| {
            begun.lock().unwrap().send(()).unwrap();
            let value = Arc::clone(&value);
            async move {
                std::future::pending::<()>().await;
                drop(value);
            }
        })
        .unwrap();
    publish(&bus, "a.b");
    begins.recv_timeout(WATCHDOG).unwrap();
    drop(bus);
    wait_until("the capture is dropped", || is_dropped(&seen));
    threads::wait_until_none(WATCHDOG);
}

#[test]
fn a_retry_that_is_put_off_after_the_last_handle_is_gone_keeps_nothing() {
    let _alone = threads::alone();
    let (value, seen) = capture();
    let (open, opens) = watch::channel(false);
    let bus = EventBus::new();
    let hour = Backoff::exponential(Duration::from_secs(3_600), Duration::from_secs(3_600)).without_jitter();
    bus.subscribe("*")
        .attempts(2)
        .backoff(hour)
        .async_handler(move |_: OwnedDelivery| {
            let (_value, mut opens) = (Arc::clone(&value), opens.clone());
            async move {
                opens.wait_for(|is_open| *is_open).await.unwrap();
                Err::<(), _>("not yet")
            }
        })
        .unwrap();
    publish(&bus, "a.b");
    // The drop may wait for the handler.
    let dropping = thread::spawn(move || drop(bus));
    thread::sleep(Duration::from_millis(20));
    open.send(true).unwrap();
    dropping.join().unwrap();
    wait_until("the capture is dropped", || is_dropped(&seen));
    threads::wait_until_none(WATCHDOG);
}

#[test]
fn handlers_that_ask_for_their_bus_while_it_drains_start_no_drain_of_their_own() {
    let _alone = threads::alone();
    let most = Arc::new(AtomicUsize::new(0));
    let bus = EventBus::builder().queued().max_workers(1).build().unwrap();
    let (go, goes) = mpsc::channel::<()>();
    let goes = Mutex::new(goes);
    let seen = Arc::clone(&most);
    bus.subscribe("*")
        .handler(move |delivery| {
            if delivery.sequence() == 1 {
                let _ = goes.lock().unwrap().recv_timeout(WATCHDOG);
            }
            assert!(delivery.bus().get_stats().accepted > 0);
            let drains = threads::of_buses().iter().filter(|name| *name == "events-drain").count();
            seen.fetch_max(drains, SeqCst);
        })
        .unwrap();
    (0..500).for_each(|_| publish(&bus, "a.b"));
    let dropping = thread::spawn(move || drop(bus));
    thread::sleep(Duration::from_millis(20));
    go.send(()).unwrap();
    dropping.join().unwrap();
    threads::wait_until_none(WATCHDOG);
    assert!(most.load(SeqCst) <= 1, "{} threads drained one bus", most.load(SeqCst));
}

#[test]
fn dropping_in_async_code_waits_for_no_worker() {
    let _alone = threads::alone();
    let (told, tells) = mpsc::channel();
    let (go, goes) = mpsc::channel::<()>();
    let (told, goes) = (Mutex::new(told), Mutex::new(goes));
    let listener = move |_: &codomyrmex_events::DeadLetter| {
        told.lock().unwrap().send(()).unwrap();
        let _ = goes.lock().unwrap().recv();
    };
    let bus = EventBus::builder().queued().max_workers(1).on_dead_letter(listener).build().unwrap();
    bus.subscribe("*").handler(|_| Err::<(), _>("no")).unwrap();
    publish(&bus, "a.b");
    tells.recv_timeout(WATCHDOG).unwrap();
    assert_eq!(bus.get_stats().pending, 0, "the event is handled; the worker has a letter to tell of");
    watched("dropping in async code", move || {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async { drop(bus) });
    });
    drop(go);
    threads::wait_until_none(WATCHDOG);
}

#[test]
fn a_retry_whose_time_comes_while_the_bus_is_shut_down_is_not_lost() {
    let _alone = threads::alone();
    for round in 0..2_000 {
        let builder = EventBus::builder().max_workers(1);
        let bus = if round % 2 == 0 { builder } else { builder.queued() }.build().unwrap();
        let soon = Backoff::exponential(Duration::from_micros(round % 50), Duration::from_micros(50));
        let builder = bus.subscribe("*").attempts(u32::MAX).backoff(soon.without_jitter());
        builder.handler(|_| Err::<(), _>("again")).unwrap();
        (0..20).for_each(|_| publish(&bus, "a.b"));
        let report = bus.shutdown(Duration::from_micros(round % 300));
        assert!(report.pending() > 0);
        wait_until("all that was given up has ended", || bus.get_stats().pending == 0);
        laws::check(&bus.get_stats());
    }
    threads::wait_until_none(WATCHDOG);
}

/// Publishes in all ways until the bus is shut down.
fn publish_until_closed(bus: &EventBus, publisher: u64) {
    let source = format!("p{publisher}");
    for n in publisher.. {
        let event = Event::builder("a.b", source.as_str()).build().unwrap();
        let answer = match n % 4 {
            0 | 1 => bus.publish(event).map(drop),
            2 => block_on(bus.publish_async(event)).map(drop),
            _ => block_on(bus.publish_and_wait(event)).map(|report| assert!(report.is_complete())),
        };
        if let Err(refusal) = answer {
            assert!(matches!(refusal.kind(), PublishErrorKind::Closed), "{refusal}");
            return;
        }
    }
}

#[test]
fn a_bus_that_is_shut_down_in_full_flight_accounts_for_everything() {
    let _alone = threads::alone();
    for round in 0..300 {
        let builder = EventBus::builder().max_workers(2).keep_dropped();
        let waits = Overflow::Block(WATCHDOG);
        let bus = match round % 2 {
            0 => builder,
            _ => builder.queued().lanes(2).lane_room(8).overflow(waits),
        };
        let bus = bus.build().unwrap();
        let soon = Backoff::exponential(Duration::from_micros(50), Duration::from_micros(200));
        let (value, seen) = capture();
        let mailboxes =
            [(1, 1, waits), (4, 3, waits), (4, 1, Overflow::DropOldest), (1, 2, Overflow::Reject)];
        for (room, concurrency, overflow) in mailboxes {
            let value = Arc::clone(&value);
            let builder = bus.subscribe("a.*").attempts(3).backoff(soon);
            let builder = builder.mailbox(room).concurrency(concurrency).overflow(overflow);
            let stalls_at = 100 + round % 50;
            let handler = move |delivery: OwnedDelivery| {
                let value = Arc::clone(&value);
                async move {
                    tokio::task::yield_now().await;
                    if delivery.sequence() == stalls_at {
                        std::future::pending::<()>().await;
                    }
                    drop(value);
                    if delivery.sequence().is_multiple_of(5) { Err("now and then") } else { Ok(()) }
                }
            };
            builder.async_handler(handler).unwrap();
        }
        let failing = move |_: &Delivery<'_>| {
            std::hint::black_box(&value);
            Err::<(), _>("always")
        };
        bus.subscribe("*").attempts(2).backoff(soon).handler(failing).unwrap();
        thread::scope(|scope| {
            for publisher in 0..3 {
                let bus = &bus;
                scope.spawn(move || publish_until_closed(bus, publisher));
            }
            thread::sleep(Duration::from_micros(round * 40));
            let report = bus.shutdown(Duration::from_micros(round % 7 * 300));
            assert!(report.undelivered().is_empty() || !report.is_complete());
        });
        let is_quiet = |stats: &codomyrmex_events::Stats| stats.pending + stats.deliveries.pending == 0;
        wait_until("all that was given up has ended", || is_quiet(&bus.get_stats()));
        laws::check(&bus.get_stats());
        drop(bus);
        wait_until("the captures are dropped", || is_dropped(&seen));
    }
    threads::wait_until_none(WATCHDOG);
}

#[test]
fn an_event_that_is_accepted_while_the_bus_is_shut_down_is_not_left_in_its_lane() {
    let _alone = threads::alone();
    for round in 0..1_000 {
        let builder = EventBus::builder().queued().max_workers(1).lanes(1).lane_room(64).history(0);
        let bus = builder.overflow(Overflow::DropOldest).build().unwrap();
        bus.subscribe("*").handler(|_| ()).unwrap();
        thread::scope(|scope| {
            for _ in 0..6 {
                scope.spawn(|| while bus.publish(event("a.b")).is_ok() {});
            }
            thread::sleep(Duration::from_micros(round % 100 * 5));
            bus.shutdown(Duration::ZERO);
        });
        wait_until("all that was accepted has ended", || bus.get_stats().pending == 0);
        laws::check(&bus.get_stats());
    }
    threads::wait_until_none(WATCHDOG);
}

#[test]
fn a_subscription_refused_by_a_bus_that_is_shut_down_starts_no_thread() {
    let _alone = threads::alone();
    let bus = EventBus::new();
    assert!(bus.shutdown(WATCHDOG).is_complete());
    bus.subscribe("*").async_handler(|_| async {}).unwrap_err();
    threads::wait_until_none(WATCHDOG);
    drop(bus);
}

#[test]
fn what_outlives_its_subscription_is_not_counted_for_the_next_in_its_slot() {
    let _alone = threads::alone();
    let bus = EventBus::new();
    let (open, opens) = watch::channel(false);
    let (begun, begins) = mpsc::channel();
    let begun = Mutex::new(begun);
    let first = bus
        .subscribe("*")
        .async_handler(move |_: OwnedDelivery| {
            begun.lock().unwrap().send(()).unwrap();
            let mut opens = opens.clone();
            async move { drop(opens.wait_for(|is_open| *is_open).await) }
        })
        .unwrap();
    publish(&bus, "a.b");
    begins.recv_timeout(WATCHDOG).unwrap();
    assert!(first.unsubscribe());
    bus.publish(event("sweeps")).unwrap();
    bus.subscribe("*").subscriber_id("next").handler(|_| ()).unwrap();
    open.send(true).unwrap();
    bus.flush(WATCHDOG).unwrap();
    let stats = bus.get_stats();
    assert_eq!((stats.deliveries.total, stats.deliveries.succeeded), (1, 1));
    let next = stats.subscribers["next"].deliveries;
    assert_eq!((next.total, next.succeeded), (0, 0), "its handler was never called");
}
