//! Nothing is lost and nothing comes twice, under strain: publishers of every kind, subscribers of every kind, and others
//! that come and go, on inline and queued buses, under each policy for what is full.
//!
//! `CODOMYRMEX_STRESS_SECONDS` is how long each kind of bus is strained (default 2), `CODOMYRMEX_STRESS_SEED` a number from
//! which publishers and subscribers draw what they do; it is said when something fails. `scripts/stress.sh` sets both.

#![allow(clippy::unwrap_used, clippy::panic, reason = "in a test a panic is the report")]

#[path = "support/block_on.rs"]
mod block_on;
#[path = "support/laws.rs"]
mod laws;
#[path = "support/stress.rs"]
mod stress;
#[path = "support/bus.rs"]
mod support;
#[path = "support/threads.rs"]
mod threads;

use block_on::block_on;
use codomyrmex_events::{
    Backoff, BoxError, Delivery, Event, EventBus, EventPublishError, Overflow, OwnedDelivery,
    PublishErrorKind,
};
use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex, Once, Weak};
use std::thread;
use std::time::{Duration, Instant};
use stress::{Random, Seed, mixed};
use support::{WATCHDOG, capture, is_dropped, watched};

const PUBLISHERS: usize = 8;
const SUBSCRIBERS: usize = 64;

/// One bus is not strained for longer, so that what the subscribers note down stays small.
const ROUND_MAX: Duration = Duration::from_secs(2);

/// What handlers fail and panic with on purpose.
const INJECTED: &str = "injected";

/// Panics that are injected are not worth a backtrace.
fn hush() {
    static HUSHED: Once = Once::new();
    HUSHED.call_once(|| {
        let usual = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            if panic.payload().downcast_ref::<&str>() != Some(&INJECTED) {
                usual(panic);
            }
        }));
    });
}

/// What one permanent subscriber has seen, by its own count.
#[derive(Default)]
struct Seen {
    /// Of the plain ones: the numbers of the publications.
    sequences: Mutex<Vec<u64>>,
    /// The last number from each publisher.
    last: Mutex<[u64; PUBLISHERS]>,
    out_of_order: AtomicU64,
    asked: AtomicU64,
    declined: AtomicU64,
    calls: AtomicU64,
    succeeded: AtomicU64,
    failed: AtomicU64,
}

impl Seen {
    fn note(&self, event: &Event, sequence: u64, attempt: u32, is_ordered: bool) {
        self.calls.fetch_add(1, SeqCst);
        self.sequences.lock().unwrap().push(sequence);
        let publisher = event.source().as_str().strip_prefix('p').and_then(|number| number.parse().ok());
        let Some(publisher) = publisher.filter(|_: &usize| is_ordered && attempt == 1) else { return };
        let mut last = self.last.lock().unwrap();
        if last[publisher] >= sequence {
            self.out_of_order.fetch_add(1, SeqCst);
        }
        last[publisher] = sequence;
    }

    /// Fails now and then, and counts.
    fn may_fail(&self, sequence: u64, attempt: u32) -> Result<(), BoxError> {
        self.calls.fetch_add(1, SeqCst);
        let lot = mixed(sequence ^ (u64::from(attempt) << 48)) % 64;
        if lot < 3 {
            self.failed.fetch_add(1, SeqCst);
            if lot == 0 {
                std::panic::panic_any(INJECTED);
            }
            return Err(INJECTED.into());
        }
        self.succeeded.fetch_add(1, SeqCst);
        Ok(())
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Manner {
    Plain,
    PlainAsync,
    Concurrent,
    Filtered,
    Once,
    Retried,
    RetriedAsync,
    /// Publishes now and then.
    Nesting,
}

const MANNERS: [Manner; 8] = [
    Manner::Plain,
    Manner::PlainAsync,
    Manner::Concurrent,
    Manner::Filtered,
    Manner::Once,
    Manner::Retried,
    Manner::RetriedAsync,
    Manner::Nesting,
];

/// A permanent subscriber.
struct Permanent {
    id: String,
    manner: Manner,
    seen: Arc<Seen>,
    capture: Weak<()>,
}

/// What the strain is made of.
struct Strain {
    bus: EventBus,
    overflow: Overflow,
    /// The numbers of all accepted events.
    accepted: Mutex<Vec<u64>>,
    /// Of those that handlers published.
    nested: Mutex<Vec<u64>>,
    offered: AtomicU64,
    refused: AtomicU64,
    /// Handlers called after their end.
    called_after: Arc<AtomicU64>,
    /// Subscribers that came later and stayed, by id, with their calls.
    latecomers: Mutex<Vec<(String, Arc<AtomicU64>)>>,
    is_over: AtomicBool,
}

impl Strain {
    /// Notes an answer.
    fn note(&self, answer: Result<u64, EventPublishError>, own: &mut Vec<u64>) {
        self.offered.fetch_add(1, SeqCst);
        match answer {
            Ok(sequence) => own.push(sequence),
            Err(refusal) => {
                assert!(matches!(refusal.kind(), PublishErrorKind::Full(_)), "{refusal}");
                assert!(refusal.event().is_some(), "a refused event comes back");
                self.refused.fetch_add(1, SeqCst);
            }
        }
    }

    /// Publishes in all ways until it is over.
    fn publish(&self, publisher: usize, seed: u64) {
        let mut random = Random(seed ^ (publisher as u64) << 32);
        let source = format!("p{publisher}");
        let mut own = Vec::new();
        let make = |random: &mut Random| {
            let event_type = ["stress.even", "stress.odd", "build.start"][random.below(3) as usize];
            Event::builder(event_type, source.as_str()).build().unwrap()
        };
        while !self.is_over.load(SeqCst) {
            match random.below(8) {
                0..4 => {
                    let event = make(&mut random);
                    self.note(self.bus.publish(event).map(|published| published.sequence()), &mut own);
                }
                4..6 => {
                    let event = make(&mut random);
                    let answer = block_on(self.bus.publish_async(event));
                    self.note(answer.map(|published| published.sequence()), &mut own);
                }
                6 => {
                    let events: Vec<Event> = (0..random.below(6)).map(|_| make(&mut random)).collect();
                    for answer in self.bus.publish_batch(events) {
                        self.note(answer.map(|published| published.sequence()), &mut own);
                    }
                }
                _ => {
                    let answer = block_on(self.bus.publish_and_wait(make(&mut random)));
                    if let Ok(report) = &answer {
                        assert!(report.is_complete());
                    }
                    self.note(answer.map(|report| report.sequence()), &mut own);
                }
            }
        }
        assert!(own.is_sorted(), "a publisher's events are numbered in its order");
        self.accepted.lock().unwrap().append(&mut own);
    }

    /// Subscribes and unsubscribes until it is over; how often.
    fn churn(&self, seed: u64) -> u64 {
        let mut random = Random(seed);
        let mut rounds = 0;
        while !self.is_over.load(SeqCst) {
            rounds += 5;
            for _ in 0..4 {
                drop(self.bus.subscribe("stress.*").handler(|_| ()).unwrap().scoped());
            }
            let (value, seen) = capture();
            let has_ended = Arc::new(AtomicBool::new(false));
            let (ended, late) = (Arc::clone(&has_ended), Arc::clone(&self.called_after));
            let builder = self.bus.subscribe(["stress.*", "*.start"]).priority(random.below(3) as i32 - 1);
            let subscription = if random.below(2) == 0 {
                builder.handler(move |_| {
                    std::hint::black_box(&value);
                    late.fetch_add(u64::from(ended.load(SeqCst)), SeqCst);
                })
            } else {
                builder.mailbox(4).overflow(Overflow::DropNewest).async_handler(move |_: OwnedDelivery| {
                    let (value, ended, late) = (Arc::clone(&value), Arc::clone(&ended), Arc::clone(&late));
                    async move {
                        tokio::task::yield_now().await;
                        late.fetch_add(u64::from(ended.load(SeqCst)), SeqCst);
                        drop(value);
                    }
                })
            };
            let subscription = subscription.unwrap();
            if random.below(4) == 0 {
                thread::yield_now();
            }
            let is_awaited = match random.below(4) {
                0 => subscription.unsubscribe_and_wait(WATCHDOG).is_ok(),
                1 => block_on(subscription.unsubscribe_and_wait_async(WATCHDOG)).is_ok(),
                2 => !subscription.unsubscribe(),
                _ => {
                    drop(subscription.scoped());
                    false
                }
            };
            if rounds % 10 == 0 {
                self.come_late();
            }
            if is_awaited {
                has_ended.store(true, SeqCst);
                assert!(is_dropped(&seen), "a capture is alive after its end");
            }
        }
        rounds
    }
}

impl Strain {
    /// Subscribes one that stays: likely in the place of one that has just ended, and may still be busy.
    fn come_late(&self) {
        let mut latecomers = self.latecomers.lock().unwrap();
        if latecomers.len() < 32 {
            let (id, calls) = (format!("late{}", latecomers.len()), Arc::new(AtomicU64::new(0)));
            let calling = Arc::clone(&calls);
            let builder = self.bus.subscribe("build.*").subscriber_id(id.as_str());
            let handler = move |_: &Delivery<'_>| {
                calling.fetch_add(1, SeqCst);
            };
            builder.handler(handler).unwrap();
            latecomers.push((id, calls));
        }
    }
}

fn settle(strain: &Arc<Strain>) -> Vec<Permanent> {
    let backoff = Backoff::exponential(Duration::from_micros(100), Duration::from_millis(2));
    let nested = Arc::downgrade(strain);
    (0..SUBSCRIBERS)
        .map(|number| {
            let manner = MANNERS[number % MANNERS.len()];
            let id = format!("{manner:?}{number}");
            let seen = Arc::new(Seen::default());
            let (value, capture) = capture();
            let noting = Arc::clone(&seen);
            let patterns = if number % 16 < 8 { ["*", "stress.*"] } else { ["stress.*", "build.*"] };
            let plain = matches!(manner, Manner::Plain | Manner::PlainAsync | Manner::Concurrent);
            let builder = strain.bus.subscribe(if plain { ["*", "stress.*"] } else { patterns });
            let builder = builder.subscriber_id(id.as_str()).priority(number as i32 % 5);
            let nested = Weak::clone(&nested);
            let subscription = match manner {
                Manner::Plain => builder.handler(move |delivery| {
                    std::hint::black_box(&value);
                    noting.note(delivery, delivery.sequence(), delivery.attempt(), true);
                }),
                Manner::PlainAsync | Manner::Concurrent => {
                    let is_ordered = manner == Manner::PlainAsync;
                    builder
                        .mailbox(32)
                        .overflow(strain.overflow)
                        .concurrency(if is_ordered { 1 } else { 4 })
                        .async_handler(move |delivery: OwnedDelivery| {
                            let (noting, value) = (Arc::clone(&noting), Arc::clone(&value));
                            async move {
                                noting.note(&delivery, delivery.sequence(), delivery.attempt(), is_ordered);
                                if delivery.sequence().is_multiple_of(8) {
                                    tokio::task::yield_now().await;
                                }
                                drop(value);
                            }
                        })
                }
                Manner::Filtered => {
                    let asking = Arc::clone(&seen);
                    let filter = move |event: &Event| {
                        asking.asked.fetch_add(1, SeqCst);
                        let is_wanted = event.event_type().as_str() != "stress.odd";
                        asking.declined.fetch_add(u64::from(!is_wanted), SeqCst);
                        is_wanted
                    };
                    builder.filter(filter).handler(move |delivery| {
                        std::hint::black_box(&value);
                        assert_ne!(delivery.event_type().as_str(), "stress.odd");
                        noting.calls.fetch_add(1, SeqCst);
                        noting.succeeded.fetch_add(1, SeqCst);
                    })
                }
                Manner::Once => builder.once().handler(move |_| {
                    std::hint::black_box(&value);
                    noting.calls.fetch_add(1, SeqCst);
                }),
                Manner::Retried => builder.attempts(3).backoff(backoff).handler(move |delivery| {
                    std::hint::black_box(&value);
                    noting.may_fail(delivery.sequence(), delivery.attempt())
                }),
                Manner::RetriedAsync => {
                    builder.attempts(2).backoff(backoff).mailbox(32).overflow(strain.overflow).async_handler(
                        move |delivery: OwnedDelivery| {
                            let (noting, value) = (Arc::clone(&noting), Arc::clone(&value));
                            async move {
                                let _value = value;
                                noting.may_fail(delivery.sequence(), delivery.attempt())
                            }
                        },
                    )
                }
                Manner::Nesting => builder.handler(move |delivery| {
                    std::hint::black_box(&value);
                    noting.calls.fetch_add(1, SeqCst);
                    noting.succeeded.fetch_add(1, SeqCst);
                    let is_own = delivery.source().as_str() == "nested";
                    if !is_own && mixed(delivery.sequence()).is_multiple_of(256) {
                        let strain = nested.upgrade().expect("it is being strained");
                        let event = Event::builder("nested.event", "nested").build().unwrap();
                        let answer = strain.bus.publish(event).map(|published| published.sequence());
                        let mut own = Vec::new();
                        strain.note(answer, &mut own);
                        strain.nested.lock().unwrap().extend(&own);
                        strain.accepted.lock().unwrap().append(&mut own);
                    }
                }),
            };
            drop(subscription.unwrap());
            Permanent { id, manner, seen, capture }
        })
        .collect()
}

/// What the bus counts is what was seen; every accepted event came exactly once, or was dropped and counted.
fn check(strain: &Strain, permanent: &[Permanent]) -> (u64, u64) {
    let stats = strain.bus.get_stats();
    laws::check(&stats);
    assert_eq!((stats.offered, stats.refused), (strain.offered.load(SeqCst), strain.refused.load(SeqCst)));
    assert_eq!(strain.called_after.load(SeqCst), 0, "handlers were called after their end");
    let accepted = strain.accepted.lock().unwrap().clone();
    let accepted_once: HashSet<u64> = accepted.iter().copied().collect();
    assert_eq!((accepted.len(), accepted_once.len() as u64), (accepted_once.len(), stats.accepted));
    assert_eq!(stats.history.last_sequence, stats.accepted, "numbers have no gaps");

    let mut missing_before: Option<HashSet<u64>> = None;
    for Permanent { id, manner, seen, .. } in permanent {
        assert_eq!(seen.out_of_order.load(SeqCst), 0, "{id} heard events out of order");
        if *manner == Manner::Once {
            assert_eq!(seen.calls.load(SeqCst), 1, "of {id}");
            assert!(!stats.subscribers.contains_key(id), "{id} had its only turn");
            continue;
        }
        let counted = &stats.subscribers[id];
        let calls = seen.calls.load(SeqCst);
        match manner {
            Manner::Plain | Manner::PlainAsync | Manner::Concurrent => {
                let heard = seen.sequences.lock().unwrap();
                let heard_once: HashSet<u64> = heard.iter().copied().collect();
                assert_eq!(heard.len(), heard_once.len(), "{id} heard an event twice");
                assert!(heard_once.is_subset(&accepted_once), "{id} heard what was not accepted");
                assert_eq!(
                    (counted.deliveries.succeeded, calls),
                    (heard.len() as u64, heard.len() as u64),
                    "{id}"
                );
                let missing: HashSet<u64> = accepted_once.difference(&heard_once).copied().collect();
                assert_eq!(
                    missing.len() as u64,
                    stats.dropped + counted.deliveries.dropped,
                    "{id} misses events"
                );
                if matches!(strain.overflow, Overflow::Block(_)) {
                    // Nobody waits inside a handler, where an inline bus goes on to the mailboxes.
                    let nested = strain.nested.lock().unwrap().iter().copied().collect();
                    assert!(missing.is_subset(&nested), "{id} misses what publishers waited for");
                    assert!(
                        missing.is_empty() || !stats.async_enabled,
                        "{id} misses what a worker waited for"
                    );
                }
                if *manner == Manner::Plain {
                    assert_eq!(counted.deliveries.dropped, 0);
                    let others = missing_before.get_or_insert_with(|| missing.clone());
                    assert_eq!(*others, missing, "what is dropped whole nobody hears: {id}");
                }
            }
            Manner::Filtered => {
                let (asked, declined) = (seen.asked.load(SeqCst), seen.declined.load(SeqCst));
                assert_eq!((calls, counted.deliveries.total), (asked - declined, asked - declined), "{id}");
                assert_eq!((counted.filtered, counted.deliveries.succeeded), (declined, calls), "{id}");
            }
            Manner::Retried | Manner::RetriedAsync | Manner::Nesting => {
                let (succeeded, failed) = (seen.succeeded.load(SeqCst), seen.failed.load(SeqCst));
                assert_eq!(calls, succeeded + failed, "{id}");
                assert_eq!(
                    (counted.deliveries.succeeded, counted.failed_attempts),
                    (succeeded, failed),
                    "{id}"
                );
                let ended = succeeded + counted.deliveries.dead_lettered;
                assert_eq!(
                    calls,
                    ended + counted.retried,
                    "{id}: each attempt ends its delivery or is followed"
                );
            }
            Manner::Once => unreachable!("told above"),
        }
    }
    for (id, calls) in strain.latecomers.lock().unwrap().iter() {
        let (counted, calls) = (stats.subscribers[id].deliveries, calls.load(SeqCst));
        assert_eq!((counted.total, counted.succeeded), (calls, calls), "{id}");
    }
    (stats.accepted, stats.deliveries.total)
}

/// Strains one bus for a while.
fn round(is_queued: bool, overflow: Overflow, length: Duration, seed: u64) -> (u64, u64, u64) {
    let builder = EventBus::builder().max_workers(3);
    let builder = match is_queued {
        true => builder.queued().lanes(4).lane_room(64).overflow(overflow),
        false => builder,
    };
    let strain = Arc::new(Strain {
        bus: builder.build().unwrap(),
        overflow,
        accepted: Mutex::default(),
        nested: Mutex::default(),
        offered: AtomicU64::new(0),
        refused: AtomicU64::new(0),
        called_after: Arc::default(),
        latecomers: Mutex::default(),
        is_over: AtomicBool::new(false),
    });
    let permanent = settle(&strain);
    let (ends, mut changes) = (Instant::now() + length, 0);
    thread::scope(|scope| {
        let publishing: Vec<_> = (0..PUBLISHERS)
            .map(|publisher| {
                let strain = &strain;
                scope.spawn(move || strain.publish(publisher, seed))
            })
            .collect();
        let churning = scope.spawn(|| strain.churn(seed.rotate_left(17)));
        while Instant::now() < ends && publishing.iter().all(|thread| !thread.is_finished()) {
            assert!(strain.bus.get_stats().history.kept <= 1_000);
            thread::sleep(Duration::from_millis(5));
        }
        strain.is_over.store(true, SeqCst);
        changes = churning.join().unwrap();
    });
    strain.bus.flush(WATCHDOG).unwrap();
    let (accepted, deliveries) = check(&strain, &permanent);
    let report = strain.bus.shutdown(WATCHDOG);
    assert!(report.is_complete() && report.undelivered().is_empty());
    laws::check(&strain.bus.get_stats());
    drop(strain);
    threads::wait_until_none(WATCHDOG);
    for Permanent { id, capture, .. } in &permanent {
        assert!(is_dropped(capture), "a capture of {id} outlived the bus");
    }
    (accepted, deliveries, changes)
}

fn strained(is_queued: bool, overflow: Overflow) {
    let _alone = threads::alone();
    hush();
    let seed = Seed::given();
    let mut left = Duration::from_secs(stress::seconds().unwrap_or(2));
    let mut number = 0;
    while !left.is_zero() {
        let length = left.min(ROUND_MAX);
        let drawn = mixed(seed.0.wrapping_add(number));
        let (accepted, deliveries, changes) =
            watched("a round", move || round(is_queued, overflow, length, drawn));
        println!(
            "round {number}: {accepted} events, {deliveries} deliveries, {changes} subscriptions came and went"
        );
        left -= length;
        number += 1;
    }
}

/// Far longer than anybody has to wait here.
const BLOCK: Overflow = Overflow::Block(Duration::from_secs(600));

#[test]
fn inline_who_finds_a_full_mailbox_waits() {
    strained(false, BLOCK);
}

#[test]
fn inline_a_full_mailbox_rejects() {
    strained(false, Overflow::Reject);
}

#[test]
fn inline_a_full_mailbox_drops_the_oldest() {
    strained(false, Overflow::DropOldest);
}

#[test]
fn inline_a_full_mailbox_drops_the_newest() {
    strained(false, Overflow::DropNewest);
}

#[test]
fn queued_who_finds_no_room_waits() {
    strained(true, BLOCK);
}

#[test]
fn queued_what_finds_no_room_is_rejected() {
    strained(true, Overflow::Reject);
}

#[test]
fn queued_the_oldest_makes_room() {
    strained(true, Overflow::DropOldest);
}

#[test]
fn queued_the_newest_is_dropped() {
    strained(true, Overflow::DropNewest);
}
