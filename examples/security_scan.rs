//! A security scanner that starts after every build, without the build knowing of it: it remembers what was compiled, and
//! looks for code that runs while building and for packages that are there in several versions.
//!
//! `cargo run --example security_scan [BUILD.ndjson]`; without a file it takes a recorded Cargo build.

use codomyrmex_events::{Delivery, EventBus, EventError, EventMixin, EventType, Replay};
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::sync::{Arc, Mutex, PoisonError};
use std::{env, fs};

/// The versions and kinds of targets that were compiled of each package.
#[derive(Default)]
struct Package {
    versions: BTreeSet<String>,
    runs_while_building: bool,
}

struct SecurityScanner {
    events: EventMixin,
    compiled: Mutex<BTreeMap<String, Package>>,
}

impl SecurityScanner {
    fn new(bus: &EventBus) -> Result<Arc<Self>, EventError> {
        let events = EventMixin::init_events_on("security_scanner", bus)?;
        let scanner = Arc::new(SecurityScanner { events, compiled: Mutex::default() });
        scanner.events.on_method(&scanner, EventType::BuildProgress, Self::on_build_progress)?;
        scanner.events.on_method(&scanner, EventType::BuildComplete, Self::on_build_complete)?;
        Ok(scanner)
    }

    /// Remembers what was compiled.
    fn on_build_progress(&self, event: &Delivery<'_>) {
        let text = |field| event.data().get(field).and_then(|value| value.as_str());
        let Some((name, version)) = text("package").and_then(|package| package.rsplit_once('@')) else {
            return;
        };
        let mut compiled = self.compiled.lock().unwrap_or_else(PoisonError::into_inner);
        let package = compiled.entry(name.to_owned()).or_default();
        package.versions.insert(version.to_owned());
        package.runs_while_building |= matches!(text("kind"), Some("script" | "proc-macro"));
    }

    /// Scans what was compiled, and tells what it found. All that it publishes carries the build's correlation id, and names
    /// the build as its cause.
    fn on_build_complete(&self, event: &Delivery<'_>) -> Result<(), EventError> {
        let target = event.data().get("target").cloned().unwrap_or_else(|| "unknown".into());
        self.events
            .emit(EventType::AnalysisStart, json!({"analysis_type": "security_scan", "target": target}))?;
        let compiled = std::mem::take(&mut *self.compiled.lock().unwrap_or_else(PoisonError::into_inner));
        let mut findings = 0;
        for (name, package) in compiled.iter().filter(|(_, package)| package.versions.len() > 1) {
            let violation =
                json!({"rule": "several-versions", "package": name, "versions": package.versions});
            self.events.emit(EventType::SecurityViolation, violation)?;
            findings += 1;
        }
        let runs: Vec<_> = compiled
            .iter()
            .filter(|(_, package)| package.runs_while_building)
            .map(|(name, _)| name)
            .collect();
        let violation = json!({"rule": "runs-while-building", "packages": runs});
        self.events.emit(EventType::SecurityViolation, violation)?;
        findings += 1;
        let outcome = json!({"target": target, "packages": compiled.len(), "findings": findings});
        self.events.emit(EventType::SecurityScanComplete, outcome)?;
        self.events.emit(
            EventType::AnalysisComplete,
            json!({"analysis_type": "security_scan", "target": target, "success": true}),
        )?;
        Ok(())
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let recorded = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/data/build.ndjson");
    let stream = fs::read(env::args().nth(1).as_deref().unwrap_or(recorded))?;

    let bus = EventBus::new();
    let _scanner = SecurityScanner::new(&bus)?;
    bus.subscribe(["analysis.*", "security.*"]).handler(|event| {
        println!("{} {}", event.event_type(), event.data().json().unwrap_or("-"));
    })?;
    let report = Replay::onto(&bus).ndjson(&stream);
    println!("{} events of the build", report.published);

    // The whole exchange has the build's correlation id, and what was found stands below the build that caused it.
    let builds = bus.history().query().event_type("build.complete").events()?;
    for build in builds.iter().filter_map(|build| build.correlation_id()) {
        let exchange = bus.history().trace(build);
        let found = exchange.nodes().iter().filter(|node| node.depth() == 1).count();
        println!("{} events with the id {build}, {found} of them caused by another", exchange.nodes().len());
    }
    Ok(())
}
