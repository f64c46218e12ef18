//! How far the stream is: a bar on standard error, if that is a terminal and nothing else is being printed on it.
//!
//! Hidden or not, the bar is also the clock of the run.

use crate::input::Source;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::{self, IsTerminal};
use std::time::Duration;

#[derive(Clone)]
pub(crate) struct Progress {
    bar: ProgressBar,
}

impl Progress {
    /// Starts the clock. `prints` says whether the run writes lines to standard output as it goes.
    pub(crate) fn start(source: &Source, prints: bool) -> Progress {
        let total = Some(source.metadata.len()).filter(|_| source.metadata.is_file());
        // On a terminal the printed lines show the progress, and the bar would be torn apart by them.
        // Standard error that is no terminal hides the bar by itself.
        let target = if prints && io::stdout().is_terminal() {
            ProgressDrawTarget::hidden()
        } else {
            ProgressDrawTarget::stderr()
        };
        let bar = ProgressBar::with_draw_target(total, target);
        let template = match total {
            Some(_) => "{bar:32} {bytes}/{total_bytes} {bytes_per_sec} {eta}",
            None => "{spinner} {bytes} {bytes_per_sec}",
        };
        bar.set_style(
            ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()),
        );
        Progress { bar }
    }

    /// So much has been read, in bytes. Drawn no oftener than can be seen.
    pub(crate) fn reach(&self, bytes: u64) {
        self.bar.set_position(bytes);
    }

    /// Lets something else be written to standard error.
    pub(crate) fn aside(&self, write: impl FnOnce()) {
        self.bar.suspend(write);
    }

    pub(crate) fn elapsed(&self) -> Duration {
        self.bar.elapsed()
    }

    pub(crate) fn finish(&self) {
        self.bar.finish_and_clear();
    }
}
