//! [`Door`]: where several tasks of a handler run, but it is to be called for one event after another.

use crate::sync::{AtomicBool, Ordering, Signal};

/// Lets one task through at a time, from taking a delivery out of the mailbox until the handler was called. It is passed
/// without an `.await` in between.
#[derive(Default)]
pub(super) struct Door {
    is_taken: AtomicBool,
    left: Signal,
}

/// A task that is in the door.
pub(super) struct InDoor<'a>(&'a Door);

impl Door {
    pub(super) async fn pass(&self) -> InDoor<'_> {
        loop {
            if let Some(inside) = self.try_pass() {
                return inside;
            }
            // Ordering: SeqCst: of "listen, then look" here and "leave, then tell" in `InDoor::drop`, one sees the other.
            let left = self.left.listen();
            if let Some(inside) = self.try_pass() {
                return inside;
            }
            left.await;
        }
    }

    fn try_pass(&self) -> Option<InDoor<'_>> {
        let is_mine = !self.is_taken.swap(true, Ordering::SeqCst);
        is_mine.then(|| InDoor(self))
    }
}

impl Drop for InDoor<'_> {
    fn drop(&mut self) {
        self.0.is_taken.store(false, Ordering::SeqCst);
        self.0.left.notify(1);
    }
}
