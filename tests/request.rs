//! Requests and replies: whose answer is whose, how a request ends without one, and what is left then.

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
    BoxError, Delivery, DeliveryEnding, Driver, Event, EventBus, EventPriority, FeedItem, OfferedEvent,
    Overflow, OwnedDelivery, PublishInterceptor, Recorded, RequestError, RequestErrorKind,
};
use executor::block_on;
use futures_util::StreamExt as _;
use serde_json::json;
use std::collections::BTreeMap;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex, mpsc};
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::Duration;
use stress::{Random, Seed, mixed};
use support::{WATCHDOG, capture, event, hold, is_dropped, publish, ready, watched};

const NO_TIME: Duration = Duration::ZERO;

fn ask(n: u64) -> Event {
    Event::builder("ask", "requester").data(json!(n)).build().unwrap()
}

fn number(event: &Event) -> u64 {
    event.data().value().unwrap().as_u64().unwrap()
}

fn queued() -> EventBus {
    EventBus::builder().max_workers(2).queued().build().unwrap()
}

/// Answers each `ask` with its square.
fn answer_squares(bus: &EventBus) {
    bus.subscribe("ask")
        .subscriber_id("squares")
        .handler(|asked| asked.reply(json!(number(asked) * number(asked))))
        .unwrap();
}

fn within(bus: &EventBus, event: Event, is_async: bool, limit: Duration) -> Result<Recorded, RequestError> {
    if is_async { block_on(bus.request(event).within_async(limit)) } else { bus.request(event).within(limit) }
}

fn four_ways() -> impl Iterator<Item = (EventBus, bool)> {
    [false, true].into_iter().flat_map(|is_async| [(EventBus::new(), is_async), (queued(), is_async)])
}

#[test]
fn a_request_gets_the_answer_to_it() {
    for (bus, is_async) in four_ways() {
        answer_squares(&bus);
        let request = Event::builder("ask", "requester").data(json!(7)).priority(EventPriority::Critical);
        let request = request.build().unwrap();
        let id = request.event_id().clone();
        let answer = within(&bus, request, is_async, WATCHDOG).unwrap();
        assert_eq!((number(&answer), answer.sequence()), (49, 2));
        assert_eq!((answer.event_type().as_str(), answer.source().as_str()), ("ask.reply", "squares"));
        assert_eq!((answer.causation_id(), answer.priority()), (Some(&id), EventPriority::Critical));
        let published = bus.history().query().since(1).events().unwrap();
        let correlation_ids: Vec<_> = published.iter().map(|event| event.correlation_id().cloned()).collect();
        assert!(
            correlation_ids[0].is_some() && correlation_ids[0] == correlation_ids[1],
            "{correlation_ids:?}"
        );
        assert!(Arc::ptr_eq(answer.event(), published[1].event()));
        bus.flush(WATCHDOG).unwrap();
        laws::check(&bus.get_stats());
    }
}

#[test]
fn a_request_keeps_the_correlation_id_that_it_has() {
    let bus = EventBus::new();
    answer_squares(&bus);
    let request = ask(1).to_builder().correlation_id("mine").build().unwrap();
    assert_eq!(bus.request(request).within(NO_TIME).unwrap().correlation_id().unwrap(), &"mine");
    let id = codomyrmex_events::CorrelationId::from_static("scope");
    let answer = codomyrmex_events::correlation::scope(&id, || bus.request(ask(1)).within(NO_TIME).unwrap());
    assert_eq!(answer.correlation_id(), Some(&id));
}

#[test]
fn asynchronous_handlers_answer_at_once_or_later() {
    for (bus, is_async) in four_ways() {
        let answering = |delivery: OwnedDelivery| async move {
            tokio::task::yield_now().await;
            match number(&delivery) % 3 {
                0 => drop(delivery.reply(json!(0))?),
                1 => drop(delivery.reply_async(json!(1)).await?),
                _ => {
                    let (bus, request) = (delivery.bus(), Arc::clone(delivery.event()));
                    tokio::spawn(async move { bus.reply_to(&request).send_async(json!(2)).await });
                }
            }
            Ok::<(), BoxError>(())
        };
        bus.subscribe("ask").async_handler(answering).unwrap();
        for n in 0..30 {
            assert_eq!(number(&within(&bus, ask(n), is_async, WATCHDOG).unwrap()), n % 3);
        }
    }
}

#[test]
fn the_first_answer_is_the_answer() {
    for (bus, is_async) in four_ways() {
        let twice = |asked: &Delivery<'_>| -> Result<(), BoxError> {
            asked.reply(json!(1))?;
            asked.reply(json!(2))?;
            Ok(())
        };
        bus.subscribe("ask").priority(1).handler(twice).unwrap();
        bus.subscribe("ask").handler(|asked| asked.reply(json!(3))).unwrap();
        let heard = Arc::new(AtomicU64::new(0));
        let hearing = Arc::clone(&heard);
        bus.subscribe("ask.reply")
            .handler(move |_| {
                hearing.fetch_add(1, SeqCst);
            })
            .unwrap();
        for round in 1..=20 {
            assert_eq!(number(&within(&bus, ask(0), is_async, WATCHDOG).unwrap()), 1);
            bus.flush(WATCHDOG).unwrap();
            assert_eq!(heard.load(SeqCst), 3 * round, "the others are events");
        }
    }
}

#[test]
fn whoever_can_publish_can_answer() {
    for (bus, is_async) in four_ways() {
        bus.subscribe("ask")
            .handler(|asked| {
                let answer = |data| Event::builder("ask.reply", "elsewhere").data(json!(data));
                let forged = answer(1).causation_id("another").build().unwrap();
                let other = Event::builder("ask.answer", "elsewhere").causation_id(asked.event_id().clone());
                let other = other.data(json!(2)).build().unwrap();
                let right = answer(3).causation_id(asked.event_id().clone()).build().unwrap();
                for event in [forged, other, right] {
                    asked.bus().publish(event).unwrap();
                }
            })
            .unwrap();
        assert_eq!(number(&within(&bus, ask(0), is_async, WATCHDOG).unwrap()), 3);
    }
}

#[test]
fn a_forged_answer_is_no_answer() {
    let (bus, driver) = EventBus::builder().manual().build().unwrap();
    bus.subscribe("ask").handler(|_| ()).unwrap();
    let mut waiting = pin!(bus.request(ask(1)).within_async(WATCHDOG));
    assert!(driver.block_on(waiting.as_mut()).is_none());
    publish(&bus, "ask.reply");
    let forged = event("ask.reply").to_builder().causation_id("another").build().unwrap();
    bus.publish(forged.clone()).unwrap();
    bus.reply_to(&forged).send(json!(1)).unwrap();
    let unasked = ask(2);
    bus.reply_to(&unasked).send(json!(2)).unwrap();
    assert!(driver.block_on(waiting.as_mut()).is_none());
    driver.advance(WATCHDOG);
    let error = driver.block_on(waiting).unwrap().unwrap_err();
    assert!(matches!(error.kind(), RequestErrorKind::TimedOut { limit: WATCHDOG }));
}

#[test]
fn an_answer_may_have_another_type() {
    let bus = EventBus::new();
    answer_squares(&bus);
    let answer = bus.request(ask(3)).reply_type("mine.reply").within(NO_TIME).unwrap();
    assert_eq!((number(&answer), answer.event_type().as_str()), (9, "mine.reply"));
    assert_eq!(
        bus.history().query().since(1).limit(1).events().unwrap()[0].metadata()["reply_type"],
        "mine.reply"
    );

    let long = "x".repeat(251);
    let longest = format!("{}.reply", "y".repeat(250));
    bus.subscribe(long.as_str()).handler(|asked| asked.reply(json!(1))).unwrap();
    let request = || Event::builder(long.as_str(), "s").build().unwrap();
    let error = bus.request(request()).within(NO_TIME).unwrap_err();
    assert!(matches!(error.kind(), RequestErrorKind::ReplyType(_)), "{error}");
    assert!(bus.request(request()).reply_type(longest.as_str()).within(NO_TIME).is_ok());
    let error = bus.request(request()).reply_type("deploy.start").within(NO_TIME).unwrap_err();
    assert!(matches!(error.kind(), RequestErrorKind::NoReplyType));
    let error = bus.request(request()).reply_type("").within(NO_TIME).unwrap_err();
    assert!(matches!(error.kind(), RequestErrorKind::ReplyType(_)));
    // What a stranger writes into the metadata makes no handler say anything but an answer.
    let sly = ask(2).to_builder().metadata_entry("reply_type", "deploy.start").build().unwrap();
    assert_eq!(bus.request(sly).within(NO_TIME).unwrap().event_type().as_str(), "ask.reply");
}

#[derive(Clone)]
struct Refuses;

impl PublishInterceptor for Refuses {
    fn before_publish(&self, offered: &mut OfferedEvent<'_>) -> Result<(), BoxError> {
        if offered.event().event_type().as_str() == "ask" { Err("no".into()) } else { Ok(()) }
    }
}

type Prepare = fn(&EventBus);
type Is = fn(&RequestErrorKind) -> bool;

/// How a request ends without an answer, long before its limit.
#[test]
fn a_request_that_nobody_will_answer_ends_at_once() {
    let cases: [(&str, Prepare, Is); 9] = [
        ("nobody hears", |_| (), |kind| matches!(kind, RequestErrorKind::Unheard)),
        (
            "others hear",
            |bus| drop(bus.subscribe("asks").handler(|_| ()).unwrap()),
            |kind| matches!(kind, RequestErrorKind::Unheard),
        ),
        (
            "a filter says no",
            |bus| drop(bus.subscribe("ask").filter(|_| false).handler(|_| ()).unwrap()),
            |kind| matches!(kind, RequestErrorKind::Unheard),
        ),
        (
            "the handler fails, at each attempt",
            |bus| {
                let backoff = codomyrmex_events::Backoff::exponential(NO_TIME, NO_TIME);
                let subscription = bus.subscribe("ask").attempts(3).backoff(backoff);
                drop(subscription.handler(|_| Err::<(), _>("broken")).unwrap());
            },
            |kind| {
                let RequestErrorKind::Failed { report } = kind else { return false };
                let outcome = &report.outcomes()[0];
                assert_eq!((outcome.attempts(), report.sequence()), (3, 1));
                *outcome.ending() == DeliveryEnding::Failed(vec!["broken".to_owned()])
            },
        ),
        (
            "the handler panics",
            |bus| drop(bus.subscribe("ask").handler(|_| -> () { panic!("broken") }).unwrap()),
            |kind| matches!(kind, RequestErrorKind::Failed { .. }),
        ),
        (
            "an asynchronous handler fails",
            |bus| {
                let failing = |_: OwnedDelivery| async { Err::<(), _>("broken") };
                drop(bus.subscribe("ask").async_handler(failing).unwrap());
            },
            |kind| matches!(kind, RequestErrorKind::Failed { .. }),
        ),
        (
            "it is answered with an error",
            |bus| drop(bus.subscribe("ask").handler(|asked| asked.reply_error("not now")).unwrap()),
            |kind| {
                let RequestErrorKind::Refused { message, answer } = kind else { return false };
                assert_eq!(kind.to_string(), "refused: not now");
                message == "not now" && answer.event_type().as_str() == "ask.reply"
            },
        ),
        (
            "an interceptor refuses",
            |bus| drop(bus.intercept_publish(Refuses)),
            |kind| matches!(kind, RequestErrorKind::Publish(_)),
        ),
        (
            "the bus is closed",
            |bus| drop(bus.shutdown(WATCHDOG)),
            |kind| matches!(kind, RequestErrorKind::Closed),
        ),
    ];
    for (name, prepare, is_so) in cases {
        for (bus, is_async) in four_ways() {
            prepare(&bus);
            let request = ask(5);
            let id = request.event_id().clone();
            let error = watched(name, move || within(&bus, request, is_async, WATCHDOG * 10)).unwrap_err();
            assert!(is_so(error.kind()), "{name}: {error}");
            assert_eq!(error.request().event_id(), &id);
        }
    }
}

#[test]
fn a_request_that_its_lane_drops_has_failed() {
    let lanes = EventBus::builder().queued().lanes(1).lane_room(1).overflow(Overflow::DropNewest);
    let (bus, _driver) = lanes.manual().build().unwrap();
    answer_squares(&bus);
    bus.publish(ask(1)).unwrap();
    let error = bus.request(ask(2)).within(WATCHDOG).unwrap_err();
    let RequestErrorKind::Failed { report } = error.kind() else { panic!("{error}") };
    assert!(report.is_dropped());
    assert_eq!(error.to_string(), "nobody handled the request: it was discarded");
}

#[test]
fn an_answer_counts_though_its_handler_fails() {
    for (bus, is_async) in four_ways() {
        let failing = |asked: &Delivery<'_>| -> Result<(), BoxError> {
            asked.reply(json!(1))?;
            Err("broken".into())
        };
        bus.subscribe("ask").handler(failing).unwrap();
        assert_eq!(number(&within(&bus, ask(0), is_async, WATCHDOG).unwrap()), 1);
    }
}

#[test]
fn who_has_handled_it_may_answer_until_the_limit() {
    let (bus, driver) = EventBus::builder().manual().build().unwrap();
    let kept = Arc::new(Mutex::new(Vec::new()));
    let keeping = Arc::clone(&kept);
    bus.subscribe("ask")
        .handler(move |asked| keeping.lock().unwrap().push(Arc::clone(asked.event())))
        .unwrap();
    let second = Duration::from_secs(1);
    for is_late in [false, true] {
        let mut waiting = pin!(bus.request(ask(1)).within_async(second));
        assert!(driver.block_on(waiting.as_mut()).is_none());
        let asked = kept.lock().unwrap().pop().unwrap();
        driver.advance(second / 2);
        assert!(driver.block_on(waiting.as_mut()).is_none());
        if is_late {
            driver.advance(second / 2);
            let error = driver.block_on(waiting).unwrap().unwrap_err();
            assert!(matches!(error.kind(), RequestErrorKind::TimedOut { .. }));
            // An event like any other.
            assert_eq!(
                bus.reply_to(&asked).send(json!(4)).unwrap().sequence(),
                bus.history().last_sequence()
            );
        } else {
            bus.reply_to(&asked).source("later").send(json!(4)).unwrap();
            assert_eq!(driver.block_on(waiting).unwrap().unwrap().source(), &"later");
        }
    }
}

#[test]
fn who_reads_a_stream_may_answer() {
    let bus = EventBus::new();
    let feed = bus.feed("ask").open().unwrap();
    let mut reader = feed.reader().unwrap();
    let answering = bus.clone();
    let thread = thread::spawn(move || match block_on(reader.next()) {
        Some(FeedItem::Event(asked)) => drop(answering.reply_to(&asked).send(json!(1)).unwrap()),
        other => panic!("{other:?}"),
    });
    assert_eq!(number(&bus.request(ask(1)).within(WATCHDOG).unwrap()), 1);
    thread.join().unwrap();
}

#[test]
fn an_answer_on_another_bus_is_none() {
    let (bus, driver) = EventBus::builder().manual().build().unwrap();
    let other = EventBus::new();
    let elsewhere = other.clone();
    bus.subscribe("ask").handler(move |asked| elsewhere.reply_to(asked.event()).send(json!(1))).unwrap();
    let mut waiting = pin!(bus.request(ask(1)).within_async(WATCHDOG));
    assert!(driver.block_on(waiting.as_mut()).is_none());
    assert_eq!(other.history().len(), 1);
    driver.advance(WATCHDOG);
    assert!(driver.block_on(waiting).unwrap().is_err());
}

#[test]
fn the_same_event_waits_once() {
    let (bus, driver) = EventBus::builder().manual().build().unwrap();
    bus.subscribe("ask").handler(|asked| asked.reply(json!(1))).unwrap();
    let event = Arc::new(ask(1));
    {
        let mut first = pin!(bus.request(Arc::clone(&event)).within_async(WATCHDOG));
        assert!(first.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        let error = ready(bus.request(Arc::clone(&event)).within_async(WATCHDOG)).unwrap_err();
        assert!(matches!(error.kind(), RequestErrorKind::AlreadyWaiting));
        assert_eq!(bus.history().last_sequence(), 1, "the second was not published");
    }
    // The first was dropped, and left nothing behind.
    assert_eq!(number(&driver.block_on(bus.request(event).within_async(WATCHDOG)).unwrap().unwrap()), 1);
}

#[test]
fn inside_a_handler_nobody_waits_for_what_is_not_there() {
    // Inline, the answer is there when the publish returns: at any depth, and to a request of its own kind.
    let bus = EventBus::new();
    let counting = |asked: &Delivery<'_>| -> Result<(), BoxError> {
        let below = match number(asked) {
            0 => 0,
            n => number(&*asked.bus().request(ask(n - 1)).within(WATCHDOG)?),
        };
        asked.reply(json!(below + 1))?;
        Ok(())
    };
    bus.subscribe("ask").handler(counting).unwrap();
    assert_eq!(number(&bus.request(ask(20)).within(WATCHDOG).unwrap()), 21);
    assert_eq!(bus.get_stats().deliveries.dead_lettered, 0);

    // Queued, it is not: the only worker would wait for itself.
    let bus = EventBus::builder().max_workers(1).queued().build().unwrap();
    bus.subscribe("ask").handler(|asked| asked.reply(json!(1))).unwrap();
    let (told, said) = mpsc::channel();
    let asking = move |go: &Delivery<'_>| {
        told.send(go.bus().request(ask(1)).within(WATCHDOG * 10).map_err(|error| error.kind().clone()))
            .unwrap();
    };
    bus.subscribe("go").handler(asking).unwrap();
    publish(&bus, "go");
    let said = said.recv_timeout(WATCHDOG).unwrap().unwrap_err();
    assert!(matches!(said, RequestErrorKind::WouldDeadlock), "{said}");
    bus.flush(WATCHDOG).unwrap();
    assert_eq!(
        bus.history().query().event_type("ask.reply").events().unwrap().len(),
        1,
        "the request stands"
    );

    // A manual bus has nobody who would answer meanwhile.
    let (bus, _driver) = EventBus::builder().manual().build().unwrap();
    bus.subscribe("ask").handler(|asked| asked.reply(json!(1))).unwrap();
    let error = bus.request(ask(1)).within(WATCHDOG).unwrap_err();
    assert!(matches!(error.kind(), RequestErrorKind::WouldDeadlock));
}

#[test]
fn an_asynchronous_handler_may_ask_another() {
    let bus = EventBus::builder().max_workers(1).queued().build().unwrap();
    answer_squares(&bus);
    let asking = |task: OwnedDelivery| async move {
        let square = task.bus().request(ask(number(&task))).within_async(WATCHDOG).await?;
        task.reply_async(json!(number(&square) + 1)).await?;
        Ok::<(), BoxError>(())
    };
    bus.subscribe("task").async_handler(asking).unwrap();
    for n in 0..20 {
        let task = Event::builder("task", "s").data(json!(n)).build().unwrap();
        assert_eq!(number(&bus.request(task).within(WATCHDOG).unwrap()), n * n + 1);
    }
}

/// All requests share one subscription, which is made anew where somebody ended it.
#[test]
fn requests_share_one_subscription() {
    let bus = EventBus::new();
    answer_squares(&bus);
    for _ in 0..3 {
        for n in 0..50 {
            assert_eq!(number(&bus.request(ask(n)).within(NO_TIME).unwrap()), n * n);
        }
        let subscriptions = bus.subscriptions();
        assert_eq!(subscriptions.len(), 2);
        let desk = subscriptions.iter().find(|subscription| subscription.patterns()[0].as_str() == "*.reply");
        desk.unwrap().unsubscribe_and_wait(WATCHDOG).unwrap();
    }
    // It hears a request that looks like an answer, and that does not count as hearing it.
    let error = bus.request(event("x.reply")).within(WATCHDOG).unwrap_err();
    assert!(matches!(error.kind(), RequestErrorKind::Unheard), "{error}");
}

#[test]
fn a_desk_keeps_no_bus_alive() {
    let bus = EventBus::new();
    answer_squares(&bus);
    let (value, seen) = capture();
    hold(&bus, value);
    bus.request(ask(1)).within(NO_TIME).unwrap();
    drop(bus);
    assert!(is_dropped(&seen));
}

type Ending = fn(&EventBus);

#[test]
fn waits_end_with_the_bus() {
    let endings: [Ending; 2] = [
        |bus| drop(bus.shutdown(WATCHDOG)),
        |bus| {
            bus.subscribe("end").handler(|end| drop(end.bus().shutdown(NO_TIME))).unwrap();
            publish(bus, "end");
        },
    ];
    for end in endings {
        for (bus, is_async) in four_ways() {
            let (told, heard) = mpsc::channel();
            bus.subscribe("ask").handler(move |_| told.send(()).unwrap()).unwrap();
            let asking = bus.clone();
            let waiter = thread::spawn(move || within(&asking, ask(1), is_async, WATCHDOG * 10));
            heard.recv_timeout(WATCHDOG).unwrap();
            end(&bus);
            let error = watched("a request", move || waiter.join().unwrap()).unwrap_err();
            assert!(matches!(error.kind(), RequestErrorKind::Closed), "{error}");
        }
    }
}

/// Eight requesters at once, half of them async, each of its own answers.
#[test]
fn each_of_many_requesters_gets_its_own_answer() {
    for (bus, _) in four_ways() {
        answer_squares(&bus);
        thread::scope(|scope| {
            for requester in 0..8 {
                let bus = &bus;
                scope.spawn(move || {
                    for n in requester * 1_000..requester * 1_000 + 200 {
                        let answer = within(bus, ask(n), n % 2 == 0, WATCHDOG).unwrap();
                        assert_eq!(number(&answer), n * n);
                    }
                });
            }
        });
        bus.flush(WATCHDOG).unwrap();
        laws::check(&bus.get_stats());
        assert_eq!(bus.get_stats().accepted, 2 * 8 * 200);
    }
}

/// Dropped after any number of polls, a request leaves nothing: the same event may be asked again.
#[test]
fn a_request_that_is_dropped_leaves_nothing() {
    let seed = Seed::given();
    for bus in [EventBus::new(), queued()] {
        let answering = |asked: OwnedDelivery| async move {
            tokio::task::yield_now().await;
            asked.reply_async(json!(number(&asked))).await
        };
        bus.subscribe("ask").overflow(Overflow::Block(WATCHDOG)).async_handler(answering).unwrap();
        thread::scope(|scope| {
            for thread in 0..4 {
                let (bus, mut random) = (&bus, Random(mixed(seed.0.wrapping_add(thread))));
                scope.spawn(move || {
                    for n in 0..500 {
                        let event = Arc::new(ask(n));
                        {
                            let mut first = pin!(bus.request(Arc::clone(&event)).within_async(WATCHDOG));
                            for _ in 0..random.below(4) {
                                if first.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready() {
                                    break;
                                }
                                thread::yield_now();
                            }
                        }
                        let answer = block_on(bus.request(event).within_async(WATCHDOG)).unwrap();
                        assert_eq!(number(&answer), n);
                    }
                });
            }
        });
        bus.flush(WATCHDOG).unwrap();
        laws::check(&bus.get_stats());
    }
}

/// What a request is to end with.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Expected {
    Answer(u64),
    TimedOut,
}

struct Outstanding<'a> {
    event: Arc<Event>,
    future: Pin<Box<dyn Future<Output = Result<Recorded, RequestError>> + 'a>>,
    ends_at: u64,
    expected: Option<Expected>,
}

/// Random requests, answers, forgeries and passages of time on a manual bus, beside a model: what is answered by `reply_to` counts
/// at once, what is published counts when the bus runs, and the first counts.
fn random_schedule(seed: u64) {
    let (bus, driver) = EventBus::builder().manual().build().unwrap();
    bus.subscribe("ask").handler(|_| ()).unwrap();
    let mut random = Random(seed);
    let (mut waiting, mut published): (BTreeMap<u64, Outstanding<'_>>, Vec<(u64, u64)>) = Default::default();
    let (mut now, mut next, mut ended) = (0, 0, [0; 2]);
    for step in 0..400 {
        let keys: Vec<u64> = waiting.keys().copied().collect();
        let some = (!keys.is_empty()).then(|| keys[random.below(keys.len() as u64) as usize]);
        match (random.below(8), some) {
            (0..2, _) | (_, None) => {
                let (event, limit) = (Arc::new(ask(next)), 1 + random.below(50));
                let request = bus.request(Arc::clone(&event)).within_async(Duration::from_millis(limit));
                let mut future = Box::pin(request);
                assert!(future.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
                waiting.insert(next, Outstanding { event, future, ends_at: now + limit, expected: None });
                next += 1;
            }
            (2, Some(key)) => {
                bus.reply_to(&waiting[&key].event).send(json!(step)).unwrap();
                waiting.get_mut(&key).unwrap().expected.get_or_insert(Expected::Answer(step));
            }
            (3, Some(key)) => {
                let answer = Event::builder("ask.reply", "s").data(json!(step));
                let answer = answer.causation_id(waiting[&key].event.event_id().clone()).build().unwrap();
                bus.publish(answer).unwrap();
                published.push((key, step));
            }
            (4, Some(_)) => {
                let forged = Event::builder("ask.reply", "s").causation_id("another").build().unwrap();
                bus.publish(forged).unwrap();
            }
            (5, Some(key)) => drop(waiting.remove(&key)),
            (6, Some(_)) => run(&driver, &mut waiting, &mut published),
            (_, Some(_)) => {
                run(&driver, &mut waiting, &mut published);
                let time = random.below(20);
                driver.advance(Duration::from_millis(time));
                now += time;
                for outstanding in waiting.values_mut().filter(|outstanding| outstanding.ends_at <= now) {
                    outstanding.expected.get_or_insert(Expected::TimedOut);
                }
            }
        }
        waiting.retain(|_, outstanding| {
            let polled = outstanding.future.as_mut().poll(&mut Context::from_waker(Waker::noop()));
            let end = match polled {
                Poll::Pending => None,
                Poll::Ready(Ok(answer)) => Some(Expected::Answer(number(&answer))),
                Poll::Ready(Err(error)) => match error.kind() {
                    RequestErrorKind::TimedOut { .. } => Some(Expected::TimedOut),
                    other => panic!("{other}"),
                },
            };
            assert_eq!(end, outstanding.expected, "at step {step}");
            end.iter().for_each(|end| ended[usize::from(*end == Expected::TimedOut)] += 1);
            end.is_none()
        });
    }
    assert!(ended.iter().all(|count| *count > 0), "{ended:?}");
}

/// Runs the bus: what was published is heard.
fn run(driver: &Driver, waiting: &mut BTreeMap<u64, Outstanding<'_>>, published: &mut Vec<(u64, u64)>) {
    driver.run_until_idle();
    for (key, answer) in published.drain(..) {
        if let Some(outstanding) = waiting.get_mut(&key) {
            outstanding.expected.get_or_insert(Expected::Answer(answer));
        }
    }
}

#[test]
fn random_schedules_end_as_a_model_says() {
    let seed = Seed::given();
    (0..100).for_each(|number| random_schedule(mixed(seed.0.wrapping_add(number))));
}
