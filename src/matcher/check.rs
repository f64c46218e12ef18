//! A glob that has to be tried, and a look at the name's ends that spares most of the trying.
//!
//! What a glob demands of a name's first and last few bytes is kept beside the pointer to it. A name that lacks
//! them is turned away without following the pointer, which among many globs is a cache miss
//! each time (bench `cold`).

use super::glob::{Atom, Glob};
use super::pattern::Pattern;
use super::set::Span;

/// How many bytes of each end are looked at.
const END_BYTES: usize = size_of::<u32>();

/// One distinct glob to be tried, and the members it stands for.
pub(super) struct Check {
    pattern: Pattern,
    pub(super) members: Span,
    wanted: Ends,
    /// Which bits of `wanted` the glob cares about.
    mask: Ends,
}

/// The first and the last bytes of a text, the outermost byte lowest; zero where the text is shorter.
#[derive(Clone, Copy)]
pub(super) struct Ends {
    front: u32,
    back: u32,
}

impl Check {
    pub(super) fn new(pattern: Pattern, members: Span) -> Self {
        let glob = pattern.glob();
        let (front, back) = (literal(glob, glob.atoms().first()), literal(glob, glob.atoms().last()));
        let wanted = Ends { front: Ends::of(front).front, back: Ends::of(back).back };
        let mask = Ends { front: mask(front), back: mask(back) };
        Self { pattern, members, wanted, mask }
    }

    /// Whether the glob matches `name`, whose ends are `ends`.
    pub(super) fn matches(&self, name: &str, ends: Ends) -> bool {
        let front = (ends.front ^ self.wanted.front) & self.mask.front;
        let back = (ends.back ^ self.wanted.back) & self.mask.back;
        front | back == 0 && self.pattern.matches(name)
    }
}

impl Ends {
    pub(super) fn of(text: &str) -> Self {
        let word = |bytes: &mut dyn Iterator<Item = u8>| {
            let mut word = [0; END_BYTES];
            word.iter_mut().zip(bytes).for_each(|(slot, byte)| *slot = byte);
            u32::from_le_bytes(word)
        };
        Self { front: word(&mut text.bytes()), back: word(&mut text.bytes().rev()) }
    }
}

fn literal<'g>(glob: &'g Glob, atom: Option<&Atom>) -> &'g str {
    match atom {
        Some(&Atom::Literal { start, end }) => glob.literal(start, end),
        _ => "",
    }
}

fn mask(literal: &str) -> u32 {
    let bits = literal.len().min(END_BYTES) * 8;
    u32::try_from((1_u64 << bits) - 1).unwrap_or(u32::MAX)
}
