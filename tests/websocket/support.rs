//! A server, and its clients.

use axum::Router;
use axum::extract::{State, WebSocketUpgrade};
use axum::response::Response;
use axum::routing::get;
use codomyrmex_events::{AsyncStream, Event, EventBus, StreamQuery, WebSocketStream, WebSocketStreamBuilder};
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream as Socket, connect_async};

pub(crate) const LONG: Duration = Duration::from_secs(3_600);

pub(crate) struct Server {
    pub(crate) bus: EventBus,
    pub(crate) stream: AsyncStream,
    pub(crate) live: WebSocketStream,
    pub(crate) address: SocketAddr,
    task: JoinHandle<()>,
}

impl Server {
    pub(crate) async fn new(bus: EventBus, builder: WebSocketStreamBuilder) -> Self {
        let stream = AsyncStream::builder().heartbeat(None).attach(&bus);
        Server::of(bus, stream, builder).await
    }

    pub(crate) async fn of(bus: EventBus, stream: AsyncStream, builder: WebSocketStreamBuilder) -> Self {
        async fn serve(
            State(live): State<WebSocketStream>,
            query: StreamQuery,
            upgrade: WebSocketUpgrade,
        ) -> Response {
            live.upgrade(upgrade, query)
        }
        let live = builder.attach(&stream).unwrap();
        let app = Router::new().route("/live", get(serve)).with_state(live.clone());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let task = tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        Server { bus, stream, live, address, task }
    }

    pub(crate) fn publish(&self, event_type: &str, times: usize) {
        for _ in 0..times {
            self.bus.publish(event(event_type)).unwrap();
        }
    }

    pub(crate) async fn try_connect(&self, query: &str) -> Result<Client, Error> {
        let (socket, _) = connect_async(format!("ws://{}/live{query}", self.address)).await?;
        Ok(Client { socket })
    }

    /// A client, and what it was told at first.
    pub(crate) async fn connect(&self, query: &str) -> (Client, Value) {
        let mut client = self.try_connect(query).await.unwrap();
        let hello = client.next().await;
        assert_eq!(hello["kind"], "connect");
        (client, hello)
    }

    /// A client without a library: what it does not do is not done.
    pub(crate) async fn connect_bare(&self, query: &str) -> TcpStream {
        let mut socket = TcpStream::connect(self.address).await.unwrap();
        let request = format!(
            "GET /live{query} HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        );
        socket.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        while !answer.ends_with(b"\r\n\r\n") {
            answer.push(socket.read_u8().await.unwrap());
        }
        assert!(answer.starts_with(b"HTTP/1.1 101"), "{}", String::from_utf8_lossy(&answer));
        socket
    }

    /// Waits until so many clients are there.
    pub(crate) async fn clients(&self, count: usize) {
        while self.live.clients().len() != count {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    /// Waits until nothing is left of any client.
    pub(crate) async fn nobody(&self) {
        self.clients(0).await;
        while !self.stream.subscriptions().is_empty() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

pub(crate) struct Client {
    pub(crate) socket: Socket<MaybeTlsStream<TcpStream>>,
}

impl Client {
    pub(crate) async fn say(&mut self, text: impl Into<String>) {
        self.socket.send(Message::text(text.into())).await.unwrap();
    }

    /// The next frame; `{"kind":"close"}` with its code and reason when that comes, and `{"kind":"broken"}` when nothing does.
    pub(crate) async fn next(&mut self) -> Value {
        loop {
            match self.socket.next().await {
                Some(Ok(Message::Text(text))) => return serde_json::from_str(&text).unwrap(),
                Some(Ok(Message::Close(Some(frame)))) => {
                    return json!({"kind": "close", "code": u16::from(frame.code), "reason": frame.reason.as_str()});
                }
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return json!({"kind": "broken"}),
            }
        }
    }

    /// The next frame, in short.
    pub(crate) async fn told(&mut self) -> String {
        let frame = self.next().await;
        let kind = frame["kind"].as_str().unwrap().to_owned();
        let told = match &*kind {
            "message" => return frame["sequence"].to_string(),
            "lagged" => &frame["missed"],
            "subscribed" => &frame["globs"],
            "application" => &frame["value"],
            "pong" => &frame["ping"],
            "error" => &frame["error"],
            "disconnect" => &frame["reason"],
            "close" => &frame["code"],
            _ => return kind,
        };
        format!("{kind} {told}")
    }

    /// All frames up to the end, in short.
    pub(crate) async fn rest(&mut self) -> Vec<String> {
        let mut told = Vec::new();
        while told.last().is_none_or(|last: &String| !last.starts_with("close") && last != "broken") {
            told.push(self.told().await);
        }
        // So that its answer to the closing is written.
        while self.socket.next().await.is_some() {}
        told
    }
}

pub(crate) fn event(event_type: &str) -> Event {
    Event::builder(event_type, "test").build().unwrap()
}

/// The options of a test whose time stands still, or is not meant to matter.
pub(crate) fn patient() -> WebSocketStreamBuilder {
    WebSocketStream::builder().ping(LONG, 2 * LONG).write_time_max(LONG)
}
