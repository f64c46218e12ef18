//! The emitters: what is published through them, with which defaults, and how operations begin and end.

#![allow(clippy::unwrap_used, clippy::panic, reason = "in a test a panic is the report")]

#[path = "../support/bus.rs"]
mod support;

mod asynchronous;
mod defaults;
mod emits;
mod futures;
#[cfg(feature = "queued")]
mod no_room;
mod operations;
mod scopes;

use codomyrmex_events::{CorrelationId, Event, EventBus, EventEmitter};
use serde_json::{Map, Value};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;
use support::WATCHDOG;

/// A bus of each kind that there is.
fn buses() -> Vec<(&'static str, EventBus)> {
    vec![
        ("inline", EventBus::new()),
        #[cfg(feature = "queued")]
        ("queued", EventBus::builder().queued().max_workers(2).build().unwrap()),
    ]
}

fn emitter(bus: &EventBus) -> EventEmitter {
    EventEmitter::on_bus("emitter", bus).unwrap()
}

fn id(text: &str) -> CorrelationId {
    CorrelationId::new(text).unwrap()
}

/// What the bus accepted, in order.
fn published(bus: &EventBus) -> Vec<Arc<Event>> {
    bus.flush(WATCHDOG).unwrap();
    let recorded = bus.history().query().since(1).events().unwrap();
    assert_eq!(recorded.len() as u64, bus.history().last_sequence(), "the history has room for all");
    recorded.iter().map(|recorded| Arc::clone(recorded.event())).collect()
}

fn payloads(bus: &EventBus) -> Vec<Value> {
    published(bus).iter().map(|event| event.data().value().unwrap().clone()).collect()
}

/// Collects what is heard, until `payloads` or `published` is asked.
fn listen(bus: &EventBus) -> Arc<Mutex<Vec<Arc<Event>>>> {
    let heard: Arc<Mutex<Vec<Arc<Event>>>> = Arc::default();
    let log = Arc::clone(&heard);
    bus.subscribe("*")
        .handler(move |delivery| log.lock().unwrap().push(Arc::clone(delivery.event())))
        .unwrap();
    heard
}

/// The map of an object literal.
fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        other => panic!("not an object: {other}"),
    }
}

/// Far deeper than an event may nest, and than a stack would bear.
fn too_deep() -> Value {
    (0..100_000).fold(Value::Null, |inner, _| Value::Array(vec![inner]))
}

fn poll<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
    std::pin::Pin::new(future).poll(&mut Context::from_waker(Waker::noop()))
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    struct Unpark(thread::Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Arc::new(Unpark(thread::current())).into();
    let mut future = std::pin::pin!(future);
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(value) => return value,
            Poll::Pending => thread::park_timeout(WATCHDOG),
        }
    }
}
