//! Publishes a number of ready events and ends: to be run under callgrind, see `scripts/instructions.sh`.
//!
//! Arguments: how many events, how many handlers, how many events the history keeps, `inline` or `queued`; then what is installed:
//! `none`, `publishing`, `handling` (an interceptor that only looks on) or `logger`.

use codomyrmex_events::{Event, EventBus, EventLogger, EventType, HandlingInterceptor, PublishInterceptor};
use std::env;
use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

/// How many events go between two flushes of a queued bus: fewer than a lane has places.
const FLUSHED_EACH: u64 = 500;

struct LooksOn;
impl PublishInterceptor for LooksOn {}
impl HandlingInterceptor for LooksOn {}

fn main() {
    let arguments: Vec<String> = env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let [events, handlers, history, dispatch, installed] = &arguments[..] else {
        // As `cargo bench` runs it, among all others.
        return println!("instructions: see scripts/instructions.sh");
    };
    let number = |text: &str| text.parse::<u64>().expect("a whole number");
    let (events, handlers, history) = (number(events), number(handlers), number(history));
    let builder = EventBus::builder().history(history as usize).max_workers(1);
    let bus = if dispatch == "queued" { builder.queued() } else { builder }.build().expect("valid settings");
    for _ in 0..handlers {
        let hear = |delivery: &codomyrmex_events::Delivery<'_>| {
            black_box(delivery.sequence());
        };
        bus.subscribe("build.*").handler(hear).expect("a subscription");
    }
    let mut logger = None;
    match installed.as_str() {
        "publishing" => drop(bus.intercept_publish(LooksOn)),
        "handling" => drop(bus.intercept_handling(LooksOn)),
        "logger" => logger = Some(EventLogger::attach(&bus)),
        _ => {}
    }
    let ready = Arc::new(Event::builder(EventType::BuildStart, "bench").build().expect("valid names"));
    for n in 1..=events {
        bus.publish(Arc::clone(&ready)).expect("accepted");
        if n % FLUSHED_EACH == 0 {
            bus.flush(Duration::MAX).expect("nothing is pending then");
        }
    }
    assert_eq!(bus.get_stats().deliveries.succeeded, events * handlers);
    assert!(logger.is_none_or(|logger| logger.statistics().total_events == events));
}
