//! Events as JSON and as dictionaries: round trips, and every rule of the wire.

use codomyrmex_events::{CorrelationId, Event, EventId, EventParseError, EventPriority, Timestamp};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::{fields, object};

/// An event with every field.
fn full() -> Event {
    Event::builder("build.start", "ci \"quoted\" \\ \u{1f980}")
        .event_id("67e55044-10b1-426f-9247-bb680e5fe0c8")
        .timestamp(Timestamp::from_unix_nanos(1_763_810_000_137_000_001))
        .correlation_id("op\"1")
        .causation_id("not a \\ uuid")
        .data(json!({"a": [1, -0.0, 1.5, "\u{e9}\n\"", null, true], "b": {}}))
        .metadata(object(json!({"step": 1, "deep": {"x": [[]]}})))
        .priority(EventPriority::Warning)
        .build()
        .unwrap()
}

fn minimal() -> Event {
    Event::builder("my.own", "me").build().unwrap()
}

#[test]
fn every_field_comes_back() {
    for event in [full(), minimal()] {
        assert_eq!(fields(&Event::from_json(&event.to_json().unwrap()).unwrap()), fields(&event));
        assert_eq!(
            fields(&Event::from_json_slice(event.to_json().unwrap().as_bytes()).unwrap()),
            fields(&event)
        );
        assert_eq!(fields(&Event::from_dict(event.to_dict().unwrap()).unwrap()), fields(&event));
        // One form through the other.
        let dict = object(serde_json::from_str(&event.to_json().unwrap()).unwrap());
        assert_eq!(dict.keys().collect::<Vec<_>>(), event.to_dict().unwrap().keys().collect::<Vec<_>>());
        assert_eq!(Event::from_dict(dict).unwrap().event_id(), event.event_id());
    }
}

#[test]
fn what_is_written() {
    let text = full().to_json().unwrap();
    assert_eq!(
        text,
        concat!(
            r#"{"event_type":"build.start","source":"ci \"quoted\" \\ 🦀","event_id":"67e55044-10b1-426f-9247-bb680e5fe0c8","#,
            r#""timestamp":1763810000.137000001,"correlation_id":"op\"1","causation_id":"not a \\ uuid","#,
            r#""data":{"a":[1,-0.0,1.5,"é\n\"",null,true],"b":{}},"metadata":{"deep":{"x":[[]]},"step":1},"priority":"warning"}"#,
        )
    );
    let plain = Event::builder("a", "b")
        .event_id("i")
        .timestamp(Timestamp::from_unix_nanos(1_000_000_000))
        .build()
        .unwrap();
    assert_eq!(
        plain.to_json().unwrap(),
        r#"{"event_type":"a","source":"b","event_id":"i","timestamp":1.0,"priority":"normal"}"#
    );
    let mut out = String::from(">");
    plain.write_json_with_sequence(u64::MAX, &mut out).unwrap();
    assert!(
        out.starts_with(">{\"event_type\"") && out.ends_with(",\"sequence\":18446744073709551615}"),
        "{out}"
    );
    assert_eq!(fields(&Event::from_json(&out[1..]).unwrap()), fields(&plain));
}

#[test]
fn an_event_is_written_on_one_line() {
    let text = "{\n \"event_type\": \"a\",\r\n \"source\": \"b\",\n \"data\": {\n  \"x\": \"l\\nm\"\n },\n \"metadata\": {\n \"y\":\n1}\n}";
    let event = Event::from_json(text).unwrap();
    let written = event.to_json().unwrap();
    assert!(!written.contains(['\n', '\r']), "{written}");
    assert_eq!(fields(&Event::from_json(&written).unwrap()), fields(&event));
    assert_eq!(event.metadata(), &object(json!({"y": 1})));
}

#[test]
fn null_and_missing_are_absent() {
    let texts = [
        r#"{"event_type":"a","source":"b"}"#,
        r#"{"event_type":"a","source":"b","event_id":null,"timestamp":null,"correlation_id":null,"causation_id":null,"data":null,"metadata":null,"priority":null,"specversion":null}"#,
    ];
    for text in texts {
        for event in [
            Event::from_json(text).unwrap(),
            Event::from_dict(object(serde_json::from_str(text).unwrap())).unwrap(),
        ] {
            assert!(event.event_id().as_uuid().is_some());
            assert!(event.timestamp() <= Timestamp::now());
            assert_eq!((event.correlation_id(), event.causation_id()), (None, None));
            assert!(event.data().is_absent() && event.metadata().is_empty());
            assert_eq!(event.priority(), EventPriority::Normal);
        }
    }
    // A Rust value that is JSON null reads back as absent, so it is not written either.
    let unit = Event::builder("a", "b").data(codomyrmex_events::Payload::typed(())).build().unwrap();
    assert!(!unit.to_json().unwrap().contains("data"));
    assert!(!unit.to_dict().unwrap().contains_key("data"));
}

#[test]
fn timestamps_keep_their_nanoseconds() {
    let texts = [
        "1763810000.137",
        "1763810000.000000001",
        "1763810000.137000001",
        "17638100001e-1",
        "0",
        "-1.5",
        "1750775785.0",
    ];
    for text in texts {
        let line = format!(r#"{{"event_type":"a","source":"b","timestamp":{text}}}"#);
        let event = Event::from_json(&line).unwrap();
        assert_eq!(event.timestamp(), Timestamp::parse_seconds(text).unwrap(), "{text}");
        assert_eq!(Event::from_json(&event.to_json().unwrap()).unwrap().timestamp(), event.timestamp());
        assert_eq!(Event::from_dict(event.to_dict().unwrap()).unwrap().timestamp(), event.timestamp());
    }
    // Only a dictionary, whose numbers are `f64`, may hold a text instead; on the wire that is the wrong type.
    let quoted = r#"{"event_type":"a","source":"b","timestamp":"1763810000.5"}"#;
    assert_eq!(Event::from_json(quoted).unwrap_err().field(), Some("timestamp"));
    assert!(Event::from_dict(object(serde_json::from_str(quoted).unwrap())).is_ok());
    let at = |nanos| {
        let event = Event::builder("a", "b").timestamp(Timestamp::from_unix_nanos(nanos)).build().unwrap();
        event.to_dict().unwrap()["timestamp"].clone()
    };
    assert_eq!(at(1_763_810_000_137_000_000), json!(1763810000.137));
    assert_eq!(at(1_763_810_000_137_000_001), json!("1763810000.137000001"));
    assert_eq!(at(1_750_775_785_000_000_000), json!(1750775785.0));
}

#[test]
fn priorities_on_the_wire() {
    let cases = [
        (r#""critical""#, Some(EventPriority::Critical)),
        (r#""monitoring""#, Some(EventPriority::Monitoring)),
        (r#""crit\u0069cal""#, Some(EventPriority::Critical)),
        ("0", Some(EventPriority::Normal)),
        ("1", Some(EventPriority::Warning)),
        ("2", Some(EventPriority::Critical)),
        ("2.0", Some(EventPriority::Critical)),
        ("3", None),
        ("-1", None),
        ("0.5", None),
        (r#""1""#, None),
        (r#""EventPriority.NORMAL""#, None),
        ("true", None),
        ("[]", None),
    ];
    for (text, expected) in cases {
        let line = format!(r#"{{"event_type":"a","source":"b","priority":{text}}}"#);
        let dict = object(serde_json::from_str(&line).unwrap());
        for result in [Event::from_json(&line), Event::from_dict(dict)] {
            match (result, expected) {
                (Ok(event), Some(priority)) => assert_eq!(event.priority(), priority, "{text}"),
                (Err(error), None) => {
                    assert_eq!(error.field(), Some("priority"), "{text}");
                    assert!(error.to_string().contains("debug, info, normal"), "{error}");
                }
                (result, _) => panic!("{text}: {result:?}"),
            }
        }
    }
}

#[test]
fn unknown_fields_are_ignored_but_checked() {
    let line =
        |unknown: &str| format!(r#"{{"event_type":"a","source":"b","sequence":7,"x":{unknown},"x":1}}"#);
    let event = Event::from_json(&line(r#"{"event_type":[]}"#)).unwrap();
    assert!(!event.to_json().unwrap().contains("sequence"));
    let too_deep = format!("{}{}", "[".repeat(128), "]".repeat(128));
    for bad in ["1e999", r#""\ud800""#, "tru", "01", &too_deep] {
        assert!(Event::from_json(&line(bad)).is_err(), "{bad}");
        assert!(
            Event::from_json(&line("1").replace("\"b\"", &format!("\"b\",\"data\":{bad}"))).is_err(),
            "{bad}"
        );
        assert!(
            Event::from_json(&line("1").replace("\"b\"", &format!("\"b\",\"metadata\":{{\"m\":{bad}}}")))
                .is_err()
        );
    }
    assert!(Event::from_json(&line(&too_deep[1..255])).is_ok());
}

/// What is wrong, which field, which line and column.
#[test]
fn bad_events() {
    type Place = Option<(usize, usize)>;
    let cases: &[(&str, Option<&str>, Place, &str)] = &[
        ("", None, Some((1, 1)), "ends too early"),
        ("  ", None, Some((1, 3)), "ends too early"),
        ("nope", None, Some((1, 1)), "true, false or null"),
        ("[1]", None, Some((1, 1)), "an event is a JSON object"),
        ("\n \"x\"", None, Some((2, 2)), "an event is a JSON object"),
        ("{}", Some("event_type"), None, "event_type is required"),
        (r#"{"event_type":"a"}"#, Some("source"), None, "source is required"),
        (r#"{"event_type":null,"source":"b"}"#, Some("event_type"), None, "event_type is required"),
        (r#"{"event_type":"a","source":"b"} x"#, None, Some((1, 33)), "nothing may follow"),
        (r#"{"event_type":"a","source":"b""#, None, Some((1, 31)), "ends too early"),
        (r#"{"event_type":"a" "source":"b"}"#, None, Some((1, 19)), "expected a comma"),
        (r#"{"event_type":"a",}"#, None, Some((1, 19)), "a key in quotes"),
        (r#"{"event_type" "a"}"#, None, Some((1, 15)), "a colon"),
        (r#"{"event_type":1,"source":"b"}"#, Some("event_type"), Some((1, 15)), "must be a string"),
        (r#"{"event_type":"","source":"b"}"#, Some("event_type"), Some((1, 15)), "must not be empty"),
        (
            "{\"event_type\":\"a\",\n\"source\":\"b\\u0001\"}",
            Some("source"),
            Some((2, 10)),
            "control character",
        ),
        (r#"{"event_type":"a","source":["b"]}"#, Some("source"), Some((1, 28)), "must be a string"),
        (
            r#"{"event_type":"a","source":"b","event_id":7}"#,
            Some("event_id"),
            Some((1, 43)),
            "must be a string",
        ),
        (
            r#"{"event_type":"a","source":"b","event_id":""}"#,
            Some("event_id"),
            Some((1, 43)),
            "must not be empty",
        ),
        (
            r#"{"event_type":"a","source":"b","correlation_id":{}}"#,
            Some("correlation_id"),
            Some((1, 49)),
            "must be a string",
        ),
        (
            r#"{"event_type":"a","source":"b","causation_id":""}"#,
            Some("causation_id"),
            Some((1, 47)),
            "must not be empty",
        ),
        (
            r#"{"event_type":"a","source":"b","metadata":[]}"#,
            Some("metadata"),
            Some((1, 43)),
            "must be an object",
        ),
        (
            r#"{"event_type":"a","source":"b","timestamp":"soon"}"#,
            Some("timestamp"),
            Some((1, 44)),
            "must be a number",
        ),
        (
            r#"{"event_type":"a","source":"b","timestamp":true}"#,
            Some("timestamp"),
            Some((1, 44)),
            "must be a number",
        ),
        (
            r#"{"event_type":"a","source":"b","timestamp":1e300}"#,
            Some("timestamp"),
            Some((1, 44)),
            "1677 to 2262",
        ),
        (r#"{"event_type":"a","source":"b","source":"b"}"#, Some("source"), Some((1, 32)), "given twice"),
        (
            r#"{"event_type":"a","source":"b","event\u005ftype":null}"#,
            Some("event_type"),
            Some((1, 32)),
            "given twice",
        ),
        (
            r#"{"data":null,"data":1,"event_type":"a","source":"b"}"#,
            Some("data"),
            Some((1, 14)),
            "given twice",
        ),
    ];
    for (text, field, place, message) in cases {
        let error = Event::from_json(text).unwrap_err();
        assert!(error.to_string().contains(message), "{text}: {error}");
        assert_eq!(error.field(), *field, "{text}: {error}");
        assert_eq!(error.line().zip(error.column()), *place, "{text}: {error}");
        let dict = serde_json::from_str::<Value>(text).ok().filter(Value::is_object);
        if let Some(dict) = dict.filter(|_| !message.contains("twice")) {
            let error = Event::from_dict(object(dict)).unwrap_err();
            assert!(error.to_string().contains(message), "{text}: {error}");
            assert_eq!(error.field(), *field);
        }
    }
    let error = Event::from_json_slice(b"{\"event_type\":\"\xff\"}").unwrap_err();
    assert_eq!((error.byte_offset(), error.to_string().contains("not UTF-8")), (Some(15), true));
    let cause = |error: EventParseError| std::error::Error::source(&error).map(ToString::to_string);
    let error = Event::from_json(r#"{"event_type":"","source":"b"}"#).unwrap_err();
    assert_eq!(cause(error).unwrap(), "event_type must not be empty");
}

#[test]
fn the_streams_come_back() {
    for stream in [
        include_str!("../../examples/data/build.ndjson"),
        include_str!("../../examples/data/packages.ndjson"),
    ] {
        for line in stream.lines() {
            let event = Event::from_json(line).unwrap();
            let (read, written): (Value, Value) = (
                serde_json::from_str(line).unwrap(),
                serde_json::from_str(&event.to_json().unwrap()).unwrap(),
            );
            assert_eq!(read, written);
            assert_eq!(Value::Object(event.to_dict().unwrap()), read);
        }
    }
}

prop_compose! {
    fn event()(
        names in prop::array::uniform2("[a-z\"\\\\. \u{e9}\u{1f980}]{1,30}"),
        id in prop_oneof![any::<u128>().prop_map(|bits| EventId::from(uuid::Uuid::from_u128(bits)).to_string()), "\\PC{1,40}"],
        nanos: i64,
        correlation_id in prop::option::of("\\PC{1,40}"),
        texts in prop::collection::vec(any::<(String, String)>(), 0..4),
        number: f64,
        priority in prop::sample::select(EventPriority::ALL.to_vec()),
    ) -> Event {
        let [event_type, source] = names;
        let builder = Event::builder(event_type, source)
            .event_id(id.as_str())
            .timestamp(Timestamp::from_unix_nanos(nanos))
            .data(json!({"texts": texts, "number": number}))
            .metadata(texts.iter().map(|(key, value)| (key.clone(), json!(value))).collect())
            .priority(priority);
        match correlation_id.map(|id| CorrelationId::new(id).unwrap()) {
            Some(id) => builder.correlation_id(&id).build().unwrap(),
            None => builder.build().unwrap(),
        }
    }
}

proptest! {
    #[test]
    fn any_event_comes_back(event in event()) {
        let json = event.to_json().unwrap();
        prop_assert_eq!(fields(&Event::from_json(&json).unwrap()), fields(&event));
        prop_assert_eq!(fields(&Event::from_dict(event.to_dict().unwrap()).unwrap()), fields(&event));
        prop_assert_eq!(Event::from_json(&json).unwrap().to_json().unwrap(), json.as_str());
        #[cfg(feature = "cloudevents")]
        prop_assert_eq!(fields(&Event::from_json(&event.to_cloudevents_json().unwrap()).unwrap()), fields(&event));
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes: Vec<u8>) {
        prop_assert!(Event::from_json_slice(&bytes).is_err());
    }

    /// A piece cut off or damaged never panics, and what is accepted reads back.
    #[test]
    fn damaged_events(event in event(), at: prop::sample::Index, byte: u8) {
        let mut bytes = event.to_json().unwrap().into_bytes();
        let at = at.index(bytes.len());
        prop_assert!(Event::from_json_slice(&bytes[..at]).is_err());
        bytes[at] = byte;
        if let Ok(read) = Event::from_json_slice(&bytes) {
            prop_assert_eq!(fields(&Event::from_json(&read.to_json().unwrap()).unwrap()), fields(&read));
        }
    }
}
