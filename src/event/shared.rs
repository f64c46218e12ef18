//! A piece of a text that several owners share.
//!
//! Payload and metadata of one event stand side by side in its JSON, so one allocation holds both.

use std::{ops::Range, sync::Arc};

/// How many bytes may be kept that belong to neither of two pieces.
const WASTE_BYTES_MAX: usize = 64;

/// A piece of a shared text; cheap to clone.
#[derive(Clone)]
pub(super) struct SharedStr {
    whole: Arc<str>,
    piece: Range<usize>,
}

impl SharedStr {
    /// Both pieces of a text in one copy, if they stand so close that copying what is between them is no waste.
    pub(super) fn both(text: &str, left: Range<usize>, right: Range<usize>) -> Option<(Self, Self)> {
        let span = left.start.min(right.start)..left.end.max(right.end);
        if span.len() > left.len() + right.len() + WASTE_BYTES_MAX {
            return None;
        }
        let whole: Arc<str> = Arc::from(&text[span.clone()]);
        let within = |piece: Range<usize>| piece.start - span.start..piece.end - span.start;
        let left = Self { whole: Arc::clone(&whole), piece: within(left) };
        Some((left, Self { whole, piece: within(right) }))
    }

    #[inline]
    pub(super) fn as_str(&self) -> &str {
        &self.whole[self.piece.clone()]
    }
}

impl<T: Into<Arc<str>>> From<T> for SharedStr {
    fn from(text: T) -> Self {
        let whole = text.into();
        Self { piece: 0..whole.len(), whole }
    }
}
