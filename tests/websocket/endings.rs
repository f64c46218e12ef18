//! How clients end: vanished, silent, stopped, with their stream and with their bus.

use crate::support::{Client, LONG, Server, patient};
use codomyrmex_events::{ClientEnd, EventBus, StreamQuery, WebSocketStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test]
async fn a_client_that_says_nothing_is_freed_though_nothing_is_published() {
    let (bus, driver) = EventBus::builder().manual().build().unwrap();
    let builder = WebSocketStream::builder().ping(10 * SECOND, 25 * SECOND);
    let server = Server::new(bus, builder).await;
    // One that answers pings, since its library does, and one whose other end is there and dead.
    let (mut alive, _) = server.connect("?globs=*").await;
    let mut dead = server.connect_bare("?globs=*").await;
    let (mut witness, _) = server.connect("").await;
    server.clients(3).await;
    let answers = tokio::spawn(async move { alive.rest().await });
    for _ in 0..2 {
        driver.advance(10 * SECOND);
        // Its ping proves that the server has looked at the clock.
        while dead.read_u8().await.unwrap() != 0x89 {}
        settle(&mut witness).await;
        assert_eq!(server.live.clients().len(), 3);
    }
    driver.advance(5 * SECOND);
    server.clients(2).await;
    let left: Vec<_> = server.live.clients().iter().map(|client| client.id.to_string()).collect();
    assert_eq!(left, ["client_1", "client_3"]);
    let witness = tokio::spawn(async move { witness.rest().await });
    server.live.stop(LONG).await;
    for answers in [answers, witness] {
        assert_eq!(answers.await.unwrap(), ["disconnect \"the server stops\"", "close 1001"]);
    }
}

/// Lets a ping and its pong pass on another connection. All tasks are on one thread and take turns, so each of these
/// questions and answers takes them one step further at least.
async fn settle(witness: &mut Client) {
    for _ in 0..20 {
        witness.say(r#"{"ping":0}"#).await;
        assert_eq!(witness.told().await, "pong 0");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn hundreds_that_vanish_in_every_way_leave_nothing() {
    let short = Duration::from_millis(100);
    let builder = WebSocketStream::builder()
        .ping(short, 5 * short)
        .write_time_max(3 * short)
        .close_time_max(3 * short)
        .buffer(16);
    let server = Server::new(EventBus::builder().history(0).build().unwrap(), builder).await;
    let mut held = Vec::new();
    for number in 0..300 {
        let mut socket = server.connect_bare("?globs=*").await;
        match number % 5 {
            // Gone without a word.
            0 => drop(socket),
            // Reset.
            1 => {
                socket.set_zero_linger().unwrap();
                drop(socket);
            }
            // There, and dead.
            2 => held.push(socket),
            // In the middle of a frame.
            3 => {
                socket.write_all(&[0x81, 0xfe, 0x10]).await.unwrap();
                held.push(socket);
            }
            // Reads a byte now and then, and never answers.
            _ => {
                tokio::spawn(async move {
                    while matches!(socket.read(&mut [0_u8; 1]).await, Ok(1)) {
                        tokio::time::sleep(Duration::from_millis(5)).await;
                    }
                });
            }
        }
    }
    let data = serde_json::json!("x".repeat(10_000));
    let event = codomyrmex_events::Event::builder("a", "test").data(data).build().unwrap();
    let event = Arc::new(event);
    for _ in 0..2_000 {
        server.bus.publish(Arc::clone(&event)).unwrap();
    }
    server.nobody().await;
    // Their feeds are gone, so nobody holds what was published.
    while Arc::strong_count(&event) > 1 {
        tokio::time::sleep(Duration::from_millis(2)).await;
        server.publish("a", 1);
    }
    assert_eq!(server.bus.get_stats().subscribers_count, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn each_end_is_told_for_what_it_was() {
    use axum::extract::WebSocketUpgrade;
    let (bus, driver) = EventBus::builder().manual().build().unwrap();
    let stream = codomyrmex_events::AsyncStream::attach(&bus);
    let builder = WebSocketStream::builder().ping(10 * SECOND, 20 * SECOND).write_time_max(5 * SECOND);
    let live = builder.attach(&stream).unwrap();
    let ends: Arc<Mutex<Vec<ClientEnd>>> = Arc::default();
    let (serving, noted) = (live.clone(), Arc::clone(&ends));
    let handler = async move |query: StreamQuery, upgrade: WebSocketUpgrade| {
        serving.bounded(upgrade).on_upgrade(async move |socket| {
            let end = serving.serve(socket, query).await;
            noted.lock().unwrap().push(end);
        })
    };
    let app = axum::Router::new().route("/live", axum::routing::get(handler));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("ws://{}/live", listener.local_addr().unwrap());
    let server = tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
    let connect =
        async |query: &str| tokio_tungstenite::connect_async(format!("{url}{query}")).await.unwrap().0;
    let end = async || {
        loop {
            if let Some(end) = ends.lock().unwrap().pop() {
                return end;
            }
            driver.advance(SECOND);
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    let mut polite = connect("").await;
    polite.close(None).await.unwrap();
    assert_eq!(end().await, ClientEnd::Left);

    // Those whose connection breaks without a closing have left as well.
    let reset = async |query: &str| {
        let (mut socket, _) = tokio_tungstenite::connect_async(format!("{url}{query}")).await.unwrap();
        let tokio_tungstenite::MaybeTlsStream::Plain(stream) = socket.get_mut() else { unreachable!() };
        stream.set_zero_linger().unwrap();
        socket
    };
    let mut half_open = connect("").await;
    half_open.get_mut().shutdown().await.unwrap();
    assert_eq!(end().await, ClientEnd::Left);
    drop(half_open);
    for query in ["", "?globs=*"] {
        drop(reset(query).await);
        assert_eq!(end().await, ClientEnd::Left, "{query}");
    }

    let silent = connect("?globs=*").await;
    assert_eq!(end().await, ClientEnd::Silent);
    drop(silent);

    let refused = connect("?after=nothing").await;
    assert!(matches!(end().await, ClientEnd::SentAway(reason) if reason.contains("resume token")));
    drop(refused);

    // Reads nothing, while much is written: what is written to it stops long before it is taken for silent.
    let stuck = connect("?globs=*").await;
    while live.clients().is_empty() {
        tokio::task::yield_now().await;
    }
    let data = serde_json::json!("x".repeat(100_000));
    let event = codomyrmex_events::Event::builder("a", "test").data(data).build().unwrap();
    for _ in 0..500 {
        bus.publish(event.clone()).unwrap();
        tokio::task::yield_now().await;
    }
    let before = live.clients()[0].delivered;
    assert_eq!(end().await, ClientEnd::Stalled);
    assert!(before < 500, "the buffers of the system were not full");
    drop(stuck);
    server.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_end_of_the_bus_is_told_after_all_that_was_accepted() {
    for with_globs in [true, false] {
        for end in 0..3 {
            let server =
                Server::new(EventBus::new(), WebSocketStream::builder().ping(SECOND / 10, LONG)).await;
            let query = if with_globs { "?globs=*" } else { "" };
            let (mut client, _) = server.connect(query).await;
            server.publish("a", 50);
            match end {
                0 => drop(server.bus.shutdown(LONG)),
                1 => server.stream.stop(),
                _ => assert_eq!(server.live.stop(LONG).await, 0),
            }

            let mut told = client.rest().await;
            assert_eq!(told.pop().unwrap(), "close 1001");
            assert!(told.pop().unwrap().starts_with("disconnect"));
            // A client that is stopped itself goes on with its token; one whose stream ends is told all.
            let numbers: Vec<String> = (1..=50).map(|number: u64| number.to_string()).collect();
            assert!(numbers.starts_with(&told), "{told:?}");
            assert!(end == 2 || told.len() == if with_globs { 50 } else { 0 }, "{end}: {told:?}");
            server.nobody().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_cuts_off_those_that_do_not_leave() {
    let server = Server::new(EventBus::new(), patient().close_time_max(LONG)).await;
    let (mut polite, _) = server.connect("?globs=*").await;
    let polite = tokio::spawn(async move { polite.rest().await });
    let mut deaf = server.connect_bare("?globs=*").await;
    server.clients(2).await;
    assert_eq!(server.live.stop(SECOND / 5).await, 1);
    server.nobody().await;
    assert_eq!(polite.await.unwrap().last().unwrap(), "close 1001");
    let mut told = Vec::new();
    let _ = deaf.read_to_end(&mut told).await;
    assert!(String::from_utf8_lossy(&told).contains("the server stops"));
}

#[test]
fn a_stop_ends_though_nothing_can_tell_the_time() {
    let (told, hears) = std::sync::mpsc::channel();
    // A runtime that has no timers, and a bus that has none any more.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().unwrap();
    std::thread::spawn(move || {
        runtime.block_on(async {
            let server = Server::new(EventBus::new(), patient()).await;
            let deaf = server.connect_bare("").await;
            while server.live.clients().is_empty() {
                tokio::task::yield_now().await;
            }
            server.bus.shutdown(LONG);
            told.send(server.live.stop(LONG).await).unwrap();
            drop(deaf);
        });
    });
    assert_eq!(hears.recv_timeout(60 * SECOND), Ok(1));
}
