//! The feed of a dashboard: an axum server with a stream over WebSockets and as server-sent events, and a client that
//! hears of builds, asks for deployments as well, and is told when the server stops. A page would say
//! `new WebSocket("ws://.../live?globs=build.*")`, or `new EventSource("/events?globs=build.*")`.

use axum::extract::{State, WebSocketUpgrade};
use axum::response::Response;
use axum::{Router, routing::get};
use codomyrmex_events::{AsyncStream, Event, EventBus, SseStream, StreamQuery, WebSocketStream};
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use std::error::Error;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream as Socket, connect_async};

async fn live(
    State(live): State<WebSocketStream>,
    query: StreamQuery,
    upgrade: WebSocketUpgrade,
) -> Response {
    live.upgrade(upgrade, query)
}

async fn events(State(events): State<SseStream>, query: StreamQuery) -> Response {
    events.respond(&query)
}

/// The next frame that the client is told, in short.
async fn told(client: &mut Socket<MaybeTlsStream<TcpStream>>) -> Result<String, Box<dyn Error>> {
    loop {
        let message = client.next().await.ok_or("the connection is over")??;
        let Message::Text(text) = message else { continue };
        let frame: Value = serde_json::from_str(&text)?;
        let kind = frame["kind"].as_str().unwrap_or_default().to_owned();
        return Ok(match &*kind {
            "message" => format!("{kind} {}: {}", frame["sequence"], frame["event"]["event_type"]),
            "subscribed" => format!("{kind} {}", frame["globs"]),
            "application" => format!("{kind} {}", frame["value"]),
            "disconnect" => format!("{kind} {}", frame["reason"]),
            _ => kind,
        });
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let bus = EventBus::new();
    let stream = AsyncStream::attach(&bus);
    let clients = WebSocketStream::new(&stream);
    let app = Router::new()
        .route("/live", get(live).with_state(clients.clone()))
        .route("/events", get(events).with_state(SseStream::new(&stream)));
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let server = tokio::spawn(async move { axum::serve(listener, app).await });

    let publish = |event_type: &str| -> Result<(), Box<dyn Error>> {
        bus.publish(Event::builder(event_type, "ci").build()?)?;
        Ok(())
    };
    let (mut client, _) = connect_async(format!("ws://{address}/live?globs=build.*")).await?;
    println!("{}", told(&mut client).await?);
    publish("build.start")?;
    publish("deploy.start")?;
    println!("{}", told(&mut client).await?);

    client.send(Message::text(json!({"add": ["deploy.*"]}).to_string())).await?;
    println!("{}", told(&mut client).await?);
    publish("deploy.complete")?;
    println!("{}", told(&mut client).await?);

    for client in clients.clients() {
        clients.send_to(client.id, &json!({"greeting": client.id.to_string()}))?;
    }
    println!("{}", told(&mut client).await?);
    let (stopped, last) = tokio::join!(clients.stop(Duration::from_secs(5)), async {
        let last = told(&mut client).await;
        // Up to the end: so the closing is answered.
        while client.next().await.is_some() {}
        last
    });
    println!("{}", last?);
    println!("{stopped} clients had to be cut off");
    server.abort();
    Ok(())
}
