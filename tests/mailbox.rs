//! Mailboxes: what a message is, who gets it, and what becomes of one for which there is no room.

#![allow(clippy::unwrap_used, clippy::panic, reason = "in a test a panic is the report")]

#[path = "support/block_on.rs"]
mod executor;
#[path = "support/laws.rs"]
mod laws;
#[path = "support/stress.rs"]
mod stress;
#[path = "support/bus.rs"]
mod support;

use codomyrmex_events::{
    BoxError, CorrelationId, Delivery, Event, EventBus, MAILBOXES_MAX, Mailbox, MailboxError,
    MailboxReceiveError, MailboxSendErrorKind, MailboxStats, OfferedEvent, Overflow, OwnedDelivery,
    PublishErrorKind, PublishInterceptor, Recorded, correlation,
};
use executor::block_on;
use serde_json::json;
use std::collections::BTreeSet;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex, mpsc};
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::Duration;
use stress::{Random, Seed, mixed};
use support::{WATCHDOG, event, publish, ready, watched};

const NO_TIME: Duration = Duration::ZERO;

fn number(message: &Recorded) -> u64 {
    message.data().value().unwrap().as_u64().unwrap()
}

fn numbers(messages: &[Recorded]) -> Vec<u64> {
    messages.iter().map(number).collect()
}

fn send(mailbox: &Mailbox, n: u64) -> bool {
    mailbox.send("sender", json!(n)).is_ok()
}

/// At a quiet moment.
fn law(mailbox: &Mailbox) -> MailboxStats {
    let stats = mailbox.stats();
    let dropped = stats.dropped.drop_oldest + stats.dropped.drop_newest;
    assert_eq!(stats.sent, stats.received + dropped + stats.waiting);
    stats
}

#[test]
fn a_message_is_the_event_that_was_published() {
    let bus = EventBus::new();
    let heard = Arc::new(Mutex::new(None));
    let hearing = Arc::clone(&heard);
    let keep = move |delivery: &Delivery<'_>| *hearing.lock().unwrap() = Some(Arc::clone(delivery.event()));
    bus.subscribe("agent.inbox.*").handler(keep).unwrap();
    let mailbox = bus.mailbox("b").unwrap();
    let id = CorrelationId::from_static("cid");
    let published = correlation::scope(&id, || mailbox.send("a", json!({"x": 1})).unwrap());

    let message = mailbox.receive(NO_TIME).unwrap();
    assert!(Arc::ptr_eq(message.event(), heard.lock().unwrap().as_ref().unwrap()));
    assert!(Arc::ptr_eq(message.event(), bus.history().latest(1)[0].event()));
    assert_eq!((message.sequence(), published.sequence()), (1, 1));
    assert_eq!((message.event_type().as_str(), message.source().as_str()), ("agent.inbox.b", "a"));
    assert_eq!(message.correlation_id(), Some(&id));
    assert_eq!(mailbox.receive(NO_TIME).unwrap_err(), MailboxReceiveError::TimedOut);
}

#[test]
fn what_a_handler_sends_names_its_cause() {
    let bus = EventBus::new();
    let mailbox = bus.mailbox("b").unwrap();
    let sending = mailbox.clone();
    bus.subscribe("task.*").handler(move |_| sending.send("a", json!(1)).map(drop)).unwrap();
    let task = Event::builder("task.started", "t").correlation_id("cid").build().unwrap();
    let id = task.event_id().clone();
    bus.publish(task).unwrap();
    let message = mailbox.try_receive().unwrap();
    assert_eq!(message.causation_id(), Some(&id));
    assert_eq!(message.correlation_id().unwrap(), &"cid");
}

#[test]
fn ids_are_checked_and_name_one_mailbox_each() {
    let bus = EventBus::new();
    let longest = "x".repeat(244);
    for id in ["a", "a.b", "*", "ä", longest.as_str()] {
        let mailbox = bus.mailbox(id).unwrap();
        assert_eq!(mailbox.agent_id(), id);
        assert_eq!(mailbox.event_type().as_str(), format!("agent.inbox.{id}"));
        assert!(send(&mailbox, 1));
        assert_eq!(numbers(&bus.mailbox(id).unwrap().drain()), [1]);
    }
    let too_long = "x".repeat(245);
    for id in ["", "a\n", too_long.as_str()] {
        let MailboxError::InvalidId(invalid) = bus.mailbox(id).unwrap_err() else { panic!("{id:?}") };
        assert_eq!(invalid.field(), "agent_id");
    }
}

#[test]
fn settings_are_checked_and_hold_for_the_first() {
    let bus = EventBus::new();
    for room in [0, (1 << 20) + 1] {
        let error = bus.mailbox_with("a").room(room).open().unwrap_err();
        assert!(matches!(error, MailboxError::OutOfRange { setting: "room", value, .. } if value == room));
    }
    let small = bus.mailbox_with("a").room(1).overflow(Overflow::Reject).open().unwrap();
    assert!(send(&small, 1) && !send(&small, 2));
    assert!(bus.mailbox("a").is_ok() && bus.mailbox_with("a").room(1).open().is_ok());
    for other in [bus.mailbox_with("a").room(2), bus.mailbox_with("a").overflow(Overflow::DropOldest)] {
        let error = other.open().unwrap_err();
        assert_eq!(error, MailboxError::OtherSettings { room: 1, overflow: Overflow::Reject });
    }
}

#[test]
fn a_bus_has_so_many_mailboxes_and_no_more() {
    let bus = EventBus::new();
    let open = |n: usize| bus.mailbox_with(n.to_string()).room(1).open();
    let first = open(0).unwrap();
    (1..MAILBOXES_MAX).for_each(|n| drop(open(n).unwrap()));
    assert_eq!(open(MAILBOXES_MAX).unwrap_err(), MailboxError::TooMany { limit: MAILBOXES_MAX });
    assert!(open(7).is_ok(), "those that there are can be had");
    first.close();
    assert!(open(MAILBOXES_MAX).is_ok());
}

/// What six sends to a room of two leave, by policy: which are accepted, which are there in the end.
#[test]
fn each_policy_does_what_it_says() {
    let cases: [(Overflow, &[u64], &[u64]); 4] = [
        (Overflow::Reject, &[1, 2], &[1, 2]),
        (Overflow::Block(Duration::from_millis(5)), &[1, 2], &[1, 2]),
        (Overflow::DropOldest, &[1, 2, 3, 4, 5, 6], &[5, 6]),
        (Overflow::DropNewest, &[1, 2, 3, 4, 5, 6], &[1, 2]),
    ];
    for (is_async, (overflow, accepted, left)) in
        [false, true].into_iter().flat_map(|is| cases.map(|case| (is, case)))
    {
        let bus = EventBus::new();
        let mailbox = bus.mailbox_with("a").room(2).overflow(overflow).open().unwrap();
        for n in 1..=6 {
            let event = mailbox.message("s").data(json!(n)).build().unwrap();
            let id = event.event_id().clone();
            let sent =
                if is_async { block_on(mailbox.send_event_async(event)) } else { mailbox.send_event(event) };
            match sent {
                Ok(published) => assert_eq!(published.sequence(), bus.history().last_sequence()),
                Err(error) => {
                    let MailboxSendErrorKind::Full { room: 2, waited } = error.kind() else {
                        panic!("{error}")
                    };
                    assert_eq!(waited.is_zero(), overflow == Overflow::Reject);
                    assert_eq!(error.into_event().unwrap().event_id(), &id);
                }
            }
        }
        let published = bus.history().query().since(1).events().unwrap();
        assert_eq!(numbers(&published), accepted, "{overflow:?}");
        let stats = law(&mailbox);
        assert_eq!((stats.sent, stats.refused), (accepted.len() as u64, 6 - accepted.len() as u64));
        let dropped = (accepted.len() - left.len()) as u64;
        let of = |policy| if overflow == policy { dropped } else { 0 };
        assert_eq!(stats.dropped.drop_oldest, of(Overflow::DropOldest));
        assert_eq!(stats.dropped.drop_newest, of(Overflow::DropNewest));
        assert_eq!(numbers(&mailbox.drain()), left, "{overflow:?}");
        assert_eq!(law(&mailbox).received, left.len() as u64);
    }
}

#[derive(Clone)]
struct Refuses(Arc<AtomicBool>);

impl PublishInterceptor for Refuses {
    fn before_publish(&self, offered: &mut OfferedEvent<'_>) -> Result<(), BoxError> {
        let _ = offered;
        if self.0.load(SeqCst) { Err("no".into()) } else { Ok(()) }
    }
}

#[test]
fn a_refused_publish_leaves_no_message_and_displaces_none() {
    for overflow in [Overflow::Reject, Overflow::Block(NO_TIME), Overflow::DropOldest, Overflow::DropNewest] {
        let bus = EventBus::new();
        let mailbox = bus.mailbox_with("a").room(2).overflow(overflow).open().unwrap();
        assert!(send(&mailbox, 1));
        let gate = Refuses(Arc::new(AtomicBool::new(true)));
        bus.intercept_publish(gate.clone());
        for n in 2..10 {
            let error = mailbox.send("s", json!(n)).unwrap_err();
            let MailboxSendErrorKind::Publish(refusal) = error.kind() else { panic!("{error}") };
            assert!(matches!(refusal.kind(), PublishErrorKind::Intercepted(_)));
            assert!(error.event().is_some());
        }
        let error = ready(mailbox.send_async("s", json!(2))).unwrap_err();
        assert!(matches!(error.kind(), MailboxSendErrorKind::Publish(_)));
        gate.0.store(false, SeqCst);
        assert!(send(&mailbox, 2), "the place is free: {overflow:?}");
        assert_eq!(numbers(&mailbox.drain()), [1, 2]);
        assert_eq!(law(&mailbox).refused, 9);
    }
}

#[test]
fn bad_messages_are_refused_with_their_reasons() {
    let bus = EventBus::new();
    let mailbox = bus.mailbox("a").unwrap();
    let error = mailbox.send("", json!(1)).unwrap_err();
    assert!(matches!(error.kind(), MailboxSendErrorKind::Publish(_)) && error.event().is_none());
    for other in ["agent.inbox.b", "agent.inbox", "build.start"] {
        let error = mailbox.send_event(event(other)).unwrap_err();
        assert!(matches!(error.kind(), MailboxSendErrorKind::OtherType));
        assert_eq!(error.into_event().unwrap().event_type().as_str(), other);
    }
    assert_eq!((mailbox.stats().sent, bus.history().last_sequence()), (0, 0));
}

#[test]
fn only_what_is_sent_is_a_message() {
    let bus = EventBus::new();
    let mailbox = bus.mailbox("a").unwrap();
    publish(&bus, "agent.inbox.a");
    assert_eq!((mailbox.try_receive().map(|message| message.sequence()), mailbox.len()), (None, 0));
    assert!(send(&mailbox, 7));
    assert_eq!((number(&mailbox.try_receive().unwrap()), mailbox.stats().sent), (7, 1));
}

#[test]
fn who_hears_the_event_finds_the_message() {
    for is_queued in [false, true] {
        let builder = EventBus::builder().max_workers(1);
        let bus = if is_queued { builder.queued() } else { builder }.build().unwrap();
        let mailbox = bus.mailbox("a").unwrap();
        let (receiving, (found, finds)) = (mailbox.clone(), mpsc::channel());
        bus.subscribe("agent.inbox.a")
            .priority(i32::MAX)
            .handler(move |delivery| {
                let message = receiving.receive(WATCHDOG).map(|message| message.sequence());
                // There is none left, and a handler does not wait for another.
                assert_eq!(receiving.receive(WATCHDOG).unwrap_err(), MailboxReceiveError::WouldDeadlock);
                found.send((message, delivery.sequence())).unwrap();
            })
            .unwrap();
        for n in 1..=100 {
            assert!(send(&mailbox, n));
            assert_eq!(finds.recv_timeout(WATCHDOG).unwrap(), (Ok(n), n));
        }
        bus.flush(WATCHDOG).unwrap();
        assert_eq!(bus.get_stats().deliveries.dead_lettered, 0);
    }
}

#[test]
fn what_is_sent_within_a_send_comes_after_it() {
    let bus = EventBus::new();
    let mailbox = bus.mailbox("a").unwrap();
    let answering = mailbox.clone();
    let handler = move |delivery: &Delivery<'_>| {
        let n = delivery.data().value().unwrap().as_u64().unwrap();
        (n < 5).then(|| assert!(send(&answering, n + 1)));
    };
    bus.subscribe("agent.inbox.a").handler(handler).unwrap();
    assert!(send(&mailbox, 1));
    assert_eq!(numbers(&mailbox.drain()), [1, 2, 3, 4, 5]);
}

#[test]
fn inside_a_handler_a_send_does_not_wait_for_room() {
    for is_queued in [false, true] {
        let builder = EventBus::builder().max_workers(1);
        let bus = if is_queued { builder.queued() } else { builder }.build().unwrap();
        let mailbox = bus.mailbox_with("a").room(1).overflow(Overflow::Block(WATCHDOG * 10)).open().unwrap();
        let (sending, (told, answers)) = (mailbox.clone(), mpsc::channel());
        let handler = move |_: &Delivery<'_>| {
            for n in 1..=2 {
                let sent = sending.send("s", json!(n));
                told.send(sent.map_err(|error| error.kind().to_string())).unwrap();
            }
        };
        bus.subscribe("go").handler(handler).unwrap();
        publish(&bus, "go");
        assert!(answers.recv_timeout(WATCHDOG).unwrap().is_ok());
        let refusal = answers.recv_timeout(WATCHDOG).unwrap().unwrap_err();
        assert_eq!(refusal, "the mailbox is full: 1 messages wait in it");
        assert_eq!(numbers(&mailbox.drain()), [1]);
    }
}

#[test]
fn a_sender_waits_for_room_and_a_receiver_for_a_message() {
    for is_async in [false, true] {
        let bus = EventBus::new();
        let mailbox = bus.mailbox_with("a").room(1).overflow(Overflow::Block(WATCHDOG)).open().unwrap();
        let receiving = mailbox.clone();
        let receiver = thread::spawn(move || {
            let receive = || match is_async {
                true => block_on(receiving.receive_async(WATCHDOG)).unwrap(),
                false => receiving.receive(WATCHDOG).unwrap(),
            };
            (0..1_000).map(|_| number(&receive())).collect::<Vec<_>>()
        });
        for n in 0..1_000 {
            let sent = match is_async {
                true => block_on(mailbox.send_async("s", json!(n))),
                false => mailbox.send("s", json!(n)),
            };
            sent.unwrap();
        }
        assert_eq!(receiver.join().unwrap(), (0..1_000).collect::<Vec<_>>());
        assert_eq!(law(&mailbox).waiting, 0);
    }
}

const SENDERS: u64 = 8;
const EACH: u64 = 500;

/// Eight senders and eight receivers, half of them async; each message comes out once, and those of one sender to one receiver
/// in order.
fn exactly_once(bus: &EventBus, room: usize) {
    let wait = Overflow::Block(WATCHDOG);
    let mailbox = bus.mailbox_with("a").room(room).overflow(wait).open().unwrap();
    let seen = Mutex::new(Vec::new());
    thread::scope(|scope| {
        let mut senders = Vec::new();
        for sender in 0..SENDERS {
            let mailbox = mailbox.clone();
            senders.push(scope.spawn(move || {
                let source = format!("s{sender}");
                for n in sender * EACH..(sender + 1) * EACH {
                    let sent = match n % 2 {
                        0 => mailbox.send(source.as_str(), json!(n)),
                        _ => block_on(mailbox.send_async(source.as_str(), json!(n))),
                    };
                    sent.unwrap();
                }
            }));
        }
        for receiver in 0..8 {
            let (mailbox, seen) = (mailbox.clone(), &seen);
            scope.spawn(move || {
                let mut own: Vec<Recorded> = Vec::new();
                let end = loop {
                    let received = match receiver % 2 {
                        0 => mailbox.receive(WATCHDOG),
                        _ => block_on(mailbox.receive_async(WATCHDOG)),
                    };
                    match received {
                        Ok(message) => own.push(message),
                        Err(end) => break end,
                    }
                };
                assert_eq!(end, MailboxReceiveError::Closed);
                for sender in 0..SENDERS {
                    let of_sender: Vec<u64> =
                        numbers(&own).into_iter().filter(|n| n / EACH == sender).collect();
                    assert!(of_sender.is_sorted(), "{of_sender:?}");
                }
                seen.lock().unwrap().extend(own);
            });
        }
        senders.into_iter().for_each(|sender| sender.join().unwrap());
        seen.lock().unwrap().extend(mailbox.close());
    });
    let seen = seen.into_inner().unwrap();
    assert_eq!(seen.len() as u64, SENDERS * EACH);
    assert_eq!(seen.iter().map(number).collect::<BTreeSet<_>>(), (0..SENDERS * EACH).collect());
    let sequences: BTreeSet<u64> = seen.iter().map(|message| message.sequence()).collect();
    assert_eq!(sequences, (1..=SENDERS * EACH).collect());
    bus.flush(WATCHDOG).unwrap();
    laws::check(&bus.get_stats());
    assert_eq!(law(&mailbox).received, SENDERS * EACH);
}

#[test]
fn each_message_is_received_exactly_once() {
    for room in [1, 3, 1_024] {
        exactly_once(&EventBus::new(), room);
        exactly_once(&EventBus::builder().max_workers(2).queued().build().unwrap(), room);
    }
}

#[test]
fn a_policy_that_drops_loses_what_it_counts() {
    for overflow in [Overflow::DropOldest, Overflow::DropNewest] {
        let bus = EventBus::new();
        let mailbox = bus.mailbox_with("a").room(3).overflow(overflow).open().unwrap();
        let seen = Mutex::new(Vec::new());
        thread::scope(|scope| {
            let senders: Vec<_> = (0..4)
                .map(|sender| {
                    let mailbox = mailbox.clone();
                    scope.spawn(move || (0..EACH).for_each(|n| assert!(send(&mailbox, sender * EACH + n))))
                })
                .collect();
            let (receiving, seen) = (mailbox.clone(), &seen);
            scope.spawn(move || {
                while let Ok(message) = receiving.receive(WATCHDOG) {
                    seen.lock().unwrap().push(number(&message));
                }
            });
            senders.into_iter().for_each(|sender| sender.join().unwrap());
            let left = numbers(&mailbox.close());
            seen.lock().unwrap().extend(left);
        });
        let (seen, stats) = (seen.into_inner().unwrap(), law(&mailbox));
        assert_eq!((stats.sent, stats.refused, stats.waiting), (4 * EACH, 0, 0));
        assert_eq!(stats.received, seen.len() as u64);
        assert_eq!(seen.iter().collect::<BTreeSet<_>>().len(), seen.len(), "none comes twice");
    }
}

/// Receives and sends that are dropped after any number of polls lose nothing and leave no place taken.
#[test]
fn a_future_that_is_dropped_did_nothing() {
    let seed = Seed::given();
    let bus = EventBus::new();
    let mailbox = bus.mailbox_with("a").room(2).overflow(Overflow::Block(WATCHDOG * 10)).open().unwrap();
    let (sent, received) = (AtomicU64::new(0), AtomicU64::new(0));
    fn polled<T>(random: &mut Random, future: impl Future<Output = T>) -> Option<T> {
        let mut future = pin!(future);
        for _ in 0..random.below(4) {
            if let Poll::Ready(answer) = future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
                return Some(answer);
            }
            thread::yield_now();
        }
        None
    }
    thread::scope(|scope| {
        for number in 0..4 {
            let (mailbox, sent, received) = (&mailbox, &sent, &received);
            let mut random = Random(mixed(seed.0.wrapping_add(number)));
            scope.spawn(move || {
                for _ in 0..2_500 {
                    if random.below(2) == 0 {
                        let outcome = polled(&mut random, mailbox.send_async("s", json!(1)));
                        let is_sent = outcome.is_some_and(|outcome| outcome.is_ok());
                        sent.fetch_add(u64::from(is_sent), SeqCst);
                    } else {
                        let outcome = polled(&mut random, mailbox.receive_async(WATCHDOG * 10));
                        outcome.into_iter().for_each(|outcome| {
                            outcome.unwrap();
                            received.fetch_add(1, SeqCst);
                        });
                    }
                }
            });
        }
    });
    let stats = law(&mailbox);
    assert_eq!((stats.sent, stats.received), (sent.load(SeqCst), received.load(SeqCst)));
    assert_eq!((stats.sent, stats.refused), (bus.get_stats().accepted, 0));
    mailbox.drain().into_iter().for_each(drop);
    for n in 1..=2 {
        ready(mailbox.send_async("s", json!(n))).unwrap();
    }
    let third = pin!(mailbox.send_async("s", json!(3))).poll(&mut Context::from_waker(Waker::noop()));
    assert!(third.is_pending(), "there are two places and no more");
}

type Ending = fn(EventBus, &Mailbox);

/// Whoever waits is told of the end, and so is whoever comes later; what is there can be fetched.
#[test]
fn waits_end_with_the_mailbox_and_with_its_bus() {
    let endings: [(&str, Ending, bool); 4] = [
        ("the mailbox is closed", |_, mailbox| drop(mailbox.close()), false),
        ("the bus is shut down", |bus, _| drop(bus.shutdown(WATCHDOG)), true),
        ("its last handle is dropped", |bus, _| drop(bus), true),
        (
            "a handler shuts it down",
            |bus, _| {
                bus.subscribe("end").handler(|end| drop(end.bus().shutdown(NO_TIME))).unwrap();
                publish(&bus, "end");
            },
            true,
        ),
    ];
    for (how, end, ends_bus) in endings {
        for is_full in [false, true] {
            let bus = EventBus::new();
            let mailbox =
                bus.mailbox_with("a").room(1).overflow(Overflow::Block(WATCHDOG * 10)).open().unwrap();
            assert!(!is_full || send(&mailbox, 1));
            let waiters: Vec<_> = (0..4)
                .map(|number| {
                    let mailbox = mailbox.clone();
                    thread::spawn(move || match (is_full, number % 2) {
                        (false, 0) => mailbox.receive(WATCHDOG * 10).unwrap_err().to_string(),
                        (false, _) => block_on(mailbox.receive_async(WATCHDOG * 10)).unwrap_err().to_string(),
                        (true, 0) => mailbox.send("s", json!(2)).unwrap_err().to_string(),
                        (true, _) => block_on(mailbox.send_async("s", json!(2))).unwrap_err().to_string(),
                    })
                })
                .collect();
            // They may be waiting by now, or come too late; the outcome is the same.
            thread::yield_now();
            if is_full && !ends_bus {
                // Closing hands out what is there, and so makes room: nobody may get it.
                let left = numbers(&mailbox.close());
                assert_eq!(left, [1]);
            }
            end(bus, &mailbox);
            for waiter in waiters {
                let said = watched(how, move || waiter.join().unwrap());
                assert_eq!(said, "the mailbox is closed", "{how}");
            }
            assert!(mailbox.is_closed());
            let error = mailbox.send("s", json!(9)).unwrap_err();
            assert!(matches!(error.kind(), MailboxSendErrorKind::Closed));
            assert_eq!(number(&recorded(&error.into_event().unwrap())), 9);
            let left: &[u64] = if is_full && ends_bus { &[1] } else { &[] };
            assert_eq!(numbers(&mailbox.drain()), left, "{how}");
            assert_eq!(mailbox.receive(WATCHDOG).unwrap_err(), MailboxReceiveError::Closed);
            assert_eq!(ready(mailbox.receive_async(WATCHDOG)).unwrap_err(), MailboxReceiveError::Closed);
        }
    }
}

/// The event as a history has it: from a bus of its own.
fn recorded(event: &Arc<Event>) -> Recorded {
    let bus = EventBus::new();
    bus.publish(Arc::clone(event)).unwrap();
    bus.history().latest(1).remove(0)
}

#[test]
fn a_closed_mailbox_makes_way_for_a_new_one() {
    let bus = EventBus::new();
    let old = bus.mailbox("a").unwrap();
    assert!(send(&old, 1) && send(&old, 2));
    assert_eq!(numbers(&old.close()), [1, 2]);
    let new = bus.mailbox("a").unwrap();
    assert!(send(&new, 3) && !send(&old, 4));
    assert!(old.close().is_empty());
    assert_eq!(numbers(&bus.mailbox("a").unwrap().drain()), [3], "the old one's end is not the new one's");
    bus.shutdown(NO_TIME);
    assert_eq!(bus.mailbox("a").unwrap_err(), MailboxError::Closed);
}

#[test]
fn a_mailbox_keeps_no_bus_alive() {
    let bus = EventBus::new();
    let (value, seen) = support::capture();
    support::hold(&bus, value);
    let mailbox = bus.mailbox("a").unwrap();
    assert!(send(&mailbox, 1));
    let weak = bus.downgrade();
    drop(bus);
    assert!(weak.upgrade().is_none() && support::is_dropped(&seen));
    assert_eq!(numbers(&mailbox.drain()), [1]);
}

#[test]
fn a_manual_bus_moves_the_time_of_those_who_wait() {
    let (bus, driver) = EventBus::builder().manual().build().unwrap();
    let second = Duration::from_secs(1);
    let mailbox = bus.mailbox_with("a").room(1).overflow(Overflow::Block(second)).open().unwrap();
    assert_eq!(mailbox.receive(WATCHDOG).unwrap_err(), MailboxReceiveError::WouldDeadlock);
    let mut receive = pin!(mailbox.receive_async(second));
    assert!(driver.block_on(receive.as_mut()).is_none());
    driver.advance(second / 2);
    assert!(driver.block_on(receive.as_mut()).is_none());
    driver.advance(second / 2);
    assert_eq!(driver.block_on(receive.as_mut()).unwrap().unwrap_err(), MailboxReceiveError::TimedOut);

    assert!(send(&mailbox, 1) && !send(&mailbox, 2), "a manual bus does not wait");
    let mut third = pin!(mailbox.send_async("s", json!(3)));
    assert!(driver.block_on(third.as_mut()).is_none());
    driver.advance(second / 2);
    assert_eq!(numbers(&mailbox.drain()), [1]);
    assert!(driver.block_on(third).unwrap().is_ok());
    let mut fourth = pin!(mailbox.send_async("s", json!(4)));
    assert!(driver.block_on(fourth.as_mut()).is_none());
    driver.advance(second);
    let error = driver.block_on(fourth).unwrap().unwrap_err();
    assert!(matches!(error.kind(), MailboxSendErrorKind::Full { room: 1, waited } if *waited == second));
    assert_eq!(
        driver.block_on(mailbox.receive_async(second)).unwrap().map(|message| number(&message)),
        Ok(3)
    );
}

/// Two agents that do one task together: a planner hands out steps and a worker answers each, on one worker thread.
#[test]
fn two_agents_coordinate_through_their_mailboxes() {
    let bus = EventBus::builder().max_workers(1).queued().build().unwrap();
    let (planner, worker) = (bus.mailbox("planner").unwrap(), bus.mailbox("worker").unwrap());
    // The worker is an asynchronous handler: its mailbox's own event wakes it.
    let (inbox, boss) = (worker.clone(), planner.clone());
    bus.subscribe("agent.inbox.worker")
        .async_handler(move |_: OwnedDelivery| {
            let (inbox, boss) = (inbox.clone(), boss.clone());
            async move {
                let task = inbox.receive_async(WATCHDOG).await?;
                boss.send_async("worker", json!(number(&task) * number(&task))).await?;
                Ok::<(), BoxError>(())
            }
        })
        .unwrap();
    let mut squares = Vec::new();
    for n in 1..=20 {
        worker.send("planner", json!(n)).unwrap();
        squares.push(number(&planner.receive(WATCHDOG).unwrap()));
    }
    assert_eq!(squares, (1..=20).map(|n| n * n).collect::<Vec<u64>>());
    bus.flush(WATCHDOG).unwrap();
    laws::check(&bus.get_stats());
}
