//! Where asynchronous handlers run: on the bus's own small tokio runtime, started by the first of them; on a runtime that the
//! embedder gives; or, of a manual bus, with its driver.

use crate::dispatch::mailbox::{Spawn, Task};
use crossbeam_queue::SegQueue;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::runtime::{Builder, Handle, Runtime};

/// Tasks of a manual bus that can go on. Each is there at most once, so there are no more than there are tasks.
pub(super) type Runnables = Arc<SegQueue<async_task::Runnable>>;

pub(super) enum TaskRuntime {
    Own { threads: usize, runtime: Mutex<Option<Runtime>> },
    Given(Handle),
    Driven(Runnables),
}

impl TaskRuntime {
    pub(super) fn own(threads: usize) -> Self {
        TaskRuntime::Own { threads, runtime: Mutex::default() }
    }

    /// How a task is started.
    pub(super) fn spawn(&self) -> Result<Spawn, String> {
        let handle = match self {
            TaskRuntime::Given(handle) => handle.clone(),
            TaskRuntime::Own { threads, runtime } => {
                let mut runtime = runtime.lock().unwrap_or_else(PoisonError::into_inner);
                match runtime.as_ref() {
                    Some(runtime) => runtime.handle().clone(),
                    None => runtime.insert(start(*threads)?).handle().clone(),
                }
            }
            TaskRuntime::Driven(runnables) => {
                let runnables = Arc::clone(runnables);
                return Ok(Arc::new(move |task| drive(&runnables, task)));
            }
        };
        Ok(Arc::new(move |task| drop(handle.spawn(task))))
    }

    /// Lets the bus's own threads go, without waiting for what they are running.
    pub(super) fn end(&self) {
        match self {
            TaskRuntime::Own { runtime, .. } => {
                let runtime = runtime.lock().unwrap_or_else(PoisonError::into_inner).take();
                if let Some(runtime) = runtime {
                    runtime.shutdown_background();
                }
            }
            TaskRuntime::Given(_) => {}
            TaskRuntime::Driven(runnables) => while runnables.pop().is_some() {},
        }
    }
}

fn start(threads: usize) -> Result<Runtime, String> {
    let mut builder = Builder::new_multi_thread();
    builder.worker_threads(threads).thread_name("events-async").enable_all();
    builder.build().map_err(|error| error.to_string())
}

fn drive(runnables: &Runnables, task: Task) {
    let woken = Arc::clone(runnables);
    let (runnable, task) = async_task::spawn(task, move |runnable| woken.push(runnable));
    task.detach();
    runnable.schedule();
}

impl Drop for TaskRuntime {
    fn drop(&mut self) {
        // A runtime that is dropped in async code panics; one that is let go does not.
        self.end();
    }
}
