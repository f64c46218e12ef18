//! Sets made to hurt: they must compile and match, correctly, within memory that follows from their size.
//!
//! No time is asserted here. A watchdog ends what hangs, after far longer than anything takes.

#![allow(clippy::unwrap_used, clippy::panic, reason = "in a test a panic is the report")]

#[path = "support/allocations.rs"]
mod allocations;

use codomyrmex_events::{PATTERN_BYTES_MAX, Pattern, PatternSet};
use std::sync::{Arc, Barrier, mpsc};
use std::thread;
use std::time::Duration;

/// What a set may hold for each pattern, however long; the patterns themselves are shared with it.
const BYTES_PER_PATTERN_MAX: usize = 512;
/// What it may hold besides, and what a thread may hold while it matches: one bounded automaton.
const BYTES_FIXED_MAX: usize = 1 << 20;
/// How much more it may take while it is built.
const BUILDING_FACTOR_MAX: usize = 3;

#[test]
fn many_stars() {
    let stars =
        |middle: &str, end: &str| format!("{}{end}", format!("*{middle}").repeat(960 / (middle.len() + 1)));
    let texts = (0..1_000).map(|nth| stars(["a", "ab", "?", "[ab]", "a?"][nth % 5], &"b".repeat(nth % 40)));
    check(texts, &["a".repeat(256), "ab".repeat(128), "a".repeat(4_000), "b".into(), String::new()]);
}

#[test]
fn ten_thousand_infixes() {
    let texts = (0..10_000).map(|nth| format!("*infix{nth}*"));
    check(texts, &["infix77".into(), "a.infix1234.infix77".into(), "infix".repeat(50), "none".into()]);
}

#[test]
fn ten_thousand_suffixes_and_prefixes_of_every_length() {
    let texts = (0..10_000).map(|nth| match nth % 2 {
        0 => format!("{}*{nth}", "a".repeat(nth % 900)),
        _ => format!("{nth}*{}", "a".repeat(nth % 900)),
    });
    check(texts, &["a".repeat(256), format!("{}40", "a".repeat(40)), format!("41{}", "a".repeat(41))]);
}

#[test]
fn ten_thousand_globs_share_every_piece() {
    check((0..10_000).map(|_| String::from("*a*")), &["a".into(), "b".into(), "banana".repeat(40)]);
    let same_pieces =
        (0..10_000).map(|nth| format!("*a{}*a{}", "?".repeat(nth % 100), "?".repeat(nth / 100)));
    check(same_pieces, &["a".repeat(256), "banana".repeat(10), "aa".into()]);
    check(
        (0..10_000).map(|nth| format!("*{}*", "a".repeat(nth % 1_000 + 1))),
        &["a".repeat(256), "a".repeat(20_000)],
    );
}

#[test]
fn a_million_states_are_tempting() {
    let tempting =
        |nth: usize| format!("*[ab{}]{}", char::from(b'c' + (nth % 20) as u8), "?".repeat(nth % 40));
    let names: Vec<String> = (0..200_u32)
        .map(|seed| {
            (0..200_u32)
                .map(|at| if (seed * 7919 + at * at * 31) >> (at % 13) & 1 == 0 { 'a' } else { 'x' })
                .collect()
        })
        .collect();
    check((0..25).map(tempting), &names);
    check((0..2_000).map(tempting), &names[..20]);
    check((0..40).map(|nth| format!("*a????????????????????{}", "?".repeat(nth))), &names[..20]);
}

#[test]
fn every_order_of_letters_is_a_state() {
    let letters = |nth: usize| ('a'..='z').cycle().skip(nth).take(2).collect::<String>();
    let text =
        |nth: usize| format!("*[{}]*[{}]*[{}]*", letters(nth % 26), letters(nth % 25), letters(nth % 23));
    let mut mixed = 1_u32;
    let mut letter = move || {
        mixed = mixed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        char::from(b'a' + (mixed >> 24) as u8 % 26)
    };
    let names: Vec<String> = (0..300).map(|_| (0..60).map(|_| letter()).collect()).collect();
    check((0..120).map(text), &names);
    check((0..5_000).map(text), &names[..30]);
}

#[test]
fn thousands_of_the_longest_patterns() {
    let long = |nth: usize, c: char| format!("{nth}*{}", c.to_string().repeat(PATTERN_BYTES_MAX - 8));
    check(
        (0..3_000).map(|nth| long(nth, 'a')),
        &["a".repeat(256), format!("7{}", "a".repeat(PATTERN_BYTES_MAX))],
    );
    check(
        (0..3_000).map(|nth| long(nth, '?')),
        &["a".repeat(256), format!("7{}", "é".repeat(PATTERN_BYTES_MAX))],
    );
    let distinct =
        |nth: usize| (0..140).fold(String::new(), |text, at| text + &format!("*{:05}", nth * 140 + at));
    check((0..3_000).map(distinct), &[distinct(1234), "00001".into()]);
    let one_infix = |nth: usize| format!("*{}*", format!("{nth:08}").repeat(127));
    check((0..3_000).map(one_infix), &["00000017".repeat(128), "00000017".repeat(30)]);
}

#[test]
fn question_marks_only() {
    check(
        (0..5_000).map(|nth| "?".repeat(nth % 1_025)),
        &["é".repeat(1_024), "a".repeat(256), String::new()],
    );
    check((0..5_000).map(|nth| format!("*{}", "?".repeat(nth % 1_024))), &["é".repeat(1_024), String::new()]);
}

#[test]
fn huge_classes() {
    // Five hundred characters that no two of which touch: as many ranges as a pattern can hold.
    let class = |nth: usize| {
        (0..500)
            .map(|at| char::from_u32(0x100 + ((at * 3 + nth) as u32 % 0x6ff)).unwrap())
            .collect::<String>()
    };
    let texts = (0..1_000).map(|nth| match nth % 3 {
        0 => format!("[{}]*", class(nth)),
        1 => format!("[!{}]", class(nth)),
        _ => format!("*[{}]?", class(nth)),
    });
    check(texts, &["Ā".into(), "aĀb".into(), "ăxyz".into(), "ǿǿ".repeat(100)]);
    check((0..2_000).map(|nth| "[a-z]".repeat(nth % 204 + 1)), &["a".repeat(100), "a".into(), "é".into()]);
}

#[test]
fn brackets_that_never_close() {
    check((0..2_000).map(|nth| "[".repeat(nth % 1_024 + 1)), &["[".into(), "[".repeat(256)]);
    check((0..2_000).map(|nth| "[!]".repeat(nth % 341 + 1)), &["[!]".into(), "[!]!]".into(), "a".into()]);
}

#[test]
fn matching_allocates_nothing_once_it_is_warm() {
    let texts = (0..2_000).map(|nth| match nth % 7 {
        0 => format!("build.{nth}.*"),
        1 => format!("*.{nth}.start"),
        2 => format!("build.*{nth}*"),
        3 => format!("build.{nth}"),
        4 => format!("*[!{}]??", nth % 10),
        5 => format!("*{}", "?".repeat(nth % 20)),
        _ => format!("[a-z]{}*[!{}]", "?".repeat(nth / 70), nth % 10),
    });
    let patterns: Vec<Pattern> = texts.map(|text| Pattern::parse(&text).unwrap()).collect();
    let set = PatternSet::build(&patterns);
    let names: Vec<String> = (0..50).map(|nth| format!("build.{nth}.start")).collect();
    let mut out = Vec::new();
    for round in 0..3 {
        let ((), taken) = allocations::during(|| {
            for name in &names {
                out.clear();
                set.matches_into(name, &mut out);
                assert!(!out.is_empty());
            }
        });
        assert!(round == 0 || taken.calls == 0, "round {round}: {taken:?}");
    }
    let one = Pattern::parse("*b?i[l]d*[0-9]*t").unwrap();
    let (matched, taken) = allocations::during(|| names.iter().filter(|name| one.matches(name)).count());
    assert_eq!((matched, taken.calls), (50, 0));
}

#[test]
fn many_threads_share_more_sets_than_a_thread_keeps_caches_for() {
    let sets: Vec<(Vec<Pattern>, PatternSet)> = (0..9)
        .map(|set| {
            let text =
                |nth: usize| format!("[a-{}]{}*[{}-9]", char::from(b'b' + set), "?".repeat(nth / 9), nth % 9);
            let patterns: Vec<Pattern> = (0..60).map(|nth| Pattern::parse(&text(nth)).unwrap()).collect();
            let set = PatternSet::build(&patterns);
            (patterns, set)
        })
        .collect();
    let sets = Arc::new(sets);
    let together = Arc::new(Barrier::new(8));
    let threads: Vec<_> = (0..8)
        .map(|thread| {
            let (sets, together) = (Arc::clone(&sets), Arc::clone(&together));
            thread::spawn(move || {
                together.wait();
                for nth in 0..500 {
                    let (patterns, set) = &sets[(nth * (thread + 1)) % sets.len()];
                    compare(
                        patterns,
                        set,
                        &format!("{}name{}x{nth}", ["a", "c", "e", "i"][nth % 4], nth % 7),
                    );
                }
            })
        })
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
}

/// Builds the set within its bounds, and compares its answers to those of its patterns one by one.
fn check(texts: impl Iterator<Item = String>, names: &[String]) {
    let patterns: Vec<Pattern> = texts.map(|text| Pattern::parse(&text).unwrap()).collect();
    let names = names.to_vec();
    within_reason(move || {
        let (set, built) = allocations::during(|| PatternSet::build(&patterns));
        let kept_max = patterns.len() * BYTES_PER_PATTERN_MAX + BYTES_FIXED_MAX;
        assert!(built.kept_bytes <= kept_max, "{} patterns: {built:?}", patterns.len());
        assert!(built.peak_bytes <= kept_max * BUILDING_FACTOR_MAX, "{} patterns: {built:?}", patterns.len());
        let ((), matched) =
            allocations::during(|| names.iter().for_each(|name| compare(&patterns, &set, name)));
        let answers_max = patterns.len() * 32;
        assert!(
            matched.peak_bytes <= answers_max + BYTES_FIXED_MAX,
            "{} patterns: {matched:?}",
            patterns.len()
        );
    });
}

fn compare(patterns: &[Pattern], set: &PatternSet, name: &str) {
    let expected: Vec<u32> =
        (0..).zip(patterns).filter(|(_, pattern)| pattern.matches(name)).map(|(at, _)| at).collect();
    let mut found = Vec::new();
    set.matches_into(name, &mut found);
    assert!(
        found == expected,
        "{} patterns on {name:?}: {} found, {} expected",
        patterns.len(),
        found.len(),
        expected.len()
    );
}

/// Runs the work on a thread of its own, and fails if it does not come back.
fn within_reason(work: impl FnOnce() + Send + 'static) {
    let (done, finished) = mpsc::channel();
    let thread = thread::spawn(move || {
        work();
        done.send(()).ok();
    });
    let hung = finished.recv_timeout(Duration::from_secs(300)) == Err(mpsc::RecvTimeoutError::Timeout);
    assert!(!hung, "still running after five minutes");
    if let Err(panic) = thread.join() {
        std::panic::resume_unwind(panic);
    }
}
