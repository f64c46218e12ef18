//! Asynchronous handlers: mailboxes, order, concurrency, time limits, reports, and their end. On inline buses, where nothing
//! else is in the way; what queued buses add is tested in `queued` and `manual`.

#![allow(clippy::unwrap_used, clippy::panic, reason = "in a test a panic is the report")]

#[path = "support/bus.rs"]
mod support;

use codomyrmex_events::{
    Backoff, BoxError, DeadLetterKind, DeliveryEnding, Event, EventBus, Overflow, OwnedDelivery, Stats,
    SubscriptionErrorKind,
};
use std::future::{Future, pending};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use support::{WATCHDOG, capture, event, is_dropped, publish, watched};
use tokio::sync::Semaphore;

const SHORT: Duration = Duration::from_millis(20);

fn quiet(bus: &EventBus) -> Stats {
    bus.flush(WATCHDOG).unwrap();
    let stats = bus.get_stats();
    assert_eq!(stats.offered, stats.accepted + stats.refused, "{stats:?}");
    assert_eq!((stats.pending, stats.deliveries.pending), (0, 0), "{stats:?}");
    stats
}

fn numbered(n: u64) -> Event {
    Event::builder("a.b", "test").data(serde_json::json!(n)).build().unwrap()
}

fn number(event: &Event) -> u64 {
    event.data().value().unwrap().as_u64().unwrap()
}

/// A runtime of the embedder's, and a way to block on it.
fn runtime(threads: usize) -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(threads).enable_all().build().unwrap()
}

/// Subscribes a handler that takes a permit for each event and writes down its number.
fn gated(bus: &EventBus, room: usize, overflow: Overflow) -> (Arc<Semaphore>, Arc<Mutex<Vec<u64>>>) {
    let (gate, heard) = (Arc::new(Semaphore::new(0)), Arc::new(Mutex::new(Vec::new())));
    let (taken, written) = (Arc::clone(&gate), Arc::clone(&heard));
    let handler = move |delivery: OwnedDelivery| {
        let (taken, written) = (Arc::clone(&taken), Arc::clone(&written));
        async move {
            taken.acquire().await.unwrap().forget();
            written.lock().unwrap().push(number(&delivery));
        }
    };
    bus.subscribe("a.*")
        .subscriber_id("gated")
        .mailbox(room)
        .overflow(overflow)
        .async_handler(handler)
        .unwrap();
    (gate, heard)
}

/// Publishes one event, and returns when the gated handler has it in hands. Nobody else waits at its gate yet.
fn occupy(bus: &EventBus, gate: &Arc<Semaphore>) {
    bus.publish(numbered(0)).unwrap();
    // The test, the handler, and the future that it made: that the mailbox is empty does not yet say that there is one.
    while Arc::strong_count(gate) < 3 {
        std::thread::yield_now();
    }
}

#[test]
fn events_are_handled_one_at_a_time_and_in_order() {
    let bus = EventBus::new();
    let (busy, heard) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(Vec::new())));
    let (within, written) = (Arc::clone(&busy), Arc::clone(&heard));
    let handler = move |delivery: OwnedDelivery| {
        let (within, written) = (Arc::clone(&within), Arc::clone(&written));
        async move {
            assert!(!within.swap(true, SeqCst), "two at a time");
            tokio::task::yield_now().await;
            written.lock().unwrap().push(number(&delivery));
            within.store(false, SeqCst);
        }
    };
    bus.subscribe("*").async_handler(handler).unwrap();
    for n in 0..500 {
        bus.publish(numbered(n)).unwrap();
    }
    assert_eq!(quiet(&bus).deliveries.succeeded, 500);
    assert_eq!(*heard.lock().unwrap(), (0..500).collect::<Vec<_>>());
}

#[test]
fn with_concurrency_as_many_are_handled_at_a_time_and_no_more() {
    let bus = EventBus::new();
    let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (entered, highest) = (Arc::clone(&now), Arc::clone(&most));
    let handler = move |_: OwnedDelivery| {
        let (entered, highest) = (Arc::clone(&entered), Arc::clone(&highest));
        async move {
            highest.fetch_max(entered.fetch_add(1, SeqCst) + 1, SeqCst);
            // The first four meet here.
            while highest.load(SeqCst) < 4 {
                tokio::task::yield_now().await;
            }
            entered.fetch_sub(1, SeqCst);
        }
    };
    bus.subscribe("*").concurrency(4).async_handler(handler).unwrap();
    for n in 0..200 {
        bus.publish(numbered(n)).unwrap();
    }
    assert_eq!(quiet(&bus).deliveries.succeeded, 200);
    assert_eq!(most.load(SeqCst), 4);
}

#[test]
fn handlers_behind_trait_objects_are_awaited_like_any_other() {
    type Boxed = Box<
        dyn Fn(OwnedDelivery) -> Pin<Box<dyn Future<Output = Result<(), BoxError>> + Send>> + Send + Sync,
    >;
    let bus = EventBus::new();
    let heard = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&heard);
    let handler: Boxed = Box::new(move |delivery| {
        let counted = Arc::clone(&counted);
        Box::pin(async move {
            tokio::task::yield_now().await;
            counted.fetch_add(1, SeqCst);
            if delivery.attempt() == 1 { Err("once more")? } else { Ok(()) }
        })
    });
    bus.subscribe("*")
        .attempts(2)
        .backoff(Backoff::exponential(SHORT, SHORT))
        .async_handler(handler)
        .unwrap();
    publish(&bus, "a.b");
    let stats = quiet(&bus);
    assert_eq!((stats.deliveries.succeeded, heard.load(SeqCst)), (1, 2));
    assert!(stats.subscribers["subscriber_1"].is_async);
    assert_eq!(stats.subscribers["subscriber_1"].retried, 1);
}

#[test]
fn a_full_mailbox_does_as_its_owner_chose_and_counts_and_keeps_what_it_drops() {
    let drops = |overflow, expected: &[u64], counted: fn(&Stats) -> u64| {
        let bus = EventBus::builder().keep_dropped().build().unwrap();
        let (gate, heard) = gated(&bus, 2, overflow);
        occupy(&bus, &gate);
        for n in 1..=4 {
            bus.publish(numbered(n)).unwrap();
        }
        gate.add_permits(10);
        let stats = quiet(&bus);
        assert_eq!(*heard.lock().unwrap(), expected, "{overflow:?}");
        assert_eq!((counted(&stats), stats.deliveries.dropped), (2, 2), "{overflow:?}: {stats:?}");
        assert_eq!(stats.subscribers["gated"].deliveries.dropped, 2);
        let letters = bus.dead_letter_queue().letters();
        assert_eq!(letters.len(), 2);
        for letter in letters {
            assert_eq!((letter.kind(), letter.subscriber_id()), (DeadLetterKind::Dropped, Some("gated")));
            bus.dead_letter_queue().redrive(letter.id()).unwrap();
        }
        assert_eq!(quiet(&bus).deliveries.succeeded, 5, "redriven to that subscription");
    };
    drops(Overflow::DropOldest, &[0, 3, 4], |stats| stats.deliveries_dropped.drop_oldest);
    drops(Overflow::DropNewest, &[0, 1, 2], |stats| stats.deliveries_dropped.drop_newest);
    drops(Overflow::Reject, &[0, 1, 2], |stats| stats.deliveries_dropped.reject);
    drops(Overflow::Block(SHORT), &[0, 1, 2], |stats| stats.deliveries_dropped.block);
}

#[test]
fn a_blocking_mailbox_holds_up_the_publisher_until_there_is_room() {
    let bus = EventBus::new();
    let (gate, heard) = gated(&bus, 1, Overflow::Block(WATCHDOG));
    occupy(&bus, &gate);
    bus.publish(numbered(1)).unwrap();
    let publisher = {
        let bus = bus.clone();
        std::thread::spawn(move || bus.publish(numbered(2)).map(drop))
    };
    std::thread::sleep(SHORT);
    assert!(!publisher.is_finished(), "there is no room");
    gate.add_permits(3);
    publisher.join().unwrap().unwrap();
    assert_eq!(quiet(&bus).deliveries.dropped, 0);
    assert_eq!(*heard.lock().unwrap(), [0, 1, 2]);
}

/// On one thread, a blocked thread could never make the room that it waits for.
#[test]
fn an_async_publisher_waits_for_room_in_a_mailbox_without_blocking_its_thread() {
    watched("publishing on one thread", || {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let bus = EventBus::builder().runtime(tokio::runtime::Handle::current()).build().unwrap();
            let heard = Arc::new(AtomicUsize::new(0));
            let counted = Arc::clone(&heard);
            let handler = move |_: OwnedDelivery| {
                let counted = Arc::clone(&counted);
                async move {
                    tokio::task::yield_now().await;
                    counted.fetch_add(1, SeqCst);
                }
            };
            bus.subscribe("*").mailbox(1).overflow(Overflow::Block(WATCHDOG)).async_handler(handler).unwrap();
            for n in 0..50 {
                bus.publish_async(numbered(n)).await.unwrap();
            }
            let report = bus.publish_and_wait(numbered(50)).await.unwrap();
            assert!(report.is_success(), "{report:?}");
            bus.flush_async(WATCHDOG).await.unwrap();
            assert_eq!((heard.load(SeqCst), bus.get_stats().deliveries.dropped), (51, 0));
        });
    });
}

#[test]
fn an_async_publisher_that_gave_up_waiting_for_a_mailbox_did_nothing() {
    let bus = EventBus::new();
    let (gate, _) = gated(&bus, 1, Overflow::Block(WATCHDOG));
    occupy(&bus, &gate);
    bus.publish(numbered(1)).unwrap();
    let before = bus.get_stats();
    for polls in 1..20 {
        let mut future = Box::pin(bus.publish_async(numbered(2)));
        for _ in 0..polls {
            let mut context = std::task::Context::from_waker(std::task::Waker::noop());
            assert!(future.as_mut().poll(&mut context).is_pending());
        }
    }
    assert_eq!(bus.get_stats(), before);
    gate.add_permits(4);
    runtime(1).block_on(bus.publish_async(numbered(3))).unwrap();
    assert_eq!(quiet(&bus).deliveries.succeeded, 3);
}

#[test]
fn a_handler_that_publishes_into_its_own_full_mailbox_does_not_wait_for_itself() {
    for publishes_async in [false, true] {
        watched("a handler that publishes to itself", move || {
            let bus = EventBus::new();
            let handler = move |delivery: OwnedDelivery| async move {
                for _ in 0..3 {
                    if number(&delivery) == 0 && publishes_async {
                        delivery.bus().publish_async(numbered(1)).await.unwrap();
                    } else if number(&delivery) == 0 {
                        delivery.bus().publish(numbered(1)).unwrap();
                    }
                }
            };
            bus.subscribe("*").mailbox(1).overflow(Overflow::Block(WATCHDOG)).async_handler(handler).unwrap();
            bus.publish(numbered(0)).unwrap();
            let stats = quiet(&bus);
            assert_eq!((stats.deliveries.succeeded, stats.deliveries.dropped), (2, 2));
        });
    }
}

#[test]
fn a_handler_over_its_time_limit_is_cancelled_and_becomes_a_letter_of_that_kind() {
    let bus = EventBus::new();
    let (held, seen) = capture();
    let handler = move |delivery: OwnedDelivery| {
        let held = (delivery.attempt() == 1).then(|| Arc::clone(&held));
        async move {
            pending::<()>().await;
            drop(held);
        }
    };
    let subscription =
        bus.subscribe("*").subscriber_id("slow").time_limit(SHORT).async_handler(handler).unwrap();
    publish(&bus, "a.b");
    let stats = quiet(&bus);
    assert_eq!((stats.deliveries.dead_lettered, stats.subscribers["slow"].failed_attempts), (1, 1));
    assert_eq!(stats.subscribers["slow"].overran, 1);
    let letter = &bus.dead_letter_queue().letters()[0];
    assert_eq!((letter.kind(), letter.kind().as_str()), (DeadLetterKind::TimeLimit, "time_limit"));
    assert_eq!(letter.error_chain(), ["slow took longer than 20ms at a.b"]);
    subscription.unsubscribe_and_wait(WATCHDOG).unwrap();
    assert!(is_dropped(&seen), "the cancelled future is gone");
}

#[test]
fn a_synchronous_handler_over_its_time_limit_is_reported_while_it_runs() {
    let bus = EventBus::new();
    let weak = bus.downgrade();
    let handler = move |_: &codomyrmex_events::Delivery<'_>| {
        let overran = || weak.upgrade().unwrap().get_stats().subscribers["long"].overran;
        while overran() == 0 {
            std::thread::sleep(Duration::from_millis(1));
        }
    };
    bus.subscribe("*").subscriber_id("long").time_limit(SHORT).handler(handler).unwrap();
    let report = runtime(1).block_on(bus.publish_and_wait(event("a.b"))).unwrap();
    let [outcome] = report.outcomes() else { panic!("{report:?}") };
    assert_eq!(*outcome.ending(), DeliveryEnding::Succeeded, "nobody could stop it");
    let overran = outcome.overran().unwrap();
    assert_eq!((overran.subscriber_id(), overran.limit()), ("long", SHORT));
    assert!(outcome.took() >= SHORT);
}

#[test]
fn a_report_tells_who_handled_the_event_who_failed_and_why() {
    let bus = EventBus::new();
    bus.subscribe("a.*").subscriber_id("sync").handler(|_| ()).unwrap();
    bus.subscribe("a.*").subscriber_id("declines").filter(|_| false).handler(|_| ()).unwrap();
    bus.subscribe("a.*").subscriber_id("fails").attempts(2).handler(|_| Err::<(), _>("no luck")).unwrap();
    let naps = |_: OwnedDelivery| async { tokio::time::sleep(SHORT).await };
    bus.subscribe("a.*").subscriber_id("async").async_handler(naps).unwrap();
    let hangs = |_: OwnedDelivery| pending::<()>();
    bus.subscribe("a.*").subscriber_id("hangs").time_limit(SHORT).async_handler(hangs).unwrap();
    let panics = |_: OwnedDelivery| async { assert!(std::hint::black_box(false), "on purpose") };
    bus.subscribe("a.*").subscriber_id("panics").async_handler(panics).unwrap();
    let report = runtime(1).block_on(bus.publish_and_wait(event("a.b"))).unwrap();
    assert_eq!((report.sequence(), report.is_complete(), report.is_success()), (1, true, false));
    let ending = |id: &str| {
        let outcome = report.outcomes().iter().find(|outcome| outcome.subscriber_id() == id);
        outcome.map(|outcome| (outcome.ending().clone(), outcome.attempts()))
    };
    let failed = |error: &str| DeliveryEnding::Failed(vec![error.to_owned()]);
    assert_eq!(ending("sync"), Some((DeliveryEnding::Succeeded, 1)));
    assert_eq!(ending("declines"), None);
    assert_eq!(ending("fails"), Some((failed("no luck"), 2)));
    assert_eq!(ending("async"), Some((DeliveryEnding::Succeeded, 1)));
    assert_eq!(ending("hangs"), Some((DeliveryEnding::TimedOut, 1)));
    assert_eq!(ending("panics"), Some((failed("panicked: on purpose"), 1)));
    assert!(
        report.outcomes().iter().all(|outcome| outcome.subscriber_id() != "async" || outcome.took() >= SHORT)
    );
    let unheard = runtime(1).block_on(bus.publish_and_wait(event("nobody"))).unwrap();
    assert!(unheard.is_success() && unheard.outcomes().is_empty());
}

#[test]
fn an_unsubscription_waits_for_the_future_and_cancels_what_is_in_the_mailbox() {
    let bus = EventBus::new();
    let (gate, heard) = gated(&bus, 10, Overflow::default());
    let subscription = bus.subscription("gated").unwrap();
    occupy(&bus, &gate);
    for n in 1..4 {
        bus.publish(numbered(n)).unwrap();
    }
    assert!(subscription.unsubscribe_and_wait(SHORT).is_err(), "its future is there still");
    gate.add_permits(1);
    subscription.unsubscribe_and_wait(WATCHDOG).unwrap();
    let stats = quiet(&bus);
    assert_eq!((stats.deliveries.succeeded, stats.deliveries.cancelled), (1, 3));
    assert_eq!(*heard.lock().unwrap(), [0]);
    assert_eq!(Arc::strong_count(&gate), 1, "its captures are dropped");
}

#[test]
fn a_runtime_that_ends_first_cancels_deliveries_and_later_ones_too() {
    let runtime = runtime(1);
    let bus = EventBus::builder().runtime(runtime.handle().clone()).build().unwrap();
    let (gate, _) = gated(&bus, 10, Overflow::default());
    occupy(&bus, &gate);
    bus.publish(numbered(1)).unwrap();
    runtime.shutdown_timeout(WATCHDOG);
    assert_eq!(quiet(&bus).deliveries.cancelled, 2);
    bus.publish(numbered(2)).unwrap();
    assert_eq!(quiet(&bus).deliveries.cancelled, 3);
    let left = bus.subscription("gated").unwrap();
    left.unsubscribe_and_wait(WATCHDOG).unwrap();
    assert_eq!(Arc::strong_count(&gate), 1);
}

#[test]
fn shutting_down_gives_up_what_is_handled_and_what_waits_and_names_it() {
    let bus = EventBus::new();
    let (gate, _) = gated(&bus, 10, Overflow::default());
    occupy(&bus, &gate);
    bus.publish(numbered(1)).unwrap();
    let report = bus.shutdown(SHORT);
    assert_eq!(report.pending(), 2);
    let undelivered: Vec<_> =
        report.undelivered().iter().map(|left| (left.sequence(), left.subscriber_id())).collect();
    assert_eq!(undelivered, [(1, Some("gated")), (2, Some("gated"))]);
    assert_eq!(quiet(&bus).deliveries.cancelled, 2);
    drop(bus);
    while Arc::strong_count(&gate) > 1 {
        std::thread::yield_now();
    }
}

#[test]
fn the_last_handle_may_be_dropped_in_async_code_and_what_was_accepted_is_handled() {
    let runtime = runtime(1);
    let heard = Arc::new(Mutex::new(Vec::new()));
    let written = Arc::clone(&heard);
    let gate = Arc::new(Semaphore::new(0));
    let opened = Arc::clone(&gate);
    runtime.block_on(async move {
        let bus = EventBus::new();
        let handler = move |delivery: OwnedDelivery| {
            let (opened, written) = (Arc::clone(&opened), Arc::clone(&written));
            async move {
                opened.acquire().await.unwrap().forget();
                written.lock().unwrap().push(number(&delivery));
            }
        };
        bus.subscribe("*").async_handler(handler).unwrap();
        bus.publish(numbered(7)).unwrap();
        // It would wait for ever here, if it waited.
        drop(bus);
        gate.add_permits(1);
    });
    while heard.lock().unwrap().is_empty() {
        std::thread::yield_now();
    }
    assert_eq!(*heard.lock().unwrap(), [7]);
}

#[test]
fn a_once_subscription_is_claimed_by_one_event_and_retried_for_it() {
    let bus = EventBus::new();
    let heard = Arc::new(Mutex::new(Vec::new()));
    let written = Arc::clone(&heard);
    let handler = move |delivery: OwnedDelivery| {
        let written = Arc::clone(&written);
        async move {
            written.lock().unwrap().push((delivery.sequence(), delivery.attempt()));
            if delivery.attempt() < 3 { Err("again") } else { Ok(()) }
        }
    };
    let backoff = Backoff::exponential(Duration::from_millis(1), SHORT);
    bus.subscribe("*").once().attempts(3).backoff(backoff).async_handler(handler).unwrap();
    (0..3).for_each(|_| publish(&bus, "a.b"));
    assert_eq!(quiet(&bus).subscribers_count, 0);
    assert_eq!(*heard.lock().unwrap(), [(1, 1), (1, 2), (1, 3)]);
    watched("dropping the captures", move || {
        while Arc::strong_count(&heard) > 1 {
            std::thread::yield_now();
        }
    });
}

#[test]
fn correlation_and_causation_hold_at_every_poll_and_nowhere_else() {
    let bus = EventBus::new();
    let handler = |delivery: OwnedDelivery| async move {
        let id = delivery.correlation_id().cloned();
        tokio::task::yield_now().await;
        assert_eq!(codomyrmex_events::correlation::current(), id);
        delivery.bus().publish(event("answer")).unwrap();
    };
    bus.subscribe("a.*").concurrency(8).async_handler(handler).unwrap();
    let asked: Vec<Event> = (0..20)
        .map(|n| Event::builder("a.b", "test").correlation_id(format!("cid-{n}")).build().unwrap())
        .collect();
    let ids: Vec<_> = asked.iter().map(|event| event.event_id().clone()).collect();
    bus.publish_batch(asked);
    assert_eq!(quiet(&bus).deliveries.succeeded, 20);
    let answers = bus.history().query().event_type("answer").events().unwrap();
    assert_eq!(answers.len(), 20);
    for answer in answers {
        let event = answer.event();
        let cause = ids.iter().position(|id| Some(id) == event.causation_id()).unwrap();
        assert_eq!(event.correlation_id().unwrap().as_str(), format!("cid-{cause}"));
    }
}

#[test]
fn settings_that_cannot_be_are_refused_with_a_reason() {
    let bus = EventBus::new();
    let handler = |_: OwnedDelivery| async {};
    let refused = |error: codomyrmex_events::EventSubscriptionError| error.to_string();
    assert_eq!(
        refused(bus.subscribe("*").mailbox(0).async_handler(handler).unwrap_err()),
        "mailbox=0: must be from 1 to 1048576"
    );
    assert_eq!(
        refused(bus.subscribe("*").concurrency(5_000).async_handler(handler).unwrap_err()),
        "concurrency=5000: must be from 1 to 1024"
    );
    let error = bus.subscribe("*").concurrency(2).handler(|_| ()).unwrap_err();
    assert_eq!(*error.kind(), SubscriptionErrorKind::NotAsync { setting: "concurrency" });
    assert_eq!(bus.get_stats().subscribers_count, 0);
}

#[test]
fn a_delivery_that_somebody_keeps_does_not_keep_the_handlers_of_an_ended_bus() {
    let bus = EventBus::new();
    let kept = Arc::new(Mutex::new(None));
    let keeping = Arc::clone(&kept);
    let keeps = move |delivery: OwnedDelivery| {
        *keeping.lock().unwrap() = Some(delivery);
        async {}
    };
    bus.subscribe("*").async_handler(keeps).unwrap();
    publish(&bus, "a.b");
    quiet(&bus);
    drop(bus);
    assert_eq!(Arc::strong_count(&kept), 1, "the handler that captured it is gone");
    let delivery = kept.lock().unwrap().take().unwrap();
    assert_eq!(delivery.bus().publish(event("a.b")).unwrap_err().to_string(), "the bus is shut down");
}

/// A handler that never ends must not keep the bus and its threads for ever.
#[test]
fn dropping_the_last_handle_gives_up_what_does_not_end_within_the_limit() {
    let bus = EventBus::new();
    let (held, seen) = capture();
    let hangs = move |_: OwnedDelivery| {
        let held = Arc::clone(&held);
        async move {
            pending::<()>().await;
            drop(held);
        }
    };
    bus.subscribe("*").async_handler(hangs).unwrap();
    publish(&bus, "a.b");
    drop(bus);
    watched("giving up", move || {
        while !is_dropped(&seen) {
            std::thread::yield_now();
        }
    });
}

#[test]
fn a_handler_of_another_bus_is_no_reason_not_to_wait_for_a_mailbox() {
    let (outer, inner) = (EventBus::new(), EventBus::new());
    let heard = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&heard);
    let naps = move |_: OwnedDelivery| {
        let counted = Arc::clone(&counted);
        async move {
            tokio::time::sleep(Duration::from_millis(2)).await;
            counted.fetch_add(1, SeqCst);
        }
    };
    inner.subscribe("*").mailbox(1).overflow(Overflow::Block(WATCHDOG)).async_handler(naps).unwrap();
    let passes_on = inner.clone();
    outer.subscribe("*").handler(move |_| passes_on.publish(event("passed.on"))).unwrap();
    for _ in 0..10 {
        publish(&outer, "a.b");
    }
    assert_eq!((quiet(&inner).deliveries.dropped, heard.load(SeqCst)), (0, 10));
}

/// A handler awaits room in the lane that a worker keeps full while it waits for a place in the handler's own mailbox.
#[cfg(feature = "queued")]
#[test]
fn a_handler_never_waits_for_a_lane_that_waits_for_its_own_mailbox() {
    watched("a handler that fills its own lane", || {
        let builder = EventBus::builder().queued().max_workers(1).lanes(1).lane_room(1);
        let bus = builder.overflow(Overflow::Block(Duration::MAX)).build().unwrap();
        let refused = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&refused);
        let passes_on = move |delivery: OwnedDelivery| {
            let counted = Arc::clone(&counted);
            async move {
                if number(&delivery) > 0 {
                    for _ in 0..2 {
                        let again = numbered(number(&delivery) - 1);
                        counted.fetch_add(
                            usize::from(delivery.bus().publish_async(again).await.is_err()),
                            SeqCst,
                        );
                    }
                }
            }
        };
        bus.subscribe("*")
            .mailbox(1)
            .overflow(Overflow::Block(Duration::MAX))
            .async_handler(passes_on)
            .unwrap();
        for _ in 0..6 {
            bus.publish(numbered(3)).unwrap();
        }
        let stats = quiet(&bus);
        assert_eq!((stats.dropped, stats.deliveries.dropped), (0, 0));
        assert_eq!(
            (stats.deliveries.succeeded, stats.refused),
            (stats.accepted, refused.load(SeqCst) as u64)
        );
    });
}

#[test]
fn a_bus_can_be_shut_down_on_the_only_thread_that_its_handlers_have() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let bus = EventBus::builder().runtime(tokio::runtime::Handle::current()).build().unwrap();
        let naps = |_: OwnedDelivery| async { tokio::time::sleep(Duration::from_millis(1)).await };
        bus.subscribe("*").async_handler(naps).unwrap();
        for _ in 0..5 {
            publish(&bus, "a.b");
        }
        let report = bus.shutdown_async(WATCHDOG).await;
        assert!(report.is_complete() && report.undelivered().is_empty(), "{report:?}");
        assert_eq!(bus.get_stats().deliveries.succeeded, 5);
    });
}
