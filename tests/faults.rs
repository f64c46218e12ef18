//! What the users of the Python original suffer, one test a fault, by its number there.
//! 23 is `bus_config`.

#![allow(clippy::unwrap_used, clippy::panic, reason = "in a test a panic is the report")]

#[path = "support/bus.rs"]
mod support;

use codomyrmex_events::{
    CorrelationId, Delivery, Event, EventBus, EventError, EventListener, EventPriority, EventSchema,
    EventType, Replay, SubscriptionErrorKind, correlation,
};
use serde_json::json;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::sync::{Arc, Barrier, Mutex};
use std::thread;
use std::time::Duration;
use support::{event, ready};

/// A subscription that counts, and its count.
fn count(bus: &EventBus, pattern: &str) -> Arc<AtomicU32> {
    let heard = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&heard);
    bus.subscribe(pattern)
        .handler(move |_| {
            counted.fetch_add(1, SeqCst);
        })
        .expect("valid");
    heard
}

#[test]
fn fault_01_an_asynchronous_publish_is_delivered() {
    let bus = EventBus::new();
    let heard = count(&bus, "*");
    ready(bus.publish_async(event("a.b"))).unwrap();
    assert_eq!((heard.load(SeqCst), bus.get_stats().events_processed), (1, 1));
}

#[test]
fn fault_02_an_asynchronous_publish_keeps_the_correlation_id() {
    let bus = EventBus::new();
    let id = correlation::new_id();
    correlation::scope(&id, || ready(bus.publish_async(event("a.b"))).unwrap());
    assert_eq!(bus.history().latest(1)[0].correlation_id(), Some(&id));
}

#[test]
fn fault_03_a_failing_handler_reaches_the_dead_letters_which_are_bounded() {
    let bus = EventBus::new();
    bus.subscribe("*").subscriber_id("failing").handler(|_| Err::<(), _>("why")).unwrap();
    bus.publish_batch((0..250).map(|_| event("a.b")));
    let letters = bus.dead_letter_queue().letters();
    assert_eq!((letters.len(), bus.get_stats().dead_letters_evicted), (100, 150));
    assert_eq!(
        (letters[0].subscriber_id(), letters[0].error_chain()),
        (Some("failing"), &["why".into()][..])
    );
}

#[test]
fn fault_04_a_filter_may_subscribe() {
    let bus = EventBus::new();
    let (weak, heard) = (bus.downgrade(), Arc::new(AtomicU32::new(0)));
    let counted = Arc::clone(&heard);
    let subscribes =
        move |_: &Event| weak.upgrade().is_some_and(|bus| bus.subscribe("late").handler(|_| ()).is_ok());
    bus.subscribe("*")
        .filter(subscribes)
        .handler(move |_| {
            counted.fetch_add(1, SeqCst);
        })
        .unwrap();
    let others = count(&bus, "*");
    bus.publish(event("a.b")).unwrap();
    assert_eq!((heard.load(SeqCst), others.load(SeqCst), bus.get_stats().subscribers_count), (1, 1, 3));
}

#[test]
fn fault_05_failed_is_not_processed_by_anybody_and_no_count_is_lost() {
    let bus = EventBus::new();
    bus.subscribe("*").handler(|_| Err::<(), _>("no")).unwrap();
    let start = Barrier::new(8);
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                start.wait();
                assert!((0..500).all(|_| bus.publish(event("a.b")).is_ok()));
            });
        }
    });
    let stats = bus.get_stats();
    assert_eq!((stats.events_published, stats.events_failed, stats.deliveries.succeeded), (4_000, 4_000, 0));
    // Within a handler the event is not processed yet.
    let bus = EventBus::new();
    bus.subscribe("*")
        .handler(|delivery| assert_eq!(delivery.bus().get_stats().events_processed, 0))
        .unwrap();
    bus.publish(event("a.b")).unwrap();
    let stats = bus.get_stats();
    assert_eq!((stats.events_processed, stats.events_failed), (1, 0));
}

#[test]
fn fault_06_a_publish_asks_only_those_who_hear_it_in_order_of_priority() {
    let bus = EventBus::new();
    let asked = Arc::new(AtomicU32::new(0));
    for n in 0..1_000 {
        let asked = Arc::clone(&asked);
        let builder = bus.subscribe(format!("other.{n}.*")).filter(move |_| asked.fetch_add(1, SeqCst) > 0);
        builder.handler(|_| ()).unwrap();
    }
    let order: Arc<Mutex<Vec<i32>>> = Arc::default();
    for priority in [0, 5, -5, 10] {
        let order = Arc::clone(&order);
        bus.subscribe("build.*")
            .priority(priority)
            .handler(move |_| order.lock().unwrap().push(priority))
            .unwrap();
    }
    bus.publish(event("build.start")).unwrap();
    assert_eq!((asked.load(SeqCst), &order.lock().unwrap()[..]), (0, &[10, 5, 0, -5][..]));
}

#[test]
fn fault_07_an_id_in_use_is_refused_and_generated_ids_do_not_collide() {
    let bus = EventBus::new();
    let heard = count(&bus, "*");
    let error = bus.subscribe("*").subscriber_id("subscriber_1").handler(|_| ()).unwrap_err();
    assert!(matches!(error.kind(), SubscriptionErrorKind::IdInUse { id } if id == "subscriber_1"));
    bus.subscribe("x").subscriber_id("subscriber_2").handler(|_| ()).unwrap();
    let third = bus.subscribe("x").handler(|_| ()).unwrap();
    assert_eq!(third.id(), "subscriber_3", "the one in between was taken by hand");
    third.unsubscribe();
    assert_eq!(bus.subscribe("x").handler(|_| ()).unwrap().id(), "subscriber_4", "no label is given twice");
    bus.publish(event("a.b")).unwrap();
    assert_eq!(heard.load(SeqCst), 1, "the live handler stays");

    let listener = EventListener::on_bus(&bus);
    let names = [(); 3].map(|()| listener.on("x", |_| ()).unwrap());
    assert!(listener.off(names[1].id()));
    let next = listener.on("x", |_| ()).unwrap();
    assert!(names.iter().all(|name| name.id() != next.id()), "a listener's neither, after an off");
}

#[test]
fn fault_08_once_is_once_also_when_published_from_within() {
    let bus = EventBus::new();
    let heard = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&heard);
    let nests = move |delivery: &Delivery<'_>| {
        counted.fetch_add(1, SeqCst);
        delivery.bus().publish(event("a.b"))
    };
    bus.subscribe("*").once().handler(nests).unwrap();
    thread::scope(|scope| (0..8).for_each(|_| drop(scope.spawn(|| bus.publish(event("a.b")).unwrap()))));
    assert_eq!(heard.load(SeqCst), 1);
}

/// Awaited behind an object, in order, one at a time and within a bound: `async_handlers` has each of these at length.
#[cfg(feature = "async")]
#[test]
fn fault_09_asynchronous_callables_behind_objects_are_awaited_in_order() {
    use codomyrmex_events::OwnedDelivery;
    use std::pin::Pin;
    type Callable = Box<dyn Fn(OwnedDelivery) -> Pin<Box<dyn Future<Output = ()> + Send>> + Send + Sync>;
    let bus = EventBus::new();
    let heard = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&heard);
    let callable: Callable = Box::new(move |delivery| {
        let log = Arc::clone(&log);
        Box::pin(async move {
            let bus = delivery.bus();
            bus.sleep(Duration::from_millis(1)).await;
            log.lock().unwrap().push(delivery.sequence());
        })
    });
    bus.subscribe("*").async_handler(callable).unwrap();
    bus.publish_batch((0..20).map(|_| event("a.b")));
    bus.flush(support::WATCHDOG).unwrap();
    assert_eq!(*heard.lock().unwrap(), (1..=20).collect::<Vec<u64>>());
}

#[test]
fn fault_21_a_delayed_emission_fires_with_its_priority_though_nobody_keeps_it() {
    use codomyrmex_events::AsyncEventEmitter;
    let (told, hears) = std::sync::mpsc::channel();
    let bus = EventBus::new();
    bus.subscribe("*").handler(move |delivery| told.send(delivery.priority())).unwrap();
    let emitter = AsyncEventEmitter::on_bus(&bus).default_priority(EventPriority::Critical);
    emitter.emit_later(EventType::AlertTriggered, json!({}), Duration::from_millis(5)).unwrap();
    drop((emitter, bus));
    assert_eq!(hears.recv_timeout(support::WATCHDOG), Ok(EventPriority::Critical));
}

#[test]
fn fault_10_shutdown_drains_and_refuses() {
    let bus = EventBus::new();
    let (entered, ended) = (Arc::new(Barrier::new(2)), Arc::new(AtomicU32::new(0)));
    let (inside, end) = (Arc::clone(&entered), Arc::clone(&ended));
    bus.subscribe("*")
        .handler(move |_| {
            inside.wait();
            // Long enough for the shutdown to begin; it is right whoever wins.
            (0..1_000).for_each(|_| thread::yield_now());
            end.fetch_add(1, SeqCst);
        })
        .unwrap();
    thread::scope(|scope| {
        scope.spawn(|| bus.publish(event("a.b")).unwrap());
        entered.wait();
        assert!(bus.shutdown(Duration::from_secs(60)).is_complete());
        assert_eq!(ended.load(SeqCst), 1, "what was accepted is handled");
    });
    assert!(bus.publish(event("a.b")).is_err() && bus.subscribe("*").handler(|_| ()).is_err());
}

#[test]
fn fault_11_typed_emission_validates() {
    let bus = EventBus::new();
    let heard = count(&bus, "*");
    let Err(EventError::Validation(error)) = bus.emit_typed(event("build.start")) else { panic!("refused") };
    assert_eq!((error.total(), heard.load(SeqCst), bus.history().len()), (2, 0, 0));
    bus.publish(event("build.start")).expect("publish does not validate");
}

#[test]
fn fault_12_a_bad_schema_is_an_error_when_it_is_registered_and_named_types_have_schemas() {
    let schemas = EventSchema::new();
    assert!(schemas.register_event_schema("build.start", json!({"type": "objekt"})).is_err());
    assert!(schemas.register_event_schema("my.own", json!({"pattern": "("})).is_err());
    schemas.register_event_schema("my.own", json!({"required": ["x"]})).unwrap();
    assert!(schemas.validate_event(&event("my.own")).is_err());
    assert!(schemas.validate_event(&event("no.schema")).is_ok());
}

#[test]
fn fault_13_the_dictionary_form_keeps_the_identity_and_the_words() {
    let original = Event::builder("build.start", "ci").priority(EventPriority::Critical).build().unwrap();
    let dict = original.to_dict().unwrap();
    assert_eq!((&dict["event_type"], &dict["priority"]), (&json!("build.start"), &json!("critical")));
    let copy = Event::from_dict(dict).unwrap();
    assert_eq!(copy.event_id(), original.event_id());
    assert_eq!((copy.timestamp(), copy.priority()), (original.timestamp(), EventPriority::Critical));
}

#[test]
fn fault_14_one_operations_correlation_does_not_leak_into_anothers() {
    let bus = EventBus::new();
    let both = Barrier::new(2);
    let operation = |name: &str| {
        correlation::scope(&CorrelationId::new(name).unwrap(), || {
            both.wait();
            bus.publish(event(name)).unwrap();
            both.wait();
        });
        bus.publish(event("afterwards")).unwrap();
    };
    thread::scope(|scope| ["left", "right"].map(|name| drop(scope.spawn(move || operation(name)))));
    for recorded in bus.history().latest(10) {
        let name = recorded.event_type().as_str();
        let expected = (name != "afterwards").then_some(name);
        assert_eq!(recorded.correlation_id().map(CorrelationId::as_str), expected);
    }
}

#[test]
fn fault_15_there_is_one_dialect_of_globs() {
    let globs = ["build.*", "b?ild.start", "[!a]*", "[a-b]uild*", "*", "build.**", "BUILD.*", "build", "[b"];
    let bus = EventBus::new();
    for name in ["build.start", "build.my.own", "[b"] {
        bus.publish(event(name)).unwrap();
    }
    for glob in globs {
        let pattern = codomyrmex_events::Pattern::parse(glob).unwrap();
        for name in ["build.start", "build.my.own", "[b"] {
            let heard = count(&bus, glob);
            bus.publish(event(name)).unwrap();
            let is_heard = heard.load(SeqCst) == 1;
            let mut asked = bus.history().query().event_type(glob).events().unwrap().into_iter();
            let is_found = asked.any(|recorded| *recorded.event_type() == name);
            assert_eq!((is_heard, is_found), (pattern.matches(name), pattern.matches(name)), "{glob} {name}");
        }
    }
}

#[test]
fn fault_16_event_types_are_listed_with_their_counts() {
    let bus = EventBus::new();
    count(&bus, "build.*");
    count(&bus, "*");
    bus.event_schema().register_event_schema("never.published", json!({})).unwrap();
    for name in ["my.own", "my.own", "build.start"] {
        bus.publish(event(name)).unwrap();
    }
    let types = bus.list_event_types();
    let rows = [
        ("build.start", 2, 1, true),
        ("build.progress", 2, 0, false),
        ("user.login", 1, 0, false),
        ("my.own", 1, 2, false),
        ("never.published", 1, 0, true),
    ];
    for row in rows {
        let info = types.iter().find(|info| info.event_type == row.0).unwrap();
        let told = (info.event_type.as_str(), info.subscribers, info.published, info.has_schema);
        assert_eq!(told, row);
    }
    assert_eq!(types.len(), EventType::STANDARD.len() + 2, "no patterns, nothing twice");
}

#[test]
fn fault_17_the_history_holds_what_came_before_its_first_use_and_takes_globs() {
    let bus = EventBus::new();
    bus.publish_batch(["build.start", "my.own", "build.error"].map(event));
    assert_eq!(bus.history().query().event_type("build.*").events().unwrap().len(), 2);
}

#[test]
fn fault_18_an_unknown_type_stays_what_it_is_and_is_heard_when_published_again() {
    let bus = EventBus::new();
    let heard = count(&bus, "my.own");
    let data = json!({"a": [1, {"b": null}]});
    let original = Event::builder("my.own", "test").data(data.clone()).build().unwrap();
    let wire = original.to_json().unwrap();
    bus.publish(original).unwrap();
    bus.publish(Event::from_json(&wire).unwrap()).unwrap();
    for recorded in bus.history().latest(2) {
        assert_eq!((recorded.event_type().as_str(), recorded.data().value().unwrap()), ("my.own", &data));
    }
    assert_eq!(heard.load(SeqCst), 2);
}

#[test]
fn fault_19_replayed_events_keep_their_types_and_are_heard_by_who_subscribed_to_those() {
    let bus = EventBus::new();
    bus.publish_batch(["build.start", "my.own", "build.error"].map(event));
    let text: String = bus.history().export().collect::<Result<_, _>>().unwrap();
    let later = EventBus::new();
    let (builds, own) = (count(&later, "build.*"), count(&later, "my.own"));
    let customs = count(&later, "custom");
    Replay::onto(&later).history(&bus);
    Replay::onto(&later).ndjson(text);
    assert_eq!((builds.load(SeqCst), own.load(SeqCst), customs.load(SeqCst)), (4, 2, 0));
}

#[cfg(feature = "stream")]
#[test]
fn fault_20_server_sent_frames_are_whole_and_a_slow_subscriber_is_told_what_it_missed() {
    use codomyrmex_events::{AsyncStream, SseFrame, StreamItem};
    for data in ["0", "false", "null", "\"\"", "{}", "[]", ""] {
        assert_eq!(SseFrame::new().data(data).finish(), format!("data: {data}\n\n"));
    }
    let bus = EventBus::new();
    let stream = AsyncStream::attach(&bus);
    let id = stream.subscribe("a.*").buffer(4).open().unwrap();
    bus.publish_batch((0..10).map(|_| event("a.b")));
    stream.stop();
    let mut items = stream.consume(id).unwrap();
    let (mut seen, mut missed) = (Vec::new(), 0);
    while let Some(item) = ready(items.next()) {
        match item {
            StreamItem::Event(event) => seen.push(event.sequence()),
            StreamItem::Lagged(count) => missed += count,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!((seen, missed), (vec![7, 8, 9, 10], 6));
}

#[test]
fn fault_22_a_torn_last_line_is_told_and_the_others_are_read() {
    let bus = EventBus::new();
    bus.publish_batch(["build.start", "my.own", "größe"].map(event));
    let text: String = bus.history().export().collect::<Result<_, _>>().unwrap();
    // In the middle of a letter.
    let cut = text.find('ß').unwrap() + 1;
    let later = EventBus::new();
    let report = Replay::onto(&later).ndjson(&text.as_bytes()[..cut]);
    assert_eq!((report.published, report.malformed), (2, 1));
    assert_eq!((report.malformed_lines[0].line(), report.malformed_lines[0].is_torn()), (3, true));
}
