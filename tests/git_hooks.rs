//! `examples/git-hooks`, by a real git in a repository of its own.
#![cfg(feature = "cli")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "in a test a panic is the report")]

#[path = "support/command.rs"]
#[allow(dead_code, reason = "each test binary uses its part")]
mod command;

use codomyrmex_events::Event;
use command::{Scratch, run};
use std::fs;
use std::os::unix::fs::symlink;
use std::process::{Command, Output};

struct Repository {
    scratch: Scratch,
}

impl Repository {
    /// An empty one with the hooks, which no configuration of the machine reaches.
    fn new() -> Self {
        let repository = Repository { scratch: Scratch::new() };
        repository.git(&["init", "--quiet", "--initial-branch=main", "."]);
        for (key, value) in [("user.name", "Ada \"A\" L."), ("user.email", "ada@example.org")] {
            repository.git(&["config", key, value]);
        }
        let hooks = repository.scratch.path(".git/hooks");
        fs::create_dir_all(&hooks).unwrap();
        for hook in ["post-commit", "post-checkout", "reference-transaction"] {
            let script = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/git-hooks/emit-git-events");
            symlink(script, format!("{hooks}/{hook}")).unwrap();
        }
        repository
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut git = Command::new("git");
        git.args(args).current_dir(self.scratch.path(""));
        for variable in ["GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "EVENTS_FILE", "RUST_LOG"] {
            git.env_remove(variable);
        }
        git.env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_CONFIG_NOSYSTEM", "1");
        git.env("CODOMYRMEX_EVENTS", env!("CARGO_BIN_EXE_codomyrmex-events"));
        git
    }

    fn git(&self, args: &[&str]) -> Output {
        let ran = self.command(args).output().expect("git is installed");
        assert!(ran.status.success(), "git {args:?}: {}", String::from_utf8_lossy(&ran.stderr));
        ran
    }

    fn events(&self) -> Vec<Event> {
        let stream = fs::read_to_string(self.scratch.path(".git/events.ndjson")).unwrap();
        stream.lines().map(|line| Event::from_json(line).unwrap()).collect()
    }
}

fn field(event: &Event, name: &str) -> String {
    event.data().get(name).unwrap().as_str().unwrap().to_owned()
}

#[test]
fn commits_and_branches_become_events() {
    let repository = Repository::new();
    let subject = "a \"subject\" with 'quotes', a \\ and = and $(no command)";
    repository.git(&["commit", "--quiet", "--allow-empty", "-m", &format!("{subject}\n\nand a body")]);
    repository.git(&["checkout", "--quiet", "-b", "topic/one"]);
    repository.git(&["commit", "--quiet", "--allow-empty", "-m", "second"]);
    repository.git(&["checkout", "--quiet", "main"]);
    repository.git(&["branch", "--quiet", "-D", "topic/one"]);
    let events = repository.events();
    let told: Vec<(&str, String)> =
        events.iter().map(|event| (event.event_type().as_str(), field(event, "branch"))).collect();
    let told: Vec<(&str, &str)> =
        told.iter().map(|(event_type, branch)| (*event_type, branch.as_str())).collect();
    assert_eq!(
        told,
        [
            ("git.branch.created", "main"),
            ("git.commit", "main"),
            ("git.branch.created", "topic/one"),
            ("git.branch.switched", "topic/one"),
            ("git.commit", "topic/one"),
            ("git.branch.switched", "main"),
            ("git.branch.deleted", "topic/one"),
        ]
    );
    let (first, second) = (&events[1], &events[4]);
    assert_eq!(field(first, "subject"), subject);
    assert_eq!(field(first, "author"), "Ada \"A\" L. <ada@example.org>");
    assert_eq!((field(first, "parents").as_str(), field(second, "parents")), ("", field(first, "commit")));
    let head = repository.git(&["rev-parse", "HEAD"]);
    assert_eq!(field(first, "commit"), String::from_utf8(head.stdout).unwrap().trim());
    assert_eq!(field(&events[2], "commit"), field(first, "commit"));

    let heard = run(&["dispatch", &repository.scratch.path(".git/events.ndjson"), "--on", "git.commit"], b"");
    assert_eq!((heard.code, heard.text().lines().count()), (Some(0), 2), "{}", heard.stderr);
}

#[test]
fn git_goes_on_where_an_event_cannot_be_told() {
    let repository = Repository::new();
    let commit = ["commit", "--quiet", "--allow-empty", "-m", "a commit"];
    let ran = repository.command(&commit).env("CODOMYRMEX_EVENTS", "/nowhere/at/all").output().unwrap();
    assert!(ran.status.success());
    let said = String::from_utf8(ran.stderr).unwrap();
    assert!(said.contains("post-commit: git.commit was not told"), "{said}");
    assert!(!fs::exists(repository.scratch.path(".git/events.ndjson")).unwrap());
    repository.git(&["rev-parse", "--verify", "HEAD"]);
}
