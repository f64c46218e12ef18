//! What clients are told, and what they may say.

use crate::support::{LONG, Server, patient};
use codomyrmex_events::{AsyncStream, Event, EventBus, Payload, SendToError, WebSocketStream};
use futures_util::SinkExt;
use serde_json::{Value, json};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_tungstenite::tungstenite::{Error, Message};

#[tokio::test(flavor = "multi_thread")]
async fn events_come_in_frames_as_they_are() {
    let server = Server::new(EventBus::new(), patient()).await;
    let (mut client, hello) = server.connect("?globs=build.*&globs=deploy.%5Brs%5D*").await;
    let id = server.bus.id();
    assert_eq!(
        hello,
        json!({"kind": "connect", "client": "client_1", "bus": id, "token": format!("{id}-0")})
    );
    let texts = [r#"{"a": [1, "ü\n"]}"#, "0", "false", "\"\"", "{}", "[]", "1e2"];
    for text in texts {
        let data = Payload::from_json(text).unwrap();
        let told = Event::builder("build.start", "te\"st").data(data).build().unwrap();
        let sent = told.to_json().unwrap();
        let published = server.bus.publish(told).unwrap().sequence();
        server.publish("other", 1);
        let frame = client.next().await;
        assert_eq!(frame["kind"], "message");
        assert_eq!(frame["sequence"], published);
        assert_eq!(frame["token"], format!("{id}-{published}"));
        assert_eq!(frame["event"], serde_json::from_str::<Value>(&sent).unwrap());
        assert_eq!(frame["event"]["data"], serde_json::from_str::<Value>(text).unwrap());
    }
    let info = &server.live.clients()[0];
    assert_eq!(
        (info.id.to_string().as_str(), info.delivered, info.missed, info.buffered),
        ("client_1", 7, 0, 0)
    );
    assert_eq!(info.globs.iter().map(|glob| glob.as_str()).collect::<Vec<_>>(), ["build.*", "deploy.[rs]*"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_changes_its_globs_and_goes_on() {
    let server = Server::new(EventBus::new(), patient()).await;
    let (mut client, _) = server.connect("").await;
    server.publish("a", 1);
    let said = |text: &str| text.to_owned();
    for (message, answer) in [
        (r#"{"subscribe":["a","b"]}"#, r#"subscribed ["a","b"]"#),
        (r#"{"add":["c","a"]}"#, r#"subscribed ["a","b","c"]"#),
        (r#"{"remove":["b","x"]}"#, r#"subscribed ["a","c"]"#),
        (r#"{"ping":[1]}"#, "pong [1]"),
    ] {
        client.say(said(message)).await;
        assert_eq!(client.told().await, answer);
    }
    for event_type in ["a", "b", "c"] {
        server.publish(event_type, 1);
    }
    assert_eq!((client.told().await, client.told().await), (said("2"), said("4")));
    // From the beginning, with the globs that it has.
    client.say(format!(r#"{{"after":"{}-0"}}"#, server.bus.id())).await;
    assert_eq!(client.told().await, r#"subscribed ["a","c"]"#);
    for sequence in ["1", "2", "4"] {
        assert_eq!(client.told().await, sequence);
    }
    client.say(r#"{"after":"another-9"}"#).await;
    assert_eq!(client.told().await, r#"subscribed ["a","c"]"#);
    for sequence in ["reset", "1", "2", "4"] {
        assert_eq!(client.told().await, sequence);
    }
    client.say(r#"{"subscribe":[]}"#).await;
    assert_eq!(client.told().await, "subscribed []");
    server.publish("a", 1);
    client.say(r#"{"ping":0}"#).await;
    assert_eq!(client.told().await, "pong 0");
    assert!(server.stream.subscriptions().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_messages_are_told_and_too_many_end_it() {
    let server = Server::new(EventBus::new(), patient().globs("a")).await;
    let (mut client, _) = server.connect("").await;
    let bad = [
        "",
        "{",
        "7",
        r#"{"publish":{}}"#,
        r#"{"subscribe":"a"}"#,
        r#"{"after":"nothing"}"#,
        r#"{"add":["\u0000"]}"#,
    ];
    let long = format!(r#"{{"add":["{}"]}}"#, "x".repeat(1_025));
    let many = json!({"subscribe": (0..33).map(|i| i.to_string()).collect::<Vec<_>>()}).to_string();
    let deep = "[".repeat(10_000);
    let mut faults = 0;
    for text in bad.iter().map(ToString::to_string).chain([long, many, deep]) {
        let is_good = text.contains("u0000");
        client.say(text.clone()).await;
        let told = client.told().await;
        assert!(told.starts_with(if is_good { "subscribed" } else { "error" }), "{text}: {told}");
        faults += usize::from(!is_good);
    }
    client.socket.send(Message::binary(b"{}".to_vec())).await.unwrap();
    assert!(client.told().await.starts_with("error"));
    server.publish("a", 1);
    assert_eq!(client.told().await, "1", "it goes on");
    for _ in faults + 1..16 {
        client.say("no").await;
        assert!(client.told().await.starts_with("error"));
    }
    assert_eq!(client.rest().await, ["disconnect \"too many bad messages\"", "close 1008"]);
    server.nobody().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_read_ends_the_client() {
    let server = Server::new(EventBus::new(), patient()).await;
    let (mut client, _) = server.connect("").await;
    client.say(" ".repeat((64 << 10) + 1)).await;
    let end = client.rest().await;
    assert!(end.last().unwrap() == "close 1009" || end == ["broken"], "{end:?}");

    let masked = |head: &[u8]| [head, &[0_u8; 4]].concat();
    let rows: [(&str, u16, Vec<u8>); 6] = [
        (
            "a header that promises 8 EiB",
            1009,
            masked(&[0x81, 0xff, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]),
        ),
        ("a reserved bit", 1002, masked(&[0xf1, 0x80])),
        ("a reserved kind", 1002, masked(&[0x83, 0x80])),
        ("no mask", 1002, vec![0x81, 0x01, b'x']),
        ("no UTF-8", 1007, [masked(&[0x81, 0x81]), vec![0xff]].concat()),
        ("a ping in pieces", 1002, masked(&[0x09, 0x80])),
    ];
    for (what, code, bytes) in rows {
        let mut socket = server.connect_bare("").await;
        socket.write_all(&bytes).await.unwrap();
        let mut told = Vec::new();
        // Ends because the server ends it.
        let _ = socket.read_to_end(&mut told).await;
        assert!(String::from_utf8_lossy(&told).contains("disconnect"), "{what}");
        assert!(told.windows(2).any(|bytes| bytes == code.to_be_bytes()), "{what}: {told:?}");
        server.nobody().await;
    }
    // Half a frame, and nothing more: nobody waits for the rest once the client is gone.
    let mut socket = server.connect_bare("").await;
    socket.write_all(&[0x81, 0xfe]).await.unwrap();
    server.clients(1).await;
    drop(socket);
    server.nobody().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_questions_and_too_many_clients_are_refused() {
    let server = Server::new(EventBus::new(), patient().clients_max(2).globs_max(2)).await;
    let long = format!("?globs={}", "x".repeat(1_025));
    for (query, status) in [("?globs=a&globs=b&globs=c", 400), (&long, 400), ("?after=nothing", 400)] {
        match server.try_connect(query).await {
            Err(Error::Http(answer)) => assert_eq!(answer.status(), status, "{query}"),
            other => panic!("{query}: {:?}", other.is_ok()),
        }
    }
    let (first, _) = server.connect("?after=&globs=a").await;
    let (second, _) = server.connect("").await;
    match server.try_connect("").await {
        Err(Error::Http(answer)) => assert_eq!(answer.status(), 503),
        other => panic!("{:?}", other.is_ok()),
    }
    drop(first);
    server.clients(1).await;
    server.connect("").await;
    drop(second);
    assert_eq!(server.live.stop(LONG).await, 0);
    match server.try_connect("").await {
        Err(Error::Http(answer)) => assert_eq!(answer.status(), 503),
        other => panic!("{:?}", other.is_ok()),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn values_are_sent_to_one_and_to_all() {
    let server = Server::new(EventBus::new(), patient().frame_bytes_max(1 << 10).outbox(2)).await;
    let (mut first, _) = server.connect("").await;
    let (mut second, _) = server.connect("").await;
    let ids: Vec<_> = server.live.clients().iter().map(|client| client.id).collect();
    server.live.send_to(ids[1], &json!({"n": null})).unwrap();
    assert_eq!(second.told().await, r#"application {"n":null}"#);
    assert!(server.live.broadcast("all").unwrap().is_empty());
    assert_eq!(
        (first.told().await, second.told().await),
        (r#"application "all""#.into(), r#"application "all""#.into())
    );
    let too_large = server.live.send_to(ids[0], &"x".repeat(1_024)).unwrap_err();
    assert!(matches!(too_large, SendToError::TooLarge { bytes, most: 1_024 } if bytes > 1_024));
    let map = std::collections::HashMap::from([((1, 2), 3)]);
    assert!(matches!(server.live.send_to(ids[0], &map), Err(SendToError::Json(_))));

    assert!(server.live.disconnect(ids[0], "the \"end\""));
    assert_eq!(first.rest().await, [r#"disconnect "the \"end\"""#, "close 1008"]);
    server.clients(1).await;
    assert!(matches!(server.live.send_to(ids[0], "late"), Err(SendToError::Gone(id)) if id == ids[0]));
    assert!(!server.live.disconnect(ids[0], "again"));
    assert!(server.live.disconnect(ids[1], &"ü".repeat(200)), "a reason longer than a closing frame");
    assert_eq!(second.rest().await.last().unwrap(), "close 1008");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_sent_is_named_and_the_rest_goes_on() {
    struct Unwritable;
    impl serde::Serialize for Unwritable {
        fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
            Err(serde::ser::Error::custom("not today"))
        }
    }
    let server = Server::new(EventBus::new(), patient().frame_bytes_max(1 << 10)).await;
    let (mut client, _) = server.connect("?globs=*").await;
    let with = |data: Payload| Event::builder("a", "test").data(data).build().unwrap();
    server.bus.publish(with(Payload::from(json!("x".repeat(1_024))))).unwrap();
    server.bus.publish(with(Payload::typed(Unwritable))).unwrap();
    server.publish("a", 1);
    let frames = [client.next().await, client.next().await];
    let has = |frame: &Value, kind: &str, sequence: u64, reason: &str| {
        assert_eq!((&frame["kind"], &frame["sequence"]), (&json!(kind), &json!(sequence)));
        assert_eq!(frame["token"], format!("{}-{sequence}", server.bus.id()));
        assert!(frame["reason"].as_str().unwrap().contains(reason), "{frame}");
    };
    has(&frames[0], "skipped", 1, "a frame 1024 at most");
    has(&frames[1], "skipped", 2, "not today");
    assert_eq!(client.told().await, "3");
    assert_eq!((server.live.clients()[0].delivered, server.live.clients()[0].missed), (1, 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn long_answers_fit_into_short_frames() {
    struct Unwritable;
    impl serde::Serialize for Unwritable {
        fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
            Err(serde::ser::Error::custom("\u{1}".repeat(20_000)))
        }
    }
    let server = Server::new(EventBus::new(), patient().frame_bytes_max(1 << 10).write_buffer_bytes(0)).await;
    let (mut client, _) = server.connect("?globs=a").await;
    client.say(format!("{{\"{}\":1}}", "\\u0001".repeat(8_000))).await;
    assert!(client.told().await.starts_with("error \"unknown field"));
    let globs: Vec<String> = (0..10).map(|n| format!("{n}{}", "\u{1}".repeat(1_000))).collect();
    client.say(json!({"add": &globs[..5]}).to_string()).await;
    assert_eq!(client.next().await["globs"].as_array().unwrap().len(), 6);
    client.say(json!({"add": &globs[5..]}).to_string()).await;
    assert_eq!(client.next().await["globs"].as_array().unwrap().len(), 11);
    let unwritable = Event::builder("a", "test").data(Payload::typed(Unwritable)).build().unwrap();
    server.bus.publish(unwritable).unwrap();
    assert_eq!(client.told().await, "skipped");
    let reason = "\"ä".repeat(10_000);
    assert!(server.live.disconnect(server.live.clients()[0].id, &reason));
    let end = client.next().await;
    let told = end["reason"].as_str().unwrap();
    assert!(reason.starts_with(told) && (500..=512).contains(&(told.len() * 4 / 3)), "{told}");
    assert_eq!(client.rest().await, ["close 1008"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_streams_heartbeats_are_passed_on() {
    let (bus, driver) = EventBus::builder().manual().build().unwrap();
    let stream = AsyncStream::builder().heartbeat(Some(Duration::from_secs(5))).attach(&bus);
    let server = Server::of(bus, stream, patient()).await;
    let (mut client, _) = server.connect("?globs=a").await;
    server.publish("a", 1);
    assert_eq!(client.told().await, "1");
    driver.advance(Duration::from_secs(5));
    let token = format!("{}-1", server.bus.id());
    assert_eq!(client.next().await, json!({"kind": "heartbeat", "token": token}));
}

#[test]
fn settings_out_of_range_are_refused() {
    let stream = AsyncStream::attach(&EventBus::new());
    let second = Duration::from_secs(1);
    let build = WebSocketStream::builder;
    let rows = [
        ("buffer", build().buffer(0)),
        ("clients_max", build().clients_max(0)),
        ("globs_max", build().globs_max(1_025)),
        ("globs", build().globs(["a", "b"]).globs_max(1)),
        ("globs", build().globs("x".repeat(1_025))),
        ("message_bytes_max", build().message_bytes_max(0)),
        ("frame_bytes_max", build().frame_bytes_max(1_023)),
        ("outbox", build().outbox(0)),
        ("ping", build().ping(second, second)),
        ("ping", build().ping(Duration::ZERO, second)),
    ];
    for (setting, builder) in rows {
        assert_eq!(builder.attach(&stream).unwrap_err().setting(), setting);
    }
}
