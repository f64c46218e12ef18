//! A pair of fences of which one is nearly free: for "I store, then look at yours; you store, then look at mine",
//! where one side does it at every publish and the other at every unsubscribe.
//!
//! On Linux the heavy side asks the kernel to run a full barrier on every processor that runs a thread of this
//! process (`membarrier(2)`, private expedited, Linux 4.14), so the light side only keeps the compiler
//! from reordering. Where that is not to be had, both sides are ordinary sequentially consistent fences. Which
//! of the two is decided once per process.

#![allow(unsafe_code)] // One system call that takes no pointer.

use super::{Ordering, fence};
use std::sync::OnceLock;

/// Orders what stands before it against what stands after it, as far as a thread that passes a
/// [`heavy_fence`] can tell. `is_free` is what [`kernel_fences`] said.
#[inline]
pub(crate) fn light_fence(is_free: bool) {
    if is_free {
        std::sync::atomic::compiler_fence(Ordering::SeqCst);
    } else {
        fence(Ordering::SeqCst);
    }
}

/// Of a store before this and a store before a thread's [`light_fence`], at least one is seen by what the other
/// side loads after its fence.
pub(crate) fn heavy_fence() {
    fence(Ordering::SeqCst);
    if kernel_fences() {
        membarrier::barrier();
    }
}

/// Whether the kernel fences for both sides. The same answer for the whole life of the process.
pub(crate) fn kernel_fences() -> bool {
    static REGISTERED: OnceLock<bool> = OnceLock::new();
    *REGISTERED.get_or_init(membarrier::register)
}

#[cfg(target_os = "linux")]
mod membarrier {
    use libc::{
        MEMBARRIER_CMD_PRIVATE_EXPEDITED, MEMBARRIER_CMD_QUERY, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED,
        SYS_membarrier, c_int, c_long,
    };
    use std::time::Duration;

    fn call(command: c_int) -> c_long {
        // SAFETY: the call takes three integers, reads and writes no memory of ours, and answers an unknown
        // command with an error.
        unsafe { libc::syscall(SYS_membarrier, command, 0, 0) }
    }

    pub(super) fn register() -> bool {
        let commands = call(MEMBARRIER_CMD_QUERY);
        let needed = MEMBARRIER_CMD_PRIVATE_EXPEDITED | MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED;
        commands >= 0
            && commands & c_long::from(needed) == c_long::from(needed)
            && call(MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED) == 0
    }

    /// A store leaves its processor's buffer within microseconds; the rest is margin. Not a proof as the barrier is.
    const DRAINED_AFTER: Duration = Duration::from_millis(20);

    pub(super) fn barrier() {
        // Once registered it fails only where a sandbox was put up later; then patience does the same.
        if call(MEMBARRIER_CMD_PRIVATE_EXPEDITED) != 0 {
            std::thread::sleep(DRAINED_AFTER);
        }
    }
}

#[cfg(not(target_os = "linux"))]
mod membarrier {
    pub(super) fn register() -> bool {
        false
    }

    pub(super) fn barrier() {}
}
