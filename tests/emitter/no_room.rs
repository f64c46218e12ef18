//! A queue without room: who waits, by awaiting, and who never does.

use crate::futures::pause;
use crate::support::{WATCHDOG, watched};
use crate::{block_on, emitter, listen, poll};
use codomyrmex_events::{AsyncEventEmitter, Delivery, Event, EventBus, EventPriority, Overflow};
use serde_json::json;
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

/// Where there is no room, an end waits by awaiting; but what is dropped never waits.
#[test]
fn a_full_queue_holds_up_an_end_and_no_drop() {
    let builder = EventBus::builder().queued().max_workers(1).lanes(1).lane_room(1);
    let bus = builder.overflow(Overflow::Block(Duration::from_secs(3_600))).build().unwrap();
    let (begun, begins) = mpsc::channel();
    let (go, waits) = mpsc::channel::<()>();
    let waits = Mutex::new(waits);
    let gate = move |_: &Delivery<'_>| {
        begun.send(()).unwrap();
        waits.lock().unwrap().recv().unwrap();
    };
    bus.subscribe("gate").handler(gate).unwrap();
    // An event that nobody hears takes no place.
    let heard = listen(&bus);
    let emitter = Arc::new(emitter(&bus));
    let critical = |name: &str| {
        let event = Event::builder(name, "emitter").priority(EventPriority::Critical);
        bus.publish(event.build().unwrap()).unwrap();
    };
    critical("gate");
    begins.recv_timeout(WATCHDOG).unwrap();

    // The only place for critical events is taken, and the start takes the only one of its band.
    critical("filling");
    let dropping = Arc::clone(&emitter);
    watched("dropping an operation", move || {
        let mut running = Box::pin(dropping.operation("o", json!({})).run_async(|_| async {
            pause().await;
            Ok::<_, String>(())
        }));
        assert!(poll(&mut running).is_pending());
        drop(running);
    });
    let phases = |bus: &EventBus| bus.history().query().event_type("custom").events().unwrap().len();
    assert_eq!(phases(&bus), 1, "the end found no room, and did not wait");

    // This one's start waits, then its end, and its own result comes through.
    let waiting = emitter.operation("o", json!({})).run_async(|_| async { Err::<(), _>("own") });
    let mut waiting = Box::pin(waiting);
    assert!(poll(&mut waiting).is_pending());
    assert_eq!(phases(&bus), 1);
    go.send(()).unwrap();
    assert_eq!(block_on(waiting), Err("own"));
    bus.flush(WATCHDOG).unwrap();
    assert_eq!((phases(&bus), heard.lock().unwrap().len()), (3, 5));
}

/// A handler that does not return holds the worker; the room in the lane is one.
#[test]
fn where_there_is_no_room_it_waits_without_blocking_the_thread() {
    let builder = EventBus::builder().queued().max_workers(1).lanes(1).lane_room(1);
    let bus = builder.overflow(Overflow::Block(WATCHDOG)).build().unwrap();
    let (go, waits) = mpsc::channel::<()>();
    let waits = Mutex::new(waits);
    let heard = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&heard);
    let handler = move |delivery: &Delivery<'_>| {
        waits.lock().unwrap().recv().unwrap();
        log.lock().unwrap().push(delivery.data().get("n").unwrap().as_u64().unwrap());
    };
    bus.subscribe("*").handler(handler).unwrap();
    let emitter = AsyncEventEmitter::on_bus(&bus);
    let mut waiting: Vec<_> = (0..5)
        .map(|n| (n, Box::pin(emitter.emit("a.b", json!({ "n": n })))))
        .filter_map(|(n, mut future)| poll(&mut future).is_pending().then_some((n, future)))
        .collect();
    assert!(waiting.len() >= 3, "one is being handled, one has the room");
    let (dropped, _) = waiting.pop().unwrap();
    (0..4).for_each(|_| go.send(()).unwrap());
    for (_, future) in waiting {
        block_on(future).unwrap();
    }
    bus.flush(WATCHDOG).unwrap();
    let mut expected: Vec<u64> = (0..5).collect();
    expected.retain(|n| *n != dropped);
    let mut heard = heard.lock().unwrap().clone();
    heard.sort_unstable();
    assert_eq!(heard, expected, "all but the one that was dropped while it waited");
}
