//! Requests and messages by the ten thousand hold no more than the first thousands: what is answered, given up, fetched or
//! dropped leaves nothing. Of one thread's bytes, so on an inline bus.

#![allow(clippy::unwrap_used, clippy::panic, reason = "in a test a panic is the report")]

#[path = "support/allocations.rs"]
mod allocations;

use codomyrmex_events::{Event, EventBus, MailboxSendErrorKind, Overflow, REQUESTS_MAX, RequestErrorKind};
use serde_json::json;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::Duration;

const WARM_UP: usize = 5_000;
const FLOOD: usize = 20_000;
/// What may differ from moment to moment: tables that grow once more, a history's events of other lengths.
const SLACK_BYTES: usize = 64 * 1_024;

fn flat(name: &str, mut work: impl FnMut(usize)) {
    (0..WARM_UP).for_each(&mut work);
    let ((), taken) = allocations::during(|| (WARM_UP..WARM_UP + FLOOD).for_each(&mut work));
    assert!(taken.peak_bytes < SLACK_BYTES, "{name}: {taken:?}");
}

fn event(name: &str) -> Event {
    Event::builder(name, "flood").build().unwrap()
}

#[test]
fn requests_leave_nothing() {
    let bus = EventBus::builder().history(16).build().unwrap();
    bus.subscribe("asked").handler(|asked| asked.reply(json!(1))).unwrap();
    bus.subscribe("kept").handler(|_| ()).unwrap();
    flat("answered", |_| drop(bus.request(event("asked")).within(Duration::MAX).unwrap()));
    flat("unheard", |_| drop(bus.request(event("nobody")).within(Duration::MAX).unwrap_err()));
    flat("timed out", |_| drop(bus.request(event("kept")).within(Duration::ZERO).unwrap_err()));
    flat("dropped", |n| {
        let mut request = pin!(bus.request(event("kept")).within_async(Duration::from_secs(600)));
        (0..n % 3).for_each(|_| {
            assert!(request.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        });
    });
    flat("answered too late", |_| {
        let error = bus.request(event("kept")).within(Duration::ZERO).unwrap_err();
        bus.reply_to(error.request()).send(json!(1)).unwrap();
    });
}

#[test]
fn mailboxes_hold_no_more_than_their_room() {
    for overflow in
        [Overflow::Reject, Overflow::Block(Duration::ZERO), Overflow::DropOldest, Overflow::DropNewest]
    {
        let bus = EventBus::builder().history(16).build().unwrap();
        let stalled = bus.mailbox_with("stalled").room(64).overflow(overflow).open().unwrap();
        flat("never fetched", |n| match stalled.send("flood", json!(n)) {
            Ok(_) => {}
            Err(error) => assert!(matches!(error.kind(), MailboxSendErrorKind::Full { .. })),
        });
        assert_eq!(stalled.len(), 64);
        let read = bus.mailbox_with("read").room(64).overflow(overflow).open().unwrap();
        flat("fetched", |n| {
            read.send("flood", json!(n)).unwrap();
            assert!(read.receive(Duration::MAX).is_ok());
        });
    }
}

#[test]
fn mailboxes_come_and_go() {
    let bus = EventBus::builder().history(16).build().unwrap();
    // Names have a memory of their own, which is bounded; so the agents are the same again and again.
    flat("opened and closed", |n| {
        let mailbox = bus.mailbox_with(format!("agent {}", n % 100)).room(4).open().unwrap();
        mailbox.send("flood", json!(n)).unwrap();
        assert_eq!(mailbox.close().len(), 1);
    });
}

#[test]
fn so_many_requests_wait_and_no_more() {
    let (bus, driver) = EventBus::builder().inline().manual().build().unwrap();
    bus.subscribe("kept").handler(|_| ()).unwrap();
    let request = || Box::pin(bus.request(event("kept")).within_async(Duration::from_secs(1)));
    let mut poll = Context::from_waker(Waker::noop());
    let mut waiting: Vec<Pin<Box<dyn Future<Output = _>>>> = Vec::new();
    for _ in 0..REQUESTS_MAX {
        let mut request = request();
        assert!(request.as_mut().poll(&mut poll).is_pending());
        waiting.push(request);
    }
    let error = driver.block_on(request()).unwrap().unwrap_err();
    assert!(matches!(error.kind(), RequestErrorKind::TooMany { limit: REQUESTS_MAX }));
    let published = bus.history().last_sequence();
    assert_eq!(published, REQUESTS_MAX as u64, "the one too many was not published");
    waiting.pop();
    let asked = Arc::new(event("kept"));
    let mut last = pin!(bus.request(Arc::clone(&asked)).within_async(Duration::from_secs(1)));
    assert!(driver.block_on(last.as_mut()).is_none());
    bus.reply_to(&asked).send(json!(1)).unwrap();
    assert!(driver.block_on(last).unwrap().is_ok());
    driver.advance(Duration::from_secs(1));
    for request in waiting {
        let error = driver.block_on(request).unwrap().unwrap_err();
        assert!(matches!(error.kind(), RequestErrorKind::TimedOut { .. }));
    }
}
