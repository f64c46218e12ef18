//! A dashboard that follows a bus: it begins with what was before it came, is told what it missed, and goes on where it stopped
//! after its connection was lost.

use codomyrmex_events::{
    AsyncStream, Event, EventBus, EventType, ResumeToken, StreamConsumer, StreamItem, StreamStart,
};
use serde_json::json;
use std::error::Error;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let bus = EventBus::new();
    build(&bus, 1..=3)?;

    let stream = AsyncStream::attach(&bus);
    let id = stream.subscribe("build.*").start(StreamStart::Last(2)).buffer(4).open()?;
    build(&bus, 4..=4)?;
    let mut dashboard = stream.consume(id)?;
    println!("from the last two on:");
    let token = show(&mut dashboard, 3).await?;

    // Nobody looks, and there is room for four: the publisher does not notice.
    build(&bus, 5..=10)?;
    println!("after a pause, with {} events waiting:", stream.stats(id).map_or(0, |stats| stats.buffered));
    show(&mut dashboard, 5).await?;

    // The connection is lost, and another one begins with what the first saw last.
    drop(dashboard);
    let text = token.to_string();
    let id = stream.subscribe("build.*").start(StreamStart::After(text.parse()?)).open()?;
    println!("resumed after number {}:", token.sequence());
    let mut dashboard = stream.consume(id)?;
    show(&mut dashboard, 2).await?;

    // What was accepted before the stream stops is consumed.
    stream.stop();
    let mut rest = 0;
    while let Some(item) = dashboard.next().await {
        rest += u32::from(matches!(item, StreamItem::Event(_)));
    }
    println!("and {rest} more before the end");
    Ok(())
}

/// Publishes the steps of a build.
fn build(bus: &EventBus, steps: std::ops::RangeInclusive<u32>) -> Result<(), Box<dyn Error>> {
    for step in steps {
        let event = Event::builder(EventType::BuildProgress, "ci").data(json!({"step": step})).build()?;
        bus.publish(event)?;
    }
    Ok(())
}

/// Prints so many items, and says where the consumer stands then.
async fn show(items: &mut StreamConsumer, count: usize) -> Result<ResumeToken, Box<dyn Error>> {
    for _ in 0..count {
        match items.next().await {
            Some(StreamItem::Event(event)) => {
                println!("  {} at step {}", event.sequence(), event.data().get("step").unwrap_or_default());
            }
            Some(StreamItem::Lagged(missed)) => println!("  {missed} missed"),
            other => println!("  {other:?}"),
        }
    }
    Ok(items.token().ok_or("the bus is gone")?)
}
