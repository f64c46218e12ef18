//! Many globs, compiled into one object.
//!
//! Each distinct glob is filed once, under one thing that a matching name must have (see `piece`): its whole text,
//! its beginning, its end, a text somewhere inside, or a number of characters; globs without any literal share an
//! automaton. A name is asked for those things, and the globs filed under what was found are tried by the linear
//! matcher; or not even that, if the finding is proof, as it is for `build.*`. So the work depends on the name and on
//! how many globs come close to it, hardly on how many there are.
//!
//! Why not one big automaton? Measured on 2 cores: a dense DFA over a thousand mixed globs took half a minute
//! and 20 MB; a lazy one over ten thousand took a millisecond for a name it had not seen, and ran out of memory on
//! `*infix*` globs. What is here is linear in the size of the patterns to build and keep, and its worst match is one
//! linear match of every glob.
//!
//! A set never changes, holds no lock, and forgets nothing it was given: equal patterns keep their own indices.

use super::anchors::Anchors;
use super::build;
use super::check::{Check, Ends};
use super::counts::Counts;
use super::lazy::Lazy;
use super::needles::Needles;
use super::pattern::Pattern;
use std::collections::HashMap;
use std::fmt;
use std::ops::Range;

pub(super) type FastMap<K, V> = HashMap<K, V, foldhash::fast::RandomState>;

/// Many patterns, answering which of them match a name.
///
/// ```
/// use codomyrmex_events::{Pattern, PatternSet};
///
/// let patterns = ["build.*", "*.complete", "deploy.*"].map(|text| Pattern::parse(text).unwrap());
/// let set = PatternSet::build(&patterns);
///
/// let mut matching = Vec::new();
/// set.matches_into("build.complete", &mut matching);
/// assert_eq!(matching, [0, 1]);
/// ```
///
/// A set is immutable, `Send` and `Sync`: share it behind an `Arc` and match from any number of threads.
#[derive(Default)]
pub struct PatternSet {
    pub(super) len: usize,
    pub(super) whole: FastMap<Box<[u8]>, Bucket>,
    pub(super) front: Anchors,
    pub(super) back: Anchors,
    pub(super) inside: Needles,
    pub(super) counts: Counts,
    pub(super) classes: Option<Lazy>,
    /// The checks that `classes` stands for.
    pub(super) by_classes: Span,
    /// Checks that nothing narrows down.
    pub(super) one_by_one: Span,
    pub(super) checks: Vec<Check>,
    pub(super) members: Vec<u32>,
}

/// What is filed under one piece.
#[derive(Clone, Copy, Default)]
pub(super) struct Bucket {
    /// Members that match whenever the piece is found.
    pub(super) sure: Span,
    /// Checks to be made.
    pub(super) checks: Span,
}

#[derive(Clone, Copy, Default)]
pub(super) struct Span {
    start: u32,
    end: u32,
}

impl Span {
    pub(super) fn of(range: Range<usize>) -> Self {
        Self { start: index(range.start), end: index(range.end) }
    }

    pub(super) fn range(self) -> Range<usize> {
        self.start as usize..self.end as usize
    }
}

/// A position as it is stored.
pub(super) fn index(position: usize) -> u32 {
    u32::try_from(position)
        .expect("Invariant: a set holds fewer than 2^32 patterns, as PatternSet::build says")
}

impl PatternSet {
    /// Compiles the patterns. Their positions in the slice are the indices that [`matches_into`](Self::matches_into)
    /// reports.
    ///
    /// Time and memory are linear in the total length of the patterns, whatever they are.
    ///
    /// # Panics
    ///
    /// If there are more than `u32::MAX` patterns.
    pub fn build(patterns: &[Pattern]) -> Self {
        build::build(patterns)
    }

    /// How many patterns the set was built from.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether the set was built from no patterns.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Appends the index of each pattern that matches the whole of `name`: ascending, each once.
    ///
    /// What `out` held before stays in front. Nothing is allocated but what `out` needs to grow (by somewhat more than
    /// the answer, at times) and, when a thread first asks a set with many literal-free globs, a small cache.
    pub fn matches_into(&self, name: &str, out: &mut Vec<u32>) {
        let start = out.len();
        let ends = Ends::of(name);
        self.inside.find_into(name, out);
        let found = out.len();
        for at in start..found {
            self.try_bucket(self.inside.bucket(out[at]), name, ends, out);
        }
        out.drain(start..found);

        if let Some(&bucket) = self.whole.get(name.as_bytes()) {
            self.try_bucket(bucket, name, ends, out);
        }
        for bucket in self.front.at_front(name.as_bytes()).chain(self.back.at_back(name.as_bytes())) {
            self.try_bucket(bucket, name, ends, out);
        }
        self.counts.find_into(name, out);
        self.try_classes(name, ends, out);
        self.try_checks(self.one_by_one, name, ends, out);
        out[start..].sort_unstable();
    }

    fn try_bucket(&self, bucket: Bucket, name: &str, ends: Ends, out: &mut Vec<u32>) {
        out.extend_from_slice(&self.members[bucket.sure.range()]);
        self.try_checks(bucket.checks, name, ends, out);
    }

    fn try_checks(&self, checks: Span, name: &str, ends: Ends, out: &mut Vec<u32>) {
        for check in &self.checks[checks.range()] {
            if check.matches(name, ends) {
                out.extend_from_slice(&self.members[check.members.range()]);
            }
        }
    }

    fn try_classes(&self, name: &str, ends: Ends, out: &mut Vec<u32>) {
        let checks = &self.checks[self.by_classes.range()];
        let push = |nth: usize| out.extend_from_slice(&self.members[checks[nth].members.range()]);
        let answered = self.classes.as_ref().is_some_and(|classes| classes.find(name, push).is_ok());
        if !answered {
            self.try_checks(self.by_classes, name, ends, out);
        }
    }
}

impl fmt::Debug for PatternSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PatternSet").field("len", &self.len).finish_non_exhaustive()
    }
}
