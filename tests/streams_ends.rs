//! How streams and their subscriptions end, and where their consumers stand.

#![allow(clippy::unwrap_used, clippy::panic, reason = "in a test a panic is the report")]

#[path = "support/bus.rs"]
mod support;

use codomyrmex_events::{AsyncStream, EventBus, FeedOverflow, StreamConsumer, StreamItem, StreamStart};
use futures_util::FutureExt;
use std::thread;
use std::time::Duration;
use support::publish;

fn publish_all(bus: &EventBus, times: usize) {
    (0..times).for_each(|_| publish(bus, "a"));
}

/// What there is now: numbers, negative ones for how many were missed, and 0 for the end.
fn taken(items: &mut StreamConsumer) -> Vec<i64> {
    let mut all = Vec::new();
    while all.last() != Some(&0)
        && let Some(item) = items.next().now_or_never()
    {
        all.push(match item {
            Some(StreamItem::Event(event)) => event.sequence() as i64,
            Some(StreamItem::Lagged(missed)) => -(missed as i64),
            None => 0,
            other => panic!("{other:?}"),
        });
    }
    all
}

#[test]
fn what_comes_after_a_subscription_has_ended_displaces_nothing() {
    let overflows = [
        FeedOverflow::DropOldest,
        FeedOverflow::DropNewest,
        FeedOverflow::Disconnect,
        FeedOverflow::Block(Duration::ZERO),
    ];
    for overflow in overflows {
        let bus = EventBus::new();
        let stream = AsyncStream::attach(&bus);
        let subscribe = || stream.subscribe("*").buffer(3).overflow(overflow).open().unwrap();
        let id = subscribe();
        let mut items = stream.consume(id).unwrap();
        publish_all(&bus, 3);
        assert!(stream.unsubscribe(id));
        publish_all(&bus, 2);
        let next = subscribe();
        stream.start().unwrap();
        publish_all(&bus, 1);
        assert_eq!(taken(&mut items), [1, 2, 3, 0], "{overflow:?}");
        assert_eq!(taken(&mut stream.consume(next).unwrap()), [6], "{overflow:?}");
    }
}

#[test]
fn a_subscription_that_shares_its_feed_leaves_it_to_the_others() {
    let bus = EventBus::new();
    let stream = AsyncStream::attach(&bus);
    let [one, other] = [(); 2].map(|()| stream.subscribe("*").open().unwrap());
    publish_all(&bus, 1);
    let mut items = stream.consume(one).unwrap();
    assert!(stream.unsubscribe(one));
    publish_all(&bus, 1);
    assert_eq!(taken(&mut items), [1, 0]);
    assert_eq!(taken(&mut stream.consume(other).unwrap()), [1, 2]);
}

#[test]
fn stopping_and_starting_at_the_same_time_ends_in_one_of_the_two() {
    for _ in 0..2_000 {
        let bus = EventBus::new();
        let stream = AsyncStream::attach(&bus);
        let id = stream.subscribe("*").open().unwrap();
        thread::scope(|scope| {
            scope.spawn(|| (0..5).for_each(|_| stream.stop()));
            scope.spawn(|| (0..5).for_each(|_| stream.start().unwrap()));
        });
        publish_all(&bus, 1);
        let is_in = stream.stats(id).unwrap().buffered == 1;
        assert_eq!(is_in, !stream.is_stopped());
    }
}

#[test]
fn nothing_can_be_subscribed_to_on_a_bus_that_is_shut_down() {
    let bus = EventBus::new();
    let stream = AsyncStream::attach(&bus);
    stream.subscribe("a").open().unwrap();
    bus.shutdown(Duration::ZERO);
    for pattern in ["a", "b"] {
        assert!(stream.subscribe(pattern).open().is_err(), "{pattern}");
    }
}

#[test]
fn a_token_from_before_the_first_item_leads_to_the_same_items() {
    let bus = EventBus::builder().history(5).build().unwrap();
    publish_all(&bus, 10);
    let stream = AsyncStream::attach(&bus);
    let items = |start| {
        let id = stream.subscribe("*").start(start).open().unwrap();
        let mut items = stream.consume(id).unwrap();
        let token = items.token().unwrap();
        (token, taken(&mut items))
    };
    let token = |sequence| StreamStart::After(stream.token(sequence).unwrap());
    for start in
        [StreamStart::Last(2), StreamStart::Last(0), StreamStart::Sequence(3), StreamStart::Now, token(2)]
    {
        let (token, first) = items(start.clone());
        assert_eq!(items(StreamStart::After(token)).1, first, "{start:?}");
    }
}
