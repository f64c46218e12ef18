//! Clients that read slowly, or not at all.

use crate::support::{Server, patient};
use codomyrmex_events::{Event, EventBus, SlowClientPolicy};
use serde_json::json;

const EVENTS: u64 = 3_000;

/// Publishes far more than the system's buffers hold, while the client does not read.
fn flood(server: &Server) {
    let data = json!("x".repeat(20_000));
    let event = std::sync::Arc::new(Event::builder("a", "test").data(data).build().unwrap());
    for _ in 0..EVENTS {
        server.bus.publish(std::sync::Arc::clone(&event)).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_client_is_thinned_and_told_exactly() {
    for policy in [SlowClientPolicy::DropOldest, SlowClientPolicy::DropNewest] {
        let server = Server::new(EventBus::new(), patient().slow_clients(policy).buffer(8)).await;
        let (mut client, _) = server.connect("?globs=a").await;
        flood(&server);
        let info = &server.live.clients()[0];
        assert!(info.buffered <= 8, "{info:?}");
        server.publish("a", 1);
        let (mut seen, mut missed, mut last, mut notices) = (0, 0, 0, 0);
        while seen + missed < EVENTS + 1 {
            let frame = client.next().await;
            match frame["kind"].as_str().unwrap() {
                "message" => {
                    let sequence = frame["sequence"].as_u64().unwrap();
                    assert!(sequence > last, "{sequence} after {last}");
                    (seen, last) = (seen + 1, sequence);
                }
                "lagged" => {
                    missed += frame["missed"].as_u64().unwrap();
                    notices += 1;
                }
                _ => panic!("{frame}"),
            }
        }
        assert_eq!(seen + missed, EVENTS + 1, "{policy:?}");
        assert!(notices > 0 && missed > 0, "{policy:?}: it was not slow");
        let info = &server.live.clients()[0];
        assert_eq!((info.delivered, info.missed), (seen, missed));
        client.say(r#"{"ping":1}"#).await;
        assert_eq!(client.told().await, "pong 1", "and nothing is left");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_client_is_sent_away_with_what_it_missed() {
    let policy = SlowClientPolicy::Disconnect;
    let server = Server::new(EventBus::new(), patient().slow_clients(policy).buffer(8)).await;
    let (mut client, _) = server.connect("?globs=a").await;
    flood(&server);
    let told = client.rest().await;
    let (events, end) = told.split_at(told.len() - 3);
    let numbers: Vec<String> = (1..=events.len()).map(|number| number.to_string()).collect();
    assert_eq!(events, numbers, "no gap before it was told");
    assert!(end[0].starts_with("lagged "), "{end:?}");
    assert_eq!(&end[1..], ["disconnect \"too slow\"", "close 1013"]);
    server.nobody().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_talks_and_never_reads_is_not_answered_without_end() {
    use tokio::io::AsyncWriteExt;
    let server = Server::new(EventBus::new(), patient()).await;
    let mut socket = server.connect_bare("?globs=a").await;
    server.clients(1).await;
    // Frames of a ping each, with a mask of zeros: the answers are as long as the questions.
    let text = format!("{{\"ping\":\"{}\"}}", "x".repeat(100));
    let frame = [&[0x81, 0x80 | u8::try_from(text.len()).unwrap(), 0, 0, 0, 0], text.as_bytes()].concat();
    let burst = frame.repeat(1_000);
    let mut sent = 0_usize;
    // The server stops to listen when its answers are not taken: so the client's writes stop as well.
    let quiet = std::time::Duration::from_secs(1);
    while let Ok(written) = tokio::time::timeout(quiet, socket.write(&burst[sent % frame.len()..])).await {
        sent += written.unwrap_or_else(|error| panic!("{sent} bytes, then {error}"));
        assert!(sent < 1 << 28, "{sent} bytes, and still it listens");
    }
    assert_eq!(server.live.clients().len(), 1);
    drop(socket);
    server.nobody().await;
}
