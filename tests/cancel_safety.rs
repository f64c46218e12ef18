//! Every future of a bus, dropped after any number of polls, thousands of times beside each other: no place, count or
//! timer is left taken.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the report")]

#[path = "support/laws.rs"]
mod laws;
#[path = "support/stress.rs"]
mod stress;
#[path = "support/bus.rs"]
mod support;
#[path = "support/threads.rs"]
mod threads;

use codomyrmex_events::{Event, EventBus, Overflow, OwnedDelivery, Stats};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::{Duration, Instant};
use stress::{Random, Seed, mixed};
use support::{WATCHDOG, capture, is_dropped};
use tokio::sync::watch;

const THREADS: u64 = 4;
const FUTURES_EACH: u64 = 2_500;
const ROOM: usize = 4;

/// Longer than the test can take.
const FOR_EVER: Duration = Duration::from_secs(600);

/// Polls up to `polls` times and drops the future; what it said, and whether it was polled.
fn polled<T>(random: &mut Random, future: impl Future<Output = T>) -> (Option<T>, bool) {
    let polls = random.below(6);
    let mut future = pin!(future);
    for _ in 0..polls {
        if let Poll::Ready(answer) = future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            return (Some(answer), true);
        }
        match random.below(4) {
            0 => thread::sleep(Duration::from_micros(random.below(200))),
            _ => thread::yield_now(),
        }
    }
    (None, polls > 0)
}

/// What became of the events that were handed in.
#[derive(Default)]
struct Tally {
    /// Accepted, by their publisher's knowledge.
    accepted: AtomicU64,
    /// Polled by one who would not have been told before its deliveries were over.
    perhaps: AtomicU64,
}

fn futures(bus: &EventBus, random: &mut Random, tally: &Tally) {
    let event = |random: &mut Random| {
        let source = format!("s{}", random.below(4));
        Event::builder("a.b", source.as_str()).build().unwrap()
    };
    for _ in 0..FUTURES_EACH {
        match random.below(10) {
            0..4 => {
                let event = event(random);
                let (answer, _) = polled(random, bus.publish_async(event));
                tally.accepted.fetch_add(answer.map_or(0, |answer| u64::from(answer.is_ok())), SeqCst);
            }
            4..7 => {
                let event = event(random);
                let (answer, is_polled) = polled(random, bus.publish_and_wait(event));
                match answer {
                    Some(answer) => {
                        assert!(answer.unwrap().is_complete());
                        tally.accepted.fetch_add(1, SeqCst);
                    }
                    None => drop(tally.perhaps.fetch_add(u64::from(is_polled), SeqCst)),
                }
            }
            7 => drop(polled(random, bus.flush_async(FOR_EVER)).0.map(Result::unwrap)),
            8 => drop(polled(random, bus.sleep(Duration::from_micros(500)))),
            _ => {
                let (value, seen) = capture();
                let subscription = bus.subscribe("a.*").handler(move |_| {
                    std::hint::black_box(&value);
                });
                let subscription = subscription.unwrap();
                let (answer, is_polled) = polled(random, subscription.unsubscribe_and_wait_async(FOR_EVER));
                if let Some(answer) = answer {
                    answer.unwrap();
                    assert!(is_dropped(&seen));
                }
                assert_eq!(subscription.unsubscribe(), !is_polled, "unpolled, it did nothing");
            }
        }
    }
}

/// At least one round of it.
fn dropped_at_any_moment(is_queued: bool) {
    let _alone = threads::alone();
    let seed = Seed::given();
    let end = Instant::now() + Duration::from_secs(stress::seconds().unwrap_or(0));
    for number in 0.. {
        round(is_queued, mixed(seed.0.wrapping_add(number)));
        if Instant::now() >= end {
            return;
        }
    }
}

fn round(is_queued: bool, seed: u64) {
    let builder = EventBus::builder().max_workers(2);
    let builder = match is_queued {
        true => builder.queued().lanes(1).lane_room(ROOM).overflow(Overflow::Block(FOR_EVER)),
        false => builder,
    };
    let bus = builder.build().unwrap();
    let calls = Arc::new(AtomicU64::new(0));
    let calling = Arc::clone(&calls);
    let (gate, opens) = watch::channel(true);
    bus.subscribe("a.b")
        .subscriber_id("own")
        .mailbox(ROOM)
        .overflow(Overflow::Block(FOR_EVER))
        .async_handler(move |_: OwnedDelivery| {
            let (calling, mut opens) = (Arc::clone(&calling), opens.clone());
            async move {
                tokio::task::yield_now().await;
                opens.wait_for(|is_open| *is_open).await.unwrap();
                calling.fetch_add(1, SeqCst);
            }
        })
        .unwrap();
    let tally = Tally::default();
    thread::scope(|scope| {
        for number in 0..THREADS {
            let (bus, tally, seed) = (&bus, &tally, mixed(seed.wrapping_add(number)));
            scope.spawn(move || futures(bus, &mut Random(seed), tally));
        }
    });
    bus.flush(WATCHDOG).unwrap();
    let stats = bus.get_stats();
    laws::check(&stats);
    assert_eq!((stats.refused, stats.dropped, stats.deliveries.dropped), (0, 0, 0));
    let (accepted, perhaps) = (tally.accepted.load(SeqCst), tally.perhaps.load(SeqCst));
    let range = accepted..=accepted + perhaps;
    assert!(range.contains(&stats.accepted), "{} is not in {range:?}", stats.accepted);
    let own = &stats.subscribers["own"];
    assert_eq!((own.deliveries.succeeded, calls.load(SeqCst)), (stats.accepted, stats.accepted));
    assert_eq!((own.waiting, stats.queued), (Some(0), [0; 4]));
    println!("{accepted} events accepted, and {} of {perhaps} others", stats.accepted - accepted);

    every_place_is_free(&bus, &gate, is_queued);
    drop(bus);
    threads::wait_until_none(WATCHDOG);
}

/// Fills the mailbox, and of a queued bus the lane too, whose worker waits for a place in the mailbox then: as many find
/// one as there are, at once, and then it is full.
fn every_place_is_free(bus: &EventBus, gate: &watch::Sender<bool>, is_queued: bool) {
    gate.send(false).unwrap();
    let is_accepted = || {
        let event = Event::builder("a.b", "s").build().unwrap();
        pin!(bus.publish_async(event)).poll(&mut Context::from_waker(Waker::noop())).is_ready()
    };
    let wait_until = |is_so: &dyn Fn(&Stats) -> bool| {
        for _ in 0..WATCHDOG.as_millis() {
            if is_so(&bus.get_stats()) {
                return;
            }
            thread::sleep(Duration::from_millis(1));
        }
        assert!(is_so(&bus.get_stats()));
    };
    assert!(is_accepted());
    wait_until(&|stats| stats.subscribers["own"].deliveries.pending == 1 && is_waiting(stats, 0));
    for taken in 1..=ROOM {
        assert!(is_accepted());
        wait_until(&|stats| is_waiting(stats, taken));
    }
    if is_queued {
        assert!(is_accepted());
        wait_until(&|stats| stats.subscribers["own"].deliveries.pending == ROOM as u64 + 2);
        (0..ROOM).for_each(|_| assert!(is_accepted()));
    }
    assert!(!is_accepted());
    gate.send(true).unwrap();
    bus.flush(WATCHDOG).unwrap();
    laws::check(&bus.get_stats());
}

fn is_waiting(stats: &Stats, deliveries: usize) -> bool {
    stats.subscribers["own"].waiting == Some(deliveries)
}

#[test]
fn futures_of_an_inline_bus() {
    dropped_at_any_moment(false);
}

#[test]
fn futures_of_a_queued_bus() {
    dropped_at_any_moment(true);
}
