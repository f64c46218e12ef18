//! A store that takes events by the batch: attached to a bus, with a batch that fails and is tried again, and one that fails
//! for good and is redriven. Driven by hand, so that it prints the same each time and sleeps for nothing.

use codomyrmex_events::{
    Backoff, Batch, BatchingStream, BoxError, Event, EventBus, EventPublishError, EventType,
};
use serde_json::json;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);

/// Refuses a batch now and then.
#[derive(Default)]
struct Store {
    calls: AtomicU32,
}

impl Store {
    fn write(&self, batch: &Batch) -> Result<(), BoxError> {
        let call = self.calls.fetch_add(1, Ordering::Relaxed) + 1;
        println!("store: {} events, by {:?}, attempt {}", batch.len(), batch.trigger(), batch.attempt());
        // The second batch fails once, the third one for good.
        if [2, 4, 5].contains(&call) { Err("the store is busy")? } else { Ok(()) }
    }
}

fn reading(number: u32) -> Result<Event, EventPublishError> {
    let data = json!({"metric_name": "load", "metric_value": number});
    Event::builder(EventType::MetricUpdate, "probe").data(data).build()
}

fn main() -> Result<(), BoxError> {
    let (bus, driver) = EventBus::builder().manual().build()?;
    let store = Store::default();
    let stream = BatchingStream::attach(&bus, "metric.*")
        .count(100)
        .interval(SECOND)
        .attempts(2)
        .backoff(Backoff::exponential(SECOND, SECOND))
        .subscription(|subscription| subscription.subscriber_id("store"))
        .on_batch(move |batch: &Batch| store.write(batch))?;

    for number in 0..150 {
        bus.publish(reading(number)?)?;
    }
    driver.run_until_idle();
    println!("{} events wait for others", stream.stats().pending);
    // The interval, and the backoff of the second batch.
    driver.advance(2 * SECOND);
    println!("{} have been stored", stream.stats().delivered);

    bus.publish(reading(150)?)?;
    driver.advance(2 * SECOND);
    for letter in bus.dead_letter_queue().letters() {
        println!("dead letter of {:?}: {}", letter.subscriber_id(), letter.error_chain().join(": "));
        bus.dead_letter_queue().redrive(letter.id())?;
    }
    // Who waits for the bus does not wait for the interval.
    bus.flush(Duration::ZERO)?;
    let stats = stream.stats();
    println!(
        "added {}, delivered {}, dead {}, retries {}",
        stats.added, stats.delivered, stats.dead, stats.retries
    );
    Ok(())
}
