//! What becomes of a batch, for the deliveries in it: each waits with a [`Ticket`] for the one [`Outcome`].

use super::report::BatchFailure;
use crate::sync::{AtomicBool, Ordering, Signal};
use std::sync::{Arc, OnceLock};

#[derive(Debug, Default)]
pub(super) struct Outcome {
    result: OnceLock<Result<(), Arc<BatchFailure>>>,
    told: Signal,
}

impl Outcome {
    /// The first answer stays.
    pub(super) fn settle(&self, result: Result<(), Arc<BatchFailure>>) {
        let is_first = self.result.set(result).is_ok();
        if is_first {
            self.told.notify(usize::MAX);
        }
    }
}

/// Tells a batch that a delivery in it is over already.
pub(super) type GivenUp = Arc<AtomicBool>;

/// A delivery's place in a batch. Dropped before the batch is handled, it leaves it: the bus has given the delivery up.
#[derive(Debug)]
pub(super) struct Ticket {
    outcome: Arc<Outcome>,
    given_up: GivenUp,
}

impl Ticket {
    /// A ticket, and how its batch hears that it was dropped.
    pub(super) fn new(outcome: &Arc<Outcome>) -> (Self, GivenUp) {
        let given_up = GivenUp::default();
        (Ticket { outcome: Arc::clone(outcome), given_up: Arc::clone(&given_up) }, given_up)
    }

    /// Waits for what becomes of the batch.
    pub(super) async fn outcome(self) -> Result<(), Arc<BatchFailure>> {
        loop {
            let told = self.outcome.told.listen();
            if let Some(result) = self.outcome.result.get() {
                return result.clone();
            }
            told.await;
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.given_up.store(true, Ordering::Release);
    }
}
