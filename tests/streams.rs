//! `AsyncStream`: replay then live, without a gap and without an event twice; beginnings and ends in any order.

#![allow(clippy::unwrap_used, clippy::panic, reason = "in a test a panic is the report")]

use codomyrmex_events::{
    AsyncStream, ConsumeError, Event, EventBus, FeedOverflow, StreamConsumer, StreamId, StreamItem,
    StreamStart, Timestamp,
};
use futures_util::{FutureExt, StreamExt};
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
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

/// Numbers; what is no event as a word.
fn told(item: StreamItem) -> String {
    match item {
        StreamItem::Event(event) => event.sequence().to_string(),
        StreamItem::Heartbeat => "heartbeat".to_owned(),
        StreamItem::Lagged(missed) => format!("lagged {missed}"),
        StreamItem::Reset => "reset".to_owned(),
        other => panic!("{other:?}"),
    }
}

/// What there is now, in one line; `end` if that was all.
fn taken(items: &mut StreamConsumer) -> String {
    let mut all = Vec::new();
    loop {
        match items.next().now_or_never() {
            Some(Some(item)) => all.push(told(item)),
            Some(None) => all.push("end".to_owned()),
            None => return all.join(" "),
        }
        if all.last().is_some_and(|last| last == "end") {
            return all.join(" ");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_of_its_own_is_published_to_and_consumed() {
    let stream = AsyncStream::new();
    let id = stream.subscribe("build.*").open().unwrap();
    let mut items = stream.consume(id).unwrap();
    let consumer = tokio::spawn(async move {
        let mut seen = Vec::new();
        while let Some(item) = StreamExt::next(&mut items).await {
            seen.push(told(item));
        }
        seen
    });
    for event_type in ["build.start", "deploy.start", "build.complete"] {
        stream.publish(event(event_type)).await.unwrap();
    }
    stream.stop();
    assert_eq!(consumer.await.unwrap(), ["1", "3"]);
    let refused = stream.publish(event("build.start")).await.unwrap_err();
    assert!(refused.event().is_some());
}

#[test]
fn each_start_goes_on_without_a_gap() {
    // (history, start, items: six publications before, two after)
    let time = |second: i64| Timestamp::from_unix_nanos(second * 1_000_000_000);
    let rows = [
        (100, StreamStart::Now, "9 10"),
        (100, StreamStart::Sequence(0), "1 3 5 7 9 10"),
        (100, StreamStart::Sequence(4), "5 7 9 10"),
        (100, StreamStart::Sequence(10), "10"),
        (100, StreamStart::Sequence(8), "9 10"),
        (100, StreamStart::Time(time(5)), "5 7 9 10"),
        (100, StreamStart::Time(time(99)), "9 10"),
        (100, StreamStart::Last(2), "5 7 9 10"),
        (100, StreamStart::Last(0), "9 10"),
        (100, StreamStart::Last(usize::MAX), "1 3 5 7 9 10"),
        (3, StreamStart::Sequence(2), "lagged 4 7 9 10"),
        (3, StreamStart::Sequence(6), "7 9 10"),
        (3, StreamStart::Time(time(1)), "lagged 5 7 9 10"),
        (3, StreamStart::Time(time(7)), "7 9 10"),
        (3, StreamStart::Last(5), "7 9 10"),
        (0, StreamStart::Sequence(3), "lagged 6 9 10"),
        (0, StreamStart::Now, "9 10"),
        (0, StreamStart::Last(3), "9 10"),
    ];
    for (history, start, expected) in rows {
        let bus = EventBus::builder().history(history).build().unwrap();
        let stamped = |second: i64, event_type: &str| {
            Event::builder(event_type, "test").timestamp(time(second)).build().unwrap()
        };
        for second in 1..=8 {
            let event_type = if second % 2 == 1 { "build.start" } else { "deploy.start" };
            bus.publish(stamped(second, event_type)).unwrap();
        }
        let stream = AsyncStream::attach(&bus);
        let id = stream.subscribe("build.*").start(start.clone()).open().unwrap();
        publish(&bus, "build.start", 2);
        let mut items = stream.consume(id).unwrap();
        assert_eq!(taken(&mut items), expected, "history {history}, {start:?}");
    }
}

#[test]
fn a_token_resumes_on_its_bus_and_resets_on_another() {
    let bus = EventBus::builder().history(4).build().unwrap();
    let stream = AsyncStream::attach(&bus);
    let id = stream.subscribe("*").open().unwrap();
    publish(&bus, "a", 3);
    let mut items = stream.consume(id).unwrap();
    assert_eq!(items.token().unwrap().sequence(), 0);
    items.next().now_or_never().unwrap().unwrap();
    let token = items.token().unwrap();
    assert_eq!(token, format!("{}-1", bus.id()).parse().unwrap());
    let resumed = |bus: &EventBus, token: &str| {
        let stream = AsyncStream::attach(bus);
        let start = StreamStart::After(token.parse().unwrap());
        let id = stream.subscribe("*").start(start).open().unwrap();
        taken(&mut stream.consume(id).unwrap())
    };
    assert_eq!(resumed(&bus, &token.to_string()), "2 3");
    publish(&bus, "a", 3);
    assert_eq!(resumed(&bus, &token.to_string()), "lagged 1 3 4 5 6");
    assert_eq!(resumed(&bus, &format!("{}-6", bus.id())), "");
    assert_eq!(resumed(&bus, &format!("{}-7", bus.id())), "reset 3 4 5 6", "a number that was never given");
    let other = EventBus::new();
    publish(&other, "a", 2);
    assert_eq!(resumed(&other, &token.to_string()), "reset 1 2");
    assert_ne!(bus.id(), other.id());
}

#[test]
fn what_was_accepted_is_consumed_whatever_ends_first() {
    type End = fn(EventBus, AsyncStream, StreamId);
    let ends: [(&str, End); 4] = [
        ("stop", |_, stream, _| stream.stop()),
        ("unsubscribe", |_, stream, id| assert!(stream.unsubscribe(id))),
        ("drop of the stream", |_, stream, _| drop(stream)),
        ("shutdown of the bus", |bus, _, _| drop(bus.shutdown(LONG))),
    ];
    for overflow in [FeedOverflow::DropOldest, FeedOverflow::DropNewest, FeedOverflow::BLOCK] {
        for (name, end) in ends {
            let bus = EventBus::new();
            publish(&bus, "a", 1);
            let stream = AsyncStream::attach(&bus);
            let start = StreamStart::Sequence(1);
            let id = stream.subscribe("*").start(start).overflow(overflow).open().unwrap();
            let other = stream.subscribe("*").overflow(overflow).open().unwrap();
            publish(&bus, "a", 2);
            let mut items = stream.consume(id).unwrap();
            items.next().now_or_never().unwrap();
            let keep = (bus.clone(), stream.clone());
            end(bus, stream, id);
            let (bus, stream) = keep;
            if name != "drop of the stream" {
                let _ = bus.publish(event("a"));
                assert_eq!(taken(&mut items), "2 3 end", "{name}, {overflow:?}");
            }
            drop(stream);
            let _ = bus.publish(event("a"));
            let rest = taken(&mut items);
            assert!(["2 3 end", "end"].contains(&rest.as_str()), "{name}, {overflow:?}: {rest}");
            let _ = other;
        }
    }
}

#[test]
fn a_stream_that_was_stopped_goes_on_when_it_is_started() {
    let bus = EventBus::new();
    let stream = AsyncStream::attach(&bus);
    for overflow in [FeedOverflow::DropOldest, FeedOverflow::DropNewest] {
        let id = stream.subscribe("*").overflow(overflow).open().unwrap();
        let before = bus.history().last_sequence();
        publish(&bus, "a", 2);
        stream.stop();
        assert!(stream.is_stopped() && stream.subscribe("*").open().is_err());
        publish(&bus, "a", 1);
        stream.start().unwrap();
        publish(&bus, "a", 1);
        let mut items = stream.consume(id).unwrap();
        assert_eq!(taken(&mut items), format!("{} {} {}", before + 1, before + 2, before + 4));
        stream.stop();
        assert_eq!(taken(&mut items), "end");
        stream.start().unwrap();
        publish(&bus, "a", 1);
        assert_eq!(taken(&mut items), (before + 5).to_string());
    }
}

#[test]
fn a_subscription_has_one_consumer_at_a_time_and_loses_nothing_between_two() {
    let bus = EventBus::new();
    let stream = AsyncStream::attach(&bus);
    let id = stream.subscribe("*").start(StreamStart::Sequence(1)).open().unwrap();
    publish(&bus, "a", 3);
    let mut items = stream.consume(id).unwrap();
    assert_eq!(stream.consume(id).unwrap_err(), ConsumeError::InUse(id));
    items.next().now_or_never().unwrap();
    drop(items);
    let mut items = stream.consume(id).unwrap();
    assert_eq!(taken(&mut items), "2 3");
    let stats = stream.stats(id).unwrap();
    assert_eq!((stats.delivered, stats.dropped, stats.buffered), (3, 0, 0));
    publish(&bus, "a", 150);
    let stats = stream.stats(id).unwrap();
    assert_eq!((stats.delivered, stats.dropped, stats.buffered), (3, 50, 100));
    assert!(stream.unsubscribe(id) && !stream.unsubscribe(id));
    drop(items);
    assert_eq!(stream.consume(id).unwrap_err(), ConsumeError::NoSuchSubscription(id));
    assert!(stream.stats(id).is_none() && stream.subscriptions().is_empty());
}

#[test]
fn who_is_too_slow_is_disconnected_if_that_is_the_policy() {
    let bus = EventBus::new();
    let stream = AsyncStream::attach(&bus);
    let id = stream.subscribe("*").buffer(2).overflow(FeedOverflow::Disconnect).open().unwrap();
    let mut items = stream.consume(id).unwrap();
    publish(&bus, "a", 2);
    assert_eq!(taken(&mut items), "1 2");
    publish(&bus, "a", 5);
    assert_eq!(taken(&mut items), "lagged 3 end");
    assert!(stream.subscriptions().is_empty());
}

#[test]
fn heartbeats_come_after_quiet_and_only_then() {
    let (bus, driver) = EventBus::builder().manual().build().unwrap();
    let stream = AsyncStream::builder().heartbeat(Some(Duration::from_secs(10))).attach(&bus);
    let id = stream.subscribe("*").open().unwrap();
    let silent = stream.subscribe("*").heartbeat(None).open().unwrap();
    let (mut items, mut silent) = (stream.consume(id).unwrap(), stream.consume(silent).unwrap());
    let seconds = |seconds| driver.advance(Duration::from_secs(seconds));
    assert_eq!(taken(&mut items), "");
    seconds(9);
    assert_eq!(taken(&mut items), "");
    seconds(1);
    assert_eq!(taken(&mut items), "heartbeat");
    seconds(6);
    publish(&bus, "a", 1);
    assert_eq!(taken(&mut items), "1");
    seconds(9);
    assert_eq!(taken(&mut items), "", "it counts from the last item");
    seconds(1);
    assert_eq!(taken(&mut items), "heartbeat");
    seconds(25);
    assert_eq!(taken(&mut items), "heartbeat", "one for all the time that nobody asked");
    assert_eq!(taken(&mut silent), "1");
}

#[test]
fn a_stream_keeps_no_bus_alive() {
    let bus = EventBus::new();
    let stream = AsyncStream::attach(&bus);
    let id = stream.subscribe("*").open().unwrap();
    publish(&bus, "a", 1);
    let mut items = stream.consume(id).unwrap();
    let weak = bus.downgrade();
    drop(bus);
    assert!(weak.upgrade().is_none());
    assert_eq!(taken(&mut items), "1 end");
    assert!(items.token().is_none() && stream.start().is_err());
    assert!(stream.publish(event("a")).now_or_never().unwrap().is_err());
}

/// Publishers at full speed; hundreds of streams that join at random times, each with another start; each accounts for every
/// number from its start to the end.
#[test]
fn replay_under_fire_has_no_gap_and_nothing_twice() {
    const PUBLISHERS: u64 = 2;
    const STREAMS: usize = 300;
    for build in ["inline", "queued"] {
        let builder = EventBus::builder().history(500);
        let bus = if build == "queued" { builder.queued().max_workers(2) } else { builder }.build().unwrap();
        let stream = AsyncStream::builder().heartbeat(None).attach(&bus);
        let stop = AtomicU64::new(0);
        let opened: Vec<_> = thread::scope(|scope| {
            for _ in 0..PUBLISHERS {
                scope.spawn(|| {
                    while stop.load(Ordering::Relaxed) == 0 {
                        publish(&bus, "build.start", 1);
                    }
                });
            }
            let opened = (0..STREAMS).map(|number| {
                let before = bus.history().last_sequence();
                let start = match number % 5 {
                    0 => StreamStart::Now,
                    1 => StreamStart::Sequence(before.saturating_sub(300)),
                    2 => StreamStart::Last(50),
                    3 => StreamStart::Time(Timestamp::now()),
                    _ => StreamStart::After(stream.token(before.saturating_sub(2_000)).unwrap()),
                };
                let overflow = [FeedOverflow::DropOldest, FeedOverflow::DropNewest][number % 2];
                let buffer = 1 << (number % 12);
                let id = stream
                    .subscribe("*")
                    .start(start.clone())
                    .buffer(buffer)
                    .overflow(overflow)
                    .open()
                    .unwrap();
                let mut items = stream.consume(id).unwrap();
                let read: Vec<_> =
                    std::iter::from_fn(|| items.next().now_or_never().flatten()).take(number).collect();
                drop(items);
                (id, start, read)
            });
            let opened = opened.collect();
            stop.store(1, Ordering::Relaxed);
            opened
        });
        let last = bus.history().last_sequence();
        stream.stop();
        for (id, start, mut read) in opened {
            let mut items = stream.consume(id).unwrap();
            read.extend(std::iter::from_fn(|| items.next().now_or_never().unwrap()));
            account(&start, &read, last, build);
        }
    }
}

/// Checks that the numbers rise, and that what was read and what was missed is all from the start on.
fn account(start: &StreamStart, read: &[StreamItem], last: u64, kind: &str) {
    let mut numbers = Vec::new();
    let mut missed = 0;
    for item in read {
        match item {
            StreamItem::Event(event) => numbers.push(event.sequence()),
            StreamItem::Lagged(n) => missed += n,
            other => panic!("{other:?}"),
        }
    }
    assert!(numbers.is_sorted_by(|a, b| a < b), "{kind}, {start:?}: {numbers:?}");
    let unique: BTreeSet<_> = numbers.iter().collect();
    let total = unique.len() as u64 + missed;
    match start {
        StreamStart::Sequence(first) => assert_eq!(total, last + 1 - (*first).max(1), "{kind}, {start:?}"),
        StreamStart::After(token) => assert_eq!(total, last - token.sequence(), "{kind}, {start:?}"),
        // The others begin at a number that only the stream knows: nothing may be missing from its first on.
        _ if missed == 0 && !numbers.is_empty() => {
            assert_eq!(total, last + 1 - numbers[0], "{kind}, {start:?}");
        }
        _ => {}
    }
}

/// `next` and `publish` are dropped at any time, and nothing is lost or comes twice.
#[test]
fn giving_up_at_any_time_loses_nothing() {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_time().build().unwrap();
    runtime.block_on(async {
        let stream = AsyncStream::new();
        let id = stream.subscribe("*").buffer(3).overflow(FeedOverflow::Block(LONG)).open().unwrap();
        let mut items = stream.consume(id).unwrap();
        let publishing = stream.clone();
        let publisher = tokio::spawn(async move {
            let mut accepted = Vec::new();
            for number in 0..3_000_u64 {
                let limit = Duration::from_micros(number % 40);
                if let Ok(outcome) = tokio::time::timeout(limit, publishing.publish(event("a"))).await {
                    accepted.push(outcome.unwrap().sequence());
                }
            }
            publishing.stop();
            accepted
        });
        let mut seen = Vec::new();
        let mut round = 0_u64;
        loop {
            round += 1;
            let limit = Duration::from_micros(round % 30);
            match tokio::time::timeout(limit, items.next()).await {
                Err(_) => {}
                Ok(None) => break,
                Ok(Some(StreamItem::Event(event))) => seen.push(event.sequence()),
                Ok(Some(other)) => panic!("{other:?}"),
            }
        }
        let accepted = publisher.await.unwrap();
        assert!(!accepted.is_empty());
        assert_eq!(seen, (1..=*seen.last().unwrap()).collect::<Vec<_>>(), "numbers without a gap");
        assert_eq!(seen.len(), accepted.len());
    });
}
