//! SIGINT and SIGTERM: the first asks for an orderly end, the second ends at once.
//!
//! A thread waits for them, so that nothing happens in a signal handler, and wakes whoever waits for input. Should
//! the orderly end take too long (nobody takes what is printed), it is cut short.

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use std::io;
use std::process;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread;
use std::time::Duration;

/// How long the orderly end may take.
pub(crate) const DRAIN_LIMIT: Duration = Duration::from_secs(5);

/// The signal that ended the stream, once there is one; and whom it wakes.
#[derive(Clone, Default)]
pub(crate) struct Caught(Arc<State>);

#[derive(Default)]
struct State {
    signal: OnceLock<i32>,
    wakers: Mutex<Vec<Box<dyn Fn() + Send>>>,
}

impl Caught {
    pub(crate) fn is_some(&self) -> bool {
        self.0.signal.get().is_some()
    }

    /// Calls `wake` at the first signal, at once if it was caught already.
    pub(crate) fn wakes(&self, wake: impl Fn() + Send + 'static) {
        // Under the lock, a signal is either seen here or sees the waker.
        let mut wakers = self.wakers();
        if self.is_some() {
            wake();
        } else {
            wakers.push(Box::new(wake));
        }
    }

    fn wakers(&self) -> MutexGuard<'_, Vec<Box<dyn Fn() + Send>>> {
        self.0.wakers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What a shell reports of a process that the signal ended.
    pub(crate) fn exit_code(&self) -> Option<u8> {
        self.0.signal.get().map(|signal| code_of(*signal))
    }
}

fn code_of(signal: i32) -> u8 {
    if signal == SIGINT { 130 } else { 143 }
}

/// Catches signals from now on.
pub(crate) fn watch() -> io::Result<Caught> {
    let caught = Caught::default();
    let mut signals = Signals::new([SIGINT, SIGTERM])?;
    let first = caught.clone();
    thread::Builder::new().name("signals".into()).spawn(move || {
        for signal in signals.forever() {
            if first.0.signal.set(signal).is_err() {
                process::exit(code_of(signal).into());
            }
            first.wakers().drain(..).for_each(|wake| wake());
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
