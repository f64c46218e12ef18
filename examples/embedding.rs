//! The bus inside a hot path: events made once, Rust values as payloads, batches, counts and history.
//!
//! Needs none of the crate's features: `cargo run --example embedding --no-default-features`

use codomyrmex_events::{Event, EventBus, EventPayload, EventType};
use serde::{Deserialize, Serialize};
use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// A payload that stays a Rust value: nobody here asks for JSON, so none is made.
#[derive(Serialize, Deserialize)]
struct Tick {
    price: f64,
    size: u32,
}

impl EventPayload for Tick {
    const EVENT_TYPE: &'static str = "market.tick";
}

fn main() -> Result<(), Box<dyn Error>> {
    // The history keeps exactly this many events; 0 turns it off, which is cheaper still.
    let bus = EventBus::builder().history(256).build()?;

    let volume = Arc::new(AtomicU64::new(0));
    let sum = Arc::clone(&volume);
    let volumes =
        bus.subscribe_typed::<Tick>().subscriber_id("volume").priority(10).handler(move |tick| {
            sum.fetch_add(u64::from(tick.payload().size), Ordering::Relaxed);
        })?;
    let beats = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&beats);
    bus.subscribe(EventType::HealthCheck).subscriber_id("beats").handler(move |_| {
        count.fetch_add(1, Ordering::Relaxed);
    })?;

    // Made once and published again and again: a publish of a ready event allocates nothing.
    let heartbeat = Arc::new(Event::builder(EventType::HealthCheck, "feed").build()?);
    for _ in 0..1_000 {
        bus.publish(Arc::clone(&heartbeat))?;
    }

    // Published under one pin, in order.
    let ticks: Result<Vec<Event>, _> =
        (1..=100).map(|size| Event::typed("feed", Tick { price: 99.5, size }).build()).collect();
    let outcomes = bus.publish_batch(ticks?);
    let accepted = outcomes.iter().filter(|outcome| outcome.is_ok()).count();

    println!("beats {}", beats.load(Ordering::Relaxed));
    println!("ticks accepted {accepted}, volume {}", volume.load(Ordering::Relaxed));

    let newest = bus.history().latest(1);
    let price = newest[0].payload_as::<Tick>()?.price;
    println!("newest: number {} at {price}", newest[0].sequence());

    // After this the handler does not run, and its captures are gone.
    volumes.unsubscribe_and_wait(std::time::Duration::from_secs(1))?;
    println!("handles on the volume: {}", Arc::strong_count(&volume));

    let stats = bus.get_stats();
    println!("accepted {} = completed {} + pending {}", stats.accepted, stats.completed, stats.pending);
    println!("deliveries {} = succeeded {}", stats.deliveries.total, stats.deliveries.succeeded);
    println!("history kept {}, overwritten {}", stats.history.kept, stats.history.overwritten);
    Ok(())
}
