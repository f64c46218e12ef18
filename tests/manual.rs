//! The testing aid: a bus whose work and time a test moves by hand. And, with its help, what takes time: backoffs, delayed
//! events, time limits.

#![allow(clippy::unwrap_used, clippy::panic, reason = "in a test a panic is the report")]

#[path = "support/bus.rs"]
mod support;

use codomyrmex_events::{
    Backoff, Delivery, Driver, Event, EventBus, EventPriority, FlushError, Overflow, OwnedDelivery,
    PublishErrorKind, Stats, correlation,
};
use std::future::pending;
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::task::{Context, Waker};
use std::time::Duration;
use support::{capture, event, is_dropped, publish};

const SECOND: Duration = Duration::from_secs(1);

fn manual() -> (EventBus, Driver) {
    EventBus::builder().manual().build().unwrap()
}

fn from(source: &str, event_type: &str) -> Event {
    Event::builder(event_type, source).build().unwrap()
}

/// Writes down what it hears.
fn recorder(bus: &EventBus, glob: &str) -> Arc<Mutex<Vec<String>>> {
    let heard = Arc::new(Mutex::new(Vec::new()));
    let written = Arc::clone(&heard);
    let write =
        move |event: &Delivery<'_>| written.lock().unwrap().push(event.event_type().as_str().to_owned());
    bus.subscribe(glob).handler(write).unwrap();
    heard
}

fn taken(heard: &Mutex<Vec<String>>) -> Vec<String> {
    std::mem::take(&mut *heard.lock().unwrap())
}

/// The laws, whatever is pending.
fn lawful(bus: &EventBus) -> Stats {
    let stats = bus.get_stats();
    let deliveries = stats.deliveries;
    assert_eq!(stats.offered, stats.accepted + stats.refused);
    assert_eq!(stats.accepted, stats.completed + stats.dropped + stats.pending);
    let ended = deliveries.succeeded + deliveries.dead_lettered + deliveries.dropped + deliveries.cancelled;
    assert_eq!(deliveries.total, ended + deliveries.pending);
    stats
}

#[test]
fn a_step_is_one_job_and_nothing_runs_by_itself() {
    let (bus, driver) = manual();
    let heard = recorder(&bus, "*");
    assert!(!driver.step());
    for name in ["a", "b", "c"] {
        publish(&bus, name);
    }
    assert_eq!((taken(&heard), lawful(&bus).pending), (vec![], 3));
    assert!(driver.step());
    assert_eq!(taken(&heard), ["a"]);
    assert_eq!(driver.run_until_idle(), 2);
    assert_eq!(taken(&heard), ["b", "c"]);
    assert!(!driver.step());
    assert_eq!(lawful(&bus).pending, 0);
}

#[test]
fn the_same_program_runs_the_same_way_each_time() {
    let run = || {
        let (bus, driver) = manual();
        let heard = recorder(&bus, "*");
        let fails = |delivery: &Delivery<'_>| if delivery.attempt() < 4 { Err("no") } else { Ok(()) };
        bus.subscribe("fails").attempts(4).handler(fails).unwrap();
        let naps = |delivery: OwnedDelivery| async move {
            delivery.bus().sleep(SECOND).await;
            delivery.bus().publish(from("nap", "woke")).unwrap();
        };
        bus.subscribe("naps").concurrency(3).async_handler(naps).unwrap();
        for n in 0..30 {
            let name = ["plain", "fails", "naps"][n % 3];
            bus.publish(from(&format!("source-{}", n % 7), name)).unwrap();
            if n % 5 == 0 {
                driver.step();
            }
        }
        driver.advance(SECOND * 60);
        assert_eq!(lawful(&bus).deliveries.pending, 0);
        taken(&heard)
    };
    let first = run();
    assert_eq!(first.len(), 40);
    assert!((0..5).all(|_| run() == first));
}

#[test]
fn time_moves_only_with_the_driver_and_timers_fire_in_due_order() {
    let (bus, driver) = manual();
    let heard = recorder(&bus, "*");
    for (seconds, name) in [(3, "third"), (1, "first"), (2, "second"), (2, "second too"), (9, "never")] {
        bus.publish_later(event(name), SECOND * seconds).unwrap();
    }
    assert_eq!((driver.run_until_idle(), bus.get_stats().waiting_events), (0, 5));
    driver.advance(SECOND);
    assert_eq!(taken(&heard), ["first"]);
    driver.advance(SECOND * 2 - Duration::from_nanos(1));
    assert_eq!(taken(&heard), ["second", "second too"]);
    driver.advance(Duration::from_nanos(1));
    assert_eq!(taken(&heard), ["third"]);
    assert_eq!(bus.get_stats().waiting_events, 1);
}

#[test]
fn what_is_due_at_once_needs_no_time() {
    let (bus, driver) = manual();
    let heard = recorder(&bus, "*");
    let fails_once = |delivery: &Delivery<'_>| if delivery.attempt() == 1 { Err("no") } else { Ok(()) };
    let at_once = Backoff::exponential(Duration::ZERO, Duration::ZERO);
    bus.subscribe("fails").attempts(2).backoff(at_once).handler(fails_once).unwrap();
    bus.publish_later(event("at once"), Duration::ZERO).unwrap();
    publish(&bus, "fails");
    driver.run_until_idle();
    assert_eq!(taken(&heard), ["fails", "at once"]);
    assert_eq!(lawful(&bus).deliveries.succeeded, 3);
}

#[test]
fn what_falls_due_happens_at_its_time_and_may_make_more() {
    let (bus, driver) = manual();
    let heard = recorder(&bus, "*");
    let again = |delivery: &Delivery<'_>| {
        delivery.bus().publish_later(event("tick"), SECOND).unwrap();
    };
    bus.subscribe("tick").handler(again).unwrap();
    bus.publish_later(event("tick"), SECOND).unwrap();
    driver.advance(SECOND * 10);
    assert_eq!(taken(&heard).len(), 10, "it does not drift");
}

#[test]
fn retries_wait_their_backoff_on_the_virtual_clock() {
    let (bus, driver) = manual();
    let attempts = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&attempts);
    let fails = move |_: &Delivery<'_>| {
        counted.fetch_add(1, SeqCst);
        Err::<(), _>("no")
    };
    bus.subscribe("*").attempts(4).backoff(Backoff::exponential(SECOND, SECOND * 3)).handler(fails).unwrap();
    publish(&bus, "a");
    driver.run_until_idle();
    // Waits of 1, 2 and (at most) 3 seconds.
    for (advance, expected) in [(0, 1), (1, 2), (1, 2), (1, 3), (2, 3), (1, 4), (60, 4)] {
        driver.advance(SECOND * advance);
        assert_eq!(attempts.load(SeqCst), expected);
    }
    assert_eq!(lawful(&bus).deliveries.dead_lettered, 1);
}

#[test]
fn asynchronous_handlers_are_polled_by_the_driver_and_sleep_on_its_clock() {
    let (bus, driver) = manual();
    let heard = recorder(&bus, "done");
    let naps = |delivery: OwnedDelivery| async move {
        delivery.bus().sleep(SECOND).await;
        delivery.bus().publish(event("done")).unwrap();
    };
    bus.subscribe("go").async_handler(naps).unwrap();
    publish(&bus, "go");
    publish(&bus, "go");
    driver.advance(SECOND);
    assert_eq!(taken(&heard).len(), 1, "one at a time");
    driver.advance(SECOND);
    assert_eq!(taken(&heard).len(), 1);
    assert_eq!(lawful(&bus).deliveries.pending, 0);
}

#[test]
fn a_time_limit_is_over_on_the_virtual_clock() {
    let (bus, driver) = manual();
    bus.subscribe("*").time_limit(SECOND).async_handler(|_: OwnedDelivery| pending::<()>()).unwrap();
    publish(&bus, "a");
    driver.advance(SECOND - Duration::from_nanos(1));
    assert_eq!(lawful(&bus).deliveries.pending, 1);
    driver.advance(Duration::from_nanos(1));
    assert_eq!(lawful(&bus).deliveries.dead_lettered, 1);
}

#[test]
fn a_handler_that_fails_after_its_end_is_not_tried_again_and_makes_a_letter_of_its_last_attempt_alone() {
    for (attempts, cancelled, dead_lettered) in [(2, 1, 0), (1, 0, 1)] {
        let (bus, driver) = manual();
        let fails = |delivery: OwnedDelivery| async move {
            delivery.bus().sleep(SECOND).await;
            Err::<(), _>("no")
        };
        let subscription = bus.subscribe("*").attempts(attempts).async_handler(fails).unwrap();
        publish(&bus, "a");
        driver.run_until_idle();
        subscription.unsubscribe();
        driver.advance(SECOND * 60);
        let deliveries = lawful(&bus).deliveries;
        assert_eq!((deliveries.cancelled, deliveries.dead_lettered), (cancelled, dead_lettered));
        assert_eq!(deliveries.pending, 0);
    }
}

#[test]
fn where_the_policy_is_to_wait_it_refuses() {
    let builder = EventBus::builder().lanes(1).lane_room(1).overflow(Overflow::Block(SECOND * 3_600));
    let (bus, driver) = builder.manual().build().unwrap();
    let handler = |_: OwnedDelivery| async {};
    bus.subscribe("*").mailbox(1).overflow(Overflow::Block(SECOND * 3_600)).async_handler(handler).unwrap();
    publish(&bus, "a");
    let error = bus.publish(event("b")).unwrap_err();
    let PublishErrorKind::Full(full) = error.kind() else { panic!("{error:?}") };
    assert_eq!(full.waited(), Duration::ZERO);
    assert!(driver.step(), "the first event is in the mailbox");
    publish(&bus, "c");
    assert!(driver.step(), "and the second finds it full");
    driver.run_until_idle();
    assert_eq!(lawful(&bus).deliveries.dropped, 1);
}

#[test]
fn flushing_and_shutting_down_drive_on_the_callers_thread_and_move_time_for_it() {
    let (bus, driver) = manual();
    let backoff = Backoff::exponential(SECOND, SECOND);
    let fails_once = |delivery: &Delivery<'_>| if delivery.attempt() == 1 { Err("no") } else { Ok(()) };
    bus.subscribe("*").attempts(2).backoff(backoff).handler(fails_once).unwrap();
    publish(&bus, "a");
    assert_eq!(bus.flush(SECOND / 2), Err(FlushError::StillPending { pending: 1 }));
    assert_eq!(bus.flush(SECOND), Ok(()));
    publish(&bus, "b");
    publish(&bus, "c");
    bus.publish_later(event("later"), SECOND * 9).unwrap();
    let report = bus.shutdown(SECOND);
    assert!(report.is_complete(), "{report:?}");
    assert_eq!(report.unpublished().len(), 1, "its time had not come");
    assert_eq!((lawful(&bus).deliveries.succeeded, driver.step()), (3, false));
}

#[test]
fn dropping_the_last_handle_drives_what_was_accepted_and_drops_the_captures() {
    let (bus, driver) = manual();
    let heard = recorder(&bus, "*");
    let (held, seen) = capture();
    support::hold(&bus, held);
    publish(&bus, "a");
    drop(bus);
    assert_eq!(taken(&heard), ["a"]);
    assert!(!driver.step());
    drop(driver);
    assert!(is_dropped(&seen));
}

#[test]
fn a_handler_may_drop_the_last_handle_and_the_driver_goes_on() {
    let (bus, driver) = manual();
    let heard = recorder(&bus, "*");
    let handle = Arc::new(Mutex::new(None));
    let dropped = Arc::clone(&handle);
    let drops = move |_: &Delivery<'_>| drop(dropped.lock().unwrap().take());
    bus.subscribe("*").handler(drops).unwrap();
    publish(&bus, "a");
    publish(&bus, "b");
    *handle.lock().unwrap() = Some(bus);
    assert_eq!(driver.run_until_idle(), 2);
    assert_eq!(taken(&heard), ["a", "b"]);
}

#[test]
fn a_future_is_driven_to_its_end_or_until_only_time_could_help() {
    let (bus, driver) = manual();
    let naps = |delivery: OwnedDelivery| async move { delivery.bus().sleep(SECOND).await };
    bus.subscribe("*").subscriber_id("naps").async_handler(naps).unwrap();
    bus.subscribe("quick").handler(|_| ()).unwrap();
    assert!(driver.block_on(bus.publish_and_wait(event("quick"))).is_none(), "one of them sleeps");
    driver.advance(SECOND);
    bus.unsubscribe("naps");
    let report = driver.block_on(bus.publish_and_wait(event("quick"))).unwrap().unwrap();
    assert!(report.is_success());
}

#[test]
fn an_inline_bus_can_be_driven_too() {
    let (bus, driver) = EventBus::builder().inline().manual().build().unwrap();
    let heard = recorder(&bus, "*");
    publish(&bus, "at once");
    bus.publish_later(event("later"), SECOND).unwrap();
    assert_eq!(taken(&heard), ["at once"]);
    driver.advance(SECOND);
    assert_eq!(taken(&heard), ["later"]);
}

#[test]
fn a_delayed_event_keeps_what_it_was_given_and_can_be_taken_back() {
    let (bus, driver) = manual();
    let later = Event::builder("later", "test")
        .priority(EventPriority::Critical)
        .metadata_entry("k", 7)
        .build()
        .unwrap();
    let id = correlation::new_id();
    let scheduled = correlation::scope(&id, || bus.publish_later(later, SECOND)).unwrap();
    let taken_back = bus.publish_later(event("never"), SECOND).unwrap();
    assert!(taken_back.cancel());
    assert!(!taken_back.cancel(), "only once");
    driver.advance(SECOND);
    assert!(!scheduled.cancel(), "it has been published");
    let history = bus.history().latest(10);
    let [recorded] = &history[..] else { panic!("{history:?}") };
    let published = recorded.event();
    assert_eq!((published.correlation_id(), published.priority()), (Some(&id), EventPriority::Critical));
    assert_eq!(published.metadata().get("k"), Some(&7.into()));
    assert_eq!((bus.get_stats().waiting_events, lawful(&bus).offered), (0, 1));
}

#[test]
fn a_delayed_event_is_reported_by_a_shutdown_before_its_time() {
    let (bus, driver) = EventBus::builder().inline().manual().build().unwrap();
    bus.publish_later(event("late"), SECOND).unwrap();
    bus.publish_later(event("later"), SECOND * 2).unwrap();
    driver.advance(SECOND);
    let report = bus.shutdown(SECOND);
    assert_eq!(report.unpublished().len(), 1);
    let error = bus.publish_later(event("too late"), SECOND).unwrap_err();
    assert!(matches!(error.kind(), PublishErrorKind::Closed) && error.event().is_some());
    assert_eq!(lawful(&bus).accepted, 1);
}

#[test]
fn letters_tell_of_each_redrive_and_the_listener_is_told_of_each_letter() {
    let told = Arc::new(Mutex::new(Vec::new()));
    let written = Arc::clone(&told);
    let listener = move |letter: &codomyrmex_events::DeadLetter| written.lock().unwrap().push(letter.id());
    let (bus, driver) = EventBus::builder().on_dead_letter(listener).manual().build().unwrap();
    let round = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&round);
    let fails = move |_: OwnedDelivery| {
        let n = counted.fetch_add(1, SeqCst);
        async move { if n < 3 { Err(format!("failure {n}")) } else { Ok(()) } }
    };
    bus.subscribe("*").async_handler(fails).unwrap();
    publish(&bus, "a");
    driver.run_until_idle();
    for redrive in 1..=2 {
        bus.dead_letter_queue().redrive(redrive).unwrap();
        assert!(bus.dead_letter_queue().is_empty(), "on its way");
        driver.run_until_idle();
    }
    let letters = bus.dead_letter_queue().letters();
    let [letter] = &letters[..] else { panic!("{letters:?}") };
    assert_eq!((letter.id(), letter.redrives(), letter.attempts()), (3, 2, 3));
    assert_eq!(letter.error_chain(), ["failure 2"]);
    let earlier: Vec<_> = letter.earlier_failures().iter().map(|failure| failure.error.as_str()).collect();
    assert_eq!(earlier, ["failure 0", "failure 1"]);
    assert_eq!(*told.lock().unwrap(), [1, 2, 3]);
    bus.dead_letter_queue().redrive(3).unwrap();
    assert_eq!(bus.flush(SECOND), Ok(()), "a redriven letter is waited for");
    let stats = lawful(&bus);
    assert_eq!(
        (stats.deliveries.succeeded, stats.deliveries.dead_lettered, stats.dead_letter_count),
        (1, 3, 0)
    );
}

#[test]
fn a_letter_whose_redrive_is_cancelled_or_dropped_is_a_letter_again() {
    let (bus, driver) = manual();
    let fails = |delivery: OwnedDelivery| async move {
        if delivery.event_type().as_str() == "hang" {
            pending::<()>().await;
        }
        Err::<(), _>("no")
    };
    let subscription = bus.subscribe("*").mailbox(1).overflow(Overflow::Reject).async_handler(fails).unwrap();
    publish(&bus, "a");
    driver.run_until_idle();
    publish(&bus, "b");
    driver.run_until_idle();
    publish(&bus, "hang");
    driver.run_until_idle();
    // One waits in the mailbox, for the other there is no room.
    bus.dead_letter_queue().redrive(1).unwrap();
    bus.dead_letter_queue().redrive(2).unwrap();
    let ids = || {
        bus.dead_letter_queue()
            .letters()
            .iter()
            .map(|letter| letter.event().event_type().to_string())
            .collect::<Vec<_>>()
    };
    assert_eq!(ids(), ["b"]);
    subscription.unsubscribe();
    bus.shutdown(Duration::ZERO);
    assert_eq!(ids(), ["b", "a"]);
    assert_eq!(lawful(&bus).deliveries.pending, 0);
}

#[test]
fn what_surrounds_the_driver_has_no_part_in_what_it_runs() {
    for builder in [EventBus::builder(), EventBus::builder().inline()] {
        let (bus, driver) = builder.manual().build().unwrap();
        let around = correlation::new_id();
        bus.publish_later(event("a"), SECOND).unwrap();
        correlation::scope(&around, || driver.advance(SECOND));
        assert_eq!(bus.history().latest(1)[0].correlation_id(), None);
    }
}

#[test]
fn an_event_has_the_surroundings_of_the_first_poll_however_long_it_waits() {
    let (first, later) = (correlation::new_id(), correlation::new_id());
    for around in [Some(&first), None] {
        let (bus, driver) = EventBus::builder().inline().manual().build().unwrap();
        bus.subscribe("*").mailbox(1).async_handler(|_: OwnedDelivery| async {}).unwrap();
        publish(&bus, "a");
        let mut waiting = pin!(bus.publish_async(event("b")));
        let mut poll = || waiting.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        let polled = match around {
            Some(id) => correlation::scope(id, &mut poll),
            None => poll(),
        };
        assert!(polled.is_pending(), "the mailbox is full");
        driver.run_until_idle();
        assert!(correlation::scope(&later, poll).is_ready());
        assert_eq!(bus.history().latest(1)[0].correlation_id(), around);
    }
}

#[test]
fn latencies_are_measured_and_slow_handlers_counted_when_asked_for() {
    let builder = EventBus::builder().measure_latency().slow_handler(Duration::from_millis(5));
    let (bus, driver) = builder.manual().build().unwrap();
    bus.subscribe("*")
        .subscriber_id("slow")
        .handler(|_| std::thread::sleep(Duration::from_millis(10)))
        .unwrap();
    bus.subscribe("*").subscriber_id("quick").handler(|_| ()).unwrap();
    bus.subscribe("*").subscriber_id("async").async_handler(|_: OwnedDelivery| async {}).unwrap();
    publish(&bus, "a");
    std::thread::sleep(Duration::from_millis(10));
    publish(&bus, "b");
    driver.run_until_idle();
    let stats = bus.get_stats();
    let of = |id: &str| stats.subscribers[id].handling.unwrap();
    assert_eq!((of("slow").count, of("quick").count, of("async").count), (2, 2, 2));
    assert!(of("slow").p50_ns >= 10_000_000 && of("quick").max_ns < of("slow").max_ns);
    assert_eq!((stats.subscribers["slow"].slow, stats.subscribers["quick"].slow), (2, 0));
    assert_eq!((stats.handling.unwrap().count, stats.queueing.unwrap().count), (6, 2));
    assert!(stats.queueing.unwrap().max_ns >= 10_000_000, "the first waited for the driver");
    let (unmeasured, _) = manual();
    assert_eq!(unmeasured.get_stats().handling, None);
}
