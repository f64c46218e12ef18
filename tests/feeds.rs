//! Feeds: recorded events in the order of their numbers, with every event accounted for.

#![allow(clippy::unwrap_used, clippy::panic, reason = "in a test a panic is the report")]

use codomyrmex_events::{
    Event, EventBus, EventBusBuilder, EventPublishError, FeedItem, FeedOverflow, FeedReader, Overflow,
};
use futures_core::Stream;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::Duration;

const LONG: Duration = Duration::from_secs(60);

fn event(event_type: &str) -> Event {
    Event::builder(event_type, "test").build().unwrap()
}

fn publish(bus: &EventBus, event_type: &str, times: usize) {
    for _ in 0..times {
        bus.publish(event(event_type)).unwrap();
    }
}

fn reader(bus: &EventBus, room: usize, overflow: FeedOverflow) -> FeedReader {
    bus.feed("build.*").room(room).overflow(overflow).open().unwrap().reader().unwrap()
}

/// What there is now: numbers, and negative ones for how many were missed.
fn taken(reader: &mut FeedReader) -> Vec<i64> {
    std::iter::from_fn(|| reader.try_next()).map(told).collect()
}

fn told(item: FeedItem) -> i64 {
    match item {
        FeedItem::Event(event) => event.sequence() as i64,
        FeedItem::Lagged(missed) => -(missed as i64),
        other => panic!("{other:?}"),
    }
}

/// The kinds of bus that events can be recorded on.
fn buses() -> [(&'static str, EventBus); 3] {
    let queued = |build: fn(EventBusBuilder) -> EventBusBuilder| build(EventBus::builder()).build().unwrap();
    [
        ("inline", EventBus::new()),
        ("without history", EventBus::builder().history(0).build().unwrap()),
        ("queued", queued(|builder| builder.max_workers(2).queued())),
    ]
}

#[test]
fn a_reader_gets_what_matches_and_was_numbered_after_it_joined() {
    for (kind, bus) in buses() {
        publish(&bus, "build.start", 3);
        let mut reader = reader(&bus, 10, FeedOverflow::DropOldest);
        assert_eq!(reader.joined_after(), 3, "{kind}");
        publish(&bus, "build.start", 2);
        publish(&bus, "deploy.start", 1);
        publish(&bus, "build.made_up", 1);
        assert_eq!(reader.watch().buffered(), 3);
        assert_eq!(taken(&mut reader), [4, 5, 7], "{kind}");
        let stats = bus.get_stats();
        assert_eq!(
            (stats.subscribers_count, stats.deliveries.total),
            (0, 0),
            "{kind}: it is no subscription"
        );
        assert!(bus.list_event_types().iter().all(|info| info.subscribers == 0));
    }
}

#[test]
fn what_is_missed_is_told_exactly_and_in_its_place() {
    let rows: [(FeedOverflow, &[i64]); 4] = [
        (FeedOverflow::DropOldest, &[-7, 8, 9, 10]),
        (FeedOverflow::DropNewest, &[1, 2, 3, -7]),
        (FeedOverflow::Block(Duration::ZERO), &[1, 2, 3, -7]),
        (FeedOverflow::Disconnect, &[-7]),
    ];
    for (overflow, expected) in rows {
        for (kind, bus) in buses() {
            let mut reader = reader(&bus, 3, overflow);
            publish(&bus, "build.start", 10);
            assert_eq!(reader.watch().buffered(), 3);
            assert_eq!(taken(&mut reader), expected, "{overflow:?}, {kind}");
            publish(&bus, "build.start", 1);
            let after: &[i64] = if overflow == FeedOverflow::Disconnect { &[] } else { &[11] };
            assert_eq!(taken(&mut reader), after, "{overflow:?}, {kind}");
        }
    }
}

#[test]
fn the_room_bounds_what_waits_for_a_reader_that_has_begun_to_read() {
    let bus = EventBus::new();
    for overflow in [FeedOverflow::DropOldest, FeedOverflow::DropNewest] {
        let mut reader = reader(&bus, 4, overflow);
        publish(&bus, "build.start", 4);
        let first = reader.joined_after() as i64 + 1;
        assert_eq!(reader.try_next().map(told), Some(first));
        publish(&bus, "build.start", 3);
        let rest = taken(&mut reader);
        let [a, b, c, d] = [first + 1, first + 2, first + 3, first + 4];
        match overflow {
            FeedOverflow::DropOldest => assert_eq!(rest, [-2, c, d, d + 1, d + 2]),
            _ => assert_eq!(rest, [a, b, c, d, -2]),
        }
    }
}

#[test]
fn readers_of_one_feed_have_their_own_places_in_it() {
    let bus = EventBus::new();
    let mut early = reader(&bus, 2, FeedOverflow::DropOldest);
    publish(&bus, "build.start", 1);
    let mut late = early.feed().reader().unwrap();
    publish(&bus, "build.start", 2);
    assert_eq!(taken(&mut early), [-1, 2, 3]);
    assert_eq!(taken(&mut late), [2, 3]);
    let own = bus.feed("*").overflow(FeedOverflow::DropNewest).open().unwrap();
    assert!(own.reader().is_some() && own.reader().is_none());
}

#[test]
fn a_publisher_waits_for_a_reader_that_makes_it_wait_and_for_no_other() {
    for (kind, bus) in buses() {
        let mut slow = reader(&bus, 1, FeedOverflow::Block(LONG));
        let lagging = reader(&bus, 1, FeedOverflow::DropOldest);
        let published = AtomicU64::new(0);
        thread::scope(|scope| {
            scope.spawn(|| {
                for _ in 0..100 {
                    published.store(bus.publish(event("build.start")).unwrap().sequence(), Ordering::SeqCst);
                }
            });
            for expected in 1..=100 {
                let next = futures_block_on(&mut slow);
                assert_eq!(next.map(told), Some(expected), "{kind}");
                assert!(published.load(Ordering::SeqCst) <= expected as u64 + 1, "{kind}: it has not waited");
            }
        });
        drop(lagging);
    }
}

/// Waits for the next item, blocking.
fn futures_block_on(reader: &mut FeedReader) -> Option<FeedItem> {
    struct Unpark(thread::Thread);
    impl std::task::Wake for Unpark {
        fn wake(self: std::sync::Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(std::sync::Arc::new(Unpark(thread::current())));
    loop {
        match Pin::new(&mut *reader).poll_next(&mut Context::from_waker(&waker)) {
            Poll::Ready(item) => return item,
            Poll::Pending => thread::park_timeout(LONG),
        }
    }
}

#[test]
fn async_publishers_wait_without_blocking_and_did_nothing_if_they_give_up() {
    for (kind, bus) in buses() {
        let mut slow = reader(&bus, 1, FeedOverflow::Block(LONG));
        publish(&bus, "build.start", 1);
        let mut waiting = pin!(bus.publish_async(event("build.start")));
        let mut context = Context::from_waker(Waker::noop());
        assert!(waiting.as_mut().poll(&mut context).is_pending(), "{kind}");
        {
            let mut given_up = Box::pin(bus.publish_async(event("build.start")));
            assert!(given_up.as_mut().poll(&mut context).is_pending(), "{kind}");
        }
        assert_eq!(bus.history().last_sequence(), 1, "{kind}");
        assert_eq!(taken(&mut slow), [1], "{kind}");
        let Poll::Ready(outcome) = waiting.as_mut().poll(&mut context) else {
            panic!("{kind}: there is room")
        };
        assert_eq!(outcome.unwrap().sequence(), 2);
        assert_eq!(taken(&mut slow), [2], "{kind}");
    }
}

#[test]
fn nobody_waits_for_a_reader_inside_a_handler() {
    let bus = EventBus::new();
    let mut slow = reader(&bus, 1, FeedOverflow::Block(LONG));
    bus.subscribe("start").handler(|delivery| publish(&delivery.bus(), "build.start", 3)).unwrap();
    publish(&bus, "start", 1);
    assert_eq!(taken(&mut slow), [2, -2]);
}

#[test]
fn who_waits_goes_on_when_the_reader_goes() {
    let bus = EventBus::new();
    let slow = reader(&bus, 1, FeedOverflow::Block(LONG));
    publish(&bus, "build.start", 1);
    thread::scope(|scope| {
        scope.spawn(|| publish(&bus, "build.start", 5));
        thread::yield_now();
        drop(slow);
    });
    assert_eq!(bus.history().last_sequence(), 6);
}

#[test]
fn a_slow_handler_holds_up_no_reader() {
    let bus = EventBus::new();
    let mut reader = reader(&bus, 10, FeedOverflow::DropOldest);
    let (is_running, may_end) = (AtomicBool::new(false), AtomicBool::new(false));
    thread::scope(|scope| {
        let (running, end): (&'static AtomicBool, &'static AtomicBool) =
            (Box::leak(Box::new(is_running)), Box::leak(Box::new(may_end)));
        bus.subscribe("build.slow")
            .handler(move |_| {
                running.store(true, Ordering::SeqCst);
                while !end.load(Ordering::SeqCst) {
                    thread::yield_now();
                }
            })
            .unwrap();
        scope.spawn(|| publish(&bus, "build.slow", 1));
        while !running.load(Ordering::SeqCst) {
            thread::yield_now();
        }
        publish(&bus, "build.start", 1);
        assert_eq!(taken(&mut reader), [1, 2]);
        let late = reader.feed().reader().unwrap();
        assert_eq!(late.joined_after(), 2);
        end.store(true, Ordering::SeqCst);
    });
}

#[test]
fn a_feed_ends_with_its_bus_and_what_is_in_it_can_be_taken() {
    for (kind, bus) in buses() {
        let mut reader = reader(&bus, 10, FeedOverflow::DropOldest);
        publish(&bus, "build.start", 2);
        bus.shutdown(LONG);
        assert!(matches!(bus.publish(event("build.start")), Err(EventPublishError { .. })));
        assert!(bus.feed("*").open().is_err());
        drop(bus);
        assert_eq!(futures_block_on(&mut reader).map(told), Some(1), "{kind}");
        assert_eq!(futures_block_on(&mut reader).map(told), Some(2), "{kind}");
        assert_eq!(futures_block_on(&mut reader).map(told), None, "{kind}");
    }
}

#[test]
fn a_feed_that_is_paused_ends_with_its_bus_too() {
    for (kind, bus) in buses() {
        let mut reader = reader(&bus, 10, FeedOverflow::DropOldest);
        let feed = reader.feed();
        publish(&bus, "build.start", 1);
        assert!(feed.pause() && feed.resume().is_ok() && feed.pause() && !feed.is_closed());
        thread::scope(|scope| {
            scope.spawn(|| {
                assert_eq!(futures_block_on(&mut reader).map(told), Some(1), "{kind}");
                assert_eq!(futures_block_on(&mut reader).map(told), None, "{kind}");
            });
            thread::sleep(Duration::from_millis(1));
            drop(bus);
        });
        assert!(feed.is_closed() && feed.resume().is_err());
    }
}

#[test]
fn a_reader_that_was_disconnected_takes_nothing_more() {
    let bus = EventBus::new();
    let mut reader = reader(&bus, 3, FeedOverflow::Disconnect);
    publish(&bus, "build.start", 10);
    assert_eq!(taken(&mut reader), [-7]);
    publish(&bus, "build.start", 2);
    assert!(taken(&mut reader).is_empty());
    let watch = reader.watch();
    assert_eq!((watch.delivered(), watch.dropped(), watch.buffered()), (0, 7, 0));
}

#[test]
fn a_refused_event_is_in_no_feed() {
    let (bus, driver) =
        EventBus::builder().lanes(1).lane_room(1).overflow(Overflow::Reject).manual().build().unwrap();
    bus.subscribe("*").handler(|_| {}).unwrap();
    let mut reader = reader(&bus, 10, FeedOverflow::DropOldest);
    publish(&bus, "build.start", 1);
    bus.publish(event("build.start")).unwrap_err();
    assert_eq!(taken(&mut reader), [1]);
    drop(driver);
}

/// Publishers at full speed, readers that join and leave at random times; every number is accounted for.
#[test]
fn readers_that_join_under_fire_account_for_every_event() {
    const PUBLISHERS: u64 = 3;
    const EVENTS: u64 = 30_000;
    let batches = |bus: &EventBus| drop(bus.publish_batch((0..10).map(|_| event("build.start"))));
    for (kind, bus) in buses() {
        let left = AtomicU64::new(PUBLISHERS);
        thread::scope(|scope| {
            for publisher in 0..PUBLISHERS {
                let (bus, left) = (&bus, &left);
                scope.spawn(move || {
                    for n in 0..EVENTS {
                        match (publisher, n % 10) {
                            (0, 0) => batches(bus),
                            (_, n) => publish(bus, if n % 2 == 0 { "build.x" } else { "build.start" }, 1),
                        }
                    }
                    left.fetch_sub(1, Ordering::SeqCst);
                });
            }
            for number in 0..4 {
                let (bus, left) = (&bus, &left);
                scope.spawn(move || {
                    let overflows = [FeedOverflow::DropOldest, FeedOverflow::DropNewest];
                    let shared = reader(bus, 64, FeedOverflow::DropOldest);
                    let mut round = 0;
                    while left.load(Ordering::SeqCst) > 0 {
                        round += 1;
                        let mut reader = match (number + round) % 3 {
                            2 => shared.feed().reader().unwrap(),
                            which => reader(bus, 1 << (round % 9), overflows[which]),
                        };
                        account(bus, &mut reader, 500, left, &format!("{kind}, reader {number}"));
                    }
                });
            }
        });
    }
}

/// Every event here matches, so numbers read and missed must be all there are.
fn account(bus: &EventBus, reader: &mut FeedReader, items: usize, left: &AtomicU64, kind: &str) {
    let (mut last, mut accounted) = (reader.joined_after(), reader.joined_after());
    let (mut taken, mut has_lagged) = (0, false);
    while taken < items {
        let was_over = left.load(Ordering::SeqCst) == 0;
        match reader.try_next() {
            Some(FeedItem::Event(event)) => {
                assert!(event.sequence() > last, "{kind}: {} after {last}", event.sequence());
                last = event.sequence();
                accounted += 1;
                taken += 1;
                assert!(
                    has_lagged || accounted == last,
                    "{kind}: nothing was missed, and {last} is not the next"
                );
            }
            Some(FeedItem::Lagged(missed)) => {
                accounted += missed;
                has_lagged = true;
            }
            Some(other) => panic!("{other:?}"),
            None if was_over => {
                assert_eq!(accounted, bus.history().last_sequence(), "{kind}");
                return;
            }
            None => thread::yield_now(),
        }
    }
}

#[test]
fn readers_that_wait_are_woken() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
    let bus = EventBus::new();
    let readers: Vec<_> = (0..50).map(|_| reader(&bus, 1_000, FeedOverflow::DropOldest)).collect();
    let tasks: Vec<_> = readers
        .into_iter()
        .map(|mut reader| {
            runtime.spawn(async move {
                for expected in 1..=1_000 {
                    let next = poll_fn(|context| Pin::new(&mut reader).poll_next(context)).await;
                    assert_eq!(next.map(told), Some(expected));
                }
            })
        })
        .collect();
    for _ in 0..1_000 {
        publish(&bus, "build.start", 1);
        thread::yield_now();
    }
    runtime.block_on(async {
        for task in tasks {
            task.await.unwrap();
        }
    });
}
