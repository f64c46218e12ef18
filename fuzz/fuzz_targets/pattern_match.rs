//! A pattern alone, the set it is compiled into, and the simplest thing that could be right must agree.
//!
//! The input is text: the first line is the name, each other line a pattern. To the patterns are added rows of the
//! table in `tests/data/patterns.txt`, whose answers are known; the bytes of the input choose them. A failing case is
//! printed as a test to paste into `tests/matching.rs`.
#![no_main]

#[path = "../../tests/support/pattern_table.rs"]
mod pattern_table;

use codomyrmex_events::{Pattern, PatternSet};
use libfuzzer_sys::fuzz_target;
use std::fmt::Write;
use std::sync::LazyLock;

static TABLE: LazyLock<Vec<pattern_table::Row>> = LazyLock::new(pattern_table::rows);

fuzz_target!(|input: &str| {
    let mut lines = input.split('\n').map(|line| line.replace('\r', "\n"));
    let Some(name) = lines.next() else { return };
    let mut patterns: Vec<Pattern> = lines.filter_map(|line| Pattern::parse(&line).ok()).collect();
    for chosen in input.as_bytes().windows(2).take(8) {
        let row = &TABLE[usize::from(u16::from_le_bytes([chosen[0], chosen[1]])) % TABLE.len()];
        let pattern = Pattern::parse(&row.pattern).expect("the table holds patterns");
        assert_eq!(pattern.matches(&row.name), row.matches, "{row}");
        patterns.push(pattern);
    }

    let expected: Vec<u32> = (0..)
        .zip(&patterns)
        .filter(|(_, pattern)| oracle(pattern.as_str(), &name))
        .map(|(at, _)| at)
        .collect();
    let alone: Vec<u32> =
        (0..).zip(&patterns).filter(|(_, pattern)| pattern.matches(&name)).map(|(at, _)| at).collect();
    let mut together = Vec::new();
    PatternSet::build(&patterns).matches_into(&name, &mut together);
    if alone != expected || together != expected {
        eprintln!("{}", as_test(&patterns, &name, &expected));
        panic!("expected {expected:?}, alone {alone:?}, together {together:?}");
    }
});

fn as_test(patterns: &[Pattern], name: &str, expected: &[u32]) -> String {
    let mut test = String::from("#[test]\nfn found_by_fuzzing() {\n    let texts = [\n");
    for pattern in patterns {
        let _ = writeln!(test, "        {:?},", pattern.as_str());
    }
    let _ = write!(
        test,
        "    ];\n    let patterns = texts.map(|text| Pattern::parse(text).unwrap());\n    \
         let name = {name:?};\n    assert_eq!(one_by_one(&patterns, name), {expected:?});\n    \
         assert_eq!(matching(&PatternSet::build(&patterns), name), {expected:?});\n}}\n"
    );
    test
}

/// One step of a pattern: a star, or a test of one character.
enum Step {
    Star,
    One(Box<dyn Fn(char) -> bool>),
}

/// Whether the pattern matches, by filling the whole table of (steps done, characters read).
fn oracle(pattern: &str, name: &str) -> bool {
    let steps = steps(&pattern.chars().collect::<Vec<_>>());
    let mut reached = vec![false; steps.len() + 1];
    reached[0] = true;
    let pass_stars = |reached: &mut Vec<bool>| {
        for (at, step) in steps.iter().enumerate() {
            reached[at + 1] |= reached[at] && matches!(step, Step::Star);
        }
    };
    pass_stars(&mut reached);
    for c in name.chars() {
        let mut next = vec![false; steps.len() + 1];
        for (at, step) in steps.iter().enumerate() {
            match step {
                Step::Star => next[at] |= reached[at],
                Step::One(test) => next[at + 1] |= reached[at] && test(c),
            }
        }
        pass_stars(&mut next);
        reached = next;
    }
    reached[steps.len()]
}

fn steps(pattern: &[char]) -> Vec<Step> {
    let mut steps = Vec::new();
    let mut at = 0;
    while at < pattern.len() {
        let c = pattern[at];
        at += 1;
        steps.push(match c {
            '*' => Step::Star,
            '?' => Step::One(Box::new(|_| true)),
            '[' => {
                let mut end = at;
                end += usize::from(pattern.get(end) == Some(&'!'));
                end += usize::from(pattern.get(end) == Some(&']'));
                while end < pattern.len() && pattern[end] != ']' {
                    end += 1;
                }
                if end < pattern.len() {
                    let class = class(&pattern[at..end]);
                    at = end + 1;
                    Step::One(class)
                } else {
                    Step::One(Box::new(|c| c == '['))
                }
            }
            other => Step::One(Box::new(move |c| c == other)),
        });
    }
    steps
}

/// Follows CPython's rewriting of a class in its own terms: cut into chunks at the hyphens that make ranges, mend the
/// chunks where a range is backward, read the sign, then read the chunks as a regular expression would.
fn class(inside: &[char]) -> Box<dyn Fn(char) -> bool> {
    let mut chunks: Vec<Vec<char>> = Vec::new();
    let mut from = 0;
    let mut look = if inside[0] == '!' { 2 } else { 1 };
    while let Some(hyphen) = (look..inside.len()).find(|&at| inside[at] == '-') {
        chunks.push(inside[from..hyphen].to_vec());
        from = hyphen + 1;
        look = hyphen + 3;
    }
    match &inside[from..] {
        [] => chunks.last_mut().expect("a hyphen came before").push('-'),
        rest => chunks.push(rest.to_vec()),
    }
    for at in (1..chunks.len()).rev() {
        if chunks[at - 1].last() > chunks[at].first() {
            let after = chunks.remove(at);
            chunks[at - 1].pop();
            chunks[at - 1].extend(&after[1..]);
        }
    }
    // `None` is a hyphen that makes a range.
    let mut tokens: Vec<Option<char>> = Vec::new();
    for (nth, chunk) in chunks.iter().enumerate() {
        if nth > 0 {
            tokens.push(None);
        }
        tokens.extend(chunk.iter().map(|&c| Some(c)));
    }
    let negated = tokens.first() == Some(&Some('!'));
    if negated {
        tokens.remove(0);
    }
    let mut ranges = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        let first = tokens[at].unwrap_or('-');
        match (tokens.get(at + 1), tokens.get(at + 2)) {
            (Some(None), Some(last)) => {
                ranges.push((first, last.unwrap_or('-')));
                at += 3;
            }
            _ => {
                ranges.push((first, first));
                at += 1;
            }
        }
    }
    Box::new(move |c| ranges.iter().any(|&(first, last)| first <= c && c <= last) != negated)
}
