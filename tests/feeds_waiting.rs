//! Feeds that make publishers wait: how long, for whom, and what they hold meanwhile.

#![allow(clippy::unwrap_used, clippy::panic, reason = "in a test a panic is the report")]

#[path = "support/bus.rs"]
mod support;

use codomyrmex_events::{AsyncStream, EventBus, FeedItem, FeedOverflow, FeedReader, Overflow, OwnedDelivery};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Waker};
use std::thread;
use std::time::Duration;
use support::{event, publish, watched};

const LONG: Duration = Duration::from_secs(60);
const SHORT: Duration = Duration::from_millis(20);

/// A reader of everything for which there is one place.
fn reader(bus: &EventBus, patience: Duration) -> FeedReader {
    bus.feed("*").room(1).overflow(FeedOverflow::Block(patience)).open().unwrap().reader().unwrap()
}

/// A number, or a negative one for how many were missed.
fn next(reader: &mut FeedReader) -> Option<i64> {
    reader.try_next().map(|item| match item {
        FeedItem::Event(event) => event.sequence() as i64,
        FeedItem::Lagged(missed) => -(missed as i64),
        other => panic!("{other:?}"),
    })
}

/// What there is now.
fn taken(reader: &mut FeedReader) -> Vec<i64> {
    std::iter::from_fn(|| next(reader)).collect()
}

#[test]
fn the_patience_of_one_feed_is_not_cut_short_by_that_of_another() {
    let bus = EventBus::new();
    let mut short = reader(&bus, SHORT);
    let mut long = reader(&bus, LONG);
    publish(&bus, "a");
    let publisher = thread::spawn({
        let bus = bus.clone();
        move || publish(&bus, "a")
    });
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    thread::sleep(10 * SHORT);
    assert_eq!(bus.history().last_sequence(), 1, "it waits for the other");
    assert_eq!(next(&mut long), Some(1));
    publisher.join().unwrap();
    assert_eq!((taken(&mut short), taken(&mut long)), (vec![1, -1], vec![2]));

    publish(&bus, "a");
    let publisher = thread::spawn(move || runtime.block_on(bus.publish_async(event("a"))).unwrap());
    thread::sleep(10 * SHORT);
    assert_eq!(next(&mut long), Some(3), "async, the same");
    publisher.join().unwrap();
    assert_eq!((taken(&mut short), taken(&mut long)), (vec![3, -1], vec![4]));
}

#[test]
fn who_waits_for_room_in_a_lane_holds_no_place_in_a_feed() {
    let bus = EventBus::builder().queued().max_workers(1).lanes(1).lane_room(1).build().unwrap();
    let is_open = Arc::new(AtomicBool::new(false));
    let gate = Arc::clone(&is_open);
    let begun = Arc::new(AtomicU64::new(0));
    let begin = Arc::clone(&begun);
    bus.subscribe("slow")
        .handler(move |_| {
            begin.fetch_add(1, Ordering::SeqCst);
            while !gate.load(Ordering::SeqCst) {
                thread::yield_now();
            }
        })
        .unwrap();
    let mut reader = reader(&bus, LONG);
    publish(&bus, "slow");
    while begun.load(Ordering::SeqCst) == 0 {
        thread::yield_now();
    }
    assert_eq!(taken(&mut reader), [1]);
    publish(&bus, "slow");
    assert_eq!(taken(&mut reader), [2]);
    let mut context = Context::from_waker(Waker::noop());
    let mut waiting = pin!(bus.publish_async(event("slow")));
    assert!(waiting.as_mut().poll(&mut context).is_pending(), "the lane is full");
    assert_eq!(reader.watch().buffered(), 0);
    watched("a publish beside one who waits", {
        let bus = bus.clone();
        move || publish(&bus, "unheard")
    });
    assert_eq!(taken(&mut reader), [3]);
    is_open.store(true, Ordering::SeqCst);
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    assert_eq!(runtime.block_on(waiting).unwrap().sequence(), 4);
    assert_eq!(taken(&mut reader), [4]);
}

#[test]
fn a_delayed_event_waits_for_a_reader_and_holds_up_nothing() {
    let queued = || EventBus::builder().queued().max_workers(1).build().unwrap();
    for (kind, bus) in [("inline", EventBus::new()), ("queued", queued())] {
        let (heard, told) = std::sync::mpsc::channel();
        bus.subscribe("b").handler(move |_| heard.send(())).unwrap();
        let feed = bus.feed("a").room(1).overflow(FeedOverflow::Block(LONG)).open().unwrap();
        let mut reader = feed.reader().unwrap();
        publish(&bus, "a");
        bus.publish_later(event("a"), Duration::ZERO).unwrap();
        thread::sleep(SHORT);
        bus.publish_later(event("b"), Duration::ZERO).unwrap();
        told.recv_timeout(LONG / 2).unwrap_or_else(|_| panic!("{kind}: held up"));
        assert_eq!(taken(&mut reader), [1]);
        let second = std::iter::repeat_with(|| next(&mut reader)).inspect(|_| thread::yield_now());
        assert_eq!(second.flatten().next(), Some(3), "{kind}");
    }
}

#[test]
fn nobody_waits_for_the_consumer_of_a_subscription_that_has_ended() {
    let bus = EventBus::new();
    let stream = AsyncStream::attach(&bus);
    let id = stream.subscribe("*").buffer(1).overflow(FeedOverflow::Block(LONG)).open().unwrap();
    let items = stream.consume(id).unwrap();
    publish(&bus, "a");
    assert!(stream.unsubscribe(id));
    watched("a publish after unsubscribing", move || publish(&bus, "a"));
    drop(items);
}

/// A feed whose owner lets publishers wait does not take from a handler's owner that they wait for the handler.
#[test]
fn who_publishes_into_a_feed_waits_for_a_handler_as_well() {
    let bus = EventBus::new();
    let feed = bus.feed("*").room(100).overflow(FeedOverflow::Block(LONG)).open().unwrap();
    let (gate, opens) = tokio::sync::watch::channel(false);
    let slow = move |_: OwnedDelivery| {
        let mut opens = opens.clone();
        async move { opens.wait_for(|is_open| *is_open).await.map(drop) }
    };
    bus.subscribe("a").mailbox(1).overflow(Overflow::Block(LONG)).async_handler(slow).unwrap();
    let publisher = thread::spawn({
        let bus = bus.clone();
        move || (0..10).for_each(|_| publish(&bus, "a"))
    });
    // One is being handled, one is in the mailbox, and the third waits for a place, unless it was dropped.
    while bus.get_stats().deliveries.total < 3 {
        thread::yield_now();
    }
    gate.send(true).unwrap();
    publisher.join().unwrap();
    bus.flush(LONG).unwrap();
    let deliveries = bus.get_stats().deliveries;
    assert_eq!((deliveries.succeeded, deliveries.dropped), (10, 0));
    drop(feed);
}
