//! `explain`: which subscriptions would hear which types of a stream, and which of them would hear nothing.
//!
//! Of the stream only the types are kept, so many, each with a count.

use crate::hearing::distinct;
use crate::input::open_all;
use crate::output::Output;
use crate::stream::{REJECTED, read_all};
use crate::text::push_printable;
use anyhow::{Context, bail};
use clap::Args;
use codomyrmex_events::{EventBus, EventType, Explanation};
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashSet};
use std::fmt::Write;
use std::path::PathBuf;
use std::process::ExitCode;

/// How many types are told apart.
const TYPES_MAX: usize = 1 << 16;

/// Show who would hear the events of a stream, in which order and by which glob, and which globs hear nothing
///
/// Each distinct --on is a subscription of a bus, in the order given. Nothing is published. For each type in the stream, sorted
/// by name, the number of its events is told and the subscriptions that hear it in the order of their turns; then the globs
/// that matched none of the types. With --type the stream may be left out: of a type that is not in it, all but the number is
/// told. Lines that are rejected are reported on standard error, and the stream goes on.
///
/// Exit code 0: each glob matched something; 1: one did not, or a line was rejected; 2: usage or I/O error.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Explain {
    /// The streams, read one after the other; - is standard input, as is none without --type
    #[arg(value_name = "FILE")]
    files: Vec<PathBuf>,

    /// A subscription: a glob, and after its last @ a priority if a whole number follows there, else 0; repeatable
    #[arg(long = "on", value_name = "GLOB[@PRIORITY]", required = true, allow_hyphen_values = true)]
    on: Vec<String>,

    /// Explain this type, and no others; repeatable
    #[arg(long = "type", value_name = "NAME", allow_hyphen_values = true)]
    types: Vec<String>,

    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

const EXAMPLES: &str = "\
With --json, in one line:
  {\"types\":[{\"event_type\":\"build.start\",\"events\":3,\"is_standard\":true,\"has_schema\":true,
    \"subscriptions\":[{\"glob\":\"build.*\",\"priority\":10}, ...]}, ...],
   \"unmatched\":[\"bild.*\", ...],\"events_untold\":0}
  events_untold counts events of types that are not told: with --type all others, else those after the first 65,536. Globs
  are matched against types that are told.

Examples:
  codomyrmex-events explain events.ndjson --on 'build.*@10' --on '*.error' --on '*'
  codomyrmex-events explain --type build.start --on 'build.*' --on '*.start'
  some-program | codomyrmex-events explain - --on '*.error' --json | jq -r '.unmatched[]'";

impl Explain {
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        let bus = EventBus::builder().history(0).build()?;
        for wish in distinct(&self.on) {
            let (glob, priority) = wish_of(wish);
            bus.subscribe(glob).priority(priority).handler(|_| ()).with_context(|| {
                let mut option = "--on ".to_owned();
                push_printable(wish, &mut option);
                option
            })?;
        }
        let (mut counts, mut untold) = (BTreeMap::<String, u64>::new(), 0_u64);
        for name in &self.types {
            EventType::parse(name).with_context(|| format!("--type {name:?}"))?;
            counts.insert(name.clone(), 0);
        }
        let is_told_all = self.types.is_empty();
        let streamed = if is_told_all || !self.files.is_empty() {
            Some(read_all(
                open_all(&self.files)?,
                || false,
                |event, _| {
                    let event_type = event.event_type().as_str();
                    if let Some(count) = counts.get_mut(event_type) {
                        *count += 1;
                    } else if is_told_all && counts.len() < TYPES_MAX {
                        counts.insert(event_type.to_owned(), 1);
                    } else {
                        untold += 1;
                    }
                },
            )?)
        } else {
            None
        };
        let output = Output::new().context("standard output")?;
        let unmatched = self.tell(&bus, &counts, untold, &output)?;
        output.flush();
        let unmatched = if unmatched == 0 || output.is_closed() { 0 } else { REJECTED };
        match streamed {
            Some(streamed) if streamed.is_all_well() && !output.is_lost() => Ok(unmatched.into()),
            Some(streamed) => Ok(streamed.exit(Some(&output))),
            None => match output.failure() {
                Some(error) => bail!("standard output: {error}"),
                None => Ok(unmatched.into()),
            },
        }
    }

    /// Tells of one type after the other, since all of them together may take much, then of the globs that matched none, and
    /// returns how many those are.
    fn tell(
        &self,
        bus: &EventBus,
        counts: &BTreeMap<String, u64>,
        untold: u64,
        output: &Output,
    ) -> anyhow::Result<usize> {
        let mut hearers = HashSet::new();
        for (nth, (event_type, events)) in counts.iter().enumerate() {
            let explanation = bus.explain(event_type.as_str())?;
            if self.json {
                output.write_json(if nth == 0 { "{\"types\":[" } else { "," });
                output.write_json(&json_of(&explanation, *events).to_string());
            } else {
                output.write(rows_of(&explanation, *events).as_bytes());
            }
            hearers.extend(explanation.subscriptions.into_iter().map(|hearer| hearer.subscriber_id));
        }
        let idle = bus.subscriptions().into_iter().filter(|known| !hearers.contains(known.id()));
        let unmatched: Vec<String> = idle.map(|known| known.patterns()[0].to_string()).collect();
        if self.json {
            output.write_json(if counts.is_empty() { "{\"types\":[" } else { "" });
            output
                .write_json(&format!("],\"unmatched\":{},\"events_untold\":{untold}}}\n", json!(unmatched)));
            return Ok(unmatched.len());
        }
        let mut rows = if untold > 0 { format!("{untold:>12}  of other types\n") } else { String::new() };
        for glob in &unmatched {
            rows.push_str("matched nothing: ");
            push_printable(glob, &mut rows);
            rows.push('\n');
        }
        output.write(rows.as_bytes());
        Ok(unmatched.len())
    }
}

/// The glob and the priority of an --on.
fn wish_of(text: &str) -> (&str, i32) {
    let parted = text.rsplit_once('@').and_then(|(glob, priority)| Some((glob, priority.parse().ok()?)));
    parted.unwrap_or((text, 0))
}

fn json_of(explanation: &Explanation, events: u64) -> Value {
    let hearers = explanation.subscriptions.iter();
    let hearers = hearers.map(|hearer| json!({"glob": hearer.globs[0], "priority": hearer.priority}));
    json!({
        "event_type": explanation.event_type,
        "events": events,
        "is_standard": explanation.is_standard,
        "has_schema": explanation.has_schema,
        "subscriptions": hearers.collect::<Vec<_>>(),
    })
}

fn rows_of(explanation: &Explanation, events: u64) -> String {
    let mut rows = format!("{events:>12}  ");
    push_printable(&explanation.event_type, &mut rows);
    rows.push_str(if explanation.has_schema { "  (schema)\n" } else { "\n" });
    for hearer in &explanation.subscriptions {
        // Writing to a String cannot fail.
        let _ = write!(rows, "{:>20}  ", hearer.priority);
        push_printable(&hearer.globs[0], &mut rows);
        rows.push('\n');
    }
    if explanation.subscriptions.is_empty() {
        rows.push_str("                   -  nobody\n");
    }
    rows
}
