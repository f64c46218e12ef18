//! Globs of `?` and `*` only: all they ask is how many characters the name has.
//!
//! So they need no automaton; a `?` repeated a thousand times would be a large one. Two sorted lists and a
//! count of the name's characters answer for any number of them.

/// Globs by the number of characters they ask for.
#[derive(Default)]
pub(super) struct Counts {
    /// Exactly this many characters, and the pattern's index; ascending.
    exact: Vec<(usize, u32)>,
    /// At least this many, and the pattern's index; ascending.
    open: Vec<(usize, u32)>,
}

impl Counts {
    pub(super) fn insert(&mut self, least: usize, open: bool, members: &[u32]) {
        let list = if open { &mut self.open } else { &mut self.exact };
        list.extend(members.iter().map(|&member| (least, member)));
    }

    /// To be called once, after the last `insert`.
    pub(super) fn finish(&mut self) {
        for list in [&mut self.exact, &mut self.open] {
            list.sort_unstable();
            list.shrink_to_fit();
        }
    }

    /// Appends the index of each pattern that matches `name`.
    pub(super) fn find_into(&self, name: &str, found: &mut Vec<u32>) {
        if self.exact.is_empty() && self.open.is_empty() {
            return;
        }
        let count = name.chars().count();
        let index = |&(_, index): &(usize, u32)| index;
        let below = self.exact.partition_point(|&(exactly, _)| exactly < count);
        found.extend(self.exact[below..].iter().take_while(|&&(exactly, _)| exactly == count).map(index));
        found.extend(self.open.iter().take_while(|&&(least, _)| least <= count).map(index));
    }
}
