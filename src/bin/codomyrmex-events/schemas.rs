//! `--schema TYPE=FILE`: schemas of one's own, beside the standard ones.

use crate::text::printable;
use anyhow::{Context, bail};
use codomyrmex_events::{EventSchema, EventType};
use serde_json::Value;
use std::collections::HashSet;
use std::fs::File;
use std::io::Read;

/// How large a schema file may be.
const SCHEMA_BYTES_MAX: u64 = 16 << 20;

/// The standard schemas and those given.
pub(crate) fn schemas(options: &[String]) -> anyhow::Result<EventSchema> {
    let schemas = EventSchema::new();
    let mut seen = HashSet::new();
    for option in options {
        let Some((name, path)) = option.split_once('=') else {
            bail!("--schema {}: not TYPE=FILE", printable(option));
        };
        if !seen.insert(name) {
            bail!("--schema {}: the type has a schema already", printable(option));
        }
        register(&schemas, name, path).with_context(|| format!("--schema {}", printable(option)))?;
    }
    Ok(schemas)
}

fn register(schemas: &EventSchema, name: &str, path: &str) -> anyhow::Result<()> {
    schemas.register_event_schema(EventType::parse(name)?, read_schema(path)?)?;
    Ok(())
}

fn read_schema(path: &str) -> anyhow::Result<Value> {
    let mut text = Vec::new();
    File::open(path)?.take(SCHEMA_BYTES_MAX + 1).read_to_end(&mut text)?;
    if text.len() as u64 > SCHEMA_BYTES_MAX {
        bail!("over {SCHEMA_BYTES_MAX} bytes");
    }
    serde_json::from_slice(&text).context("not JSON")
}
