//! The commands of `docs/guide.md`, run as they stand. Its programs are documentation tests of the library.
#![cfg(feature = "cli")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "in a test a panic is the report")]

#[path = "support/command.rs"]
#[allow(dead_code, reason = "each test binary uses its part")]
mod command;

use command::{Scratch, run_command};
use std::path::Path;
use std::process::Command;

/// What stands in the fenced blocks of a language.
fn blocks(text: &str, language: &str) -> Vec<String> {
    let fence = format!("```{language}\n");
    text.split(&fence).skip(1).map(|rest| rest.split("```").next().unwrap().to_owned()).collect()
}

#[test]
fn every_command_of_the_guide_succeeds_and_says_something() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let guide = std::fs::read_to_string(root.join("docs/guide.md")).unwrap();
    let program = Path::new(env!("CARGO_BIN_EXE_codomyrmex-events"));
    let path = format!("{}:{}", program.parent().unwrap().display(), std::env::var("PATH").unwrap());
    let commands = blocks(&guide, "sh");
    assert!(commands.len() >= 3, "{commands:?}");
    for block in commands {
        let scratch = Scratch::new();
        let mut shell = Command::new("sh");
        shell.args(["-eu", "-c", &block]).current_dir(root).env("PATH", &path).env_remove("RUST_LOG");
        shell.env("SCRATCH", scratch.path(""));
        let ran = run_command(shell, b"");
        assert_eq!(ran.code, Some(0), "{block}{}", ran.stderr);
        assert!(!ran.text().trim().is_empty(), "{block}");
    }
}

#[test]
fn each_phase_and_each_practice_has_a_program() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let guide = std::fs::read_to_string(root.join("docs/guide.md")).unwrap();
    let sections: Vec<&str> = guide.split("\n### ").skip(1).collect();
    assert_eq!(sections.len(), 7 + 5);
    for section in sections {
        let title = section.lines().next().unwrap();
        assert!(section.contains("\n> "), "{title}: what was asked for is missing");
        assert_eq!(blocks(section, "rust").len(), 1, "{title}");
    }
}
