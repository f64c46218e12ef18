//! The first ten minutes: subscribe by glob, publish, validate, and look at what failed.
//!
//! `cargo run --example quickstart`

use codomyrmex_events::{Event, EventBus, EventError, EventType};
use serde_json::json;

fn main() -> Result<(), EventError> {
    let bus = EventBus::new();

    // Higher priorities take their turn first, whatever the order of subscribing.
    bus.subscribe(["build.*", "*.complete"]).subscriber_id("printer").handler(|event| {
        println!("printer hears {} number {}", event.event_type(), event.sequence());
    })?;
    bus.subscribe("build.complete").subscriber_id("strict").priority(10).handler(|event| {
        match event.data().get("success") {
            Some(success) if success == true => Ok(()),
            _ => Err("the build failed"),
        }
    })?;

    let start = Event::builder(EventType::BuildStart, "ci_pipeline")
        .data(json!({"build_type": "release", "target": "codomyrmex"}))
        .build()?;
    bus.emit_typed(start)?;

    // Nobody hears an event that does not fit its schema; it comes back and is kept as a dead letter.
    let incomplete = Event::builder(EventType::BuildStart, "ci_pipeline").build()?;
    if let Err(error) = bus.emit_typed(incomplete) {
        println!("refused: {error}");
    }

    // A handler that fails is nobody else's trouble.
    let failed = json!({"build_type": "release", "target": "app", "build_id": "b-1", "success": false});
    bus.emit_typed(Event::builder(EventType::BuildComplete, "ci_pipeline").data(failed).build()?)?;
    for letter in bus.dead_letter_queue().letters() {
        println!("dead letter {}: {}", letter.id(), letter.error_chain().join(": "));
    }

    for recorded in bus.history().query().event_type("build.*").events()? {
        println!("history {}: {}", recorded.sequence(), recorded.event_type());
    }
    let stats = bus.get_stats();
    println!("offered {} = accepted {} + refused {}", stats.offered, stats.accepted, stats.refused);
    Ok(())
}
