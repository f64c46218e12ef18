//! An allocator that counts, thread by thread, so that tests can say what a piece of work takes.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

struct Counting;

thread_local! {
    static CALLS: Cell<usize> = const { Cell::new(0) };
    static LIVE: Cell<isize> = const { Cell::new(0) };
    static PEAK: Cell<isize> = const { Cell::new(0) };
}

/// What a piece of work took from the allocator, on this thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Taken {
    /// Calls that allocated or grew.
    pub(crate) calls: usize,
    /// The most bytes held at once.
    pub(crate) peak_bytes: usize,
    /// The bytes still held at the end.
    pub(crate) kept_bytes: usize,
}

/// Runs `work` and says what it took.
pub(crate) fn during<T>(work: impl FnOnce() -> T) -> (T, Taken) {
    CALLS.set(0);
    LIVE.set(0);
    PEAK.set(0);
    let result = work();
    let bytes = |cell: &'static std::thread::LocalKey<Cell<isize>>| usize::try_from(cell.get()).unwrap_or(0);
    (result, Taken { calls: CALLS.get(), peak_bytes: bytes(&PEAK), kept_bytes: bytes(&LIVE) })
}

/// Calls that allocated or grew on this thread, so far.
#[allow(dead_code, reason = "each test uses a part of it")]
pub(crate) fn calls() -> usize {
    CALLS.get()
}

fn count(calls: usize, bytes: isize) {
    CALLS.set(CALLS.get() + calls);
    LIVE.set(LIVE.get() + bytes);
    PEAK.set(PEAK.get().max(LIVE.get()));
}

// SAFETY: every call is passed on unchanged to the system allocator, which keeps the contract; the counters are
// thread-local cells without destructors, so touching them neither allocates nor fails.
#[allow(unsafe_code, reason = "an allocator cannot be written without it")]
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(1, layout.size() as isize);
        // SAFETY: the caller's promise about `layout` is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        count(0, -(layout.size() as isize));
        // SAFETY: the caller's promise that `block` came from here with `layout` is passed on.
        unsafe { System.dealloc(block, layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        count(1, new_size as isize - layout.size() as isize);
        // SAFETY: the caller's promises about `block`, `layout` and `new_size` are passed on.
        unsafe { System.realloc(block, layout, new_size) }
    }
}
