//! Waiting for an event, with a thread or a task. Nothing of it needs a feature.

#![allow(clippy::unwrap_used, clippy::panic, reason = "in a test a panic is the report")]

#[path = "support/block_on.rs"]
mod block_on;
#[path = "support/bus.rs"]
mod support;

use block_on::block_on;
use codomyrmex_events::{Event, EventBus, EventType, EventWait, SubscriptionErrorKind, WaitError};
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Barrier, Mutex};
use std::task::{Context, Waker};
use std::thread;
use std::time::Duration;
use support::{WATCHDOG, capture, is_dropped, publish, watched};

const NOW: Duration = Duration::ZERO;

/// Publishes `before`, begins a wait, publishes `after`; the number of what it heard.
fn heard(
    globs: &[&str],
    filter: Option<&'static str>,
    history: bool,
    before: &[&str],
    after: &[&str],
) -> u64 {
    let bus = EventBus::new();
    before.iter().for_each(|name| publish(&bus, name));
    let mut wait = bus.wait_for(globs);
    if let Some(ending) = filter {
        wait = wait.filter(move |event| event.event_type().as_str().ends_with(ending));
    }
    if history {
        wait = wait.including_history();
    }
    let wait = wait.begin().unwrap();
    after.iter().for_each(|name| publish(&bus, name));
    let outcome = wait.within(NOW);
    let heard = wait.heard();
    assert_eq!(
        outcome.as_ref().ok().map(|recorded| recorded.sequence()),
        heard.map(|heard| heard.sequence())
    );
    match outcome {
        Ok(recorded) => {
            let name = [before, after].concat()[recorded.sequence() as usize - 1].to_owned();
            assert_eq!(recorded.event_type().as_str(), name);
            recorded.sequence()
        }
        Err(WaitError::TimedOut { limit: NOW }) => 0,
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn the_first_that_matches_is_heard() {
    assert_eq!(heard(&["a"], None, false, &["a"], &["b", "a", "a"]), 3);
    assert_eq!(heard(&["b*", "a"], None, false, &[], &["c", "bb", "a"]), 2);
    assert_eq!(heard(&["a"], None, false, &["a"], &["b"]), 0);
    assert_eq!(heard(&["a.*"], Some(".y"), false, &["a.y"], &["a.x", "b.y", "a.y"]), 4);
    assert_eq!(heard(&["a.*"], Some(".y"), false, &[], &["a.x", "b.y"]), 0);
    // The history first, the oldest of it first.
    assert_eq!(heard(&["a"], None, true, &["b", "a", "a"], &["a"]), 2);
    assert_eq!(heard(&["a"], None, true, &["b"], &["b", "a"]), 3);
    assert_eq!(heard(&["a.*"], Some(".y"), true, &["a.x", "b.y", "a.y"], &[]), 3);
    assert_eq!(heard(&["a.*"], Some(".y"), true, &["a.x"], &["b.y"]), 0);
}

#[test]
fn what_is_wrong_is_said() {
    let bus = EventBus::new();
    let none: [&str; 0] = [];
    let error = bus.wait_for(none).begin().unwrap_err();
    let WaitError::Subscription(error) = error else { panic!("{error}") };
    assert_eq!(error.kind(), &SubscriptionErrorKind::NoPatterns);
    assert!(matches!(bus.wait_for("x".repeat(2_000)).within(NOW), Err(WaitError::Subscription(_))));
    assert!(matches!(bus.wait_for("a").within(NOW), Err(WaitError::TimedOut { limit: NOW })));
    assert!(matches!(block_on(bus.wait_for("a").within_async(NOW)), Err(WaitError::TimedOut { limit: NOW })));
    assert_eq!(bus.subscriptions().len(), 0);
    bus.shutdown(NOW);
    assert!(matches!(bus.wait_for("a").within(WATCHDOG), Err(WaitError::Closed)));
    assert!(matches!(block_on(bus.wait_for("a").within_async(WATCHDOG)), Err(WaitError::Closed)));
}

#[test]
fn a_filter_that_panics_says_no_and_others_have_had_the_event() {
    let bus = EventBus::new();
    publish(&bus, "a.bad");
    let handled = Arc::new(AtomicUsize::new(0));
    let seen = Arc::new(AtomicUsize::new(usize::MAX));
    let picky = |event: &Event| {
        assert!(!event.event_type().as_str().ends_with("bad"), "bad");
        true
    };
    let wait = bus.wait_for("a.*").including_history().filter(picky).begin().unwrap();
    let count = Arc::clone(&handled);
    // Subscribed later, but with the usual priority.
    bus.subscribe("a.*")
        .handler(move |_| {
            count.fetch_add(1, SeqCst);
        })
        .unwrap();
    let (looks, count) = (Arc::clone(&seen), Arc::clone(&handled));
    let look = bus.wait_for("a.*").filter(move |_| {
        looks.fetch_min(count.load(SeqCst), SeqCst);
        true
    });
    let _look = look.begin().unwrap();
    publish(&bus, "a.bad");
    assert!(wait.heard().is_none());
    publish(&bus, "a.good");
    assert_eq!(wait.within(NOW).unwrap().sequence(), 3);
    assert_eq!(seen.load(SeqCst), 1, "the handler was before the wait");
    assert_eq!(bus.dead_letter_queue().len(), 0);
}

#[test]
fn dropping_it_ends_it_and_it_keeps_no_bus() {
    let bus = EventBus::new();
    let (value, seen) = capture();
    let wait = bus
        .wait_for("a")
        .filter(move |_| {
            std::hint::black_box(&value);
            true
        })
        .begin()
        .unwrap();
    assert_eq!(bus.subscriptions().len(), 1);
    drop(wait);
    assert!(bus.subscriptions().is_empty() && is_dropped(&seen));

    let wait = bus.wait_for("a").begin().unwrap();
    let unheard = bus.wait_for("b").begin().unwrap();
    publish(&bus, "a");
    let weak = bus.downgrade();
    drop(bus);
    assert!(weak.upgrade().is_none());
    assert_eq!(wait.within(WATCHDOG).unwrap().sequence(), 1);
    assert!(matches!(unheard.within(WATCHDOG), Err(WaitError::Closed)));
    assert!(matches!(block_on(unheard.within_async(WATCHDOG)), Err(WaitError::Closed)));
}

#[test]
fn one_that_is_unsubscribed_by_its_id_is_over() {
    let bus = EventBus::new();
    let wait = bus.wait_for("a").begin().unwrap();
    let id = bus.subscriptions()[0].id().to_owned();
    assert!(bus.unsubscribe(&id));
    assert!(matches!(wait.within(WATCHDOG), Err(WaitError::Closed)));
}

/// Waits on threads of their own, by thread and by task, and tells how that ended when `end` has been done.
fn ended_by(bus: EventBus, end: impl FnOnce(EventBus) + Send + 'static) -> [Result<u64, WaitError>; 2] {
    watched("a wait", move || {
        let waits: [EventWait; 2] = std::array::from_fn(|_| bus.wait_for("a").begin().unwrap());
        let [blocking, awaiting] = &waits;
        thread::scope(|threads| {
            let blocking = threads.spawn(|| blocking.within(WATCHDOG));
            let awaiting = threads.spawn(|| block_on(awaiting.within_async(WATCHDOG)));
            end(bus);
            [blocking, awaiting].map(|wait| wait.join().unwrap().map(|heard| heard.sequence()))
        })
    })
}

#[test]
fn it_ends_when_the_event_comes_or_the_bus_ends() {
    let cases: [(fn(EventBus), bool); 4] = [
        (|bus| publish(&bus, "a"), true),
        (|bus| drop(bus.shutdown(WATCHDOG)), false),
        (drop, false),
        (
            |bus| {
                bus.subscribe("stop").handler(|delivery| drop(delivery.bus().shutdown(WATCHDOG))).unwrap();
                publish(&bus, "stop");
            },
            false,
        ),
    ];
    for (case, (end, is_heard)) in cases.into_iter().enumerate() {
        for _ in 0..20 {
            for outcome in ended_by(EventBus::new(), end) {
                match outcome {
                    Ok(sequence) => assert_eq!((sequence, is_heard), (1, true), "case {case}"),
                    Err(WaitError::Closed) => assert!(!is_heard, "case {case}"),
                    Err(error) => panic!("case {case}: {error}"),
                }
            }
        }
    }
}

#[test]
fn inside_the_bus_it_does_not_wait() {
    let bus = EventBus::new();
    let outcomes = Arc::new(Mutex::new(Vec::new()));
    let (from_filter, from_handler) = (Arc::clone(&outcomes), Arc::clone(&outcomes));
    let weak = bus.downgrade();
    let name = |outcome: Result<codomyrmex_events::Recorded, WaitError>| match outcome {
        Ok(recorded) => recorded.event_type().to_string(),
        Err(error) => error.to_string(),
    };
    bus.subscribe("go")
        .filter(move |_| {
            let bus = weak.upgrade().unwrap();
            from_filter.lock().unwrap().push(name(bus.wait_for("x").within(WATCHDOG)));
            true
        })
        .handler(move |delivery| {
            let bus = delivery.bus();
            let wait = bus.wait_for("y").begin().unwrap();
            let mut outcomes = vec![name(wait.within(WATCHDOG))];
            publish(&bus, "y");
            outcomes.push(name(wait.within(WATCHDOG)));
            // The event being handled is in the history, whatever glob it is asked by.
            outcomes.push(name(bus.wait_for("g*").including_history().within(WATCHDOG)));
            from_handler.lock().unwrap().extend(outcomes);
        })
        .unwrap();
    watched("a wait inside a handler", move || publish(&bus, "go"));
    let itself = WaitError::WouldDeadlock.to_string();
    assert_eq!(*outcomes.lock().unwrap(), [&itself, &itself, "y", "go"]);
}

#[test]
fn waits_begin_and_end_within_handlers() {
    let bus = EventBus::new();
    let held: Arc<Mutex<Option<EventWait>>> = Arc::default();
    let dropping = Arc::clone(&held);
    // Dropped by a handler of the very event that it waits for, before its own turn.
    bus.subscribe("a").handler(move |_| drop(dropping.lock().unwrap().take())).unwrap();
    *held.lock().unwrap() = Some(bus.wait_for("a").begin().unwrap());
    publish(&bus, "a");
    assert_eq!(bus.subscriptions().len(), 1);
    let kept = Arc::clone(&held);
    bus.subscribe("b")
        .handler(move |delivery| {
            *kept.lock().unwrap() = Some(delivery.bus().wait_for("c").begin().unwrap());
            publish(&delivery.bus(), "c");
        })
        .unwrap();
    publish(&bus, "b");
    assert_eq!(held.lock().unwrap().take().unwrap().heard().unwrap().event_type().as_str(), "c");
}

#[test]
fn a_future_can_be_dropped_and_made_anew() {
    let bus = EventBus::new();
    let wait = bus.wait_for("a").begin().unwrap();
    for _ in 0..3 {
        let mut future = pin!(wait.within_async(WATCHDOG));
        assert!(future.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    }
    publish(&bus, "a");
    assert_eq!(block_on(wait.within_async(WATCHDOG)).unwrap().sequence(), 1);

    // The short form begins when it is polled, and ends with its future.
    {
        let mut future = pin!(bus.wait_for("a").within_async(WATCHDOG));
        assert_eq!(bus.subscriptions().len(), 0);
        assert!(future.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        assert_eq!(bus.subscriptions().len(), 1);
    }
    assert_eq!(bus.subscriptions().len(), 0);
}

/// Everything published after `begin` returned is heard: no wake-up is lost, whatever else is published at the same time.
#[test]
fn what_is_published_after_the_beginning_is_heard() {
    let bus = EventBus::new();
    watched("begin, publish, wait", move || {
        thread::scope(|threads| {
            for _ in 0..4 {
                threads.spawn(|| {
                    for _ in 0..300 {
                        let before = bus.history().last_sequence();
                        let wait = bus.wait_for(EventType::BuildStart).begin().unwrap();
                        publish(&bus, "build.start");
                        // It was this one, or another thread's.
                        let heard = wait.within(WATCHDOG).unwrap().sequence();
                        assert!(
                            before < heard,
                            "{heard} was published before the wait began, after {before}"
                        );
                    }
                });
            }
        });
        assert_eq!(bus.subscriptions().len(), 0);
    });
}

/// An event that is published while waits with history begin is heard by all of them, once.
#[test]
fn there_is_no_gap_between_the_history_and_what_is_heard() {
    watched("waits with history", || {
        for round in 0..150 {
            let bus = EventBus::new();
            let start = Barrier::new(5);
            thread::scope(|threads| {
                for _ in 0..4 {
                    threads.spawn(|| {
                        start.wait();
                        let heard = if round % 2 == 0 {
                            bus.wait_for("a").including_history().within(WATCHDOG)
                        } else {
                            block_on(bus.wait_for("a").including_history().within_async(WATCHDOG))
                        };
                        assert_eq!(heard.unwrap().event_type().as_str(), "a");
                    });
                }
                start.wait();
                publish(&bus, "b");
                publish(&bus, "a");
            });
            assert_eq!(bus.subscriptions().len(), 0);
        }
    });
}
