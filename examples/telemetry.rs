//! Telemetry: modules publish what they measure, an aggregator folds it, and a scrape reads it as Prometheus does. What is
//! measured here is real: the log of a package manager, and a build whose pauses between steps become a histogram.
//!
//! `cargo run --features prometheus --example telemetry`

use codomyrmex_events::{
    BoxError, Delivery, EventBus, MetricAggregator, MetricType, Replay, Timestamp, create_metric_event,
};
use prometheus_client::encoding::text::encode;
use prometheus_client::registry::Registry;
use serde_json::{Map, Value};
use std::error::Error;
use std::fs;
use std::sync::{Mutex, PoisonError};

fn recorded(file: &str) -> Result<Vec<u8>, std::io::Error> {
    fs::read(format!("{}/examples/data/{file}", env!("CARGO_MANIFEST_DIR")))
}

fn labels(pairs: &[(&str, &str)]) -> Option<Map<String, Value>> {
    Some(pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).into())).collect())
}

/// Counts packages by what became of them.
fn count_packages(event: &Delivery<'_>) -> Result<(), BoxError> {
    let status = event.event_type().as_str().trim_start_matches("package.status.");
    let metric = create_metric_event(
        "packages",
        1,
        MetricType::Counter,
        labels(&[("status", status), ("source", event.source())]),
    )?;
    event.bus().publish(metric)?;
    Ok(())
}

/// Measures the pauses between the steps of a build, by the steps' own times.
fn time_steps(last: &Mutex<Option<Timestamp>>, event: &Delivery<'_>) -> Result<(), BoxError> {
    let now = event.timestamp();
    let before = last.lock().unwrap_or_else(PoisonError::into_inner).replace(now);
    let Some(before) = before else { return Ok(()) };
    let seconds = (now.as_unix_nanos() - before.as_unix_nanos()) as f64 / 1e9;
    event.bus().publish(create_metric_event("build_step_seconds", seconds, MetricType::Histogram, None)?)?;
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    let bus = EventBus::new();
    let metrics = MetricAggregator::builder().buckets([0.1, 0.15, 0.5, 1.0])?.attach(&bus)?;
    bus.subscribe("package.status.*").handler(count_packages)?;
    let last = Mutex::new(None);
    bus.subscribe("build.*").handler(move |event| time_steps(&last, event))?;

    for file in ["packages.ndjson", "build.ndjson"] {
        println!("# {} events of {file}", Replay::onto(&bus).ndjson(recorded(file)?).published);
    }

    let mut registry = Registry::default();
    registry.register_collector(Box::new(metrics));
    let mut page = String::new();
    encode(&mut page, &registry)?;
    print!("{page}");
    Ok(())
}
