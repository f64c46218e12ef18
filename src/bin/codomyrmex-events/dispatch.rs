//! `dispatch`: publishes a stream on a bus and prints what is heard.

use crate::hearing::{Hearing, Validate};
use crate::input::Source;
use crate::report::Letters;
use crate::stream::Stream;
use clap::Args;
use codomyrmex_events::Event;
use std::path::PathBuf;
use std::process::ExitCode;

/// Publish a stream of events on a bus, and print those that the globs hear
///
/// Each line is an event: native JSON (event_type and source are required) or a CloudEvent 1.0. Each distinct
/// --on is a subscription; an event is printed once for each subscription that hears it, as one line of JSON. At
/// the end a summary goes to standard error.
///
/// Blank lines are skipped and not counted; CRLF, a missing last newline and a UTF-8 byte order mark at the start are
/// fine. A rejected line is reported on standard error as FILE:LINE: reason, and the stream goes on. A line may have
/// 1 MiB (1,048,576 bytes, not counting its ending).
///
/// With --queued, or CODOMYRMEX_EVENT_ASYNC=true, worker threads print the events: in the order read for each order key, and
/// by their priority otherwise.
///
/// SIGINT and SIGTERM stop the reading: complete lines that were read already are still published, the summary is
/// given, and the exit code is 130 or 143. A second signal ends at once.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Dispatch {
    /// The stream; - is standard input
    #[arg(value_name = "FILE", default_value = "-")]
    file: PathBuf,

    #[command(flatten)]
    hearing: Hearing,

    /// Which events have to fit the schema of their type
    #[arg(long, value_name = "WHICH", value_enum, default_value_t = Validate::Typed)]
    validate: Validate,

    /// Keep rejected lines in FILE, which is created or truncated (see below)
    #[arg(long, value_name = "FILE")]
    dead_letters: Option<PathBuf>,
}

const EXAMPLES: &str = "\
Dead letters, one JSON object a line:
  {\"line\":N,\"error\":\"...\",\"pointers\":[...],\"raw\":\"...\"}
  pointers are the JSON pointers at which the payload fails its schema (at most 1,000). raw is the line; one
  that is not UTF-8 is in raw_base64 instead. Of a line over 1 MiB the first 1 MiB is kept, with
  \"truncated\":true.

Summary (--summary json), in one line:
  {\"read\":N,\"published\":N,\"rejected\":N,\"deliveries\":{\"GLOB\":N},\"failures\":N,\"dead_letters\":N,
   \"elapsed_s\":F,\"events_per_s\":F}
  read is published + rejected: the lines that are not blank. deliveries has each distinct GLOB, in the order given.
  failures counts deliveries that failed: events that could not be printed. dead_letters counts the letters that the
  bus made: one for each failure and for each event that its schema rejected. A line that is no event is
  rejected, but makes no letter of the bus. events_per_s is published / elapsed_s.

Environment: CODOMYRMEX_EVENT_WORKERS, _ASYNC, _HISTORY_LIMIT and _DLQ_MAX have to be valid, as for every bus; the
bus of this command keeps neither history nor letters in memory.

Examples:
  codomyrmex-events dispatch events.ndjson --on 'build.*' --on '*.complete'
  codomyrmex-events dispatch events.ndjson --on '*' --queued --workers 8 --order-key correlation
  codomyrmex-events dispatch events.ndjson --quiet --summary json --dead-letters rejected.ndjson
  tail -f events.ndjson | codomyrmex-events dispatch --on '*.error' --validate off";

impl Dispatch {
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        let heard = self.hearing.start(self.validate)?;
        let source = Source::open(&self.file)?;
        let letters = self.dead_letters.as_deref().map(|path| Letters::create(path, &source)).transpose()?;
        heard.check_input(&source)?;
        let stream = Stream::start(source, letters, heard.prints(), heard.on_idle())?;
        let streamed = stream.run(
            || heard.output.is_lost(),
            |text| {
                heard.bus.publish(Event::from_json_slice(text)?)?;
                Ok(())
            },
        );
        Ok(heard.conclude(streamed, None))
    }
}
