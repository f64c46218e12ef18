//! `codomyrmex-events`: event streams on the command line.
//!
//! An adapter over the library's public API, one file a subcommand. Data goes to standard output and everything
//! else to standard error. A stream passes line by line: nothing here holds more than a few lines of it.
//!
//! Exit codes: 0 all is well (also when the reader of standard output has gone away), 1 something was rejected or
//! nothing matched, 2 usage or I/O error, 130 and 143 ended by SIGINT and SIGTERM.

mod analyze;
mod dispatch;
mod emit;
mod explain;
mod match_names;
mod replay;
mod trace;
mod types;
mod validate;

mod hearing;
mod input;
mod lines;
mod output;
mod progress;
mod report;
mod schemas;
mod signals;
mod stream;
mod summary;
mod text;

use clap::{Parser, Subcommand};
use std::io::{self, IsTerminal};
use std::process::ExitCode;
use tracing_subscriber::EnvFilter;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Usage errors and I/O errors.
const FAILED: u8 = 2;

/// Event streams on the command line: publish them on a bus, analyze, replay and check them, trace exchanges, explain who hears
/// what, try out globs, tell of something oneself.
///
/// Streams are NDJSON: one event a line, native (event_type, source, ...) or CloudEvents 1.0. Data goes to
/// standard output, everything else to standard error.
#[derive(Parser)]
#[command(version, arg_required_else_help = true, after_help = EXAMPLES)]
struct Cli {
    #[command(subcommand)]
    command: Command,

    /// What to log to standard error: a level (error, warn, info, debug, trace) or a tracing filter
    #[arg(
        long,
        global = true,
        env = "RUST_LOG",
        hide_env_values = true,
        value_name = "FILTER",
        default_value = "warn"
    )]
    log: String,
}

const EXAMPLES: &str = "\
Examples:
  codomyrmex-events dispatch events.ndjson --on 'build.*' --on '*.complete'
  codomyrmex-events analyze events.ndjson --svg events.svg
  codomyrmex-events replay events.ndjson --on '*' --speed 10
  codomyrmex-events validate events.ndjson --schema order.placed=order.schema.json
  codomyrmex-events match --on 'build.*' build.start deploy.start
  codomyrmex-events trace order-17 events.ndjson
  codomyrmex-events explain events.ndjson --on 'build.*' --on '*.error'
  codomyrmex-events emit task.completed '{\"task_id\": \"t-42\", \"workflow_id\": \"w-1\"}' >> events.ndjson
  codomyrmex-events types --json

Exit codes:
  0  all is well; also when the reader of standard output has gone away
  1  an event was rejected, or nothing matched
  2  usage error or I/O error
  130, 143  ended by SIGINT, SIGTERM";

#[derive(Subcommand)]
enum Command {
    Dispatch(dispatch::Dispatch),
    Analyze(analyze::Analyze),
    Replay(replay::ReplayFiles),
    Validate(validate::Validate),
    Match(match_names::Match),
    Trace(trace::Trace),
    Explain(explain::Explain),
    Emit(emit::Emit),
    Types(types::Types),
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let done = start_log(&cli.log).and_then(|()| match cli.command {
        Command::Dispatch(dispatch) => dispatch.run(),
        Command::Analyze(analyze) => analyze.run(),
        Command::Replay(replay) => replay.run(),
        Command::Validate(validate) => validate.run(),
        Command::Match(matching) => matching.run(),
        Command::Trace(trace) => trace.run(),
        Command::Explain(explain) => explain.run(),
        Command::Emit(emit) => emit.run(),
        Command::Types(types) => types.run(),
    });
    done.unwrap_or_else(|error| {
        report::complain(&format!("error: {error:#}"));
        ExitCode::from(FAILED)
    })
}

fn start_log(filter: &str) -> anyhow::Result<()> {
    let filter = if filter.trim().is_empty() { "warn" } else { filter };
    let filter = EnvFilter::try_new(filter)
        .map_err(|error| anyhow::anyhow!("--log (or RUST_LOG) {filter:?}: {error}"))?;
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal())
        .init();
    Ok(())
}
