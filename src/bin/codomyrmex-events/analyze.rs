//! `analyze`: what a stream tells of the system that published it.
//!
//! The stream passes; only counts are kept of it, and so many.

use crate::input::open_all;
use crate::output::Output;
use crate::replay::time;
use crate::report::create;
use crate::stream::read_all;
use crate::text::printable;
use anyhow::Context;
use clap::Args;
use codomyrmex_events::{Analyzer, Pattern, Timestamp};
use console::{Term, style};
use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

/// How wide lines are that go to no terminal.
const COLUMNS: usize = 100;

/// Print what streams tell: rates over time, recurring errors, durations of operations, what never ended, what jumped
///
/// Rates are counted by type and by source, in windows of time: those of --window, or else as short as they can be with at
/// most 60 of them. Times are the events' own, and the order of events does not matter to them.
///
/// Errors are events whose type ends in .error, .failed or .retrying, and ends with "success": false; they are counted by
/// type and message, with # for numbers and ids in it. An operation goes from X.start or X.started to X.complete,
/// X.completed, X.error or X.failed with the same correlation id; if that has several, to the one that the end names as its cause, or
/// whose ids and names do not differ, the last one begun. A jump is three times as many events as in the window before, or a third, the
/// larger number being at least 20.
///
/// All files are one stream, of any size: memory is bounded. Each table has room for so many things and says how much
/// found none. Lines that are rejected are reported on standard error, and the stream goes on. Exit code 0: all is well; 1: a
/// line was rejected; 2: usage or I/O error; 130 and 143: ended by a signal, with what was read until then analyzed.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Analyze {
    /// The streams; - is standard input, as is none
    #[arg(value_name = "FILE")]
    files: Vec<PathBuf>,

    /// Only event types that match GLOB; repeatable
    #[arg(long = "on", value_name = "GLOB", allow_hyphen_values = true)]
    on: Vec<String>,

    /// Only events of this TIME or later: RFC 3339, or seconds since 1970
    #[arg(long, value_name = "TIME", value_parser = time, allow_hyphen_values = true)]
    since: Option<Timestamp>,

    /// Only events before this TIME
    #[arg(long, value_name = "TIME", value_parser = time, allow_hyphen_values = true)]
    until: Option<Timestamp>,

    /// How long a window is: 500ms, 10s, 5m, 1h, 1d; from 1ms on. If over 256 have events, they become longer
    #[arg(long, value_name = "DURATION", value_parser = duration, allow_hyphen_values = true)]
    window: Option<Duration>,

    /// Print one JSON object, with all figures
    #[arg(long)]
    json: bool,

    /// Also draw a picture into FILE, which is created or truncated: an SVG that any browser shows
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
}

const EXAMPLES: &str = "\
With --json, in one line; times are RFC 3339, lengths nanoseconds; each table is complete and has others for what found
no room:
  {\"events\":2,\"first\":\"...\",\"last\":\"...\",\"window_ns\":N,\"windows\":[\"...\", ...],
   \"types\":{\"kept\":[{\"event_type\":\"...\",\"events\":N,\"counts\":[N, ...]}, ...],\"others\":{...}},
   \"sources\":{...},\"pairs\":{...},\"errors\":{...},\"operations\":{...},\"never_completed\":{...},\"jumps\":{...}}
  counts has a number for each of windows, which are those that have events.

Examples:
  codomyrmex-events analyze events.ndjson
  codomyrmex-events analyze monday.ndjson tuesday.ndjson --on 'task.*' --window 10m --svg tasks.svg
  tail -f events.ndjson | codomyrmex-events analyze    (Ctrl-C prints)
  codomyrmex-events analyze events.ndjson --json | jq '.operations.kept[] | {operation, p99_ms: (.p99_ns / 1e6)}'";

/// A whole number and its unit.
fn duration(text: &str) -> Result<Duration, String> {
    let units = [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = units.iter().find(|(unit, _)| *unit == &text[digits.len()..]);
    let number = digits.parse::<u64>().ok().filter(|_| !digits.starts_with('+'));
    number
        .zip(unit)
        .and_then(|(number, (_, ms))| number.checked_mul(*ms))
        .filter(|ms| *ms > 0)
        .map(Duration::from_millis)
        .ok_or_else(|| "a length is a whole number over 0 and ms, s, m, h or d: 500ms, 10s".to_owned())
}

impl Analyze {
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        let globs = self.globs()?;
        let sources = open_all(&self.files)?;
        // Before anything is read: what cannot be written is told at once.
        let picture = self.svg.as_deref().map(|path| create(path, "picture", &sources)).transpose()?;
        let mut analyzer = self.window.map_or_else(Analyzer::default, Analyzer::new);
        let streamed = read_all(
            sources,
            || false,
            |event, _| {
                let is_of_type = || globs.iter().any(|glob| glob.matches(event.event_type().as_str()));
                let is_in_time = self.since.is_none_or(|since| event.timestamp() >= since)
                    && self.until.is_none_or(|until| event.timestamp() < until);
                if is_in_time && (globs.is_empty() || is_of_type()) {
                    analyzer.add(&event);
                }
            },
        )?;
        let analysis = analyzer.finish();
        if let Some((name, mut file)) = picture {
            file.write_all(analysis.to_svg().as_bytes()).context(name)?;
        }
        let output = Output::new().context("standard output")?;
        if self.json {
            output.write_json(&(serde_json::to_string(&analysis)? + "\n"));
        } else if io::stdout().is_terminal() {
            let columns = Term::stdout().size_checked().map_or(COLUMNS, |(_, columns)| columns.into());
            output.write(with_bold_headings(&format!("{analysis:columns$}")).as_bytes());
        } else {
            output.write(format!("{analysis:COLUMNS$}").as_bytes());
        }
        output.flush();
        Ok(streamed.exit(Some(&output)))
    }

    fn globs(&self) -> anyhow::Result<Vec<Pattern>> {
        let parse = |glob: &String| Pattern::parse(glob).with_context(|| format!("--on {}", printable(glob)));
        self.on.iter().map(parse).collect()
    }
}

/// Rows begin with a space, headings do not. Nothing that was published is in a heading. `NO_COLOR` is respected.
fn with_bold_headings(table: &str) -> String {
    let bold = |line: &str| match line.starts_with(' ') || line.is_empty() {
        true => format!("{line}\n"),
        false => format!("{}\n", style(line).bold()),
    };
    table.lines().map(bold).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_length_is_a_number_and_a_unit() {
        for (text, ms) in
            [("500ms", 500), ("10s", 10_000), ("5m", 300_000), ("1h", 3_600_000), ("2d", 172_800_000)]
        {
            assert_eq!(duration(text), Ok(Duration::from_millis(ms)), "{text}");
        }
        for text in [
            "",
            "s",
            "10",
            "1.5s",
            "-1s",
            "+1s",
            "0s",
            "10 s",
            "10é",
            "1w",
            "99999999999999999999s",
            "18446744073709551615d",
        ] {
            assert!(duration(text).is_err(), "{text}");
        }
    }
}
