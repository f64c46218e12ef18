//! Checked texts, ids, event types, priorities.

use std::collections::HashSet;

use codomyrmex_events::{
    CorrelationId, Domain, Event, EventId, EventPriority, EventType, PublishErrorKind, Source, TextRule,
};

#[test]
fn texts_are_checked_at_their_edges() {
    let cases = [
        ("", Some(TextRule::Empty)),
        ("a", None),
        ("with space and \u{e9} \u{1f980}", None),
        (&"x".repeat(256), None),
        (&"x".repeat(257), Some(TextRule::TooLong)),
        (&"\u{e9}".repeat(128), None),
        (&"\u{e9}".repeat(129), Some(TextRule::TooLong)),
        ("tab\there", Some(TextRule::ControlCharacter { byte_offset: 3 })),
        ("\0", Some(TextRule::ControlCharacter { byte_offset: 0 })),
        ("del\u{7f}", Some(TextRule::ControlCharacter { byte_offset: 3 })),
        ("\u{e9}\u{80}", Some(TextRule::ControlCharacter { byte_offset: 2 })),
        ("\u{9f}", Some(TextRule::ControlCharacter { byte_offset: 0 })),
        ("\u{a0}\u{c2}", None),
    ];
    for (text, expected) in cases {
        let rule = |result: Result<String, codomyrmex_events::InvalidText>| match result {
            Ok(kept) => {
                assert_eq!(kept, text);
                None
            }
            Err(invalid) => Some((invalid.field(), invalid.rule())),
        };
        let of = |field| expected.map(|rule| (field, rule));
        assert_eq!(rule(Source::new(text).map(|kept| kept.to_string())), of("source"), "{text:?}");
        assert_eq!(rule(CorrelationId::new(text).map(|kept| kept.to_string())), of("correlation_id"));
        assert_eq!(rule(EventId::parse(text).map(|kept| kept.to_string())), of("event_id"));
        assert_eq!(rule(EventType::parse(text).map(|kept| kept.to_string())), of("event_type"));
    }
}

#[test]
fn every_char_is_judged_as_char_is_control_does() {
    for char in (0..=0x2ff).chain(0x2000..=0x2100).chain(0xfff0..=0x10010).filter_map(char::from_u32) {
        assert_eq!(Source::new(char.to_string()).is_err(), char.is_control(), "{char:?}");
    }
}

#[test]
fn the_builder_names_the_first_bad_text() {
    let long = "x".repeat(257);
    let cases = [
        (Event::builder("", "").build(), "event_type must not be empty"),
        (Event::builder("a", "").build(), "source must not be empty"),
        (Event::builder("a", "b").event_id(long.as_str()).build(), "event_id must not be over 256 bytes"),
        (
            Event::builder("a", "b").causation_id("a\nb").event_id("").build(),
            "causation_id must not have a control character, as at byte 1",
        ),
        (Event::builder("a", "b").correlation_id("").build(), "correlation_id must not be empty"),
    ];
    for (built, message) in cases {
        let error = built.unwrap_err();
        assert_eq!(error.to_string(), message);
        assert!(matches!(error.kind(), PublishErrorKind::Invalid(_)));
        assert!(error.event().is_none());
    }
}

#[test]
fn an_id_is_a_uuid_only_in_canonical_form() {
    let canonical = "67e55044-10b1-426f-9247-bb680e5fe0c8";
    let cases = [
        (canonical, true),
        ("00000000-0000-0000-0000-000000000000", true),
        ("67E55044-10B1-426F-9247-BB680E5FE0C8", false),
        ("67e5504410b1426f9247bb680e5fe0c8", false),
        ("{67e55044-10b1-426f-9247-bb680e5fe0c8}", false),
        ("urn:uuid:67e55044-10b1-426f-9247-bb680e5fe0c8", false),
        ("67e55044-10b1-426f-9247-bb680e5fe0cg", false),
        ("67e5504410b1-426f-9247-bb680e5fe0c8--", false),
        ("build-42", false),
    ];
    for (text, is_uuid) in cases {
        let id = EventId::parse(text).unwrap();
        assert_eq!(id.as_uuid().is_some(), is_uuid, "{text}");
        assert_eq!(id.to_string(), text);
        assert_eq!(id, text);
        let mut written = String::from("id=");
        id.write_to(&mut written);
        assert_eq!(written, format!("id={text}"));
    }
    assert_ne!(EventId::parse(canonical).unwrap(), *canonical.to_uppercase());
    assert_eq!(EventId::new().as_uuid().unwrap().get_version_num(), 4);
    assert_ne!(EventId::new(), EventId::new());
}

/// ORIGINAL: 53 standard types by domain.
#[test]
fn the_standard_types() {
    let by_domain = [
        (Domain::System, "system", "startup shutdown error config_change"),
        (Domain::Module, "module", "load unload error config_update"),
        (Domain::Plugin, "plugin", "load unload execute error"),
        (Domain::Analysis, "analysis", "start progress complete error"),
        (Domain::Build, "build", "start progress complete error"),
        (Domain::Deploy, "deploy", "start progress complete error rollback"),
        (Domain::Monitoring, "metric", "update"),
        (Domain::Monitoring, "alert", "triggered"),
        (Domain::Monitoring, "health", "check"),
        (Domain::Monitoring, "performance", "degradation"),
        (Domain::UserInteraction, "user", "action login logout error"),
        (Domain::Data, "data", "received processed stored error"),
        (Domain::Security, "security", "violation scan_complete alert"),
        (Domain::Security, "trust", "level_changed"),
        (Domain::Workflow, "workflow", "started completed failed"),
        (Domain::Workflow, "task", "started completed failed retrying"),
        (Domain::Scheduler, "job", "scheduled started completed failed"),
    ];
    let mut expected: Vec<(String, Domain)> = by_domain
        .iter()
        .flat_map(|(domain, prefix, names)| {
            names.split(' ').map(move |name| (format!("{prefix}.{name}"), *domain))
        })
        .collect();
    expected.push(("custom".to_owned(), Domain::Custom));
    assert_eq!(expected.len(), 53);

    let listed: HashSet<&str> = EventType::STANDARD.iter().map(|standard| standard.as_str()).collect();
    assert_eq!(listed.len(), 53);
    for (name, domain) in expected {
        let parsed = EventType::parse(&name).unwrap();
        assert!(parsed.is_standard() && listed.contains(&*name), "{name}");
        assert_eq!((parsed.as_str(), parsed.domain()), (&*name, domain));
        assert_eq!(name.parse().as_ref(), Ok(&parsed));
        assert_eq!(EventType::try_from(name.clone()).unwrap(), parsed);
        for other in [name.to_uppercase(), format!("{name} "), format!("{name}s"), name[1..].to_owned()] {
            let named = EventType::parse(&other).unwrap();
            assert!(!named.is_standard(), "{other}");
            assert_eq!((named.as_str(), named.domain()), (&*other, Domain::Custom));
        }
    }
    assert_eq!(EventType::BuildStart, "build.start");
    assert_eq!(EventType::SystemConfigChange.as_str(), "system.config_change");
}

#[test]
fn domains_have_names_of_their_own() {
    let names: HashSet<&str> = Domain::ALL.iter().map(|domain| domain.as_str()).collect();
    assert_eq!(names.len(), Domain::ALL.len());
    assert!(EventType::STANDARD.iter().all(|standard| Domain::ALL.contains(&standard.domain())));
}

#[test]
fn priorities() {
    let names = ["debug", "info", "normal", "warning", "error", "critical", "monitoring"];
    assert_eq!(EventPriority::ALL.map(EventPriority::as_str), names);
    for name in names {
        assert_eq!(name.parse::<EventPriority>().unwrap().to_string(), name);
    }
    for name in ["", "Normal", "NORMAL", "EventPriority.NORMAL", "high", "1", " normal"] {
        let error = name.parse::<EventPriority>().unwrap_err().to_string();
        assert!(names.iter().all(|name| error.contains(name)), "{error}");
    }
    assert_eq!(EventPriority::default(), EventPriority::Normal);
    let numbers = [0, 1, 2, 3].map(EventPriority::from_number);
    let expected = [EventPriority::Normal, EventPriority::Warning, EventPriority::Critical];
    assert_eq!(numbers, [Some(expected[0]), Some(expected[1]), Some(expected[2]), None]);
}

#[test]
fn ready_values_pass_where_texts_do() {
    let source = Source::from_static("ci");
    let event = Event::builder(&EventType::BuildStart, &source)
        .correlation_id(String::from("c"))
        .causation_id(EventId::parse("cause").unwrap())
        .event_id(EventId::parse("id").unwrap())
        .build()
        .unwrap();
    assert_eq!(event.source(), &source);
    assert_eq!(event.correlation_id().unwrap(), &"c");
    assert_eq!(event.causation_id().unwrap(), &"cause");
}

#[test]
fn an_event_stays_small() {
    assert!(size_of::<Event>() <= 256, "{}", size_of::<Event>());
}
