//! Which threads of buses there are in this process. One test at a time may ask.

use std::fs;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

/// Held by a test of a binary whose tests count threads.
pub(crate) fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The names of the threads that buses have started and that still run, as far as the system tells.
pub(crate) fn of_buses() -> Vec<String> {
    let Ok(tasks) = fs::read_dir("/proc/self/task") else { return Vec::new() };
    let names = tasks.flatten().filter_map(|task| fs::read_to_string(task.path().join("comm")).ok());
    names.map(|name| name.trim().to_owned()).filter(|name| name.starts_with("events-")).collect()
}

/// Waits until there are none.
pub(crate) fn wait_until_none(limit: Duration) {
    for _ in 0..limit.as_millis() {
        if of_buses().is_empty() {
            return;
        }
        thread::sleep(Duration::from_millis(1));
    }
    assert_eq!(of_buses(), Vec::<String>::new(), "threads that outlived their buses");
}
