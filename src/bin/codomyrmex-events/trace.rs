//! `trace`: one exchange out of a stream, as the tree of which event was published in answer to which.
//!
//! Of the stream only the events of the exchange are kept, and of those so much; a list keeps ids and counts, and so many.

use crate::FAILED;
use crate::input::Source;
use crate::output::Output;
use crate::report::complain;
use crate::signals;
use crate::stream::{REJECTED, Stream, Streamed};
use crate::text::printable;
use anyhow::Context;
use clap::Args;
use codomyrmex_events::{CausalTree, CorrelationId, Event};
use serde_json::json;
use std::cell::Cell;
use std::collections::HashMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// How much of an exchange is kept, in bytes: its lines, and what each event takes beside.
const EXCHANGE_BYTES_MAX: usize = 256 << 20;
const EVENT_BYTES: usize = 512;
/// How many correlation ids are listed.
const IDS_MAX: usize = 1 << 16;

/// Print an exchange as a tree: the events with a correlation id, each below the event that caused it
///
/// Each line tells an event's number in the order read, its type, source, time and id. An event whose cause is not in the
/// stream says so, as does one whose causes lead back to itself. Lines that are rejected are reported on standard error, and
/// the stream goes on. Exit code 0: the exchange was found; 1: it was not, or a line was rejected; 2: usage or I/O error, or an
/// exchange that takes more than 256 MiB.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Trace {
    /// Which exchange; with --list: a file
    #[arg(value_name = "CORRELATION_ID", required_unless_present = "list")]
    correlation_id: Option<String>,

    /// The streams, read one after the other; - is standard input, as is none
    #[arg(value_name = "FILE")]
    files: Vec<PathBuf>,

    /// List the correlation ids instead, with the number of their events: the first 65,536 ids, those with the most events
    /// first
    #[arg(long)]
    list: bool,

    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

const EXAMPLES: &str = "\
With --json, in one line (parent is an index into nodes):
  {\"events\":2,\"roots\":1,\"nodes\":[{\"sequence\":1,\"depth\":0,\"parent\":null,\"cause\":\"none\",\"event\":{...}}, ...]}
With --list, ID<TAB>COUNT, or with --json as well:
  {\"correlation_ids\":[{\"correlation_id\":\"cid-1\",\"events\":2}, ...],\"events_without\":0,\"events_unlisted\":0}

Examples:
  codomyrmex-events trace --list events.ndjson
  codomyrmex-events trace cid-0123456789ab events.ndjson
  some-program | codomyrmex-events trace order-17 - --json | jq '.nodes[].event.event_type'";

impl Trace {
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        if self.list { self.list() } else { self.trace() }
    }

    fn trace(&self) -> anyhow::Result<ExitCode> {
        let id = self.correlation_id.as_deref().unwrap_or_default();
        let (mut number, mut exchange, bytes) = (0_u64, Vec::new(), Cell::new(0_usize));
        let is_too_much = || bytes.get() > EXCHANGE_BYTES_MAX;
        let streamed = read(&self.files, is_too_much, |event, line| {
            number += 1;
            if event.correlation_id().is_some_and(|correlation_id| correlation_id == id) {
                bytes.set(bytes.get() + line.len() + EVENT_BYTES);
                exchange.push((number, event));
            }
        })?;
        if is_too_much() {
            complain(&format!("error: the exchange takes over {EXCHANGE_BYTES_MAX} bytes"));
            return Ok(FAILED.into());
        }
        let tree = CausalTree::of(exchange);
        let mut text = if self.json { serde_json::to_string(&tree)? } else { tree.to_string() };
        if self.json {
            text.push('\n');
        }
        let found = if tree.is_empty() { REJECTED } else { 0 };
        if tree.is_empty() {
            complain(&format!("no event has the correlation id {}", printable(id)));
        }
        self.print(&text, streamed, found)
    }

    fn list(&self) -> anyhow::Result<ExitCode> {
        let first = self.correlation_id.iter().map(PathBuf::from);
        let files: Vec<PathBuf> = first.chain(self.files.iter().cloned()).collect();
        let (mut counts, mut without, mut unlisted) = (HashMap::<CorrelationId, u64>::new(), 0_u64, 0_u64);
        let streamed = read(
            &files,
            || false,
            |event, _| {
                let Some(id) = event.correlation_id() else {
                    without += 1;
                    return;
                };
                if let Some(count) = counts.get_mut(id.as_str()) {
                    *count += 1;
                } else if counts.len() < IDS_MAX {
                    counts.insert(id.clone(), 1);
                } else {
                    unlisted += 1;
                }
            },
        )?;
        let mut counts: Vec<(CorrelationId, u64)> = counts.into_iter().collect();
        counts.sort_unstable_by(|(id, count), (other, more)| more.cmp(count).then_with(|| id.cmp(other)));
        let mut text = String::new();
        if self.json {
            let ids: Vec<_> =
                counts.iter().map(|(id, count)| json!({"correlation_id": id, "events": count})).collect();
            let list =
                json!({"correlation_ids": ids, "events_without": without, "events_unlisted": unlisted});
            // Writing to a String cannot fail.
            let _ = writeln!(text, "{list}");
        } else {
            for (id, count) in &counts {
                let _ = writeln!(text, "{}\t{count}", printable(id));
            }
        }
        let more = if unlisted > 0 { format!(", {unlisted} events of other ids") } else { String::new() };
        complain(&format!("{} correlation ids, {without} events without one{more}", counts.len()));
        self.print(&text, streamed, 0)
    }

    /// Prints what was found, and tells how the process ends: if nothing is worse, with `found`.
    fn print(&self, text: &str, streamed: Streamed, found: u8) -> anyhow::Result<ExitCode> {
        let output = Output::new().context("standard output")?;
        if self.json {
            output.write_json(text);
        } else {
            output.write(text.as_bytes());
        }
        output.flush();
        let is_all_well = streamed.is_all_well() && !output.is_lost();
        let code = streamed.exit(Some(&output));
        Ok(if is_all_well { found.into() } else { code })
    }
}

/// Reads the streams one after the other, and shows `see` each event with its line.
pub(crate) fn read(
    files: &[PathBuf],
    is_enough: impl Fn() -> bool,
    mut see: impl FnMut(Event, &[u8]),
) -> anyhow::Result<Streamed> {
    let standard_input = [PathBuf::from("-")];
    let files = if files.is_empty() { &standard_input } else { files };
    // All are opened first, so that one that is not there is told before anything is read.
    let sources: Vec<Source> =
        files.iter().map(|file| Source::open(Path::new(file))).collect::<Result<_, _>>()?;
    let caught = signals::watch().context("signals")?;
    let mut all = Streamed::none(&caught);
    for source in sources {
        let stream = Stream::start_until(caught.clone(), source, None, false, || true)?;
        all = all.and(stream.run(&is_enough, |text| {
            see(Event::from_json_slice(text)?, text);
            Ok(())
        }));
        if all.ended_early() || is_enough() {
            break;
        }
    }
    Ok(all)
}
