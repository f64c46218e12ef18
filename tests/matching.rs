//! Globs mean what CPython says they mean, one at a time and all at once.
//!
//! Three authorities, in order: Python's own `fnmatch.fnmatchcase`, asked on this machine; the table of cases in
//! `data/patterns.txt`, which Python has to agree with; and `Pattern`, which the set has to agree with.

#![allow(clippy::unwrap_used, clippy::panic, reason = "in a test a panic is the report")]

#[path = "support/pattern_table.rs"]
mod pattern_table;
#[path = "support/random_globs.rs"]
mod random_globs;

use codomyrmex_events::{PATTERN_BYTES_MAX, Pattern, PatternError, PatternSet};
use proptest::prelude::*;
use random_globs::Random;
use std::collections::HashMap;
use std::fmt::Write as _;
use std::hash::{BuildHasher, RandomState};
use std::io::Write as _;
use std::process::{Command, Stdio};

const SEED_VARIABLE: &str = "MATCHING_SEED";

#[test]
fn each_row_of_the_table_holds_for_a_pattern_alone() {
    for row in pattern_table::rows() {
        let pattern = Pattern::parse(&row.pattern).unwrap();
        assert_eq!(pattern.matches(&row.name), row.matches, "{row}");
        assert_eq!(
            matching(&PatternSet::build(&[pattern]), &row.name),
            &[0][..usize::from(row.matches)],
            "{row}"
        );
    }
}

#[test]
fn each_row_of_the_table_holds_in_one_set_of_them_all() {
    let rows = pattern_table::rows();
    let patterns: Vec<Pattern> = rows.iter().map(|row| Pattern::parse(&row.pattern).unwrap()).collect();
    let set = PatternSet::build(&patterns);
    assert_eq!(set.len(), rows.len());
    for (own, row) in (0..).zip(&rows) {
        let found = matching(&set, &row.name);
        assert_eq!(found, one_by_one(&patterns, &row.name), "name of {row}");
        assert_eq!(found.contains(&own), row.matches, "{row}");
    }
}

#[test]
fn python_agrees_with_the_table() {
    let rows = pattern_table::rows();
    let pairs: Vec<(String, String)> =
        rows.iter().map(|row| (row.pattern.clone(), row.name.clone())).collect();
    for (row, answer) in rows.iter().zip(ask_python(&pairs)) {
        assert_eq!(row.matches, answer, "Python says {answer}: {row}");
    }
}

#[test]
fn python_agrees_on_random_and_hostile_pairs() {
    let seed = seed();
    let random = &mut Random::new(seed);
    let pairs: Vec<(String, String)> = (0..30_000)
        .map(|_| {
            let pattern = random_globs::pattern(random);
            let name = random_globs::name(random, &pattern);
            (pattern, name)
        })
        .collect();
    let answers = ask_python(&pairs);
    for ((pattern, name), &expected) in pairs.iter().zip(&answers) {
        let pattern = Pattern::parse(pattern).unwrap();
        assert_eq!(pattern.matches(name), expected, "{pattern:?} on {name:?}; {SEED_VARIABLE}={seed}");
        let found = matching(&PatternSet::build(std::slice::from_ref(&pattern)), name);
        assert_eq!(found.len() == 1, expected, "set of {pattern:?} on {name:?}; {SEED_VARIABLE}={seed}");
    }
    // A generator whose names never match, or always do, would prove nothing.
    let matched = answers.iter().filter(|&&answer| answer).count();
    assert!((3_000..27_000).contains(&matched), "{matched} of {} match; {SEED_VARIABLE}={seed}", pairs.len());
}

#[test]
fn a_set_of_random_globs_finds_what_each_of_them_finds() {
    let seed = seed();
    let random = &mut Random::new(seed);
    for size in [1, 2, 3, 10, 50, 300, 1_000, 3_000] {
        let texts: Vec<String> = (0..size).map(|_| random_globs::pattern(random)).collect();
        let patterns: Vec<Pattern> = texts.iter().map(|text| Pattern::parse(text).unwrap()).collect();
        let set = PatternSet::build(&patterns);
        for _ in 0..200 {
            let near = random.below(size);
            let name = random_globs::name(random, &texts[near]);
            let expected = one_by_one(&patterns, &name);
            assert_eq!(matching(&set, &name), expected, "{size} globs on {name:?}; {SEED_VARIABLE}={seed}");
        }
    }
}

proptest! {
    #[test]
    fn a_set_agrees_with_its_patterns(
        texts in prop::collection::vec("[ab.*?\\[\\]!é-]{0,9}", 0..40),
        names in prop::collection::vec("[ab.\\[!é-]{0,12}", 1..8),
    ) {
        let patterns: Vec<Pattern> = texts.iter().map(|text| Pattern::parse(text).unwrap()).collect();
        let set = PatternSet::build(&patterns);
        prop_assert_eq!(set.len(), patterns.len());
        prop_assert_eq!(set.is_empty(), patterns.is_empty());
        for name in &names {
            prop_assert_eq!(matching(&set, name), one_by_one(&patterns, name), "on {:?}", name);
        }
    }

    #[test]
    fn a_text_without_special_characters_matches_itself_only(text in "[^*?\\[]{0,40}", other in ".{0,40}") {
        let pattern = Pattern::parse(&text).unwrap();
        prop_assert!(pattern.matches(&text));
        prop_assert_eq!(pattern.matches(&other), text == other);
    }

    #[test]
    fn every_name_can_be_quoted(name in "(?s).{0,60}") {
        let quoted: String = name
            .chars()
            .map(|c| if matches!(c, '*' | '?' | '[') { format!("[{c}]") } else { c.to_string() })
            .collect();
        let pattern = Pattern::parse(&quoted).unwrap();
        prop_assert!(pattern.matches(&name));
        let longer = format!("{name}x");
        prop_assert!(!pattern.matches(&longer));
    }

    #[test]
    fn stars_around_a_text_find_it_anywhere(before in ".{0,20}", text in "[^*?\\[]{1,30}", after in ".{0,20}") {
        let name = format!("{before}{text}{after}");
        let texts = [format!("*{text}*"), format!("{before}*"), format!("*{after}"), "?".repeat(name.chars().count())];
        let literal = |text: &str| !text.contains(['*', '?', '[']);
        for text in texts.iter().filter(|text| text.starts_with('?') || literal(text.trim_matches('*'))) {
            prop_assert!(Pattern::parse(text).unwrap().matches(&name), "{:?} on {:?}", text, name);
        }
    }
}

#[test]
fn a_pattern_over_the_limit_is_refused_with_its_size() {
    assert!(Pattern::parse(&"é".repeat(PATTERN_BYTES_MAX / 2)).is_ok());
    let error = Pattern::parse(&"*".repeat(PATTERN_BYTES_MAX + 1)).unwrap_err();
    assert_eq!((error.bytes(), error.bytes_max()), (1_025, 1_024));
    assert_eq!(error.to_string(), "a pattern must be at most 1024 bytes, not 1025");
    assert_eq!("?".repeat(2_000).parse::<Pattern>(), Pattern::try_from(&*"?".repeat(2_000)));
}

#[test]
fn patterns_are_equal_by_text() {
    let texts = ["a*", "a**", "", "[a]*"];
    let by_text: HashMap<Pattern, usize> =
        texts.iter().enumerate().map(|(at, text)| (Pattern::parse(text).unwrap(), at)).collect();
    for (at, text) in texts.into_iter().enumerate() {
        let again: Pattern = text.parse().unwrap();
        assert_eq!(by_text[&again], at);
        assert_eq!((again.as_str(), again.to_string().as_str()), (text, text));
    }
    assert_eq!(
        format!("{:>6}|{:?}", "a*".parse::<Pattern>().unwrap(), "b".parse::<Pattern>().unwrap()),
        "    a*|Pattern(\"b\")"
    );
}

#[test]
fn a_set_keeps_what_the_buffer_held_and_reports_equal_patterns_each() {
    let patterns = ["a*", "*", "a*", "b", "*a*", "a", "a*"].map(|text| Pattern::parse(text).unwrap());
    let set = PatternSet::build(&patterns);
    let mut out = vec![9, 7];
    set.matches_into("a", &mut out);
    set.matches_into("", &mut out);
    assert_eq!(out, [9, 7, 0, 1, 2, 4, 5, 6, 1]);
    assert!(PatternSet::build(&[]).is_empty());
    assert!(matching(&PatternSet::default(), "a").is_empty());
}

#[test]
fn everything_can_be_sent_and_shared() {
    fn check<T: Send + Sync + Unpin + std::panic::UnwindSafe + std::panic::RefUnwindSafe + 'static>() {}
    check::<Pattern>();
    check::<PatternSet>();
    check::<PatternError>();
}

fn matching(set: &PatternSet, name: &str) -> Vec<u32> {
    let mut out = Vec::new();
    set.matches_into(name, &mut out);
    out
}

fn one_by_one(patterns: &[Pattern], name: &str) -> Vec<u32> {
    (0..).zip(patterns).filter(|(_, pattern)| pattern.matches(name)).map(|(at, _)| at).collect()
}

/// The seed of this run: a new one each time, unless the variable names one.
fn seed() -> u64 {
    match std::env::var(SEED_VARIABLE) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{SEED_VARIABLE} is not a number: {text:?}")),
        Err(_) => RandomState::new().hash_one(()),
    }
}

/// What `fnmatch.fnmatchcase` answers to each (pattern, name).
fn ask_python(pairs: &[(String, String)]) -> Vec<bool> {
    const SCRIPT: &str = "
import fnmatch, sys
text = lambda field: bytes.fromhex(field).decode('utf-8')
for line in sys.stdin.read().splitlines():
    pattern, name = map(text, line.split('/'))
    sys.stdout.write('01'[fnmatch.fnmatchcase(name, pattern)])
";
    let mut questions = String::new();
    for (pattern, name) in pairs {
        let hex = |text: &str| {
            text.bytes().fold(String::new(), |mut hex, byte| {
                write!(hex, "{byte:02x}").unwrap();
                hex
            })
        };
        writeln!(questions, "{}/{}", hex(pattern), hex(name)).unwrap();
    }
    let mut python = Command::new("python3")
        .args(["-W", "ignore", "-c", SCRIPT])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| {
            panic!("python3 is needed: its fnmatch is what patterns are held to ({error})")
        });
    // Python reads everything before it answers, so neither side can wait for the other.
    python.stdin.take().unwrap().write_all(questions.as_bytes()).unwrap();
    let output = python.wait_with_output().unwrap();
    assert!(output.status.success(), "python3 failed: {}", output.status);
    assert_eq!(output.stdout.len(), pairs.len(), "python3 must answer every question");
    output.stdout.iter().map(|&answer| answer == b'1').collect()
}
