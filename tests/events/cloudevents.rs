//! CloudEvents 1.0, in and out.

use codomyrmex_events::{Event, EventPriority, Timestamp};
use serde_json::{Value, json};

use super::{fields, object};

#[test]
fn our_events_go_out_and_come_back_whole() {
    let metadata = object(json!({
        "subject": "s", "dataschema": "https://example.com/s", "step": 1, "flag": true, "traceparent": "00-ab",
        // No attribute can carry these.
        "Step": 1, "with space": 1, "": 1, "big": 2_147_483_648_i64, "float": 1.5, "nested": {"a": [1]}, "none": null, "empty": "",
        "newline": "a\nb", "priority": "p", "metadata": "{\"x\":1}", "data": 1, "id": "i", "time": "t", "sequence": 9, "data_base64": "AA",
        "specversion": "2.0", "correlationid": "c", "type": "t", "source": "s",
    }));
    let event = Event::builder("build.start", "ci")
        .event_id("id-1")
        .timestamp(Timestamp::from_unix_nanos(1_763_810_000_137_000_001))
        .correlation_id("op-1")
        .causation_id("67e55044-10b1-426f-9247-bb680e5fe0c8")
        .data(json!({"target": "x"}))
        .metadata(metadata)
        .priority(EventPriority::Critical)
        .build()
        .unwrap();
    let text = event.to_cloudevents_json().unwrap();
    let cloud = object(serde_json::from_str(&text).unwrap());
    let expected = json!({
        "specversion": "1.0", "id": "id-1", "source": "ci", "type": "build.start", "time": "2025-11-22T11:13:20.137000001Z",
        "correlationid": "op-1", "causationid": "67e55044-10b1-426f-9247-bb680e5fe0c8", "priority": "critical",
        "datacontenttype": "application/json", "data": {"target": "x"},
        "subject": "s", "dataschema": "https://example.com/s", "step": 1, "flag": true, "traceparent": "00-ab",
    });
    let without_metadata = cloud.iter().filter(|(name, _)| *name != "metadata");
    assert_eq!(
        without_metadata
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect::<serde_json::Map<_, _>>(),
        object(expected)
    );
    assert!(cloud["metadata"].is_string());
    assert_eq!(fields(&Event::from_json(&text).unwrap()), fields(&event));
    assert_eq!(fields(&Event::from_dict(cloud).unwrap()), fields(&event));

    let plain = Event::builder("a", "b").build().unwrap();
    let text = plain.to_cloudevents_json().unwrap();
    assert!(!text.contains("data") && !text.contains("correlationid"), "{text}");
    assert_eq!(fields(&Event::from_json(&text).unwrap()), fields(&plain));
}

/// The example of the CloudEvents JSON format, section 3.2, as an outsider sends it.
#[test]
fn foreign_events_come_in_and_leave_as_they_came() {
    let text = r#"{"specversion": "1.0", "type": "com.example.someevent", "source": "/mycontext", "subject": null,
        "id": "C234-1234-1234", "time": "2018-04-05T17:31:00Z", "comexampleextension1": "value", "comexampleothervalue": 5,
        "datacontenttype": "application/vnd.x+json", "metadata": "theirs", "sequence": "0001",
        "data": {"appinfoA": "abc", "appinfoB": 123, "appinfoC": true}}"#;
    let event = Event::from_json(text).unwrap();
    assert_eq!(
        (event.event_type().as_str(), event.source().as_str()),
        ("com.example.someevent", "/mycontext")
    );
    assert_eq!(event.event_id(), &"C234-1234-1234");
    assert_eq!(event.timestamp().to_rfc3339(), "2018-04-05T17:31:00Z");
    assert_eq!(event.data().get("appinfoB"), Some(&json!(123)));
    let metadata = json!({"comexampleextension1": "value", "comexampleothervalue": 5, "datacontenttype": "application/vnd.x+json",
        "metadata": "theirs", "sequence": "0001"});
    assert_eq!(event.metadata(), &object(metadata));
    let out: Value = serde_json::from_str(&event.to_cloudevents_json().unwrap()).unwrap();
    for name in ["comexampleextension1", "comexampleothervalue", "datacontenttype", "data", "id", "time"] {
        assert_eq!(out[name], serde_json::from_str::<Value>(text).unwrap()[name], "{name}");
    }
    assert_eq!(fields(&Event::from_json(&out.to_string()).unwrap()), fields(&event));
}

#[test]
fn defaults_and_lenience() {
    let text = r#"{"specversion":"1.0","id":"1","source":"s","type":"t","sequence":4,"priority":2,"time":null,"data":"text"}"#;
    let event = Event::from_json(text).unwrap();
    assert_eq!(event.priority(), EventPriority::Critical);
    assert!(event.metadata().is_empty());
    assert_eq!(event.data().value().unwrap(), &json!("text"));
    assert!(event.timestamp() <= Timestamp::now());
    // Native fields mean nothing to a CloudEvent: they are attributes like any other.
    let text = r#"{"specversion":"1.0","id":"1","source":"s","type":"t","event_type":"x"}"#;
    assert_eq!(Event::from_json(text).unwrap().metadata(), &object(json!({"event_type": "x"})));
}

#[test]
fn bad_cloudevents() {
    let cases = [
        (r#"{"specversion":"0.3","id":"1","source":"s","type":"t"}"#, "specversion", "must be \"1.0\""),
        (r#"{"specversion":1.0,"id":"1","source":"s","type":"t"}"#, "specversion", "must be \"1.0\""),
        (r#"{"specversion":"1.0","source":"s","type":"t"}"#, "id", "id is required"),
        (r#"{"specversion":"1.0","id":"","source":"s","type":"t"}"#, "id", "id must not be empty"),
        (r#"{"specversion":"1.0","id":"1","type":"t"}"#, "source", "source is required"),
        (r#"{"specversion":"1.0","id":"1","source":"s"}"#, "type", "type is required"),
        (r#"{"specversion":"1.0","id":"1","source":"s","type":7}"#, "type", "type must be a string"),
        (
            r#"{"specversion":"1.0","id":"1","source":"s","type":"t","data_base64":"AA=="}"#,
            "data_base64",
            "binary",
        ),
        (r#"{"specversion":"1.0","id":"1","source":"s","type":"t","time":"yesterday"}"#, "time", "RFC 3339"),
        (
            r#"{"specversion":"1.0","id":"1","source":"s","type":"t","time":5}"#,
            "time",
            "time must be a string",
        ),
        (
            r#"{"specversion":"1.0","id":"1","source":"s","type":"t","priority":"high"}"#,
            "priority",
            "one of debug",
        ),
        (r#"{"specversion":"1.0","id":"1","id":"1","source":"s","type":"t"}"#, "id", "given twice"),
        (r#"{"specversion":"1.0","id":"1","source":"s","type":"t","x":1,"x":1}"#, "x", "given twice"),
        (
            r#"{"specversion":"1.0","id":"1","source":"s","type":"t","data":1,"data":null}"#,
            "data",
            "given twice",
        ),
    ];
    for (text, field, message) in cases {
        let error = Event::from_json(text).unwrap_err();
        assert_eq!(error.field(), Some(field), "{text}: {error}");
        assert!(error.to_string().contains(message), "{text}: {error}");
        if !message.contains("twice") {
            let error = Event::from_dict(object(serde_json::from_str(text).unwrap())).unwrap_err();
            assert_eq!(error.field(), Some(field), "{text}: {error}");
        }
    }
}
