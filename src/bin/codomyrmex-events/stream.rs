//! A stream of events, line by line: each accepted, or reported as rejected.

use crate::input::{Input, Source};
use crate::lines::{Line, Lines};
use crate::output::Output;
use crate::progress::Progress;
use crate::report::{Letters, Rejection, Reports};
use crate::signals::{self, Caught};
use crate::{FAILED, report};
use anyhow::Context;
use codomyrmex_events::Event;
use std::process::ExitCode;
use std::time::Duration;

/// An exit code of its own: events were rejected.
pub(crate) const REJECTED: u8 = 1;

/// A stream about to be read.
pub(crate) struct Stream {
    name: String,
    lines: Lines<Input>,
    reports: Reports,
    progress: Progress,
    caught: Caught,
}

/// What became of a stream. `read` is the accepted and the rejected.
pub(crate) struct Streamed {
    /// Lines that are not blank.
    pub(crate) read: u64,
    pub(crate) rejected: u64,
    pub(crate) elapsed: Duration,
    /// Why it ended before its end, if something failed.
    failure: Option<anyhow::Error>,
    caught: Caught,
}

impl Stream {
    /// Begins to read, until a signal comes. `on_idle` is called whenever there is nothing to read yet, and says whether to
    /// go on.
    pub(crate) fn start(
        source: Source,
        letters: Option<Letters>,
        prints: bool,
        on_idle: impl FnMut() -> bool + 'static,
    ) -> anyhow::Result<Stream> {
        let caught = signals::watch().context("signals")?;
        Stream::start_until(caught, source, letters, prints, on_idle)
    }

    /// The same, until this signal comes.
    pub(crate) fn start_until(
        caught: Caught,
        source: Source,
        letters: Option<Letters>,
        prints: bool,
        on_idle: impl FnMut() -> bool + 'static,
    ) -> anyhow::Result<Stream> {
        let name = source.name.clone();
        let progress = Progress::start(&source, prints);
        let reports = Reports::new(&source, &progress).keeping(letters);
        let input = Input::start(source, &caught, on_idle)?;
        Ok(Stream { name, lines: Lines::new(input), reports, progress, caught })
    }

    /// Hands each line to `accept` and reports those that it rejects: until the end, a signal, a failure, or
    /// `is_enough`.
    pub(crate) fn run(
        mut self,
        is_enough: impl Fn() -> bool,
        accept: impl FnMut(&[u8]) -> Result<(), Rejection>,
    ) -> Streamed {
        let (mut read, mut rejected) = (0, 0);
        let passed = self.pass(is_enough, accept, &mut read, &mut rejected);
        self.progress.finish();
        let elapsed = self.progress.elapsed();
        Streamed { read, rejected, elapsed, failure: passed.err(), caught: self.caught }
    }

    fn pass(
        &mut self,
        is_enough: impl Fn() -> bool,
        mut accept: impl FnMut(&[u8]) -> Result<(), Rejection>,
        read: &mut u64,
        rejected: &mut u64,
    ) -> anyhow::Result<()> {
        while !is_enough() {
            let Some((number, line)) = self.lines.next().with_context(|| self.name.clone())? else { break };
            *read += 1;
            let accepted = match line {
                Line::Whole(text) => accept(text),
                Line::TooLong(_) => Err(Rejection::too_long()),
            };
            if let Err(rejection) = accepted {
                *rejected += 1;
                self.reports.reject(number, &line, &rejection)?;
            }
            self.progress.reach(self.lines.bytes());
        }
        Ok(())
    }
}

impl Streamed {
    /// Before the first of several.
    pub(crate) fn none(caught: &Caught) -> Self {
        Streamed { read: 0, rejected: 0, elapsed: Duration::ZERO, failure: None, caught: caught.clone() }
    }

    /// Of one stream and the next.
    pub(crate) fn and(self, next: Streamed) -> Self {
        Streamed {
            read: self.read + next.read,
            rejected: self.rejected + next.rejected,
            elapsed: self.elapsed + next.elapsed,
            failure: self.failure.or(next.failure),
            caught: next.caught,
        }
    }

    pub(crate) fn is_failed(&self) -> bool {
        self.failure.is_some()
    }

    pub(crate) fn accepted(&self) -> u64 {
        self.read - self.rejected
    }

    /// Whether a failure or a signal ended it.
    pub(crate) fn ended_early(&self) -> bool {
        self.failure.is_some() || self.is_interrupted()
    }

    /// Whether it came to its end and nothing was rejected.
    pub(crate) fn is_all_well(&self) -> bool {
        !self.ended_early() && self.rejected == 0
    }

    pub(crate) fn is_interrupted(&self) -> bool {
        self.caught.is_some()
    }

    /// Says what failed, and tells how the process ends: a failure is worse than a signal, which says more
    /// than a reader that has gone away, and that more than a rejection.
    pub(crate) fn exit(self, output: Option<&Output>) -> ExitCode {
        let lost = output.and_then(Output::failure).map(|error| format!("standard output: {error}"));
        let failed = self.failure.map(|error| format!("{error:#}"));
        if let Some(failure) = failed.or(lost) {
            report::complain(&format!("error: {failure}"));
            return FAILED.into();
        }
        let is_closed = output.is_some_and(Output::is_closed);
        let rejected = if self.rejected > 0 && !is_closed { REJECTED } else { 0 };
        self.caught.exit_code().unwrap_or(rejected).into()
    }
}

/// Reads streams one after the other, and shows `see` each event with its line.
pub(crate) fn read_all(
    sources: Vec<Source>,
    is_enough: impl Fn() -> bool,
    mut see: impl FnMut(Event, &[u8]),
) -> anyhow::Result<Streamed> {
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
