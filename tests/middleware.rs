//! The interceptors that come with the crate: what passes, what does not, at which time, and with how much memory.

#![allow(clippy::unwrap_used, clippy::panic, reason = "in a test a panic is the report")]

#[path = "support/laws.rs"]
mod laws;
#[path = "support/bus.rs"]
mod support;

use codomyrmex_events::{
    Deduplication, Delivery, DuplicateEvent, Event, EventBus, EventMetrics, EventPublishError, MetadataStamp,
    OwnedDelivery, Payload, PublishErrorKind, RateLimit, RateLimited, Redaction,
};
use serde_json::{Value, json};
use std::error::Error;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Barrier};
use std::task::{Context, Waker};
use std::thread;
use std::time::Duration;
use support::{WATCHDOG, event, publish};

const SECOND: Duration = Duration::from_secs(1);

/// The reason that an interceptor gave.
fn reason<E: Error + Clone + 'static>(refusal: &EventPublishError) -> E {
    let PublishErrorKind::Intercepted(error) = refusal.kind() else { panic!("{refusal}") };
    error.downcast_ref::<E>().unwrap_or_else(|| panic!("{refusal}")).clone()
}

fn with_id(id: &str) -> Event {
    Event::builder("x", "test").event_id(id).build().unwrap()
}

fn from(source: &str) -> Event {
    Event::builder("x", source).build().unwrap()
}

#[test]
fn an_id_passes_once_within_the_window_of_the_bus_clock() {
    let once = Deduplication::within(SECOND);
    let (bus, driver) = EventBus::builder().intercept_publish(once.clone()).manual().build().unwrap();
    bus.publish(with_id("a")).unwrap();
    bus.publish(with_id("b")).unwrap();
    driver.advance(SECOND - Duration::from_nanos(1));
    let refusal = bus.publish(with_id("a")).unwrap_err();
    let duplicate: DuplicateEvent = reason(&refusal);
    assert_eq!(
        (duplicate.event_id(), duplicate.ago()),
        (refusal.event().unwrap().event_id(), SECOND - Duration::from_nanos(1))
    );
    driver.advance(Duration::from_nanos(1));
    bus.publish(with_id("a")).unwrap();
    assert_eq!((once.duplicates(), once.forgotten()), (1, 0));
    driver.run_until_idle();
    laws::check(&bus.get_stats());
}

#[test]
fn of_many_publishes_that_race_with_one_id_exactly_one_passes() {
    const THREADS: usize = 8;
    const ROUNDS: usize = 300;
    for is_queued in [false, true] {
        let builder = EventBus::builder().intercept_publish(Deduplication::within(WATCHDOG));
        let bus = if is_queued { builder.queued() } else { builder }.build().unwrap();
        let (passed, barrier) = (AtomicUsize::new(0), Barrier::new(THREADS));
        thread::scope(|threads| {
            for _ in 0..THREADS {
                threads.spawn(|| {
                    for round in 0..ROUNDS {
                        barrier.wait();
                        let outcome = bus.publish(with_id(&round.to_string()));
                        passed.fetch_add(usize::from(outcome.is_ok()), SeqCst);
                    }
                });
            }
        });
        assert_eq!(passed.load(SeqCst), ROUNDS);
        bus.flush(WATCHDOG).unwrap();
        let stats = bus.get_stats();
        assert_eq!((stats.accepted, stats.offered), (ROUNDS as u64, (ROUNDS * THREADS) as u64));
        laws::check(&stats);
    }
}

#[test]
fn an_id_whose_event_was_not_accepted_may_be_offered_again() {
    use codomyrmex_events::{BoxError, OfferedEvent, Overflow};
    let once = Deduplication::within(WATCHDOG);
    let builder =
        EventBus::builder().lanes(1).lane_room(1).max_workers(1).overflow(Overflow::Block(WATCHDOG));
    let bus = builder.queued().intercept_publish(once.clone()).build().unwrap();
    let refuses =
        bus.intercept_publish(|_: &mut OfferedEvent<'_>| -> Result<(), BoxError> { Err("no".into()) });
    bus.publish(with_id("refused")).unwrap_err();
    assert!(refuses.remove());
    bus.publish(with_id("refused")).unwrap();

    let gate = Arc::new(Barrier::new(2));
    let held = Arc::clone(&gate);
    bus.subscribe("block")
        .handler(move |_: &Delivery<'_>| {
            held.wait();
        })
        .unwrap();
    bus.subscribe("x").handler(|_| ()).unwrap();
    publish(&bus, "block");
    while bus.get_stats().queued.iter().sum::<usize>() != 0 {
        thread::yield_now();
    }
    bus.publish(with_id("fills the lane")).unwrap();
    let mut withdrawn = Box::pin(bus.publish_async(with_id("withdrawn")));
    assert!(withdrawn.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    drop(withdrawn);
    gate.wait();
    bus.publish(with_id("withdrawn")).unwrap();
    assert_eq!(once.duplicates(), 0);
    bus.flush(WATCHDOG).unwrap();
    laws::check(&bus.get_stats());
}

#[test]
fn what_was_accepted_and_dropped_may_be_redriven_and_is_still_known() {
    let builder = EventBus::builder().lanes(1).lane_room(1).keep_dropped();
    let builder = builder.overflow(codomyrmex_events::Overflow::DropNewest);
    let (bus, driver) = builder.intercept_publish(Deduplication::within(WATCHDOG)).manual().build().unwrap();
    bus.subscribe("*").handler(|_| ()).unwrap();
    bus.publish(with_id("a")).unwrap();
    bus.publish(with_id("dropped")).unwrap();
    driver.run_until_idle();
    let letter = bus.dead_letter_queue().letters()[0].id();
    bus.dead_letter_queue().redrive(letter).unwrap();
    bus.publish(with_id("dropped")).unwrap_err();
    driver.run_until_idle();
    laws::check(&bus.get_stats());
}

#[test]
fn a_source_has_its_bucket_which_drips_by_the_bus_clock() {
    let limit = RateLimit::per_source(2, SECOND).burst(3).sources(2);
    let (bus, driver) = EventBus::builder().intercept_publish(limit).manual().build().unwrap();
    let passed = |source: &str| (0..10).filter(|_| bus.publish(from(source)).is_ok()).count();
    assert_eq!((passed("a"), passed("b")), (3, 3), "the burst");
    let refusal: RateLimited = reason(&bus.publish(from("a")).unwrap_err());
    assert_eq!((refusal.event_source().as_str(), refusal.retry_after()), ("a", SECOND / 2));
    driver.advance(refusal.retry_after() - Duration::from_nanos(1));
    assert_eq!(passed("a"), 0);
    driver.advance(Duration::from_nanos(1));
    assert_eq!((passed("a"), passed("b")), (1, 1));
    driver.advance(SECOND * 100);
    assert_eq!(passed("a"), 3, "no more than the burst");
    assert_eq!(passed("c") + passed("d") + passed("e"), 3, "the others share a bucket");
    driver.run_until_idle();
    laws::check(&bus.get_stats());
}

#[test]
fn the_ends_of_the_range_of_limits_are_what_they_say() {
    for (events, per, expected) in [
        (0, SECOND, 0),
        (1, Duration::ZERO, 1_000),
        (5, Duration::MAX, 5),
        (u32::MAX, Duration::from_nanos(1), 1_000),
    ] {
        let (bus, driver) = EventBus::builder()
            .intercept_publish(RateLimit::per_source(events, per))
            .manual()
            .build()
            .unwrap();
        driver.advance(SECOND);
        let passed = (0..1_000).filter(|_| bus.publish(from("a")).is_ok()).count();
        assert_eq!(passed, expected, "{events} in {per:?}");
        if events == 0 {
            let refusal: RateLimited = reason(&bus.publish(from("a")).unwrap_err());
            assert_eq!(refusal.retry_after(), Duration::MAX);
        }
    }
}

#[test]
fn a_limit_for_more_sources_than_there_may_be_takes_what_memory_it_says() {
    let limit = RateLimit::per_source(1, SECOND).sources(usize::MAX);
    let (bus, _driver) = EventBus::builder().intercept_publish(limit).manual().build().unwrap();
    bus.publish(from("a")).unwrap();
    bus.publish(from("a")).unwrap_err();
    bus.publish(from("b")).unwrap();
}

#[test]
fn a_limit_is_exact_however_many_threads_publish() {
    let limit = RateLimit::per_source(1_000, Duration::from_secs(1_000_000));
    let bus = EventBus::builder().intercept_publish(limit).build().unwrap();
    let passed = AtomicUsize::new(0);
    thread::scope(|threads| {
        for _ in 0..8 {
            threads.spawn(|| {
                let mine = (0..500).filter(|_| bus.publish(from("a")).is_ok()).count();
                passed.fetch_add(mine, SeqCst);
            });
        }
    });
    assert_eq!(passed.load(SeqCst), 1_000);
    laws::check(&bus.get_stats());
}

#[test]
fn secrets_are_replaced_by_name_and_by_place_and_the_publisher_s_event_stays() {
    #[derive(serde::Serialize)]
    struct Login {
        user: &'static str,
        token: &'static str,
    }
    let rows: [(Payload, Value); 6] = [
        (
            json!({"token": 1, "a": [{"TOKEN": {"deep": 2}}]}).into(),
            json!({"token": "***", "a": [{"TOKEN": "***"}]}),
        ),
        (json!({"card": {"number": 1, "year": 2}}).into(), json!({"card": {"number": "***", "year": 2}})),
        (json!({"list": [1, 2, 3]}).into(), json!({"list": [1, "***", 3]})),
        (json!({"tokens": 1, "card": 5}).into(), json!({"tokens": 1, "card": 5})),
        (Payload::from_json(r#"{"token": "x"}"#).unwrap(), json!({"token": "***"})),
        (Payload::typed(Login { user: "u", token: "t" }), json!({"user": "u", "token": "***"})),
    ];
    let redaction =
        Redaction::new().field("token").pointer("/card/number").unwrap().pointer("/list/1").unwrap();
    let bus = EventBus::builder().intercept_publish(redaction.replacement("***")).build().unwrap();
    for (data, expected) in rows {
        let event =
            Event::builder("x", "test").data(data).metadata_entry("Token", "m").metadata_entry("k", "v");
        let mine = Arc::new(event.build().unwrap());
        let before = mine.to_json().unwrap();
        bus.publish(Arc::clone(&mine)).unwrap();
        let heard = Arc::clone(bus.history().latest(1)[0].event());
        assert_eq!(heard.data().value().unwrap(), &expected);
        assert_eq!(serde_json::to_value(heard.metadata()).unwrap(), json!({"Token": "***", "k": "v"}));
        assert_eq!((heard.event_id(), heard.timestamp()), (mine.event_id(), mine.timestamp()));
        assert_eq!(mine.to_json().unwrap(), before);
    }
    let text = r#"{"n": 1.10, "a": {"token": "s"}, "a": 123456789012345678901234567890}"#;
    let data = Payload::from_json(text).unwrap();
    bus.publish(Event::builder("x", "test").data(data).build().unwrap()).unwrap();
    let heard = Arc::clone(bus.history().latest(1)[0].event());
    assert_eq!(
        heard.data().json().unwrap(),
        text.replace(r#""s""#, r#""***""#),
        "and what a tree would not show"
    );
    let unreadable = Event::builder("x", "test").data(Payload::typed(f64::NAN)).build().unwrap();
    assert!(matches!(bus.publish(unreadable).unwrap_err().kind(), PublishErrorKind::Intercepted(_)));
    assert!(Redaction::new().pointer("card").is_err());
    let plain = Arc::new(Event::builder("x", "test").data(json!({"a": 1})).build().unwrap());
    bus.publish(Arc::clone(&plain)).unwrap();
    assert!(Arc::ptr_eq(&plain, bus.history().latest(1)[0].event()), "nothing is copied in vain");
}

#[test]
fn a_stamp_fills_in_what_is_not_said() {
    let stamp = MetadataStamp::new().entry("host", "h").entry("region", json!({"name": "eu"}));
    let bus = EventBus::builder().intercept_publish(stamp).build().unwrap();
    let mine = Event::builder("x", "test").metadata_entry("host", "mine").build().unwrap();
    bus.publish(mine).unwrap();
    let heard = Arc::clone(bus.history().latest(1)[0].event());
    assert_eq!(
        serde_json::to_value(heard.metadata()).unwrap(),
        json!({"host": "mine", "region": {"name": "eu"}})
    );
}

#[test]
fn metrics_tell_types_apart_up_to_a_number_and_lose_none() {
    let metrics = EventMetrics::new();
    let (bus, driver) = EventBus::builder()
        .intercept_publish(metrics.clone())
        .intercept_publish(RateLimit::per_source(3, WATCHDOG))
        .intercept_handling(metrics.clone())
        .manual()
        .build()
        .unwrap();
    bus.subscribe("x").handler(|_: &Delivery<'_>| Err::<(), _>("no")).unwrap();
    bus.subscribe("x").async_handler(|_: OwnedDelivery| async {}).unwrap();
    for _ in 0..5 {
        drop(bus.publish(event("x")));
    }
    driver.run_until_idle();
    let x = metrics.by_type()["x"];
    assert_eq!((x.accepted, x.refused, x.succeeded, x.failed, x.handling.count), (3, 2, 3, 3, 6));

    let metrics = EventMetrics::new();
    let bus = EventBus::builder().history(0).intercept_publish(metrics.clone()).build().unwrap();
    (0..3_000).for_each(|n| publish(&bus, &format!("made.up.{n}")));
    assert_eq!(metrics.by_type().len(), 1_024);
    assert_eq!(metrics.of_others().accepted, 3_000 - 1_024);
}
