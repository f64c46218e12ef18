//! A stream of batches that is attached to a bus: on the clock of a manual bus, where it comes out exactly, and under real
//! concurrency; what the bus's accounting says of it, and that nobody waits for what waits for him.

#![allow(clippy::unwrap_used, clippy::panic, reason = "in a test a panic is the report")]

#[path = "support/batches.rs"]
mod batches;
#[path = "support/laws.rs"]
mod laws;
#[path = "support/bus.rs"]
mod support;

use batches::{Seen, number_of, numbered};
use codomyrmex_events::{
    Backoff, Batch, BatchTrigger, BatchingStream, BoxError, DeadLetterKind, Driver, Event, EventBus,
    FlushError, Overflow,
};
use serde_json::json;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;
use support::{WATCHDOG, capture, event, is_dropped, watched};

const SECOND: Duration = Duration::from_secs(1);
const MILLISECOND: Duration = Duration::from_millis(1);
const NEVER: Duration = Duration::from_secs(100_000);

fn manual() -> (EventBus, Driver) {
    EventBus::builder().manual().build().unwrap()
}

fn publish(bus: &EventBus, numbers: impl IntoIterator<Item = u64>) {
    for number in numbers {
        bus.publish(numbered(number)).unwrap();
    }
}

fn lawful(bus: &EventBus, stream: &BatchingStream) {
    laws::check(&bus.get_stats());
    let stats = stream.stats();
    assert_eq!((stats.added, stats.pending), (stats.delivered + stats.dead + stats.dropped, 0), "{stats:?}");
}

#[test]
fn the_interval_is_that_of_the_first_event_on_the_clock_of_the_bus() {
    let (bus, driver) = manual();
    let seen = Seen::default();
    let stream = BatchingStream::attach(&bus, "metric.*").count(3).on_batch(seen.handler()).unwrap();
    publish(&bus, [1]);
    driver.advance(MILLISECOND * 600);
    publish(&bus, [2]);
    driver.advance(MILLISECOND * 399);
    assert_eq!((seen.taken(), stream.stats().pending), (vec![], 2));
    driver.advance(MILLISECOND);
    assert_eq!(seen.taken(), [(vec![1, 2], BatchTrigger::Interval)]);

    // One that is full does not wait; the timer of the one before says nothing of the next.
    publish(&bus, 3..6);
    driver.run_until_idle();
    assert_eq!(seen.taken(), [(vec![3, 4, 5], BatchTrigger::Count)]);
    driver.advance(MILLISECOND * 999);
    publish(&bus, [6]);
    driver.advance(MILLISECOND * 999);
    assert_eq!(seen.taken(), []);
    driver.advance(MILLISECOND);
    assert_eq!(seen.taken(), [(vec![6], BatchTrigger::Interval)]);
    lawful(&bus, &stream);
    assert_eq!(bus.get_stats().deliveries.succeeded, 6);
}

#[test]
fn while_the_handler_is_busy_a_batch_that_is_due_may_grow() {
    let (bus, driver) = manual();
    let seen = Seen::default();
    let (noting, sleeping) = (seen.clone(), bus.downgrade());
    let handler = move |batch: Batch| {
        noting.note(&batch);
        let bus = sleeping.upgrade().unwrap();
        async move { bus.sleep(SECOND * 10).await }
    };
    let stream = BatchingStream::attach(&bus, "*").on_batch_async(handler).unwrap();
    publish(&bus, [1]);
    driver.advance(SECOND);
    publish(&bus, [2]);
    driver.advance(SECOND * 5);
    publish(&bus, [3]);
    driver.advance(SECOND * 5);
    let interval = BatchTrigger::Interval;
    assert_eq!(seen.taken(), [(vec![1], interval), (vec![2, 3], interval)], "it was due for long");
    driver.advance(SECOND * 10);
    lawful(&bus, &stream);
}

#[test]
fn who_waits_for_the_bus_to_be_quiet_does_not_wait_for_the_interval() {
    let (bus, driver) = manual();
    let seen = Seen::default();
    let stream = BatchingStream::attach(&bus, "*").interval(NEVER).on_batch(seen.handler()).unwrap();
    publish(&bus, [1, 2]);
    bus.flush(Duration::ZERO).unwrap();
    assert_eq!(seen.taken(), [(vec![1, 2], BatchTrigger::Flush)]);
    publish(&bus, [3]);
    driver.advance(SECOND);
    assert_eq!(seen.taken(), []);
    assert!(bus.shutdown(Duration::ZERO).is_complete());
    assert_eq!(seen.taken(), [(vec![3], BatchTrigger::Flush)]);
    lawful(&bus, &stream);
}

#[test]
fn buses_with_threads_flush_shut_down_and_are_dropped_with_a_half_full_batch() {
    for build in [EventBus::builder, || EventBus::builder().queued()] {
        watched("a bus with a half-full batch", move || {
            let bus = build().build().unwrap();
            let seen = Seen::default();
            let stream = BatchingStream::attach(&bus, "*").interval(NEVER).on_batch(seen.handler()).unwrap();
            publish(&bus, [1, 2]);
            bus.flush(WATCHDOG).unwrap();
            assert_eq!(seen.numbers(), [1, 2]);
            publish(&bus, [3]);
            assert!(bus.shutdown(WATCHDOG).is_complete());
            assert_eq!(seen.numbers(), [3]);
            lawful(&bus, &stream);

            let bus = build().build().unwrap();
            let stream = BatchingStream::attach(&bus, "*").interval(NEVER).on_batch(seen.handler()).unwrap();
            publish(&bus, [4]);
            drop(bus);
            assert_eq!(seen.numbers(), [4]);
            drop(stream);
        });
    }
}

#[test]
fn events_published_while_a_flush_waits_do_not_wait_for_the_interval() {
    let bus = EventBus::builder().queued().build().unwrap();
    let (began, begins) = mpsc::channel();
    let (let_go, goes) = mpsc::channel::<()>();
    let goes = Mutex::new(goes);
    let handler = move |batch: &Batch| {
        began.send(batch.iter().map(|event| number_of(event)).collect::<Vec<_>>()).unwrap();
        goes.lock().unwrap().recv().ok();
    };
    let stream = BatchingStream::attach(&bus, "*").interval(NEVER).on_batch(handler).unwrap();
    publish(&bus, [1]);
    let flushing = bus.clone();
    let flushed = std::thread::spawn(move || flushing.flush(WATCHDOG));
    assert_eq!(begins.recv_timeout(WATCHDOG).unwrap(), [1]);
    publish(&bus, [2]);
    let_go.send(()).unwrap();
    assert_eq!(begins.recv_timeout(WATCHDOG).unwrap(), [2]);
    drop(let_go);
    flushed.join().unwrap().unwrap();
    lawful(&bus, &stream);
}

#[test]
fn a_batch_that_fails_for_good_becomes_dead_letters_that_can_be_redriven_into_a_later_one() {
    let (bus, driver) = manual();
    let is_broken = Arc::new(AtomicBool::new(true));
    let broken = Arc::clone(&is_broken);
    let seen = Seen::default();
    let noting = seen.clone();
    let tries = Arc::new(Mutex::new(Vec::new()));
    let trying = Arc::clone(&tries);
    let handler = move |batch: &Batch| -> Result<(), BoxError> {
        trying.lock().unwrap().push((number_of(&batch[0]), batch.attempt()));
        if broken.load(SeqCst) {
            return Err("no space left".into());
        }
        noting.note(batch);
        Ok(())
    };
    let stream = BatchingStream::attach(&bus, "*")
        .count(2)
        .attempts(3)
        .backoff(Backoff::exponential(SECOND, SECOND * 10))
        .subscription(|subscription| subscription.subscriber_id("store"))
        .on_batch(handler)
        .unwrap();
    publish(&bus, 1..=3);
    driver.run_until_idle();
    driver.advance(MILLISECOND * 2_999);
    assert_eq!(tries.lock().unwrap()[..], [(1, 1), (1, 2)], "the next batch waits as well");
    driver.advance(MILLISECOND);
    assert_eq!(tries.lock().unwrap()[2..], [(1, 3), (3, 1)]);
    driver.advance(SECOND * 3);
    assert_eq!(tries.lock().unwrap()[4..], [(3, 2), (3, 3)]);
    lawful(&bus, &stream);
    let stats = bus.get_stats();
    assert_eq!((stats.deliveries.dead_lettered, stream.stats().dead), (3, 3));
    assert_eq!(stream.dead_batches().len(), 0, "they are the bus's to keep");

    let letters = bus.dead_letter_queue().letters();
    let first = &letters[0];
    assert_eq!((first.kind(), first.subscriber_id()), (DeadLetterKind::Handler, Some("store")));
    assert_eq!(first.error_chain(), ["a batch of 2 events failed, attempts: 3", "no space left"]);

    is_broken.store(false, SeqCst);
    let redriven = bus.dead_letter_queue().redrive_all(|_| true);
    assert!(redriven.iter().all(|(_, answer)| answer.is_ok()));
    driver.advance(SECOND);
    assert_eq!(
        seen.taken(),
        [(vec![1, 2], BatchTrigger::Count), (vec![3], BatchTrigger::Interval)],
        "they join the batches of their time"
    );
    assert!(bus.dead_letter_queue().is_empty());
    lawful(&bus, &stream);
}

#[test]
fn what_is_added_by_hand_is_kept_by_the_stream_and_what_the_bus_delivered_by_the_bus() {
    let (bus, driver) = manual();
    let stream =
        BatchingStream::attach(&bus, "*").attempts(1).on_batch(|_: &Batch| Err::<(), _>("no")).unwrap();
    stream.try_add(numbered(1)).unwrap();
    publish(&bus, [2]);
    driver.run_until_idle();
    stream.try_add(numbered(3)).unwrap();
    driver.advance(SECOND);
    let dead = stream.dead_batches();
    let own: Vec<u64> = dead.iter().flat_map(|dead| dead.events()).map(|event| number_of(event)).collect();
    assert_eq!((own, stream.stats().dead), (vec![1, 3], 3));
    let letters = bus.dead_letter_queue().letters();
    assert_eq!(letters.iter().map(|letter| number_of(letter.event())).collect::<Vec<_>>(), [2]);
    lawful(&bus, &stream);
}

#[test]
fn an_ended_delivery_leaves_its_batch() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
    let bus = EventBus::builder().runtime(runtime.handle().clone()).build().unwrap();
    let (began, begins) = mpsc::channel();
    let (let_go, goes) = mpsc::channel::<()>();
    let goes = Mutex::new(goes);
    let seen = Seen::default();
    let noting = seen.clone();
    let handler = move |batch: &Batch| {
        noting.note(batch);
        began.send(()).ok();
        goes.lock().unwrap().recv().ok();
    };
    let stream = BatchingStream::attach(&bus, "*").count(1).on_batch(handler).unwrap();
    publish(&bus, [1]);
    begins.recv_timeout(WATCHDOG).unwrap();
    publish(&bus, [2]);
    while stream.stats().added < 2 {
        std::thread::yield_now();
    }
    let report = bus.shutdown(Duration::from_millis(5));
    assert_eq!(report.undelivered().len(), 2);
    // Their futures are dropped by the runtime's other thread.
    stream.subscription().unwrap().unsubscribe_and_wait(WATCHDOG).unwrap();
    drop(let_go);
    watched("the batch that was handled", move || {
        while stream.stats().pending != 0 {
            std::thread::yield_now();
        }
        assert_eq!(seen.numbers(), [1], "what was reported as undelivered is not handled later");
        let stats = stream.stats();
        assert_eq!((stats.added, stats.delivered, stats.dropped), (2, 1, 1));
    });
}

#[test]
fn in_a_handler_of_the_bus_nobody_waits_for_the_stream() {
    let (bus, driver) = manual();
    let stream = BatchingStream::attach(&bus, "metric.*").count(1).room(1).on_batch(|_: &Batch| {}).unwrap();
    let (asking, answers) = (stream.clone(), Arc::new(Mutex::new(Vec::new())));
    let answer = Arc::clone(&answers);
    bus.subscribe("ask")
        .async_handler(move |_| {
            let (stream, answer) = (asking.clone(), Arc::clone(&answer));
            async move {
                let flushed = stream.flush(NEVER).await;
                stream.try_add(numbered(1)).unwrap();
                let is_refused = stream.add(numbered(2)).await.is_err();
                answer.lock().unwrap().push((flushed, is_refused));
            }
        })
        .unwrap();
    bus.publish(event("ask")).unwrap();
    driver.run_until_idle();
    assert_eq!(answers.lock().unwrap()[..], [(Err(FlushError::WouldDeadlock), true)]);
    lawful(&bus, &stream);
}

#[test]
fn the_handler_is_code_of_the_bus_and_what_it_publishes_is_heard() {
    let (bus, driver) = manual();
    let publishing = bus.downgrade();
    let flushes = Arc::new(Mutex::new(Vec::new()));
    let flushed = Arc::clone(&flushes);
    let stream = BatchingStream::attach(&bus, "metric.*")
        .on_batch(move |batch: &Batch| {
            let bus = publishing.upgrade().unwrap();
            bus.publish(Event::builder("report", "store").data(json!(batch.len())).build().unwrap()).unwrap();
            flushed.lock().unwrap().push(bus.flush(NEVER));
        })
        .unwrap();
    publish(&bus, [1, 2, 3]);
    driver.advance(SECOND);
    assert_eq!(flushes.lock().unwrap()[..], [Err(FlushError::WouldDeadlock)]);
    let reports = bus.history().query().event_type("report").events().unwrap();
    assert_eq!(reports[0].data().value().unwrap(), &json!(3));
    assert_eq!(reports[0].causation_id(), None, "a batch has no one cause");
    lawful(&bus, &stream);
}

#[test]
fn a_stop_and_a_drop_unsubscribe_and_handle_what_was_heard() {
    let (bus, driver) = manual();
    let seen = Seen::default();
    let stream = BatchingStream::attach(&bus, "*").on_batch(seen.handler()).unwrap();
    assert_eq!(bus.subscriptions().len(), 1);
    publish(&bus, [1]);
    driver.run_until_idle();
    assert!(driver.block_on(stream.stop(NEVER)).unwrap().is_complete());
    assert_eq!(seen.numbers(), [1]);
    assert_eq!(bus.subscriptions().len(), 0);
    publish(&bus, [2]);
    assert!(stream.start());
    stream.try_add(numbered(3)).unwrap();
    driver.advance(SECOND);
    assert_eq!(seen.numbers(), [3], "a started one takes what is added, and hears no more");
    lawful(&bus, &stream);

    let (value, held) = capture();
    let handler = seen.handler();
    let stream = BatchingStream::attach(&bus, "*")
        .on_batch(move |batch: &Batch| {
            let _held = &value;
            handler(batch);
        })
        .unwrap();
    publish(&bus, [4, 5]);
    driver.run_until_idle();
    drop(stream);
    assert_eq!(bus.subscriptions().len(), 0);
    driver.run_until_idle();
    assert_eq!(seen.numbers(), [4, 5]);
    assert!(is_dropped(&held));
    laws::check(&bus.get_stats());
}

#[test]
fn a_stream_keeps_no_bus_alive_and_outlives_it() {
    for is_queued in [false, true] {
        watched("the end", move || {
            let builder = EventBus::builder();
            let bus = if is_queued { builder.queued() } else { builder }.build().unwrap();
            let weak = bus.downgrade();
            let stream = BatchingStream::attach(&bus, "*").interval(NEVER).on_batch(|_: &Batch| {}).unwrap();
            publish(&bus, [1]);
            drop(bus);
            assert!(weak.upgrade().is_none());
            assert_eq!((stream.stats().delivered, stream.stats().pending), (1, 0));
            while stream.is_started() {
                std::thread::yield_now();
            }
            assert!(stream.try_add(numbered(2)).is_err());
        });
    }
}

#[test]
fn order_is_kept_from_a_source_to_its_batches_whatever_the_threads_do() {
    const SOURCES: u64 = 4;
    const EACH: u64 = 5_000;
    for build in [EventBus::builder, || EventBus::builder().queued()] {
        let bus = build().overflow(Overflow::Block(WATCHDOG)).build().unwrap();
        let seen = Seen::default();
        let noting = seen.clone();
        let calls = AtomicU64::new(0);
        let handler = move |batch: Batch| {
            let (noting, call) = (noting.clone(), calls.fetch_add(1, SeqCst));
            async move {
                if call.is_multiple_of(3) {
                    tokio::task::yield_now().await;
                }
                noting.note(&batch);
            }
        };
        let stream = BatchingStream::attach(&bus, "metric.*")
            .count(16)
            .interval(MILLISECOND)
            .subscription(|subscription| subscription.overflow(Overflow::Block(WATCHDOG)))
            .on_batch_async(handler)
            .unwrap();
        std::thread::scope(|scope| {
            for source in 0..SOURCES {
                let bus = &bus;
                scope.spawn(move || {
                    for number in 0..EACH {
                        let event = Event::builder("metric.update", format!("s{source}"));
                        bus.publish(event.data(json!(source * EACH + number)).build().unwrap()).unwrap();
                    }
                });
            }
        });
        bus.flush(WATCHDOG).unwrap();
        let batches = seen.taken();
        assert!(batches.iter().all(|(numbers, _)| numbers.len() <= 16));
        let numbers: Vec<u64> = batches.into_iter().flat_map(|(numbers, _)| numbers).collect();
        assert_eq!(numbers.len() as u64, SOURCES * EACH);
        for source in 0..SOURCES {
            let of_source: Vec<u64> =
                numbers.iter().copied().filter(|number| number / EACH == source).collect();
            assert!(of_source.into_iter().eq(source * EACH..(source + 1) * EACH), "in order, each once");
        }
        lawful(&bus, &stream);
    }
}
