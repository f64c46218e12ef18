//! Other people's code in feeds, destructors and wakers: it may use the bus, and its panics harm nobody.

#![allow(clippy::unwrap_used, clippy::panic, reason = "in a test a panic is the report")]

use codomyrmex_events::{Event, EventBus, FeedItem, FeedOverflow, FeedReader, Payload, Subscription};
use futures_core::Stream;
use serde::{Serialize, Serializer};
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Wake, Waker};
use std::time::Duration;

/// A payload that does something when it is dropped.
struct Dropping<F: Fn()>(F);

impl<F: Fn()> Serialize for Dropping<F> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_unit()
    }
}

impl<F: Fn()> Drop for Dropping<F> {
    fn drop(&mut self) {
        self.0();
    }
}

fn publish(bus: &EventBus, then: impl Fn() + Send + Sync + 'static) {
    let event = Event::builder("a", "test").data(Payload::typed(Dropping(then))).build().unwrap();
    bus.publish(event).unwrap();
}

fn reader(bus: &EventBus, room: usize, overflow: FeedOverflow) -> FeedReader {
    bus.feed("*").room(room).overflow(overflow).open().unwrap().reader().unwrap()
}

#[test]
fn a_destructor_that_panics_harms_no_reader() {
    for overflow in [FeedOverflow::DropOldest, FeedOverflow::DropNewest] {
        let bus = EventBus::builder().history(0).build().unwrap();
        let mut reader = reader(&bus, 4, overflow);
        let dropped = Arc::new(AtomicU64::new(0));
        let publish = |times| {
            for _ in 0..times {
                let dropped = Arc::clone(&dropped);
                publish(&bus, move || {
                    dropped.fetch_add(1, Ordering::SeqCst);
                    panic!("a destructor");
                });
            }
        };
        publish(4);
        // It has the others at hand, and loses some of them to those that come.
        let first = reader.try_next();
        if overflow == FeedOverflow::DropOldest {
            publish(3);
            assert!(matches!(reader.try_next(), Some(FeedItem::Lagged(2))));
            assert_eq!(dropped.load(Ordering::SeqCst), 2);
        }
        let watch = reader.watch();
        drop(reader.feed());
        drop(reader);
        drop((bus, watch));
        let total = if overflow == FeedOverflow::DropOldest { 6 } else { 3 };
        assert_eq!(dropped.load(Ordering::SeqCst), total, "{overflow:?}: each once");
        std::mem::forget(first);
    }
}

#[test]
fn destructors_that_publish_nest_like_handlers() {
    const EVENTS: usize = 20_000;
    for history in [0, EVENTS] {
        let bus = EventBus::builder().history(history).build().unwrap();
        let feed = (history == 0).then(|| reader(&bus, EVENTS, FeedOverflow::DropOldest));
        for _ in 0..EVENTS {
            let bus = bus.downgrade();
            publish(&bus.upgrade().unwrap(), move || {
                if let Some(bus) = bus.upgrade() {
                    let _ = bus.publish(Event::builder("b", "test").build().unwrap());
                }
            });
        }
        publish(&bus, || {});
        let nested = bus.get_stats();
        assert!(nested.refused > 0, "history {history}: at some depth it is too deep");
        drop(feed);
    }
}

struct Woken<F: Fn() + Send + Sync>(F);

impl<F: Fn() + Send + Sync> Wake for Woken<F> {
    fn wake(self: Arc<Self>) {
        (self.0)();
    }
}

/// Lets a reader wait, to be woken by `wake`.
fn wait(reader: &mut FeedReader, wake: impl Fn() + Send + Sync + 'static) {
    let waker = Waker::from(Arc::new(Woken(wake)));
    assert!(Pin::new(reader).poll_next(&mut Context::from_waker(&waker)).is_pending());
}

#[test]
fn a_waker_is_code_that_the_bus_runs() {
    let bus = EventBus::new();
    let subscription: Subscription = bus.subscribe("a").handler(|_| {}).unwrap();
    let answers = Arc::new(Mutex::new(Vec::new()));
    let (told, weak) = (Arc::clone(&answers), bus.downgrade());
    let mut first = reader(&bus, 10, FeedOverflow::DropOldest);
    wait(&mut first, move || {
        let waited = subscription.unsubscribe_and_wait(Duration::MAX);
        let published = weak.upgrade().unwrap().publish(Event::builder("b", "test").build().unwrap());
        told.lock().unwrap().push((waited.is_err(), published.is_ok()));
    });
    let mut second = reader(&bus, 10, FeedOverflow::DropOldest);
    wait(&mut second, || panic!("a waker"));
    publish(&bus, || {});
    assert_eq!(*answers.lock().unwrap(), [(true, true)], "it does not wait for itself");
    assert!(matches!(second.try_next(), Some(FeedItem::Event(_))));
}
