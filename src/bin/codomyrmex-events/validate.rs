//! `validate`: checks a stream, and publishes nothing.

use crate::input::Source;
use crate::report::complain;
use crate::schemas::schemas;
use crate::stream::Stream;
use crate::summary::pace;
use clap::Args;
use codomyrmex_events::Event;
use std::path::PathBuf;
use std::process::ExitCode;

/// Check a stream of events: each line has to be an event, and to fit the schema of its type if there is one
///
/// Nothing is published and nothing is printed on standard output. A line that fails is reported on standard error as
/// FILE:LINE: reason, and the stream goes on; at the end comes a summary. Lines are read as dispatch reads
/// them. Exit code 0: all fit; 1: some do not; 2: usage or I/O error, or a bad schema.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Validate {
    /// The stream; - is standard input
    #[arg(value_name = "FILE", default_value = "-")]
    file: PathBuf,

    /// The JSON Schema of an event type, in place of the standard one if there is one; repeatable
    #[arg(long = "schema", value_name = "TYPE=FILE", allow_hyphen_values = true)]
    schemas: Vec<String>,
}

const EXAMPLES: &str = "\
A schema is JSON Schema of draft 4, 6, 7, 2019-09 or 2020-12, as its $schema says (without one: 2020-12), at most
16 MiB. It is for the event's data. TYPE ends at the first =.

Examples:
  codomyrmex-events validate events.ndjson
  codomyrmex-events validate events.ndjson --schema order.placed=order.schema.json
  some-program | codomyrmex-events validate - && echo fine";

impl Validate {
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        let schemas = schemas(&self.schemas)?;
        let source = Source::open(&self.file)?;
        let stream = Stream::start(source, None, false, || true)?;
        let streamed =
            stream.run(|| false, |text| Ok(schemas.validate_event(&Event::from_json_slice(text)?)?));
        let (elapsed_s, events_per_s) = pace(streamed.accepted(), streamed.elapsed);
        complain(&format!(
            "{} read, {} valid, {} rejected, {elapsed_s:.3} s, {events_per_s:.0} events/s",
            streamed.read,
            streamed.accepted(),
            streamed.rejected,
        ));
        Ok(streamed.exit(None))
    }
}
