//! A queued bus with a synchronous and an asynchronous handler, a retry, a delayed event and a report; driven by hand, so
//! that it prints the same each time and sleeps for nothing. With `.build()` in the place of `.manual().build()` the same
//! bus has worker threads and a runtime, and no driver.

use codomyrmex_events::{
    AsyncEventEmitter, Backoff, BoxError, Delivery, EventBus, EventError, EventType, Overflow, OwnedDelivery,
};
use serde_json::json;
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);

fn main() -> Result<(), EventError> {
    let builder = EventBus::builder().queued().max_workers(2).overflow(Overflow::Block(SECOND));
    let (bus, driver) = builder.manual().build()?;

    // Fails once, and is tried again a second later.
    bus.subscribe("task.*")
        .subscriber_id("ledger")
        .attempts(2)
        .backoff(Backoff::exponential(SECOND, SECOND))
        .handler(|delivery: &Delivery<'_>| -> Result<(), BoxError> {
            println!("ledger: {} at attempt {}", delivery.event_type(), delivery.attempt());
            if delivery.attempt() == 1 { Err("the disk is busy")? } else { Ok(()) }
        })?;

    // Takes two seconds of the bus's time for each event, one after the other.
    bus.subscribe("task.*").subscriber_id("mailer").mailbox(100).async_handler(
        |delivery: OwnedDelivery| async move {
            delivery.bus().sleep(2 * SECOND).await;
            println!("mailer: {} is sent", delivery.event_type());
        },
    )?;

    let emitter = AsyncEventEmitter::on_bus(&bus);
    driver
        .block_on(emitter.emit(EventType::TaskCompleted, json!({"task_id": "t-42"})))
        .expect("there is room")?;
    emitter.emit_later(EventType::TaskFailed, json!({"task_id": "t-43"}), 5 * SECOND)?;

    driver.run_until_idle();
    for second in 1..=7 {
        println!("-- {second} s");
        driver.advance(SECOND);
    }
    let deliveries = bus.get_stats().deliveries;
    println!("{} of {} deliveries succeeded", deliveries.succeeded, deliveries.total);
    Ok(())
}
