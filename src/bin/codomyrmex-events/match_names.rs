//! `match`: which globs hear a name.

use crate::FAILED;
use crate::hearing::distinct;
use crate::input::{Input, Source};
use crate::lines::{LINE_BYTES_MAX, Line, Lines};
use crate::output::Output;
use crate::progress::Progress;
use crate::report::{Reports, complain};
use crate::signals::{self, Caught};
use crate::text::printable;
use anyhow::Context;
use clap::Args;
use codomyrmex_events::{EventType, Pattern, PatternSet};
use std::process::ExitCode;
use std::sync::Arc;

/// Show which globs hear which names
///
/// Prints NAME<TAB>GLOB for each distinct glob that matches the name, in the order given. A glob matches the
/// whole name, case included: * is any characters (dots too), ? is one, [seq] is one of these, [!seq] is one
/// that is none of these.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Match {
    /// A glob; repeatable
    #[arg(long = "on", value_name = "GLOB", required = true, allow_hyphen_values = true)]
    on: Vec<String>,

    /// The names; - reads names from standard input, one a line
    #[arg(value_name = "NAME", required = true)]
    names: Vec<String>,
}

const EXAMPLES: &str = "\
Any text can be tried as a name. One that no event can have (empty, over 256 bytes, or with control characters) is
pointed out on standard error. On standard input blank lines are skipped, and lines that are not UTF-8 or over
1 MiB are reported and match nothing.

Exit codes: 0 something matched, 1 nothing did, 2 usage or I/O error (no name, no glob), 130 and 143 signals.

Examples:
  codomyrmex-events match --on 'build.*' --on '*.complete' build.start build.complete
  jq -r .event_type events.ndjson | codomyrmex-events match --on 'build.*' -";

impl Match {
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        let mut matcher = Matcher::new(&self.on)?;
        let mut caught = Caught::default();
        for name in &self.names {
            if name == "-" {
                let tried = matcher.try_input();
                // What was found before a failure counts.
                matcher.output.flush();
                caught = tried?;
            } else {
                matcher.try_name(name, |reason| complain(&format!("{}: {reason}", printable(name))));
            }
            if caught.is_some() || matcher.output.is_lost() {
                break;
            }
        }
        matcher.output.flush();
        if let Some(error) = matcher.output.failure() {
            complain(&format!("error: standard output: {error}"));
            return Ok(FAILED.into());
        }
        let code = u8::from(!matcher.has_matched && !matcher.output.is_closed());
        Ok(caught.exit_code().unwrap_or(code).into())
    }
}

struct Matcher {
    globs: Vec<Pattern>,
    set: PatternSet,
    output: Arc<Output>,
    matching: Vec<u32>,
    row: String,
    has_matched: bool,
}

impl Matcher {
    fn new(globs: &[String]) -> anyhow::Result<Matcher> {
        let parse = |glob: &str| Pattern::parse(glob).with_context(|| format!("--on {}", printable(glob)));
        let globs = distinct(globs).map(parse).collect::<anyhow::Result<Vec<Pattern>>>()?;
        let set = PatternSet::build(&globs);
        let output = Output::new().context("standard output")?;
        Ok(Matcher { globs, set, output, matching: Vec::new(), row: String::new(), has_matched: false })
    }

    /// Prints the globs that hear a name; `warn` is told why no event can have it.
    fn try_name(&mut self, name: &str, warn: impl FnOnce(&str)) {
        if let Err(invalid) = EventType::parse(name) {
            warn(&format!("no event can have this name: {invalid}"));
        }
        self.matching.clear();
        self.set.matches_into(name, &mut self.matching);
        for glob in &self.matching {
            self.row.clear();
            self.row.extend([name, "\t", self.globs[*glob as usize].as_str(), "\n"]);
            self.output.write(self.row.as_bytes());
            self.has_matched = true;
        }
    }

    fn try_input(&mut self) -> anyhow::Result<Caught> {
        let source = Source::open("-".as_ref())?;
        let progress = Progress::start(&source, true);
        let mut reports = Reports::new(&source, &progress);
        let output = Arc::clone(&self.output);
        let caught = signals::watch().context("signals")?;
        let input = Input::start(source, &caught, move || output.flushed())?;
        let mut lines = Lines::new(input);
        while let Some((number, line)) = lines.next().context("-")? {
            match line {
                Line::Whole(text) => match std::str::from_utf8(text) {
                    Ok(name) => self.try_name(name, |reason| reports.say(number, reason)),
                    Err(_) => reports.say(number, "not UTF-8"),
                },
                Line::TooLong(_) => reports.say(number, &format!("the line is over {LINE_BYTES_MAX} bytes")),
            }
            progress.reach(lines.bytes());
            if self.output.is_lost() {
                break;
            }
        }
        progress.finish();
        Ok(caught)
    }
}
