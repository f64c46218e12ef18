//! Globs without any literal, such as `[a-z]*[0-9]`: one lazily built DFA.
//!
//! There is no text to look for in these, so many of them run at once in `regex-automata`'s hybrid automaton, whose
//! states are made when a name first needs them. A name then costs one step a byte, however many globs there are. But
//! making states is dear, and some globs never stop wanting new ones; hence these bounds:
//!
//! - a glob goes in only if each piece after its first star is at most one character. `*[ab]????` does not: its states
//!   remember where in the last five characters an `a` or `b` was, for twenty `?` a million of them. Measured, sixty
//!   such globs took 38 us a name in the automaton, and less than 1 us one by one;
//! - few globs are not worth an automaton;
//! - what goes in is bounded in size, shortest globs first, so that monsters cannot crowd out ordinary ones;
//! - states live in a cache of bounded size, and an automaton that keeps filling it gives up.
//!
//! What is left out, or gave up, is answered by the linear matcher one by one, with the same result.
//!
//! The cache is written while matching, so each thread has its own: no lock, and nothing shared. A thread keeps the
//! caches of the few sets it used last. Sets are told apart by a number that is never reused, never by address.

use super::glob::{Atom, Glob};
use super::pattern::Pattern;
use crate::sync::{AtomicU64, Ordering};
use regex_automata::hybrid::dfa::{Cache, DFA};
use regex_automata::nfa::thompson::{self, WhichCaptures};
use regex_automata::{Anchored, Input, MatchKind};
use std::cell::RefCell;

/// Up to this many globs are matched one by one: it takes no longer.
const ONE_BY_ONE_MAX: usize = 12;
/// How much goes into one automaton: a `?`, a `*` or a range of a class is one.
const WEIGHT_MAX: usize = 1_024;
/// The compiled form of that weight, in bytes.
const NFA_BYTES_MAX: usize = 1 << 20;
/// What a thread spends on the states of one automaton, in bytes.
const CACHE_BYTES_MAX: usize = 512 << 10;
/// An automaton whose cache was filled this often in one thread is not tried again there.
const CACHE_FILLS_MAX: usize = 4;
/// How many sets a thread keeps caches for.
const CACHES_PER_THREAD: usize = 4;

thread_local! {
    /// Caches by automaton number, the last used first.
    static CACHES: RefCell<Vec<(u64, Cache)>> = const { RefCell::new(Vec::new()) };
}

/// An automaton over globs without literals.
pub(super) struct Lazy {
    number: u64,
    dfa: DFA,
}

/// The thread's cache could not answer; the linear matcher must.
#[derive(Debug)]
pub(super) struct GaveUp;

/// Whether the automaton's states need to remember of a name only how far the pattern has come.
pub(super) fn suits(pattern: &Pattern) -> bool {
    let mut pieces = pattern.glob().atoms().split(|atom| *atom == Atom::Star);
    pieces.next();
    pieces.all(|piece| matches!(piece, [] | [Atom::Any(1) | Atom::Class(_)]))
}

/// How many of the patterns an automaton should hold; those that suit it come first, the lightest first of all.
pub(super) fn fitting<'p>(patterns: impl Iterator<Item = &'p Pattern>) -> usize {
    let mut total = 0;
    let fitting = patterns
        .take_while(|pattern| suits(pattern))
        .map(weight)
        .take_while(|weight| {
            total += weight;
            total <= WEIGHT_MAX
        })
        .count();
    if fitting <= ONE_BY_ONE_MAX { 0 } else { fitting }
}

/// How much of an automaton's room a pattern takes.
pub(super) fn weight(pattern: &Pattern) -> usize {
    let glob = pattern.glob();
    let atoms = glob.atoms().iter().map(|atom| match *atom {
        Atom::Any(count) => usize::from(count),
        Atom::Class(number) => glob.class(number).weight(),
        Atom::Literal { .. } | Atom::Star | Atom::Never => 1,
    });
    atoms.sum()
}

impl Lazy {
    /// An automaton that reports positions in `patterns`; none if there are none, or too much for its bounds.
    pub(super) fn build<'p>(patterns: impl Iterator<Item = &'p Pattern>) -> Option<Self> {
        // Ordering: Relaxed, because only uniqueness matters.
        static NEXT_NUMBER: AtomicU64 = AtomicU64::new(0);

        let regexes: Vec<String> = patterns.map(|pattern| regex(pattern.glob())).collect();
        if regexes.is_empty() {
            return None;
        }
        let nfa =
            thompson::Config::new().nfa_size_limit(Some(NFA_BYTES_MAX)).which_captures(WhichCaptures::None);
        let config = DFA::config()
            .match_kind(MatchKind::All)
            .cache_capacity(CACHE_BYTES_MAX)
            .minimum_cache_clear_count(Some(CACHE_FILLS_MAX));
        let dfa = DFA::builder().configure(config).thompson(nfa).build_many(&regexes).ok()?;
        Some(Self { number: NEXT_NUMBER.fetch_add(1, Ordering::Relaxed), dfa })
    }

    /// Calls `found` with the position of each pattern that matches `name`.
    ///
    /// # Errors
    ///
    /// [`GaveUp`], and then `found` was not called.
    pub(super) fn find(&self, name: &str, found: impl FnMut(usize)) -> Result<(), GaveUp> {
        // A thread that is being torn down has no caches any more.
        CACHES
            .try_with(|caches| {
                let mut caches = caches.try_borrow_mut().map_err(|_| GaveUp)?;
                match caches.iter().position(|&(number, _)| number == self.number) {
                    Some(0) => {}
                    Some(at) => caches[..=at].rotate_right(1),
                    None => {
                        caches.truncate(CACHES_PER_THREAD - 1);
                        caches.insert(0, (self.number, self.dfa.create_cache()));
                    }
                }
                self.run(&mut caches[0].1, name, found).ok_or(GaveUp)
            })
            .unwrap_or(Err(GaveUp))
    }

    fn run(&self, cache: &mut Cache, name: &str, mut found: impl FnMut(usize)) -> Option<()> {
        let input = Input::new(name).anchored(Anchored::Yes);
        let mut state = self.dfa.start_state_forward(cache, &input).ok()?;
        for &byte in name.as_bytes() {
            state = self.dfa.next_state(cache, state, byte).ok()?;
            if state.is_dead() {
                return Some(());
            }
        }
        // Matches on the way are of names that are only the beginning of this one.
        state = self.dfa.next_eoi_state(cache, state).ok()?;
        if state.is_match() {
            for nth in 0..self.dfa.match_len(cache, state) {
                found(self.dfa.match_pattern(cache, state, nth).as_usize());
            }
        }
        Some(())
    }
}

fn regex(glob: &Glob) -> String {
    let mut regex = String::from("(?s)");
    for atom in glob.atoms() {
        match *atom {
            Atom::Any(count) => regex.push_str(&".".repeat(usize::from(count))),
            Atom::Class(number) => glob.class(number).write_regex(&mut regex),
            Atom::Star => regex.push_str(".*"),
            Atom::Literal { .. } | Atom::Never => unreachable!("Invariant: such globs have another route"),
        }
    }
    regex
}

#[cfg(test)]
mod tests {
    use super::*;

    fn patterns(text: impl Fn(usize) -> String, count: usize) -> Vec<Pattern> {
        (0..count).map(|nth| Pattern::parse(&text(nth)).unwrap()).collect()
    }

    #[test]
    fn an_ordinary_set_fits_and_is_answered_by_the_automaton() {
        let patterns = patterns(|nth| format!("[a-z]{}*[0-{}]", "?".repeat(nth / 10), nth % 10), 60);
        assert_eq!((fitting(patterns.iter()), patterns.iter().all(suits)), (60, true));
        let lazy = Lazy::build(patterns.iter()).unwrap();
        for name in ["build7", "é7", "x3ä7", "", "b1b2b3b4b5b6b", "x0", "z"] {
            let mut found = Vec::new();
            lazy.find(name, |position| found.push(position)).unwrap();
            found.sort_unstable();
            let expected: Vec<usize> = (0..60).filter(|&nth| patterns[nth].matches(name)).collect();
            assert_eq!(found, expected, "{name:?}");
        }
    }

    #[test]
    fn an_automaton_that_wants_a_million_states_gives_up_within_its_cache() {
        let lazy = Lazy::build(patterns(|nth| format!("*[ab]{}", "?".repeat(nth + 12)), 20).iter()).unwrap();
        let mut mixed = 1_u32;
        let gave_up = (0..1_000).any(|_| {
            let name: String = (0..100)
                .map(|_| {
                    mixed = mixed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    if mixed >> 31 == 0 { 'a' } else { 'x' }
                })
                .collect();
            lazy.find(&name, |_| {}).is_err()
        });
        assert!(gave_up);
        let bytes = CACHES.with_borrow(|caches| caches[0].1.memory_usage());
        assert!(bytes <= 2 * CACHE_BYTES_MAX, "{bytes} bytes");
    }

    #[test]
    fn globs_with_a_memory_are_left_out() {
        for (text, suited) in [
            ("[ab]*", true),
            ("[ab]??[cd]*[0-9]", true),
            ("*[ab]*?*", true),
            ("[ab]?", true),
            ("*[ab]?", false),
            ("*[ab][cd]*", false),
            ("[ab]*??", false),
        ] {
            assert_eq!(suits(&Pattern::parse(text).unwrap()), suited, "{text}");
        }
    }

    #[test]
    fn few_globs_and_heavy_ones_are_left_out() {
        assert_eq!(fitting(patterns(|_| "[ab]*".into(), ONE_BY_ONE_MAX).iter()), 0);
        let mut mixed = patterns(|nth| format!("[ab]{}", "?".repeat(if nth < 50 { 2 } else { 900 })), 60);
        mixed.sort_by_key(weight);
        assert_eq!(fitting(mixed.iter()), 50);
    }
}
