//! Running the real binary: its input fed, its output collected, and killed if it takes too long.

use std::fs;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio, id};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// How long one run may take before it is killed and the test fails. Far more than any needs.
const LIMIT: Duration = Duration::from_secs(60);

/// How a run ended and what it said.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: String,
}

impl Ran {
    /// Standard output, which has to be text.
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.stdout).expect("standard output is UTF-8")
    }

    /// The last line of standard output, which has to be JSON.
    pub(crate) fn last_json(&self) -> serde_json::Value {
        let last = self.text().lines().last().expect("standard output has a line");
        serde_json::from_str(last).expect("the last line is JSON")
    }
}

pub(crate) fn command(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_codomyrmex-events"));
    command.args(args).env_remove("RUST_LOG");
    for variable in ["WORKERS", "ASYNC", "HISTORY_LIMIT", "DLQ_MAX"] {
        command.env_remove(format!("CODOMYRMEX_EVENT_{variable}"));
    }
    command
}

/// Runs to the end with `input` on standard input.
pub(crate) fn run(args: &[&str], input: &[u8]) -> Ran {
    run_command(command(args), input)
}

/// The same for a command that was prepared otherwise.
pub(crate) fn run_command(command: Command, input: &[u8]) -> Ran {
    let mut running = Running::start(command);
    let mut stdin = running.stdin.take().expect("it was started with a pipe");
    let stdout = running.stdout.take().expect("it was started with a pipe");
    let input = input.to_vec();
    // It may end without reading all of it.
    let feeding = thread::spawn(move || drop(stdin.write_all(&input)));
    let stdout = collect(stdout);
    let status = running.wait();
    feeding.join().expect("nothing panics there");
    Ran {
        code: status.code(),
        stdout: stdout.join().expect("nothing panics there"),
        stderr: running.into_stderr(),
    }
}

/// A run in progress. Killed when it is dropped.
pub(crate) struct Running {
    child: Child,
    pub(crate) stdin: Option<ChildStdin>,
    pub(crate) stdout: Option<ChildStdout>,
    stderr: Option<JoinHandle<Vec<u8>>>,
    deadline: Instant,
}

impl Running {
    pub(crate) fn start(mut command: Command) -> Running {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the program starts");
        let stderr = child.stderr.take().map(collect);
        let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
        Running { child, stdin, stdout, stderr, deadline: Instant::now() + LIMIT }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal by name.
    pub(crate) fn signal(&self, name: &str) {
        let sent = Command::new("sh").args(["-c", &format!("kill -{name} {}", self.pid())]).status();
        assert!(sent.expect("there is a shell").success());
    }

    /// Waits for the end.
    pub(crate) fn wait(&mut self) -> ExitStatus {
        loop {
            if let Some(status) = self.child.try_wait().expect("a child can be waited for") {
                return status;
            }
            if Instant::now() > self.deadline {
                self.child.kill().expect("a child can be killed");
                panic!("still running after {LIMIT:?}");
            }
            thread::sleep(Duration::from_millis(1));
        }
    }

    /// What it said on standard error, all of it: it has ended.
    pub(crate) fn into_stderr(mut self) -> String {
        let text = self.stderr.take().map(|stderr| stderr.join().expect("nothing panics there"));
        String::from_utf8(text.unwrap_or_default()).expect("standard error is UTF-8")
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Most have ended by now.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn collect(mut from: impl Read + Send + 'static) -> JoinHandle<Vec<u8>> {
    thread::spawn(move || {
        let mut all = Vec::new();
        from.read_to_end(&mut all).expect("a pipe can be read");
        all
    })
}

/// A directory of the test's own, removed when dropped.
pub(crate) struct Scratch(PathBuf);

impl Scratch {
    pub(crate) fn new() -> Scratch {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("codomyrmex-events-{}-{}", id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        fs::create_dir_all(&path).expect("a directory can be made");
        Scratch(path)
    }

    /// A path in it, as an argument.
    pub(crate) fn path(&self, name: &str) -> String {
        self.0.join(name).into_os_string().into_string().expect("temporary paths are UTF-8")
    }

    /// Writes a file; its path.
    pub(crate) fn write(&self, name: &str, text: impl AsRef<[u8]>) -> String {
        let path = self.path(name);
        fs::write(&path, text).expect("a file can be written");
        path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A file of the repository.
pub(crate) fn data(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/data").join(name);
    path.into_os_string().into_string().expect("the repository's path is UTF-8")
}

/// An event of a type that has no schema, as a line of exactly `bytes` bytes.
pub(crate) fn event_of(bytes: usize) -> String {
    let (front, back) = (r#"{"event_type":"my.own","source":"test","data":{"text":""#, r#""}}"#);
    let padding = bytes.checked_sub(front.len() + back.len()).expect("room for an event");
    format!("{front}{}{back}", "x".repeat(padding))
}
