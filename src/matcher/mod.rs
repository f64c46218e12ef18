//! Glob patterns: one at a time, and by the hundred thousand.
//!
//! The dialect is that of Python's `fnmatch.fnmatchcase`, to the letter: `*` is any run of characters (dots and
//! newlines too), `?` any one character, `[seq]` one of a set, `[!seq]` one outside it, and all else itself.
//! A [`Pattern`] is one parsed glob. A [`PatternSet`] is many of them compiled into one object that answers
//! "which of these match this name?" in about the time of a few hash look-ups.
//!
//! Reading order: `class` (what stands in brackets), `glob` (a parsed pattern and its linear matcher), `pattern` (the
//! public face), then the set: `piece` (which part of a glob to look for), `anchors`, `needles`, `counts` and `lazy`
//! (the four ways of looking), `check` (what is left to try), `set` (which asks them all), `build` (which files the
//! globs).
//!
//! The matcher knows only text. It takes no lock, starts no thread, calls no code of the user's, and allocates
//! nothing while it matches, beyond what its caller's buffer needs and one small cache for each thread.

mod anchors;
mod build;
mod check;
mod class;
mod counts;
mod glob;
mod lazy;
mod needles;
mod pattern;
mod piece;
mod set;
#[cfg(test)]
#[path = "../../tests/support/pattern_table.rs"]
mod table;

pub use pattern::{PATTERN_BYTES_MAX, Pattern, PatternError};
pub use set::PatternSet;
