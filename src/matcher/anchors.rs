//! Pieces pinned to an end of the name: hash look-ups, one for each length that occurs.
//!
//! `build.*` and `*.complete` are the globs people write, and a name has only one beginning of each length. So there
//! is no automaton here: for each length among the pieces, the name's first (or last) bytes are looked up. The
//! look-ups do not depend on each other, which suits a processor better than walking a tree; and their number is
//! bounded by the longest piece, whatever the patterns are. The hash is seeded, so that nobody can prepare collisions.

use super::piece::END_BYTES_MAX;
use super::set::Bucket;
use std::collections::HashMap;

/// The buckets of the pieces at one end of the name.
#[derive(Default)]
pub(super) struct Anchors {
    buckets: HashMap<Box<[u8]>, Bucket, foldhash::fast::RandomState>,
    /// Bit `n` is set if some piece has `n` bytes.
    lengths: u64,
}

// Every length has its bit.
const _: () = assert!(END_BYTES_MAX < u64::BITS as usize);

impl Anchors {
    pub(super) fn insert(&mut self, bytes: &[u8], bucket: Bucket) {
        debug_assert!(bytes.len() <= END_BYTES_MAX);
        self.lengths |= 1 << bytes.len();
        self.buckets.insert(bytes.into(), bucket);
    }

    /// The buckets whose piece `name` begins with.
    pub(super) fn at_front<'a>(&'a self, name: &'a [u8]) -> impl Iterator<Item = Bucket> + 'a {
        self.lengths_within(name).filter_map(|length| self.buckets.get(&name[..length]).copied())
    }

    /// The buckets whose piece `name` ends with.
    pub(super) fn at_back<'a>(&'a self, name: &'a [u8]) -> impl Iterator<Item = Bucket> + 'a {
        self.lengths_within(name).filter_map(|length| self.buckets.get(&name[name.len() - length..]).copied())
    }

    fn lengths_within(&self, name: &[u8]) -> impl Iterator<Item = usize> + use<> {
        let mut left = if name.len() < END_BYTES_MAX {
            self.lengths & ((1 << (name.len() + 1)) - 1)
        } else {
            self.lengths
        };
        std::iter::from_fn(move || {
            let length = left.trailing_zeros();
            left &= left.wrapping_sub(1);
            (length < u64::BITS).then_some(length as usize)
        })
    }
}
