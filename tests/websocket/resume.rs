//! Clients that are cut at random moments while publishers run, and go on where they stood.

use crate::support::{Server, patient};
use codomyrmex_events::EventBus;
use serde_json::Value;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

const PUBLISHERS: usize = 2;
/// Events of each, where they end by themselves.
const EACH: u64 = 4_000;
const ALL: u64 = EACH * PUBLISHERS as u64;

/// Publishes from threads of its own until told to stop.
struct Fire {
    is_over: Arc<AtomicBool>,
    /// The number of the last event that was heard: the publishers are not too far ahead of it.
    heard: Arc<AtomicU64>,
    threads: Vec<thread::JoinHandle<()>>,
}

impl Fire {
    fn on(bus: &EventBus, each: u64, ahead_max: u64) -> Self {
        let (is_over, heard) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let publish = |number: usize| {
            let (bus, is_over, heard) = (bus.clone(), Arc::clone(&is_over), Arc::clone(&heard));
            let is_ahead = move |bus: &EventBus| {
                bus.history().last_sequence() > heard.load(Ordering::Relaxed) + ahead_max
            };
            thread::spawn(move || {
                for at in 0..each {
                    while is_ahead(&bus) && !is_over.load(Ordering::Relaxed) {
                        thread::sleep(std::time::Duration::from_millis(1));
                    }
                    if is_over.load(Ordering::Relaxed) {
                        break;
                    }
                    let event_type = ["a.x", "b.x", "b.y"][(at as usize + number) % 3];
                    bus.publish(crate::support::event(event_type)).unwrap();
                    if at % 16 == 0 {
                        thread::sleep(std::time::Duration::from_millis(1));
                    }
                }
            })
        };
        let threads = (0..PUBLISHERS).map(publish).collect();
        Fire { is_over, heard, threads }
    }

    fn end(self) {
        self.is_over.store(true, Ordering::Relaxed);
        self.threads.into_iter().for_each(|thread| thread.join().unwrap());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_cut_at_random_sees_each_event_once() {
    let bus = EventBus::builder().history(1 << 16).build().unwrap();
    let server = Arc::new(Server::new(bus, patient().buffer(1 << 13)).await);
    let start = format!("{}-0", server.bus.id());
    let fire = Fire::on(&server.bus, EACH, ALL);
    let client = async |server: Arc<Server>, token: String, seed: u64| {
        let mut random = fastrand::Rng::with_seed(seed);
        let (mut token, mut last, mut cuts) = (token, 0, 0);
        while last < ALL {
            let (mut client, hello) = server.connect(&format!("?globs=*&after={token}")).await;
            assert_eq!(hello["token"], Value::from(token.clone()), "it begins where it stopped");
            for _ in 0..random.u64(0..400) {
                let frame = client.next().await;
                assert_eq!(frame["kind"], "message", "{frame}");
                last += 1;
                assert_eq!(frame["sequence"], last);
                token = frame["token"].as_str().unwrap().to_owned();
                if last == ALL {
                    break;
                }
            }
            cuts += 1;
        }
        cuts
    };
    let clients: Vec<_> =
        (0..6).map(|seed| tokio::spawn(client(Arc::clone(&server), start.clone(), seed))).collect();
    let mut cuts = 0;
    for client in clients {
        cuts += client.await.unwrap();
    }
    fire.threads.into_iter().for_each(|thread| thread.join().unwrap());
    assert!(cuts > 50, "{cuts} cuts");
    server.nobody().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn globs_that_change_under_fire_lose_and_repeat_nothing() {
    for history in [0, 1_000] {
        let bus = EventBus::builder().history(history).build().unwrap();
        let server = Server::new(bus, patient().buffer(1 << 14)).await;
        let (mut client, _) = server.connect("?globs=b.*").await;
        let fire = Fire::on(&server.bus, u64::MAX, 1 << 12);
        // `b.x` is let in by all of them: each of those comes once, in order.
        let changes = [
            r#"{"subscribe":["*"]}"#,
            r#"{"subscribe":["b.*","a.*"]}"#,
            r#"{"remove":["a.*"]}"#,
            r#"{"add":["*.x"]}"#,
            r#"{"remove":["b.*"]}"#,
            r#"{"add":["b.*"]}"#,
        ];
        let mut seen: Vec<(u64, String)> = Vec::new();
        for round in 0..120 {
            client.say(changes[round % changes.len()]).await;
            loop {
                let frame = client.next().await;
                match frame["kind"].as_str().unwrap() {
                    "message" => {
                        let event_type = frame["event"]["event_type"].as_str().unwrap().to_owned();
                        let sequence = frame["sequence"].as_u64().unwrap();
                        fire.heard.store(sequence, Ordering::Relaxed);
                        seen.push((sequence, event_type));
                    }
                    "subscribed" => break,
                    _ => panic!("{frame}"),
                }
            }
        }
        // All is published; the rest comes before the answer to a last question, or after it and before a marker.
        fire.end();
        server.publish("b.x", 1);
        let last = server.bus.history().last_sequence();
        while seen.last().is_none_or(|(sequence, _)| *sequence < last) {
            let frame = client.next().await;
            let event_type = frame["event"]["event_type"].as_str().unwrap_or_else(|| panic!("{frame}"));
            seen.push((frame["sequence"].as_u64().unwrap(), event_type.to_owned()));
        }
        assert!(seen.is_sorted_by(|one, other| one.0 < other.0), "in order, and nothing twice");
        let first = seen[0].0;
        let heard = seen.iter().filter(|(_, event_type)| event_type == "b.x").count() as u64;
        let stats = server.bus.get_stats();
        let missed = server.live.clients()[0].missed;
        assert_eq!(missed, 0, "{first} {}", stats.events_published);
        let published = server.bus.list_event_types();
        let count = published.iter().find(|info| info.event_type.as_str() == "b.x").unwrap().published;
        assert_eq!(heard, count, "with a history of {history}");
    }
}
