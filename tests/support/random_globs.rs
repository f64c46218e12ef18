//! Random patterns and names that are likely to be awkward: small alphabets, brackets everywhere, names made from
//! the pattern so that they nearly match.

/// A small generator (SplitMix64): the whole run follows from its seed.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `bound`.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    pub(crate) fn pick<'a, T: ?Sized>(&mut self, from: &[&'a T]) -> &'a T {
        from[self.below(from.len())]
    }
}

const ORDINARY: &[&str] = &[
    "a", "b", "c", "ab", "abc", ".", "build", "task", "start", "complete", "0", "9", "-", "_", "é", "日本",
    "😀",
];
const SPECIAL: &[&str] = &["*", "?", "[ab]", "[!a]", "[a-c]", "[0-9]", "[!a-c]", "**", "*?", "?*"];
const BRACKETS: &[&str] = &[
    "[",
    "]",
    "!",
    "-",
    "^",
    "\\",
    "&",
    "&&",
    "|",
    "||",
    "~",
    "~~",
    "a",
    "b",
    "z",
    "-a",
    "z-",
    "[!",
    "[]",
    "[^",
    "--",
    "*",
    "?",
    "\n",
    "é",
    "ü",
    "😀",
    "😂",
    "]-",
    "z-a",
    "!-",
    "A",
    "0",
    "+",
    "$",
    "(",
    "\0",
    "[:alpha:]",
];

/// A pattern of at most 1,024 bytes.
pub(crate) fn pattern(random: &mut Random) -> String {
    let (parts_max, brackets_share) = match random.below(8) {
        0 => (40, 50),
        1 | 2 => (12, 100),
        3 | 4 => (8, 50),
        _ => (6, 0),
    };
    let mut text = String::new();
    for _ in 0..random.below(parts_max) + 1 {
        let part = if random.below(100) < brackets_share {
            random.pick(BRACKETS)
        } else if random.below(2) == 0 {
            random.pick(SPECIAL)
        } else {
            random.pick(ORDINARY)
        };
        text.push_str(part);
    }
    text
}

/// A name, as often as not one that the pattern nearly describes.
pub(crate) fn name(random: &mut Random, pattern: &str) -> String {
    if random.below(5) == 0 {
        let parts = random.below(8);
        let alphabet = if random.below(2) == 0 { ORDINARY } else { BRACKETS };
        return (0..parts).map(|_| random.pick(alphabet)).collect();
    }
    let mut name = String::new();
    let mut rest = pattern;
    while let Some(c) = rest.chars().next() {
        rest = &rest[c.len_utf8()..];
        match c {
            '*' => (0..random.below(3)).for_each(|_| name.push_str(random.pick(ORDINARY))),
            '?' => name.push_str(random.pick(&["a", "b", "z", "é", "😀", "\n", "-"])),
            // Skip to the end of the class, if it looks like one, and stand something of it in its place.
            '[' if rest.contains(']') && random.below(8) > 0 => {
                let end =
                    rest.char_indices().skip(1).find(|&(_, c)| c == ']').map_or(rest.len(), |(at, _)| at);
                let inside: Vec<char> = rest[..end].chars().collect();
                let member = if random.below(4) == 0 { 'm' } else { inside[random.below(inside.len())] };
                name.push(member);
                rest = rest.get(end + 1..).unwrap_or_default();
            }
            other => name.push(other),
        }
    }
    if random.below(4) == 0 {
        let at = name
            .char_indices()
            .map(|(at, _)| at)
            .nth(random.below(name.chars().count() + 1))
            .unwrap_or(name.len());
        name.insert_str(at, random.pick(BRACKETS));
    }
    name
}
