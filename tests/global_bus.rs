//! The process-wide bus through its free functions. One test: the bus is one for the whole process.

#[path = "support/bus.rs"]
mod support;

use codomyrmex_events::{
    AsyncEventEmitter, EventBus, EventEmitter, EventMixin, get_event_bus, get_event_stats, init_event_bus,
    publish_event, publish_event_async, subscribe_to_events, try_get_event_bus, unsubscribe_from_events,
};
use serde_json::json;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Barrier};
use std::thread;
use support::{event, ready};

#[test]
fn the_free_functions_share_one_bus() {
    let mixin = EventMixin::init_events("module").unwrap();
    let (emitter, later) = (EventEmitter::new("emitter").unwrap(), AsyncEventEmitter::new());
    let own = EventBus::builder().history(5).build().unwrap();
    init_event_bus(own.clone()).expect("what has done nothing has not looked it up");
    assert!(init_event_bus(EventBus::new()).is_err(), "once");

    let start = Barrier::new(8);
    let addresses: Vec<usize> = thread::scope(|scope| {
        let ask = || {
            start.wait();
            std::ptr::from_ref(get_event_bus()) as usize
        };
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(ask)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert!(addresses.iter().all(|address| *address == addresses[0]));
    assert_eq!(std::ptr::from_ref(try_get_event_bus().unwrap()) as usize, addresses[0]);
    assert_eq!(get_event_bus().history().capacity(), 5, "the one that was set");

    let heard = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&heard);
    let subscription = subscribe_to_events(["build.*", "my.*"], move |_| {
        count.fetch_add(1, SeqCst);
    })
    .unwrap();
    assert_eq!(publish_event(event("my.own")).unwrap().sequence(), 1);
    assert_eq!(own.publish(event("build.start")).unwrap().sequence(), 2, "the same bus by another handle");
    let future = publish_event_async(event("my.own"));
    assert_eq!(heard.load(SeqCst), 2, "a future that is not polled does nothing");
    assert_eq!(ready(future).unwrap().sequence(), 3);
    let emitted = mixin.emit("my.own", json!({"n": 4})).unwrap();
    assert!(Arc::ptr_eq(own.history().latest(1)[0].event(), &emitted));
    assert_eq!(heard.load(SeqCst), 4);

    let stats = get_event_stats();
    assert_eq!((stats.events_published, stats.events_processed, stats.subscribers_count), (4, 4, 1));
    assert_eq!(stats, own.get_stats());
    assert!(unsubscribe_from_events(subscription.id()));
    assert!(!unsubscribe_from_events(subscription.id()));
    publish_event(event("my.own")).unwrap();
    assert_eq!((heard.load(SeqCst), get_event_stats().subscribers_count), (4, 0));

    // A private bus is another one.
    let private = EventBus::new();
    private.publish(event("my.own")).unwrap();
    assert_eq!((private.history().len(), get_event_stats().events_published), (1, 5));

    let emitted = emitter.emit("my.own", json!({})).unwrap().expect("it is on");
    assert!(Arc::ptr_eq(own.history().latest(1)[0].event(), &emitted));
    assert_eq!(ready(later.emit("my.own", json!({}))).unwrap().sequence(), 7);
    assert_eq!(own.history().latest(1)[0].source(), "async_emitter");
}
