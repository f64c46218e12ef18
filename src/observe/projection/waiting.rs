//! A list of events that is only ever replaced by a longer one, by nothing, or by an empty one.

use crate::bus::Recorded;
use std::sync::Arc;

/// The newest first. Never changed, so that "it still waits, so put this in" is one compare-and-swap.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    len: usize,
    newest: Option<(Recorded, Arc<Waiting>)>,
}

impl Waiting {
    pub(super) fn with(self: &Arc<Self>, event: Recorded) -> Arc<Self> {
        Arc::new(Waiting { len: self.len + 1, newest: Some((event, Arc::clone(self))) })
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// By number.
    pub(super) fn in_order(&self) -> Vec<Recorded> {
        let mut events = Vec::with_capacity(self.len);
        let mut rest = self.newest.as_ref();
        while let Some((event, older)) = rest {
            events.push(event.clone());
            rest = older.newest.as_ref();
        }
        events.sort_unstable_by_key(Recorded::sequence);
        events
    }
}

/// One after the other: dropped from within each other, a long list would not fit a stack.
impl Drop for Waiting {
    fn drop(&mut self) {
        let mut rest = self.newest.take();
        while let Some((_, older)) = rest {
            rest = Arc::into_inner(older).and_then(|mut older| older.newest.take());
        }
    }
}
