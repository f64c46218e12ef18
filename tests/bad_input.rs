//! Bad input gets a typed error that says what and where. The rows of the environment are in `bus_config`, those of
//! nesting in `bus_nesting`, those of long lines with the command.

use codomyrmex_events::{
    CorrelationId, Delivery, Event, EventBus, EventError, EventId, EventMixin, EventPublishError,
    EventSubscriptionError, EventType, IntoPatterns, InvalidText, PATTERNS_MAX, PublishErrorKind, Source,
    SubscriptionErrorKind, TextRule,
};
use serde_json::json;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::time::Duration;

/// Texts that may not name anything, with the rule that they break.
fn bad_texts() -> Vec<(String, TextRule)> {
    let control = |byte_offset| TextRule::ControlCharacter { byte_offset };
    vec![
        (String::new(), TextRule::Empty),
        ("x".repeat(257), TextRule::TooLong),
        ("é".repeat(129), TextRule::TooLong),
        ("x".repeat(1 << 20), TextRule::TooLong),
        ("\0".to_owned(), control(0)),
        ("a\nb".to_owned(), control(1)),
        ("tab\t".to_owned(), control(3)),
        ("del\u{7f}".to_owned(), control(3)),
        ("né\u{85}".to_owned(), control(3)),
        ("\u{9f}".to_owned(), control(0)),
    ]
}

/// Texts at the edge of what may.
fn good_texts() -> Vec<String> {
    vec![
        "x".to_owned(),
        "x".repeat(256),
        "é".repeat(128),
        " ".to_owned(),
        "a\u{a0}b \u{2028} 🦀".to_owned(),
        "*?[".to_owned(),
    ]
}

#[test]
fn a_bad_name_source_or_id_is_refused_by_its_rule() {
    type Make = fn(&str) -> Result<Event, EventPublishError>;
    let fields: [(&str, Make); 5] = [
        ("event_type", |text| Event::builder(text, "test").build()),
        ("source", |text| Event::builder("a.b", text).build()),
        ("event_id", |text| Event::builder("a.b", "test").event_id(text).build()),
        ("correlation_id", |text| Event::builder("a.b", "test").correlation_id(text).build()),
        ("causation_id", |text| Event::builder("a.b", "test").causation_id(text).build()),
    ];
    for (field, make) in fields {
        for (text, rule) in bad_texts() {
            let error = make(&text).unwrap_err();
            let PublishErrorKind::Invalid(invalid) = error.kind() else { panic!("{field}: {error}") };
            assert_eq!((invalid.field(), invalid.rule()), (field, rule), "{:?}", text.get(..8));
            assert_eq!(error.to_string(), format!("{field} {rule}"));
            assert!(error.event().is_none() && std::error::Error::source(&error).is_some());
            let mut wire = json!({"event_type": "a.b", "source": "test"});
            wire[field] = json!(text);
            let error = Event::from_json(&wire.to_string()).unwrap_err();
            assert_eq!(error.field(), Some(field), "on the wire: {error}");
            assert!(error.to_string().contains(&rule.to_string()), "{error}");
        }
        for text in good_texts() {
            assert!(make(&text).is_ok(), "{field} {text:?}");
        }
    }
    type Parse = fn(&str) -> Result<(), InvalidText>;
    let parsers: [Parse; 4] = [
        |text| EventType::parse(text).map(drop),
        |text| Source::new(text).map(drop),
        |text| EventId::parse(text).map(drop),
        |text| CorrelationId::new(text).map(drop),
    ];
    for parse in parsers {
        assert!(bad_texts().iter().all(|(text, rule)| parse(text).unwrap_err().rule() == *rule));
        assert!(good_texts().iter().all(|text| parse(text).is_ok()));
    }
    assert!(matches!(EventMixin::init_events(""), Err(EventError::Publish(_))));
}

fn subscribing(patterns: impl IntoPatterns) -> Result<(), EventSubscriptionError> {
    EventBus::new().subscribe(patterns).handler(|_| ()).map(drop)
}

#[test]
fn a_bad_list_of_patterns_is_refused() {
    let refused = |outcome: Result<(), EventSubscriptionError>| outcome.unwrap_err().kind().clone();
    assert_eq!(refused(subscribing(Vec::<&str>::new())), SubscriptionErrorKind::NoPatterns);
    assert_eq!(refused(subscribing([""; 0])), SubscriptionErrorKind::NoPatterns);
    for text in ["x".repeat(1_025), "*".repeat(2_000), "é".repeat(513), "[".repeat(1 << 20)] {
        let alone = refused(subscribing(text.as_str()));
        let among_others = refused(subscribing(["a.*", text.as_str(), "b.*"]));
        for kind in [alone, among_others] {
            let SubscriptionErrorKind::Pattern(error) = &kind else { panic!("{kind:?}") };
            let shown = error.to_string();
            assert!(shown.contains("1024") || shown.contains("1,024"), "{}", &shown[..shown.len().min(200)]);
        }
    }
    let too_many = refused(subscribing(vec!["a.*"; 1_025]));
    assert_eq!(too_many, SubscriptionErrorKind::TooManyPatterns { given: 1_025, limit: PATTERNS_MAX });
    // At the edge, and odd but allowed.
    assert!(subscribing(vec!["x".repeat(1_024); 1_024]).is_ok());
    for pattern in ["", "[", "]", "[!]", "[]]", "[z-a]", "\\", "\n", "a[", "**?**"] {
        assert!(subscribing(pattern).is_ok(), "{pattern:?}");
    }
    assert!(subscribing(EventType::parse(&"[".repeat(256)).unwrap()).is_ok(), "a name of brackets");
}

#[test]
fn a_subscriber_id_in_use_is_refused_and_the_first_stays() {
    let bus = EventBus::new();
    let heard = Arc::new(AtomicU32::new(0));
    let count = Arc::clone(&heard);
    bus.subscribe("*")
        .subscriber_id("w")
        .handler(move |_| {
            count.fetch_add(1, SeqCst);
        })
        .unwrap();
    let never: fn(&Delivery<'_>) = |delivery| assert!(delivery.sequence() == 0);
    let error = bus.subscribe("*").subscriber_id("w").once().handler(never).unwrap_err();
    assert_eq!(*error.kind(), SubscriptionErrorKind::IdInUse { id: "w".to_owned() });
    assert_eq!(error.to_string(), "the subscriber_id \"w\" is in use");
    assert_eq!(bus.subscribe("x").handler(|_| ()).unwrap().id(), "subscriber_1");
    bus.publish(Event::builder("a.b", "test").build().unwrap()).unwrap();
    assert_eq!((heard.load(SeqCst), bus.get_stats().dead_letters_made), (1, 0));
}

#[test]
fn other_settings_of_a_subscription_are_checked_too() {
    let bus = EventBus::new();
    for (id, rule) in bad_texts() {
        let error = bus.subscribe("*").subscriber_id(id).handler(|_| ()).unwrap_err();
        let SubscriptionErrorKind::InvalidId(invalid) = error.kind() else { panic!("{error}") };
        assert_eq!((invalid.field(), invalid.rule()), ("subscriber_id", rule));
    }
    let error = bus.subscribe("*").attempts(0).handler(|_| ()).unwrap_err();
    assert_eq!(*error.kind(), SubscriptionErrorKind::NoAttempts);
    assert_eq!(bus.get_stats().subscribers_count, 0);
    bus.shutdown(Duration::ZERO);
    let error = bus.subscribe("*").handler(|_| ()).unwrap_err();
    assert_eq!(*error.kind(), SubscriptionErrorKind::Closed);
}

#[test]
fn malformed_json_is_refused_with_line_and_column() {
    let deep = format!("{{\"event_type\":\"a\",\"source\":\"s\",\"data\":{}", "[".repeat(200));
    // The text, the line, the column where one is sure.
    let rows: &[(&str, usize, Option<usize>)] = &[
        ("", 1, None),
        ("{", 1, None),
        ("nonsense", 1, Some(1)),
        ("[]", 1, Some(1)),
        ("{\"event_type\": \"a\",\n \"source\": \"s\",\n oops}", 3, Some(2)),
        ("{\"event_type\": \"a\", \"source\": \"s\"} x", 1, Some(36)),
        ("{\"event_type\": \"a\", \"source\": \"\\ud800\"}", 1, None),
        ("{\"event_type\": \"a\", \"source\": \"s\", \"data\": 1e999}", 1, None),
        ("{\"event_type\": \"a\", \"source\": \"s\", \"data\": NaN}", 1, None),
        ("{\"event_type\": \"a\", \"source\": \"s\", \"unknown\": [01]}", 1, None),
        (&deep, 1, None),
    ];
    for (text, line, column) in rows {
        let error = Event::from_json(text).unwrap_err();
        assert_eq!(error.line(), Some(*line), "{text}: {error}");
        assert!(column.is_none() || error.column() == *column, "{text}: {error}");
        let shown = error.to_string();
        assert!(shown.starts_with(&format!("line {line} column ")), "{shown}");
    }
    assert!(Event::from_json_slice(b"{\"event_type\": \"a\xff\"}").unwrap_err().byte_offset().is_some());
}

#[test]
fn a_payload_is_refused_with_its_pointers_and_comes_back() {
    let bus = EventBus::new();
    let data = json!({"build_type": 1, "target": null, "build_id": []});
    let event = Arc::new(Event::builder("build.start", "test").data(data).build().unwrap());
    let Err(EventError::Validation(error)) = bus.emit_typed(Arc::clone(&event)) else { panic!("refused") };
    let mut pointers: Vec<&str> = error.pointers().collect();
    pointers.sort_unstable();
    assert_eq!((pointers, error.total()), (vec!["/build_id", "/build_type", "/target"], 3));
    assert!(Arc::ptr_eq(&error.into_event().unwrap(), &event));
    let schema = json!({"items": {"type": "integer"}});
    bus.event_schema().register_event_schema("my.list", schema).unwrap();
    let many = Event::builder("my.list", "test").data(json!(vec!["x"; 1_500])).build().unwrap();
    let Err(EventError::Validation(error)) = bus.emit_typed(many) else { panic!("refused") };
    assert_eq!((error.failures().len(), error.total()), (1_000, 1_500), "the first 1,000 and the total");
}

#[test]
fn an_event_for_a_closed_bus_comes_back() {
    let bus = EventBus::new();
    bus.shutdown(Duration::ZERO);
    let event = Arc::new(Event::builder("a.b", "test").build().unwrap());
    let error = bus.publish(Arc::clone(&event)).unwrap_err();
    assert_eq!(error.to_string(), "the bus is shut down");
    assert!(Arc::ptr_eq(&error.into_event().unwrap(), &event));
}
