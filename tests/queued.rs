//! Queued dispatch: order, priority, backpressure, retries, draining, and the laws of accounting.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the report")]

#[path = "support/bus.rs"]
mod support;

use codomyrmex_events::{
    Backoff, BoxError, DeadLetterKind, Delivery, Event, EventBus, EventPriority, FlushError, HandlerPanic,
    Overflow, PublishErrorKind, Stats, WaitStrategy,
};
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::Duration;
use support::{WATCHDOG, capture, is_dropped, publish, watched};

fn bus(workers: usize) -> EventBus {
    EventBus::builder().queued().max_workers(workers).build().unwrap()
}

fn from(source: &str, event_type: &str, n: u64) -> Event {
    Event::builder(event_type, source).data(serde_json::json!({ "n": n })).build().unwrap()
}

fn number(event: &Event) -> u64 {
    event.data().get("n").unwrap().as_u64().unwrap()
}

fn quiet(bus: &EventBus) -> Stats {
    bus.flush(WATCHDOG).unwrap();
    let stats = bus.get_stats();
    assert_eq!(stats.pending, 0);
    assert_eq!(stats.offered, stats.accepted + stats.refused);
    assert_eq!(stats.accepted, stats.completed + stats.dropped);
    let deliveries = stats.deliveries;
    assert_eq!(deliveries.pending, 0);
    assert_eq!(
        deliveries.total,
        deliveries.succeeded + deliveries.dead_lettered + deliveries.dropped + deliveries.cancelled
    );
    stats
}

/// A handler that waits until it is let go, and a way to know that it has begun.
fn gate(bus: &EventBus, glob: &str) -> (mpsc::Receiver<u64>, mpsc::Sender<()>) {
    let (begun, begins) = mpsc::channel();
    let (go, waits) = mpsc::channel::<()>();
    let waits = Mutex::new(waits);
    bus.subscribe(glob)
        .subscriber_id("gate")
        .handler(move |delivery| {
            begun.send(delivery.sequence()).unwrap();
            waits.lock().unwrap().recv_timeout(WATCHDOG).unwrap();
        })
        .unwrap();
    (begins, go)
}

#[test]
fn publishing_returns_before_the_handler_runs_and_flushing_after() {
    let bus = bus(1);
    let (begins, go) = gate(&bus, "*");
    assert_eq!(bus.publish(from("a", "x", 1)).unwrap().sequence(), 1);
    assert_eq!(begins.recv_timeout(WATCHDOG), Ok(1));
    assert_eq!(bus.get_stats().pending, 1);
    assert_eq!(bus.flush(Duration::from_millis(5)), Err(FlushError::StillPending { pending: 1 }));
    go.send(()).unwrap();
    let stats = quiet(&bus);
    assert!(stats.async_enabled);
    assert_eq!((stats.completed, stats.deliveries.succeeded), (1, 1));
}

#[test]
fn workers_have_names_of_their_own() {
    let bus = bus(2);
    let names = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&names);
    bus.subscribe("*")
        .handler(move |_| seen.lock().unwrap().push(thread::current().name().unwrap_or("").to_owned()))
        .unwrap();
    publish(&bus, "x");
    quiet(&bus);
    assert!(names.lock().unwrap()[0].starts_with("events-worker-"));
}

#[test]
fn events_of_one_source_keep_their_order_and_each_is_heard_once() {
    const SOURCES: u64 = 8;
    const EVENTS: u64 = 5_000;
    let bus = bus(4);
    let heard: Arc<Mutex<HashMap<String, Vec<u64>>>> = Arc::default();
    let hearing = Arc::clone(&heard);
    bus.subscribe("job.*")
        .handler(move |event| {
            hearing.lock().unwrap().entry(event.source().to_string()).or_default().push(number(event));
        })
        .unwrap();
    thread::scope(|scope| {
        for source in 0..SOURCES {
            let bus = bus.clone();
            scope.spawn(move || {
                for n in 0..EVENTS {
                    bus.publish(from(&format!("s{source}"), "job.done", n)).unwrap();
                }
            });
        }
    });
    let stats = quiet(&bus);
    assert_eq!(stats.completed, SOURCES * EVENTS);
    for (source, numbers) in heard.lock().unwrap().iter() {
        assert!(numbers.iter().copied().eq(0..EVENTS), "{source} is out of order");
    }
    assert_eq!(heard.lock().unwrap().len() as u64, SOURCES);
}

#[test]
fn sources_run_beside_each_other_and_an_order_key_can_say_otherwise() {
    let bus = EventBus::builder().queued().max_workers(2).lanes(64).order_by(number).build().unwrap();
    let (begins, go) = gate(&bus, "slow");
    bus.publish(from("same", "slow", 1)).unwrap();
    begins.recv_timeout(WATCHDOG).unwrap();
    let (heard, hears) = mpsc::channel();
    bus.subscribe("quick").handler(move |event| heard.send(number(event)).unwrap()).unwrap();
    for key in 0..64 {
        bus.publish(from("same", "quick", key)).unwrap();
    }
    // Those that do not share the lane of key 1 pass it by.
    assert!((0..40).all(|_| hears.recv_timeout(WATCHDOG).is_ok()));
    go.send(()).unwrap();
    quiet(&bus);
}

#[test]
fn higher_bands_overtake_and_a_waiting_lower_one_gets_its_share() {
    let bus = EventBus::builder().queued().max_workers(1).lanes(1).build().unwrap();
    let (begins, go) = gate(&bus, "gate");
    publish(&bus, "gate");
    begins.recv_timeout(WATCHDOG).unwrap();
    let heard: Arc<Mutex<Vec<EventPriority>>> = Arc::default();
    let hearing = Arc::clone(&heard);
    bus.subscribe("e").handler(move |event| hearing.lock().unwrap().push(event.priority())).unwrap();
    let send = |priority| {
        bus.publish(Event::builder("e", "s").priority(priority).build().unwrap()).unwrap();
    };
    send(EventPriority::Monitoring);
    send(EventPriority::Normal);
    (0..40).for_each(|_| send(EventPriority::Error));
    send(EventPriority::Critical);
    go.send(()).unwrap();
    quiet(&bus);
    let heard = heard.lock().unwrap();
    assert_eq!(heard[0], EventPriority::Critical);
    let place = |priority| heard.iter().position(|heard| *heard == priority).unwrap();
    assert_eq!(place(EventPriority::Normal), 16, "after 16 from above: {heard:?}");
    assert!(place(EventPriority::Monitoring) <= 18, "{heard:?}");
}

#[test]
fn a_critical_event_of_another_lane_goes_first() {
    let bus = EventBus::builder().queued().max_workers(1).lanes(64).order_by(number).build().unwrap();
    let (begins, go) = gate(&bus, "gate");
    bus.publish(from("s", "gate", 0)).unwrap();
    begins.recv_timeout(WATCHDOG).unwrap();
    let (heard, hears) = mpsc::channel();
    bus.subscribe("e").handler(move |event| heard.send(event.priority()).unwrap()).unwrap();
    for key in 1..200 {
        bus.publish(from("s", "e", key)).unwrap();
    }
    let critical =
        Event::builder("e", "s").priority(EventPriority::Critical).data(serde_json::json!({"n": 777}));
    bus.publish(critical.build().unwrap()).unwrap();
    go.send(()).unwrap();
    let order: Vec<EventPriority> = (0..200).map(|_| hears.recv_timeout(WATCHDOG).unwrap()).collect();
    let place = order.iter().position(|priority| *priority == EventPriority::Critical).unwrap();
    // The lane that the worker holds may go on to the end of its turn.
    assert!(place < 32, "it came as number {place}");
}

/// A bus whose only worker is held up, with `room` places in its only lane, and what is heard once it goes on.
fn stuffed(room: usize, overflow: Overflow) -> (EventBus, mpsc::Sender<()>, Arc<Mutex<Vec<u64>>>) {
    let builder = EventBus::builder().queued().max_workers(1).lanes(1).lane_room(room);
    let bus = builder.overflow(overflow).keep_dropped().build().unwrap();
    let (begins, go) = gate(&bus, "gate");
    publish(&bus, "gate");
    begins.recv_timeout(WATCHDOG).unwrap();
    let heard: Arc<Mutex<Vec<u64>>> = Arc::default();
    let hearing = Arc::clone(&heard);
    bus.subscribe("e").handler(move |event| hearing.lock().unwrap().push(number(event))).unwrap();
    for n in 0..room as u64 {
        bus.publish(from("s", "e", n)).unwrap();
    }
    (bus, go, heard)
}

#[test]
fn a_full_lane_refuses_and_hands_the_event_back() {
    for overflow in [Overflow::Reject, Overflow::Block(Duration::from_millis(20))] {
        let (bus, go, heard) = stuffed(4, overflow);
        let refused = bus.publish(from("s", "e", 99)).unwrap_err();
        let PublishErrorKind::Full(error) = refused.kind() else { panic!("{refused}") };
        assert_eq!(error.capacity(), 4);
        assert_eq!(number(&refused.into_event().unwrap()), 99);
        assert_eq!((bus.history().len(), bus.get_stats().refused), (5, 1));
        go.send(()).unwrap();
        quiet(&bus);
        assert_eq!(*heard.lock().unwrap(), [0, 1, 2, 3]);
        assert_eq!(bus.publish(from("s", "e", 100)).unwrap().sequence(), 6, "a refused event has no number");
    }
}

#[test]
fn a_publisher_that_blocks_goes_on_when_there_is_room() {
    let (bus, go, heard) = stuffed(2, Overflow::Block(WATCHDOG));
    let publishing = bus.clone();
    let publisher = thread::spawn(move || publishing.publish(from("s", "e", 2)).unwrap());
    thread::sleep(Duration::from_millis(20));
    go.send(()).unwrap();
    assert_eq!(publisher.join().unwrap().sequence(), 4);
    quiet(&bus);
    assert_eq!(*heard.lock().unwrap(), [0, 1, 2]);
}

#[test]
fn the_oldest_or_the_newest_is_dropped_counted_and_kept_as_a_letter() {
    for (overflow, expected, dropped) in
        [(Overflow::DropOldest, [1, 2, 3], 0), (Overflow::DropNewest, [0, 1, 2], 3)]
    {
        let (bus, go, heard) = stuffed(3, overflow);
        assert_eq!(bus.publish(from("s", "e", 3)).unwrap().sequence(), 5);
        go.send(()).unwrap();
        let stats = quiet(&bus);
        assert_eq!(*heard.lock().unwrap(), expected);
        assert_eq!((stats.dropped, stats.accepted), (1, 5));
        let letter = bus.dead_letter_queue().letters().pop().unwrap();
        assert_eq!((letter.kind(), number(letter.event())), (DeadLetterKind::Dropped, dropped));
        bus.dead_letter_queue().redrive(letter.id()).unwrap();
        quiet(&bus);
        assert_eq!(heard.lock().unwrap().last(), Some(&dropped), "it is published anew");
    }
}

#[test]
fn inside_a_handler_a_full_lane_refuses_at_once() {
    watched("publishing from a handler", || {
        let builder = EventBus::builder().queued().max_workers(1).lanes(1).lane_room(1);
        let bus = builder.overflow(Overflow::Block(WATCHDOG * 2)).build().unwrap();
        let refused = Arc::new(AtomicU64::new(0));
        let count = Arc::clone(&refused);
        bus.subscribe("a")
            .handler(move |delivery| {
                for _ in 0..3 {
                    if delivery.bus().publish(from("s", "b", 0)).is_err() {
                        count.fetch_add(1, Ordering::SeqCst);
                    }
                }
            })
            .unwrap();
        bus.subscribe("b").handler(|_| ()).unwrap();
        publish(&bus, "a");
        quiet(&bus);
        assert_eq!(refused.load(Ordering::SeqCst), 2);
    });
}

#[test]
fn failures_are_retried_later_in_the_order_of_their_waits_and_then_become_letters() {
    let bus = bus(2);
    let attempts: Arc<Mutex<Vec<u32>>> = Arc::default();
    let tried = Arc::clone(&attempts);
    let backoff = Backoff::exponential(Duration::from_millis(1), Duration::from_millis(4));
    bus.subscribe("flaky")
        .attempts(4)
        .backoff(backoff)
        .handler(move |delivery| {
            tried.lock().unwrap().push(delivery.attempt());
            if delivery.attempt() < 3 { Err("not yet") } else { Ok(()) }
        })
        .unwrap();
    bus.subscribe("broken")
        .subscriber_id("broken")
        .attempts(3)
        .backoff(backoff)
        .handler(|_| Err::<(), _>("never"))
        .unwrap();
    publish(&bus, "flaky");
    publish(&bus, "broken");
    let stats = quiet(&bus);
    assert_eq!(*attempts.lock().unwrap(), [1, 2, 3]);
    assert_eq!((stats.completed, stats.deliveries.succeeded, stats.deliveries.dead_lettered), (2, 1, 1));
    let broken = &stats.subscribers["broken"];
    assert_eq!((broken.failed_attempts, broken.retried), (3, 2));
    let letters = bus.dead_letter_queue().letters();
    assert_eq!(
        (letters.len(), letters[0].attempts(), letters[0].error_chain()),
        (1, 3, &["never".to_owned()][..])
    );
}

#[test]
fn a_waiting_retry_holds_no_worker() {
    let bus = bus(1);
    let hour = Backoff::exponential(Duration::from_secs(3_600), Duration::from_secs(3_600)).without_jitter();
    bus.subscribe("bad").attempts(2).backoff(hour).handler(|_| Err::<(), _>("later")).unwrap();
    let (heard, hears) = mpsc::channel();
    bus.subscribe("good").handler(move |_| heard.send(()).unwrap()).unwrap();
    publish(&bus, "bad");
    publish(&bus, "good");
    hears.recv_timeout(WATCHDOG).unwrap();
    while bus.get_stats().pending > 1 {
        thread::yield_now();
    }
    let stats = bus.get_stats();
    assert_eq!((stats.pending, stats.deliveries.pending, stats.waiting_retries), (1, 1, 1));

    let report = bus.shutdown(Duration::from_millis(10));
    assert_eq!((report.pending(), report.undelivered().len()), (1, 1));
    assert_eq!(report.undelivered()[0].event().event_type(), "bad");
    assert!(report.undelivered()[0].subscriber_id().is_some());
    let stats = quiet(&bus);
    assert_eq!((stats.deliveries.cancelled, stats.completed), (1, 2));
}

#[test]
fn an_unsubscribed_retry_is_cancelled() {
    let bus = bus(1);
    let (value, seen) = capture();
    let subscription = bus
        .subscribe("bad")
        .attempts(2)
        .backoff(Backoff::exponential(WATCHDOG * 100, WATCHDOG * 100).without_jitter())
        .handler(move |_| {
            let _ = &value;
            Err::<(), _>("later")
        })
        .unwrap();
    publish(&bus, "bad");
    while bus.get_stats().waiting_retries == 0 {
        thread::yield_now();
    }
    subscription.unsubscribe_and_wait(WATCHDOG).unwrap();
    assert!(is_dropped(&seen), "a waiting retry keeps no capture");
    assert_eq!(quiet(&bus).deliveries.cancelled, 1);
}

#[test]
fn a_predicate_says_what_is_worth_retrying() {
    let bus = bus(1);
    let calls = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&calls);
    bus.subscribe("*")
        .attempts(5)
        .backoff(Backoff::exponential(Duration::ZERO, Duration::ZERO))
        .retry_if(|error| !error.is::<HandlerPanic>() && error.to_string() == "again")
        .handler(move |delivery| -> Result<(), BoxError> {
            count.fetch_add(1, Ordering::SeqCst);
            match delivery.event_type().as_str() {
                "again" => Err("again".into()),
                "panic" => panic!("on purpose"),
                _ => Err("enough".into()),
            }
        })
        .unwrap();
    for (event_type, expected) in [("again", 5), ("panic", 1), ("other", 1)] {
        calls.store(0, Ordering::SeqCst);
        publish(&bus, event_type);
        quiet(&bus);
        assert_eq!(calls.load(Ordering::SeqCst), expected, "{event_type}");
    }
}

#[test]
fn a_once_subscription_keeps_its_claim_through_its_retries() {
    let bus = bus(2);
    let attempts: Arc<Mutex<Vec<(u64, u32)>>> = Arc::default();
    let tried = Arc::clone(&attempts);
    bus.subscribe("*")
        .once()
        .attempts(3)
        .backoff(Backoff::exponential(Duration::from_millis(1), Duration::from_millis(2)))
        .handler(move |delivery| {
            tried.lock().unwrap().push((delivery.sequence(), delivery.attempt()));
            if delivery.attempt() < 3 { Err("not yet") } else { Ok(()) }
        })
        .unwrap();
    (0..5).for_each(|_| publish(&bus, "x"));
    let stats = quiet(&bus);
    let attempts = attempts.lock().unwrap();
    assert_eq!(attempts.iter().map(|(_, attempt)| *attempt).collect::<Vec<_>>(), [1, 2, 3]);
    assert!(attempts.iter().all(|(sequence, _)| *sequence == attempts[0].0));
    assert_eq!((stats.deliveries.total, stats.subscribers_count), (1, 0));
}

/// Its retries might have needed the handler; once it has succeeded, they do not.
#[test]
fn a_once_subscription_that_might_retry_ends_with_its_first_success() {
    let inline = EventBus::new();
    for bus in [bus(1), inline] {
        let backoff = Backoff::exponential(Duration::from_millis(1), Duration::from_millis(1));
        let (held, seen) = capture();
        let handler = move |_: &Delivery<'_>| {
            std::hint::black_box(&held);
        };
        let once = bus.subscribe("*").once().attempts(3).backoff(backoff).handler(handler).unwrap();
        publish(&bus, "a");
        quiet(&bus);
        assert_eq!((bus.get_stats().subscribers_count, once.unsubscribe()), (0, false));
        once.unsubscribe_and_wait(WATCHDOG).unwrap();
        assert!(is_dropped(&seen));
    }
}

#[test]
fn an_unsubscription_cancels_the_retries_that_wait() {
    for attempt in 0..50 {
        let bus = bus(1);
        let backoff = Backoff::exponential(WATCHDOG, WATCHDOG).without_jitter();
        let fails = |_: &Delivery<'_>| Err::<(), _>("no");
        let failing = bus.subscribe("*").attempts(2).backoff(backoff).handler(fails).unwrap();
        publish(&bus, "a");
        // Before, while and after the attempt fails.
        thread::sleep(Duration::from_micros(attempt * 10));
        failing.unsubscribe_and_wait(WATCHDOG).unwrap();
        let stats = quiet(&bus);
        assert_eq!((stats.waiting_retries, stats.deliveries.total), (0, stats.deliveries.cancelled));
    }
}

#[test]
fn a_flood_of_critical_events_lets_other_sources_have_their_share() {
    let (bus, driver) = EventBus::builder().lanes(64).manual().build().unwrap();
    let heard: Arc<Mutex<Vec<String>>> = Arc::default();
    let hearing = Arc::clone(&heard);
    bus.subscribe("*")
        .handler(move |event| hearing.lock().unwrap().push(event.source().to_string()))
        .unwrap();
    for n in 0..500 {
        let flood = Event::builder("e", "flood").priority(EventPriority::Critical).build().unwrap();
        bus.publish(flood).unwrap();
        if n == 100 {
            bus.publish(from("patient", "e", 0)).unwrap();
        }
    }
    driver.run_until_idle();
    let at = heard.lock().unwrap().iter().position(|source| source == "patient").unwrap();
    assert!(at <= 16, "it waited for {at} critical events");
}

#[test]
fn an_inline_bus_with_a_backoff_retries_after_publish_returned() {
    let bus = EventBus::new();
    let calls = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&calls);
    bus.subscribe("*")
        .attempts(3)
        .backoff(Backoff::exponential(Duration::from_millis(2), Duration::from_millis(2)).without_jitter())
        .handler(move |_| {
            count.fetch_add(1, Ordering::SeqCst);
            Err::<(), _>("no")
        })
        .unwrap();
    publish(&bus, "x");
    let stats = quiet(&bus);
    assert_eq!((calls.load(Ordering::SeqCst), stats.deliveries.dead_lettered), (3, 1));
}

#[test]
fn shutting_down_drains_within_the_limit_and_reports_what_is_left() {
    let slow = bus(1);
    let heard = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&heard);
    slow.subscribe("*")
        .handler(move |_| {
            thread::sleep(Duration::from_millis(1));
            count.fetch_add(1, Ordering::SeqCst);
        })
        .unwrap();
    (0..50).for_each(|_| publish(&slow, "x"));
    assert!(slow.shutdown(WATCHDOG).is_complete());
    assert_eq!(heard.load(Ordering::SeqCst), 50);
    assert!(matches!(slow.publish(from("a", "x", 1)).unwrap_err().kind(), PublishErrorKind::Closed));

    let stuck = bus(1);
    let (begins, go) = gate(&stuck, "*");
    for n in 0..10 {
        stuck.publish(from("a", "x", n)).unwrap();
    }
    begins.recv_timeout(WATCHDOG).unwrap();
    let report = stuck.shutdown(Duration::from_millis(10));
    assert_eq!(report.pending(), 10);
    let left: Vec<u64> = report.undelivered().iter().map(|left| number(left.event())).collect();
    assert_eq!(left, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
    let running: Vec<u64> =
        report.undelivered().iter().filter(|left| left.is_running()).map(|left| left.sequence()).collect();
    assert_eq!(running, [1], "the first is being handled");
    go.send(()).unwrap();
    let stats = quiet(&stuck);
    assert_eq!((stats.completed, stats.dropped), (1, 9));
}

#[test]
fn an_event_that_is_stuck_at_a_later_attempt_is_reported_too() {
    let bus = bus(1);
    let (begun, begins) = mpsc::channel();
    let (go, waits) = mpsc::channel::<()>();
    let waits = Mutex::new(waits);
    let backoff = Backoff::exponential(Duration::from_millis(1), Duration::from_millis(1));
    let handler = move |delivery: &Delivery<'_>| {
        if delivery.attempt() == 1 {
            return Err("again");
        }
        begun.send(()).unwrap();
        waits.lock().unwrap().recv_timeout(WATCHDOG).unwrap();
        Ok(())
    };
    bus.subscribe("*").attempts(2).backoff(backoff).handler(handler).unwrap();
    publish(&bus, "a");
    begins.recv_timeout(WATCHDOG).unwrap();
    let report = bus.shutdown(Duration::from_millis(5));
    let left: Vec<_> = report.undelivered().iter().map(|left| (left.sequence(), left.is_running())).collect();
    assert_eq!((report.pending(), left), (1, vec![(1, true)]));
    go.send(()).unwrap();
}

/// A payload whose destructor flushes its bus.
#[derive(serde::Serialize)]
struct Flushes {
    #[serde(skip)]
    bus: codomyrmex_events::WeakEventBus,
    #[serde(skip)]
    told: mpsc::Sender<Result<(), FlushError>>,
}

impl Drop for Flushes {
    fn drop(&mut self) {
        let bus = self.bus.upgrade().unwrap();
        let _ = self.told.send(bus.flush(WATCHDOG));
    }
}

#[test]
fn the_destructor_of_a_payload_does_not_wait_for_the_worker_that_runs_it() {
    let bus = EventBus::builder().queued().max_workers(1).history(0).build().unwrap();
    let (begins, go) = gate(&bus, "*");
    let (told, answers) = mpsc::channel();
    let payload = codomyrmex_events::Payload::typed(Flushes { bus: bus.downgrade(), told });
    bus.publish(Event::builder("a", "s").data(payload).build().unwrap()).unwrap();
    begins.recv_timeout(WATCHDOG).unwrap();
    publish(&bus, "b");
    go.send(()).unwrap();
    assert_eq!(answers.recv_timeout(WATCHDOG), Ok(Err(FlushError::WouldDeadlock)));
    go.send(()).unwrap();
    quiet(&bus);
}

#[test]
fn a_lane_with_room_refuses_nobody() {
    let builder = EventBus::builder().queued().max_workers(1).lanes(1).lane_room(64);
    let bus = builder.overflow(Overflow::Reject).build().unwrap();
    bus.subscribe("*").handler(|_| ()).unwrap();
    // No more than 16 events are on their way at any moment.
    thread::scope(|threads| {
        for _ in 0..4 {
            threads.spawn(|| {
                for n in 0..20_000 {
                    bus.publish(from("s", "e", n)).expect("there is room");
                    if n % 4 == 3 {
                        bus.flush(WATCHDOG).unwrap();
                    }
                }
            });
        }
    });
    assert_eq!(quiet(&bus).refused, 0);
}

#[test]
fn waiting_publishers_are_told_that_the_bus_is_shut_down() {
    let (bus, go, _) = stuffed(1, Overflow::Block(WATCHDOG * 10));
    let publishing = bus.clone();
    let publisher = thread::spawn(move || publishing.publish(from("s", "e", 2)).unwrap_err());
    thread::sleep(Duration::from_millis(20));
    let closer = thread::spawn(move || bus.shutdown(WATCHDOG));
    let refused = publisher.join().unwrap();
    assert!(matches!(refused.kind(), PublishErrorKind::Closed), "{refused}");
    go.send(()).unwrap();
    assert!(closer.join().unwrap().is_complete());
}

#[test]
fn dropping_the_last_handle_drains_and_drops_the_handlers() {
    let (value, seen) = capture();
    let heard = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&heard);
    let bus = bus(2);
    bus.subscribe("*")
        .handler(move |_| {
            let _ = &value;
            count.fetch_add(1, Ordering::SeqCst);
        })
        .unwrap();
    (0..1_000).for_each(|_| publish(&bus, "x"));
    let weak = bus.downgrade();
    drop(bus);
    assert_eq!(heard.load(Ordering::SeqCst), 1_000);
    assert!(weak.upgrade().is_none());
    assert!(is_dropped(&seen));
}

#[test]
fn a_handler_may_drop_the_last_handle() {
    watched("dropping the last handle in a handler", || {
        let (value, seen) = capture();
        let bus = bus(1);
        let held = Arc::new(Mutex::new(None));
        let dropping = Arc::clone(&held);
        let (begun, begins) = mpsc::channel();
        bus.subscribe("*")
            .handler(move |_| {
                let _ = &value;
                drop(dropping.lock().unwrap().take());
                begun.send(()).unwrap();
            })
            .unwrap();
        *held.lock().unwrap() = Some(bus.clone());
        let weak = bus.downgrade();
        bus.publish(from("a", "x", 1)).unwrap();
        drop(bus);
        begins.recv_timeout(WATCHDOG).unwrap();
        while weak.upgrade().is_some() || !is_dropped(&seen) {
            thread::yield_now();
        }
    });
}

#[test]
fn nothing_waits_for_itself_inside_a_handler() {
    watched("waiting inside a handler", || {
        let bus = bus(1);
        let flushed = Arc::new(Mutex::new(None));
        let answer = Arc::clone(&flushed);
        bus.subscribe("x")
            .handler(move |delivery| {
                *answer.lock().unwrap() = Some(delivery.bus().flush(WATCHDOG));
                let report = delivery.bus().shutdown(WATCHDOG);
                assert_eq!(report.pending(), 1);
            })
            .unwrap();
        publish(&bus, "x");
        quiet(&bus);
        assert_eq!(*flushed.lock().unwrap(), Some(Err(FlushError::WouldDeadlock)));
        assert!(bus.shutdown(WATCHDOG).is_complete());
    });
}

#[test]
fn unsubscribing_waits_for_the_worker_and_drops_the_captures() {
    let bus = bus(2);
    let (value, seen) = capture();
    let running = Arc::new(AtomicBool::new(false));
    let runs = Arc::clone(&running);
    let subscription = bus
        .subscribe("*")
        .handler(move |_| {
            let _ = &value;
            runs.store(true, Ordering::SeqCst);
            thread::sleep(Duration::from_millis(20));
            runs.store(false, Ordering::SeqCst);
        })
        .unwrap();
    (0..20).for_each(|_| publish(&bus, "x"));
    while !running.load(Ordering::SeqCst) {
        thread::yield_now();
    }
    subscription.unsubscribe_and_wait(WATCHDOG).unwrap();
    assert!(!running.load(Ordering::SeqCst) && is_dropped(&seen));
    let stats = quiet(&bus);
    assert_eq!(stats.completed, 20);
}

#[test]
fn correlation_and_causation_pass_through_the_queue() {
    let bus = bus(2);
    let (heard, hears) = mpsc::channel();
    bus.subscribe("first")
        .handler(|delivery| delivery.bus().publish(from("b", "second", 0)).map(drop))
        .unwrap();
    bus.subscribe("second")
        .handler(move |event| {
            heard.send((event.correlation_id().cloned(), event.causation_id().cloned())).unwrap();
        })
        .unwrap();
    let first = Event::builder("first", "a").correlation_id("cid-1").build().unwrap();
    let id = first.event_id().clone();
    bus.publish(first).unwrap();
    let (correlation, cause) = hears.recv_timeout(WATCHDOG).unwrap();
    assert_eq!(correlation.unwrap().as_str(), "cid-1");
    assert_eq!(cause.unwrap(), id);
}

#[test]
fn a_spinning_bus_delivers_like_a_parked_one() {
    let builder = EventBus::builder().queued().max_workers(2);
    let bus = builder.wait_strategy(WaitStrategy::SpinThenPark(Duration::from_micros(50))).build().unwrap();
    bus.subscribe("*").handler(|_| ()).unwrap();
    for n in 0..2_000 {
        bus.publish(from(&n.to_string(), "x", n)).unwrap();
        if n % 100 == 0 {
            thread::sleep(Duration::from_micros(200));
        }
    }
    assert_eq!(quiet(&bus).completed, 2_000);
}

#[test]
fn a_reset_carries_over_what_is_queued() {
    let (bus, go, _) = stuffed(3, Overflow::Reject);
    bus.reset_stats();
    let stats = bus.get_stats();
    assert_eq!((stats.accepted, stats.completed, stats.pending), (4, 0, 4));
    assert_eq!(stats.queued, [0, 0, 3, 0]);
    go.send(()).unwrap();
    assert_eq!(quiet(&bus).completed, 4);
}

/// Polls once; true if it is ready.
fn is_ready<T>(future: std::pin::Pin<&mut impl Future<Output = T>>) -> bool {
    future.poll(&mut std::task::Context::from_waker(std::task::Waker::noop())).is_ready()
}

/// Runs a future on this thread.
fn block_on<T>(future: impl Future<Output = T>) -> T {
    struct Unpark(thread::Thread);
    impl std::task::Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Arc::new(Unpark(thread::current())).into();
    let mut future = std::pin::pin!(future);
    loop {
        match future.as_mut().poll(&mut std::task::Context::from_waker(&waker)) {
            std::task::Poll::Ready(value) => return value,
            std::task::Poll::Pending => thread::park_timeout(WATCHDOG),
        }
    }
}

#[test]
fn an_async_publish_that_waits_for_room_did_nothing_until_there_is_some() {
    let (bus, go, heard) = stuffed(2, Overflow::Block(WATCHDOG));
    let before = bus.get_stats();
    {
        let mut dropped = std::pin::pin!(bus.publish_async(from("s", "e", 77)));
        assert!(!is_ready(dropped.as_mut()) && !is_ready(dropped.as_mut()));
    }
    let after = bus.get_stats();
    assert_eq!(
        (after.offered, after.accepted, after.refused),
        (before.offered, before.accepted, before.refused)
    );
    assert_eq!(bus.history().len(), 3);

    let publishing = bus.clone();
    let publisher = thread::spawn(move || block_on(publishing.publish_async(from("s", "e", 2))).unwrap());
    thread::sleep(Duration::from_millis(10));
    go.send(()).unwrap();
    assert_eq!(publisher.join().unwrap().sequence(), 4, "the dropped one has no number");
    quiet(&bus);
    assert_eq!(*heard.lock().unwrap(), [0, 1, 2]);
}

#[test]
fn an_async_publish_waits_no_longer_than_the_limit() {
    let (bus, go, _) = stuffed(1, Overflow::Block(Duration::from_millis(20)));
    let refused = block_on(bus.publish_async(from("s", "e", 5))).unwrap_err();
    assert!(matches!(refused.kind(), PublishErrorKind::Full(_)));
    assert_eq!(number(refused.event().unwrap()), 5);
    assert_eq!(
        block_on(bus.flush_async(Duration::from_millis(10))),
        Err(FlushError::StillPending { pending: 2 })
    );
    go.send(()).unwrap();
    assert_eq!(block_on(bus.flush_async(WATCHDOG)), Ok(()));
    assert_eq!(quiet(&bus).refused, 1);
}

#[test]
fn a_future_dropped_at_any_moment_leaves_no_place_taken() {
    let (bus, go, heard) = stuffed(4, Overflow::Block(WATCHDOG));
    go.send(()).unwrap();
    thread::scope(|scope| {
        for publisher in 0..4 {
            let bus = bus.clone();
            scope.spawn(move || {
                for n in 0..500 {
                    let mut future = std::pin::pin!(bus.publish_async(from("s", "e", 1_000 + n)));
                    for _ in 0..(n + publisher) % 4 {
                        if is_ready(future.as_mut()) {
                            break;
                        }
                    }
                }
            });
        }
    });
    let stats = quiet(&bus);
    assert_eq!(stats.refused, 0);
    assert_eq!(heard.lock().unwrap().len() as u64, stats.accepted - 1);
    // All four places are free again.
    (0..4).for_each(|n| assert!(bus.publish(from("s", "e", n)).is_ok()));
    quiet(&bus);
}
