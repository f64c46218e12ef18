//! Character classes: what stands between `[` and `]`.
//!
//! CPython does not interpret a class, it rewrites it into a regular expression, and the rewriting has corners
//! that users can see. They are kept, because the promise is CPython's answer and not a tidier one:
//!
//! - a hyphen makes a range only where CPython's search for hyphens finds it: never as the first character
//!   (after `!`), and never within three characters after the previous one;
//! - a range that runs backwards is removed, and what is left closes up; so `[z-a]` matches nothing, `[!z-a]`
//!   matches anything;
//! - the sign is read *after* that removal, so `[z-a!b]` is everything except `b`, and `[z-a!-c]` everything
//!   except `-` and `c`.
//!
//! Everything else in brackets is itself: `\`, `^`, `[`, `&&`, `||` and `~~` have no meaning here.

use std::fmt::Write;

/// What a pair of brackets turned out to mean.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Meaning {
    /// Exactly the one character that stands there.
    Itself,
    /// Any character at all, as `?` does.
    Anything,
    /// No character whatever.
    Nothing,
    /// One character of a set.
    OneOf(Class),
}

/// A set of characters.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Class {
    /// The answer for each ASCII character, sign included.
    ascii: [u64; 2],
    /// Everything else: ascending ranges that neither overlap nor touch, sign not included.
    ranges: Box<[(char, char)]>,
    negated: bool,
}

impl Class {
    pub(super) fn contains(&self, c: char) -> bool {
        let code = c as usize;
        if code < 128 { self.ascii[code / 64] >> (code % 64) & 1 == 1 } else { self.contains_by_range(c) }
    }

    fn contains_by_range(&self, c: char) -> bool {
        let next = self.ranges.partition_point(|&(_, last)| last < c);
        let inside = self.ranges.get(next).is_some_and(|&(first, _)| first <= c);
        inside != self.negated
    }

    /// The size of the class, in ranges.
    pub(super) fn weight(&self) -> usize {
        self.ranges.len().max(1)
    }

    /// Appends the class as regular-expression syntax.
    pub(super) fn write_regex(&self, regex: &mut String) {
        regex.push_str(if self.negated { "[^" } else { "[" });
        for &(first, last) in &self.ranges {
            let written = write!(regex, "\\x{{{:x}}}-\\x{{{:x}}}", first as u32, last as u32);
            debug_assert!(written.is_ok(), "writing to a String cannot fail");
        }
        regex.push(']');
    }

    fn new(mut ranges: Vec<(char, char)>, negated: bool) -> Self {
        ranges.sort_unstable();
        ranges.dedup_by(|next, kept| {
            let touches = next.0 as u32 <= kept.1 as u32 + 1;
            if touches {
                kept.1 = kept.1.max(next.1);
            }
            touches
        });
        let mut class = Self { ascii: [0; 2], ranges: ranges.into(), negated };
        for code in 0..128_u8 {
            let inside = u64::from(class.contains_by_range(char::from(code)));
            class.ascii[usize::from(code) / 64] |= inside << (code % 64);
        }
        class
    }
}

/// Reads what stands between the brackets, a leading `!` included.
pub(super) fn parse(inside: &str) -> Meaning {
    let chars: Vec<char> = inside.chars().collect();
    if let [only] = chars[..]
        && only != '!'
    {
        return Meaning::Itself;
    }
    let mut ranges = ranges_as_written(&chars);
    ranges.retain(|&(first, last)| first <= last);
    match ranges.first().copied() {
        None => Meaning::Nothing,
        Some(('!', '!')) if ranges.len() == 1 => Meaning::Anything,
        Some(('!', last)) => {
            ranges.remove(0);
            if last != '!' {
                // The range lost its first end to the sign: hyphen and second end are left, as themselves.
                ranges.extend([('-', '-'), (last, last)]);
            }
            Meaning::OneOf(Class::new(ranges, true))
        }
        Some(_) => Meaning::OneOf(Class::new(ranges, false)),
    }
}

/// The members in the order written, single characters as ranges of one, backward ranges as they stand.
fn ranges_as_written(chars: &[char]) -> Vec<(char, char)> {
    let mut ranges = Vec::with_capacity(chars.len());
    let single = |&c: &char| (c, c);
    let mut next = 0;
    let mut hyphens_from = if chars.first() == Some(&'!') { 2 } else { 1 };
    while let Some(hyphen) = position_from(chars, hyphens_from, '-') {
        let Some(&last) = chars.get(hyphen + 1) else { break };
        ranges.extend(chars[next..hyphen - 1].iter().map(single));
        ranges.push((chars[hyphen - 1], last));
        next = hyphen + 2;
        hyphens_from = hyphen + 3;
    }
    ranges.extend(chars[next..].iter().map(single));
    ranges
}

fn position_from(chars: &[char], from: usize, wanted: char) -> Option<usize> {
    chars.get(from..)?.iter().position(|&c| c == wanted).map(|offset| from + offset)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn members(inside: &str) -> String {
        match parse(inside) {
            Meaning::OneOf(class) => ('\0'..='\u{ff}').filter(|&c| class.contains(c)).collect(),
            other => format!("{other:?}"),
        }
    }

    #[test]
    fn a_class_holds_what_cpython_says() {
        for (inside, expected) in [
            ("abc", "abc"),
            ("a", "Itself"),
            ("a-d", "abcd"),
            ("a-", "-a"),
            ("-a", "-a"),
            ("--0", "-./0"),
            ("a-c-e", "-abce"),
            ("a-c--e", "-./0123456789:;<=>?@ABCDEFGHIJKLMNOPQRSTUVWXYZ[\\]^_`abcde"),
            ("z-a", "Nothing"),
            ("!z-a", "Anything"),
            ("z-ab", "b"),
            ("z-a!", "Anything"),
            ("az-by", "ay"),
            ("z-ay-b", "Nothing"),
            ("]-a", "]^_`a"),
            ("^a", "^a"),
            ("[&&~", "&[~"),
            ("\\", "Itself"),
            ("\\-a", "\\]^_`a"),
        ] {
            assert_eq!(members(inside), expected, "[{inside}]");
        }
    }

    #[test]
    fn the_sign_is_read_after_backward_ranges_are_gone() {
        for (inside, outside) in [("z-a!b", "b"), ("z-a!-c", "-c"), ("!a", "a"), ("!-a", "-a"), ("!!", "!")] {
            let Meaning::OneOf(class) = parse(inside) else { panic!("[{inside}] is a class") };
            let missing: String = ('\0'..='\u{2ff}').filter(|&c| !class.contains(c)).collect();
            assert_eq!(missing, outside, "[{inside}]");
        }
    }

    #[test]
    fn wide_characters_are_found_by_range() {
        let Meaning::OneOf(class) = parse("à-üα-ω😀") else { panic!("a class") };
        assert!(['à', 'ç', 'ω', '😀'].into_iter().all(|c| class.contains(c)));
        assert!(!['a', 'Ω', '😁'].into_iter().any(|c| class.contains(c)));
    }
}
