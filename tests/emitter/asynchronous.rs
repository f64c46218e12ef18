//! [`AsyncEventEmitter`]: what it publishes, when, and what its futures hold.

use crate::{block_on, buses, id, listen, published};
use codomyrmex_events::{
    AsyncEventEmitter, Event, EventError, EventPriority, EventType, PublishErrorKind, correlation,
};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

#[test]
fn it_publishes_from_its_source_with_its_defaults() {
    for (kind, bus) in buses() {
        let heard = listen(&bus);
        let plain = AsyncEventEmitter::on_bus(&bus);
        let told = plain.clone().source("told").unwrap().metadata_entry("k", 1).unwrap();
        let told = told.default_correlation_id("op").unwrap().default_priority(EventPriority::Warning);
        let published_as = [
            block_on(plain.emit(EventType::TaskCompleted, json!({"task_id": "t-42"}))).unwrap(),
            block_on(told.emit("my.own", json!(2))).unwrap(),
            block_on(told.emit_event(told.event("my.own").metadata_entry("k", 3).build().unwrap())).unwrap(),
            block_on(told.emit_event(Event::builder("my.own", "other").build().unwrap())).unwrap(),
        ];
        assert_eq!(published_as.map(|published| published.sequence()), [1, 2, 3, 4], "{kind}");
        let events = published(&bus);
        let row = |event: &Arc<Event>| {
            let correlation_id = event.correlation_id().map(ToString::to_string);
            let metadata = Value::Object(event.metadata().clone());
            (event.source().to_string(), correlation_id, metadata, event.priority())
        };
        let op = || Some("op".to_owned());
        let expected = [
            ("async_emitter".to_owned(), None, json!({}), EventPriority::Normal),
            ("told".to_owned(), op(), json!({"k": 1}), EventPriority::Warning),
            ("told".to_owned(), op(), json!({"k": 3}), EventPriority::Warning),
            ("other".to_owned(), op(), json!({"k": 1}), EventPriority::Normal),
        ];
        assert_eq!(events.iter().map(row).collect::<Vec<_>>(), expected, "{kind}");
        assert_eq!(events[0].data().value().unwrap(), &json!({"task_id": "t-42"}));
        assert_eq!(heard.lock().unwrap().len(), 4, "{kind}");
    }
}

#[test]
fn an_event_is_made_at_the_call_and_published_at_the_first_poll() {
    for (kind, bus) in buses() {
        let emitter = AsyncEventEmitter::on_bus(&bus);
        let id = id("scope");
        let emit = || emitter.emit("a.b", json!({}));
        let first = correlation::scope(&id, emit);
        drop(correlation::scope(&id, emit));
        drop(emitter);
        assert_eq!(bus.get_stats().offered, 0, "{kind}: neither was polled");
        // Nothing is borrowed, and any thread may go on with it.
        let other = std::thread::spawn(move || block_on(first).unwrap());
        assert_eq!(other.join().unwrap().sequence(), 1, "{kind}");
        assert_eq!(published(&bus)[0].correlation_id(), Some(&id), "{kind}");
    }
}

#[test]
fn what_cannot_be_published_says_why() {
    for (kind, bus) in buses() {
        let emitter = AsyncEventEmitter::on_bus(&bus);
        let refused = |result: Result<_, EventError>| match result.unwrap_err() {
            EventError::Publish(error) => error.kind().clone(),
            other => panic!("{kind}: {other:?}"),
        };
        let bad = refused(block_on(emitter.emit("", json!({}))));
        assert!(matches!(bad, PublishErrorKind::Invalid(_)), "{kind}");
        bus.shutdown(Duration::ZERO);
        let closed = refused(block_on(emitter.emit("a.b", json!({}))));
        assert!(matches!(closed, PublishErrorKind::Closed), "{kind}");
        assert!(bus.history().is_empty());
    }
}

#[cfg(feature = "schema")]
#[test]
fn emit_typed_lets_nobody_hear_what_does_not_have_the_shape_of_its_type() {
    for (kind, bus) in buses() {
        let emitter = AsyncEventEmitter::on_bus(&bus).default_correlation_id("op").unwrap();
        let good = json!({"build_type": "r", "target": "x"});
        assert_eq!(block_on(emitter.emit_typed("build.start", good)).unwrap().sequence(), 1, "{kind}");
        let refused = block_on(emitter.emit_typed("build.start", json!({"target": 7}))).unwrap_err();
        let EventError::Validation(refused) = refused else { panic!("{kind}: {refused:?}") };
        assert!(refused.pointers().any(|pointer| pointer == "/target"), "{refused}");
        let without = block_on(emitter.emit_typed("no.schema", json!({})));
        assert!(matches!(without, Err(EventError::Validation(_))), "{kind}");
        let letters = bus.dead_letter_queue().letters();
        assert_eq!((published(&bus).len(), letters.len()), (1, 2), "{kind}");
        assert_eq!(letters[0].event().correlation_id().unwrap(), &"op", "{kind}");
        let stats = bus.get_stats();
        assert_eq!((stats.offered, stats.accepted, stats.refused), (3, 1, 2), "{kind}");
        drop(emitter.emit_typed("build.start", json!({"target": 7})));
        assert_eq!(bus.get_stats().offered, 3, "{kind}: not polled, not validated");
    }
}

/// Fault 21: a delayed emission that nobody holds was lost, and its priority with it.
#[test]
fn what_is_emitted_later_is_lost_with_nobody_and_keeps_all_that_it_was_given() {
    for (kind, bus) in buses() {
        let later = {
            let emitter = AsyncEventEmitter::on_bus(&bus).metadata_entry("k", 1).unwrap();
            let emitter = emitter.default_priority(EventPriority::Critical);
            let emit = || emitter.emit_later("late", json!(7), Duration::from_millis(20)).unwrap();
            let scheduled = correlation::scope(&id("op"), emit);
            let never = emitter.emit_later("never", json!(8), Duration::from_secs(3_600)).unwrap();
            assert!(never.cancel() && !never.cancel(), "{kind}");
            let given = emitter.event("given").data(json!(9)).priority(EventPriority::Debug).build().unwrap();
            emitter.emit_event_later(given, Duration::from_millis(40)).unwrap();
            Arc::clone(scheduled.event())
        };
        // The emitter and what it returned are gone.
        while bus.history().last_sequence() < 2 {
            std::thread::yield_now();
        }
        let mut published = published(&bus);
        // Both may be due before a thread looks, and then two workers publish them.
        published.sort_by_key(|event| *event.event_type() != "late");
        let [late, given] = &published[..] else { panic!("{kind}: two were not taken back") };
        assert!(Arc::ptr_eq(late, &later), "{kind}");
        assert_eq!(
            (late.priority(), late.correlation_id()),
            (EventPriority::Critical, Some(&id("op"))),
            "{kind}"
        );
        assert_eq!((&late.metadata()["k"], given.priority()), (&json!(1), EventPriority::Debug), "{kind}");
        let error = AsyncEventEmitter::on_bus(&bus).emit_later("", json!(0), Duration::ZERO).unwrap_err();
        assert!(matches!(error, EventError::Publish(_)), "{kind}: {error}");
    }
}

/// It was made where it was emitted; whoever polls it later is nobody's cause.
#[test]
fn an_event_takes_nothing_of_the_surroundings_in_which_it_is_polled() {
    for (kind, bus) in buses() {
        let emitter = AsyncEventEmitter::on_bus(&bus);
        let made = std::sync::Mutex::new(Some(Box::pin(emitter.emit("made.before", json!(1)))));
        let polls = move |_: &codomyrmex_events::Delivery<'_>| {
            block_on(made.lock().unwrap().take().unwrap()).unwrap();
        };
        bus.subscribe("outer").handler(polls).unwrap();
        bus.publish(Event::builder("outer", "s").correlation_id("other").build().unwrap()).unwrap();
        let events = published(&bus);
        let made = events.iter().find(|event| event.event_type().as_str() == "made.before").unwrap();
        assert_eq!((made.correlation_id(), made.causation_id()), (None, None), "{kind}");
    }
}
