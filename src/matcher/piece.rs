//! Which part of a glob to look for.
//!
//! Nearly every glob holds some literal text, and a name without that text cannot match. So the set looks for
//! *one* literal piece of each glob, all globs at once, and tries a glob only where its piece was found. Any piece
//! would be correct; which one is chosen decides how often a glob is tried in vain. The choice is the piece that
//! the fewest other globs of the set could have chosen: of ten thousand `build.*:target-N`, each is found by its
//! own end, not by the beginning they share. Between pieces equally rare, one that is pinned to an end of the name
//! beats one that floats, and a long one beats a short one.
//!
//! Pieces are cut to a bounded length: beyond it they hardly tell globs apart, and a set of thousand-byte
//! patterns must not become an automaton of millions of states. A cut piece is never proof of a match.

use super::glob::{Atom, Glob};

/// A piece at an end of the name, in bytes.
pub(super) const END_BYTES_MAX: usize = 32;
/// A piece that may be anywhere; shorter, since each byte can become a state of the automaton.
pub(super) const INSIDE_BYTES_MAX: usize = 16;

/// How many pieces inside a glob are considered.
const INSIDE_PIECES_MAX: usize = 8;

/// Where in the name a piece stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Place {
    /// The whole name: the glob has no special character.
    Whole,
    Front,
    Back,
    Inside,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Piece<'p> {
    pub(super) place: Place,
    pub(super) bytes: &'p [u8],
}

/// How a set finds a glob.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Route {
    /// By a literal piece. If `sure`, a name in which the piece is found matches.
    Literal { sure: bool },
    /// By the number of characters alone: the glob is made of `?` and `*`.
    Count { least: usize, open: bool },
    /// By its classes: there is no literal in it.
    Classes,
    /// Not at all: no name can match.
    Never,
}

pub(super) fn route(glob: &Glob) -> Route {
    let atoms = glob.atoms();
    if atoms.contains(&Atom::Never) {
        return Route::Never;
    }
    if atoms.iter().any(|atom| matches!(atom, Atom::Literal { .. })) {
        return Route::Literal { sure: is_sure(atoms) };
    }
    if atoms.iter().any(|atom| matches!(atom, Atom::Class(_))) {
        return Route::Classes;
    }
    let least =
        atoms.iter().map(|atom| if let Atom::Any(count) = atom { usize::from(*count) } else { 0 }).sum();
    Route::Count { least, open: atoms.contains(&Atom::Star) }
}

/// Whether the one literal of the glob, where it must stand, is all that the glob asks.
fn is_sure(atoms: &[Atom]) -> bool {
    let bytes = |start: u16, end: u16| usize::from(end - start);
    match *atoms {
        [Atom::Literal { .. }] => true,
        [Atom::Literal { start, end }, Atom::Star] | [Atom::Star, Atom::Literal { start, end }] => {
            bytes(start, end) <= END_BYTES_MAX
        }
        [Atom::Star, Atom::Literal { start, end }, Atom::Star] => bytes(start, end) <= INSIDE_BYTES_MAX,
        _ => false,
    }
}

/// Pieces by which the glob could be found: those at its ends, and the first few inside.
pub(super) fn pieces(glob: &Glob) -> impl Iterator<Item = Piece<'_>> {
    let (first, last) = (0, glob.atoms().len().saturating_sub(1));
    let literals = move || {
        glob.atoms().iter().enumerate().filter_map(move |(at, atom)| match *atom {
            Atom::Literal { start, end } => Some((at, glob.literal(start, end).as_bytes())),
            _ => None,
        })
    };
    let at_ends = literals().filter_map(move |(at, bytes)| match (at == first, at == last) {
        (true, true) => Some(Piece { place: Place::Whole, bytes }),
        (true, false) => Some(Piece { place: Place::Front, bytes: front(bytes, END_BYTES_MAX) }),
        (false, true) => Some(Piece { place: Place::Back, bytes: back(bytes, END_BYTES_MAX) }),
        (false, false) => None,
    });
    let inside = literals().filter(move |&(at, _)| at != first && at != last).flat_map(|(_, bytes)| {
        let begin = Piece { place: Place::Inside, bytes: front(bytes, INSIDE_BYTES_MAX) };
        let end = Piece { place: Place::Inside, bytes: back(bytes, INSIDE_BYTES_MAX) };
        std::iter::once(begin).chain((begin != end).then_some(end))
    });
    at_ends.chain(inside.take(INSIDE_PIECES_MAX))
}

fn front(bytes: &[u8], bytes_max: usize) -> &[u8] {
    &bytes[..bytes.len().min(bytes_max)]
}

fn back(bytes: &[u8], bytes_max: usize) -> &[u8] {
    &bytes[bytes.len().saturating_sub(bytes_max)..]
}

/// How often a glob found by this piece will be tried, roughly: a share of names.
///
/// What many globs speak of, many names hold; to that is added the chance of finding so short a text by accident,
/// counting a byte of a name as four bits.
pub(super) fn cost(piece: Piece<'_>, sharers: u32, globs: usize) -> f64 {
    let places = if piece.place == Place::Inside { 32.0 } else { 1.0 };
    let accident = places * 16_f64.powi(-i32::try_from(piece.bytes.len()).unwrap_or(i32::MAX));
    f64::from(sharers) / globs.max(1) as f64 + accident
}
