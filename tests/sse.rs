//! Server-sent events over real sockets: a server of axum's on the loopback device, and a client that reads the
//! `text/event-stream` as the HTML standard says.

#![allow(clippy::unwrap_used, clippy::panic, reason = "in a test a panic is the report")]

use axum::Router;
use axum::extract::State;
use axum::response::Response;
use axum::routing::get;
use codomyrmex_events::{AsyncStream, Event, EventBus, Payload, SlowClientPolicy, SseStream, StreamQuery};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

struct Server {
    bus: EventBus,
    stream: AsyncStream,
    events: SseStream,
    address: SocketAddr,
    task: tokio::task::JoinHandle<()>,
}

impl Server {
    async fn new(bus: EventBus, with: impl FnOnce(SseStream) -> SseStream) -> Self {
        async fn serve(State(events): State<SseStream>, query: StreamQuery) -> Response {
            events.respond(&query)
        }
        let stream = AsyncStream::builder().heartbeat(Some(Duration::from_secs(5))).attach(&bus);
        let events = with(SseStream::new(&stream));
        let app = Router::new().route("/events", get(serve)).with_state(events.clone());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let task = tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        Server { bus, stream, events, address, task }
    }

    fn publish(&self, event_type: &str, times: usize) {
        for _ in 0..times {
            self.bus.publish(Event::builder(event_type, "test").build().unwrap()).unwrap();
        }
    }

    async fn connect(&self, query: &str, last_event_id: Option<&str>) -> EventSource {
        let mut socket = TcpStream::connect(self.address).await.unwrap();
        let id = last_event_id.map(|id| format!("Last-Event-ID: {id}\r\n")).unwrap_or_default();
        let request = format!("GET /events{query} HTTP/1.1\r\nHost: localhost\r\n{id}\r\n");
        socket.write_all(request.as_bytes()).await.unwrap();
        let mut source =
            EventSource { socket: BufReader::new(socket), head: String::new(), text: String::new() };
        while !source.head.ends_with("\r\n\r\n") {
            assert!(source.socket.read_line(&mut source.head).await.unwrap() > 0);
        }
        source
    }

    async fn nobody(&self) {
        while self.events.clients() > 0 || !self.stream.subscriptions().is_empty() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Reads as a browser does, and keeps what a browser would throw away.
struct EventSource {
    socket: BufReader<TcpStream>,
    head: String,
    /// What came and is not read yet.
    text: String,
}

#[derive(Debug, Default, PartialEq)]
struct Told {
    id: Option<String>,
    event: String,
    data: Option<String>,
    retry: Option<String>,
    comments: Vec<String>,
}

impl EventSource {
    fn status(&self) -> &str {
        &self.head[9..12]
    }

    /// One more chunk of the body; false at its end.
    async fn chunk(&mut self) -> bool {
        let mut length = String::new();
        if self.socket.read_line(&mut length).await.unwrap_or(0) == 0 {
            return false;
        }
        let length = usize::from_str_radix(length.trim(), 16).unwrap();
        let mut bytes = vec![0; length + 2];
        self.socket.read_exact(&mut bytes).await.unwrap();
        self.text += std::str::from_utf8(&bytes[..length]).unwrap();
        length > 0
    }

    /// Up to the next empty line; `None` at the end.
    async fn next(&mut self) -> Option<Told> {
        let end = loop {
            match self.text.find("\n\n") {
                Some(end) => break end,
                None if !self.chunk().await => {
                    assert_eq!(self.text, "", "the last event has no empty line");
                    return None;
                }
                None => {}
            }
        };
        let block = self.text.drain(..end + 2).collect::<String>();
        let mut told = Told::default();
        for line in block.lines().filter(|line| !line.is_empty()) {
            let (field, value) = line.split_once(": ").unwrap();
            match field {
                "id" => told.id = Some(value.to_owned()),
                "event" => value.clone_into(&mut told.event),
                "retry" => told.retry = Some(value.to_owned()),
                "" => told.comments.push(value.to_owned()),
                "data" => match &mut told.data {
                    Some(data) => *data += &format!("\n{value}"),
                    None => told.data = Some(value.to_owned()),
                },
                _ => panic!("{line}"),
            }
        }
        Some(told)
    }

    /// The next event's data as JSON.
    async fn json(&mut self, event: &str) -> (Told, Value) {
        let told = self.next().await.unwrap();
        assert_eq!(told.event, event, "{told:?}");
        let data = serde_json::from_str(told.data.as_ref().unwrap()).unwrap();
        (told, data)
    }

    async fn sequence(&mut self) -> u64 {
        self.json("message").await.1["sequence"].as_u64().unwrap()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn events_are_told_whatever_their_data() {
    let server = Server::new(EventBus::new(), |events| events.retry(Duration::from_millis(1_500))).await;
    let mut source = server.connect("?globs=build.*&globs=%C3%A4*", None).await;
    assert_eq!(source.status(), "200");
    assert!(source.head.to_lowercase().contains("content-type: text/event-stream\r\n"), "{}", source.head);
    let (hello, data) = source.json("connect").await;
    let id = server.bus.id().to_owned();
    assert_eq!((hello.id, hello.retry.as_deref()), (Some(format!("{id}-0")), Some("1500")));
    assert_eq!((&data["bus"], &data["token"]), (&json!(id), &json!(format!("{id}-0"))));
    let texts = [
        "0",
        "\"\"",
        "false",
        "{}",
        "[]",
        "null",
        r#""a\n\rb \u2028 id: forged""#,
        "[\n1,\r\n2\r]",
        r#"{"k": [1.50]}"#,
    ];
    for (text, event_type) in texts.into_iter().zip(["build.start", "ä.b"].into_iter().cycle()) {
        let data = Payload::from_json(text).unwrap();
        let event = Event::builder(event_type, "test").data(data).build().unwrap();
        let mut expected = serde_json::to_value(event.to_dict().unwrap()).unwrap();
        let sequence = server.bus.publish(event).unwrap().sequence();
        server.publish("other", 1);
        let (told, data) = source.json("message").await;
        assert_eq!(told.id.unwrap(), format!("{id}-{sequence}"));
        expected["sequence"] = json!(sequence);
        assert_eq!(data, expected);
        // On the wire null and absent are the same.
        assert_eq!(
            data.get("data"),
            Some(&serde_json::from_str::<Value>(text).unwrap()).filter(|data| !data.is_null())
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_comes_back_with_its_last_id() {
    let server = Server::new(EventBus::builder().history(4).build().unwrap(), |events| events).await;
    let id = server.bus.id().to_owned();
    let mut source = server.connect("?globs=*", None).await;
    source.json("connect").await;
    server.publish("a", 2);
    assert_eq!((source.sequence().await, source.sequence().await), (1, 2));
    drop(source);
    server.publish("a", 2);
    // The header beats the parameter, which is as the page was opened.
    for (query, header, expected) in [
        ("?globs=*", format!("{id}-2"), vec![3, 4]),
        (&*format!("?globs=*&after={id}-0"), format!("{id}-3"), vec![4]),
        (&*format!("?globs=*&after={id}-1"), String::new(), vec![2, 3, 4]),
    ] {
        let mut source =
            server.connect(query, Some(&header).filter(|id| !id.is_empty()).map(|id| id.as_str())).await;
        source.json("connect").await;
        for sequence in expected {
            assert_eq!(source.sequence().await, sequence);
        }
    }
    server.publish("a", 3);
    let mut source = server.connect("?globs=*", Some(&format!("{id}-1"))).await;
    source.json("connect").await;
    assert_eq!(source.json("lagged").await.1["missed"], 2);
    assert_eq!(source.sequence().await, 4);
    drop(source);
    let mut source = server.connect("?globs=*", Some("another-7")).await;
    source.json("connect").await;
    assert_eq!(source.json("reset").await.1, json!({"kind": "reset"}));
    assert_eq!(source.sequence().await, 4);
    drop(source);
    for (query, header) in [("?globs=*", "nothing"), ("", "x-1"), ("", ""), ("?globs=", "ä-1")] {
        let source = server.connect(query, Some(header)).await;
        let mut reason = String::new();
        let is_glob = query == "?globs=";
        assert_eq!(source.status(), "400", "{query} {header}");
        let length = source.head.to_lowercase();
        let length =
            length.split("content-length: ").nth(1).unwrap().lines().next().unwrap().parse().unwrap();
        source.socket.take(length).read_to_string(&mut reason).await.unwrap();
        assert!(reason.contains("token") || reason.contains("glob"), "{is_glob} {reason}");
    }
    server.nobody().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_cut_at_random_sees_each_event_once() {
    const EVENTS: u64 = 6_000;
    let bus = EventBus::builder().history(1 << 14).build().unwrap();
    let server = Server::new(bus, |events| events.buffer(1 << 13)).await;
    let publisher = {
        let bus = server.bus.clone();
        thread::spawn(move || {
            for at in 0..EVENTS {
                bus.publish(Event::builder("a", "test").build().unwrap()).unwrap();
                if at % 32 == 0 {
                    thread::sleep(Duration::from_millis(1));
                }
            }
        })
    };
    let mut random = fastrand::Rng::with_seed(7);
    let (mut last, mut id, mut cuts) = (0, format!("{}-0", server.bus.id()), 0);
    while last < EVENTS {
        let mut source = server.connect("?globs=*", Some(&id)).await;
        source.json("connect").await;
        for _ in 0..random.u64(0..300).min(EVENTS - last) {
            let (told, data) = source.json("message").await;
            last += 1;
            assert_eq!(data["sequence"], last);
            id = told.id.unwrap();
        }
        cuts += 1;
    }
    publisher.join().unwrap();
    assert!(cuts > 10, "{cuts}");
    server.nobody().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn heartbeats_are_comments_and_the_end_is_told() {
    let (bus, driver) = EventBus::builder().manual().build().unwrap();
    let server = Server::new(bus, |events| events.clients_max(1)).await;
    let mut source = server.connect("?globs=*", None).await;
    source.json("connect").await;
    assert_eq!(server.connect("?globs=*", None).await.status(), "503");
    server.publish("a", 1);
    assert_eq!(source.sequence().await, 1);
    driver.advance(Duration::from_secs(5));
    let heartbeat = source.next().await.unwrap();
    assert_eq!(heartbeat, Told { comments: vec!["heartbeat".to_owned()], ..Told::default() });
    server.publish("a", 2);
    server.bus.shutdown(Duration::ZERO);
    assert_eq!((source.sequence().await, source.sequence().await), (2, 3));
    let (told, data) = source.json("disconnect").await;
    assert_eq!((told.id, &data["reason"]), (None, &json!("the stream has ended")));
    assert_eq!(source.next().await, None);
    drop(source);
    server.nobody().await;
    assert_eq!(server.connect("?globs=*", None).await.status(), "503");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_client_is_told_what_it_missed() {
    for policy in [SlowClientPolicy::DropOldest, SlowClientPolicy::DropNewest, SlowClientPolicy::Disconnect] {
        let with = |events: SseStream| events.slow_clients(policy).buffer(8).frame_bytes_max(30_000);
        let server = Server::new(EventBus::builder().history(0).build().unwrap(), with).await;
        let mut source = server.connect("?globs=a", None).await;
        source.json("connect").await;
        let event_of = |bytes| {
            let data = json!("x".repeat(bytes));
            Arc::new(Event::builder("a", "test").data(data).build().unwrap())
        };
        let event = event_of(20_000);
        for _ in 0..3_000 {
            server.bus.publish(Arc::clone(&event)).unwrap();
        }
        let (mut seen, mut missed) = (0, 0);
        while seen + missed < 3_000 {
            let told = source.next().await.unwrap();
            let data: Value = serde_json::from_str(&told.data.unwrap()).unwrap();
            match &*told.event {
                "message" => seen += 1,
                "lagged" => missed += data["missed"].as_u64().unwrap(),
                "disconnect" => break,
                _ => panic!("{}", told.event),
            }
        }
        // One that is sent away may not have seen anything by then.
        let is_sent_away = policy == SlowClientPolicy::Disconnect;
        assert!((is_sent_away || seen > 0) && missed > 0, "{seen} {missed}");
        if is_sent_away {
            assert_eq!(source.next().await, None);
        } else {
            assert_eq!(seen + missed, 3_000);
            server.bus.publish(event_of(30_000)).unwrap();
            assert_eq!(source.json("skipped").await.1["sequence"], 3_001);
        }
        drop(source);
        server.nobody().await;
        // Hyper's buffers go with its connections.
        while Arc::strong_count(&event) > 1 {
            tokio::task::yield_now().await;
        }
    }
}
