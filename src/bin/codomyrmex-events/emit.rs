//! `emit`: one event, made from the command line, for scripts that have something to tell.
//!
//! What is told is checked as a program's event is, and becomes one line: on standard output for a pipe, or at the end of a
//! file to which others may be appending at the same time.

use crate::output::Output;
use crate::report::complain;
use crate::schemas::schemas;
use crate::stream::REJECTED;
use crate::text::{printable, printable_json};
use anyhow::{Context, bail};
use clap::Args;
use codomyrmex_events::{Event, EventPriority, LINE_BYTES_MAX, Payload};
use serde_json::{Map, Value};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write, stdin};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Make one event and print it as a line of a stream
///
/// The event gets an id and the current time. Its data is checked against the schema of its type, if there is one: what does
/// not fit is reported on standard error, and nothing is written. Exit code 0: the event was written; 1: it was rejected; 2: usage or
/// I/O error.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Emit {
    /// The event's type, such as build.start or a name of your own
    #[arg(value_name = "TYPE")]
    event_type: String,

    /// The event's data, a JSON text; - reads it from standard input
    #[arg(value_name = "JSON", conflicts_with = "fields")]
    data: Option<String>,

    /// Who tells it
    #[arg(long, default_value = "command-line")]
    source: String,

    /// A field of the event's data, as text; repeatable. For scripts: nothing in TEXT has to be quoted for JSON
    #[arg(long = "field", value_name = "NAME=TEXT", allow_hyphen_values = true)]
    fields: Vec<String>,

    /// A field of the event's metadata, as text; repeatable
    #[arg(long, value_name = "NAME=TEXT", allow_hyphen_values = true)]
    metadata: Vec<String>,

    /// debug, info, normal, warning, error, critical or monitoring
    #[arg(long, default_value = "normal")]
    priority: String,

    /// What it is a part of
    #[arg(long, value_name = "ID")]
    correlation_id: Option<String>,

    /// The id of the event that caused it
    #[arg(long, value_name = "ID")]
    causation_id: Option<String>,

    /// Append the line to this file, which is made if there is none, and print nothing
    #[arg(long, value_name = "FILE")]
    append: Option<PathBuf>,

    /// The JSON Schema of an event type, in place of the standard one if there is one; repeatable
    #[arg(long = "schema", value_name = "TYPE=FILE", allow_hyphen_values = true)]
    schemas: Vec<String>,
}

const EXAMPLES: &str = "\
Any number of processes may append to one file at the same time: each line is written whole, after a line that
somebody left without its end.

Examples:
  codomyrmex-events emit task.completed '{\"task_id\": \"t-42\", \"workflow_id\": \"w-1\"}' --source ci
  codomyrmex-events emit git.commit --source git --field \"subject=$(git log -1 --format=%s)\" --append events.ndjson
  codomyrmex-events emit my.own - < data.json | codomyrmex-events dispatch - --on 'my.*'";

impl Emit {
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        let schemas = schemas(&self.schemas)?;
        let priority: EventPriority = match self.priority.parse() {
            Ok(priority) => priority,
            Err(error) => bail!("--priority {}: {error}", printable(&self.priority)),
        };
        let data = self.data()?;
        let event = self.event(priority, data).and_then(|event| {
            schemas.validate_event(&event)?;
            Ok(event.to_json()?)
        });
        let mut line = match event {
            Ok(line) if line.len() <= LINE_BYTES_MAX => line,
            Ok(line) => {
                return rejected(&format!("{} bytes: a line has at most {LINE_BYTES_MAX}", line.len()));
            }
            Err(error) => return rejected(&error.to_string()),
        };
        line.push('\n');
        match &self.append {
            Some(path) => append(path, &line).with_context(|| printable(&path.display().to_string()))?,
            None => {
                let output = Output::new().context("standard output")?;
                output.write_json(&line);
                output.flush();
                if let Some(error) = output.failure() {
                    bail!("standard output: {error}");
                }
            }
        }
        Ok(ExitCode::SUCCESS)
    }

    fn event(&self, priority: EventPriority, data: Option<Payload>) -> anyhow::Result<Event> {
        let mut event = Event::builder(self.event_type.as_str(), self.source.as_str()).priority(priority);
        if let Some(data) = data {
            event = event.data(data);
        }
        for (name, text) in named(&self.metadata, "--metadata")? {
            event = event.metadata_entry(name, text);
        }
        if let Some(id) = &self.correlation_id {
            event = event.correlation_id(id.as_str());
        }
        if let Some(id) = &self.causation_id {
            event = event.causation_id(id.as_str());
        }
        Ok(event.build()?)
    }

    fn data(&self) -> anyhow::Result<Option<Payload>> {
        let read;
        let text = match self.data.as_deref() {
            Some("-") => {
                read = standard_input()?;
                &read
            }
            Some(text) => text,
            None if self.fields.is_empty() => return Ok(None),
            None => return Ok(Some(Payload::from(Value::Object(named(&self.fields, "--field")?)))),
        };
        Ok(Some(Payload::from_json(text).context("the data")?))
    }
}

/// `NAME=TEXT` each, every name once.
fn named(options: &[String], flag: &str) -> anyhow::Result<Map<String, Value>> {
    let mut fields = Map::new();
    for option in options {
        let Some((name, text)) = option.split_once('=') else {
            bail!("{flag} {}: not NAME=TEXT", printable(option));
        };
        if fields.insert(name.to_owned(), text.into()).is_some() {
            bail!("{flag} {}: the name is there already", printable(option));
        }
    }
    Ok(fields)
}

fn standard_input() -> anyhow::Result<String> {
    let mut text = String::new();
    let limit = LINE_BYTES_MAX as u64 + 1;
    stdin().take(limit).read_to_string(&mut text).context("standard input")?;
    if text.len() > LINE_BYTES_MAX {
        bail!("standard input: over {LINE_BYTES_MAX} bytes");
    }
    Ok(text)
}

fn rejected(reason: &str) -> anyhow::Result<ExitCode> {
    complain(&format!("rejected: {}", printable_json(reason)));
    Ok(REJECTED.into())
}

/// Writes a line at the end, under a lock that whoever else appends takes too.
fn append(path: &Path, line: &str) -> anyhow::Result<()> {
    let mut file = File::options().read(true).append(true).create(true).open(path)?;
    file.lock()?;
    // Somebody was killed while writing: the rest of that line must not become a part of this one.
    let is_torn = file.seek(SeekFrom::End(0))? > 0 && {
        file.seek(SeekFrom::End(-1))?;
        let mut last = [0];
        file.read_exact(&mut last)?;
        last != *b"\n"
    };
    let whole = format!("{}{line}", if is_torn { "\n" } else { "" });
    Ok(file.write_all(whole.as_bytes())?)
}
