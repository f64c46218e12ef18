//! The end of a subscription: when its handler is sure not to run any more, and when its captures are gone.

#![allow(clippy::unwrap_used, clippy::panic, reason = "in a test a panic is the report")]

#[path = "support/bus.rs"]
mod support;

use codomyrmex_events::{EventBus, StillRunning, Subscription};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Barrier, Mutex, mpsc};
use std::thread;
use std::time::Duration;
use support::{OnDrop, WATCHDOG, capture, event, hold, is_dropped, publish, watched};

#[test]
fn after_ok_there_is_no_call_and_no_capture() {
    const ROUNDS: u64 = 6_000;
    let bus = EventBus::new();
    let (stop, late, heard) =
        (AtomicBool::new(false), Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    thread::scope(|scope| {
        for name in ["build.start", "my.own"] {
            let (bus, stop) = (&bus, &stop);
            scope.spawn(move || {
                while !stop.load(SeqCst) {
                    bus.publish_batch([event(name), event(name)]);
                }
            });
        }
        for round in 0..ROUNDS {
            let ended = Arc::new(AtomicBool::new(false));
            let (value, seen) = capture();
            let call = || {
                let (ended, late, heard) = (Arc::clone(&ended), Arc::clone(&late), Arc::clone(&heard));
                let value = Arc::clone(&value);
                move || {
                    late.fetch_add(u64::from(ended.load(SeqCst)), SeqCst);
                    heard.fetch_add(1, SeqCst);
                    Arc::strong_count(&value) > 0
                }
            };
            let (in_filter, in_handler) = (call(), call());
            let builder = bus.subscribe(["build.*", "my.*"]).filter(move |_| in_filter());
            let builder = if round % 4 == 0 { builder.once() } else { builder };
            let subscription = builder.handler(move |_| assert!(in_handler())).unwrap();
            drop(value);
            if round % 3 == 0 {
                thread::yield_now();
            }
            assert_eq!(subscription.unsubscribe_and_wait(WATCHDOG), Ok(()), "round {round}");
            assert!(is_dropped(&seen), "round {round}");
            ended.store(true, SeqCst);
        }
        stop.store(true, SeqCst);
    });
    assert_eq!(late.load(SeqCst), 0, "calls after Ok, of {}", heard.load(SeqCst));
    assert!(heard.load(SeqCst) > 0, "the race took place");
    assert_eq!(bus.get_stats().subscribers_count, 0);
}

#[test]
fn plain_unsubscribe_drops_the_captures_when_nobody_runs_them() {
    let bus = EventBus::new();
    let start = Arc::new(Barrier::new(2));
    for round in 0..3_000 {
        let (value, seen) = capture();
        let subscription = hold(&bus, value);
        thread::scope(|scope| {
            scope.spawn(|| {
                start.wait();
                publish(&bus, "a.b");
            });
            start.wait();
            assert!(subscription.unsubscribe());
        });
        assert!(is_dropped(&seen), "round {round}: both are done");
    }
}

#[test]
fn a_running_delivery_keeps_the_captures_until_it_ends() {
    let bus = EventBus::new();
    let (value, seen) = capture();
    let (entered, inside) = mpsc::channel();
    let (release, released) = mpsc::channel::<()>();
    let released = Mutex::new(released);
    let subscription = bus
        .subscribe("*")
        .handler(move |_| {
            entered.send(Arc::strong_count(&value)).unwrap();
            released.lock().unwrap().recv().unwrap();
        })
        .unwrap();
    thread::scope(|scope| {
        scope.spawn(|| publish(&bus, "a.b"));
        inside.recv().unwrap();
        assert!(subscription.unsubscribe());
        assert!(!subscription.unsubscribe(), "it has ended");
        assert!(subscription.unsubscribe_and_wait(Duration::from_millis(1)).is_err());
        publish(&bus, "a.b");
        assert!(!is_dropped(&seen) && bus.get_stats().subscribers_count == 0);
        release.send(()).unwrap();
    });
    assert!(is_dropped(&seen));
    assert_eq!(subscription.unsubscribe_and_wait(Duration::ZERO), Ok(()), "as often as you like");
    assert_eq!(bus.get_stats().deliveries.succeeded, 1);
}

#[test]
fn idle_threads_and_letters_hold_no_captures() {
    let bus = EventBus::new();
    let (value, seen) = capture();
    let failing = bus.subscribe("*").subscriber_id("failing").handler(move |_| {
        assert_eq!(Arc::strong_count(&value), 1);
        Err::<(), _>("no")
    });
    let failing = failing.unwrap();
    let (idle, go) = (Barrier::new(5), Barrier::new(5));
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                publish(&bus, "a.b");
                bus.publish(event("build.start")).unwrap();
                idle.wait();
                go.wait();
            });
        }
        idle.wait();
        let letters = bus.dead_letter_queue().letters();
        assert_eq!(failing.unsubscribe_and_wait(WATCHDOG), Ok(()));
        assert!(is_dropped(&seen), "whoever has an old snapshot");
        assert!(letters.iter().all(|letter| letter.subscriber_id() == Some("failing")));
        assert_eq!((letters.len(), bus.dead_letter_queue().len()), (8, 8));
        go.wait();
    });
}

#[test]
fn inside_the_bus_it_ends_the_subscription_and_does_not_wait() {
    type Wait = Arc<dyn Fn(&str) + Send + Sync>;
    // Where `wait` is called from, given a bus on which it can be.
    type Place = fn(&EventBus, Wait);
    let places: [(&str, Place); 4] = [
        ("handler", |bus, wait| {
            bus.subscribe("*").priority(1).handler(move |_| wait("handler")).expect("valid");
            publish(bus, "a.b");
        }),
        ("filter", |bus, wait| {
            let builder = bus.subscribe("*").priority(1).filter(move |_| {
                wait("filter");
                false
            });
            builder.handler(|_| ()).expect("valid");
            publish(bus, "a.b");
        }),
        ("destructor", |bus, wait| {
            hold(bus, OnDrop(move || wait("destructor"))).unsubscribe();
        }),
        ("handler of another bus in a handler", |bus, wait| {
            let other = EventBus::new();
            other
                .subscribe("*")
                .handler(move |_| wait("handler of another bus in a handler"))
                .expect("valid");
            bus.subscribe("*").priority(1).handler(move |_| publish(&other, "a.b")).expect("valid");
            publish(bus, "a.b");
        }),
    ];
    for (name, place) in places {
        watched(name, move || {
            let bus = EventBus::new();
            let (value, seen) = capture();
            // The one that is waited for is in use by the same thread, or will never be taken apart in time.
            let target = hold(&bus, value);
            let answers: Arc<Mutex<Vec<Result<(), StillRunning>>>> = Arc::default();
            let (handle, answer) = (target.clone(), Arc::clone(&answers));
            let wait: Wait = Arc::new(move |place| {
                let waited = handle.unsubscribe_and_wait(Duration::MAX);
                answer.lock().unwrap().push(waited);
                assert_eq!(waited.unwrap_err().to_string().is_empty(), place.is_empty());
            });
            place(&bus, wait);
            assert_eq!(answers.lock().unwrap().len(), 1, "{name}");
            assert!(!target.unsubscribe(), "{name}: it has ended all the same");
            assert_eq!(bus.get_stats().dead_letters_made, 0, "{name}: StillRunning");
            assert!(is_dropped(&seen), "{name}: dropped when the outermost delivery or destructor was over");
        });
    }
}

#[test]
fn dropping_the_last_handle_drops_the_captures_and_dropping_a_subscription_does_not() {
    let bus = EventBus::new();
    let (value, seen) = capture();
    let subscription = hold(&bus, value);
    drop(subscription.clone());
    let second = bus.clone();
    publish(&bus, "a.b");
    drop(bus);
    assert!(!is_dropped(&seen), "another handle is left");
    assert!(second.downgrade().upgrade().is_some());
    drop(second);
    assert!(is_dropped(&seen));
    assert!(!subscription.unsubscribe());
    assert_eq!(subscription.unsubscribe_and_wait(WATCHDOG), Ok(()));
}

#[test]
fn a_scoped_subscription_ends_with_its_guard() {
    let bus = EventBus::new();
    let (value, seen) = capture();
    {
        let guard = hold(&bus, value).scoped();
        publish(&bus, "a.b");
        assert_eq!((guard.id(), bus.get_stats().subscribers_count), ("subscriber_1", 1));
    }
    assert!(is_dropped(&seen));
    assert_eq!(bus.get_stats().subscribers_count, 0);
    assert_eq!(bus.get_stats().deliveries.total, 1);
}

#[test]
fn an_id_is_free_again_after_the_end_and_the_old_handle_does_not_reach_the_new_one() {
    type End = fn(&EventBus, &Subscription);
    let ends: [(&str, End); 4] = [
        ("unsubscribe", |_, subscription| assert!(subscription.unsubscribe())),
        ("by id", |bus, _| assert!(bus.unsubscribe("same"))),
        ("and wait", |_, subscription| subscription.unsubscribe_and_wait(WATCHDOG).expect("nobody runs")),
        ("once", |bus, _| publish(bus, "a.b")),
    ];
    for (name, end) in ends {
        let bus = EventBus::new();
        let (old, new) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
        let subscribe = |count: &Arc<AtomicU64>, once: bool| {
            let count = Arc::clone(count);
            let builder = bus.subscribe("*").subscriber_id("same");
            let builder = if once { builder.once() } else { builder };
            builder.handler(move |_| {
                count.fetch_add(1, SeqCst);
            })
        };
        let first = subscribe(&old, name == "once").unwrap();
        assert!(subscribe(&new, false).is_err(), "{name}: in use");
        end(&bus, &first);
        assert!(bus.subscription("same").is_none(), "{name}");
        let before = old.load(SeqCst);
        subscribe(&new, false).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert!(!first.unsubscribe(), "{name}: the label is the same, the subscription is not");
        assert_eq!(first.unsubscribe_and_wait(WATCHDOG), Ok(()), "{name}");
        publish(&bus, "a.b");
        assert_eq!((old.load(SeqCst), new.load(SeqCst)), (before, 1), "{name}");
        assert!(bus.unsubscribe("same") && !bus.unsubscribe("same"), "{name}");
    }
}

/// Polls a future on this thread, asleep between two wakes.
fn block_on<F: Future>(future: F) -> F::Output {
    struct Unpark(thread::Thread);
    impl std::task::Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Arc::new(Unpark(thread::current())).into();
    let mut future = std::pin::pin!(future);
    loop {
        if let std::task::Poll::Ready(output) =
            future.as_mut().poll(&mut std::task::Context::from_waker(&waker))
        {
            return output;
        }
        thread::park_timeout(WATCHDOG);
    }
}

#[test]
fn async_code_can_wait_for_the_end_too() {
    let bus = EventBus::new();
    let (captured, seen) = capture();
    let (begin, begun) = mpsc::channel();
    let (release, released) = mpsc::channel::<()>();
    let released = Mutex::new(released);
    let subscription = bus
        .subscribe("a.b")
        .handler(move |_| {
            let _captured = &captured;
            begin.send(()).unwrap();
            released.lock().unwrap().recv().unwrap();
        })
        .unwrap();
    thread::scope(|scope| {
        scope.spawn(|| publish(&bus, "a.b"));
        begun.recv_timeout(WATCHDOG).unwrap();
        let in_vain = block_on(subscription.unsubscribe_and_wait_async(Duration::from_millis(1)));
        assert!(in_vain.is_err(), "the handler is running");
        assert!(!is_dropped(&seen));
        scope.spawn(move || release.send(()).unwrap());
        assert_eq!(block_on(subscription.unsubscribe_and_wait_async(WATCHDOG)), Ok(()));
        assert!(is_dropped(&seen));
    });
}

#[test]
fn async_code_inside_a_handler_does_not_wait_for_itself() {
    let bus = EventBus::new();
    let (tell, told) = mpsc::channel();
    bus.subscribe("a.b")
        .handler(move |delivery| {
            let itself = delivery.subscription();
            tell.send(block_on(itself.unsubscribe_and_wait_async(Duration::MAX)).is_err()).unwrap();
        })
        .unwrap();
    publish(&bus, "a.b");
    assert!(told.recv_timeout(WATCHDOG).unwrap(), "it says that it is still running");
}
