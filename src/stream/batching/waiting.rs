//! [`Waiting`]: a batch before it is handled.

use super::batch::{BatchTrigger, DeadBatch};
use super::outcome::{GivenUp, Outcome};
use crate::event::Event;
use crate::sync::Ordering;
use std::sync::Arc;

/// A batch that waits.
pub(super) struct Waiting {
    pub(super) number: u64,
    /// How many events had been added before its first one.
    pub(super) start: u64,
    pub(super) entries: Vec<Entry>,
    pub(super) bytes: usize,
    pub(super) trigger: BatchTrigger,
    /// For the deliveries among its entries.
    pub(super) outcome: Option<Arc<Outcome>>,
    /// How it failed before, if it is redriven.
    pub(super) earlier: Option<Arc<DeadBatch>>,
}

pub(super) struct Entry {
    pub(super) event: Arc<Event>,
    /// Of a bus's delivery, which may be given up meanwhile.
    pub(super) given_up: Option<GivenUp>,
}

impl Entry {
    /// Whether it was added by hand, and is nobody else's to keep.
    pub(super) fn is_own(&self) -> bool {
        self.given_up.is_none()
    }

    pub(super) fn is_given_up(&self) -> bool {
        self.given_up.as_ref().is_some_and(|given_up| given_up.load(Ordering::Acquire))
    }
}

impl Waiting {
    pub(super) fn new(number: u64, start: u64) -> Self {
        Waiting {
            number,
            start,
            entries: Vec::new(),
            bytes: 0,
            trigger: BatchTrigger::Count,
            outcome: None,
            earlier: None,
        }
    }
}
