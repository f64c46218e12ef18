//! What happened before happens again: a recorded stream at a thousand times its speed, a history and its dead letters
//! as lines, and from lines.
//!
//! `cargo run --example replay`

use codomyrmex_events::{Event, EventBus, Replay, ReplaySpeed, Timestamp};
use std::error::Error;
use std::fs;

fn main() -> Result<(), Box<dyn Error>> {
    let stream = fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/data/build.ndjson"))?;

    // Handlers hear the original types, and can tell a replay.
    let bus = EventBus::new();
    bus.subscribe(["build.start", "build.complete"]).handler(|event| {
        let is_replayed = event.metadata().get("replayed").is_some();
        println!("{} at {} (replayed: {is_replayed})", event.event_type(), event.timestamp().to_rfc3339());
    })?;
    let report = Replay::onto(&bus).speed(ReplaySpeed::times(1_000.0)?).ndjson(&stream);
    println!("{} events read, {} published", report.read, report.published);

    // A part of it: some types, some seconds. The last line was torn when its writer was killed.
    let torn = &stream[..stream.len() - 10];
    let some = Replay::onto(&EventBus::new())
        .event_type("build.*")?
        .times(Timestamp::parse_rfc3339("2025-11-22T11:13:30Z")?..)
        .ndjson(torn);
    println!("{} published, {} skipped", some.published, some.skipped);
    for line in &some.malformed_lines {
        println!("line {}, torn: {}", line.line(), line.is_torn());
    }

    // A handler fails; its letter outlives the process as a line, and finds the same subscription in the next one.
    bus.subscribe("order.*").subscriber_id("ledger").handler(|_| Err::<(), _>("no database"))?;
    bus.publish(Event::builder("order.paid", "shop").event_id("o-1").build()?)?;
    let history: String = bus.history().export().collect::<Result<_, _>>()?;
    let letters: String = bus.dead_letter_queue().export().collect::<Result<_, _>>()?;
    println!("{} events and {} letter exported", history.lines().count(), letters.lines().count());
    drop(bus);

    let next = EventBus::new();
    // As it was, without the marks of a replay.
    let restored = Replay::onto(&next).unmarked().ndjson(&history);
    next.subscribe("order.*").subscriber_id("ledger").handler(|event| {
        println!("{} is booked", event.event_id());
    })?;
    next.dead_letter_queue().import(&letters);
    for (letter, outcome) in next.dead_letter_queue().redrive_all(|_| true) {
        println!("letter {letter}: {}", if outcome.is_ok() { "delivered" } else { "stays" });
    }
    let again: String = next.history().export().collect::<Result<_, _>>()?;
    println!("{} events restored, the same to the byte: {}", restored.published, again == history);
    Ok(())
}
