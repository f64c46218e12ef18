//! Modules that talk through events without knowing each other: an analyzer, and a scanner that starts after builds.
//!
//! `cargo run --example mixin`

use codomyrmex_events::{Delivery, Event, EventBus, EventError, EventMixin, EventType};
use serde_json::json;
use std::sync::Arc;

struct CodeAnalyzer {
    events: EventMixin,
}

impl CodeAnalyzer {
    fn new(bus: &EventBus) -> Result<Self, EventError> {
        Ok(CodeAnalyzer { events: EventMixin::init_events_on("code_analyzer", bus)? })
    }

    fn analyze(&self, path: &str) -> Result<(), EventError> {
        self.events.emit(EventType::AnalysisStart, json!({"target": path}))?;
        // ... perform analysis ...
        self.events.emit(EventType::AnalysisComplete, json!({"target": path, "success": true}))?;
        Ok(())
    }
}

struct SecurityScanner {
    events: EventMixin,
}

impl SecurityScanner {
    fn new(bus: &EventBus) -> Result<Arc<Self>, EventError> {
        let events = EventMixin::init_events_on("security_scanner", bus)?;
        let scanner = Arc::new(SecurityScanner { events });
        // The subscription holds the scanner weakly: dropping the scanner ends it.
        scanner.events.on_method(&scanner, [EventType::BuildComplete], Self::on_build_complete)?;
        Ok(scanner)
    }

    /// Starts a security scan after every build.
    fn on_build_complete(&self, event: &Delivery<'_>) -> Result<Arc<Event>, EventError> {
        let target = event.data().get("target").cloned().unwrap_or_else(|| "unknown".into());
        self.events
            .emit(EventType::AnalysisStart, json!({"analysis_type": "security_scan", "target": target}))
    }
}

fn main() -> Result<(), EventError> {
    let bus = EventBus::new();
    bus.subscribe("*").subscriber_id("console").handler(|event| {
        let target = event.data().get("target").and_then(|target| target.as_str()).unwrap_or("-");
        println!("{} from {}: {target}", event.event_type(), event.source());
    })?;

    let analyzer = CodeAnalyzer::new(&bus)?;
    analyzer.analyze("src/lib.rs")?;

    let scanner = SecurityScanner::new(&bus)?;
    let build = EventMixin::init_events_on("ci_pipeline", &bus)?;
    let complete = build.emit(EventType::BuildComplete, json!({"target": "codomyrmex"}))?;

    // What a handler publishes names the event that it answered.
    let scan = &bus.history().latest(1)[0];
    println!("the scan was caused by the build: {}", scan.causation_id() == Some(complete.event_id()));

    drop(scanner);
    build.emit(EventType::BuildComplete, json!({}))?;
    println!("subscriptions left: {}", bus.subscriptions().len());
    Ok(())
}
