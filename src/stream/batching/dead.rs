//! [`DeadBatches`]: the batches that failed for good, and of which the newest are kept.

use super::batch::DeadBatch;
use crate::quiet::drop_quietly;
use std::collections::VecDeque;
use std::sync::Arc;

pub(super) struct DeadBatches {
    /// Oldest first, at most `limit`.
    kept: VecDeque<Arc<DeadBatch>>,
    limit: usize,
    evicted: u64,
}

impl DeadBatches {
    pub(super) fn new(limit: usize) -> Self {
        DeadBatches { kept: VecDeque::new(), limit, evicted: 0 }
    }

    /// Keeps a batch; returns what makes room for it.
    pub(super) fn keep(&mut self, dead: DeadBatch) -> Option<Arc<DeadBatch>> {
        self.kept.push_back(Arc::new(dead));
        let is_over = self.kept.len() > self.limit;
        self.evicted += u64::from(is_over);
        if is_over { self.kept.pop_front() } else { None }
    }

    pub(super) fn get(&self, number: u64) -> Option<&Arc<DeadBatch>> {
        self.kept.iter().find(|dead| dead.number == number)
    }

    pub(super) fn take(&mut self, number: u64) -> Option<Arc<DeadBatch>> {
        let index = self.kept.iter().position(|dead| dead.number == number)?;
        self.kept.remove(index)
    }

    pub(super) fn all(&self) -> Vec<Arc<DeadBatch>> {
        self.kept.iter().cloned().collect()
    }

    pub(super) fn take_all(&mut self) -> Vec<Arc<DeadBatch>> {
        self.kept.drain(..).collect()
    }

    pub(super) fn len(&self) -> u64 {
        self.kept.len() as u64
    }

    pub(super) fn evicted(&self) -> u64 {
        self.evicted
    }
}

impl Drop for DeadBatches {
    fn drop(&mut self) {
        // Payloads have destructors of their own.
        self.kept.drain(..).for_each(drop_quietly);
    }
}
