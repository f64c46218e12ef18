//! `dispatch`: publishes a stream on a bus and prints what is heard.

use crate::input::Source;
use crate::output::Output;
use crate::report::{Letters, complain};
use crate::signals::DRAIN_LIMIT;
use crate::stream::{Stream, Streamed};
use crate::summary::{Summary, pace};
use crate::text::printable;
use anyhow::{Context, bail};
use clap::{Args, ValueEnum};
use codomyrmex_events::{
    CorrelationId, Event, EventBus, EventBusBuilder, Overflow, Subscription, Validation,
};
use std::collections::HashSet;
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

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

    /// Subscribe to the event types that match GLOB (*, ?, [seq], [!seq], on the whole name); repeatable
    #[arg(long = "on", value_name = "GLOB", allow_hyphen_values = true)]
    on: Vec<String>,

    /// Which events have to fit the schema of their type
    #[arg(long, value_name = "WHICH", value_enum, default_value_t = Validate::Typed)]
    validate: Validate,

    /// Keep rejected lines in FILE, which is created or truncated (see below)
    #[arg(long, value_name = "FILE")]
    dead_letters: Option<PathBuf>,

    /// A table on standard error, or one JSON object as the last line of standard output
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t = Format::Table)]
    summary: Format,

    /// Print no events
    #[arg(long)]
    quiet: bool,

    /// Queue the events for worker threads, instead of handling each before the next is read
    #[arg(long)]
    queued: bool,

    /// Threads of a queued bus, 1 to 1,024 [default: CODOMYRMEX_EVENT_WORKERS, else 4]
    #[arg(long, value_name = "N")]
    workers: Option<usize>,

    /// What keeps events of a queued bus in order: those with the same one are printed in the order read
    #[arg(long, value_name = "KEY", value_enum, default_value_t = OrderKey::Source)]
    order_key: OrderKey,
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

#[derive(Clone, Copy, ValueEnum)]
enum Validate {
    /// Those whose type has a schema
    Typed,
    /// All: an event whose type has no schema is rejected
    All,
    /// None
    Off,
}

#[derive(Clone, Copy, ValueEnum)]
enum OrderKey {
    /// The event's source
    Source,
    /// Its correlation id; events without one are all alike
    Correlation,
    /// Its type
    Type,
}

impl OrderKey {
    fn of(self, event: &Event) -> u64 {
        match self {
            OrderKey::Source => hash(Some(event.source().as_str())),
            OrderKey::Correlation => hash(event.correlation_id().map(CorrelationId::as_str)),
            OrderKey::Type => hash(Some(event.event_type().as_str())),
        }
    }
}

fn hash(text: Option<&str>) -> u64 {
    BuildHasherDefault::<DefaultHasher>::default().hash_one(text)
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    Table,
    Json,
}

impl From<Validate> for Validation {
    fn from(validate: Validate) -> Self {
        match validate {
            Validate::Typed => Validation::Typed,
            Validate::All => Validation::All,
            Validate::Off => Validation::Off,
        }
    }
}

impl Dispatch {
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        // Nothing here asks for history or letters, and a thousand events of 1 MiB are no flat memory.
        let bus = EventBus::builder().from_env()?.history(0).dead_letters(0);
        let bus = self.dispatching(bus).validate(self.validate.into()).build()?;
        let output = Output::new().context("standard output")?;
        let subscriptions = self.subscribe(&bus, &output)?;

        let source = Source::open(&self.file)?;
        let letters = self.dead_letters.as_deref().map(|path| Letters::create(path, &source)).transpose()?;
        let prints = !self.quiet && !subscriptions.is_empty();
        if prints && source.is_stdout() {
            bail!("{}: the input is also the output, and would grow for ever", source.name);
        }
        let (idle, idle_bus) = (Arc::clone(&output), bus.clone());
        let on_idle = move || {
            // What workers have not printed yet is on its way to whoever waits at the other end.
            let _ = idle_bus.flush(DRAIN_LIMIT);
            idle.flushed()
        };
        let stream = Stream::start(source, letters, prints, on_idle)?;
        let mut streamed = stream.run(
            || output.is_lost(),
            |text| {
                bus.publish(Event::from_json_slice(text)?)?;
                Ok(())
            },
        );
        let draining = Instant::now();
        // A slow reader of the output is waited for; only whoever ends the process limits that.
        let limit = if streamed.is_interrupted() { DRAIN_LIMIT } else { Duration::MAX };
        let report = bus.shutdown(limit);
        streamed.elapsed += draining.elapsed();
        if !report.is_complete() {
            complain(&format!("{} events were not handled within {limit:?}", report.pending()));
        }
        Ok(self.conclude(&bus, &output, &subscriptions, streamed))
    }

    /// With workers, if that was asked for. A file is no reason to lose events: its reader waits for room.
    fn dispatching(&self, bus: EventBusBuilder) -> EventBusBuilder {
        let bus = match self.workers {
            Some(workers) => bus.max_workers(workers),
            None => bus,
        };
        let key = self.order_key;
        let bus = bus.order_by(move |event| key.of(event)).overflow(Overflow::Block(Duration::MAX));
        if self.queued { bus.queued() } else { bus }
    }

    /// One subscription for each distinct glob, in the order given.
    fn subscribe(&self, bus: &EventBus, output: &Arc<Output>) -> anyhow::Result<Vec<(&str, Subscription)>> {
        let is_quiet = self.quiet;
        let subscribe = |glob| {
            let output = Arc::clone(output);
            let subscription = bus
                .subscribe(glob)
                .handler(move |delivery| if is_quiet { Ok(()) } else { output.print(delivery) })
                .with_context(|| format!("--on {}", printable(glob)))?;
            Ok((glob, subscription))
        };
        distinct(&self.on).map(subscribe).collect()
    }

    fn conclude(
        &self,
        bus: &EventBus,
        output: &Output,
        subscriptions: &[(&str, Subscription)],
        streamed: Streamed,
    ) -> ExitCode {
        output.flush();
        if !output.is_closed() || streamed.is_interrupted() {
            let summary = summary(bus, subscriptions, &streamed);
            if self.summary == Format::Json && !output.is_lost() {
                let json = serde_json::to_string(&summary).expect("counts and texts are JSON");
                output.write(format!("{json}\n").as_bytes());
                output.flush();
            } else {
                // Nobody may be there to read it.
                let _ = io::stderr().write_all(summary.table().as_bytes());
            }
        }
        streamed.exit(Some(output))
    }
}

fn summary<'a>(
    bus: &EventBus,
    subscriptions: &[(&'a str, Subscription)],
    streamed: &Streamed,
) -> Summary<'a> {
    let stats = bus.get_stats();
    let heard = |subscription: &Subscription| {
        stats.subscribers.get(subscription.id()).map_or(0, |subscriber| subscriber.deliveries.total)
    };
    let (elapsed_s, events_per_s) = pace(stats.accepted, streamed.elapsed);
    Summary {
        read: streamed.read,
        published: stats.accepted,
        rejected: streamed.rejected,
        deliveries: subscriptions.iter().map(|(glob, subscription)| (*glob, heard(subscription))).collect(),
        failures: stats.deliveries.dead_lettered,
        dead_letters: stats.dead_letters_made,
        elapsed_s,
        events_per_s,
    }
}

/// The texts without repetitions, in order.
pub(crate) fn distinct(texts: &[String]) -> impl Iterator<Item = &str> {
    let mut seen = HashSet::new();
    texts.iter().map(String::as_str).filter(move |text| seen.insert(*text))
}
