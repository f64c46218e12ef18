//! A parsed glob and its matcher.
//!
//! The text is cut once into atoms; literal atoms are ranges of the text, so an ordinary pattern costs its own
//! bytes and a few more. Stars cut the atoms into *pieces*, each of which matches a fixed number of characters. That
//! makes matching simple: the first piece must stand at the front, the last at the end, and each piece between them is
//! taken where it first occurs. Taking the first occurrence never loses a match, because it leaves the most room
//! for what follows; so nothing is ever tried twice, and a match costs at most pattern length times name length,
//! however many stars there are. Nothing here allocates after parsing.

use super::class::{self, Class, Meaning};

/// One step of a glob.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Atom {
    /// The bytes `start..end` of the text, as they are.
    Literal { start: u16, end: u16 },
    /// This many characters, whatever they are.
    Any(u16),
    /// One character of the numbered class.
    Class(u16),
    /// Any run of characters; never two in a row.
    Star,
    /// Cannot match.
    Never,
}

/// A glob: its text, and what the text means.
pub(super) struct Glob {
    text: Box<str>,
    atoms: Box<[Atom]>,
    classes: Box<[Class]>,
}

impl Glob {
    /// Reads a pattern; every text of at most `u16::MAX` bytes is one.
    pub(super) fn parse(text: &str) -> Self {
        let mut reader = Reader { text, atoms: Vec::new(), classes: Vec::new() };
        reader.read();
        Self { text: text.into(), atoms: reader.atoms.into(), classes: reader.classes.into() }
    }

    pub(super) fn text(&self) -> &str {
        &self.text
    }

    pub(super) fn atoms(&self) -> &[Atom] {
        &self.atoms
    }

    pub(super) fn literal(&self, start: u16, end: u16) -> &str {
        &self.text[usize::from(start)..usize::from(end)]
    }

    pub(super) fn class(&self, number: u16) -> &Class {
        &self.classes[usize::from(number)]
    }

    pub(super) fn matches(&self, name: &str) -> bool {
        match *self.atoms {
            [] => name.is_empty(),
            [Atom::Star] => true,
            [Atom::Literal { start, end }] => name == self.literal(start, end),
            [Atom::Literal { start, end }, Atom::Star] => name.starts_with(self.literal(start, end)),
            [Atom::Star, Atom::Literal { start, end }] => name.ends_with(self.literal(start, end)),
            _ => self.matches_pieces(name),
        }
    }

    fn matches_pieces(&self, name: &str) -> bool {
        let mut pieces = self.atoms.split(|atom| *atom == Atom::Star);
        let head = pieces.next().unwrap_or_default();
        let Some(rest) = self.strip_front(head, name) else { return false };
        let Some(tail) = pieces.next_back() else { return rest.is_empty() };
        let Some(mut rest) = self.strip_back(tail, rest) else { return false };
        for piece in pieces {
            let Some(after) = self.skip_past(piece, rest) else { return false };
            rest = after;
        }
        true
    }

    /// What follows `piece` in `name`, if the name begins with it.
    fn strip_front<'n>(&self, piece: &[Atom], mut name: &'n str) -> Option<&'n str> {
        for atom in piece {
            name = match *atom {
                Atom::Literal { start, end } => name.strip_prefix(self.literal(start, end))?,
                Atom::Any(count) => {
                    let mut chars = name.chars();
                    chars.nth(usize::from(count) - 1)?;
                    chars.as_str()
                }
                Atom::Class(number) => {
                    let mut chars = name.chars();
                    chars.next().filter(|&c| self.class(number).contains(c))?;
                    chars.as_str()
                }
                Atom::Star | Atom::Never => return None,
            }
        }
        Some(name)
    }

    /// What comes before `piece` in `name`, if the name ends with it.
    fn strip_back<'n>(&self, piece: &[Atom], mut name: &'n str) -> Option<&'n str> {
        for atom in piece.iter().rev() {
            name = match *atom {
                Atom::Literal { start, end } => name.strip_suffix(self.literal(start, end))?,
                Atom::Any(count) => {
                    let mut chars = name.chars();
                    chars.nth_back(usize::from(count) - 1)?;
                    chars.as_str()
                }
                Atom::Class(number) => {
                    let mut chars = name.chars();
                    chars.next_back().filter(|&c| self.class(number).contains(c))?;
                    chars.as_str()
                }
                Atom::Star | Atom::Never => return None,
            }
        }
        Some(name)
    }

    /// What follows the first occurrence of `piece` in `name`.
    fn skip_past<'n>(&self, piece: &[Atom], mut name: &'n str) -> Option<&'n str> {
        loop {
            if let Some(Atom::Literal { start, end }) = piece.first() {
                // The first byte of a literal begins a character, so it is only ever found at a boundary.
                let first = *self.literal(*start, *end).as_bytes().first()?;
                name = &name[name.bytes().position(|byte| byte == first)?..];
            }
            if let Some(after) = self.strip_front(piece, name) {
                return Some(after);
            }
            let mut chars = name.chars();
            chars.next()?;
            name = chars.as_str();
        }
    }
}

struct Reader<'t> {
    text: &'t str,
    atoms: Vec<Atom>,
    classes: Vec<Class>,
}

impl Reader<'_> {
    fn read(&mut self) {
        let text = self.text;
        // Looked up once: a search from every `[` of a text full of them would be quadratic.
        let last_closing = text.rfind(']');
        let mut literal_from = 0;
        let mut at = 0;
        while let Some(offset) = text[at..].find(['*', '?', '[']) {
            let special = at + offset;
            at = special + 1;
            let bracket_end = match text.as_bytes()[special] {
                b'[' => match closing_bracket(text, at, last_closing) {
                    Some(end) => Some(end),
                    None => continue,
                },
                _ => None,
            };
            self.push_literal(literal_from, special);
            match bracket_end {
                Some(end) => {
                    self.push_class(at, end);
                    at = end + 1;
                }
                None if text.as_bytes()[special] == b'?' => self.push_any(),
                None => self.push_star(),
            }
            literal_from = at;
        }
        self.push_literal(literal_from, text.len());
    }

    fn push_literal(&mut self, start: usize, end: usize) {
        if start < end {
            self.atoms.push(Atom::Literal { start: offset(start), end: offset(end) });
        }
    }

    fn push_any(&mut self) {
        if let Some(Atom::Any(count)) = self.atoms.last_mut() {
            *count += 1;
        } else {
            self.atoms.push(Atom::Any(1));
        }
    }

    fn push_star(&mut self) {
        if self.atoms.last() != Some(&Atom::Star) {
            self.atoms.push(Atom::Star);
        }
    }

    fn push_class(&mut self, start: usize, end: usize) {
        match class::parse(&self.text[start..end]) {
            Meaning::Itself => self.push_literal(start, end),
            Meaning::Anything => self.push_any(),
            Meaning::Nothing => self.atoms.push(Atom::Never),
            Meaning::OneOf(class) => {
                self.atoms.push(Atom::Class(offset(self.classes.len())));
                self.classes.push(class);
            }
        }
    }
}

/// Where the class that opened just before `start` closes: a `]` that comes first is a member, not the end.
fn closing_bracket(text: &str, start: usize, last_closing: Option<usize>) -> Option<usize> {
    let mut from = start;
    for member in [b'!', b']'] {
        from += usize::from(text.as_bytes().get(from) == Some(&member));
    }
    if last_closing? < from { None } else { text[from..].find(']').map(|offset| from + offset) }
}

fn offset(bytes: usize) -> u16 {
    u16::try_from(bytes).expect("Invariant: Pattern::parse bounds the text far below 64 KiB")
}
