//! What `dispatch` and `replay` have in common: a bus, who hears it, and what is said at the end.

use crate::input::Source;
use crate::output::Output;
use crate::report::complain;
use crate::signals::DRAIN_LIMIT;
use crate::stream::Streamed;
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
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

#[derive(Args)]
pub(crate) struct Hearing {
    /// Subscribe to the event types that match GLOB (*, ?, [seq], [!seq], on the whole name); repeatable
    #[arg(long = "on", value_name = "GLOB", allow_hyphen_values = true)]
    on: Vec<String>,

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

#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum Validate {
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

/// A bus with its subscriptions, each of which prints what it hears.
pub(crate) struct Heard<'a> {
    pub(crate) bus: EventBus,
    pub(crate) output: Arc<Output>,
    subscriptions: Vec<(&'a str, Subscription)>,
    wishes: &'a Hearing,
}

impl Hearing {
    pub(crate) fn start(&self, validate: Validate) -> anyhow::Result<Heard<'_>> {
        // Nothing here asks for history or letters, and a thousand events of 1 MiB are no flat memory.
        let bus = EventBus::builder().from_env()?.history(0).dead_letters(0);
        let bus = self.dispatching(bus).validate(validate.into()).build()?;
        let output = Output::new().context("standard output")?;
        let subscriptions = self.subscribe(&bus, &output)?;
        Ok(Heard { bus, output, subscriptions, wishes: self })
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
}

impl Heard<'_> {
    /// Whether events are printed as they come.
    pub(crate) fn prints(&self) -> bool {
        !self.wishes.quiet && !self.subscriptions.is_empty()
    }

    /// # Errors
    /// An input that what is printed would be added to, for ever.
    pub(crate) fn check_input(&self, source: &Source) -> anyhow::Result<()> {
        if self.prints() && source.is_stdout() {
            bail!("{}: the input is also the output, and would grow for ever", source.name);
        }
        Ok(())
    }

    /// What is done while there is nothing to read: what workers have not printed yet is on its way to whoever waits at
    /// the other end. Says whether anybody is there.
    pub(crate) fn on_idle(&self) -> impl Fn() -> bool + 'static {
        let (output, bus) = (Arc::clone(&self.output), self.bus.clone());
        move || {
            let _ = bus.flush(DRAIN_LIMIT);
            output.flushed()
        }
    }

    /// Ends the bus, sums up and tells how the process ends. `skipped`: of a replay.
    pub(crate) fn conclude(&self, mut streamed: Streamed, skipped: Option<u64>) -> ExitCode {
        let draining = Instant::now();
        // A slow reader of the output is waited for; only whoever ends the process limits that.
        let limit = if streamed.is_interrupted() { DRAIN_LIMIT } else { Duration::MAX };
        let report = self.bus.shutdown(limit);
        streamed.elapsed += draining.elapsed();
        if !report.is_complete() {
            complain(&format!("{} events were not handled within {limit:?}", report.pending()));
        }
        self.output.flush();
        if !self.output.is_closed() || streamed.is_interrupted() {
            let summary = self.summary(&streamed, skipped);
            if self.wishes.summary == Format::Json && !self.output.is_lost() {
                let json = serde_json::to_string(&summary).expect("counts and texts are JSON");
                self.output.write_json(&format!("{json}\n"));
                self.output.flush();
            } else {
                // Nobody may be there to read it.
                let _ = io::stderr().write_all(summary.table().as_bytes());
            }
        }
        streamed.exit(Some(&self.output))
    }

    fn summary(&self, streamed: &Streamed, skipped: Option<u64>) -> Summary<'_> {
        let stats = self.bus.get_stats();
        let heard = |subscription: &Subscription| {
            stats.subscribers.get(subscription.id()).map_or(0, |subscriber| subscriber.deliveries.total)
        };
        let (elapsed_s, events_per_s) = pace(stats.accepted, streamed.elapsed);
        Summary {
            read: streamed.read,
            published: stats.accepted,
            skipped,
            rejected: streamed.rejected,
            deliveries: self
                .subscriptions
                .iter()
                .map(|(glob, subscription)| (*glob, heard(subscription)))
                .collect(),
            failures: stats.deliveries.dead_lettered,
            dead_letters: stats.dead_letters_made,
            elapsed_s,
            events_per_s,
        }
    }
}

/// The texts without repetitions, in order.
pub(crate) fn distinct(texts: &[String]) -> impl Iterator<Item = &str> {
    let mut seen = HashSet::new();
    texts.iter().map(String::as_str).filter(move |text| seen.insert(*text))
}
