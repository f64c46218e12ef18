//! How a [`PatternSet`] is compiled.
//!
//! Two passes over the distinct globs: the first counts how many could be found by each piece, the second files each
//! under its rarest. Everything borrows from the patterns until the end. Nothing here is quadratic, and nothing can
//! fail: what an automaton would refuse is matched one glob at a time instead.

use super::check::Check;
use super::lazy::{self, Lazy};
use super::needles::Needles;
use super::pattern::Pattern;
use super::piece::{self, Piece, Place, Route};
use super::set::{Bucket, FastMap, PatternSet, Span, index};

pub(super) fn build(patterns: &[Pattern]) -> PatternSet {
    let globs = Globs::group(patterns);
    let mut set = PatternSet { len: patterns.len(), ..PatternSet::default() };
    let mut tally = Tally::default();
    let mut by_literal = Vec::new();
    let mut by_classes = Vec::new();
    for (number, pattern) in globs.patterns.iter().enumerate() {
        match piece::route(pattern.glob()) {
            Route::Literal { sure } => {
                piece::pieces(pattern.glob()).for_each(|piece| tally.count(piece));
                by_literal.push((number, sure));
            }
            Route::Count { least, open } => set.counts.insert(least, open, globs.members(number)),
            Route::Classes => by_classes.push(number),
            Route::Never => {}
        }
    }
    set.counts.finish();
    let filed = by_literal
        .into_iter()
        .filter_map(|(glob, sure)| {
            let piece = tally.rarest(globs.patterns[glob], globs.patterns.len())?;
            Some(Filed { piece, unsure: !sure, glob })
        })
        .collect();
    let left = file_by_piece(&mut set, &globs, &tally, filed);
    file_by_classes(&mut set, &globs, by_classes, left);
    set.checks.shrink_to_fit();
    set.members.shrink_to_fit();
    set
}

/// The distinct globs, and which patterns each of them stands for.
struct Globs<'p> {
    patterns: Vec<&'p Pattern>,
    /// Where the members of each glob end; they begin where those of the glob before end.
    ends: Vec<usize>,
    members: Vec<u32>,
}

impl<'p> Globs<'p> {
    fn group(patterns: &'p [Pattern]) -> Self {
        let mut numbers = FastMap::with_capacity_and_hasher(patterns.len(), Default::default());
        let mut distinct = Vec::new();
        let mut ends = Vec::new();
        let glob_of: Vec<usize> = patterns
            .iter()
            .map(|pattern| {
                let number = *numbers.entry(pattern.as_str()).or_insert_with(|| {
                    distinct.push(pattern);
                    ends.push(0);
                    distinct.len() - 1
                });
                ends[number] += 1;
                number
            })
            .collect();
        let mut total = 0;
        for end in &mut ends {
            // For now where its members begin: each one placed below moves it on, at last to their end.
            (total, *end) = (total + *end, total);
        }
        let mut members = vec![0; patterns.len()];
        for (member, &number) in glob_of.iter().enumerate() {
            members[ends[number]] = index(member);
            ends[number] += 1;
        }
        Self { patterns: distinct, ends, members }
    }

    fn members(&self, number: usize) -> &[u32] {
        let start = if number == 0 { 0 } else { self.ends[number - 1] };
        &self.members[start..self.ends[number]]
    }
}

/// How many globs could be found by each piece.
#[derive(Default)]
struct Tally<'p> {
    numbers: FastMap<Piece<'p>, u32>,
    pieces: Vec<(Piece<'p>, u32)>,
}

impl<'p> Tally<'p> {
    fn count(&mut self, piece: Piece<'p>) {
        let number = *self.numbers.entry(piece).or_insert_with(|| {
            self.pieces.push((piece, 0));
            index(self.pieces.len() - 1)
        });
        self.pieces[number as usize].1 += 1;
    }

    /// The number of the piece by which to find this glob.
    fn rarest(&self, pattern: &'p Pattern, globs: usize) -> Option<u32> {
        piece::pieces(pattern.glob())
            .filter_map(|piece| {
                let number = *self.numbers.get(&piece)?;
                Some((piece::cost(piece, self.pieces[number as usize].1, globs), number))
            })
            .min_by(|one, other| one.0.total_cmp(&other.0))
            .map(|(_, number)| number)
    }
}

/// A glob under its piece; ordered so that equal pieces are together and their sure globs first.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Filed {
    piece: u32,
    unsure: bool,
    glob: usize,
}

/// Files the globs under their pieces, and returns those that found no room.
fn file_by_piece(
    set: &mut PatternSet,
    globs: &Globs<'_>,
    tally: &Tally<'_>,
    mut filed: Vec<Filed>,
) -> Vec<usize> {
    filed.sort_unstable();
    let mut needles = Vec::new();
    let mut buckets = Vec::new();
    let mut by_needle = Vec::new();
    for same_piece in filed.chunk_by(|one, other| one.piece == other.piece) {
        let (sure, unsure) = same_piece.split_at(same_piece.partition_point(|filed| !filed.unsure));
        let sure_from = set.members.len();
        for filed in sure {
            set.members.extend_from_slice(globs.members(filed.glob));
        }
        let sure = Span::of(sure_from..set.members.len());
        let checks = push_checks(set, globs, unsure.iter().map(|filed| filed.glob));
        let bucket = Bucket { sure, checks };
        let (Piece { place, bytes }, _) = tally.pieces[same_piece[0].piece as usize];
        match place {
            Place::Whole => _ = set.whole.insert(bytes.into(), bucket),
            Place::Front => set.front.insert(bytes, bucket),
            Place::Back => set.back.insert(bytes, bucket),
            Place::Inside => {
                needles.push(bytes);
                buckets.push(bucket);
                by_needle.extend(same_piece.iter().map(|filed| filed.glob));
            }
        }
    }
    match Needles::build(&needles, buckets) {
        Some(inside) => {
            set.inside = inside;
            Vec::new()
        }
        // More states than the automaton can number: true of no set that fits in ordinary memory.
        None => by_needle,
    }
}

fn file_by_classes(set: &mut PatternSet, globs: &Globs<'_>, mut by_classes: Vec<usize>, left: Vec<usize>) {
    by_classes.sort_by_cached_key(|&glob| {
        let pattern = globs.patterns[glob];
        (!lazy::suits(pattern), lazy::weight(pattern))
    });
    let fitting = lazy::fitting(by_classes.iter().map(|&glob| globs.patterns[glob]));
    let (fitting, rest) = by_classes.split_at(fitting);
    set.by_classes = push_checks(set, globs, fitting.iter().copied());
    set.classes = Lazy::build(fitting.iter().map(|&glob| globs.patterns[glob]));
    set.one_by_one = push_checks(set, globs, rest.iter().copied().chain(left));
}

fn push_checks(set: &mut PatternSet, globs: &Globs<'_>, numbers: impl Iterator<Item = usize>) -> Span {
    let from = set.checks.len();
    for number in numbers {
        let members_from = set.members.len();
        set.members.extend_from_slice(globs.members(number));
        let members = Span::of(members_from..set.members.len());
        set.checks.push(Check::new(globs.patterns[number].clone(), members));
    }
    Span::of(from..set.checks.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The most globs filed under one piece, sure ones not counted.
    fn most_checks(set: &PatternSet, name: &str) -> usize {
        let at_ends = set.front.at_front(name.as_bytes()).chain(set.back.at_back(name.as_bytes()));
        let mut needles = Vec::new();
        set.inside.find_into(name, &mut needles);
        let inside = needles.into_iter().map(|needle| set.inside.bucket(needle));
        at_ends.chain(inside).map(|bucket| bucket.checks.range().len()).max().unwrap_or(0)
    }

    #[test]
    fn a_glob_is_filed_under_what_few_others_have() {
        for shape in
            ["build.*:target-#", "#.*.complete", "build.*-#-*.complete", "*build*-#-*", "build.?-#-[0-9]*"]
        {
            let text = |nth: usize| shape.replace('#', &format!("{nth:05}"));
            let patterns: Vec<Pattern> = (0..10_000).map(|nth| Pattern::parse(&text(nth)).unwrap()).collect();
            let set = build(&patterns);
            assert!(set.one_by_one.range().is_empty());
            let name = text(4_711).replace("[0-9]", "7").replace(['*', '?'], "x");
            assert_eq!(most_checks(&set, &name), 1, "{shape}");
            let mut found = Vec::new();
            set.matches_into(&name, &mut found);
            assert_eq!(found, [4_711], "{shape}");
        }
    }

    #[test]
    fn what_is_found_by_its_piece_alone_is_not_tried() {
        let texts = ["build.*", "*.complete", "*step*", "build.complete", "*", "?*", "[b]uild.*"];
        let set = build(&texts.map(|text| Pattern::parse(text).unwrap()));
        assert_eq!(set.checks.len(), 1, "only [b]uild.* is not one literal");
    }
}
