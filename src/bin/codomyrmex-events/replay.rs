//! `replay`: publishes recorded streams on a bus again, at their pace, and prints what is heard.

use crate::hearing::{Hearing, Validate};
use crate::input::Source;
use crate::report::Rejection;
use crate::signals;
use crate::stream::{Stream, Streamed};
use crate::text::printable;
use anyhow::Context;
use clap::Args;
use codomyrmex_events::{DeadLetter, LineErrorKind, Replay, ReplayError, ReplaySpeed, Timestamp};
use std::ops::Bound;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

/// Replay recorded streams of events on a bus, and print those that the globs hear
///
/// Each line is an event, as for dispatch: what dispatch prints and what a bus exports of its history. Events keep their
/// types, sources, ids, times, correlation and causation; their metadata says "replayed": true and, if the line
/// has a sequence, "replayed_sequence". Files are read in the order given, as one stream.
///
/// At original or scaled speed each event waits for its time: the gap to the one before, by their timestamps. An event that
/// is older than the one before is published at once. Reading, printing and handling add no delay: an event that is
/// late is published at once.
///
/// Blank, rejected and long lines are treated as by dispatch; a torn last line is rejected and the others stand. Events
/// that --event-type, --since, --until, --from-sequence or --to-sequence leave out are counted as skipped.
///
/// SIGINT and SIGTERM end a wait and the replay: nothing more is published, the summary is given, and the exit code is 130
/// or 143. A second signal ends at once.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct ReplayFiles {
    /// The streams; - is standard input
    #[arg(value_name = "FILE", default_value = "-")]
    files: Vec<PathBuf>,

    #[command(flatten)]
    hearing: Hearing,

    /// full, original, or a factor: 10 is ten times as fast, 0.5 half as fast
    #[arg(long, value_name = "SPEED", default_value = "full")]
    speed: ReplaySpeed,

    /// Wait at most SECONDS between two events, whatever their times say
    #[arg(long, value_name = "SECONDS", value_parser = seconds, allow_hyphen_values = true)]
    max_gap: Option<Duration>,

    /// Replay only event types that match GLOB; repeatable
    #[arg(long, value_name = "GLOB", allow_hyphen_values = true)]
    event_type: Vec<String>,

    /// Replay only events of this TIME or later: RFC 3339, or seconds since 1970
    #[arg(long, value_name = "TIME", value_parser = time, allow_hyphen_values = true)]
    since: Option<Timestamp>,

    /// Replay only events before this TIME
    #[arg(long, value_name = "TIME", value_parser = time, allow_hyphen_values = true)]
    until: Option<Timestamp>,

    /// Replay only events whose sequence is N or more; a line without one is left out
    #[arg(long, value_name = "N")]
    from_sequence: Option<u64>,

    /// Replay only events whose sequence is N or less; a line without one is left out
    #[arg(long, value_name = "N")]
    to_sequence: Option<u64>,

    /// Leave the metadata as it is
    #[arg(long)]
    unmarked: bool,

    /// Each line is a dead letter, as a bus exports it or dispatch --dead-letters keeps it: replay its event
    #[arg(long)]
    letters: bool,

    /// Which events have to fit the schema of their type: by default none, since they were accepted once
    #[arg(long, value_name = "WHICH", value_enum, default_value_t = Validate::Off)]
    validate: Validate,
}

const EXAMPLES: &str = "\
Summary (--summary json), in one line: that of dispatch, and skipped. read is published + skipped + rejected.

Examples:
  codomyrmex-events replay events.ndjson --on '*'
  codomyrmex-events replay monday.ndjson tuesday.ndjson --on 'build.*' --speed 100 --max-gap 1
  codomyrmex-events replay events.ndjson --on '*' --speed original --since 2025-11-22T11:13:30Z
  codomyrmex-events dispatch events.ndjson --quiet --dead-letters rejected.ndjson
  codomyrmex-events replay --letters rejected.ndjson --on '*' --validate typed";

pub(crate) fn time(text: &str) -> Result<Timestamp, String> {
    let parsed = Timestamp::parse_rfc3339(text).or_else(|_| Timestamp::parse_seconds(text));
    parsed.map_err(|_| "a time is RFC 3339 (2025-11-22T11:13:20Z) or seconds since 1970".to_owned())
}

fn seconds(text: &str) -> Result<Duration, String> {
    let parsed = text.parse().ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    parsed.ok_or_else(|| "not a number of seconds".to_owned())
}

impl ReplayFiles {
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        let heard = self.hearing.start(self.validate)?;
        let mut replay = self.replay(Replay::onto(&heard.bus))?;
        // All of them before the first event: a name that is wrong is no reason for half a replay.
        let sources = self.files.iter().map(|file| Source::open(file)).collect::<anyhow::Result<Vec<_>>>()?;
        sources.iter().try_for_each(|source| heard.check_input(source))?;

        let caught = signals::watch().context("signals")?;
        let stop = replay.stop_handle();
        caught.wakes({
            let stop = stop.clone();
            move || stop.stop()
        });
        // Between two events may lie an hour, and what was heard before is to be seen.
        let is_paced = self.speed != ReplaySpeed::FULL;
        let on_idle = heard.on_idle();
        let mut streamed = Streamed::none(&caught);
        for source in sources {
            let is_enough = || heard.output.is_lost() || stop.is_stopped();
            if is_enough() || streamed.is_failed() {
                break;
            }
            let stream = Stream::start_until(caught.clone(), source, None, heard.prints(), heard.on_idle())?;
            streamed = streamed.and(stream.run(is_enough, |text| {
                self.accept(&mut replay, text)?;
                if is_paced {
                    on_idle();
                }
                Ok(())
            }));
        }
        // The event that waited when a signal came was read by nobody.
        let report = replay.report();
        streamed.read = report.published + report.skipped + streamed.rejected;
        Ok(heard.conclude(streamed, Some(report.skipped)))
    }

    fn replay(&self, replay: Replay) -> anyhow::Result<Replay> {
        let from_time = self.since.map_or(Bound::Unbounded, Bound::Included);
        let until_time = self.until.map_or(Bound::Unbounded, Bound::Excluded);
        let from_sequence = self.from_sequence.map_or(Bound::Unbounded, Bound::Included);
        let to_sequence = self.to_sequence.map_or(Bound::Unbounded, Bound::Included);
        let replay = replay.speed(self.speed).times((from_time, until_time));
        let mut replay = replay.sequences((from_sequence, to_sequence));
        if let Some(most) = self.max_gap {
            replay = replay.gap_max(most);
        }
        if self.unmarked {
            replay = replay.unmarked();
        }
        for glob in &self.event_type {
            replay = replay.event_type(glob).with_context(|| format!("--event-type {}", printable(glob)))?;
        }
        Ok(replay)
    }

    fn accept(&self, replay: &mut Replay, text: &[u8]) -> Result<(), Rejection> {
        if self.letters {
            let letter = DeadLetter::from_json(std::str::from_utf8(text)?)?;
            replay.event(letter.sequence(), Arc::clone(letter.event()))?;
        } else {
            replay.line(text)?;
        }
        Ok(())
    }
}

impl From<ReplayError> for Rejection {
    fn from(error: ReplayError) -> Self {
        match error {
            ReplayError::Refused(error) => error.into(),
            ReplayError::Line(error) => match error.kind() {
                LineErrorKind::Event(error) => error.clone().into(),
                // The line's number in its file is told already.
                kind => Rejection::new(kind.to_string(), Vec::new()),
            },
            error => Rejection::new(error.to_string(), Vec::new()),
        }
    }
}
