//! `types`: the standard event types.

use crate::FAILED;
use crate::output::Output;
use crate::report::complain;
use anyhow::Context;
use clap::Args;
use codomyrmex_events::{Domain, EventSchema, EventType};
use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::json;
use std::fmt::Write;
use std::process::ExitCode;

/// List the standard event types by domain, and which of them have a schema
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Types {
    /// One JSON object, whose keys are the domains
    #[arg(long)]
    json: bool,
}

const EXAMPLES: &str = "\
With --json, in one line:
  {\"system\":[{\"event_type\":\"system.startup\",\"has_schema\":true}, ...], \"module\":[...], ...}

Examples:
  codomyrmex-events types
  codomyrmex-events types --json | jq -r '.build[] | select(.has_schema) | .event_type'";

impl Types {
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        let listed = ByDomain { schemas: EventSchema::new() };
        let mut text = if self.json { serde_json::to_string(&listed)? } else { listed.table() };
        if self.json {
            text.push('\n');
        }
        let output = Output::new().context("standard output")?;
        output.write(text.as_bytes());
        output.flush();
        let Some(error) = output.failure() else { return Ok(ExitCode::SUCCESS) };
        complain(&format!("error: standard output: {error}"));
        Ok(FAILED.into())
    }
}

struct ByDomain {
    schemas: EventSchema,
}

impl ByDomain {
    /// The types of a domain, and whether each has a schema.
    fn types_of(&self, domain: Domain) -> impl Iterator<Item = (&'static str, bool)> {
        let types = EventType::STANDARD.iter().filter(move |event_type| event_type.domain() == domain);
        types.map(|event_type| (event_type.as_str(), self.schemas.has_schema(event_type)))
    }

    fn table(&self) -> String {
        let mut table = String::new();
        for domain in Domain::ALL {
            // Writing to a String cannot fail.
            let _ = writeln!(table, "{domain}");
            for (name, has_schema) in self.types_of(domain) {
                let schema = if has_schema { "schema" } else { "-" };
                let _ = writeln!(table, "  {name:<26}{schema}");
            }
        }
        table
    }
}

impl Serialize for ByDomain {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut domains = serializer.serialize_map(Some(Domain::ALL.len()))?;
        for domain in Domain::ALL {
            let types: Vec<_> = self
                .types_of(domain)
                .map(|(name, has_schema)| json!({"event_type": name, "has_schema": has_schema}))
                .collect();
            domains.serialize_entry(domain.as_str(), &types)?;
        }
        domains.end()
    }
}
