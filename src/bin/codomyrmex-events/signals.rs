//! SIGINT and SIGTERM: the first asks for an orderly end, the second ends at once.
//!
//! A thread waits for them, so that nothing happens in a signal handler, and wakes whoever waits for input. Should
//! the orderly end take too long (nobody takes what is printed), it is cut short.

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use std::io;
use std::process;
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::Duration;

/// How long the orderly end may take.
pub(crate) const DRAIN_LIMIT: Duration = Duration::from_secs(5);

/// The signal that ended the stream, once there is one.
#[derive(Clone, Default)]
pub(crate) struct Caught(Arc<OnceLock<i32>>);

impl Caught {
    pub(crate) fn is_some(&self) -> bool {
        self.0.get().is_some()
    }

    /// What a shell reports of a process that the signal ended.
    pub(crate) fn exit_code(&self) -> Option<u8> {
        self.0.get().map(|signal| code_of(*signal))
    }
}

fn code_of(signal: i32) -> u8 {
    if signal == SIGINT { 130 } else { 143 }
}

/// Catches signals from now on; `wake` is called at the first.
pub(crate) fn watch(wake: impl Fn() + Send + 'static) -> io::Result<Caught> {
    let caught = Caught::default();
    let mut signals = Signals::new([SIGINT, SIGTERM])?;
    let first = caught.clone();
    thread::Builder::new().name("signals".into()).spawn(move || {
        for signal in signals.forever() {
            if first.0.set(signal).is_err() {
                process::exit(code_of(signal).into());
            }
            wake();
            limit_drain(signal);
        }
    })?;
    Ok(caught)
}

fn limit_drain(signal: i32) {
    // Without a thread the drain has no limit, but a second signal still ends it.
    let _ = thread::Builder::new().name("drain limit".into()).spawn(move || {
        thread::sleep(DRAIN_LIMIT);
        process::exit(code_of(signal).into());
    });
}
