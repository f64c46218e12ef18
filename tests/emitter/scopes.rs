//! Operations that end with a closure.

use crate::{buses, emitter, id, listen, payloads, published};
use codomyrmex_events::{Event, EventBus, EventPriority, Operation, correlation};
use serde_json::{Value, json};
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind, panic_any};
use std::sync::Arc;
use std::time::Duration;

/// The end's payload, its duration checked and taken out.
pub(crate) fn without_duration(end: &Event) -> Value {
    let mut payload = end.data().value().unwrap().clone();
    let duration = payload.as_object_mut().unwrap().remove("duration").expect("it lasted some time");
    assert!(duration.is_f64() && duration.as_f64().unwrap() >= 0.0, "{duration}");
    payload
}

#[test]
fn whatever_is_published_within_belongs_to_the_operation() {
    for (kind, bus) in buses() {
        let emitter = emitter(&bus).metadata_entry("host", "a").unwrap();
        let files = emitter.operation("deploy", json!({"to": "x"})).run(|operation: &Operation<'_>| {
            emitter.emit("by.emitter", json!({})).unwrap();
            bus.publish(Event::builder("by.bus", "other").build().unwrap()).unwrap();
            operation.update(50, "half").unwrap();
            assert_eq!(correlation::current().as_ref(), Some(operation.correlation_id()));
            std::thread::sleep(Duration::from_millis(2));
            Ok::<_, String>(operation.correlation_id().clone())
        });
        assert_eq!(correlation::current(), None);
        let id = files.unwrap();
        let published = published(&bus);
        assert!(published.iter().all(|event| event.correlation_id() == Some(&id)), "{kind}");
        let (start, end) = (&published[0], &published[4]);
        assert_eq!((published.len(), end.priority()), (5, EventPriority::Normal), "{kind}");
        let begun = json!({"operation": "deploy", "phase": "start", "operation_data": {"to": "x"}});
        assert_eq!(start.data().value().unwrap(), &begun);
        assert_eq!(start.metadata().len(), 2);
        let half = json!({"phase": "progress", "correlation_id": id, "progress": 50.0, "status": "half"});
        assert_eq!(published[3].data().value().unwrap(), &half);
        assert!(end.data().get("duration").unwrap().as_f64().unwrap() >= 0.002, "in seconds, {kind}");
        assert_eq!(without_duration(end), json!({"phase": "end", "correlation_id": id, "success": true}));
    }
}

#[test]
fn an_error_ends_it_as_a_failure_and_is_returned() {
    let bus = EventBus::new();
    let emitter = emitter(&bus).default_correlation_id("default").unwrap();
    let result = emitter.operation("o", json!({})).correlation_id(id("given")).run(|operation| {
        assert_eq!(operation.correlation_id(), &"given");
        let number = "x".parse::<u32>()?;
        Ok::<_, std::num::ParseIntError>(number)
    });
    let error = result.unwrap_err().to_string();
    let end = &published(&bus)[1];
    let expected = json!({"phase": "end", "correlation_id": "given", "success": false, "error": error});
    assert_eq!((without_duration(end), end.priority()), (expected, EventPriority::Critical));
    assert_eq!(end.correlation_id().unwrap(), &"given");
}

#[test]
fn a_panic_ends_it_as_a_failure_and_goes_on() {
    type Work = fn() -> Result<(), String>;
    let rows: [(Work, &str); 3] = [
        (|| panic!("on purpose"), "panicked: on purpose"),
        (|| panic!("of {}", 7), "panicked: of 7"),
        (|| panic_any(7_u8), "panicked: a value that is not text"),
    ];
    for (work, expected) in rows {
        let bus = EventBus::new();
        let emitter = emitter(&bus);
        let running = || emitter.operation("o", json!({})).run(|_| work());
        let panic = catch_unwind(AssertUnwindSafe(running)).unwrap_err();
        let text =
            panic.downcast_ref::<String>().map(String::as_str).or(panic.downcast_ref::<&str>().copied());
        let own = text.map_or(panic.downcast_ref() == Some(&7_u8), |text| expected.ends_with(text));
        assert!(own, "the panic's own value goes on: {text:?}");
        let end = without_duration(&published(&bus)[1]);
        assert_eq!((&end["success"], &end["error"]), (&json!(false), &json!(expected)));
        assert_eq!(correlation::current(), None);
    }
}

#[test]
fn the_result_of_the_work_is_returned_though_the_bus_hears_nothing_of_it() {
    let bus = EventBus::new();
    let emitter = emitter(&bus);
    bus.shutdown(Duration::ZERO);
    assert_eq!(emitter.operation("o", json!({})).run(|_| Ok::<_, String>(7)), Ok(7));
    let failed = emitter.operation("o", json!({})).run(|operation| {
        assert!(operation.update(1, "who asks, is told").is_err());
        Err::<(), _>("own")
    });
    assert_eq!(failed, Err("own"));
    assert_eq!(bus.get_stats().refused, 5);

    // Data that no event may carry: the start is not told, the work is done, the end is.
    let bus = EventBus::new();
    let done = crate::emitter(&bus).operation("o", crate::too_deep()).run(|_| Ok::<_, String>(7));
    assert_eq!((done, without_duration(&published(&bus)[0])["success"].clone()), (Ok(7), json!(true)));
}

#[test]
fn an_error_that_cannot_say_what_it_is_is_returned_all_the_same() {
    #[derive(Debug, PartialEq)]
    struct Mute(u8);
    impl fmt::Display for Mute {
        fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
            panic!("on purpose")
        }
    }
    let bus = EventBus::new();
    let result = emitter(&bus).operation("o", json!({})).run(|_| Err::<(), _>(Mute(7)));
    assert_eq!(result, Err(Mute(7)));
    assert_eq!(without_duration(&published(&bus)[1])["error"], "an error whose text panicked");
}

#[test]
fn an_operation_within_another_has_its_own_id_and_gives_back_the_outer_one() {
    let bus = EventBus::new();
    let emitter = emitter(&bus);
    let outer = emitter.operation("outer", json!({})).run(|outer| {
        let inner = emitter.operation("inner", json!({})).run(|inner| {
            emitter.emit("x", json!({})).unwrap();
            Ok::<_, String>(inner.correlation_id().clone())
        });
        emitter.emit("x", json!({})).unwrap();
        Ok::<_, String>((outer.correlation_id().clone(), inner.unwrap()))
    });
    let (outer, inner) = outer.unwrap();
    assert_ne!(outer, inner);
    let ids: Vec<_> = published(&bus).iter().map(|event| event.correlation_id().cloned().unwrap()).collect();
    assert_eq!(ids, [&outer, &inner, &inner, &inner, &outer, &outer].map(Clone::clone));
}

#[test]
fn a_handler_may_run_one_and_its_events_name_their_cause() {
    for (kind, bus) in buses() {
        let running = Arc::new(emitter(&bus));
        bus.subscribe("go")
            .handler(move |_| running.operation("o", json!({})).run(|_| Err::<(), _>("no")))
            .unwrap();
        let go = emitter(&bus).emit("go", json!({})).unwrap().unwrap();
        let published = published(&bus);
        assert_eq!(published.len(), 3, "{kind}");
        assert!(published[1..].iter().all(|event| event.causation_id() == Some(go.event_id())), "{kind}");
        assert_eq!(bus.dead_letter_queue().len(), 1, "the handler's own error is the handler's");
    }
}

/// Scopes on many threads, some of which fail or panic.
#[test]
fn scopes_at_once_never_mix() {
    const THREADS: usize = 16;
    for (kind, bus) in buses() {
        let heard = listen(&bus);
        let emitter = emitter(&bus);
        std::thread::scope(|threads| {
            for thread in 0..THREADS {
                let (emitter, bus) = (&emitter, &bus);
                threads.spawn(move || {
                    for round in 0..30 {
                        let tag = json!(format!("{thread}-{round}"));
                        let work = |_: &Operation<'_>| {
                            let event = Event::builder("x.y", "work").data(json!({"tag": tag}));
                            bus.publish(event.build().unwrap()).unwrap();
                            match round % 3 {
                                0 => Ok(()),
                                1 => Err("no"),
                                _ => panic!("on purpose"),
                            }
                        };
                        let run = || emitter.operation("o", tag.clone()).run(work);
                        assert_eq!(catch_unwind(AssertUnwindSafe(run)).is_err(), round % 3 == 2);
                    }
                });
            }
        });
        bus.flush(crate::WATCHDOG).unwrap();
        let operations = crate::operations::by_correlation(&heard.lock().unwrap());
        assert_eq!(operations.len(), THREADS * 30, "{kind}");
        for events in operations.values() {
            let with = |field: &str| events.iter().find_map(|event| event.data().get(field)).unwrap();
            assert_eq!(with("operation_data"), with("tag"), "{kind}");
            assert_eq!(events.len(), 3, "{kind}: {events:?}");
            let round: u32 = with("tag").as_str().unwrap().split('-').nth(1).unwrap().parse().unwrap();
            assert_eq!(with("success").as_bool().unwrap(), round.is_multiple_of(3));
        }
    }
}

#[test]
fn one_that_is_not_run_says_nothing() {
    let bus = EventBus::new();
    drop(emitter(&bus).operation("o", json!({})));
    assert!(payloads(&bus).is_empty());
}
