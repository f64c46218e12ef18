//! A handler that is stalled for ever costs no more the longer the others go on publishing: what the process holds stays
//! flat under each policy that discards. In a binary of its own, since it counts every thread's bytes.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the report")]

#[path = "support/bus.rs"]
mod support;

use codomyrmex_events::{Delivery, Event, EventBus, Overflow, OwnedDelivery};
use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicIsize, Ordering::Relaxed};
use std::sync::{Mutex, mpsc};
use std::thread;
use std::time::Duration;
use support::WATCHDOG;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

struct Counting;

static LIVE: AtomicIsize = AtomicIsize::new(0);

// SAFETY: every call is passed on unchanged to the system allocator, which keeps the contract; the counter is an atomic.
#[allow(unsafe_code, reason = "an allocator cannot be written without it")]
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        LIVE.fetch_add(layout.size() as isize, Relaxed);
        // SAFETY: the caller's promise about `layout` is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size() as isize, Relaxed);
        // SAFETY: the caller's promise that `block` came from here with `layout` is passed on.
        unsafe { System.dealloc(block, layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        LIVE.fetch_add(new_size as isize - layout.size() as isize, Relaxed);
        // SAFETY: the caller's promises about `block`, `layout` and `new_size` are passed on.
        unsafe { System.realloc(block, layout, new_size) }
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Stalled {
    /// A synchronous handler, on the only worker: the lanes fill.
    Worker,
    /// An asynchronous handler of an inline bus: its mailbox fills.
    Mailbox,
    /// The same of a queued bus.
    QueuedMailbox,
}

const PUBLISHERS: usize = 2;

/// What a first run takes may stay: it fills the history, the letters, the mailbox, each thread's share.
const WARM_UP: usize = 3_000;
const EVENTS: usize = 40_000;

/// Less than a byte for each event.
const GROWTH_MAX: isize = 32 * 1024;

fn publish(bus: &EventBus, events: usize) {
    thread::scope(|scope| {
        for publisher in 0..PUBLISHERS {
            scope.spawn(move || {
                let source = format!("p{publisher}");
                for _ in 0..events / PUBLISHERS {
                    let event = Event::builder("a.b", source.as_str()).data(serde_json::json!({"n": 1}));
                    // Refused events come back, and are dropped here.
                    drop(bus.publish(event.build().unwrap()));
                }
            });
        }
    });
    wait_until_settled(bus);
}

/// Waits until the lanes are empty, or will not become so.
fn wait_until_settled(bus: &EventBus) {
    let mut before = None;
    loop {
        let stats = bus.get_stats();
        let now = (stats.queued, stats.completed, stats.deliveries, stats.dropped);
        if before == Some(now) {
            return;
        }
        before = Some(now);
        thread::sleep(Duration::from_millis(20));
    }
}

fn growth(stalled: Stalled, overflow: Overflow) -> isize {
    let builder = EventBus::builder().max_workers(1).history(100).dead_letters(20).keep_dropped();
    let bus = match stalled {
        Stalled::Worker => builder.queued().lanes(2).lane_room(64).overflow(overflow),
        Stalled::Mailbox => builder,
        Stalled::QueuedMailbox => builder.queued().lanes(2).lane_room(64).overflow(Overflow::Block(WATCHDOG)),
    };
    let bus = bus.build().unwrap();
    let (begun, begins) = mpsc::channel();
    let begun = Mutex::new(begun);
    let (go, goes) = mpsc::channel::<()>();
    let goes = Mutex::new(goes);
    match stalled {
        Stalled::Worker => bus.subscribe("*").handler(move |_: &Delivery<'_>| {
            let _ = begun.lock().unwrap().send(());
            let _ = goes.lock().unwrap().recv();
        }),
        _ => {
            let builder = bus.subscribe("*").mailbox(64).overflow(overflow);
            builder.async_handler(move |delivery: OwnedDelivery| {
                let _ = begun.lock().unwrap().send(());
                async move {
                    std::future::pending::<()>().await;
                    drop(delivery);
                }
            })
        }
    }
    .unwrap();
    bus.subscribe("*").priority(-1).handler(|_| ()).unwrap();
    bus.publish(Event::builder("a.b", "p0").build().unwrap()).unwrap();
    begins.recv_timeout(WATCHDOG).unwrap();
    publish(&bus, WARM_UP);
    let before = LIVE.load(Relaxed);
    publish(&bus, EVENTS);
    let growth = LIVE.load(Relaxed) - before;
    let stats = bus.get_stats();
    assert!(stats.dropped + stats.deliveries.dropped + stats.refused > EVENTS as u64 / 2, "{stalled:?}");
    drop(go);
    // What is stalled in a mailbox is given up.
    bus.shutdown(Duration::from_millis(50));
    growth
}

#[test]
fn what_is_held_stays_flat_while_a_handler_is_stalled() {
    for stalled in [Stalled::Worker, Stalled::Mailbox, Stalled::QueuedMailbox] {
        for overflow in [Overflow::DropOldest, Overflow::DropNewest, Overflow::Reject] {
            let growth = growth(stalled, overflow);
            println!("{stalled:?}, {overflow:?}: {growth} bytes more");
            assert!(growth < GROWTH_MAX, "{stalled:?}, {overflow:?}: {growth} bytes more");
        }
    }
}
